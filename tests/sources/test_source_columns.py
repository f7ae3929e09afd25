"""Columns beside the text: from a folder's metadata, as from manifests."""

import numpy as np
import pytest
import soundfile

from snac_tok.errors import SourceError
from snac_tok.sources.find import find_source


def folder_with(place, metadata, name="metadata.csv"):
    """Two recordings and what is told of them."""
    (place / "sub").mkdir()
    for path in ("a.wav", "sub/b.wav"):
        soundfile.write(place / path, np.zeros(800), 8000)
    (place / name).write_text(metadata)
    return place


def told(place, **options):
    """Text and columns by name."""
    return {each.name: (each.text, dict(each.columns)) for each in find_source(place, **options).recordings}


def test_speaker_and_language_are_kept_by_themselves(tmp_path):
    """Under the names that corpora have for them; others when they are asked for."""
    rows = "file_name,text,client_id,locale,mood\na.wav,Good day.,ann,en,calm\nsub/b.wav,No.,bob,,\n"
    folder_with(tmp_path, rows)
    assert told(tmp_path) == {
        "a.wav": ("Good day.", {"speaker": "ann", "language": "en"}),
        "sub/b.wav": ("No.", {"speaker": "bob"}),
    }
    kept = {"speaker": "ann", "language": "en", "mood": "calm"}
    assert told(tmp_path, keep=["mood"])["a.wav"] == ("Good day.", kept)


def test_json_lines_and_rows_without_a_text(tmp_path):
    """Who speaks is worth keeping, also where nobody knows what is said."""
    rows = '{"file_name": "a.wav", "speaker": 7}\n{"file_name": "b.wav", "text": "No.", "speaker": 8}\n'
    folder_with(tmp_path, rows, name="metadata.jsonl")
    assert told(tmp_path) == {"a.wav": (None, {"speaker": "7"}), "sub/b.wav": ("No.", {"speaker": "8"})}


def test_lists_and_objects_of_json_lines_stay_json(tmp_path):
    """Their numbers are numbers; a number alone stays as it is spelled."""
    rows = (
        '{"file_name": "a.wav", "text": "No.", "at": {"s": [1, 2.5], "as": "1"}, "snr": 17.50, "ok": true}\n'
    )
    folder_with(tmp_path, rows, name="metadata.jsonl")
    kept = {"at": '{"s": [1, 2.5], "as": "1"}', "snr": "17.50", "ok": "true"}
    assert told(tmp_path, keep=["at", "snr", "ok"])["a.wav"] == ("No.", kept)


@pytest.mark.parametrize("name", ["metadata.jsonl", "m.jsonl"])
def test_what_cannot_be_kept_is_named(tmp_path, name):
    """A number in a list that is longer than Python's."""
    folder_with(tmp_path, f'{{"file_name": "a.wav", "text": "No.", "at": [{"7" * 5000}]}}\n', name=name)
    named = tmp_path if name == "metadata.jsonl" else tmp_path / name
    with pytest.raises(SourceError, match=rf"{name}, line 1: .*cannot be kept as JSON"):
        told(named, keep=["at"])


def test_a_table_of_speakers_alone(tmp_path, caplog):
    """They are kept, and one warning says that there are no texts."""
    assert told(folder_with(tmp_path, "path,speaker\na.wav,ann\n")) == {
        "a.wav": (None, {"speaker": "ann"}),
        "sub/b.wav": (None, {}),
    }
    assert "no column of texts" in caplog.text


def test_a_contradiction_is_still_one(tmp_path):
    """Two rows about one file."""
    with pytest.raises(SourceError, match="second, different text"):
        told(folder_with(tmp_path, "path,text,speaker\na.wav,x,ann\na.wav,y,ann\n"))
