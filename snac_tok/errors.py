"""Every exception of ours, so that a caller can catch as much or as little as wanted.

Each message says what was found, what is needed and how to fix it, in one sentence or two; `did_you_mean` makes the
second one where a name is unknown.

    SnacTokError
    ├── AudioError (ValueError)             sound that cannot be used
    │   ├── AudioFileError                  a file that cannot be read or written as sound
    │   ├── SamplingRateError               a missing, wrong or impossible sampling rate
    │   └── WaveformError                   samples of a wrong shape, type or value
    ├── ConfigError (ValueError)            a codec config with missing, unknown or impossible values
    │   ├── MissingArgumentError (TypeError) what decides a result, such as the codec, was not named
    │   └── SourceError                     no recordings where some were looked for, or contradicting metadata
    ├── CheckpointError                     weights that do not fit, are unsafe or are damaged
    │   └── HubError                        the model hub could not be reached or refused
    ├── NetworkError                        a codec whose layers were changed cannot do this
    ├── CodesError (ValueError)             codes of a wrong shape, type or range
    ├── TokenError (ValueError)             ids that are no whole, valid frames
    ├── LayoutError (ValueError)            a frame layout, vocabulary or preset that makes no sense
    ├── GenerationStoppedError              nobody listens to a generation any more, or it failed out of sight
    ├── ShardError                          a shard folder that is missing, damaged or of another kind
    │   └── TooManyFailuresError            more recordings of a corpus failed than may
    ├── ExportError                         shards cannot be written in another format, or not into this folder
    ├── TrainingError                       training data, a run's folder or its checkpoint cannot be used
    ├── EvaluationError                     a codec, measure or report of an evaluation cannot be used
    ├── ServingError                        a server that cannot start, or a request that it does not serve
    └── MissingDependencyError (ImportError) an optional package is needed and not installed

and the warnings that need a class of their own, so that they can be filtered:

    UserWarning
    ├── LostSpeechWarning                   speech that makes no sound, or was repaired
    └── TrialCodecWarning                   ids of the trial codec look like those of a published model
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class SnacTokError(Exception):
    """The root: whatever this package raises on purpose."""


class AudioError(SnacTokError, ValueError):
    """Sound that cannot be used.

    Args:
        message: what was found, what is needed, how to fix it.
        code: of the reason, for programs, where it is known better than from the class: one of
            `snac_tok.sources.failures.REASON_CODES`.
    """

    def __init__(self, *message: object, code: str | None = None) -> None:
        super().__init__(*message)
        self.code = code


class AudioFileError(AudioError):
    """A file that cannot be read or written as sound; the message names it."""


class SamplingRateError(AudioError):
    """A missing, wrong or impossible sampling rate."""


class WaveformError(AudioError):
    """Samples of a wrong shape, type or value."""


# Full scale is ±1. A float recording may be louder; ±10 is 20 dB louder, and the line that others draw, too.
MAX_LEVEL = 10.0
_PCM_BITS = (16, 24, 32)


def wrong_scale(peak: float, *, subject: str = "the samples") -> WaveformError:
    """Return what to raise for float samples beyond ±`MAX_LEVEL`: the same sentence from `audio` and `codec`.

    >>> str(wrong_scale(1e30))
    'the samples reach ±1e+30, but full scale is ±1: no recording is that loud; repair it, or leave it out.'
    """
    found = f"{subject} reach ±{peak:.6g}, but full scale is ±1"
    for bits in _PCM_BITS:
        if peak <= 1 << (bits - 1):
            return WaveformError(
                f"{found}: they look like {bits}-bit integers kept as floats; divide them by {1 << (bits - 1)}."
            )
    return WaveformError(f"{found}: no recording is that loud; repair it, or leave it out.")


class ConfigError(SnacTokError, ValueError):
    """A codec config with missing, unknown or impossible values."""


class MissingArgumentError(ConfigError, TypeError):
    """What decides a result, such as the codec, was not named; nothing is guessed in its place."""


class SourceError(ConfigError):
    """What was named as a source of recordings holds none, cannot be listed, or contradicts itself."""


class CheckpointError(SnacTokError):
    """Weights that do not fit their config, are unsafe to load or are damaged."""


class HubError(CheckpointError):
    """The model hub could not be reached, or refused."""


class NetworkError(SnacTokError):
    """A codec whose layers were wrapped, replaced or hooked cannot do this."""


class CodesError(SnacTokError, ValueError):
    """Codes of a wrong shape, type or range."""


class TokenError(SnacTokError, ValueError):
    """Ids that are not whole, valid frames of a vocabulary."""


class LayoutError(SnacTokError, ValueError):
    """A frame layout, vocabulary or preset that makes no sense."""


class GenerationStoppedError(SnacTokError):
    """A language model writes for a listener who has left, or failed where its listener cannot see why."""


class ShardError(SnacTokError):
    """A shard folder that is missing, damaged or of another kind."""


class TooManyFailuresError(ShardError):
    """More recordings of a corpus could not be used than the caller allows; what is finished is kept."""


class ExportError(SnacTokError):
    """Shards cannot be written in another program's format, or not into this folder."""


class TrainingError(SnacTokError):
    """Training data, a run's folder or its checkpoint cannot be used."""


class EvaluationError(SnacTokError):
    """A codec, a measure or a report of an evaluation cannot be used."""


class ServingError(SnacTokError):
    """A server cannot be started as it was asked for, or does not serve a request."""


class MissingDependencyError(SnacTokError, ImportError):
    """An optional package is needed for this call and is not installed."""


class LostSpeechWarning(UserWarning):
    """Ids of speech were left out because of a fault among them; the message counts them and names the first."""


class TrialCodecWarning(UserWarning):
    """Ids made with the trial codec look like those of a published model and mean nothing to it."""


# Messages of other libraries run to thousands of characters.
_LONGEST_REASON = 300


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Return a sentence with the known name that is nearest to an unknown one, "" where none is near.

    The last part of a name counts, too: "snac_24khz" is near "hubertsiuzdak/snac_24khz".

    >>> did_you_mean("orfeus", ["plain", "orpheus"])
    " Did you mean 'orpheus'?"
    >>> did_you_mean("xyz", ["plain", "orpheus"])
    ''
    """
    from difflib import get_close_matches  # only where something went wrong

    names = list(known)
    spellings = {name.casefold().rpartition("/")[2]: name for name in names}
    spellings |= {name.casefold(): name for name in names}
    near = get_close_matches(found.casefold(), spellings, n=1)
    return f" Did you mean {spellings[near[0]]!r}?" if near else ""


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, then the one it was raised from, and so on.

    >>> error = ShardError("the disk refuses.")
    >>> error.__cause__ = OSError(28, "No space left on device")
    >>> [type(link).__name__ for link in causes_of(error)]
    ['ShardError', 'OSError']
    """
    while error is not None:
        yield error
        error = error.__cause__


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, as much of it as a sentence can quote, or its type's name.

    >>> first_line(RuntimeError("no such device" + chr(10) + "a trace of ten lines")), first_line(KeyError())
    ('no such device', 'KeyError')
    """
    from textwrap import shorten  # only where something went wrong

    lines = str(error).strip().splitlines()
    return shorten(lines[0], _LONGEST_REASON, placeholder="…") if lines else type(error).__name__
