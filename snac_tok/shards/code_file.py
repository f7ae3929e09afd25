"""One clip's raw codes as a self-describing .npz file, which is read without pickle and checked.

level_0 … level_n   uint16 (T_k,), coarsest first
num_samples         at `sampling_rate`, before padding
sampling_rate       the codec's, in Hz
settings            JSON: codec_id, weights_sha256, codec_config, resampler, channels, …, and the source's rate
"""

from __future__ import annotations

import io
import json
import re
import textwrap
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from snac_tok.codec import CodecConfig
from snac_tok.errors import CodesError, ConfigError
from snac_tok.files import write_bytes_atomically
from snac_tok.frames import FrameLayout
from snac_tok.plain_values import parse_json
from snac_tok.shards.npz import read_arrays
from snac_tok.shards.record import raw_codes

if TYPE_CHECKING:
    import numpy.typing as npt

# Errors from a damaged zip, .npy or JSON; NotImplementedError: a zip of a later version.
_LONGEST_REASON = 200
_DAMAGED = (
    OSError,
    ValueError,
    OverflowError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
)
_KINDS = {"level_": "u", "num_samples": "iu", "sampling_rate": "iu", "settings": "U"}
_MAX_SETTINGS_CHARACTERS = 100_000
# Settings hold objects of plain values (the codec's config, the layout, the resampler) and nothing deeper.
_MAX_DEPTH = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeFile:
    """The contents of an .npz file.

    Attributes:
        levels: uint16 (T_k,) per level, coarsest first.
        num_samples: the clip's, at the codec's rate, before padding.
        settings: `SnacTokenizer.describe()`, and "source_sampling_rate".

    Raises:
        CodesError: codes that are not whole frames of the codec, or do not fit the length.
        ConfigError: settings that do not describe a codec.
    """

    levels: list[npt.NDArray[np.uint16]]
    num_samples: int
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        _check_settings(self.settings)
        config, layout = self.config, FrameLayout(strides=self.config.vq_strides)
        layout.check_codes(self.levels)
        if self.levels[0].ndim != 1:
            raise CodesError(f"codes of one clip are flat, got shape {self.levels[0].shape}.")
        for level in self.levels:
            raw_codes(level, codebook_size=config.codebook_size)
        longest = len(self.levels[0]) * config.frame_length
        if not 1 <= self.num_samples <= longest:
            raise CodesError(f"num_samples is {self.num_samples}; the codes hold 1 to {longest} samples.")

    @property
    def config(self) -> CodecConfig:
        """The codec's config."""
        return CodecConfig.from_dict(self.settings["codec_config"])

    @property
    def num_tokens(self) -> int:
        """Codes of all levels."""
        return sum(level.size for level in self.levels)

    @property
    def duration_seconds(self) -> float:
        """Length of the clip."""
        return self.num_samples / self.config.sampling_rate


def write_code_file(target: Path | IO[bytes], content: CodeFile) -> None:
    """Write an .npz, complete or not at all, or into a stream.

    Raises:
        CodesError: the disk refused.
    """
    buffer = io.BytesIO()
    levels = {f"level_{place}": level.astype(np.uint16) for place, level in enumerate(content.levels)}
    np.savez(
        buffer,
        allow_pickle=False,
        **levels,
        num_samples=np.int64(content.num_samples),
        sampling_rate=np.int64(content.config.sampling_rate),
        settings=np.str_(json.dumps(content.settings, sort_keys=True)),
    )
    if isinstance(target, Path):
        write_bytes_atomically(target, buffer.getvalue(), error=CodesError)
    else:
        target.write(buffer.getvalue())


def read_code_file(path: Path, content: bytes | None = None) -> CodeFile:
    """Read what `write_code_file` wrote.

    Args:
        path: of the file, or what messages call the content.
        content: the file's bytes where they came another way, such as from stdin.

    Raises:
        CodesError: the file is missing, damaged, or does not hold codes; the message names it.
    """
    try:
        with path.open("rb") if content is None else io.BytesIO(content) as file:
            arrays = read_arrays(file, _KINDS)
        return _content(arrays)
    except (CodesError, ConfigError) as error:
        raise CodesError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise CodesError(f"{path} is not there.") from error
    except _DAMAGED as error:
        # zipfile quotes the bytes where a name should be, thousands of them.
        reason = (
            textwrap.shorten(str(error), _LONGEST_REASON, placeholder="…").rstrip(".") or "it ends too early"
        )
        raise CodesError(f"{path} is damaged, or was not written by `snac-tok encode` ({reason}).") from error


def _content(arrays: dict[str, npt.NDArray[Any]]) -> CodeFile:
    """Return the contents of an .npz from its arrays."""
    text = arrays.get("settings")
    if text is None or text.ndim or text.itemsize > 4 * _MAX_SETTINGS_CHARACTERS:
        raise CodesError("the settings are missing, or not text of their size.")
    number = arrays.get("num_samples")
    if number is None or number.ndim:
        raise CodesError("num_samples is missing, or not a single number.")
    levels = [name for name in arrays if re.fullmatch(r"level_[0-9]{1,3}", name)]
    return CodeFile(
        levels=[_level(arrays[name]) for name in sorted(levels, key=lambda name: int(name[6:]))],
        num_samples=int(number),
        settings=parse_json(str(text), what="the text of its settings", error=CodesError),
    )


def _level(codes: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    if codes.dtype != np.uint16:
        raise CodesError(f"codes must be uint16, got {codes.dtype}.")
    return codes


def _check_settings(settings: dict[str, Any]) -> None:
    """Refuse settings that cannot be shown or do not name the codec: a file is not trusted."""
    if not isinstance(settings, dict) or not isinstance(settings.get("codec_config"), dict):
        raise CodesError("the settings do not describe the codec.")
    if not all(isinstance(settings.get(name), str) for name in ("codec_id", "weights_sha256")):
        raise CodesError("the settings do not say the codec's codec_id and weights_sha256.")
    if not isinstance(settings.get("resampler") or {}, dict):
        raise CodesError("the settings' resampler is not an object.")
    layer: list[Any] = [settings]
    for _ in range(_MAX_DEPTH):
        layer = [inner for value in layer for inner in _inside(value)]
    if any(isinstance(value, (dict, list)) for value in layer):
        raise CodesError(f"the settings are nested deeper than {_MAX_DEPTH} levels.")


def _inside(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
