"""Losses as modules: each applies the function of its kind in nn.functional with the arguments it was made with."""

from __future__ import annotations

from ..tensor import Tensor
from . import functional
from .module import Module


class _Loss(Module):
    """A loss with a reduction: "mean", "sum" or "none"."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction


class _WeightedLoss(_Loss):
    """A loss with a weight, which is a buffer."""

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)


class L1Loss(_Loss):
    """|input - target|. Same as torch.nn.L1Loss."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = functional.l1_loss(input, target, reduction=self.reduction)
        return loss


class MSELoss(_Loss):
    """(input - target)^2. Same as torch.nn.MSELoss."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = functional.mse_loss(input, target, reduction=self.reduction)
        return loss


class SmoothL1Loss(_Loss):
    """The squared difference below `beta`, the absolute one above. Same as torch.nn.SmoothL1Loss."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = functional.smooth_l1_loss(
            input, target, reduction=self.reduction, beta=self.beta
        )
        return loss


class HuberLoss(_Loss):
    """Half the squared difference below `delta`, linear above. Same as torch.nn.HuberLoss."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = functional.huber_loss(
            input, target, reduction=self.reduction, delta=self.delta
        )
        return loss


class KLDivLoss(_Loss):
    """target * (log(target) - input). Same as torch.nn.KLDivLoss."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = functional.kl_div(
            input, target, reduction=self.reduction, log_target=self.log_target
        )
        return loss


class NLLLoss(_WeightedLoss):
    """-input[target], for log probabilities. Same as torch.nn.NLLLoss."""

    def __init__(
        self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = functional.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )
        return loss


class CrossEntropyLoss(_WeightedLoss):
    """Cross entropy between logits and targets. Same as torch.nn.CrossEntropyLoss."""

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = functional.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
        return loss


class BCELoss(_WeightedLoss):
    """Binary cross entropy of probabilities. Same as torch.nn.BCELoss."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = functional.binary_cross_entropy(
            input, target, weight=self.weight, reduction=self.reduction
        )
        return loss


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross entropy of logits. Same as torch.nn.BCEWithLogitsLoss."""

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = functional.binary_cross_entropy_with_logits(
            input,
            target,
            weight=self.weight,
            pos_weight=self.pos_weight,
            reduction=self.reduction,
        )
        return loss
