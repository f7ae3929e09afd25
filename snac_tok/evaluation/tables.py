"""An evaluation as text: the table of codecs, codebook usage, the worst clips, and what was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snac_tok.evaluation.measures import MEASURES
from snac_tok.metrics.usage import USAGE_HEAD
from snac_tok.wording import counted, lasting, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snac_tok.evaluation.measures import Measure
    from snac_tok.evaluation.results import CodecResult, Evaluation
    from snac_tok.sources.failures import Failure

_ARROWS = {"higher": "↑", "lower": "↓"}
_NONE = "-"
# The measures by which the worst clips are listed: the first of them that was taken.
_JUDGES = ("pesq", "visqol", "mel")


def evaluation_to_text(evaluation: Evaluation, *, reworded: Callable[[str], str] = str) -> str:
    """Return the whole report as text.

    Args:
        evaluation: what was found.
        reworded: changes each note about what was left out; the command line names its own options there.
    """
    return "\n\n".join(_parts(evaluation, reworded))


def _parts(evaluation: Evaluation, reworded: Callable[[str], str]) -> Iterator[str]:
    measures = [MEASURES[name] for name in evaluation.measures]
    longest = max(evaluation.codecs, key=lambda codec: len(codec.clips))
    seeds = f", the noise drawn {evaluation.num_seeds} times" if evaluation.num_seeds > 1 else ""
    yield (
        f"{counted(len(longest.clips), 'clip')}, {lasting(longest.duration_seconds)} of sound, "
        f"compared at {evaluation.sampling_rate} Hz{seeds}; ± is half the 95 % interval of the mean"
    )
    head = [
        "codec",
        "kbps",
        "entropy",
        *(f"{m.title} {_ARROWS[m.better]}" for m in measures),
        "encode",
        "decode",
    ]
    yield table(head, [_row(codec, measures) for codec in evaluation.codecs])
    yield from _noise(evaluation, measures)
    usage = [(codec.name, *level.cells()) for codec in evaluation.codecs for level in codec.usage]
    if usage:
        yield table(["codec", *USAGE_HEAD], usage)
    yield from _worst(evaluation, measures)
    if notes := list(_notes(evaluation, measures)):
        yield "\n".join(map(reworded, notes))


def reason_alone(failure: Failure) -> str:
    """Return a failure's reason without the recording's name before it, for a sentence that has the name already.

    >>> from snac_tok.sources.failures import Failure
    >>> reason_alone(Failure(source="zero.wav", reason="in/zero.wav: holds no samples."))
    'holds no samples.'
    """
    name, _, rest = failure.reason.partition(": ")
    return rest if rest and name.endswith(failure.source) else failure.reason


def _row(codec: CodecResult, measures: list[Measure]) -> list[str]:
    return [
        codec.name,
        _kbps(codec.bits_per_second),
        _kbps(codec.entropy_bits_per_second),
        *(_cell(codec, measure) for measure in measures),
        _speed(codec.encode_speed),
        _speed(codec.decode_speed),
    ]


def _cell(codec: CodecResult, measure: Measure) -> str:
    found = codec.summary(measure.name)
    if found is None:
        return _NONE
    spread = "" if found.interval is None else f" ±{found.interval:.{measure.digits}f}"
    return f"{found.mean:.{measure.digits}f}{spread}"


def _kbps(bits_per_second: float | None) -> str:
    return _NONE if bits_per_second is None else f"{bits_per_second / 1000:.3f}"


def _speed(speed: float | None) -> str:
    return _NONE if speed is None else f"{speed:.1f} x"


def _noise(evaluation: Evaluation, measures: list[Measure]) -> Iterator[str]:
    """How much the means change from one seed of the noise to the next."""
    rows = []
    for codec in evaluation.codecs:
        found = [codec.summary(measure.name) for measure in measures]
        if any(summary and summary.noise_std is not None for summary in found):
            spreads = [_NONE if s is None or s.noise_std is None else f"{s.noise_std:.2g}" for s in found]
            rows.append([codec.name, *spreads])
    if rows:
        yield "how much the means change from seed to seed (standard deviation)\n" + table(
            ["codec", *(measure.title for measure in measures)], rows
        )


def _worst(evaluation: Evaluation, measures: list[Measure]) -> Iterator[str]:
    taken = {measure.name: measure for measure in measures}
    judge = next((taken[name] for name in _JUDGES if name in taken), None)
    if judge is None:
        return
    lines = []
    for codec in evaluation.codecs:
        clips = codec.worst(judge.name, better=judge.better)
        listed = ", ".join(f"{clip} {value:.{judge.digits}f}" for clip, value in clips)
        if listed:
            lines.append(f"  {codec.name}: {listed}")
    if lines:
        yield "\n".join([f"worst clips by {judge.title}", *lines])


def _notes(evaluation: Evaluation, measures: list[Measure]) -> Iterator[str]:
    for name, reason in evaluation.left_out.items():
        yield f"{name} was left out: {reason}"
    for codec in evaluation.codecs:
        for measure in measures:
            for reason, clips in codec.left_out(measure.name).items():
                which = (
                    clips[0] if len(clips) == 1 else f"{counted(len(clips), 'clip')}, the first {clips[0]}"
                )
                yield f"{codec.name} has no {measure.title} for {which}: {reason}"
        for failure in codec.failures:
            yield f"{codec.name} failed on {failure.source}: {reason_alone(failure)}"
    for failure in evaluation.failures:
        yield f"{failure.source} was left out: {reason_alone(failure)}"
