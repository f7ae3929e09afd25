"""Where a network's weights are put and what they are kept in: both are checked before anything is loaded."""

from __future__ import annotations

from typing import Any

import torch

from snac_tok.errors import ConfigError, did_you_mean, first_line

# Where people have torch run; it knows more.
_DEVICES = ("cpu", "cuda", "mps", "xpu")
# What every layer can be computed in, and what shards and the command line call it.
DTYPE_NAMES = {torch.float64: "fp64", torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def check_device(device: Any) -> None:
    """Refuse a device that torch does not have here.

    Args:
        device: a torch.device, its name or the number of a GPU; None is where the weights are.

    Raises:
        ConfigError: with torch's reason.
    """
    if isinstance(device, bool) or not isinstance(device, (str, int, torch.device, type(None))):
        raise ConfigError(f'device is {device!r}; a torch.device or its name, such as "cuda:0", is needed.')
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ImportError, ValueError) as error:
        reason = first_line(error).rstrip(".")
        kind = str(device).partition(":")[0]
        near = "" if kind in _DEVICES else did_you_mean(kind, _DEVICES)
        shown = str(device) if isinstance(device, torch.device) else device
        raise ConfigError(f"the device {shown!r} cannot be used: {reason}.{near}") from error


def float_dtype(dtype: Any) -> torch.dtype | None:
    """Return the dtype that weights can be kept in, by itself or by its name; None and "auto" leave them as they are.

    Raises:
        ConfigError: it is none.

    Example:
        >>> float_dtype("float16"), float_dtype("torch.float16"), float_dtype("auto")
        (torch.float16, torch.float16, None)
    """
    if dtype is None or dtype == "auto":
        return None
    found = (
        dtype if isinstance(dtype, torch.dtype) else getattr(torch, str(dtype).removeprefix("torch."), None)
    )
    if found not in DTYPE_NAMES:
        names = ", ".join(str(each).removeprefix("torch.") for each in DTYPE_NAMES)
        raise ConfigError(
            f'dtype is {dtype!r}; a torch.dtype or its name, such as "float16", is needed: one of {names}.'
        )
    return found
