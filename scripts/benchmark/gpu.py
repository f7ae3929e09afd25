"""The rows of `scripts/gpu_check`: each yields figures of one subject on one device."""

from __future__ import annotations

import copy
import itertools
import statistics
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import torch

from benchmark.networks import DTYPES, kernels, load_peer, random_codes, speech_like
from benchmark.timing import machine
from snac_tok.codec import SNAC
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.ops import reference
from snac_tok.codec.ops.backend import no_tf32
from snac_tok.codec.ops.reference import Precision
from snac_tok.codec.state import StreamState
from snac_tok.frames import FrameLayout
from snac_tok.streaming import BatchStreamDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snac_tok.codec import CodecConfig

    Row = dict[str, Any]


_TF32 = tuple(name for name in get_args(Precision) if name != "fp32")
# Frames after which every layer of a decoder has seen as much as it sees; a step after which more streams are too many.
_STEPS_TO_FILL, _SLOW_MILLISECONDS = 10, 500.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """What is measured, and how much of it.

    Attributes:
        device: where.
        config: the codec's shape.
        others: shapes whose codes are compared, too.
        runs: timed calls, of which the median counts.
        clip_seconds: of the one long clip.
        batch: rows of a batch, and seconds of each.
        short_seconds: of the short clip.
        streams: how many at once, in turn.
        clips: of mixed lengths, and the longest in seconds.
        widths: channels of the units, and positions of each in its own row.
        product: rows of the square matrices.
    """

    device: torch.device
    config: CodecConfig
    others: tuple[CodecConfig, ...]
    runs: int
    clip_seconds: float
    batch: tuple[int, float]
    short_seconds: float
    streams: tuple[int, ...]
    clips: tuple[int, float]
    widths: tuple[tuple[int, int], ...]
    product: int

    @property
    def jobs(self) -> list[tuple[str, int, float]]:
        """What is timed: "encode" or "decode", rows, and seconds of each."""
        batch, seconds = self.batch
        jobs = [("decode", 1, self.clip_seconds), ("encode", batch, seconds), ("decode", batch, seconds)]
        return [*jobs, ("encode", 1, self.short_seconds), ("decode", 1, self.short_seconds)]

    def codec(self, dtype: str = "fp32", config: CodecConfig | None = None) -> SNAC:
        """Return a codec of seeded random weights, in a dtype or in float32 of a precision."""
        torch.manual_seed(7)
        codec = SNAC.from_config(config or self.config).to(device=self.device).eval()
        return codec.use_precision(dtype) if dtype in _TF32 else codec.to(DTYPES[dtype])

    def precisions(self, *others: str) -> tuple[str, ...]:
        """Return fp32, how else float32 is multiplied here, and other dtypes that the device is good at."""
        return ("fp32",) if no_tf32(torch.empty(0, device=self.device)) else ("fp32", *_TF32, *others)

    def graphed(self, codec: SNAC) -> SNAC | None:
        """Return a copy of a codec that runs what repeats as CUDA graphs; None where there are none."""
        return copy.deepcopy(codec).use_cuda_graphs() if self.device.type == "cuda" else None

    def wait(self) -> None:
        """Wait until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, call: Callable[[], Any], *, warm_up: int = 2) -> float:
        """Return the median time of a call, the device's work included."""
        for _ in range(warm_up):
            call()
        times = []
        for _ in range(self.runs):
            self.wait()
            start = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times)


def machine_rows(check: Check) -> Iterator[Row]:
    """Name the machine, and read the ceilings of products and copies."""
    yield {"what": "machine", "note": machine()}
    size = check.product
    for name, dtype in DTYPES.items():
        matrix = torch.randn(size, size, device=check.device, dtype=dtype)
        seconds = check.seconds(partial(torch.matmul, matrix, matrix))
        yield {"what": f"product, {name}", "value": 2 * size**3 / seconds / 1e9, "unit": "GFLOP/s"}
    values = torch.zeros(size * size * 4, device=check.device)
    seconds = check.seconds(values.clone)
    yield {"what": "copy", "value": 2 * values.nbytes / seconds / 1e9, "unit": "GB/s"}


def equality_rows(check: Check) -> Iterator[Row]:
    """Compare codes and seeded sound with the CPU's."""
    for config in (check.config, *check.others):
        there = check.codec(config=config)
        here = SNAC.from_config(config).eval()
        here.load_state_dict(there.state_dict())
        audio = speech_like(here, check.short_seconds)
        codes, found = here.encode(audio), there.encode(audio.to(check.device))
        yield _codes_row(f"codes like the CPU's, {config.sampling_rate} Hz", found, codes)
        sound = there.decode([level.to(check.device) for level in codes], noise=0).cpu()
        error = float((sound - here.decode(codes, noise=0)).abs().max())
        yield {"what": f"sound like the CPU's, {config.sampling_rate} Hz", "value": error, "unit": "largest"}
        for precision in check.precisions()[1:]:
            found = there.use_precision(precision).encode(audio.to(check.device))
            row = _codes_row(
                f"codes in {precision} beside the CPU's, {config.sampling_rate} Hz", found, codes
            )
            yield row | {"unit": "changed"}


def law_rows(check: Check) -> Iterator[Row]:
    """Try the laws: rows of a batch, chunks, and torch's precision switches change nothing."""
    codec = check.codec()
    lengths = (check.short_seconds, check.short_seconds / 2, check.short_seconds * 0.8)
    clips = [speech_like(codec, seconds, seed=at)[0] for at, seconds in enumerate(lengths)]
    alone = [codec.encode(clip[None]) for clip in clips]
    together = codec.encode_batch(clips)
    found = [level for codes in together for level in codes]
    yield _codes_row("rows of a mixed batch, like each alone", found, [x for codes in alone for x in codes])
    sounds = codec.decode_batch(together, noise=0)
    error = max(
        float((sound.flatten() - codec.decode(codes, noise=0)[0].flatten()[: sound.numel()]).abs().max())
        for sound, codes in zip(sounds, alone, strict=True)
    )
    yield {"what": "sound of a mixed batch, like each alone", "value": error, "unit": "largest"}
    with torch.no_grad():
        audio = codec.preprocess(clips[0][None])
        whole = run_chunk(codec.encoder, audio, StreamState(), last=True)
        cuts, state = (0, audio.shape[-1] // 3, audio.shape[-1] // 3 + 5, audio.shape[-1]), StreamState()
        parts = [
            run_chunk(codec.encoder, audio[..., start:end], state, last=end == cuts[-1])
            for start, end in itertools.pairwise(cuts)
        ]
        error = float((torch.cat(parts, dim=-1) - whole).abs().max())
    yield {"what": "latents in chunks, like the whole", "value": error, "unit": "largest"}
    if (graphed := check.graphed(codec)) is not None:
        for _ in range(3):
            codes = graphed.encode(clips[0][None])
        row = _codes_row("codes through CUDA graphs, like without", codes, alone[0])
        yield row | {"note": f"{row['note']}; {graphed.graph_report}"}
        yield _freed_workspaces_row(graphed, clips[0][None], alone[0])
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        codes = codec.encode(clips[0][None])
    finally:
        torch.set_float32_matmul_precision(before)
    yield _codes_row("codes whatever torch's precision is set to", codes, alone[0])


def _freed_workspaces_row(graphed: SNAC, clip: torch.Tensor, wanted: list[torch.Tensor]) -> Row:
    """Free what torch keeps for cuBLAS, as torch.compile does, and fill free memory: a graph may not write there."""
    torch._C._cuda_clearCublasWorkspaces()  # noqa: SLF001 - it has no public name
    torch.cuda.empty_cache()
    spare = [torch.full((1 << 22,), torch.nan, device=graphed.device) for _ in range(64)]  # 1 GiB
    row = _codes_row("codes through CUDA graphs, workspaces freed", graphed.encode(clip), wanted)
    written = sum(int((~each.isnan()).sum()) for each in spare)
    return row | {
        "value": row["value"] + written,
        "note": f"{row['note']}; {written} values of others changed",
    }


def _codes_row(what: str, found: list[torch.Tensor], wanted: list[torch.Tensor]) -> Row:
    differ = sum(int((a.cpu() != b.cpu()).sum()) for a, b in zip(found, wanted, strict=True))
    return {"what": what, "value": differ, "unit": "differ", "note": f"of {sum(x.numel() for x in wanted)}"}


def unit_rows(check: Check) -> Iterator[Row]:
    """Time the residual unit's kernel beside plain torch, in every dtype and way of multiplying."""
    try:
        from snac_tok.codec.ops import gpu
    except ImportError:
        yield {"what": "residual unit", "note": "no Triton here"}
        return
    if check.device.type != "cuda":
        yield {"what": "residual unit", "note": "kernels run on a GPU"}
        return
    for (channels, length), (name, dtype) in itertools.product(check.widths, DTYPES.items()):
        generator = torch.Generator(check.device).manual_seed(0)
        draw = partial(torch.randn, generator=generator, device=check.device)
        weights = gpu.trials.trial_weights(lambda *shape: draw(shape).to(dtype), channels)  # noqa: B023 - used at once
        x = draw(check.batch[0], length, channels).to(dtype).transpose(1, 2)
        plain = partial(reference.residual_unit, x, weights, dilation=3)
        with torch.no_grad():
            row = {"what": f"unit {channels}, {name}", "unit": "ms", "plain": 1e3 * check.seconds(plain)}
            row["usable"] = gpu.takes_unit(x, 3)
            wide = reference.UnitWeights(*(each.double() for each in weights))
            wanted = reference.residual_unit(x[:1].double(), wide, dilation=3)
            for precision in check.precisions() if name == "fp32" else ("fp32",):
                fused = partial(gpu.residual_unit, x, weights, dilation=3, last=True, precision=precision)
                try:
                    seconds, (found, _) = check.seconds(fused), fused()
                except Exception as error:  # noqa: BLE001 - the next way may work
                    yield row | {"note": f"{precision}: {error!r}"[:200]}
                    continue
                distance = float((found[:1].double() - wanted).norm() / wanted.norm())
                yield row | {"value": 1e3 * seconds, "note": f"{precision}, error {distance:.1e}"}


def speed_rows(check: Check, *, peer: bool) -> Iterator[Row]:
    """Time encoding and decoding, with kernels and without, beside `snac` if it is there, and in TF32."""
    for dtype in check.precisions("fp16"):
        codec = check.codec(dtype)
        other = load_peer(codec) if peer and dtype in DTYPES else None
        graphed = check.graphed(codec)
        for way, rows, length in check.jobs:
            ours = call_of(codec, way, rows, length)
            row = {"what": f"{way} {rows} x {length:g} s, {dtype}"}
            times = {"value": check.seconds(ours)}
            if graphed is not None:
                times["graphs"] = check.seconds(partial(getattr(graphed, way), *ours.args, **ours.keywords))
            if dtype in DTYPES:
                with kernels("off"):
                    times["plain"] = check.seconds(ours)
            if other is not None:
                with torch.inference_mode():
                    times["snac"] = check.seconds(partial(getattr(other, way), *ours.args))
            short = length == check.short_seconds
            figures = {name: 1e3 * spent if short else rows * length / spent for name, spent in times.items()}
            yield row | {"unit": "ms" if short else "x real time"} | figures


def call_of(codec: SNAC, way: str, rows: int, length: float) -> partial[Any]:
    """Return the call that encodes or decodes rows of so many seconds each."""
    if way == "encode":
        return partial(codec.encode, speech_like(codec, length, batch=rows))
    return partial(codec.decode, [level.repeat(rows, 1) for level in random_codes(codec, length)], noise=0)


def stream_rows(check: Check) -> Iterator[Row]:
    """Time a step of many streams, one frame a push."""
    for dtype in ("fp16", "fp32") if check.device.type == "cuda" else ("fp32",):
        codec = check.codec(dtype)
        layout = FrameLayout(strides=codec.config.vq_strides)
        graphed = check.graphed(codec)
        for count in check.streams:
            steady = _step_times(check, BatchStreamDecoder(codec, layout), count)
            note = f"slowest {max(steady):.1f}; a frame lasts {1e3 / codec.config.frames_per_second:.1f} ms"
            step = statistics.median(steady)
            row = {"what": f"step of {count} streams, {dtype}", "value": step, "unit": "ms", "note": note}
            if graphed is not None:
                times = _step_times(check, BatchStreamDecoder(graphed, layout), count)
                row["graphs"] = statistics.median(times)
            yield row
            if step > _SLOW_MILLISECONDS:
                yield {"what": f"more streams, {dtype}", "note": "not tried, the last step took too long"}
                break


def _step_times(check: Check, decoder: BatchStreamDecoder, count: int) -> list[float]:
    """Return the milliseconds of steps in which each of so many streams gets one frame."""
    config = decoder.codec.config
    layout = FrameLayout(strides=config.vq_strides)
    for name in range(count):
        decoder.open(name, noise=name)
    # Steps until the layers are full and graphs are captured, then those that count.
    frames = random_codes(decoder.codec, (_STEPS_TO_FILL + check.runs) / config.frames_per_second)
    ids = layout.flatten([level[0].cpu().numpy() for level in frames])
    times = []
    for start in range(0, len(ids), config.tokens_per_frame):
        begin = time.perf_counter()
        for name in range(count):
            decoder.push(name, ids[start : start + config.tokens_per_frame])
        decoder.step()
        times.append(1e3 * (time.perf_counter() - begin))
    return times[-check.runs :]


def tokenizer_rows(check: Check) -> Iterator[Row]:
    """Time clips of mixed lengths to ids."""
    codec = check.codec()
    layout = FrameLayout(strides=codec.config.vq_strides)
    count, longest = check.clips
    lengths = [longest * (at + 1) / count for at in range(count)]
    sound = speech_like(codec, longest)[0].cpu()
    clips = [sound[:, : int(seconds * codec.sampling_rate)] for seconds in lengths]

    def to_ids() -> None:
        for codes in codec.encode_batch(clips):
            layout.flatten([level.reshape(-1).cpu().numpy() for level in codes])

    spent = check.seconds(to_ids, warm_up=1)
    what = f"{count} clips of up to {longest:g} s to ids, fp32"
    yield {"what": what, "value": sum(lengths) / spent, "unit": "x real time"}


def training_rows(check: Check) -> Iterator[Row]:
    """Time training steps of the whole network on mel distance, without discriminators."""
    from snac_tok.metrics.mel import DAC_SCALES, mel_distance

    codec = check.codec().train()
    rate, (rows, _) = codec.sampling_rate, check.batch
    audio = speech_like(codec, 0.4, batch=rows)
    for name in ("fp32", "bf16") if check.device.type == "cuda" else ("fp32",):
        optimizer = torch.optim.AdamW(codec.parameters(), lr=1e-5)

        def step(optimizer: torch.optim.Optimizer = optimizer, *, lower: bool = name == "bf16") -> None:
            optimizer.zero_grad()
            with torch.autocast(check.device.type, torch.bfloat16, enabled=lower):
                sound, _ = codec(audio)
            mel_distance(audio, sound.float(), sampling_rate=rate, scales=DAC_SCALES).backward()
            optimizer.step()

        spent = check.seconds(step)
        note = f"{1e3 * spent:.0f} ms a step of {rows} x 0.4 s, no discriminators"
        yield {
            "what": f"training, {name}",
            "value": rows * 0.4 / spent,
            "unit": "x real time",
            "note": note,
        }


def profile_rows(check: Check) -> Iterator[Row]:
    """Name the ten kernels in which decoding spends most."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = check.device.type == "cuda"
    codec = check.codec("fp16" if on_gpu else "fp32")
    codes = random_codes(codec, check.batch[1])
    codec.decode(codes, noise=0)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as found:
        codec.decode(codes, noise=0)
        check.wait()
    events = found.key_averages()

    def spent(event: Any) -> float:
        return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)

    total = sum(spent(event) for event in events) or 1.0
    for event in sorted(events, key=spent, reverse=True)[:10]:
        yield {
            "what": f"profile: {event.key[:60]}",
            "value": 100 * spent(event) / total,
            "unit": "%",
            "note": f"{event.count} calls, {spent(event) / 1e3:.2f} ms",
        }
