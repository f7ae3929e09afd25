"""`snac-tok export`."""

import json

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from snac_tok import open_shards
from snac_tok.cli.export import export
from snac_tok.errors import TrialCodecWarning
from snac_tok.export import FORMATS


def test_the_commands_formats_are_the_librarys():
    """The command lists them without importing the library."""
    (option,) = [given for given in export.params if given.name == "to"]
    assert list(option.type.choices) == list(FORMATS)


def test_ids_of_shards_in_parquet(run, work, shards):
    """An account on stdout; the same command again finds nothing to do."""
    result = run("export", "shards", "-o", "ids", "--to", "hf", "--preset", "plain")
    assert result.exit_code == 0, result.stderr
    table = pd.read_parquet(work / "ids")
    found = list(open_shards(shards).ids("plain"))
    assert table["id"].tolist() == [record.id for record, _ in found]
    for line, (_, ids) in zip(table["input_ids"], found, strict=True):
        np.testing.assert_array_equal(line, ids)
    words = " ".join(result.stdout.split())
    assert (
        f"files 1 file in ids, {(work / 'ids' / 'train-00000-of-00001.parquet').stat().st_size:,} bytes"
        in words
    )
    assert "records 2 left out 0 sound 0.0003 h (0.93 s) tokens" in words
    again = run("export", "shards", "-o", "ids", "--to", "hf", "--preset", "plain")
    assert "finished before: nothing was left to do" in again.stdout
    assert again.exit_code == 0


def test_json_is_for_programs(run, shards):
    """All figures by name."""
    result = run(
        "export", "shards", "-o", "one", "--to", "jsonl", "--preset", "plain", "--rows", "1", "--json"
    )
    found = json.loads(result.stdout)
    assert (found["num_records"], found["num_left_out"], found["was_finished"]) == (1, 0, False)
    assert found["num_tokens"] == [ids.size for _, ids in open_shards(shards).ids("plain")][1]


@pytest.mark.usefixtures("shards")
def test_records_that_were_left_out_are_told(run, work):
    """Exit code 1, their number by reason, and the file that names them."""
    words = Tokenizer(models.WordLevel({"has": 0, "never": 1}, unk_token="has"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="has").save_pretrained(work / "words")
    options = ("--what", "sequences", "--text-tokenizer", "words", "--mask-prompt")
    result = run("export", "shards", "-o", "lines", "--to", "hf", "--preset", "vyvo-qwen3", *options)
    assert result.exit_code == 1, result.stderr
    assert "left out  1: 1 with no text" in result.stdout
    assert "which were left out: lines/_left_out.json" in result.stdout
    assert json.loads((work / "lines" / "_left_out.json").read_text()) == [
        {"id": "b.flac", "reason": "no text"}
    ]
    assert list(pd.read_parquet(work / "lines").columns) == ["input_ids", "attention_mask", "labels"]


@pytest.mark.usefixtures("shards")
@pytest.mark.filterwarnings("default::snac_tok.errors.TrialCodecWarning")
def test_ids_of_the_trial_codec_are_told_in_one_line(run):
    """They look like those of a published model."""
    result = run("export", "shards", "-o", "ids", "--to", "megatron", "--preset", "orpheus")
    assert [line[:10] for line in result.stderr.splitlines()] == ["snac-tok: "]
    assert "trial" in result.stderr
    assert TrialCodecWarning.__name__ not in result.stderr


@pytest.mark.usefixtures("shards")
def test_what_cannot_be_exported_is_one_sentence(run, refused):
    """In the words of the command line."""
    base = ("export", "shards", "-o", "out", "--to")
    assert "--preset must be named" in refused(*base, "hf")
    assert "Did you mean 'megatron'" in refused(*base, "megatrn", "--preset", "plain")
    assert "'orpheus'" in refused(*base, "hf", "--preset", "orfeus")
    assert "uint16 cannot hold 156939" in refused(*base, "hf", "--preset", "orpheus", "--dtype", "uint16")
    assert "--mask-prompt is for sequences" in refused(*base, "hf", "--preset", "plain", "--mask-prompt")
    assert "--text-tokenizer must be named" in refused(
        *base, "hf", "--preset", "plain", "--what", "sequences"
    )
    assert "no row 2" in refused(*base, "hf", "--preset", "plain", "--rows", "2")
    assert "not a folder" in refused(
        "export", "clips.parquet", "-o", "out", "--to", "hf", "--preset", "plain"
    )
    assert "the folder of the shards" in refused(
        "export", "shards", "-o", "shards", "--to", "hf", "--preset", "plain"
    )
    assert run(*base, "hf", "--preset", "plain").exit_code == 0
    said = refused(*base, "hf", "--preset", "per-level")
    assert "holds an export with other options (different: vocabulary.name, vocabulary.offsets" in said
    assert run(*base, "hf", "--preset", "per-level", "--force").exit_code == 0


@pytest.mark.usefixtures("shards")
def test_a_bar_counts_records(run):
    """With --progress, or on a terminal."""
    result = run("export", "shards", "-o", "out", "--to", "hf", "--preset", "plain", "--progress")
    assert "exporting: 100%" in result.stderr
    assert "2/2" in result.stderr
