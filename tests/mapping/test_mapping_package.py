"""Importing the room loads neither datasets nor transformers."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_import_is_light():
    """The libraries are imported when they are needed, so that a mapper works on plain dicts without them."""
    code = (
        "import sys, snac_tok.mapping, numpy as np;"
        "snac_tok.mapping.SnacMapper('tiny', sampling_rate=24_000)({'audio': [np.zeros(99, np.float32)]});"
        "sys.exit(bool({'datasets', 'transformers', 'multiprocess'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
