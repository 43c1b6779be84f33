"""Special functions of one and two tensors, elementwise: torch.special, and the names that the package has of them.

In: floats; integers and bool compute in the default float dtype. Out: what an operator computed. composites/special.py has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..ir import composite
from ..ir.args import Attribute
from ..ir.dtype import bool_
from ..ir.node import accumulation, unary
from ..ir.op import Op
from ..results import grad_enabled, tensor_nodes
from ..tensor import Tensor
from .arguments import Operand, compute_dtype, elementwise_nodes, integer, no_kernel, result_type
from .arithmetic import as_input, operand
from .registry import FUNCTIONS, SPECIAL_FUNCTIONS, Outcome, function, operator


def _special(
    name: str, body: str, formula: str, *aliases: str, record: str = "", **attributes: Attribute
) -> Callable[..., Tensor]:
    """Register a function that is one composite."""

    def build(input: Tensor) -> Outcome:
        (node,) = tensor_nodes(input)
        node = node.cast(compute_dtype(input.dtype))
        made = composite.call(body, [node], like=node, **attributes)
        return Outcome(
            record or f"Special{name.title().replace('_', '')}Backward0", made, (input,), (input,)
        )

    build.__doc__ = f"{formula}, elementwise. Same as torch.special.{name}."
    named = bool(aliases)
    return operator(aliases[0] if named else f"special.{name}", *aliases[1:], *([f"special.{name}"] if named else []),
        module=named, method=named, inplace=named)(build)  # fmt: skip


i0 = _special("i0", "bessel_i", "Bessel's modified function of the first kind of order 0", "i0", record="I0Backward0", order=0, scaled=False)  # fmt: skip
i0e = _special("i0e", "bessel_i", "exp(-|input|) * i0(input)", order=0, scaled=True)
i1 = _special("i1", "bessel_i", "Bessel's modified function of the first kind of order 1", order=1, scaled=False)  # fmt: skip
i1e = _special("i1e", "bessel_i", "exp(-|input|) * i1(input)", order=1, scaled=True)
erfcx = _special("erfcx", "erfcx", "exp(input ** 2) * erfc(input)")
entr = _special("entr", "entr", "-input * log(input), 0 at 0 and -inf below")
log_ndtr = _special("log_ndtr", "log_ndtr", "The logarithm of `ndtr`, exact at both ends")
ndtri = _special("ndtri", "ndtri", "The inverse of `ndtr`")


@operator("special.ndtr", module=False, method=False)
def ndtr(input: Tensor) -> Outcome:
    """The integral of the normal distribution's density up to input, elementwise. Same as torch.special.ndtr."""
    (node,) = tensor_nodes(input)
    node = node.cast(compute_dtype(input.dtype))
    made = unary(Op.ERFC, node * -(0.5**0.5)) * 0.5
    return Outcome("SpecialNdtrBackward0", made, (input,), (input,))


@operator("special.zeta", module=False, method=False, number_first=True)
def zeta(input: Operand, other: Operand) -> Outcome:
    """Hurwitz's zeta function, the sum of (other + k) ** -input over k from 0 on, elementwise; its gradient is that of other.

    For other < 0 it is NaN where input is not whole, but where it has a pole. Same as torch.special.zeta.
    """
    other = operand(other)
    dtype = compute_dtype(result_type(input, other))
    nodes, _, _ = elementwise_nodes("zeta", input, other, dtype=dtype)
    inputs = (as_input(input), as_input(other))
    return Outcome("SpecialZetaBackward0", composite.call("zeta", nodes), inputs, ("operands",))


def _refuse_gradient(gradient: Tensor) -> Tensor:
    raise NotImplementedError("the derivative for 'igamma: input' is not implemented.")


def _incomplete_gamma(name: str, input: Tensor, other: Tensor, upper: bool) -> Outcome:
    for position, (word, value) in enumerate((("input", input), ("other", other)), 1):
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name}(): argument '{word}' (position {position}) must be Tensor, not {type(value).__name__}"
            )
    dtype = result_type(input, other)
    if dtype.kind != "float":
        raise no_kernel(name, dtype)
    if input.requires_grad and grad_enabled():
        input = input.clone()
        input.register_hook(_refuse_gradient)
    nodes, _, _ = elementwise_nodes(name, input, other, dtype=dtype)
    made = composite.call("incomplete_gamma", nodes, upper=upper)
    return Outcome(f"{name.title()}Backward0", made, (input, other), ("operands",))


@operator("igamma", "special.gammainc", inplace=True)
def igamma(input: Tensor, other: Tensor) -> Outcome:
    """The lower incomplete gamma function: the integral of t ** (input - 1) exp(-t) up to other over the whole one, elementwise.

    Computed in float64. As in PyTorch there is a gradient of other alone.

    Raises:
        TypeError: an operand is no tensor. NotImplementedError: no operand is floating; (backward) a gradient of input is asked for.

    Same as torch.igamma.
    """
    return _incomplete_gamma("igamma", input, other, upper=False)


@operator("igammac", "special.gammaincc", inplace=True)
def igammac(input: Tensor, other: Tensor) -> Outcome:
    """The upper incomplete gamma function, 1 - igamma; see there. Same as torch.igammac."""
    return _incomplete_gamma("igammac", input, other, upper=True)


@operator("polygamma", module=False, inplace=True)
def _polygamma(input: Tensor, n: int) -> Outcome:
    """The nth derivative of digamma, elementwise. Same as torch.Tensor.polygamma."""
    order = integer("polygamma", "n", n)
    if order < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    (node,) = tensor_nodes(input)
    node = node.cast(compute_dtype(input.dtype))
    if order:
        node = composite.call("polygamma", [node], like=node, n=order)
    else:
        node = unary(Op.DIGAMMA, node)
    return Outcome("PolygammaBackward0", node, (input,), (input,))


@function("special.polygamma", method=False)
def polygamma(n: int, input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The nth derivative of digamma, elementwise; n is not negative.

    Raises:
        RuntimeError: n is negative. Same as torch.polygamma.
    """
    return _polygamma(input, n) if out is None else _polygamma(input, n, out=out)  # type: ignore[call-arg]


FUNCTIONS["polygamma"] = polygamma


@operator("mvlgamma", "special.multigammaln", inplace=True)
def mvlgamma(input: Tensor, p: int) -> Outcome:
    """The logarithm of the multivariate gamma function in p dimensions, elementwise.

    Raises:
        RuntimeError: p is less than 1; bool. Same as torch.mvlgamma.
    """
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    if input.dtype is bool_:
        raise no_kernel("mvlgamma", bool_)
    (node,) = tensor_nodes(input)
    node = node.cast(compute_dtype(input.dtype))
    wide = accumulation(node.dtype)
    total = unary(Op.LGAMMA, node).cast(wide)
    for step in range(1, p):
        total = total + unary(Op.LGAMMA, node - 0.5 * step).cast(wide)
    made = total.cast(node.dtype) + p * (p - 1) / 4 * math.log(math.pi)
    return Outcome("MvlgammaBackward0", made, (input,), (input,))


_SHARED = (
    "digamma", "erf", "erfc", "erfinv", "exp2", "expm1", "i0", "log1p", "log_softmax", "logit", "logsumexp", "round", "sinc", "softmax", "xlogy",
)  # fmt: skip
SPECIAL_FUNCTIONS.update(
    {
        short: FUNCTIONS[name]
        for short, name in {
            **{name: name for name in _SHARED},
            "expit": "sigmoid",
            "gammaln": "lgamma",
            "psi": "digamma",
        }.items()
    }
)
