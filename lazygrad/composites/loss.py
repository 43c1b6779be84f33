"""Losses. `reduction` is "mean", "sum" (both give shape ()) or "none".

Class indices are int64; a target equal to `ignore_index` gives no loss and does not count. Where there are weights, the mean is
over their sum. The class axis is the second, or the only one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents, exp, log
from ..gradient.reverse_structure import along
from ..ir.args import Call
from ..ir.build import gather
from ..ir.composite import call, composite
from ..ir.dim import product
from ..ir.node import Node, accumulation, unary, where
from ..ir.op import Op
from .activation import sigmoid_of
from .precision import every, number, wide
from .softmax import shifted


def _attribute(node: Node, name: str) -> object:
    assert isinstance(node.arg, Call)
    return node.arg.get(name)


def _reduced(loss: Node, reduction: str) -> Node:
    if reduction == "none":
        return loss
    total = loss.sum(every(loss)).reshape(())
    return total / number(product(loss.shape), total) if reduction == "mean" else total


def _spread(node: Node, cotangent: Node, like: Node) -> Node:
    """The cotangent of each element's loss, from that of the reduced loss."""
    reduction = _attribute(node, "reduction")
    if reduction == "none":
        return cotangent
    if reduction == "mean":
        cotangent = cotangent / number(product(like.shape), cotangent)
    return cotangent.expand(like.shape)


@composite("mse_loss")
def mse_loss(x: Node, target: Node, reduction: str = "mean") -> Node:
    difference = wide(x) - wide(target)
    return _reduced(difference * difference, reduction).cast(x.dtype)


@COMPOSITE_REVERSE.rule("mse_loss")
def mse_loss_reverse(node: Node, cotangent: Node) -> Cotangents:
    x, target = node.src
    scale = _spread(node, wide(cotangent) * 2.0, x)
    result = ((wide(x) - wide(target)) * scale).cast(x.dtype)
    return result, -result


@composite("l1_loss")
def l1_loss(x: Node, target: Node, reduction: str = "mean") -> Node:
    return _reduced(unary(Op.ABS, wide(x) - wide(target)), reduction).cast(x.dtype)


LEAST_LOG = -100.0
"""What the logarithm of 0 counts as in binary cross entropy."""
LEAST_VARIANCE = 9.999999960041972e-13  # 1e-12 in float32, which PyTorch uses for all types


@composite("binary_cross_entropy")
def binary_cross_entropy(x: Node, target: Node, *weight: Node, reduction: str = "mean") -> Node:
    likely = wide(target)
    yes, no = _clipped_logs(wide(x))
    loss = (likely - 1.0) * no - likely * yes
    if weight:
        loss = loss * wide(weight[0])
    return _reduced(loss, reduction).cast(x.dtype)


def _clipped_logs(x: Node) -> tuple[Node, Node]:
    return log(x).maximum(LEAST_LOG), unary(Op.LOG1P, -x).maximum(LEAST_LOG)


@COMPOSITE_REVERSE.rule("binary_cross_entropy")
def binary_cross_entropy_reverse(node: Node, cotangent: Node) -> Cotangents:
    x, target, *weight = node.src
    values = wide(x)
    scale = _spread(node, wide(cotangent), x)
    yes, no = _clipped_logs(values)
    weighted = scale * wide(weight[0]) if weight else scale
    variance = ((1.0 - values) * values).maximum(LEAST_VARIANCE)
    of_weight = (wide(target) - 1.0) * no - wide(target) * yes
    return (
        (weighted * (values - wide(target)) / variance).cast(x.dtype),
        (weighted * (unary(Op.LOG1P, -values) - log(values))).cast(x.dtype),  # not clipped
        *((scale * of_weight).cast(x.dtype) for _ in weight),
    )


def _log_sigmoid(x: Node) -> Node:
    return x.minimum(0.0) - unary(Op.LOG1P, exp(-unary(Op.ABS, x)))


@composite("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    x: Node,
    target: Node,
    *weights: Node,
    reduction: str = "mean",
    weighted: bool = False,
    pos_weighted: bool = False,
) -> Node:
    """`weights` are the weight, if `weighted`, then that of positive targets, if `pos_weighted`."""
    logits, likely = wide(x), wide(target)
    log_probability = _log_sigmoid(logits)
    if pos_weighted:
        log_probability = log_probability * ((wide(weights[-1]) - 1.0) * likely + 1.0)
    loss = (1.0 - likely) * logits - log_probability
    if weighted:
        loss = loss * wide(weights[0])
    return _reduced(loss, reduction).cast(x.dtype)


@COMPOSITE_REVERSE.rule("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits_reverse(node: Node, cotangent: Node) -> Cotangents:
    """sigmoid(x) - target, which no logit overflows. The weights are constants, as in PyTorch."""
    x, target, *weights = node.src
    logits, likely = wide(x), wide(target)
    scale = _spread(node, wide(cotangent), x)
    if _attribute(node, "weighted"):
        scale = scale * wide(weights[0])
    probability = sigmoid_of(logits)
    if _attribute(node, "pos_weighted"):
        positive = wide(weights[-1])
        slope = (positive * likely + 1.0 - likely) * probability - positive * likely
        of_target = _log_sigmoid(-logits) - positive * _log_sigmoid(logits)
    else:
        slope = probability - likely
        of_target = -logits
    nothing = (None,) * len(weights)
    return (scale * slope).cast(x.dtype), (scale * of_target).cast(x.dtype), *nothing


# --- class targets


def _class_axis(scores: Node) -> int:
    return 1 if len(scores.shape) > 1 else 0


def _at_class(per_class: Node, target: Node, axis: int) -> Node:
    """The score of each target's class, in the shape of `target`."""
    index = target.reshape((*target.shape[:axis], 1, *target.shape[axis:]))
    return gather(per_class, index, axis).reshape(target.shape)


def _over_classes(node: Node, scores: Node, axis: int) -> Node:
    """A value for each target, for each class too."""
    wide_shape = (*node.shape[:axis], 1, *node.shape[axis:])
    return node.reshape(wide_shape).expand(scores.shape)


def _is_target(scores: Node, target: Node) -> Node:
    axis = _class_axis(scores)
    return along(axis, scores).eq(_over_classes(target, scores, axis))


@composite("at_target")
def at_target(scores: Node, target: Node, scale: Node) -> Node:
    """`scale` at each target's class, 0 at the others, in the shape of `scores`.

    A composite so that log_softmax's rule knows that it has one element a row, and need not sum it.
    """
    return where(_is_target(scores, target), _over_classes(scale, scores, _class_axis(scores)), 0.0)


@COMPOSITE_REVERSE.rule("at_target")
def at_target_reverse(node: Node, cotangent: Node) -> Cotangents:
    scores, target, scale = node.src
    axis = _class_axis(scores)
    picked = where(_is_target(scores, target), cotangent, 0.0).sum((axis,))
    return None, None, picked.reshape(scale.shape)


def _weight_of_class(weight: Node, scores: Node, axis: int) -> Node:
    shape = tuple(size if a == axis else 1 for a, size in enumerate(scores.shape))
    return wide(weight).reshape(shape).expand(scores.shape)


def target_weights(
    scores: Node, target: Node, weight: Sequence[Node], ignore_index: int
) -> tuple[Node, Node, Node]:
    """The class of each target (0 where it is ignored), what its loss counts (0 there), and whether it counts."""
    axis = _class_axis(scores)
    counts = target.ne(ignore_index)
    safe = where(counts, target, 0)
    if not weight:
        return safe, counts.cast(accumulation(scores.dtype)), counts
    of_target = _at_class(_weight_of_class(weight[0], scores, axis), safe, axis)
    return safe, where(counts, of_target, 0.0), counts


def _weighted(
    loss: Node, factor: Node, counts: Node, weight: Sequence[Node], reduction: str
) -> Node:
    if weight:
        loss = loss * factor
    loss = where(counts, loss, 0.0)
    if reduction == "none":
        return loss
    axes = every(loss)
    total = loss.sum(axes).reshape(())
    return total / factor.sum(axes).reshape(()) if reduction == "mean" else total


def _target_scale(node: Node, cotangent: Node) -> tuple[Node, Node]:
    """The class of each target, and the cotangent of its log probability, negated."""
    scores, target, *weight = node.src
    ignore_index = _attribute(node, "ignore_index")
    assert isinstance(ignore_index, int)
    _, factor, _ = target_weights(scores, target, weight, ignore_index)
    incoming = wide(cotangent)
    if _attribute(node, "reduction") == "mean":
        incoming = incoming / factor.sum(every(factor)).reshape(())
    return target, factor * incoming.expand(target.shape)


@composite("nll_loss")
def nll_loss(
    x: Node, target: Node, *weight: Node, reduction: str = "mean", ignore_index: int = -100
) -> Node:
    """The negative of the log probability, x, of each target's class; `weight` is one number for each class."""
    safe, factor, counts = target_weights(x, target, weight, ignore_index)
    loss = -_at_class(wide(x), safe, _class_axis(x))
    return _weighted(loss, factor, counts, weight, reduction).cast(x.dtype)


@COMPOSITE_REVERSE.rule("nll_loss")
def nll_loss_reverse(node: Node, cotangent: Node) -> Cotangents:
    x, weight = node.src[0], node.src[2:]
    target, scale = _target_scale(node, cotangent)
    result = call("at_target", [x, target, (-scale).cast(x.dtype)], like=x)
    return result, None, *((None,) * len(weight))


@composite("cross_entropy")
def cross_entropy(
    x: Node,
    target: Node,
    *weight: Node,
    reduction: str = "mean",
    ignore_index: int = -100,
) -> Node:
    """nll_loss of log_softmax, of logits x, without a log probability for the classes that are not the target."""
    axis = _class_axis(x)
    below, _ = shifted(wide(x), (axis,))
    total = log(exp(below).sum((axis,))).reshape(target.shape)
    safe, factor, counts = target_weights(x, target, weight, ignore_index)
    loss = total - _at_class(below, safe, axis)
    return _weighted(loss, factor, counts, weight, reduction).cast(x.dtype)


@COMPOSITE_REVERSE.rule("cross_entropy")
def cross_entropy_reverse(node: Node, cotangent: Node) -> Cotangents:
    """(softmax - 1 at the target) times the cotangent of each target's loss."""
    x, weight = node.src[0], node.src[2:]
    axis = _class_axis(x)
    target, scale = _target_scale(node, cotangent)
    values = wide(x)
    probability = call("softmax", [values], like=values, axis=axis)
    chosen = _is_target(x, target)
    result = (probability - chosen.cast(values.dtype)) * _over_classes(scale, x, axis)
    return result.cast(x.dtype), None, *((None,) * len(weight))
