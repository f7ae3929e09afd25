"""What must be as it was for a run to go on exactly: the codec that it began with, its sound, steps and processes.

Each check refuses by name. A checkpoint of an earlier version that does not tell something is taken as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snac_tok.codec.config import CodecConfig
from snac_tok.codec.model import SNAC
from snac_tok.errors import SnacTokError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from snac_tok.training.clip_store import ClipStore
    from snac_tok.training.run_folder import RunFolder


def start_of(codec: SNAC) -> dict[str, Any]:
    """Return what a checkpoint keeps of the codec that its run began with."""
    return {"config": codec.config.to_dict(), "weights_sha256": codec.weights_sha256()}


def codec_of_shape(start: Mapping[str, Any]) -> SNAC:
    """Return a network of the shape that `start_of` kept, for a checkpoint's weights."""
    # Initial values come from torch's global generator, which is left as it was.
    with torch.random.fork_rng(devices=[]):
        return SNAC.from_config(start["config"])


def refuse_other_start(name: str, *, before: Mapping[str, Any], run: RunFolder) -> None:
    """Refuse to go on where the name of the codec that a run began with stands for another codec now.

    One that is not there any more is not needed: a checkpoint has all weights.

    Args:
        name: of the codec, from the run's config.
        before: what `start_of` kept.
        run: its folder.

    Raises:
        TrainingError: the codec's shape or weights are others.
    """
    try:
        now = SNAC.from_pretrained(name, local_files_only=True)
    except SnacTokError:
        return
    same_shape = now.config == CodecConfig.from_dict(before["config"])
    if not same_shape or now.weights_sha256() != before["weights_sha256"]:
        other = "other weights" if same_shape else "another shape"
        raise TrainingError(
            f"{run.path} began with another codec than {name} is now, of {other}; put the codec of before back there, "
            f"or {_elsewhere(run)}."
        )


def digests_of(stores: Iterable[ClipStore]) -> dict[str, str]:
    """Return what tells the sound of prepared folders from other sound, by the folders' names."""
    return {str(store.folder): store.digest for store in stores}


def refuse_other_sound(stores: Iterable[ClipStore], *, before: Mapping[str, str], run: RunFolder) -> None:
    """Refuse to go on with a run whose prepared folders hold other clips than when it was trained.

    Args:
        stores: as they are now.
        before: what `digests_of` returned then; a folder that it does not name is taken as it is.
        run: its folder.

    Raises:
        TrainingError: some folders' clips are others.
    """
    other = sorted(name for name, digest in digests_of(stores).items() if before.get(name, digest) != digest)
    if other:
        raise TrainingError(
            f"{run.path} was trained on other sound than {', '.join(other)} holds now; prepare the recordings of "
            f"before there, or {_elsewhere(run)}."
        )


def refuse_other_processes(num_ranks: int, *, before: int, run: RunFolder) -> None:
    """Refuse to go on with another number of processes: each step would have another batch.

    Raises:
        TrainingError: it is another.
    """
    if num_ranks != before:
        raise TrainingError(
            f"{run.path} was trained by {_processes(before)} and would go on with {num_ranks}, and so with another "
            f"batch; start {before} again, or {_elsewhere(run)}."
        )


def refuse_fewer_steps(steps: int, *, done: int, run: RunFolder) -> None:
    """Refuse a config whose run is shorter than what is done of it.

    Raises:
        TrainingError: it is.
    """
    if steps < done:
        raise TrainingError(
            f"{run.path} has done {done} steps and the config has {steps}; set steps (with stages, the last one's) so "
            f"that they come to {done} or more, or choose another folder."
        )


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _elsewhere(run: RunFolder) -> str:
    codec = run.exported_codec
    goes_on = f" (start_from: {codec} goes on from the codec)" if codec else ""
    return f"train in another folder{goes_on}"
