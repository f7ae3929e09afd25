"""Recordings to raw codes: batches of clips, and long ones block by block. Knows no ids."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok import __version__
from snac_tok.audio import Waveform, resampled_length
from snac_tok.audio.pairs import refuse_pair
from snac_tok.codec.transfers import batches_ahead, pipelined, queued
from snac_tok.errors import WaveformError
from snac_tok.frames import FrameLayout
from snac_tok.sources.read_ahead import read_in_threads
from snac_tok.sources.reading import read_sound
from snac_tok.tokenizer.eval_mode import eval_mode
from snac_tok.wording import what_came

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt

    from snac_tok.audio import Resampler
    from snac_tok.codec import SNAC
    from snac_tok.sources.reading import LongSound
    from snac_tok.tokenizer.preprocessing import Preprocessing

# On a CPU clips run one after the other. On a GPU, four to five times what one call of the 24 kHz encoder takes.
_CPU_SECONDS, _GPU_SECONDS = 120.0, 960.0
# What a GPU begins with while the rest of a list is read: about a call.
_PART_SECONDS = 240.0


class ClipEncoder:
    """A codec and what is done to recordings before it.

    Attributes:
        codec: the network.
        preprocessing: one channel, the codec's rate.
        device_seconds: for how long a GPU has had batches of this object to work on, so far.
    """

    def __init__(self, codec: SNAC, preprocessing: Preprocessing) -> None:
        self.codec = codec
        self.preprocessing = preprocessing
        self.device_seconds = 0.0

    @property
    def sampling_rate(self) -> int:
        """The codec's rate in Hz."""
        return self.codec.sampling_rate

    @property
    def resampler(self) -> Resampler | None:
        """How whoever reads recordings may resample them ahead; None if other rates are refused.

        torchaudio's is none of these: processes that read sound do not load torch.
        """
        chosen = self.preprocessing.resampler
        return chosen if self.preprocessing.resample and chosen.backend == "soxr" else None

    @property
    def seconds_per_call(self) -> float:
        """How much sound a call of `encode_codes` should have where there is plenty.

        On a GPU clips of similar length share a call of the network, so it takes many until calls are full.
        """
        return _CPU_SECONDS if self.codec.device.type == "cpu" else _GPU_SECONDS

    @property
    def layout(self) -> FrameLayout:
        """The codec's canonical layout, depth-first with all levels, in which shards hold raw codes."""
        return FrameLayout(self.codec.config.vq_strides)

    def encode_codes(
        self, waveforms: Iterable[Waveform], *, names: Sequence[str] | None = None
    ) -> list[list[npt.NDArray[np.int64]]]:
        """Return raw codes: per clip, per level, an int64 array (T_k,); `names` are what warnings call the clips.

        Raises:
            SamplingRateError: a clip is at another rate and the tokenizer does not resample.
            WaveformError: a clip has no samples, or channels that cannot be mixed to one.
        """
        if self.batches_ahead:
            return self.begin_codes(waveforms, names=names)()
        clips = self._clips(waveforms, names)
        with eval_mode(self.codec):
            batch = self.codec.encode_batch(clips)
        return [[level.cpu().numpy() for level in codes] for codes in batch]

    @property
    def batches_ahead(self) -> int:
        """How many batches are to be begun before one is waited for: none on a CPU, one on a GPU."""
        return batches_ahead(self.codec.device)

    def begin_codes(
        self, waveforms: Iterable[Waveform], *, names: Sequence[str] | None = None
    ) -> Callable[[], list[list[npt.NDArray[np.int64]]]]:
        """Begin what `encode_codes` does, and return what waits for its result; `pipelined` takes both.

        A GPU encodes meanwhile, and the host may read the next batch. On a CPU all is done when this returns.

        Raises:
            SamplingRateError: as in `encode_codes`.
            WaveformError: likewise.
        """
        if not self.batches_ahead:
            done = self.encode_codes(waveforms, names=names)
            return lambda: done
        clips = self._clips(waveforms, names)

        def encode() -> list[torch.Tensor]:
            with eval_mode(self.codec):
                return [level for codes in self.codec.encode_batch(clips) for level in codes]

        wait = queued(encode, self.codec.device)
        num_levels = len(self.codec.vq_strides)

        def finish() -> list[list[npt.NDArray[np.int64]]]:
            levels, seconds = wait()
            self.device_seconds += seconds
            arrays = [level.numpy() for level in levels]
            return [arrays[at : at + num_levels] for at in range(0, len(arrays), num_levels)]

        return finish

    def _clips(self, waveforms: Iterable[Waveform], names: Sequence[str] | None) -> list[torch.Tensor]:
        waveforms = _listed(waveforms)
        for at, waveform in enumerate(waveforms):
            _check_waveform(at, waveform)
        names = names or ["the recording"] * len(waveforms)
        whole = self.preprocessing.whole
        return [
            torch.from_numpy(whole(waveform, name=name).samples)
            for waveform, name in zip(waveforms, names, strict=True)
        ]

    def encode_blocks(
        self, blocks: Iterable[Waveform], *, name: str = "the recording"
    ) -> tuple[list[npt.NDArray[np.int64]], int]:
        """Encode one recording of any length that comes in blocks, in bounded memory.

        Args:
            blocks: such as `snac_tok.audio.iter_audio` gives, of any sizes.
            name: what a warning calls the recording.

        Returns:
            raw codes, per level an int64 array (T_k,), and the number of samples at the codec's rate.

        Raises:
            SamplingRateError: as in `encode_codes`.
            WaveformError: there are no samples, or the channels cannot be mixed to one.
        """
        num_samples = 0

        def counted() -> Iterator[torch.Tensor]:
            nonlocal num_samples
            for block in self.preprocessing.blocks(blocks, name=name):
                num_samples += block.num_samples
                yield torch.from_numpy(block.samples)[None]

        with eval_mode(self.codec):
            pieces = list(self.codec.encode_blocks(counted()))
        if not pieces:
            raise WaveformError("the recording has no samples; leave it out.")
        joined = [torch.cat(level, dim=-1)[0].cpu().numpy() for level in zip(*pieces, strict=True)]
        return joined, num_samples

    def num_samples(self, waveform: Waveform) -> int:
        """Return how many samples a clip has at the codec's rate, before padding."""
        return resampled_length(waveform.num_samples, waveform.sampling_rate, self.codec.sampling_rate)

    def recordings(
        self, audio: Sequence[Any], sampling_rate: int | None, *, allow_truncated: bool | None = None
    ) -> list[tuple[list[npt.NDArray[np.int64]], int]]:
        """Return codes and length of each recording: long files block by block, the others in one batch.

        On a GPU threads read, and it encodes what they have read so far.
        """
        allowed = self.preprocessing.allow_truncated if allow_truncated is None else allow_truncated
        names = [_name(clip, at) for at, clip in enumerate(audio)]
        many = len(audio) > 1

        def read(at: int) -> Waveform | LongSound:
            return _read(audio[at], sampling_rate, at=at if many else None, allow_truncated=allowed)

        if many and self.batches_ahead:
            return self._recordings_ahead(read, names)
        done: dict[int, tuple[list[npt.NDArray[np.int64]], int]] = {}
        whole: dict[int, Waveform] = {}
        for at in range(len(audio)):
            sound = read(at)
            if isinstance(sound, Waveform):
                whole[at] = sound
            else:  # at once: it is an open file
                done[at] = self.encode_blocks(sound, name=names[at])
        made = self.encode_codes(list(whole.values()), names=[names[at] for at in whole])
        for (at, sound), codes in zip(whole.items(), made, strict=True):
            done[at] = codes, self.num_samples(sound)
        return [done[at] for at in range(len(audio))]

    def _recordings_ahead(
        self, read: Callable[[int], Waveform | LongSound], names: Sequence[str]
    ) -> list[tuple[list[npt.NDArray[np.int64]], int]]:
        done: dict[int, tuple[list[npt.NDArray[np.int64]], int]] = {}

        def prepared(at: int) -> Waveform | LongSound:
            sound = read(at)
            return self.preprocessing.whole(sound, name=names[at]) if isinstance(sound, Waveform) else sound

        def begin(
            part: list[tuple[int, Waveform]],
        ) -> Callable[[], list[tuple[int, Waveform, list[npt.NDArray[np.int64]]]]]:
            finish = self.begin_codes([sound for _, sound in part], names=[names[at] for at, _ in part])
            return lambda: [(at, sound, codes) for (at, sound), codes in zip(part, finish(), strict=True)]

        def parts() -> Iterator[list[tuple[int, Waveform]]]:
            part: list[tuple[int, Waveform]] = []
            seconds = 0.0
            sounds = read_in_threads(prepared, range(len(names)), threads=torch.get_num_threads())
            for at, sound in enumerate(sounds):
                if isinstance(sound, Exception):
                    raise sound
                if not isinstance(sound, Waveform):
                    done[at] = self.encode_blocks(sound, name=names[at])
                    continue
                part.append((at, sound))
                seconds += sound.duration_seconds
                if seconds >= _PART_SECONDS:
                    yield part
                    part, seconds = [], 0.0
            yield part

        for part in pipelined(begin, parts(), ahead=self.batches_ahead):
            done |= {at: (codes, sound.num_samples) for at, sound, codes in part}
        return [done[at] for at in range(len(names))]

    def describe(self) -> dict[str, Any]:
        """Return everything that decides which codes a recording gets, as JSON values; shards record it.

        `precision` is only there if it is not "fp32".
        """
        precision = self.codec.precision
        return ({} if precision == "fp32" else {"precision": precision}) | {
            "codec_id": self.codec.codec_id,
            "weights_sha256": self.codec.weights_sha256(),
            "codec_config": self.codec.config.to_dict(),
            "sampling_rate": self.sampling_rate,
            "layout": dataclasses.asdict(self.layout),
            "codebook_size": self.codec.codebook_size,
            "resampler": self.preprocessing.resampler.describe(),
            "channels": str(self.preprocessing.channels),
            "package_version": __version__,
        }


def _check_waveform(at: int, clip: Any) -> None:
    refuse_pair(clip)
    if not isinstance(clip, Waveform):
        raise WaveformError(
            f"clip {at} is {clip!r:.80}; a Waveform is needed, as read_audio makes one of a file; `encode` takes files "
            "and arrays, too, and gives ids."
        )


def _listed(waveforms: Any) -> list[Any]:
    """Return clips in a list; refuse one recording: a path would be read letter by letter, samples one by one."""
    refuse_pair(waveforms)
    if not _is_no_list(waveforms):
        try:
            found = iter(waveforms)
        except TypeError as error:
            raise _no_list(waveforms) from error
        return list(found)
    raise _no_list(waveforms)


def _is_no_list(waveforms: Any) -> bool:
    """Say whether going through this would give letters, keys or numbers."""
    is_numbers = getattr(getattr(waveforms, "dtype", None), "kind", "") in tuple("biufcSU")
    is_one = isinstance(waveforms, (str, bytes, os.PathLike, Waveform, Mapping, torch.Tensor))
    return is_one or is_numbers


def _no_list(waveforms: Any) -> WaveformError:
    if isinstance(waveforms, (str, os.PathLike)):
        cure = f"[read_audio({os.fspath(waveforms)!r})]"
    elif isinstance(waveforms, Waveform):
        cure = "[waveform]"
    elif isinstance(waveforms, Mapping) and all(isinstance(value, Waveform) for value in waveforms.values()):
        cure = "waveforms.values()"
    else:
        cure = "[as_waveform(samples, sampling_rate=rate)]"
    return WaveformError(
        f"waveforms is {what_came(waveforms)}; a list of Waveforms is needed, such as {cure}."
    )


def _name(clip: Any, at: int) -> str:
    return os.fspath(clip) if isinstance(clip, (str, os.PathLike)) else f"clip {at}"


def _read(
    clip: Any, sampling_rate: int | None, *, at: int | None, allow_truncated: bool
) -> Waveform | LongSound:
    """Read one of several clips; errors name its place, since bare samples have no name."""
    try:
        return read_sound(clip, sampling_rate=sampling_rate, allow_truncated=allow_truncated)
    except WaveformError as error:
        if at is None:
            raise
        raise WaveformError(f"clip {at}: {error}") from error


def is_list_of_clips(audio: Any) -> bool:
    """Say whether this is a list of recordings, not the numbers of one."""
    return isinstance(audio, (list, tuple)) and not (audio and isinstance(audio[0], (int, float, np.number)))
