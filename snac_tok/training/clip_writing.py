"""A prepared folder in the making: whole in the end, or as if nothing had been.

    hidden samples.s16, clips.json, failed.jsonl ─ all on the disk ─ clips.json of before removed
      ─ samples.s16 named ─ failed.jsonl named ─ clips.json named: from here on there is a whole folder

A full disk shows before the first name changes, and the folder of before stays. A process that is killed leaves
hidden files, which the next preparation into the same folder removes; one that lives lets no second one begin.
Nothing here knows where samples come from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snac_tok.errors import TrainingError
from snac_tok.files import HiddenFile, living_writers, naming_refusals, shown_path, sweep_folder, sync_folder
from snac_tok.training.clip_store import CLIPS_FILE, FORMAT_VERSION, SAMPLES_FILE, ClipEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    import numpy as np
    import numpy.typing as npt

FAILED_FILE = "failed.jsonl"
# In the order in which they get their names.
_FILES = (SAMPLES_FILE, FAILED_FILE, CLIPS_FILE)


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderInTheMaking:
    """What `making_folder` lends.

    Attributes:
        files: by their final names.
        clips: added so far.
        failures: told so far.
    """

    files: dict[str, IO[bytes]]
    clips: list[ClipEntry] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

    def add_clip(self, clip_id: str, samples: npt.NDArray[np.int16], *, level_db: float) -> None:
        """Append a clip.

        Args:
            clip_id: its name; bytes that are no UTF-8 become text.
            samples: little-endian int16 (T,), at least one.
            level_db: see `ClipEntry`.
        """
        self.files[SAMPLES_FILE].write(samples.tobytes())
        start = self.clips[-1].end if self.clips else 0
        entry = ClipEntry(id=shown_path(clip_id), start=start, num_samples=len(samples), level_db=level_db)
        self.clips.append(entry)

    def add_failure(self, source: str, *, reason: str) -> None:
        """Note a recording that could not be used."""
        failure = {"source": shown_path(source), "reason": reason}
        self.files[FAILED_FILE].write(json.dumps(failure, ensure_ascii=False).encode() + b"\n")
        self.failures.append(failure)

    def describe(self, *, sampling_rate: int, made_with: dict[str, Any]) -> None:
        """Write the list of clips; once, after the last of them."""
        description = {
            "format_version": FORMAT_VERSION,
            "sampling_rate": sampling_rate,
            "made_with": made_with,
            "clips": [dataclasses.asdict(clip) for clip in self.clips],
        }
        text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
        self.files[CLIPS_FILE].write(text.encode() + b"\n")


@contextlib.contextmanager
def making_folder(out: Path, *, replace: bool) -> Iterator[FolderInTheMaking]:
    """Lend a folder that becomes whole if nothing goes wrong inside, and stays as it was if something does.

    Args:
        out: made where it is missing.
        replace: whether prepared sound that stands there may be replaced.

    Raises:
        TrainingError: it is taken, another preparation writes into it, or the disk refuses.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> with making_folder(Path("ready"), replace=True) as folder:
        ...     folder.add_clip("a", np.zeros(100, "<i2"), level_db=-120.0)
        ...     folder.describe(sampling_rate=24000, made_with={})
        >>> from snac_tok.training.clip_store import ClipStore
        >>> ClipStore.open("ready").clip_ids
        ['a']
    """
    _check_free(out, replace=replace)
    with naming_refusals(out, error=TrainingError):
        out.mkdir(parents=True, exist_ok=True)
        sweep_folder(out)
        with contextlib.ExitStack() as stack:
            hidden: dict[str, HiddenFile] = {}
            for name in _FILES:
                hidden[name] = HiddenFile(out / name)
                stack.callback(hidden[name].discard)
            _refuse_company(out, own=hidden[CLIPS_FILE])
            folder = FolderInTheMaking(files={name: file.handle for name, file in hidden.items()})
            yield folder
            for file in hidden.values():
                file.complete()
            _take_names(out, hidden, with_failures=bool(folder.failures))


def _take_names(out: Path, hidden: dict[str, HiddenFile], *, with_failures: bool) -> None:
    # While the samples are not those that it lists, there must be no list.
    (out / CLIPS_FILE).unlink(missing_ok=True)
    for name in _FILES:
        if name == FAILED_FILE and not with_failures:
            (out / name).unlink(missing_ok=True)
        else:
            hidden[name].path.replace(out / name)
    sync_folder(out)


def _check_free(out: Path, *, replace: bool) -> None:
    """Refuse a folder that is taken, before hours of decoding."""
    if replace:
        return
    if (out / CLIPS_FILE).exists():
        raise TrainingError(
            f"{out} already holds prepared sound; choose another folder, or replace it (--force)."
        )
    if (out / SAMPLES_FILE).exists():
        # Killed between two names, or another program's: nobody can tell.
        raise TrainingError(f"{out} holds {SAMPLES_FILE} and no {CLIPS_FILE}; replace it (--force).")


def _refuse_company(out: Path, *, own: HiddenFile) -> None:
    """Refuse a folder that somebody else is writing: the samples of one would end beside the list of the other.

    Our file stands there already, so of two that begin together at least one sees the other.
    """
    if living_writers(out / CLIPS_FILE) - {own.path}:
        raise TrainingError(
            f"another process is preparing sound in {out}; wait until it has ended, or choose another folder."
        )
