"""The codec: audio (B, 1, T) to hierarchical codes and back, a drop-in for upstream's `SNAC`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import nn

from snac_tok.codec import checkpoint, chunks
from snac_tok.codec.config import CodecConfig
from snac_tok.codec.inputs import checked_audio, checked_codes
from snac_tok.codec.layers import Decoder, Encoder, _NormConv
from snac_tok.codec.noise import Noise, checked_noise
from snac_tok.codec.quantizer import ResidualQuantizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class SNAC(nn.Module):
    """Multi-Scale Neural Audio Codec (Siuzdak et al. 2024, arXiv 2410.14411).

    Constructor arguments and defaults are upstream's; `CodecConfig` explains each. A new network has random
    weights; `from_pretrained` loads trained ones. In eval mode nothing here records gradients unless `forward`
    is given audio that requires them; in training mode everything does.

    Raises:
        ConfigError: the arguments describe no possible network.

    Example:
        >>> import torch
        >>> codec = SNAC.from_pretrained("tiny")
        >>> audio = torch.zeros(1, 1, 24_000)  # (B, 1, T) at codec.sampling_rate
        >>> codes = codec.encode(audio)
        >>> [tuple(level.shape) for level in codes]
        [(1, 12), (1, 24), (1, 48)]
        >>> codec.decode(codes, noise=0).shape
        torch.Size([1, 1, 24576])
    """

    def __init__(  # noqa: PLR0917 - upstream's signature
        self,
        sampling_rate: int = 44_100,
        encoder_dim: int = 64,
        encoder_rates: Sequence[int] = (3, 3, 7, 7),
        latent_dim: int | None = None,
        decoder_dim: int = 1536,
        decoder_rates: Sequence[int] = (7, 7, 3, 3),
        attn_window_size: int | None = 32,
        codebook_size: int = 4096,
        codebook_dim: int = 8,
        vq_strides: Sequence[int] = (8, 4, 2, 1),
        noise: bool = True,  # noqa: FBT001, FBT002 - upstream's signature
        depthwise: bool = True,  # noqa: FBT001, FBT002 - upstream's signature
    ) -> None:
        super().__init__()
        self.config = CodecConfig(
            sampling_rate=sampling_rate,
            encoder_dim=encoder_dim,
            encoder_rates=tuple(encoder_rates),
            latent_dim=latent_dim,
            decoder_dim=decoder_dim,
            decoder_rates=tuple(decoder_rates),
            attn_window_size=attn_window_size,
            codebook_size=codebook_size,
            codebook_dim=codebook_dim,
            vq_strides=tuple(vq_strides),
            noise=noise,
            depthwise=depthwise,
        )
        # Upstream's attributes, for code that reads them.
        self.sampling_rate = self.config.sampling_rate
        self.hop_length = self.config.hop_length
        self.latent_dim = self.config.encoder_dim << len(self.config.encoder_rates)
        self.n_codebooks = self.config.num_levels
        self.codebook_size = self.config.codebook_size
        self.vq_strides = list(self.config.vq_strides)
        self.attn_window_size = self.config.attn_window_size
        self.name_or_path: str | None = None
        self.encoder = Encoder(self.config)
        self.quantizer = ResidualQuantizer(self.latent_dim, codebook_size, codebook_dim, self.vq_strides)
        self.decoder = Decoder(self.config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are kept in."""
        return next(self.parameters()).dtype

    @property
    def codec_id(self) -> str:
        """What the weights were loaded by: a repository's id or an embedded name; of a folder, its last name alone."""
        if self.name_or_path is None:
            return "unsaved"
        return Path(self.name_or_path).name if Path(self.name_or_path).is_dir() else self.name_or_path

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(
        self, audio_data: torch.Tensor, *, noise: Noise = "random"
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Encode and decode: what the codec does to a sound, and what training backpropagates through.

        Args:
            audio_data: (B, 1, T) floats in [-1, 1] at `sampling_rate`.
            noise: as in `decode`.

        Returns:
            the reconstruction, trimmed to (B, 1, T), and the codes as `encode` returns them.

        Raises:
            WaveformError: as in `encode`.
        """
        audio = checked_audio(audio_data, device=self.device, dtype=self.dtype)
        if self.training or (torch.is_grad_enabled() and audio.requires_grad):
            latents, codes = self.quantizer(self.encoder(self.preprocess(audio)))
            return self._decode_whole(latents, noise)[..., : audio.shape[-1]], codes
        codes = self.encode(audio)
        return self.decode(codes, noise=noise)[..., : audio.shape[-1]], codes

    def encode(self, audio_data: torch.Tensor) -> list[torch.Tensor]:
        """Turn audio into codes.

        Args:
            audio_data: (B, 1, T) floats in [-1, 1] at `sampling_rate`, T at least 1. It is padded with zeros at
                the end to a multiple of `config.padding_multiple`, so carry T along: codes do not know it.

        Returns:
            one (B, T_k) int64 tensor per level, coarsest first.

        Raises:
            WaveformError: the shape, type or length is wrong, or a sample is NaN or infinite.
        """
        audio = checked_audio(audio_data, device=self.device, dtype=self.dtype)
        if self.training:
            codes: list[torch.Tensor] = self.quantizer(self.encoder(self.preprocess(audio)))[1]
            return codes
        with torch.no_grad():
            return chunks.encode(self.fold_weight_norm(), audio)

    def decode(self, codes: Sequence[torch.Tensor], *, noise: Noise = "random") -> torch.Tensor:
        """Turn codes into audio.

        Args:
            codes: one (B, T_k) integer tensor per level, coarsest first, on any device. Given only the first n
                levels, the finer ones are left out of the sum.
            noise: "random" draws from torch's global generator as upstream does, "off" leaves noise blocks out,
                an int gives the same sound every time, on every device.

        Returns:
            (B, 1, frames * `config.frame_length`) floats in [-1, 1].

        Raises:
            CodesError: levels are missing or of lengths that do not fit each other, or a code is out of range.
        """
        levels = checked_codes(codes, config=self.config, device=self.device)
        if self.training:
            return self._decode_whole(self.quantizer.decode(levels), noise)
        with torch.no_grad():
            return chunks.decode(self.fold_weight_norm(), levels, checked_noise(noise))

    def preprocess(self, audio_data: torch.Tensor) -> torch.Tensor:
        """Pad (…, T) with zeros at the end to a multiple of `config.padding_multiple` samples."""
        length = audio_data.shape[-1]
        return F.pad(audio_data, (0, self.config.padded_num_samples(length) - length))

    def fold_weight_norm(self) -> Self:
        """Compute every weight-normed weight once, where the weights are; eval mode does this by itself.

        Weights written to since are folded again. State-dict keys stay as they are.
        """
        for module in self.modules():
            if isinstance(module, _NormConv):
                module.fold()
        return self

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Switch to training mode, where weights are computed from their norm on every call, or to eval mode."""
        if mode:
            for module in self.modules():
                if isinstance(module, _NormConv):
                    module.unfold()
        return super().train(mode)

    def weights_sha256(self) -> str:
        """A digest of the weights' names, shapes and values, the same for every file format they come in."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            values = tensor.detach().to("cpu").contiguous()
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

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
        model.name_or_path = str(repo_id)
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
        return checkpoint.push(self, repo_id, private=private, token=token, revision=revision)

    def _decode_whole(self, latents: torch.Tensor, noise: Noise) -> torch.Tensor:
        """Decode in one piece, so that gradients can be recorded."""
        source = chunks.whole_clip_noise(self, checked_noise(noise), latents.shape[0], latents.shape[-1])
        audio: torch.Tensor = self.decoder(latents, source)
        return audio
