"""Runs a llama.cpp server for a GGUF file, in a process of its own.

A program of its own, too, for that process: it prints its address and serves until its input ends. In the process of
the caller it would not end for sure: xllamacpp's servers sometimes wait for ever when they are given up.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from snac_tok.errors import GenerationStoppedError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def serve(path: Path) -> Iterator[str]:
    """Serve a GGUF file, and yield the server's address.

    Raises:
        MissingDependencyError: xllamacpp is not installed.
        GenerationStoppedError: it did not start.
    """
    if find_spec("xllamacpp") is None:
        raise MissingDependencyError("xllamacpp is not installed: pip install xllamacpp.")
    command = [sys.executable, __file__, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            address = server.stdout.readline().strip()
            if not address:
                raise GenerationStoppedError(
                    f"llama.cpp did not start with {path}; what it says stands above."
                )
            yield address
        finally:
            server.stdin.close()


def main(path: str) -> None:
    """Serve one model, to one client at a time, on one thread."""
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path = path
    # A context of 0 is the model's own.
    options.n_ctx, options.n_parallel, options.warmup, options.verbosity = 0, 1, False, 0
    options.cpuparams.n_threads = 1
    server = xllamacpp.Server(options)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
