"""What makes codecs and their tokenizers: weights, configs, prepared sound."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from pathlib import Path

from fuzzing.seeds import Kind, Seed, clip, files_in_turn, small_codec
from snac_tok import SNAC, SnacTokenizer
from snac_tok.training import TrainingConfig
from snac_tok.training.clip_making import PreparationOptions, PreparationState, prepare_sound
from snac_tok.training.clip_store import ClipStore

ROOT = Path(__file__).resolve().parents[2]
_OPTIONS = PreparationOptions(sampling_rate=8_000)


def _weights(folder: Path) -> list[Seed]:
    import torch

    codec = small_codec(folder)
    config, weights = ((folder / name).read_bytes() for name in ("config.json", "model.safetensors"))
    legacy = io.BytesIO()
    torch.save(codec.state_dict(), legacy)
    beside = {"config.json": config}
    return [
        Seed(name="model.safetensors", content=weights, beside=beside),
        Seed(name="pytorch_model.bin", content=legacy.getvalue(), beside=beside),
        Seed(name="config.json", content=config, beside={"model.safetensors": weights}),
    ]


def _read_weights(path: Path) -> None:
    SNAC.from_pretrained(path.parent)


def _training_configs(_folder: Path) -> list[Seed]:
    paths = [path for path in sorted((ROOT / "configs").glob("*.yaml")) if path.stem != "experiments"]
    plain = [json.dumps(TrainingConfig.from_file(path).to_dict()).encode() for path in paths]
    return [Seed(name=path.name, content=path.read_bytes()) for path in paths] + [
        Seed(name="config.json", content=content) for content in plain
    ]


def _tokenizers(folder: Path) -> list[Seed]:
    SnacTokenizer(small_codec(folder), vocabulary="orpheus").save_pretrained(folder / "saved")
    return files_in_turn(folder / "saved")


def _read_tokenizer(path: Path) -> None:
    SnacTokenizer.from_pretrained(path.parent)


def _clips(folder: Path) -> Path:
    (folder / "clips").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (folder / "clips" / f"{name}.wav").write_bytes(clip(0.2))
    return folder / "clips"


def _prepared(folder: Path) -> list[Seed]:
    prepare_sound([_clips(folder)], folder / "ready", _OPTIONS)
    return files_in_turn(folder / "ready")


def _read_prepared(path: Path) -> None:
    store = ClipStore.open(path.parent)
    for index in range(store.num_clips):
        store.clip(index).sum()


def _begun(folder: Path) -> list[Seed]:
    """A preparation that was interrupted behind the second of three recordings."""
    clips = _clips(folder)

    def interrupt(state: PreparationState) -> None:
        if state.num_recordings == 2:  # noqa: PLR2004 - of three
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        prepare_sound([clips], folder / "ready", _OPTIONS, progress=interrupt)
    beside = {f"clips/{path.name}": path.read_bytes() for path in clips.iterdir()}
    return [
        dataclasses.replace(seed, beside={**seed.beside, **beside})
        for seed in files_in_turn(folder / "ready")
    ]


def _go_on(path: Path) -> None:
    """Prepare to the end; what comes out must be whole."""
    prepare_sound([path.parent / "clips"], path.parent, _OPTIONS)
    store = ClipStore.open(path.parent)
    if [(clip.id, clip.num_samples) for clip in store.clips] != [(f"{name}.wav", 1600) for name in "abc"]:
        raise AssertionError("it holds other clips than were to be prepared")


KINDS = {
    "weights": Kind(seeds=_weights, read=_read_weights),
    "configs": Kind(seeds=_training_configs, read=TrainingConfig.from_file),
    "tokenizers": Kind(seeds=_tokenizers, read=_read_tokenizer),
    "prepared": Kind(seeds=_prepared, read=_read_prepared),
    "begun": Kind(seeds=_begun, read=_go_on),
}
