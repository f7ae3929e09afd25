"""Weights on disk and on the hub: found, checked before they are used, written whole or not at all.

safetensors is read first; a legacy pytorch_model.bin only as pure tensors (weights_only=True), never with a
fallback to pickle. A file that does not fit the network is refused, not loaded in part.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from snac_tok.codec import hub
from snac_tok.codec.hub import CONFIG_FILE, LEGACY_FILE, SAFETENSORS_FILE, CheckpointFiles, first_line
from snac_tok.codec.weight_norm import OLD_NAMES
from snac_tok.errors import CheckpointError, HubError, did_you_mean
from snac_tok.files import write_bytes_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snac_tok.codec.config import CodecConfig

# Codecs that ship inside this package.
EMBEDDED = {"tiny": Path(__file__).parent / "embedded" / "tiny_24khz"}
# What somebody who writes a name slightly wrong is most likely to mean.
_RELEASED = tuple(f"hubertsiuzdak/snac_{rate}" for rate in ("24khz", "32khz", "44khz"))

_NAMES_SHOWN = 3


def find_files(
    repo_id: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> CheckpointFiles:
    """Locate config and weights: an embedded codec's name, a folder (no network), or a hub repository."""
    folder = EMBEDDED.get(str(repo_id), Path(repo_id))
    if folder.is_dir():
        return _files_in(folder)
    if isinstance(repo_id, Path) or str(repo_id).count("/") != 1 or str(repo_id).startswith((".", "/", "~")):
        raise CheckpointError(
            f"{str(repo_id)!r} is neither an existing folder nor a hub repository's id like 'owner/name'; "
            f"embedded codecs: {', '.join(EMBEDDED)}.{_nearest(repo_id)}"
        )
    try:
        return hub.find_files(
            str(repo_id),
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
        )
    except HubError as error:
        raise HubError(f"{error}{_nearest(repo_id)}") from error


def read_weights(path: Path, *, expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Read a state dict and check it against `expected` (which may be on the meta device).

    Returns:
        float32 tensors under upstream's current names.

    Raises:
        CheckpointError: the file is damaged or unsafe, or names, shapes, types or values do not fit.
    """
    weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_legacy(path)
    weights = {_current_name(name): tensor for name, tensor in weights.items()}
    _check_names(path, set(weights), set(expected))
    return {name: _checked_tensor(path, name, weights[name], expected[name]) for name in expected}


def write_files(folder: str | Path, *, config: CodecConfig, weights: Mapping[str, torch.Tensor]) -> None:
    """Write config.json and model.safetensors, each to a temporary file that is renamed when complete."""
    import safetensors.torch  # here, so that networks can be trained where torch is all there is

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"no codec can be saved into {folder}: {error.strerror}.") from error
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    content = safetensors.torch.save(tensors, metadata={"format": "pt"})
    write_bytes_atomically(folder / SAFETENSORS_FILE, content, error=CheckpointError)
    settings = (json.dumps(config.to_dict(), indent=2) + "\n").encode()
    write_bytes_atomically(folder / CONFIG_FILE, settings, error=CheckpointError)


def _nearest(repo_id: str | Path) -> str:
    """Return a sentence with the known codec that a name is near to, "" for none or for a known one."""
    known = (*EMBEDDED, *_RELEASED)
    return "" if str(repo_id) in known else did_you_mean(str(repo_id), known)


def _files_in(folder: Path) -> CheckpointFiles:
    for name in (SAFETENSORS_FILE, LEGACY_FILE):
        if (folder / name).is_file() and (folder / CONFIG_FILE).is_file():
            return CheckpointFiles(config=folder / CONFIG_FILE, weights=folder / name)
    found = sorted(path.name for path in folder.iterdir())
    raise CheckpointError(
        f"the folder {folder} holds {found}; a codec needs {CONFIG_FILE} and {SAFETENSORS_FILE} (or {LEGACY_FILE})."
    )


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    import safetensors.torch

    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no complete safetensors file: {first_line(error)}") from error


def _read_legacy(path: Path) -> dict[str, torch.Tensor]:
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
    return weights


def _is_plain(item: tuple[object, object]) -> bool:
    """Whether an entry is a name and a tensor with values of its own: neither sparse nor on no device."""
    name, value = item
    dense = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return isinstance(name, str) and dense


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


def _checked_tensor(path: Path, name: str, found: torch.Tensor, needed: torch.Tensor) -> torch.Tensor:
    if found.shape != needed.shape:
        raise CheckpointError(
            f"{path}: {name} has shape {tuple(found.shape)}; {tuple(needed.shape)} is needed."
        )
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
