"""`snac-tok serve --cuda-graphs`: on where there is a GPU, refused where there is none, and told of in the figures."""

from __future__ import annotations

import copy
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from snac_tok.cli.program import program
from snac_tok.cli.serve import _use_graphs
from snac_tok.codec import SNAC
from snac_tok.codec.graph_report import GraphReport
from snac_tok.codec.graphs import GraphedChunks
from snac_tok.serving import LocalModelSource
from snac_tok.serving.decoding import run_typical_steps

# The module, which the package hides behind the command.
serve_command = sys.modules["snac_tok.cli.serve"]


def test_without_a_gpu_it_is_refused_before_anything_is_loaded():
    """In one sentence that says what to do."""
    result = CliRunner().invoke(program, ["serve", "--model", "no/such", "--port", "0", "--cuda-graphs"])
    assert result.exit_code == 2
    assert "--cuda-graphs needs a GPU, and the network is to run on cpu: add --device cuda" in result.stderr


@pytest.mark.parametrize(
    ("device", "wanted", "used"),
    [("cuda", None, 1), ("cuda", True, 1), ("cuda", False, 0), ("cpu", None, 0), ("cpu", False, 0)],
)
def test_it_is_on_on_a_gpu_unless_somebody_says_otherwise(device, wanted, used):
    """The codec is asked once, or not at all."""
    asked = []
    codec = SimpleNamespace(use_cuda_graphs=lambda: asked.append(1))
    tokenizer = SimpleNamespace(codec=codec, device=SimpleNamespace(type=device))
    assert _use_graphs(tokenizer, wanted=wanted) == bool(used)
    assert len(asked) == used


def test_the_figures_tell_of_graphs_where_there_are_some(serve, monkeypatch):
    """And say nothing where there are none."""
    server = serve()
    assert "cuda_graph" not in server.client.get("/metrics").text
    report = GraphReport(graphs=7, capture_seconds=0.5, replayed_chunks=1200, other_chunks=30)
    monkeypatch.setattr(SNAC, "graph_report", property(lambda _: report))
    assert server.metric("snac_tok_cuda_graphs") == 7
    assert server.metric('snac_tok_cuda_graph_chunks_total{as_graph="yes"}') == 1200
    assert server.metric('snac_tok_cuda_graph_chunks_total{as_graph="no"}') == 30
    assert str(report) == "7 captured in 0.5 s; 1,200 chunks ran as graphs, 30 without"


class Recorder:
    """Captures steps on a CPU by keeping them."""

    device = torch.device("cpu")

    def __init__(self):
        self.captured = []

    def turn(self):
        """Nothing else replays."""
        return nullcontext()

    def forget(self):
        """Nothing is kept for all of them."""

    def capture(self, step):
        """Note how many rows there are."""
        rows = len(step()[0])
        self.captured.append(rows)
        return step


@pytest.mark.usefixtures(
    "one_thread"
)  # as a GPU has one queue: each of a CPU's threads takes some of the rows
def test_graphs_of_steady_steps_are_there_before_clients_come(tok):
    """For each power of two up to the most clients, also if their number is none."""
    tokenizer = copy.deepcopy(tok)
    recorder = Recorder()
    decoder = tokenizer.codec.decoder
    decoder.graphs = GraphedChunks(decoder, limit=32, device=recorder)
    run_typical_steps(tokenizer, most_streams=3)
    assert recorder.captured == [1, 2, 4]
    assert decoder.graphs.report.replayed_chunks > 3


@pytest.mark.parametrize(("graphs", "streams"), [(True, 7), (False, 1)])
def test_the_first_client_waits_for_nothing_that_could_be_done_before(monkeypatch, graphs, streams):
    """Weights are prepared and loops compiled before the server listens; on a GPU graphs are captured, too."""
    order = []
    monkeypatch.setattr(serve_command, "_use_graphs", lambda *_given, **_options: graphs)
    monkeypatch.setattr(
        "snac_tok.serving.decoding.run_typical_steps",
        lambda _tok, *, most_streams: order.append(most_streams),
    )
    monkeypatch.setattr("snac_tok.serving.run_server", lambda *_given, **_options: order.append("serving"))
    options = ["--model", "tiny", "--preset", "orpheus", "--port", "0", "--max-clients", "7"]
    result = CliRunner().invoke(program, ["serve", *options])
    assert result.exit_code == 0, result.output
    assert order == [streams, "serving"]


@pytest.mark.parametrize(
    ("options", "frozen"),
    [
        ((), False),
        (("--source", "http://127.0.0.1:9"), False),
        (("--source", "my_model"), True),
    ],
)
def test_no_graph_is_captured_beside_a_language_model_in_the_process(monkeypatch, options, frozen):
    """After the typical steps: a capture makes random numbers fail that the model draws meanwhile."""
    order = []
    local = object.__new__(LocalModelSource)
    monkeypatch.setattr(LocalModelSource, "from_folder", lambda *_given, **_options: local)
    monkeypatch.setattr(serve_command, "_use_graphs", lambda *_given, **_options: True)
    monkeypatch.setattr("snac_tok.serving.create_app", lambda *_given, **_options: None)
    monkeypatch.setattr(
        "snac_tok.serving.decoding.run_typical_steps", lambda *_given, **_options: order.append("steps")
    )
    monkeypatch.setattr(SNAC, "freeze_cuda_graphs", lambda _: order.append("frozen"))
    monkeypatch.setattr("snac_tok.serving.run_server", lambda *_given, **_options: order.append("serving"))
    arguments = ["serve", "--model", "tiny", "--preset", "orpheus", "--port", "0", *options]
    result = CliRunner().invoke(program, arguments)
    assert result.exit_code == 0, result.output
    assert order == ["steps", *(["frozen"] if frozen else []), "serving"]


def test_a_server_with_graphs_says_so_and_what_they_did(monkeypatch):
    """At its start and at its end, on stderr."""
    report = GraphReport(graphs=1, capture_seconds=0.1, replayed_chunks=2, other_chunks=3)
    monkeypatch.setattr(serve_command, "_use_graphs", lambda *_given, **_options: True)
    monkeypatch.setattr(SNAC, "graph_report", property(lambda _: report))
    monkeypatch.setattr("snac_tok.serving.decoding.run_typical_steps", lambda *_given, **_options: None)
    monkeypatch.setattr("snac_tok.serving.run_server", lambda _app, _listener, *, on_start: on_start())
    result = CliRunner().invoke(program, ["serve", "--model", "tiny", "--preset", "orpheus", "--port", "0"])
    assert result.exit_code == 0, result.output
    assert "with CUDA graphs\n" in result.stderr
    assert "CUDA graphs: 1 captured in 0.1 s; 2 chunks ran as graphs, 3 without" in result.stderr
