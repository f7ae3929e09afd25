"""One thread for clips this short: more of them only wait for each other where other work runs beside the tests."""

import pytest


@pytest.fixture(autouse=True)
def quick(loaded_before, one_thread):
    """Mappers find the codec loaded, and have one thread: results do not depend on it, as tests of workers show."""
