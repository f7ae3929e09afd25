"""The command line, `snac-tok`.

One module a command: it parses, calls the library and prints. Torch, numpy and pyarrow are imported inside the
commands' bodies, so that asking for help does not wait for them.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line with this process's arguments, and exit with the command's code."""
    from snac_tok.cli.program import program

    program(prog_name="snac-tok")
