"""The model hub: fetches the files a repository has, and uploads; one sentence, soon, where it cannot be reached.

huggingface_hub retries an unreachable host for half a minute, file by file. So the repository is asked once, without
retries, what it holds; if no answer comes, what was downloaded before is used.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snac_tok.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from snac_tok.codec.pretrained import Pretrained

CONFIG_FILE = "config.json"
SAFETENSORS_FILE = "model.safetensors"
LEGACY_FILE = "pytorch_model.bin"
# Fetched along where a repository has it: what a tokenizer saved beside its codec.
SETTINGS_FILE = "snac_tokenizer.json"

_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """Where a codec's two files are; whatever belongs to them lies in the same folder."""

    config: Path
    weights: Path


def find_files(
    repo_id: str,
    *,
    revision: str | None,
    cache_dir: str | Path | None,
    token: str | bool | None,
    local_files_only: bool,
) -> CheckpointFiles:
    """Return a hub repository's files, from the cache where the hub has nothing newer or cannot be reached.

    Raises:
        HubError: neither hub nor cache has them.
    """
    from huggingface_hub import hf_hub_download

    held, why = (None, "no network was to be used") if local_files_only else _held(repo_id, revision, token)

    def fetch(name: str) -> Path:
        path = hf_hub_download(
            repo_id, name, revision=revision, cache_dir=cache_dir, token=token, local_files_only=held is None
        )
        return Path(path)

    try:
        return _fetch_all(fetch, held)
    except Exception as error:  # whatever the transport below raises
        if held is None:
            raise HubError(
                f"{repo_id!r} has not been downloaded yet and the model hub cannot be asked ({why}); connect, or give "
                "the folder of a copy, or use the embedded codec 'tiny'."
            ) from error
        raise HubError(f"{repo_id!r} could not be fetched from the model hub: {first_line(error)}") from error


def push(
    model: Pretrained, repo_id: str, *, private: bool | None, token: str | bool | None, revision: str | None
) -> str:
    """Upload a model's two files in one commit; returns the commit's address.

    Raises:
        HubError: the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        try:
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            commit = api.upload_folder(
                repo_id=repo_id, folder_path=folder, revision=revision, commit_message="Upload SNAC codec"
            )
        except Exception as error:  # whatever the transport below raises
            raise HubError(f"the codec could not be uploaded to {repo_id!r}: {first_line(error)}") from error
    return str(commit.commit_url)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type's name."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _held(repo_id: str, revision: str | None, token: Any) -> tuple[set[str] | None, str]:
    """Return the names of a repository's files, or None and the reason why the hub cannot be asked."""
    from huggingface_hub import HfApi, errors

    try:
        info = HfApi(token=token).model_info(repo_id, revision=revision, timeout=_ANSWER_SECONDS)
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        # An answer, and it is no; gated and server errors may still find the files in the cache.
        if isinstance(
            error, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError)
        ):
            raise HubError(f"the model hub has no {repo_id!r} for you: {first_line(error)}") from error
        return None, first_line(error)
    except Exception as error:  # noqa: BLE001 - whatever the transport below raises means: no answer
        return None, first_line(error)
    return {sibling.rfilename for sibling in info.siblings or []}, ""


def _fetch_all(fetch: Callable[[str], Path], held: Collection[str] | None) -> CheckpointFiles:
    config = fetch(CONFIG_FILE)
    if held is None:
        with contextlib.suppress(Exception):
            fetch(SETTINGS_FILE)
        try:
            return CheckpointFiles(config=config, weights=fetch(SAFETENSORS_FILE))
        except Exception:  # noqa: BLE001 - not in the cache; the legacy file may be
            return CheckpointFiles(config=config, weights=fetch(LEGACY_FILE))
    if SETTINGS_FILE in held:
        fetch(SETTINGS_FILE)
    return CheckpointFiles(
        config=config, weights=fetch(SAFETENSORS_FILE if SAFETENSORS_FILE in held else LEGACY_FILE)
    )
