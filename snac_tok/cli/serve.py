"""`snac-tok serve`: a language model's tokens as sound, over HTTP."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snac_tok.cli.completion import folders, models, prompt_names
from snac_tok.cli.messages import examples, say
from snac_tok.cli.shared_options import (
    LOOPBACK,
    FiniteFloatRange,
    address_of,
    decoder_option,
    device_option,
    host_option,
    load_tokenizer,
    port_option,
    precision_option,
    preset_option,
)

if TYPE_CHECKING:
    from snac_tok.serving import TokenSource
    from snac_tok.streaming.repair_report import OnError
    from snac_tok.tokenizer import SnacTokenizer

KEY_VARIABLE = "SNAC_TOK_API_KEY"
SOURCE_KEY_VARIABLE = "SNAC_TOK_SOURCE_API_KEY"
_ENGINES = ("vllm", "sglang", "llama.cpp", "openai")
_MEGABYTE = 1 << 20


def _sampling(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, Any]:
    """Return the fields that a JSON object names."""
    try:
        fields = json.loads(value or "{}")
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise click.BadParameter(
            f'{value!r} is no JSON object such as {{"temperature": 0.6}}.', ctx=ctx, param=param
        )
    return fields


@click.command(
    epilog=examples(
        "snac-tok serve --preset orpheus --source http://127.0.0.1:8080 --engine llama.cpp",
        "snac-tok serve --preset orpheus --source my_model",
        "snac-tok serve --model tiny --port 9000",
    )
)
@click.option(
    "--source",
    metavar="URL|NAME",
    shell_complete=folders,
    help="The language model: a server's address, or a model for transformers, a folder or a hub repository. "
    "Without one, all but /v1/audio/speech is served.",
)
@click.option(
    "--engine",
    type=click.Choice(_ENGINES),
    default="openai",
    show_default=True,
    help="Which server the source is; openai asks for nothing but what all have.",
)
@click.option(
    "--language-model",
    metavar="NAME",
    help="The model's name at the source's server. Default: what each client says.",
)
@click.option(
    "--text-tokenizer",
    metavar="NAME",
    shell_complete=folders,
    help="The language model's text tokenizer, a folder or a hub repository. "
    "Default: the source's, or its server is asked.",
)
@click.option(
    "--prompt",
    metavar="NAME",
    shell_complete=prompt_names,
    help="The prompt's form. Default: the preset's own.",
)
@click.option(
    "--sampling",
    callback=_sampling,
    metavar="JSON",
    help='More fields for the source, such as {"temperature": 0.6}.',
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=4096,
    show_default=True,
    metavar="N",
    help="The most tokens of one answer.",
)
@click.option(
    "--grammar/--no-grammar",
    default=True,
    show_default=True,
    help="Ask the source's server for whole frames.",
)
@click.option("--model", metavar="NAME", shell_complete=models, help="The codec, as for `snac-tok decode`.")
@decoder_option
@preset_option
@click.option(
    "--on-error",
    type=click.Choice(("strict", "resync", "conceal")),
    default="strict",
    show_default=True,
    help="What happens to ids that are out of place in a stream.",
)
@device_option
@precision_option
@click.option(
    "--cuda-graphs/--no-cuda-graphs",
    default=None,
    help="Launch all kernels of a step at once, as a CUDA graph.  [default: on a GPU]",
)
@host_option
@port_option(8000)
@click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"The key that clients must send. Default: {KEY_VARIABLE}, else none.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="A web page whose scripts may ask; repeat it.",
)
@click.option(
    "--max-clients",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="N",
    help="How many requests are served at once.",
)
@click.option(
    "--max-audio-seconds",
    type=FiniteFloatRange(min=0, min_open=True),
    default=300,
    show_default=True,
    metavar="S",
    help="The longest recording to encode.",
)
@click.option(
    "--max-body-mb",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="MB",
    help="The largest sound file.",
)
@click.option(
    "--max-stream-tokens",
    type=click.IntRange(min=1),
    default=50_000,
    show_default=True,
    metavar="N",
    help="The most tokens of one stream.",
)
@click.option(
    "--idle-seconds",
    type=FiniteFloatRange(min=0, min_open=True),
    default=30,
    show_default=True,
    metavar="S",
    help="How long a stream may stand still.",
)
@click.option(
    "--total-seconds",
    type=FiniteFloatRange(min=0, min_open=True),
    default=900,
    show_default=True,
    metavar="S",
    help="How long a request may take.",
)
@click.option(
    "--grace-seconds",
    type=FiniteFloatRange(min=0),
    default=10,
    show_default=True,
    metavar="S",
    help="How long streams may go on after SIGTERM.",
)
def serve(
    *,
    model: str | None,
    decoder: str | None,
    preset: str | None,
    device: str,
    precision: str,
    cuda_graphs: bool | None,
    on_error: OnError,
    host: str,
    port: int,
    api_key_file: Path | None,
    origins: tuple[str, ...],
    max_clients: int,
    max_audio_seconds: float,
    max_body_mb: int,
    max_stream_tokens: int,
    idle_seconds: float,
    total_seconds: float,
    grace_seconds: float,
    **source_options: Any,
) -> int:
    """Serve a codec over HTTP: a language model's tokens as sound, recordings as ids.

    POST /v1/audio/speech speaks a text, as OpenAI's clients ask for it. WS /stream takes tokens and sends sound. POST
    /encode and /decode take a sound file to ids and back. GET /health, /ready and /metrics say how the server is.

    One line of JSON a request goes to stdout. docs/serving.md has clients, limits, metrics and what to know before
    others can reach the server.
    """
    from snac_tok.errors import LostSpeechWarning
    from snac_tok.serving import Limits, create_app, run_server
    from snac_tok.serving.decoding import run_typical_steps
    from snac_tok.serving.server import listening_socket
    from snac_tok.streaming.pairing import without_trial_warning

    limits = Limits(
        clients=max_clients,
        body_bytes=max_body_mb * _MEGABYTE,
        audio_seconds=max_audio_seconds,
        stream_tokens=max_stream_tokens,
        idle_seconds=idle_seconds,
        total_seconds=total_seconds,
        grace_seconds=grace_seconds,
    )
    if cuda_graphs and not device.startswith("cuda"):
        raise click.UsageError(
            f"--cuda-graphs needs a GPU, and the network is to run on {device}: add --device cuda, or leave it out"
        )
    key = _api_key(api_key_file)
    # Before a model is loaded, which takes long.
    with listening_socket(host, port) as listener:
        if host not in LOOPBACK and key is None:
            say(
                f"{host} can be reached by others, and no key is asked for: set {KEY_VARIABLE}, or --api-key-file"
            )
        tokenizer = load_tokenizer(
            model, decoder=decoder, device=device, preset=preset or "auto", precision=precision
        )
        with_graphs = _use_graphs(tokenizer, wanted=cuda_graphs)
        with without_trial_warning():
            token_source = _source(tokenizer, device=device, **source_options)
            app = create_app(
                tokenizer,
                source=token_source,
                limits=limits,
                on_error=on_error,
                api_key=key,
                allow_origins=origins,
            )
            # Without graphs one stream is enough to prepare all weights and to load, or compile, what runs them.
            run_typical_steps(tokenizer, most_streams=max_clients if with_graphs else 1)
        if with_graphs and _generates_here(token_source):
            tokenizer.codec.freeze_cuda_graphs()  # a capture disturbs what the language model does meanwhile
        # Each request's line says what was repaired.
        warnings.filterwarnings("ignore", category=LostSpeechWarning)
        place = address_of(host, listener) + (", with CUDA graphs" if with_graphs else "")
        run_server(app, listener, on_start=lambda: say(f"serving {tokenizer.vocabulary.name} ids at {place}"))
        if report := tokenizer.codec.graph_report:
            say(f"CUDA graphs: {report}")
    return 0


def _use_graphs(tokenizer: SnacTokenizer, *, wanted: bool | None) -> bool:
    """Let the codec's steps be CUDA graphs if that is asked for, or on a GPU if nobody says; say whether they are."""
    if wanted is None:
        wanted = tokenizer.device.type == "cuda"
    if wanted:
        tokenizer.codec.use_cuda_graphs()
    return wanted


def _generates_here(source: TokenSource | None) -> bool:
    """Say whether a language model runs in this process."""
    if source is None:
        return False
    from snac_tok.serving import LocalModelSource

    return isinstance(source, LocalModelSource)


def _api_key(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(KEY_VARIABLE)
    key = path.read_text(encoding="utf-8").strip()
    if not key:
        raise click.ClickException(f"{path} is empty; write the key into it.")
    return key


def _source(
    tokenizer: SnacTokenizer,
    *,
    source: str | None,
    engine: Any,
    language_model: str | None,
    text_tokenizer: str | None,
    prompt: str | None,
    sampling: dict[str, Any],
    max_tokens: int,
    grammar: bool,
    device: str,
) -> TokenSource | None:
    """Return where the tokens come from; an address is a server, anything else a model of transformers."""
    from snac_tok.serving import CompletionsSource, LocalModelSource
    from snac_tok.serving.sources import load_text_tokenizer

    shared: dict[str, Any] = {"prompt": prompt, "max_tokens": max_tokens, "sampling": sampling}
    if source is None:
        return None
    if source.startswith(("http://", "https://")):
        return CompletionsSource(
            source,
            tokenizer.vocabulary,
            engine=engine,
            model=language_model,
            text_ids=load_text_tokenizer(text_tokenizer) if text_tokenizer else None,
            use_grammar=grammar,
            api_key=os.environ.get(SOURCE_KEY_VARIABLE),
            **shared,
        )
    return LocalModelSource.from_folder(
        source, tokenizer.vocabulary, text_tokenizer=text_tokenizer, device=device, **shared
    )
