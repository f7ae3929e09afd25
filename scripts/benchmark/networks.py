"""What the benchmarks run: the PyPI package `snac` and our SNAC with equal weights, and what both are given."""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from snac_tok.codec import PRESETS, SNAC
from snac_tok.codec.ops import backend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snac_tok.codec import CodecConfig

CONFIGS = ("tiny", *PRESETS)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Sound is made in pieces of this many seconds, so that an hour of it needs no transform of an hour.
_PIECE_SECONDS = 10
_SYLLABLES_PER_SECOND = 4
_CORNER_HZ = 500


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two networks under test; encode and decode are the calls that their users make."""

    peer: Any
    ours: SNAC

    @property
    def config(self) -> CodecConfig:
        """The shape of both."""
        return self.ours.config

    @torch.inference_mode()
    def peer_encode(self, audio: torch.Tensor) -> list[torch.Tensor]:
        """Encode (B, 1, T) with `snac`."""
        codes: list[torch.Tensor] = self.peer.encode(audio)
        return codes

    @torch.inference_mode()
    def peer_decode(self, codes: Sequence[torch.Tensor]) -> torch.Tensor:
        """Decode [(B, T_k)] with `snac`, whose noise is always drawn."""
        audio: torch.Tensor = self.peer.decode(codes)
        return audio


def use_device(name: str, *, threads: int) -> None:
    """Set torch up for a device ("cpu", "cuda", "cuda:1", …): its threads, and true fp32 on a GPU, no TF32."""
    torch.set_num_threads(threads)
    if torch.device(name).type == "cuda":
        torch.cuda.set_device(torch.device(name) if ":" in name else 0)
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        torch.backends.cudnn.conv.fp32_precision = "ieee"


@contextmanager
def kernels(mode: str) -> Iterator[None]:
    """Take kernels as SNAC_TOK_KERNELS=MODE does: "auto", or "off" for torch's operators."""
    before, backend.kernel_mode = backend.kernel_mode, mode
    try:
        yield
    finally:
        backend.kernel_mode = before


def load_ours(name: str, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> SNAC:
    """Return the embedded codec, or a released shape with seeded random weights."""
    torch.manual_seed(7)
    codec = SNAC.from_pretrained("tiny") if name == "tiny" else SNAC.from_config(PRESETS[name])
    return codec.to(device=device, dtype=dtype).eval()


def load_peer(ours: SNAC) -> Any:
    """Return `snac`'s network with the same weights, on the same device, in the same dtype."""
    with warnings.catch_warnings():
        # It still compiles one function with torch.jit.script.
        warnings.simplefilter("ignore", DeprecationWarning)
        import snac
    values = ours.config.to_dict()
    peer = snac.SNAC(**{name: value for name, value in values.items() if name != "latent_dim"})
    peer.load_state_dict(ours.state_dict())
    return peer.to(device=ours.device, dtype=ours.dtype).eval()


def load_pair(name: str, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Pair:
    """Return both."""
    ours = load_ours(name, device=device, dtype=dtype)
    return Pair(peer=load_peer(ours), ours=ours)


def speech_like(codec: SNAC, seconds: float, *, seed: int = 0, batch: int = 1) -> torch.Tensor:
    """Return (B, 1, T) of noise with the spectral tilt and the syllables of speech, as the codec takes it."""
    num_samples = math.ceil(seconds * codec.sampling_rate)
    generator = torch.Generator().manual_seed(seed)
    size = _PIECE_SECONDS * codec.sampling_rate
    pieces = [_piece(batch, size, codec.sampling_rate, generator) for _ in range(0, num_samples, size)]
    audio = torch.cat(pieces, dim=-1)[..., :num_samples]
    return audio.to(device=codec.device, dtype=codec.dtype).contiguous()


def _piece(batch: int, size: int, sampling_rate: int, generator: torch.Generator) -> torch.Tensor:
    spectrum = torch.fft.rfft(torch.randn(batch, 1, size, generator=generator))
    spectrum /= 1 + torch.fft.rfftfreq(size, 1 / sampling_rate) / _CORNER_HZ
    audio = torch.fft.irfft(spectrum, size)
    syllables = torch.sin(torch.arange(size) * (math.pi * _SYLLABLES_PER_SECOND / sampling_rate)).square()
    return 0.1 * audio / audio.std() * syllables


def random_codes(codec: SNAC, seconds: float, *, seed: int = 0) -> list[torch.Tensor]:
    """Return codes [(1, T_k)] of at least that long, whole frames."""
    generator = torch.Generator().manual_seed(seed)
    num_frames = max(1, round(seconds * codec.config.frames_per_second))
    return [
        torch.randint(codec.codebook_size, (1, num_frames * count), generator=generator).to(codec.device)
        for count in codec.config.codes_per_frame
    ]
