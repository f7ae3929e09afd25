"""Weight-normed convolutions whose weight is folded for inference.

Weight norm is kept as `parametrizations.weight.original0/1`, as in upstream's checkpoints, in modules of our own:
unlike torch's parametrizations these pickle, copy and compile, and outside training they use a weight folded once
instead of one computed on every call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import nn

from snac_tok.codec import dense
from snac_tok.codec.convolution import conv1d, conv_transpose1d
from snac_tok.codec.derived import Deriving, versions
from snac_tok.codec.forks import use_one_thread
from snac_tok.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable

# Weight norm's names before torch 2.1 made parametrizations of it.
OLD_NAMES = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}

# What torch's convolutions say of themselves, and tools ask them for.
_SHAPE = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "transposed",
    "output_padding",
    "groups",
    "padding_mode",
    "_reversed_padding_repeated_twice",
)


class _Refusal:
    """What torch's `remove_parametrizations` asks for first; it would take the weight from every convolution."""

    def __bool__(self) -> bool:
        raise NetworkError(
            "weight norm cannot be removed from a convolution of snac_tok: in eval mode its weight is folded already, "
            "and it pickles, copies and exports as it is; leave the removal out, or read the weight as conv.weight."
        )


class WeightNorm(nn.Module):
    """A weight as length (original0) times direction (original1), one length per first dimension."""

    is_tensor = _Refusal()

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.original0 = nn.Parameter(torch.norm_except_dim(weight.detach(), 2, 0))
        self.original1 = nn.Parameter(weight.detach())

    def forward(self) -> torch.Tensor:
        """The weight itself."""
        weight: torch.Tensor = torch._weight_norm(self.original1, self.original0, 0)  # noqa: SLF001 - upstream's op
        return weight

    def version(self) -> tuple[int, ...]:
        """Changes whenever a parameter is replaced, moved or written to in place."""
        return versions((self.original0, self.original1))

    def append(self, parametrization: nn.Module) -> None:
        """What torch's `register_parametrization` calls.

        Raises:
            NetworkError: always.
        """
        raise NetworkError(
            f"a {type(parametrization).__name__} cannot be put on top of weight norm in a convolution of snac_tok; "
            "put it on parametrizations.weight.original1, the direction."
        )


class _NormConv(Deriving):
    """What both convolutions share: a weight-normed weight that can be folded."""

    bias: torch.Tensor | None
    folded: torch.Tensor | None

    def __init__(self, plain: nn.Conv1d | nn.ConvTranspose1d) -> None:
        # The plain convolution supplies its shape and torch's initial values; its own constructor is passed over.
        nn.Module.__init__(self)
        for name in _SHAPE:
            setattr(self, name, getattr(plain, name))
        self.bias = None if plain.bias is None else nn.Parameter(plain.bias.detach())
        self.parametrizations = nn.ModuleDict({"weight": WeightNorm(plain.weight)})
        # Not persistent: a state dict holds upstream's keys alone, folded or not.
        self.register_buffer("folded", None, persistent=False)
        self._folded_version: tuple[int, ...] = ()

    @property
    def weight(self) -> torch.Tensor:
        """The folded weight if it is up to date and no gradient is wanted, else the weight computed now."""
        folded = self.folded  # another thread may forget it meanwhile
        if folded is not None and not self.training and not torch.is_grad_enabled() and self._is_fresh():
            return folded
        weight: torch.Tensor = self._norm()
        return weight

    @weight.setter
    def weight(self, weight: torch.Tensor) -> None:
        with torch.no_grad():
            self._norm.original0.copy_(torch.norm_except_dim(weight, 2, 0))
            self._norm.original1.copy_(weight)

    @torch.no_grad()
    def fold(self) -> None:
        """Compute the weight once; nothing happens where the folded one is up to date."""
        if self.folded is None or not self._is_fresh():
            self.folded, self._folded_version = self._norm(), self._norm.version()

    def unfold(self) -> None:
        """Forget the folded weight."""
        self.folded = None

    def _is_fresh(self) -> bool:
        # A compiled graph has the folded weight built in; it cannot ask for versions.
        return torch.compiler.is_compiling() or self._norm.version() == self._folded_version

    def _load_from_state_dict(self, state_dict: dict[str, torch.Tensor], prefix: str, *args: Any) -> None:
        for old, new in OLD_NAMES.items():
            if prefix + old in state_dict:
                state_dict[prefix + new] = state_dict.pop(prefix + old)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def _norm(self) -> WeightNorm:
        norm = self.parametrizations["weight"]
        assert isinstance(norm, WeightNorm)
        return norm


class NormConv1d(_NormConv, nn.Conv1d):
    """Weight-normed convolution over (B, C, T); the arguments are those of `torch.nn.Conv1d`."""

    padding: tuple[int, ...]

    def __init__(  # noqa: PLR0917 - torch's signature
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,  # noqa: FBT001, FBT002 - torch's signature
    ) -> None:
        super().__init__(
            nn.Conv1d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve (B, C_in, T) to (B, C_out, T / stride)."""
        if self.training and self.groups > 1 and torch.is_grad_enabled() and x.device.type == "cpu":
            return self._tap_by_tap(x)
        return conv1d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def _tap_by_tap(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve depthwise as a sum of shifted copies: on CPUs its gradient costs half of the convolution's."""
        (dilation,), (padding,) = self.dilation, self.padding
        weight = self.weight.to(x.dtype)  # (C, 1, K)
        padded = F.pad(x, (padding, padding))
        length = padded.shape[-1] - dilation * (weight.shape[-1] - 1)
        out = torch.zeros((), dtype=x.dtype) if self.bias is None else self.bias.to(x.dtype)[:, None]
        for tap in range(weight.shape[-1]):
            start = tap * dilation
            out = out + weight[:, 0, tap : tap + 1] * padded[..., start : start + length]
        return out


class NormConvTranspose1d(_NormConv, nn.ConvTranspose1d):
    """Weight-normed transposed convolution over (B, C, T); the arguments are those of `torch.nn.ConvTranspose1d`."""

    padding: tuple[int, ...]

    def __init__(  # noqa: PLR0917 - torch's signature
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        groups: int = 1,
        bias: bool = True,  # noqa: FBT001, FBT002 - torch's signature
        dilation: int = 1,
    ) -> None:
        shape = kernel_size, stride, padding, output_padding, groups, bias, dilation
        super().__init__(nn.ConvTranspose1d(in_channels, out_channels, *shape))

    def between(self, x: torch.Tensor) -> torch.Tensor:
        """Upsample (B, C_in, T) to what lies between its times: (B, C_out, (T - 1) * stride)."""
        return dense.upsample(x, self.weight, self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override] # no output_size
        """Upsample (B, C_in, T) to (B, C_out, T * stride)."""
        return conv_transpose1d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            groups=self.groups,
            dilation=self.dilation,
        )


class Foldable(nn.Module):
    """A network with weight-normed convolutions in it, and other layers that derive something from their weights."""

    def __init__(self) -> None:
        use_one_thread()
        super().__init__()

    def fold_weight_norm(self) -> Self:
        """Compute every weight-normed weight once, where the weights are; eval mode does this by itself.

        Weights that were written to, loaded or moved since are folded again; only writes through `.data` cannot be
        seen, and need `unfold_weight_norm()`. State-dict keys stay as they are.
        """
        # A compiled graph takes the weights as it finds them; folding is for outside.
        if torch.compiler.is_compiling():
            return self
        use_one_thread()
        for module in self.modules():
            if isinstance(module, Deriving):
                module.fold()
        return self

    def ready(self) -> Self:
        """Return this folded; unlike `eval()` it keeps what is folded already, and it changes no mode.

        A stream begins with this: folding anew would cost the first sound a tenth of a second. A write through
        `.data` therefore needs `unfold_weight_norm()` before it. In training mode, where weights change by the step,
        nothing is folded: streams are then exact, too, but slow.
        """
        return self if any(module.training for module in self.modules()) else self.fold_weight_norm()

    def unfold_weight_norm(self) -> Self:
        """Forget what was derived from weights; `train()`, `eval()` and moves (`to()`) do this by themselves."""
        for module in self.modules():
            if isinstance(module, Deriving):
                module.unfold()
        return self

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        # What follows a move may have an old weight's address and version.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self.unfold_weight_norm()

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Switch to training mode, where weights are computed from their norm on every call, or to eval mode."""
        return super().train(mode).unfold_weight_norm()
