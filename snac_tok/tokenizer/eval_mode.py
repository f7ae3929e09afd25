"""A codec that runs in eval mode for a while, whichever mode it is in: ids and sound depend on its weights alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.codec import SNAC


@contextmanager
def eval_mode(codec: SNAC) -> Iterator[None]:
    """Run what is inside in eval mode; the parts that were in training mode are in it again afterwards."""
    # Deeper modules compute the same in both modes; walking them all would cost a short clip dearly.
    if not any(part.training for part in (codec, *codec.children())):
        yield
        return
    training = [module for module in codec.modules() if module.training]
    codec.eval()
    try:
        yield
    finally:
        # One by one: `train()` would also switch the modules that the user keeps in eval mode.
        for module in training:
            module.training = True
        codec.unfold_weight_norm()
