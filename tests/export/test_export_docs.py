"""The blocks of docs/exports.md run in their order, and what the page says of files and figures is true."""

import ast
import gc
import re
import shlex
import warnings
from pathlib import Path

import datasets
import numpy as np
import pytest
from click.testing import CliRunner
from export_samples import NAMES, TEXTS, collection, record
from transformers import AutoTokenizer

from snac_tok import open_shards, preset
from snac_tok.cli.program import program
from snac_tok.export import FORMATS
from snac_tok.frames import vocabulary_to_json
from snac_tok.prompts import prompt_names

PAGE = (Path(__file__).parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")


@pytest.fixture
def workplace(words, tmp_path, monkeypatch):
    """A current folder with what the page says is there: shards, words and table.json."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    names = [name for group in NAMES for name in group if name in TEXTS]
    collection(tmp_path / "shards", [[record(name, num_frames=9, seed=at) for at, name in enumerate(names)]])
    (tmp_path / "words").symlink_to(words)
    table = preset("plain", base=len(AutoTokenizer.from_pretrained("words")))
    (tmp_path / "table.json").write_text(vocabulary_to_json(table))
    return tmp_path


@pytest.mark.usefixtures("workplace")
def test_the_blocks_run_in_order():
    """Commands and Python; the values in comments are those that come."""
    names = {}
    for kind, block in re.findall(r"^```(console|python)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        if kind == "python":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # readers leave their files open
                exec(compile(block, "docs/exports.md", "exec"), names)
            continue
        for line in block.splitlines():
            ran = CliRunner().invoke(program, shlex.split(line.removeprefix("$ snac-tok ")))
            assert ran.exit_code == 0, ran.output
    found = list(open_shards("shards").ids("plain"))
    assert [row["id"] for row in names["ids"]] == [each.id for each, _ in found]
    assert names["rows"].column_names == ast.literal_eval(re.search(r"rows\.column_names  # (.*)", PAGE)[1])
    for document, (_, ids) in zip(names["documents"], found, strict=True):
        np.testing.assert_array_equal(document, ids)
    assert names["windows"][0]["input_ids"].size(0) == 65
    assert names["ends"].size == 3
    first = found[0][0]
    assert names["sample"]["json"]["id"] == names["cut"].id == first.id
    np.testing.assert_array_equal(names["sample"]["codes.npy"], first.codes)
    np.testing.assert_array_equal(names["cut"].load_codes(), first.codes.reshape(-1, 7))
    assert names["report"].num_records == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        names.clear()
        gc.collect()


def test_the_page_names_every_format_prompt_and_figure():
    """A format without a row would not be found; a figure that is wrong would be copied."""
    assert re.findall(r"^\| `(\w+)` \| (?:`\.|`shar)", PAGE, re.MULTILINE) == list(FORMATS)
    assert f"{preset('orpheus').size - 1:,}" in PAGE
    assert f"--vocab-size {preset('plain').size} " in PAGE
    assert {"maya1", "veena", "svara"} <= set(prompt_names())
    fences = re.findall(r"^```(.*)$", PAGE, re.MULTILINE)
    assert set(fences[::2]) == {"", "console", "python", "python not-run", "yaml", "sh"}
