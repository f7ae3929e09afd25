"""`snac-tok encode`: recordings to raw codes in .npz files, or to a language model's ids as text."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snac_tok.cli.advice import at_the_command_line
from snac_tok.cli.completion import files
from snac_tok.cli.messages import examples, print_result, refuse_closed_stdout, say, standard_output
from snac_tok.cli.progress import ProgressBar, is_wanted, progress_option
from snac_tok.cli.shared_options import (
    FILE_ENDINGS,
    PIPE,
    channels_option,
    device_option,
    force_option,
    format_option,
    levels_option,
    load_tokenizer,
    model_option,
    precision_option,
    preset_option,
    refuse_existing,
    refuse_format,
    truncated_option,
)
from snac_tok.cli.sound_names import seen_as
from snac_tok.cli.sound_reading import encoded, naming, source_of
from snac_tok.wording import counted, lasting

if TYPE_CHECKING:
    from snac_tok.audio import AudioInfo, MonoPolicy
    from snac_tok.tokenizer import SnacTokenizer

_ID_FORMATS = ("json", "txt")


@click.command(
    epilog=examples(
        "snac-tok encode a.wav -o a.npz",
        "snac-tok encode a.wav -o tiny.npz --model tiny",
        "snac-tok encode a.wav b.flac -o codes",
        "snac-tok encode a.wav -o a.json --preset orpheus",
        "snac-tok encode a.wav --ids --preset orpheus > ids.json",
        "snac-tok encode a.wav -o - | snac-tok decode - -o piped.wav",
    )
)
@click.argument("sounds", nargs=-1, required=True, metavar="SOUND…", shell_complete=files)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    shell_complete=files,
    help='An .npz, .json or .txt file; a folder for several sounds; "-" is stdout.',
)
@format_option("npz", "json", "txt", default="npz, with --preset json")
@click.option("--ids", is_flag=True, help="Write ids of --preset; without -o they go to stdout.")
@preset_option
@levels_option
@channels_option(of_model=True)
@truncated_option
@progress_option
@model_option
@device_option
@precision_option
@force_option
def encode(
    *,
    sounds: tuple[str, ...],
    output: str | None,
    file_format: str | None,
    ids: bool,
    preset: str | None,
    levels: int | None,
    channels: MonoPolicy | None,
    allow_truncated: bool,
    progress: bool | None,
    model: str | None,
    device: str,
    precision: str,
    force: bool,
) -> int:
    """Encode recordings into codes, resampling them to the codec's rate.

    SOUND is a file of sound; "-" reads one from stdin.

    An .npz holds the raw codes of each level with all that decoding needs. With --preset the ids that a language
    model sees are written instead, as a JSON list (.json) or as numbers between spaces (.txt).

    Exit code 1 says that some of several sounds could not be encoded, 2 that none could.
    """
    as_ids = ids or preset is not None
    _refuse_folders(sounds)
    refuse_format(file_format, output)
    if output is None and as_ids:
        output = PIPE
    targets = _targets(sounds, output, file_format or ("json" if as_ids else "npz"))
    _check_usage(targets, as_ids=as_ids, preset=preset, levels=levels)
    for target in targets:
        if target.path is not None:
            refuse_existing(target.path, force=force)
    tokenizer = load_tokenizer(
        model,
        device=device,
        preset=preset,
        levels=levels,
        channels=channels,
        allow_truncated=allow_truncated,
        precision=precision,
    )
    # Once: the digest of its weights takes longer than a short clip.
    settings = tokenizer.describe() if any(target.file_format == "npz" for target in targets) else {}
    failed, sizes = 0, [_size(sound) for sound in sounds]
    shown = is_wanted(progress, things=len(sounds))
    with ProgressBar("encoding", unit="B", shown=shown, total=sum(sizes)) as bar:
        for sound, target, size in zip(sounds, targets, sizes, strict=True):
            failed += not _encode_one(tokenizer, settings, sound, target)
            bar.advance(size)
    return 0 if not failed else 1 if failed < len(sounds) else 2


def _refuse_folders(sounds: tuple[str, ...]) -> None:
    from snac_tok.sources.find import is_collection

    for sound in sounds:
        if is_collection(sound):
            kind = "a folder" if Path(sound).is_dir() else "not one recording"
            raise click.UsageError(
                f"{sound} is {kind}; `snac-tok shard {sound} OUT` encodes the recordings in it"
            )


@dataclass(frozen=True, kw_only=True)
class _Target:
    """Where a sound's codes or ids go.

    Attributes:
        path: of the file; None is stdout.
        file_format: "npz", "json" or "txt", or whatever ending somebody gave the file.
    """

    path: Path | None
    file_format: str

    def __str__(self) -> str:
        return "stdout" if self.path is None else str(self.path)


def _targets(sounds: tuple[str, ...], output: str | None, file_format: str) -> list[_Target]:
    """Return where each sound's codes go."""
    if output is None:
        raise click.UsageError("say with -o where the codes go")
    if output == PIPE:
        if len(sounds) > 1:
            raise click.UsageError(
                f"{len(sounds)} sounds do not go to stdout together; name a folder with -o"
            )
        refuse_closed_stdout()
        return [_Target(path=None, file_format=file_format)]
    folder = Path(output)
    if len(sounds) == 1 and not output.endswith("/") and not folder.is_dir():
        return [_Target(path=folder, file_format=folder.suffix.lower().removeprefix("."))]
    if folder.suffix.lower() in FILE_ENDINGS and not folder.is_dir() and not output.endswith("/"):
        raise click.UsageError(f"{len(sounds)} sounds do not go into one file, {output}; name a folder")
    names = ["stdin" if sound == PIPE else Path(sound).stem for sound in sounds]
    if len(set(map(seen_as, names))) < len(names):
        raise click.UsageError(
            "two of the sounds have the same name but for folder, ending or case; encode them into different folders"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return [_Target(path=folder / f"{name}.{file_format}", file_format=file_format) for name in names]


def _check_usage(targets: list[_Target], *, as_ids: bool, preset: str | None, levels: int | None) -> None:
    formats = {target.file_format for target in targets}
    if as_ids and preset is None:
        raise click.UsageError("--ids needs --preset, the id table")
    if levels is not None and not as_ids:
        raise click.UsageError("--levels can only be used together with --preset; an .npz holds all levels")
    if as_ids and not formats <= set(_ID_FORMATS):
        raise click.UsageError("ids are written to .json or .txt; raw codes (.npz) have no --preset")
    if not as_ids and formats != {"npz"}:
        raise click.UsageError("codes are written to .npz; for ids (.json, .txt) name a --preset")


def _size(sound: str) -> int:
    """Return a file's size, which tells best how long it will take; 0 where there is none."""
    with suppress(OSError):
        return Path(sound).stat().st_size
    return 0


def _encode_one(tokenizer: SnacTokenizer, settings: dict[str, Any], sound: str, target: _Target) -> bool:
    """Encode and write one sound and tell about it; False where the sound cannot be used."""
    from snac_tok.audio import audio_info
    from snac_tok.errors import AudioError

    name, source = source_of(sound)
    try:
        with naming(name):
            info = audio_info(source)
        codes, num_samples = encoded(tokenizer, name, source)
    except AudioError as error:
        say(at_the_command_line(error))
        return False
    described = settings | {"source_sampling_rate": info.sampling_rate}
    written = _write(tokenizer, described, codes, num_samples, target)
    say(f"{name} → {target}: {_account(tokenizer, info, num_samples, written=written)}")
    return True


def _write(
    tokenizer: SnacTokenizer, settings: dict[str, Any], codes: list[Any], num_samples: int, target: _Target
) -> str:
    """Write ids or codes, whichever the target asks for, and return how many of what."""
    from snac_tok.frames import ids_as_json, ids_as_text, write_ids
    from snac_tok.shards import CodeFile, write_code_file

    if target.file_format in _ID_FORMATS:
        ids = tokenizer.vocabulary.encode(codes)
        if target.path is None:
            print_result(ids_as_json(ids) if target.file_format == "json" else ids_as_text(ids), nl=False)
        else:
            write_ids(target.path, ids)
        return counted(ids.size, "id")
    levels = [level.astype("uint16") for level in codes]
    content = CodeFile(levels=levels, num_samples=num_samples, settings=settings)
    if target.path is None:
        with standard_output() as stdout:
            write_code_file(stdout, content)
    else:
        write_code_file(target.path, content)
    return counted(sum(map(len, codes)), "code")


def _account(tokenizer: SnacTokenizer, info: AudioInfo, num_samples: int, *, written: str) -> str:
    preparation = tokenizer.preprocessing
    parts = [lasting(num_samples / tokenizer.sampling_rate), written]
    if info.num_channels > 1:
        parts.append(f"{preparation.channels} of {info.num_channels} channels")
    if info.sampling_rate != tokenizer.sampling_rate:
        by = f"{preparation.resampler.backend} {preparation.resampler.quality}"
        parts.append(f"resampled from {info.sampling_rate} to {tokenizer.sampling_rate} Hz ({by})")
    return ", ".join([*parts, f"{num_samples} samples"])
