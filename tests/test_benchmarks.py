"""The benchmark scripts run and print the rows they promise; what they print of time is never judged here."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from snac_tok import SNAC

ROOT = Path(__file__).parents[1]

# Every row on sound as short as it can be, with the trained codec, the smallest.
TINY = (
    *("--config", "tiny", "--threads", "1", "--runs", "1", "--seconds", "0.5", "--short", "0.25"),
    *("--batch", "2", "--clips", "2", "--longest", "1.5", "--stream-seconds", "0.5"),
    *("--memory-minutes", "0.01", "--exact-seconds", "0.5"),
)


@pytest.fixture
def speech(tmp_path):
    """A folder with one clip."""
    shutil.copy(ROOT / "tests" / "speech" / "LJ001-0008.flac", tmp_path)
    return str(tmp_path)


def table_of(text):
    """Return the machine line, the headers and the rows of a Markdown table, by their first cell."""
    lines = text.splitlines()
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines if line.startswith("| ")]
    headers, *rows = [[cell.strip("| ") for cell in row] for row in cells]
    assert all(len(row) == len(headers) for row in rows)
    return lines[0], headers, {row[0]: row[1:] for row in rows}


@pytest.mark.slow
def test_the_codec_benchmark_prints_every_row_of_one_process(run_script):
    """Both networks, in turns: codes equal, audio equal with equal noise, every promised row."""
    names = "encode,decode,short,batch,clips-encode,clips-decode,stream,streams,faults,exactness,compiled"
    machine, headers, rows = table_of(run_script("bench_codec.py", *TINY, "--rows", names, "--markdown"))
    assert "torch threads: 1" in machine
    assert headers == ["", "snac", "ours", "ratio", "note"]
    encoded = ["encode 0.5 s", "encode 0.25 s", "encode 2 x 0.5 s at once", "encode 2 clips of 1 to 1.5 s"]
    for what in encoded:
        assert rows[what][3].startswith("0 of "), rows[what]
    for what in ("decode 0.5 s", "decode 1 frame", "decode 4 frames", "decode 2 x 0.5 s at once"):
        assert float(rows[f"{what}, snac's noise"][3].removeprefix("largest difference ")) <= 1e-6
        assert {f"{what}, noise=0", f'{what}, noise="off"'} <= rows.keys()
    streams = ["decode 0.5 s at once, 1 thread", "4 streams of 0.5 s, 1 thread"]
    streams += [f"stream 0.5 s, {push} a push, 1 thread" for push in ("1 frame", "4 frames")]
    assert rows.keys() >= {
        *streams,
        "decode 2 clips of 1 to 1.5 s, noise=0",
        'decode 2 clips of 1 to 1.5 s, noise="off"',
        "page faults per second of sound, encode",
        "page faults per second of sound, decode",
        "decode 0.5 s, rms from float64",
        "decode 0.5 s, rms from snac's, 1 thread and 2",
    }
    ways = [f"{each}, {how}" for each in ("fp32", "bf16") for how in ("torch's operators", "numba's loops")]
    assert rows.keys() >= {f"{what} 0.5 s, {way}" for what in ("encode", "decode") for way in ways}
    assert len(rows) == 34
    assert 0 < float(rows["decode 0.5 s, rms from float64"][1]) < 1e-6
    speeds = [row for what, row in rows.items() if "page faults" not in what and "rms" not in what]
    assert all(row[1].endswith(" x") for row in speeds)


@pytest.mark.slow
def test_the_codec_benchmark_prints_what_fresh_processes_cost(run_script, monkeypatch):
    """First calls of both, and the peak memory of whole clips and of blocks; each kind of process is started once."""
    started, real = {}, subprocess.run

    def start_once(command, **options):
        task, side = command[3:5]
        kind = task if side == "ours" else side
        if kind not in started:
            started[kind] = real(command, **options)
        return started[kind]

    monkeypatch.setattr(subprocess, "run", start_once)
    _, _, rows = table_of(run_script("bench_codec.py", *TINY, "--rows", "cold,memory", "--markdown"))
    cold = {"encode 2 s, first call", "decode 2 s, first call"}
    memory = {f"peak memory, {what}" for what in ("encode 0.5 s", "decode 0.5 s", "encode 0.01 min")}
    memory |= {f"peak memory, {what} 0.01 min" for what in ("encode_blocks", "decode_blocks")}
    assert rows.keys() == cold | memory
    assert all(figure.endswith(" ms") for what in cold for figure in rows[what][:2])
    assert all(rows[what][1].endswith(" MB") for what in memory)
    assert started.keys() == {"peer", "encode", "decode", "encode-blocks", "decode-blocks"}


@pytest.mark.slow
def test_the_codec_benchmark_compares_precisions(run_script):
    """One row a level, and one of the sound; in bf16 some codes flip, and those were closer choices than most."""
    names = ("--rows", "precision", "--dtype", "bf16", "--seconds", "2", "--markdown")
    _, _, rows = table_of(run_script("bench_codec.py", *TINY, *names))
    assert 20 < float(rows.pop("sound of equal codes beside fp32's")[1].removesuffix(" dB")) < 80
    assert list(rows) == [f"level {level}: codes equal to fp32" for level in range(3)]
    assert all(0 < float(row[1].removesuffix(" %")) <= 100 for row in rows.values())
    flips = [row[3] for row in rows.values() if "flips: median" in row[3]]
    assert flips
    for note in flips:
        medians = [float(part.split("median ")[1].split(",")[0]) for part in note.split(";")]
        assert medians[0] < medians[1]


@pytest.mark.slow
def test_the_codec_benchmark_says_what_tensor_cores_would_change(run_script):
    """In fp32, on a CPU: nearly nothing in TF32x3, something in TF32."""
    names = ("--rows", "precision", "--seconds", "2", "--markdown")
    _, _, rows = table_of(run_script("bench_codec.py", *TINY, *names))
    sound = "sound of equal codes beside fp32's"
    thrice, once = (float(rows[f"{name}, {sound}"][1].removesuffix(" dB")) for name in ("tf32x3", "tf32"))
    assert 20 < once < 60
    assert thrice > 90
    shares = {
        name: [
            float(rows[f"{name}, level {level}: codes equal to fp32"][1].removesuffix(" %"))
            for level in range(3)
        ]
        for name in ("tf32x3", "tf32")
    }
    assert shares["tf32x3"] == [100.0] * 3
    assert all(90 < share <= 100 for share in shares["tf32"])
    assert len(rows) == 8


@pytest.mark.slow
def test_the_stream_benchmark_prints_every_method(run_script, speech):
    """Latency, losses and errors are facts of the methods, whatever machine they run on."""
    _, headers, rows = table_of(
        run_script("bench_stream.py", "--speech", speech, "--seconds", "0.5", "--runs", "1", "--markdown")
    )
    assert headers[1:] == [
        *("first tokens", "lag ms", "work", "CPU time", "SNR dB", "largest"),
        "samples missing: start + end",
    ]
    exact = ["exact, 1 frame a push", "exact, 4 frames a push"]
    guessed = [f"lookahead={n}, 1 frame a push" for n in (8, 6, 4, 2, 0)]
    assert list(rows) == [*exact, *guessed, "sliding window of 4 frames"]
    assert [rows[name][0] for name in rows] == ["21", "28", "21", "14", "14", "7", "7", "28"]
    assert [rows[name][1] for name in rows] == [
        *("198.2", "198.2", "170.7", "128.0", "85.3", "42.7", "0.0", "170.7")
    ]
    assert all(rows[name][6] == "0 + 0" for name in [*exact, *guessed])
    assert rows["sliding window of 4 frames"][6] == "2048 + 4096"
    assert all(float(rows[name][4]) > 100 for name in exact)
    ratios = [float(rows[name][4]) for name in guessed]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] < min(float(rows[name][4]) for name in exact)
    assert all(float(rows[name][2]) == pytest.approx(1.0, abs=0.15) for name in exact)
    assert float(rows["sliding window of 4 frames"][2]) > 2


def test_wrong_rows_are_refused_in_a_sentence():
    """Run as a user does, from somewhere else, with the package alone on the path: a row that is not there is named."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bench_codec.py"), "--rows", "encode,sing"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 2
    assert "unknown rows sing; there are encode, decode" in done.stderr


# At worst a whole attention window of 32 latents of 6 samples waits: the convolution before it looks 3 latents ahead,
# so the frame that fills the window does not complete it. The convolutions behind it look 164 samples ahead.
@pytest.mark.parametrize(("lookahead", "lag"), [(None, 32 * 6 + 164), (4, 4 * 6)])
def test_the_lag_counts_pushes_that_give_nothing(monkeypatch, lookahead, lag):
    """With attention most pushes give no exact sound; the largest lag is the one just before a window is done."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    bench = importlib.import_module("bench_stream")
    torch.manual_seed(0)
    codec = SNAC(8_000, 16, (3, 2), None, 64, (2, 3), 32, 16, 2, (8, 4, 2, 1)).eval()
    codes = codec.encode(torch.randn(1, 1, 8 * codec.config.padding_multiple) * 0.1)
    pieces = bench.stateful(codec, codes, lookahead=lookahead)
    score = bench.Score()
    score.add(pieces, bench.whole(codec, codes)[0].samples, codec.config.frame_length)
    assert score.lag == lag
    assert score.missing_start == score.missing_end == 0


@pytest.mark.slow
def test_the_repair_benchmark_shows_what_each_fault_costs(run_script, speech):
    """A repaired stream loses one frame at most, for every size of pushes; a strict one loses the rest."""
    options = ("--speech", speech, "--seconds", "1", "--runs", "1", "--markdown")
    printed = run_script("bench_repair.py", *options)
    # The first of its tables, behind the lines that name machine and clips.
    _, headers, rows = table_of("\n\n".join(printed.split("\n\n")[:2]))
    costs = {name: dict(zip(headers[1:], row, strict=True)) for name, row in rows.items()}
    assert len(costs) == 8
    for row in costs.values():
        lost = {header: float(cell.replace(",", "")) for header, cell in row.items()}
        assert max(samples for header, samples in lost.items() if header[:6] in {"resync", "concea"}) <= 2048
        assert min(samples for header, samples in lost.items() if header.startswith("strict")) > 2048


@pytest.mark.slow
def test_the_corpus_benchmark_prints_every_row(run_script):
    """A plan, runs and their repetition in fresh processes; the codec's table has a row a number of processes."""
    printed = run_script(
        "bench_corpus.py", "--only", "scale", "--planned", "200", "--records", "20", "--markdown"
    )
    rows = [line.split(" | ")[0].strip("| ") for line in printed.splitlines() if line.startswith("| ")]
    assert rows[1:] == ["plan of 200 recordings", "run over 20 recordings", "resume of a finished 20"]
    options = ("--config", "tiny", "--threads", "1", "--runs", "1", "--clips", "2", "--longest", "1.5")
    _, headers, rows = table_of(
        run_script("bench_corpus.py", "--only", "codec", *options, "--jobs", "0", "1", "--markdown")
    )
    assert headers == ["", "x", "of pure", "note"]
    assert rows.keys() == {"pure encode", "shard_folder, jobs=0", "shard_folder, jobs=1", "notebook recipe"}
