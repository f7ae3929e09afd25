"""`tokenize_dataset`: a Hugging Face dataset with sound in, the same dataset with ids or codes out, in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import torch

from snac_tok.mapping.devices import threads_each
from snac_tok.mapping.mapper import SnacMapper
from snac_tok.mapping.mapper_options import with_mapping_options
from snac_tok.mapping.splits import SplitWork, check_count
from snac_tok.sources.huggingface import audio_column_of, splits_of
from snac_tok.tokenizer.required import NO_CODEC, requires

if TYPE_CHECKING:
    import os

    from snac_tok.frames import Vocabulary
    from snac_tok.mapping.mapper_options import MappingOptions

DatasetT = TypeVar("DatasetT")

_ROWS, _GPU_ROWS = 128, 1024


@requires(codec=NO_CODEC)
@with_mapping_options
def tokenize_dataset(
    dataset: DatasetT,
    codec: str | os.PathLike[str],
    *,
    preset: str | os.PathLike[str] | Vocabulary | None = "auto",
    levels: int | None = None,
    audio_column: str | None = None,
    text_tokenizer: Any = None,
    device: str = "cpu",
    keep_audio: bool = False,
    batch_size: int | None = None,
    num_proc: int | None = 1,
    rows_per_file: int | None = None,
    load_from_cache_file: bool | None = None,
    description: str = "Tokenizing audio",
    **options: Unpack[MappingOptions],
) -> DatasetT:
    """Turn a dataset's sound into ids, sequences to train on, or raw codes; other columns are kept.

    Results made before with the same weights and options come from the library's cache, errors included: of a row that
    is a path it knows the path, and does not look at the file again. The result's
    `info.description`, which `save_to_disk` keeps, has a line of JSON with codec, weights, resampler and id table.

    Args:
        dataset: a `Dataset`, a `DatasetDict`, or a streamed one.
        codec: as in `SnacMapper`.
        preset: as in `SnacMapper`; "auto" is the codec's own table or "plain", None gives raw codes.
        levels: as in `SnacMapper`.
        audio_column: the column of sound; None is the only Audio column, or one with a usual name.
        text_tokenizer: as in `SnacMapper`.
        device: as in `SnacMapper`.
        keep_audio: keep the audio column, undecoded; this copies every sound into the new files.
        batch_size: how many rows the mapper gets at a time; it does not change results. None is 128, or 1,024 on a
            GPU, which does nothing between two of them.
        num_proc: how many processes work; None is 1. With a GPU, start them with
            `multiprocess.set_start_method("spawn")`.
        rows_per_file: for datasets on disk: store results after so many rows, so that a killed run continues from
            there; without it, a run in one process starts again.
        load_from_cache_file: False reads and encodes all rows again, such as after files were replaced; None is the
            library's habit. Streamed datasets have no cache.
        description: the text beside the progress bar.
        options: sampling_rate, text_column, on_error and all others of `SnacMapper`.

    Returns:
        the kind of dataset that was given.

    Raises:
        ConfigError: not a dataset, an impossible option, no column of sound, or a new column has the name of an
            existing one.
        AudioError: as `SnacMapper`.
        MissingDependencyError: `datasets` is not installed.

    Example:
        >>> import numpy as np
        >>> from datasets import Dataset, disable_progress_bars
        >>> disable_progress_bars()
        >>> clips = Dataset.from_dict({"audio": [np.zeros(24_000, np.float32)], "text": ["(silence)"]})
        >>> tokenize_dataset(clips, "tiny", preset="orpheus", sampling_rate=24_000)
        Dataset({
            features: ['text', 'input_ids', 'num_samples'],
            num_rows: 1
        })
    """
    num_proc = 1 if num_proc is None else check_count(num_proc, name="num_proc")
    first = next(iter(splits_of(dataset).values()))
    column = audio_column or audio_column_of(first, remedy="name it: audio_column=")
    mapper = SnacMapper(
        codec,
        preset=preset,
        levels=levels,
        audio_column=column,
        text_tokenizer=text_tokenizer,
        device=device,
        threads=threads_each(num_proc),
        **options,
    )
    work = SplitWork(
        mapper=mapper,
        column=column,
        keep_audio=keep_audio,
        batch_size=_batch_size(device) if batch_size is None else batch_size,
        num_proc=num_proc,
        rows_per_file=rows_per_file,
        load_from_cache_file=load_from_cache_file,
        description=description,
    )
    if isinstance(dataset, dict):
        return type(dataset)({name: work.mapped(split) for name, split in dataset.items()})
    result: DatasetT = work.mapped(dataset)
    return result


def _batch_size(device: str) -> int:
    return _GPU_ROWS if torch.device(device).type == "cuda" else _ROWS


# doctest skips decorated functions.
__test__ = {"tokenize_dataset": str(tokenize_dataset.__doc__)}
