"""From a recording to codes, whatever becomes of them: what is wrong with a recording names it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from snac_tok.cli.shared_options import PIPE, standard_input

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.tokenizer import SnacTokenizer


def source_of(sound: str) -> tuple[str, str | bytes]:
    """Return what messages call a recording, and where it is read from: a file, or all of stdin."""
    return ("stdin", standard_input().read()) if sound == PIPE else (sound, sound)


def encoded(tokenizer: SnacTokenizer, name: str, source: str | bytes) -> tuple[list[Any], int]:
    """Return a recording's codes, per level, and its samples at the codec's rate; of any length, block by block.

    Raises:
        AudioError: it cannot be read or encoded; the message names it.
    """
    from snac_tok.audio import iter_audio

    with naming(name):
        blocks = iter_audio(source, allow_truncated=tokenizer.preprocessing.allow_truncated)
        return tokenizer.encode_blocks(blocks, name=name)


@contextmanager
def naming(sound: str) -> Iterator[None]:
    """Put a recording's name before what is said of it inside, unless it is there."""
    from snac_tok.errors import AudioError

    shown = sound.encode("utf-8", "backslashreplace").decode()  # as errors spell a name that is not UTF-8
    try:
        yield
    except AudioError as error:
        if shown in str(error):
            raise
        raise type(error)(f"{shown}: {error}") from error
