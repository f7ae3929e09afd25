"""The formats by name: who writes them, under which file names, and what they cannot hold."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from snac_tok.audio.optional import import_optional
from snac_tok.errors import ExportError, did_you_mean
from snac_tok.export.archives import shar_part, webdataset_part
from snac_tok.export.folder import SHAR_FOLDER
from snac_tok.export.tables import jsonl_part, parquet_part
from snac_tok.export.token_files import datatrove_part, megatron_part
from snac_tok.shards import shard_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from snac_tok.export.content import Content


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format.

    Attributes:
        name: what people call it.
        write: lends a function that adds a row to a part: called with the part's path, without an ending.
        package: what it needs that snac_tok does not.
        is_flat: whether it holds one line of ids of 2 or 4 bytes a document and nothing else.
        has_columns: whether rows are tables, in which records' columns may be left out.
        has_types: whether numbers have a type.
        writes_empty: whether a part without rows is a file, too.
        own_columns: which columns it adds to rows, besides the numbers.
        fills_in_percent: whether its package takes a "%" in a path for a place to put a file's number.
    """

    name: str
    write: Callable[..., AbstractContextManager[Callable[..., None]]]
    package: str | None = None
    is_flat: bool = False
    has_columns: bool = False
    has_types: bool = True
    writes_empty: bool = False
    own_columns: frozenset[str] = frozenset()
    fills_in_percent: bool = False

    def stem(self, index: int, count: int) -> str:
        """Return where a part's files stand in the folder, without their endings."""
        if self.name == "lhotse":
            return f"{SHAR_FOLDER}/{index:06d}"
        return shard_name(index, count).removesuffix(".parquet")

    def check(self, content: Content, *, columns: bool, out: Path) -> None:
        """Refuse content that this format cannot hold, with the records' own columns where they are wanted, in `out`.

        Raises:
            ExportError: says what else to take.
            MissingDependencyError: its package is not installed.
        """
        if self.is_flat:
            self._check_flat(content)
        elif content.what == "sequences" and content.dtype == "uint16":
            raise ExportError("labels may have -100 in them, which uint16 cannot hold; take int32.")
        if content.dtype is not None and not self.has_types:
            raise ExportError(f"numbers in {self.name} have no type, {content.dtype} neither; leave it out.")
        if content.mask_prompt and self.name == "megatron":
            raise ExportError(
                "megatron's files hold ids and no labels, so that no prompt can be masked; datatrove's have losses."
            )
        clash = sorted(content.column_types.keys() & (content.dtypes.keys() | self.own_columns))
        if clash and (columns or not self.has_columns):
            raise ExportError(
                f"the records have a column {clash[0]!r} of their own, which the export makes itself; rename it, or "
                "leave the records' columns out of a table (--no-columns)."
            )
        if self.fills_in_percent and "%" in str(out.absolute()):
            raise ExportError(
                f"{out.absolute()} has a % in its name, which {self.name} takes for a place to put a number; choose a "
                "folder without one."
            )
        if self.package is not None:
            import_optional(self.package, extra="export", purpose=f"the export to {self.name}")

    def _check_flat(self, content: Content) -> None:
        if content.what == "codes":
            raise ExportError(
                f"{self.name} holds the ids of a language model, not raw codes; name a preset, or export to parquet "
                "(hf)."
            )
        if content.is_parallel:
            raise ExportError(
                f"{self.name} holds one line of ids, and this preset has parallel rows; take another preset, or hf."
            )
        if content.dtype == "int64":
            raise ExportError(f"{self.name} is written with int32 or uint16; take int32.")


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        each.name: each
        for each in (
            Format(name="hf", write=parquet_part, has_columns=True, writes_empty=True),
            Format(name="jsonl", write=jsonl_part, has_columns=True, has_types=False),
            Format(name="megatron", write=megatron_part, package="datatrove", is_flat=True),
            Format(name="datatrove", write=datatrove_part, package="datatrove", is_flat=True),
            Format(name="webdataset", write=webdataset_part, package="webdataset"),
            Format(
                name="lhotse",
                write=shar_part,
                package="lhotse",
                # The last two are set by its reader, on every cut.
                own_columns=frozenset({"sampling_rate", "record_id", "shard_origin", "shar_epoch"}),
                fills_in_percent=True,
            ),
        )
    }
)


def format_named(name: str) -> Format:
    """Return a format by its name.

    Raises:
        ExportError: there is none of this name.
    """
    if not isinstance(name, str) or name not in FORMATS:
        near = did_you_mean(name, FORMATS) if isinstance(name, str) else ""
        raise ExportError(f"no format {name!r}; there are {', '.join(FORMATS)}.{near}")
    return FORMATS[name]
