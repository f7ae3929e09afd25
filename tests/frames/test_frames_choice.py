"""vocabulary_for: a preset's name, a file or a table, for a codec."""

import pytest

from snac_tok.errors import LayoutError
from snac_tok.frames import preset, vocabulary_for, vocabulary_to_json


def test_presets_are_made_for_the_codec():
    """Strides, codebook size and levels are the caller's."""
    table = vocabulary_for("plain", strides=(8, 4, 2, 1), codebook_size=64, levels=3)
    assert (table.layout.strides, table.layout.num_levels, table.codebook_size) == ((8, 4, 2, 1), 3, 64)


def test_files_and_tables_are_taken_as_they_are(tmp_path):
    """Paths as text or Path; a number of levels of their own."""
    path = tmp_path / "mine.json"
    path.write_text(vocabulary_to_json(preset("orpheus")))
    for wanted in (path, str(path), preset("orpheus")):
        assert vocabulary_for(wanted, strides=(2, 1), codebook_size=8) == preset("orpheus")
        assert vocabulary_for(wanted, strides=(2, 1), codebook_size=8, levels=3) == preset("orpheus")
        with pytest.raises(LayoutError, match="3 levels of its own, not 2"):
            vocabulary_for(wanted, strides=(4, 2, 1), codebook_size=4096, levels=2)


@pytest.mark.parametrize(
    ("wanted", "says"), [("orfeus", "orpheus"), ("absent.json", "absent"), (3, "got a int")]
)
def test_what_is_no_vocabulary_is_refused(wanted, says):
    """In one sentence."""
    with pytest.raises(LayoutError, match=says):
        vocabulary_for(wanted, strides=(4, 2, 1), codebook_size=4096)
