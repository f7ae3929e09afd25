"""What shells complete: files, folders and words, for every value that can be typed."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import get_completion_class

from snac_tok.cli import completion
from snac_tok.cli.program import program

ROOT = Path(__file__).parents[2]
# What nobody can complete, and why.
UNKNOWN = {
    "--id": "ids of records stand in shards, which are slow to read",
    "--rows": "numbers and ranges",
    "--voice-column": "a column's name stands in shards",
    "--language-model": "its server knows the name",
    "--sampling": "JSON",
    "--allow-origin": "an address",
    "--shard-index": "numbers",
}
NUMBERS = click.types.IntParamType, click.types.FloatParamType


def completed(*words):
    """Return what click's script for bash gets for the last word, each as (type, value)."""
    *before, incomplete = words
    shell = get_completion_class("bash")(program, {}, "snac-tok", "_SNAC_TOK_COMPLETE")
    return [(item.type, item.value) for item in shell.get_completions(before, incomplete)]


def values():
    """Yield the words in front of every value that is neither flag, choice nor number."""
    context = click.Context(program)
    for name in program.list_commands(context):
        before = [name]
        for param in program.get_command(context, name).params:
            if isinstance(param, click.Option):
                if not (param.is_flag or isinstance(param.type, (click.Choice, *NUMBERS))):
                    yield from ((name, option) for option in param.opts)
            else:
                yield tuple(before)
                before.append("presets")  # for inspect a word, for others a name of a file


@pytest.mark.parametrize("before", list(values()), ids=" ".join)
def test_every_value_is_completed(before):
    """There are files, folders or words to choose from, but for what nobody can know."""
    assert bool(completed(*before, "")) is (before[-1] not in UNKNOWN)


def test_every_exception_is_one():
    """The list above names no option that has gone."""
    assert {words[-1] for words in values()} >= set(UNKNOWN)


FILE, FOLDER = "file", "dir"


@pytest.mark.parametrize(
    ("line", "types"),
    [
        ("encode x", {FILE}),
        ("encode a.wav x", {FILE}),
        ("encode a.wav -o x", {FILE}),
        ("decode x", {FILE}),
        ("decode a.npz --output x", {FILE}),
        ("roundtrip x", {FILE}),
        ("roundtrip a.wav -o x", {FILE}),
        ("plot x", {FILE}),
        ("plot a.wav -o x", {FILE}),
        ("shard x", {FILE}),
        ("shard clips x", {FOLDER}),
        ("status x", {FOLDER}),
        ("verify x", {FOLDER}),
        ("export x", {FILE}),
        ("export shards -o x", {FOLDER}),
        ("inspect x", {FILE}),
        ("inspect --identify x", {FILE}),
        ("inspect shards --plot x", {FILE}),
        ("prepare x", {FILE}),
        ("prepare clips more -o x", {FOLDER}),
        ("train x", {FILE}),
        ("train config.yaml -o x", {FOLDER}),
        ("eval x", {FILE}),
        ("eval a.wav --json x", {FILE}),
        ("eval a.wav --png x", {FILE}),
        ("eval a.wav -o x", {FOLDER}),
        ("serve --api-key-file x", {FILE}),
        ("serve --text-tokenizer x", {FOLDER}),
        ("encode a.wav --model ./x", {FOLDER}),
        ("decode a.npz --decoder ./x", {FOLDER}),
        ("encode a.wav --preset ./x", {FILE}),
    ],
)
def test_files_and_folders(line, types):
    """What is typed so far goes to the shell, which looks for files or folders that begin so."""
    words = line.split()
    assert completed(*words) == [(kind, words[-1]) for kind in types]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("encode a.wav --preset or", ["orpheus"]),
        ("encode a.wav --model ti", ["tiny"]),
        ("eval a.wav --model hub", list(completion.MODELS[1:])),
        ("decode a.npz --noise o", ["off"]),
        ("shard a b --channels e", ["each"]),
        ("encode a.wav --channels e", []),
        ("encode a.wav --device c", ["cpu", "cuda"]),
        ("export shards --prompt may", ["maya1"]),
        ("eval a.wav --metrics mel,st", ["mel,stft", "mel,stoi"]),
        ("eval a.wav --metrics stft,st", ["stft,stoi"]),
        ("eval a.wav --levels a", ["all"]),
        ("inspect pres", ["presets"]),
        ("inspect presets orph", ["orpheus"]),
        ("inspect a.wav orph", []),
    ],
)
def test_words(line, wanted):
    """Words come behind the item for files: click's script for bash forgets the words in front of it."""
    found = completed(*line.split())
    assert [value for kind, value in found if kind == "plain"] == wanted
    assert [kind for kind, _ in found[1:]] == ["plain"] * len(found[1:])


def test_files_come_first_for_inspect(tmp_path, monkeypatch):
    """A word is offered where no file begins so: bash would show the word alone."""
    monkeypatch.chdir(tmp_path)
    assert ("plain", "tiny") in completed("inspect", "t")
    (tmp_path / "tones.wav").touch()
    assert completed("inspect", "t") == [("file", "t")]
    assert ("plain", "tiny") in completed("inspect", "ti")


def test_words_are_those_of_the_library():
    """The words that stand in the module, because importing the library would take seconds, are the library's."""
    from snac_tok.cli.findings import find_config
    from snac_tok.codec import checkpoint, placement, pretrained
    from snac_tok.evaluation.measures import MEASURES

    assert (*checkpoint.EMBEDDED, *pretrained._RELEASED) == completion.MODELS
    assert completion.DEVICES == placement._DEVICES
    assert (*MEASURES, "default", "all") == completion.METRICS
    assert all(find_config(shape) for shape in completion.SHAPES)


@pytest.mark.parametrize("words", ["encode --preset luc", "inspect presets luc", "export a --preset luc"])
def test_completion_is_quick(words):
    """Nobody waits for torch after pressing a key."""
    code = (
        "import sys\nfrom snac_tok.cli import main\nsys.argv = ['snac-tok']\n"
        "try: main()\nfinally: print(sorted(set(sys.modules) & {'torch', 'pyarrow', 'transformers'}))"
    )
    environment = {"COMP_WORDS": f"snac-tok {words}", "COMP_CWORD": str(words.count(" ") + 1)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT), "_SNAC_TOK_COMPLETE": "bash_complete"},
        check=True,
    )
    assert result.stdout.splitlines()[-2:] == ["plain,lucy", "[]"]


@pytest.mark.parametrize("words", [("no-command", ""), ("enc", "x"), ("encode", "--no-option", "x", "")])
def test_what_is_wrong_is_not_told_while_completing(words):
    """A sentence would stand in the middle of the line that somebody types."""
    completed(*words)


BASH = """
compopt() { echo "$1 $2"; }
told() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _snac_tok_completion snac-tok
    echo "${COMPREPLY[*]}"
}
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("encode", "a"), "-o default\n\n"),
        (("encode", "a.wav", "-o", "my\\ job/a"), "-o default\n\n"),
        (("status", "job"), "-o dirnames\n\n"),
        (("encode", "a.wav", "--preset", "or"), "-o default\norpheus\n"),
        (("encode", "a.wav", "--preset", "=", "or"), "-o default\norpheus\n"),
        (("encode", "a.wav", "--output", "=", "a"), "-o default\n\n"),
        (("encode", "a.wav", "--preset", "my"), "-o default\n\n"),
        (("encode", "a.wav", "--model", "ti"), "-o dirnames\ntiny\n"),
        (("decode", "a.npz", "--noise", "o"), "off\n"),
        (("eval", "a.wav", "--metrics", "mel,pe"), "mel,pesq\n"),
        (("decode", "a.npz", "--rows", ""), "\n"),
    ],
)
def test_in_bash(tmp_path, words, told):
    """The line of docs/cli.md, in bash: what it would complete itself, and the words that it is given."""
    lines = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").splitlines()
    (row,) = [line for line in lines if "`~/.bashrc`" in line]
    line = row.split("`")[3]
    assert line.startswith("eval ")
    command = tmp_path / "snac-tok"
    code = "import sys; sys.argv = ['snac-tok']; from snac_tok.cli import main; main()"
    command.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)}\n")
    command.chmod(0o755)
    result = subprocess.run(
        ["bash", "-c", f"{line}\n{BASH}told {shlex.join(('snac-tok', *words))}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
    )
    assert (result.stdout, result.stderr) == (told, "")
