"""What a run would come to, from the list of recordings and a few of them; nothing is written."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snac_tok.audio import audio_info, iter_audio, to_mono
from snac_tok.corpus.plan import DEFAULT_CLIPS_PER_SHARD
from snac_tok.corpus.planning import collection_of, planned_items
from snac_tok.errors import AudioError
from snac_tok.shards.manifest import SECONDS_PER_HOUR
from snac_tok.sources.folders import AUDIO_EXTENSIONS
from snac_tok.sources.stored import StoredSound

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from snac_tok.audio import ChannelPolicy, Waveform
    from snac_tok.corpus.plan import PlannedFile
    from snac_tok.corpus.worker import SoundEncoder
    from snac_tok.shards import CollectionInfo

# How many headers are read, spread evenly over the recordings, and how much sound is encoded.
_NUM_HEADERS = 200
_TRIAL_SECONDS = 10.0
# A code of 16 bits takes so many bytes in a shard, compressed (measured with snac_24khz on speech).
_BYTES_PER_CODE = 1.6


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is counted, and what follows from a few recordings.

    Attributes:
        num_recordings: counted.
        num_bytes: of their sound as it is stored, counted.
        num_shards: counted.
        columns: that would be kept.
        num_texts: recordings with a text, counted.
        hours: estimated from headers.
        num_tokens: estimated from the hours.
        output_bytes: estimated from the tokens.
        elapsed_seconds: estimated from how long some seconds of the sound take to encode; None if none could be read.
        num_headers: recordings whose headers were read.
        num_unreadable: those of them that could not be read.
    """

    num_recordings: int
    num_bytes: int
    num_shards: int
    columns: tuple[str, ...]
    num_texts: int
    hours: float
    num_tokens: int
    output_bytes: int
    elapsed_seconds: float | None
    num_headers: int
    num_unreadable: int


def estimate_folder(
    source: str | Path,
    encoder: SoundEncoder,
    *,
    channels: ChannelPolicy | None = None,
    clips_per_shard: int = DEFAULT_CLIPS_PER_SHARD,
    extensions: Collection[str] = AUDIO_EXTENSIONS,
    keep_columns: Sequence[str] | None = None,
) -> Estimate:
    """Say what `shard_folder` would come to with these arguments; recordings that it would leave out are counted, too.

    Raises:
        SourceError: as in `shard_folder`.
    """
    base, columns, items = planned_items(Path(source), extensions=extensions, keep_columns=keep_columns)
    collection = collection_of(encoder, channels)
    # Rounded up: the last recordings count as much as the first.
    sample = items[:: max(1, -(-len(items) // _NUM_HEADERS))]
    lengths = {item: _header_seconds(item, base) for item in sample}
    hours = _hours(items, lengths)
    num_tokens = round(hours * SECONDS_PER_HOUR * _tokens_per_second(collection))
    speed = _times_real_time([item for item, seconds in lengths.items() if seconds], base, encoder)
    return Estimate(
        num_recordings=len(items),
        num_bytes=sum(item.num_bytes for item in items),
        num_shards=-(-len(items) // clips_per_shard),
        columns=columns,
        num_texts=sum(item.text is not None for item in items),
        hours=hours,
        num_tokens=num_tokens,
        output_bytes=round(num_tokens * _BYTES_PER_CODE),
        elapsed_seconds=hours * SECONDS_PER_HOUR / speed if speed else None,
        num_headers=len(sample),
        num_unreadable=sum(seconds is None for seconds in lengths.values()),
    )


def _header_seconds(item: PlannedFile, base: Path) -> float | None:
    """Return what a recording's header says of its length; None where it cannot be read or does not say."""
    if item.part and item.part[1] is not None:
        return item.part[1] - item.part[0]
    try:
        return audio_info(_source_of(item, base)).duration_seconds
    except AudioError:
        return None


def _source_of(item: PlannedFile, base: Path) -> Path | bytes:
    path = base / (item.file or item.path)
    if item.at is None:
        return path
    return StoredSound(path=path, at=item.at, num_bytes=item.num_bytes).read()


def _hours(items: Sequence[PlannedFile], lengths: dict[PlannedFile, float | None]) -> float:
    """Return the length of all: parts exactly, others by the bytes that a second takes in files of their kind."""
    exact = sum(item.part[1] - item.part[0] for item in items if item.part and item.part[1] is not None)
    seconds, num_bytes = defaultdict[str, float](float), defaultdict[str, int](int)
    for item, length in lengths.items():
        if length is not None and item.part is None:
            for kind in (_kind(item), ""):
                seconds[kind] += length
                num_bytes[kind] += item.num_bytes
    for item in items:
        if item.part is None or item.part[1] is None:
            kind = _kind(item) if num_bytes[_kind(item)] else ""
            exact += item.num_bytes * seconds[kind] / num_bytes[kind] if num_bytes[kind] else 0.0
    return exact / SECONDS_PER_HOUR


def _kind(item: PlannedFile) -> str:
    return Path(item.path).suffix.lower()


def _tokens_per_second(collection: CollectionInfo) -> float:
    config = collection.codec_config
    rates = [*config.get("encoder_rates", ()), *(config.get("vq_strides") or (1,))[:1]]
    samples = 1
    for rate in rates:
        samples *= rate
    return collection.tokens_per_frame * collection.sampling_rate / samples


def _times_real_time(items: Sequence[PlannedFile], base: Path, encoder: SoundEncoder) -> float | None:
    """Return how fast a few seconds of the recordings are encoded, after a call that warms up."""
    waveforms: list[Waveform] = []
    seconds = 0.0
    for item in items:
        if seconds >= _TRIAL_SECONDS:
            break
        with contextlib.suppress(AudioError):
            block = next(iter_audio(_source_of(item, base), block_seconds=_TRIAL_SECONDS))
            waveforms.append(to_mono(block, channels="left"))
            seconds += block.duration_seconds
    if not waveforms:
        return None
    encoder.encode_codes(waveforms[:1])
    started = time.monotonic()
    encoder.encode_codes(waveforms)
    return seconds / max(time.monotonic() - started, 1e-9)
