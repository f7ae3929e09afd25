"""Trains a codec's encoder and codebooks without its decoder, so that codes know the pitch of a voice.

A small network at the latents' rate, a sketch, says what codes know: the lowest 1.2 kHz as a wave, phase and all, and a
mel spectrum. It costs a fraction of a decoder, so a CPU will do. The decoder learns the codes afterwards:

    python scripts/train_codes.py ready/wide=0.6 ready/narrow=0.4 --start-from tiny -o codes
    snac-tok train sound.yaml -o run          # with start_from: codes, trainable: decoder

    audio ─ encoder ─ codebooks ─ sketch ─┬─ low band, at an eighth of the rate  ~  that of the audio
          (from a block on)               └─ mel spectrum                        ~  that of the audio

docs/training.md has what came of it.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import nn

from snac_tok.codec import SNAC
from snac_tok.codec.vocos import Backbone
from snac_tok.metrics.mel import mel_filter_bank
from snac_tok.metrics.stft import short_time_spectra
from snac_tok.training.augmentation import Augmentation
from snac_tok.training.bypass import bypassed
from snac_tok.training.clip_store import ClipStore
from snac_tok.training.codebook_start import LATENTS_PER_ENTRY, start_codebooks
from snac_tok.training.crops import CropSampler
from snac_tok.training.dead_codes import CodeUse
from snac_tok.training.optimization import Optimization, WeightAverage
from snac_tok.training.quantization import Quantized, drawn_levels, quantize
from snac_tok.training.recipe import DecoderConfig, OptimizerConfig
from snac_tok.training.sound_losses import correlations, low_spectrum_loss

# The wave is told at the codec's rate divided by this.
SLOWER = 8
LOW_HERTZ, FILTER_SAMPLES = 1250.0, 129
WINDOW, MELS, MELS_A_LATENT, LEAST_MEL = 1024, 64, 2, 10**-3.5
# Stretches of a band's loudness that are compared, in mel frames: 0.4 s at 24 kHz.
STRETCH, STRETCH_HOP = 36, 6
WIDTH, BLOCKS = 256, 4
# Other voices, but no other phases: which way pulses point is the recording's, and codes have few bits to say it.
AUGMENTATION = Augmentation(
    level_db=(-30.0, -16.0), flip_polarity=0.0, rotate_phase=0.0, speed=(0.9, 1.1), tilt_db=2.0
)
RESTART_AFTER, RESTART_EVERY = 100, 20
REPORT_EVERY, SAVE_EVERY = 25, 200


class Sketch(nn.Module):
    """Latents (B, C, T) to the low band (B, 1, T * hop / 8) and a log mel spectrum (B, T * 2, 64)."""

    def __init__(self, codec: SNAC) -> None:
        super().__init__()
        self.hop = codec.config.hop_length // SLOWER
        shape = DecoderConfig(dim=WIDTH, intermediate_dim=3 * WIDTH, num_layers=BLOCKS)
        self.backbone = Backbone(shape.for_codec(codec.config))
        self.wave, self.mels = nn.Linear(WIDTH, 2 * self.hop), nn.Linear(WIDTH, MELS_A_LATENT * MELS)
        self.register_buffer("window", torch.hann_window(2 * self.hop))
        with torch.no_grad():
            self.wave.weight.mul_(0.02)  # it begins near silence: a wrong wave is farther than none

    def forward(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Say what latents know."""
        rows = self.backbone(latents)
        first, second = (self.wave(rows) * self.window).chunk(2, dim=-1)
        overlapped = F.pad(first, (0, 0, 0, 1)) + F.pad(second, (0, 0, 1, 0))
        start, samples = self.hop // 2, rows.shape[1] * self.hop
        wave = overlapped.flatten(1)[:, None, start : start + samples]
        return wave, self.mels(rows).unflatten(-1, (MELS_A_LATENT, MELS)).flatten(1, 2)


def low_band(audio: torch.Tensor, sampling_rate: int) -> torch.Tensor:
    """Return what (B, 1, T) has below 1.25 kHz, at an eighth of the rate."""
    times = torch.arange(FILTER_SAMPLES) - FILTER_SAMPLES // 2
    kernel = torch.sinc(2 * LOW_HERTZ / sampling_rate * times) * torch.hann_window(
        FILTER_SAMPLES, periodic=False
    )
    low = F.conv1d(audio, (kernel / kernel.sum())[None, None], padding=FILTER_SAMPLES // 2, stride=SLOWER)
    return low[..., : audio.shape[-1] // SLOWER]


def log_mels(audio: torch.Tensor, codec: SNAC) -> torch.Tensor:
    """Return two log mel spectra a latent (B, T, 64), each around the middle of its half."""
    hop = codec.config.hop_length // MELS_A_LATENT
    spectra = short_time_spectra(audio[:, 0], window_length=WINDOW, hop=hop, overhang=(WINDOW - hop) // 2)
    bank = mel_filter_bank(sampling_rate=codec.sampling_rate, n_fft=WINDOW, n_mels=MELS)
    return (spectra.abs() @ bank.t()).clamp(min=LEAST_MEL).log10()


def loudness_loss(reference: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """Return 1 minus how the loudness of bands correlates over 0.4 s, of log mel spectra (B, T, 64)."""
    target, found = ((10**mels).unfold(1, STRETCH, STRETCH_HOP) for mels in (reference, estimate))
    level = target.square().mean(-1).sqrt()
    sounds = (level > 0.05 * level.amax((1, 2), keepdim=True)).float()
    far = 1 - correlations(target, found, least=LEAST_MEL**2)
    return (far * sounds).sum() / sounds.sum().clamp(min=1)


class CodeTraining:
    """Encoder, codebooks and sketch, and what a step does to them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.codec = options, SNAC.from_pretrained(options.start_from).train()
        self.sketch = Sketch(self.codec)
        blocks = list(self.codec.encoder.block)
        self.frozen = nn.Sequential(*blocks[: options.from_block]).requires_grad_(requires_grad=False)
        self.moving = nn.Sequential(*blocks[options.from_block :])
        self._run = [torch.compile(part) if options.compile else part for part in (self.frozen, self.moving)]
        parameters = [
            *self.moving.parameters(),
            *self.codec.quantizer.parameters(),
            *self.sketch.parameters(),
        ]
        schedule = OptimizerConfig(
            learning_rate=options.learning_rate,
            decay_per_step=1.0,
            warmup_steps=100,
            cooldown_steps=options.steps // 2,
            clip_norm=options.clip_norm,
        )
        self.optimization = Optimization(parameters, schedule, first_step=0, steps=options.steps)
        self.average = WeightAverage(self.codec, decay=0.995)
        shape = self.codec.config
        self.use = CodeUse(num_levels=shape.num_levels, codebook_size=shape.codebook_size)
        self.draws = torch.Generator().manual_seed(options.seed)
        stores = [(ClipStore.open(folder), share) for folder, share in options.folders]
        self.crops = CropSampler(
            stores,
            crop_samples=options.crop_samples,
            batch_size=options.batch_size,
            seed=options.seed,
            augmentation=AUGMENTATION,
        )

    def latents(self, audio: torch.Tensor) -> torch.Tensor:
        """Encode (B, 1, T) with gradients to the blocks that learn."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bf16):
            with torch.no_grad():
                below = self._run[0](audio)
            return self._run[1](below).float()

    def start_codebooks(self) -> None:
        """Set the codebooks by k-means on latents of crops that training does not hear."""
        shape, options = self.codec.config, self.options
        wanted = LATENTS_PER_ENTRY * shape.codebook_size * max(shape.vq_strides)
        batches = -(-wanted // (options.batch_size * options.crop_samples // shape.hop_length))
        with torch.no_grad():
            some = torch.cat([self.latents(self.crops.batch(options.steps + k)) for k in range(batches)])
        start_codebooks(self.codec.quantizer, some, generator=self.draws)
        self.average = WeightAverage(self.codec, decay=self.average.decay)

    def step(self, step: int) -> dict[str, torch.Tensor]:
        """Learn from one batch; return the losses by name."""
        options = self.options
        audio = self.crops.batch(step)
        if step == options.warm_up:
            self.use.last_used.fill_(step)  # nothing was looked up before: no entry is idle yet
        quantized, known = self._known(audio, with_codebooks=step >= options.warm_up)
        losses = self._far(audio, *self.sketch(known))
        if quantized:
            losses |= {"codebook": quantized.codebook, "commitment": quantized.commitment}
        torch.stack([getattr(options, name) * loss for name, loss in losses.items()]).sum().backward()
        self.optimization.apply(step)
        self.average.update(step)
        if quantized:
            self._keep_codes_alive(quantized, step)
        return {name: loss.detach() for name, loss in losses.items()}

    def _known(self, audio: torch.Tensor, *, with_codebooks: bool) -> tuple[Quantized | None, torch.Tensor]:
        """Return what was looked up, if anything, and the latents that come out."""
        quantizer, num_levels = self.codec.quantizer, self.codec.config.num_levels
        dropout = self.options.level_dropout
        levels = drawn_levels(len(audio), num_levels=num_levels, dropout=dropout, generator=self.draws)
        latents = self.latents(audio)
        if not with_codebooks:
            return None, bypassed(quantizer, latents, levels=levels)
        quantized = quantize(quantizer, latents, levels=levels)
        return quantized, quantized.latents

    def _far(self, audio: torch.Tensor, wave: torch.Tensor, mels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return how far the sketch is from the audio."""
        rate, target = self.codec.sampling_rate, log_mels(audio, self.codec)
        return {
            "low": low_spectrum_loss(low_band(audio, rate), wave, sampling_rate=rate // SLOWER),
            "mel": (target - mels).abs().mean(),
            "loudness": loudness_loss(target, mels),
        }

    def save(self) -> None:
        """Write the codec, its averaged encoder and codebooks beside the decoder as it was."""
        averaged = copy.deepcopy(self.codec)  # a state dict to return to would hold the weights themselves
        averaged.load_state_dict(self.average.state_dict())
        averaged.save_pretrained(self.options.out)

    def _keep_codes_alive(self, quantized: Quantized, step: int) -> None:
        self.use.observe(quantized.codes, step=step)
        if step % RESTART_EVERY == 0:
            self.use.restart(
                self.codec.quantizer,
                quantized.projected,
                step=step,
                after=RESTART_AFTER,
                generator=self.draws,
            )


def main() -> None:
    """Train to the end, with a line now and then."""
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    training, began = CodeTraining(options), time.monotonic()
    for step in range(options.steps):
        if step == options.warm_up and options.k_means:
            training.start_codebooks()
        losses = training.step(step)
        if bad := [name for name, loss in losses.items() if not math.isfinite(loss)]:
            raise SystemExit(f"step {step + 1}: {', '.join(bad)} is not finite; try a lower --learning-rate.")
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == options.steps:
            figures = " ".join(f"{name} {float(loss):.3f}" for name, loss in losses.items())
            print(f"{step + 1}/{options.steps} {time.monotonic() - began:.0f} s {figures}", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == options.steps:
            training.save()


def _folder(text: str) -> tuple[str, float]:
    folder, _, share = text.rpartition("=")
    return (folder, float(share)) if folder else (share, 1.0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders", nargs="+", type=_folder, metavar="FOLDER[=SHARE]", help="made by `snac-tok prepare`"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="where the codec is written")
    parser.add_argument("--start-from", default="tiny")
    parser.add_argument(
        "--from-block", type=int, default=3, help="the encoder's blocks before this one stay as they are"
    )
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--warm-up", type=int, default=0, help="steps without codebooks")
    parser.add_argument("--k-means", action="store_true", help="set the codebooks anew after the warm-up")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--crop-samples", type=int, default=16_384)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--clip-norm", type=float, default=5.0)
    parser.add_argument("--level-dropout", type=float, default=0.05)
    for name, weight in (
        ("low", 6.0),
        ("mel", 12.0),
        ("loudness", 8.0),
        ("codebook", 1.0),
        ("commitment", 1.0),
    ):
        parser.add_argument(f"--{name}", type=float, default=weight, help=f"weight of this loss ({weight:g})")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
