"""Codecs to compare with, by short names such as on a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snac_tok.errors import EvaluationError, did_you_mean
from snac_tok.evaluation.local_codecs import LocalCodec
from snac_tok.evaluation.programs import Codec2RoundTrip, OpusRoundTrip
from snac_tok.evaluation.round_trips import Identity

if TYPE_CHECKING:
    from snac_tok.evaluation.round_trips import RoundTrip

_KNOWN = "opus:KBPS, codec2:MODE, encodec:FOLDER[@KBPS], dac:FOLDER[@CODEBOOKS] and identity"


def round_trip_from_spec(spec: str, *, device: str = "cpu") -> RoundTrip:
    """Return a codec to compare with.

    Args:
        spec: "opus" or "opus:8" (kbps, 6 if none is named), "codec2" or "codec2:1300" (700C if none is named),
            "encodec:FOLDER" or "encodec:FOLDER@3", "dac:FOLDER" or "dac:FOLDER@4", "identity".
        device: where networks run.

    Raises:
        EvaluationError: no such codec, or not with this option.
        MissingDependencyError: its program or package is not installed.

    Example:
        >>> round_trip_from_spec("identity").name
        'identity'
    """
    kind, _, option = spec.partition(":")
    if kind == "identity" and not option:
        return Identity()
    if kind == "opus":
        return OpusRoundTrip(kbps=_number(option, spec)) if option else OpusRoundTrip()
    if kind == "codec2":
        return Codec2RoundTrip(mode=option.upper()) if option else Codec2RoundTrip()
    if kind in {"encodec", "dac"}:
        if not option:
            raise EvaluationError(
                f"{kind} needs the folder of its weights: {kind}:FOLDER; they are not fetched."
            )
        folder, at, amount = option.rpartition("@")
        if not at:
            return LocalCodec(kind, option, device=device)
        return LocalCodec(kind, folder, amount=_number(amount, spec), device=device)
    near = did_you_mean(kind, ("opus", "codec2", "encodec", "dac", "identity"))
    raise EvaluationError(f"there is no codec {spec!r} to compare with; there are {_KNOWN}.{near}")


def _number(text: str, spec: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise EvaluationError(f"{text!r} in {spec!r} is not a number; known are {_KNOWN}.") from None
