"""In-place writes that are no arithmetic: copy_, fill_, zero_, and the in-place views (t_, unsqueeze_, ...)."""

from __future__ import annotations

from typing import Any

from ..ir.build import copy as copy_node
from ..ir.node import constant
from ..results import result_inplace, tensor_nodes, view_inplace
from ..tensor import Tensor
from .arguments import as_number, broadcast_shapes, check_number, describe_operands, sizes_text
from .registry import Outcome, function, method, operator
from .shaping import insertion, removal, swap, transposition


@method("copy_")
def copy_(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Replace the elements by those of another tensor, broadcast and cast, from any device.

    Raises:
        RuntimeError: the shapes do not broadcast to this one.

    Same as torch.Tensor.copy_.
    """
    if not isinstance(src, Tensor):
        raise TypeError(
            f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}"
        )
    shape = tuple(self.shape)
    try:
        if broadcast_shapes("copy_", shape, tuple(src.shape)) != shape:
            raise RuntimeError(
                f"copy_: output with shape {sizes_text(shape)} doesn't match the broadcast shape {sizes_text(src.shape)}"
            )
    except RuntimeError as error:
        raise RuntimeError(f"{error}{describe_operands(self=self, src=src)}") from None
    (node,) = tensor_nodes(src)
    node = copy_node(node.cast(self.dtype), self.place)
    extra = len(node.shape) - len(shape)
    if extra > 0:
        node = node.reshape(node.shape[extra:])
    return result_inplace("CopyBackwards", self, node.expand(shape), (self, src), ())


@function("fill_")
def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to a number, or to the value of a 0-d tensor.

    Raises:
        RuntimeError: a tensor with dimensions; a number that does not fit the dtype.

    Same as torch.Tensor.fill_.
    """
    shape = tuple(self.shape)
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions."
            )
        (node,) = tensor_nodes(value)
        node = copy_node(node.cast(self.dtype), self.place).expand(shape)
        return result_inplace("FillBackward3", self, node, (self, value), ())
    number = as_number(value)
    check_number("fill_", number, self.dtype)
    return result_inplace(
        "FillBackward2", self, constant(number, self.dtype, shape, self.place), (self,), ()
    )


@operator("fill", method=False)
def fill(input: Tensor, value: Any) -> Outcome:
    """A tensor like `input` with a number, or the value of a 0-d tensor, in every element. Same as torch.fill."""
    shape = tuple(input.shape)
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"fill only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions."
            )
        (node,) = tensor_nodes(value)
        node = copy_node(node.cast(input.dtype), input.place).expand(shape)
        return Outcome("FillBackward1", node, (input, value))
    number = as_number(value)
    check_number("fill", number, input.dtype)
    node = constant(number, input.dtype, shape, input.place)
    return Outcome("FillBackward0", node, (input,))


@function("zero_")
def zero_(self: Tensor) -> Tensor:
    """Set every element to 0. Same as torch.Tensor.zero_."""
    node = constant(0, self.dtype, tuple(self.shape), self.place)
    return result_inplace("ZeroBackward0", self, node, (self,), ())


# --- in-place views: the tensor itself lies in its memory in another way; earlier views of it stay as they were


@method("squeeze_")
def squeeze_(self: Tensor, dim: Any = None) -> Tensor:
    """The in-place form of `squeeze`: the tensor loses axes of size 1. Same as torch.Tensor.squeeze_."""
    kind = 3 if dim is None else 4 if isinstance(dim, int) else 5
    return view_inplace(f"SqueezeBackward{kind}", self, removal(self, dim))


@method("unsqueeze_")
def unsqueeze_(self: Tensor, dim: int) -> Tensor:
    """The in-place form of `unsqueeze`: the tensor gains an axis of size 1. Same as torch.Tensor.unsqueeze_."""
    return view_inplace("UnsqueezeBackward1", self, insertion(self, dim))


@method("transpose_", "swapaxes_", "swapdims_")
def transpose_(self: Tensor, dim0: int, dim1: int) -> Tensor:
    """The in-place form of `transpose`: two axes of the tensor change places. Same as torch.Tensor.transpose_."""
    return view_inplace("TransposeBackward1", self, swap(self, dim0, dim1))


@method("t_")
def t_(self: Tensor) -> Tensor:
    """The in-place form of `t`. Same as torch.Tensor.t_."""
    return view_inplace("TBackward1", self, transposition(self))
