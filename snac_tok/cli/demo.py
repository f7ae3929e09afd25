"""`snac-tok demo`: a page in a browser that shows what a codec does."""

from __future__ import annotations

from functools import partial

import click

from snac_tok.cli.advice import in_options
from snac_tok.cli.completion import models
from snac_tok.cli.messages import examples, say
from snac_tok.cli.shared_options import (
    LOOPBACK,
    FiniteFloatRange,
    address_of,
    default_model,
    device_option,
    host_option,
    load_tokenizer,
    port_option,
)


@click.command(
    epilog=examples(
        "snac-tok demo --model tiny",
        "snac-tok demo --model hubertsiuzdak/snac_24khz --decoder run/codec",
        "snac-tok demo --model tiny --port 9000 --max-seconds 60",
    )
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    shell_complete=models,
    help="A codec, as for `snac-tok decode`; repeat it to compare others with the first.",
)
@click.option(
    "--decoder",
    "decoders",
    multiple=True,
    metavar="NAME",
    shell_complete=models,
    help="Another decoder for the first codec's codes, as for `snac-tok decode`; repeat it to compare several.",
)
@device_option
@host_option
@port_option(7860)
@click.option(
    "--max-seconds",
    type=FiniteFloatRange(min=1, max=600),
    default=30,
    show_default=True,
    metavar="S",
    help="The longest sound that the page takes.",
)
def demo(
    *,
    models: tuple[str, ...],
    decoders: tuple[str, ...],
    device: str,
    host: str,
    port: int,
    max_seconds: float,
) -> None:
    """Open a page on which one records or uploads a sound, sees its tokens, and hears them.

    It plays the sound with all levels and with fewer, with other noise, and by other codecs and decoders, and it speaks
    the tokens that a language model wrote. It works without a network, and nothing leaves this machine. It needs
    gradio, the extra "demo". Ctrl-C ends it.
    """
    from snac_tok.audio.optional import import_optional

    import_optional("gradio", extra="demo", purpose="the page")  # before a model is loaded, which takes long
    import uvicorn

    from snac_tok.demo import create_demo
    from snac_tok.serving.server import listening_socket

    with listening_socket(host, port) as listener:
        if host not in LOOPBACK:
            say(f"{host} can be reached by others, and whoever reaches it can use the page")
        first, *others = dict.fromkeys(models or (default_model(),))
        wanted: dict[str, tuple[str, str | None]] = {first: (first, None)}
        wanted |= {f"{first} with the decoder {decoder}": (first, decoder) for decoder in decoders}
        wanted |= {name: (name, None) for name in others}
        tokenizers = {
            shown: load_tokenizer(name, decoder=decoder, device=device, preset="plain")
            for shown, (name, decoder) in wanted.items()
        }
        # Of the options that the library's sentences may name, the page has none.
        app = create_demo(tokenizers, max_seconds=max_seconds, say_error=partial(in_options, options={}))
        say(f"the page is at {address_of(host, listener)}")
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
