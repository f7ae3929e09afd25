"""Draws docs/picture.png: a clip of tests/speech before and after `tiny`, and its codes, as `snac-tok plot` shows them.

Usage: python scripts/make_readme_picture.py [--check]

With --check the picture on disk must look the same; a pixel may differ a little, as other versions of matplotlib draw.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from snac_tok import SnacTokenizer, read_audio
from snac_tok.evaluation import draw_portrait

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "picture.png"
CLIP = ROOT / "tests" / "speech" / "LJ001-0008.flac"
# Of so many colours, so that the file is small.
COLOURS = 64
# Of 255, on average over all pixels.
LARGEST_DIFFERENCE = 8.0


def picture() -> Image.Image:
    """Return the picture."""
    tokenizer = SnacTokenizer.from_pretrained("tiny", preset="plain")
    sound = tokenizer.preprocessing.whole(read_audio(CLIP), name=CLIP.name)
    (codes,) = tokenizer.encode_codes([sound])
    decoded = tokenizer.decode(tokenizer.vocabulary.encode(codes), num_samples=sound.num_samples)
    content = draw_portrait(
        {"“has never been surpassed”": sound, "decoded by tiny": decoded},
        codes,
        codebook_size=tokenizer.codec.codebook_size,
        frame_seconds=tokenizer.codec.config.frame_length / tokenizer.sampling_rate,
    )
    drawn = Image.open(io.BytesIO(content)).convert("RGB")
    return drawn.quantize(COLOURS, dither=Image.Dither.NONE)


def looks_like(drawn: Image.Image, kept: Path) -> bool:
    """Whether the picture on disk has the same size, and almost the same pixels."""
    if not kept.is_file():
        return False
    found, wanted = (np.asarray(each.convert("RGB"), np.float64) for each in (Image.open(kept), drawn))
    return found.shape == wanted.shape and bool(np.abs(found - wanted).mean() < LARGEST_DIFFERENCE)


def main() -> None:
    """Write the picture, or with --check end with an error if the one on disk looks otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the picture on disk looks otherwise")
    if not parser.parse_args().check:
        picture().save(PICTURE, optimize=True)
    elif not looks_like(picture(), PICTURE):
        sys.exit(f"{PICTURE.name} is out of date: run scripts/fix")


if __name__ == "__main__":
    main()
