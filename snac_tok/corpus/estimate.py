"""What a run would come to, from the list of recordings and a few of them; nothing is written."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snac_tok.audio import audio_info, iter_audio, to_mono
from snac_tok.codec.config import CodecConfig
from snac_tok.corpus.plan import DEFAULT_CLIPS_PER_SHARD
from snac_tok.corpus.planning import check_encoder, checked_source, collection_of, planned_items
from snac_tok.errors import AudioError
from snac_tok.sources.folders import AUDIO_EXTENSIONS
from snac_tok.sources.limits import Limits
from snac_tok.sources.stored import StoredSound
from snac_tok.wording import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from snac_tok.audio import ChannelPolicy, Waveform
    from snac_tok.corpus.plan import PlannedFile
    from snac_tok.corpus.worker import SoundEncoder

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
        hours: of the clips that are made of them, estimated from headers.
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
    min_duration: float = 0.0,
    max_duration: float | None = None,
    max_file_bytes: int | None = None,
) -> Estimate:
    """Say what `shard_folder` would come to with these arguments.

    Recordings that it would leave out are counted, too, and add nothing to the hours and what follows from them.

    Raises:
        ConfigError: as in `shard_folder`.
        SourceError: likewise.
    """
    limits = Limits(min_seconds=min_duration, max_seconds=max_duration, max_bytes=max_file_bytes)
    source = checked_source(source)
    check_encoder(encoder)
    base, columns, items = planned_items(source, extensions=extensions, keep_columns=keep_columns)
    collection = collection_of(encoder, channels)
    # Rounded up: the last recordings count as much as the first.
    sample = items[:: max(1, -(-len(items) // _NUM_HEADERS))]
    is_each = collection.channels == "each"
    lengths = {item: _header_seconds(item, base, limits, is_each=is_each) for item in sample}
    hours = _hours(items, lengths)
    frames_per_second = CodecConfig.from_dict(collection.codec_config).frames_per_second
    num_tokens = round(hours * SECONDS_PER_HOUR * frames_per_second * collection.tokens_per_frame)
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


def _header_seconds(item: PlannedFile, base: Path, limits: Limits, *, is_each: bool) -> float | None:
    """Return the length of a recording's clips together, as its header says.

    Args:
        item: the recording.
        base: the folder that its path is relative to.
        limits: a recording outside them has no clips.
        is_each: whether each channel is a clip.

    Returns:
        seconds; None where the header cannot be read or does not say.
    """
    try:
        info = audio_info(_source_of(item, base))
    except AudioError:
        return None
    part = _part_seconds(item)
    seconds = info.duration_seconds if part is None else part
    if seconds is None:
        return None
    num_clips = info.num_channels if is_each and item.channel is None else 1
    return num_clips * seconds if _is_within(limits, item, seconds) else 0.0


def _part_seconds(item: PlannedFile) -> float | None:
    """Return the length of a part of a file; None for a whole file, and a part that goes on to its end."""
    return None if item.part is None or item.part[1] is None else item.part[1] - item.part[0]


def _is_within(limits: Limits, item: PlannedFile, seconds: float) -> bool:
    try:
        limits.check_bytes(item.num_bytes)
        limits.check_seconds(seconds)
    except AudioError:
        return False
    return True


def _source_of(item: PlannedFile, base: Path) -> Path | bytes:
    path = base / (item.file or item.path)
    if item.at is None:
        return path
    return StoredSound(path=path, at=item.at, num_bytes=item.num_bytes).read()


def _hours(items: Sequence[PlannedFile], lengths: dict[PlannedFile, float | None]) -> float:
    """Return the length of all clips, by what those of each kind whose headers were read give for their size."""
    seconds, sizes = defaultdict[str, float](float), defaultdict[str, float](float)
    for item, length in lengths.items():
        if length is not None:
            for kind in _kinds(item):
                seconds[kind] += length
                sizes[kind] += _size(item)
    total = 0.0
    for item in items:
        for kind in filter(sizes.get, _kinds(item)):
            total += _size(item) * seconds[kind] / sizes[kind]
            break
    return total / SECONDS_PER_HOUR


def _size(item: PlannedFile) -> float:
    """Return a part's seconds, a file's bytes."""
    part = _part_seconds(item)
    return float(item.num_bytes) if part is None else part


def _kinds(item: PlannedFile) -> tuple[str, ...]:
    """Return what a recording is like: files of its ending, and all files where none of those could be read."""
    return ("part",) if _part_seconds(item) is not None else (Path(item.path).suffix.lower(), "file")


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
