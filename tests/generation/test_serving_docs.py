"""The blocks of docs/serving.md run as they stand, and the recipe is as short as it says."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from snac_tok import preset, read_audio
from snac_tok.errors import TrialCodecWarning

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
SERVING = Path(__file__).parents[2] / "snac_tok" / "serving"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore", category=TrialCodecWarning)
def test_the_page_runs_and_every_way_gives_the_same_sound(tmp_path, monkeypatch, capsys):
    """Text to a WAV that is the answer decoded whole; a model's speech in whole frames, heard while it is written."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "serving"}
    for number, block in enumerate(BLOCKS, start=1):
        exec(compile(block, f"docs/serving.md, block {number}", "exec"), names)
    tok, whole = names["tok"], names["tok"].decode(names["spoken"]).samples[0]
    np.testing.assert_allclose(read_audio(tmp_path / "answer.wav").samples[0], whole, atol=1e-4)
    np.testing.assert_allclose(names["sound"], whole, atol=1e-5)
    samples = sum(chunk.size for chunk in names["chunks"])
    assert samples % tok.codec.config.frame_length == 0
    assert 4 <= samples // tok.codec.config.frame_length <= 12
    assert str(names["found"].report) in PAGE
    assert names["last"]["done"]
    np.testing.assert_allclose(np.frombuffer(names["pcm"], "<i2") / 32768, whole, atol=1e-4)
    assert capsys.readouterr().out.strip() in PAGE


def test_the_recipe_has_fewer_than_ten_lines():
    """Imports, the codec and the loop."""
    recipe = [line for line in BLOCKS[1].splitlines() if line.strip()]
    assert len(recipe) + 2 < 10
    assert 'stream_audio(texts, tok, encoding="wav")' in BLOCKS[1]


def test_every_code_limit_and_metric_of_the_server_is_listed():
    """By its name."""
    from snac_tok.serving import Limits

    sources = [path.read_text(encoding="utf-8") for path in sorted(SERVING.glob("*.py"))]
    codes = {code for text in sources for code in re.findall(r'code="(\w+)"|Error, "(\w+)"\)', text)}
    listed = {first or second for first, second in codes}
    listed |= {each.name for each in dataclasses.fields(Limits)}
    listed |= {name for text in sources for name in re.findall(r'"(snac_tok_\w+)"', text)}
    assert len(listed) > 40
    assert not [name for name in sorted(listed) if f"`{name}" not in PAGE]


def test_the_grammar_shown_is_the_one_that_comes_out():
    """Word for word."""
    assert preset("orpheus").grammar(min_frames=2, max_frames=600) in PAGE
