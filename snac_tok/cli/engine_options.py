"""Where a run over a corpus works: the options, and the engine that they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from snac_tok.cli.completion import words
from snac_tok.cli.shared_options import FiniteFloatRange, refuse_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from snac_tok.corpus import RayEngine

_OPTIONS = (
    click.option(
        "--engine",
        "engine_name",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where the work runs: here, or on the machines of a Ray cluster. The shards are the same.",
    ),
    click.option(
        "--address",
        metavar="ADDRESS",
        shell_complete=words("local"),
        help="Of the cluster, HOST:PORT; local starts one on this machine.  [default: that of this machine]",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="How many workers on the cluster.  [default: as many as it has room for]",
    ),
    click.option(
        "--cpus-per-worker",
        type=FiniteFloatRange(min=0),
        metavar="C",
        help="CPUs of each worker.  [default: 1]",
    ),
    click.option(
        "--gpus-per-worker",
        type=FiniteFloatRange(min=0),
        metavar="G",
        help="GPUs of each worker, 0.5 for two workers a GPU.  [default: 1 with --device cuda, else 0]",
    ),
)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, as arguments of the function `chosen_engine`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_engine(
    engine_name: str,
    *,
    address: str | None,
    workers: int | None,
    cpus_per_worker: float | None,
    gpus_per_worker: float | None,
    device: str,
) -> RayEngine | None:
    """Return the cluster's engine, None for this machine.

    Raises:
        click.UsageError: an option of the cluster without the cluster.
    """
    from snac_tok.corpus import RayEngine

    if engine_name == "local":
        refuse_options(
            ("address", "workers", "cpus_per_worker", "gpus_per_worker"), "is for a cluster; add --engine ray"
        )
        return None
    if gpus_per_worker is None:
        gpus_per_worker = 1.0 if device.startswith("cuda") else 0.0
    return RayEngine(
        address=address or "auto",
        workers=workers,
        cpus_per_worker=1.0 if cpus_per_worker is None else cpus_per_worker,
        gpus_per_worker=gpus_per_worker,
    )
