"""Codecs to compare with, by short names such as on a command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snac_tok.errors import EvaluationError, did_you_mean
from snac_tok.evaluation.local_codecs import LocalCodec, amount_of
from snac_tok.evaluation.programs import Codec2RoundTrip, OpusRoundTrip
from snac_tok.evaluation.round_trips import Identity

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

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
    return round_trips_from_specs([spec], device=device)[0]


def round_trips_from_specs(specs: Iterable[str], *, device: str = "cpu") -> list[RoundTrip]:
    """Return codecs to compare with, each once however it is spelled, and each with a name of its own.

    Names of folders have as many of their parents before them as tell them apart. No weights are loaded before all is
    known to be there.

    Args:
        specs: as in `round_trip_from_spec`.
        device: where networks run.

    Raises:
        EvaluationError: as in `round_trip_from_spec`.
        MissingDependencyError: as there.

    Example:
        >>> [codec.name for codec in round_trips_from_specs(["identity", "identity"])]
        ['identity']
    """
    different: dict[Hashable, RoundTrip | _LocalSpec] = {}
    for found in map(_parsed, specs):
        # What a program is run with is all in the name.
        different.setdefault(found.key if isinstance(found, _LocalSpec) else found.name, found)
    local = [found for found in different.values() if isinstance(found, _LocalSpec)]
    return [
        found.loaded(local, device=device) if isinstance(found, _LocalSpec) else found
        for found in different.values()
    ]


@dataclass(frozen=True, kw_only=True)
class _LocalSpec:
    """A codec in a folder, before its weights are loaded."""

    kind: str
    folder: Path
    amount: float

    @property
    def key(self) -> Hashable:
        """What is equal for equal codecs."""
        return self.kind, os.path.realpath(self.folder), self.amount

    def loaded(self, others: Sequence[_LocalSpec], *, device: str) -> LocalCodec:
        """Load the codec, under a name that none of the others has."""
        of_kind = [other.folder for other in others if other.kind == self.kind]
        shown = _told_apart(self.folder, of_kind)
        return LocalCodec(self.kind, self.folder, amount=self.amount, device=device, shown=shown)


def _told_apart(folder: Path, others: Iterable[Path]) -> str:
    """Return the end of a folder's path that is not the end of another one's.

    >>> _told_apart(Path("/runs/a/codec"), [Path("/runs/b/codec"), Path("/runs/a/codec")])
    'a/codec'
    """
    own = _parts(folder)
    different = [
        parts
        for other, parts in ((other, _parts(other)) for other in others)
        if os.path.realpath(other) != os.path.realpath(folder)
    ]
    length = 1
    while any(parts[-length:] == own[-length:] for parts in different):
        length += 1
    return Path(*own[-length:]).as_posix()


def _parts(folder: Path) -> tuple[str, ...]:
    # Links stay as they were named.
    return Path(os.path.abspath(folder)).parts  # noqa: PTH100


def _parsed(spec: str) -> RoundTrip | _LocalSpec:
    """Return what a specification means; networks are not loaded."""
    kind, _, option = spec.partition(":")
    if kind == "identity" and not option:
        return Identity()
    if kind == "opus":
        return OpusRoundTrip(kbps=_number(option, spec)) if option else OpusRoundTrip()
    if kind == "codec2":
        return Codec2RoundTrip(mode=option.upper()) if option else Codec2RoundTrip()
    if kind in {"encodec", "dac"}:
        return _parsed_local(kind, option, spec)
    near = did_you_mean(kind, ("opus", "codec2", "encodec", "dac", "identity"))
    raise EvaluationError(f"there is no codec {spec!r} to compare with; there are {_KNOWN}.{near}")


def _parsed_local(kind: str, option: str, spec: str) -> _LocalSpec:
    before, at, amount = option.rpartition("@")
    name = before if at else option
    if not name:
        raise EvaluationError(f"{kind} needs the folder of its weights: {kind}:FOLDER; they are not fetched.")
    folder, wanted = Path(name), _number(amount, spec) if at else None
    return _LocalSpec(kind=kind, folder=folder, amount=amount_of(kind, folder, wanted))


def _number(text: str, spec: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise EvaluationError(f"{text!r} in {spec!r} is not a number; known are {_KNOWN}.") from None
