"""Recordings with what is said in them, cut to a few seconds, and their ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snac_tok import Waveform, read_audio
from snac_tok.errors import SourceError
from snac_tok.sources.find import find_recordings

if TYPE_CHECKING:
    import numpy.typing as npt

    from snac_tok import SnacTokenizer
    from snac_tok.sources.recording import Recording

# What is shorter holds no word to learn, and too little for STOI.
SHORTEST_SECONDS = 0.5
# Of the 24 kHz codecs, whose ids vocabulary.json holds.
IDS_PER_FRAME = 7


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One sentence.

    Attributes:
        name: of its file, without the ending.
        text: what is said, also where the sound was cut.
        sound: the recording, or its beginning.
        ids: of its speech: what a model learns to write.
        round_trip: the sound of these ids: the best that a model can say.
    """

    name: str
    text: str
    sound: Waveform
    ids: npt.NDArray[np.int64]
    round_trip: Waveform

    @property
    def num_frames(self) -> int:
        """How many frames its ids are."""
        return self.ids.size // IDS_PER_FRAME


def read_clips(folder: Path, tok: SnacTokenizer, *, num_clips: int | None, seconds: float) -> list[Clip]:
    """Read the clips of a folder that have a text, in the order of their names.

    Args:
        folder: sound files, and a metadata.csv or metadata.jsonl with their texts.
        tok: makes their ids.
        num_clips: the first so many; None takes all.
        seconds: longer ones are cut to this.

    Raises:
        SourceError: no folder, not so many clips with a text, or one too short to learn.
    """
    recordings = [each for each in find_recordings([folder]) if each.text]
    if not recordings:
        raise SourceError(
            f"{folder} has sound and no text to it; write a metadata.csv beside the sound: 'audio_file|text' in its "
            "first line, then a line for each file."
        )
    if num_clips is not None and len(recordings) < num_clips:
        raise SourceError(
            f"{folder} has {len(recordings)} clips with a text; {num_clips} are wanted. Ask for fewer, or add some."
        )
    return [_clip(each, tok, seconds) for each in recordings[:num_clips]]


def _clip(recording: Recording, tok: SnacTokenizer, seconds: float) -> Clip:
    sound = read_audio(recording.sound)
    if sound.num_samples < SHORTEST_SECONDS * sound.sampling_rate:
        raise SourceError(
            f"{recording.name} lasts {sound.num_samples / sound.sampling_rate:.2f} s, and {SHORTEST_SECONDS} s of "
            "speech is the least to learn; take it out of the folder."
        )
    kept = Waveform(
        samples=sound.samples[:, : round(seconds * sound.sampling_rate)].copy(),
        sampling_rate=sound.sampling_rate,
    )
    ids = np.asarray(tok.encode(kept))
    assert recording.text is not None
    return Clip(
        name=Path(recording.name).stem, text=recording.text, sound=kept, ids=ids, round_trip=tok.decode(ids)
    )
