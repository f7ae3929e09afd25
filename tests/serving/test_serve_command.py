"""`snac-tok serve` as a process: its one sentences, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import httpx2
import pytest
from click.testing import CliRunner
from served import heard, same
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from snac_tok.cli.program import program

START = (sys.executable, "-m", "snac_tok", "serve", "--model", "tiny", "--preset", "orpheus", "--port", "0")


@contextmanager
def _process(*options):
    """The command in a process of its own, and where it listens."""
    environment = {**os.environ, "SNAC_TOK_API_KEY": ""}
    environment.pop("SNAC_TOK_API_KEY")
    process = subprocess.Popen(
        [*START, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        process.said = []
        for line in process.stderr:
            process.said.append(line)
            if found := re.search(r"at http://127\.0\.0\.1:(\d+)", line):
                yield process, f"127.0.0.1:{found[1]}"
                break
        else:
            raise AssertionError(process.wait())
    finally:
        process.kill()
        process.communicate()


def _ended(process, seconds=10):
    output, errors = process.communicate(timeout=seconds)
    assert errors == ""
    return process.returncode, [json.loads(line) for line in output.splitlines()]


def _rest_of(stream):
    """Sound, the last JSON message, and the close code."""
    sound, said = b"", {}
    try:
        while True:
            message = stream.recv(timeout=10)
            sound, said = (
                (sound + message, said) if isinstance(message, bytes) else (sound, json.loads(message))
            )
    except ConnectionClosed as closed:
        return sound, said, closed.rcvd.code


@pytest.mark.slow
def test_sigterm_lets_streams_finish_then_sends_the_others_away(speech, whole):
    """New ones are refused at once; who ends in the grace time gets all; the rest get a word; the exit code is 0."""
    with _process("--grace-seconds", "4") as (process, place), ExitStack() as stack:
        streams = [
            stack.enter_context(connect(f"ws://{place}/stream", proxy=None, close_timeout=1))
            for _ in range(6)
        ]
        for seed, stream in enumerate(streams):
            assert json.loads(stream.recv(timeout=10))["preset"] == "orpheus"
            stream.send(json.dumps({"ids": speech(seed)[:21]}))
            stream.first = stream.recv(timeout=10)
        process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        time.sleep(0.4)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(tuple(place.split(":")), timeout=1)
        for seed, stream in enumerate(streams[:3]):
            stream.send(json.dumps({"ids": speech(seed)[21:], "end": True}))
            sound, said, code = _rest_of(stream)
            same(heard(stream.first + sound), whole(seed))
            assert (said["done"], code) == (True, 1000)
        for stream in streams[3:]:
            _, said, code = _rest_of(stream)
            assert said["error"]["code"] == "shutting_down"
            assert code == 1001
        code, lines = _ended(process)
        assert code == 0
        assert 3.0 < time.monotonic() - begin < 30
        assert sorted(line.get("reason", "") for line in lines) == ["", "", "", *["shutting_down"] * 3]


@pytest.mark.slow
def test_a_key_from_a_file_and_a_second_signal(tmp_path, speech):
    """Without a source it says so; SIGINT ends it as SIGTERM does, and a second signal the grace time of a minute."""
    file = tmp_path / "key"
    file.write_text("secret\n", encoding="utf-8")
    key = {"Authorization": "Bearer secret"}
    with (
        _process("--grace-seconds", "60", "--api-key-file", str(file)) as (process, place),
        httpx2.Client(base_url=f"http://{place}", trust_env=False) as client,
    ):
        assert client.post("/v1/audio/speech", json={"input": "x"}).status_code == 401
        answer = client.post("/v1/audio/speech", json={"input": "x"}, headers=key)
        assert answer.json()["error"]["code"] == "no_source"
        address = f"ws://{place}/stream"
        with connect(address, proxy=None, close_timeout=1, additional_headers=key) as stream:
            stream.send(json.dumps({"ids": speech(1)[:21]}))
            stream.recv(timeout=10)
            stream.recv(timeout=10)
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            _, said, code = _rest_of(stream)
            assert (said["error"]["code"], code) == ("shutting_down", 1001)
        code, lines = _ended(process)
        assert code == 0
        # Two lines: that tiny is for trials, and where it serves.
        assert [line[:10] for line in process.said] == ["snac-tok: "] * 2
        assert [line["status"] for line in lines] == [401, 501, 101]


@pytest.mark.slow
def test_the_benchmark_prints_a_row_for_each_number_of_clients(run_script):
    """What it prints of time is not judged here."""
    options = ("--clients", "1,3", "--frames", "4", "--rounds", "1")
    machine, head, *rows = run_script("bench_serve.py", *options).splitlines()
    assert "torch threads" in machine
    assert head.split()[0] == "clients"
    assert [row.split()[0] for row in rows] == ["1", "3"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--sampling", "[1]"], "'[1]' is no JSON object"),
        (["--source", "http://127.0.0.1:1", "--prompt", "orfeus"], "no prompt 'orfeus'"),
        (["--preset", "mini-omni"], "parallel rows"),
        (["--host", "no.such.host.invalid"], "there is no host"),
        (["--source", "no/such/folder"], "no language model can be loaded from no/such/folder"),
        (
            ["--source", "http://127.0.0.1:1", "--text-tokenizer", "no/such"],
            "no text tokenizer can be loaded",
        ),
        (["--port", "99999"], "99999"),
        (["--max-clients", "0"], "0 is not in the range"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(options, sentence):
    """And the exit code 2."""
    result = CliRunner().invoke(program, ["serve", "--model", "tiny", "--port", "0", *options])
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert len([line for line in result.stderr.strip().splitlines() if "for trials" not in line]) == 1


def test_a_port_in_use_is_said_before_a_model_is_loaded(monkeypatch):
    """And where others can reach it without a key, one line says so."""
    monkeypatch.delenv("SNAC_TOK_API_KEY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        begin = ["serve", "--model", "no/such/model", "--port"]
        result = CliRunner().invoke(program, [*begin, port])
        assert result.exit_code == 2
        assert f"port {port} of 127.0.0.1 cannot be used (Address already in use)" in result.stderr
        assert "no key is asked for" not in result.stderr
    result = CliRunner().invoke(program, [*begin, "0", "--host", "0.0.0.0"])
    assert "0.0.0.0 can be reached by others, and no key is asked for" in result.stderr
