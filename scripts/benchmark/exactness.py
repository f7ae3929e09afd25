"""How far float32 is from exact, and `snac` from itself: what "equal sound" can mean.

`snac`'s sums are in another order with one thread and with two, so its own sound differs in the last places.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from benchmark.networks import speech_like
from snac_tok.codec.noise import DrawnNoise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.session import Bench, Cells

    Codes = list[torch.Tensor]

_NOISE_SEED = 1


def exactness_row(bench: Bench) -> Iterator[Cells]:
    """One clip's sound beside the same network in float64, and beside `snac` with one thread."""
    pair, seconds = bench.pair, bench.options.exact_seconds
    codes = pair.ours.encode(speech_like(pair.ours, seconds))
    exact = in_float64(bench, codes)
    reference = sound(pair.peer_decode, codes, threads=1)
    theirs, ours = (sound(decode, codes, threads=2) for decode in (pair.peer_decode, pair.ours.decode))
    for wanted, name in ((exact, "from float64"), (reference, "from snac's, 1 thread and 2")):
        (their_rms, their_most), (rms, most) = difference(theirs, wanted), difference(ours, wanted)
        what = f"decode {seconds:g} s, rms {name}"
        note = f"largest {their_most:.2e} and {most:.2e}"
        yield what, f"{their_rms:.2e}", f"{rms:.2e}", f"{their_rms / rms:.2f}" if rms else "", note
    torch.set_num_threads(bench.options.threads)


def sound(decode: Callable[[Codes], torch.Tensor], codes: Codes, *, threads: int) -> torch.Tensor:
    """Decode codes [(1, T_k)] with the noise that all get."""
    torch.set_num_threads(threads)
    torch.manual_seed(_NOISE_SEED)
    return decode(codes)


@torch.no_grad()
def in_float64(bench: Bench, codes: Codes) -> torch.Tensor:
    """Decode codes [(1, T_k)] with float64 sums and the same noise; weights stay those of float32."""
    ours = bench.pair.ours
    latents = ours.quantizer.from_codes(codes)
    torch.manual_seed(_NOISE_SEED)
    noise = DrawnNoise.from_global_generator(latents, ours.config.decoder_rates)
    exact_noise = DrawnNoise(layers=tuple(layer.double() for layer in noise.layers))
    audio: torch.Tensor = copy.deepcopy(ours.decoder).double()(latents.double(), exact_noise)
    return audio


def difference(sound: torch.Tensor, wanted: torch.Tensor) -> tuple[float, float]:
    """Return the root mean square and the largest of the differences."""
    apart = (sound - wanted).abs()
    return float(apart.square().mean().sqrt()), float(apart.max())
