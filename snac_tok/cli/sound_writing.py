"""From codes to files of sound: with the model that made them, written as the sound comes."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import click

from snac_tok.cli.messages import refuse_closed_stdout, say, standard_output
from snac_tok.cli.shared_options import PIPE, load_tokenizer, refuse_existing, refuse_format
from snac_tok.wording import lasting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from snac_tok.audio import Waveform
    from snac_tok.codec import Noise
    from snac_tok.tokenizer import SnacTokenizer

SOUND_FORMATS = ("wav", "flac")


@dataclass(frozen=True, kw_only=True)
class Stdout:
    """Where sound goes in place of a file.

    Attributes:
        file_format: one of `SOUND_FORMATS`.
    """

    file_format: str

    def __str__(self) -> str:
        return "stdout"


@dataclass(frozen=True, kw_only=True)
class Way:
    """How things are decoded, whatever they are: options of the command."""

    levels: int | None
    noise: Noise
    model: str | None
    device: str
    force: bool
    decoder: str | None = None
    precision: str = "fp32"

    @property
    def seed(self) -> int | Literal["off"]:
        """See `seed_of`."""
        return seed_of(self.noise)


def seed_of(noise: Noise) -> int | Literal["off"]:
    """Return noise that can be made piece by piece: random noise is that of a seed that nobody chose."""
    return secrets.randbits(32) if noise == "random" else noise


def sound_target(output: str, file_format: str | None, *, force: bool) -> Path | Stdout:
    """Return where sound goes; stop before any work where none can be written."""
    refuse_format(file_format, output)
    if output == PIPE:
        refuse_closed_stdout()
        return Stdout(file_format=file_format or SOUND_FORMATS[0])
    path = Path(output)
    check_sound_file(path, force=force)
    return path


def check_sound_file(path: Path, *, force: bool) -> None:
    """Stop before any work where no sound can be written."""
    if path.suffix.lower().removeprefix(".") not in SOUND_FORMATS and not path.is_dir():
        raise click.UsageError(f"{path}: sound is written to .wav or .flac")
    refuse_existing(path, force=force)


def made_with(source: str, settings: dict[str, Any], way: Way) -> SnacTokenizer:
    """Load the model that codes were made with, or see that the one asked for has its weights.

    Raises:
        CheckpointError: it cannot be loaded, or has other weights.
    """
    from snac_tok.errors import CheckpointError

    recorded = settings["codec_id"]
    try:
        tokenizer = load_tokenizer(
            way.model or recorded,
            decoder=way.decoder,
            device=way.device,
            preset="plain",
            levels=way.levels,
            precision=way.precision,
        )
    except CheckpointError as error:
        if way.model is not None:
            raise
        raise CheckpointError(
            f"{source} was made with the model {recorded!r}; name it with --model: {error}"
        ) from error
    name, found = way.model or recorded, tokenizer.codec.weights_sha256()
    if found != settings["weights_sha256"] and not _is_rounded_from(name, settings["weights_sha256"]):
        raise CheckpointError(
            f"{source} was made with {recorded!r}, weights {settings['weights_sha256'][:12]}…; "
            f"{name!r} has weights {found[:12]}…: name the model it was made with by --model"
            f"{_with_its_decoder(way, settings, tokenizer)}."
        )
    return tokenizer


def _with_its_decoder(way: Way, settings: dict[str, Any], tokenizer: SnacTokenizer) -> str:
    """Return what to do where the model may be the recorded one with its decoder trained further."""
    if way.model is None or way.decoder or settings["codec_config"] != tokenizer.codec.config.to_dict():
        return ""
    recorded = settings["codec_id"]
    return f"; if {way.model!r} is that one with its decoder trained further, --model {recorded} --decoder {way.model}"


def _is_rounded_from(model: str, digest: str) -> bool:
    """Say whether a digest is that of a model's weights in any precision: all of them understand each other's codes."""
    import torch

    from snac_tok.codec import SNAC

    return any(
        SNAC.from_pretrained(model, dtype=dtype).weights_sha256() == digest
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    )


def write_sound(target: Path | Stdout, blocks: Iterable[Waveform]) -> float:
    """Write the blocks of one sound as they come, whole or not at all, tell about it, and return its seconds.

    Stdout gets a finished file, whose header has the length: players and programs need it.

    Raises:
        AudioFileError: the disk refuses; whatever making the blocks raises.
    """
    from snac_tok.audio import write_audio

    seconds, rate = 0.0, 0

    def counted() -> Iterator[Waveform]:
        nonlocal seconds, rate
        for block in blocks:
            seconds, rate = seconds + block.duration_seconds, block.sampling_rate
            yield block

    if isinstance(target, Stdout):
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"sound.{target.file_format}"
            write_audio(path, counted())
            with path.open("rb") as file, standard_output() as stdout:
                shutil.copyfileobj(file, stdout)
    else:
        write_audio(target, counted())
    say(f"{target}: {lasting(seconds)} at {rate} Hz")
    return seconds
