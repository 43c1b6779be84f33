"""Batching rules of composites: of those that have a gradient of their own, which their bodies do not have.

Two families need nothing but to be named: what lets any axes stand before those that it works on (element by element is the simplest
case), and what has the axes that it works on among its attributes. A loss of a whole batch is the loss of each example, reduced for
each.
"""

from __future__ import annotations

from ..gradient.batching import COMPOSITE_BATCHING, Sources, alike, one_by_one
from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.args import Attribute, Call
from ..ir.composite import call, composite
from ..ir.dim import Size, product
from ..ir.node import Node
from ..ir.op import Op
from .loss import target_weights
from .precision import wide

ON_LAST_AXES = (
    "relu", "sigmoid", "silu", "gelu", "softplus", "leaky_relu", "elu", "hardtanh",
    "pow_scalar", "clamp", "clamp_tensor", "scale_gradient",
    "max_pool", "adaptive_max_pool", "bessel_i", "entr", "erfcx", "gamma_draw", "incomplete_gamma", "log_ndtr", "ndtri", "next_number", "polygamma", "zeta",
    "cholesky", "cholesky_solve", "cofactor", "det", "eigh", "inv", "lu", "matrix_exp", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd",
)  # fmt: skip
ALONG_AXES = (
    "softmax", "safe_softmax", "log_softmax", "logsumexp", "mean", "variance", "norm", "distance", "standardize",
    "max_along", "min_along",
)  # fmt: skip
ELEMENTWISE_LOSSES = ("mse_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")


def _call(node: Node) -> Call:
    assert isinstance(node.arg, Call)
    return node.arg


@COMPOSITE_BATCHING.rule(*ON_LAST_AXES)
def on_last_axes(node: Node, sources: Sources) -> Node:
    return alike(node, sources)


@COMPOSITE_BATCHING.rule(*ALONG_AXES)
def along_axes(node: Node, sources: Sources) -> Node:
    """The axes move up by one."""
    moved: dict[str, Attribute] = dict(_call(node).attributes)
    for name in ("axis", "axes"):
        value = moved.get(name)
        if isinstance(value, tuple):
            moved[name] = tuple([axis + 1 for axis in value if isinstance(axis, int)])
        elif isinstance(value, int):
            moved[name] = value + 1
    shape = (sources.size, *node.shape)
    arg = Call(_call(node).name, tuple(sorted(moved.items())))
    return Node(node.op, sources.all(), node.dtype, shape, arg, node.place)


def _each(node: Node, sources: tuple[Node, ...], like: Node) -> Node:
    """A loss without its reduction."""
    attributes = {**dict(_call(node).attributes), "reduction": "none"}
    return call(_call(node).name, sources, like=like, **attributes)


@COMPOSITE_BATCHING.rule("recurrence", "recurrence_gradient")
def recurrence(node: Node, sources: Sources) -> Node:
    """A recurrent layer of each example by itself: its weights may be the example's own."""

    def one(*nodes: Node) -> Node:
        return Node(Op.CALL, nodes, node.dtype, node.shape, node.arg, node.place)

    return one_by_one(sources.all(), sources.size, one)


@COMPOSITE_BATCHING.rule(*ELEMENTWISE_LOSSES)
def elementwise_loss(node: Node, sources: Sources) -> Node:
    given = sources.all()
    loss = _each(node, given, given[0])
    reduction = _call(node).get("reduction")
    if reduction == "none":
        return loss
    flat = loss.reshape((sources.size, product(loss.shape[1:])))
    if reduction == "sum":
        total = wide(flat).sum((1,)).cast(flat.dtype)
    else:
        total = call("mean", [flat], axes=(1,))
    return total.reshape((sources.size,))


@COMPOSITE_BATCHING.rule("at_target")
def at_target(node: Node, sources: Sources) -> Node:
    """The batch is part of the first axis; of scores without one it is the first axis."""
    scores, target, scale = sources.all()
    if len(node.shape) == 1:
        return call("at_target", [scores, target, scale], like=scores)
    merged = [_merged(each) for each in (scores, target, scale)]
    return call("at_target", merged, like=merged[0]).reshape(scores.shape)


@COMPOSITE_BATCHING.rule("nll_loss", "cross_entropy")
def class_loss(node: Node, sources: Sources) -> Node | None:
    """One loss for each target of each example; the weights of classes have to be the same for all."""
    if len(node.src) > 2 and not sources.same(2):
        return None
    scores, target = sources[0], sources[1]
    weight = [sources.plain(2)] if len(node.src) > 2 else []
    if len(node.src[0].shape) > 1:
        scores, target = _merged(scores), _merged(target)
    each = _each(node, (scores, target, *weight), Node(node.op, (), node.dtype, target.shape))
    shape = (sources.size, product(node.src[1].shape))
    reduction = _call(node).get("reduction")
    if reduction == "none":
        return each.reshape((sources.size, *node.shape))
    total = wide(each).reshape(shape).sum((1,))
    if reduction == "mean":
        ignore = _call(node).get("ignore_index")
        assert isinstance(ignore, int)
        factor = target_weights(scores, target, weight, ignore)[1]
        total = total / factor.reshape(shape).sum((1,))
    return total.reshape((sources.size,)).cast(node.dtype)


def _merged(node: Node) -> Node:
    """The batch as part of the first axis of the examples."""
    first, second, *rest = node.shape
    return node.reshape((first * second, *rest))


# --- others


@COMPOSITE_BATCHING.rule("correlation")
def correlation(node: Node, sources: Sources) -> Node:
    """Examples are part of the batch of signals; where each has a kernel of its own, of the groups."""
    signal, kernel = sources[0], sources.plain(1)
    count, groups, *rest = node.shape
    if sources.same(1):
        made = _again(node, (_merged(signal), kernel), (sources.size * count, groups, *rest))
        return made.reshape((sources.size, *node.shape))
    order = (1, 0, *range(2, len(signal.shape)))
    moved = signal.permute(order)
    beside = moved.reshape((moved.shape[0], moved.shape[1] * moved.shape[2], *moved.shape[3:]))
    made = _again(node, (beside, _merged(kernel)), (count, sources.size * groups, *rest))
    apart = made.reshape((count, sources.size, groups, *rest))
    return apart.permute((1, 0, *range(2, len(apart.shape))))


def _again(node: Node, sources: tuple[Node, ...], shape: tuple[Size, ...]) -> Node:
    return Node(node.op, sources, node.dtype, shape, node.arg, node.place)


@composite("one_of_row")
def one_of_row(x: Node, value: Node) -> Node:
    """`one_of` for each row of a matrix: x is (rows, n), `value` (rows,)."""
    return value


@COMPOSITE_REVERSE.rule("one_of_row")
def one_of_row_reverse(node: Node, cotangent: Node) -> Cotangents:
    """See `one_of`."""
    x, value = node.src
    column = (x.shape[0], 1)
    wide_value = value.reshape(column).expand(x.shape)
    same = (x.eq(wide_value) | (x.ne(x) & wide_value.ne(wide_value))).cast(x.dtype)
    share = cotangent.reshape(column) / same.sum((1,))
    return same * share.expand(x.shape), None


@COMPOSITE_BATCHING.rule("one_of", "one_of_row")
def one_of(node: Node, sources: Sources) -> Node:
    """Every example is a row."""
    x, value = sources.all()
    rows = product(value.shape)
    flat = value.reshape((rows,))
    row = product(node.src[0].shape[len(node.shape) :])
    return call("one_of_row", [x.reshape((rows, row)), flat], like=flat).reshape(value.shape)
