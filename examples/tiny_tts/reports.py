"""What was spoken, as tables for a terminal."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

from clips import IDS_PER_FRAME
from snac_tok.wording import aligned
from speaking import copied, equal_share, likeness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clips import Clip
    from snac_tok import Waveform
    from speaking import Speech

SPOKEN_HEAD = (
    "clip",
    "seconds",
    "ids",
    "equal ids",
    "first sound",
    "real-time factor",
    "STOI",
    "mel distance",
)
UNSEEN_HEAD = ("sentence", "seconds", "it ended", "frames copied", "most in a row", "STOI", "STOI of others")


def spoken_table(clips: Sequence[Clip], speeches: Sequence[Speech]) -> str:
    """Return how near each speech is to its clip, and how soon and fast it came, as lines."""
    return _lines(SPOKEN_HEAD, [_spoken(*pair) for pair in zip(clips, speeches, strict=True)])


def _spoken(clip: Clip, speech: Speech) -> list[str]:
    near, timing = likeness(clip.round_trip, speech.sound), speech.timing
    return [
        clip.name,
        f"{_seconds(speech.sound):.2f}",
        "-" if speech.ids is None else f"{speech.ids.size}",
        "-" if speech.ids is None else f"{equal_share(clip.ids, speech.ids):.1%}",
        f"{1000 * (timing.first_audio_seconds or 0):.0f} ms",
        f"{timing.real_time_factor or 0:.2f}",
        f"{near.stoi:.3f}",
        f"{near.mel:.3f}",
    ]


def unseen_table(
    speeches: Mapping[str, Speech], learned: Sequence[Clip], held_out: Mapping[str, Clip], *, max_frames: int
) -> str:
    """Return how much of what was said without having been learned is copied, and how much can be understood, as lines.

    Args:
        speeches: by the names of their sentences.
        learned: what the model can have copied from.
        held_out: the recordings of those sentences that have one.
        max_frames: where speech was stopped.
    """
    rows = [
        _unseen(name, speech, learned, held_out.get(name), max_frames=max_frames)
        for name, speech in speeches.items()
    ]
    return _lines(UNSEEN_HEAD, rows)


def _unseen(
    name: str, speech: Speech, learned: Sequence[Clip], recorded: Clip | None, *, max_frames: int
) -> list[str]:
    assert speech.ids is not None
    num_frames = speech.ids.size // IDS_PER_FRAME
    found = copied(speech.ids, [clip.ids for clip in learned])
    understood, by_chance = "-", "-"
    if recorded is not None:
        understood = f"{likeness(recorded.round_trip, speech.sound).stoi:.3f}"
        others = [likeness(recorded.round_trip, clip.round_trip).stoi for clip in learned]
        by_chance = f"{mean(others):.3f}"
    return [
        name,
        f"{_seconds(speech.sound):.2f}",
        "yes" if num_frames < max_frames else "no",
        f"{found.frames:.0%}",
        f"{found.longest} of {num_frames}",
        understood,
        by_chance,
    ]


def _seconds(sound: Waveform) -> float:
    return sound.num_samples / sound.sampling_rate


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return aligned([head, *rows], to_the_right=[False, *[True] * (len(head) - 1)])
