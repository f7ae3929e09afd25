"""What codes and ids are kept in: shards, .npz, files of ids, servers' answers, vocabularies."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import numpy as np

from fuzzing.seeds import Kind, Seed, clip, files_in_turn, raise_first, refusal, run_command, small_codec
from snac_tok import open_shards, preset
from snac_tok.corpus import collection_status, verify_collection
from snac_tok.corpus.finishing import read_failures
from snac_tok.errors import SnacTokError
from snac_tok.frames import preset_names, vocabulary_from_json, vocabulary_to_json
from snac_tok.frames.id_text import read_ids
from snac_tok.generation import read_generated

if TYPE_CHECKING:
    from pathlib import Path


def _shards(folder: Path) -> list[Seed]:
    (folder / "clips").mkdir(parents=True)
    for name in ("a", "b"):
        (folder / "clips" / f"{name}.wav").write_bytes(clip(0.3))
    (folder / "clips" / "c.wav").write_bytes(b"no sound, which _failed.jsonl tells of")
    small_codec(folder / "codec")
    # It says that a recording failed.
    with contextlib.suppress(SnacTokError):
        run_command("shard", folder / "clips", folder / "shards", "--model", folder / "codec")
    return files_in_turn(folder / "shards")


def _read_shards(path: Path) -> None:
    doors = (_read_records, collection_status, verify_collection, read_failures)
    raise_first([refusal(lambda door=door: door(path.parent)) for door in doors])  # type: ignore[misc]


def _read_records(folder: Path) -> None:
    shards = open_shards(folder)
    for record in shards:
        record.codes.sum()
    list(shards.failures())
    shards.verify()


def _code_files(folder: Path) -> list[Seed]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.wav").write_bytes(clip(0.3))
    small_codec(folder / "codec")
    run_command("encode", folder / "a.wav", "-o", folder / "a.npz", "--model", folder / "codec")
    return [Seed(name="a.npz", content=(folder / "a.npz").read_bytes())]


def _read_code_file(path: Path) -> None:
    run_command("inspect", path)


def some_ids() -> list[int]:
    """Return the ids of four random frames."""
    layout = preset("orpheus").layout
    codes = np.random.default_rng(0).integers(0, 4096, 4 * layout.slots_per_frame)
    return [int(number) for number in preset("orpheus").encode(layout.unflatten(codes))]


def _ids(_folder: Path) -> list[Seed]:
    """The three forms of `snac-tok decode`."""
    ids = some_ids()
    forms = (json.dumps(ids), " ".join(map(str, ids)), preset("orpheus").ids_to_text(np.array(ids)))
    return [Seed(name=f"{number}.txt", content=form.encode()) for number, form in enumerate(forms)]


def _read_ids(path: Path) -> None:
    raise_first(
        refusal(lambda each=drop: read_ids(path, preset("orpheus"), drop_partial=each))  # type: ignore[misc]
        for drop in (False, True)
    )


def _answers(_folder: Path) -> list[Seed]:
    """What servers send: one object, events, lines of JSON."""
    ids = some_ids()
    text = preset("orpheus").ids_to_text(np.array(ids))
    whole = {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}
    pieces = [{"choices": [{"index": 0, "text": text[at : at + 40]}]} for at in range(0, len(text), 40)]
    events = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n\n"
    lines = "".join(
        json.dumps({"content": "", "tokens": ids[at : at + 5]}) + "\n" for at in range(0, len(ids), 5)
    )
    contents = (json.dumps(whole), events, lines)
    return [Seed(name=f"{number}.txt", content=content.encode()) for number, content in enumerate(contents)]


def _read_answer(path: Path) -> None:
    read_generated(path, "orpheus")


def _vocabularies(_folder: Path) -> list[Seed]:
    return [
        Seed(name="vocabulary.json", content=vocabulary_to_json(preset(name)).encode())
        for name in preset_names()
    ]


def _read_vocabulary(path: Path) -> None:
    vocabulary = vocabulary_from_json(path)
    vocabulary.describe()


KINDS = {
    "shards": Kind(seeds=_shards, read=_read_shards),
    "npz": Kind(seeds=_code_files, read=_read_code_file),
    "ids": Kind(seeds=_ids, read=_read_ids),
    "answers": Kind(seeds=_answers, read=_read_answer),
    "vocabularies": Kind(seeds=_vocabularies, read=_read_vocabulary),
}
