"""Text and sound in, a batch for a language model out; what the model writes, back to sound."""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from io import IOBase
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from transformers import BatchFeature, ProcessorMixin
from transformers.utils import logging

from snac_tok.audio.pairs import refuse_pair
from snac_tok.codec.trial import TRIAL_CODEC
from snac_tok.errors import ConfigError, SamplingRateError, TokenError
from snac_tok.frames import Vocabulary, vocabulary_for, vocabulary_from_json, vocabulary_to_json
from snac_tok.hf.chat import spoken_as_text
from snac_tok.hf.collation import AudioTextCollator
from snac_tok.paths import checked_name
from snac_tok.prompts import PromptFormat, prompt_format, speech_ids
from snac_tok.streaming.frame_repair import repair_ids
from snac_tok.streaming.pairing import warn_of_trial_name, without_trial_warning
from snac_tok.streaming.repair_report import RepairReport, checked_on_error, warn_of_repairs
from snac_tok.tokenizer import SnacTokenizer
from snac_tok.tokenizer.clips import is_list_of_clips
from snac_tok.tokenizer.names import check_specials_skipped
from snac_tok.tokenizer.required import NO_CODEC, name_of_codec, required
from snac_tok.tokenizer.text_ids import check_text_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.codec.hub_options import HubOptions
    from snac_tok.streaming.repair_report import OnError

# How a processor's own files are fetched, and its codec's.
_SHARED = ("cache_dir", "token", "local_files_only")

_logger = logging.get_logger(__name__)

_NO_VOCABULARY = (
    "name the vocabulary of the audio ids: what add_audio_tokens(tokenizer, …) returned, or the preset that the "
    "language model was trained with; raw codes make no line with text."
)


class SnacProcessor(ProcessorMixin):
    """Joins a language model's text tokenizer with the SNAC codec.

    Args:
        feature_extractor: a `SnacFeatureExtractor`; says at which rate sound comes out.
        tokenizer: of the language model, with audio tokens in it (`add_audio_tokens`).
        codec: "tiny", a folder or a hub repository; loaded when sound is first needed, and saved by name only.
            Recordings are resampled to its rate. It runs on the CPU; `to("cuda", dtype=torch.float16)` moves it.
        vocabulary: the audio ids, as `add_audio_tokens` returned them; or a preset's name.
        prompt: the order of special ids around text and speech: a family's name (`snac_tok.prompts.prompt_names`), a
            `PromptFormat`, or None for what the vocabulary's own models were trained with.
        chat_template: as for every processor.
        decoder: a decoder in the place of the codec's own, as `SNAC.from_pretrained` takes it; saved by name only.

    Raises:
        MissingArgumentError: no codec or no vocabulary was named.
        ConfigError: the codec is a loaded one, not its name.
        LayoutError: a vocabulary that makes no line with text, or whose ids mean something else to the tokenizer.

    Example:
        >>> processor = SnacProcessor(feature_extractor, tokenizer, "tiny", vocabulary)     # doctest: +SKIP
        >>> batch = processor(text="Good morning.", audio="a.wav", return_tensors="pt")     # doctest: +SKIP
        >>> loss = model(**batch).loss                                                      # doctest: +SKIP
        >>> prompt = processor(text="Good morning.", return_tensors="pt")                   # doctest: +SKIP
        >>> sound = processor.decode(model.generate(**prompt))[0]                           # doctest: +SKIP
    """

    # All can be given by position: transformers asks for exactly those names when it reloads a processor, and reads
    # them from the function's code. So codec and vocabulary, which must be named, say so themselves.
    def __init__(  # noqa: PLR0917
        self,
        feature_extractor: Any,
        tokenizer: Any,
        codec: str | os.PathLike[str] | None = None,
        vocabulary: str | dict[str, Any] | Vocabulary | None = None,
        prompt: str | dict[str, Any] | PromptFormat | None = None,
        chat_template: str | None = None,
        decoder: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template)
        self.codec: str = name_of_codec(required(codec, NO_CODEC, door="SnacProcessor"))
        self.decoder = None if decoder is None else os.fspath(decoder)
        self.audio_vocabulary = _table(required(vocabulary, _NO_VOCABULARY, door="SnacProcessor"))
        # What is saved must be JSON.
        self.vocabulary: dict[str, Any] = json.loads(vocabulary_to_json(self.audio_vocabulary))
        self.prompts = prompt_format(self.audio_vocabulary, prompt)
        self.prompt = prompt.to_dict() if isinstance(prompt, PromptFormat) else prompt
        check_text_ids(self.audio_vocabulary, tokenizer)
        warn_of_trial_name(self.codec, self.audio_vocabulary)
        self._audio: SnacTokenizer | None = None
        self._hub_options: HubOptions = {}

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """Load what `save_pretrained` wrote.

        Args:
            pretrained_model_name_or_path: a folder or a hub repository.
            *args: as every processor takes them.
            **kwargs: likewise. `cache_dir`, `token` and `local_files_only` serve for the codec,
                too, when it is loaded; `revision` and `subfolder` do not, because it is another repository's.

        Raises:
            ConfigError: no name, or an empty one.
        """
        argument, needed = "pretrained_model_name_or_path", "a folder or repository that holds a processor"
        checked_name(pretrained_model_name_or_path, name=argument, needed=needed, error=ConfigError)
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        processor = loaded[0] if isinstance(loaded, tuple) else loaded
        processor._hub_options = {name: kwargs[name] for name in _SHARED if name in kwargs}  # noqa: SLF001 - our own class
        return loaded

    @property
    def audio_tokenizer(self) -> SnacTokenizer:
        """The codec with the audio vocabulary, loaded on first use; resamples and mixes down.

        Raises:
            SamplingRateError: the feature extractor has another rate than the codec.
        """
        if self._audio is None:
            with without_trial_warning() if self.codec == TRIAL_CODEC else nullcontext():
                loaded = SnacTokenizer.from_pretrained(
                    self.codec, preset=self.audio_vocabulary, decoder=self.decoder, **self._hub_options
                )
            self._check_rate(loaded.sampling_rate)
            self._audio = loaded
        return self._audio

    def _check_rate(self, codec_rate: int) -> None:
        if self.sampling_rate != codec_rate:
            raise SamplingRateError(
                f"the feature extractor is at {self.sampling_rate} Hz and the codec {self.codec!r} at {codec_rate}; "
                f"make the processor with SnacFeatureExtractor({codec_rate})."
            )

    def to(self, device: str | torch.device | None = None, *, dtype: torch.dtype | str | None = None) -> Self:
        """Move the codec to a device, and its weights to a dtype, as `SnacTokenizer.to` does; neither is saved."""
        self.audio_tokenizer.to(device, dtype=dtype)
        return self

    @property
    def sampling_rate(self) -> int:
        """The rate of the sound that comes out, in Hz."""
        rate: int = self.feature_extractor.sampling_rate
        return rate

    @property
    def model_input_names(self) -> list[str]:
        """What a language model is given."""
        return ["input_ids", "attention_mask"]

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        audio: Any = None,
        *,
        sampling_rate: int | None = None,
        voice: str | int | Sequence[str | int | None] | None = None,
        reference: Sequence[tuple[str, Any]] = (),
        mask_prompt: bool = False,
        start_speech: bool | None = None,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Make training sequences of texts with their sound, or prompts of texts alone.

        Args:
            text: one text, or several.
            audio: the sound of each text, in any form that `SnacTokenizer` takes for one recording; for several texts a
                list of them, or an array with a row for each. None makes prompts.
            sampling_rate: of arrays and tensors, in Hz.
            voice: whose voice, put to each text as the prompt's family does ("tara: …", a number, a description): one
                for all texts, or a list with one for each, None for none.
            reference: (text, sound) pairs of a voice that a prompt goes on with; for prompts only.
            mask_prompt: whether labels skip everything in front of the speech.
            start_speech: whether prompts end with the start of speech, or leave it to the model; None is the family's
                habit. For prompts only.
            pad_to_multiple_of: round the padded length up.
            return_tensors: "pt" for padded tensors, "np" for padded arrays, None for lists of each row's own length.

        Returns:
            `input_ids`, `attention_mask` and, with audio, `labels`. Padded on the right in training, and on the left
            for prompts, where generation goes on.

        Raises:
            TokenError: no text, another number of sounds or voices than of texts, a voice or reference that is none,
                or an option for prompts beside audio.
            AudioError: a sound that cannot be used.
        """
        if return_tensors not in {None, "pt", "np"}:
            raise TokenError(f'return_tensors is {return_tensors!r}; it must be "pt", "np" or None.')
        texts = [text] if isinstance(text, str) else list(text) if isinstance(text, Iterable) else []
        if not texts or not all(isinstance(each, str) for each in texts):
            raise TokenError(
                "the processor needs text: one string or several; SnacTokenizer takes audio alone."
            )
        spoken = zip(texts, _voices(voice, len(texts)), strict=True)
        lines = [self._text_ids(self.prompts.with_voice(*each)) for each in spoken]
        references = _references(reference)
        if audio is None:
            rows = self._prompts(lines, references, sampling_rate, start_speech=start_speech)
        else:
            _refuse_beside_audio({"reference": references or None, "start_speech": start_speech})
            sounds = [audio] if isinstance(text, str) else _sounds(audio)
            rows = self._sequences(lines, sounds, sampling_rate, mask_prompt=mask_prompt)
        return self._batch(rows, return_tensors, pad_to_multiple_of, training=audio is not None)

    def decode(
        self,
        sequences: Any,
        *,
        noise: Any = 0,
        on_error: OnError = "strict",
        skip_special_tokens: bool = True,
        clean_up_tokenization_spaces: bool | None = None,  # noqa: ARG002 - there are no spaces in sound
    ) -> Any:
        """Turn what a language model wrote into sound, all rows in few calls of the codec.

        Speech is what follows the last start of speech, up to its end or the first id that is out of place; a
        warning counts the ids behind such an id, which make no sound.

        Args:
            sequences: ids (n,), or (B, n), or what `generate` or this processor returned, prompts included or not.
            noise: as in `SNAC.decode`; on a GPU random noise depends on the other rows.
            on_error: with "resync" or "conceal" speech goes on behind an id that is out of place, as in
                `SnacTokenizer.decode`.
            skip_special_tokens: as in `SnacTokenizer.decode`, and so is the next.
            clean_up_tokenization_spaces: see there.

        Returns:
            a float32 tensor (samples,), or a list of them; empty, with a warning, where there is no whole frame.

        Raises:
            TokenError: what is given holds no ids.
        """
        check_specials_skipped(skip_special_tokens=skip_special_tokens)
        sequences = _written(sequences)
        rows = list(sequences) if _is_batch(sequences) else [sequences]
        speeches, reports = [], {}
        for at, row in enumerate(rows):
            speech, report = self._speech_in(row, on_error)
            speeches.append(speech)
            reports[f"sequence {at}"] = report
        warn_of_repairs(reports)
        for at, speech in enumerate(speeches):
            if not speech.size:
                _logger.warning(
                    "sequence %d has no whole frame of speech in its %d ids: its sound is empty.",
                    at,
                    len(rows[at]),
                )
        spoken = [at for at, speech in enumerate(speeches) if speech.size]
        # Where nothing is spoken, no codec is loaded.
        made = (
            self.audio_tokenizer.batch_decode([speeches[at] for at in spoken], noise=noise) if spoken else []
        )
        sounds = [torch.zeros(0, device="cpu") for _ in rows]
        for at, sound in zip(spoken, made, strict=True):
            sounds[at] = torch.from_numpy(sound.samples[0])
        return sounds if _is_batch(sequences) else sounds[0]

    def batch_decode(
        self,
        sequences: Any,
        *,
        noise: Any = 0,
        on_error: OnError = "strict",
        skip_special_tokens: bool = True,
        clean_up_tokenization_spaces: bool | None = None,  # noqa: ARG002 - as in decode
    ) -> list[torch.Tensor]:
        """Return the sound of each row, as `decode` does.

        Raises:
            TokenError: as in `decode`; or the ids of one sequence alone.
        """
        rows = _written(sequences)
        if len(rows) and not _is_batch(rows):
            raise TokenError(
                f"batch_decode got {reprlib.repr(rows)}, the ids of one sequence; a list of sequences is needed, and "
                "decode takes a single one."
            )
        rows = list(rows)
        options = {"noise": noise, "on_error": on_error, "skip_special_tokens": skip_special_tokens}
        return self.decode(rows, **options) if rows else []

    # The rest of the signature is the text tokenizer's.
    def apply_chat_template(  # type: ignore[override]
        self, conversation: Any, chat_template: str | None = None, **kwargs: Any
    ) -> Any:
        """Write a conversation with the text tokenizer's template; parts of type "audio" become their audio tokens.

        Args:
            conversation: messages whose content is a string or a list of parts, {"type": "text", "text": …} and
                {"type": "audio", "audio": … (any form, or "path" or "url" of a file), "sampling_rate": …}.
            chat_template: instead of the saved one.
            **kwargs: as the text tokenizer's `apply_chat_template` takes them.
        """
        written = spoken_as_text(conversation, self._spelled)
        template = chat_template or self.chat_template or self.tokenizer.chat_template
        # Pipelines hand these over and expect tensors.
        kwargs.pop("processor_kwargs", None)
        if kwargs.get("return_dict") and kwargs.get("return_tensors") in {None, "auto"}:
            kwargs["return_tensors"] = "pt"
        return self.tokenizer.apply_chat_template(written, chat_template=template, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Return what is saved: names and numbers, never the codec's weights."""
        held, self._audio = self._audio, None
        try:
            saved: dict[str, Any] = super().to_dict()
        finally:
            self._audio = held
        return saved

    def _text_ids(self, text: str) -> list[int]:
        # The prompt format adds all special ids, as in dataset mapping: training and generation must agree.
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _prompts(
        self,
        lines: list[list[int]],
        references: list[tuple[str, Any]],
        sampling_rate: int | None,
        *,
        start_speech: bool | None,
    ) -> list[dict[str, Any]]:
        """Return a row of ids to go on from for each line of text ids."""
        voices = [(self._text_ids(words), self._speech(sound, sampling_rate)) for words, sound in references]
        return [
            {"input_ids": self.prompts.inference(line, references=voices, start_speech=start_speech)}
            for line in lines
        ]

    def _sequences(
        self, lines: list[list[int]], sounds: Sequence[Any], sampling_rate: int | None, *, mask_prompt: bool
    ) -> list[dict[str, Any]]:
        """Return a row of ids and labels to train on for each line of text ids and its sound."""
        if len(sounds) != len(lines):
            raise TokenError(f"{len(sounds)} sounds were given for {len(lines)} texts; each text needs one.")
        sequences = [
            self.prompts.training(line, self._speech(sound, sampling_rate), mask_prompt=mask_prompt)
            for line, sound in zip(lines, sounds, strict=True)
        ]
        return [{"input_ids": each.input_ids, "labels": each.labels} for each in sequences]

    def _speech(self, sound: Any, sampling_rate: int | None) -> np.ndarray[Any, Any]:
        refuse_pair(sound)
        if is_list_of_clips(sound):
            if len(sound) != 1:
                raise TokenError(
                    f"a text goes with one recording, got a list of {len(sound)}; give one recording for each text."
                )
            sound = sound[0]
        return np.asarray(self.audio_tokenizer.encode(sound, sampling_rate=sampling_rate), dtype=np.int64)

    def _spelled(self, sound: Any, sampling_rate: int | None) -> str:
        marks = self.prompts.start_of_speech, self.prompts.end_of_speech
        ids = np.concatenate((marks[:1], self._speech(sound, sampling_rate), marks[1:]))
        return "".join(self.tokenizer.convert_ids_to_tokens(ids.tolist()))

    def _speech_in(self, ids: Any, on_error: OnError) -> tuple[np.ndarray[Any, Any], RepairReport]:
        """Return whole frames of the speech in what a model wrote, and what was repaired in it."""
        if checked_on_error(on_error) == "strict":
            return speech_ids(ids, self.audio_vocabulary, prompt=self.prompts), RepairReport()
        speech = speech_ids(ids, self.audio_vocabulary, prompt=self.prompts, on_fault="keep")
        found = repair_ids(speech, self.audio_vocabulary, on_error=on_error)
        return found.ids, found.report

    def _batch(
        self, rows: list[dict[str, Any]], return_tensors: str | None, multiple: int | None, *, training: bool
    ) -> BatchFeature:
        if return_tensors is None:
            lists = {name: [row[name].tolist() for row in rows] for name in rows[0]}
            return BatchFeature({**lists, "attention_mask": [[1] * len(ids) for ids in lists["input_ids"]]})
        collator = AudioTextCollator(
            pad_token_id=self._pad_id,
            pad_to_multiple_of=multiple,
            padding_side="right" if training else "left",
        )
        batch = collator(rows)
        if not training:
            del batch["labels"]
        return BatchFeature(
            batch if return_tensors == "pt" else {name: t.numpy() for name, t in batch.items()}
        )

    @property
    def _pad_id(self) -> int:
        own = self.audio_vocabulary.specials.get("pad")
        pad: int | None = self.tokenizer.pad_token_id if own is None else own
        if pad is None:
            raise TokenError(
                "neither the vocabulary nor the tokenizer has a pad id; set tokenizer.pad_token."
            )
        return pad


def _table(vocabulary: str | dict[str, Any] | Vocabulary) -> Vocabulary:
    if isinstance(vocabulary, dict):
        return vocabulary_from_json(vocabulary)
    return vocabulary_for(vocabulary, strides=(4, 2, 1), codebook_size=4096)


def _voices(voice: Any, num_texts: int) -> list[Any]:
    """Return the voice of each text."""
    voice = voice.tolist() if isinstance(voice, (np.ndarray, torch.Tensor)) else voice
    if isinstance(voice, str) or not isinstance(voice, Iterable):
        return [voice] * num_texts
    voices = list(voice)
    if len(voices) != num_texts:
        raise TokenError(
            f"{len(voices)} voices were given for {num_texts} texts; give one for all, or a list with one for each."
        )
    return voices


def _refuse_beside_audio(options: Mapping[str, Any]) -> None:
    """Refuse options for prompts that were given beside sound to train on, where they would do nothing."""
    for name, value in options.items():
        if value is not None:
            raise TokenError(
                f"{name} is for prompts, and with audio= the processor makes training sequences; leave out {name}, or "
                "audio."
            )


def _references(reference: Any) -> list[tuple[str, Any]]:
    """Return the pairs of text and sound."""
    pairs = [] if reference is None else list(reference) if isinstance(reference, Iterable) else [reference]
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], str):  # noqa: PLR2004 - a pair
            raise TokenError(
                f"reference holds {reprlib.repr(pair)}; a list of pairs of a text and its sound is needed: "
                'reference=[("What is said.", "said.wav")].'
            )
    return pairs


def _sounds(audio: Any) -> list[Any]:
    """Return the recordings of several texts: the items of a list or a column, the rows of an array; else it is one."""
    refuse_pair(audio)
    is_array = isinstance(audio, (torch.Tensor, np.ndarray))
    if is_list_of_clips(audio) or (is_array and audio.ndim > 1):
        return list(audio)
    bare = (str, bytes, bytearray, memoryview, os.PathLike, Mapping, IOBase, list, tuple)
    return [audio] if is_array or isinstance(audio, bare) or not isinstance(audio, Iterable) else list(audio)


def _written(generated: Any) -> Any:
    """Return the ids in a batch, or in what `generate(..., return_dict_in_generate=True)` returned.

    Raises:
        TokenError: there are none.
    """
    ids = getattr(generated, "sequences", generated)
    ids = ids["input_ids"] if isinstance(ids, Mapping) and "input_ids" in ids else ids
    if isinstance(ids, (torch.Tensor, np.ndarray)) and ids.ndim:
        return ids
    if (
        isinstance(ids, (Mapping, str, bytes))
        or not isinstance(ids, Iterable)
        or getattr(ids, "ndim", 1) == 0
    ):
        raise TokenError(
            f"decode got {reprlib.repr(ids)}; ids (n,) or (B, n), or what generate returned, are needed."
        )
    return list(ids)


def _is_batch(sequences: Any) -> bool:
    if isinstance(sequences, (torch.Tensor, np.ndarray)):
        return sequences.ndim > 1
    # Iterating over a tensor gives tensors without a dimension.
    return bool(len(sequences)) and not isinstance(sequences[0], int) and getattr(sequences[0], "ndim", 1) > 0
