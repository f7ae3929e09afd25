"""The program as a whole: fast start, help, examples that run, exit codes, errors."""

import json
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

import snac_tok
from snac_tok.cli import findings
from snac_tok.cli.program import program
from snac_tok.errors import ShardError

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "encode",
    "decode",
    "roundtrip",
    "plot",
    "shard",
    "status",
    "verify",
    "export",
    "inspect",
    "prepare",
    "train",
    "eval",
)
# They run until they are told to stop.
SERVERS = ("serve", "demo")
# With these words they do not begin to run, should what is tested not be refused.
NO_SERVER = dict.fromkeys(SERVERS, ("--port", "none"))
# What some examples need and a test machine has not, or may not have: the hub, other programs, a cluster.
ELSEWHERE = {
    "hf:": False,
    "accelerate ": False,
    "tensorboard ": False,
    "ffplay ": False,
    "opus:": shutil.which("opusenc"),
    "codec2:": shutil.which("c2enc"),
    "--engine ray": False,
}
HEAVY = {"torch", "numpy", "pyarrow", "soundfile", "soxr", "huggingface_hub", "tqdm", "einops", "safetensors"}


def process(*arguments, variables=None, **options):
    """Run Python in a new process with this package on its path."""
    environment = {
        **os.environ,
        **(variables or {}),
        "PYTHONPATH": str(ROOT),
        "SNAC_TOK_MODEL": "tiny",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False, **options
    )


@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["--version"], *([name, "--help"] for name in (*COMMANDS, *SERVERS)), ["nothing"]],
)
def test_fast_start(arguments):
    """Help, the version and usage errors come without importing anything heavy."""
    code = (
        "import sys\nfrom snac_tok.cli import main\n"
        f"sys.argv = ['snac-tok', *{arguments!r}]\n"
        "try: main()\n"
        "finally: print('HEAVY', sorted(set(sys.modules) & " + repr(HEAVY) + "))"
    )
    result = process("-c", code)
    assert "HEAVY []" in result.stdout
    assert result.returncode == (2 if arguments == ["nothing"] else 0)


def test_alone_it_prints_its_help(run):
    """`snac-tok` without arguments prints what `--help` prints, on stdout, line by line."""
    for options in ([], ["--debug"]):
        result = run(*options)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == run("--help").stdout
    lines = result.stdout.splitlines()
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in COMMANDS)


@pytest.mark.parametrize("module", ["snac_tok", "snac_tok.cli"])
def test_module_and_exit_code(module):
    """`python -m snac_tok` and `python -m snac_tok.cli` are the program; its exit code reaches the shell."""
    assert process("-m", module, "--version").stdout == f"snac-tok {snac_tok.__version__}\n"
    result = process("-m", module, "no-such-thing")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("snac-tok: No such command 'no-such-thing'")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("snac-tok insp", "inspect"),
        ("snac-tok decode --gen", "--generated"),
        ("snac-tok decode --on-error c", "conceal"),
    ],
)
def test_the_shell_completes(words, wanted):
    """Commands, options and values, by the variable that click's scripts set."""
    variables = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
        "_SNAC_TOK_COMPLETE": "bash_complete",
    }
    result = process("-c", COMPLETE, variables=variables)
    assert (result.returncode, result.stdout) == (0, f"plain,{wanted}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    """Each shell that docs/cli.md names gets its script; bash takes it as it is."""
    result = process("-c", COMPLETE, variables={"_SNAC_TOK_COMPLETE": f"{shell}_source"})
    assert result.returncode == 0
    assert "snac-tok" in result.stdout
    assert f"_SNAC_TOK_COMPLETE={shell}_source snac-tok" in (ROOT / "docs" / "cli.md").read_text(
        encoding="utf-8"
    )
    if shell == "bash":
        told = subprocess.run(
            ["bash", "-c", f"{result.stdout}\ncomplete -p snac-tok"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "-F _snac_tok_completion snac-tok" in told.stdout


# As the console script does it.
COMPLETE = "import sys; sys.argv = ['snac-tok']; from snac_tok.cli import main; main()"


def test_a_console_that_knows_few_characters():
    """Arrows and accents do not stop a command where the console has another code page, as on Windows."""
    code = (
        "import io, sys, snac_tok.frames\n"
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='cp1252')\n"
        "snac_tok.frames.preset_names = lambda: ['a → b']\n"
        "sys.argv = ['snac-tok', 'inspect', 'presets']\n"
        "from snac_tok.cli import main\n"
        "main()"
    )
    result = process("-c", code)
    assert (result.returncode, result.stdout) == (0, "a \\u2192 b\n")


def test_closed_pipe_is_quiet():
    """When the reader stops reading, the program ends without a word."""
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(CHATTY)} | true; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert (result.stdout, result.stderr) == ("141\n", "")


@pytest.mark.parametrize(
    ("closed", "is_told"), [(">&-", True), ("2>&-", False), (">&- 2>&-", False), ("<&- >&- 2>&-", False)]
)
def test_closed_streams_show_no_traceback(run, closed, is_told):
    """A result for a stdout that is closed ends with 2 and one sentence; what goes into a file needs neither."""
    sentence = "snac-tok: stdout is closed, and the result is printed there; "
    assert run("encode", "b.flac", "-o", "b.npz").exit_code == 0
    for arguments, codes in (
        ("decode b.npz -o -", (2, 0)),
        ("decode b.npz -o b.wav", (0, 0)),
        ("no-command", (2, 2)),
    ):
        command = f"{shlex.quote(sys.executable)} -m snac_tok {arguments} {closed}"
        result = subprocess.run(
            ["bash", "-c", command],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        said = result.stderr.decode()
        assert result.returncode == codes[">&-" not in closed.split()], said
        assert "Traceback" not in said
        assert said.startswith(sentence) == (is_told and arguments.endswith("-o -"))
        assert said.count("\n") == is_told


CHATTY = """
import time
from snac_tok.cli import main, inspect
import snac_tok.frames
snac_tok.frames.preset_names = lambda: time.sleep(0.5) or ["name"] * 100_000
import sys
sys.argv = ["snac-tok", "inspect", "presets"]
main()
"""


def examples(command):
    """Return the examples in a command's help."""
    context = click.Context(command, info_name="x")
    lines = command.get_help(context).split("Examples:\n")[1].splitlines()
    return [line.strip() for line in lines if line.strip()]


def command_of(name):
    """Return a command, or the program for no name."""
    return program.get_command(click.Context(program), name) if name else program


@pytest.mark.parametrize("name", [None, *COMMANDS])
@pytest.mark.usefixtures("a_npz", "shards")
def test_examples_run(run, work, made, config, name):
    """Every example in the help runs, in the order shown, in a folder that has the files they name."""
    made("a.json", "encode", "a.wav", "-o", "a.json", "--preset", "orpheus")
    config()
    shutil.copytree(work / "clips", work / "more-clips")
    shutil.copy(work / "b.flac", work / "song.flac")
    ids = json.loads((work / "a.json").read_text())
    answer = {"choices": [{"index": 0, "text": "", "token_ids": ids}]}
    (work / "answer.jsonl").write_text(json.dumps(answer), encoding="utf-8")
    (work / "train.jsonl").write_text('{"audio_filepath": "a.wav"}\n', encoding="utf-8")
    lines = examples(command_of(name))
    assert len(lines) >= 3
    lines = [line for line in lines if all(here for what, here in ELSEWHERE.items() if what in line)]
    for line in lines:
        stdin = None
        for stage in line.split(" | "):
            program_name, *arguments = shlex.split(stage.split(" > ")[0])
            assert program_name == "snac-tok"
            clear(work, arguments)
            result = run(*arguments, stdin=stdin)
            assert result.exit_code == 0, (line, result.stderr)
            stdin = result.stdout_bytes


def clear(work, arguments):
    """Remove what an example is going to make, where the preparation has made it."""
    made = arguments[arguments.index("-o") + 1] if "-o" in arguments else None
    made = arguments[2] if arguments[0] == "shard" else made
    if made and (work / made).is_dir():
        shutil.rmtree(work / made)
    elif made:
        (work / made).unlink(missing_ok=True)


def test_help_of_every_option():
    """Every option says what it does."""
    for name in (*COMMANDS, *SERVERS):
        for option in command_of(name).params:
            if isinstance(option, click.Option):
                assert option.help or option.show_default, (name, option.name)


def test_errors_are_one_sentence(refused, monkeypatch):
    """An error of ours, a system error, exhausted memory and a surprise each become one sentence."""
    for error, sentence in [
        (ShardError("the shards\nare odd."), "snac-tok: the shards are odd."),
        (PermissionError(13, "Permission denied", "x/y"), "snac-tok: x/y: Permission denied."),
        (MemoryError(), "snac-tok: there is not enough memory"),
        (KeyError("surprise"), "snac-tok: unexpected KeyError: 'surprise'"),
    ]:
        monkeypatch.setattr(findings, "of_codec", raising(error))
        assert refused("inspect", "tiny").startswith(sentence)


def raising(error):
    """Return a function that raises."""

    def function(*_arguments):
        raise error

    return function


@pytest.mark.parametrize("way", ["option", "variable"])
def test_debug_shows_the_traceback(run, monkeypatch, way):
    """--debug, or the environment variable, shows where the error happened before the sentence."""
    monkeypatch.setattr(findings, "of_codec", raising(ShardError("odd")))
    if way == "variable":
        monkeypatch.setenv("SNAC_TOK_DEBUG", "1")
    result = run(*(["--debug"] if way == "option" else []), "inspect", "tiny")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1] == "snac-tok: odd"


def test_interruption(run, monkeypatch):
    """Control-C ends with 130 and one word."""
    monkeypatch.setattr(findings, "of_codec", raising(KeyboardInterrupt()))
    result = run("inspect", "tiny")
    assert result.exit_code == 130
    assert result.stderr.strip() == "snac-tok: interrupted"


@pytest.mark.parametrize("presses", [0, 1, 2])
def test_control_c_at_the_end_shows_no_traceback(presses):
    """While the command runs, while that is being answered, and always while the interpreter ends: by the signal."""
    script = (
        "import atexit, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from snac_tok.cli import findings, main, program\n"
        "def press(*_): signal.raise_signal(signal.SIGINT)\n"
        "atexit.register(press)\n"
        f"if {presses} > 0: findings.of_codec = press\n"
        f"if {presses} > 1: program.say = press\n"
        "sys.argv = ['snac-tok', 'inspect', 'tiny']\n"
        "main()"
    )
    result = process("-c", script)
    assert result.returncode == -signal.SIGINT
    assert ("interrupted" in result.stderr) is (presses == 1)
    assert ("1,704,370" in result.stdout) is (presses == 0)
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


def test_warnings_of_the_library_are_messages(run, work):
    """What the library warns about appears once, as a message."""
    (work / "clips" / "metadata.csv").write_text("file_name|text\nmissing.wav|words\n", encoding="utf-8")
    lines = run("shard", "clips", "shards").stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("snac-tok: ")
    assert "missing.wav" in lines[0]


def test_documentation_is_up_to_date():
    """docs/cli.md is what the program's help says now, and the script notices when it is not."""
    assert process(str(ROOT / "scripts" / "make_cli_docs.py"), "--check").returncode == 0


@pytest.mark.slow
def test_quickstart(tmp_path, monkeypatch, capsys):
    """The quickstart makes shards, sounds and a picture, twice in the same place, from any folder."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "speech").symlink_to(ROOT / "tests" / "speech")
    script = tmp_path / "scripts" / "quickstart.py"
    script.write_bytes((ROOT / "scripts" / "quickstart.py").read_bytes())
    result = process(str(script), cwd="/")
    assert result.returncode == 0, result.stderr
    monkeypatch.chdir("/")
    runpy.run_path(str(script), run_name="__main__")
    out = tmp_path / "quickstart-out"
    assert len(list((out / "wavs").glob("*.wav"))) == 3
    assert len(snac_tok.open_shards(out / "shards")) == 3
    assert (out / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert all("735 tokens" in printed for printed in (result.stdout, capsys.readouterr().out))


def every_option():
    """Yield each command's name and each of its options."""
    context = click.Context(program)
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        yield from ((name, param) for param in command.params if isinstance(param, click.Option))


def test_no_option_takes_a_number_that_is_not_finite(refused):
    """NaN is within any limits for click and would be none; infinity, and what is nearly so, overflows."""
    found = [
        (name, max(option.opts, key=len))
        for name, option in every_option()
        if isinstance(option.type, click.types.FloatParamType)
    ]
    assert len(found) > 15
    for name, option in found:
        for value in ("nan", "inf", "-inf", "1e999"):
            said = refused(name, f"{option}={value}", *NO_SERVER.get(name, ()))
            assert f"'{option}': '{value}' is not a finite number" in said
        assert " is too large" in refused(name, f"{option}=1e300", *NO_SERVER.get(name, ()))


@pytest.mark.parametrize("name", [*COMMANDS, *SERVERS])
def test_an_empty_word_is_refused(refused, work, name):
    """A variable that is not set gives one; as a path it would be the current folder, as a model the default one."""
    before = sorted(work.rglob("*"))
    params = program.get_command(click.Context(program), name).params
    for param in params:
        if isinstance(param, click.Option) and not param.is_flag:
            option = max(param.opts, key=len)
            for words in ([option, ""], [f"{option}="]):
                assert f'{option} is empty, as "$NAME" is' in refused(name, *NO_SERVER.get(name, ()), *words)
    if names := [param.metavar.strip("[].…") for param in params if isinstance(param, click.Argument)]:
        said = refused(name, "")
        assert f"{names[0]} is empty" in said
        assert f" {name} --help`" in said
    assert sorted(work.rglob("*")) == before


def test_empty_words_among_others(refused):
    """The second of several inputs, the last of two arguments."""
    assert "SOUND is empty" in refused("encode", "a.wav", "", "-o", "codes")
    assert "INPUT is empty" in refused("eval", "a.wav", "")
    assert "OUT is empty" in refused("shard", "clips", "")
    assert "NAME is empty" in refused("inspect", "presets", "")
