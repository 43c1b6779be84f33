"""Comparison, logic and bits, elementwise; and the whole-tensor questions equal, allclose, isclose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.dtype import DType, bool_
from ..ir.node import Node, constant, unary, where
from ..ir.op import Op
from ..results import tensor_nodes
from ..tensor import Tensor
from .arguments import (
    Operand,
    common_place,
    elementwise_nodes,
    require_tensor,
    result_type,
    tensor_text,
    type_name,
)
from .arithmetic import operand
from .registry import METHODS, Outcome, function, operator


def _comparison(
    name: str, alias: str, compare: Callable[[Node, Node], Node], sign: str
) -> Callable[..., Tensor]:
    def build(input: Tensor, other: Operand) -> Outcome:
        (left, right), _, _ = elementwise_nodes(name, input, operand(other))
        return Outcome("NotImplemented", compare(left, right), ())

    build.__doc__ = f"input {sign} other, elementwise, as bool; the operands promote and broadcast. Same as torch.{name}."
    return operator(name, alias, inplace=True, dunder=None, numeric=True)(build)


eq = _comparison("eq", "eq", lambda a, b: a.eq(b), "==")
ne = _comparison("ne", "not_equal", lambda a, b: a.ne(b), "!=")
lt = _comparison("lt", "less", lambda a, b: a.lt(b), "<")
le = _comparison("le", "less_equal", lambda a, b: a.le(b), "<=")
gt = _comparison("gt", "greater", lambda a, b: a.gt(b), ">")
ge = _comparison("ge", "greater_equal", lambda a, b: a.ge(b), ">=")


def _rich(compare: Callable[..., Tensor], otherwise: object) -> Callable[[Tensor, Any], Any]:
    """The Python operator: an array is a tensor; for another operand that is no number, `otherwise` (False, True or NotImplemented)."""

    def dunder(self: Tensor, other: Any) -> Any:
        if isinstance(other, (Tensor, int, float)):
            return compare(self, other)
        if getattr(other, "ndim", 0) and hasattr(other, "__array__"):
            if otherwise is NotImplemented:
                return NotImplemented  # PyTorch does not order tensors and arrays
            from .creation import as_tensor

            return compare(self, as_tensor(other))
        try:
            other = operand(other)
        except TypeError:
            return otherwise
        return compare(self, other)

    return dunder


METHODS["__eq__"] = _rich(eq, False)
METHODS["__ne__"] = _rich(ne, True)
METHODS["__lt__"] = _rich(lt, NotImplemented)
METHODS["__le__"] = _rich(le, NotImplemented)
METHODS["__gt__"] = _rich(gt, NotImplemented)
METHODS["__ge__"] = _rich(ge, NotImplemented)


# --- logic


def _truth(node: Node) -> Node:
    return node if node.dtype is bool_ else node.ne(0)


def _logical(name: str, combine: Callable[[Node, Node], Node], word: str) -> Callable[..., Tensor]:
    def build(input: Tensor, other: Tensor) -> Outcome:
        require_tensor(name, "other", 2, other)
        (left, right), _, _ = elementwise_nodes(name, input, other)
        return Outcome("NotImplemented", combine(_truth(left), _truth(right)), ())

    build.__doc__ = f"Whether {word} nonzero, elementwise, as bool. Same as torch.{name}."
    return operator(name, inplace=True)(build)


logical_and = _logical("logical_and", lambda a, b: a & b, "both are")
logical_or = _logical("logical_or", lambda a, b: a | b, "at least one is")
logical_xor = _logical("logical_xor", lambda a, b: a ^ b, "exactly one is")


@operator("logical_not", inplace=True)
def logical_not(input: Tensor) -> Outcome:
    """Whether each element is zero. Same as torch.logical_not."""
    (node,) = tensor_nodes(input)
    return Outcome("NotImplemented", ~_truth(node), ())


# --- bits


def _bitwise(
    name: str, combine: Callable[[Node, Node], Node], word: str, dunder: str, shift: bool = False
) -> Callable[..., Tensor]:
    def build(input: Operand, other: Operand) -> Outcome:
        other = operand(other)
        dtype = result_type(input, other)
        if dtype.kind == "float" or (shift and dtype is bool_):
            raise NotImplementedError(
                f"{name}: \"{name}_cpu\" not implemented for '{type_name(dtype)}'"
            )
        (left, right), _, _ = elementwise_nodes(name, input, other, dtype=dtype)
        return Outcome("NotImplemented", combine(left, right), ())

    build.__doc__ = (
        f"The bits of input {word} those of other; integers and bool. Same as torch.{name}."
    )
    run = operator(name, inplace=True, dunder=dunder, number_first=True)(build)
    return run


bitwise_and = _bitwise("bitwise_and", lambda a, b: a & b, "and", "and")
bitwise_or = _bitwise("bitwise_or", lambda a, b: a | b, "or", "or")
bitwise_xor = _bitwise("bitwise_xor", lambda a, b: a ^ b, "xor", "xor")


def _shift_left(left: Node, right: Node) -> Node:
    bits = left.dtype.bits
    safe = where(right.ge(bits) | right.lt(0), 0, right)
    return where(right.ge(bits) | right.lt(0), 0, left << safe)


def _shift_right(left: Node, right: Node) -> Node:
    bits = left.dtype.bits
    last = bits - 1 if left.dtype.kind == "int" else bits
    outside = right.ge(last) | right.lt(0)
    far = (
        left >> (bits - 1)
        if left.dtype.kind == "int"
        else constant(0, left.dtype, left.shape, left.place)
    )
    return where(outside, far, left >> where(outside, 0, right))


bitwise_left_shift = _bitwise("bitwise_left_shift", _shift_left, "shifted left by", "lshift", True)
bitwise_right_shift = _bitwise(
    "bitwise_right_shift", _shift_right, "shifted right by", "rshift", True
)

METHODS["__rand__"] = METHODS["__and__"]
METHODS["__ror__"] = METHODS["__or__"]
METHODS["__rxor__"] = METHODS["__xor__"]


# --- closeness


@operator("isclose")
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Outcome:
    """Whether |input - other| <= atol + rtol * |other|, elementwise; equal infinities are close.

    Args:
        equal_nan: whether two NaN are close.

    Raises:
        RuntimeError: the dtypes differ; a negative tolerance.

    Same as torch.isclose.
    """
    require_tensor("isclose", "other", 2, other)
    if input.dtype is not other.dtype:
        raise RuntimeError(
            f"isclose: {type_name(input.dtype)} did not match {type_name(other.dtype)}"
        )
    if rtol < 0 or atol < 0:
        raise RuntimeError(
            f"isclose: rtol must be greater than or equal to zero, but got {min(rtol, atol)}"
        )
    (left, right), dtype, _ = elementwise_nodes("isclose", input, other)
    close = left.eq(right)
    if dtype.kind == "float" and equal_nan:
        close = close | (left.ne(left) & right.ne(right))
    if rtol or atol:
        wide: DType = dtype if dtype.kind == "float" else result_type(input, 1.0)
        a, b = left.cast(wide), right.cast(wide)
        allowed = unary(Op.ABS, b) * rtol + atol
        difference = unary(Op.ABS, a - b)
        close = close | (difference.lt(float("inf")) & difference.le(allowed))
    return Outcome("NotImplemented", close, ())


@function("allclose")
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether all elements are close; see `isclose`. Same as torch.allclose."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all().item())


@function("equal")
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements. Same as torch.equal.

    Raises:
        RuntimeError: they are on different devices.
    """
    require_tensor("equal", "other", 2, other)
    common_place(f"equal({tensor_text(input)}, {tensor_text(other)})", [input, other])
    if tuple(input.shape) != tuple(other.shape):
        return False
    return bool(eq(input, other).all().item())
