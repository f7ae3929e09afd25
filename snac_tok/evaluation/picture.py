"""An evaluation as a picture: quality over bitrate. PNG bytes; no window is opened."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from snac_tok.audio.optional import import_optional
from snac_tok.errors import EvaluationError
from snac_tok.evaluation.measures import MEASURES
from snac_tok.evaluation.spectrograms import new_figure, png

if TYPE_CHECKING:
    from snac_tok.evaluation.results import CodecResult, Evaluation

_COLUMNS = 3
_PANEL_INCHES = (4.2, 3.2)
# Paul Tol's bright scheme: distinct for colour-blind people, and in print.
_COLOURS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#66CCEE", "#CCBB44", "#555555")
_MARKERS = "os^Dv*P"
# What follows the codec's own name: an option of another codec, or how many levels are kept.
_VARIANT = re.compile(r"(?<=^opus):.*|(?<=^codec2):.*|@[\d.]+$| \d+/\d+$")


def draw_quality(evaluation: Evaluation) -> bytes:
    """Return a PNG with a panel a measure: each codec at its bitrate, with the 95 % interval of the mean.

    One codec at several bitrates is joined by a line; perfect sound ("identity") is a dashed line.

    Raises:
        EvaluationError: there is nothing to draw.
        MissingDependencyError: matplotlib is not installed.
    """
    drawn = [name for name in evaluation.measures if any(codec.summary(name) for codec in evaluation.codecs)]
    if not drawn:
        raise EvaluationError("the evaluation has no figure to draw.")
    columns = min(_COLUMNS, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    figure = new_figure(_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, name in zip(panels, drawn, strict=False):
        _draw_measure(panel, evaluation, name)
    for panel in list(panels)[len(drawn) :]:
        panel.set_axis_off()
    labelled = dict(
        pair[::-1] for panel in figure.axes for pair in zip(*panel.get_legend_handles_labels(), strict=True)
    )
    figure.legend(
        labelled.values(), labelled, loc="outside upper center", ncols=min(6, len(labelled)), frameon=False
    )
    return png(figure)


def _draw_measure(panel: Any, evaluation: Evaluation, name: str) -> None:
    measure = MEASURES.get(name)
    for index, (family, codecs) in enumerate(_families(evaluation).items()):
        points = [
            (codec.bits_per_second / 1000, found, codec)
            for codec in codecs
            if codec.bits_per_second and (found := codec.summary(name))
        ]
        if not points:
            continue
        colour = _COLOURS[index % len(_COLOURS)]
        if family == "identity":
            if measure and measure.bounded:
                panel.axhline(points[0][1].mean, color=colour, linestyle="--", linewidth=1, label=family)
            continue
        points.sort(key=lambda point: point[0])
        means = [found.mean for _, found, _ in points]
        intervals = [found.interval or 0.0 for _, found, _ in points]
        panel.errorbar(
            [kbps for kbps, _, _ in points],
            means,
            yerr=intervals,
            color=colour,
            marker=_MARKERS[index % len(_MARKERS)],
            capsize=3,
            linewidth=1.2,
            label=family,
        )
        for kbps, found, codec in points:
            variant = codec.name.removeprefix(family).lstrip(": @")
            panel.annotate(
                variant,
                (kbps, found.mean),
                xytext=(4, 5),
                textcoords="offset points",
                fontsize=7,
                color=colour,
            )
    panel.set_xscale("log")
    ticker = import_optional("matplotlib.ticker", extra="eval", purpose="the picture")
    panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("")
    panel.set_xlabel("kbps")
    panel.set_title(f"{measure.title} ({measure.better} is better)" if measure else name, fontsize=10)
    panel.grid(alpha=0.25, which="both")


def _families(evaluation: Evaluation) -> dict[str, list[CodecResult]]:
    """Group the variants of one codec: "opus:6" and "opus:8", "tiny" and "tiny 1/3"."""
    families: dict[str, list[CodecResult]] = {}
    for codec in evaluation.codecs:
        family = _VARIANT.sub("", codec.name)
        families.setdefault(family, []).append(codec)
    return families
