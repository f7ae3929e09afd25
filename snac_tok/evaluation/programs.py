"""Codecs that are programs of their own: Opus (opus-tools) and Codec2 (codec2), run on files in a temporary folder.

Times include starting the programs, which for short clips is most of them.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snac_tok.audio import Waveform, read_audio, resample, write_audio
from snac_tok.errors import AudioError, EvaluationError, MissingDependencyError
from snac_tok.evaluation.ogg_bits import opus_payload_bits
from snac_tok.evaluation.round_trips import Reconstruction

_TIMEOUT_SECONDS = 600
_OPUS_RATE = 48_000
_OPUS_KBPS = (6, 256)  # what opusenc takes for one channel
_CODEC2_RATE = 8_000

# Bits and milliseconds of a frame (codec2.h, codec2_bits_per_frame and codec2_samples_per_frame). Files hold whole
# bytes a frame, which would make 800 b/s of the 700 b/s that are meant.
CODEC2_MODES = {
    "3200": (64, 20),
    "2400": (48, 20),
    "1600": (64, 40),
    "1400": (56, 40),
    "1300": (52, 40),
    "1200": (48, 40),
    "700C": (28, 40),
    "450": (18, 40),
}
# Codec2's sound comes up to 33 ms late; with so much silence behind it the clip's end comes out as well.
_CODEC2_TAIL_SECONDS = 0.04


@dataclass(frozen=True, kw_only=True)
class OpusRoundTrip:
    """Opus through opusenc and opusdec, as they come: variable bitrate, 20 ms frames.

    Args:
        kbps: the bitrate to aim at, 6 to 256.

    Raises:
        EvaluationError: another bitrate.
        MissingDependencyError: opus-tools are not installed.
    """

    kbps: float = 6.0
    codebook_size: int | None = None
    delays: bool = True

    def __post_init__(self) -> None:
        low, high = _OPUS_KBPS
        if not low <= self.kbps <= high:
            raise EvaluationError(f"opus takes {low} to {high} kbps, not {self.kbps:g}.")
        for program in ("opusenc", "opusdec"):
            _find(program, package="opus-tools")

    @property
    def name(self) -> str:
        """As in the specification."""
        return f"opus:{self.kbps:g}"

    @property
    def nominal_bits_per_second(self) -> float:
        """What the encoder aims at."""
        return 1000 * self.kbps

    def run(self, waveform: Waveform) -> Reconstruction:
        """Encode and decode one mono clip; only packets count as bits.

        Raises:
            AudioError: a program failed.
        """
        with tempfile.TemporaryDirectory(prefix="snac-tok-") as name:
            before, coded, after = (Path(name) / file for file in ("before.wav", "coded.opus", "after.wav"))
            # Our resampler, not the encoder's, so that every codec of a report gets the same sound.
            write_audio(before, _within_full_scale(resample(waveform, _OPUS_RATE)))
            encode = ["opusenc", "--quiet", "--bitrate", f"{self.kbps:g}", "--padding", "0"]
            decode = ["opusdec", "--quiet", "--float", "--rate", str(_OPUS_RATE)]
            encode_seconds = _run([*encode, str(before), str(coded)])
            decode_seconds = _run([*decode, str(coded), str(after)])
            return Reconstruction(
                sounds=(read_audio(after),),
                num_bits=opus_payload_bits(coded.read_bytes()),
                encode_seconds=encode_seconds,
                decode_seconds=decode_seconds,
            )


@dataclass(frozen=True, kw_only=True)
class Codec2RoundTrip:
    """Codec2, a vocoder of telephone speech, through c2enc and c2dec at 8 kHz.

    Args:
        mode: one of `CODEC2_MODES`.

    Raises:
        EvaluationError: another mode.
        MissingDependencyError: codec2 is not installed.
    """

    mode: str = "700C"
    codebook_size: int | None = None
    delays: bool = True

    def __post_init__(self) -> None:
        if self.mode not in tuple(CODEC2_MODES):
            raise EvaluationError(f"codec2 has the modes {', '.join(CODEC2_MODES)}, not {self.mode!r}.")
        for program in ("c2enc", "c2dec"):
            _find(program, package="codec2")

    @property
    def name(self) -> str:
        """As in the specification."""
        return f"codec2:{self.mode}"

    @property
    def nominal_bits_per_second(self) -> float:
        """Bits of a frame over its length."""
        bits, milliseconds = CODEC2_MODES[self.mode]
        return 1000 * bits / milliseconds

    def run(self, waveform: Waveform) -> Reconstruction:
        """Encode and decode one mono clip; bits that only fill up bytes are not counted.

        Raises:
            AudioError: a program failed.
        """
        bits, milliseconds = CODEC2_MODES[self.mode]
        frame = milliseconds * _CODEC2_RATE // 1000
        own = resample(waveform, _CODEC2_RATE).samples[0]
        frames = math.ceil((own.size + _CODEC2_TAIL_SECONDS * _CODEC2_RATE) / frame)
        padded = np.zeros(frames * frame, "<i2")
        padded[: own.size] = np.rint(np.clip(own, -1, 1) * 32767)
        with tempfile.TemporaryDirectory(prefix="snac-tok-") as name:
            before, coded, after = (
                str(Path(name) / file) for file in ("before.raw", "coded.bit", "after.raw")
            )
            padded.tofile(before)
            encode_seconds = _run(["c2enc", self.mode, before, coded])
            decode_seconds = _run(["c2dec", self.mode, coded, after])
            samples = np.fromfile(after, "<i2").astype(np.float32)[None] / np.float32(32768)
            num_frames = Path(coded).stat().st_size // math.ceil(bits / 8)
        if not samples.size:
            raise AudioError("codec2 gave no sound back.")
        return Reconstruction(
            sounds=(Waveform(samples=samples, sampling_rate=_CODEC2_RATE),),
            num_bits=num_frames * bits,
            encode_seconds=encode_seconds,
            decode_seconds=decode_seconds,
        )


def _within_full_scale(waveform: Waveform) -> Waveform:
    """Cut off what resampling let stick out, silently: a 16-bit file cannot hold it."""
    return Waveform(samples=np.clip(waveform.samples, -1, 1), sampling_rate=waveform.sampling_rate)


def _find(program: str, *, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise MissingDependencyError(
            f"the program {program} is not here: install {package} (Debian: apt-get install {package})."
        )
    return found


def _run(command: list[str]) -> float:
    """Run a program to its end and return how many seconds it took."""
    start = time.perf_counter()
    try:
        done = subprocess.run(  # noqa: S603 - arguments are ours, and no shell reads them
            command, check=False, capture_output=True, timeout=_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise AudioError(f"{command[0]} did not end within {_TIMEOUT_SECONDS} s.") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise AudioError(f"{command[0]} failed ({said[-1] if said else done.returncode}).")
    return time.perf_counter() - start
