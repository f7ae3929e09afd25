"""A clip's ids as text: a JSON list, numbers between spaces, or tokens like `<custom_token_10>`.

Parallel rows are a list of lists in JSON, and one row a line in text. What a language model's server returned may
have other things around the codes: ids and words that are not codes are left out there, and `FoundIds` says which;
between codes they are refused.
"""

from __future__ import annotations

import codecs
import json
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.files import shown_path, write_bytes_atomically
from snac_tok.wording import counted, shortened

if TYPE_CHECKING:
    from snac_tok.frames.vocabulary import Vocabulary

# An hour of the densest released codec is about 6 MB of numbers, 13 MB of tokens; more is another file.
_MAX_BYTES = 200_000_000
_ZIP = b"PK\x03\x04"  # what every .npz begins with
# How editors and shells (PowerShell's `>`, for one) mark a text's encoding; UTF-32's mark begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# How many ids, or characters, a message shows of what is left out.
_SHOWN = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundIds:
    """What a text holds.

    Attributes:
        ids: integers, from the first code to the last; decoding checks them.
        left_out: sentences about what stood around them.
    """

    ids: Any
    left_out: tuple[str, ...] = ()


def ids_as_json(ids: Any) -> str:
    """Return ids (N,) or rows (slots, steps) as one line of JSON."""
    return json.dumps(ids.tolist()) + "\n"


def ids_as_text(ids: Any) -> str:
    """Return ids (N,) as one line of numbers, rows (slots, steps) as a line each."""
    rows = [ids] if ids.ndim == 1 else ids
    return "".join(" ".join(map(str, row.tolist())) + "\n" for row in rows)


def write_ids(path: Path, ids: Any) -> None:
    """Write ids, as JSON or as text by the file's ending.

    Raises:
        TokenError: the disk refused.
    """
    text = ids_as_json(ids) if path.suffix.lower() == ".json" else ids_as_text(ids)
    write_bytes_atomically(path, text.encode(), error=TokenError)


def read_ids(
    source: str | os.PathLike[str] | IO[bytes],
    vocabulary: Vocabulary,
    *,
    name: str | None = None,
    drop_partial: bool = False,
) -> FoundIds:
    """Read ids from a file.

    Args:
        source: a path, or a file open for reading bytes.
        vocabulary: whose ids they are.
        name: of the source in messages; its path unless given.
        drop_partial: leave the last frame out where it is not whole.

    Raises:
        TokenError: nothing there, or no ids; the message names the source.
        LayoutError: tokens, and a vocabulary without a text form.
    """
    name = name or (shown_path(source) if isinstance(source, (str, os.PathLike)) else "the file")
    text = text_of(source, name)
    try:
        return ids_from_text(text, vocabulary, drop_partial=drop_partial)
    except TokenError as error:
        raise TokenError(f"{name}: {error}") from error


def ids_from_text(text: str, vocabulary: Vocabulary, *, drop_partial: bool = False) -> FoundIds:
    """Return the ids that a text holds, whichever of the three forms it has.

    Args:
        text: as above.
        vocabulary: whose ids they are.
        drop_partial: leave the last frame out where it is not whole.

    Raises:
        TokenError: none of the forms, or something other than codes stands between codes.
        LayoutError: tokens, and a vocabulary without a text form.

    Example:
        >>> from snac_tok.frames import preset
        >>> found = ids_from_text("Sure! <custom_token_10></s>", preset("orpheus"))
        >>> found.ids, found.left_out
        (array([128266]), ("left out 10 characters around the audio tokens: 'Sure! </s>'.",))
    """
    found = _found(text.strip(), vocabulary)
    return _without_partial(found, vocabulary) if drop_partial else found


def _found(text: str, vocabulary: Vocabulary) -> FoundIds:
    if vocabulary.text is not None and (tokens := list(vocabulary.text.tokens_in(text))):
        return _spelled(text, tokens, vocabulary)
    if text.startswith("<"):
        vocabulary.text_to_ids(text)  # says what a token looks like, or that this vocabulary has none
    return _without_edges(numbers_in(text, vocabulary), vocabulary)


def numbers_in(text: str, vocabulary: Vocabulary) -> Any:
    """Return the numbers of a JSON list, or those between spaces; a line is a row where rows are parallel.

    Raises:
        TokenError: neither.
    """
    if text.startswith(("[", "{")):
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise TokenError(f"this is not a JSON list of ids ({error}).") from error
        except RecursionError as error:
            raise TokenError("this is not a JSON list of ids: it is nested too deep.") from error
        except ValueError as error:  # Python reads no more digits than some thousands
            raise TokenError("this is not a JSON list of ids: a number in it is too long.") from error
        return _as_array(value)
    rows = [list(map(_number, line.split())) for line in text.splitlines() if line.strip()]
    return _as_array(rows if vocabulary.is_parallel else [number for row in rows for number in row])


def _number(word: str) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise TokenError(
            f"this is neither a JSON list of ids nor a text of ids: {shortened(word)} is not a whole number; an .npz "
            "or a sound file needs its own ending."
        ) from error


def _as_array(value: Any) -> Any:
    if isinstance(value, dict):
        keys = ", ".join(map(shortened, list(value)[:_SHOWN]))
        raise TokenError(f"this JSON is an object with the keys {keys}; a list of ids is needed.")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TokenError("ids must be one list, or lists of equal lengths.") from error
    if array.dtype.kind in "OUS":
        raise TokenError("ids must be whole numbers below 2^63.")
    # numpy calls an empty list float64; it holds no float.
    return array.astype(np.int64) if array.size == 0 else array


def _spelled(text: str, tokens: list[tuple[range, int]], vocabulary: Vocabulary) -> FoundIds:
    """Return the tokens from the first code to the last one."""
    places = [place for place, _ in tokens]
    ids = np.array([number for _, number in tokens], dtype=np.int64)
    codes = np.flatnonzero(are_codes(ids, vocabulary))
    if not len(codes):
        return FoundIds(ids=ids)
    first, last = int(codes[0]), int(codes[-1])
    for before, after in pairwise(places[first : last + 1]):
        if between := text[before.stop : after.start].strip():
            raise TokenError(
                f"character {before.stop}: {shortened(between)} stands between two audio tokens; only around them may "
                "there be other text."
            )
    return FoundIds(ids=ids[first : last + 1], left_out=words_left_out(text, places))


def words_left_out(text: str, tokens: list[range]) -> tuple[str, ...]:
    """Say what a text holds apart from its tokens; nothing where that is nothing but space.

    >>> words_left_out("Sure! <custom_token_10>", [range(6, 23)])
    ("left out 5 characters around the audio tokens: 'Sure!'.",)
    """
    starts, stops = [each.start for each in tokens], [each.stop for each in tokens]
    words = [text[a:b] for a, b in zip([0, *stops], [*starts, len(text)], strict=True)]
    around = " ".join(" ".join(words).split())
    sentence = f"left out {counted(len(around), 'character')} around the audio tokens: {shortened(around)}."
    return (sentence,) if around else ()


def _without_edges(ids: Any, vocabulary: Vocabulary) -> FoundIds:
    """Return one line of ids from the first code to the last one; anything else stays, to be refused."""
    line = ids[0] if ids.ndim == 2 and len(ids) == 1 else ids  # noqa: PLR2004 - a batch of one
    if vocabulary.is_parallel or line.ndim != 1 or line.dtype != np.int64:
        return FoundIds(ids=ids)
    codes = np.flatnonzero(are_codes(line, vocabulary))
    if not len(codes):
        return FoundIds(ids=ids)
    around = np.concatenate((line[: codes[0]], line[codes[-1] + 1 :]))
    return FoundIds(ids=line[codes[0] : codes[-1] + 1], left_out=ids_left_out(around, vocabulary))


def ids_left_out(around: np.ndarray[Any, Any], vocabulary: Vocabulary) -> tuple[str, ...]:
    """Say which ids are neither codes nor specials of a vocabulary, of those around its codes.

    >>> from snac_tok.frames import preset
    >>> ids_left_out(np.array([9906, 128257]), preset("orpheus"))
    ('left out 1 id around the codes: 9906.',)
    """
    is_known = are_codes(around, vocabulary) | np.isin(around, list(vocabulary.specials.values()))
    strange = around[~is_known]
    shown = ", ".join(map(str, strange[:_SHOWN].tolist())) + (", …" if len(strange) > _SHOWN else "")
    sentence = f"left out {counted(len(strange), 'id')} around the codes: {shown}."
    return (sentence,) if len(strange) else ()


def are_codes(ids: np.ndarray[Any, Any], vocabulary: Vocabulary) -> np.ndarray[Any, Any]:
    """Say of each id whether it is a code or the separator, which belongs to a frame."""
    block, code = np.divmod(ids - vocabulary.base, vocabulary.block)
    found = (block >= 0) & (block < vocabulary.num_blocks) & (code < vocabulary.codebook_size)
    if vocabulary.separator is not None:
        found |= ids == vocabulary.specials[vocabulary.separator]
    return found


def _without_partial(found: FoundIds, vocabulary: Vocabulary) -> FoundIds:
    """Return the whole frames.

    Raises:
        TokenError: of parallel rows no end can be cut off.
    """
    if vocabulary.is_parallel:
        raise TokenError(
            f"drop_partial is for one line of ids; those of {vocabulary.name!r} stand in parallel rows."
        )
    over = found.ids.shape[-1] % vocabulary.ids_per_frame if found.ids.ndim else 0
    if not over:
        return found
    sentence = f"left out the last {counted(over, 'id')}, a frame that is not whole."
    return FoundIds(ids=found.ids[..., :-over], left_out=(*found.left_out, sentence))


def text_of(source: str | os.PathLike[str] | IO[bytes] | bytes, name: str) -> str:
    """Return a file's text, in whichever of the usual encodings it is marked.

    Raises:
        TokenError: it cannot be read, is too large, or is no text.
    """
    try:
        return _decoded(source if isinstance(source, bytes) else _content(source), name)
    except OSError as error:
        raise TokenError(f"{name} cannot be read: {error.strerror}.") from error


def _content(source: str | os.PathLike[str] | IO[bytes]) -> bytes:
    """Return what the source holds, or one byte more than it may."""
    if not isinstance(source, (str, os.PathLike)):
        content: Any = source.read(_MAX_BYTES + 1)
        return (
            content.encode(errors="surrogatepass") if isinstance(content, str) else content
        )  # opened as text
    with Path(source).open("rb") as file:
        return file.read(_MAX_BYTES + 1)


def _decoded(content: bytes, name: str) -> str:
    if len(content) > _MAX_BYTES:
        raise TokenError(
            f"{name} has more than {_MAX_BYTES // 1_000_000} MB; it is not a text of one clip's ids."
        )
    if content.startswith(_ZIP):
        raise TokenError(
            f"{name} is an .npz of codes, not a text of ids; it names its own codec, so that no preset is needed: "
            "leave it out, and let a file's name end with .npz."
        )
    encoding = next((found for mark, found in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise TokenError(
            f"{name} is not a text of ids; give a .json, .txt or .npz file or a shard folder."
        ) from error
