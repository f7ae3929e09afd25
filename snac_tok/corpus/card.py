"""A dataset card: what a collection holds, in the form that the Hugging Face hub shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snac_tok.shards.record import schema_with

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.shards import Manifest

# The hub's names for the numbers of rows.
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")


def dataset_card(manifest: Manifest, figures: dict[str, Any], *, columns: Sequence[str]) -> str:
    """Return the card as Markdown; whoever publishes the collection fills in its licence and where sound came from.

    Args:
        manifest: of the collection.
        figures: its statistics.
        columns: what its records keep beside the columns that every shard has.
    """
    info, lengths = manifest.collection, figures["duration_seconds"]
    size = max(0, int(math.log10(max(manifest.num_records, 1))) - 2)
    fields = "\n".join(f"| `{field.name}` | {field.type} |" for field in schema_with(columns))
    usage = "\n".join(
        f"| {level['level']} | {level['used']:,} | {level['perplexity']:.1f} |"
        for level in figures["codebook_usage"]
    )
    median = lengths["percentiles"].get("50")
    return f"""\
---
# Fill in the licence of the recordings, and the languages in them.
license: unknown
language: []
task_categories:
- text-to-speech
- automatic-speech-recognition
tags:
- audio-tokens
- snac
size_categories:
- {_SIZES[min(size, len(_SIZES) - 1)]}
configs:
- config_name: default
  data_files: train-*.parquet
---

# Speech as SNAC codes

{manifest.hours:.2f} hours in {manifest.num_records:,} records, {manifest.num_tokens:,} codes, in \
{len(manifest.shards):,} Parquet files. {figures["num_texts"]:,} records have a text. Records last \
{lengths["shortest"] or 0:.2f} s to {lengths["longest"] or 0:.2f} s; half of them at least {median} s. \
{manifest.num_failures:,} recordings gave no record.

Codes were made with `{info.codec_id}` (weights {info.weights_sha256[:12]}…, {info.precision}) at \
{info.sampling_rate} Hz, \
{info.tokens_per_frame} codes a frame, each 0…{info.codebook_size - 1}, by snac_tok {info.package_version}.

```python
from datasets import load_dataset

rows = load_dataset("parquet", data_files="train-*.parquet", split="train")
```

```python
from snac_tok import open_shards

for record, ids in open_shards(".").ids("orpheus"):
    record.id, record.text, ids
```

| column | type |
|---|---|
{fields}

| level | entries used | perplexity |
|---|--:|--:|
{usage}

Sources of the recordings, and what may be done with them: to be filled in.
"""
