"""The laws (docs/architecture.md) that `scripts/test --quick` holds the project to."""

import re
from pathlib import Path

LAWS = set(range(1, 10))


def test_every_law_has_a_test_in_the_quick_run():
    """A law that nobody marks would be left out of the quick run without a word."""
    text = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    assert {int(number) for number in re.findall(r"@pytest\.mark\.law\((\d)\)", text)} == LAWS
