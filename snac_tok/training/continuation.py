"""What must be as it was for a run to go on exactly: the codec that it began with, its sound, steps and processes.

Each check refuses by name, or returns what to say where it does not matter. A checkpoint of an earlier version that
does not tell something is taken as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from snac_tok.codec.checkpoint import EMBEDDED
from snac_tok.codec.config import CodecConfig
from snac_tok.codec.decoders import DECODER_SHAPE, codes_sha256
from snac_tok.codec.model import SNAC
from snac_tok.errors import SnacTokError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from snac_tok.training.clip_store import ClipStore
    from snac_tok.training.run_folder import RunFolder


def start_of(codec: SNAC) -> dict[str, Any]:
    """Return what a checkpoint keeps of the codec that its run began with."""
    return {
        "config": codec.config.to_dict(),
        "weights_sha256": codec.weights_sha256(),
        "codes_sha256": list(codes_sha256(codec)),
    }


def codec_of_shape(start: Mapping[str, Any]) -> SNAC:
    """Return a network of the shape that `start_of` kept, for a checkpoint's weights."""
    # Initial values come from torch's global generator, which is left as it was.
    with torch.random.fork_rng(devices=[]):
        return SNAC.from_config(start["config"])


def check_start(name: str, *, before: Mapping[str, Any], run: RunFolder, trains_codes: bool) -> str:
    """Return what to say where the name of the codec that a run began with stands for another codec now, or refuse.

    A checkpoint has all weights, so the run itself goes on exactly. But a decoder that was trained alone is used beside
    the codec of this name, which must have the codes that it is for. A codec that is not there any more needs no look.

    Args:
        name: of the codec, from the run's config.
        before: what `start_of` kept.
        run: its folder.
        trains_codes: whether the run makes a whole codec, which needs none beside it.

    Returns:
        A sentence, "" where the codec is the same.

    Raises:
        TrainingError: the run trains a decoder alone, and the codec's codes or the shape of its decoder are others.
    """
    try:
        now = SNAC.from_pretrained(name, local_files_only=True)
    except SnacTokError:
        return ""
    shape = CodecConfig.from_dict(before["config"])
    if now.config == shape and now.weights_sha256() == before["weights_sha256"]:
        return ""
    if not trains_codes and not _takes_its_decoder(now, shape=shape, codes=before.get("codes_sha256", [])):
        raise TrainingError(
            f"{run.path} trains a decoder for the codes that {name} had when the run began, and {name} is another "
            f"codec now; {_codec_of_before(name)}, or {_elsewhere(run)}."
        )
    return f"{name} is another codec now than when {run.path} began; the run goes on from its checkpoint, as it was."


def _takes_its_decoder(now: SNAC, *, shape: CodecConfig, codes: Iterable[str]) -> bool:
    """Whether a decoder for the codec of before, of this shape and these codes, can be used beside the one of now."""
    same_shape = all(getattr(now.config, name) == getattr(shape, name) for name in DECODER_SHAPE)
    # Rounded to fewer bits, as files may have them, codes mean the same.
    return same_shape and not set(codes).isdisjoint(codes_sha256(now))


def _codec_of_before(name: str) -> str:
    if name in EMBEDDED:
        return "install the version of snac_tok that the run began with"
    if Path(name).is_dir():
        return "put the codec of before back there"
    # A folder of this name goes before the hub, here and wherever the decoder is used.
    return f"download its revision of before into a folder {name} where you train"


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
