"""Ids of a stream, collected until frames are whole, and checked before they count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok.codec.inputs import checked_codes
from snac_tok.errors import CodesError, TokenError

if TYPE_CHECKING:
    import numpy.typing as npt

    from snac_tok.codec import CodecConfig
    from snac_tok.frames import Vocabulary

_CPU = torch.device("cpu")


class FrameBuffer:
    """Turns ids that come in any pieces into codes of whole frames.

    Attributes:
        num_frames: whole frames taken so far.

    Raises:
        TokenError: the vocabulary has parallel rows, which are no stream.
    """

    def __init__(self, vocabulary: Vocabulary, config: CodecConfig) -> None:
        if vocabulary.is_parallel:
            raise TokenError(
                "ids in parallel rows are no stream; decode the whole, or take another vocabulary."
            )
        if vocabulary.layout.strides != config.vq_strides or vocabulary.codebook_size != config.codebook_size:
            raise TokenError(
                f"vocabulary {vocabulary.name!r} is for strides {vocabulary.layout.strides} and codebooks of "
                f"{vocabulary.codebook_size}; this codec has {config.vq_strides} and {config.codebook_size}."
            )
        self.vocabulary = vocabulary
        self.config = config
        separator = vocabulary.separator
        self._edge_ids = [number for name, number in vocabulary.specials.items() if name != separator]
        self.clear()

    def clear(self) -> None:
        """Begin another stream."""
        self.num_frames = 0
        self._partial = np.zeros(0, np.int64)
        self._ended = False

    def take(self, ids: Any) -> list[torch.Tensor] | None:
        """Take ids (n,) or codes [(T_k,)] and return the codes [(1, n_k)] of the frames now whole, None if none is.

        Raises:
            TokenError: an id out of place; the buffer stays as it was.
            CodesError: codes of wrong lengths or values; the buffer stays as it was.
        """
        if isinstance(ids, (list, tuple)) and ids and not isinstance(ids[0], int) and np.ndim(ids[0]):
            return self._codes(ids)
        line, ended = self._between_specials(self._checked_line(ids))
        line = np.concatenate((self._partial, line))
        per_frame = self.vocabulary.ids_per_frame
        whole = len(line) - len(line) % per_frame
        self._check(line)
        codes = self.vocabulary.decode(line[:whole]) if whole else None
        self._partial, self._ended = line[whole:], ended
        self.num_frames += whole // per_frame
        return None if codes is None else [torch.from_numpy(level)[None] for level in codes]

    def check_end(self, *, drop_partial: bool) -> None:
        """Refuse a stream that ends in the middle of a frame, unless the rest may be dropped.

        Raises:
            TokenError: as said.
        """
        if len(self._partial) and not drop_partial:
            raise TokenError(
                f"the stream ended in the middle of a frame, after {len(self._partial)} of "
                f"{self.vocabulary.ids_per_frame} ids; push the rest, or flush(drop_partial=True)."
            )
        self._partial = self._partial[:0]

    def _codes(self, levels: Any) -> list[torch.Tensor]:
        if len(self._partial):
            raise TokenError(
                "codes cannot follow ids of an unfinished frame; push the rest of its ids first."
            )
        try:
            tensors = [torch.as_tensor(np.asarray(level))[None] for level in levels]
        except (TypeError, ValueError) as error:
            raise CodesError(f"codes are one integer array (T_k,) per level: {error}.") from error
        needed = self.vocabulary.layout.num_levels
        if len(tensors) < needed:
            raise CodesError(f"{len(tensors)} levels of codes were given; {needed} are needed.")
        codes = checked_codes(tensors, config=self.config, device=_CPU)
        self.num_frames += codes[0].shape[-1]
        return codes[:needed]

    def _checked_line(self, ids: Any) -> npt.NDArray[np.int64]:
        if isinstance(ids, Mapping):
            raise TokenError(
                f"a stream takes integer ids (n,); got a {type(ids).__name__}: push one row of what is in its "
                '"input_ids".'
            )
        line = np.asarray(ids.cpu() if isinstance(ids, torch.Tensor) else ids)
        if line.size == 0:
            return np.zeros(0, np.int64)
        if line.ndim == 0:
            line = line[None]
        if line.ndim != 1 or line.dtype.kind not in "iu":
            raise TokenError(f"a stream takes integer ids (n,); got {_told(line)}.")
        return line.astype(np.int64)

    def _between_specials(self, line: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], bool]:
        """Drop special ids before the first code and after the last; a code behind the end is refused."""
        codes = np.flatnonzero(~np.isin(line, self._edge_ids))
        if not len(codes):
            started = self.num_frames > 0 or len(self._partial) > 0
            return line[:0], self._ended or (started and len(line) > 0)
        if self._ended:
            raise TokenError(
                f"id {line[codes[0]]} came after the end of speech; reset() the stream for another one."
            )
        first = int(codes[0])
        if first and (self.num_frames or len(self._partial)):
            raise TokenError(f"the special id {line[first - 1]} stands between codes.")
        return line[first : codes[-1] + 1], int(codes[-1]) + 1 < len(line)

    def _check(self, line: npt.NDArray[np.int64]) -> None:
        # The ids of an unfinished frame are judged now, too; that it is unfinished is no fault yet.
        faults = [fault for fault in self.vocabulary.validate(line) if fault.token_id is not None]
        if faults:
            raise TokenError(f"counted from frame {self.num_frames} of the stream, {faults[0]}")


def _told(line: npt.NDArray[Any]) -> str:
    """Say what came where ids were expected, and of text how ids are had from it."""
    if line.dtype.kind not in "SU":
        return f"{line.dtype} {line.shape}"
    return (
        f"text such as {str(line.flat[0])[:40]!r}: a vocabulary's text_to_ids makes ids of a text, a tokenizer's "
        "convert_tokens_to_ids of a list of tokens"
    )
