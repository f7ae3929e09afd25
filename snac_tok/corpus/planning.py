"""From what a user names to a plan: recordings as items, with the columns that are kept of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from snac_tok.audio import check_policy
from snac_tok.corpus.plan import PlannedFile
from snac_tok.errors import ConfigError, ShardError, SourceError, did_you_mean
from snac_tok.paths import checked_path
from snac_tok.shards import CollectionInfo
from snac_tok.shards.record import SCHEMA
from snac_tok.sources.find import find_source, is_collection
from snac_tok.sources.rows import STANDARD_COLUMNS
from snac_tok.sources.stored import StoredSound
from snac_tok.wording import what_came

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from snac_tok.audio import ChannelPolicy
    from snac_tok.corpus.worker import SoundEncoder
    from snac_tok.sources.recording import Recording


def checked_source(source: Any) -> Path:
    """Return the path of recordings.

    Raises:
        SourceError: it is none.
    """
    needed = "the path of a folder, manifest, archive or dataset"
    return checked_path(source, name="source", needed=needed, error=SourceError)


def checked_collection(out: Any) -> Path:
    """Return the path of a collection's folder.

    Raises:
        ShardError: it is none.
    """
    return checked_path(out, name="out", needed="the path of the shards' folder", error=ShardError)


def check_encoder(encoder: Any) -> None:
    """Refuse what makes no codes, such as a codec's name.

    Raises:
        ConfigError: saying how to make a tokenizer of it.
    """
    if callable(getattr(encoder, "encode_codes", None)):
        return
    if isinstance(encoder, (str, os.PathLike)):
        cure = f"SnacTokenizer.from_pretrained({os.fspath(encoder)!r})"
    elif callable(getattr(encoder, "encode_batch", None)):
        cure = "SnacTokenizer(codec, None)"
    else:
        cure = "SnacTokenizer.from_pretrained with the codec's name"
    raise ConfigError(f"encoder is {what_came(encoder)}; a loaded tokenizer is needed: {cure}.")


def planned_items(
    source: Path, *, extensions: Collection[str], keep_columns: Sequence[str] | None
) -> tuple[Path, tuple[str, ...], list[PlannedFile]]:
    """List the recordings of a folder, a pattern, a manifest, an archive or a dataset.

    Args:
        source: its path.
        extensions: file endings that count as audio.
        keep_columns: what is kept beside the text; None keeps speaker and language where there are any.

    Returns:
        the folder that the items' paths are relative to, the names of the kept columns, and the items.

    Raises:
        SourceError: there is no recording, or no such column.
    """
    if source.is_file() and not is_collection(source):
        raise SourceError(
            f"{source} is one file; give a folder, a pattern in quotes, a .csv, .tsv, .jsonl, .txt or .parquet that "
            "lists recordings, or a .tar of them."
        )
    found = find_source(source, extensions=extensions, keep=keep_columns or (), is_stored=True)
    assert found.base is not None, "everything but a streamed dataset has files"
    recordings = list(found.recordings)
    columns = _columns(recordings, keep_columns)
    folder = f"{found.base}{os.sep}"
    return found.base, columns, [_planned(recording, folder, columns) for recording in recordings]


def collection_of(encoder: SoundEncoder, channels: ChannelPolicy | None) -> CollectionInfo:
    """Return what the codes are made with.

    Raises:
        WaveformError: an unknown channel policy.
    """
    fields = encoder.describe()
    if channels is not None:
        fields["channels"] = str(check_policy(channels, each=True))
    return CollectionInfo(**fields)


def _columns(recordings: Sequence[Recording], wanted: Sequence[str] | None) -> tuple[str, ...]:
    there: set[str] = set()
    for recording in recordings:
        there.update(recording.columns)
    if wanted is None:
        return tuple(name for name in STANDARD_COLUMNS if name in there)
    for name in wanted:
        if name in SCHEMA.names:
            raise ShardError(
                f"the column {name!r} is one that every shard has; leave it out of those to keep."
            )
        if name not in there:
            raise SourceError(
                f"no recording has a column {name!r}; there are {', '.join(sorted(there)) or 'none'}."
                f"{did_you_mean(name, there)}"
            )
    return tuple(dict.fromkeys(wanted))


def _planned(recording: Recording, folder: str, columns: tuple[str, ...]) -> PlannedFile:
    sound = recording.sound
    path = sound.path if isinstance(sound, StoredSound) else sound
    # From the source's folder, if it is below it.
    file = os.fspath(path).removeprefix(folder)
    if os.sep != "/":
        file = file.replace(os.sep, "/")
    return PlannedFile(
        path=recording.name,
        num_bytes=recording.num_bytes or 0,
        text=recording.text,
        file=None if file == recording.name else file,
        at=sound.at if isinstance(sound, StoredSound) else None,
        part=recording.part,
        channel=recording.channel,
        columns=tuple(map(recording.columns.get, columns)),
    )
