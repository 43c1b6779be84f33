"""Composites that choose among values: clamp, maximum and minimum, extremes along an axis and where they are."""

from __future__ import annotations

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..gradient.reverse_structure import along
from ..ir.args import Call
from ..ir.composite import call, composite
from ..ir.node import Node, unary, where
from ..ir.op import Op


@composite("abs")
def absolute(x: Node) -> Node:
    return unary(Op.ABS, x)


@composite("maximum")
def maximum(left: Node, right: Node) -> Node:
    return left.maximum(right)


@composite("minimum")
def minimum(left: Node, right: Node) -> Node:
    return left.minimum(right)


@composite("clamp")
def clamp(x: Node, min: float | None = None, max: float | None = None) -> Node:
    if min is not None:
        x = x.maximum(min)
    return x if max is None else x.minimum(max)


@COMPOSITE_REVERSE.rule("clamp")
def clamp_reverse(node: Node, cotangent: Node) -> Cotangents:
    """The bounds themselves are inside."""
    assert isinstance(node.arg, Call)
    x = node.src[0]
    low, high = node.arg.get("min"), node.arg.get("max")
    inside: Node | None = None
    if isinstance(low, (int, float)):
        inside = x.ge(low)
    if isinstance(high, (int, float)):
        inside = x.le(high) if inside is None else inside & x.le(high)
    return (cotangent if inside is None else where(inside, cotangent, 0.0),)


@composite("clamp_tensor")
def clamp_tensor(x: Node, low: Node, high: Node) -> Node:
    return x.maximum(low).minimum(high)


@COMPOSITE_REVERSE.rule("clamp_tensor")
def clamp_tensor_reverse(node: Node, cotangent: Node) -> Cotangents:
    """The bounds get what x does not; the upper one wins where they cross."""
    x, low, high = node.src
    return (
        where(x.ge(low) & x.le(high), cotangent, 0.0),
        where(low.lt(high) & x.lt(low), cotangent, 0.0),
        where(x.gt(high) | high.lt(low), cotangent, 0.0),
    )


@composite("amax")
def amax(x: Node, axes: tuple[int, ...]) -> Node:
    return x.reduce("max", axes)


@composite("amin")
def amin(x: Node, axes: tuple[int, ...]) -> Node:
    return x.reduce("min", axes)


@composite("max_along")
def max_along(x: Node, axis: int) -> Node:
    return x.reduce("max", (axis,))


@composite("min_along")
def min_along(x: Node, axis: int) -> Node:
    return x.reduce("min", (axis,))


@COMPOSITE_REVERSE.rule("max_along", "min_along")
def along_reverse(node: Node, cotangent: Node) -> Cotangents:
    """All goes to the element whose index PyTorch returns: the first of equals."""
    assert isinstance(node.arg, Call)
    x = node.src[0]
    axis = node.arg.get("axis")
    assert isinstance(axis, int)
    found = call("argmax" if node.arg.name == "max_along" else "argmin", [x], axis=axis)
    chosen = along(axis, x).eq(found.expand(x.shape))
    return (where(chosen, cotangent.expand(x.shape), 0.0),)


@composite("argmax")
def argmax(x: Node, axis: int) -> Node:
    return _first_index(x, x.reduce("max", (axis,)), axis)


@composite("argmin")
def argmin(x: Node, axis: int) -> Node:
    return _first_index(x, x.reduce("min", (axis,)), axis)


def _first_index(x: Node, extreme: Node, axis: int) -> Node:
    """The first index along `axis` where x is the extreme; a NaN is one."""
    found = x.eq(extreme.expand(x.shape))
    if x.dtype.is_floating_point:
        found = found | x.ne(x)
    index = along(axis, x)
    return where(found, index, 2**62).reduce("min", (axis,))
