"""Whole recordings: a sound file to ids or codes, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snac_tok.audio import open_audio
from snac_tok.errors import did_you_mean
from snac_tok.frames import preset_names
from snac_tok.serving.problems import RefusedError
from snac_tok.serving.sound_formats import whole_file
from snac_tok.streaming.pairing import vocabulary_of
from snac_tok.wording import counted, lasting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.audio import Waveform
    from snac_tok.frames import Vocabulary
    from snac_tok.serving.bodies import DecodeBody
    from snac_tok.serving.limits import Limits
    from snac_tok.tokenizer import SnacTokenizer

# More are no recording of a voice, and each takes its part of the memory.
_MAX_CHANNELS = 8
_BLOCK_SECONDS = 10.0
_WHOLE_FORMATS = ("wav", "flac")


def encoded(
    tokenizer: SnacTokenizer,
    limits: Limits,
    sound: bytes,
    preset: str | None,
    *,
    as_codes: bool,
    allow_truncated: bool,
) -> dict[str, Any]:
    """Return a sound file's ids, or the codes of each level, as JSON values.

    Raises:
        AudioError: it cannot be read, or used.
        RefusedError: it is too long, or there is no such preset.
    """
    table = _table(tokenizer, preset)
    codes, num_samples = tokenizer.encode_blocks(_blocks(sound, limits, allow_truncated=allow_truncated))
    found = (
        {"codes": [level.tolist() for level in codes]} if as_codes else {"ids": table.encode(codes).tolist()}
    )
    return {
        **found,
        "preset": table.name,
        "num_samples": num_samples,
        "sampling_rate": tokenizer.codec.sampling_rate,
    }


def decoded(tokenizer: SnacTokenizer, limits: Limits, body: DecodeBody) -> bytes:
    """Return the file of a recording's ids or codes.

    Raises:
        TokenError: ids that are no whole frames.
        CodesError: codes of wrong lengths or values.
        RefusedError: there are too many, or neither, or no such preset or format.
    """
    if body.response_format not in _WHOLE_FORMATS:
        raise RefusedError(
            f"response_format {body.response_format[:20]!r} is not written here; there are wav and flac.",
            status=400,
            code="unsupported_format",
        )
    if (body.ids is None) == (body.codes is None):
        raise RefusedError('send either "ids" or "codes".', status=400, code="invalid_request")
    table = _table(tokenizer, body.preset)
    ids = _of_shape(body.ids, table) if body.ids is not None else table.encode(body.codes or ()).tolist()
    num_ids = sum(map(len, ids)) if table.is_parallel else len(ids)
    if num_ids > limits.stream_tokens:
        raise RefusedError(
            f"there are {counted(num_ids, 'id')}, and {limits.stream_tokens:,} at most are decoded at once."
            " Send less.",
            status=413,
            code="too_many_tokens",
        )
    sound = _with_table(tokenizer, table).decode(ids)
    return whole_file(sound.samples[0], sound.sampling_rate, body.response_format)


def _of_shape(ids: list[Any], table: Vocabulary) -> list[Any]:
    """Return ids, a list for each row where a preset has parallel rows.

    Raises:
        RefusedError: rows for a preset of one line, or one line for parallel rows.
    """
    are_rows = bool(ids) and isinstance(ids[0], list)
    if ids and are_rows != table.is_parallel:
        needed = "one list for each of its parallel rows" if table.is_parallel else "one list of numbers"
        raise RefusedError(
            f"ids of {table.name!r} are {needed}; send them as /encode gives them, and name their preset.",
            status=400,
            code="invalid_ids",
        )
    return ids


def _blocks(sound: bytes, limits: Limits, *, allow_truncated: bool) -> Iterator[Waveform]:
    """Yield a file block by block: what its header says of its length is not believed, and little is held at once."""
    if not sound:
        raise RefusedError(
            "the body is empty; send a sound file's bytes, with `curl --data-binary @FILE` for example.",
            status=400,
            code="unusable_sound",
        )
    seconds = 0.0
    with open_audio(sound, allow_truncated=allow_truncated) as audio:
        if audio.info.num_channels > _MAX_CHANNELS:
            raise RefusedError(
                f"the recording has {audio.info.num_channels} channels; {_MAX_CHANNELS} at most are taken.",
                status=400,
                code="unusable_sound",
            )
        for block in audio.blocks(block_seconds=_BLOCK_SECONDS):
            seconds += block.num_samples / block.sampling_rate
            if seconds > limits.audio_seconds:
                raise RefusedError(
                    f"the recording is longer than {lasting(limits.audio_seconds)}; cut it, or encode it with "
                    "`snac-tok encode`.",
                    status=413,
                    code="too_long",
                )
            yield block


def _table(tokenizer: SnacTokenizer, name: str | None) -> Vocabulary:
    """Return a preset's id table: by its name alone, since a client may not name files of the server's."""
    if name is None or name == tokenizer.vocabulary.name:
        return tokenizer.vocabulary
    if name not in preset_names():
        raise RefusedError(
            f"there is no preset {name[:40]!r}.{did_you_mean(name[:40], preset_names())}",
            status=400,
            code="invalid_preset",
        )
    return vocabulary_of(name, tokenizer.codec)


def _with_table(tokenizer: SnacTokenizer, table: Vocabulary) -> SnacTokenizer:
    if table is tokenizer.vocabulary:
        return tokenizer
    return type(tokenizer)(tokenizer.codec, table)
