"""The .npz files that `inspect` and `decode` read may have been made by anybody."""

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

from snac_tok.errors import CodesError
from snac_tok.shards import read_code_file


@pytest.fixture
def arrays(b_npz):
    """The arrays of b.npz."""
    with np.load(b_npz) as found:
        return dict(found)


def peak_bytes(function, *arguments):
    """Return how much memory a function takes at most, with what it raises."""
    tracemalloc.start()
    try:
        function(*arguments)
        error = None
    except CodesError as raised:
        error = raised
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, str(error)


def rewritten(path, **members):
    """Put other bytes into an .npz under the names of its arrays."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (content | {f"{name}.npy": data for name, data in members.items()}).items():
            archive.writestr(name, data)


def header(*, shape, dtype="<u2"):
    """Return the header of a .npy of that shape and type."""
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"shape": shape, "fortran_order": False, "descr": dtype})
    return buffer.getvalue()


def test_no_changed_bit_gives_other_codes(b_npz):
    """In the codes, the headers and the settings: what was written, or a refusal."""
    path = Path(b_npz)

    def content():
        found = read_code_file(path)
        return [level.tolist() for level in found.levels], found.num_samples, found.settings

    whole, expected, num_refused = path.read_bytes(), content(), 0
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            assert content() == expected
        except CodesError:
            num_refused += 1
    assert num_refused > len(whole) // 14


def test_a_bomb_of_zeros(refused, work, arrays):
    """A small file that would become hundreds of megabytes is refused before anything is unpacked."""
    frames = 5_000_000
    zeros = {f"level_{k}": np.zeros(frames * 2**k, dtype=np.uint16) for k in range(3)}
    np.savez_compressed("b.npz", **(arrays | zeros | {"num_samples": np.int64(frames * 2048)}))
    assert (work / "b.npz").stat().st_size < 200_000
    peak, error = peak_bytes(read_code_file, Path("b.npz"))
    assert "far more than codes do" in error
    assert peak < 2_000_000
    assert "b.npz" in refused("inspect", "b.npz")
    assert "b.npz" in refused("decode", "b.npz", "-o", "x.wav")


@pytest.mark.parametrize("shape", [(5 * 10**9,), (10**6, 10**6), (0, 10**30), (-7,), (3,), (), (2**62, 4)])
def test_a_shape_that_the_bytes_do_not_have(arrays, work, shape):
    """The shape in an array's header is compared with the bytes behind it before memory is taken for it."""
    rewritten(work / "b.npz", level_0=header(shape=shape) + arrays["level_0"].tobytes())
    peak, error = peak_bytes(read_code_file, work / "b.npz")
    assert "b.npz: 'level_0' claims" in error
    assert peak < 2_000_000


@pytest.mark.parametrize("dtype", ["|O", "<f4", "|V2", "<U1", "<c8", "<M8[s]", [("a", "<u2")], ">u2", "<u4"])
@pytest.mark.usefixtures("arrays")
def test_an_array_of_another_type(work, dtype):
    """Only whole numbers of the codes' own type are read; no pickle ever is."""
    size = np.dtype(dtype if isinstance(dtype, str) else [tuple(field) for field in dtype]).itemsize
    rewritten(work / "b.npz", level_0=header(shape=(1,), dtype=dtype) + b"\0" * size)
    with pytest.raises(CodesError, match=r"b.npz: .*(have no array of this name|must be uint16)"):
        read_code_file(work / "b.npz")


@pytest.mark.parametrize(
    "text", [b"{'descr': ", b"(" * 5000, b"{" + b"[" * 9000, b"\xff" * 50, b"'\n'''", b"lambda: 0"]
)
@pytest.mark.usefixtures("arrays")
def test_a_header_that_is_none(work, text):
    """Headers are parsed like Python by numpy; whatever that raises is one sentence."""
    data = npy.magic(1, 0) + len(text).to_bytes(2, "little") + text
    rewritten(work / "b.npz", level_0=data)
    with pytest.raises(CodesError, match=r"b\.npz"):
        read_code_file(work / "b.npz")


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings(work, arrays, packing):
    """Packings that numpy never writes, and that reach other proportions, are refused."""
    with zipfile.ZipFile("b.npz", "w", packing) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            npy.write_array(buffer, array)
            archive.writestr(f"{name}.npy", buffer.getvalue())
    with pytest.raises(CodesError, match="packed in another way"):
        read_code_file(work / "b.npz")


def test_arrays_given_twice_and_strangers(work, arrays):
    """A name twice, too many arrays, and one that is none of codes are refused."""
    with zipfile.ZipFile("b.npz", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("level_0.npy", b"x")
    with pytest.raises(CodesError, match="twice"):
        read_code_file(work / "b.npz")
    np.savez("b.npz", **arrays, extra=np.zeros(3))
    with pytest.raises(CodesError, match="'extra'"):
        read_code_file(work / "b.npz")
    np.savez("b.npz", **arrays, **{f"level_{k}": np.zeros(3, np.uint16) for k in range(3, 60)})
    with pytest.raises(CodesError, match="more than"):
        read_code_file(work / "b.npz")


def test_packed_by_somebody_else(run, arrays):
    """What numpy packs in proportion is read: an hour of one code, as digital silence has, is far below the bound."""
    hour = {f"level_{k}": np.zeros(42_000 * 2**k, dtype=np.uint16) for k in range(3)}
    np.savez_compressed("b.npz", **(arrays | hour | {"num_samples": np.int64(42_000 * 2048)}))
    found = json.loads(run("inspect", "b.npz", "--json").stdout)
    assert found["num_tokens"] == 7 * 42_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"resampler": 5}, "resampler is not an object"),
        ({"resampler": ["soxr"]}, "resampler is not an object"),
        ({"weights_sha256": 5}, "weights_sha256"),
        ({"codec_id": None}, "codec_id"),
        ({"codec_config": [1]}, "do not describe the codec"),
        ({"note": {"a": {"b": {"c": 1}}}}, "nested deeper"),
        ({"codec_config": {"vq_strides": [[[1]]]}}, "nested deeper"),
    ],
)
@pytest.mark.parametrize("command", [("inspect", "b.npz"), ("decode", "b.npz", "-o", "x.wav")])
def test_settings_that_are_none(refused, arrays, change, reason, command):
    """Settings of another form are refused by name, whichever command reads them."""
    settings = json.loads(str(arrays["settings"])) | change
    np.savez("b.npz", **(arrays | {"settings": np.str_(json.dumps(settings))}))
    assert reason in refused(*command)


@pytest.mark.parametrize("depth", [50, 900, 40_000])
def test_settings_nested_without_end(refused, arrays, depth):
    """However deep lists lie in lists, the refusal is one sentence."""
    text = f'{str(arrays["settings"])[:-1]}, "x": {{"a": {"[" * depth}{"]" * depth}}}}}'
    np.savez("b.npz", **(arrays | {"settings": np.str_(text)}))
    assert "nested" in refused("inspect", "b.npz")


def test_signs_that_a_terminal_obeys(run, arrays):
    """A codec's name that would clear the screen is shown, not obeyed; half a surrogate pair stops nothing."""
    settings = json.loads(str(arrays["settings"])) | {"codec_id": "\x1b[2Jtiny\ud800"}
    np.savez("b.npz", **(arrays | {"settings": np.str_(json.dumps(settings))}))
    for options in ([], ["--json"]):
        result = run("inspect", "b.npz", *options)
        assert result.exit_code == 0, result.stderr
        assert "\x1b" not in result.stdout
        assert "\\ud800" in result.stdout


@pytest.mark.usefixtures("arrays")
def test_a_name_of_thousands_of_bytes_is_not_quoted(refused, work):
    """A header whose name has another length than it says: one sentence, not a page of what stands there."""
    content = bytearray((work / "b.npz").read_bytes())
    content[26:28] = (10_000).to_bytes(2, "little")  # in the first member's own header
    (work / "b.npz").write_bytes(bytes(content))
    assert len(refused("inspect", "b.npz")) < 400
