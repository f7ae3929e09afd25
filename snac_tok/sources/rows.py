"""A row of a manifest → a recording, in the dialects of the field.

    whose            where the sound is           which part            what else
    any table        file_name, path, audio, …    start, end            text, sentence, …
    NeMo             audio_filepath               offset, duration      text, speaker
    Common Voice     path, in clips/                                    sentence, client_id, locale
    LJSpeech         the first cell, in wavs/                           the second cell
    Moshi            path                                               (its texts are in other files)
    Lhotse's cuts    recording.sources[0].source  start, duration       supervisions[0]: text, speaker, language

A duration without a start is that of the whole recording. Paths are relative to the manifest;
if there is no such file, to the current folder.
"""

from __future__ import annotations

import math
import reprlib
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snac_tok.errors import SourceError
from snac_tok.sources.cells import Place, kept_text, text_of
from snac_tok.sources.parts import checked_part
from snac_tok.sources.recording import Recording
from snac_tok.sources.stored import StoredSound, samples_error
from snac_tok.sources.tables import FILE_COLUMNS, TEXT_COLUMNS, first_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snac_tok.sources.parts import Part

# What is kept of a recording where nobody says otherwise, and what tables call it.
STANDARD_COLUMNS = {
    "speaker": ("speaker", "speaker_id", "speaker_name", "client_id", "spk", "spk_id"),
    "language": ("language", "lang", "locale", "language_id", "lang_id"),
}
_STARTS = ("start", "start_time", "offset", "begin", "start_seconds")
_ENDS = ("end", "end_time", "stop", "end_seconds")
# Where corpora keep recordings that their tables name without a folder.
_FOLDERS = ("", "clips", "wavs", "audio")
_ENDINGS = ("", ".wav", ".flac")
# Two numbers that differ by less mean the same place: a sample lasts longer.
_SAME_SECONDS = 1e-6
_MOST_PLACES = 1024


class Table:
    """Makes recordings of the rows of one manifest or archive.

    Args:
        path: of the manifest; paths in its rows are relative to its folder.
        keep: columns that are kept beside speaker and language.
    """

    def __init__(self, path: Path, *, keep: Sequence[str] = ()) -> None:
        self.path = path
        self._keep = tuple(keep)
        # Tables of parts name the same file in row after row.
        self._places: dict[str, tuple[Path, int]] = {}

    def recording(
        self,
        fields: Mapping[str, Any],
        *,
        line: int | None = None,
        name: str | None = None,
        sound: Any = None,
        num_bytes: int | None = None,
    ) -> Recording:
        """Return the recording that a row means; a missing file fails when it is read.

        Args:
            fields: the row's values by the names of its columns.
            line: its number, from 1; None where rows are not lines.
            name: of the recording; by default its path, with the part that is meant.
            sound: where it is, if the row does not say; a stored one is meant as a whole.
            num_bytes: of `sound`.

        Raises:
            SourceError: there is no column of paths, a part that cannot be, or a text that is none.
        """
        place = Place(self.path, line, name)
        if sound is None and "recording" in fields and "supervisions" in fields:
            fields = _of_cut(fields, place)
        names = _names(tuple(fields), self._keep)
        # Beside a stored sound, start and end say where in its own source the clip was cut from.
        part = None if isinstance(sound, StoredSound) else _part_of(fields, names, place)
        if sound is None:
            path = _path_of(fields, names, place)
            sound, num_bytes = self._located(path)
            name = name or fields.get("cut_id") or _name_of(path, part)
        channel = fields.get("channel_of_cut")
        return Recording(
            name=str(name),
            sound=sound,
            num_bytes=num_bytes,
            text=text_of(fields.get(names.text), place=place),
            part=part,
            channel=None if channel is None else int(channel),
            columns=kept_columns(fields, self._keep, place=place),
        )

    def _located(self, path: str) -> tuple[Path, int]:
        if path not in self._places:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[path] = _located(self.path.parent, path)
        return self._places[path]


def told_columns(there: Sequence[str], keep: Sequence[str]) -> set[str]:
    """Return which of a table's columns give the text and what is kept beside it.

    >>> sorted(told_columns(["audio", "sentence", "client_id", "age"], ["age"]))
    ['age', 'client_id', 'sentence']
    """
    names = _names(tuple(there), tuple(keep))
    return {names.text, *(known for _, known in names.columns)} - {""}


def kept_columns(
    fields: Mapping[str, Any], keep: tuple[str, ...], *, place: object = "the row"
) -> dict[str, str]:
    """Return what is kept of a row beside its text: speaker, language, and the columns in `keep`.

    Raises:
        SourceError: bytes that are not UTF-8; the message names the place.

    >>> kept_columns({"path": "a.wav", "client_id": 7, "age": "", "mood": "calm"}, ("mood", "age"))
    {'speaker': '7', 'mood': 'calm'}
    """
    return {
        column: kept_text(value, place=place)
        for column, known in _names(tuple(fields), keep).columns
        if (value := fields[known]) not in (None, "")
    }


def told_of_cut(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first supervision of one of Lhotse's cuts tells, as a plain row."""
    told = (fields["supervisions"] or [{}])[0]
    row = {name: told[name] for name in ("text", "speaker", "language", "gender") if told.get(name)}
    return row | {name: value for name, value in (told.get("custom") or {}).items() if isinstance(value, str)}


@dataclass(frozen=True, kw_only=True)
class _Names:
    """What a table calls its columns; an empty name stands for one that it does not have."""

    file: str
    text: str
    start: str
    end: str
    columns: tuple[tuple[str, str], ...]


@lru_cache(maxsize=64)
def _names(there: tuple[str, ...], keep: tuple[str, ...]) -> _Names:
    """Find the columns once a table, not once a row."""
    kept = {name: first_of(known, there) for name, known in STANDARD_COLUMNS.items()}
    kept |= {name: name for name in keep if name in there}
    return _Names(
        file=first_of(FILE_COLUMNS, there) or "",
        text=first_of(TEXT_COLUMNS, there) or "",
        start=first_of(_STARTS, there) or "",
        end=first_of(_ENDS, there) or "",
        columns=tuple((name, known) for name, known in kept.items() if known is not None),
    )


def _path_of(fields: Mapping[str, Any], names: _Names, place: Place) -> str:
    if not names.file:
        raise SourceError(
            f"{place} has no column of recordings: one of {', '.join(FILE_COLUMNS)} is needed, got "
            f"{', '.join(fields) or 'none'}."
        )
    path = fields[names.file]
    if path is None:
        raise SourceError(f"{place} holds no path in its column {names.file!r}; mend or remove the row.")
    if isinstance(path, dict) and "array" in path:
        raise samples_error(place)
    if not isinstance(path, str) or not path:
        raise SourceError(f"{place}: {reprlib.repr(path)} is not a path; mend the line.")
    return path


def _located(base: Path, path: str) -> tuple[Path, int]:
    """Return where a recording is, as its row says or where its corpus keeps recordings, and its size."""
    found = base / path
    size = _size(found)
    if size is not None:
        return found, size
    candidates = [base / folder / f"{path}{ending}" for folder in _FOLDERS for ending in _ENDINGS]
    # Lhotse writes paths as they were given to it, relative to the folder that it ran in.
    candidates.append(Path.cwd() / path)
    sizes = ((candidate, _size(candidate)) for candidate in candidates)
    return next(((candidate, size) for candidate, size in sizes if size is not None), (found, 0))


def _size(path: Path) -> int | None:
    """Return a file's size, None where there is no file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _name_of(path: str, part: Part | None) -> str:
    if part is None:
        return path
    start, end = part
    return f"{path}@{start:012.6f}" + ("" if end is None else f"-{end:012.6f}")


def _part_of(fields: Mapping[str, Any], names: _Names, place: Place) -> Part | None:
    if not (names.start or names.end):
        return None
    start, end = _seconds(fields.get(names.start), place), _seconds(fields.get(names.end), place)
    if start is None and end is None:
        return None
    if end is None:
        duration = _seconds(fields.get("duration"), place)
        end = None if duration is None else (start or 0.0) + duration
    return checked_part(start or 0.0, None if end == math.inf else end, name=place)


def _seconds(value: Any, place: Place) -> float | None:
    if value in (None, ""):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        raise SourceError(f"{place}: {reprlib.repr(value)} is no number of seconds; mend the line.") from None
    # Columns of numbers say "missing" by NaN.
    return None if math.isnan(seconds) else seconds


def _of_cut(fields: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Return one of Lhotse's cuts as a plain row."""
    recording = fields["recording"]
    try:
        source, channel = _source_of_cut(recording, fields.get("channel"), place)
        kind, path = source["type"], source["source"]
        start, duration = float(fields["start"]), float(fields["duration"])
        whole = start < _SAME_SECONDS and float(recording["duration"]) - duration < _SAME_SECONDS
        changes = [change["name"] for change in recording.get("transforms") or ()]
        row = {"file_name": path, "cut_id": fields["id"], **told_of_cut(fields)}
    except SourceError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SourceError(
            f"{place}: it is no cut of Lhotse's with a recording ({error!r}); mend the line."
        ) from None
    if kind != "file":
        raise SourceError(f"{place}: its sound is a {kind}; recordings in files are needed.")
    _check_unchanged(changes, place)
    if not whole:
        row |= {"start": start, "end": start + duration}
    return row | {"channel_of_cut": channel}


def _source_of_cut(recording: Mapping[str, Any], channel: Any, place: Place) -> tuple[Mapping[str, Any], Any]:
    """Return the file with a cut's channel, and the channel's number in it; None where there is no choice."""
    sources = recording["sources"]
    source = sources[0] if len(sources) == 1 else _file_of_channel(sources, channel, place)
    numbers = source.get("channels") or []
    there = numbers if len(sources) > 1 else recording.get("channel_ids") or numbers
    if isinstance(channel, list) or not there[1:]:
        return source, None
    return source, numbers.index(channel) if channel in numbers else channel


def _file_of_channel(sources: Sequence[Mapping[str, Any]], channel: Any, place: Place) -> Mapping[str, Any]:
    if isinstance(channel, list):
        raise SourceError(
            f"{place}: its channels {', '.join(map(str, channel))} are in {len(sources)} files; a cut with one "
            "channel, or a recording in one file, is needed."
        )
    found = next((source for source in sources if channel in source["channels"]), None)
    if found is None:
        raise SourceError(f"{place}: no file of its recording has channel {channel}; mend the line.")
    return found


def _check_unchanged(changes: Sequence[str], place: Place) -> None:
    # Another rate moves no second of a recording; all other changes do, or make other sound of it.
    if set(changes) - {"Resample"}:
        raise SourceError(
            f"{place}: Lhotse changes its recording when it loads it ({', '.join(changes)}), and the file holds the "
            "sound before that; let Lhotse write the changed sound to files, or name the cuts before that."
        )
