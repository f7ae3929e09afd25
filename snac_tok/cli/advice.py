"""What the library advises, in the words of the command line.

A sentence of the library may name an argument, `allow_truncated=True`, or a function. Whoever typed a command gets
the option of that command instead, `--allow-truncated`, or advice that needs no program. A test goes through the
library's sentences and finds those that are not translated yet.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

# A value as a sentence gives it, and its end: a file may be called levels=1.wav.
_VALUE = r"'[^']*'|\"[^\"]*\"|-?[0-9][0-9,]*"
_END = r"(?!\w|\.\w)"
# Advice that names no option of the command that runs: what to say instead.
_ADVICE = (
    (
        r"(the last frame is partial, \d+ of \d+ ids); slot \d+ takes \d+\.\.\d+",
        r"\1; --drop-partial leaves them out",
    ),
    (r"\brerun_errors=True", "--rerun-errors"),
    (r"; validate\(ids\) lists every fault", ""),
    (
        r"(?:construct it with|give it) text=TextForm\([^)]*\)",
        'a vocabulary\'s .json file needs a "text" for it',
    ),
    (r"(an object with the keys .*); a list of ids is needed", r"\1; --generated reads a server's answer"),
    (
        r"(stands between two audio tokens); only around them may there be other text",
        r"\1; --generated takes what a language model wrote",
    ),
    (r"; rename it with rename_column\(\)", "; rename the column in the dataset"),
    (r",? or,? (?:if ffmpeg reads it, )?use backend=.torchcodec.", ", with ffmpeg for example"),
    (r"reading with backend=.torchcodec. needs", "reading it needs"),
    (r",? or use backend=.soundfile.", ""),
    (r", or take what is left with allow_truncated=True", ""),
    (r"; allow_truncated=True takes what (?:there is|is left)", "; repair it, or leave it out"),
)


def in_options(sentence: str, options: Mapping[str, str]) -> str:
    """Return a sentence with the arguments it names as options, and the rest of its advice without Python.

    Args:
        sentence: of the library.
        options: of the command, by the names of its arguments.

    >>> in_options("a.wav is cut off; allow_truncated=True takes the rest.", {"allow_truncated": "--allow-truncated"})
    'a.wav is cut off; --allow-truncated takes the rest.'
    >>> in_options("num_samples is 9; 1 to 8 are there.", {"num_samples": "--num-samples"})
    '--num-samples is 9; 1 to 8 are there.'
    >>> in_options("id 7 is not a code; validate(ids) lists every fault.", {})
    'id 7 is not a code.'
    >>> in_options("the mean of its 6 channels is silent.", {"channels": "--channels"})
    'the mean of its 6 channels is silent.'
    """
    for name, option in options.items():
        sentence = re.sub(rf"(?<![\w./-]){name}=True{_END}", option, sentence)
        sentence = re.sub(rf"(?<![\w./-]){name}=({_VALUE}){_END}", rf"{option} \1", sentence)
        # Behind a number it is a noun: "the mean of its 6 channels is …".
        sentence = re.sub(rf"(?<![\w./-])(?<!\d ){name}(?= is | must be )", option, sentence)
    for pattern, advice in _ADVICE:
        sentence = re.sub(pattern, advice, sentence)
    return sentence


def at_the_command_line(sentence: object) -> str:
    """Return what the library says, an error for one, in the options of the command that runs."""
    return in_options(str(sentence), options_of(click.get_current_context(silent=True)))


def options_of(context: click.Context | None) -> dict[str, str]:
    """Return the options of the command that runs, by the names of its arguments."""
    command = context.command if context else None
    if context and isinstance(command, click.Group):
        command = command.get_command(context, context.invoked_subcommand or "")
    found = command.params if command else []
    return {
        option.name: max(option.opts, key=len)
        for option in found
        if isinstance(option, click.Option) and option.name
    }
