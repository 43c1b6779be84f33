"""Bessel's functions and Airy's Ai, elementwise: names of torch.special alone, which have no gradient there.

In: float32 and float64; integers and bool compute in the default float dtype. Out: what an operator computed. composites/bessel.py has the sums.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir import composite
from ..ir.args import Attribute
from ..ir.node import Node, unary, where
from ..ir.op import Op
from ..results import tensor_nodes
from ..tensor import Tensor
from .arguments import compute_dtype, no_kernel
from .registry import Outcome, operator


def _argument(name: str, input: Tensor) -> Node:
    """The values of `input` in the dtype that is computed in, without its history.

    Raises:
        NotImplementedError: a half type.
    """
    if input.dtype.kind == "float" and input.dtype.itemsize == 2:
        raise no_kernel(name, input.dtype)
    (node,) = tensor_nodes(input.detach())
    return node.cast(compute_dtype(input.dtype))


def _bessel(
    name: str, formula: str, body: str, **attributes: Attribute
) -> Callable[[Tensor], Tensor]:
    def build(input: Tensor) -> Outcome:
        node = _argument(name, input)
        return Outcome("NotImplemented", composite.call(body, [node], like=node, **attributes), ())

    build.__doc__ = (
        f"{formula}, elementwise; without a gradient.\n\n"
        f"Raises:\n    NotImplementedError: a half type. Same as torch.special.{name}."
    )
    return operator(f"special.{name}", module=False, method=False)(build)


FIRST, SECOND = "Bessel's function of the first kind of order", "Bessel's function of the second kind of order"  # fmt: skip
MODIFIED_FIRST, MODIFIED_SECOND = "Bessel's modified function of the first kind of order", "Bessel's modified function of the second kind of order"  # fmt: skip

bessel_j0 = _bessel("bessel_j0", f"{FIRST} 0", "bessel_j", order=0)
bessel_j1 = _bessel("bessel_j1", f"{FIRST} 1", "bessel_j", order=1)
bessel_y0 = _bessel("bessel_y0", f"{SECOND} 0: -inf at 0, NaN below", "bessel_y", order=0)
bessel_y1 = _bessel("bessel_y1", f"{SECOND} 1: -inf at 0, NaN below", "bessel_y", order=1)
modified_bessel_i0 = _bessel("modified_bessel_i0", f"{MODIFIED_FIRST} 0", "bessel_i", order=0, scaled=False)  # fmt: skip
modified_bessel_i1 = _bessel("modified_bessel_i1", f"{MODIFIED_FIRST} 1", "bessel_i", order=1, scaled=False)  # fmt: skip
modified_bessel_k0 = _bessel("modified_bessel_k0", f"{MODIFIED_SECOND} 0", "bessel_k", order=0, scaled=False)  # fmt: skip
modified_bessel_k1 = _bessel("modified_bessel_k1", f"{MODIFIED_SECOND} 1", "bessel_k", order=1, scaled=False)  # fmt: skip
scaled_modified_bessel_k0 = _bessel("scaled_modified_bessel_k0", "exp(input) * modified_bessel_k0(input)", "bessel_k", order=0, scaled=True)  # fmt: skip
scaled_modified_bessel_k1 = _bessel("scaled_modified_bessel_k1", "exp(input) * modified_bessel_k1(input)", "bessel_k", order=1, scaled=True)  # fmt: skip
airy_ai = _bessel("airy_ai", "Airy's function Ai", "airy_ai")


@operator("special.spherical_bessel_j0", module=False, method=False)
def spherical_bessel_j0(input: Tensor) -> Outcome:
    """sin(input) / input, 1 at 0 and 0 at infinities, elementwise; without a gradient.

    Raises:
        NotImplementedError: a half type. Same as torch.special.spherical_bessel_j0.
    """
    node = _argument("spherical_bessel_j0", input)
    size = unary(Op.ABS, node)
    inside = size.gt(0.0) & size.lt(float("inf"))
    known = where(inside, node, 1.0)
    beside = size.eq(0.0).cast(node.dtype)
    made = where(inside, unary(Op.SIN, known) / known, beside)
    return Outcome("NotImplemented", where(node.ne(node), node, made), ())
