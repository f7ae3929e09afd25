"""`snac-tok demo` in a real browser: a sound is uploaded, its tokens are seen, and everything that is to sound does."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from snac_tok import SNAC, SnacTokenizer, read_audio, write_audio

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

SPEECH = Path(__file__).parents[1] / "speech" / "LJ001-0002.flac"
FRAME = 2048
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on the PATH"),
    # Not importorskip: gradio takes seconds, and this process does not need it.
    *(
        pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")
        for name in ("gradio", "playwright")
    ),
]


@contextmanager
def page_of(*options):
    """The command in a process of its own, and the page's address."""
    command = [sys.executable, "-m", "snac_tok", "demo", "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            found = (re.search(r"at (http://127\.0\.0\.1:\d+)", line) for line in process.stderr)
            yield next(filter(None, found))[1]
        finally:
            process.kill()


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a visitor sees and hears, with a second codec to compare."""
    folder = tmp_path_factory.mktemp("demo")
    SNAC.from_pretrained("tiny").save_pretrained(folder / "other")
    write_audio(folder / "long.wav", np.full(31 * 8000, 0.1, np.float32), 8000)
    (folder / "text.wav").write_text("no sound at all")
    other = str(folder / "other")
    with page_of("--model", "tiny", "--model", other, "--decoder", other) as address:
        visit = subprocess.run(
            [sys.executable, Path(__file__).with_name("visit.py"), address, BROWSER, SPEECH, folder],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            env={**os.environ, "NODE_OPTIONS": ""},
        )
    assert visit.returncode == 0, visit.stderr
    return json.loads(visit.stdout)


def test_nothing_leaves_this_machine(seen):
    """Neither scripts nor fonts, and the page's scripts run without an error under that rule."""
    assert seen["elsewhere"] == []
    assert seen["errors"] == []
    assert seen["title"] == "snac_tok: hear the tokens"


def test_a_sound_is_heard_with_all_levels_and_with_fewer(seen):
    """Beside the recording, each as long as it and not silent."""
    assert seen["level names"] == ["Recording", "3 levels", "2 levels", "1 level"]
    seconds = read_audio(SPEECH).duration_seconds
    assert_sounds(seen["levels"], [seconds] * 4)


def test_a_sound_is_recorded(seen):
    """From the microphone: about two seconds, and as long with all levels as the recording itself."""
    (seconds, loudest), *decoded = seen["recorded"]
    assert 1 < seconds < 6
    assert loudest > 0.01
    assert [each for each, _ in decoded] == pytest.approx([seconds] * 3, abs=0.01)


def assert_sounds(heard, expected):
    """Whether players have these seconds, and are heard."""
    assert [each for each, _ in heard] == pytest.approx(expected, abs=0.01)
    assert min(loudest for _, loudest in heard) > 0.05


def test_tokens_are_seen(seen):
    """A block for every code, a colour for every slot, and the ids of the preset."""
    ids = SnacTokenizer.from_pretrained("tiny", preset="orpheus").encode(SPEECH)
    assert seen["blocks"] == len(ids)
    assert len(seen["colours"]) == 7
    assert seen["block"].startswith("frame 0, level 0, slot 0: code ")
    assert seen["block"].endswith(f"id {ids[0]}")
    assert seen["ids"].startswith(f"<custom_token_{ids[0] - 128256}>")
    assert seen["ids"].count("<custom_token_") == len(ids)


def test_noises_and_codecs_are_compared(seen):
    """Three noises of the first codec, its other decoder, and what the second codec makes of the sound."""
    assert_sounds(seen["compared"], [read_audio(SPEECH).duration_seconds] * 5)


def test_pasted_tokens_are_spoken(seen):
    """The player knows the length before all is decoded, starts by itself, and plays whole frames."""
    seconds = seen["ids"].count("<custom_token_") / 7 * FRAME / 24_000
    assert_sounds(seen["spoken"], [seconds])
    assert seen["player's seconds"] == pytest.approx(seconds, abs=0.01)


def test_errors_stand_in_their_place(seen):
    """The library's sentences, and they go when the next sound is taken."""
    assert seen["long"] == "The recording is longer than 30 s, the limit of this page; cut it."
    assert "text.wav" not in seen["text"]
    assert seen["problem is gone"]
    assert seen["wrong seed"].startswith("There is 'loud'; write 1 to 6 whole numbers")
    assert seen["no speech"].startswith("There is no speech of 'orpheus' in 'hello'")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits(seen, width):
    """Nothing is wider than a phone or a screen."""
    assert seen[f"overflow at {width}"] <= 0
