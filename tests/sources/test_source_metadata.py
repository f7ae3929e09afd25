"""metadata.csv and metadata.jsonl: the forms people have, one warning for what is no text, a line for each fault."""

from __future__ import annotations

import csv
import json

import pytest

from snac_tok.errors import SourceError
from snac_tok.sources.manifests import list_manifest
from snac_tok.sources.metadata import read_rows
from snac_tok.sources.tables import FILE_COLUMNS, TEXT_COLUMNS


def texts(folder, content, name="metadata.csv", *, files=("a.wav", "sub/b.wav")):
    """Write metadata and return its texts by name."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return {row.name: row.text for row in read_rows(path, is_file=files.__contains__) if row.text}


@pytest.mark.parametrize(
    "content",
    [
        'audio_file|text\na.wav|Hello, "you".\nsub/b.wav|Two\n',
        'audio_file|text|speaker\na.wav|Hello, "you".|x\nsub/b.wav|Two|y\n',
        'file_name,text\na.wav,"Hello, ""you""."\nsub/b.wav,Two\n',
        'id,file_name,transcription\n1,a.wav,"Hello, ""you""."\n2,sub/b.wav,Two\n',
        '"file_name","text"\n"a.wav","Hello, ""you""."\n"sub/b.wav","Two"\n',
        'file_name\ttext\na.wav\tHello, "you".\nsub/b.wav\tTwo\n',
        '\ufeffFile_Name\tText\r\na.wav\tHello, "you".\r\n\r\nsub/b.wav\tTwo',
        'client,path,sentence,up_votes\nx,a.wav,"Hello, ""you"".",2\nx,sub/b.wav,Two,0\n',
        'file_name,"age, in years",text\na.wav,30,"Hello, ""you""."\nsub/b.wav,31,Two\n',
        'a.wav|Hello, "you".|hello you\nsub/b.wav|Two|two\n',
        'a.wav|Hello, "you".|hello you\r\nsub/b.wav|Two\r\n',
        'a.wav\tHello, "you".\nsub/b.wav\tTwo\n',
    ],
)
def test_every_accepted_form_gives_the_same_texts(tmp_path, content):
    """Separators, quoting, column order, a byte order mark, Windows line ends, further columns, no header."""
    assert texts(tmp_path, content) == {"a.wav": 'Hello, "you".', "sub/b.wav": "Two"}


@pytest.mark.parametrize("file_column", FILE_COLUMNS)
@pytest.mark.parametrize("text_column", TEXT_COLUMNS)
def test_common_names_of_columns(tmp_path, file_column, text_column):
    """In a CSV and in JSON lines alike."""
    content = f"n,{file_column},{text_column}\n1,a.wav,one\n"
    assert texts(tmp_path, content) == {"a.wav": "one"}
    line = json.dumps({"n": 1, file_column: "a.wav", text_column: "one"})
    assert texts(tmp_path, line, "metadata.jsonl") == {"a.wav": "one"}


def test_json_lines_give_texts_too(tmp_path):
    """Objects with further fields; a missing, null, NaN or empty text is no text."""
    rows = [{"file_name": "a.wav", "text": "ä\u2028b", "x": 1}, {"file_name": "b.wav"}]
    rows += [{"audio_file": "c.wav", "transcription": "three"}, {"file_name": "d.wav", "text": None}]
    rows += [{"file_name": "e.wav", "text": float("nan")}, {"file_name": "f.wav", "text": " \n"}]
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert texts(tmp_path, lines, "metadata.jsonl") == {"a.wav": "ä\u2028b", "c.wav": "three"}


def test_numbers_are_texts_as_they_are_spelled(tmp_path):
    """A recording of digits; an id may be a number as well."""
    lines = '{"id": 17, "text": 42}\n{"id": "b", "text": 1.50}\n{"id": "c", "text": 1e400}\n'
    assert texts(tmp_path, lines, "metadata.jsonl") == {"17": "42", "b": "1.50", "c": "1e400"}


def test_empty_texts_are_none(tmp_path):
    """In a CSV."""
    assert texts(tmp_path, "file_name,text\na.wav,\nb.wav, \nc.wav,x\n") == {"c.wav": "x"}


def test_a_text_of_any_length(tmp_path):
    """A transcript of hours; the limit of Python's reader is as before afterwards."""
    limit, long = csv.field_size_limit(), "word " * 40_000
    for separator in ",|\t":
        assert texts(tmp_path, f"file_name{separator}text\na.wav{separator}{long}\n") == {"a.wav": long}
    assert csv.field_size_limit() == limit


def test_a_refused_table_leaves_the_limit_of_others_alone(tmp_path):
    """While its error is held, too, and with it all that was reading: the limit is the whole process's."""
    limit = csv.field_size_limit()
    with pytest.raises(SourceError, match="3 columns") as held:
        texts(tmp_path, "file_name,text\na.wav,one,more\nsub/b.wav,two\n")
    assert csv.field_size_limit() == limit
    (tmp_path / "list.csv").write_text("name,words\na.wav,one\n")
    with pytest.raises(SourceError) as held_too:
        list_manifest(tmp_path / "list.csv")
    assert csv.field_size_limit() == limit
    assert held.tb
    assert held_too.tb


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", "file_name,speaker\na.wav,x\n"),
        ("metadata.csv", "speaker|text\nx|hello\n"),
        ("metadata.csv", "file_name;text\na.wav;hi\n"),
        ("metadata.csv", "clip|speaker\na.wav|x\n"),
        ("metadata.csv", "a.wav,Hello, you\n"),
        ("metadata.csv", "a.wav\nsub/b.wav\n"),
        ("metadata.csv", ""),
        ("metadata.jsonl", ""),
        ("metadata.jsonl", '{"file_name": "a.wav", "speaker": 3}\n{"file_name": "b.wav"}\n'),
        ("metadata.jsonl", '{"text": "x"}\n'),
    ],
)
def test_no_usable_text_column_is_one_warning(tmp_path, caplog, name, content):
    """It names the file and the columns that would do; nothing stops."""
    assert texts(tmp_path, content, name) == {}
    (record,) = caplog.records
    message = record.getMessage()
    assert name in message
    assert "file_name" in message
    assert "sentence" in message


def test_odd_lines_are_counted(tmp_path, caplog):
    """A line without a name, and texts that are lists or truth values, take the others not along."""
    rows = [{"id": "a", "text": "x"}, {"text": "y"}, {"id": "c", "text": ["z"]}, {"id": "d", "text": True}]
    lines = "\n".join(map(json.dumps, rows))
    assert texts(tmp_path, lines, "metadata.jsonl") == {"a": "x"}
    assert "3 lines" in caplog.text
    assert "line 2" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("audio_file|text\na.wav|one|two\n", "line 2: 3 columns, the header has 2"),
        ("audio_file|text\na.wav|x\nb.wav\n", "line 3: 1 columns"),
        ('file_name,text\na.wav,"no end\n', "line"),
        (b"audio_file|text\na.wav|caf\xe9\n", "line 2: byte 0xe9 is not UTF-8"),
        ("file_name,text,text\na.wav,one,two\n", "the header has two columns 'text'"),
    ],
)
def test_a_faulty_csv_is_named_with_its_line(tmp_path, content, words):
    """Nothing is guessed."""
    with pytest.raises(SourceError, match=words) as caught:
        texts(tmp_path, content)
    assert "metadata.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"file_name": "a.wav", "text": "x"\n', "line 1: not valid JSON"),
        ("[" * 100_000, "line 1: not valid JSON"),
        ('{"file_name": "a.wav", "text": "x"}\n[1]\n', "line 2: needs a JSON object"),
        ('{"id": "a", "text": "x"}\n{"id": "b", "text": "\\ud800"}\n', r"line 2: \\ud800 is half"),
        ('{"id": "\\udce9.wav", "text": "x"}\n', r"line 1: \\udce9 is half"),
    ],
)
def test_faulty_json_lines_are_named(tmp_path, content, words):
    """With the line, in a sentence that can be printed."""
    with pytest.raises(SourceError, match=words) as caught:
        texts(tmp_path, content, "metadata.jsonl")
    assert str(caught.value).encode().startswith(str(tmp_path).encode())
