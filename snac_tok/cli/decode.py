"""`snac-tok decode`: a shard folder, an .npz or a list of ids to sound."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from snac_tok.cli.completion import files
from snac_tok.cli.messages import examples, say
from snac_tok.cli.progress import decoding_bar, progress_option
from snac_tok.cli.shard_sounds import WantedRecords, decode_shards
from snac_tok.cli.shared_options import (
    PIPE,
    SOUND_ENDINGS,
    decoder_option,
    device_option,
    force_option,
    format_option,
    levels_option,
    load_tokenizer,
    model_option,
    noise_option,
    precision_option,
    preset_option,
    refuse_format,
    refuse_options,
    rows_option,
    standard_input,
)
from snac_tok.cli.sound_writing import (
    SOUND_FORMATS,
    Stdout,
    Way,
    made_with,
    sound_target,
    write_sound,
)

if TYPE_CHECKING:
    from snac_tok.codec import Noise
    from snac_tok.frames import FoundIds
    from snac_tok.generation import GeneratedSpeech
    from snac_tok.streaming.repair_report import OnError
    from snac_tok.tokenizer import SnacTokenizer


_ZIP = b"PK"  # what every .npz begins with
_OF_IDS = ("preset", "num_samples", "drop_partial", "on_error", "generated", "answer")
_OF_SHARDS = ("records", "rows", "limit", "flac")


@click.command(
    epilog=examples(
        "snac-tok decode a.npz -o back.wav",
        "snac-tok decode shards -o wavs",
        "snac-tok decode shards -o one.flac --id a.wav",
        "snac-tok decode shards/train-00000-of-00001.parquet -o few --rows 0:2",
        "snac-tok decode a.json -o ids.wav --preset orpheus",
        "snac-tok decode answer.jsonl -o answer.wav --preset orpheus --generated",
        "snac-tok encode a.wav --ids --preset orpheus | snac-tok decode - -o piped.wav --preset orpheus",
        "snac-tok decode a.npz -o - | ffplay -nodisp -autoexit -",
    )
)
@click.argument("source", metavar="IN", shell_complete=files)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="PATH",
    shell_complete=files,
    help='A .wav or .flac file; a folder for shards; "-" is stdout.',
)
@format_option(*SOUND_FORMATS, default="wav")
@preset_option
@levels_option
@click.option(
    "--id", "records", multiple=True, metavar="ID", help="Only this record of the shards; may be repeated."
)
@rows_option
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N records of the shards."
)
@click.option("--flac", is_flag=True, help="Write .flac files into the folder, not .wav.")
@click.option(
    "--num-samples", type=click.IntRange(min=1), metavar="N", help="Trim sound made from ids to N samples."
)
@click.option(
    "--drop-partial", is_flag=True, help="Leave out a last frame that is not whole; says how many ids it had."
)
@click.option(
    "--on-error",
    type=click.Choice(["strict", "resync", "conceal"]),
    default="strict",
    show_default=True,
    help="Ids out of place: refuse them, leave their frame out, or fill it from the one before.",
)
@click.option(
    "--generated",
    is_flag=True,
    help="IN is what a language model or its server wrote: the last speech in it counts.",
)
@click.option(
    "--answer",
    type=click.IntRange(min=0),
    metavar="N",
    help="Which answer, counted from 0, where there are several.",
)
@noise_option
@progress_option
@model_option
@decoder_option
@device_option
@precision_option
@force_option
def decode(
    *,
    source: str,
    output: str,
    file_format: str | None,
    preset: str | None,
    levels: int | None,
    records: tuple[str, ...],
    rows: list[tuple[int, int | None]] | None,
    limit: int | None,
    flac: bool,
    num_samples: int | None,
    drop_partial: bool,
    on_error: OnError,
    generated: bool,
    answer: int | None,
    noise: Noise,
    progress: bool | None,
    model: str | None,
    decoder: str | None,
    device: str,
    precision: str,
    force: bool,
) -> int:
    """Decode codes or ids into sound.

    IN is a shard folder or one .parquet of it, an .npz of `encode`, or a file with ids of a --preset: a JSON list,
    numbers between spaces, or text with tokens such as <custom_token_10>; "-" reads any of them, or an .npz, from
    stdin.

    With --generated IN is whatever a language model or its server wrote: ids, text, or the answer of an
    OpenAI-compatible server, vLLM, SGLang, llama.cpp, Ollama or TGI, as JSON, JSON lines or server-sent events. The
    speech is what stands behind the last start of speech, up to its end; what else there is is said on stderr.

    Shards and .npz files name the model they were made with. Without --model that name is loaded: a folder of this
    name in the current one, else a repository that the model hub is asked for. Give --model for files from people you
    do not know. Another model's weights than the recorded ones are refused.

    Sounds of shards are named like their records, with .wav behind unless the name ends so: a.mp3.wav, a.wav. A record
    that has a name no file may have, or cannot be decoded, is skipped and listed at the end.

    Exit code 1 says that some of the records were skipped, 2 that nothing could be decoded.
    """
    reading = _Reading(
        preset=preset,
        num_samples=num_samples,
        drop_partial=drop_partial,
        on_error=on_error,
        generated=generated,
        answer=answer,
    )
    reading.check()
    refuse_format(file_format, output)
    way = Way(
        levels=levels,
        noise=noise,
        model=model,
        decoder=decoder,
        device=device,
        precision=precision,
        force=force,
    )
    kind = (
        "a folder" if Path(source).is_dir() else "a .parquet" if source.lower().endswith(".parquet") else ""
    )
    if kind and output == PIPE:
        raise click.UsageError(
            f"{source} is {kind}, whose sounds go into a folder; name it, or one --id and a .wav"
        )
    if kind:
        refuse_options(_OF_IDS, f"is for a file of ids; {source} is {kind}")
        if records and rows is not None:
            raise click.UsageError("--id and --rows both name records; leave one of them out")
        wanted = WantedRecords(ids=tuple(dict.fromkeys(records)), rows=rows, limit=limit)
        return decode_shards(
            source, output, way, wanted, ending=".flac" if flac else ".wav", progress=progress
        )
    refuse_options(_OF_SHARDS, f"is for shards; {source} is neither a folder of them nor a .parquet")
    target = sound_target(output, file_format, force=force)
    is_npz = Path(source).suffix.lower() == ".npz" or (source == PIPE and preset is None)
    if is_npz:
        refuse_options(_OF_IDS, f"is for a file of ids; {source} holds raw codes")
    elif preset is None:
        raise click.UsageError(_what_it_needs(source))
    with decoding_bar(1, progress) as bar:
        if is_npz:
            _decode_npz(source, target, way)
        else:
            _decode_ids(source, target, way, reading)
        bar.advance(1)
    return 0


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """How ids are read: the options of `decode` that shards and .npz files do not have."""

    preset: str | None
    num_samples: int | None
    drop_partial: bool
    on_error: OnError
    generated: bool
    answer: int | None

    def check(self) -> None:
        """Refuse options that contradict each other."""
        if self.drop_partial and self.on_error != "strict":
            raise click.UsageError(
                f"--on-error {self.on_error} sees to a last frame that is not whole, too; leave --drop-partial out"
            )
        if self.drop_partial and self.generated:
            raise click.UsageError(
                "--generated leaves out a last frame that is not whole by itself; drop --drop-partial"
            )
        if self.answer is not None and not self.generated:
            raise click.UsageError("--answer can only be used together with --generated")

    def read(self, file: Path | IO[bytes], tokenizer: SnacTokenizer, name: str) -> FoundIds | GeneratedSpeech:
        """Return the ids in a file, and what was left out of it."""
        from snac_tok.frames import read_ids
        from snac_tok.generation import read_generated

        if self.generated:
            return read_generated(file, tokenizer, answer=self.answer, name=name)
        return read_ids(file, tokenizer.vocabulary, name=name, drop_partial=self.drop_partial)


def _what_it_needs(source: str) -> str:
    """Say why something that is neither a shard folder nor an .npz cannot be decoded without a --preset."""
    path = Path(source)
    if not path.exists():
        return f"{source} is not there"
    if path.suffix.lower() in SOUND_ENDINGS:
        return f"{source} is sound already; `snac-tok encode` makes codes of it"
    return f"{source} is neither an .npz nor a shard folder; ids need --preset, their id table"


def _decode_npz(source: str, target: Path | Stdout, way: Way) -> None:
    from snac_tok.shards import read_code_file

    if source == PIPE:
        source, content = "stdin", read_code_file(Path("stdin"), _piped_codes())
    else:
        content = read_code_file(Path(source))
    tokenizer = made_with(source, content.settings, way)
    blocks = tokenizer.decode_code_blocks(content.levels, num_samples=content.num_samples, noise=way.seed)
    write_sound(target, blocks)


def _piped_codes() -> bytes:
    """Return an .npz from stdin; other text is ids, whose table has to be named."""
    content = standard_input().read()
    if not content.startswith(_ZIP):
        raise click.UsageError("stdin holds no .npz; ids need --preset, their id table")
    return content


def _decode_ids(source: str, target: Path | Stdout, way: Way, reading: _Reading) -> None:
    from snac_tok.errors import LostSpeechWarning, TokenError, WaveformError

    tokenizer = load_tokenizer(
        way.model,
        decoder=way.decoder,
        device=way.device,
        preset=reading.preset,
        levels=way.levels,
        precision=way.precision,
    )
    name, file = ("stdin", standard_input()) if source == PIPE else (source, Path(source))
    found = reading.read(file, tokenizer, name)
    try:
        with warnings.catch_warnings(record=True) as repaired:
            warnings.simplefilter("always", LostSpeechWarning)
            blocks = tokenizer.decode_blocks(
                found.ids, num_samples=reading.num_samples, noise=way.seed, on_error=reading.on_error
            )
            write_sound(target, blocks)
    except (TokenError, WaveformError) as error:
        raise type(error)(f"{name}: {error}") from error
    for left_out in (*found.left_out, *(warning.message for warning in repaired)):
        say(f"{name}: {left_out}")
