"""An evaluation as JSON, and back: one format with a version, for other programs and later comparisons."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from snac_tok.errors import EvaluationError
from snac_tok.evaluation.results import Evaluation
from snac_tok.plain_values import from_plain, parse_json

FORMAT = "snac_tok.evaluation"
VERSION = 1


def evaluation_to_json(evaluation: Evaluation) -> str:
    """Return everything that was found, with summaries for readers, as JSON text.

    Example:
        >>> empty = Evaluation(
        ...     sampling_rate=24_000, measures=(), left_out={}, num_seeds=1, codecs=(), failures=(), versions={}
        ... )
        >>> evaluation_from_json(evaluation_to_json(empty)) == empty
        True
    """
    values: dict[str, Any] = {"format": FORMAT, "version": VERSION} | dataclasses.asdict(evaluation)
    for entry, codec in zip(values["codecs"], evaluation.codecs, strict=True):
        # Derived, and passed over when read back.
        entry["summary"] = {
            "duration_seconds": codec.duration_seconds,
            "bits_per_second": codec.bits_per_second,
            "entropy_bits_per_second": codec.entropy_bits_per_second,
            "encode_speed": codec.encode_speed,
            "decode_speed": codec.decode_speed,
            "measures": {
                name: dataclasses.asdict(found) if (found := codec.summary(name)) else None
                for name in evaluation.measures
            },
        }
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def evaluation_from_json(text: str | bytes) -> Evaluation:
    """Read what `evaluation_to_json` wrote.

    Raises:
        EvaluationError: something else, a newer version, or damaged.
    """
    values = parse_json(text, what="the report", error=EvaluationError)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise EvaluationError("this is no report of an evaluation (snac-tok eval --json writes one).")
    if values.get("version") != VERSION:
        raise EvaluationError(
            f"the report has version {values.get('version')!r}; this snac_tok reads version {VERSION}."
        )
    found = {name: value for name, value in values.items() if name not in {"format", "version"}}
    codecs = found.get("codecs")
    for codec in codecs if isinstance(codecs, list) else ():
        if isinstance(codec, dict):
            codec.pop("summary", None)
    return from_plain(Evaluation, found, what="the report", error=EvaluationError)
