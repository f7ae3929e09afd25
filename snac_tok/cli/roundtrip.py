"""`snac-tok roundtrip`: a recording through the codec and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from snac_tok.cli.completion import files
from snac_tok.cli.messages import examples
from snac_tok.cli.shared_options import (
    channels_option,
    device_option,
    force_option,
    format_option,
    levels_option,
    load_tokenizer,
    model_option,
    noise_option,
    truncated_option,
)
from snac_tok.cli.sound_reading import encoded, source_of
from snac_tok.cli.sound_writing import SOUND_FORMATS, seed_of, sound_target, write_sound

if TYPE_CHECKING:
    from snac_tok.audio import MonoPolicy
    from snac_tok.codec import Noise


@click.command(
    epilog=examples(
        "snac-tok roundtrip a.wav -o back.wav",
        "snac-tok roundtrip song.flac -o coarse.flac --levels 1",
        "snac-tok roundtrip a.wav -o still.wav --noise off --model tiny",
    )
)
@click.argument("sound", metavar="SOUND", shell_complete=files)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    shell_complete=files,
    help='A .wav or .flac file; "-" is stdout.',
)
@format_option(*SOUND_FORMATS, default="wav")
@levels_option
@channels_option(of_model=True)
@noise_option
@truncated_option
@model_option
@device_option
@force_option
def roundtrip(
    *,
    sound: str,
    output: str,
    file_format: str | None,
    levels: int | None,
    channels: MonoPolicy | None,
    noise: Noise,
    allow_truncated: bool,
    model: str | None,
    device: str,
    force: bool,
) -> None:
    """Encode SOUND and decode it again: hear what the codec keeps of it.

    SOUND is a recording; "-" reads one from stdin. The result is at the codec's rate and has one channel. It is what
    `encode` and then `decode` make.
    """
    target = sound_target(output, file_format, force=force)
    tokenizer = load_tokenizer(
        model,
        device=device,
        preset="plain",
        levels=levels,
        channels=channels,
        allow_truncated=allow_truncated,
    )
    codes, num_samples = encoded(tokenizer, *source_of(sound))
    blocks = tokenizer.decode_code_blocks(codes, num_samples=num_samples, noise=seed_of(noise))
    write_sound(target, blocks)
