"""Sound, and lists and archives of recordings."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from typing import TYPE_CHECKING

import numpy as np

from fuzzing.seeds import Kind, Seed, clip, files_in_turn, heard, raise_first, tone
from snac_tok import read_audio
from snac_tok.audio import iter_audio
from snac_tok.errors import SnacTokError
from snac_tok.sources.find import find_source

if TYPE_CHECKING:
    from pathlib import Path

# Containers and codings that soundfile writes; the rest of a name is its suffix.
_SOUNDS = (
    ("PCM_16", "WAV"),
    ("FLOAT", "WAV"),
    ("PCM_24", "WAVEX"),
    ("PCM_16", "RF64"),
    ("PCM_16", "W64"),
    ("PCM_16", "AIFF"),
    ("PCM_16", "AU"),
    ("PCM_16", "CAF"),
    ("PCM_16", "FLAC"),
    ("VORBIS", "OGG"),
    ("OPUS", "OGG"),
    ("MPEG_LAYER_III", "MP3"),
)
_SUFFIXES = {"WAVEX": "wav", "RF64": "wav"}


def _sounds(_folder: Path) -> list[Seed]:
    import soundfile

    found = []
    for coding, container in _SOUNDS:
        buffer = io.BytesIO()
        soundfile.write(buffer, tone(), 8_000, format=container, subtype=coding)
        suffix = _SUFFIXES.get(container, container.lower())
        found.append(Seed(name=f"sound.{suffix}", content=_timeless(buffer.getvalue())))
    # Pieces joined byte by byte, as streaming servers send them.
    joined = [
        Seed(name=seed.name, content=2 * seed.content) for seed in found if seed.name[-3:] in {"mp3", "ogg"}
    ]
    return found + joined


def _timeless(content: bytes) -> bytes:
    """Return a sound file without what libsndfile takes from the clock: a time, and the numbers of Ogg's streams."""
    data = bytearray(content)
    if (peak := data.find(b"PEAK")) >= 0:
        data[peak + 12 : peak + 16] = bytes(4)
    at = 0 if data.startswith(b"OggS") else -1
    while at >= 0:
        following = data.find(b"OggS", at + 4)
        page = data[at:following] if following >= 0 else data[at:]
        page[14:18], page[22:26] = b"snac", bytes(4)
        page[22:26] = struct.pack("<I", _ogg_checksum(page))
        data[at : at + len(page)] = page
        at = following
    return bytes(data)


def _ogg_checksum(page: bytes) -> int:
    remainder = 0
    for byte in page:
        remainder ^= byte << 24
        for _ in range(8):
            carry = remainder >> 31
            remainder = (remainder << 1 & 0xFFFF_FFFF) ^ (0x04C11DB7 if carry else 0)
    return remainder


def _read_sound(path: Path) -> None:
    """Read a file by path, as bytes and in blocks: the three must agree."""
    ways = {
        "by path": lambda: read_audio(path).samples,
        "as bytes": lambda: read_audio(path.read_bytes()).samples,
        "in blocks": lambda: np.concatenate(
            [block.samples for block in iter_audio(path, block_seconds=0.013)], axis=1
        ),
    }
    found = {way: heard(read) for way, read in ways.items()}
    if len({refused is None for refused, _ in found.values()}) > 1:
        told = "; ".join(f"{way}: {refused or 'read'}" for way, (refused, _) in found.items())
        raise AssertionError(f"the ways to read it do not agree: {told}")
    refused, whole = found["by path"]
    for way, (_, samples) in found.items():
        if refused is None and not np.array_equal(whole, samples):
            raise AssertionError(f"{way} it gives other samples than by path")
    if refused is not None:
        raise refused


def _lists(folder: Path) -> list[Seed]:
    """Manifests of every kind, each beside the two clips that it lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"audio": f"{name}.wav", "text": f"said, {name}", "start": 0.01, "end": 0.04} for name in "ab"]
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "list.parquet")
    contents = {
        "list.txt": b"a.wav\nb.wav\n",
        "list.csv": "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in cells).encode(),
        "list.tsv": "".join("\t".join(row) + "\n" for row in cells).encode(),
        "list.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode(),
        "list.parquet": (folder / "list.parquet").read_bytes(),
    }
    clips = dict.fromkeys(("a.wav", "b.wav"), clip())
    return [Seed(name=name, content=content, beside=clips) for name, content in contents.items()]


def _archives(_folder: Path) -> list[Seed]:
    """WebDataset's tars, in both of tar's formats that are common."""
    found = []
    for number, kind in enumerate((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
            for name in ("a", f"{'b' * 60}/{'c' * 60}"):
                for suffix, content in (
                    ("flac", clip(container="FLAC")),
                    ("txt", b"said"),
                    ("json", b'{"speaker": "s"}'),
                ):
                    member = tarfile.TarInfo(f"{name}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        found.append(Seed(name=f"{number}.tar", content=buffer.getvalue()))
    return found


def _cells(folder: Path) -> list[Seed]:
    """Sound in Parquet, as bytes and as structs with the path beside them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    structs = [{"audio": {"bytes": clip(), "path": f"{name}.wav"}, "text": name} for name in "ab"]
    plain = [{"id": name, "wav": clip(container="FLAC"), "speaker": "s"} for name in "ab"]
    for name, rows in (("structs", structs), ("plain", plain)):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return [Seed(name=path.name, content=path.read_bytes()) for path in sorted(folder.glob("*.parquet"))]


def _saved(folder: Path) -> list[Seed]:
    """What `Dataset.save_to_disk` writes, each of its files in turn."""
    import datasets

    rows = [{"audio": {"bytes": clip(), "path": f"{name}.wav"}, "text": name} for name in "ab"]
    # A fingerprint of the time would make other files each time.
    dataset = datasets.Dataset.from_list(rows)
    dataset._fingerprint = "0"  # noqa: SLF001 - there is no other way to it
    datasets.disable_progress_bars()
    dataset.save_to_disk(folder / "saved")
    return files_in_turn(folder / "saved")


def _read_saved(path: Path) -> None:
    """By file and row, and as rows of the library `datasets`."""
    faults = [_fault_of(path.parent, is_stored=is_stored) for is_stored in (True, False)]
    raise_first(faults)


def _read_source(path: Path) -> None:
    raise_first([_fault_of(path, is_stored=False)])


def _fault_of(path: Path, *, is_stored: bool) -> SnacTokError | None:
    """List the recordings, and read each; one that cannot be read does not keep the next from it."""
    fault = None
    try:
        for recording in find_source(path, is_stored=is_stored).recordings:
            fault = heard(recording.read)[0] or fault
    except SnacTokError as error:
        return error
    return fault


KINDS = {
    "audio": Kind(seeds=_sounds, read=_read_sound),
    "lists": Kind(seeds=_lists, read=_read_source),
    "archives": Kind(seeds=_archives, read=_read_source),
    "cells": Kind(seeds=_cells, read=_read_source),
    "saved": Kind(seeds=_saved, read=_read_saved),
}
