"""Runs a llama.cpp server for a GGUF file until its input ends, and prints its address first.

Usage: python llama_server.py MODEL.gguf

A process of its own, because xllamacpp's servers sometimes wait for ever when they are ended: here the process ends.
"""

from __future__ import annotations

import os
import sys

import xllamacpp


def main(path: str) -> None:
    """Serve one model, to one client at a time, on one thread."""
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
