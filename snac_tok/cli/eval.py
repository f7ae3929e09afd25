"""`snac-tok eval`: what codecs do to recordings, in figures."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snac_tok.cli.advice import at_the_command_line
from snac_tok.cli.completion import METRICS, files, folders, listed, models, words
from snac_tok.cli.messages import examples, print_result, refuse_closed_stdout, say
from snac_tok.cli.progress import ProgressBar, is_wanted, progress_option
from snac_tok.cli.report_files import chosen_targets, refuse_lost_inputs
from snac_tok.cli.shared_options import (
    PIPE,
    channels_option,
    device_option,
    force_option,
    load_tokenizer,
    never_stdout,
    precision_option,
    truncated_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snac_tok.audio import MonoPolicy
    from snac_tok.cli.report_files import ReportFile
    from snac_tok.evaluation import Evaluation, RoundTrip, SoundFolder
    from snac_tok.sources.recording import Recording

_DEFAULT_RATE = 24_000


def _levels(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """Return the numbers of levels that are named; an empty list for all of them."""
    if value is None or value == "all":
        return None if value is None else []
    try:
        return [int(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither all nor numbers such as 1,2.", ctx=ctx, param=param
        ) from None


@click.command(
    epilog=examples(
        "snac-tok eval clips --model tiny",
        "snac-tok eval clips --model tiny --against opus:6 --against codec2:700C -o report",
        "snac-tok eval a.wav b.flac --model tiny --seeds 3 --levels all --metrics mel,pesq",
        "snac-tok eval clips --limit 100 --json - > report.json",
    )
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", shell_complete=files)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    shell_complete=models,
    help="A codec of ours as in the other commands; can be given several times.",
)
@click.option(
    "--decoder",
    "decoders",
    multiple=True,
    metavar="NAME",
    shell_complete=models,
    help="Decode the models' codes with this decoder, too, as for `snac-tok decode`; several times.",
)
@click.option(
    "--against",
    multiple=True,
    metavar="CODEC",
    shell_complete=words("opus", "codec2", "identity"),
    help="opus:KBPS, codec2:MODE, encodec:FOLDER[@KBPS], dac:FOLDER[@CODEBOOKS] or identity; several times.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    metavar="N",
    help="Draw the noise N times.",
)
@click.option(
    "--levels",
    callback=_levels,
    metavar="all|N,...",
    shell_complete=words("all"),
    help="Also with the first N levels only; all: with each number.",
)
@click.option(
    "--metrics",
    default="default",
    show_default=True,
    metavar="NAMES",
    shell_complete=listed(*METRICS),
    help="mel, stft, si_sdr, pesq, stoi, estoi, voiced, f0, visqol, visqol_audio, default (all but ViSQOL) or "
    "all.",
)
@click.option(
    "-o",
    "--out",
    metavar="FOLDER",
    callback=never_stdout,
    shell_complete=folders,
    help="Write report.json, report.txt, pictures and the sounds there; listen.html plays them.",
)
@click.option(
    "--sounds/--no-sounds", default=True, show_default=True, help="Keep the sounds in the folder of -o."
)
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    shell_complete=files,
    help="Write the report as JSON; - prints it instead of the table.",
)
@click.option(
    "--png",
    "png_path",
    metavar="FILE",
    callback=never_stdout,
    shell_complete=files,
    help="Draw quality over bitrate.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take N clips at most, evenly chosen.")
@click.option(
    "--sampling-rate", type=click.IntRange(8_000, 192_000), metavar="HZ", help="Compare at this rate."
)
@channels_option()
@truncated_option
@progress_option
@device_option
@precision_option
@force_option
def eval(  # noqa: A001 - the command's name
    *,
    inputs: tuple[str, ...],
    models: tuple[str, ...],
    decoders: tuple[str, ...],
    against: tuple[str, ...],
    seeds: int,
    levels: list[int] | None,
    metrics: str,
    out: str | None,
    sounds: bool,
    json_path: str | None,
    png_path: str | None,
    limit: int | None,
    sampling_rate: int | None,
    channels: MonoPolicy,
    allow_truncated: bool,
    progress: bool | None,
    device: str,
    precision: str,
    force: bool,
) -> int:
    """Send recordings through codecs and back, and tell what is left of them.

    INPUT are recordings, folders of them, manifests and datasets, as for `snac-tok prepare`; a recording that is named
    twice counts once. Every codec gets the same clips; what the figures mean is in docs/evaluation.md. The rate of
    comparison is the highest of the models', unless it is named.

    Exit code 1 says that some clips could not be used; the report lists them.
    """
    from snac_tok.evaluation import SoundFolder, evaluate, evaluation_to_json, find_clips, remove_sounds
    from snac_tok.evaluation.tables import reason_alone

    targets = chosen_targets(out, json_path, png_path, sounds=sounds, force=force)
    if json_path == PIPE or not targets:
        refuse_closed_stdout()
    # Sounds of an earlier report count as well where this one keeps none.
    folder = None if out is None else SoundFolder(Path(out), replace=force)
    kept = folder if sounds else None
    clips = find_clips(inputs, limit=limit)
    refuse_lost_inputs(inputs, clips, targets, out=out)
    round_trips, own_rate = _round_trips(
        models,
        against,
        decoders=decoders,
        seeds=seeds,
        levels=levels,
        device=device,
        precision=precision,
    )
    steps = len(clips) * len(round_trips)
    with ProgressBar("evaluating", unit="clip", shown=is_wanted(progress, things=steps), total=steps) as bar:
        step = _Steps(bar, steps)
        found = evaluate(
            clips,
            round_trips,
            measures=[name.strip() for name in metrics.split(",")],
            sampling_rate=sampling_rate or own_rate,
            num_seeds=seeds,
            channels=channels,
            on_step=step,
            on_sound=kept.add if kept else None,
            allow_truncated=allow_truncated,
        )
        step.finish()
    failures = [*found.failures, *(failure for codec in found.codecs for failure in codec.failures)]
    if not any(codec.clips for codec in found.codecs):
        first = f"{failures[0].source}: {reason_alone(failures[0])}"
        raise click.ClickException(f"no clip could be evaluated; {first}")
    reading = {"channels": channels, "allow_truncated": allow_truncated}
    if out is not None and force and not sounds:
        remove_sounds(Path(out))
    _write(found, targets, clips, round_trips, kept=kept, reading=reading)
    print_result(evaluation_to_json(found).rstrip() if json_path == PIPE else _text(found))
    return 1 if failures else 0


class _Steps:
    """Moves the bar on: a step counts as done when the next one begins."""

    def __init__(self, bar: ProgressBar, total: int) -> None:
        self._bar, self._total, self._begun = bar, total, 0

    def __call__(self, clip: str, codec: str) -> None:
        self._bar.show(done=self._begun, total=self._total, note=f"{codec}, {clip}")
        self._begun += 1

    def finish(self) -> None:
        self._bar.show(done=self._begun, total=max(self._begun, 1), note="")


def _round_trips(
    models: Sequence[str],
    against: Sequence[str],
    *,
    decoders: Sequence[str],
    seeds: int,
    levels: list[int] | None,
    device: str,
    precision: str,
) -> tuple[list[RoundTrip], int]:
    """Return all codecs, and the highest rate of ours."""
    from snac_tok.evaluation import SnacRoundTrip, round_trips_from_specs

    # First the others: their options are checked in no time, while a model may have to be fetched.
    others = round_trips_from_specs(against, device=device)
    own: list[Any] = []
    for model, decoder in itertools.product(
        dict.fromkeys(models) or [None], dict.fromkeys([None, *decoders])
    ):
        codec = load_tokenizer(model, decoder=decoder, device=device, precision=precision).codec
        name = (model or codec.codec_id) + (f" with {decoder}" if decoder else "")
        name += "" if precision == "fp32" else f" in {precision}"
        total = codec.config.num_levels
        chosen = [] if levels is None else levels or range(1, total)
        numbers = [*sorted(set(chosen) - {total}), total]
        own += [SnacRoundTrip(codec, name=name, num_seeds=seeds, num_levels=number) for number in numbers]
    return [*own, *others], max(trip.codec.sampling_rate for trip in own) if own else _DEFAULT_RATE


def _write(
    found: Evaluation,
    targets: Sequence[ReportFile],
    clips: Sequence[Recording],
    round_trips: Sequence[RoundTrip],
    *,
    kept: SoundFolder | None,
    reading: dict[str, Any],
) -> None:
    from snac_tok.errors import EvaluationError, MissingDependencyError
    from snac_tok.evaluation import (
        draw_quality,
        draw_spectrograms,
        evaluation_to_json,
        first_sounds,
        listening_page,
    )
    from snac_tok.files import naming_refusals, write_bytes_atomically

    makers: dict[str, Callable[[], bytes]] = {
        "json": lambda: evaluation_to_json(found).encode(),
        "text": f"{_text(found)}\n".encode,
        "png": lambda: draw_quality(found),
        "spectrograms": lambda: draw_spectrograms(first_sounds(clips, round_trips, **reading)),
    }
    if kept:
        makers["page"] = lambda: listening_page(found, kept).encode()
    made: dict[str, bytes] = {}
    for kind, path in ((target.kind, target.path) for target in targets):
        try:
            content = made[kind] if kind in made else made.setdefault(kind, makers[kind]())
        except MissingDependencyError as error:
            say(f"{path} was not drawn: {error}")
            path.unlink(missing_ok=True)  # one of another report, which --force replaces
            continue
        with naming_refusals(path.parent, error=EvaluationError):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, content, error=EvaluationError)


def _text(found: Evaluation) -> str:
    from snac_tok.evaluation import evaluation_to_text

    return evaluation_to_text(found, reworded=at_the_command_line)
