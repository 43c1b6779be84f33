"""Forward-mode gradients: how the tangents of a node's sources become its own tangent.

In: a float node of the graph stratum and a tangent for each source (of its dtype and shape), None where it does not move. Out: the
node's tangent, or None where it does not move. Rules build ordinary nodes, so that they differentiate again.

Most rules follow from the reverse ones. The Jacobian of an elementwise operation is diagonal, and so its own transpose. Of
what has no rule here, the reverse rule is a linear function of the cotangent, and is itself transposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir.args import Axis, Call, Constant, Padding, Reduction, Region, Scan, Scatter
from ..ir.build import gather, grad, scan, scatter, update
from ..ir.node import Node, constant, postorder, unary, where
from ..ir.op import ELEMENTWISE, Op
from ..ir.rewrite import RuleTable
from .expand import place_new, pull_back, reverse_rule
from .region import leaf_like, opened, replaced
from .reverse import COMPOSITE_REVERSE, REVERSE
from .reverse_structure import products_without, record_holder, zeros_like

Tangents = Sequence[Node | None]

FORWARD: RuleTable[Node] = RuleTable("forward gradient")
"""Rules by operation: rule(node, tangents)."""

COMPOSITE_FORWARD: RuleTable[Node] = RuleTable("forward gradient of composites")
"""Rules by the name of a composite, where neither its reverse rule nor its body has the tangent."""


def push_forward(roots: Sequence[Node], tangents: Mapping[Node, Node | None]) -> list[Node | None]:
    """The tangents of roots, from those of the leaves they stand on; nothing passes a STOP.

    Raises:
        GradientError: an operation has no derivative.
    """
    known: dict[int, Node] = {id(leaf): t for leaf, t in tangents.items() if t is not None}
    for node in postorder(roots):
        if id(node) in known or node.dtype.kind != "float" or node.op is Op.STOP:
            continue
        incoming = [known.get(id(source)) for source in node.src]
        if all([each is None for each in incoming]):  # noqa: C419
            continue
        tangent = forward_rule(node, incoming)
        if tangent is not None:
            place_new(node, [*node.src, *[each for each in incoming if each]], [tangent])
            known[id(node)] = tangent
    return [known.get(id(root)) for root in roots]


def forward_rule(node: Node, tangents: Tangents) -> Node | None:
    """The tangent of one node."""
    if node.op is Op.CALL:
        assert isinstance(node.arg, Call)
        if node.arg.name in COMPOSITE_FORWARD.rules:
            return COMPOSITE_FORWARD(node.arg.name, node, tangents)
        if node.arg.name not in COMPOSITE_REVERSE.rules:
            return through_body(node, tangents)
    elif node.op in FORWARD.rules:
        return FORWARD(node.op, node, tangents)
    return transposed(node, tangents)


def through_body(node: Node, tangents: Tangents) -> Node | None:
    """The tangent of a composite that has no rule of its own."""
    body, leaves = opened(node)
    (tangent,) = push_forward([body], dict(zip(leaves, tangents, strict=True)))
    moving = [each for each in tangents if each is not None]
    return None if tangent is None else replaced(tangent, (leaves, node.src), (moving, moving))


def transposed(node: Node, tangents: Tangents) -> Node | None:
    """J t, from the reverse rule, which gives J' v for any v: the gradient of (J' v) . t by v.

    The rule is applied to leaves, so that looking for the way from its results to v is no work on the rest of the graph.
    """
    leaves = [leaf_like(source) for source in node.src]
    copy = node.like(tuple(leaves))
    cotangent = leaf_like(node)
    moving: list[Node] = []
    weights: list[Node] = []
    roots: list[Node] = []
    for part, tangent in zip(reverse_rule(copy, cotangent), tangents, strict=True):
        if part is not None and tangent is not None:
            roots.append(part)
            moving.append(tangent)
            weights.append(leaf_like(tangent))
    if not roots:
        return None
    gradient = grad(roots, weights, [cotangent], [True])[0].src[0]
    (found,) = pull_back(gradient, gradient.src)
    return replaced(found, (leaves, node.src), ([copy], [node]), (weights, moving))


# --- elementwise


@FORWARD.rule(*[Op(op) for op in sorted(ELEMENTWISE) if op in REVERSE.rules and op != Op.CAST])
def diagonal(node: Node, tangents: Tangents) -> Node | None:
    """The sum over the sources of the reverse rule, applied to the tangent."""
    total: Node | None = None
    for index, tangent in enumerate(tangents):
        if tangent is None:
            continue
        part = reverse_rule(node, tangent)[index]
        if part is not None:
            total = part if total is None else total + part
    return total


@FORWARD.rule(Op.CAST)
def cast(node: Node, tangents: Tangents) -> Node | None:
    (tangent,) = tangents
    return None if tangent is None else tangent.cast(node.dtype)


# --- linear in the one source


@FORWARD.rule(
    Op.RESHAPE, Op.PERMUTE, Op.EXPAND, Op.FLIP, Op.SHRINK, Op.WINDOW, Op.FOLD, Op.COPY
)  # fmt: skip
def movement(node: Node, tangents: Tangents) -> Node | None:
    (tangent,) = tangents
    return None if tangent is None else node.like((tangent,))


@FORWARD.rule(Op.PAD)
def padding(node: Node, tangents: Tangents) -> Node | None:
    """What is added does not move."""
    (tangent,) = tangents
    arg = node.arg
    assert isinstance(arg, Padding) and tangent is not None
    still = Padding(arg.before, arg.after, arg.between, Constant(0.0))
    return Node(Op.PAD, (tangent,), node.dtype, node.shape, still)


# --- reduce and scan


@FORWARD.rule(Op.REDUCE)
def reduction(node: Node, tangents: Tangents) -> Node | None:
    """A row of the Jacobian is what the reverse rule makes of a cotangent of ones."""
    (tangent,) = tangents
    assert isinstance(node.arg, Reduction) and tangent is not None
    if node.arg.kind != "add":
        (weight,) = reverse_rule(node, constant(1, node.dtype, node.shape, node.place))
        assert weight is not None
        tangent = tangent * weight
    return tangent.reduce("add", node.arg.axes)


@FORWARD.rule(Op.SCAN)
def running(node: Node, tangents: Tangents) -> Node | None:
    """Of a running maximum the element that set the record; of a running product each element by the product of the others."""
    (tangent,) = tangents
    arg, source = node.arg, node.src[0]
    assert isinstance(arg, Scan) and tangent is not None
    if arg.kind == "add":
        return scan(tangent, "add", arg.axis, arg.accumulate)
    if arg.kind in ("max", "min"):
        return gather(tangent, record_holder(node), arg.axis)
    if arg.kind == "logaddexp":
        return _running_share(node, tangent, arg.axis) - _running_share(node, -tangent, arg.axis)
    rank = len(source.shape)
    products, later = products_without(source, arg.axis)
    order = [*range(arg.axis), rank, *range(arg.axis + 1, rank), arg.axis]
    moves = tangent.reshape((*source.shape, 1)).permute(order).expand(products.shape)
    return where(later, 0.0, products * moves).sum((rank,)).reshape(source.shape)


def _running_share(node: Node, tangent: Node, axis: int) -> Node:
    """Of a running log of sums: the sum over j <= i of exp(x_j - y_i) times the tangent of x_j, where that is positive."""
    there = tangent.gt(0.0)
    logs = unary(Op.LOG, where(there, tangent, 1.0)) + node.src[0]
    return unary(Op.EXP, scan(where(there, logs, float("-inf")), "logaddexp", axis) - node)


# --- indexed


@FORWARD.rule(Op.GATHER)
def gathering(node: Node, tangents: Tangents) -> Node | None:
    assert isinstance(node.arg, Axis)
    tangent = tangents[0]
    return None if tangent is None else gather(tangent, node.src[1], node.arg.axis)


@FORWARD.rule(Op.SCATTER)
def scattering(node: Node, tangents: Tangents) -> Node | None:
    """Each element of base and value reaches one element of the result: its weight is the reverse rule's of ones."""
    assert isinstance(node.arg, Scatter)
    base, index, value = node.src
    axis, kind = node.arg.axis, node.arg.kind
    moved_base = zeros_like(base) if tangents[0] is None else tangents[0]
    moved_value = zeros_like(value) if tangents[2] is None else tangents[2]
    if kind in ("add", "set"):
        return scatter(moved_base, index, moved_value, axis, kind)
    of_base, _, of_value = reverse_rule(node, constant(1, node.dtype, node.shape, node.place))
    assert of_base is not None and of_value is not None
    return scatter(moved_base * of_base, index, moved_value * of_value, axis, "add")


@FORWARD.rule(Op.UPDATE)
def updating(node: Node, tangents: Tangents) -> Node | None:
    assert isinstance(node.arg, Region)
    base, value = (
        zeros_like(source) if tangent is None else tangent
        for source, tangent in zip(node.src, tangents, strict=True)
    )
    return update(base, value, node.arg.starts, node.arg.steps)


# --- structure


@FORWARD.rule(Op.EXTERN, Op.ELEMENT)
def host_function(node: Node, tangents: Tangents) -> Node | None:
    """What a host function gives moves where composites wrap it: they have the derivative (composites/host.py)."""
    return None


# --- composites


@COMPOSITE_FORWARD.rule("scale_gradient")
def scale_gradient(node: Node, tangents: Tangents) -> Node | None:
    """Only gradients are scaled: the value is that of the source."""
    return tangents[0]
