"""Rows as flat files of ids, one behind the other: Megatron's .bin and .idx, and datatrove's .ds.

datatrove writes both. Its Megatron files are those of megatron-core byte for byte. Both know ids of 2 bytes (uint16)
and of 4: Megatron has no uint32, so 4 bytes are int32 there, and every id below 2³¹ has the same bytes in both.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from snac_tok.audio.optional import import_optional
from snac_tok.prompts.prompt_format import IGNORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from snac_tok.export.content import Content, Row


@contextlib.contextmanager
def megatron_part(path: Path, content: Content, *, columns: bool) -> Iterator[Callable[[Row], None]]:
    """Lend a function that adds a row as a document of its own; see `tables.parquet_part`."""
    del columns
    tokens = import_optional(
        "datatrove.pipeline.tokens.megatron_tokenizer", extra="export", purpose="Megatron's format"
    )
    size = content.numpy_dtype.itemsize
    file = tokens.MegatronTokenizedFile(str(path.parent), path.name, token_size=size)
    with _closed_after_failure(file.bin_file):
        yield lambda row: file.write(row.arrays["input_ids"])
        file.close()


@contextlib.contextmanager
def datatrove_part(path: Path, content: Content, *, columns: bool) -> Iterator[Callable[[Row], None]]:
    """Lend a function that adds a row as a document; a masked prompt goes to .ds.loss; see `tables.parquet_part`."""
    del columns
    tokens = import_optional(
        "datatrove.pipeline.tokens.tokenizer", extra="export", purpose="datatrove's format"
    )
    size = content.numpy_dtype.itemsize
    name = None if content.vocabulary is None else content.vocabulary.name
    file = tokens.TokenizedFile(
        str(path.parent),
        f"{path.name}.ds",
        token_size=size,
        save_loss_metadata=content.mask_prompt,
        save_final_metadata=True,
        tokenizer_name_or_path=name,
    )

    def add(row: Row) -> None:
        file.write_bytes(row.arrays["input_ids"].astype(f"<u{size}").tobytes())
        if content.mask_prompt:
            file.write_loss_bytes((row.arrays["labels"] != IGNORED).tobytes())

    with _closed_after_failure(file.tokens_file, *filter(None, [file.loss_file])):
        yield add
        file.close()


@contextlib.contextmanager
def _closed_after_failure(*files: Any) -> Iterator[None]:
    """Close files whose owner closes them only when all went well."""
    try:
        yield
    except BaseException:
        for file in files:
            with contextlib.suppress(OSError):
                file.close()
        raise
