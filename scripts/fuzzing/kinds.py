"""The kinds of files that are tried: whole ones to start from, and the public door that reads each kind.

A door may give what it read or refuse in one sentence (an exception of ours). Everything else is a finding.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok import SNAC, open_shards, preset, read_audio
from snac_tok.audio import iter_audio
from snac_tok.codec import CodecConfig
from snac_tok.errors import SnacTokError
from snac_tok.frames import preset_names, vocabulary_from_json, vocabulary_to_json
from snac_tok.training import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]

# A network of a few thousand weights.
_SMALL = CodecConfig(
    sampling_rate=8_000,
    encoder_dim=4,
    encoder_rates=(2, 3),
    decoder_dim=16,
    decoder_rates=(3, 2),
    attn_window_size=None,
    codebook_size=32,
    codebook_dim=4,
    vq_strides=(4, 2, 1),
)
# Containers and codings that soundfile writes; the rest of a name is its suffix.
_SOUNDS = (
    ("PCM_16", "WAV"),
    ("FLOAT", "WAV"),
    ("PCM_24", "WAVEX"),
    ("PCM_16", "RF64"),
    ("PCM_16", "W64"),
    ("PCM_16", "AIFF"),
    ("PCM_16", "AU"),
    ("PCM_16", "CAF"),
    ("PCM_16", "FLAC"),
    ("VORBIS", "OGG"),
    ("OPUS", "OGG"),
    ("MPEG_LAYER_III", "MP3"),
)
_SUFFIXES = {"WAVEX": "wav", "RF64": "wav"}


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A whole file to damage, and what lies beside it."""

    name: str
    content: bytes
    beside: dict[str, bytes] = field(default_factory=dict)

    def lay_out(self, folder: Path, content: bytes) -> Path:
        """Write a damaged copy into an empty folder, with what belongs beside it."""
        shutil.rmtree(folder, ignore_errors=True)
        for name, data in {**self.beside, self.name: content}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder / self.name


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of file: how whole ones are made (in a folder of their own), and what reads them."""

    seeds: Callable[[Path], list[Seed]]
    read: Callable[[Path], Any]


def _tone(seconds: float = 0.3, rate: int = 8_000) -> np.ndarray[Any, Any]:
    times = np.arange(int(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * 220 * times) + 0.1 * np.sin(2 * np.pi * 1330 * times)).astype(np.float32)


def _sounds(_folder: Path) -> list[Seed]:
    import soundfile

    found = []
    for coding, container in _SOUNDS:
        buffer = io.BytesIO()
        soundfile.write(buffer, _tone(), 8_000, format=container, subtype=coding)
        suffix = _SUFFIXES.get(container, container.lower())
        found.append(Seed(name=f"sound.{suffix}", content=buffer.getvalue()))
    # Pieces joined byte by byte, as streaming servers send them.
    joined = [
        Seed(name=seed.name, content=2 * seed.content) for seed in found if seed.name[-3:] in {"mp3", "ogg"}
    ]
    return found + joined


def _read_sound(path: Path) -> None:
    """Read a file by path, as bytes and in blocks: the three must agree."""
    ways = {
        "by path": lambda: read_audio(path).samples,
        "as bytes": lambda: read_audio(path.read_bytes()).samples,
        "in blocks": lambda: np.concatenate(
            [block.samples for block in iter_audio(path, block_seconds=0.013)], axis=1
        ),
    }
    found = {way: _heard(read) for way, read in ways.items()}
    if len({refused is None for refused, _ in found.values()}) > 1:
        told = "; ".join(f"{way}: {refused or 'read'}" for way, (refused, _) in found.items())
        raise AssertionError(f"the ways to read it do not agree: {told}")
    refused, whole = found["by path"]
    for way, (_, samples) in found.items():
        if refused is None and not np.array_equal(whole, samples):
            raise AssertionError(f"{way} it gives other samples than by path")
    if refused is not None:
        raise refused


def _heard(read: Callable[[], Any]) -> tuple[SnacTokError | None, Any]:
    try:
        return None, read()
    except SnacTokError as error:
        return error, None


def _weights(folder: Path) -> list[Seed]:
    import torch

    torch.manual_seed(0)
    codec = SNAC.from_config(_SMALL)
    codec.save_pretrained(folder)
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
    import json

    paths = [path for path in sorted((ROOT / "configs").glob("*.yaml")) if path.stem != "experiments"]
    plain = [json.dumps(TrainingConfig.from_file(path).to_dict()).encode() for path in paths]
    return [Seed(name=path.name, content=path.read_bytes()) for path in paths] + [
        Seed(name="config.json", content=content) for content in plain
    ]


def _shards(folder: Path) -> list[Seed]:
    import soundfile

    (folder / "clips").mkdir(parents=True)
    for name in ("a", "b"):
        soundfile.write(folder / "clips" / f"{name}.wav", _tone(), 8_000)
    SNAC.from_config(_SMALL).save_pretrained(folder / "codec")
    run_command("shard", folder / "clips", folder / "shards", "--model", folder / "codec")
    files = {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}
    return [
        Seed(name=name, content=content, beside={k: v for k, v in files.items() if k != name})
        for name, content in files.items()
        if content
    ]


def _read_shards(path: Path) -> None:
    shards = open_shards(path.parent)
    for record in shards:
        record.codes.sum()
    list(shards.failures())
    shards.verify()


def _code_files(folder: Path) -> list[Seed]:
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "a.wav", _tone(), 8_000)
    SNAC.from_config(_SMALL).save_pretrained(folder / "codec")
    run_command("encode", folder / "a.wav", "-o", folder / "a.npz", "--model", folder / "codec")
    return [Seed(name="a.npz", content=(folder / "a.npz").read_bytes())]


def _read_code_file(path: Path) -> None:
    run_command("inspect", path)


def _vocabularies(_folder: Path) -> list[Seed]:
    return [
        Seed(name="vocabulary.json", content=vocabulary_to_json(preset(name)).encode())
        for name in preset_names()
    ]


def _read_vocabulary(path: Path) -> None:
    vocabulary = vocabulary_from_json(path)
    vocabulary.describe()


def run_command(*words: object) -> None:
    """Run the command line in this process; a refusal is raised as ours.

    Raises:
        SnacTokError: it refused, in one sentence.
    """
    from click.testing import CliRunner

    from snac_tok.cli.program import program

    result = CliRunner().invoke(program, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        raise SnacTokError(result.output.strip().splitlines()[-1])


KINDS = {
    "audio": Kind(seeds=_sounds, read=_read_sound),
    "weights": Kind(seeds=_weights, read=_read_weights),
    "configs": Kind(seeds=_training_configs, read=TrainingConfig.from_file),
    "shards": Kind(seeds=_shards, read=_read_shards),
    "npz": Kind(seeds=_code_files, read=_read_code_file),
    "vocabularies": Kind(seeds=_vocabularies, read=_read_vocabulary),
}
