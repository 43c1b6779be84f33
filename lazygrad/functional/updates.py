"""What a step of an optimizer does to one tensor, an operator each: a step builds few nodes, whatever it computes.

In: the tensor to change, the tensors it depends on, and numbers. Out: the same tensor, changed in place. Numbers that are steady or turn into 0 or 1 on the way (a bias correction)
are combined by the caller so that no step differs from the one before it in more than the values of plan arguments.
Half types are computed in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nextafter

from ..history import Untracked
from ..ir.node import Node, accumulation, unary
from ..ir.op import Op
from ..results import grad_enabled, store, tensor_nodes
from ..tensor import Tensor
from .arithmetic import as_input
from .registry import Outcome, change, operator

Factor = float | Tensor
"""A number, or a tensor with one element (a learning rate that is a tensor)."""


def steady(value: Factor) -> Factor:
    """A number that changes from step to step, so that it is an argument of the plan whatever its value.

    0, 1 and -1 would select other algorithms: their neighbours stand for them, which are the same in float32. The number is an object of
    its own, since a plan knows two numbers that are one object.
    """
    if isinstance(value, Tensor):
        return value
    return nextafter(value, inf) if value in (0, 1, -1) else value + 0.0


def _operands(target: Tensor, *others: Tensor) -> tuple[Node, ...]:
    """The nodes in the type that sums have."""
    wide = accumulation(target.dtype)
    return tuple([node.cast(wide) for node in tensor_nodes(target, *others)])


def _factor(value: Factor, like: Node) -> Node | float:
    if not isinstance(value, Tensor):
        return float(value)
    (node,) = tensor_nodes(value)
    return node.cast(like.dtype).reshape(()).expand(like.shape)


def _scaled(node: Node, value: Factor) -> Node:
    """node * value, and the node itself for the number 1."""
    if not isinstance(value, Tensor) and value == 1.0:
        return node
    return node * _factor(value, node)


def _outcome(name: str, node: Node, target: Tensor, *inputs: Tensor | Factor) -> Outcome:
    given = (target, *(as_input(each) for each in inputs))
    saved = tuple([each for each in given[1:] if each is not None])
    return Outcome(name, node.cast(target.dtype), given, saved)


def _update(name: str) -> Callable[[Callable[..., Outcome]], Callable[..., Tensor]]:
    """Register an operator, and make the function that writes its result into its first operand."""

    def register(build: Callable[..., Outcome]) -> Callable[..., Tensor]:
        run = operator(f"optim.{name}", module=False, method=False, numeric=True)(build)

        def write(target: Tensor, *operands: Tensor | Factor) -> Tensor:
            counter = target._counter
            if grad_enabled() or isinstance(counter, Untracked):
                return change(target, name, build(target, *operands))
            store(target, run(target, *operands).storage.node)
            counter.version += 1
            return target

        write.__name__ = write.__qualname__ = name
        write.__doc__ = build.__doc__
        return write

    return register


@_update("mix")
def mix(average: Tensor, value: Tensor, weight: Factor) -> Outcome:
    """average + (value - average) * weight: one step of an exponential average."""
    before, new = _operands(average, value)
    node = before + (new - before) * _factor(weight, before)
    return _outcome("LerpBackward0", node, average, value, weight)


@_update("mix_square")
def mix_square(average: Tensor, value: Tensor, kept: Factor, weight: Factor) -> Outcome:
    """average * kept + value * value * weight."""
    before, new = _operands(average, value)
    node = _scaled(before, kept) + _scaled(new * new, weight)
    return _outcome("AddcmulBackward0", node, average, value, kept, weight)


@_update("gather_speed")
def gather_speed(speed: Tensor, value: Tensor, kept: Factor, weight: Factor) -> Outcome:
    """speed * kept + value * weight: momentum."""
    before, new = _operands(speed, value)
    node = before * _factor(kept, before) + _scaled(new, weight)
    return _outcome("AddBackward0", node, speed, value, kept, weight)


@_update("descend")
def descend(parameter: Tensor, direction: Tensor, rate: Factor, kept: Factor = 1.0) -> Outcome:
    """parameter * kept - direction * rate."""
    before, along = _operands(parameter, direction)
    node = _scaled(before, kept) - _scaled(along, rate)
    return _outcome("SubBackward0", node, parameter, direction, rate, kept)


@_update("descend_normalized")
def descend_normalized(
    parameter: Tensor, direction: Tensor, square: Tensor, rate: Factor, eps: Factor, kept: Factor
) -> Outcome:
    """parameter * kept - direction / (sqrt(square) + eps) * rate: the step of Adam."""
    before, along, squares = _operands(parameter, direction, square)
    scale = unary(Op.SQRT, squares) + _factor(eps, before)
    node = _scaled(before, kept) - _scaled(along / scale, rate)
    return _outcome("AddcdivBackward0", node, parameter, direction, square, rate, eps, kept)
