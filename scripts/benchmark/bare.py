"""A machine with torch, triton, einops and numpy alone: what else is imported there, and stands in for it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

# Rooms that read files or ask the hub load these; nothing here reads a file or asks the hub.
_UNUSED = (
    "soundfile",
    "soxr",
    "safetensors",
    "safetensors.torch",
    "huggingface_hub",
    "huggingface_hub.errors",
)


class _Missing(Exception):  # noqa: N818 - it stands in for classes of any kind
    """Whatever a module that is not installed has."""


class _StandIn(ModuleType):
    __path__: list[str] = []  # noqa: RUF012 - as packages have it

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Missing


def stand_in_for_missing() -> list[str]:
    """Let modules import what is not installed here and not used either; return its names."""
    missing = []
    for name in _UNUSED:
        parent = name.partition(".")[0]
        if parent in missing or importlib.util.find_spec(parent) is None:
            sys.modules[name] = _StandIn(name)
            missing.append(name)
    return missing


def use_wheel(folder: str) -> str:
    """Import `snac` from a wheel in a folder; return its file name.

    Raises:
        FileNotFoundError: there is none.
    """
    wheels = sorted(Path(folder).glob("snac-*.whl"))
    if not wheels:
        raise FileNotFoundError(f"no snac-*.whl in {folder}")
    sys.path.insert(0, str(wheels[-1]))
    return wheels[-1].name
