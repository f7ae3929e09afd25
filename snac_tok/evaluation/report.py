"""An evaluation as JSON, and back: one format with a version, for other programs and later comparisons."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from snac_tok.errors import EvaluationError
from snac_tok.evaluation.results import Evaluation
from snac_tok.plain_values import from_plain, parse_json

if TYPE_CHECKING:
    from snac_tok.sources.failures import Failure

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
    values["failures"] = [_failure_values(failure) for failure in evaluation.failures]
    for entry, codec in zip(values["codecs"], evaluation.codecs, strict=True):
        entry["failures"] = [_failure_values(failure) for failure in codec.failures]
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
        raise EvaluationError("this is not a report of an evaluation (snac-tok eval --json writes one).")
    if values.get("version") != VERSION:
        raise EvaluationError(
            f"the report has version {values.get('version')!r}; this snac_tok reads version {VERSION}."
        )
    found = {name: value for name, value in values.items() if name not in {"format", "version"}}
    _rename_failures(found)
    codecs = found.get("codecs")
    for codec in codecs if isinstance(codecs, list) else ():
        if isinstance(codec, dict):
            codec.pop("summary", None)
            _rename_failures(codec)
    return from_plain(Evaluation, found, what="the report", error=EvaluationError)


def _failure_values(failure: Failure) -> dict[str, str]:
    """The report's own name for what failed: a clip."""
    return {"clip": failure.source, "reason": failure.reason, "code": failure.code}


def _rename_failures(values: dict[str, Any]) -> None:
    """Give failures the names of our own class again; whatever is wrong with them is left for `from_plain` to say."""
    failures = values.get("failures")
    for failure in failures if isinstance(failures, list) else ():
        if isinstance(failure, dict) and "clip" in failure:
            failure["source"] = failure.pop("clip")
