"""metadata.csv and metadata.jsonl: the forms people have, and one sentence for each fault."""

from __future__ import annotations

import json
import logging

import pytest

from snac_tok.corpus import match_texts, read_texts
from snac_tok.errors import ShardError


def write(folder, text, name="metadata.csv"):
    """Put metadata into a folder and return the folder."""
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


@pytest.mark.parametrize(
    "text",
    [
        'audio_file|text\na.wav|Hello, "you".\nsub/b.wav|Two\n',
        'audio_file|text|speaker\na.wav|Hello, "you".|x\nsub/b.wav|Two|y\n',
        'file_name,text\na.wav,"Hello, ""you""."\nsub/b.wav,Two\n',
        'id,file_name,transcription\n1,a.wav,"Hello, ""you""."\n2,./sub/b.wav,Two\n',
        '"file_name","text"\n"a.wav","Hello, ""you""."\n"sub/b.wav","Two"\n',
        'file_name\ttext\na.wav\tHello, "you".\nsub/b.wav\tTwo\n',
        '\ufeffFile_Name\tText\r\na.wav\tHello, "you".\r\n\r\nsub/b.wav\tTwo',
    ],
)
def test_every_accepted_form_gives_the_same_texts(tmp_path, text):
    """Separators, quoting, column order, a byte order mark, Windows line ends, further columns."""
    assert read_texts(write(tmp_path, text)) == {"a.wav": 'Hello, "you".', "sub/b.wav": "Two"}


def test_json_lines_give_texts_too(tmp_path):
    """Objects with further fields; a missing or null text is no text."""
    rows = [{"file_name": "a.wav", "text": "ä\u2028b", "x": 1}, {"file_name": "b.wav"}]
    rows += [{"audio_file": "c.wav", "transcription": "three"}, {"file_name": "d.wav", "text": None}]
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert read_texts(write(tmp_path, lines, "metadata.jsonl")) == {"a.wav": "ä\u2028b", "c.wav": "three"}


def test_no_metadata_is_no_error(tmp_path):
    """There are just no texts."""
    assert read_texts(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("LJ001-0001|Printing|Printing\n", "first line must name the columns"),
        ("", "first line must name the columns"),
        ("file_name;text\na.wav;hi\n", "first line must name the columns"),
        ("file_name,label\na.wav,hi\n", "first line must name the columns"),
        ("audio_file|text\na.wav|one|two\n", "line 2: 3 columns, the header has 2"),
        ("audio_file|text\na.wav|x\nb.wav\n", "line 3: 1 columns"),
        ("audio_file|text\na.wav|one\na.wav|two\n", r"line 3: a second, different text for 'a.wav'"),
        ('file_name,text\na.wav,"no end\n', "line"),
        (b"audio_file|text\na.wav|caf\xe9\n", "UTF-8"),
    ],
)
def test_a_faulty_csv_is_named_with_its_line(tmp_path, text, words):
    """Nothing is guessed."""
    with pytest.raises(ShardError, match=words) as caught:
        read_texts(write(tmp_path, text))
    assert "metadata.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"file_name": "a.wav", "text": "x"\n', "line 1: no valid JSON"),
        ('{"file_name": "a.wav", "text": "x"}\n[1]\n', "line 2: needs a JSON object"),
        ('{"text": "x"}\n', "line 1: needs"),
        ('{"file_name": 3, "text": "x"}\n', "line 1: needs"),
        ('{"file_name": "a.wav", "text": 3}\n', "line 1: needs"),
        ('{"file_name": "a", "text": "x"}\n{"file_name": "./a", "text": "y"}\n', "line 2: a second"),
    ],
)
def test_faulty_json_lines_are_named(tmp_path, text, words):
    """With the line."""
    with pytest.raises(ShardError, match=words):
        read_texts(write(tmp_path, text, "metadata.jsonl"))


def test_two_metadata_files_are_one_too_many(tmp_path):
    """Which would win is not ours to say."""
    write(tmp_path, "file_name,text\n")
    with pytest.raises(ShardError, match="keep one"):
        read_texts(write(tmp_path, "", "metadata.jsonl"))


def test_the_same_row_twice_is_no_contradiction(tmp_path):
    """Equal texts agree."""
    assert read_texts(write(tmp_path, "file_name,text\na,x\na,x\n")) == {"a": "x"}


def test_a_file_name_finds_its_only_file_and_a_path_wins_over_a_name():
    """A name that several files have must come with its folder."""
    assert match_texts(["x/a.wav", "y/b.wav"], {"b.wav": "two"}) == {"y/b.wav": "two"}
    assert match_texts(["a.wav", "x/a.wav"], {"a.wav": "top"}) == {"a.wav": "top"}
    with pytest.raises(ShardError, match=r"x/a\.wav or y/a\.wav"):
        match_texts(["x/a.wav", "y/a.wav"], {"a.wav": "which"})


def test_two_names_of_one_file_must_agree():
    """By path and by name."""
    assert match_texts(["x/a.wav"], {"a.wav": "one", "x/a.wav": "one"}) == {"x/a.wav": "one"}
    with pytest.raises(ShardError, match="two different texts"):
        match_texts(["x/a.wav"], {"a.wav": "one", "x/a.wav": "two"})


def test_composed_and_decomposed_accents_are_one_name(tmp_path):
    """Some systems store ü as u and two dots."""
    texts = read_texts(write(tmp_path, "file_name,text\nu\u0308.wav,x\n"))
    assert match_texts(["\u00fc.wav"], texts) == {"\u00fc.wav": "x"}


def test_rows_about_absent_files_are_counted_and_logged(caplog):
    """Also those that point outside the folder."""
    with caplog.at_level(logging.WARNING):
        assert match_texts(["a.wav"], {"a.wav": "x", "b.wav": "y", "../a.wav": "z"}) == {"a.wav": "x"}
    assert "2 files that are not there: b.wav, ../a.wav" in caplog.text
