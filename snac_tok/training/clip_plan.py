"""What a prepared folder is made of, and what of it an earlier run has left: all, a part that is gone on with, nothing.

    finished     clips.json says what it was made with and from
    begun        _progress.jsonl: the plan in its first line, then a line a recording that is done
    killed while the files got their names: samples.s16 and no clips.json; its size tells whether it is the journal's

How the files are written is in `clip_writing.py`.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snac_tok.errors import TrainingError
from snac_tok.files import living_writers
from snac_tok.training.clip_store import BYTES_PER_SAMPLE, CLIPS_FILE, SAMPLES_FILE, ClipStore

if TYPE_CHECKING:
    from pathlib import Path

PART_FILE = "_samples.part"
JOURNAL_FILE = "_progress.jsonl"


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """What decides a prepared folder.

    Attributes:
        sampling_rate: of the clips, in Hz.
        made_with: the options, as JSON values.
        made_from: what tells these recordings from others; None where nothing does, and no folder is of this plan.
    """

    sampling_rate: int
    made_with: dict[str, Any]
    made_from: str | None

    def differences(self, found: Any) -> list[str]:
        """Return the names of what differs in a stored plan; none where both make the same folder."""
        stored = found if isinstance(found, dict) else {}
        made_with = stored.get("made_with")
        options: dict[str, Any] = made_with if isinstance(made_with, dict) else {}
        names = sorted(self.made_with.keys() | options.keys())
        differing = [name for name in names if self.made_with.get(name) != options.get(name)]
        same_recordings = self.made_from is not None and stored.get("made_from") == self.made_from
        return differing + ([] if same_recordings else ["recordings"])


def finished_counts(out: Path, plan: ClipPlan) -> dict[str, Any] | None:
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
    if names := plan.differences(description) or ([] if "counts" in description else ["counts"]):
        raise TrainingError(
            f"{out} already holds prepared sound, made with other options ({', '.join(names)}); choose another "
            "folder, or replace it (--force)."
        )
    try:
        ClipStore.open(out)
    except TrainingError as error:
        raise TrainingError(f"{str(error).rstrip('.')}, and replace it (--force).") from error
    if not living_writers(out / CLIPS_FILE):
        # Of a run that was killed when all was done; where the folder may not be written, it does no harm.
        with contextlib.suppress(OSError):
            (out / JOURNAL_FILE).unlink(missing_ok=True)
    return dict(description["counts"])


def done_before(out: Path, plan: ClipPlan, *, replace: bool) -> list[dict[str, Any]]:
    """Return the lines of a run of the same plan that was interrupted; refuse a folder that is taken."""
    if (out / CLIPS_FILE).exists() and not replace:
        raise TrainingError(
            f"{out} already holds prepared sound; choose another folder, or replace it (--force)."
        )
    journal = _journal_lines(out)
    if not journal:
        if (out / SAMPLES_FILE).exists() and not replace:
            raise TrainingError(f"{out} holds {SAMPLES_FILE} and no {CLIPS_FILE}; replace it (--force).")
        return []
    names = plan.differences(journal[0])
    if names and not replace:
        raise TrainingError(
            f"{out} was begun with other options ({', '.join(names)}); run with the same ones, choose another "
            "folder, or begin anew (--force)."
        )
    return [] if names else journal[1:]


def _journal_lines(out: Path) -> list[dict[str, Any]]:
    """Return the lines that are whole and whose samples are there; none where there is no journal."""
    try:
        texts = (out / JOURNAL_FILE).read_bytes().split(b"\n")[:-1]
    except OSError:
        return []
    lines: list[dict[str, Any]] = []
    for text in texts:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            break
        if not isinstance(line, dict) or (lines and not line.keys() >= {"clips", "failures", "counts"}):
            break
        lines.append(line)
    _restore_part(out, lines)
    num_bytes = (out / PART_FILE).stat().st_size if (out / PART_FILE).exists() else 0
    while len(lines) > 1 and _end_of(lines) * BYTES_PER_SAMPLE > num_bytes:
        lines.pop()
    return lines


def _restore_part(out: Path, lines: list[dict[str, Any]]) -> None:
    """Take back samples that had their name when the run was killed, and no list that tells of them yet."""
    samples, part = out / SAMPLES_FILE, out / PART_FILE
    if part.exists() or (out / CLIPS_FILE).exists() or not samples.exists():
        return
    if samples.stat().st_size == _end_of(lines) * BYTES_PER_SAMPLE:
        samples.rename(part)


def _end_of(lines: list[dict[str, Any]]) -> int:
    clips = [clip for line in lines[1:] for clip in line["clips"]]
    return int(clips[-1]["start"] + clips[-1]["num_samples"]) if clips else 0
