"""Prepared sound on disk, read without a copy and without any audio library.

    FOLDER/samples.s16   little-endian int16, mono, all clips end to end
    FOLDER/clips.json    where each clip lies in it; written last, so that a folder without it is unfinished

    samples.s16   |clip 0        |clip 1 |clip 2            |
                   ^ start        ^ start ^ start            ^ as many bytes as clips.json says, or it is refused

How a folder is made is told in `clip_making.py`; nothing here decodes, resamples or draws.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from snac_tok.errors import TrainingError

FORMAT_VERSION = 1
SAMPLES_FILE = "samples.s16"
CLIPS_FILE = "clips.json"
# While a folder is made; see `clip_writing.py`.
PART_FILE = "_samples.part"
JOURNAL_FILE = "_progress.jsonl"
BYTES_PER_SAMPLE = 2
FULL_SCALE = 32_768
# Of each clip, in a digest.
_DIGEST_SAMPLES = 64
_MOST_DB = 1000
_REMEDY = "prepare it again with snac-tok prepare."


@dataclass(frozen=True, kw_only=True)
class ClipEntry:
    """Where one clip lies.

    Attributes:
        id: names it; its file, with `#k` after it where a file became several clips.
        start: of its first sample, in samples from the start of the store.
        num_samples: at least 1.
        level_db: of its parts that are not silent, RMS in dB relative to full scale.
    """

    id: str
    start: int
    num_samples: int
    level_db: float

    @property
    def end(self) -> int:
        """The sample after its last one."""
        return self.start + self.num_samples


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipStore:
    """A prepared folder, its samples mapped into memory; make it with `open`.

    Attributes:
        folder: that was opened.
        sampling_rate: of all clips, in Hz.
        clips: where each lies, in the order of their samples.
        samples: (N,) int16, of all clips end to end; pages are read as they are touched, and it is not to be
            written into.
        mapping: the file behind the samples, None where they are in memory. Touching a page that it does not have any
            more ends the process without a word, so `clip` and `stretch` look first.

    Example:
        >>> ClipStore.open("nowhere")
        Traceback (most recent call last):
        snac_tok.errors.TrainingError: nowhere is not a folder of prepared sound: it lacks clips.json; ...
    """

    folder: Path
    sampling_rate: int
    clips: tuple[ClipEntry, ...]
    samples: torch.Tensor
    mapping: mmap.mmap | None = field(default=None, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as a folder, which maps it anew."""
        return ClipStore.open, (self.folder,)

    @classmethod
    def open(cls, folder: str | Path) -> ClipStore:
        """Open what `snac-tok prepare` made.

        Raises:
            TrainingError: the folder does not hold prepared sound, is unfinished or damaged, or its files contradict
                each other.
        """
        folder = Path(folder)
        description = _description(folder)
        sampling_rate, clips = _checked(description, folder / CLIPS_FILE)
        mapping = _mapped(folder / SAMPLES_FILE, num_samples=clips[-1].end)
        samples = torch.frombuffer(mapping, dtype=torch.int16)
        return cls(folder=folder, sampling_rate=sampling_rate, clips=clips, samples=samples, mapping=mapping)

    @property
    def num_clips(self) -> int:
        """How many there are, at least 1."""
        return len(self.clips)

    @property
    def clip_ids(self) -> list[str]:
        """The clips' names, in order."""
        return [clip.id for clip in self.clips]

    @property
    def duration_seconds(self) -> float:
        """Of all clips together."""
        return len(self.samples) / self.sampling_rate

    @cached_property
    def digest(self) -> str:
        """Tells this sound from other sound: of the rate, and of each clip's name, length, level and some samples."""
        digest = hashlib.sha256(f"{self.sampling_rate}".encode())
        for clip in self.clips:
            digest.update(f"\n{clip.id!r} {clip.num_samples} {clip.level_db!r} ".encode())
            # A page of a file that may have hundreds of gigabytes.
            middle = clip.start + clip.num_samples // 2
            digest.update(self.samples[middle : min(clip.end, middle + _DIGEST_SAMPLES)].numpy().tobytes())
        return digest.hexdigest()

    def clip(self, index: int) -> torch.Tensor:
        """Return clip `index` as float32 samples (T,) in ±1, a copy.

        Raises:
            TrainingError: somebody has cut the samples' file since it was opened.
        """
        entry = self.clips[index]
        return self._read(entry.start, entry.end)

    def stretch(self, index: int, *, start: int, num_samples: int) -> torch.Tensor:
        """Return a stretch of clip `index` as float32 samples (num_samples,), zeros where it leaves the clip.

        Args:
            index: of the clip.
            start: of the stretch in the clip; may be negative.
            num_samples: of the stretch; may reach beyond the clip.

        Raises:
            TrainingError: somebody has cut the samples' file since it was opened.
        """
        entry = self.clips[index]
        first, last = max(start, 0), min(start + num_samples, entry.num_samples)
        stretch = torch.zeros(num_samples)
        if first < last:
            stretch[first - start : last - start] = self._read(entry.start + first, entry.start + last)
        return stretch

    def _read(self, start: int, end: int) -> torch.Tensor:
        """Return the samples between two places of the store as float32."""
        if self.mapping is not None and self.mapping.size() < len(self.samples) * BYTES_PER_SAMPLE:
            raise TrainingError(
                f"{self.folder / SAMPLES_FILE} was cut while it was in use: it holds {self.mapping.size()} of its "
                f"{len(self.samples) * BYTES_PER_SAMPLE} bytes; {_REMEDY}"
            )
        return self.samples[start:end].float() / FULL_SCALE


def _description(folder: Path) -> Any:
    path = folder / CLIPS_FILE
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise TrainingError(
            f"{folder} is not a folder of prepared sound: it lacks {CLIPS_FILE}; make one with snac-tok prepare."
        ) from error
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{path} is damaged: no JSON ({error}); {_REMEDY}") from error


def _checked(description: Any, path: Path) -> tuple[int, tuple[ClipEntry, ...]]:
    """Return the sampling rate and the clips, or say what is wrong with them."""
    if not isinstance(description, dict):
        raise TrainingError(f"{path} is damaged: it holds no JSON object; {_REMEDY}")
    version = description.get("format_version")
    if version != FORMAT_VERSION:
        raise TrainingError(f"{path} has format {version!r}; this version reads {FORMAT_VERSION}: {_REMEDY}")
    rate, clips = description.get("sampling_rate"), description.get("clips")
    if not isinstance(rate, int) or not _is_count(rate):
        raise TrainingError(f"{path} is damaged: its sampling_rate is {rate!r}; {_REMEDY}")
    if not isinstance(clips, list) or not clips:
        raise TrainingError(f"{path} lists no clips; {_REMEDY}")
    entries, end = [], 0
    for place, values in enumerate(clips):
        entries.append(_entry(values, start=end, place=place, path=path))
        end = entries[-1].end
    return rate, tuple(entries)


def _entry(values: Any, *, start: int, place: int, path: Path) -> ClipEntry:
    try:
        entry = ClipEntry(**values)
    except TypeError as error:
        raise TrainingError(f"{path} is damaged: clip {place} is {values!r}; {_REMEDY}") from error
    if not (isinstance(entry.id, str) and _is_count(entry.num_samples) and _is_level(entry.level_db)):
        raise TrainingError(f"{path} is damaged: clip {place} is {values!r}; {_REMEDY}")
    # A gap or an overlap would mean that the list is not of these samples.
    if type(entry.start) is not int or entry.start != start:
        raise TrainingError(
            f"{path} is damaged: clip {place} starts at {entry.start!r}, not at {start}; {_REMEDY}"
        )
    return entry


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_level(value: Any) -> bool:
    # No sound has a level beyond it, and larger integers are no floats.
    return type(value) in (int, float) and abs(value) < _MOST_DB


def _mapped(path: Path, *, num_samples: int) -> mmap.mmap:
    if sys.byteorder != "little":
        raise TrainingError(f"{path} holds little-endian samples, which this machine cannot map.")
    wanted = num_samples * BYTES_PER_SAMPLE
    try:
        with path.open("rb") as file:
            num_bytes = os.fstat(file.fileno()).st_size
            if num_bytes == wanted:
                # A private copy: whoever writes into it by mistake changes a page of memory, never the file.
                return mmap.mmap(file.fileno(), wanted, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}; {_REMEDY}") from error
    raise TrainingError(f"{path} holds {num_bytes} bytes, {CLIPS_FILE} tells of {wanted}; {_REMEDY}")
