"""Sounds of an evaluation as files: a folder per clip, a file per codec, none over another."""

import numpy as np
import pytest

from snac_tok import Waveform, read_audio
from snac_tok.evaluation import SoundFolder


def constant(value):
    """Ten milliseconds of one value, so that each sound is known by it."""
    return Waveform(samples=np.full((1, 240), value, np.float32), sampling_rate=24_000)


def test_codecs_called_alike_have_files_of_their_own(tmp_path):
    """But for signs or case, which a file's name may not tell apart; under the same names in every clip's folder."""
    sounds = SoundFolder(tmp_path)
    codecs = ["a b", "a-b", "A:B", "a-b-2", "(recording)", "recording"]
    for clip in ("one.wav", "two.wav"):
        for number, codec in enumerate(codecs, start=1):
            sounds.add(clip, codec, constant(number / 8))
    names = [[path.name for path in paths.values()] for paths in sounds.paths.values()]
    assert names[0] == names[1]
    assert len({name.lower() for name in names[0]}) == len(codecs)
    for paths in sounds.paths.values():
        for number, codec in enumerate(codecs, start=1):
            assert read_audio(tmp_path / paths[codec]).samples[0, 0] == number / 8


@pytest.mark.parametrize(
    "clip", ["", ".", "..", "../../out.wav", "/root/a.wav", "C:\\a.wav", "ä" * 300, "a\n\0b"]
)
def test_no_name_of_a_clip_leaves_the_folder(tmp_path, clip):
    """Names come from manifests and datasets of others."""
    sounds = SoundFolder(tmp_path / "report")
    sounds.add(clip, "tiny", constant(0.5))
    (path,) = tmp_path.rglob("*.wav")
    assert path.parent.parent == tmp_path / "report" / "sounds"
