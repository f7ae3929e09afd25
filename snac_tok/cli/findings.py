"""What `inspect` finds out: values for programs, and the same as lines for people."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.audio import audio_info, iter_audio, resampled_length
from snac_tok.codec import PRESETS, CodecConfig, latent_dependence, latent_influence
from snac_tok.errors import CheckpointError
from snac_tok.metrics.usage import USAGE_HEAD, CodebookUsage
from snac_tok.wording import counted, facts, lasting, lasting_hours, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.codec import Reach
    from snac_tok.metrics import LevelUsage

_RELEASED_BY = "hubertsiuzdak"
_SPEECH_RATE = 24_000


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found.

    Attributes:
        values: for programs; JSON values.
        rows: names and values for people.
        usage: of each level's codebook, where there are codes.
    """

    values: dict[str, Any]
    rows: list[tuple[str, str]]
    usage: Sequence[LevelUsage] = field(default=())

    def text(self) -> str:
        """Return the lines for people."""
        if not self.usage:
            return facts(self.rows)
        levels = table(USAGE_HEAD, [level.cells() for level in self.usage])
        return f"{facts(self.rows)}\n\ncodebook usage\n{levels}"


def find_config(codec: str) -> CodecConfig:
    """Return a codec's config; weights are fetched only where a hub repository is not a released one.

    Raises:
        SnacTokError: there is no such codec.
    """
    from snac_tok.codec import SNAC

    if Path(codec).is_dir():
        return CodecConfig.from_json(Path(codec) / "config.json")
    name = codec.removeprefix(f"{_RELEASED_BY}/")
    if name in PRESETS:
        return PRESETS[name]
    try:
        return SNAC.from_pretrained(codec).config
    except CheckpointError as error:
        if "/" in codec:
            raise
        raise CheckpointError(f"{error} Shapes known by name: {', '.join(PRESETS)}.") from error


def of_sound(path: Path) -> Findings:
    """Decode a sound file and say what is in it, and how many tokens the speech codec makes of it.

    Raises:
        AudioFileError: it is not sound, or it is cut off.
    """
    header = audio_info(path)
    num_samples, peak, power = 0, 0.0, 0.0
    for block in iter_audio(path):
        num_samples += block.num_samples
        peak = max(peak, float(np.abs(block.samples).max()))
        power += float(np.square(block.samples, dtype=np.float64).sum())
    level = math.sqrt(power / (num_samples * header.num_channels))
    speech = PRESETS[f"snac_{_SPEECH_RATE // 1000}khz"]
    there = resampled_length(num_samples, from_rate=header.sampling_rate, to_rate=_SPEECH_RATE)
    tokens = speech.padded_num_samples(there) // speech.frame_length * speech.tokens_per_frame
    values: dict[str, Any] = {
        "file": str(path),
        "file_format": header.file_format,
        "subtype": header.subtype,
        "sampling_rate": header.sampling_rate,
        "num_channels": header.num_channels,
        "num_samples": num_samples,
        "duration_seconds": num_samples / header.sampling_rate,
        "peak": peak,
        "rms": level,
        "speech_tokens": tokens,
    }
    rows = [
        ("file", str(path)),
        ("format", f"{header.file_format}, {header.subtype}"),
        ("sampling rate", f"{header.sampling_rate} Hz"),
        ("channels", str(header.num_channels)),
        ("length", f"{num_samples:,} samples ({lasting(num_samples / header.sampling_rate)})"),
        ("level", f"peak {_decibels(peak)}, mean {_decibels(level)}"),
        ("tokens", f"{tokens:,} with the 24 kHz speech codec"),
    ]
    return Findings(values=values, rows=rows)


def _decibels(value: float) -> str:
    return f"{20 * math.log10(value):.1f} dBFS" if value else "silent"


def of_codec(codec: str) -> Findings:
    """Derive a codec's geometry from its config.

    Raises:
        SnacTokError: as `find_config`.
    """
    config = find_config(codec)
    ahead, back = latent_influence(config), latent_dependence(config)
    values: dict[str, Any] = {
        "codec": codec,
        "sampling_rate": config.sampling_rate,
        "hop_length": config.hop_length,
        "frame_length": config.frame_length,
        "padding_multiple": config.padding_multiple,
        "vq_strides": list(config.vq_strides),
        "codes_per_frame": list(config.codes_per_frame),
        "tokens_per_frame": config.tokens_per_frame,
        "frames_per_second": config.frames_per_second,
        "tokens_per_second": config.tokens_per_second,
        "bits_per_second": config.bits_per_second,
        "codebook_size": config.codebook_size,
        "attn_window_size": config.attn_window_size,
        "latent_influence": [ahead.first, ahead.last],
        "latent_dependence": [back.first, back.last],
        "num_parameters": config.num_parameters,
        "config": config.to_dict(),
    }
    return Findings(values=values, rows=_geometry_rows(codec, config, ahead, back))


def _geometry_rows(codec: str, config: CodecConfig, ahead: Reach, back: Reach) -> list[tuple[str, str]]:
    def span(samples: int) -> str:
        return f"{samples:,} samples ({1000 * samples / config.sampling_rate:.1f} ms)"

    attention = f"windows of {config.attn_window_size} latents" if config.attn_window_size else "none"
    codes = " + ".join(map(str, config.codes_per_frame))
    return [
        ("codec", codec),
        ("sampling rate", f"{config.sampling_rate} Hz"),
        ("hop (latent)", span(config.hop_length)),
        ("frame", span(config.frame_length)),
        ("padded to", f"a multiple of {span(config.padding_multiple)}"),
        ("strides", f"{list(config.vq_strides)}, in latents, coarsest level first"),
        ("codes a frame", f"{codes} = {config.tokens_per_frame}, each 0…{config.codebook_size - 1}"),
        ("frames/s", f"{config.frames_per_second:.3f}"),
        ("tokens/s", f"{config.tokens_per_second:.2f}"),
        ("bitrate", f"{config.bits_per_second / 1000:.3f} kbps"),
        ("attention", attention),
        (
            "one latent needs",
            f"samples {back.first:+,} … {back.last:+,} around its hop's start (convolutions)",
        ),
        ("one latent reaches", f"samples {ahead.first:+,} … {ahead.last:+,} (convolutions)"),
        ("parameters", f"{config.num_parameters:,}"),
    ]


def of_shards(folder: Path) -> Findings:
    """Read a shard folder from end to end and add up what it holds.

    Raises:
        ShardError: it is damaged.
    """
    from snac_tok.shards import open_shards

    collection = open_shards(folder)
    info, manifest = collection.info, collection.manifest
    statistics = collection.statistics()
    figures = statistics.to_dict()
    lengths = figures["duration_seconds"]
    share = figures["num_texts"] / max(len(collection), 1)
    values = {
        "shards": str(folder),
        **manifest.totals(),
        "shortest_seconds": lengths["shortest"],
        "longest_seconds": lengths["longest"],
        "text_share": share,
        "collection": info.to_dict(),
        **figures,
    }
    shortest, longest = lasting(lengths["shortest"] or 0), lasting(lengths["longest"] or 0)
    half = f", half of them at least {lengths['percentiles'].get('50')} s"
    rows = [
        ("shards", f"{counted(len(manifest.shards), 'file')} in {folder}"),
        ("records", f"{len(collection):,}, {share:.1%} with text"),
        ("failures", f"{manifest.num_failures:,}"),
        ("sound", lasting_hours(collection.hours)),
        ("clips last", f"{shortest} to {longest}{half}" if len(collection) else "nothing"),
        ("tokens", f"{manifest.num_tokens:,} in {counted(manifest.num_frames, 'frame')}"),
        *_origin_rows(info.to_dict()),
    ]
    return Findings(values=values, rows=rows, usage=statistics.usage.levels())


def of_code_file(path: Path) -> Findings:
    """Describe an .npz that `snac-tok encode` wrote.

    Raises:
        CodesError: it is missing, damaged or something else.
    """
    from snac_tok.shards import read_code_file

    content = read_code_file(path)
    counter = CodebookUsage(num_levels=content.config.num_levels, codebook_size=content.config.codebook_size)
    counter.update(content.levels)
    values = {
        "codes": str(path),
        "num_samples": content.num_samples,
        "duration_seconds": content.duration_seconds,
        "num_tokens": content.num_tokens,
        "codes_per_level": [level.size for level in content.levels],
        "settings": content.settings,
        "codebook_usage": [dataclasses.asdict(level) for level in counter.levels()],
    }
    rows = [
        ("codes", str(path)),
        ("sound", f"{lasting(content.duration_seconds)}, {content.num_samples:,} samples"),
        ("tokens", f"{content.num_tokens:,} in {counted(len(content.levels[0]), 'frame')}"),
        *_origin_rows(content.settings),
    ]
    return Findings(values=values, rows=rows, usage=counter.levels())


def _origin_rows(settings: dict[str, Any]) -> list[tuple[str, str]]:
    resampler = settings.get("resampler") or {}
    source = settings.get("source_sampling_rate")
    return [
        ("codec", f"{settings['codec_id']}, weights {settings['weights_sha256'][:12]}…"),
        (
            "sampling rate",
            f"{settings.get('sampling_rate')} Hz" + (f", source {source} Hz" if source else ""),
        ),
        ("resampler", f"{resampler.get('backend')} {resampler.get('quality')}"),
        ("channels", str(settings.get("channels"))),
        *([("precision", str(settings["precision"]))] if "precision" in settings else []),
        ("made by", f"snac_tok {settings.get('package_version')}"),
    ]
