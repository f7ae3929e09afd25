"""The sounds of an evaluation as files, and a page that plays them side by side with their figures."""

from __future__ import annotations

import contextlib
import html
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from snac_tok.audio import write_audio
from snac_tok.errors import AudioFileError, EvaluationError
from snac_tok.files import naming_refusals, shown_path, sweep_folder
from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.audio import Waveform
    from snac_tok.evaluation.results import ClipResult, Evaluation

# The name of what went in, beside those of codecs, which have no brackets.
RECORDING = "(recording)"
PAGE_NAME = "listen.html"
SOUNDS_NAME = "sounds"
_CLIP_FOLDER = re.compile(r"\d{4,}-[A-Za-z0-9._-]+")
_STYLE = (
    "body{font:16px/1.4 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "section{border-top:1px solid #8886;padding:.5rem 0}figure{display:inline-block;margin:.5rem 1rem .5rem 0}"
    "audio{display:block;width:20rem;max-width:90vw}small{color:#777}"
)


class SoundFolder:
    """Writes each sound as it comes: one folder per clip, one WAV per codec.

    Args:
        folder: where `sounds/` goes; made where it is missing.
        replace: whether the sounds of an earlier evaluation, and the page that plays them, give way to the first sound
            that comes.

    Raises:
        EvaluationError: the folder holds sounds of an earlier evaluation, and they may not be replaced.

    Example:
        >>> import numpy as np
        >>> from snac_tok import Waveform
        >>> sounds = SoundFolder(Path("report"))
        >>> hum = Waveform(samples=np.zeros((1, 240), np.float32), sampling_rate=24_000)
        >>> sounds.add("speech/a b.wav", "opus:6", hum)
        >>> sounds.paths["speech/a b.wav"]["opus:6"].as_posix()
        'sounds/0001-speech-a-b/opus-6.wav'
    """

    def __init__(self, folder: Path, *, replace: bool = False) -> None:
        if not replace and (found := next(sounds_in(folder), None)):
            raise EvaluationError(
                f"{shown_path(found)} is a sound of an earlier report; choose another folder, or replace the report "
                "(--force)."
            )
        self._folder, self._replace = folder, replace
        self._names: dict[str, str] = {}
        self.paths: dict[str, dict[str, Path]] = {}

    def add(self, clip: str, codec: str, sound: Waveform) -> None:
        """Write one sound as 16-bit WAV.

        Raises:
            AudioFileError: the disk refused.
        """
        if self._replace and not self.paths:
            # Only now, with a sound in hand: an evaluation that fails before it leaves the old report whole.
            remove_sounds(self._folder)
        sounds = self.paths.setdefault(clip, {})
        folder = next(iter(sounds.values())).parent if sounds else self._next_folder(clip)
        path = folder / f"{self._name_of(codec)}.wav"
        with naming_refusals(self._folder, error=AudioFileError):
            (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_audio(self._folder / path, sound)
        sounds[codec] = path

    def _next_folder(self, clip: str) -> Path:
        stem = _file_name(re.sub(r"\.\w{1,5}$", "", clip))
        return Path(SOUNDS_NAME, f"{len(self.paths):04d}-{stem}")

    def _name_of(self, codec: str) -> str:
        """Return a codec's name as a file's: codecs may be called alike but for signs that no file's name can have."""
        if codec not in self._names:
            taken = {name.lower() for name in self._names.values()}
            wanted = _file_name(codec)
            numbered = (f"{wanted}-{number}" for number in itertools.count(2))
            names = itertools.chain([wanted], numbered)
            self._names[codec] = next(name for name in names if name.lower() not in taken)
        return self._names[codec]


def remove_sounds(folder: Path) -> None:
    """Remove the sounds of an evaluation and the page that plays them; files that no evaluation writes stay.

    Raises:
        EvaluationError: the disk refused.
    """
    with naming_refusals(folder, error=EvaluationError):
        (folder / PAGE_NAME).unlink(missing_ok=True)
        for sound in list(sounds_in(folder)):
            sound.unlink()
        for clip in _clip_folders(folder):
            sweep_folder(clip)
            with contextlib.suppress(OSError):  # it holds files of others
                clip.rmdir()
        with contextlib.suppress(OSError):
            (folder / SOUNDS_NAME).rmdir()


def sounds_in(folder: Path) -> Iterator[Path]:
    """Yield the sounds that evaluations have written into a folder, also those of one that was killed."""
    for clip in _clip_folders(folder):
        yield from (path for path in sorted(clip.glob("*.wav")) if path.is_file())


def _clip_folders(folder: Path) -> list[Path]:
    # No links: what they lead to is somebody else's.
    sounds = folder / SOUNDS_NAME
    found = [] if sounds.is_symlink() else sorted(sounds.glob("*"))
    return [
        path
        for path in found
        if _CLIP_FOLDER.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]


def listening_page(found: Evaluation, sounds: SoundFolder) -> str:
    """Return a page (HTML, without scripts or anything from elsewhere) that plays every clip through every codec.

    Args:
        found: the figures.
        sounds: what was written; the page belongs into the same folder.
    """
    figures = {(result.clip, codec.name): result for codec in found.codecs for result in codec.clips}
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Listen</title>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<style>{_STYLE}</style><h1>Listen</h1>",
        f"<p>{counted(len(sounds.paths), 'clip')}, each as recorded and through each codec.",
        "The figures are those of report.json.</p>",
    ]
    for clip, paths in sounds.paths.items():
        players = [
            _player(path.as_posix(), codec, figures.get((clip, codec)), found.measures)
            for codec, path in paths.items()
        ]
        parts.append(f"<section><h2>{html.escape(clip)}</h2>{''.join(players)}</section>")
    return "\n".join(parts) + "\n"


def _player(source: str, codec: str, result: ClipResult | None, measures: tuple[str, ...]) -> str:
    values = {name: result.mean(name) for name in measures} if result else {}
    shown = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None)
    return (
        f"<figure><figcaption>{html.escape(codec)}</figcaption>"
        f"<audio controls preload='none' src='{html.escape(source, quote=True)}'></audio>"
        f"<small>{html.escape(shown)}</small></figure>"
    )


def _file_name(name: str) -> str:
    """Return what every file system takes as part of a name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[-80:].lstrip("-.") or "sound"
