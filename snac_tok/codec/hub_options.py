"""What `from_pretrained` hands on to huggingface_hub, as upstream does: the arguments of `hf_hub_download`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypedDict

from snac_tok.errors import HubError

if TYPE_CHECKING:
    from pathlib import Path


class HubOptions(TypedDict, total=False):
    """Where a repository's files come from and are kept; `hf_hub_download` explains each."""

    revision: str | None
    subfolder: str | None
    repo_type: str | None
    cache_dir: str | Path | None
    local_dir: str | Path | None
    token: str | bool | None
    local_files_only: bool
    force_download: bool
    endpoint: str | None
    etag_timeout: float
    headers: dict[str, str] | None
    user_agent: dict[str, str] | str | None
    library_name: str | None
    library_version: str | None
    tqdm_class: type | None
    # Of huggingface_hub before 1.0.
    proxies: dict[str, str] | None
    resume_download: bool | None
    local_dir_use_symlinks: bool | str


# What huggingface_hub does by itself since 1.0: nothing is lost where it takes no such argument.
_DONE_ANYWAY = ("resume_download", "local_dir_use_symlinks")


def check_names(options: HubOptions) -> None:
    """Refuse names that are no option.

    Raises:
        TypeError: as Python does for an argument that no function takes.
    """
    unknown = sorted(set(options) - set(HubOptions.__annotations__))
    if unknown:
        raise TypeError(
            f"from_pretrained() got unexpected arguments {unknown}; besides device and dtype it takes "
            f"{', '.join(HubOptions.__annotations__)}."
        )


def download_options(options: HubOptions) -> dict[str, Any]:
    """Return the options as the installed huggingface_hub takes them.

    Raises:
        HubError: it takes one no more that would make a difference.
    """
    from huggingface_hub import hf_hub_download

    known = inspect.signature(hf_hub_download).parameters
    given = {name: value for name, value in options.items() if value is not None}
    lost = [name for name in given if name not in known and name not in _DONE_ANYWAY]
    if lost:
        raise HubError(
            f"the installed huggingface_hub takes no {', '.join(lost)} any more; for proxies set the environment "
            "variable HTTPS_PROXY."
        )
    return {name: value for name, value in given.items() if name in known}
