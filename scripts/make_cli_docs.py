"""Writes docs/cli.md: the help of every command, as the program prints it.

Usage: python scripts/make_cli_docs.py [--check]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from generated_page import write_or_check
from snac_tok.cli.program import program

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
WIDTH = 100

INTRO = """\
# The command line

<!-- Written by scripts/make_cli_docs.py from --help; scripts/fix renews it. -->

Results go to stdout, messages to stderr. Output files appear whole or not at all, and nothing that exists is
overwritten without `--force`.

| exit code | means |
|---|---|
| 0 | all is well |
| 1 | some files could not be used; the others are done |
| 2 | wrong usage, or nothing could be done: one sentence on stderr says why |
| 3 | `shard`: more recordings failed than `--max-error-rate` allows |
| 4 | `shard`: the disk is full or failed, or too many files are open |
| 5 | `shard`: there is not enough memory |
| 6 | `shard`: the device that encodes failed |
| 130 | interrupted from the keyboard |
| 141 | whoever read the output stopped reading |
| 143 | ended by SIGTERM |

| environment variable | does |
|---|---|
| `SNAC_TOK_MODEL` | the model where `--model` is not given and the input does not name one |
| `SNAC_TOK_DEBUG=1` | shows the traceback of an error, as `snac-tok --debug …` does |
| `SNAC_TOK_KERNELS=off` | takes torch's operators alone, no loops of numba and no kernels of Triton |
| `SNAC_TOK_API_KEY`, `SNAC_TOK_SOURCE_API_KEY` | `serve`: the key that clients send; that of the source's server |

## Pipes, and hearing what comes out

`-` in place of a file is stdin or stdout, and `--format` says what goes to stdout. What is written is a whole file, so
any player that reads stdin plays it; snac_tok brings none of its own:

```
snac-tok encode - -o - < speech.wav | snac-tok decode - -o back.wav
snac-tok encode speech.wav -o - | snac-tok decode - -o - | ffplay -nodisp -autoexit -
```

| player | of | command |
|---|---|---|
| `ffplay` | ffmpeg, on every system | `… -o - \\| ffplay -nodisp -autoexit -` |
| `play` | sox, on every system | `… -o - \\| play -q -t wav -` |
| `aplay` | ALSA, on Linux | `… -o - \\| aplay -q -` |
| `afplay` | macOS | `… -o back.wav && afplay back.wav` |

In a notebook, the last line `tokenizer.decode(ids)` shows a player by itself.

## Completion in the shell

One line, in the file that the shell reads when it starts:

| shell | file | line |
|---|---|---|
| bash 4.4 or newer | `~/.bashrc` | `eval "$(_SNAC_TOK_COMPLETE=bash_source snac-tok)"` |
| zsh | `~/.zshrc` | `eval "$(_SNAC_TOK_COMPLETE=zsh_source snac-tok)"` |
| fish | `~/.config/fish/completions/snac-tok.fish` | `_SNAC_TOK_COMPLETE=fish_source snac-tok \\| source` |

Commands, options and their possible values are completed, with the names of presets, codecs, prompts, metrics and
devices, and so are files and folders wherever one can be named. bash offers files where no such name fits.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([INTRO, *sections()])


def sections() -> Iterator[str]:
    """Yield the help of the program, then that of each command."""
    top = context_of(program, "snac-tok")
    yield section(top)
    for name in program.list_commands(top):
        command = program.get_command(top, name)
        if command is None:
            raise click.UsageError(f"the program lists {name!r} and does not have it")
        yield section(context_of(command, name, parent=top))


def context_of(command: click.Command, name: str, *, parent: click.Context | None = None) -> click.Context:
    """Return the context a command runs in, as wide as the page wherever it is made."""
    return command.make_context(name, [], parent, resilient_parsing=True, terminal_width=WIDTH)


def section(context: click.Context) -> str:
    """Return one command's help under its name."""
    return f"## {context.command_path}\n\n```text\n{context.get_help().rstrip()}\n```\n"


if __name__ == "__main__":
    write_or_check(PAGE, page(), description=__doc__)
