"""Where a codec comes from and goes to: configs, folders and the hub.

How files are checked is in `checkpoint`, how they are fetched in `hub`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

import torch

from snac_tok.codec import checkpoint, hub
from snac_tok.codec.chunked import AudioDecoder
from snac_tok.codec.config import CodecConfig
from snac_tok.codec.decoders import check_fit, read_decoder
from snac_tok.codec.folding import weights_sha256
from snac_tok.codec.hub_options import HubOptions, check_names
from snac_tok.codec.network import Decoder, Network
from snac_tok.codec.placement import check_device, float_dtype
from snac_tok.errors import CheckpointError, ConfigError, HubError, NetworkError, did_you_mean
from snac_tok.paths import checked_name

if TYPE_CHECKING:
    from snac_tok.codec.checkpoint import CheckpointFiles

# Options that say where in a repository something is: those of a codec's are not those of a decoder's.
_CODECS_OWN = ("revision", "subfolder")

# What somebody who writes a name slightly wrong is most likely to mean.
_RELEASED = tuple(f"hubertsiuzdak/snac_{rate}" for rate in ("24khz", "32khz", "44khz"))


class Pretrained(Network):
    """A network that is loaded, saved and named."""

    # What the weights were loaded by; None for weights of one's own.
    name_or_path: str | None = None
    # Where their files are; a tokenizer looks there for its settings.
    folder: Path | None = None
    # What a decoder in the place of the codec's own was loaded by; None for its own.
    decoder_id: str | None = None
    # Before the decoder was exchanged: the digest of what makes codes, and of all weights.
    _before_exchange: tuple[str, str] | None = None

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
        if isinstance(config_path, Mapping):
            return cls(**CodecConfig.from_dict(config_path).to_dict())
        needed = "the path of a config.json, a CodecConfig or its dict"
        checked_name(config_path, name="config_path", needed=needed, error=ConfigError)
        return cls(**CodecConfig.from_json(config_path).to_dict())

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str | Path,
        *,
        decoder: str | Path | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | str | None = None,
        **hub_options: Unpack[HubOptions],
    ) -> Self:
        """Load trained weights, in eval mode.

        Args:
            repo_id: "tiny" (ships with this package; for trials only), a folder with config.json and
                model.safetensors or pytorch_model.bin (no network is used), or a hub repository's id; with `subfolder`
                a folder inside of either.
            decoder: a decoder in the place of the codec's own, by name as `repo_id`: another codec of the same shape,
                of which the decoder alone is taken, or a decoder of Vocos' kind (docs/decoding.md). Codes stay as
                they are.
            device: where to put the weights.
            dtype: what to keep them in, a torch.dtype or its name, such as "float16"; None or "auto" is float32.
            **hub_options: those of huggingface_hub's `hf_hub_download`, as upstream takes them: `revision`,
                `cache_dir`, `token`, `local_files_only`, `force_download`, `subfolder`, …; `HubOptions` lists them.
                `revision` and `subfolder` are the codec's alone; the others serve for the decoder, too.

        Raises:
            ConfigError: `repo_id` or `decoder` is no name, or an empty one; no such device here, or no such dtype of
                weights; the config describes no possible network, or the decoder is for another codec, by its shape or
                because it says so.
            CheckpointError: files are missing, damaged, unsafe or do not fit the config.
            HubError: the hub cannot be reached or has no such repository.
        """
        check_names(hub_options)
        checked_codec_name(repo_id, argument="repo_id")
        if decoder is not None:
            checked_codec_name(decoder, argument="decoder")
        check_device(device)
        kept_in = float_dtype(dtype)
        files = find_files(repo_id, hub_options)
        config = CodecConfig.from_json(files.config)
        # On the meta device nothing is allocated before the file has been compared with what the config asks for.
        with torch.device("meta"):
            model = cls.from_config(config)
        model.load_state_dict(
            checkpoint.read_weights(files.weights, expected=model.state_dict()), assign=True
        )
        is_inside = Path(repo_id).is_dir() and hub_options.get("subfolder")
        model.name_or_path = str(files.config.parent if is_inside else repo_id)
        model.folder = files.config.parent
        if decoder is None:
            return model.to(device=device, dtype=kept_in).eval()
        shared = {name: value for name, value in hub_options.items() if name not in _CODECS_OWN}
        read = read_decoder(find_files(decoder, cast("HubOptions", shared)), model)
        model = model.to(device=device, dtype=kept_in).eval()
        return model.exchange_decoder(read, decoder_id=str(decoder))

    def exchange_decoder(self, decoder: AudioDecoder, *, decoder_id: str = "unsaved") -> Self:
        """Put another decoder in the place of the codec's own; codes, and the digest that names them, stay the same.

        Args:
            decoder: brought to where the codec's weights are, in their dtype, in eval or training mode as the codec.
            decoder_id: what it was loaded by.

        Raises:
            ConfigError: it is for another codec.
        """
        check_fit(decoder, self.config)
        digests = self._codes_sha256(), self.weights_sha256()
        self.decoder = decoder.to(device=self.device, dtype=self.dtype).train(self.training)
        self.decoder.precision = self.encoder.precision
        self.decoder_id, self._before_exchange = decoder_id, digests
        return self

    def save_pretrained(self, folder: str | Path, *, safe_serialization: bool = True) -> None:
        """Write config.json and weights into `folder`, each complete or not at all.

        Args:
            folder: made where it is missing.
            safe_serialization: False writes pytorch_model.bin, which upstream's `SNAC.from_pretrained` loads, instead
                of model.safetensors. A file of the other format that lies there already is written anew, too.

        Raises:
            CheckpointError: the folder or a file cannot be written.
            NetworkError: layers or the decoder were exchanged, so that no codec could load the weights.
        """
        checkpoint.write_files(
            folder, config=self.config, weights=self.own_weights(), legacy=not safe_serialization
        )

    def own_weights(self) -> dict[str, torch.Tensor]:
        """Return the state dict under the names of a network as built; torch.compile's wrappers are looked through.

        From here on the codec works with these weights, however they were written (`fold_weight_norm`).
        """
        self.unfold_weight_norm()
        weights = {name.replace("_orig_mod.", ""): value for name, value in self.state_dict().items()}
        with torch.device("meta"):
            needed = set(type(self).from_config(self.config).state_dict())
        if not isinstance(self.decoder, Decoder) and isinstance(self.decoder, AudioDecoder):
            raise NetworkError(
                f"the codec's decoder is a {type(self.decoder).__name__}, which no codec's files have a place for; "
                "save it by itself with codec.decoder.save_pretrained, and give both names to from_pretrained."
            )
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
        """A digest of the weights' names, shapes and values, the same for every file format they come in.

        It says whose codes a codec makes and understands. So it stays what it was when the decoder is exchanged, which
        has a digest of its own, `decoder.sha256()`. From here on the codec works with the weights that the digest is
        of, however they were written (`fold_weight_norm`).
        """
        if self._before_exchange is not None and self._before_exchange[0] == self._codes_sha256():
            return self._before_exchange[1]
        return weights_sha256(self)

    def _codes_sha256(self) -> str:
        """A digest of the weights that make codes."""
        return weights_sha256(self.encoder) + weights_sha256(self.quantizer)


def checked_codec_name(value: Any, *, argument: str) -> str:
    """Return what names a codec, or the decoder of one, as text.

    Raises:
        ConfigError: it is no name; an empty one would be the current folder, whatever lies there.
    """
    what = "the decoder" if argument == "decoder" else "the codec"
    needed = f"the name of {what}, a folder or a repository such as {_RELEASED[0]!r}"
    return checked_name(value, name=argument, needed=needed, error=ConfigError)


def find_files(repo_id: str | Path, options: HubOptions) -> CheckpointFiles:
    """Locate config and weights: an embedded codec's name, a folder (no network), or a hub repository."""
    folder = checkpoint.EMBEDDED.get(str(repo_id), Path(repo_id))
    if folder.is_dir():
        return checkpoint.files_in(_inside(folder, options.get("subfolder")))
    if folder.is_file():
        raise CheckpointError(f"{str(repo_id)!r} is a file; name its folder: {str(folder.parent)!r}.")
    if isinstance(repo_id, Path) or str(repo_id).count("/") != 1 or str(repo_id).startswith((".", "/", "~")):
        raise CheckpointError(
            f"{str(repo_id)!r} is neither an existing folder nor a hub repository's id like 'owner/name'; "
            f"embedded codecs: {', '.join(checkpoint.EMBEDDED)}.{_nearest(repo_id)}"
        )
    try:
        return hub.find_files(str(repo_id), options)
    except HubError as error:
        raise HubError(f"{error}{_nearest(repo_id)}") from error


def _inside(folder: Path, subfolder: str | None) -> Path:
    """Return the folder in a folder that `subfolder` names, itself for none."""
    found = folder / subfolder if subfolder else folder
    if not found.is_dir():
        raise CheckpointError(
            f"the folder {folder} has no subfolder {str(subfolder)!r}; leave it out, or correct it."
        )
    return found


def _nearest(repo_id: str | Path) -> str:
    """Return a sentence with the known codec that a name is near to, "" for none or for a known one."""
    known = (*checkpoint.EMBEDDED, *_RELEASED)
    return "" if str(repo_id) in known else did_you_mean(str(repo_id), known)
