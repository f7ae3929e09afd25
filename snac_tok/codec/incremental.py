"""Clips that come piece by piece: sound to codes and codes to sound, in pieces of any size.

Results are those of the whole clip run at once. Gradients are not recorded here.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec.as_built import check_as_built
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.inference import decode_chunk, decode_cuts, encode_chunk
from snac_tok.codec.state import StreamState
from snac_tok.codec.transfers import to_device
from snac_tok.codec.unchanged import Unchanged
from snac_tok.errors import CodesError, WaveformError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snac_tok.codec.network import Network
    from snac_tok.codec.noise import NoiseSource
    from snac_tok.codec.unchanged import Version


class ChunkEncoder:
    """Takes audio of one or several equally long clips piece by piece and gives codes as soon as they are final.

    What fails leaves it as it was. A shallow copy goes on by itself from where it was made.
    """

    def __init__(self, codec: Network) -> None:
        self.codec = codec
        self.state = StreamState()
        self.waiting = StreamState()
        self.num_samples = 0
        self._unchanged = Unchanged(codec, codec.encoder, WaveformError)
        self._begun: Version | None = None

    @property
    def has_begun(self) -> bool:
        """Whether samples have been through the network: only its weights of then can go on."""
        return self._begun is not None

    def push(self, audio: torch.Tensor) -> list[torch.Tensor]:
        """Return the codes [(B, n_k)] that the next samples (B, 1, n) complete, whole frames only.

        Raises:
            WaveformError: the codec was moved or its weights were changed since the first samples.
        """
        return self._encode(audio, self.num_samples + audio.shape[-1], last=False)

    def flush(self, audio: torch.Tensor) -> list[torch.Tensor]:
        """Return the remaining codes after the last samples (B, 1, n) and the padding that follows them."""
        num_samples = self.num_samples + audio.shape[-1]
        padding = self.codec.config.padded_num_samples(num_samples) - num_samples
        return self._encode(F.pad(audio, (0, padding)), num_samples, last=True)

    def _encode(self, audio: torch.Tensor, num_samples: int, *, last: bool) -> list[torch.Tensor]:
        self._begun = self._unchanged.check(self._begun)
        if not self.state.kept:
            check_as_built(self.codec.encoder)
        state, waiting = self.state.fork(), self.waiting.fork()
        codes = encode_chunk(self.codec, audio, state, waiting, last=last)
        self.state, self.waiting, self.num_samples = state, waiting, num_samples
        return codes


class ChunkDecoder:
    """Takes codes of one or several equally long clips piece by piece and gives audio as soon as it is final.

    What fails leaves it as it was. A shallow copy goes on by itself from where it was made.
    """

    def __init__(self, codec: Network, noise: NoiseSource | None) -> None:
        self.codec = codec
        self.noise = noise
        self.state = StreamState()
        self._unchanged = Unchanged(codec, codec.decoder, CodesError)
        self._begun: Version | None = None

    @property
    def has_begun(self) -> bool:
        """Whether codes have been through the network: only its weights of then can go on."""
        return self._begun is not None

    def push(self, codes: Sequence[torch.Tensor], *, last: bool = False) -> torch.Tensor:
        """Return the samples (B, 1, n) that the next codes [(B, n_k)], whole frames, make final; with `last` all.

        Raises:
            CodesError: the codec was moved or its weights were changed since the first codes.
        """
        self._begun = self._unchanged.check(self._begun)
        if not self.state.kept:
            check_as_built(self.codec.decoder)
        here = [to_device(level, self.codec.device) for level in codes]
        state = self.state.fork()
        pieces = [
            decode_chunk(self.codec, part, state, last=last and is_last, noise=self.noise)
            for part, is_last in _in_chunks(self.codec, here)
        ]
        self.state = state
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-1)

    def rest(self) -> torch.Tensor:
        """Return the samples (B, 1, n) that are still held, as if the clip ended here; more codes may follow."""
        self._begun = self._unchanged.check(self._begun)
        rows = next((kept.shape[0] for kept in self.state.kept if kept is not None), 1)
        nothing = torch.empty(
            (rows, self.codec.latent_dim, 0), device=self.codec.device, dtype=self.codec.dtype
        )
        return run_chunk(self.codec.decoder, nothing, self.state.fork(), last=True, noise=self.noise)


def _in_chunks(codec: Network, codes: Sequence[torch.Tensor]) -> Iterator[tuple[list[torch.Tensor], bool]]:
    """Cut codes [(B, n_k)] as a whole clip's are, and say of each part whether it is the last: memory has a bound."""
    counts = codec.config.codes_per_frame
    num_frames = codes[0].shape[-1] // counts[0]
    for start, end in itertools.pairwise(decode_cuts(codec, num_frames)):
        part = [level[:, start * n : end * n] for level, n in zip(codes, counts, strict=False)]
        yield part, end == num_frames
