"""More elementwise functions of two operands: signs, neighbours, extremes that skip NaN, powers in float64, common divisors.

In: tensors that promote and broadcast. Out: what an operator computed. The everyday functions of two operands stand in arithmetic.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..ir import composite
from ..ir.dtype import BY_NAME, bool_, float64, int32
from ..ir.node import Node, constant, unary, where
from ..ir.op import Op
from ..results import results, tensor_nodes
from ..tensor import Tensor
from .arguments import (
    Operand,
    compute_dtype,
    describe_operands,
    elementwise_nodes,
    no_kernel,
    require_tensor,
    result_type,
    type_name,
)
from .arithmetic import as_input, operand
from .registry import METHODS, Outcome, function, method, operator
from .return_types import Frexp

# --- signs


def _bits(node: Node) -> Node:
    """The bits of floats as signed integers of their width."""
    return node.bitcast(BY_NAME[f"int{node.dtype.bits}"])


@operator("copysign", inplace=True)
def copysign(input: Tensor, other: Operand) -> Outcome:
    """The magnitude of input with the sign of other (-0.0 and NaN have one), elementwise. Same as torch.copysign."""
    other = operand(other)
    dtype = compute_dtype(result_type(input, other))
    (left, right), _, _ = elementwise_nodes("copysign", input, other, dtype=dtype)
    size = unary(Op.ABS, left)
    node = where(_bits(right).lt(0), -size, size)
    number = "0" if isinstance(other, Tensor) else "1"
    return Outcome(f"CopysignBackward{number}", node, (input, as_input(other)), (input, "result"))


@operator("heaviside", inplace=True)
def heaviside(input: Tensor, values: Tensor) -> Outcome:
    """0 where input is negative, 1 where it is positive, `values` where it is 0, elementwise. Not differentiable.

    Raises:
        RuntimeError: the dtypes differ.

    Same as torch.heaviside.
    """
    require_tensor("heaviside", "values", 2, values)
    if input.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    (left, right), dtype, _ = elementwise_nodes("heaviside", input, values)
    positive = left & ~left.eq(left ^ left) if dtype is bool_ else left.gt(0)
    node = where(left.eq(constant(0, dtype, left.shape, left.place)), right, positive.cast(dtype))
    return Outcome("NotImplemented", node, ())


@operator("nextafter", inplace=True)
def nextafter(input: Tensor, other: Tensor) -> Outcome:
    """The next number after input in the direction of other, elementwise, of their dtype. Same as torch.nextafter.

    The gradient goes to input. Numbers of one sign are ordered as their bits, so the neighbour's bits are one more or one less.
    """
    require_tensor("nextafter", "other", 2, other)
    (left, right), dtype, _ = elementwise_nodes("nextafter", input, other)
    if dtype.kind != "float":
        raise no_kernel("nextafter", dtype)
    node = composite.call("next_number", [left, right])
    return Outcome("NextafterBackward0", node, (input, other))


# --- extremes that skip NaN


def _skipping(name: str, better: Callable[[Node, Node], Node], word: str) -> Callable[..., Tensor]:
    def build(input: Tensor, other: Tensor) -> Outcome:
        require_tensor(name, "other", 2, other)
        (left, right), dtype, _ = elementwise_nodes(name, input, other)
        first = better(left, right)
        if dtype.kind == "float":
            first = first | right.ne(right)
        return Outcome(
            f"{name.capitalize()}Backward0",
            where(first, left, right),
            (input, other),
            (input, other),
        )

    build.__doc__ = f"The {word} of two, elementwise; of a number and NaN the number. Equal ones leave the gradient to input. Same as torch.{name}."
    return operator(name)(build)


def _or_equal(strict: Callable[[Node, Node], Node]) -> Callable[[Node, Node], Node]:
    def better(left: Node, right: Node) -> Node:
        if left.dtype is bool_:
            return left.eq(right) | strict(left, right)
        return strict(left, right)

    return better


fmax = _skipping("fmax", _or_equal(lambda a, b: a.ge(b)), "larger")
fmin = _skipping("fmin", _or_equal(lambda a, b: a.le(b)), "smaller")


# --- powers and logarithms


@function("float_power", out=True, exact=True)
def float_power(input: Operand, exponent: Operand) -> Tensor:
    """input ** exponent, elementwise, in float64. Same as torch.float_power."""
    from .arithmetic import pow

    left = input.to(float64) if isinstance(input, Tensor) else input
    right = exponent.to(float64) if isinstance(exponent, Tensor) else exponent
    return pow(left, right)  # type: ignore[arg-type]


@method("float_power_")
def float_power_(self: Tensor, exponent: Operand) -> Tensor:
    """The in-place form of `float_power`.

    Raises:
        RuntimeError: the tensor is not float64, which results are.
    """
    if self.dtype is not float64:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {type_name(self.dtype)} but the operation's result requires dtype Double"
        )
    changed: Tensor = METHODS["pow_"](self, exponent.to(float64) if isinstance(exponent, Tensor) else exponent)  # fmt: skip
    return changed


@operator("ldexp", inplace=True)
def ldexp(input: Tensor, other: Tensor) -> Outcome:
    """input * 2 ** other, elementwise. Same as torch.ldexp."""
    from .arithmetic import pow

    require_tensor("ldexp", "other", 2, other)
    power = pow(2.0, other)  # type: ignore[arg-type]
    (left, right), _, _ = elementwise_nodes("ldexp", input, power)
    return Outcome("MulBackward0", left * right, (input, power), (input,))


@operator("logaddexp2")
def logaddexp2(input: Tensor, other: Tensor) -> Outcome:
    """log2(2 ** input + 2 ** other), elementwise, without overflow. Same as torch.logaddexp2."""
    require_tensor("logaddexp2", "other", 2, other)
    (left, right), dtype, _ = elementwise_nodes("logaddexp2", input, other)
    if dtype.kind != "float":
        raise no_kernel("logaddexp2", dtype)
    top = left.maximum(right).stop()
    shift = where(unary(Op.ABS, top).eq(math.inf), 0.0, top)
    total = unary(Op.EXP2, left - shift) + unary(Op.EXP2, right - shift)
    node = unary(Op.LOG2, total) + shift
    return Outcome("Logaddexp2Backward0", node, (input, other), (input, other))


@operator("special.xlog1py", module=False, method=False, number_first=True)
def xlog1py(input: Tensor, other: Operand) -> Outcome:
    """input * log(1 + other), elementwise, and 0 where input is 0 (NaN where other is). Same as torch.special.xlog1py."""
    other = operand(other)
    dtype = compute_dtype(result_type(input, other))
    (left, right), _, _ = elementwise_nodes("xlog1py", input, other, dtype=dtype)
    zero = left.eq(0.0) & (right.le(-1.0) | right.eq(math.inf))
    node = where(zero, 0.0, left * unary(Op.LOG1P, where(zero, 0.0, right))) + 0.0
    return Outcome(
        "SpecialXlog1PyBackward0", node, (as_input(input), as_input(other)), ("operands",)
    )


# --- common divisors


def _divisor(left: Node, right: Node) -> Node:
    return Node(Op.GCD, (left, right), left.dtype, left.shape)


def _integers(name: str, input: Tensor, other: Tensor) -> tuple[Node, Node]:
    require_tensor(name, "other", 2, other)
    (left, right), dtype, _ = elementwise_nodes(name, input, other)
    if not dtype.is_integer:
        raise NotImplementedError(
            f"{name}: \"{name}_cpu\" not implemented for '{type_name(dtype)}'"
            + describe_operands(input=input, other=other)
        )
    return left, right


@operator("gcd", inplace=True)
def gcd(input: Tensor, other: Tensor) -> Outcome:
    """The greatest common divisor, elementwise, of integers; of two zeros 0. Same as torch.gcd."""
    return Outcome("NotImplemented", _divisor(*_integers("gcd", input, other)), ())


@operator("lcm", inplace=True)
def lcm(input: Tensor, other: Tensor) -> Outcome:
    """The least common multiple, elementwise, of integers; 0 where one is 0. Same as torch.lcm."""
    left, right = _integers("lcm", input, other)
    divisor = _divisor(left, right)
    quotient = left // where(divisor.eq(0), 1, divisor)
    if left.dtype.kind == "int":
        wide = int32 if left.dtype.bits < 32 else left.dtype  # C multiplies narrow integers as int
        product = unary(Op.ABS, quotient.cast(wide) * right.cast(wide)).cast(left.dtype)
    else:
        product = quotient * right
    return Outcome("NotImplemented", where(divisor.eq(0), 0, product), ())


# --- parts of a float


EXPONENTS = {"float64": (52, 11), "float32": (23, 8), "bfloat16": (7, 8), "float16": (10, 5)}
"""Where the exponent begins among the bits of each float, and how many it has."""


def _power(exponent: Node, like: Node) -> Node:
    """2 ** exponent by its bits, for exponents of normal numbers; it has no gradient."""
    begin, width = EXPONENTS[like.dtype.name]
    return ((exponent + ((1 << width - 1) - 1)) << begin).bitcast(like.dtype)


@function("frexp", out=True, exact=True)
def frexp(input: Tensor) -> tuple[Tensor, Tensor]:
    """A mantissa with 1/2 <= |mantissa| < 1 and an int32 exponent with input = mantissa * 2 ** exponent; 0, NaN and infinities as they are.

    Raises:
        RuntimeError: input is not floating.

    Same as torch.frexp.
    """
    if input.dtype.kind != "float":
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    (node,) = tensor_nodes(input)
    begin, width = EXPONENTS[node.dtype.name]
    mask, lift = (1 << width) - 1, begin + 1
    tiny = (_bits(node) >> begin & mask).eq(0)
    lifted = node * where(tiny, 2.0**lift, constant(1.0, node.dtype, node.shape, node.place))
    bits = _bits(lifted) >> begin & mask
    exponent = bits - where(tiny, lift, bits ^ bits) - ((1 << width - 1) - 2)
    exponent = where(node.eq(0.0) | bits.eq(mask), 0, exponent)
    half = exponent >> 1  # the power itself may be out of range
    mantissa = node * _power(-half, node) * _power(half - exponent, node)
    nodes = (mantissa, exponent.cast(int32))
    return Frexp(*results("FrexpBackward0", nodes, (input,), (1,)))  # type: ignore[no-any-return]
