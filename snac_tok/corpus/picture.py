"""A collection's statistics as a picture: how long its records are, and how much of each codebook they use."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from snac_tok.audio.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Mapping

_INCHES = (10.0, 3.2)
_DPI = 110
_COLOURS = ("#4477AA", "#EE6677")
_MOST_BARS = 60


def draw_statistics(figures: Mapping[str, Any], *, codebook_size: int) -> bytes:
    """Return a PNG: a histogram of durations, entries used a level, and perplexity a level.

    Args:
        figures: what `CollectionStatistics.to_dict` returns.
        codebook_size: entries a level.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    library = import_optional("matplotlib.figure", extra="eval", purpose="the picture")
    figure = library.Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    lengths, used, perplexity = figure.subplots(1, 3)
    _draw_lengths(lengths, figures["duration_seconds"]["histogram"])
    levels = figures["codebook_usage"]
    for panel, key, title in ((used, "used", "entries used"), (perplexity, "perplexity", "perplexity")):
        names = [str(level["level"]) for level in levels]
        bars = panel.bar(names, [level[key] for level in levels], color=_COLOURS[1])
        panel.bar_label(bars, fmt="{:,.0f}", fontsize=8)
        panel.set_ylim(0, codebook_size * 1.1)
        panel.axhline(codebook_size, color="0.5", linestyle="--", linewidth=1)
        panel.set_title(f"{title} a level, of {codebook_size:,}", loc="left", fontsize=9)
        panel.set_xlabel("level")
    content = io.BytesIO()
    # Without the library's name and date: equal figures give equal files.
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw_lengths(panel: Any, histogram: Mapping[str, Any]) -> None:
    counts, step = histogram["counts"], histogram["step"]
    width = max(1, -(-len(counts) // _MOST_BARS))
    heights = [sum(counts[start : start + width]) for start in range(0, len(counts), width)]
    places = [start * step for start in range(0, len(counts), width)]
    panel.bar(places, heights, width=width * step, align="edge", color=_COLOURS[0])
    panel.set_title(f"records by length, in steps of {width * step:.1f} s", loc="left", fontsize=9)
    panel.set_xlabel("seconds")
