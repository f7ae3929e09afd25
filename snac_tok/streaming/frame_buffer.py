"""Collects the ids of a stream until frames are whole, and checks or repairs them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok.codec.inputs import checked_codes
from snac_tok.errors import CodesError, TokenError
from snac_tok.frames.arrays import as_int64
from snac_tok.frames.mistaken_codes import shapes_in, shown
from snac_tok.masked import refuse_masked
from snac_tok.prompts.edges import edge_ids
from snac_tok.streaming.frame_repair import FrameRepair
from snac_tok.streaming.places import Places
from snac_tok.streaming.repair_report import RepairReport, checked_on_error
from snac_tok.wording import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from snac_tok.codec import CodecConfig
    from snac_tok.frames import Vocabulary
    from snac_tok.streaming.repair_report import OnError

    Ids = npt.NDArray[np.int64]

_CPU = torch.device("cpu")


class FrameBuffer:
    """Turns ids, in pieces of any size, into codes of whole frames.

    Each id is checked once, when it is pushed; the ids of an unfinished frame are kept as codes.

    Args:
        vocabulary: an id table with one line of ids, for this codec.
        config: the codec's.
        on_error: refuse what is wrong ("strict"), or repair it.

    Attributes:
        num_frames: how many whole frames have been pushed so far.
    """

    def __init__(self, vocabulary: Vocabulary, config: CodecConfig, *, on_error: OnError = "strict") -> None:
        assert not vocabulary.is_parallel
        self.vocabulary = vocabulary
        self.config = config
        self.num_frames = 0
        is_strict = checked_on_error(on_error) == "strict"
        self._repair = None if is_strict else FrameRepair(vocabulary, on_error)
        self._places = Places(vocabulary)
        self._edges = edge_ids(vocabulary)
        self._partial = np.zeros(0, np.int64)
        self._ended_by: int | None = None

    @property
    def report(self) -> RepairReport:
        """What was repaired so far; of a strict buffer the frames alone."""
        return self._repair.report if self._repair else RepairReport(num_frames=self.num_frames)

    def push(self, ids: Any) -> list[torch.Tensor] | None:
        """Take ids (n,) or codes [(T_k,)] and return the codes [(1, n_k)] of frames now whole, None if there are none.

        Raises:
            TokenError: an id out of place; the buffer stays as it was.
            CodesError: codes of wrong lengths or values; the buffer stays as it was.
        """
        if isinstance(ids, (list, tuple)) and ids and not isinstance(ids[0], int) and np.ndim(ids[0]):
            codes = self._levels(ids)
            if self._repair is None:
                self.num_frames += codes[0].shape[-1]
                return codes
            ids = self.vocabulary.encode([level[0] for level in codes])
        line = _integers(ids)
        if self._repair is None:
            return self._strict(line)
        repair = copy.copy(self._repair)
        whole = repair.push(line)
        self._repair = repair
        return self._whole(whole - np.resize(self._places.first, len(whole)))

    def end(self, *, drop_partial: bool) -> list[torch.Tensor] | None:
        """End the stream and return codes as `push` does, of frames that were repaired at its end.

        Raises:
            TokenError: a strict stream is in the middle of a frame that may not be dropped.
        """
        if self._repair is not None:
            repair = copy.copy(self._repair)
            rest = repair.end(drop_partial=drop_partial)
            self._repair = repair
            return self._whole(rest - np.resize(self._places.first, len(rest)))
        if len(self._partial) and not drop_partial:
            raise TokenError(
                f"the stream ended in the middle of a frame, after {len(self._partial)} of "
                f"{self.vocabulary.ids_per_frame} ids; push the rest, or drop them with drop_partial=True."
            )
        self._partial = self._partial[:0]
        return None

    def _levels(self, levels: Any) -> list[torch.Tensor]:
        if self._ended_by is not None:
            raise TokenError(
                f"codes came after the special id {self._ended_by}, which ended the speech; begin another "
                "stream for them."
            )
        if len(self._partial) or (self._repair and not self._repair.is_between_frames):
            raise TokenError(
                "codes cannot follow ids of an unfinished frame; push the rest of its ids first."
            )
        try:
            arrays = (np.asarray(level.cpu() if hasattr(level, "cpu") else level) for level in levels)
            tensors = [torch.as_tensor(array, device=_CPU)[None] for array in arrays]
        except (TypeError, ValueError) as error:
            raise CodesError(f"codes are one integer array (T_k,) per level: {error}.") from error
        needed = self.vocabulary.layout.num_levels
        if len(tensors) < needed:
            given = counted(len(tensors), "level")
            raise CodesError(f"codes of {given} were given; {needed} levels are needed.")
        _check_one_recording(tensors)
        return checked_codes(tensors, config=self.config, device=_CPU)[:needed]

    def _strict(self, line: Ids) -> list[torch.Tensor] | None:
        """Take ids (n,); special ids may stand before the first code and after the last, in this push or another."""
        is_edge = (line[:, None] == self._edges).any(axis=1)
        started = self.num_frames > 0 or len(self._partial) > 0
        begin = 0 if started else int(np.append(is_edge, False).argmin())
        speech, behind = _split(line[begin:], is_edge[begin:] | (self._ended_by is not None))
        codes = np.concatenate((self._partial, self._codes(speech)))
        ended_by = int(behind[0]) if self._ended_by is None and len(behind) else self._ended_by
        late = np.flatnonzero(~is_edge[begin + len(speech) :])
        if late.size:
            raise TokenError(
                f"id {behind[late[0]]} came after the special id {ended_by}, which ended the speech; begin another "
                'stream for what follows, or decode with on_error="resync".'
            )
        end = len(codes) - len(codes) % len(self._places)
        self._partial, self._ended_by = codes[end:], ended_by
        return self._whole(codes[:end])

    def _codes(self, line: Ids) -> Ids:
        """Return the codes of the next ids, 0 for a separator."""
        held = len(self._partial)
        codes, fits = self._places.codes(line, held)
        if fits.all():
            return codes
        ids = np.concatenate((self._partial + self._places.first[:held], line))
        # An unfinished last frame is not a fault: its rest may be pushed later.
        fault = next(fault for fault in self.vocabulary.validate(ids) if fault.token_id is not None)
        raise TokenError(f"counted from frame {self.num_frames} of the stream, {fault}")

    def _whole(self, codes: Ids) -> list[torch.Tensor] | None:
        """Return the codes [(1, n_k)] of whole frames (n · places), None if there are none."""
        if not len(codes):
            return None
        layout = self.vocabulary.layout
        frames = codes.reshape(-1, len(self._places))
        self.num_frames += len(frames)
        flat = frames[:, self._places.num_marks :].reshape(1, -1)
        return [torch.from_numpy(level) for level in layout.unflatten(flat)]


def _check_one_recording(levels: list[torch.Tensor]) -> None:
    """Refuse levels that have more than their codes (1, T_k), as a codec's of a batch."""
    if all(level.ndim == 2 for level in levels):  # noqa: PLR2004 - (1, T)
        return
    given = shapes_in([level[0] for level in levels])
    found = f"the codes have the shapes {shown(given)}; (T_k,) for each level is needed"
    if any(len(shape) != 2 for shape in given):  # noqa: PLR2004 - (B, T)
        raise CodesError(f"{found}.")
    cure = (
        "push [level[0] for level in codes]"
        if all(shape[0] == 1 for shape in given)
        else "a stream is one recording: push each row's to a stream of its own"
    )
    raise CodesError(f"{found}: {cure}.")


def _split(line: Ids, is_behind: npt.NDArray[np.bool_]) -> tuple[Ids, Ids]:
    """Return a line (n,) in two parts, cut at the first place of which the mask says that it is behind."""
    end = int(np.append(is_behind, True).argmax())
    return line[:end], line[end:]


def _integers(ids: Any) -> npt.NDArray[np.int64]:
    """Return ids (n,) as int64.

    Raises:
        TokenError: they are not integers, or not one line of them, or one is beyond int64.
    """
    if isinstance(ids, Mapping):
        raise TokenError(
            f"a stream takes integer ids (n,); got a {type(ids).__name__}: push one row of what is in its "
            '"input_ids".'
        )
    refuse_masked(ids, what="ids", error=TokenError)
    line = np.asarray(ids.cpu() if isinstance(ids, torch.Tensor) else ids)
    if line.size == 0:
        return np.zeros(0, np.int64)
    if line.ndim == 0:
        line = line[None]
    if line.ndim != 1 or line.dtype.kind not in "iu":
        raise TokenError(f"a stream takes integer ids (n,); got {_what_came(line)}.")
    return as_int64(line, error=TokenError)


def _what_came(line: npt.NDArray[Any]) -> str:
    """Describe what was given instead of ids; for text, say how to turn it into ids."""
    if line.dtype.kind not in "SU":
        return f"{line.dtype} {line.shape}"
    return (
        f"text such as {str(line.flat[0])[:40]!r}: a vocabulary's text_to_ids turns a text into ids, a tokenizer's "
        "convert_tokens_to_ids a list of tokens"
    )
