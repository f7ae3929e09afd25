"""The house style of refusals: lower case at the start unless a name stands there, a full stop at the end."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import snac_tok

PACKAGE = Path(snac_tok.__file__).parent
MODULES = [*sorted((PACKAGE / "audio").glob("*.py")), *sorted((PACKAGE / "frames").glob("*.py"))]
# Names, which keep their capitals.
NAMES = ("FLAC", "GBNF", "WAV")


def raised_texts(tree):
    """The literal of every `raise SomeError("…")`, f-strings with … for what they fill in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            yield from text_of(node.exc.args[0])


def text_of(message):
    """The text of one literal; nothing for what a function or variable made."""
    if isinstance(message, ast.Constant) and isinstance(message.value, str):
        yield message.value
    if isinstance(message, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in message.values)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_refusals_are_sentences_of_one_style(module):
    """So that every message reads the same, alone and after a file's name and a colon."""
    for text in raised_texts(ast.parse(module.read_text(encoding="utf-8"))):
        # Where another refusal is quoted last, its own full stop ends the sentence.
        assert text.endswith((".", ": …", "……", ".…")), text  # the last: with a hint behind
        assert not text.endswith(".."), text
        assert not text[0].isupper() or text.startswith(NAMES), text


def test_there_are_refusals_to_look_at():
    """The search above finds them."""
    found = [text for module in MODULES for text in raised_texts(ast.parse(module.read_text("utf-8")))]
    assert len(found) > 60
