"""What whole files are made of, and what reads damaged ones: shared by all kinds."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok import SNAC
from snac_tok.codec import CodecConfig
from snac_tok.errors import SnacTokError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

# A network of a few thousand weights.
_SMALL = CodecConfig(
    sampling_rate=8_000,
    encoder_dim=4,
    encoder_rates=(2, 3),
    decoder_dim=16,
    decoder_rates=(3, 2),
    attn_window_size=None,
    codebook_size=32,
    codebook_dim=4,
    vq_strides=(4, 2, 1),
)


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A whole file to damage, and what lies beside it."""

    name: str
    content: bytes
    beside: dict[str, bytes] = field(default_factory=dict)

    def lay_out(self, folder: Path, content: bytes) -> Path:
        """Write a damaged copy into an empty folder, with what belongs beside it."""
        shutil.rmtree(folder, ignore_errors=True)
        for name, data in {**self.beside, self.name: content}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder / self.name


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of file: how whole ones are made (in a folder of their own), and what reads them."""

    seeds: Callable[[Path], list[Seed]]
    read: Callable[[Path], Any]


def tone(seconds: float = 0.3, rate: int = 8_000) -> np.ndarray[Any, Any]:
    """Return two tones, (n,) float32."""
    times = np.arange(int(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * 220 * times) + 0.1 * np.sin(2 * np.pi * 1330 * times)).astype(np.float32)


def clip(seconds: float = 0.05, *, container: str = "WAV") -> bytes:
    """Return a sound file at 8 kHz."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, tone(seconds), 8_000, format=container)
    return buffer.getvalue()


def small_codec(folder: Path) -> Any:
    """Save a codec whose weights are the same each time."""
    import torch

    torch.manual_seed(0)
    codec = SNAC.from_config(_SMALL)
    codec.save_pretrained(folder)
    return codec


def files_in_turn(folder: Path) -> list[Seed]:
    """Return each file of a folder that is not empty, with all others beside it."""
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return [
        Seed(name=name, content=content, beside={other: files[other] for other in files if other != name})
        for name, content in files.items()
        if content
    ]


def refusal(read: Callable[[], Any]) -> SnacTokError | None:
    """Return why a door refuses, None if it reads."""
    return heard(read)[0]


def heard(read: Callable[[], Any]) -> tuple[SnacTokError | None, Any]:
    """Return the refusal, or what was read."""
    try:
        return None, read()
    except SnacTokError as error:
        return error, None


def raise_first(faults: Iterable[SnacTokError | None]) -> None:
    """Raise the first refusal of several doors, after all of them were tried."""
    for fault in list(faults):
        if fault is not None:
            raise fault


def run_command(*words: object) -> None:
    """Run the command line in this process; a refusal is raised as ours.

    Raises:
        SnacTokError: it refused, in one sentence.
    """
    from click.testing import CliRunner

    from snac_tok.cli.program import program

    result = CliRunner().invoke(program, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        raise SnacTokError(result.output.strip().splitlines()[-1])
