"""What happens when a visitor touches the page. What goes wrong becomes a sentence in the place of the result."""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING, TypeVar

from snac_tok.demo import markup
from snac_tok.demo.listening import (
    Recording,
    fitting_presets,
    record,
    seeds_in,
    sounds_by_level,
    sounds_to_compare,
    table_of,
    with_table,
    written,
)
from snac_tok.demo.speech import speech_in
from snac_tok.errors import SnacTokError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snac_tok.demo.speech import KeptSpeech
    from snac_tok.streaming.repair_report import OnError
    from snac_tok.tokenizer import SnacTokenizer

_LOGGER = logging.getLogger(__name__)
_SURPRISE = (
    "Something went wrong here that should not; whoever runs this page finds the reason in its terminal."
)
# Advice of the library that names an argument: what a visitor can do instead.
_ADVICE = (
    (
        r": channels='left' takes the first, and right or a number from 0 to \d+ another",
        "; give one of them alone",
    ),
    (
        r"^answer must be 0 to \d+: it chooses one of (\d+) answers",
        r"\1 answers of a model are there; paste one of them",
    ),
    (r"; allow_truncated=True takes what (?:there is|is left)", "; give a whole one"),
)
_Shown = TypeVar("_Shown")


class Handlers:
    """One for the page; what belongs to a visitor is in the arguments. Everything returns HTML, or text.

    Visitors' sounds are encoded and decoded one after the other: each takes all cores.

    Args:
        tokenizers: codecs by name; the first makes the tokens.
        kept: takes the speech of pasted tokens, to be served.
        max_seconds: of a recording, and of speech.
        say_error: turns an error's sentence into what a visitor reads.
    """

    def __init__(
        self,
        tokenizers: Mapping[str, SnacTokenizer],
        kept: KeptSpeech,
        *,
        max_seconds: float,
        say_error: Callable[[str], str],
    ) -> None:
        self.tokenizers = tokenizers
        self.main = next(iter(tokenizers.values()))
        self.presets = fitting_presets(self.main)
        self.max_seconds = max_seconds
        self._kept = kept
        self._say_error = say_error
        self._one_at_a_time = threading.Lock()

    def take(self, path: str | None) -> tuple[Recording | None, str]:
        """Encode what was recorded or uploaded; return it, or why not."""
        if path is None:
            return None, ""
        return self._or_why_not(
            lambda: (record(path, self.main, max_seconds=self.max_seconds), ""), lambda why: (None, why)
        )

    def show_tokens(self, recording: Recording | None, preset: str) -> tuple[str, str]:
        """Return the picture of a recording's codes, and its ids of a preset."""
        if recording is None:
            return "", ""
        table, seconds = self.presets[preset], self.main.codec.config.frame_length / self.main.sampling_rate
        picture = markup.code_map(recording.codes, table, frame_seconds=seconds)
        return picture, written(recording.codes, table)

    def listen(self, recording: Recording | None) -> str:
        """Return players of a recording and of what fewer and fewer levels make of it."""
        if recording is None:
            return ""
        return self._or_why_not(lambda: markup.players(sounds_by_level(recording, self.main)), str)

    def compare(self, recording: Recording | None, seeds: str) -> str:
        """Return players of a recording with these noises, and by other codecs."""
        if recording is None:
            return ""
        return self._or_why_not(
            lambda: markup.players(sounds_to_compare(recording, self.tokenizers, seeds_in(seeds))), str
        )

    def speak(self, text: str, preset: str, codec: str, on_error: OnError) -> str:
        """Return a player that speaks pasted tokens, and what was left out of them."""

        def player() -> str:
            tokenizer = self.tokenizers[codec]
            tokenizer = with_table(tokenizer, table_of(preset, tokenizer))
            speech = speech_in(text, tokenizer, on_error=on_error, max_seconds=self.max_seconds)
            return markup.stream_player(self._kept.keep(speech), speech.remarks)

        return self._or_why_not(player, str)

    def _or_why_not(self, make: Callable[[], _Shown], instead: Callable[[str], _Shown]) -> _Shown:
        """Return what is made, or what stands there instead: a sentence about why it could not be made."""
        try:
            with self._one_at_a_time:
                return make()
        except SnacTokError as error:
            return instead(markup.problem(self._say_error(_for_visitors(str(error)))))
        except Exception:
            _LOGGER.exception("the page failed")
            return instead(markup.problem(_SURPRISE))


def _for_visitors(sentence: str) -> str:
    """Return what the library says with advice that can be followed on the page."""
    for pattern, advice in _ADVICE:
        sentence = re.sub(pattern, advice, sentence)
    return sentence
