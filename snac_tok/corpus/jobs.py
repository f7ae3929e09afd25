"""In how many processes files are decoded, while the main one encodes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from snac_tok.errors import ShardError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.corpus.plan import PlannedFile

# With fewer recordings and bytes than these, starting processes takes longer than they save.
_MANY_FILES = 256
_MANY_BYTES = 256 << 20
# One process decodes faster than four cores encode; a GPU encodes faster than all of them decode, up to a point.
_CORES_PER_JOB = 4
_MOST_JOBS, _MOST_GPU_JOBS = 8, 16


def num_jobs(jobs: int | None, items: Sequence[PlannedFile], *, on_ray: bool, on_gpu: bool) -> int:
    """Return in how many processes to decode these recordings.

    Args:
        jobs: as many as somebody asked for; None for what suits the machine.
        items: what is to be decoded.
        on_ray: whether workers of a cluster do it, and these are the processes of each.
        on_gpu: whether a GPU encodes.

    Raises:
        ShardError: less than none were asked for.
    """
    if jobs is not None and jobs < 0:
        raise ShardError(f"jobs is {jobs}; a number of processes, or 0 for none, is needed.")
    if jobs is not None:
        return jobs
    if on_ray:
        return 1  # a file that crashes its decoder must not end the worker
    if len(items) < _MANY_FILES and sum(item.num_bytes for item in items) < _MANY_BYTES:
        return 0
    cores = os.cpu_count() or 1
    return max(1, min(_MOST_GPU_JOBS, cores - 1) if on_gpu else min(_MOST_JOBS, cores // _CORES_PER_JOB))
