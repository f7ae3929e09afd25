"""What a prepared folder is made of, and what of it an earlier run has left: all, a part that is gone on with, nothing.

    finished     clips.json says what it was made with and from
    begun        _progress.jsonl: the plan in its first line, then a line a recording that is done
    killed while the files got their names: samples.s16 and no clips.json; its size tells whether it is the journal's

How the files are written is in `clip_writing.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snac_tok.errors import TrainingError
from snac_tok.files import living_writers
from snac_tok.plain_values import from_plain
from snac_tok.sources.failures import Failure  # noqa: TC001 - `from_plain` reads the types at runtime
from snac_tok.training.clip_store import (
    BYTES_PER_SAMPLE,
    CLIPS_FILE,
    JOURNAL_FILE,
    PART_FILE,
    SAMPLES_FILE,
    ClipEntry,
    ClipStore,
)

if TYPE_CHECKING:
    from pathlib import Path

_CHECKSUM = "crc32"


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """What decides a prepared folder.

    Attributes:
        sampling_rate: of the clips, in Hz.
        made_with: the options, as JSON values.
        made_from: what tells these recordings from others; None where nothing does, and no folder is of this plan.
        rules: what no option says and a version decides, as JSON values. A folder that is begun by some is not gone
            on with by others; a finished one is whole whatever they were, and does not tell them.
    """

    sampling_rate: int
    made_with: dict[str, Any]
    made_from: str | None
    rules: dict[str, Any] = dataclasses.field(default_factory=dict)

    def differences(self, found: Any) -> list[str]:
        """Return the names of what differs in a stored plan; none where both make the same folder."""
        stored = found if isinstance(found, dict) else {}
        made_with = stored.get("made_with")
        options: dict[str, Any] = made_with if isinstance(made_with, dict) else {}
        names = sorted(self.made_with.keys() | options.keys())
        differing = [name for name in names if self.made_with.get(name) != options.get(name)]
        same_recordings = self.made_from is not None and stored.get("made_from") == self.made_from
        return differing + ([] if same_recordings else ["recordings"])

    def description(self) -> dict[str, Any]:
        """Return what a finished folder keeps of its plan."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "rules"}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a preparation counts.

    Attributes:
        num_recordings: read, failed ones included.
        num_bytes: of their files, where they are files.
        num_clips: written.
        num_samples: of these clips.
        num_short: clips left out for being shorter than `min_seconds`.
        num_failures: recordings that could not be used to their end; failed.jsonl lists them.
    """

    num_recordings: int = 0
    num_bytes: int = 0
    num_clips: int = 0
    num_samples: int = 0
    num_short: int = 0
    num_failures: int = 0


@dataclass(frozen=True, kw_only=True)
class DoneRecording:
    """A line of the journal.

    Attributes:
        clips: of one recording.
        failures: of the recording, where it has one.
        counts: of all recordings up to this one.
    """

    clips: tuple[ClipEntry, ...]
    failures: tuple[Failure, ...]
    counts: Counts


def finished_counts(out: Path, plan: ClipPlan) -> Counts | None:
    """Return what was counted when a run of this plan finished; None where there is no finished folder.

    Raises:
        TrainingError: it is of another plan, or damaged.
    """
    if not (out / CLIPS_FILE).exists():
        return None
    try:
        description = json.loads((out / CLIPS_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        description = None
    if names := plan.differences(description):
        raise TrainingError(
            f"{out} already holds prepared sound, made with other options ({', '.join(names)}); choose another "
            "folder, or replace it (--force)."
        )
    try:
        ClipStore.open(out)
        counts = from_plain(
            Counts,
            description.get("counts"),
            error=TrainingError,
            what=f"counts in {out / CLIPS_FILE}",
            complete=True,
        )
    except TrainingError as error:
        raise TrainingError(f"{str(error).rstrip('.')}, and replace it (--force).") from error
    if not living_writers(out / CLIPS_FILE):
        # Of a run that was killed when all was done; where the folder may not be written, it does no harm.
        with contextlib.suppress(OSError):
            (out / JOURNAL_FILE).unlink(missing_ok=True)
    return counts


def done_before(out: Path, plan: ClipPlan, *, replace: bool) -> list[DoneRecording]:
    """Return what a run of the same plan that was interrupted has done; refuse a folder that is taken."""
    if (out / CLIPS_FILE).exists() and not replace:
        raise TrainingError(
            f"{out} already holds prepared sound; choose another folder, or replace it (--force)."
        )
    begun, done = _read_journal(out)
    if begun is None:
        if (out / SAMPLES_FILE).exists() and not replace:
            raise TrainingError(f"{out} holds {SAMPLES_FILE} and no {CLIPS_FILE}; replace it (--force).")
        if (out / PART_FILE).exists() and (out / PART_FILE).stat().st_size and not replace:
            raise TrainingError(
                f"{out} was begun by another version, or {JOURNAL_FILE} in it is damaged; choose another folder, or "
                "begin anew (--force)."
            )
        return []
    names = plan.differences(begun)
    if names and not replace:
        raise TrainingError(
            f"{out} was begun with other options ({', '.join(names)}); run with the same ones, choose another "
            "folder, or begin anew (--force)."
        )
    has_other_rules = begun.get("rules", {}) != plan.rules
    if has_other_rules and not replace:
        raise TrainingError(
            f"{out} was begun by another version, which cuts recordings otherwise; finish it with that version, choose "
            "another folder, or begin anew (--force)."
        )
    return [] if names or has_other_rules else done


def _read_journal(out: Path) -> tuple[Any, list[DoneRecording]]:
    """Return the plan that was begun, None without a journal, and the recordings whose samples are there."""
    try:
        plan, *lines = map(_json_of, (out / JOURNAL_FILE).read_bytes().split(b"\n")[:-1])
    except (OSError, ValueError):
        return None, []
    if not isinstance(plan, dict):
        return None, []
    done: list[DoneRecording] = []
    for line in lines:
        # What a failing disk made of a line ends what is known: it, and what follows, is done again.
        try:
            recording = from_plain(DoneRecording, line, error=TrainingError, complete=True)
        except TrainingError:
            break
        if not _follows(recording, _end_of(done)):
            break
        done.append(recording)
    _restore_part(out, done)
    num_bytes = (out / PART_FILE).stat().st_size if (out / PART_FILE).exists() else 0
    while done and _end_of(done) * BYTES_PER_SAMPLE > num_bytes:
        done.pop()
    return plan, done


def journal_line(entry: ClipPlan | DoneRecording) -> bytes:
    """Return a line of the journal: JSON that ends with a checksum of what stands before it."""
    values = dataclasses.asdict(entry)
    return _json({**values, _CHECKSUM: zlib.crc32(_json(values))}) + b"\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _json_of(line: bytes) -> Any:
    """Return what a line of the journal holds, None where it is not as it was written."""
    try:
        values = json.loads(line)
        checksum = values.pop(_CHECKSUM)
        return values if checksum == zlib.crc32(_json(values)) else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _follows(recording: DoneRecording, end: int) -> bool:
    """Whether a recording's clips lie end to end behind what is known."""
    for clip in recording.clips:
        if clip.start != end or clip.num_samples < 1:
            return False
        end = clip.end
    return True


def _restore_part(out: Path, done: list[DoneRecording]) -> None:
    """Take back samples that had their name when the run was killed, and no list that tells of them yet."""
    samples, part = out / SAMPLES_FILE, out / PART_FILE
    if part.exists() or (out / CLIPS_FILE).exists() or not samples.exists():
        return
    if samples.stat().st_size == _end_of(done) * BYTES_PER_SAMPLE:
        samples.rename(part)


def _end_of(done: list[DoneRecording]) -> int:
    return next((each.clips[-1].end for each in reversed(done) if each.clips), 0)
