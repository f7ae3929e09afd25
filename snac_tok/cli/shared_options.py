"""Options that several commands share, and the checks that come before any work."""

from __future__ import annotations

import math
import os
import re
import sys
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import click
from click.core import ParameterSource

from snac_tok.cli import completion
from snac_tok.cli.advice import options_of
from snac_tok.cli.messages import say

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from snac_tok.audio import MonoPolicy
    from snac_tok.codec import Noise
    from snac_tok.tokenizer import SnacTokenizer

DEFAULT_MODEL = "hubertsiuzdak/snac_24khz"
MODEL_VARIABLE = "SNAC_TOK_MODEL"
SOUND_ENDINGS = frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".mp4", ".webm", ".wma"}
    | {".aif", ".aiff", ".au", ".caf", ".w64", ".rf64"}
)
# What a file is called, where it is not a folder.
FILE_ENDINGS = SOUND_ENDINGS | {".npz", ".json", ".txt", ".parquet"}
_LARGEST = 1_000_000_000
# Addresses that only this machine reaches.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class FiniteFloatRange(click.FloatRange):
    """A number in a range, as all options with fractions take it: click's own lets NaN through, and infinity.

    NaN is neither below nor above any limit, so that a limit of NaN would be none. Numbers beyond 1e9 are refused,
    too: no quantity here is so large, and clocks and counters of samples overflow soon behind it.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or refuse it in a sentence."""
        # First, because a range would speak of infinity as of a number that is a little too large.
        if not math.isfinite(number := float(click.FLOAT.convert(value, param, ctx))):
            self.fail(f"{value!r} is not a finite number; {_LARGEST:,} is the most.", param, ctx)
        if abs(number) > _LARGEST:
            self.fail(f"{value!r} is too large; {_LARGEST:,} is the most.", param, ctx)
        return float(super().convert(number, param, ctx))


model_option = click.option(
    "--model",
    metavar="NAME",
    shell_complete=completion.models,
    help=f'A hub repository, a folder, or "tiny" (no download). Default: {MODEL_VARIABLE}, else {DEFAULT_MODEL}.',
)
decoder_option = click.option(
    "--decoder",
    metavar="NAME",
    shell_complete=completion.models,
    help="Another decoder for the model's codes: a codec of its shape, or a Vocos-type decoder's folder.",
)
device_option = click.option(
    "--device",
    default="cpu",
    show_default=True,
    shell_complete=completion.devices,
    help="Where the network runs.",
)
TF32 = ("tf32x3", "tf32")
precision_option = click.option(
    "--precision",
    type=click.Choice(("fp32", *TF32, "bf16", "fp16")),
    default="fp32",
    show_default=True,
    help="How exactly the network computes; only fp32 gives exact codes. tf32x3 and tf32 are for GPUs.",
)
force_option = click.option("--force", is_flag=True, help="Replace what the output already holds.")
preset_option = click.option(
    "--preset",
    metavar="NAME",
    shell_complete=completion.preset_names,
    help="The id table, a preset's name or a .json file; `inspect presets` lists them.",
)
truncated_option = click.option(
    "--allow-truncated",
    is_flag=True,
    help="Take what cut-off or damaged files still hold; they fail otherwise.",
)
levels_option = click.option(
    "--levels", type=click.IntRange(min=1), metavar="N", help="Keep only the first N levels of each frame."
)


def _noise(ctx: click.Context, param: click.Parameter, value: str) -> Noise:
    """Return the noise that `SNAC.decode` takes."""
    if value == "random":
        return "random"
    if value == "off":
        return "off"
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not one of random|off|SEED.", ctx=ctx, param=param) from None


noise_option = click.option(
    "--noise",
    callback=_noise,
    default="0",
    show_default=True,
    metavar="random|off|SEED",
    shell_complete=completion.words("random", "off"),
    help="The decoder's noise; a seed is repeatable.",
)


def _rows(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> list[tuple[int, int | None]] | None:
    """Return the first row of each range and the one behind its last."""
    if value is None:
        return None
    found = []
    for word in map(str.strip, value.split(",")):
        match = re.fullmatch(r"(\d{0,15})(:?)(\d{0,15})", word, re.ASCII)
        if match is None or not word:
            raise click.BadParameter(
                f"{word!r} is no row: rows are numbers from 0 on, or ranges such as 10:20.",
                ctx=ctx,
                param=param,
            )
        first, colon, stop = match.groups()
        start = int(first or 0)
        found.append((start, (int(stop) if stop else None) if colon else start + 1))
    return found


rows_option = click.option(
    "--rows",
    callback=_rows,
    metavar="ROWS",
    help="Only these records of the shards: numbers from 0 on and ranges, as in 7,10:20,100:.",
)


def channels_option(*, each: bool = False, of_model: bool = False) -> Callable[[Any], Any]:
    """Return the option that says what becomes of a second channel.

    Args:
        each: whether a command can take all of them.
        of_model: whether the default is None, which stands for what the model's folder says; "mean" otherwise.
    """
    names = "mean|left|right|each|N" if each else "mean|left|right|N"
    more = "; each makes a record a channel" if each else ""

    default = "  [default: what the model's folder says, else mean]" if of_model else ""

    def checked(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        from snac_tok.audio import check_policy
        from snac_tok.errors import WaveformError

        if value is None:
            return None
        try:
            return check_policy(value, each=each)
        except WaveformError as error:
            raise click.BadParameter(f"{value!r} is not one of {names}.", ctx=ctx, param=param) from error

    return click.option(
        "--channels",
        callback=checked,
        default=None if of_model else "mean",
        show_default=True,
        metavar=names,
        shell_complete=completion.words(*names.removesuffix("|N").split("|")),
        help=f"What becomes of a second channel; N takes one by its number, from 0 on{more}.{default}",
    )


host_option = click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    shell_complete=completion.words("127.0.0.1", "localhost"),
    help="The address to listen at.",
)


def port_option(port: int) -> Callable[[Any], Any]:
    """Return the option that says where a server listens, with a command's own default."""
    return click.option(
        "--port",
        type=click.IntRange(0, 65_535),
        default=port,
        show_default=True,
        help="The port; 0 takes a free one.",
    )


def address_of(host: str, listener: socket.socket) -> str:
    """Return the address of a server, as browsers take it."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def default_model() -> str:
    """Return the model where none is named."""
    return os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL


# In place of a file's name: stdin or stdout.
PIPE = "-"


def format_option(*formats: str, default: str) -> Callable[[Any], Any]:
    """Return the option that says what goes to stdout, where no file's name does."""
    return click.option(
        "--format",
        "file_format",
        type=click.Choice(formats),
        help=f"What -o - writes to stdout. Default: {default}.",
    )


def refuse_options(names: Iterable[str], reason: str) -> None:
    """Refuse the first of these options that was given and would do nothing, such as "--limit is for shards".

    Args:
        names: of the arguments of the command that runs.
        reason: what follows the option in the sentence.

    Raises:
        click.UsageError: one was given.
    """
    given = given_options()
    for name in names:
        if name in given:
            raise click.UsageError(f"{given[name]} {reason}")


def refuse_other_options(allowed: Collection[str], reason: str) -> None:
    """Refuse all given options but these; the sentence gives the reason and names all that are to be left out.

    Raises:
        click.UsageError: another one was given.
    """
    others = [option for name, option in given_options().items() if name not in allowed]
    if others:
        raise click.UsageError(f"{reason}; run it without {', '.join(others)}")


def given_options() -> dict[str, str]:
    """Return the options that stand on the command line, by the names of their arguments.

    What counts is that an option was typed: with the value of its default, it was meant to do something as well.
    """
    context = click.get_current_context()
    return {
        name: option
        for name, option in options_of(context).items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def refuse_format(file_format: str | None, output: str | None) -> None:
    """Refuse a format beside a file's name, which says it already."""
    if file_format is not None and output != PIPE:
        raise click.UsageError("--format is for -o -, stdout; a file's name says its format")


def never_stdout(_context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse "-", as the callback of an option or argument that names a file or folder: it would get this name.

    Raises:
        click.UsageError: stdout is asked for.
    """
    if value == PIPE:
        name = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name
        raise click.UsageError(f"{name} does not write to stdout (-); give it a name")
    return value


def standard_input() -> IO[bytes]:
    """Return stdin for reading bytes; a program may be started without one."""
    if sys.stdin is None:
        raise click.ClickException("stdin is closed; pipe something into it, or name a file in place of -")
    return sys.stdin.buffer


def refuse_existing(path: Path, *, force: bool) -> None:
    """Stop before any work where a file would be overwritten unasked.

    Raises:
        click.ClickException: the file is there, or its folder is not.
    """
    if path.is_dir():
        raise click.ClickException(f"{path} is a folder; name a file in it.")
    if path.exists() and not force:
        raise click.ClickException(
            f"{path} is already there; choose another name, or replace it with --force."
        )
    if not path.parent.is_dir():
        raise click.ClickException(f"{path} cannot be written: there is no folder {path.parent}.")


def load_tokenizer(
    model: str | None,
    *,
    device: str,
    preset: str | None = None,
    levels: int | None = None,
    channels: MonoPolicy | None = None,
    allow_truncated: bool = False,
    decoder: str | None = None,
    precision: str = "fp32",
) -> SnacTokenizer:
    """Load a model by its name or the default one, for raw codes or for a preset's ids.

    Raises:
        SnacTokError: as in `SnacTokenizer.from_pretrained` and `SNAC.use_precision`.
        click.ClickException: the device has no such precision.
    """
    from snac_tok.codec.placement import DTYPE_NAMES, check_device
    from snac_tok.codec.trial import RELEASED_SPEECH_CODEC, is_trial
    from snac_tok.frames import published_name
    from snac_tok.streaming.pairing import without_trial_warning
    from snac_tok.tokenizer import SnacTokenizer

    check_device(device)
    if precision in TF32 and not device.startswith("cuda"):
        raise click.UsageError(
            f"--precision {precision} needs a GPU of CUDA, and the network is to run on {device}: add --device cuda, "
            "or leave it out"
        )
    name = model or default_model()
    with without_trial_warning():
        tokenizer = SnacTokenizer.from_pretrained(
            name,
            device=device,
            preset=preset,
            levels=levels,
            channels=channels,
            allow_truncated=allow_truncated,
            decoder=decoder,
            dtype={name: dtype for dtype, name in DTYPE_NAMES.items() if name != "fp32"}.get(precision),
        )
    if precision in TF32:
        tokenizer.codec.use_precision(cast("Literal['tf32x3', 'tf32']", precision))
    if decoder is not None:
        say(f"decoder {decoder}, weights {tokenizer.codec.decoder.sha256()[:12]}…, for the codes of {name}")
    preset_name = published_name(tokenizer.vocabulary)
    if preset_name is not None and is_trial(tokenizer.codec):
        say(
            f"{name} is a codec for trials: its {preset_name} ids look right and mean nothing to models trained with "
            f"{RELEASED_SPEECH_CODEC}, as the published ones were, nor theirs to it; for those, "
            f"--model {RELEASED_SPEECH_CODEC}"
        )
    return tokenizer
