"""EnCodec and DAC in transformers' form, from a folder that the user has: their weights are never fetched."""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

from snac_tok.audio import Waveform, resample
from snac_tok.audio.optional import import_optional
from snac_tok.errors import EvaluationError
from snac_tok.evaluation.round_trips import Reconstruction

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

_CONFIGS = {"encodec": "EncodecConfig", "dac": "DacConfig"}
_CLASSES = {"encodec": "EncodecModel", "dac": "DacModel"}


class LocalCodec:
    """EnCodec or DAC, mono, from a folder that transformers' save_pretrained or a hub's download has made.

    Args:
        kind: "encodec" or "dac".
        folder: with config.json and weights.
        amount: EnCodec's bandwidth in kbps (its lowest if None), or DAC's number of codebooks (all if None).
        device: where it runs.
        shown: what the name says of the folder; its last name if None.

    Raises:
        EvaluationError: another kind, or the folder does not hold such a codec, or that codec does not have such an
            amount.
        MissingDependencyError: transformers is not installed.
    """

    delays = False

    def __init__(
        self,
        kind: str,
        folder: str | Path,
        *,
        amount: float | None = None,
        device: str = "cpu",
        shown: str | None = None,
    ) -> None:
        self.kind, self.folder, self.device = kind, Path(folder), device
        self.amount: Any = amount_of(kind, self.folder, amount)
        self._shown = Path(os.path.abspath(folder)).name if shown is None else shown  # noqa: PTH100 - links stay
        self._model = _load(kind, self.folder).to(device).eval()
        config = self._model.config
        self.sampling_rate = int(config.sampling_rate)
        self.codebook_size = int(config.codebook_size)
        self.hop_length = int(config.hop_length)

    @property
    def name(self) -> str:
        """As in the specification, with what is shown of the folder."""
        return f"{self.kind}:{self._shown}@{self.amount:g}"

    @property
    def nominal_bits_per_second(self) -> float:
        """What its codes cost a second of sound."""
        if self.kind == "encodec":
            return 1000 * float(self.amount)
        return float(self.sampling_rate / self.hop_length * self.amount * math.log2(self.codebook_size))

    def run(self, waveform: Waveform) -> Reconstruction:
        """Encode and decode one mono clip."""
        import torch

        own = resample(waveform, self.sampling_rate).samples
        padded = np.pad(own, ((0, 0), (0, -own.shape[1] % self.hop_length)))
        audio = torch.from_numpy(padded)[None].to(self.device)  # (1, 1, T)
        start = time.perf_counter()
        with torch.inference_mode():
            codes, decode = self._encode(audio)
            kept = codes.cpu().numpy()
            encoded = time.perf_counter()
            samples = decode().reshape(1, -1).float().cpu().numpy()
        ended = time.perf_counter()
        sound = Waveform(samples=np.ascontiguousarray(samples), sampling_rate=self.sampling_rate)
        return Reconstruction(
            sounds=(sound,),
            num_bits=kept.size * math.log2(self.codebook_size),
            encode_seconds=encoded - start,
            decode_seconds=ended - encoded,
            codes=tuple(kept),
        )

    def _encode(self, audio: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Return the codes (levels, T_k) and what decodes them."""
        model = self._model
        if self.kind == "dac":
            codes = model.encode(audio, n_quantizers=self.amount).audio_codes  # (1, Q, T)
            return codes[0], lambda: model.decode(audio_codes=codes).audio_values
        found = model.encode(audio, bandwidth=self.amount)  # codes (1, 1, Q, T)
        return found.audio_codes[
            0, 0
        ], lambda: model.decode(found.audio_codes, found.audio_scales).audio_values


def amount_of(kind: str, folder: Path, amount: float | None) -> float:
    """Return the amount that a codec in a folder is run with; only its config is read.

    Args:
        kind: as for `LocalCodec`.
        folder: as there.
        amount: as there, None for the default.

    Raises:
        EvaluationError: as there.
        MissingDependencyError: as there.
    """
    config = _config(kind, folder)
    choices = config.target_bandwidths if kind == "encodec" else range(1, config.n_codebooks + 1)
    default = min(choices) if kind == "encodec" else config.n_codebooks
    found = next((choice for choice in choices if choice == (default if amount is None else amount)), None)
    if found is None:
        listed = ", ".join(f"{choice:g}" for choice in choices)
        raise EvaluationError(f"{kind} in {folder} has the choices {listed}, not {amount:g}.")
    if kind == "encodec" and (config.audio_channels != 1 or config.chunk_length is not None):
        raise EvaluationError(f"{folder} is a stereo EnCodec; only the mono one (24 kHz) can be evaluated.")
    return found


def _config(kind: str, folder: Path) -> Any:
    _check_config(kind, folder)
    transformers = import_optional("transformers", extra="hf", purpose=f"the codec {kind}")
    with _naming(kind, folder):
        return getattr(transformers, _CONFIGS[kind]).from_pretrained(folder, local_files_only=True)


@contextmanager
def _naming(kind: str, folder: Path) -> Iterator[None]:
    """Make one sentence of whatever transformers says of a folder."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        reason = str(error).strip().split("\n", 1)[0].rstrip(".")
        raise EvaluationError(f"{folder} cannot be loaded as {kind}: {reason}.") from error


def _load(kind: str, folder: Path) -> Any:
    transformers = import_optional("transformers", extra="hf", purpose=f"the codec {kind}")
    codec_class = getattr(transformers, _CLASSES[kind])
    with _naming(kind, folder):
        model, info = codec_class.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    # transformers fills what is missing with random weights and only warns.
    lacking = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if lacking:
        raise EvaluationError(f"{folder} lacks {len(lacking)} weights of {kind}, the first {lacking[0]}.")
    return model


def _check_config(kind: str, folder: Path) -> None:
    """See that there is a codec of this kind, before transformers takes any config for any model."""
    if kind not in tuple(_CLASSES):
        raise EvaluationError(f"the kind of codec is {kind!r}; it must be one of {', '.join(_CLASSES)}.")
    path = folder / "config.json"
    if not path.is_file():
        raise EvaluationError(
            f"{folder} holds no config.json; {kind} needs the folder of its weights, which are not fetched."
        )
    try:
        found = json.loads(path.read_bytes()).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise EvaluationError(f"{path} is not a readable config ({error}).") from error
    if found != kind:
        raise EvaluationError(
            f"{path} is of the model type {found!r}; {kind!r} in transformers' form is needed."
        )
