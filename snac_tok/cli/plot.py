"""`snac-tok plot`: a recording, or codes, as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snac_tok.cli.completion import files
from snac_tok.cli.messages import examples, say
from snac_tok.cli.shared_options import (
    FiniteFloatRange,
    channels_option,
    device_option,
    force_option,
    load_tokenizer,
    model_option,
    never_stdout,
    noise_option,
    refuse_existing,
    refuse_options,
    truncated_option,
)
from snac_tok.cli.sound_reading import naming
from snac_tok.cli.sound_writing import Way, made_with, seed_of
from snac_tok.wording import lasting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snac_tok.audio import MonoPolicy, Waveform
    from snac_tok.codec import Noise
    from snac_tok.tokenizer import SnacTokenizer

_SHARD_ENDING = ".parquet"


@click.command(
    epilog=examples(
        "snac-tok plot a.wav -o a.png",
        "snac-tok plot a.npz -o codes.png",
        "snac-tok plot shards -o record.png --id b.flac --seconds 5",
    )
)
@click.argument("what", metavar="WHAT", shell_complete=files)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    callback=never_stdout,
    shell_complete=files,
    help="A .png file.",
)
@click.option(
    "--seconds",
    type=FiniteFloatRange(min=0, min_open=True),
    default=30,
    show_default=True,
    metavar="N",
    help="Only the first N seconds.",
)
@click.option("--id", "record", metavar="ID", help="This record of the shards; the first one by default.")
@channels_option(of_model=True)
@noise_option
@truncated_option
@model_option
@device_option
@force_option
def plot(
    *,
    what: str,
    output: str,
    seconds: float,
    record: str | None,
    channels: MonoPolicy | None,
    noise: Noise,
    allow_truncated: bool,
    model: str | None,
    device: str,
    force: bool,
) -> None:
    """Draw a recording before and after the codec, or codes and their sound.

    WHAT is a recording, an .npz of `encode`, a shard folder or one .parquet of it. The picture has a waveform, mel
    spectrograms, and the codes of each level, coloured by their number. It needs matplotlib, the extra "plot".
    """
    from snac_tok.audio.optional import import_optional
    from snac_tok.errors import EvaluationError
    from snac_tok.evaluation import draw_portrait
    from snac_tok.files import write_bytes_atomically

    path, target = Path(what), Path(output)
    if target.suffix.lower() != ".png":
        raise click.UsageError(f"{target}: pictures are written to .png")
    refuse_existing(target, force=force)
    is_shards = path.is_dir() or path.suffix.lower() == _SHARD_ENDING
    is_codes = path.suffix.lower() == ".npz"
    if not is_shards:
        refuse_options(["record"], f"is for shards; {what} is neither a folder of them nor a .parquet")
    if is_shards or is_codes:
        refuse_options(["channels", "allow_truncated"], f"is for a recording; {what} holds codes")
    import_optional("matplotlib", extra="plot", purpose="the picture")  # before any work
    way = Way(levels=None, noise=noise, model=model, device=device, force=force)
    if is_shards:
        subject = _of_record(what, record, way, seconds=seconds)
    elif is_codes:
        subject = _of_code_file(path, way, seconds=seconds)
    else:
        tokenizer = load_tokenizer(
            model, device=device, preset="plain", channels=channels, allow_truncated=allow_truncated
        )
        subject = _of_sound(what, tokenizer, seconds=seconds)
    content = draw_portrait(
        subject.sounds(seed_of(noise)),
        subject.codes,
        codebook_size=subject.tokenizer.codec.codebook_size,
        frame_seconds=subject.tokenizer.codec.config.frame_length / subject.tokenizer.sampling_rate,
    )
    write_bytes_atomically(target, content, error=EvaluationError)
    say(f"{target}: {lasting(subject.num_samples / subject.tokenizer.sampling_rate)} of {subject.name}")


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What is drawn: codes with their codec, and the recording where there is one."""

    name: str
    tokenizer: SnacTokenizer
    codes: Sequence[Any]
    num_samples: int
    recording: Waveform | None = None

    def sounds(self, noise: Any) -> dict[str, Waveform]:
        """Return the recording, and what the codec makes of its codes."""
        decoded = self.tokenizer.decode_codes(self.codes, num_samples=self.num_samples, noise=noise)
        name = f"decoded by {self.tokenizer.codec.codec_id}"
        return {name: decoded} if self.recording is None else {self.name: self.recording, name: decoded}


def _of_sound(sound: str, tokenizer: SnacTokenizer, *, seconds: float) -> _Subject:
    with naming(sound):
        recording = tokenizer.preprocessing.whole(
            _beginning(sound, seconds, allow_truncated=tokenizer.preprocessing.allow_truncated), name=sound
        )
        (codes,) = tokenizer.encode_codes([recording])
    return _Subject(
        name=Path(sound).name,
        tokenizer=tokenizer,
        codes=codes,
        num_samples=recording.num_samples,
        recording=recording,
    )


def _beginning(sound: str, seconds: float, *, allow_truncated: bool) -> Waveform:
    """Read a recording's first seconds, and no more."""
    import numpy as np

    from snac_tok.audio import Waveform, iter_audio

    def blocks() -> Iterator[Waveform]:
        left: int | None = None
        for block in iter_audio(sound, allow_truncated=allow_truncated):
            left = round(seconds * block.sampling_rate) if left is None else left
            yield Waveform(samples=block.samples[:, : max(left, 1)], sampling_rate=block.sampling_rate)
            left -= block.num_samples
            if left <= 0:
                return

    read = list(blocks())
    if not read:
        from snac_tok.errors import WaveformError

        raise WaveformError("the recording has no samples; there is nothing to draw.")
    samples = np.concatenate([block.samples for block in read], axis=1)
    return Waveform(samples=samples, sampling_rate=read[0].sampling_rate)


def _of_code_file(path: Path, way: Way, *, seconds: float) -> _Subject:
    from snac_tok.shards import read_code_file

    content = read_code_file(path)
    tokenizer = made_with(str(path), content.settings, way)
    return _cut(path.name, tokenizer, content.levels, content.num_samples, seconds=seconds)


def _of_record(source: str, wanted: str | None, way: Way, *, seconds: float) -> _Subject:
    from snac_tok.cli.record_files import records_of

    with records_of(Path(source)) as (records, info):
        found = next((each for each in records if wanted in (None, each.id)), None)
    if found is None:
        said = "holds no record" if wanted is None else f"has no record {wanted!r}"
        raise click.ClickException(f"{source} {said}; `snac-tok inspect` tells what it holds.")
    tokenizer = made_with(source, info.to_dict(), way)
    levels = tokenizer.layout.unflatten(found.codes)
    return _cut(found.id, tokenizer, levels, found.num_samples, seconds=seconds)


def _cut(
    name: str, tokenizer: SnacTokenizer, levels: Sequence[Any], num_samples: int, *, seconds: float
) -> _Subject:
    """Keep the frames of the first seconds."""
    length = tokenizer.codec.config.frame_length
    num_samples = min(num_samples, max(1, round(seconds * tokenizer.sampling_rate)))
    num_frames = -(-num_samples // length)
    codes = [
        level[: num_frames * per_frame]
        for level, per_frame in zip(levels, tokenizer.layout.codes_per_frame, strict=True)
    ]
    return _Subject(name=name, tokenizer=tokenizer, codes=codes, num_samples=num_samples)
