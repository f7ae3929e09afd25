"""Damage: path, bytes and blocks agree, every time, and nothing but our own sentence is written anywhere."""

from __future__ import annotations

import errno
import io
import subprocess
import sys

import numpy as np
import pytest
from sound_files import encoded, mp3, patched

from snac_tok.audio import iter_audio, read_audio
from snac_tok.audio.machine_faults import is_machine_fault
from snac_tok.errors import AudioFileError

SEEDS = {
    "wav": encoded("WAV", "PCM_16"),
    "flac": encoded("FLAC", "PCM_16"),
    "mp3": mp3(),
    "stereo.mp3": mp3(rate=44_100, num_channels=2),
    "ogg": encoded("OGG", "VORBIS"),
    "opus": encoded("OGG", "OPUS", num_channels=2),
    "aiff": encoded("AIFF", "PCM_16"),
    "caf": encoded("CAF", "ALAC_16"),
    "w64": encoded("W64", "PCM_16"),
}


def damaged(content: bytes, seed: int) -> bytes:
    """Other bytes, fewer, or more."""
    random = np.random.default_rng(seed)
    place, count = int(random.integers(len(content))), int(random.integers(1, 400))
    kind = seed % 4
    if kind == 0:
        return patched(content, place, bytes([content[place] ^ 1 << int(random.integers(8))]))
    if kind == 1:
        return content[:place] + content[place + count :]
    if kind == 2:
        return content[:place] + random.bytes(count) + content[place:]
    return patched(content, place, random.bytes(count))[: len(content)]


def outcome(read) -> object:
    """The samples, or that it was refused."""
    try:
        return read().tobytes()
    except AudioFileError:
        return "refused"


def joined(source, seconds, **options):
    """All blocks."""
    return np.concatenate(
        [block.samples for block in iter_audio(source, block_seconds=seconds, **options)], axis=1
    )


@pytest.mark.parametrize("kind", SEEDS)
@pytest.mark.parametrize("allow_truncated", [False, True])
def test_path_bytes_and_blocks_agree_about_damaged_files(tmp_path, kind, allow_truncated):
    """Twelve ways of damage: all read the same samples or all refuse; a second reading is like the first."""
    path = tmp_path / f"a.{kind}"
    options = {"allow_truncated": allow_truncated}
    for seed in range(12):
        content = damaged(SEEDS[kind], seed)
        path.write_bytes(content)
        ways = [
            lambda: read_audio(path, **options).samples,
            lambda: read_audio(path, **options).samples,
            lambda: read_audio(content, **options).samples,  # noqa: B023 - called at once
            lambda: read_audio(io.BytesIO(content), **options).samples,  # noqa: B023
            lambda: joined(path, 0.25, **options),
            lambda: joined(content, 0.0131, **options),  # noqa: B023
        ]
        assert len({outcome(way) for way in ways}) == 1, (kind, seed)


def test_nothing_of_libmpg123_or_of_callbacks_is_printed(tmp_path):
    """A process of its own reads damaged files of every kind; its stderr stays empty, its other messages do not."""
    for kind, content in SEEDS.items():
        for seed in range(4):
            (tmp_path / f"{seed}.{kind}").write_bytes(damaged(content, seed))
        (tmp_path / f"cut.{kind}").write_bytes(content[: len(content) // 2])
    code = (
        "import ctypes, io, logging, pathlib, sys\n"
        "from snac_tok.audio import iter_audio, read_audio\n"
        "from snac_tok.audio.mpg123_messages import caught_messages\n"
        "logging.disable()\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    for source in (path, path.read_bytes()):\n"
        "        for read in (read_audio, lambda s, **o: list(iter_audio(s, block_seconds=0.1, **o))):\n"
        "            for options in ({}, {'allow_truncated': True}):\n"
        "                try:\n"
        "                    read(source, **options)\n"
        "                except ValueError:\n"
        "                    pass\n"
        "print('done')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="C's stderr is caught with the GNU C library alone")
def test_what_other_code_writes_to_the_c_librarys_stderr_still_comes_out():
    """Only libmpg123's lines are kept; the others are passed on, after the block."""
    code = (
        "import ctypes\n"
        "from snac_tok.audio.mpg123_messages import caught_messages\n"
        "libc = ctypes.CDLL(None)\n"
        "stream = lambda: ctypes.c_void_p.in_dll(libc, 'stderr')\n"
        "for _ in range(2):\n"
        "    with caught_messages() as said:\n"
        "        libc.fputs(b'Note: Trying to resync...\\n', stream())\n"
        "        libc.fputs(b'somebody else\\n', stream())\n"
        "    print(said)\n"
        "libc.fputs(b'after\\n', stream())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['Note: Trying to resync...']\n" * 2
    assert done.stderr == "somebody else\nsomebody else\nafter\n"


def test_damage_inside_mp3_frames_is_told():
    """Frames that follow one another with nonsense in them: libmpg123's message is the only word about it."""
    content = bytearray(mp3())
    starts = [at for at in range(200, len(content)) if content[at : at + 2] == b"\xff\xf3"]
    for start in starts[5:15]:
        content[start + 6 : start + 13] = b"\xff" * 7  # the side information
    with pytest.raises(AudioFileError, match=r"damaged or cut off .*libmpg123: .*allow_truncated=True"):
        read_audio(bytes(content))
    assert read_audio(bytes(content), allow_truncated=True).num_samples > 0


def test_junk_between_mp3_frames_is_told():
    """Today's players skip it; the sound that stood there is gone all the same."""
    content = mp3()
    start = content.index(b"\xff\xf3", 2000)
    junk = content[:start] + bytes(range(1, 200)) + content[start:]
    with pytest.raises(AudioFileError, match=rf"bytes {start} to {start + 199} are not MP3 frames"):
        read_audio(junk)
    assert np.array_equal(read_audio(junk, allow_truncated=True).samples, read_audio(content).samples)


class Failing(io.BytesIO):
    """A file object on a disk that fails in the middle."""

    def read(self, count=-1):
        """Read, up to a place."""
        if self.tell() > 9_000:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(count)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize("allow_truncated", [False, True])
def test_a_failing_disk_under_a_file_object_is_no_damage(kind, allow_truncated, capfd):
    """It is told as what it is, also to those who take what is left; nothing is printed by a callback."""
    with pytest.raises(AudioFileError, match="cannot be read") as caught:
        read_audio(Failing(SEEDS[kind] * 3), allow_truncated=allow_truncated)
    assert is_machine_fault(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("claimed", [2**40, 2**62, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize(("kind", "place", "order"), [("w64", 56, "little"), ("caf", 12, "big")])
def test_a_chunk_that_leads_beyond_every_file(tmp_path, kind, place, order, claimed):
    """Some files refuse to go there and others do not: path, bytes and blocks agree all the same."""
    content = patched(SEEDS[kind], place, claimed.to_bytes(8, order))
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content)
    ways = [
        lambda: read_audio(path).samples,
        lambda: read_audio(content).samples,
        lambda: joined(path, 0.25),
    ]
    assert len({outcome(way) for way in ways}) == 1
