"""The model hub: fetches the files a repository has, and uploads; one sentence, soon, where it cannot be reached.

huggingface_hub retries an unreachable host for half a minute, file by file. So the repository is asked once, without
retries, what it holds; if no answer comes, what was downloaded before is used, and a warning says so. An answer that
says no (401, 403, 404, a revision that is not there) is an error, whatever was downloaded before.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snac_tok.codec.checkpoint import (
    CONFIG_FILE,
    LEGACY_FILE,
    SAFETENSORS_FILE,
    SETTINGS_FILE,
    CheckpointFiles,
)
from snac_tok.codec.hub_options import download_options
from snac_tok.errors import HubError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from snac_tok.codec.hub_options import HubOptions

_log = logging.getLogger(__name__)


_ANSWER_SECONDS = 10.0
# Answers that mean "not now": too slow, too many requests.
_LATER = (408, 429)
_FIRST_SERVER_ERROR = 500
# Whose errors mean that nobody answered.
_TRANSPORTS = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")

# Repositories of which a warning has said that they come from the cache.
_warned: set[str] = set()


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What the hub says of a repository: the names it holds (None: nothing was said), its commit, or why not."""

    names: Collection[str] | None = None
    commit: str | None = None
    why: str = "no network was to be used"


def find_files(repo_id: str, options: HubOptions) -> CheckpointFiles:
    """Return a hub repository's files, from the cache where the hub has nothing newer or cannot be reached.

    Raises:
        HubError: neither hub nor cache has them, or the hub answers that there is no such thing for you.
    """
    from huggingface_hub import hf_hub_download

    wanted = download_options(options)
    answer = _Answer() if options.get("local_files_only") else _asked(repo_id, options)
    if answer.names is None:
        if options.get("force_download"):
            raise HubError(
                f"{repo_id!r} was to be downloaded anew, but the model hub cannot be asked ({answer.why}); connect, or "
                "leave force_download out."
            )
        wanted["local_files_only"] = True

    def fetch(name: str) -> Path:
        return Path(hf_hub_download(repo_id, name, **wanted))

    try:
        files = _fetch_all(fetch, repo_id, answer, options.get("subfolder"))
    except HubError:
        raise
    except Exception as error:  # whatever the transport below raises
        if answer.names is None:
            raise HubError(
                f"{repo_id!r} has not been downloaded yet and the model hub cannot be asked ({answer.why}); connect, "
                "or give the folder of a copy, or use the embedded codec 'tiny'."
            ) from error
        raise HubError(f"{repo_id!r} could not be fetched from the model hub: {first_line(error)}") from error
    _warn_of_the_cache(repo_id, answer, files, options)
    return files


def upload_folder(
    folder: str | Path, repo_id: str, *, private: bool | None, token: str | bool | None, revision: str | None
) -> str:
    """Upload a codec's files in one commit, to a repository that is made where it is missing; returns its address.

    Raises:
        HubError: the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=folder, revision=revision, commit_message="Upload SNAC codec"
        )
    except Exception as error:  # whatever the transport below raises
        raise HubError(f"the codec could not be uploaded to {repo_id!r}: {first_line(error)}") from error
    return str(commit.commit_url)


def _asked(repo_id: str, options: HubOptions) -> _Answer:
    """Ask the hub what a repository holds.

    Raises:
        HubError: the hub says no, or the question itself is wrong.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=options.get("endpoint"), token=options.get("token"))
    try:
        info = api.repo_info(
            repo_id,
            revision=options.get("revision"),
            repo_type=options.get("repo_type"),
            timeout=_ANSWER_SECONDS,
        )
    except Exception as error:
        if _is_no_answer(error):
            return _Answer(why=first_line(error))
        raise HubError(f"the model hub has no {repo_id!r} for you: {first_line(error)}") from error
    names = [sibling.rfilename for sibling in getattr(info, "siblings", None) or []]
    return _Answer(names=names, commit=info.sha, why="")


def _is_no_answer(error: Exception) -> bool:
    """Say whether an error means that the hub cannot be asked now, and not that it says no or was asked wrongly."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        status = getattr(error.response, "status_code", 0)
        return status in _LATER or status >= _FIRST_SERVER_ERROR
    if isinstance(error, errors.LocalTokenNotFoundError):
        return False
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in _TRANSPORTS


def _fetch_all(
    fetch: Callable[[str], Path], repo_id: str, answer: _Answer, subfolder: str | None
) -> CheckpointFiles:
    if answer.names is None:
        config = fetch(CONFIG_FILE)
        with contextlib.suppress(Exception):
            fetch(SETTINGS_FILE)
        try:
            return CheckpointFiles(config=config, weights=fetch(SAFETENSORS_FILE))
        except Exception:  # noqa: BLE001 - not in the cache; the legacy file may be
            return CheckpointFiles(config=config, weights=fetch(LEGACY_FILE))
    before = f"{subfolder}/" if subfolder else ""
    held = {name.removeprefix(before) for name in answer.names if name.startswith(before)}
    weights = SAFETENSORS_FILE if SAFETENSORS_FILE in held else LEGACY_FILE
    if not {CONFIG_FILE, weights} <= held:
        raise HubError(
            f"{repo_id!r} holds {sorted(held)}; a codec needs {CONFIG_FILE} and {SAFETENSORS_FILE} (or {LEGACY_FILE})."
        )
    if SETTINGS_FILE in held:
        fetch(SETTINGS_FILE)
    return CheckpointFiles(config=fetch(CONFIG_FILE), weights=fetch(weights))


def _warn_of_the_cache(repo_id: str, answer: _Answer, files: CheckpointFiles, options: HubOptions) -> None:
    """Say once of a repository that its files were not compared with the hub's, where nobody asked for that."""
    from huggingface_hub import constants

    why = answer.why
    if answer.names is not None:
        # huggingface_hub falls back to its cache by itself where a download fails; a commit names the folder.
        in_cache = not options.get("local_dir") and answer.commit is not None
        if not in_cache or all(str(answer.commit) in path.parts for path in (files.config, files.weights)):
            return
        why = "a download failed"
    if options.get("local_files_only") or constants.HF_HUB_OFFLINE or repo_id in _warned:
        return
    _warned.add(repo_id)
    _log.warning(
        "%r comes from the cache, as it was downloaded before: the model hub cannot be asked (%s). Give "
        "local_files_only=True, or set HF_HUB_OFFLINE=1, if that is what you want.",
        repo_id,
        why,
    )
