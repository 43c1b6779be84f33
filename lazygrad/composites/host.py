"""Results of host calls as composites: what gives them gradients.

A result is a CALL whose sources are the inputs of the host function and then all of its results; its body is one of the results. So a
gradient rule finds the others, and whatever holds one of the results holds all of them: they are computed once, and kept together.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..gradient.reverse_structure import along
from ..ir import lapack as lapack  # its functions are what can be called
from ..ir.args import Attribute, Call
from ..ir.composite import COMPOSITES, call, composite
from ..ir.extern import host_call
from ..ir.node import Node, constant, where
from .contraction import matmul


def differentiable(name: str) -> None:
    """Register the composite `name`: one of the results among its sources."""
    composite(name)(_one)


def _one(*sources: Node, index: int, inputs: int, **attributes: Attribute) -> Node:
    return sources[inputs + index]


def computed(
    name: str, inputs: Sequence[Node], results: Sequence[Node], **attributes: Attribute
) -> tuple[Node, ...]:
    """The results of a computation, with the gradients that the rule of composite `name` has for them."""
    assert name in COMPOSITES
    return tuple(
        [
            call(name, (*inputs, *results), result, index=index, inputs=len(inputs), **attributes)
            if result.dtype.kind == "float"
            else result
            for index, result in enumerate(results)
        ]
    )


def called(name: str, *inputs: Node, **attributes: Attribute) -> tuple[Node, ...]:
    """The results of calling the host function `name`, with the gradients of the composite of that name."""
    return computed(name, inputs, host_call(name, inputs, **attributes), **attributes)


def parts(node: Node) -> tuple[list[Node], list[Node], int]:
    """Of one result: the inputs, all results as differentiable nodes, and which of them it is."""
    assert isinstance(node.arg, Call)
    attributes = dict(node.arg.attributes)
    index, count = attributes.pop("index"), attributes.pop("inputs")
    assert isinstance(index, int) and isinstance(count, int)
    inputs, results = node.src[:count], node.src[count:]
    return list(inputs), list(computed(node.arg.name, inputs, results, **attributes)), index


def only(node: Node, *cotangents: Node | None) -> tuple[Node | None, ...]:
    """The cotangents of a result's sources: those of the inputs; the results among its sources are not variables."""
    return (*cotangents, *[None] * (len(node.src) - len(cotangents)))


# --- what the rules are written with


def product(*factors: Node) -> Node:
    """The matrix product of several batches of matrices, from the left."""
    result = factors[0]
    for factor in factors[1:]:
        result = matmul(result, factor)
    return result


def transposed(node: Node) -> Node:
    """The last two axes exchanged."""
    rank = len(node.shape)
    return node.permute([*range(rank - 2), rank - 1, rank - 2])


def diagonal_mask(node: Node, low: int | None = None, high: int | None = None) -> Node:
    """Where column - row is from `low` to `high` (None: without bound), in the shape of batches of matrices."""
    rank = len(node.shape)
    distance = along(rank - 1, node) - along(rank - 2, node)
    if low is None:
        assert high is not None
        return distance.le(high)
    return distance.ge(low) if high is None else distance.ge(low) & distance.le(high)


def lower_triangle(node: Node, diagonal: int = 0) -> Node:
    return where(diagonal_mask(node, None, diagonal), node, 0.0)


def upper_triangle(node: Node, diagonal: int = 0) -> Node:
    return where(diagonal_mask(node, diagonal), node, 0.0)


def identity(node: Node, size: int) -> Node:
    """Identity matrices of `size` in the batch of `node`."""
    ones = constant(1, node.dtype, (*node.shape[:-2], size, size), node.place)
    return where(diagonal_mask(ones, 0, 0), ones, 0.0)


def columns(vector: Node, like: Node) -> Node:
    """(..., k) as the factors of the columns of (..., n, k)."""
    return vector.reshape((*vector.shape[:-1], 1, vector.shape[-1])).expand(like.shape)


def rows(vector: Node, like: Node) -> Node:
    """(..., k) as the factors of the rows of (..., k, n)."""
    return vector.reshape((*vector.shape, 1)).expand(like.shape)


def scalars(node: Node, like: Node) -> Node:
    """(...) as factors of whole matrices (..., n, m)."""
    return node.reshape((*node.shape, 1, 1)).expand(like.shape)
