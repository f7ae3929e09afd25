"""Weight-normed convolutions, in training and in chunks; for inference their weight is folded.

Weight norm is kept as `parametrizations.weight.original0/1`, as in upstream's checkpoints, in modules of our own:
unlike torch's parametrizations these pickle, copy and compile, and outside training they use a weight folded once
instead of one computed on every call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import nn

from snac_tok.codec.ops.convolution import conv1d, conv_transpose1d
from snac_tok.codec.ops.weight_cache import versions
from snac_tok.codec.tracing import is_traced
from snac_tok.errors import NetworkError

if TYPE_CHECKING:
    from snac_tok.codec.context import StepContext

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
        # On the meta device there is only a shape, and torch would load its compiler to tell it: more than a second.
        length = (
            weight.new_empty(len(weight), 1, 1) if weight.is_meta else torch.norm_except_dim(weight, 2, 0)
        )
        self.original0 = nn.Parameter(length.detach())
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


class NormConv(nn.Module):
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
        kept = None if self.training or torch.is_grad_enabled() else self._fresh_fold()
        weight: torch.Tensor = self._norm() if kept is None else kept
        return weight

    @weight.setter
    def weight(self, weight: torch.Tensor) -> None:
        with torch.no_grad():
            self._norm.original0.copy_(torch.norm_except_dim(weight, 2, 0))
            self._norm.original1.copy_(weight)

    def fold(self) -> torch.Tensor:
        """Return the weight; in eval mode it is computed once and kept."""
        if self.training or is_traced():
            return self.weight
        folded = self._fresh_fold()
        if folded is None:
            version = self._norm.version()
            with torch.no_grad():
                folded = self._norm()
            self.folded, self._folded_version = folded, version
        return folded

    def unfold(self) -> None:
        """Forget the folded weight."""
        self.folded = None

    def _fresh_fold(self) -> torch.Tensor | None:
        """Return the folded weight if it is that of today's parameters."""
        # Another thread may fold anew or forget meanwhile. It writes the weight first and the version then, so a weight
        # that is read behind a version that fits is never an older one; the other way round it could be.
        # A compiled graph has the folded weight built in; it cannot ask for versions.
        fits = is_traced() or self._norm.version() == self._folded_version
        return self.folded if fits else None

    def _load_from_state_dict(self, state_dict: dict[str, torch.Tensor], prefix: str, *args: Any) -> None:
        for old, new in OLD_NAMES.items():
            if prefix + old in state_dict:
                state_dict[prefix + new] = state_dict.pop(prefix + old)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.unfold()  # weights made in inference mode do not count what is written to them

    @property
    def _norm(self) -> WeightNorm:
        norm = self.parametrizations["weight"]
        assert isinstance(norm, WeightNorm)
        return norm


class NormConv1d(NormConv, nn.Conv1d):
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

    def step(self, x: torch.Tensor, context: StepContext, alpha: torch.Tensor | None = None) -> torch.Tensor:
        """Convolve the next (B, C_in, n) of a clip; returns what is final, (B, C_out, m).

        Args:
            x: the clip's next values; n may be 0.
            context: of the chunk.
            alpha: of a Snake in front of this convolution, which is computed here: it saves a copy.
        """
        ops, weight = context.ops, self.fold()
        (stride,), (padding,), (dilation,) = self.stride, self.padding, self.dilation
        reach = dilation * (weight.shape[-1] - 1) + 1
        if reach == 1:
            x, count = ops.extend(x, alpha), x.shape[-1]
        else:
            slot = context.next_slot()
            before = context.state.read(slot)
            # A Snake leaves zeros zero, so the mask may come before it.
            masked, after = context.mask_padding(x), padding if context.last else 0
            x = ops.extend(masked, alpha, padding if before is None else before, after)
            count = max(0, (x.shape[-1] - reach) // stride + 1)
            # A copy: a view would keep the whole chunk alive.
            context.state.write(slot, x[..., count * stride :].clone())
        if not count:
            return x.new_empty((x.shape[0], self.out_channels, 0))
        return ops.conv1d(x, weight, self.bias, stride=stride, dilation=dilation, groups=self.groups)

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


class NormConvTranspose1d(NormConv, nn.ConvTranspose1d):
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

    def step(self, x: torch.Tensor, context: StepContext, alpha: torch.Tensor | None = None) -> torch.Tensor:
        """Upsample the next (B, C_in, n) of a clip; arguments and result as of `NormConv1d.step`.

        Kernel 2s over stride s: inputs i-1 and i make the s outputs from i*s on, so one input is kept.
        """
        slot, ops = context.next_slot(), context.ops
        before = context.state.read(slot)
        x = ops.extend(context.mask_padding(x), alpha, 1 if before is None else before, int(context.last))
        # A clip without any input yet has no last one to keep, and still ends with nothing.
        if x.shape[-1] < 2 + (before is None and context.last):
            context.state.write(slot, before)
            return x.new_empty((x.shape[0], self.out_channels, 0))
        context.state.write(slot, x[..., -1:].clone())
        out = ops.upsample(x, self.fold(), self.bias)
        (stride,), (padding,) = self.stride, self.padding
        start = padding if before is None else 0
        return out[..., start : out.shape[-1] - (stride - padding if context.last else 0)]
