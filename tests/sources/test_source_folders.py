"""Which files count, in which order, whatever the disk does."""

from __future__ import annotations

import os
import random

import pytest

from snac_tok.errors import SourceError
from snac_tok.sources.folders import list_folder


def touch(folder, *names):
    """Make files of one byte."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def paths(folder, **options):
    """Paths alone."""
    return [recording.name for recording in list_folder(folder, **options)]


def test_audio_is_found_in_all_folders_and_sorted_by_path(tmp_path):
    """Endings in any case; the order is that of the code points, not of the disk."""
    names = ["z.wav", "B.FLAC", "a b.mp3", "ä.ogg", "sub/deep/x.opus", "sub-2/x.wav", "日本.wav"]
    touch(tmp_path, *random.Random(3).sample(names, len(names)), "notes.txt", "wav", "x.wav.txt")
    assert paths(tmp_path) == sorted(names)


def test_videos_are_left_out_and_told(tmp_path, caplog):
    """They may be copies of what lies beside them."""
    for name in ("a.wav", "a.mp4", "b/c.MOV", "d.sph", "e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    assert [found.name for found in list_folder(tmp_path)] == ["a.wav", "d.sph"]
    assert f"{tmp_path}: 2 videos left out; name them in a list" in caplog.text


def test_hidden_files_and_folders_are_skipped(tmp_path):
    """What starts with a dot is somebody's bookkeeping."""
    touch(tmp_path, "a.wav", ".b.wav", ".cache/c.wav", "sub/._a.wav")
    assert paths(tmp_path) == ["a.wav"]


def test_other_endings_can_be_asked_for(tmp_path):
    """The given endings replace the usual ones."""
    touch(tmp_path, "a.wav", "b.sph")
    assert paths(tmp_path, extensions={".sph"}) == ["b.sph"]


def test_links_to_folders_are_followed_once_and_loops_end(tmp_path):
    """A real path wins over a linked one; a link to a parent adds nothing."""
    touch(tmp_path / "source", "real/a.wav")
    touch(tmp_path, "elsewhere/b.wav")
    for name, target in [("alias", "real"), ("loop", "."), ("up", ".."), ("more", "../elsewhere")]:
        (tmp_path / "source" / name).symlink_to(target, target_is_directory=True)
    assert paths(tmp_path / "source") == ["more/b.wav", "real/a.wav"]


def test_linked_files_count_and_links_to_nowhere_are_listed_to_fail_later(tmp_path):
    """A dangling link is reported with the failures, not passed over in silence."""
    touch(tmp_path, "a.wav")
    (tmp_path / "b.wav").symlink_to("a.wav")
    (tmp_path / "c.wav").symlink_to("gone.wav")
    assert [(recording.name, recording.num_bytes) for recording in list_folder(tmp_path)] == [
        ("a.wav", 1),
        ("b.wav", 1),
        ("c.wav", 0),
    ]


def test_links_round_in_a_circle_are_listed_to_fail_later(tmp_path):
    """To itself, and through another: like a link to nowhere."""
    touch(tmp_path, "a.wav")
    for name, target in [("b.wav", "b.wav"), ("c.wav", "d.wav"), ("d.wav", "c.wav"), ("folder", "folder")]:
        (tmp_path / name).symlink_to(target)
    sizes = [(recording.name, recording.num_bytes) for recording in list_folder(tmp_path)]
    assert sizes == [("a.wav", 1), ("b.wav", 0), ("c.wav", 0), ("d.wav", 0)]


def test_pipes_are_left_out(tmp_path):
    """Opening one would wait for ever."""
    touch(tmp_path, "a.wav")
    os.mkfifo(tmp_path / "b.wav")
    assert paths(tmp_path) == ["a.wav"]


def test_no_folder_and_no_audio_say_so(tmp_path):
    """Each with the folder's name."""
    with pytest.raises(SourceError, match="absent is not a folder"):
        list_folder(tmp_path / "absent")
    touch(tmp_path, "notes.txt")
    with pytest.raises(SourceError, match="has no audio"):
        list_folder(tmp_path)


def test_a_file_given_as_folder_is_refused(tmp_path):
    """It is not a folder."""
    touch(tmp_path, "a.wav")
    with pytest.raises(SourceError, match=r"a\.wav is not a folder"):
        list_folder(tmp_path / "a.wav")


def test_foreign_metadata_stops_nothing(tmp_path, caplog):
    """The files are listed without texts, and one warning says so."""
    touch(tmp_path, "a.wav")
    (tmp_path / "metadata.csv").write_text("file_name,speaker\na.wav,x\n")
    assert [(recording.name, recording.text) for recording in list_folder(tmp_path)] == [("a.wav", None)]
    assert len(caplog.records) == 1


def test_texts_reach_their_files(tmp_path):
    """Files without a text have none."""
    touch(tmp_path, "a.wav", "sub/b.wav", "c.wav")
    (tmp_path / "metadata.csv").write_text("audio_file|text\nsub/b.wav|two\na.wav|one\n")
    assert {recording.name: recording.text for recording in list_folder(tmp_path)} == {
        "a.wav": "one",
        "c.wav": None,
        "sub/b.wav": "two",
    }
