"""Through a codec and back: what an evaluation asks of any codec, and SNAC's own way.

A round trip takes one channel at any rate and gives sound at any rate; the evaluation brings it back to one. What it
counts are the bits that describe the sound, without headers of files around them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from snac_tok.audio import Waveform, resample
from snac_tok.codec.layers import noise_blocks
from snac_tok.errors import EvaluationError

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from snac_tok.codec import SNAC, Noise


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """One clip after its way through a codec.

    Attributes:
        sounds: what came back, mono; several where the codec's decoder is random, one a seed.
        num_bits: that described the clip.
        encode_seconds: of work.
        decode_seconds: of work for one of the sounds.
        codes: (T_k,) integers per level, empty for codecs without codebooks.
    """

    sounds: tuple[Waveform, ...]
    num_bits: float
    encode_seconds: float
    decode_seconds: float
    codes: tuple[npt.NDArray[np.integer], ...] = ()


class RoundTrip(Protocol):
    """A codec as an evaluation sees it."""

    @property
    def name(self) -> str:
        """What it is called in reports; unique in one."""
        ...

    @property
    def nominal_bits_per_second(self) -> float | None:
        """The bitrate it claims to have, where it does."""
        ...

    @property
    def codebook_size(self) -> int | None:
        """Entries of each codebook, for codecs whose trips have codes."""
        ...

    @property
    def delays(self) -> bool:
        """Whether its sound may come late, so that it has to be aligned."""
        ...

    def run(self, waveform: Waveform) -> Reconstruction:
        """Encode and decode one mono clip.

        Raises:
            AudioError: this codec cannot do it.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Identity:
    """No codec at all: it shows which figures perfect sound gets, with 16 bits a sample.

    Example:
        >>> Identity().run(Waveform(samples=np.zeros((1, 100), np.float32), sampling_rate=8000)).num_bits
        1600.0
    """

    name: str = "identity"
    nominal_bits_per_second: float | None = None
    codebook_size: int | None = None
    delays: bool = False

    def run(self, waveform: Waveform) -> Reconstruction:
        """Return the clip itself."""
        return Reconstruction(
            sounds=(waveform,), num_bits=16.0 * waveform.num_samples, encode_seconds=0.0, decode_seconds=0.0
        )


class SnacRoundTrip:
    """SNAC, with its noise drawn several times, and with all levels or only the first few.

    Args:
        codec: the network, put into eval mode.
        name: for reports.
        num_seeds: how many sounds to decode; seeds are 0, 1, ….
        num_levels: how many levels are kept, all if None.

    Raises:
        EvaluationError: there are not that many levels, or no seed.

    Example:
        >>> from snac_tok.codec import SNAC
        >>> trip = SnacRoundTrip(SNAC.from_pretrained("tiny"), name="tiny", num_seeds=2)
        >>> done = trip.run(Waveform(samples=np.zeros((1, 24_000), np.float32), sampling_rate=24_000))
        >>> len(done.sounds), done.num_bits
        (2, 1008.0)
    """

    delays = False

    def __init__(self, codec: SNAC, *, name: str, num_seeds: int = 1, num_levels: int | None = None) -> None:
        self.codec = codec.eval()
        all_levels = codec.config.num_levels
        self.num_levels = all_levels if num_levels is None else num_levels
        if not 1 <= self.num_levels <= all_levels:
            raise EvaluationError(
                f"{name} has levels 1 to {all_levels}; {num_levels} of them were asked for."
            )
        if num_seeds < 1:
            raise EvaluationError(f"the noise is drawn at least once, not {num_seeds} times.")
        partial = self.num_levels < all_levels
        self.name = f"{name} {self.num_levels}/{all_levels}" if partial else name
        # Without noise blocks every seed gives the same sound.
        self._noises: list[Noise] = list(range(num_seeds if noise_blocks(codec.decoder) else 1))
        self._is_warm = False

    @property
    def codebook_size(self) -> int:
        """Entries of each codebook."""
        return self.codec.config.codebook_size

    @property
    def nominal_bits_per_second(self) -> float:
        """Codes of the kept levels a second, times the bits of each."""
        config = self.codec.config
        kept = sum(config.codes_per_frame[: self.num_levels])
        return config.bits_per_second * kept / config.tokens_per_frame

    def run(self, waveform: Waveform) -> Reconstruction:
        """Encode a mono clip, decode it once a seed, and trim each sound to the clip's length."""
        import torch

        own = resample(waveform, self.codec.sampling_rate)
        audio = torch.from_numpy(own.samples)[None].to(self.codec.device)  # (1, 1, T)
        self._warm_up()
        start = time.perf_counter()
        codes = [level.cpu() for level in self.codec.encode(audio)[: self.num_levels]]
        encoded = time.perf_counter()
        sounds = tuple(self._decode(codes, noise, own.num_samples) for noise in self._noises)
        return Reconstruction(
            sounds=sounds,
            num_bits=sum(level.numel() for level in codes) * float(np.log2(self.codebook_size)),
            encode_seconds=encoded - start,
            decode_seconds=(time.perf_counter() - encoded) / len(self._noises),
            codes=tuple(level[0].numpy() for level in codes),
        )

    def _decode(self, codes: list[torch.Tensor], noise: Noise, num_samples: int) -> Waveform:
        samples = self.codec.decode(codes, noise=noise)[0, :, :num_samples].float().cpu().numpy()  # (1, T)
        return Waveform(samples=np.ascontiguousarray(samples), sampling_rate=self.codec.sampling_rate)

    def _warm_up(self) -> None:
        """Pay once, and outside of what is timed, for folding weights and starting a GPU."""
        if not self._is_warm:
            import torch

            silence = torch.zeros(1, 1, self.codec.sampling_rate, device=self.codec.device)
            self.codec.decode(self.codec.encode(silence), noise="off")
            self._is_warm = True
