"""`snac_tok.SNAC` as a transformers model: the same network, weights and speed, with transformers' calls."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from transformers.modeling_utils import PreTrainedAudioTokenizerBase
from transformers.utils.generic import can_return_tuple

from snac_tok.codec import SNAC
from snac_tok.codec.hub_options import HubOptions
from snac_tok.codec.pretrained import checked_codec_name
from snac_tok.errors import CodesError, ConfigError, WaveformError
from snac_tok.hf.configuration import SnacConfig
from snac_tok.hf.outputs import SnacDecoderOutput, SnacEncoderOutput, SnacOutput
from snac_tok.hf.saving import check_weights_name, whole_files

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from snac_tok.codec import Noise


class SnacModel(PreTrainedAudioTokenizerBase):
    """The SNAC codec.

    Args:
        config: its shape.
        codec: the network to wrap; None makes a new one with random weights.

    Example:
        >>> model = SnacModel.from_pretrained("tiny")
        >>> output = model.encode(torch.zeros(1, 1, 24_000))
        >>> [tuple(codes.shape) for codes in output.audio_codes]
        [(1, 12), (1, 24), (1, 48)]
        >>> model.decode(output.audio_codes, noise=0).audio_values.shape
        torch.Size([1, 1, 24576])
    """

    config_class = SnacConfig
    base_model_prefix = "snac"
    main_input_name = "input_values"
    input_modalities = "audio"
    codec: SNAC

    def __init__(self, config: SnacConfig, *, codec: SNAC | None = None) -> None:
        super().__init__(config)
        codec = SNAC.from_config(config.codec_config) if codec is None else codec
        # The parts are registered here under upstream's names; the codec, which is not registered, runs them.
        self.encoder, self.quantizer, self.decoder = codec.encoder, codec.quantizer, codec.decoder
        self.__dict__["codec"] = codec
        self.post_init()

    @classmethod
    def from_pretrained(  # type: ignore[override] # transformers' options are taken, not spelled out
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """Load weights, in eval mode, from whatever `SNAC.from_pretrained` loads: upstream's files included.

        Every weight must be there and fit: nothing is left random.

        Args:
            pretrained_model_name_or_path: "tiny", a folder or a hub repository.
            *args: none are used; transformers hands them over.
            **kwargs: `decoder`, `device` (or, as transformers calls it, `device_map` with one device), `dtype`, and the
                options of the hub, all as in `SNAC.from_pretrained`; `output_loading_info`. The rest of transformers'
                options makes no difference here.

        Raises:
            CheckpointError, ConfigError, HubError: as in `SNAC.from_pretrained`.
        """
        del args
        dtype = kwargs.get("dtype", kwargs.get("torch_dtype"))
        name = checked_codec_name(pretrained_model_name_or_path, argument="pretrained_model_name_or_path")
        codec = SNAC.from_pretrained(
            name,
            **{
                option: kwargs[option]
                for option in HubOptions.__annotations__
                if kwargs.get(option) is not None
            },
            decoder=kwargs.get("decoder"),
            dtype=dtype,
            device=_device(kwargs.get("device_map")) if kwargs.get("device") is None else kwargs["device"],
        )
        model = cls(_config_of(codec, kwargs.get("config")), codec=codec).eval()
        model.name_or_path = name
        if kwargs.get("output_loading_info"):
            names = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
            return model, {name: set() for name in names}
        return model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,  # noqa: FBT001, FBT002 - transformers' signature
        state_dict: dict[str, torch.Tensor] | None = None,
        push_to_hub: bool = False,  # noqa: FBT001, FBT002
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Save as every model does, each file whole or not at all.

        Args:
            save_directory: made where it is missing.
            is_main_process: as for every model, and so are the next, and the rest but `variant`, and a `max_shard_size`
                that would split the weights: a codec is loaded from one file, model.safetensors.
            state_dict: see there.
            push_to_hub: see there.
            *args: see there.
            **kwargs: see there.

        Raises:
            CheckpointError: the folder or the disk refuses, or the weights would be under other names.
            NetworkError: layers or the decoder were exchanged, as in `SNAC.save_pretrained`.
        """

        def save(folder: Path, *, push: bool) -> None:
            # A copy, because transformers takes the weights out of what it is given.
            weights = None if state_dict is None else dict(state_dict)
            super(SnacModel, self).save_pretrained(folder, is_main_process, weights, push, *args, **kwargs)

        self.codec.own_weights()
        with whole_files(save_directory) as hidden:
            save(hidden, push=False)
            check_weights_name(hidden)
        if push_to_hub:
            # Once more, because transformers uploads what it has just written. A failed upload loses nothing.
            with tempfile.TemporaryDirectory() as folder:
                save(Path(folder) / Path(save_directory).name, push=True)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a replaced part is replaced in the codec, too."""
        super().__setattr__(name, value)
        if name in {"encoder", "quantizer", "decoder"} and "codec" in self.__dict__:
            setattr(self.codec, name, value)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Switch to training or eval mode, the codec along with its parts."""
        super().train(mode)
        self.codec.train(mode)
        return self

    @can_return_tuple
    def encode(
        self, input_values: torch.Tensor, padding_mask: torch.Tensor | None = None
    ) -> SnacEncoderOutput:
        """Encode sound (B, 1, T) at the config's rate.

        Args:
            input_values: floats in [-1, 1].
            padding_mask: (B, T), 1 for samples and 0 behind a clip's end. Each row's codes are those of the clip
                alone, whatever its neighbours.

        Raises:
            WaveformError: as in `SNAC.encode`; or a mask of another shape, or with samples behind the end.
        """
        lengths = _lengths(input_values, padding_mask)
        if lengths is None:
            codes = self.codec.encode(input_values)
            return SnacEncoderOutput(
                audio_codes=tuple(codes), audio_codes_mask=tuple(torch.ones_like(level) for level in codes)
            )
        clips = [row[0, :length] for row, length in zip(input_values, lengths, strict=True)]
        levels = list(zip(*self.codec.encode_batch(clips), strict=True))
        return SnacEncoderOutput(
            audio_codes=tuple(_padded(rows) for rows in levels),
            audio_codes_mask=tuple(_padded([torch.ones_like(row) for row in rows]) for rows in levels),
        )

    @can_return_tuple
    def decode(
        self,
        audio_codes: Sequence[torch.Tensor],
        audio_codes_mask: Sequence[torch.Tensor] | None = None,
        *,
        noise: Noise = "random",
    ) -> SnacDecoderOutput:
        """Decode codes to sound (B, 1, samples).

        Args:
            audio_codes: per level (B, T_k).
            audio_codes_mask: as `encode` returns it; behind a clip's end its sound is 0.
            noise: "random" as upstream, "off", or a seed.

        Raises:
            CodesError: as in `SNAC.decode`; or masks of another number or shape, or with codes behind the end.
        """
        codes = list(audio_codes)
        counts = _counts(codes, audio_codes_mask)
        if counts is None:
            return SnacDecoderOutput(audio_values=self.codec.decode(codes, noise=noise))
        clips = [
            [level[row, : count[row]] for level, count in zip(codes, counts, strict=True)]
            for row in range(codes[0].shape[0])
        ]
        return SnacDecoderOutput(audio_values=_padded(self.codec.decode_batch(clips, noise=noise))[:, None])

    @can_return_tuple
    def forward(
        self, input_values: torch.Tensor, padding_mask: torch.Tensor | None = None, *, noise: Noise = "random"
    ) -> SnacOutput:
        """Encode and decode (B, 1, T); in training mode gradients flow, as in `SNAC.forward`, and rows are whole.

        Raises:
            WaveformError: as in `encode`.
        """
        lengths = _lengths(input_values, padding_mask)
        if padding_mask is None or lengths is None:
            audio, codes = self.codec(input_values, noise=noise)
            return SnacOutput(audio_codes=tuple(codes), audio_values=audio)
        if self.training:
            return self._train_on_clips(input_values, lengths, noise)
        encoded = self.encode(input_values, padding_mask)
        decoded = self.decode(encoded.audio_codes, encoded.audio_codes_mask, noise=noise)
        audio = decoded.audio_values[..., : input_values.shape[-1]]
        return SnacOutput(audio_codes=encoded.audio_codes, audio_values=audio * padding_mask[:, None])

    def _train_on_clips(self, audio: torch.Tensor, lengths: Sequence[int], noise: Noise) -> SnacOutput:
        """Run clips of several lengths with gradients, one by one: codes of a padded batch depend on the padding."""
        clips = [
            self.codec(row[None, :, :length], noise=noise) for row, length in zip(audio, lengths, strict=True)
        ]
        levels = zip(*(codes for _, codes in clips), strict=True)
        sound = _padded([each for each, _ in clips])
        sound = torch.nn.functional.pad(sound, (0, audio.shape[-1] - sound.shape[-1]))
        return SnacOutput(audio_codes=tuple(_padded(rows) for rows in levels), audio_values=sound[:, None])

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Leave weights as the codec made them."""


def _config_of(codec: SNAC, given: Any) -> SnacConfig:
    """Return the config that came with a codec's weights, with whatever else it says, or the one that was given."""
    assert codec.folder is not None
    config = (
        given if isinstance(given, SnacConfig) else SnacConfig.from_json_file(codec.folder / "config.json")
    )
    if config.codec_config != codec.config:
        raise ConfigError(
            "the given config describes another network than the checkpoint's own config.json; leave it out."
        )
    return config


def _lengths(audio: torch.Tensor, mask: torch.Tensor | None) -> list[int] | None:
    """Return the samples of each row by a checked mask; None where no row is padded."""
    if mask is None:
        return None
    if mask.ndim != 2 or audio.ndim != 3 or mask.shape != audio.shape[::2]:  # noqa: PLR2004 - (B, T), (B, 1, T)
        raise WaveformError(
            f"the padding_mask has shape {tuple(mask.shape)} for audio {tuple(audio.shape)}; (B, T) is needed for "
            "(B, 1, T)."
        )
    kept = mask != 0
    if _has_holes(kept):
        raise WaveformError("the padding_mask has samples behind padding; pad at the end only.")
    return None if bool(kept.all()) else kept.sum(dim=-1).tolist()


def _counts(codes: Sequence[torch.Tensor], masks: Sequence[torch.Tensor] | None) -> list[list[int]] | None:
    """Return the codes of each row, level by level, by checked masks; None where no row is padded."""
    if masks is None:
        return None
    if len(masks) != len(codes):
        raise CodesError(f"{len(masks)} masks were given for {len(codes)} levels; each needs one.")
    kept = [_kept_codes(level, *pair) for level, pair in enumerate(zip(codes, masks, strict=True))]
    return None if all(bool(each.all()) for each in kept) else [each.sum(dim=-1).tolist() for each in kept]


def _kept_codes(level: int, codes: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    if mask.ndim != 2 or mask.shape != codes.shape:  # noqa: PLR2004 - (B, T_k)
        raise CodesError(
            f"the mask of level {level} has shape {tuple(mask.shape)} for codes {tuple(codes.shape)}; both must be "
            "(B, T_k)."
        )
    kept = mask != 0
    if _has_holes(kept):
        raise CodesError(f"the mask of level {level} has codes behind padding; pad at the end only.")
    return kept


def _has_holes(kept: torch.Tensor) -> bool:
    """Say whether in a row (B, T) something is kept behind what is not."""
    return bool((kept[:, 1:] & ~kept[:, :-1]).any())


def _padded(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([row.reshape(-1) for row in rows], batch_first=True)


def _device(device_map: Any) -> Any:
    if isinstance(device_map, dict):
        return next(iter(device_map.values()), "cpu")
    return "cpu" if device_map is None or device_map == "auto" else device_map
