"""Sound → codes → shards → ids → sound, on the speech in tests/speech with the codec that ships in the package.

`scripts/quickstart` makes the environment and runs this. It replaces quickstart-out/ at the project's root.
"""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from snac_tok import SnacTokenizer, Waveform, open_shards, preset, read_audio, write_audio
from snac_tok.audio import resample
from snac_tok.corpus import shard_folder
from snac_tok.errors import TrialCodecWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.corpus import ShardingResult
    from snac_tok.shards import Record, ShardCollection

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT / "tests" / "speech"
OUT = ROOT / "quickstart-out"

# A window of 1024 samples at 24 kHz resolves a voice's harmonics, and a step of 128 its syllables.
WINDOW, STEP = 1024, 128
LOWEST_HZ = 80
FLOOR_DB = -80
FRAMES_SHOWN = 2


def main() -> None:
    """Make everything and say what was made."""
    # Said at the end, in the words of somebody who sees it for the first time.
    warnings.simplefilter("ignore", TrialCodecWarning)
    shutil.rmtree(OUT, ignore_errors=True)
    tokenizer = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
    summary = shard_folder(SPEECH, OUT / "shards", tokenizer)
    collection = open_shards(OUT / "shards")
    sounds = {record.id: (record, sound) for record, sound in decode_all(collection, tokenizer)}
    record, after = max(sounds.values(), key=lambda pair: pair[1].num_samples)
    before = resample(read_audio(SPEECH / record.source), tokenizer.sampling_rate)
    levels = collection.layout.unflatten(record.codes)
    covered = len(levels[0]) * tokenizer.codec.config.frame_length / tokenizer.sampling_rate
    title = record.text or record.id
    draw(
        OUT / "overview.png", before=before, after=after, levels=levels, covered_seconds=covered, title=title
    )
    tell(summary, collection, tokenizer, record)


def decode_all(collection: ShardCollection, tokenizer: SnacTokenizer) -> Iterator[tuple[Record, Waveform]]:
    """Decode every record of the shards into a wav, and yield both."""
    folder = OUT / "wavs"
    folder.mkdir()
    for record, ids in collection.ids(tokenizer.vocabulary):
        sound = tokenizer.decode(ids, num_samples=record.num_samples)
        write_audio(folder / f"{Path(record.id).stem}.wav", sound)
        yield record, sound


def draw(
    path: Path, *, before: Waveform, after: Waveform, levels: list[Any], covered_seconds: float, title: str
) -> None:
    """Draw one clip before and after: waveforms, spectrograms, and its codes level by level.

    The codes cover a little more than the clip, which was padded to whole frames.
    """
    mpl.use("Agg")
    heights = [1.0, 2.0, *[0.34] * len(levels)]
    figure = plt.figure(figsize=(13, 8.5), layout="constrained")
    figure.suptitle(f"“{title}”", fontsize=13)
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    for column, (name, sound) in enumerate((("recording", before), ("decoded from its codes", after))):
        wave, spectrum = figure.add_subplot(grid[0, column]), figure.add_subplot(grid[1, column])
        draw_wave(wave, sound, name=f"{name}, {sound.sampling_rate / 1000:g} kHz")
        image = draw_spectrogram(spectrum, sound)
        if column == 0:
            wave.set_ylabel("amplitude")
            spectrum.set_ylabel("frequency / kHz")
    figure.colorbar(image, ax=spectrum, label="dB below the loudest", pad=0.01)
    strips = [figure.add_subplot(grid[2 + place, :]) for place in range(len(levels))]
    draw_codes(strips, levels, covered_seconds=covered_seconds, seconds=after.duration_seconds)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_wave(axes: Any, sound: Waveform, *, name: str) -> None:
    """Draw the samples of one channel over seconds."""
    times = np.arange(sound.num_samples) / sound.sampling_rate
    axes.plot(times, sound.samples[0], linewidth=0.4, color="#1f4e79")
    axes.set(title=name, xlim=(0, sound.duration_seconds), ylim=(-1, 1))
    axes.tick_params(labelbottom=False)
    axes.grid(alpha=0.3)


def draw_spectrogram(axes: Any, sound: Waveform) -> Any:
    """Draw the level of each frequency, on a logarithmic scale as the ear has it."""
    decibels = spectrogram(sound)
    frequencies = np.fft.rfftfreq(WINDOW, 1 / sound.sampling_rate)
    times = np.arange(decibels.shape[1]) * STEP / sound.sampling_rate
    image = axes.pcolormesh(
        times,
        frequencies[1:],
        decibels[1:],
        cmap="magma",
        vmin=FLOOR_DB,
        vmax=0,
        shading="nearest",
        rasterized=True,
    )
    axes.set_yscale("log")
    axes.set(xlabel="time / s", xlim=(0, sound.duration_seconds), ylim=(LOWEST_HZ, sound.sampling_rate / 2))
    axes.yaxis.set_major_locator(FixedLocator([100, 200, 500, 1000, 2000, 5000, 10_000]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda hertz, _: f"{hertz / 1000:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    return image


def spectrogram(sound: Waveform) -> Any:
    """Return levels in dB (WINDOW / 2 + 1, steps), 0 at the loudest; step k is centred on sample k · STEP."""
    padded = np.pad(sound.samples[0], WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows)).T ** 2
    return 10 * np.log10(np.maximum(power / power.max(), 10 ** (FLOOR_DB / 10)))


def draw_codes(strips: list[Any], levels: list[Any], *, covered_seconds: float, seconds: float) -> None:
    """Draw each level's codes as a strip of coloured cells, as wide as the time each code stands for."""
    top = max(int(level.max()) for level in levels) + 1
    for place, (axes, level) in enumerate(zip(strips, levels, strict=True)):
        image = axes.imshow(
            level[None],
            aspect="auto",
            cmap="viridis",
            vmin=0,
            vmax=top,
            extent=(0, covered_seconds, 0, 1),
            interpolation="none",
        )
        axes.set(yticks=[], xlim=(0, seconds))
        axes.set_ylabel(f"level {place}\n{level.size} codes", rotation=0, ha="right", va="center")
        axes.tick_params(labelbottom=place == len(levels) - 1)
    strips[0].set_title("codes")
    strips[-1].set_xlabel("time / s")
    strips[0].figure.colorbar(image, ax=strips, label="code", pad=0.01)


def tell(
    summary: ShardingResult, collection: ShardCollection, tokenizer: SnacTokenizer, record: Record
) -> None:
    """Print the first ids, what was made, where, and what to try next."""
    vocabulary, config = preset("orpheus"), tokenizer.codec.config
    ids = vocabulary.encode(collection.layout.unflatten(record.codes))
    size = vocabulary.ids_per_frame
    seconds = summary.hours * 3600
    print(f"{record.source}, {record.num_samples / tokenizer.sampling_rate:.2f} s: {record.text or ''}")
    print(f"first {FRAMES_SHOWN} frames of {len(ids) // size} as orpheus ids:")
    for start in range(0, FRAMES_SHOWN * size, size):
        print("   ", *ids[start : start + size])
    where = Path(os.path.relpath(OUT))
    print(
        f"""
made      {where / "shards"}: {summary.num_clips} clips, {summary.hours:.4f} h, {summary.num_tokens} tokens
          {where / "wavs"}: the same clips, decoded from the shards
          {where / "overview.png"}: the longest one before and after, and its codes
codec     tiny (for trials; ships with the package): {config.tokens_per_second:.2f} tokens/s, """
        f"""{config.bits_per_second / 1000:.3f} kbps;
          rough, and its ids mean nothing to models trained with hubertsiuzdak/snac_24khz
encoded   {seconds:.1f} s of sound in {summary.elapsed_seconds:.2f} s, """
        f"""{seconds / summary.elapsed_seconds:.1f} times real time

try next  {where_is("snac-tok")} inspect {where / "shards"}
          {where_is("snac-tok")} inspect --preset orpheus
          {where_is("snac-tok")} decode {where / "shards"} -o one.flac --limit 1
          {where_is("snac-tok")} shard YOUR_FOLDER my-shards --model tiny"""
    )


def where_is(program: str) -> str:
    """Return the program's path from here, as the environment has it."""
    return os.path.relpath(ROOT / ".venv" / "bin" / program)


if __name__ == "__main__":
    main()
