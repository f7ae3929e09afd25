"""The commands of docs/cookbook.md run as they stand, in order, and end in what the page promises."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from datasets import load_dataset
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from snac_tok import SNAC, open_shards, preset
from snac_tok.cli.program import program

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ snac-tok (.*)$", PAGE, re.MULTILINE)
SERVERS = re.findall(r"^snac-tok (serve .*)$", PAGE, re.MULTILINE)
(VOICES,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "voices.csv" in block]
# What is downloaded elsewhere is a folder here.
STAND_INS = {"hubertsiuzdak/snac_24khz": "tiny", "canopylabs/orpheus-3b-0.1-ft": "words"}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the speech, the config with one step in the place of eight, and a text tokenizer of bytes."""
    shutil.copytree(ROOT / "tests" / "speech", tmp_path / "tests" / "speech")
    config = (ROOT / "configs" / "first_steps.yaml").read_text(encoding="utf-8")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "first_steps.yaml").write_text(config.replace(": 8\n", ": 1\n"))
    letters = {letter: at for at, letter in enumerate(sorted(ByteLevel.alphabet()))}
    spelling = Tokenizer(BPE(vocab=letters, merges=[]))
    spelling.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    PreTrainedTokenizerFast(tokenizer_object=spelling).save_pretrained(tmp_path / "words")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_commands_run_in_order(workplace):
    """A codec that can be loaded, a page to listen to, and Orpheus' lines with the ids of the speech."""
    exec(compile(VOICES, "docs/cookbook.md", "exec"), {})
    for line in COMMANDS:
        ran = CliRunner().invoke(program, [STAND_INS.get(word, word) for word in shlex.split(line)])
        assert ran.exit_code == 0, line + ran.output
    assert SNAC.from_pretrained("run/codec").sampling_rate == 24_000
    assert Path("report", "listen.html").exists()
    lines = load_dataset("lines", split="train", cache_dir=workplace / "cache")
    assert all(f"`{name}`" in PAGE for name in lines.column_names)
    records = list(open_shards("voices").ids(preset("orpheus")))
    assert [record.columns["speaker"] for record, _ in records] == ["tara", "leo"]
    for line, (_, ids) in zip(lines["input_ids"], records, strict=True):
        start = line.index(ids[0])
        assert line[start : start + len(ids)] == ids.tolist()


@pytest.mark.parametrize("line", SERVERS)
def test_options_of_servers_exist(line):
    """Where nothing can be started, at least the command reads its options."""
    name, *options = shlex.split(line)
    command = program.get_command(None, name)
    assert command.make_context(name, options).params["engine"] in line
