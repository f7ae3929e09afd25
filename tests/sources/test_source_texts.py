"""Which recording a row of metadata means, in which folder."""

from __future__ import annotations

import logging

import pytest

from snac_tok.errors import SourceError
from snac_tok.sources.texts import find_rows


def write(folder, text, name="metadata.csv"):
    """Put metadata into a folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode())
    return folder


def find_texts(folder, paths):
    """Text by path."""
    return {path: row.text for path, row in find_rows(folder, paths).items() if row.text}


@pytest.fixture
def match_texts(tmp_path):
    """Text by path, of a metadata file with these texts by name."""

    def match(paths, texts):
        rows = "".join(f"{name},{text}\n" for name, text in texts.items())
        return find_texts(write(tmp_path, "file_name,text\n" + rows), paths)

    return match


def test_no_metadata_is_no_error(tmp_path):
    """There are just no texts."""
    assert find_texts(tmp_path, ["a.wav"]) == {}


def test_two_metadata_files_are_one_too_many(tmp_path):
    """Which would win is not ours to say."""
    write(tmp_path, "file_name,text\n")
    with pytest.raises(SourceError, match="keep one"):
        find_texts(write(tmp_path, "", "metadata.jsonl"), ["a.wav"])


def test_a_second_different_text_is_named_with_its_line(tmp_path):
    """Nothing is guessed; two spellings of one path are one file."""
    write(tmp_path, "audio_file|text\na.wav|one\n./a.wav|two\n")
    with pytest.raises(SourceError, match=r"metadata\.csv, line 3: a second, different text for './a.wav'"):
        find_texts(tmp_path, ["a.wav"])


def test_the_same_row_twice_is_no_contradiction(tmp_path):
    """Equal texts agree."""
    assert find_texts(write(tmp_path, "file_name,text\na,x\na,x\n"), ["a.wav"]) == {"a.wav": "x"}


def test_ljspeech_as_it_is_unpacked(tmp_path):
    """Ids without extension, sounds in a folder, the text as it is written, quotation marks and all."""
    write(tmp_path, 'LJ001-0001|He said "in 1440".|he said in fourteen forty\nLJ001-0002|Two|two\n')
    found = find_texts(tmp_path, ["wavs/LJ001-0001.wav", "wavs/LJ001-0002.wav"])
    assert found == {"wavs/LJ001-0001.wav": 'He said "in 1440".', "wavs/LJ001-0002.wav": "Two"}


def test_part_of_ljspeech(tmp_path, caplog):
    """The first row is no header because its recording is missing."""
    write(tmp_path, "LJ001-0001|One|one\nLJ001-0002|Two|two\n")
    assert find_texts(tmp_path, ["LJ001-0002.wav"]) == {"LJ001-0002.wav": "Two"}
    assert "names 1 file that is not there: LJ001-0001" in caplog.text


def test_a_subfolders_metadata_is_about_its_own_files(tmp_path):
    """Paths are relative to it; same names in other folders are not meant; it goes before the folder above."""
    write(tmp_path, "file_name,text\nx/a.wav,above\ny/a.wav,why\nb.wav,top\n")
    write(tmp_path / "x", "file_name,text\na.wav,near\n")
    write(tmp_path / "x" / "deep", '{"path": "a.wav", "sentence": "deep"}', "metadata.jsonl")
    write(tmp_path / "x-y", "LJ1|dash\n")
    paths = ["b.wav", "x/a.wav", "y/a.wav", "x/deep/a.wav", "x-y/LJ1.wav", "x/c.wav"]
    assert find_texts(tmp_path, paths) == {
        "b.wav": "top",
        "x/a.wav": "near",
        "y/a.wav": "why",
        "x/deep/a.wav": "deep",
        "x-y/LJ1.wav": "dash",
    }


def test_backslashes_and_absolute_paths(tmp_path):
    """Windows spells folders so; an absolute path counts where it lies inside the folder, links resolved."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    rows = [
        "sub\\a.wav,one",
        f"{tmp_path}/link/b.wav,two",
        f"{tmp_path}/real/sub/c.wav,three",
        f"{tmp_path}/d.wav,no",
    ]
    write(tmp_path / "real", "file_name,text\n" + "\n".join(rows))
    found = find_texts(tmp_path / "link", ["b.wav", "d.wav", "sub/a.wav", "sub/c.wav"])
    assert found == {"sub/a.wav": "one", "b.wav": "two", "sub/c.wav": "three"}


def test_a_relative_folder_has_absolute_paths_too(tmp_path, monkeypatch):
    """However the folder was named."""
    write(tmp_path / "clips", f"path,sentence\n{tmp_path}/clips/a.wav,one\n")
    monkeypatch.chdir(tmp_path)
    assert find_texts(tmp_path.__class__("clips"), ["a.wav"]) == {"a.wav": "one"}


def test_path_then_file_name_then_stem(match_texts):
    """The nearest spelling wins, and what was converted keeps its text."""
    assert match_texts(["x/a.wav", "y/b.wav"], {"b.wav": "two"}) == {"y/b.wav": "two"}
    assert match_texts(["a.wav", "x/a.wav"], {"a.wav": "top"}) == {"a.wav": "top"}
    assert match_texts(["a.wav", "x/a.wav"], {"a": "top", "x/a": "x"}) == {"a.wav": "top", "x/a.wav": "x"}
    assert match_texts(["x/v1.5.flac"], {"v1.5": "dots"}) == {"x/v1.5.flac": "dots"}
    assert match_texts(["x/a.flac"], {"a.mp3": "one"}) == {"x/a.flac": "one"}
    assert match_texts(["a.flac"], {"a.wav": "no", "a.flac": "own"}) == {"a.flac": "own"}


def test_a_name_that_several_files_have_gives_no_text(match_texts, caplog):
    """By name or by stem; the warning says what to do, and the others keep theirs."""
    texts = {"a.wav": "which", "b": "which", "c.wav": "this"}
    assert match_texts(["x/a.wav", "y/a.wav", "b.wav", "b.flac", "c.wav"], texts) == {"c.wav": "this"}
    assert "2 names that several files could be meant by: a.wav, b" in caplog.text
    assert "paths" in caplog.text


def test_two_names_of_one_file_must_agree(match_texts):
    """By path and by name."""
    assert match_texts(["x/a.wav"], {"a.wav": "one", "x/a.wav": "one"}) == {"x/a.wav": "one"}
    with pytest.raises(SourceError, match="two different texts"):
        match_texts(["x/a.wav"], {"a.wav": "one", "x/a.wav": "two"})


def test_files_that_are_there_and_not_taken_are_told_as_such(tmp_path, caplog):
    """They are not missing."""
    write(tmp_path, "file_name,text\na.wav,x\nb.doc,y\nc.wav,z\n")
    (tmp_path / "b.doc").write_bytes(b"")
    assert find_texts(tmp_path, ["a.wav"]) == {"a.wav": "x"}
    assert "names 1 file that is not there: c.wav" in caplog.text
    assert "names 1 file that is no sound by the ending: b.doc" in caplog.text


def test_composed_and_decomposed_accents_are_one_name(tmp_path):
    """Some systems store ü as u and two dots."""
    write(tmp_path, "file_name,text\nu\u0308.wav,x\n")
    assert find_texts(tmp_path, ["\u00fc.wav"]) == {"\u00fc.wav": "x"}


def test_rows_about_absent_files_are_counted_and_logged(match_texts, caplog):
    """Also those that point outside the folder; one is one file, not one files."""
    with caplog.at_level(logging.WARNING):
        assert match_texts(["a.wav"], {"a.wav": "x", "b.wav": "y", "../a.wav": "z"}) == {"a.wav": "x"}
        match_texts(["a.wav"], {"c.wav": "y"})
    assert "2 files that are not there: b.wav, ../a.wav" in caplog.text
    assert "/metadata.csv names 1 file that is not there: c.wav" in caplog.text
