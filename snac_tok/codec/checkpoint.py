"""A codec's files: their names, found in a folder, checked before they are used, written whole or not at all.

safetensors is read first; a legacy pytorch_model.bin only as pure tensors (weights_only=True), never with a
fallback to pickle. A file that does not fit the network is refused, not loaded in part.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from snac_tok.codec.weight_norm import OLD_NAMES
from snac_tok.errors import CheckpointError, first_line
from snac_tok.files import write_bytes_atomically
from snac_tok.paths import checked_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from snac_tok.codec.config import CodecConfig
    from snac_tok.codec.vocos_config import VocosConfig

# Codecs that ship inside this package.
EMBEDDED = {"tiny": Path(__file__).parent / "embedded" / "tiny_24khz"}
CONFIG_FILE = "config.json"
SAFETENSORS_FILE = "model.safetensors"
LEGACY_FILE = "pytorch_model.bin"
# Beside them where a tokenizer was saved with its codec.
SETTINGS_FILE = "snac_tokenizer.json"

_NAMES_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """Where a codec's two files are; whatever belongs to them lies in the same folder."""

    config: Path
    weights: Path


def files_in(folder: Path) -> CheckpointFiles:
    """Locate config and weights in a folder.

    Raises:
        CheckpointError: one is missing.
    """
    for name in (SAFETENSORS_FILE, LEGACY_FILE):
        if (folder / name).is_file() and (folder / CONFIG_FILE).is_file():
            return CheckpointFiles(config=folder / CONFIG_FILE, weights=folder / name)
    found = sorted(path.name for path in folder.iterdir())
    raise CheckpointError(
        f"the folder {folder} holds {found}; a codec needs {CONFIG_FILE} and {SAFETENSORS_FILE} (or {LEGACY_FILE})."
    )


def read_weights(path: Path, *, expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Read a state dict and check it against `expected` (which may be on the meta device).

    Returns:
        float32 tensors under upstream's current names.

    Raises:
        CheckpointError: the file is damaged or unsafe, or names, shapes, types or values do not fit.
    """
    read = _read_safetensors if path.suffix == ".safetensors" else _read_legacy
    return {name: _checked_values(path, name, tensor) for name, tensor in read(path, expected).items()}


def write_files(
    folder: str | Path,
    *,
    config: CodecConfig | VocosConfig,
    weights: Mapping[str, torch.Tensor],
    legacy: bool,
) -> None:
    """Write config.json and weights, each to a temporary file that is renamed when complete.

    A file of the other format that lies there already is written anew, too: it would go on holding other weights.

    Args:
        folder: made where it is missing.
        config: of the network.
        weights: its state dict.
        legacy: write pytorch_model.bin instead of model.safetensors.
    """
    import safetensors.torch  # here, so that networks can be trained where torch is all there is

    needed = "the path of a folder"
    folder = checked_path(folder, name="folder", needed=needed, error=CheckpointError)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"no codec can be saved into {folder}: {error.strerror}.") from error
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    if not legacy or (folder / SAFETENSORS_FILE).exists():
        content = safetensors.torch.save(tensors, metadata={"format": "pt"})
        write_bytes_atomically(folder / SAFETENSORS_FILE, content, error=CheckpointError)
    if legacy or (folder / LEGACY_FILE).exists():
        pickled = io.BytesIO()
        torch.save(tensors, pickled)
        write_bytes_atomically(folder / LEGACY_FILE, pickled.getvalue(), error=CheckpointError)
    settings = (json.dumps(config.to_dict(), indent=2) + "\n").encode()
    write_bytes_atomically(folder / CONFIG_FILE, settings, error=CheckpointError)


def _read_safetensors(path: Path, expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = _names_in_file(path, file.keys(), expected)
            # What the header says is compared first, so that a file that does not fit is not read.
            for name, stored in names.items():
                _check_shape(path, name, tuple(file.get_slice(stored).get_shape()), expected[name])
            return {name: file.get_tensor(stored) for name, stored in names.items()}
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a complete safetensors file: {first_line(error)}") from error


def _read_legacy(path: Path, expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    _check_archive(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, runtime and OS errors here
        raise CheckpointError(
            f"{path} could not be read as pure tensors ({first_line(error)}); a file with other objects in it could "
            "run code and is refused: convert it to safetensors where you trust it."
        ) from error
    if not isinstance(weights, dict) or not all(map(_is_plain, weights.items())):
        raise CheckpointError(
            f"{path} holds a {type(weights).__name__}; a dict of names to dense tensors is needed."
        )
    names = _names_in_file(path, weights, expected)
    tensors = {name: weights[stored] for name, stored in names.items()}
    for name, tensor in tensors.items():
        _check_shape(path, name, tuple(tensor.shape), expected[name])
    _check_storage(path, tensors)
    return tensors


def _check_archive(path: Path) -> None:
    """Refuse a zip file that holds more than its size: torch writes what it holds uncompressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            held = sum(entry.file_size for entry in archive.infolist())
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return  # an older format, or nothing that can be read: torch will say
    if packed or held > path.stat().st_size:
        raise CheckpointError(
            f"{path} claims to hold {held:,} bytes in {path.stat().st_size:,}; torch does not compress what it saves, "
            "so this is not a checkpoint of it."
        )


def _check_storage(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse tensors that repeat a few stored values, or share them: they would take more memory than the file."""
    stored = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()
    }
    needed = sum(tensor.nbytes for tensor in tensors.values())
    if needed > sum(stored.values()):
        raise CheckpointError(
            f"{path} stores {sum(stored.values()):,} bytes for tensors of {needed:,}; some of them repeat or share "
            "values, which no weights do: save them with .clone()."
        )


def _is_plain(item: tuple[object, object]) -> bool:
    """Whether an entry is a name and a tensor with values of its own: not nested, sparse, quantized or elsewhere."""
    name, value = item
    if not isinstance(name, str) or not isinstance(value, torch.Tensor):
        return False
    dense = not value.is_nested and not value.is_quantized and value.layout == torch.strided
    return dense and value.device.type == "cpu" and type(value) in {torch.Tensor, torch.nn.Parameter}


def _names_in_file(path: Path, stored: Iterable[str], expected: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return under which name the file holds each expected tensor."""
    found: dict[str, str] = {}
    for name in stored:
        current = _current_name(name)
        if current in found:
            raise CheckpointError(f"{path} holds {current} twice, as {found[current]} and as {name}.")
        found[current] = name
    _check_names(path, set(found), set(expected))
    return {name: found[name] for name in expected}


def _current_name(name: str) -> str:
    for old, new in OLD_NAMES.items():
        if name.endswith("." + old):
            return name.removesuffix(old) + new
    return name


def _check_names(path: Path, found: set[str], needed: set[str]) -> None:
    missing, extra = sorted(needed - found), sorted(found - needed)
    if missing or extra:
        raise CheckpointError(
            f"{path} does not fit its config: {len(missing)} tensors are missing{_some(missing)} and {len(extra)} "
            f"are unknown{_some(extra)}; weight norm must not be folded away in a checkpoint."
        )


def _check_shape(path: Path, name: str, found: tuple[int, ...], needed: torch.Tensor) -> None:
    if found != tuple(needed.shape):
        raise CheckpointError(f"{path}: {name} has shape {found}; {tuple(needed.shape)} is needed.")


def _checked_values(path: Path, name: str, found: torch.Tensor) -> torch.Tensor:
    if not found.is_floating_point():
        raise CheckpointError(f"{path}: {name} is {found.dtype}; floating point values are needed.")
    values = found.to(torch.float32)
    if not bool(torch.isfinite(values).all()):
        raise CheckpointError(
            f"{path}: {name} has NaN or infinite values as float32; the checkpoint is damaged."
        )
    return values


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
    return f" ({shown})" if names else ""
