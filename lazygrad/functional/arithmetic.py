"""Elementwise arithmetic of two or three operands: add, mul, div, pow, remainder, maximum, lerp, ..."""

from __future__ import annotations

from ..ir import composite
from ..ir.dtype import DType, bool_
from ..ir.node import Node, accumulation, constant, unary, where
from ..ir.op import Op
from ..results import tensor_nodes
from ..tensor import Tensor
from .arguments import (
    Number,
    Operand,
    as_number,
    compute_dtype,
    elementwise_nodes,
    no_kernel,
    require_tensor,
    result_type,
    type_name,
)
from .registry import METHODS, REFLECTED, Outcome, function, operator


def operand(value: object) -> Operand:
    """A tensor or a Python number.

    Raises:
        TypeError: neither.
    """
    if isinstance(value, Tensor):
        return value
    return as_number(value)


def as_input(value: Operand) -> Tensor | None:
    """What stands for an operand in next_functions: a number is None."""
    return value if isinstance(value, Tensor) else None


def saved_pair(left: Tensor, right: Operand) -> tuple[Tensor | str, ...]:
    """What a product's backward reads: each operand where the other needs a gradient."""
    if not isinstance(right, Tensor):
        return ("number",)
    saved: tuple[Tensor, ...] = ()
    if right.requires_grad:
        saved += (left,)
    if left.requires_grad:
        saved += (right,)
    return saved


def saved_quotient(left: Tensor, right: Operand) -> tuple[Tensor | str, ...]:
    """What a quotient's backward reads: the divisor, and the dividend where the divisor needs a gradient."""
    if not isinstance(right, Tensor):
        return ("number",)
    return (left, right) if right.requires_grad else (right,)


def _scaled(name: str, node: Node, alpha: Number, dtype: DType) -> Node:
    if isinstance(alpha, float) and dtype.kind != "float":
        raise RuntimeError(
            f"{name}: For integral input tensors, argument alpha must not be a floating point number."
        )
    if isinstance(alpha, bool) and dtype is not bool_:
        raise RuntimeError(f"{name}: Boolean alpha only supported for Boolean results.")
    return node if alpha == 1 else node * alpha


@operator("add", inplace=True, dunder="add", numeric=True)
def add(input: Tensor, other: Operand, *, alpha: Number = 1) -> Outcome:
    """input + alpha * other, elementwise.

    Args:
        input: any dtype and shape.
        other: a tensor whose shape broadcasts with input's, or a number.
        alpha: a number; an integer where the result is one.

    Returns: the promoted dtype, the broadcast shape; bool adds as "or".

    Raises:
        RuntimeError: the shapes do not broadcast; a float `alpha` for an integer result.

    Same as torch.add.
    """
    other = operand(other)
    (left, right), dtype, _ = elementwise_nodes("add", input, other)
    right = _scaled("add", right, as_number(alpha), dtype)
    node = left | right if dtype is bool_ else left + right
    return Outcome("AddBackward0", node, (input, as_input(other)))


@operator("sub", "subtract", inplace=True, dunder="sub", numeric=True)
def sub(input: Tensor, other: Operand, *, alpha: Number = 1) -> Outcome:
    """input - alpha * other, elementwise; see `add`.

    Raises:
        RuntimeError: an operand is bool, which PyTorch refuses too.

    Same as torch.sub.
    """
    other = operand(other)
    _refuse_bool(input, other)
    (left, right), dtype, _ = elementwise_nodes("sub", input, other)
    right = _scaled("sub", right, as_number(alpha), dtype)
    return Outcome("SubBackward0", left - right, (input, as_input(other)))


@operator("rsub", dunder="rsub", numeric=True)
def rsub(input: Tensor, other: Operand, *, alpha: Number = 1) -> Outcome:
    """other - alpha * input, elementwise. Same as torch.rsub."""
    other = operand(other)
    _refuse_bool(input, other)
    (left, right), dtype, _ = elementwise_nodes("rsub", input, other)
    left = _scaled("rsub", left, as_number(alpha), dtype)
    if isinstance(other, Tensor):
        return Outcome("RsubBackward0", right - left, (input, other))
    return Outcome("RsubBackward1", right - left, (input,))


def _refuse_bool(left: Tensor, right: Operand) -> None:
    right_bool = isinstance(right, bool) or (isinstance(right, Tensor) and right.dtype is bool_)
    if left.dtype is bool_ and right_bool:
        raise RuntimeError(
            "sub: Subtraction, the `-` operator, with two bool tensors is not supported. "
            "Use the `^` or `logical_xor()` operator instead."
        )
    if left.dtype is bool_ or right_bool:
        raise RuntimeError(
            "sub: Subtraction, the `-` operator, with a bool tensor is not supported. "
            "If you are trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )


@operator("mul", "multiply", inplace=True, dunder="mul", numeric=True)
def mul(input: Tensor, other: Operand) -> Outcome:
    """input * other, elementwise; bool multiplies as "and". Same as torch.mul."""
    other = operand(other)
    (left, right), dtype, _ = elementwise_nodes("mul", input, other)
    node = left & right if dtype is bool_ else left * right
    return Outcome("MulBackward0", node, (input, as_input(other)), saved_pair(input, other))


@operator("div", "divide", "true_divide", inplace=True, dunder="truediv", numeric=True)
def div(input: Tensor, other: Operand, *, rounding_mode: str | None = None) -> Outcome:
    """input / other, elementwise; integers divide as floats of the default dtype.

    Args:
        rounding_mode: None, or "floor" or "trunc" to round the quotient and keep the promoted dtype.

    Raises:
        RuntimeError: integer division by zero, at the latest when the result is read; an unknown `rounding_mode`.

    Same as torch.div.
    """
    other = operand(other)
    if rounding_mode is None:
        dtype = compute_dtype(result_type(input, other))
        (left, right), _, _ = elementwise_nodes("div", input, other, dtype=dtype)
        saved = saved_quotient(input, other)
        return Outcome("DivBackward0", left / right, (input, as_input(other)), saved)
    if rounding_mode not in ("floor", "trunc"):
        raise RuntimeError(
            f"div: expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    if rounding_mode == "floor":
        node = _floor_divide("div", input, other)
    else:
        (left, right), dtype, _ = elementwise_nodes("div", input, other)
        if dtype is bool_:
            raise NotImplementedError("div: \"div_true_cuda\" not implemented for 'Bool'")
        if dtype.kind == "float":
            node = unary(Op.TRUNC, left / right)
        else:
            quotient, remainder = left // right, left % right
            # Rounding down differs from truncation by one, where the signs differ and the division is not exact.
            inexact = remainder.ne(0) & (left.lt(0) ^ right.lt(0))
            node = quotient + inexact.cast(dtype)
    return Outcome("DivBackward2", node, (input, as_input(other)), saved_quotient(input, other))


def _floor_divide(name: str, input: Operand, other: Operand) -> Node:
    (left, right), dtype, _ = elementwise_nodes(name, input, other)
    if dtype.kind == "float":
        return floor_quotient(left, right)
    return (left.cast(bool_) // right) if dtype is bool_ else left // right


def floor_quotient(left: Node, right: Node) -> Node:
    """floor(left / right) of floats as Python and PyTorch define it: (left - remainder) / right, then to the nearest integer.

    The division alone could round up to an integer that the quotient does not reach. A zero divisor gives the quotient.
    """
    remainder = Node(Op.FMOD, (left, right), left.dtype, left.shape)
    quotient = (left - remainder) / right
    below = remainder.ne(0.0) & (remainder.lt(0.0) ^ right.lt(0.0))
    quotient = where(below, quotient - 1.0, quotient)
    floor = unary(Op.FLOOR, quotient)
    rounded = where((quotient - floor).gt(0.5), floor + 1.0, floor)
    ratio = left / right
    zero = where(_negative(ratio), -0.0, constant(0.0, left.dtype, left.shape, left.place))
    return where(right.eq(0.0), ratio, where(quotient.eq(0.0), zero, rounded))


def _negative(node: Node) -> Node:
    """Whether the sign bit is set, of numbers: -0.0 too."""
    return node.lt(0.0) | (
        node.eq(0.0) & (constant(1.0, node.dtype, node.shape, node.place) / node).lt(0.0)
    )


@operator("floor_divide", inplace=True, dunder="floordiv")
def floor_divide(input: Tensor, other: Operand) -> Outcome:
    """floor(input / other), elementwise, in the promoted dtype. Not differentiable.

    Raises:
        RuntimeError: "ZeroDivisionError" for an integer division by zero, at the latest when the result is read.

    Same as torch.floor_divide.
    """
    other = operand(other)
    _refuse_zero("floor_divide", input, other)
    return Outcome(
        "NotImplemented aten::floor_divide",
        _floor_divide("floor_divide", input, other),
        (input, as_input(other)),
    )


def _refuse_zero(name: str, input: Operand, other: Operand) -> None:
    """A constant zero divisor of an integer division is an error at the call, as are two bools."""
    if result_type(input, other) is bool_:
        raise no_kernel(name, bool_)
    if isinstance(other, Tensor) or other != 0 or result_type(input, other).kind == "float":
        return
    if isinstance(input, Tensor) and input.numel():
        raise RuntimeError(f"{name}: ZeroDivisionError")


@operator("remainder", inplace=True, dunder="mod")
def remainder(input: Tensor, other: Operand) -> Outcome:
    """The remainder of input / other with the sign of other, elementwise. Same as torch.remainder."""
    other = operand(other)
    _refuse_zero("remainder", input, other)
    (left, right), dtype, _ = elementwise_nodes("remainder", input, other)
    node = float_remainder(left, right) if dtype.kind == "float" else left % right
    if isinstance(other, Tensor):
        saved = (input, other) if other.requires_grad else ()
        return Outcome("RemainderBackward1", node, (input, other), saved)
    return Outcome("RemainderBackward0", node, (input,))


def float_remainder(left: Node, right: Node) -> Node:
    """FMOD with the sign of the divisor."""
    remainder = Node(Op.FMOD, (left, right), left.dtype, left.shape)
    wrong = remainder.ne(0.0) & (remainder.lt(0.0) ^ right.lt(0.0))
    return where(wrong, remainder + right, remainder)


@operator("fmod", inplace=True)
def fmod(input: Tensor, other: Operand) -> Outcome:
    """The remainder of input / other with the sign of input, elementwise. Same as torch.fmod."""
    other = operand(other)
    _refuse_zero("fmod", input, other)
    (left, right), dtype, _ = elementwise_nodes("fmod", input, other)
    if dtype.kind == "float":
        node = Node(Op.FMOD, (left, right), dtype, left.shape)
    else:
        remainder = left % right
        wrong = remainder.ne(0) & (left.lt(0) ^ right.lt(0))
        node = where(wrong, remainder - right, remainder)
    if isinstance(other, Tensor):
        saved = (input, other) if other.requires_grad else ()
        return Outcome("FmodBackward1", node, (input, other), saved)
    return Outcome("FmodBackward0", node, (input,))


@operator("pow", inplace=True, dunder="pow")
def pow(input: Tensor, exponent: Operand) -> Outcome:
    """input ** exponent, elementwise.

    Args:
        input: any dtype but bool with bool.
        exponent: a tensor whose shape broadcasts with input's, or a number; part of the compiled program when a number.

    Raises:
        RuntimeError: integers to a negative integer power.

    Same as torch.pow. A small integer exponent is products, no power function.
    """
    exponent = operand(exponent)
    if isinstance(exponent, Tensor):
        (left, right), dtype, _ = elementwise_nodes("pow", input, exponent)
        if dtype is bool_:
            raise NotImplementedError("pow: \"pow\" not implemented for 'Bool'")
        node = composite.call("pow", [left, right])
        return Outcome("PowBackward1", node, (input, exponent), (input, exponent, "result"))
    dtype = result_type(input, exponent)
    if dtype.kind != "float" and exponent < 0:
        raise RuntimeError("pow: Integers to negative integer powers are not allowed.")
    if dtype is bool_:
        raise NotImplementedError("pow: \"pow\" not implemented for 'Bool'")
    (node,) = tensor_nodes(input)
    node = node.cast(dtype)
    power = composite.call("pow_scalar", [node], like=node, exponent=exponent)
    return Outcome("PowBackward0", power, (input,), (input,))


@function("__rpow__", module=False, method=False, dunder="rpow")
def rpow(input: Tensor, base: Operand) -> Tensor:
    """base ** input, elementwise."""
    return pow(base, input) if isinstance(base, Tensor) else _scalar_power(input, base)


@operator("scalar_power", module=False, method=False)
def _scalar_power(exponent: Tensor, base: Number) -> Outcome:
    """base ** exponent for a number and a tensor."""
    base = as_number(base)
    (right, left), dtype, _ = elementwise_nodes("pow", exponent, base)
    if dtype is bool_:
        raise NotImplementedError("pow: \"pow\" not implemented for 'Bool'")
    return Outcome(
        "PowBackward2", composite.call("pow", [left, right]), (exponent,), (exponent, "result")
    )


@function("__rtruediv__", "__rdiv__", module=False)
def rtruediv(input: Tensor, other: Operand) -> Tensor:
    """other / input: the reciprocal times the other, as PyTorch records it."""
    from .unary import reciprocal

    return mul(reciprocal(input), operand(other))


@function("__rfloordiv__", module=False)
def rfloordiv(input: Tensor, other: Operand) -> Tensor:
    """floor(other / input)."""
    if isinstance(other, Tensor):
        return floor_divide(other, input)
    return _scalar_floor_divide(input, other)


@operator("scalar_floor_divide", module=False, method=False)
def _scalar_floor_divide(input: Tensor, other: Number) -> Outcome:
    """floor(other / input) for a number and a tensor."""
    return Outcome(
        "NotImplemented aten::floor_divide",
        _floor_divide("floor_divide", as_number(other), input),
        (input,),
    )


@function("__rmod__", module=False)
def rmod(input: Tensor, other: Operand) -> Tensor:
    """The remainder of other / input with the sign of input."""
    return remainder(other, input) if isinstance(other, Tensor) else _scalar_remainder(input, other)


@operator("scalar_remainder", module=False, method=False)
def _scalar_remainder(input: Tensor, other: Number) -> Outcome:
    """The remainder of other / input for a number and a tensor."""
    (right, left), dtype, _ = elementwise_nodes("remainder", input, as_number(other))
    node = float_remainder(left, right) if dtype.kind == "float" else left % right
    return Outcome("NotImplemented aten::remainder", node, (input,))


def _ordered(name: str, op: str, grad_name: str, input: Tensor, other: Tensor) -> Outcome:
    require_tensor(name, "other", 2, other)
    (left, right), _, _ = elementwise_nodes(name, input, other)
    return Outcome(grad_name, composite.call(op, [left, right]), (input, other), (input, other))


@operator("maximum")
def maximum(input: Tensor, other: Tensor) -> Outcome:
    """The larger of two, elementwise; NaN where either is. Ties share the gradient equally. Same as torch.maximum."""
    return _ordered("maximum", "maximum", "MaximumBackward0", input, other)


@operator("minimum")
def minimum(input: Tensor, other: Tensor) -> Outcome:
    """The smaller of two, elementwise; see `maximum`. Same as torch.minimum."""
    return _ordered("minimum", "minimum", "MinimumBackward0", input, other)


@operator("atan2", "arctan2", inplace=True)
def atan2(input: Tensor, other: Tensor) -> Outcome:
    """The angle of the point (other, input), elementwise, in [-pi, pi]. Same as torch.atan2."""
    require_tensor("atan2", "other", 2, other)
    dtype = compute_dtype(result_type(input, other))
    (left, right), _, _ = elementwise_nodes("atan2", input, other, dtype=dtype)
    node = Node(Op.ATAN2, (left, right), dtype, left.shape)
    return Outcome("Atan2Backward0", node, (input, other), (input, other))


@operator("hypot", inplace=True)
def hypot(input: Tensor, other: Tensor) -> Outcome:
    """sqrt(input ** 2 + other ** 2), elementwise, without overflow in between. Same as torch.hypot."""
    require_tensor("hypot", "other", 2, other)
    (left, right), dtype = _wide("hypot", input, other)
    if dtype.kind != "float":
        raise no_kernel("hypot", dtype)
    sizes = unary(Op.ABS, left), unary(Op.ABS, right)
    large = sizes[0].maximum(sizes[1])
    # The scale cancels, so no gradient needs to pass through it.
    scale = where(large.eq(0.0) | large.eq(float("inf")), 1.0, large).stop()
    a, b = left / scale, right / scale
    node = unary(Op.SQRT, a * a + b * b) * scale
    infinite = sizes[0].eq(float("inf")) | sizes[1].eq(float("inf"))
    node = where(infinite & node.ne(node), float("inf"), node)  # beside a NaN, too, as in C
    own = [each for each in (input, other) if each.requires_grad]
    return Outcome("HypotBackward0", node.cast(dtype), (input, other), (*own, "result"))


@operator("logaddexp")
def logaddexp(input: Tensor, other: Tensor) -> Outcome:
    """log(exp(input) + exp(other)), elementwise, without overflow. Same as torch.logaddexp."""
    require_tensor("logaddexp", "other", 2, other)
    (left, right), _, _ = elementwise_nodes("logaddexp", input, other)
    top = left.maximum(right).stop()
    infinite = unary(Op.ABS, top).eq(float("inf"))
    shift = where(infinite, 0.0, top)
    total = unary(Op.EXP, left - shift) + unary(Op.EXP, right - shift)
    return Outcome(
        "LogaddexpBackward0", unary(Op.LOG, total) + shift, (input, other), (input, other)
    )


@operator("xlogy", inplace=True, number_first=True)
def xlogy(input: Tensor, other: Operand) -> Outcome:
    """input * log(other), elementwise, and 0 where input is 0 (NaN where other is). Same as torch.xlogy."""
    other = operand(other)
    dtype = compute_dtype(result_type(input, other))
    (left, right), _, _ = elementwise_nodes("xlogy", input, other, dtype=dtype)
    # Where 0 meets a number whose log is infinite or NaN; elsewhere the gradient goes through the product. Adding 0 drops -0.
    zero = left.eq(0.0) & (right.le(0.0) | right.eq(float("inf")))
    product = left * unary(Op.LOG, where(zero, 1.0, right))
    node = where(zero, 0.0, product) + 0.0
    if isinstance(other, Tensor):
        given = (as_input(input), other)
        return Outcome(
            "XlogyBackward0" if given[0] is not None else "XlogyBackward1",
            node,
            given,
            (other,) if given[0] is None else (input, other),
        )
    return Outcome("XlogyBackward2", node, (input,), (input,))


@operator("lerp", inplace=True)
def lerp(input: Tensor, end: Tensor, weight: Operand) -> Outcome:
    """input + weight * (end - input), elementwise, from whichever end is nearer.

    Raises:
        RuntimeError: the dtypes differ.

    Same as torch.lerp.
    """
    weight = operand(weight)
    for name, each in (("end", end), ("weight", weight)):
        if isinstance(each, Tensor) and each.dtype is not input.dtype:
            raise RuntimeError(
                f"lerp: expected dtype {type_name(input.dtype).lower()} for `{name}` but got dtype "
                f"{type_name(each.dtype).lower()}"
            )
    nodes, dtype, _ = elementwise_nodes("lerp", input, end, weight, dtype=input.dtype)
    start, stop, share = (node.cast(accumulation(dtype)) for node in nodes)
    difference = stop - start
    near = start + share * difference
    far = stop - difference * (1.0 - share)
    node = where(unary(Op.ABS, share).lt(0.5), near, far).cast(dtype)
    if isinstance(weight, Tensor):
        ends = (input, end) if weight.requires_grad else ()
        return Outcome("LerpBackward1", node, (input, end, weight), (*ends, weight))
    return Outcome("LerpBackward0", node, (input, end))


def _wide(name: str, *operands: Tensor) -> tuple[list[Node], DType]:
    """The operands in the type that sums have, so that half types are rounded once, and the dtype of the result."""
    nodes, dtype, _ = elementwise_nodes(name, *operands)
    return [node.cast(accumulation(dtype)) for node in nodes], dtype


@operator("addcmul", inplace=True)
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Outcome:
    """input + value * tensor1 * tensor2, elementwise. Same as torch.addcmul."""
    (base, left, right), dtype = _wide("addcmul", input, tensor1, tensor2)
    node = base + (left * right if value == 1 else left * as_number(value) * right)
    return Outcome(
        "AddcmulBackward0",
        node.cast(dtype),
        (input, tensor1, tensor2),
        saved_pair(tensor1, tensor2),
    )


@operator("addcdiv", inplace=True)
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Outcome:
    """input + value * tensor1 / tensor2, elementwise.

    Raises:
        RuntimeError: both tensors are integers.

    Same as torch.addcdiv.
    """
    if tensor1.dtype.kind != "float" and tensor2.dtype.kind != "float":
        raise RuntimeError("addcdiv: Integer division with addcdiv is no longer supported")
    (base, left, right), dtype = _wide("addcdiv", input, tensor1, tensor2)
    node = base + (left / right if value == 1 else left * as_number(value) / right)
    saved = saved_quotient(tensor1, tensor2)
    return Outcome("AddcdivBackward0", node.cast(dtype), (input, tensor1, tensor2), saved)


METHODS["__radd__"] = METHODS["__add__"]
METHODS["__rmul__"] = METHODS["__mul__"]


@operator("scalar_sub", module=False, method=False)
def _scalar_sub(input: Tensor, other: Number) -> Outcome:
    """other - input for a number and a tensor, as torch.sub records it."""
    (right, left), _, _ = elementwise_nodes("sub", input, as_number(other))
    return Outcome("SubBackward0", left - right, (None, input))


# torch.pow(2, x) and the like: a number first.
REFLECTED.update(
    add=add,
    mul=mul,
    sub=_scalar_sub,
    div=rtruediv,
    pow=rpow,
    remainder=rmod,
    floor_divide=rfloordiv,
)
