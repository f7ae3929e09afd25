"""From codes to files of sound: with the model that made them, written as the sound comes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click

from snac_tok.cli.messages import say
from snac_tok.cli.shared_options import load_tokenizer, refuse_existing
from snac_tok.wording import lasting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Any

    from snac_tok.audio import Waveform
    from snac_tok.codec import Noise
    from snac_tok.tokenizer import SnacTokenizer

_SOUND_ENDINGS = (".wav", ".flac")


@dataclass(frozen=True, kw_only=True)
class Way:
    """How things are decoded, whatever they are: options of the command."""

    levels: int | None
    noise: Noise
    model: str | None
    device: str
    force: bool
    decoder: str | None = None

    @property
    def seed(self) -> int | Literal["off"]:
        """See `seed_of`."""
        return seed_of(self.noise)


def seed_of(noise: Noise) -> int | Literal["off"]:
    """Return noise that can be made piece by piece: random noise is that of a seed that nobody chose."""
    return secrets.randbits(32) if noise == "random" else noise


def check_sound_file(path: Path, *, force: bool) -> None:
    """Stop before any work where no sound can be written."""
    if path.suffix.lower() not in _SOUND_ENDINGS and not path.is_dir():
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
        )
    except CheckpointError as error:
        if way.model is not None:
            raise
        raise CheckpointError(
            f"{source} was made with the model {recorded!r}; name it with --model: {error}"
        ) from error
    found = tokenizer.codec.weights_sha256()
    if found != settings["weights_sha256"]:
        raise CheckpointError(
            f"{source} was made with {recorded!r}, weights {settings['weights_sha256'][:12]}…; "
            f"{way.model or recorded!r} has weights {found[:12]}…: name the model it was made with by --model."
        )
    return tokenizer


def write_sound(path: Path, blocks: Iterable[Waveform]) -> float:
    """Write the blocks of one sound as they come, whole or not at all, tell about it, and return its seconds.

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

    write_audio(path, counted())
    say(f"{path}: {lasting(seconds)} at {rate} Hz")
    return seconds
