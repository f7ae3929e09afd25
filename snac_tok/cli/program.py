"""The group of commands, loaded when they are named, and what becomes of errors: one sentence and an exit code.

0    all is well
1    some files could not be used; the others are done
2    wrong usage, or nothing could be done
3    shard: too many recordings failed (--max-error-rate)
4    shard: the disk is full or failed, or too many files are open
5    shard: there is not enough memory
6    shard: the device that encodes failed
130  interrupted from the keyboard
141  whoever read the output stopped reading
143  ended by SIGTERM
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import re
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.shell_completion import add_completion_class

from snac_tok import __version__
from snac_tok.cli.advice import at_the_command_line
from snac_tok.cli.completion import Bash
from snac_tok.cli.messages import examples, say, unwritable_stdout
from snac_tok.cli.stopping import StoppedError
from snac_tok.errors import SnacTokError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMANDS = (
    "encode",
    "decode",
    "roundtrip",
    "plot",
    "shard",
    "status",
    "verify",
    "export",
    "inspect",
    "prepare",
    "train",
    "eval",
    "serve",
    "demo",
)
_FAILED = 2
_INTERRUPTED = 130
_PIPE_CLOSED = 141
DEBUG_VARIABLE = "SNAC_TOK_DEBUG"
# How click, and our own options, refuse a word that is not one of the possible ones.
_CHOICE = re.compile(
    r"'(?P<found>[^']*)' is (?:not one of|none of) (?P<words>'[^']*'(?:, '[^']*')+|\w+(?:\|\w+)+)\.$"
)


class _Reported(click.ClickException):
    """An error that has become a sentence, and the exit code."""

    def __init__(self, message: str, status: int = _FAILED) -> None:
        super().__init__(message)
        self.status = status


class Program(click.Group):
    """Loads each command's module on demand and turns every error into one sentence on stderr."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands' names, in the order of use."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import the module of a command and return what it defines under the same name."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"snac_tok.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands in front of the command; of an option that belongs behind it, say so."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            self._refuse_option_of_a_command(ctx, error.option_name, words)
            raise

    def _refuse_option_of_a_command(self, ctx: click.Context, option: str, words: list[str]) -> None:
        """Refuse an option that the named command has; where none is named, that any command has.

        Raises:
            click.UsageError: it is one.
        """
        # Right behind the option may stand its value, which may be called like a command.
        named = sorted(
            (word for word in words if word in _COMMANDS),
            key=lambda word: words[words.index(word) - 1] == option,
        )
        for name in named or _COMMANDS:
            command = self.get_command(ctx, name)
            if command is not None and option in _words_of_options(command):
                where = "the command" if named else "a command"
                raise click.UsageError(
                    f"{option} stands behind {where}: `snac-tok {name} {option} …`",
                    ctx=click.Context(command, info_name=name, parent=ctx),
                )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named; for an unknown one say which is near, and refuse empty words."""
        name = args[0]
        is_known = name in _COMMANDS or name.startswith("-")
        if not is_known and not ctx.resilient_parsing:  # a shell that completes a word wants no sentence
            raise click.UsageError(f"No such command {name!r}.{did_you_mean(name, _COMMANDS)}", ctx=ctx)
        found, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:  # while a shell completes, words are missing
            _refuse_empty_words(click.Context(command, info_name=found, parent=ctx), rest)
        return found, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whatever it raises leaves as a click exception."""
        try:
            with _log_as_messages():
                return super().invoke(ctx)
        except click.UsageError:
            raise
        except (
            click.ClickException
        ) as error:  # a command's own sentence, and in it perhaps one of the library
            status = error.status if isinstance(error, StoppedError) else _FAILED
            raise _Reported(at_the_command_line(error.format_message()), status) from error
        except (click.exceptions.Exit, click.Abort, KeyboardInterrupt):
            raise
        except BrokenPipeError:
            _leave_closed_pipe()
        except Exception as error:  # the last stop: whatever happens becomes one sentence
            if ctx.params["debug"]:
                traceback.print_exc()
            raise _Reported(_sentence(error)) from error

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run with the process's arguments and exit."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a file name or a console may know fewer characters
                stream.reconfigure(errors="backslashreplace")
        add_completion_class(Bash)
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except click.ClickException as error:
            say(_usage(error))
            sys.exit(error.status if isinstance(error, _Reported) else _FAILED)
        except OSError as error:  # of --help and --version: what commands raise is a sentence by now
            say(unwritable_stdout(error))
            sys.exit(_FAILED)
        except click.Abort:
            say("interrupted")
            sys.exit(_INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(
    cls=Program,
    invoke_without_command=True,
    epilog=examples(
        "snac-tok encode a.wav -o a.npz --model tiny",
        "snac-tok decode a.npz -o back.wav",
        "snac-tok shard clips shards --model tiny",
        "snac-tok inspect shards",
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--debug",
    is_flag=True,
    envvar=DEBUG_VARIABLE,
    help=f"Show where an error happened; also {DEBUG_VARIABLE}=1.",
)
@click.version_option(__version__, prog_name="snac-tok", message="%(prog)s %(version)s")
@click.pass_context
def program(context: click.Context, debug: bool) -> None:  # noqa: ARG001 - `Program.invoke` reads it
    """Sound to language-model tokens and back, with the SNAC neural audio codec.

    The model "tiny" ships with the package and needs no download; it is for trials, not for production.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _words_of_options(command: click.Command) -> set[str]:
    return {word for param in command.params for word in (*param.opts, *param.secondary_opts)}


def _refuse_empty_words(context: click.Context, words: list[str]) -> None:
    """Refuse an empty argument or option of any command: a path of "" would be the current folder.

    Raises:
        click.UsageError: one is empty, or there is no such option.
    """
    values, _, _ = context.command.make_parser(context).parse_args(args=list(words))
    if values.get("help"):
        return
    for param in context.command.params:
        value = values.get(param.name or "")
        if "" in (value if isinstance(value, list | tuple) else [value]):
            is_option = isinstance(param, click.Option)
            shown = max(param.opts, key=len) if is_option else (param.metavar or "").strip("[].…")
            advice = "give it a value, or leave it out" if is_option else "name something"
            raise click.UsageError(
                f'{shown} is empty, as "$NAME" is where no variable has this name; {advice}', ctx=context
            )


@contextmanager
def _log_as_messages() -> Iterator[None]:
    """Show the library's warnings as messages of this program while a command runs."""
    logger, handler = logging.getLogger("snac_tok"), _MessageHandler(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _MessageHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(at_the_command_line(record.getMessage()))


def _leave_closed_pipe() -> NoReturn:
    """Exit quietly; what is still buffered goes nowhere, so that the interpreter does not complain about it."""
    if sys.stdout is not None:  # what broke may be stderr
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(_PIPE_CLOSED)


def _sentence(error: Exception) -> str:
    """Say what happened; what this package did not raise on purpose gets its kind and a hint."""
    if isinstance(error, SnacTokError):
        return at_the_command_line(error)
    if isinstance(error, OSError):
        where = f"{Path(os.fsdecode(error.filename))}: " if error.filename else ""
        return f"{where}{error.strerror or error}."
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; split the recording, or close other programs."
    if isinstance(error, RecursionError):
        return "something in the input is nested too deep to be read; no file of ours is."
    return f"unexpected {type(error).__name__}: {error}; `snac-tok --debug …` shows where."


def _usage(error: click.ClickException) -> str:
    """The exception's sentence; a usage error says which word was probably meant, and where help is."""
    message = error.format_message()
    if choice := _CHOICE.search(message):
        message += did_you_mean(choice["found"], re.findall(r"[\w-]+", choice["words"]))
    if isinstance(error, click.UsageError) and error.ctx is not None:
        end = "" if message.endswith(("?", "?)")) else "."
        return f"{message.rstrip('.')}{end} Try `{error.ctx.command_path} --help`."
    return message
