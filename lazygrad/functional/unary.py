"""Elementwise functions of one tensor: exp, log, sin, round, erf, ... Integers compute in the default float dtype."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..ir import composite
from ..ir.dtype import DType, bool_, int64
from ..ir.node import Node, constant, unary, where
from ..ir.op import Op
from ..results import tensor_nodes
from ..tensor import Tensor
from .arguments import Number, as_number, compute_dtype, no_kernel
from .registry import METHODS, Outcome, function, operator


def _float_function(
    op: Op, name: str, *aliases: str, grad: str | None = None, saves: str = "input", formula: str
) -> Callable[..., Tensor]:
    """Register a float-valued function that is one operation of the IR."""

    def build(input: Tensor) -> Outcome:
        (node,) = tensor_nodes(input)
        node = unary(op, node.cast(compute_dtype(input.dtype)))
        saved: tuple[Tensor | str, ...] = (input,) if saves == "input" else ("result",)
        return Outcome(grad or f"{name.capitalize()}Backward0", node, (input,), saved)

    build.__doc__ = f"{formula}, elementwise. Integers and bool give the default float dtype. Same as torch.{name}."
    return operator(name, *aliases, inplace=True)(build)


exp = _float_function(Op.EXP, "exp", saves="result", formula="e ** input")
exp2 = _float_function(Op.EXP2, "exp2", saves="result", formula="2 ** input")
expm1 = _float_function(Op.EXPM1, "expm1", saves="result", formula="e ** input - 1, exact near 0")
log = _float_function(Op.LOG, "log", formula="The natural logarithm")
log2 = _float_function(Op.LOG2, "log2", formula="The logarithm to base 2")
log10 = _float_function(Op.LOG10, "log10", formula="The logarithm to base 10")
log1p = _float_function(
    Op.LOG1P, "log1p", grad="Log1PBackward0", formula="log(1 + input), exact near 0"
)
sqrt = _float_function(Op.SQRT, "sqrt", saves="result", formula="The square root; NaN of negatives")
rsqrt = _float_function(Op.RSQRT, "rsqrt", saves="result", formula="1 / sqrt(input)")
sin = _float_function(Op.SIN, "sin", formula="The sine")
cos = _float_function(Op.COS, "cos", formula="The cosine")
tan = _float_function(Op.TAN, "tan", saves="result", formula="The tangent")
asin = _float_function(Op.ASIN, "asin", "arcsin", formula="The arc sine")
acos = _float_function(Op.ACOS, "acos", "arccos", formula="The arc cosine")
atan = _float_function(Op.ATAN, "atan", "arctan", formula="The arc tangent")
sinh = _float_function(Op.SINH, "sinh", formula="The hyperbolic sine")
cosh = _float_function(Op.COSH, "cosh", formula="The hyperbolic cosine")
tanh = _float_function(Op.TANH, "tanh", saves="result", formula="The hyperbolic tangent")
asinh = _float_function(Op.ASINH, "asinh", "arcsinh", formula="The inverse hyperbolic sine")
acosh = _float_function(Op.ACOSH, "acosh", "arccosh", formula="The inverse hyperbolic cosine")
atanh = _float_function(Op.ATANH, "atanh", "arctanh", formula="The inverse hyperbolic tangent")
erf = _float_function(Op.ERF, "erf", formula="The error function")
erfc = _float_function(Op.ERFC, "erfc", formula="1 - erf(input)")
erfinv = _float_function(Op.ERFINV, "erfinv", formula="The inverse of erf")
lgamma = _float_function(
    Op.LGAMMA, "lgamma", formula="The logarithm of the absolute value of gamma"
)
digamma = _float_function(Op.DIGAMMA, "digamma", formula="The derivative of lgamma")


def _rounding(op: Op, name: str, *aliases: str, formula: str) -> Callable[..., Tensor]:
    """Register a function whose gradient is zero and that leaves integers as they are."""

    def build(input: Tensor) -> Outcome:
        (node,) = tensor_nodes(input)
        if input.dtype is bool_:
            raise no_kernel(name, bool_)
        if input.dtype.kind == "float":
            node = unary(op, node)
        return Outcome(f"{name.capitalize()}Backward0", node, (input,))

    build.__doc__ = (
        f"{formula}, elementwise; integers stay. The gradient is 0. Same as torch.{name}."
    )
    return operator(name, *aliases, inplace=True)(build)


floor = _rounding(Op.FLOOR, "floor", formula="The largest integer not above")
ceil = _rounding(Op.CEIL, "ceil", formula="The smallest integer not below")
trunc = _rounding(Op.TRUNC, "trunc", "fix", formula="The integer part")


@operator("round", inplace=True)
def round(input: Tensor, *, decimals: int = 0) -> Outcome:
    """The nearest integer, halves to even, or the nearest multiple of 10 ** -decimals. Same as torch.round."""
    (node,) = tensor_nodes(input)
    if input.dtype is bool_:
        raise no_kernel("round", bool_)
    if input.dtype.kind == "float":
        if decimals == 0:
            node = unary(Op.ROUND, node)
        else:
            scale = 10.0 ** abs_int(decimals)
            scaled = node * scale if decimals > 0 else node / scale
            rounded = unary(Op.ROUND, scaled)
            node = rounded / scale if decimals > 0 else rounded * scale
    return Outcome("RoundBackward1" if decimals else "RoundBackward0", node, (input,))


def abs_int(value: int) -> int:
    """The absolute value of a Python integer (`abs` is an operator here)."""
    return -value if value < 0 else value


@operator("frac", inplace=True)
def frac(input: Tensor) -> Outcome:
    """input - trunc(input), elementwise. Same as torch.frac."""
    (node,) = tensor_nodes(input)
    return Outcome("FracBackward0", node - unary(Op.TRUNC, node), (input,))


@operator("neg", "negative", inplace=True)
def neg(input: Tensor) -> Outcome:
    """-input, elementwise.

    Raises:
        RuntimeError: input is bool.

    Same as torch.neg.
    """
    if input.dtype is bool_:
        raise RuntimeError(
            "neg: Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, "
            "use the `~` or `logical_not()` operator instead."
        )
    (node,) = tensor_nodes(input)
    return Outcome("NegBackward0", -node, (input,))


@operator("abs", "absolute", inplace=True)
def abs(input: Tensor) -> Outcome:
    """The absolute value, elementwise; the gradient at 0 is 0. Same as torch.abs."""
    (node,) = tensor_nodes(input)
    kind = input.dtype.kind
    if kind == "float":
        node = composite.call("abs", [node], like=node)
    elif kind == "int":
        node = unary(Op.ABS, node)
    elif input.dtype is bool_:
        raise no_kernel("abs", bool_)
    return Outcome("AbsBackward0", node, (input,), (input,))


@operator("sign", inplace=True)
def sign(input: Tensor) -> Outcome:
    """-1, 0 or 1 (NaN gives 0), elementwise. The gradient is 0. Same as torch.sign."""
    (node,) = tensor_nodes(input)
    if input.dtype is not bool_:
        node = node.gt(0).cast(input.dtype) - node.lt(0).cast(input.dtype)
    return Outcome("SignBackward0", node, (input,))


@operator("sgn", inplace=True)
def sgn(input: Tensor) -> Outcome:
    """The same as `sign` for real dtypes. Same as torch.sgn."""
    (node,) = tensor_nodes(input)
    if input.dtype is not bool_:
        node = node.gt(0).cast(input.dtype) - node.lt(0).cast(input.dtype)
    return Outcome("SgnBackward0", node, (input,), ("result",))


@operator("square", inplace=True)
def square(input: Tensor) -> Outcome:
    """input ** 2, elementwise. Same as torch.square."""
    (node,) = tensor_nodes(input)
    if input.dtype is bool_:
        node = node.cast(int64)
    node = composite.call("pow_scalar", [node], like=node, exponent=2)
    return Outcome("PowBackward0", node, (input,), (input,))


@operator("reciprocal", inplace=True)
def reciprocal(input: Tensor) -> Outcome:
    """1 / input, elementwise. Same as torch.reciprocal."""
    (node,) = tensor_nodes(input)
    node = node.cast(compute_dtype(input.dtype))
    one = constant(1.0, node.dtype, node.shape, node.place)
    return Outcome("ReciprocalBackward0", one / node, (input,), ("result",))


@operator("logit", inplace=True)
def logit(input: Tensor, eps: float | None = None) -> Outcome:
    """log(input / (1 - input)), elementwise, with input first clamped to [eps, 1 - eps]. Same as torch.logit."""
    (node,) = tensor_nodes(input)
    node = node.cast(compute_dtype(input.dtype))
    if eps is not None:
        node = composite.call("clamp", [node], like=node, min=float(eps), max=1.0 - float(eps))
    return Outcome("LogitBackward0", unary(Op.LOG, node / (1.0 - node)), (input,), (input,))


@operator("sinc", inplace=True)
def sinc(input: Tensor) -> Outcome:
    """sin(pi * input) / (pi * input), elementwise, 1 at 0. Same as torch.sinc."""
    (node,) = tensor_nodes(input)
    angle = node.cast(compute_dtype(input.dtype)) * math.pi
    zero = angle.eq(0.0)
    safe = where(zero, 1.0, angle)
    return Outcome(
        "SincBackward0", where(zero, 1.0, unary(Op.SIN, safe) / safe), (input,), (input,)
    )


@operator("deg2rad", inplace=True)
def deg2rad(input: Tensor) -> Outcome:
    """Degrees to radians, elementwise. Same as torch.deg2rad."""
    (node,) = tensor_nodes(input)
    return Outcome(
        "Deg2RadBackward0", node.cast(compute_dtype(input.dtype)) * (math.pi / 180), (input,)
    )


@operator("rad2deg", inplace=True)
def rad2deg(input: Tensor) -> Outcome:
    """Radians to degrees, elementwise. Same as torch.rad2deg."""
    (node,) = tensor_nodes(input)
    return Outcome(
        "Rad2DegBackward0", node.cast(compute_dtype(input.dtype)) * (180 / math.pi), (input,)
    )


@operator("nan_to_num", inplace=True)
def nan_to_num(
    input: Tensor,
    nan: Number | None = None,
    posinf: Number | None = None,
    neginf: Number | None = None,
) -> Outcome:
    """NaN replaced by `nan` (0), infinities by `posinf` and `neginf` (the dtype's limits). Same as torch.nan_to_num."""
    from .numeric_limits import finfo

    (node,) = tensor_nodes(input)
    if input.dtype.kind == "float":
        limit = finfo(input.dtype)
        high = limit.max if posinf is None else as_number(posinf)
        low = limit.min if neginf is None else as_number(neginf)
        filled = where(node.ne(node), 0.0 if nan is None else as_number(nan), node)
        filled = where(filled.eq(math.inf), high, filled)
        node = where(filled.eq(-math.inf), low, filled)
    return Outcome("NanToNumBackward0", node, (input,), (input,))


@function("positive", dunder=None)
def positive(input: Tensor) -> Tensor:
    """The tensor itself.

    Raises:
        RuntimeError: it is bool.

    Same as torch.positive.
    """
    if input.dtype is bool_:
        raise RuntimeError("positive: The `+` operator, on a bool tensor is not supported.")
    return input


@operator("bitwise_not", inplace=True)
def bitwise_not(input: Tensor) -> Outcome:
    """The complement of each bit; of a bool its negation.

    Raises:
        NotImplementedError: input is floating; for `~input` a TypeError.

    Same as torch.bitwise_not.
    """
    if input.dtype.kind == "float":
        raise no_kernel("bitwise_not", input.dtype)
    (node,) = tensor_nodes(input)
    return Outcome("NotImplemented", ~node, (input,))


def _test(name: str, build: Callable[[Node, DType], Node], formula: str) -> Callable[..., Tensor]:
    """Register a function with bool results."""

    def outcome(input: Tensor) -> Outcome:
        (node,) = tensor_nodes(input)
        return Outcome("NotImplemented", build(node, input.dtype), ())

    outcome.__doc__ = f"Whether each element is {formula}. Same as torch.{name}."
    return operator(name)(outcome)


def _false(node: Node) -> Node:
    return constant(False, bool_, node.shape, node.place)


def _infinite(node: Node, dtype: DType) -> Node:
    return unary(Op.ABS, node).eq(math.inf) if dtype.kind == "float" else _false(node)


isnan = _test("isnan", lambda n, d: n.ne(n) if d.kind == "float" else _false(n), "NaN")
isinf = _test("isinf", _infinite, "infinite")
isposinf = _test(
    "isposinf", lambda n, d: n.eq(math.inf) if d.kind == "float" else _false(n), "+infinity"
)
isneginf = _test(
    "isneginf", lambda n, d: n.eq(-math.inf) if d.kind == "float" else _false(n), "-infinity"
)
isfinite = _test(
    "isfinite",
    lambda n, d: unary(Op.ABS, n).lt(math.inf) if d.kind == "float" else ~_false(n),
    "a finite number",
)
signbit = _test(
    "signbit",
    lambda n, d: n.lt(0) | (n.eq(0) & (1.0 / n).lt(0)) if d.kind == "float" else n.lt(0) if d.kind == "int" else _false(n),
    "negative, -0.0 included",
)  # fmt: skip

METHODS["__neg__"] = neg
METHODS["__abs__"] = abs
METHODS["__pos__"] = positive


def _invert(input: Tensor) -> Tensor:
    """~input: bitwise_not, with an error of its own."""
    if input.dtype.kind == "float":
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return bitwise_not(input)


METHODS["__invert__"] = _invert
METHODS["__round__"] = lambda self, decimals=0: round(self, decimals=decimals)
METHODS["__floor__"] = floor
METHODS["__ceil__"] = ceil
METHODS["__trunc__"] = trunc
