"""A sentence spoken while the model writes it, and figures on what was spoken."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from clips import IDS_PER_FRAME
from snac_tok import Waveform
from snac_tok.errors import WaveformError
from snac_tok.generation import FrameGrammarProcessor, SnacStreamer
from snac_tok.metrics.mel import mel_distance
from snac_tok.metrics.perceptual import stoi
from snac_tok.prompts import speech_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from snac_tok.generation import StreamTiming
    from snac_tok.hf import SnacProcessor

    Speaker = Callable[[str], "Speech"]
    Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Speech:
    """What a model said.

    Attributes:
        ids: of whole frames; None where a server keeps them.
        sound: of these.
        timing: how soon and how fast the sound came.
    """

    ids: Ids | None
    sound: Waveform
    timing: StreamTiming


def speak(model: Any, processor: SnacProcessor, text: str, *, max_frames: int) -> Speech:
    """Say a text: the model writes ids in one thread, held to whole frames, and their sound is put together in this.

    Args:
        model: a causal language model of transformers.
        processor: its ids and its codec.
        text: to say.
        max_frames: where a model that does not end its speech is stopped.
    """
    tok = processor.audio_tokenizer
    streamer = SnacStreamer(tok)
    held = FrameGrammarProcessor(tok, max_frames=max_frames)
    prompt = processor(text=text, return_tensors="pt")
    # The frames, and an end of speech.
    num_ids = max_frames * IDS_PER_FRAME + 1
    streamer.start(
        lambda: model.generate(
            **prompt,
            streamer=streamer,
            logits_processor=[held],
            eos_token_id=held.end_ids,
            max_new_tokens=num_ids,
        )
    )
    sound = np.concatenate(list(streamer))
    ids = speech_ids(streamer.generated[0], tok.vocabulary)
    return Speech(
        ids=ids,
        sound=Waveform(samples=sound[None], sampling_rate=streamer.sampling_rate),
        timing=streamer.timing,
    )


def equal_share(wanted: Ids, found: Ids) -> float:
    """Return which share of ids, of the longer line, is the same at the same place.

    >>> equal_share(np.array([1, 2, 3, 4]), np.array([1, 2, 9]))
    0.5
    """
    shorter = min(wanted.size, found.size)
    same = int((wanted[:shorter] == found[:shorter]).sum())
    return same / max(wanted.size, found.size)


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How near one sound is to another.

    Attributes:
        stoi: how much of it is understood, 0 … 1; NaN where the sounds are too short to tell.
        mel: the distance of their mel spectra; 0 is the same sound.
    """

    stoi: float
    mel: float


def likeness(reference: Waveform, sound: Waveform) -> Likeness:
    """Compare two sounds of one rate, as long as the shorter one lasts, from their beginnings."""
    shorter = min(reference.num_samples, sound.num_samples)
    pair = [each.samples[0, :shorter] for each in (reference, sound)]
    rate = reference.sampling_rate
    try:
        understood = stoi(*pair, sampling_rate=rate)
    except WaveformError:
        understood = float("nan")
    distance = mel_distance(*(torch.from_numpy(each) for each in pair), sampling_rate=rate)
    return Likeness(stoi=understood, mel=float(distance))


@dataclass(frozen=True, kw_only=True)
class Copied:
    """How much of a speech was copied from what the model has learned.

    Attributes:
        frames: the share of its frames that stand in a learned clip with all their ids.
        longest: the most frames in a row that stand so in one clip.
    """

    frames: float
    longest: int


def copied(speech: Ids, learned: Sequence[Ids]) -> Copied:
    """Compare a speech with the clips that were learned, frame by frame.

    >>> clip = np.arange(4).repeat(IDS_PER_FRAME)
    >>> copied(np.array([1, 2, 9, 0]).repeat(IDS_PER_FRAME), [clip])
    Copied(frames=0.75, longest=2)
    """
    said = _frames(speech)
    clips = [_frames(ids) for ids in learned]
    known = {frame for clip in clips for frame in clip}
    runs = [SequenceMatcher(None, said, clip, autojunk=False).find_longest_match().size for clip in clips]
    return Copied(frames=sum(frame in known for frame in said) / len(said), longest=max(runs))


def _frames(ids: Ids) -> list[tuple[int, ...]]:
    return [tuple(frame) for frame in ids.reshape(-1, IDS_PER_FRAME).tolist()]
