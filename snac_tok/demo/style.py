"""How the page looks: one column, the reader's own fonts, light or dark as the browser wants it."""

FONTS = ("system-ui", "sans-serif")
FONTS_OF_IDS = ("ui-monospace", "monospace")

CSS = """
.gradio-container { max-width: 46rem !important; margin: 0 auto !important; padding: 1.25rem 1rem 3rem !important; }
.gradio-container .main { padding: 0 !important; }
.gradio-container .html-container { padding: 0 !important; }
.gradio-container .column { gap: .8rem; }
.gradio-container h1 { font-size: 1.6rem; font-weight: 650; letter-spacing: -0.01em; margin: 0 0 .35rem; }
.gradio-container h2 { font-size: 1.1rem; font-weight: 650; margin: 1.3rem 0 .15rem; }
.gradio-container p { margin: .25rem 0; line-height: 1.5; }
.hint, .sound span, .map figcaption { color: color-mix(in srgb, var(--body-text-color) 72%, transparent) !important; }
.hint { font-size: .92rem; }
.problem {
  border-left: 3px solid #c2410c; padding: .5rem .75rem; border-radius: 0 .3rem .3rem 0;
  background: color-mix(in srgb, #c2410c 9%, transparent); overflow-wrap: anywhere;
}
.sounds { display: grid; gap: .8rem; padding-top: .25rem; }
.sound { display: grid; gap: .3rem; }
.sound audio + div { display: none; }
.sounds audio { width: 100%; height: 2.4rem; }
.legend { display: flex; gap: 1rem; align-items: center; font-size: .88rem; padding: .25rem 0 .6rem; }
.legend svg { width: 6.5rem; flex: none; }
.legend text { font-size: 8px; fill: white; text-anchor: middle; dominant-baseline: central; }
.map { display: grid; gap: .55rem; }
.map figure { margin: 0; display: grid; grid-template-columns: 2.8rem 1fr; gap: .4rem; align-items: center; }
.map figcaption { font-size: .75rem; text-align: right; white-space: nowrap; }
.map svg { width: 100%; height: 3rem; display: block; }
.map rect:hover { stroke: var(--body-text-color); stroke-width: 1.5; }
textarea { font-family: var(--font-mono) !important; font-size: .85rem !important; }
#compare { align-self: stretch; }
@media (max-width: 30rem) {
  .legend { display: block; }
  .legend svg { width: 9rem; margin-bottom: .5rem; }
}
@media (min-width: 40rem) {
  .sound { grid-template-columns: 13rem 1fr; align-items: center; }
  .sound span { display: block; font-size: .88rem; }
}
"""
