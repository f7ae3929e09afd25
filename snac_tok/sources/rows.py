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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snac_tok.errors import SourceError
from snac_tok.sources.parts import checked_part
from snac_tok.sources.recording import Recording
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


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a row stands, and where its paths are relative to.

    Attributes:
        manifest: its path.
        line: of the row, from 1; None where rows are not lines.
    """

    manifest: Path
    line: int | None = None

    def __str__(self) -> str:
        return str(self.manifest) if self.line is None else f"{self.manifest}, line {self.line}"


def recording_of(
    fields: Mapping[str, Any],
    *,
    place: Place,
    keep: Sequence[str] = (),
    name: str | None = None,
    sound: Any = None,
    num_bytes: int | None = None,
) -> Recording:
    """Return the recording that a row means; a missing file fails when it is read.

    Args:
        fields: the row's values by the names of its columns.
        place: where it stands.
        keep: columns that are kept beside speaker and language.
        name: of the recording; by default its path, with the part that is meant.
        sound: where it is, if the row does not say.
        num_bytes: of `sound`.

    Raises:
        SourceError: there is no column of paths, or a part that cannot be.
    """
    if "recording" in fields and "supervisions" in fields:
        fields = _of_cut(fields, place)
    part = _part_of(fields, str(place))
    if sound is None:
        path = _path_of(fields, place)
        sound = _located(place.manifest.parent, path)
        num_bytes = sound.stat().st_size if sound.is_file() else 0
        name = name or fields.get("cut_id") or _name_of(path, part)
    text = fields.get(first_of(TEXT_COLUMNS, fields) or "")
    channel = fields.get("channel_of_cut")
    return Recording(
        name=str(name),
        sound=sound,
        num_bytes=num_bytes,
        text=text if isinstance(text, str) and text.strip() else None,
        part=part,
        channel=None if channel is None else int(channel),
        columns=_columns_of(fields, keep),
    )


def _path_of(fields: Mapping[str, Any], place: Place) -> str:
    column = first_of(FILE_COLUMNS, fields)
    if column is None:
        raise SourceError(
            f"{place} has no column of recordings: one of {', '.join(FILE_COLUMNS)} is needed, got "
            f"{', '.join(fields) or 'none'}."
        )
    path = fields[column]
    if not isinstance(path, str) or not path:
        raise SourceError(f"{place}: {path!r} is not a path; mend the line.")
    return path


def _located(base: Path, path: str) -> Path:
    """Return where a recording is: as its row says, or where its corpus keeps recordings."""
    found = base / path
    if found.exists():
        return found
    candidates = [base / folder / f"{path}{ending}" for folder in _FOLDERS for ending in _ENDINGS]
    # Lhotse writes paths as they were given to it, relative to the folder that it ran in.
    candidates.append(Path.cwd() / path)
    return next((candidate for candidate in candidates if candidate.is_file()), found)


def _name_of(path: str, part: Part | None) -> str:
    if part is None:
        return path
    start, end = part
    return f"{path}@{start:012.6f}" + ("" if end is None else f"-{end:012.6f}")


def _part_of(fields: Mapping[str, Any], place: str) -> Part | None:
    start_name, end_name = first_of(_STARTS, fields), first_of(_ENDS, fields)
    start, end = _seconds(fields, start_name, place), _seconds(fields, end_name, place)
    if start is None and end is None:
        return None
    if end is None:
        duration = _seconds(fields, "duration", place)
        end = None if duration is None else (start or 0.0) + duration
    return checked_part(start or 0.0, end, name=place)


def _seconds(fields: Mapping[str, Any], column: str | None, place: str) -> float | None:
    value = fields.get(column or "")
    if value in (None, ""):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise SourceError(f"{place}: {value!r} is no number of seconds; mend the line.") from None
    return seconds if math.isfinite(seconds) else None


def _columns_of(fields: Mapping[str, Any], keep: Sequence[str]) -> dict[str, str]:
    names = {name: first_of(known, fields) for name, known in STANDARD_COLUMNS.items()}
    names |= {name: name for name in keep if name in fields}
    found = {name: fields[column] for name, column in names.items() if column is not None}
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _of_cut(fields: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Return one of Lhotse's cuts as a plain row."""
    recording, told = fields["recording"], (fields["supervisions"] or [{}])[0]
    try:
        source = recording["sources"][0]
        kind, path = source["type"], source["source"]
        start, duration = float(fields["start"]), float(fields["duration"])
        whole = start < _SAME_SECONDS and float(recording["duration"]) - duration < _SAME_SECONDS
        num_channels = len(recording.get("channel_ids") or source["channels"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SourceError(
            f"{place}: it is no cut of Lhotse's with a recording ({error!r}); mend the line."
        ) from None
    if kind != "file":
        raise SourceError(f"{place}: its sound is a {kind}; recordings in files are needed.")
    row = {"file_name": path, "cut_id": fields["id"]}
    row |= {name: told[name] for name in ("text", "speaker", "language", "gender") if told.get(name)}
    row |= {name: value for name, value in (told.get("custom") or {}).items() if isinstance(value, str)}
    if not whole:
        row |= {"start": start, "end": start + duration}
    if num_channels > 1 and not isinstance(fields.get("channel"), list):
        row["channel_of_cut"] = fields.get("channel")
    return row
