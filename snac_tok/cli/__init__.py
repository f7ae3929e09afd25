"""The command line, `snac-tok`.

One module a command: it parses, calls the library and prints. Torch, numpy and pyarrow are imported inside the
commands' bodies, so that asking for help does not wait for them.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading

__all__ = ["main"]


def main() -> None:
    """Run the command line with this process's arguments, and exit with the command's code."""
    try:
        from snac_tok.cli.program import program

        program(prog_name="snac-tok")
    except KeyboardInterrupt:  # a second Control-C, while the first was being answered
        sys.exit(128 + signal.SIGINT)
    finally:
        # A Control-C from now on would show what the interpreter tidies up; it still has to end a thread that hangs.
        if sys.stdout is not None:  # as after >&-
            with contextlib.suppress(OSError, ValueError):  # the signal would leave it unwritten
                sys.stdout.flush()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
