"""Every draw of a run as a function of (seed, what it is for, step, rank), so that a resumed run draws the same."""

from __future__ import annotations

import hashlib

import torch


def generator_for(seed: int, purpose: str, *place: int) -> torch.Generator:
    """Return a CPU generator that depends on its arguments alone.

    Example:
        >>> draws = [torch.rand((), generator=generator_for(0, "noise", 7)).item() for _ in range(2)]
        >>> draws[0] == draws[1]
        True
    """
    digest = hashlib.blake2b(repr((seed, purpose, place)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
