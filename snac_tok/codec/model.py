"""The codec: audio (B, 1, T) to hierarchical codes and back, a drop-in for upstream's `SNAC`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self, get_args

import torch

from snac_tok.codec import calling, inference, ragged
from snac_tok.codec.as_built import check_as_built
from snac_tok.codec.cuda_graphs import CudaGraphs
from snac_tok.codec.graphs import GraphedChunks
from snac_tok.codec.inputs import blocks_of, checked_audio, checked_codes, clips_of, code_clips_of
from snac_tok.codec.noise import Noise, checked_noise
from snac_tok.codec.ops.backend import no_tf32
from snac_tok.codec.ops.reference import Precision
from snac_tok.codec.placement import DTYPE_NAMES
from snac_tok.codec.precision import in_full_precision
from snac_tok.codec.pretrained import Pretrained
from snac_tok.errors import CodesError, ConfigError, NetworkError, WaveformError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from snac_tok.codec.graph_report import GraphReport
    from snac_tok.codec.noise import NoiseSource


class SNAC(Pretrained):
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
        gradients = self.training or (torch.is_grad_enabled() and audio.requires_grad)
        if gradients or calling.is_needed(self, self.encoder, self.quantizer, self.decoder):
            with torch.set_grad_enabled(gradients and torch.is_grad_enabled()):
                latents, codes = calling.quantized(self, audio)
                return calling.sound(self, latents, noise)[..., : audio.shape[-1]], codes
        with torch.no_grad():
            codes = self.encode(audio)
            sound = self.decode(codes, noise=noise)
        return sound[..., : audio.shape[-1]], codes

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
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            if calling.is_needed(self, self.encoder, self.quantizer):
                for attempt in in_full_precision(audio):
                    with attempt:
                        codes = calling.quantized(self, audio)[1]
                return codes
            clips = inference.encode_clips(self, inference.rows_alone(self, audio))
        return [torch.cat(level) for level in zip(*clips, strict=True)]

    def decode(self, codes: Sequence[torch.Tensor], *, noise: Noise = "random") -> torch.Tensor:
        """Turn codes into audio.

        Args:
            codes: one (B, T_k) integer tensor per level, coarsest first, on any device. Given only the first n
                levels, the finer ones are left out of the sum.
            noise: "random" draws from torch's global generator as upstream does, "off" leaves noise blocks out,
                an int draws the same noise every time, on every device.

        Returns:
            (B, 1, frames * `config.frame_length`) floats in [-1, 1].

        Raises:
            CodesError: levels are missing or of lengths that do not fit each other, or a code is out of range.
        """
        levels = checked_codes(codes, config=self.config, device=self.device)
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            if calling.is_needed(self, self.quantizer, self.decoder):
                return calling.sound(self, self.quantizer.from_codes(levels), noise)
            rows = inference.with_noise(self, levels, checked_noise(noise))
            return torch.cat(inference.decode_clips(self, rows))

    def encode_batch(self, clips: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
        """Encode clips of any lengths in one call; each gets the codes that it gets alone.

        Args:
            clips: mono audio, (T_i,) or (1, T_i) each, at `sampling_rate`.

        Returns:
            per clip, one (T_ik,) int64 tensor per level.

        Raises:
            WaveformError: as in `encode`, naming the clip.
        """
        checked = [self._checked_clip(at, clip) for at, clip in enumerate(clips_of(clips))]
        with torch.no_grad():
            if calling.is_needed(self, self.encoder, self.quantizer):
                return [[level[0] for level in self.encode(clip)] for clip in checked]
            encode = inference.encode_clips if self.device.type == "cpu" else ragged.encode_padded
            codes = encode(self, checked)
        return [[level[0] for level in levels] for levels in codes]

    def decode_batch(
        self, clips: Sequence[Sequence[torch.Tensor]], *, noise: Noise = "random"
    ) -> list[torch.Tensor]:
        """Decode codes of any lengths in one call; each sounds as it does alone.

        Args:
            clips: per clip, one (T_ik,) integer tensor per level; all with the same number of levels.
            noise: as in `decode`.

        Returns:
            per clip, (1, T_i) floats.

        Raises:
            CodesError: as in `decode`, naming the clip.
        """
        checked = [self._checked_codes_of(at, codes) for at, codes in enumerate(code_clips_of(clips))]
        if len({len(levels) for levels in checked}) > 1:
            raise CodesError("the clips have different numbers of levels; decode them in separate calls.")
        with torch.no_grad():
            if calling.is_needed(self, self.quantizer, self.decoder):
                return [self.decode(levels, noise=noise)[0] for levels in checked]
            noise = checked_noise(noise)
            if self.device.type == "cpu":
                rows = [row for levels in checked for row in inference.with_noise(self, levels, noise)]
                audio = inference.decode_clips(self, rows)
            else:
                audio = ragged.decode_padded(self, checked, noise)
        return [samples[0] for samples in audio]

    @torch.no_grad()  # as a decorator it steps aside while the caller holds what was yielded
    def encode_blocks(self, blocks: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
        """Encode audio of any length that comes in blocks, in bounded memory; the blocks' sizes change nothing.

        Args:
            blocks: (B, 1, n) audio, one after the other; n may differ.

        Yields:
            codes [(B, n_k)], whole frames; joined they are what `encode` gives for the joined blocks.

        Raises:
            WaveformError: as in `encode`.
        """
        check_as_built(self.encoder)
        checked = (checked_audio(block, device=self.device, dtype=self.dtype) for block in blocks_of(blocks))
        yield from inference.encode_blocks(self, checked)

    def decode_blocks(
        self, codes: Sequence[torch.Tensor], *, noise: int | Literal["off"]
    ) -> Iterator[torch.Tensor]:
        """Decode codes of any length piece by piece, in bounded memory.

        Args:
            codes: as in `decode`.
            noise: a seed or "off"; fresh noise for a whole clip cannot be drawn in bounded memory.

        Yields:
            (B, 1, n) audio; joined it is what `decode` gives.

        Raises:
            CodesError: as in `decode`, or `noise` is "random".
        """
        check_as_built(self.decoder)
        levels = checked_codes(codes, config=self.config, device=self.device)
        source = inference.whole_clip_noise(self, checked_noise(noise, fresh=False), levels[0].shape[0], 0)
        return self._decoded_blocks(levels, source)

    @torch.no_grad()  # as a decorator it steps aside while the caller holds what was yielded
    def _decoded_blocks(
        self, levels: Sequence[torch.Tensor], source: NoiseSource | None
    ) -> Iterator[torch.Tensor]:
        yield from inference.decode_blocks(self, levels, source)

    def use_precision(self, precision: Precision) -> Self:
        """From now on multiply float32 on a GPU like this. What torch is set to never counts, and is left as it is.

        Args:
            precision: "fp32", as every codec begins, multiplies in full: codes are those of a CPU. "tf32x3" makes each
                product from three of TF32, on tensor cores; it is nearly as exact. "tf32" makes it from one, whose
                factors have 10 bits behind the point: codes change. docs/performance.md says how many. Searching
                codebooks, depthwise convolutions and attention weights stay float32. It is not saved.

        Raises:
            ConfigError: another name.
            NetworkError: other than "fp32", where there is no TF32: on a CPU, in half precision, without Triton.
        """
        if precision not in get_args(Precision):
            known = ", ".join(map(repr, get_args(Precision)))
            raise ConfigError(f"precision must be one of {known}, got {precision!r}.")
        if precision != "fp32" and (reason := no_tf32(next(self.parameters()))):
            raise NetworkError(f"precision {precision!r} asks for TF32: {reason}.")
        for network in (self.encoder, self.decoder):
            network.precision = precision
        return self

    @property
    def precision(self) -> str:
        """How exactly the codec encodes as it is; codes depend on it, and shards record it.

        In float32 what `use_precision` was given, but "fp32" on a CPU, in training and through layers that somebody
        changed; else the dtype: "fp16", "bf16" or "fp64".
        """
        if self.dtype is not torch.float32:
            return DTYPE_NAMES[self.dtype]
        in_full = calling.is_needed(self, self.encoder, self.quantizer) or no_tf32(next(self.parameters()))
        return "fp32" if in_full else self.encoder.precision

    def use_cuda_graphs(self, *, limit: int = 32) -> Self:
        """From now on run what repeats as CUDA graphs: streams, short clips, equal batches.

        A graph launches all kernels of a chunk at once, where launching them one by one takes longer than running
        them. It is captured when a shape comes for the second time, in less than a second; run typical work twice
        before you serve, and then see `freeze_cuda_graphs`. Graphs are made anew when weights change, and are neither
        copied nor saved.

        Args:
            limit: how many graphs each network has at most; other shapes run as without.

        Raises:
            NetworkError: the codec is not on a GPU of CUDA.
        """
        devices = [CudaGraphs(self.device) for _ in range(2)]
        for network, device in zip((self.encoder, self.decoder), devices, strict=True):
            network.graphs = GraphedChunks(network, limit=limit, device=device)
        return self

    def freeze_cuda_graphs(self) -> Self:
        """From now on capture no more CUDA graphs: those that are there go on, all else runs as without.

        Those of weights that are changed later go, as always, and none take their place.

        For a process where something else uses the GPU, such as a language model: a capture waits for all of its work
        and gives back memory that is kept for it, and with torch 2.10 and 2.11 random numbers that another
        thread draws meanwhile raise an error there. It lasts until the next `use_cuda_graphs`.
        """
        for graphs in (self.encoder.graphs, self.decoder.graphs):
            if isinstance(graphs, GraphedChunks):
                graphs.freeze()
        return self

    @property
    def graph_report(self) -> GraphReport | None:
        """What has been captured, in how many seconds, and how often it ran; None before `use_cuda_graphs`."""
        encoder, decoder = self.encoder.graphs, self.decoder.graphs
        if isinstance(encoder, GraphedChunks) and isinstance(decoder, GraphedChunks):
            return encoder.report + decoder.report
        return None

    def _checked_clip(self, at: int, clip: torch.Tensor) -> torch.Tensor:
        try:
            return checked_audio(clip, device=self._place_of(clip), dtype=self.dtype)
        except WaveformError as error:
            raise WaveformError(f"clip {at}: {error}") from error

    def _checked_codes_of(self, at: int, codes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        try:
            place = self._place_of(codes[0]) if codes else self.device
            return checked_codes(codes, config=self.config, device=place)
        except CodesError as error:
            raise CodesError(f"clip {at}: {error}") from error

    def _place_of(self, clip: torch.Tensor) -> torch.device:
        """Return where a clip of a batch is to be: for a GPU where it is, because `ragged` sends many at once."""
        return self.device if self.device.type == "cpu" else clip.device
