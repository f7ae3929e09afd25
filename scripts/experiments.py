"""Questions asked of small codecs: time scales, noise blocks and depthwise convolutions; how codebooks should start.

Every variant of a question of configs/experiments.yaml is trained for the same number of steps from the same seed on
the same crops, then sends held-out clips through itself. A killed script goes on where it was.

    snac-tok prepare train-clips -o ready/train --sampling-rate 24000
    snac-tok prepare other-clips -o ready/heldout --sampling-rate 24000
    python scripts/experiments.py ready/train --heldout ready/heldout -o experiments --steps 600 --seeds 0 1
"""

from __future__ import annotations

import argparse
import itertools
import platform
from pathlib import Path
from typing import Any

import torch

from snac_tok.codec import SNAC
from snac_tok.errors import ConfigError
from snac_tok.evaluation import CodecResult, SnacRoundTrip, evaluate
from snac_tok.sources.recording import Recording
from snac_tok.training import Trainer, TrainingConfig
from snac_tok.training.clip_store import ClipStore
from snac_tok.training.yaml_text import parse_yaml

CONFIG = Path(__file__).parents[1] / "configs" / "experiments.yaml"
MEASURES = ("mel", "stft", "si_sdr", "pesq", "stoi")


def main() -> None:
    """Train what is not trained yet, measure all, print one table."""
    options = _options()
    torch.set_num_threads(options.threads)
    plan = parse_yaml(CONFIG.read_text(encoding="utf-8"), what=CONFIG.name, error=ConfigError)
    print(
        f"{platform.processor() or platform.machine()}, {options.threads} threads, torch {torch.__version__}; ",
        end="",
    )
    print(f"{options.steps} steps from seeds {options.seeds}, held out: {options.heldout}\n")
    rows = []
    for name, changes in plan["questions"][options.question].items():
        for seed in options.seeds:
            settings = merged(merged(plan["base"], changes), _run_of(options, seed))
            config = TrainingConfig.from_dict(in_stages(settings))
            folder = options.out / f"{name}-{seed}"
            seconds = trained(config, folder, label=f"{name}, seed {seed}")
            rows.append((name, seed, seconds, measured(folder, options.heldout, name=name)))
    print("\n" + table(rows))


def merged(base: Any, changes: Any) -> Any:
    """Return plain settings with others laid over them, mappings setting by setting."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    return base | {name: merged(base.get(name), value) for name, value in changes.items()}


def in_stages(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings whose stages have steps in the place of shares of the run; others as they are."""
    if "stages" not in settings:
        return settings
    # All of it together makes the run's length, whatever the shares are rounded to.
    ends = [0, *itertools.accumulate(stage["steps"] for stage in settings["stages"])]
    cuts = [round(end * settings["steps"]) for end in ends]
    stages = [
        stage | {"steps": end - start}
        for stage, (start, end) in zip(settings["stages"], itertools.pairwise(cuts), strict=True)
    ]
    of_runs = ("steps", "adversarial_from_step")  # a stage would have its own
    return {name: value for name, value in settings.items() if name not in of_runs} | {"stages": stages}


def trained(config: TrainingConfig, folder: Path, *, label: str) -> float:
    """Train to the end, from where a killed script stopped; return the median seconds of a step in this process."""
    trainer = Trainer(config, folder, resume=True)
    seconds = []
    for report in trainer.run():
        seconds.append(report.seconds)
        if report.step % 50 == 0:
            print(f"{label}: step {report.step}, mel {report.losses['mel']:.3f}", flush=True)
    return sorted(seconds)[len(seconds) // 2] if seconds else float("nan")


def measured(folder: Path, heldout: Path, *, name: str) -> tuple[SNAC, CodecResult]:
    """Send the held-out clips through a trained codec."""
    codec, store = SNAC.from_pretrained(folder / "codec"), ClipStore.open(heldout)
    clips = [
        Recording(
            name=clip_id, sound={"array": store.clip(place).numpy(), "sampling_rate": store.sampling_rate}
        )
        for place, clip_id in enumerate(store.clip_ids)
    ]
    found = evaluate(
        clips, [SnacRoundTrip(codec, name=name)], measures=MEASURES, sampling_rate=store.sampling_rate
    )
    return codec, found.codecs[0]


def table(rows: list[tuple[str, int, float, tuple[SNAC, CodecResult]]]) -> str:
    """Return a table in Markdown."""
    lines = [
        "| variant | seed | parameters | s a step | bit/s | entropy bit/s | " + " | ".join(MEASURES) + " |"
    ]
    lines.append("|---" * (6 + len(MEASURES)) + "|")
    for name, seed, seconds, (codec, result) in rows:
        figures = [f"{summary.mean:.3f}" if (summary := result.summary(m)) else "none" for m in MEASURES]
        cells = [name, str(seed), f"{codec.num_parameters:,}", f"{seconds:.2f}"]
        cells += [
            f"{codec.config.bits_per_second:.0f}",
            f"{result.entropy_bits_per_second or 0:.0f}",
            *figures,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _run_of(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    steps = options.steps
    return {
        "data": {"train": [{"folder": str(folder)} for folder in options.train], "crop_samples": 8192},
        "steps": steps,
        "seed": seed,
        "adversarial_from_step": steps // 2,
        "optimizer": {"cooldown_steps": steps // 2},
        "discriminator_optimizer": {"cooldown_steps": steps // 2},
        "ema_decay": 0.99,
        "checkpoint_every": 100,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", nargs="+", type=Path, help="prepared folders to train on")
    parser.add_argument(
        "--heldout", required=True, type=Path, help="a prepared folder that is never trained on"
    )
    parser.add_argument("-o", "--out", required=True, type=Path, help="where runs are kept")
    parser.add_argument(
        "--question", default="paper", help="of configs/experiments.yaml (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=600, help="of every variant (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="(default: 0)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="(default: all cores)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
