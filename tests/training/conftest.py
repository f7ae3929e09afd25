"""Recordings to prepare."""

import pytest
from prepared_sound import write_tone


@pytest.fixture
def source(tmp_path):
    """Three recordings of three rates, one in stereo, one in a folder of its own."""
    write_tone(tmp_path / "source" / "a.wav", rate=22_050)
    write_tone(tmp_path / "source" / "b.flac", rate=48_000, channels=2)
    write_tone(tmp_path / "source" / "more" / "c.ogg", rate=16_000)
    return tmp_path / "source"
