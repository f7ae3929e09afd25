"""The folder of an export: one writer at a time, whole parts only, and a memory of what is done.

    OUT/
    ├── _export.json                     what is exported, written first; its totals are added last
    ├── train-00000-of-00003.parquet …   the parts' files; published when they are whole
    ├── _parts/00000.json …              what each part holds, written behind its files
    └── _left_out.json                   records that were left out, and why; only if there are any

A part's files are written into a hidden folder, brought to the disk and renamed. A part without its entry in _parts is
written anew; with it, and with files of the sizes that it names, it is kept. Nothing that is not of an export is
removed or written over.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from snac_tok.errors import ExportError
from snac_tok.files import (
    HiddenFile,
    living_writers,
    naming_refusals,
    replacing,
    sweep_folder,
    sync_folder,
    write_bytes_atomically,
)
from snac_tok.plain_values import differences, from_plain, parse_json, read_text, to_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

EXPORT_NAME = "_export.json"
LEFT_OUT_NAME = "_left_out.json"
_PARTS = "_parts"
# Hidden, because readers of folders look into others.
_STAGING = ".staging"
# Lhotse takes every file of a folder for a field, so that its files need a folder of their own.
SHAR_FOLDER = "shar"
# The files of all formats, those of an interrupted part included.
_FILE = re.compile(r"train-\d{5,}-of-\d{5,}\.(?:parquet|jsonl|bin|idx|tar|ds(?:\.(?:index|loss|metadata))?)")
_SHAR_FILE = re.compile(r"[a-z_]+\.\d{6,}\.(?:tar|jsonl\.gz)")
_PART_FILE = re.compile(r"\d{5,}\.json")
_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A record that was not exported.

    Attributes:
        id: of the record.
        reason: why.
    """

    id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one part holds.

    Attributes:
        num_records: written.
        num_tokens: ids or codes of them.
        num_samples: of their sound, at the codec's rate.
        files: sizes in bytes, by their names in the folder.
        left_out: records that were not written.
    """

    num_records: int
    num_tokens: int
    num_samples: int
    files: dict[str, int] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """The contents of _export.json."""

    format_version: int
    settings: dict[str, Any]
    totals: dict[str, Any] | None = None


class ExportFolder:
    """An output folder while it is written; a context manager.

    Args:
        path: a new folder, or that of the same export, interrupted or finished.
        settings: all that decides what is written, as JSON values.
        num_parts: of the whole export.
        replace: whether an export with other settings is removed first.

    Raises:
        ExportError: the folder holds something else or an export with other settings, somebody else is writing into
            it, or the disk refuses.
    """

    def __init__(self, path: Path, settings: dict[str, Any], *, num_parts: int, replace: bool) -> None:
        self.path = path
        self._num_parts = num_parts
        # As JSON gives them back: it has no tuples.
        self._settings = json.loads(json.dumps(settings))
        self._replace = replace
        self._claim: HiddenFile | None = None

    def __enter__(self) -> Self:
        with naming_refusals(self.path, error=ExportError):
            self.path.mkdir(parents=True, exist_ok=True)
            sweep_folder(self.path)
            _refuse_others(self.path)
            if self._is_finished():  # nothing is written: its filesystem may be read-only by now
                return self
            # Held until the end: the lock of this name says that somebody is writing.
            self._claim = HiddenFile(self.path / EXPORT_NAME)
            try:
                self._begin(self._claim)
            except BaseException:
                self._claim.discard()
                raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._claim is None:
            return
        shutil.rmtree(self.path / _STAGING, ignore_errors=True)
        self._claim.discard()

    def _begin(self, claim: HiddenFile) -> None:
        if living_writers(self.path / EXPORT_NAME) - {claim.path}:
            raise ExportError(
                f"another process is exporting into {self.path}; wait until it has ended, or choose another folder."
            )
        shutil.rmtree(self.path / _STAGING, ignore_errors=True)
        if (self.path / EXPORT_NAME).exists() and (fault := self._fault()) is not None:
            if not self._replace:
                raise ExportError(f"{fault}; choose another folder, or replace the export (--force).")
            self._clear()
        if not (self.path / EXPORT_NAME).exists():
            self._write_export(totals=None)
            (self.path / _PARTS).mkdir(exist_ok=True)

    def _is_finished(self) -> bool:
        if not (self.path / EXPORT_NAME).exists() or self._fault() is not None or self.totals is None:
            return False
        return all(self.part(index) is not None for index in range(self._num_parts))

    def _fault(self) -> str | None:
        """Return why the export that is there is not this one; None if it is."""
        try:
            found = _read(_Stored, self.path / EXPORT_NAME)
        except ExportError as error:
            return str(error).rstrip(".")
        if names := differences(found.settings, self._settings):
            return f"{self.path} holds an export with other options (different: {', '.join(names)})"
        return None

    @property
    def totals(self) -> dict[str, Any] | None:
        """What a finished export holds; None before it is finished."""
        totals: dict[str, Any] | None = _read(_Stored, self.path / EXPORT_NAME).totals
        return totals

    def part(self, index: int) -> Part | None:
        """Return a part that is done and whole, None where it is to be written."""
        path = self._part_path(index)
        if not path.exists():
            return None
        try:
            part: Part = _read(Part, path)
        except ExportError:  # damaged: what it would have said is found out again
            return None
        return part if all(_size(self.path / name) == size for name, size in part.files.items()) else None

    @contextlib.contextmanager
    def staging(self, stem: str) -> Iterator[Path]:
        """Lend the path, without endings, under which a part's files are written before they are published."""
        # Absolute: fsspec, which datatrove writes through, takes a relative name to be where it was when first used.
        folder = (self.path / _STAGING).absolute()
        with naming_refusals(self.path / stem, error=ExportError):
            path = folder / stem
            path.parent.mkdir(parents=True)
            try:
                yield path
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def publish(self) -> dict[str, int]:
        """Give the staged files their names, whole, and return their sizes by these names."""
        folder = self.path / _STAGING
        staged = sorted(path for path in folder.rglob("*") if path.is_file())
        for path in staged:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        sizes = {}
        for path in staged:
            name = path.relative_to(folder)
            target = self.path / name
            target.parent.mkdir(exist_ok=True)
            sizes[name.as_posix()] = path.stat().st_size
            path.replace(target)
            sync_folder(target.parent)
        return sizes

    def remember(self, index: int, part: Part) -> None:
        """Write a part's entry: from now on it is done."""
        path = self._part_path(index)
        path.parent.mkdir(exist_ok=True)
        write_bytes_atomically(path, _json(to_plain(part)), error=ExportError)

    def finish(self, totals: dict[str, Any], parts: Iterable[Part]) -> None:
        """List what was left out, and add the totals: the export is complete."""
        path = self.path / LEFT_OUT_NAME
        if totals["left_out"]:
            listed = (each for part in parts for each in part.left_out)
            with replacing(path, error=ExportError) as file:
                for place, each in enumerate(listed):
                    line = json.dumps(to_plain(each), ensure_ascii=False)
                    file.write(f"{',' if place else '['}\n{line}".encode())
                file.write(b"\n]\n")
        else:
            path.unlink(missing_ok=True)
        self._write_export(totals=totals)

    def _write_export(self, *, totals: dict[str, Any] | None) -> None:
        stored = _Stored(format_version=_FORMAT_VERSION, settings=self._settings, totals=totals)
        write_bytes_atomically(self.path / EXPORT_NAME, _json(to_plain(stored)), error=ExportError)

    def _clear(self) -> None:
        """Remove an export, its list of itself last: an interruption leaves what can be removed again."""
        for path in sorted(self.path.glob("*")):
            if _FILE.fullmatch(path.name):
                path.unlink()
        for folder, names in ((SHAR_FOLDER, _SHAR_FILE), (_PARTS, _PART_FILE)):
            for path in sorted((self.path / folder).glob("*")):
                if names.fullmatch(path.name):
                    path.unlink()
            with contextlib.suppress(OSError):  # it is not there, or holds other files
                (self.path / folder).rmdir()
        for name in (LEFT_OUT_NAME, EXPORT_NAME):
            (self.path / name).unlink(missing_ok=True)

    def _part_path(self, index: int) -> Path:
        return self.path / _PARTS / f"{index:05d}.json"


def _refuse_others(path: Path) -> None:
    """Refuse a folder that holds something, and no export."""
    if (path / EXPORT_NAME).exists():
        return
    found = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    if found:
        raise ExportError(
            f"{path} holds {found[0]}, which is of no export; choose a new folder, or an empty one."
        )


def _read(kind: Any, path: Path) -> Any:
    text = read_text(path, what="the export's record", error=ExportError)
    values = parse_json(text, what=str(path), error=ExportError)
    if isinstance(values, dict) and values.get("format_version", _FORMAT_VERSION) != _FORMAT_VERSION:
        raise ExportError(
            f"{path} is of format version {values['format_version']!r}, this snac_tok writes {_FORMAT_VERSION}."
        )
    return from_plain(kind, values, what=str(path), error=ExportError)


def _size(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return None


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
