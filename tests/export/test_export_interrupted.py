"""An export that was interrupted anywhere ends in the bytes of one that was not, and keeps what was whole."""

import errno
import json
import os
import resource
import shutil
import signal
import tracemalloc

import pytest
from export_samples import collection, files_of, record

from snac_tok import preset
from snac_tok.errors import ExportError, ShardError
from snac_tok.export import FORMATS, export_shards
from snac_tok.files import HiddenFile


def in_a_child(work):
    """Run something in a process of its own and return how that ended; much faster than a new interpreter."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on with the tests
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def call_by_call(name, last):
    """Replace a function of os by one that kills the process at the call after the `last`."""
    real, left = getattr(os, name), [last]

    def dying(*args, **options):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    setattr(os, name, dying)


def export(shards, out, **options):
    """Export ids of a preset; the options are those of `export_shards`."""
    return export_shards(shards, out, **{"to": "hf", "preset": "plain", **options})


@pytest.mark.parametrize("to", FORMATS)
def test_two_runs_give_the_same_bytes(shards, tmp_path, monkeypatch, to):
    """At another time of day, too."""
    export(shards, tmp_path / "one", to=to)
    monkeypatch.setattr("time.time", lambda: 86_400.0)
    export(shards, tmp_path / "two", to=to)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


@pytest.mark.parametrize("to", FORMATS)
def test_a_finished_export_is_left_alone(shards, tmp_path, to):
    """The same call says that all is done and touches no file."""
    first = export(shards, tmp_path / "out", to=to)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = export(shards, tmp_path / "out", to=to)
    assert not first.was_finished
    assert again.was_finished
    assert (again.num_records, again.num_tokens, again.num_bytes) == (
        first.num_records,
        first.num_tokens,
        first.num_bytes,
    )
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times


def test_a_finished_export_may_be_where_nothing_can_be_written(shards, tmp_path, monkeypatch):
    """A read-only filesystem: the same call says that all is done; another one names the remedy."""

    def refuse(*_args):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    export(shards, tmp_path / "out")
    monkeypatch.setattr("snac_tok.export.folder.HiddenFile", refuse)
    assert export(shards, tmp_path / "out").was_finished
    with pytest.raises(ExportError, match=r"Read-only file system.*choose another place"):
        export(shards, tmp_path / "out", limit=1, replace=True)
    next((tmp_path / "out" / "_parts").iterdir()).unlink()
    with pytest.raises(ExportError, match="Read-only file system"):
        export(shards, tmp_path / "out")


@pytest.mark.parametrize("to", FORMATS)
def test_a_killed_export_goes_on(shards, tmp_path, to):
    """Killed between any two steps: the rest is done, what was whole is kept, and nothing hidden is left."""
    export(shards, tmp_path / "whole", to=to)
    kept = set()
    for count in range(0, 40, 2):
        out = tmp_path / f"out-{count}"

        def killed(count=count, out=out):
            call_by_call("fsync", count)
            export(shards, out, to=to)

        ended = in_a_child(killed)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        kept.add(export(shards, out, to=to).num_kept_parts)
        assert files_of(out) == files_of(tmp_path / "whole")
    assert kept == {0, 1, 2}


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_full_disk_anywhere_is_one_sentence_and_the_export_goes_on_later(
    shards, tmp_path, monkeypatch, to, name
):
    """No half file, nothing hidden; with room again the same bytes come of it."""
    export(shards, tmp_path / "whole", to=to)
    real, left = getattr(os, name), [0]

    def full(*args, **options):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **options)

    out = tmp_path / "out"
    for count in range(0, 40, 3):
        left[0] = count
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            try:
                export(shards, out, to=to)
            except ExportError as error:
                assert "No space left" in str(error)  # noqa: PT017 - in the end there is no error
        assert not list(out.rglob(".*"))
        if left[0] >= 0:
            break
        # Every part that is there is whole.
        whole = files_of(tmp_path / "whole")
        assert {path: data for path, data in files_of(out).items() if not path.startswith("_")}.items() <= (
            whole.items()
        )
        shutil.rmtree(out)
    export(shards, out, to=to)
    assert files_of(out) == files_of(tmp_path / "whole")


@pytest.mark.parametrize("to", FORMATS)
def test_a_disk_that_refuses_while_a_part_is_written(shards, tmp_path, to):
    """A real refusal inside the format's own package, as a quota has it: one sentence, and no half file."""
    export(shards, tmp_path / "whole", to=to)
    out = tmp_path / "out"
    # Begun before, so that what is too large is a part.
    out.mkdir()
    shutil.copy(tmp_path / "whole" / "_export.json", out)

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))
        with pytest.raises(ExportError, match=r"cannot be written \(File too large\)"):
            export(shards, out, to=to)

    assert in_a_child(limited) == 0
    assert set(files_of(out)) == {"_export.json"}
    export(shards, out, to=to)
    assert files_of(out) == files_of(tmp_path / "whole")


def test_a_part_that_was_lost_or_cut_is_written_again(shards, tmp_path):
    """And only that one."""
    out = tmp_path / "out"
    export(shards, out)
    before = files_of(out)
    kept = (out / "train-00000-of-00002.parquet").stat().st_mtime_ns
    path = out / "train-00001-of-00002.parquet"
    for damage in (path.unlink, lambda: path.write_bytes(b"PAR1")):
        damage()
        report = export(shards, out)
        assert (report.num_kept_parts, report.was_finished) == (1, False)
        assert files_of(out) == before
        assert (out / "train-00000-of-00002.parquet").stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"to": "jsonl"}, "to"),
        ({"preset": "orpheus"}, "vocabulary.base"),
        ({"preset": preset("plain", base=7)}, "vocabulary.base"),
        ({"preset": None, "what": "codes"}, "what"),
        ({"output_dtype": "int64"}, "output_dtype"),
        ({"columns": False}, "columns"),
        ({"limit": 2}, "rows"),
        ({"shards_per_file": 2}, "shards_per_file"),
    ],
)
def test_other_options_are_refused_by_name_and_replaced_when_asked(shards, tmp_path, changes, name):
    """Nothing changes unasked; with `replace` nothing of the old export is left."""
    out = tmp_path / "out"
    export(shards, out)
    (out / "notes.md").write_text("mine")
    before = files_of(out)
    with pytest.raises(ExportError, match=f"(?s)other options.*{name}.*--force"):
        export(shards, out, **changes)
    assert files_of(out) == before
    export(shards, out, replace=True, **changes)
    export(shards, tmp_path / "new", **changes)
    assert files_of(out) == {**files_of(tmp_path / "new"), "notes.md": b"mine"}


def test_replacing_the_same_export_changes_nothing(shards, tmp_path):
    """What is done is what was asked for."""
    export(shards, tmp_path / "out", to="lhotse")
    assert export(shards, tmp_path / "out", to="lhotse", replace=True).was_finished
    export(shards, tmp_path / "out", replace=True)
    export(shards, tmp_path / "new")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "new")


def test_other_shards_are_other_options(shards, tmp_path):
    """Even of the same names and numbers."""
    export(shards, tmp_path / "out")
    other = collection(tmp_path / "other", [[record("a.wav", seed=7)]])
    with pytest.raises(ExportError, match=r"different: shards\)"):
        export(other, tmp_path / "out")


def test_another_text_tokenizer_is_another_option(shards, words, tmp_path):
    """Its ids would be others; a copy of it is the same."""
    options = {"what": "sequences", "preset": preset("plain", base=50)}
    export(shards, tmp_path / "out", text_tokenizer=str(words), **options)
    copy = shutil.copytree(words, tmp_path / "copy")
    assert export(shards, tmp_path / "out", text_tokenizer=str(copy), **options).was_finished
    path = copy / "tokenizer.json"
    path.write_text(path.read_text().replace('"morning"', '"evening"'))
    with pytest.raises(ExportError, match="text_tokenizer"):
        export(shards, tmp_path / "out", text_tokenizer=str(copy), **options)


def test_folders_of_others_are_refused(shards, tmp_path):
    """That of the shards, one in it, and one that holds anything else."""
    copy = shutil.copytree(shards, tmp_path / "shards")
    for out in (copy, copy / "out", tmp_path / "shards" / ".." / "shards"):
        with pytest.raises(ExportError, match="the folder of the shards"):
            export(copy, out)
    assert files_of(copy) == files_of(shards)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "novel.txt").write_text("It was a dark and stormy night.")
    for replace in (False, True):
        with pytest.raises(ExportError, match=r"novel\.txt, which is of no export"):
            export(shards, tmp_path / "full", replace=replace)
    with pytest.raises(ExportError, match="cannot be written"):
        export(shards, tmp_path / "full" / "novel.txt")


def test_two_exports_into_one_folder_do_not_meet(shards, tmp_path):
    """The second is refused while the first one writes."""
    out = tmp_path / "out"
    out.mkdir()
    other = HiddenFile(out / "_export.json")
    with pytest.raises(ExportError, match="another process is exporting"):
        export(shards, out)
    other.discard()
    assert export(shards, out).num_records == 5


def test_damaged_shards_are_named_and_the_export_goes_on_with_whole_ones(shards, tmp_path):
    """What was written before stays."""
    copy = shutil.copytree(shards, tmp_path / "shards")
    path = copy / "train-00002-of-00003.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
    with pytest.raises(ShardError, match="train-00002-of-00003"):
        export(copy, tmp_path / "out")
    path.write_bytes(data)
    assert export(copy, tmp_path / "out").num_kept_parts == 1
    export(shards, tmp_path / "whole")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_damaged_record_of_the_export_is_named_and_can_be_replaced(shards, tmp_path):
    """_export.json is cut off, of a later version, or something else."""
    out = tmp_path / "out"
    export(shards, out)
    before, text = files_of(out), (out / "_export.json").read_text()
    for damaged in (text[:40], text.replace('"format_version": 1', '"format_version": 9'), "[]"):
        (out / "_export.json").write_text(damaged)
        with pytest.raises(ExportError, match=r"_export\.json.*--force"):
            export(shards, out)
        assert not export(shards, out, replace=True).was_finished
        assert files_of(out) == before


def test_a_damaged_record_of_a_part_costs_that_part(shards, tmp_path):
    """It is written again, with the same bytes."""
    out = tmp_path / "out"
    export(shards, out)
    before, path = files_of(out), out / "_parts" / "00001.json"
    for damaged in (path.read_text()[:9], "[]", "{}"):
        path.write_text(damaged)
        assert export(shards, out).num_kept_parts == 1
        assert files_of(out) == before


def test_rows_and_files_are_cut_as_asked(shards, tmp_path):
    """Rows in the shards' order, none twice; several shards in one file."""
    report = export(shards, tmp_path / "out", rows=[(4, None), (0, 1), (3, 9)], to="jsonl")
    assert (report.num_records, report.num_files) == (3, 2)
    lines = [
        json.loads(line)["id"]
        for path in sorted((tmp_path / "out").glob("train-*"))
        for line in path.read_text("utf-8").splitlines()
    ]
    assert lines == ["a.wav", "c//d.wav", "http:e?f=1.wav"]
    assert export(shards, tmp_path / "first", limit=1).num_records == 1
    assert export(shards, tmp_path / "few", rows=[(1, 9)], limit=2).num_records == 2
    assert export(shards, tmp_path / "none", rows=[]).num_records == 0
    one = export(shards, tmp_path / "one", shards_per_file=9)
    assert (one.num_records, one.num_files) == (5, 1)


@pytest.mark.parametrize("wrong", [{"rows": [(-3, None)]}, {"rows": [(0, -1)]}, {"limit": -3}])
def test_nothing_is_counted_from_the_end(shards, tmp_path, wrong):
    """Negative numbers are refused in a sentence."""
    with pytest.raises(ShardError, match=r"there is no row -|limit is -3"):
        export(shards, tmp_path / "out", **wrong)


def test_progress_counts_every_record(shards, tmp_path):
    """Those of kept parts, too, and up to the end."""
    seen = []
    export(shards, tmp_path / "out", progress=lambda *state: seen.append(state))
    assert seen == [(number, 5) for number in range(1, 6)]
    seen.clear()
    export(shards, tmp_path / "out", progress=lambda *state: seen.append(state))
    assert seen == [(2, 5), (5, 5)]


def test_memory_does_not_grow_with_the_records(tmp_path):
    """Ten shards in one file take as much as one shard: far less than their ids."""
    rows = [[record(f"{shard}-{at}.wav", num_frames=1000) for at in range(10)] for shard in range(10)]
    folders = [collection(tmp_path / "one", rows[:1]), collection(tmp_path / "ten", rows)]
    export(folders[0], tmp_path / "warm", to="webdataset")
    peaks = []
    for shards in folders:
        tracemalloc.start()
        export(shards, tmp_path / f"{len(peaks)}", to="webdataset", shards_per_file=10)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    num_bytes = 10 * 10 * 1000 * 7 * 4
    assert peaks[1] - peaks[0] < num_bytes / 10, peaks
