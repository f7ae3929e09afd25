"""What the page does with sound and ids, without a page: recordings to codes, codes to sounds beside each other."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snac_tok.audio import Waveform, iter_audio, read_audio
from snac_tok.errors import LayoutError, TokenError, WaveformError
from snac_tok.frames import ids_as_json, preset_names, vocabulary_for
from snac_tok.streaming.pairing import without_trial_warning
from snac_tok.tokenizer import SnacTokenizer
from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Literal

    from snac_tok.frames import Vocabulary

    Seed = int | Literal["off"]

_MOST_SEEDS = 6
_MOST_DIGITS = 40
_FAVOURITE = "orpheus"


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """What a visitor gave.

    Attributes:
        sound: one channel at the codec's rate.
        codes: of the codec, per level (T_k,), coarsest first.
    """

    sound: Waveform
    codes: Sequence[Any]


def record(path: str, tokenizer: SnacTokenizer, *, max_seconds: float) -> Recording:
    """Read and encode a sound file.

    Raises:
        AudioError: it cannot be read or used, or is longer than `max_seconds`.
    """
    content = Path(path).read_bytes()
    _check_length(_as_file(content), max_seconds)
    sound = tokenizer.preprocessing.whole(read_audio(_as_file(content)), name="the recording")
    (codes,) = tokenizer.encode_codes([sound])
    return Recording(sound=sound, codes=codes)


def _as_file(content: bytes) -> io.BytesIO:
    """Return a file whose name in messages is not that of the server's temporary file."""
    file = io.BytesIO(content)
    file.name = "the recording"
    return file


def _check_length(content: io.BytesIO, max_seconds: float) -> None:
    """Refuse what is too long; what a header says of its length is not believed."""
    seconds = 0.0
    for block in iter_audio(content):
        seconds += block.duration_seconds
        if seconds > max_seconds:
            raise WaveformError(
                f"the recording is longer than {max_seconds:g} s, the limit of this page; cut it."
            )


def fitting_presets(tokenizer: SnacTokenizer) -> dict[str, Vocabulary]:
    """Return the presets that this codec's codes can be written in, the best known first."""
    found = {}
    for name in sorted(preset_names(), key=lambda name: name != _FAVOURITE):
        try:
            found[name] = table_of(name, tokenizer)
        except LayoutError:
            continue
    return found


def table_of(preset: str, tokenizer: SnacTokenizer) -> Vocabulary:
    """Return a preset's id table for a codec.

    Raises:
        LayoutError: it does not fit.
    """
    config = tokenizer.codec.config
    return vocabulary_for(preset, strides=config.vq_strides, codebook_size=config.codebook_size)


def written(codes: Sequence[Any], table: Vocabulary) -> str:
    """Return the ids of codes as a language model's text has them; as JSON where they are not spelled."""
    ids = table.encode(codes)
    return ids_as_json(ids).strip() if table.is_parallel or table.text is None else table.ids_to_text(ids)


def sounds_by_level(recording: Recording, tokenizer: SnacTokenizer) -> Iterator[tuple[str, str, Waveform]]:
    """Yield (name, remark, sound): the recording, then all levels, then fewer."""
    yield "Recording", f"one channel, {recording.sound.sampling_rate / 1000:g} kHz", recording.sound
    for levels in range(len(recording.codes), 0, -1):
        config = tokenizer.codec.config
        rate = sum(config.codes_per_frame[:levels]) * config.frames_per_second
        reduced = Recording(sound=recording.sound, codes=recording.codes[:levels])
        yield counted(levels, "level"), f"{rate:.0f} tokens a second", _decoded(reduced, tokenizer, 0)


def sounds_to_compare(
    recording: Recording, tokenizers: Mapping[str, SnacTokenizer], seeds: Sequence[Seed]
) -> Iterator[tuple[str, str, Waveform]]:
    """Yield (name, remark, sound): the first codec with each noise, then what the other codecs make of the sound."""
    (name, tokenizer), *others = tokenizers.items()
    for seed in seeds:
        yield _named(seed).capitalize(), name, _decoded(recording, tokenizer, seed)
    for name, other in others:
        sound = other.preprocessing.whole(recording.sound, name="the recording")
        (codes,) = other.encode_codes([sound])
        heard = _decoded(Recording(sound=sound, codes=codes), other, seeds[0])
        yield name, _named(seeds[0]), heard


def _named(seed: Seed) -> str:
    return "without noise" if seed == "off" else f"seed {seed}"


def _decoded(recording: Recording, tokenizer: SnacTokenizer, seed: Seed) -> Waveform:
    return tokenizer.decode_codes(recording.codes, num_samples=recording.sound.num_samples, noise=seed)


def with_table(tokenizer: SnacTokenizer, table: Vocabulary) -> SnacTokenizer:
    """Return a tokenizer with the same codec and another id table; the page itself tells of trial codecs."""
    with without_trial_warning():
        return SnacTokenizer(tokenizer.codec, table)


def seeds_in(text: str) -> list[Seed]:
    """Return the noises in a line such as "off, 0, 7".

    Raises:
        TokenError: something else stands there, or too many.

    >>> seeds_in("off, 0 7")
    ['off', 0, 7]
    """
    words = text.replace(",", " ").split()
    wrong = next((word for word in words if word != "off" and not _is_seed(word)), None)
    if wrong is not None or not 0 < len(words) <= _MOST_SEEDS:
        found = counted(len(words), "seed") if wrong is None else repr(wrong[:40])
        raise TokenError(
            f"there is {found}; write 1 to {_MOST_SEEDS} whole numbers from 0 on, or off, as in off, 0, 1."
        )
    return ["off" if word == "off" else int(word) for word in words]


def _is_seed(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS
