"""What a shell completes where a value is typed: files, folders, and the words that an option knows.

Each completer here is an argument `shell_complete` of click's options and arguments; it does not change their values.
An item of the type "file" or "dir" has the shell look for files or folders itself, by click's script for that shell.
zsh and fish offer them beside words. bash offers them where no word fits, and forgets the words in front of such an
item, so it comes first. No network is asked and torch is not imported: somebody waits for the answer.
"""

from __future__ import annotations

from glob import escape, iglob
from typing import TYPE_CHECKING

from click.shell_completion import BashComplete, CompletionItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click

    Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

# What the library knows under these names; a test compares them, because importing them would load torch.
MODELS = ("tiny", *(f"hubertsiuzdak/snac_{rate}khz" for rate in (24, 32, 44)))
SHAPES = ("default", "snac_24khz", "snac_32khz", "snac_44khz")
DEVICES = ("cpu", "cuda", "mps", "xpu")
METRICS = (
    *("mel", "stft", "si_sdr", "pesq", "stoi", "estoi", "voiced", "f0", "visqol", "visqol_audio"),
    *("default", "all"),
)


def files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete names of files, and the folders on the way to them."""
    return [CompletionItem(incomplete, type="file")]


def folders(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete names of folders."""
    return [CompletionItem(incomplete, type="dir")]


def words(*known: str, otherwise: Completer | None = None) -> Completer:
    """Return what completes some words.

    Args:
        known: the words.
        otherwise: `files` or `folders`, where such a name can stand, too.
    """

    def completed(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = otherwise(context, parameter, incomplete) if otherwise else []
        return names + _beginning_with(incomplete, known)

    return completed


def files_or(*known: str) -> Completer:
    """Return what completes names of files, and words where no file's name begins like what is typed.

    For values that are files more often than words: in bash, words would hide the files.
    """

    def completed(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        # A Path would drop the slash at the end.
        is_begun = any(iglob(f"{escape(incomplete)}*"))  # noqa: PTH207
        return words(*(() if is_begun else known), otherwise=files)(context, parameter, incomplete)

    return completed


def listed(*known: str) -> Completer:
    """Return what completes the last word of a list with commas, by words that are not in it yet."""

    def completed(
        _context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        left = [word for word in known if word not in before.split(",") and word.startswith(last)]
        return _beginning_with(incomplete, (f"{before}{comma}{word}" for word in left))

    return completed


def preset_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of id tables, and of files that hold one."""
    from snac_tok import frames

    return words(*frames.preset_names(), otherwise=files)(context, parameter, incomplete)


def prompt_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of prompts."""
    from snac_tok import prompts

    return words(*prompts.prompt_names())(context, parameter, incomplete)


models = words(*MODELS, otherwise=folders)
devices = words(*DEVICES)


def _beginning_with(incomplete: str, known: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(word) for word in known if word.startswith(incomplete)]


class Bash(BashComplete):
    """Takes --preset=or for the two words that it means: bash hands over three, the second of them "="."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words in front of the one that is typed, and that one."""
        before, incomplete = super().get_completion_args()
        return [word for word in before if word != "="], incomplete
