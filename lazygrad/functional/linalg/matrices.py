"""What functions of linear algebra do with their arguments: checks of shapes and dtypes, batches that broadcast.

In: what the user passed. Out: nodes of float32 or float64 matrices, or an exception of PyTorch's type that begins with the function.
"""

from __future__ import annotations

from ...ir.dtype import DType
from ...ir.node import Node
from ...results import tensor_nodes
from ...tensor import Tensor
from ..arguments import broadcast_shapes, describe_operands, type_name


def require_matrices(name: str, tensor: Tensor, argument: str = "A") -> None:
    """Check that a tensor has the two axes of matrices.

    Raises:
        RuntimeError: it has fewer.
    """
    if tensor.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor {argument} must have at least 2 dimensions."
            + describe_operands(input=tensor)
        )


def require_square(name: str, tensor: Tensor, argument: str = "A") -> None:
    """Check that a tensor is square matrices.

    Raises:
        RuntimeError: it is not.
    """
    require_matrices(name, tensor, argument)
    rows, columns = tensor.shape[-2:]
    if rows != columns:
        raise RuntimeError(
            f"{name}: {argument} must be batches of square matrices, but they are {rows} by {columns} matrices"
            + describe_operands(input=tensor)
        )


def require_precision(name: str, tensor: Tensor, kernel: str = "", integers: bool = False) -> None:
    """Check that a tensor is float32 or float64.

    Args:
        kernel: PyTorch's name of what computes it, where that is what refuses half types, and with `integers` integers too.

    Raises:
        RuntimeError: it is not floating, or of a half type. NotImplementedError: where `kernel` refuses.
    """
    dtype = tensor.dtype
    if dtype.kind != "float" and not integers:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {type_name(dtype)}"
            + describe_operands(input=tensor)
        )
    if dtype.kind != "float" or dtype.itemsize == 2:
        if kernel:
            raise NotImplementedError(
                f"{name}: \"{kernel}\" not implemented for '{type_name(dtype)}'"
            )
        raise RuntimeError(
            f"{name}: Low precision dtypes not supported. Got {type_name(dtype)}"
            + describe_operands(input=tensor)
        )


def require_alike(
    name: str, left: Tensor, right: Tensor, names: tuple[str, str] = ("A", "B")
) -> None:
    """Check that two operands have one dtype.

    Raises:
        RuntimeError: they have not.
    """
    if left.dtype is not right.dtype:
        first, second = names
        raise RuntimeError(
            f"{name}: Expected {first} and {second} to have the same dtype, but found {first} of type "
            f"{type_name(left.dtype)} and {second} of type {type_name(right.dtype)} instead"
            + describe_operands(**{first: left, second: right})
        )


def matrix_node(tensor: Tensor) -> Node:
    (node,) = tensor_nodes(tensor)
    return node


def broadcast_batches(name: str, left: Node, right: Node) -> tuple[Node, Node]:
    """Two batches of matrices with one batch."""
    batch = broadcast_shapes(name, left.shape[:-2], right.shape[:-2])  # type: ignore[arg-type]
    return left.expand((*batch, *left.shape[-2:])), right.expand((*batch, *right.shape[-2:]))


def default_tolerance(dtype: DType) -> float:
    """The distance from 1 to the next number."""
    return {"float64": 2.0**-52, "float32": 2.0**-23}[dtype.name]
