"""The page: what stands on it, in which order, and which handler each part calls."""

from __future__ import annotations

import html
from functools import partial
from typing import TYPE_CHECKING, Any

from snac_tok.codec.trial import is_trial

if TYPE_CHECKING:
    from snac_tok.demo.handlers import Handlers

_TITLE = "snac_tok: hear the tokens"
_REPAIRS = [
    ("refused", "strict"),
    ("left out with their frame", "resync"),
    ("filled in from the frame before", "conceal"),
]
# Uploads are removed when they are an hour old.
_CLEARED_EVERY, _KEPT_SECONDS = 600, 3600


def build_page(gradio: Any, handlers: Handlers) -> Any:
    """Return the page as gradio's Blocks."""
    with gradio.Blocks(
        title=_TITLE, analytics_enabled=False, delete_cache=(_CLEARED_EVERY, _KEPT_SECONDS)
    ) as page:
        gradio.HTML(_heading(handlers))
        _add_recording(gradio, handlers)
        _add_speech(gradio, handlers)
    return page


def _heading(handlers: Handlers) -> str:
    name, config = next(iter(handlers.tokenizers)), handlers.main.codec.config
    trial = (
        " It is for trials: it sounds as on a bad telephone line, and models that were trained with "
        "another codec cannot read its tokens."
    )
    return (
        "<h1>Hear the tokens</h1>"
        "<p>A codec turns sound into the tokens that a speech language model reads and writes, and back. This page "
        f"runs <b>{html.escape(name)}</b>: {config.sampling_rate / 1000:g} kHz, {config.num_levels} levels, "
        f"{config.tokens_per_second:.0f} tokens a second.{trial if is_trial(handlers.main.codec) else ''}</p>"
    )


def _limit(handlers: Handlers) -> str:
    return f"{handlers.max_seconds:g} s"


def _add_recording(gradio: Any, handlers: Handlers) -> None:
    """Add the recorder, and what is shown of a recording once there is one."""
    recording = gradio.State(None)
    sound = gradio.Audio(
        label=f"Your sound, up to {_limit(handlers)}",
        sources=["upload", "microphone"],
        type="filepath",
        editable=False,
        buttons=[],
        elem_id="sound",
    )
    why_not = gradio.HTML(elem_id="sound-problem")
    with gradio.Column(visible=False) as results:
        gradio.HTML("<h2>Tokens</h2>")
        picture = gradio.HTML(elem_id="tokens")
        with gradio.Accordion("Ids for a language model", open=False, elem_id="ids-fold"):
            preset = gradio.Dropdown([*handlers.presets], label="Preset", elem_id="preset")
            ids = gradio.Textbox(
                lines=4, max_lines=8, show_label=False, buttons=["copy"], interactive=False, elem_id="ids"
            )
        gradio.HTML(
            "<h2>With fewer levels</h2><p class='hint'>What each level adds: first all, then without the finest.</p>"
        )
        levels = gradio.HTML(elem_id="levels")
        _add_comparison(gradio, handlers, recording)
    on = partial(_on, inputs=[recording, preset], outputs=[picture, ids])
    taken = _on(sound.change, handlers.take, inputs=sound, outputs=[recording, why_not])
    shown = on(taken.then, handlers.show_tokens)
    _on(
        shown.then,
        lambda found: gradio.update(visible=found is not None),
        inputs=recording,
        outputs=results,
    )
    _on(shown.then, handlers.listen, inputs=recording, outputs=levels)
    on(preset.change, handlers.show_tokens)


def _add_comparison(gradio: Any, handlers: Handlers, recording: Any) -> None:
    """Add what compares noises and codecs."""
    names = list(handlers.tokenizers)[1:]
    others = f". Below stand {html.escape(' and '.join(names))}, too" if names else ""
    heading = "Noise, and other codecs" if names else "Noise"
    gradio.HTML(
        f"<h2>{heading}</h2><p class='hint'>The decoder adds noise. A seed makes it repeatable; compare it with "
        f"others, or with none{others}.</p>"
    )
    with gradio.Row(equal_height=True):
        seeds = gradio.Textbox("off, 0, 1", label="Seeds", max_lines=1, elem_id="seeds", scale=3)
        button = gradio.Button("Compare", elem_id="compare", scale=1)
    compared = gradio.HTML(elem_id="compared")
    for event in (button.click, seeds.submit):
        _on(event, handlers.compare, inputs=[recording, seeds], outputs=compared)
    # Of the recording before.
    _on(recording.change, lambda: "", inputs=None, outputs=compared)


def _add_speech(gradio: Any, handlers: Handlers) -> None:
    """Add the place for pasted tokens."""
    gradio.HTML(
        "<h2>Hear a model's tokens</h2><p class='hint'>Paste what a language model wrote: text with tokens such as "
        "&lt;custom_token_10&gt;, or ids. Each frame is decoded while the one before it plays; up to "
        f"{_limit(handlers)}.</p>"
    )
    text = gradio.Textbox(
        show_label=False,
        placeholder="<custom_token_10><custom_token_4106>…",
        lines=4,
        max_lines=8,
        elem_id="pasted",
    )
    lines = [name for name, table in handlers.presets.items() if not table.is_parallel]
    codecs = list(handlers.tokenizers)
    with gradio.Row():
        preset = gradio.Dropdown(lines, label="Preset of the model", elem_id="pasted-preset")
        on_error = gradio.Dropdown(_REPAIRS, label="Ids out of place are", elem_id="on-error")
        codec = gradio.Dropdown(codecs, label="Codec", visible=len(codecs) > 1, elem_id="codec")
    button = gradio.Button("Speak", variant="primary", elem_id="speak")
    spoken = gradio.HTML(elem_id="spoken")
    _on(button.click, handlers.speak, inputs=[text, preset, codec, on_error], outputs=spoken)


def _on(event: Any, handler: Any, *, inputs: Any, outputs: Any) -> Any:
    """Have an event call a handler; not as an API of the server."""
    # Without gradio's queue: its one stream of answers closes while the next event is on its way, and that one's answer
    # is lost (gradio 6.31: one of four, when a sound is taken away soon after it was given).
    return event(handler, inputs, outputs, api_visibility="private", show_progress="minimal", queue=False)
