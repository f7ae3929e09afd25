"""Makes speech to train codecs on, by whichever of Debian's synthesizers are installed: festival, flite, espeak-ng.

Usage: python scripts/make_training_speech.py OUT [--minutes 40] [--seed 0] [--jobs 2]

Writes OUT/<voice>/<number>.wav at the voice's own rate, and prints a table. Texts are sentences of the words in
training_speech_words.json and, half of them, of this machine's own manual pages; the same seed on the same machine
gives the same texts, rates and pitches. To install the voices: apt-get install festival flite espeak-ng and any of
the festvox-* packages.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import shutil
import subprocess
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = json.loads(Path(__file__).with_name("training_speech_words.json").read_text(encoding="utf-8"))
FESTIVAL_VOICES = Path("/usr/share/festival/voices")
MANUALS = Path("/usr/share/man")
BATCH = 8
MAX_MANUALS = 300
SECONDS_A_MINUTE = 60


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One voice of one synthesizer.

    Attributes:
        engine: "festival", "flite" or "espeak-ng".
        name: as the engine calls it.
        language: of its texts, a key of the word lists.
        weight: its share of the minutes, relative to the others of its group.
        encoding: of the text that festival's voices of its language take.
    """

    engine: str
    name: str
    language: str
    weight: float = 1.0
    encoding: str = "utf-8"

    @property
    def folder(self) -> str:
        """Where its recordings go, below OUT."""
        return f"{self.engine}-{self.name.replace('+', '-')}"


def _festival(name: str, language: str, weight: float, encoding: str = "utf-8") -> Voice:
    return Voice(engine="festival", name=name, language=language, weight=weight, encoding=encoding)


# Voices above 16 kHz weigh more: only they fill a 24 kHz codec's upper band. Encodings: what gave speech of a
# plausible length; a wrong one reads accents out as symbols, or crashes.
NATURAL = (
    _festival("cmu_us_slt_arctic_hts", "en", 4.0),
    _festival("kal_diphone", "en", 0.7),
    _festival("ked_diphone", "en", 0.7),
    _festival("czech_dita", "cs", 2.0, "iso-8859-2"),
    _festival("czech_krb", "cs", 2.0, "iso-8859-2"),
    _festival("czech_machac", "cs", 2.0, "iso-8859-2"),
    _festival("czech_ph", "cs", 2.0, "iso-8859-2"),
    _festival("hy_fi_mv_diphone", "fi", 2.0, "iso-8859-1"),
    _festival("suo_fi_lj_diphone", "fi", 2.0, "iso-8859-1"),
    _festival("lp_diphone", "it", 1.0, "iso-8859-1"),
    _festival("pc_diphone", "it", 1.0, "iso-8859-1"),
    _festival("upc_ca_ona_hts", "ca", 1.2, "iso-8859-1"),
    _festival("msu_ru_nsh_clunits", "ru", 1.5),
    _festival("hindi_NSK_diphone", "hi", 0.7),
    _festival("marathi_NSK_diphone", "mr", 0.7),
    _festival("telugu_NSK_diphone", "te", 0.7),
    *(Voice(engine="flite", name=name, language="en", weight=1.2) for name in ("awb", "rms", "slt")),
    Voice(engine="flite", name="kal16", language="en", weight=0.7),
)
FORMANT = tuple(
    Voice(engine="espeak-ng", name=name, language=name.split("-")[0].split("+")[0])
    for name in (
        *("en-us", "en-gb+f2", "en-gb-scotland+m3", "de", "de+f4", "fr-fr+f3", "es+m5", "it+f1", "pl+m2"),
        *("sv+f5", "pt+m7", "tr", "cs+f2", "fi+m4", "ru+f3", "hi", "mr+m3", "te+f1", "ca+f4"),
    )
)


def installed(voice: Voice) -> bool:
    """Tell whether a voice can speak on this machine."""
    if shutil.which(voice.engine) is None:
        return False
    if voice.engine == "festival":
        return any(FESTIVAL_VOICES.glob(f"*/{voice.name}"))
    if voice.engine == "flite":
        return voice.name in _output("flite", "-lv").split()
    return voice.name.split("+")[0] in _output("espeak-ng", "--voices").split()


@cache
def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def sentence(language: str, draw: random.Random) -> str:
    """Return a sentence of a manual page or, where there are none, of the word lists."""
    from_manuals = manual_sentences(language)
    if from_manuals and draw.random() < 1 / 2:
        return draw.choice(from_manuals)
    if language == "en":
        text = " ".join(draw.choice(words) for words in WORDS["en"])
        return f"{text}{draw.choice('..?!')}".capitalize()
    words = draw.choices(WORDS[language], k=draw.randint(5, 12))
    return f"{' '.join(words)}{draw.choice('...?')}".capitalize()


@cache
def manual_sentences(language: str) -> tuple[str, ...]:
    """Return sentences of plain words from this machine's manual pages in a language, in a fixed order."""
    folder = MANUALS if language == "en" else MANUALS / language
    found: dict[str, None] = {}
    for path in sorted(folder.glob("man[1578]/*.gz"))[:: 1 if language != "en" else 20][:MAX_MANUALS]:
        try:
            text = gzip.decompress(path.read_bytes()).decode("utf-8")
        except (OSError, UnicodeDecodeError, EOFError):
            continue
        prose = " ".join(line for line in text.splitlines() if not line.startswith((".", "'")))
        found.update(
            dict.fromkeys(re.findall(r"(?<=[.] )[^\W\d_](?:[^\W\d_]|[ ,\u2019'-]){40,120}[.?]", prose))
        )
    return tuple(found)


def speak(voice: Voice, *, minutes: float, seed: int, out: Path) -> float:
    """Let a voice speak for so many minutes; return how many there are, fewer where it fails twice running."""
    draw = random.Random(f"{seed}/{voice.folder}")  # noqa: S311 - no secret
    folder = out / voice.folder
    folder.mkdir(parents=True, exist_ok=True)
    seconds, failures, number = 0.0, 0, 0
    while seconds < minutes * SECONDS_A_MINUTE and failures < 2:  # noqa: PLR2004
        texts = [sentence(voice.language, draw) for _ in range(BATCH)]
        paths = [folder / f"{number + k:04}.wav" for k in range(BATCH)]
        ENGINES[voice.engine](voice, texts, paths, draw)
        durations = [_duration(path) for path in paths]
        failures = 0 if any(durations) else failures + 1
        number += BATCH
        for path, duration in zip(paths, durations, strict=True):
            if seconds < minutes * SECONDS_A_MINUTE:
                seconds += duration
            else:
                path.unlink(missing_ok=True)
    return seconds / SECONDS_A_MINUTE


def _by_festival(voice: Voice, texts: list[str], paths: list[Path], draw: random.Random) -> None:
    lines = [f"(voice_{voice.name})"]
    for text, path in zip(texts, paths, strict=True):
        plain = text.replace("\\", " ").replace('"', " ").replace("\u2019", "'")
        lines += [
            f"(Parameter.set 'Duration_Stretch {draw.uniform(0.85, 1.2):.2f})",
            f'(utt.save.wave (utt.synth (Utterance Text "{plain}")) "{path}")',
        ]
    script = paths[0].with_suffix(".scm")
    script.write_bytes("\n".join(lines).encode(voice.encoding, "ignore"))
    _run("festival", "-b", str(script))
    script.unlink()


def _by_flite(voice: Voice, texts: list[str], paths: list[Path], draw: random.Random) -> None:
    for text, path in zip(texts, paths, strict=True):
        stretch = f"duration_stretch={draw.uniform(0.85, 1.2):.2f}"
        _run("flite", "-voice", voice.name, "--setf", stretch, "-t", text, "-o", str(path))


def _by_espeak(voice: Voice, texts: list[str], paths: list[Path], draw: random.Random) -> None:
    for text, path in zip(texts, paths, strict=True):
        speed, pitch = str(draw.randint(130, 190)), str(draw.randint(30, 70))
        _run("espeak-ng", "-v", voice.name, "-s", speed, "-p", pitch, "-w", str(path), text)


ENGINES: dict[str, Callable[[Voice, list[str], list[Path], random.Random], None]] = {
    "festival": _by_festival,
    "flite": _by_flite,
    "espeak-ng": _by_espeak,
}


def _run(*command: str) -> None:
    """Run a synthesizer; some voices crash on some texts, and what they had made stays."""
    subprocess.run(["nice", *command], check=False, capture_output=True, timeout=300)


def _duration(path: Path) -> float:
    """Return a recording's seconds; one that is none is removed."""
    try:
        with wave.open(str(path)) as file:
            seconds: float = file.getnframes() / file.getframerate()
    except (OSError, EOFError, wave.Error):
        seconds = 0.0
    if not seconds:
        path.unlink(missing_ok=True)
    return seconds


def main() -> None:
    """Share the minutes out, three quarters to recorded voices, and let all of them speak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    shares = []
    for group, part in ((NATURAL, 0.75), (FORMANT, 0.25)):
        there = [voice for voice in group if installed(voice)]
        total = sum(voice.weight for voice in there)
        shares += [(voice, options.minutes * part * voice.weight / total) for voice in there]
    with ThreadPoolExecutor(options.jobs) as pool:
        job = partial(_row, seed=options.seed, out=options.out)
        rows = list(pool.map(lambda share: job(*share), shares))
    print(f"{'all':36} {sum(rows):6.2f} min")


def _row(voice: Voice, minutes: float, *, seed: int, out: Path) -> float:
    made = speak(voice, minutes=minutes, seed=seed, out=out)
    print(f"{voice.folder:36} {made:6.2f} of {minutes:.2f} min", flush=True)
    return made


if __name__ == "__main__":
    main()
