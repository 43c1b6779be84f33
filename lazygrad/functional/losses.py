"""Losses of nn.functional. `reduction` is "mean", "sum" (both give shape ()) or "none"."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from ..ir import composite
from ..ir.dtype import int64, uint8
from ..ir.node import Node, unary, where
from ..ir.op import Op
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .arguments import (
    as_number,
    describe_operands,
    elementwise_nodes,
    no_kernel,
    sizes_text,
    type_name,
)
from .registry import function

P = ParamSpec("P")


def _check_reduction(reduction: str) -> str:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def _loss(name: str) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    return function(name, module=False, method=False, nn=True)


def _old_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that PyTorch's old arguments mean."""
    if size_average is None and reduce is None:
        return _check_reduction(reduction)
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def _pair(name: str, input: Tensor, target: Tensor) -> tuple[Node, Node]:
    for argument, each in (("input", input), ("target", target)):
        if not isinstance(each, Tensor):
            raise TypeError(
                f"{name}(): argument '{argument}' must be Tensor, not {type(each).__name__}"
            )
    (left, right), _, _ = elementwise_nodes(name, input, target)
    return left, right


@_loss("mse_loss")
def mse_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:  # fmt: skip
    """The squared difference.

    Args:
        input, target: float, shapes that broadcast.

    Raises:
        RuntimeError: they do not broadcast. ValueError: unknown `reduction`.

    Same as torch.nn.functional.mse_loss.
    """
    reduction = _old_reduction(size_average, reduce, reduction)
    if not (input.dtype.is_floating_point or target.dtype.is_floating_point):
        raise no_kernel("mse", input.dtype)
    node = composite.call("mse_loss", _pair("mse_loss", input, target), reduction=reduction)
    return result("MseLossBackward0", node, (input, target), (input, target))


@_loss("l1_loss")
def l1_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:  # fmt: skip
    """The absolute difference; see `mse_loss`. Same as torch.nn.functional.l1_loss."""
    from . import unary as family
    from .arithmetic import sub

    reduction = _old_reduction(size_average, reduce, reduction)
    return _reduce(family.abs(sub(input, target)), reduction)


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    from .reductions import mean, sum

    return loss if reduction == "none" else sum(loss) if reduction == "sum" else mean(loss)


def _reduced_node(loss: Node, reduction: str) -> Node:
    axes = tuple(range(len(loss.shape)))
    if reduction == "none" or not axes:
        return loss
    if reduction == "sum":
        return loss.sum(axes).reshape(())
    return composite.call("mean", [loss], axes=axes).reshape(())


def _difference_loss(
    name: str, grad_name: str, input: Tensor, target: Tensor, reduction: str, edge: float, slope: float, beta: float
) -> Tensor:  # fmt: skip
    left, right = _pair(name, input, target)
    difference = unary(Op.ABS, left - right)
    square = difference * difference * (0.5 / beta)
    linear = (difference - 0.5 * edge) * slope
    loss = where(difference.lt(edge), square, linear)
    return result(grad_name, _reduced_node(loss, reduction), (input, target), (input, target))


@_loss("smooth_l1_loss")
def smooth_l1_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", beta: float = 1.0,
) -> Tensor:  # fmt: skip
    """0.5 * d ** 2 / beta where the difference d is below beta, else d - 0.5 * beta. Same as torch.nn.functional.smooth_l1_loss."""
    reduction = _old_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    return _difference_loss(
        "smooth_l1_loss", "SmoothL1LossBackward0", input, target, reduction, beta, 1.0, beta
    )


@_loss("huber_loss")
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """0.5 * d ** 2 where the difference d is below delta, else delta * (d - 0.5 * delta). Same as torch.nn.functional.huber_loss."""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    _check_reduction(reduction)
    return _difference_loss(
        "huber_loss", "HuberLossBackward0", input, target, reduction, delta, delta, 1.0
    )


@_loss("binary_cross_entropy")
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Binary cross entropy of probabilities; logarithms count as at least -100.

    Args:
        input: probabilities, float; target: the same shape; weight: broadcasts with target.

    Raises:
        ValueError: the shapes differ; unknown `reduction`.

    Same as torch.nn.functional.binary_cross_entropy.
    """
    reduction = _old_reduction(size_average, reduce, reduction)
    if tuple(input.shape) != tuple(target.shape):
        raise ValueError(
            f"binary_cross_entropy: Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}) is deprecated. Please ensure they have the same size."
            + describe_operands(input=input, target=target)
        )
    operands = [input, target] if weight is None else [input, target, weight]
    nodes, _, _ = elementwise_nodes("binary_cross_entropy", *operands)
    node = composite.call("binary_cross_entropy", nodes, reduction=reduction)
    return result("BinaryCrossEntropyBackward0", node, (input, target), (input, target))


@_loss("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean", pos_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Binary cross entropy of sigmoid(input), computed so that no logit overflows.

    Args:
        input: logits, float; target: the same shape; weight: of each loss, broadcasts; pos_weight: of positive targets, broadcasts.

    Raises:
        ValueError: the shapes differ; unknown `reduction`.

    Same as torch.nn.functional.binary_cross_entropy_with_logits.
    """
    reduction = _old_reduction(size_average, reduce, reduction)
    if tuple(input.shape) != tuple(target.shape):
        raise ValueError(
            f"binary_cross_entropy_with_logits: Target size ({target.shape}) must be the same as input size "
            f"({input.shape})" + describe_operands(input=input, target=target)
        )
    operands = [input, target, *(each for each in (weight, pos_weight) if each is not None)]
    nodes, _, _ = elementwise_nodes("binary_cross_entropy_with_logits", *operands)
    node = composite.call(
        "binary_cross_entropy_with_logits", nodes, reduction=reduction, weighted=weight is not None,
        pos_weighted=pos_weight is not None,
    )  # fmt: skip
    return result("BinaryCrossEntropyWithLogitsBackward0", node, (input, target), (input, target))


# --- class targets


def _class_arguments(name: str, input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    rank = input.ndim
    if rank == 0 or (rank == 1 and target.ndim) or (rank > 1 and target.ndim != rank - 1):
        raise RuntimeError(
            f"{name}: input and target must be (C,) and (), (N, C) and (N,), or (N, C, d1, ...) and (N, d1, ...)"
            + describe_operands(input=input, target=target)
        )
    if rank > 1 and input.shape[0] != target.shape[0]:
        raise ValueError(
            f"{name}: Expected input batch_size ({input.shape[0]}) to match target batch_size ({target.shape[0]})."
            + describe_operands(input=input, target=target)
        )
    if rank > 2 and tuple(input.shape[2:]) != tuple(target.shape[1:]):
        raise RuntimeError(
            f"{name}: size mismatch (got input: {sizes_text(input.shape)}, target: {sizes_text(target.shape)})"
            + describe_operands(input=input, target=target)
        )
    if target.dtype not in (int64, uint8):
        raise RuntimeError(
            f"{name}: expected target dtype to be Long or Byte, but got {type_name(target.dtype)}"
        )
    classes = int(input.shape[1 if rank > 1 else 0])
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"{name}: weight tensor should be defined either for all {classes} classes or no classes but got weight "
            f"tensor of shape: {sizes_text(weight.shape)}"
        )


def _class_loss(
    name: str, grad_name: str, input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:  # fmt: skip
    _class_arguments(name, input, target, weight)
    operands = [input, target] if weight is None else [input, target, weight]
    nodes = list(tensor_nodes(*operands))
    nodes[1] = nodes[1].cast(int64)
    node = composite.call("nll_loss", nodes, reduction=reduction, ignore_index=ignore_index)
    return result(grad_name, node, (input,), (input, target))


@_loss("nll_loss")
def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The negative log probability of each target's class.

    Args:
        input: log probabilities, float, (N, C), (C,) or (N, C, d1, ..., dk).
        target: class indices, int64, (N,), () or (N, d1, ..., dk), each in [0, C).
        weight: of each class, (C,); the mean is over the targets' weights.
        ignore_index: a target that counts nothing.

    Raises:
        ValueError: unknown `reduction`; batch sizes differ. IndexError: a target outside [0, C).

    Same as torch.nn.functional.nll_loss.
    """
    reduction = _old_reduction(size_average, reduce, reduction)
    name = "NllLossBackward0" if input.ndim <= 2 else "NllLoss2DBackward0"
    return _class_loss("nll_loss", name, input, target, weight, ignore_index, reduction)


@_loss("cross_entropy")
def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """Cross entropy between logits and class targets.

    Args:
        input: logits, float, (N, C), (C,) or (N, C, d1, ..., dk).
        target: class indices, int64, (N,), () or (N, d1, ..., dk), each in [0, C); or probabilities, of input's shape.
        weight: of each class, (C,).
        ignore_index: a target that counts nothing.
        reduction: "mean" (over weights), "sum" or "none".
        label_smoothing: how much of each target goes equally to all classes, in [0, 1].

    Returns: () for "mean" and "sum", the shape of `target` for "none".

    Raises:
        ValueError: unknown `reduction`; batch sizes differ. IndexError: a target outside [0, C).

    Same as torch.nn.functional.cross_entropy: the nll_loss of log_softmax, so no finite logits overflow.
    """
    from .activations import log_softmax

    reduction = _old_reduction(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(
            f"cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}"
        )
    if (
        target.ndim == input.ndim
        and tuple(target.shape) == tuple(input.shape)
        and target.dtype.is_floating_point
    ):
        return _probability_loss(input, target, weight, reduction, label_smoothing)
    _class_arguments("cross_entropy", input, target, weight)
    axis = 0 if input.ndim == 1 else 1
    scores = log_softmax(input, axis)
    loss = nll_loss(scores, target, weight, ignore_index=ignore_index, reduction=reduction)
    if not label_smoothing:
        return loss
    return _smoothed(loss, scores, target, weight, ignore_index, reduction, label_smoothing, axis)


def _smoothed(
    loss: Tensor, scores: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
    smoothing: float, axis: int,
) -> Tensor:  # fmt: skip
    """The loss with a share of each target spread over all classes."""
    from .arithmetic import add, div, mul
    from .comparison import ne
    from .gathering import index_select, where
    from .reductions import sum
    from .shaping import flatten, reshape, view
    from .unary import neg

    classes = int(scores.shape[axis])
    shape = [classes if a == axis else 1 for a in range(scores.ndim)]
    spread = scores if weight is None else mul(scores, view(weight, shape))
    smooth = neg(sum(spread, axis))
    counts = ne(target, ignore_index)
    smooth = where(counts, smooth, 0.0)
    if reduction == "none":
        total = smooth
    elif reduction == "sum":
        total = sum(smooth)
    elif weight is None:
        total = div(sum(smooth), sum(counts))
    else:
        safe = where(counts, target, 0)
        of_target = reshape(index_select(weight, 0, flatten(safe)), tuple(target.shape))
        total = div(sum(smooth), sum(where(counts, of_target, 0.0)))
    return add(mul(loss, 1 - smoothing), mul(total, smoothing / classes))


def _probability_loss(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    from .activations import log_softmax
    from .arithmetic import add, div, mul
    from .reductions import sum
    from .shaping import view
    from .unary import neg

    axis = 0 if input.ndim == 1 else 1
    classes = int(input.shape[axis])
    if smoothing:
        target = add(mul(target, 1 - smoothing), smoothing / classes)
    terms = mul(log_softmax(input, axis), target)
    if weight is not None:
        terms = mul(terms, view(weight, [classes if a == axis else 1 for a in range(input.ndim)]))
    if reduction == "none":
        return neg(sum(terms, axis))
    total = neg(sum(terms))
    return total if reduction == "sum" else div(total, max(1, input.numel() // max(1, classes)))


@_loss("kl_div")
def kl_div(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", log_target: bool = False,
) -> Tensor:  # fmt: skip
    """target * (log(target) - input), 0 where target is 0.

    Args:
        input: log probabilities; target: probabilities, or their logarithms if `log_target`.
        reduction: also "batchmean", the sum over the size of the first axis.

    Same as torch.nn.functional.kl_div.
    """
    from .arithmetic import div, mul, sub, xlogy
    from .unary import exp

    batch = reduction == "batchmean"
    reduction = "sum" if batch else _old_reduction(size_average, reduce, reduction)
    if log_target:
        loss = mul(exp(target), sub(target, input))
    else:
        loss = sub(xlogy(target, target), mul(target, input))
    loss = _reduce(loss, reduction)
    return div(loss, int(input.shape[0])) if batch else loss


@_loss("poisson_nll_loss")
def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, size_average: bool | None = None,
    eps: float = 1e-8, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The negative log likelihood of counts; `full` adds Stirling's approximation. Same as torch.nn.functional.poisson_nll_loss."""
    import math

    from .arithmetic import add, mul, sub
    from .comparison import le
    from .gathering import where
    from .unary import exp, log

    reduction = _old_reduction(size_average, reduce, reduction)
    loss = (
        sub(exp(input), mul(target, input))
        if log_input
        else sub(input, mul(target, log(add(input, eps))))
    )
    if full:
        stirling = add(
            sub(mul(target, log(target)), target), mul(log(mul(target, 2 * math.pi)), 0.5)
        )
        loss = add(loss, where(le(target, 1), 0.0, stirling))
    return _reduce(loss, reduction)


@_loss("hinge_embedding_loss")
def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """input where target is 1, max(0, margin - input) where it is -1. Same as torch.nn.functional.hinge_embedding_loss."""
    from .activations import clamp_min
    from .arithmetic import add, rsub
    from .comparison import ne
    from .gathering import where

    reduction = _old_reduction(size_average, reduce, reduction)
    hinge = where(ne(target, 1), clamp_min(rsub(input, margin), 0), 0.0)
    return _reduce(add(hinge, where(ne(target, -1), input, 0.0)), reduction)


@_loss("margin_ranking_loss")
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """max(0, -target * (input1 - input2) + margin). Same as torch.nn.functional.margin_ranking_loss."""
    from .activations import clamp_min
    from .arithmetic import add, mul, sub
    from .unary import neg

    reduction = _old_reduction(size_average, reduce, reduction)
    return _reduce(
        clamp_min(add(mul(neg(target), sub(input1, input2)), as_number(margin)), 0), reduction
    )
