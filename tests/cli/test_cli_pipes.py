"""Pipes: `-` in place of a file, on either side, and what then says the format."""

import io
import json
import re

import click
import numpy as np
import pytest
import soundfile as sf

from snac_tok import read_audio
from snac_tok.cli.program import program


def samples(content):
    """The samples of a sound file's bytes."""
    return sf.read(io.BytesIO(content), dtype="float32")[0]


def test_codes_go_through_a_pipe(run, work):
    """Encode - -o - | decode - -o - makes what files make, as long and at the same rate."""
    codes = run("encode", "-", "-o", "-", stdin=(work / "b.flac").read_bytes())
    assert codes.exit_code == 0
    assert codes.stderr.startswith("snac-tok: stdin → stdout: ")
    sound = run("decode", "-", "-o", "-", stdin=codes.stdout_bytes)
    assert sound.exit_code == 0, sound.stderr
    assert run("encode", "b.flac", "-o", "b.npz").exit_code == 0
    assert run("decode", "b.npz", "-o", "b.wav").exit_code == 0
    assert (work / "b.npz").read_bytes() == codes.stdout_bytes
    assert (work / "b.wav").read_bytes() == sound.stdout_bytes


@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_sound_on_stdout_has_a_format(run, file_format):
    """WAV unless --format says FLAC; a whole file with its length, as players need it."""
    result = run("roundtrip", "b.flac", "-o", "-", "--format", file_format)
    assert result.exit_code == 0
    assert sf.info(io.BytesIO(result.stdout_bytes)).format == file_format.upper()
    assert run("roundtrip", "b.flac", "-o", "back.wav").exit_code == 0
    np.testing.assert_array_equal(samples(result.stdout_bytes), read_audio("back.wav").samples[0])
    assert result.stderr.startswith("snac-tok: stdout: ")


def test_ids_on_stdout_have_a_format(run):
    """JSON unless --format says text; both are what decode reads."""
    as_json = run("encode", "b.flac", "-o", "-", "--preset", "orpheus").stdout
    as_text = run("encode", "b.flac", "-o", "-", "--preset", "orpheus", "--format", "txt").stdout
    assert json.loads(as_json) == [int(word) for word in as_text.split()]
    sounds = [
        run("decode", "-", "-o", "-", "--preset", "orpheus", stdin=text).stdout_bytes
        for text in (as_json, as_text)
    ]
    assert sounds[0] == sounds[1]


def test_a_recording_from_stdin_there_and_back(run, work):
    """As from a file."""
    piped = run("roundtrip", "-", "-o", "-", stdin=(work / "b.flac").read_bytes())
    assert piped.stdout_bytes == run("roundtrip", "b.flac", "-o", "-").stdout_bytes


@pytest.mark.usefixtures("shards")
def test_what_does_not_go_through_a_pipe(refused):
    """One sentence each, and nothing on stdout."""
    assert "stdin" in refused("encode", "-", "-o", "x.npz", stdin=b"no sound" * 100)
    assert "--format is for -o -" in refused("encode", "a.wav", "-o", "x.npz", "--format", "npz")
    assert "--format is for -o -" in refused("decode", "b.npz", "-o", "x.wav", "--format", "wav")
    assert "do not go to stdout together" in refused("encode", "a.wav", "b.flac", "-o", "-")
    assert "raw codes (.npz) have no --preset" in refused(
        "encode", "a.wav", "-o", "-", "--preset", "orpheus", "--format", "npz"
    )
    assert "go into a folder" in refused("decode", "shards", "-o", "-")
    assert "ids need --preset" in refused("decode", "-", "-o", "-", stdin="[1, 2, 3]")


@pytest.mark.parametrize("options", [(), ("--generated",), ("--on-error", "conceal")])
def test_an_npz_in_place_of_ids_is_told(run, refused, work, options):
    """From stdin, and in a file of another name: it needs no preset."""
    codes = run("encode", "b.flac", "-o", "-").stdout_bytes
    (work / "codes.json").write_bytes(codes)
    for source in ("-", "codes.json"):
        said = refused("decode", source, "-o", "x.wav", "--preset", "orpheus", *options, stdin=codes)
        name = "stdin" if source == "-" else source
        assert f"{name} is an .npz of codes, not a text of ids; it names its own codec" in said
        assert "no --preset is needed: leave it out, and let a file's name end with .npz" in said


@pytest.fixture
def printed_to(work, monkeypatch, capsys):  # noqa: ARG001 - commands run in the folder
    """Run the program with another stdout; the exit code and what it says on stderr."""

    def run_program(stdout, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", stdout)
            with pytest.raises(SystemExit) as end:
                program.main(args=list(arguments), prog_name="snac-tok")
        return end.value.code, capsys.readouterr().err

    return run_program


@pytest.mark.usefixtures("shards")
@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "presets"),
        ("status", "shards"),
        ("verify", "shards"),
        ("shard", "clips", "x", "--dry-run"),
        ("encode", "b.flac", "-o", "-"),
        ("encode", "b.flac", "--ids", "--preset", "orpheus"),
        ("roundtrip", "b.flac", "-o", "-"),
        ("eval", "b.flac"),
        ("eval", "b.flac", "--json", "-", "--png", "x.png"),
    ],
)
def test_a_closed_stdout_is_told_before_any_work(printed_to, arguments):
    """Python has None there, as after `>&-`; the result would be lost."""
    code, said = printed_to(None, *arguments)
    assert code == 2
    assert said.startswith("snac-tok: stdout is closed, and the result is printed there; ")
    assert said.count("\n") == 1


def test_what_goes_into_files_needs_no_stdout(printed_to, work):
    """A job may be started without one."""
    for arguments in (("encode", "b.flac", "-o", "b.npz"), ("shard", "clips", "quiet")):
        assert printed_to(None, *arguments)[0] == 0
    assert (work / "b.npz").exists()


class _FullDisk(io.RawIOBase):
    """Refuses everything, as /dev/full."""

    def writable(self):
        return True

    def write(self, _content):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "presets"),
        ("--help",),
        ("encode", "b.flac", "-o", "-"),
        ("roundtrip", "b.flac", "-o", "-"),
    ],
)
def test_a_stdout_that_cannot_be_written_is_named(printed_to, arguments):
    """And what to do about it; also for the help, which no command prints."""
    stdout = io.TextIOWrapper(io.BufferedWriter(_FullDisk()), encoding="utf-8")
    code, said = printed_to(stdout, *arguments)
    assert code == 2
    assert said == (
        "snac-tok: stdout cannot be written (No space left on device); make room there, or send it to another place.\n"
    )


# What is written under a name: files and folders, in whatever way they are asked for.
OUTPUTS = {"-o", "--png", "--plot", "--json", "OUT"}
READERS = ("status", "verify")


def named_outputs():
    """Each command with what it writes to, where that is not stdout by its own help."""
    for name in program.list_commands(None):
        command = program.get_command(None, name)
        for parameter in command.params:
            found = {*parameter.opts, parameter.metavar} & OUTPUTS
            takes_stdout = re.search("stdout|- prints", getattr(parameter, "help", None) or "")
            if found and name not in READERS and not (takes_stdout or getattr(parameter, "is_flag", False)):
                yield pytest.param(command, parameter, id=f"{name} {min(found)}")


@pytest.mark.parametrize(("command", "parameter"), list(named_outputs()))
def test_what_is_not_written_to_stdout_refuses_it(refused, work, command, parameter):
    """A folder or file named "-" is nobody's wish, and few know how to remove it."""
    is_option = isinstance(parameter, click.Option)
    others = ["x" for other in command.params if isinstance(other, click.Argument) and other is not parameter]
    name = parameter.opts[0] if is_option else parameter.metavar
    sentence = refused(command.name, *others, *([name, "-"] if is_option else ["-"]))
    assert sentence.startswith(f"snac-tok: {name} does not write to stdout (-); give it a name.")
    assert not (work / "-").exists()
