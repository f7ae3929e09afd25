"""`SnacTokenizer`: sound to the ids a language model sees, and ids back to sound.

It joins a codec, a vocabulary and a way to bring any recording to the codec's rate; each part does its own
checking. A clip's ids depend on that clip alone, whatever else is in the list.

    audio ── Waveform ── mono ── resample ──> codec ──> codes per level ──> vocabulary ──> ids
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from snac_tok.audio import Resampler
from snac_tok.audio.pairs import refuse_pair
from snac_tok.codec import SNAC
from snac_tok.codec.placement import check_device, float_dtype
from snac_tok.codec.pretrained import checked_codec_name
from snac_tok.errors import CheckpointError, LayoutError, WaveformError
from snac_tok.frames import DEFAULT_PRESET
from snac_tok.paths import checked_path
from snac_tok.streaming.pairing import paired, vocabulary_of
from snac_tok.tokenizer.batch import AudioTokens, assembled
from snac_tok.tokenizer.clips import ClipEncoder, is_list_of_clips
from snac_tok.tokenizer.decoding import IdDecoder
from snac_tok.tokenizer.names import TokenNames
from snac_tok.tokenizer.preprocessing import Preprocessing
from snac_tok.tokenizer.required import NO_CODEC, requires
from snac_tok.tokenizer.tokenizer_json import read_tokenizer_json, write_tokenizer_json

if TYPE_CHECKING:
    import os

    import numpy as np
    import numpy.typing as npt
    import torch

    from snac_tok.audio import MonoPolicy
    from snac_tok.codec.hub_options import HubOptions
    from snac_tok.streaming.pairing import VocabularyLike
    from snac_tok.tokenizer.batch import Padding, ReturnTensors


class SnacTokenizer(TokenNames, ClipEncoder, IdDecoder):
    """A codec with a vocabulary, used like a Hugging Face tokenizer.

    Args:
        codec: the network. It runs as in eval mode; one that is being trained stays in training mode, which costs
            time: every call derives what it needs from the weights anew.
        vocabulary: the id table, a preset's name or a .json file; a `FrameLayout` or None for raw codes. Its strides
            and codebook size must be the codec's.
        resample: whether recordings at another rate are resampled; False makes them an error.
        channels: which channel of several is encoded: "mean", "left", "right" or its number, counted from 0.
        resampler: how rates are changed.
        padding_side: where `padding` puts pad ids, "right" or "left".
        allow_truncated: whether what a cut-off or damaged file still holds is encoded; without it, it is an error.

    Raises:
        LayoutError: the vocabulary does not fit the codec.

    Example:
        >>> import numpy as np
        >>> tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
        >>> batch = tok([np.zeros(24_000), np.zeros(9_000)], sampling_rate=24_000, padding=True, return_tensors="np")
        >>> batch["input_ids"].shape, batch["attention_mask"].sum(1).tolist(), batch.num_samples
        ((2, 84), [84, 35], [24000, 9000])
        >>> tok.batch_decode(batch)[1].num_samples
        9000
    """

    def __init__(
        self,
        codec: SNAC,
        vocabulary: VocabularyLike,
        *,
        resample: bool = True,
        channels: MonoPolicy = "mean",
        resampler: Resampler | None = None,
        padding_side: Literal["right", "left"] = "right",
        allow_truncated: bool = False,
    ) -> None:
        if padding_side not in ("right", "left"):
            raise LayoutError(f'padding_side is {padding_side!r}; it must be "right" or "left".')
        codec, self.vocabulary = paired(codec, vocabulary)
        preprocessing = Preprocessing(
            sampling_rate=codec.sampling_rate,
            resample=resample,
            channels=channels,
            resampler=Resampler() if resampler is None else resampler,
            allow_truncated=allow_truncated,
        )
        ClipEncoder.__init__(self, codec, preprocessing)
        self.padding_side = padding_side

    @classmethod
    @requires(name_or_path=NO_CODEC)
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        preset: VocabularyLike = "auto",
        levels: int | None = None,
        resample: bool = True,
        channels: MonoPolicy | None = None,
        resampler: Resampler | None = None,
        padding_side: Literal["right", "left"] | None = None,
        allow_truncated: bool = False,
        decoder: str | os.PathLike[str] | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | str | None = None,
        **hub_options: Unpack[HubOptions],
    ) -> Self:
        """Load a codec and join it with a vocabulary.

        Args:
            name_or_path: "tiny", a folder or a hub repository, as `SNAC.from_pretrained` takes them; a folder that
                `save_pretrained` wrote brings its vocabulary and options along.
            preset: a preset's name (`snac_tok.frames.preset_names()`), the path of a vocabulary's .json file, or a
                `Vocabulary`; "auto" is what the codec's folder brings along, else "plain"; None is raw codes.
            levels: keep only the first levels of each frame.
            resample: whether recordings at another rate than the codec's are resampled; False makes them an error.
            channels: which channel of several is encoded: "mean", "left" or "right"; None is what the folder says,
                else "mean".
            resampler: how rates are changed; None is what the folder says, else soxr HQ.
            padding_side: "right" or "left"; None is what the folder says, else "right".
            allow_truncated: whether what a cut-off or damaged file still holds is encoded; False makes it an error.
            decoder: a decoder in the place of the codec's own, as `SNAC.from_pretrained` takes it.
            device: where the network runs.
            dtype: what its weights are kept in, as in `SNAC.from_pretrained`.
            **hub_options: `revision`, `cache_dir`, `token`, `local_files_only`, `force_download`, `subfolder`, … as in
                `SNAC.from_pretrained`.

        Raises:
            CheckpointError: the codec cannot be loaded; ConfigError and HubError as in `SNAC.from_pretrained`.
            LayoutError: the preset is unknown or does not fit the codec.
        """
        codec = SNAC.from_pretrained(
            checked_codec_name(name_or_path, argument="name_or_path"),
            decoder=None if decoder is None else checked_codec_name(decoder, argument="decoder"),
            device=device,
            dtype=dtype,
            **hub_options,
        )
        # From where the codec's files were found: the name itself may also be a folder's in the current one.
        saved = read_tokenizer_json(codec.folder) if codec.folder else {}
        own = saved.pop("vocabulary", DEFAULT_PRESET)
        vocabulary = vocabulary_of(own if preset == "auto" else preset, codec, levels=levels)
        given = {"channels": channels, "resampler": resampler, "padding_side": padding_side}
        chosen = saved | {name: value for name, value in given.items() if value is not None}
        return cls(codec, vocabulary, resample=resample, allow_truncated=allow_truncated, **chosen)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the codec's files and the tokenizer's; `from_pretrained(folder)` gives the same ids.

        What decides ids and batches is saved. `resample` and `allow_truncated` are not: what may come in is each
        caller's to say.
        """
        needed = "the path of a folder"
        folder = checked_path(folder, name="folder", needed=needed, error=CheckpointError)
        self.codec.save_pretrained(folder)
        write_tokenizer_json(
            folder,
            vocabulary=self.vocabulary,
            preprocessing=self.preprocessing,
            padding_side=self.padding_side,
        )

    def __call__(
        self,
        audio: Any,
        *,
        sampling_rate: int | None = None,
        padding: Padding = False,
        max_length: int | None = None,
        add_special_tokens: bool = False,
        return_tensors: ReturnTensors | None = None,
        allow_truncated: bool | None = None,
    ) -> AudioTokens:
        """Turn one recording, or a list of them, into ids.

        Args:
            audio: an array or tensor (T,), (1, T), (2, T) or (1, C, T), a path, encoded bytes, a `datasets` audio dict,
                a `Waveform`, or a list of these.
            sampling_rate: of arrays, in Hz; paths and dicts bring their own.
            padding: True or "longest" fills up to the longest clip, "max_length" to `max_length` ids.
            max_length: for padding="max_length"; a longer clip is an error, never cut.
            add_special_tokens: put the vocabulary's start and end of speech around the codes.
            return_tensors: None for lists of ints, "np" or "pt" for int64 arrays.
            allow_truncated: take what a cut-off or damaged file still holds; None is what the tokenizer was made with.

        Returns:
            `input_ids` (B, N) and `attention_mask` (B, N); for parallel rows ids are (B, slots, steps). One
            recording without return_tensors gives flat lists, as text tokenizers do.

        Raises:
            AudioError: unusable sound, or a missing, contradicting or other sampling rate.
            LayoutError: the vocabulary has no pad, or no start and end of speech.
            TokenError: rows of unequal length were asked for as one array, or a clip is over max_length.
        """
        refuse_pair(audio, call="tokenizer")
        many = is_list_of_clips(audio)
        encoded = self.recordings(audio if many else [audio], sampling_rate, allow_truncated=allow_truncated)
        rows = [self.vocabulary.encode(codes) for codes, _ in encoded]
        if add_special_tokens:
            rows = [self.add_specials(row) for row in rows]
        pad_values = self.pad_values() if padding else None
        ids, mask = assembled(
            rows, padding, max_length, pad_values=pad_values, side=self.padding_side, kind=return_tensors
        )
        if not many and return_tensors is None:
            ids, mask = ids[0], mask[0]
        return AudioTokens(
            {"input_ids": ids, "attention_mask": mask}, num_samples=[count for _, count in encoded]
        )

    @overload
    def encode(
        self,
        audio: Any,
        *,
        sampling_rate: int | None = None,
        padding: Padding = False,
        max_length: int | None = None,
        add_special_tokens: bool = False,
        return_tensors: None = None,
        allow_truncated: bool | None = None,
    ) -> list[Any]: ...

    @overload
    def encode(
        self,
        audio: Any,
        *,
        sampling_rate: int | None = None,
        padding: Padding = False,
        max_length: int | None = None,
        add_special_tokens: bool = False,
        return_tensors: Literal["np"],
        allow_truncated: bool | None = None,
    ) -> npt.NDArray[np.int64]: ...

    @overload
    def encode(
        self,
        audio: Any,
        *,
        sampling_rate: int | None = None,
        padding: Padding = False,
        max_length: int | None = None,
        add_special_tokens: bool = False,
        return_tensors: Literal["pt"],
        allow_truncated: bool | None = None,
    ) -> torch.Tensor: ...

    def encode(
        self,
        audio: Any,
        *,
        sampling_rate: int | None = None,
        padding: Padding = False,
        max_length: int | None = None,
        add_special_tokens: bool = False,
        return_tensors: ReturnTensors | None = None,
        allow_truncated: bool | None = None,
    ) -> Any:
        """Return the ids of one recording: what a call puts into `input_ids`.

        Args:
            audio: as in a call, and so is every option.
            sampling_rate: see there.
            padding: see there.
            max_length: see there.
            add_special_tokens: see there.
            return_tensors: see there.
            allow_truncated: see there.

        Returns:
            a list of ints, a list of lists for parallel rows; with `return_tensors` an array (1, N) or
            (1, slots, steps).

        Raises:
            AudioError: as in a call.
            LayoutError: as in a call.
        """
        refuse_pair(audio, call="tokenizer.encode")
        if is_list_of_clips(audio):
            raise WaveformError("encode takes one recording; call the tokenizer itself for a list of them.")
        return self(
            audio,
            sampling_rate=sampling_rate,
            padding=padding,
            max_length=max_length,
            add_special_tokens=add_special_tokens,
            return_tensors=return_tensors,
            allow_truncated=allow_truncated,
        )["input_ids"]

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.codec.device

    def to(self, device: str | torch.device | None = None, *, dtype: torch.dtype | str | None = None) -> Self:
        """Move the network, as `SNAC.to` does, and return this tokenizer.

        Raises:
            ConfigError: no such device here, or no such dtype of weights.
        """
        check_device(device)
        self.codec.to(device=device, dtype=float_dtype(dtype))
        return self

    def __repr__(self) -> str:
        return (
            f"SnacTokenizer({self.codec.codec_id}, {self.vocabulary.name}, "
            f"{self.sampling_rate} Hz, {self.vocabulary.layout.slots_per_frame} codes a frame, "
            f"{self.vocabulary.num_code_ids} audio ids)"
        )
