"""One thread for clips this short: more of them only wait for each other where other work runs beside the tests."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread(loaded_before):  # noqa: ARG001 - mappers find the codec loaded
    """Results do not depend on it, which the tests of workers show."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
