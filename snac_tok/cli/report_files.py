"""Which files `snac-tok eval` writes its report to, and that none of them takes another one's place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snac_tok.cli.shared_options import PIPE, refuse_existing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snac_tok.sources.recording import Recording

_FILES = {
    "json": "report.json",
    "text": "report.txt",
    "png": "quality.png",
    "spectrograms": "spectrograms.png",
    "page": "listen.html",
}


@dataclass(frozen=True, kw_only=True)
class ReportFile:
    """A part of the report, and where it goes.

    Attributes:
        kind: of `_FILES`.
        path: of the file.
        option: that it comes from.
    """

    kind: str
    path: Path
    option: str


def chosen_targets(
    out: str | None, json_path: str | None, png_path: str | None, *, sounds: bool, force: bool
) -> list[ReportFile]:
    """Return the files of the report: all of its folder, and in addition those that are named.

    Raises:
        click.UsageError: two of them would be one file.
        click.ClickException: one would be overwritten unasked.
    """
    named = [
        ReportFile(kind=kind, path=Path(path), option=option)
        for kind, path, option in (("json", json_path, "--json"), ("png", png_path, "--png"))
        if path not in (None, PIPE)
    ]
    own = [] if out is None else _files_in(Path(out), sounds=sounds)
    _refuse_one_place([*own, *named], out if sounds else None)
    for target in named:
        refuse_existing(target.path, force=force)
    if out is not None and Path(out).exists():
        if not Path(out).is_dir():
            raise click.ClickException(f"{out} is a file; name a folder for the report.")
        # Also the page where none is written: that of another report would play other sounds.
        for target in _files_in(Path(out), sounds=True):
            refuse_existing(target.path, force=force)
    return [*own, *named]


def _files_in(folder: Path, *, sounds: bool) -> list[ReportFile]:
    return [
        ReportFile(kind=kind, path=folder / name, option="-o")
        for kind, name in _FILES.items()
        if sounds or kind != "page"
    ]


def _refuse_one_place(targets: Sequence[ReportFile], out: str | None) -> None:
    """Refuse two files that are one, and a file where the folder of another one is to be."""
    from snac_tok.evaluation.listening import SOUNDS_NAME

    # Sounds are written one by one; their folder stands for them.
    taken = [] if out is None else [("sounds", _real(Path(out, SOUNDS_NAME)), "-o")]
    for target in targets:
        path = _real(target.path)
        for kind, other, option in taken:
            is_same = path == other and kind == target.kind
            if not is_same and (path == other or path in other.parents or other in path.parents):
                raise click.UsageError(
                    f"{target.option} {target.path} would take the place of what {option} writes, {other}; "
                    "choose another name"
                )
        taken.append((target.kind, path, target.option))


def refuse_lost_inputs(
    inputs: Iterable[str], clips: Iterable[Recording], targets: Iterable[ReportFile], *, out: str | None
) -> None:
    """Stop before any work that would end with a recording, or a list of them, written over or removed.

    Args:
        inputs: as they were named.
        clips: that were found in them.
        targets: the report's files.
        out: its folder.

    Raises:
        click.UsageError: one would be lost.
    """
    from snac_tok.evaluation.listening import sounds_in
    from snac_tok.sources.stored import StoredSound

    sounds = (clip.sound.path if isinstance(clip.sound, StoredSound) else clip.sound for clip in clips)
    files = (sound for sound in sounds if isinstance(sound, str | Path))
    read = {_real(Path(path)) for path in (*inputs, *files)}
    for target in targets:
        if _real(target.path) in read:
            raise click.UsageError(
                f"{target.option} would replace {target.path}, which is read; choose another name"
            )
    for sound in sounds_in(Path(out)) if out is not None else ():
        if _real(sound) in read:
            raise click.UsageError(
                f"the report would replace {sound}, which is read; choose another folder for -o"
            )


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
