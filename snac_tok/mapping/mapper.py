"""`SnacMapper`: the callable for `Dataset.map` that turns a column of sound into codes, ids or training sequences.

    batch ── rows ── waveforms ── codec ── codes ── vocabulary ── ids ── prompt ── sequences ──> new columns

The library's hash of a mapper covers exactly what decides its results: the codec's weights and the options, not the
device and not the network, which each worker loads. So a second `map` finds the first one's cache.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any, Unpack

from snac_tok.audio.machine_faults import is_machine_fault
from snac_tok.errors import AudioError, CheckpointError, ConfigError, TokenError
from snac_tok.frames import vocabulary_from_json
from snac_tok.mapping.devices import Execution, forking_picklers, set_up_worker
from snac_tok.mapping.encoding import Encoded, encode_rows
from snac_tok.mapping.mapper_options import MapperOptions, hub_options_of, with_mapping_options
from snac_tok.mapping.output import Output
from snac_tok.mapping.rows import column_of
from snac_tok.mapping.text_columns import TextIds
from snac_tok.prompts import prompt_format
from snac_tok.sources.huggingface import datasets_library
from snac_tok.streaming.pairing import without_trial_warning
from snac_tok.tokenizer.required import NO_CODEC, requires
from snac_tok.tokenizer.text_ids import check_text_ids

if TYPE_CHECKING:
    from snac_tok.frames import Vocabulary
    from snac_tok.mapping.mapper_options import MappingOptions
    from snac_tok.mapping.output import Array
    from snac_tok.tokenizer import SnacTokenizer

# Increase it when equal options give other columns than before, so that old caches are not used.
FORMAT_VERSION = 1


class SnacMapper:
    """Turns batches of a dataset into columns of codes or ids; give it to `map(..., batched=True)`.

    A row's result does not depend on the other rows of its batch. `columns` lists the new columns. Values are numpy
    arrays of narrow types; a stored dataset keeps these types and returns lists of ints. A streamed dataset returns the
    arrays themselves, unless `tokenize_dataset` maps it.

    Args:
        codec: "tiny", a folder or a hub repository, as `SNAC.from_pretrained` takes them.
        preset: the id table: a name, a .json file or a `Vocabulary`; "auto" is the table in the codec's folder,
            else "plain"; None gives raw codes, one column per level.
        levels: keep only the first levels.
        audio_column: holds paths, encoded bytes, dicts of these or of "array" and "sampling_rate", bare arrays, or
            torchcodec decoders. Audio columns are read undecoded, whatever their `decode` says.
        sampling_rate: the rate of all bare arrays, in Hz.
        sampling_rate_column: the column with each row's own rate.
        resample: whether other rates than the codec's are resampled; False makes them errors.
        channels: how several channels become one: "mean", "left", "right" or a channel's number, counted from 0;
            None is what the codec's folder says, or "mean".
        resampler: how rates are changed; None is what the folder says, or soxr HQ.
        text_column: the column of texts; with it, rows become sequences of text and audio, as the preset's models
            are trained.
        text_tokenizer: for the texts: a Hugging Face tokenizer, or its folder or repository.
        voice_column: the column of the speaker's name, number or description, which is put before each text; a row
            with None, a blank or NaN has no voice.
        prompt: the order of special ids around text and audio: a family's name (`snac_tok.prompts.prompt_names`), a
            `PromptFormat`, or None for what the preset's own models were trained with.
        mask_prompt: whether the labels leave out everything before the audio.
        on_error: "raise", or "column": a row that cannot be read stays, with empty values and the reason in the
            column "error", which is "" in other rows.
        allow_truncated: whether what a cut-off or damaged file still holds is encoded; without it, it is an error.
        output_dtype: of the columns: "uint16" (default for codes), "int32" (default for ids) or "int64". Widen
            uint16 codes before adding to them, `codes.astype(np.int64) + offset`, or the sum may wrap around.
        device: as in `Execution`; not in the hash.
        threads: as in `Execution`; not in the hash.
        seconds_per_call: as in `Execution`; not in the hash.
        **hub_options: as in `SNAC.from_pretrained`; of these only `revision` is in the hash.

    Raises:
        ConfigError: options that are unknown or contradict each other.
        CheckpointError: the codec cannot be loaded.
        LayoutError: the preset does not fit the codec or the text tokenizer, or no prompt is known for it.

    Example:
        >>> import numpy as np
        >>> mapper = SnacMapper("tiny", preset="orpheus", sampling_rate=16_000)
        >>> columns = mapper({"audio": [np.zeros(16_000, np.float32), np.zeros(8_000, np.float32)]})
        >>> [len(ids) for ids in columns["input_ids"]], columns["num_samples"]
        ([84, 42], [24000, 12000])
    """

    @requires(codec=NO_CODEC)
    @with_mapping_options
    def __init__(
        self,
        codec: str | os.PathLike[str],
        *,
        preset: str | os.PathLike[str] | Vocabulary | None = "auto",
        levels: int | None = None,
        audio_column: str = "audio",
        text_tokenizer: Any = None,
        device: str = "cpu",
        threads: int | None = None,
        seconds_per_call: float = 600.0,
        **options: Unpack[MappingOptions],
    ) -> None:
        self._options = chosen = MapperOptions.of(codec, audio_column=audio_column, **options)
        hub_options = hub_options_of(options)
        self._execution = Execution(
            device=device, threads=threads, seconds_per_call=seconds_per_call, hub_options=hub_options
        )
        self._text = TextIds.of(
            text_tokenizer, text_column=chosen.text_column, voice_column=chosen.voice_column
        )
        encoder = self._options.load_encoder(
            preset=preset, levels=levels, device="cpu", hub_options=hub_options
        )
        self._codec = self._options.describe(encoder, ids=preset is not None, levels=levels)
        self._output = self._make_output()
        if self._text and self._output.vocabulary:
            check_text_ids(self._output.vocabulary, self._text.tokenizer)
        # Kept if it is already on the right device. A GPU is not used before the work begins, so that forks may use it.
        self._encoder = (os.getpid(), encoder) if device == "cpu" else None
        _send_execution_to_workers()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the new columns."""
        counted = ("num_samples",) if self._output.counts_samples else ()
        failed = ("error",) if self._options.on_error == "column" else ()
        return (*self._output.arrays, *counted, *failed)

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of the new columns that hold an array of codes or ids in each row."""
        return tuple(self._output.arrays)

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The table of the ids; None for raw codes."""
        return self._output.vocabulary

    @property
    def sampling_rate(self) -> int:
        """The codec's rate in Hz, at which `num_samples` counts."""
        return int(self._codec["sampling_rate"])

    def describe(self) -> dict[str, Any]:
        """Return what decides the columns, as JSON values: codec, weights, resampler, channels and id table."""
        table = self._codec["vocabulary"]
        return self._codec | {
            "resample": self._options.resample,
            "vocabulary": None if table is None else json.loads(table),
        }

    def features(self) -> dict[str, Any]:
        """Return the types of the new columns, by name, as `datasets.Features` takes them.

        Raises:
            MissingDependencyError: `datasets` is not installed.
        """
        datasets = datasets_library()
        return self._output.features(datasets) | (
            {"error": datasets.Value("string")} if self._options.on_error == "column" else {}
        )

    def __call__(self, batch: Any) -> dict[str, Any]:
        """Return the new columns of a batch of rows.

        Raises:
            AudioError: a row cannot be read (unless on_error="column"); the message has its place in the batch.
            TokenError: a row's text cannot be part of a sequence (unless on_error="column").
            ConfigError: a column is missing, or the batch is a single row.
        """
        audio = column_of(batch, self._options.audio_column)
        rates = self._rates(batch, len(audio))
        texts = self._text.of_batch(batch) if self._text else [None] * len(audio)
        errors = [""] * len(audio)
        encoded = encode_rows(audio, rates, self._loaded(), seconds_per_call=self._execution.seconds_per_call)
        rows: list[list[Array] | None] = []
        for at, (result, text) in enumerate(zip(encoded, texts, strict=True)):
            row = self._row(result, text)
            if isinstance(row, Exception):
                errors[at] = self._noted(row, at)
            rows.append(None if isinstance(row, Exception) else row)
        columns = self._output.columns(rows)
        if self._output.counts_samples:
            counts = [result.num_samples if isinstance(result, Encoded) else 0 for result in encoded]
            columns["num_samples"] = counts
        return columns | ({"error": errors} if self._options.on_error == "column" else {})

    def __repr__(self) -> str:
        name = self._output.vocabulary.name if self._output.vocabulary else "raw codes"
        return f"SnacMapper({self._codec['codec_id']}, {name}, {', '.join(self.columns)})"

    def __getstate__(self) -> dict[str, Any]:
        # `datasets`, which hashes a mapper before workers get it, may have been imported since the mapper was made.
        _send_execution_to_workers()
        # As text: the hash of nested objects would depend on which of them happen to be the same object.
        decides = {"options": dataclasses.asdict(self._options), "codec": self._codec}
        return {
            "format": FORMAT_VERSION,
            "decides": json.dumps(decides, sort_keys=True),
            "text": self._text,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["format"] != FORMAT_VERSION:
            raise ConfigError(
                f"this mapper was pickled by another version of the package (format {state['format']}, here "
                f"{FORMAT_VERSION}); make it anew."
            )
        decides = json.loads(state["decides"])
        self._options, self._codec = MapperOptions(**decides["options"]), decides["codec"]
        self._text, self._execution, self._encoder = state["text"], Execution(), None
        self._output = self._make_output()

    def _make_output(self) -> Output:
        table = self._codec["vocabulary"]
        vocabulary = None if table is None else vocabulary_from_json(table)
        if self._text and vocabulary is None:
            raise ConfigError("sequences with text need ids: name a preset, or leave text_column out.")
        return Output(
            vocabulary=vocabulary,
            num_levels=self._codec["num_levels"],
            codebook_size=self._codec["codebook_size"],
            dtype=self._options.dtype,
            prompt=prompt_format(vocabulary, self._options.prompt) if self._text and vocabulary else None,
            mask_prompt=self._options.mask_prompt,
        )

    def _rates(self, batch: Any, num_rows: int) -> list[Any]:
        name = self._options.sampling_rate_column
        return (
            [self._options.sampling_rate] * num_rows if name is None else column_of(batch, name, numbers=True)
        )

    def _row(self, result: Encoded | AudioError, text: Any) -> list[Array] | AudioError | TokenError:
        if isinstance(result, AudioError):
            return result
        try:
            prompt = self._output.prompt
            return self._output.row(result, self._text.ids(text, prompt) if self._text and prompt else None)
        except TokenError as error:
            return error

    def _noted(self, error: AudioError | TokenError, at: int) -> str:
        if self._options.on_error == "column" and not is_machine_fault(error):
            return str(error)
        raise type(error)(f"row {at} of the batch: {error}") from error

    def _loaded(self) -> SnacTokenizer:
        """Return the encoder of this process; a fork must not use its parent's."""
        if self._encoder is None or self._encoder[0] != os.getpid():
            device = set_up_worker(self._execution)
            table = self._codec["vocabulary"]
            with without_trial_warning():
                encoder = self._options.load_encoder(
                    preset=None if table is None else vocabulary_from_json(table),
                    levels=None,
                    device=device,
                    hub_options=self._execution.hub_options,
                )
            if encoder.codec.weights_sha256() != self._codec["weights_sha256"]:
                raise CheckpointError(
                    f"the weights of {self._options.codec!r} have changed since the mapper was made; make it anew."
                )
            self._encoder = (os.getpid(), encoder)
        return self._encoder[1]


def _send_execution_to_workers() -> None:
    for pickler in forking_picklers():
        pickler.register(SnacMapper, _to_worker)


def _to_worker(mapper: SnacMapper) -> tuple[Any, tuple[Any, ...]]:
    """Pickle a mapper for a worker process, with its device options, which the library's hash must not include."""
    return _in_worker, (mapper.__getstate__(), mapper._execution)  # noqa: SLF001 - this module's own class


def _in_worker(state: dict[str, Any], execution: Execution) -> SnacMapper:
    mapper = SnacMapper.__new__(SnacMapper)
    mapper.__setstate__(state)
    mapper._execution = execution  # noqa: SLF001 - this module's own class
    return mapper
