"""The blocks of docs/cookbook.md run as they stand: "now" gives what "before" gave."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from datasets import load_dataset
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from snac_tok import SNAC, read_audio
from snac_tok.cli.program import program

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|console)\n(.*?)```", PAGE, re.DOTALL)
SERVERS = re.findall(
    r"^snac-tok (.*)$", "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)), re.MULTILINE
)
PUBLISHED = "hubertsiuzdak/snac_24khz"
ORPHEUS = "canopylabs/orpheus-3b-0.1-ft"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the speech, a codec in the files that upstream publishes, and words for Orpheus' tokenizer."""
    shutil.copytree(ROOT / "tests" / "speech", tmp_path / "tests" / "speech")
    config = (ROOT / "configs" / "first_steps.yaml").read_text(encoding="utf-8")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "first_steps.yaml").write_text(re.sub(r": 8\n", ": 1\n", config))
    letters = {letter: at for at, letter in enumerate(sorted(ByteLevel.alphabet()))}
    spelling = Tokenizer(BPE(vocab=letters, merges=[]))
    spelling.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    PreTrainedTokenizerFast(tokenizer_object=spelling).save_pretrained(tmp_path / "words")
    tiny = SNAC.from_pretrained("tiny")
    tiny.save_pretrained(tmp_path / "codec")
    torch.save(tiny.state_dict(), tmp_path / "codec" / "pytorch_model.bin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(number, kind, block, names):
    """Run a block of Python in `names`, or the commands of one of the console."""
    code = block.replace(PUBLISHED, "codec").replace(ORPHEUS, "words")
    if kind == "python":
        exec(compile(code, f"docs/cookbook.md, block {number}", "exec"), names)
        return
    for line in code.splitlines():
        ran = CliRunner().invoke(program, shlex.split(line.removeprefix("$ snac-tok ")))
        assert ran.exit_code == 0, line + ran.output


@pytest.mark.slow
def test_now_gives_what_before_gave(workplace):
    """Codes, ids and sound are the same; the manifest's rows are whole; every flow ends in what it promises."""
    names = {"__name__": "cookbook"}
    for number, (kind, block) in enumerate(BLOCKS, start=1):
        run(number, kind, block, names)
    for codes, same in zip(names["codes"], names["same_codes"], strict=True):
        assert torch.equal(codes, same)
    assert names["sound"].shape == names["same_sound"].shape
    torch.testing.assert_close(*sounds_with_equal_noise(names), atol=1e-6, rtol=0)
    assert names["flat"] == names["same_flat"].tolist() == names["ids"]
    assert names["levels"] == [level.tolist() for level in names["same_levels"]]
    np.testing.assert_array_equal(names["spoken"].samples, names["tok"].decode(names["flat"]).samples)
    assert read_audio("heard.wav").num_samples == len(names["ids"]) // 7 * 2048
    rows = load_dataset("parquet", data_files="train.parquet", split="train", cache_dir=workplace / "cache")
    assert [len(row["input_ids"]) for row in rows] == [161, 147]
    assert {"text", "num_samples"} <= set(rows.column_names)
    check_flows(names)


def check_flows(names):
    """Orpheus' lines hold the ids of the speech, the answer sounds as decoding it does, and the codec has figures."""
    flat = names["flat"]
    line = names["lines"][0]["input_ids"]
    assert line[line.index(flat[0]) :][: len(flat)] == flat
    assert names["lines"].column_names == ["input_ids", "attention_mask", "labels"]
    samples = np.frombuffer(Path("answer.wav").read_bytes()[44:], np.int16) / 32768
    np.testing.assert_allclose(samples, names["spoken"].samples[0], atol=1 / 32768)
    assert SNAC.from_pretrained("run/codec").sampling_rate == 24_000
    assert Path("report", "listen.html").exists()


def sounds_with_equal_noise(names):
    """What both decode the codes to if the global generator, where their noise comes from, begins alike."""
    for codec in (names["model"], names["codec"]):
        torch.manual_seed(0)
        with torch.inference_mode():
            yield codec.decode(names["codes"])


def test_every_block_is_one_that_runs():
    """A slip in a fence would leave a block out unseen; the name in them is the published codec's."""
    kinds = re.findall(r"^```(.*)$", PAGE, re.MULTILINE)
    assert set(kinds[::2]) == {"python", "console", "sh"}
    assert set(kinds[1::2]) == {""}
    assert PUBLISHED in BLOCKS[0][1]


@pytest.mark.parametrize("line", SERVERS)
def test_options_of_servers_exist(line):
    """Where nothing can be started, at least the command reads its options."""
    name, *options = shlex.split(line)
    command = program.get_command(None, name)
    assert command.make_context(name, options).params["engine"] in line
