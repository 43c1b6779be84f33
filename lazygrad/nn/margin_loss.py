"""Losses with a margin as modules; see loss.py."""

from __future__ import annotations

from collections.abc import Callable

from ..tensor import Tensor
from .distance import PairwiseDistance
from .loss import _Loss, _WeightedLoss


class HingeEmbeddingLoss(_Loss):
    """input where target is 1, max(0, margin - input) where it is -1. Same as torch.nn.HingeEmbeddingLoss."""

    _function = "hinge_embedding_loss"
    _arguments = ("margin",)

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class CosineEmbeddingLoss(HingeEmbeddingLoss):
    """1 - cosine where target is 1, max(0, cosine - margin) where it is -1. Same as torch.nn.CosineEmbeddingLoss."""

    _function = "cosine_embedding_loss"

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)


class MarginRankingLoss(CosineEmbeddingLoss):
    """max(0, -target * (input1 - input2) + margin). Same as torch.nn.MarginRankingLoss."""

    _function = "margin_ranking_loss"


class SoftMarginLoss(_Loss):
    """log(1 + exp(-target * input)). Same as torch.nn.SoftMarginLoss."""

    _function = "soft_margin_loss"


class MultiLabelMarginLoss(_Loss):
    """The margins between target classes and the others. Same as torch.nn.MultiLabelMarginLoss."""

    _function = "multilabel_margin_loss"


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """Binary cross entropy of logits, averaged over classes. Same as torch.nn.MultiLabelSoftMarginLoss."""

    _function = "multilabel_soft_margin_loss"


class MultiMarginLoss(_WeightedLoss):
    """The margins between the target class and the others. Same as torch.nn.MultiMarginLoss.

    Raises:
        ValueError: `p` is neither 1 nor 2; the weight is no vector.
    """

    _function = "multi_margin_loss"
    _arguments = ("p", "margin", "weight")

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.dim() != 1:
            raise ValueError(
                f"MultiMarginLoss: expected weight to be None or 1D tensor, got {weight.dim()}D instead"
            )
        self.p = p
        self.margin = margin


def _check_margin(name: str, margin: float) -> None:
    if margin <= 0:
        raise ValueError(f"{name}: expected margin to be greater than 0, got {margin} instead")


class TripletMarginLoss(_Loss):
    """max(0, margin + |anchor - positive| - |anchor - negative|). Same as torch.nn.TripletMarginLoss.

    Raises:
        ValueError: the margin is not positive.
    """

    _function = "triplet_margin_loss"
    _arguments = ("margin", "p", "eps", "swap")

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        _check_margin("TripletMarginLoss", margin)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap


class TripletMarginWithDistanceLoss(_Loss):
    """TripletMarginLoss with a distance of one's own. Same as torch.nn.TripletMarginWithDistanceLoss.

    Raises:
        ValueError: the margin is not positive.
    """

    _function = "triplet_margin_with_distance_loss"
    _arguments = ("distance_function", "margin", "swap")

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        _check_margin("TripletMarginWithDistanceLoss", margin)
        self.distance_function = (
            PairwiseDistance() if distance_function is None else distance_function
        )
        self.margin = margin
        self.swap = swap
