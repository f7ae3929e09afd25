"""Collects the ids of a stream until frames are whole, and checks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok.codec.inputs import checked_codes
from snac_tok.errors import CodesError, TokenError
from snac_tok.prompts.edges import edge_ids, inner_span

if TYPE_CHECKING:
    import numpy.typing as npt

    from snac_tok.codec import CodecConfig
    from snac_tok.frames import Vocabulary

_CPU = torch.device("cpu")


class FrameBuffer:
    """Turns ids, in pieces of any size, into codes of whole frames.

    Each id is checked once, when it is pushed; the ids of an unfinished frame are kept as codes.

    Args:
        vocabulary: an id table with one line of ids, for this codec.
        config: the codec's.

    Attributes:
        num_frames: how many whole frames have been pushed so far.
    """

    def __init__(self, vocabulary: Vocabulary, config: CodecConfig) -> None:
        assert not vocabulary.is_parallel
        self.vocabulary = vocabulary
        self.config = config
        self._first, self._width = _ranges(vocabulary)
        self._edges = edge_ids(vocabulary)
        self.num_frames = 0
        self._partial = np.zeros(0, np.int64)
        self._ended = False

    def push(self, ids: Any) -> list[torch.Tensor] | None:
        """Take ids (n,) or codes [(T_k,)] and return the codes [(1, n_k)] of frames now whole, None if there are none.

        Raises:
            TokenError: an id out of place; the buffer stays as it was.
            CodesError: codes of wrong lengths or values; the buffer stays as it was.
        """
        if isinstance(ids, (list, tuple)) and ids and not isinstance(ids[0], int) and np.ndim(ids[0]):
            return self._levels(ids)
        line, ended = self._between_specials(_integers(ids))
        codes = np.concatenate((self._partial, self._codes(line)))
        per_frame = self.vocabulary.ids_per_frame
        num_frames = len(codes) // per_frame
        end = num_frames * per_frame
        self._partial, self._ended = codes[end:], ended
        self.num_frames += num_frames
        return self._unflattened(codes[:end].reshape(num_frames, per_frame)) if num_frames else None

    def end(self, *, drop_partial: bool) -> None:
        """End the stream. It must not be in the middle of a frame, unless the rest may be dropped.

        Raises:
            TokenError: the stream is in the middle of a frame.
        """
        if len(self._partial) and not drop_partial:
            raise TokenError(
                f"the stream ended in the middle of a frame, after {len(self._partial)} of "
                f"{self.vocabulary.ids_per_frame} ids; push the rest, or flush(drop_partial=True)."
            )
        self._partial = self._partial[:0]

    def _levels(self, levels: Any) -> list[torch.Tensor]:
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

    def _between_specials(self, line: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], bool]:
        """Drop special ids before the first code and after the last; refuse codes after the end of speech."""
        span = inner_span(line, self._edges)
        started = self.num_frames > 0 or len(self._partial) > 0
        if not span.stop:
            return line[:0], self._ended or (started and len(line) > 0)
        if self._ended:
            raise TokenError(
                f"id {line[span.start]} came after the end of speech; reset() the stream for another one."
            )
        if span.start and started:
            raise TokenError(f"the special id {line[span.start - 1]} stands between codes.")
        return line[span], span.stop < len(line)

    def _codes(self, line: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the codes of the next ids, 0 for a separator."""
        held = len(self._partial)
        places = np.arange(held, held + len(line)) % len(self._first)
        codes: npt.NDArray[np.int64] = line - self._first[places]
        # As unsigned integers, negative numbers are huge.
        if (codes.view(np.uint64) < self._width[places]).all():
            return codes
        ids = np.concatenate((self._partial + self._first[:held], line))
        # An unfinished last frame is not a fault: its rest may be pushed later.
        fault = next(fault for fault in self.vocabulary.validate(ids) if fault.token_id is not None)
        raise TokenError(f"counted from frame {self.num_frames} of the stream, {fault}")

    def _unflattened(self, frames: npt.NDArray[np.int64]) -> list[torch.Tensor]:
        """Return the codes [(1, n_k)] of frames (n, ids per frame)."""
        layout = self.vocabulary.layout
        flat = frames[:, -layout.slots_per_frame :].reshape(1, -1)
        return [torch.from_numpy(level) for level in layout.unflatten(flat)]


def _ranges(vocabulary: Vocabulary) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Return the first id and the number of ids for each place in a frame, the separator's included."""
    ranges = [vocabulary.id_range(slot) for slot in range(vocabulary.layout.slots_per_frame)]
    if vocabulary.separator is not None:
        separator = vocabulary.specials[vocabulary.separator]
        ranges.insert(0, range(separator, separator + 1))
    first = np.array([ids.start for ids in ranges], dtype=np.int64)
    return first, np.array([len(ids) for ids in ranges], dtype=np.uint64)


def _integers(ids: Any) -> npt.NDArray[np.int64]:
    """Return ids (n,) as int64.

    Raises:
        TokenError: they are not integers, or not one line of them.
    """
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
        raise TokenError(f"a stream takes integer ids (n,); got {_what_came(line)}.")
    return line.astype(np.int64)


def _what_came(line: npt.NDArray[Any]) -> str:
    """Describe what was given instead of ids; for text, say how to turn it into ids."""
    if line.dtype.kind not in "SU":
        return f"{line.dtype} {line.shape}"
    return (
        f"text such as {str(line.flat[0])[:40]!r}: a vocabulary's text_to_ids turns a text into ids, a tokenizer's "
        "convert_tokens_to_ids a list of tokens"
    )
