"""Whether a network is still as the codec built it: no layer exchanged, wrapped, hooked or given another forward.

Only then may it be run by other means than calling it, which is what chunks and streams do.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules import module as torch_modules

from snac_tok.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterator

# The types of all modules in a network, itself first.
Structure = tuple[type, ...]


def structures(network: nn.Module, *, optional: type | None = None) -> frozenset[Structure]:
    """Return what a network is made of: as it is, and with an Identity in the place of each `optional` layer."""
    whole = tuple(map(type, all_modules(network)))
    return frozenset((whole, tuple(_types(network, optional))))


def is_as_built(network: nn.Module) -> bool:
    """Say whether a network, its own hooks included, is as it was when it noted its `structures`."""
    return _is_plain(network) and is_as_built_inside(network)


def is_as_built_inside(network: nn.Module) -> bool:
    """Say whether what a network holds is as built; what hangs on the network itself is not asked."""
    if torch_modules._global_forward_hooks or torch_modules._global_forward_pre_hooks:  # noqa: SLF001
        return False
    modules = all_modules(network)
    built = getattr(network, "structures", ())
    return tuple(map(type, modules)) in built and all(map(_is_plain, itertools.islice(modules, 1, None)))


def check_as_built(network: nn.Module) -> None:
    """Refuse a network that was changed, for what can run it only as it was built.

    Raises:
        NetworkError: it was.
    """
    if is_as_built(network):
        return
    hooked = next((name or "it" for name, module in network.named_modules() if not _is_plain(module)), None)
    what = f"has layers of other kinds (it is a {type(network).__name__})"
    if hooked:
        what = f"has a hook or a forward of its own (on {hooked})"
    raise NetworkError(
        f"streams, blocks and mixed batches need a network as the codec built it, and this one {what}; "
        "put the original back, or use encode and decode, which run whatever is there."
    )


def _is_plain(module: nn.Module) -> bool:
    """Say whether calling a module does no more than its class says."""
    return (
        not module._forward_hooks  # noqa: SLF001 - torch has no other way to ask
        and not module._forward_pre_hooks  # noqa: SLF001
        and module._compiled_call_impl is None  # noqa: SLF001
        and "forward" not in module.__dict__
    )


def all_modules(module: nn.Module) -> list[nn.Module]:
    """Return a module and all inside it, as `modules()` does in a third of the time; every call of a codec asks."""
    found = [module]
    for child in module._modules.values():  # noqa: SLF001 - as above
        if child is not None:
            found += all_modules(child)
    return found


def _types(module: nn.Module, optional: type | None) -> Iterator[type]:
    if optional is not None and isinstance(module, optional):
        yield nn.Identity
        return
    yield type(module)
    for child in module.children():
        yield from _types(child, optional)
