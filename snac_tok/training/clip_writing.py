"""A prepared folder while it is written: whole in the end, the one of before until then, and resumed when killed.

    _samples.part      samples so far      ┐ a recording counts as done when its line is in the journal, and the line
    _progress.jsonl    plan, then a line   ┘ is written when its samples are on the disk: what is behind is cut off
                       a recording

    the end: everything on the disk ─ clips.json of before removed ─ samples.s16 named ─ failed.jsonl named
      ─ clips.json named: from here on there is a whole folder ─ _progress.jsonl removed

Who writes holds a lock (a hidden clips.json); one that lives lets no second one begin. What an interrupted run has left
is read in `clip_plan.py`; nothing here knows where samples come from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from typing import TYPE_CHECKING, Any

from snac_tok.errors import TrainingError
from snac_tok.files import (
    HiddenFile,
    living_writers,
    naming_refusals,
    shown_path,
    sweep_folder,
    sync_folder,
)
from snac_tok.training.clip_plan import (
    Counts,
    DoneRecording,
    done_before,
    journal_line,
)
from snac_tok.training.clip_store import (
    BYTES_PER_SAMPLE,
    CLIPS_FILE,
    FORMAT_VERSION,
    JOURNAL_FILE,
    PART_FILE,
    SAMPLES_FILE,
    ClipEntry,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from snac_tok.sources.failures import Failure
    from snac_tok.training.clip_plan import ClipPlan

FAILED_FILE = "failed.jsonl"
# A killed run loses at most this much work, and waits for the disk no more often.
_COMMIT_SECONDS = 2.0


class ClipWriter:
    """Appends clips to a folder, recording by recording; `writing_clips` lends it.

    Attributes:
        clips: so far, those of an interrupted run included.
        failures: so far.
        counts: what the caller counted up to the last recording that is done.
        num_done: recordings that an interrupted run had done, to be skipped.
    """

    def __init__(self, part: FileIO, journal: FileIO, *, done: list[DoneRecording]) -> None:
        self.clips: list[ClipEntry] = [clip for recording in done for clip in recording.clips]
        self.failures: list[Failure] = [failure for recording in done for failure in recording.failures]
        self.counts = done[-1].counts if done else Counts()
        self.num_done = len(done)
        self._part, self._journal = part, journal
        self._num_noted = len(self.clips), len(self.failures)
        self._waiting: list[bytes] = []
        self._last_commit = time.monotonic()

    @property
    def num_samples(self) -> int:
        """Of all clips."""
        return self.clips[-1].end if self.clips else 0

    def add_clip(self, clip_id: str, samples: npt.NDArray[np.int16], *, level_db: float) -> None:
        """Append a clip.

        Args:
            clip_id: its name; bytes that are not UTF-8 become text.
            samples: little-endian int16 (T,), at least one.
            level_db: see `ClipEntry`.
        """
        _write_all(self._part, samples.tobytes())
        entry = ClipEntry(
            id=shown_path(clip_id), start=self.num_samples, num_samples=len(samples), level_db=level_db
        )
        self.clips.append(entry)

    def end_recording(self, counts: Counts) -> None:
        """Note that a recording is done, with what has been counted so far."""
        num_clips, num_failures = self._num_noted
        line = DoneRecording(
            clips=tuple(self.clips[num_clips:]), failures=tuple(self.failures[num_failures:]), counts=counts
        )
        self.counts, self._num_noted = counts, (len(self.clips), len(self.failures))
        self._waiting.append(journal_line(line))
        if time.monotonic() - self._last_commit > _COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Bring everything that is done to the disk: the samples first, then the lines that tell of them."""
        os.fsync(self._part.fileno())
        _write_all(self._journal, b"".join(self._waiting))
        os.fsync(self._journal.fileno())
        self._waiting.clear()
        self._last_commit = time.monotonic()


@contextlib.contextmanager
def writing_clips(out: Path, plan: ClipPlan, *, replace: bool) -> Iterator[ClipWriter]:
    """Lend a writer that goes on where a run of the same plan was interrupted; the folder is whole on leaving.

    Args:
        out: made where it is missing.
        plan: what is to be made.
        replace: whether prepared sound that stands there, or was begun with other options, may be replaced.

    Raises:
        TrainingError: the folder is taken, another preparation writes into it, or the disk refuses.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from snac_tok.training.clip_plan import ClipPlan
        >>> from snac_tok.training.clip_store import ClipStore
        >>> plan = ClipPlan(sampling_rate=24000, made_with={}, made_from="zeros")
        >>> with writing_clips(Path("ready"), plan, replace=True) as writer:
        ...     writer.add_clip("a", np.zeros(100, "<i2"), level_db=-120.0)
        >>> ClipStore.open("ready").clip_ids
        ['a']
    """
    with naming_refusals(out, error=TrainingError), contextlib.ExitStack() as stack:
        out.mkdir(parents=True, exist_ok=True)
        sweep_folder(out)
        lock = HiddenFile(out / CLIPS_FILE)
        stack.callback(lock.discard)
        _refuse_company(out, own=lock)
        writer = _begun(out, plan, done_before(out, plan, replace=replace), stack)
        try:
            yield writer
            writer.commit()
            _publish(out, plan, writer, lock)
        except BaseException:
            _keep_what_is_done(out, writer)
            raise


def _begun(out: Path, plan: ClipPlan, done: list[DoneRecording], stack: contextlib.ExitStack) -> ClipWriter:
    """Open both files behind what is done, or empty ones."""
    # Whole in one step: a journal that is there always says whose it is.
    _write_whole(out / JOURNAL_FILE, journal_line(plan) + b"".join(map(journal_line, done)))
    part = stack.enter_context((out / PART_FILE).open("r+b" if done else "wb", buffering=0))
    journal = stack.enter_context((out / JOURNAL_FILE).open("ab", buffering=0))
    writer = ClipWriter(part, journal, done=done)
    part.truncate(writer.num_samples * BYTES_PER_SAMPLE)
    part.seek(0, os.SEEK_END)
    return writer


def _keep_what_is_done(out: Path, writer: ClipWriter) -> None:
    """Leave what the next run goes on from; nothing where there is no clip yet."""
    with contextlib.suppress(OSError, ValueError):
        if writer.clips:
            writer.commit()
        else:
            (out / PART_FILE).unlink(missing_ok=True)
            (out / JOURNAL_FILE).unlink(missing_ok=True)


def _publish(out: Path, plan: ClipPlan, writer: ClipWriter, clips_file: HiddenFile) -> None:
    description = {
        "format_version": FORMAT_VERSION,
        **plan.description(),
        "counts": dataclasses.asdict(writer.counts),
        "clips": [dataclasses.asdict(clip) for clip in writer.clips],
    }
    text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
    clips_file.handle.write(text.encode() + b"\n")
    clips_file.complete()
    failed = b"".join(_json_line(dataclasses.asdict(failure)) for failure in writer.failures)
    # While the samples are not those that it lists, there must be no list.
    (out / CLIPS_FILE).unlink(missing_ok=True)
    (out / PART_FILE).replace(out / SAMPLES_FILE)
    if failed:
        _write_whole(out / FAILED_FILE, failed)
    else:
        (out / FAILED_FILE).unlink(missing_ok=True)
    clips_file.path.replace(out / CLIPS_FILE)
    sync_folder(out)
    (out / JOURNAL_FILE).unlink(missing_ok=True)


def _refuse_company(out: Path, *, own: HiddenFile) -> None:
    """Refuse a folder that somebody else is writing: the samples of one would end beside the list of the other.

    Our file stands there already, so of two that begin together at least one sees the other.
    """
    if living_writers(out / CLIPS_FILE) - {own.path}:
        raise TrainingError(
            f"another process is preparing sound in {out}; wait until it has ended, or choose another folder."
        )


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file under its name in one step; what the system refuses is told by the caller."""
    hidden = HiddenFile(path)
    try:
        hidden.handle.write(data)
        hidden.complete()
        hidden.path.replace(path)
    finally:
        hidden.discard()


def _json_line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _write_all(file: FileIO, data: bytes) -> None:
    """An unbuffered file may take a part; nothing is held back that a full disk would refuse later."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
