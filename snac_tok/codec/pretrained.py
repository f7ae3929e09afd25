"""Where a codec comes from and goes to: configs, folders and the hub. How files are checked is in `checkpoint`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from snac_tok.codec import checkpoint, hub
from snac_tok.codec.config import CodecConfig
from snac_tok.codec.weight_norm import Foldable

if TYPE_CHECKING:
    from collections.abc import Mapping


class Pretrained(Foldable):
    """The part of `SNAC` that loads, saves and names it."""

    config: CodecConfig
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
    def from_config(cls, config: CodecConfig | Mapping[str, Any] | str | Path) -> Self:
        """Build a network with random weights from a config, a config's dict or a config.json's path."""
        if isinstance(config, CodecConfig):
            return cls(**config.to_dict())
        if isinstance(config, (str, Path)):
            return cls(**CodecConfig.from_json(config).to_dict())
        return cls(**CodecConfig.from_dict(config).to_dict())

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load trained weights, in eval mode.

        Args:
            repo_id: "tiny" (ships with this package; for trials only), a folder with config.json and
                model.safetensors or pytorch_model.bin (no network is used), or a hub repository's id.
            device: where to put the weights.
            dtype: what to keep them in.
            revision: branch, tag or commit of the hub repository.
            cache_dir: where downloads are kept.
            token: hub access token.
            local_files_only: use what has been downloaded before, and no network.

        Raises:
            ConfigError: the config describes no possible network.
            CheckpointError: files are missing, damaged, unsafe or do not fit the config.
            HubError: the hub cannot be reached or has no such repository.
        """
        files = checkpoint.find_files(
            repo_id, revision=revision, cache_dir=cache_dir, token=token, local_files_only=local_files_only
        )
        config = CodecConfig.from_json(files.config)
        # On the meta device nothing is allocated before the file has been compared with what the config asks for.
        with torch.device("meta"):
            model = cls.from_config(config)
        model.load_state_dict(
            checkpoint.read_weights(files.weights, expected=model.state_dict()), assign=True
        )
        model.name_or_path, model.folder = str(repo_id), files.config.parent
        return model.to(device=device, dtype=dtype).eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors into `folder`, each complete or not at all."""
        checkpoint.write_files(folder, config=self.config, weights=self.state_dict())

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
    ) -> str:
        """Create `repo_id` on the hub where it is missing and upload config.json and model.safetensors.

        Returns:
            the commit's address.

        Raises:
            HubError: the hub cannot be reached or refuses.
        """
        return hub.push(self, repo_id, private=private, token=token, revision=revision)

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
