"""Networks with weight-normed convolutions in them: what is made from weights once, and when it is forgotten."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from snac_tok.codec.as_built import all_modules
from snac_tok.codec.forks import use_one_thread
from snac_tok.codec.ops import weight_cache
from snac_tok.codec.tracing import is_traced
from snac_tok.codec.weight_norm import NormConv

if TYPE_CHECKING:
    from collections.abc import Callable


def fold(network: nn.Module) -> None:
    """Fold all convolutions in a module that are in eval mode."""
    for module in all_modules(network):
        if isinstance(module, NormConv) and not module.training:
            module.fold()


def weights_sha256(network: nn.Module) -> str:
    """Return a digest of the weights' names, shapes and values, the same for every file format they come in."""
    # Whatever was written to the weights unseen, the next results are made with what this digest says.
    unfold(network)
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        values = tensor.detach().to("cpu").contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def unfold(network: nn.Module) -> None:
    """Forget what was made from the weights in a module."""
    for module in network.modules():
        if isinstance(module, NormConv):
            module.unfold()
        elif isinstance(module, (nn.Linear, nn.Conv1d)):
            weight_cache.forget(module.weight)


def _unfold_loaded(network: nn.Module, _keys: Any) -> None:
    unfold(network)


class Foldable(nn.Module):
    """A network that folds its weight norm for inference, and forgets what it has made from weights that changed."""

    def __init__(self) -> None:
        use_one_thread()
        super().__init__()
        # Weights that were made in inference mode do not count what is written to them.
        self.register_load_state_dict_post_hook(_unfold_loaded)  # type: ignore[no-untyped-call]

    def fold_weight_norm(self) -> Self:
        """Compute every weight-normed weight once and keep it, where that has not been done; return self.

        Inference does this by itself, layer by layer; a stream does it before its first sound. Weights that were
        written to, loaded or moved since are folded again. Only writes through `.data`, and into weights that were made
        in inference mode, cannot be seen: call `unfold_weight_norm()` after them. Until then, or until the codec is
        saved or asked for its digest, it works with old weights in some layers and new ones in others. State-dict keys
        stay as they are. In training mode, where weights change by the step, nothing is folded: streams are then exact,
        too, but slow.
        """
        # A compiled graph takes the weights as it finds them; folding is for outside.
        if is_traced():
            return self
        use_one_thread()
        fold(self)
        return self

    def unfold_weight_norm(self) -> Self:
        """Forget what was made from weights, as is needed after writing to them through `.data`; return self.

        `train()`, `eval()`, moves (`to()`), `load_state_dict()`, `save_pretrained()` and `weights_sha256()` do this by
        themselves.
        """
        unfold(self)
        return self

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        # What follows a move may have an old weight's address and version.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self.unfold_weight_norm()

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Switch to training mode, where weights are computed from their norm on every call, or to eval mode."""
        return super().train(mode).unfold_weight_norm()
