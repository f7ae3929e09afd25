"""The page's own HTML: frames of codes as blocks, players under each other, a sentence where something went wrong.

Three frames of a line; the numbers are slots:

     ┌────────┐┌────────┐┌────────┐
     │   0    ││        ││        │   level 0: one code a frame
     ├───┬────┤├───┬────┤├───┬────┤
     │ 1 │ 4  ││   │    ││   │    │   level 1
     ├─┬─┼─┬──┤├─┬─┼─┬──┤├─┬─┼─┬──┤
     │2│3│5│6 ││ │ │ │  ││ │ │ │  │   level 2
     └─┴─┴─┴──┘└─┴─┴─┴──┘└─┴─┴─┴──┘
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snac_tok.audio import Waveform
    from snac_tok.frames import FrameLayout, Vocabulary

# A line has as many codes of the finest level, so that they can be told apart on a phone.
_FINEST_A_LINE = 96
# In the pictures' own units: a code of the finest level, the gap behind a frame, a level's height and gap.
_CODE, _FRAME_GAP, _ROW, _ROW_GAP = 10.0, 3.0, 16.0, 2.0
# One hue a level, in degrees, and over how many the slots of a level are spread.
_HUES = (212, 22, 150, 290)
_SPREAD = 34


def problem(sentence: str) -> str:
    """Return a sentence about what went wrong, as HTML."""
    return f'<p class="problem" role="alert">{_sentence(sentence)}</p>'


def hint(sentence: str) -> str:
    """Return a quiet sentence as HTML."""
    return f'<p class="hint">{_sentence(sentence)}</p>'


def _sentence(text: str) -> str:
    """Return what the library says, as HTML: a sentence of a page begins with a capital."""
    return html.escape(text[:1].upper() + text[1:])


def players(sounds: Iterable[tuple[str, str, Waveform]]) -> str:
    """Return a player for each (name, remark, sound), one under the other; each holds its sound itself."""
    return f'<div class="sounds">{"".join(_player(*each) for each in sounds)}</div>'


def _player(name: str, remark: str, sound: Waveform) -> str:
    words = f"<b>{html.escape(name)}</b> <span>{html.escape(remark)}</span>"
    return f'<div class="sound"><div>{words}</div>{sound._repr_html_()}</div>'


def stream_player(address: str, remarks: Sequence[str]) -> str:
    """Return a player that starts by itself and takes its sound from an address."""
    notes = "".join(map(hint, remarks))
    return f'<div class="sounds"><audio controls autoplay src="{html.escape(address)}"></audio>{notes}</div>'


def legend(layout: FrameLayout) -> str:
    """Return one frame with its slots' numbers, and the words that say what the colours mean."""
    drawing = _Drawing(layout, frames=1)
    blocks = [
        f'<rect {drawing.place(0, level, step)} fill="{_colour(layout, level, step, 0.3)}"/>'
        f"<text {drawing.middle(level, step)}>{slot}</text>"
        for slot, (level, step) in enumerate(layout.slots)
    ]
    levels = "; ".join(
        f'<b style="color:{_colour(layout, level, 0, 0.3)}">level {level}</b> {count} a frame'
        for level, count in enumerate(layout.codes_per_frame)
    )
    words = (
        f"One frame, with the numbers of its slots. A row is a level, coarse on top: {levels}. "
        "The tint tells the slot, and brightness the code, dark 0 to light "
    )
    return f'<div class="legend">{drawing.svg(blocks, stretch=False)}<p>{words}'


def code_map(codes: Sequence[Any], table: Vocabulary, *, frame_seconds: float) -> str:
    """Return all frames of codes as coloured blocks, line by line; each block tells its code and id when pointed at.

    Args:
        codes: of a codec, per level (T_k,), coarsest first.
        table: whose ids are told.
        frame_seconds: how long a frame is.
    """
    layout = table.layout
    frames = layout.flatten(codes).reshape(-1, layout.slots_per_frame).tolist()
    per_line = max(1, _FINEST_A_LINE // layout.codes_per_frame[-1])
    drawing = _Drawing(layout, frames=per_line)
    lines = [
        f"<figure><figcaption>{start * frame_seconds:.1f} s</figcaption>"
        f"{drawing.svg(_blocks(frames, range(start, min(start + per_line, len(frames))), table, drawing))}</figure>"
        for start in range(0, len(frames), per_line)
    ]
    last = f"{table.codebook_size - 1}. Point at a block for its code and its id.</p></div>"
    return f'{legend(layout)}{last}<div class="map">{"".join(lines)}</div>'


def _blocks(frames: list[list[int]], shown: range, table: Vocabulary, drawing: _Drawing) -> list[str]:
    return [
        f"<rect {drawing.place(frame - shown.start, level, step)} "
        f'fill="{_colour(table.layout, level, step, code / (table.codebook_size - 1))}">'
        f"<title>frame {frame}, level {level}, slot {slot}: code {code}, id {table.id_of(slot, code)}</title></rect>"
        for frame in shown
        for slot, ((level, step), code) in enumerate(zip(table.layout.slots, frames[frame], strict=True))
    ]


def _colour(layout: FrameLayout, level: int, step: int, share: float) -> str:
    """Return a code's colour: its level's hue, turned by its slot, and brighter the larger it is."""
    hue = _HUES[level % len(_HUES)] + _SPREAD * step / layout.codes_per_frame[level]
    return f"hsl({hue:.0f} 62% {26 + 56 * share:.0f}%)"


class _Drawing:
    """Where the blocks of a line of frames stand."""

    def __init__(self, layout: FrameLayout, *, frames: int) -> None:
        self._counts = layout.codes_per_frame
        self._frame = _CODE * self._counts[-1]
        self._width = frames * (self._frame + _FRAME_GAP) - _FRAME_GAP
        self._height = len(self._counts) * (_ROW + _ROW_GAP) - _ROW_GAP

    def place(self, frame: int, level: int, step: int) -> str:
        """Return a block's place and size."""
        width = self._frame / self._counts[level]
        left = frame * (self._frame + _FRAME_GAP) + step * width
        return f'x="{left:g}" y="{level * (_ROW + _ROW_GAP):g}" width="{width - 1:g}" height="{_ROW:g}"'

    def middle(self, level: int, step: int) -> str:
        """Return where the number of a block of the first frame stands."""
        width = self._frame / self._counts[level]
        return f'x="{(step + 0.5) * width - 0.5:g}" y="{level * (_ROW + _ROW_GAP) + _ROW / 2:g}"'

    def svg(self, blocks: list[str], *, stretch: bool = True) -> str:
        """Return blocks as a picture; one that stretches is as wide as the page."""
        how = ' preserveAspectRatio="none"' if stretch else ""
        return f'<svg viewBox="0 0 {self._width:g} {self._height:g}"{how} role="img">{"".join(blocks)}</svg>'
