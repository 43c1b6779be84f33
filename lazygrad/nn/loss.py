"""Losses as modules: each applies the function of its kind in nn.functional with the arguments it was made with.

`reduction` is "mean", "sum" or "none"; `size_average` and `reduce` are PyTorch's old words for it. Losses with margins are in
margin_loss.py.
"""

from __future__ import annotations

import math
from typing import Any

from ..functional.linear_losses import LinearCrossEntropyOptions, linear_cross_entropy
from ..functional.losses import _old_reduction
from ..tensor import Tensor
from . import functional
from .linear import Linear
from .module import Module


class _Loss(Module):
    """A loss with a reduction: calls `_function` of nn.functional with the attributes named in `_arguments`."""

    _function: str
    _arguments: tuple[str, ...] = ()

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        old = size_average is not None or reduce is not None
        self.reduction = _old_reduction(size_average, reduce, reduction) if old else reduction

    def forward(self, *inputs: Any) -> Tensor:
        """The loss of the inputs, in the order of the function's arguments."""
        options = {name: getattr(self, name) for name in self._arguments}
        loss: Tensor = getattr(functional, self._function)(
            *inputs, **options, reduction=self.reduction
        )
        return loss


class _WeightedLoss(_Loss):
    """A loss with a weight, which is a buffer."""

    _arguments: tuple[str, ...] = ("weight",)

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class L1Loss(_Loss):
    """|input - target|. Same as torch.nn.L1Loss."""

    _function = "l1_loss"


class MSELoss(_Loss):
    """(input - target)^2. Same as torch.nn.MSELoss."""

    _function = "mse_loss"


class SmoothL1Loss(_Loss):
    """The squared difference below `beta`, the absolute one above. Same as torch.nn.SmoothL1Loss."""

    _function = "smooth_l1_loss"
    _arguments = ("beta",)

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta


class HuberLoss(_Loss):
    """Half the squared difference below `delta`, linear above. Same as torch.nn.HuberLoss."""

    _function = "huber_loss"
    _arguments = ("delta",)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta


class KLDivLoss(_Loss):
    """target * (log(target) - input). Same as torch.nn.KLDivLoss."""

    _function = "kl_div"
    _arguments = ("log_target",)

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target


class PoissonNLLLoss(_Loss):
    """The negative log likelihood of counts. Same as torch.nn.PoissonNLLLoss."""

    _function = "poisson_nll_loss"
    _arguments = ("log_input", "full", "eps")

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps


class GaussianNLLLoss(_Loss):
    """The negative log likelihood under normal distributions. Same as torch.nn.GaussianNLLLoss."""

    _function = "gaussian_nll_loss"
    _arguments = ("full", "eps")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps


class NLLLoss(_WeightedLoss):
    """-input[target], for log probabilities. Same as torch.nn.NLLLoss."""

    _function = "nll_loss"
    _arguments = ("weight", "ignore_index")

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index


class NLLLoss2d(NLLLoss):
    """Another name of NLLLoss, which PyTorch keeps."""


class CrossEntropyLoss(_WeightedLoss):
    """Cross entropy between logits and targets. Same as torch.nn.CrossEntropyLoss."""

    _function = "cross_entropy"
    _arguments = ("weight", "ignore_index", "label_smoothing")

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing


class BCELoss(_WeightedLoss):
    """Binary cross entropy of probabilities. Same as torch.nn.BCELoss."""

    _function = "binary_cross_entropy"


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross entropy of logits. Same as torch.nn.BCEWithLogitsLoss."""

    _function = "binary_cross_entropy_with_logits"
    _arguments = ("weight", "pos_weight")

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)


class CTCLoss(_Loss):
    """Minus the log probability of a target over all alignments. Same as torch.nn.CTCLoss."""

    _function = "ctc_loss"
    _arguments = ("blank", "zero_infinity")

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity


class LinearCrossEntropyLoss(_WeightedLoss):
    """The cross entropy of a linear layer's outputs. Same as torch.nn.LinearCrossEntropyLoss.

    Args:
        out_features: sizes of further axes that each class has, () for none.
        options: taken for PyTorch's sake.

    Raises:
        RuntimeError: `weight` has another shape than (num_classes,); `label_smoothing` is outside of [0, 1].
    """

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (), bias: bool = False, device: Any = None,
        dtype: Any = None, reduction: str = "mean", weight: Tensor | None = None, ignore_index: int | None = None,
        label_smoothing: float = 0.0, options: LinearCrossEntropyOptions | None = None,
    ) -> None:  # fmt: skip
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(
                f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}"
            )
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(
                f"expected label_smoothing to be in range [0, 1], got {label_smoothing}"
            )
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        outputs = math.prod(out_features, start=num_classes)
        self.linear = Linear(in_features, outputs, bias=bias, device=device, dtype=dtype)
        self.options = options

    def forward(self, *inputs: Any) -> Tensor:
        input, target = inputs
        shape, linear = (self.num_classes, *self.out_features), self.linear
        bias = None if linear.bias is None else linear.bias.reshape(shape)
        return linear_cross_entropy(
            input, linear.weight.reshape((*shape, linear.in_features)), target, linear_bias=bias, weight=self.weight,
            reduction=self.reduction, ignore_index=self.ignore_index, label_smoothing=self.label_smoothing, options=self.options,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, "
            f"bias={self.linear.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
