"""Weights on disk and on the hub: found, checked before they are used, written whole or not at all.

safetensors is read first; a legacy pytorch_model.bin only as pure tensors (weights_only=True), never with a
fallback to pickle. A file that does not fit the network is refused, not loaded in part.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from safetensors import SafetensorError

from snac_tok.errors import CheckpointError, HubError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snac_tok.codec.config import CodecConfig
    from snac_tok.codec.pretrained import Pretrained

CONFIG_FILE = "config.json"
SAFETENSORS_FILE = "model.safetensors"
LEGACY_FILE = "pytorch_model.bin"

# Codecs that ship inside this package.
EMBEDDED = {"tiny": Path(__file__).parent / "embedded" / "tiny_24khz"}

# Weight norm's names before torch 2.1 became parametrizations.
_OLD_NAMES = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
}
_NAMES_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """Where a codec's two files are."""

    config: Path
    weights: Path


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
            f"embedded codecs: {', '.join(EMBEDDED)}."
        )

    def download(filename: str) -> Path:
        from huggingface_hub import hf_hub_download

        return Path(
            hf_hub_download(
                str(repo_id),
                filename,
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                local_files_only=local_files_only,
            )
        )

    return _files_on_hub(str(repo_id), download)


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
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_atomically(folder / SAFETENSORS_FILE, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    write_atomically(folder / CONFIG_FILE, (json.dumps(config.to_dict(), indent=2) + "\n").encode())


def push(
    model: Pretrained, repo_id: str, *, private: bool | None, token: str | bool | None, revision: str | None
) -> str:
    """Upload a model's two files in one commit; returns the commit's address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        try:
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            commit = api.upload_folder(
                repo_id=repo_id, folder_path=folder, revision=revision, commit_message="Upload SNAC codec"
            )
        except (HfHubHTTPError, OSError) as error:
            raise HubError(f"the codec could not be uploaded to {repo_id!r}: {_first_line(error)}") from error
    return str(commit.commit_url)


def _files_in(folder: Path) -> CheckpointFiles:
    for name in (SAFETENSORS_FILE, LEGACY_FILE):
        if (folder / name).is_file() and (folder / CONFIG_FILE).is_file():
            return CheckpointFiles(config=folder / CONFIG_FILE, weights=folder / name)
    found = sorted(path.name for path in folder.iterdir())
    raise CheckpointError(
        f"the folder {folder} holds {found}; a codec needs {CONFIG_FILE} and {SAFETENSORS_FILE} (or {LEGACY_FILE})."
    )


def _files_on_hub(repo_id: str, download: Callable[[str], Path]) -> CheckpointFiles:
    from huggingface_hub import errors

    try:
        config = download(CONFIG_FILE)
        try:
            weights = download(SAFETENSORS_FILE)
        except errors.LocalEntryNotFoundError:
            # Not among the downloaded files; offline, the legacy file may be.
            weights = download(LEGACY_FILE)
        except errors.EntryNotFoundError:
            weights = download(LEGACY_FILE)
    except errors.LocalEntryNotFoundError as error:
        raise HubError(
            f"{repo_id!r} has not been downloaded yet and the model hub cannot be reached; connect, download it "
            "elsewhere and give the folder, or use the embedded codec 'tiny'."
        ) from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        raise HubError(
            f"{repo_id!r} could not be fetched from the model hub: {_first_line(error)}"
        ) from error
    return CheckpointFiles(config=config, weights=weights)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no complete safetensors file: {_first_line(error)}") from error


def _read_legacy(path: Path) -> dict[str, torch.Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, runtime and OS errors here
        raise CheckpointError(
            f"{path} could not be read as pure tensors ({_first_line(error)}); a file with other objects in it could "
            "run code and is refused: convert it to safetensors where you trust it."
        ) from error
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise CheckpointError(f"{path} holds a {type(weights).__name__}; a dict of tensors is needed.")
    return weights


def _current_name(name: str) -> str:
    for old, new in _OLD_NAMES.items():
        if name.endswith(old):
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
    if not bool(torch.isfinite(found).all()):
        raise CheckpointError(f"{path}: {name} has NaN or infinite values; the checkpoint is damaged.")
    return found.to(torch.float32)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file through a temporary one in the same folder, renamed when complete.

    Raises:
        CheckpointError: the disk is full or refuses; what was there before stays.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; a checkpoint is as readable as any file its owner makes.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise CheckpointError(f"{path} could not be written: {error.strerror}.") from error


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
    return f" ({shown})" if names else ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
