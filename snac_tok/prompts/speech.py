"""What a language model wrote, back to the ids of its speech."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from snac_tok.errors import LostSpeechWarning, TokenError
from snac_tok.frames.faults import iter_faults
from snac_tok.prompts.edges import inner_span
from snac_tok.prompts.prompt_format import as_line, prompt_format

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from snac_tok.frames import Vocabulary
    from snac_tok.frames.faults import Fault
    from snac_tok.prompts.prompt_format import Prompt

# What to do about an id among the speech that is not its slot's.
OnFault = Literal["stop", "raise", "keep"]


def speech_ids(
    generated: Any, vocabulary: Vocabulary, *, prompt: Prompt | None = None, on_fault: OnFault = "stop"
) -> npt.NDArray[np.int64]:
    """Cut the speech out of generated ids: after the last start of speech, up to its end, whole frames only.

    Ids without a start of speech are taken to follow a prompt: all of them count. The speech ends at the first id that
    the format has behind speech, whichever it is: some models leave out the first of several.

    Args:
        generated: integers (n,), with or without the prompt.
        vocabulary: whose ids they are.
        prompt: which format the model was prompted with, as in `prompt_format`.
        on_fault: an id that is not its slot's, or an end of speech inside a frame: "stop" keeps the whole frames in
            front of it and warns how many ids were left out, "raise" refuses, "keep" keeps all, for a repair.

    Returns:
        int64 (m,), what `Vocabulary.decode` takes, unless faults are kept; m may be 0.

    Raises:
        TokenError: a fault, where `on_fault` says so; ids that are not one line of integers; another word for
            `on_fault`.
        LayoutError: the vocabulary has no such line (`prompt_format`).

    Warns:
        LostSpeechWarning: ids of speech were left out because of a fault. An unfinished last frame, where generation
            stopped, is not a fault.

    Example:
        >>> from snac_tok.frames import preset
        >>> frame = [128266, 132363, 136461, 140558, 144652, 148751, 152848]
        >>> speech_ids([128257, *frame, 128258, 128262], preset("orpheus")).tolist() == frame
        True
    """
    if on_fault not in get_args(OnFault):
        raise TokenError(f'on_fault is {on_fault!r}; it must be "stop", "raise" or "keep".')
    line = prompt_format(vocabulary, prompt)
    ids = as_line(generated, what="the ids")
    place, ended = find_speech(
        ids, vocabulary, start_of_speech=line.start_of_speech, after_speech=line.after_speech
    )
    ids = ids[place]
    fault = _first_fault(ids, vocabulary, ended=ended)
    good = ids.size if fault is None else fault.position
    kept: npt.NDArray[np.int64] = ids[: good - good % vocabulary.ids_per_frame]
    if fault is None:
        return kept
    if on_fault == "keep":
        return ids
    if on_fault == "raise":
        raise TokenError(f"among the speech, {fault}.")
    warnings.warn(
        f"kept {kept.size} of {ids.size} ids of speech, whole frames up to the first fault: {fault}.",
        LostSpeechWarning,
        stacklevel=2,
    )
    return kept


def find_speech(
    ids: npt.NDArray[np.int64],
    vocabulary: Vocabulary,
    *,
    start_of_speech: int | None,
    after_speech: Iterable[int],
) -> tuple[slice, bool]:
    """Return where the last speech stands, without its end and padding; and whether the model ended it.

    Example:
        >>> from snac_tok.frames import preset
        >>> ids = np.array([9906, 128257, 128266, 132362, 128258, 128263])
        >>> find_speech(ids, preset("orpheus"), start_of_speech=128257, after_speech=[128258])
        (slice(2, 4, None), True)
    """
    starts = np.flatnonzero(ids == start_of_speech)
    first = int(starts[-1]) + 1 if starts.size else 0
    ends = np.flatnonzero(np.isin(ids[first:], list(after_speech)))
    last = first + int(ends[0]) if ends.size else ids.size
    # A row of a batch that never wrote an end of its own is padded.
    pad = np.array([vocabulary.specials.get("pad", -1)])
    return slice(first, first + inner_span(ids[first:last], pad).stop), bool(ends.size)


def _first_fault(ids: npt.NDArray[np.int64], vocabulary: Vocabulary, *, ended: bool) -> Fault | None:
    # An unfinished last frame is a fault only if the model itself ended the speech; else generation stopped there.
    faults = iter_faults(vocabulary, ids)
    return next((fault for fault in faults if fault.position < ids.size or ended), None)
