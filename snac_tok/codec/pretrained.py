"""Where a codec comes from and goes to: configs, folders and the hub.

How files are checked is in `checkpoint`, how they are fetched in `hub`.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import torch

from snac_tok.codec import checkpoint, hub
from snac_tok.codec.config import CodecConfig
from snac_tok.codec.hub_options import HubOptions, check_names
from snac_tok.codec.network import Network
from snac_tok.errors import CheckpointError, HubError, NetworkError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snac_tok.codec.checkpoint import CheckpointFiles

# What somebody who writes a name slightly wrong is most likely to mean.
_RELEASED = tuple(f"hubertsiuzdak/snac_{rate}" for rate in ("24khz", "32khz", "44khz"))


class Pretrained(Network):
    """A network that is loaded, saved and named."""

    # What the weights were loaded by; None for weights of one's own.
    name_or_path: str | None = None
    # Where their files are; a tokenizer looks there for its settings.
    folder: Path | None = None

    @property
    def codec_id(self) -> str:
        """What the weights were loaded by: a repository's id or an embedded name; of a folder, its last name alone."""
        if self.name_or_path is None:
            return "unsaved"
        return Path(self.name_or_path).name if Path(self.name_or_path).is_dir() else self.name_or_path

    @classmethod
    def from_config(cls, config_path: CodecConfig | Mapping[str, Any] | str | Path) -> Self:
        """Build a network with random weights from a config.json's path, a config or a config's dict."""
        if isinstance(config_path, CodecConfig):
            return cls(**config_path.to_dict())
        if isinstance(config_path, (str, Path)):
            return cls(**CodecConfig.from_json(config_path).to_dict())
        return cls(**CodecConfig.from_dict(config_path).to_dict())

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        **hub_options: Unpack[HubOptions],
    ) -> Self:
        """Load trained weights, in eval mode.

        Args:
            repo_id: "tiny" (ships with this package; for trials only), a folder with config.json and
                model.safetensors or pytorch_model.bin (no network is used), or a hub repository's id.
            device: where to put the weights.
            dtype: what to keep them in.
            **hub_options: those of huggingface_hub's `hf_hub_download`, as upstream takes them: `revision`,
                `cache_dir`, `token`, `local_files_only`, `force_download`, `subfolder`, …; `HubOptions` lists them.

        Raises:
            ConfigError: the config describes no possible network.
            CheckpointError: files are missing, damaged, unsafe or do not fit the config.
            HubError: the hub cannot be reached or has no such repository.
        """
        check_names(hub_options)
        files = find_files(repo_id, hub_options)
        config = CodecConfig.from_json(files.config)
        # On the meta device nothing is allocated before the file has been compared with what the config asks for.
        with torch.device("meta"):
            model = cls.from_config(config)
        model.load_state_dict(
            checkpoint.read_weights(files.weights, expected=model.state_dict()), assign=True
        )
        model.name_or_path, model.folder = str(repo_id), files.config.parent
        return model.to(device=device, dtype=dtype).eval()

    def save_pretrained(self, folder: str | Path, *, safe_serialization: bool = True) -> None:
        """Write config.json and weights into `folder`, each complete or not at all.

        Args:
            folder: made where it is missing.
            safe_serialization: False writes pytorch_model.bin, which upstream's `SNAC.from_pretrained` loads, instead
                of model.safetensors. A file of the other format that lies there already is written anew, too.

        Raises:
            CheckpointError: the folder or a file cannot be written.
            NetworkError: layers were exchanged, so that no codec could load the weights.
        """
        checkpoint.write_files(
            folder, config=self.config, weights=self._own_weights(), legacy=not safe_serialization
        )

    def _own_weights(self) -> dict[str, torch.Tensor]:
        """Return the state dict under the names of a network as built; torch.compile's wrappers are looked through."""
        weights = {name.replace("_orig_mod.", ""): value for name, value in self.state_dict().items()}
        with torch.device("meta"):
            needed = set(type(self).from_config(self.config).state_dict())
        if changed := sorted(needed ^ set(weights)):
            raise NetworkError(
                f"{len(changed)} weights are not those of a codec ({changed[0]}, …): layers were exchanged or wrapped; "
                "put the original layers back before saving."
            )
        return weights

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        safe_serialization: bool = True,
    ) -> str:
        """Create `repo_id` on the hub where it is missing and upload config.json and weights.

        Args:
            repo_id: "owner/name".
            private: whether a new repository is private.
            token: hub access token.
            revision: branch to upload to.
            safe_serialization: as in `save_pretrained`.

        Returns:
            the commit's address.

        Raises:
            HubError: the hub cannot be reached or refuses.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, safe_serialization=safe_serialization)
            return hub.upload_folder(folder, repo_id, private=private, token=token, revision=revision)

    def weights_sha256(self) -> str:
        """A digest of the weights' names, shapes and values, the same for every file format they come in."""
        # Whatever was written to the weights unseen, the next codes are made with what this digest says.
        self.unfold_weight_norm()
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            values = tensor.detach().to("cpu").contiguous()
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def find_files(repo_id: str | Path, options: HubOptions) -> CheckpointFiles:
    """Locate config and weights: an embedded codec's name, a folder (no network), or a hub repository."""
    folder = checkpoint.EMBEDDED.get(str(repo_id), Path(repo_id))
    if folder.is_dir():
        return checkpoint.files_in(folder)
    if isinstance(repo_id, Path) or str(repo_id).count("/") != 1 or str(repo_id).startswith((".", "/", "~")):
        raise CheckpointError(
            f"{str(repo_id)!r} is neither an existing folder nor a hub repository's id like 'owner/name'; "
            f"embedded codecs: {', '.join(checkpoint.EMBEDDED)}.{_nearest(repo_id)}"
        )
    try:
        return hub.find_files(str(repo_id), options)
    except HubError as error:
        raise HubError(f"{error}{_nearest(repo_id)}") from error


def _nearest(repo_id: str | Path) -> str:
    """Return a sentence with the known codec that a name is near to, "" for none or for a known one."""
    known = (*checkpoint.EMBEDDED, *_RELEASED)
    return "" if str(repo_id) in known else did_you_mean(str(repo_id), known)
