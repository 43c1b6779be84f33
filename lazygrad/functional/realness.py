"""What PyTorch has for complex numbers, on the real numbers that all tensors here are: conj, real, angle, adjoint, isreal, ...

In: real tensors. Out: the tensor itself where conjugating changes nothing. What needs or makes complex numbers says that there are none.
"""

from __future__ import annotations

import math
from typing import Any

from ..ir.node import constant, where
from ..results import tensor_nodes
from ..tensor import Tensor
from .arguments import compute_dtype
from .registry import METHODS, Outcome, function, method, operator
from .shaping import transpose


@function("conj_physical", out=True)
def conj_physical(input: Tensor) -> Tensor:
    """The tensor itself, as its elements are real. Same as torch.conj_physical."""
    return input


@function("conj", "resolve_conj", "resolve_neg")
def conj(input: Tensor) -> Tensor:
    """The tensor itself, as its elements are real. Same as torch.conj."""
    return input


@method("conj_physical_")
def conj_physical_(self: Tensor) -> Tensor:
    """The tensor itself. Same as torch.Tensor.conj_physical_."""
    return self


@function("real", method=False)
def real(input: Tensor) -> Tensor:
    """The tensor itself, as its elements are real. Same as torch.real."""
    return input


@function("imag", method=False)
def imag(input: Tensor) -> Tensor:
    """Not there for real elements.

    Raises:
        RuntimeError: always. Same as torch.imag.
    """
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")


def _set_real(self: Tensor, value: Any) -> None:
    self.copy_(value)


METHODS["real"] = property(real, _set_real, doc=real.__doc__)  # type: ignore[assignment]
METHODS["imag"] = property(imag, doc=imag.__doc__)  # type: ignore[assignment]


@function("is_conj", "is_neg")
def is_conj(input: Tensor) -> bool:
    """False: nothing is conjugated or negated when it is read. Same as torch.is_conj."""
    return False


@function("isreal")
def isreal(input: Tensor) -> Tensor:
    """True for every element. Same as torch.isreal."""
    from ..ir.dtype import bool_
    from .creation import ones_like

    return ones_like(input, dtype=bool_)


@operator("angle")
def angle(input: Tensor) -> Outcome:
    """0 for what is not negative (-0.0 neither), pi for what is, NaN for NaN; elementwise. Same as torch.angle."""
    (node,) = tensor_nodes(input)
    dtype = compute_dtype(input.dtype)
    node = node.cast(dtype)
    zero = constant(0.0, dtype, node.shape, node.place)
    made = where(node.lt(0.0), math.pi, zero)
    return Outcome("AngleBackward0", where(node.ne(node), node, made).stop(), (input,), (input,))


@function("adjoint")
def adjoint(input: Tensor) -> Tensor:
    """The last two axes swapped, a view. Same as torch.adjoint.

    Raises:
        RuntimeError: one axis.
    """
    if input.ndim == 1:
        raise RuntimeError(
            "tensor.adjoint() is only supported on matrices or batches of matrices. Got 1-D tensor."
        )
    return transpose(input, -2, -1) if input.ndim else input
