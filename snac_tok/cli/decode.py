"""`snac-tok decode`: a shard folder, an .npz or a list of ids to sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from snac_tok.cli.messages import counted, examples, lasting, say
from snac_tok.cli.options import (
    device_option,
    force_option,
    levels_option,
    load_tokenizer,
    model_option,
    noise_option,
    preset_option,
    refuse_existing,
)
from snac_tok.cli.progress import ProgressBar, is_wanted, progress_option

if TYPE_CHECKING:
    from snac_tok.audio import Waveform
    from snac_tok.codec import Noise
    from snac_tok.tokenizer import SnacTokenizer

_SOUND_ENDINGS = (".wav", ".flac")


@click.command(
    epilog=examples(
        "snac-tok decode a.npz -o back.wav",
        "snac-tok decode shards -o wavs",
        "snac-tok decode shards -o one.flac --id a.wav",
        "snac-tok decode a.json -o ids.wav --preset orpheus",
        "snac-tok encode a.wav --ids --preset orpheus | snac-tok decode - -o piped.wav --preset orpheus",
    )
)
@click.argument("source", metavar="IN")
@click.option(
    "-o", "--output", required=True, metavar="PATH", help="A .wav or .flac file; a folder for shards."
)
@preset_option
@levels_option
@click.option(
    "--id", "ids", multiple=True, metavar="ID", help="Only this record of the shards; may be repeated."
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N records of the shards."
)
@click.option("--flac", is_flag=True, help="Write .flac files into the folder, not .wav.")
@click.option(
    "--num-samples", type=click.IntRange(min=1), metavar="N", help="Trim sound made from ids to N samples."
)
@noise_option
@progress_option
@model_option
@device_option
@force_option
def decode(
    *,
    source: str,
    output: str,
    preset: str | None,
    levels: int | None,
    ids: tuple[str, ...],
    limit: int | None,
    flac: bool,
    num_samples: int | None,
    noise: Noise,
    progress: bool | None,
    model: str | None,
    device: str,
    force: bool,
) -> None:
    """Decode codes or ids into sound.

    IN is a shard folder, an .npz of `encode`, or a file with ids of a --preset: a JSON list, numbers between spaces,
    or tokens such as <custom_token_10>; "-" reads them from stdin. Shards and .npz files name the model they were
    made with; it is used by default, and another one's weights are refused.
    """
    target, is_shards = Path(output), Path(source).is_dir()
    of_shards = {"--id": bool(ids), "--limit": limit is not None, "--flac": flac}
    of_ids = {"--preset": preset is not None, "--num-samples": num_samples is not None}
    if is_shards:
        _refuse_options(of_ids, f"is for a file of ids; {source} is a folder")
        _decode_shards(
            source,
            target,
            ids=ids,
            limit=limit,
            levels=levels,
            ending=".flac" if flac else ".wav",
            noise=noise,
            progress=progress,
            model=model,
            device=device,
            force=force,
        )
        return
    _refuse_options(of_shards, f"is for a shard folder; {source} is none")
    _check_sound_file(target, force=force)
    if Path(source).suffix.lower() == ".npz":
        _refuse_options(of_ids, f"is for a file of ids; {source} holds raw codes")
        with _bar(1, progress) as bar:
            sound = _decode_npz(Path(source), levels=levels, noise=noise, model=model, device=device)
            bar.advance(1)
    elif preset is None:
        raise click.UsageError(f"{source} is no .npz and no shard folder; ids need --preset, their id table")
    else:
        tokenizer = load_tokenizer(model, device=device, preset=preset, levels=levels)
        with _bar(1, progress) as bar:
            sound = _decode_ids(source, tokenizer, num_samples=num_samples, noise=noise)
            bar.advance(1)
    _write(target, sound)


def _bar(num_records: int, progress: bool | None) -> ProgressBar:
    shown = is_wanted(progress, things=num_records)
    return ProgressBar("decoding", unit="record", shown=shown, total=num_records)


def _decode_ids(source: str, tokenizer: SnacTokenizer, *, num_samples: int | None, noise: Noise) -> Waveform:
    from snac_tok.cli.id_file import read_ids, source_name
    from snac_tok.errors import TokenError, WaveformError

    ids = read_ids(source, tokenizer.vocabulary)
    try:
        return tokenizer.decode(ids, num_samples=num_samples, noise=noise)
    except (TokenError, WaveformError) as error:
        raise type(error)(f"{source_name(source)}: {error}") from error


def _decode_npz(
    source: Path, *, levels: int | None, noise: Noise, model: str | None, device: str
) -> Waveform:
    from snac_tok.cli.code_file import read_code_file

    content = read_code_file(source)
    tokenizer = _made_with(str(source), model, content.settings, levels=levels, device=device)
    ids = tokenizer.vocabulary.encode(content.levels[: tokenizer.vocabulary.layout.num_levels])
    return tokenizer.decode(ids, num_samples=content.num_samples, noise=noise)


def _decode_shards(
    source: str,
    target: Path,
    *,
    ids: tuple[str, ...],
    limit: int | None,
    levels: int | None,
    ending: str,
    noise: Noise,
    progress: bool | None,
    model: str | None,
    device: str,
    force: bool,
) -> None:
    from snac_tok.cli.record_files import SoundNames, chosen_ids
    from snac_tok.shards import open_shards

    collection, ids = open_shards(source), tuple(dict.fromkeys(ids))
    number = min(len(ids) or len(collection), limit or len(collection))
    names: SoundNames | None = None
    if target.suffix.lower() not in _SOUND_ENDINGS or target.is_dir():
        names = SoundNames(target, ending=ending)
    elif number == 1:
        _check_sound_file(target, force=force)
    else:
        raise click.UsageError(
            f"{number} records do not go into one file, {target}; name a folder, or one --id"
        )
    tokenizer = _made_with(source, model, collection.info.to_dict(), levels=levels, device=device)
    seconds = 0.0
    with _bar(number, progress) as bar:
        for record, row in chosen_ids(collection, tokenizer.vocabulary, ids=ids, limit=limit):
            path = names.path_of(record) if names else target
            if names:
                path.parent.mkdir(parents=True, exist_ok=True)
                refuse_existing(path, force=force)
            sound = tokenizer.decode(row, num_samples=record.num_samples, noise=noise)
            seconds += sound.duration_seconds
            _write(path, sound)
            bar.advance(1)
    say(f"decoded {counted(number, 'record')}, {lasting(seconds)}, into {target}")


def _made_with(
    source: str, model: str | None, settings: dict[str, str], *, levels: int | None, device: str
) -> SnacTokenizer:
    """Load the model that codes were made with, or see that the one asked for has its weights."""
    from snac_tok.errors import CheckpointError

    recorded = settings["codec_id"]
    try:
        tokenizer = load_tokenizer(model or recorded, device=device, preset="plain", levels=levels)
    except CheckpointError as error:
        if model is not None:
            raise
        raise CheckpointError(
            f"{source} was made with the model {recorded!r}; name it with --model: {error}"
        ) from error
    found = tokenizer.codec.weights_sha256()
    if found != settings["weights_sha256"]:
        raise CheckpointError(
            f"{source} was made with {recorded!r}, weights {settings['weights_sha256'][:12]}…; "
            f"{model or recorded!r} has weights {found[:12]}…: name the model it was made with by --model."
        )
    return tokenizer


def _refuse_options(given: dict[str, bool], reason: str) -> None:
    for name, is_given in given.items():
        if is_given:
            raise click.UsageError(f"{name} {reason}")


def _check_sound_file(path: Path, *, force: bool) -> None:
    if path.suffix.lower() not in _SOUND_ENDINGS and not path.is_dir():
        raise click.UsageError(f"{path}: sound is written to .wav or .flac")
    refuse_existing(path, force=force)


def _write(path: Path, sound: Waveform) -> None:
    from snac_tok.audio import write_audio

    write_audio(path, sound)
    say(f"{path}: {lasting(sound.duration_seconds)} at {sound.sampling_rate} Hz")
