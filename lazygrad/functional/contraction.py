"""The matmul family: mm, bmm, mv, dot, matmul in every rank, addmm, einsum, outer, tensordot, linear.

Every product is one contraction: operands moved so that equal axes meet, multiplied, and reduced. Half types multiply and
accumulate in float32. matmul composes the others exactly as PyTorch does, so that grad_fn shows the same names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..composites.contraction import contract as contract_labels
from ..ir.dtype import bool_
from ..ir.node import Node
from ..results import grad_enabled, result, tensor_nodes
from ..tensor import Tensor
from .arguments import (
    Number,
    as_number,
    broadcast_shapes,
    common_place,
    describe_operands,
    sizes_text,
    type_name,
)
from .arithmetic import saved_pair
from .registry import METHODS, Outcome, function, operator


def contract(equation: str, left: Node, right: Node) -> Node:
    """A contraction written as for einsum, "ik,kj->ij"."""
    operands, out = equation.split("->")
    left_labels, right_labels = operands.split(",")
    return contract_labels(left, right, left_labels, right_labels, out)


def _operands(
    name: str, left: Tensor, right: Tensor, beside: tuple[Tensor, ...] = ()
) -> tuple[Node, Node]:
    """The operands' nodes, once their dtypes and devices are known to agree."""
    for position, each in enumerate((left, right), 1):
        if not isinstance(each, Tensor):
            raise TypeError(
                f"{name}(): argument (position {position}) must be Tensor, not {type(each).__name__}"
            )
    if left.dtype is not right.dtype:
        raise RuntimeError(
            f"{name}: expected m1 and m2 to have the same dtype, but got: {_plain(left)} != {_plain(right)}"
            + describe_operands(left=left, right=right)
        )
    if left.dtype is bool_:
        raise NotImplementedError(f"{name}: \"addmm_impl_cpu_\" not implemented for 'Bool'")
    common_place(name, (left, right))
    first, second = tensor_nodes(left, right, beside=beside)
    return first, second


_PLAIN = {"Float": "float", "Double": "double", "Long": "long long", "Int": "int", "Half": "c10::Half", "BFloat16": "c10::BFloat16"}  # fmt: skip


def _plain(tensor: Tensor) -> str:
    name = type_name(tensor.dtype)
    return _PLAIN.get(name, name.lower())


def _require_rank(name: str, tensor: Tensor, rank: int, argument: str) -> None:
    if tensor.ndim != rank:
        word = {1: "a vector", 2: "a matrix", 3: "a 3D tensor"}[rank]
        raise RuntimeError(
            f"{name}: {argument} must be {word}, got {tensor.ndim}-D {sizes_text(tensor.shape)}"
            + describe_operands(**{argument: tensor})
        )


def _inner_error(
    name: str, left: Tensor, right: Tensor, inner: tuple[int, int], words: str
) -> RuntimeError:
    return RuntimeError(
        f"{name}: {words}: inner sizes differ: {tuple(left.shape)} @ {tuple(right.shape)} needs "
        f"{inner[0]} == {inner[1]}" + describe_operands(left=left, right=right)
    )


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _matrix_product(name: str, left: Tensor, right: Tensor) -> Node:
    """(n, k) @ (k, m)."""
    a, b = _operands(name, left, right)
    if a.shape[1] != b.shape[0]:
        words = (
            f"mat1 and mat2 shapes cannot be multiplied ({_by(left.shape)} and {_by(right.shape)})"
        )
        raise _inner_error(name, left, right, (left.shape[1], right.shape[0]), words)
    return contract("ik,kj->ij", a, b)


@operator("mm")
def mm(input: Tensor, mat2: Tensor) -> Outcome:
    """The product of two matrices, (n, k) @ (k, m) -> (n, m).

    Raises:
        RuntimeError: an operand is no matrix; the inner sizes or the dtypes differ.

    Same as torch.mm.
    """
    if isinstance(mat2, Tensor):
        _require_rank("mm", input, 2, "self")
        _require_rank("mm", mat2, 2, "mat2")
    return Outcome(
        "MmBackward0", _matrix_product("mm", input, mat2), (input, mat2), saved_pair(input, mat2)
    )


@operator("bmm")
def bmm(input: Tensor, mat2: Tensor) -> Outcome:
    """The products of a batch of matrices, (b, n, k) @ (b, k, m) -> (b, n, m). Same as torch.bmm."""
    a, b = _operands("bmm", input, mat2)
    _require_rank("bmm", input, 3, "batch1")
    _require_rank("bmm", mat2, 3, "batch2")
    if a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        expected = sizes_text((a.shape[0], a.shape[2]))
        words = (
            f"Expected size for first two dimensions of batch2 tensor to be: {expected} but got: "
            f"{sizes_text(b.shape[:2])}"
        )
        raise _inner_error("bmm", input, mat2, (input.shape[2], mat2.shape[1]), words)
    return Outcome(
        "BmmBackward0", contract("bik,bkj->bij", a, b), (input, mat2), saved_pair(input, mat2)
    )


@operator("mv")
def mv(input: Tensor, vec: Tensor) -> Outcome:
    """The product of a matrix and a vector, (n, k) @ (k,) -> (n,). Same as torch.mv."""
    a, b = _operands("mv", input, vec)
    _require_rank("mv", input, 2, "self")
    _require_rank("mv", vec, 1, "vec")
    if a.shape[1] != b.shape[0]:
        words = (
            f"size mismatch, got input ({a.shape[0]}), mat ({_by(input.shape)}), vec ({b.shape[0]})"
        )
        raise _inner_error("mv", input, vec, (input.shape[1], vec.shape[0]), words)
    return Outcome("MvBackward0", contract("ik,k->i", a, b), (input, vec), saved_pair(input, vec))


@operator("dot", "vdot")
def dot(input: Tensor, tensor: Tensor) -> Outcome:
    """The inner product of two vectors, (n,) . (n,) -> (). Same as torch.dot."""
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(
            f"dot: 1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors"
            + describe_operands(left=input, right=tensor)
        )
    a, b = _operands("dot", input, tensor)
    if a.shape != b.shape:
        words = (
            f"inconsistent tensor size, expected tensor {sizes_text(a.shape)} and src {sizes_text(b.shape)} to "
            "have the same number of elements"
        )
        raise _inner_error("dot", input, tensor, (input.shape[0], tensor.shape[0]), words)
    return Outcome(
        "DotBackward0", contract("k,k->", a, b), (input, tensor), saved_pair(input, tensor)
    )


# --- matmul


@function("matmul", dunder="matmul", out=True)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product in every rank: vectors, matrices, and batches whose leading axes broadcast.

    Args:
        input: (k,), (n, k) or (..., n, k); other: (k,), (k, m) or (..., k, m).

    Raises:
        RuntimeError: a 0-d operand; inner sizes differ; batches do not broadcast; dtypes differ.

    Same as torch.matmul.
    """
    from .shaping import contiguous, t, transpose, unsqueeze

    _operands("matmul", input, other)
    left, right = input.ndim, other.ndim
    if left == 2 and right == 2 and input.shape[1] == other.shape[0]:
        return mm(input, other)
    if left == 0 or right == 0:
        raise RuntimeError(
            f"matmul: both arguments to matmul need to be at least 1D, but they are {left}D and {right}D"
            + describe_operands(left=input, right=other)
        )
    if left == 1 and right == 1:
        return dot(input, other)
    if left == 2 and right == 1:
        return mv(input, other)
    inner = int(input.shape[-1]), int(other.shape[-2 if right > 1 else 0])
    if inner[0] != inner[1]:
        words = f"mat1 and mat2 shapes cannot be multiplied ({_folded(input)} and {_folded(other)})"
        if left > 2 and right > 2:
            words = "Expected size for first two dimensions of batch2 tensor to match"
        raise _inner_error("matmul", input, other, inner, words)
    if left == 1 and right == 2:
        product = mm(unsqueeze(input, 0), other)
        return _named_squeeze(product)
    if left >= 3 and right <= 2:
        return _fold(input, other, tuple(input.shape[:-1]))
    if right >= 3 and left <= 2:
        moved = transpose(other, -1, -2)
        if left == 1:
            return _fold(moved, input, tuple(moved.shape[:-1]))
        folded = _fold(moved, t(input), tuple(moved.shape[:-1]))
        swapped = transpose(folded, -1, -2)
        return contiguous(swapped)
    return _batched(input, other)


def _folded(tensor: Tensor) -> str:
    if tensor.ndim <= 2:
        return _by(tuple(tensor.shape) if tensor.ndim == 2 else (1, *tensor.shape))
    return _by((math.prod(tensor.shape[:-1]), tensor.shape[-1]))


def _named_squeeze(product: Tensor) -> Tensor:
    """(1, m) -> (m,), recorded as PyTorch's unsafe squeeze."""
    (node,) = tensor_nodes(product)
    return result("SqueezeBackward4", node.reshape(node.shape[1:]), (product,))


def _fold(left: Tensor, right: Tensor, lead: tuple[int, ...]) -> Tensor:
    """A batch times one matrix or vector: the batch's axes become rows of one product."""
    from .shaping import reshape, unsafe_view

    flat = reshape(left, (math.prod(lead), int(left.shape[-1])))
    if right.ndim == 1:
        return unsafe_view(mv(flat, right), lead)
    return unsafe_view(mm(flat, right), (*lead, int(right.shape[-1])))


def _batched(left: Tensor, right: Tensor) -> Tensor:
    from .shaping import expand, reshape, unsafe_view

    try:
        batch = broadcast_shapes("matmul", tuple(left.shape[:-2]), tuple(right.shape[:-2]))
    except RuntimeError as error:
        raise RuntimeError(f"{error}{describe_operands(left=left, right=right)}") from None
    n, k, m = int(left.shape[-2]), int(left.shape[-1]), int(right.shape[-1])
    flat = math.prod(batch)
    if left.ndim > 3 or tuple(left.shape[:-2]) != batch:
        left = reshape(expand(left, (*batch, n, k)), (flat, n, k))
    if right.ndim > 3 or tuple(right.shape[:-2]) != batch:
        right = reshape(expand(right, (*batch, k, m)), (flat, k, m))
    return unsafe_view(bmm(left, right), (*batch, n, m))


METHODS["__rmatmul__"] = lambda self, other: matmul(other, self)


# --- a product onto a base


def _onto(base: Node, product: Node, beta: Number, alpha: Number, name: str, tensors: Any) -> Node:
    if alpha != 1:
        product = product * alpha
    try:
        broadcast_shapes(name, base.shape, product.shape)  # type: ignore[arg-type]
        base = base.expand(product.shape) if base.shape != product.shape else base
        if len(base.shape) != len(product.shape):
            raise RuntimeError("")
    except RuntimeError:
        raise RuntimeError(
            f"{name}: The expanded size of the tensor must match the existing size: {sizes_text(base.shape)} "
            f"does not expand to {sizes_text(product.shape)}" + describe_operands(operand=tensors)
        ) from None
    if beta == 0:
        return product  # NaN and inf of the base do not pass, as in PyTorch
    return (base if beta == 1 else base * beta) + product


def _accumulate(
    name: str, grad_name: str, equation: str, input: Tensor, left: Tensor, right: Tensor, beta: Number, alpha: Number
) -> Outcome:  # fmt: skip
    ranks = {"ik,kj->ij": (2, 2), "ik,k->i": (2, 1)}.get(equation, (3, 3))
    for tensor, rank, argument in ((left, ranks[0], "mat1"), (right, ranks[1], "mat2")):
        _require_rank(name, tensor, rank, argument)
    a, b = _operands(name, left, right, (input,))
    if input.dtype is not left.dtype:
        raise RuntimeError(
            f"{name}: self and mat2 must have the same dtype, but got {type_name(input.dtype)} and "
            f"{type_name(left.dtype)}" + describe_operands(input=input, mat1=left)
        )
    right_inner = right.shape[0 if ranks[1] < 3 else 1]
    if left.shape[-1] != right_inner or (ranks[0] == 3 and left.shape[0] != right.shape[0]):
        words = (
            f"mat1 and mat2 shapes cannot be multiplied ({_by(left.shape)} and {_by(right.shape)})"
        )
        raise _inner_error(name, left, right, (left.shape[-1], right_inner), words)
    (base,) = tensor_nodes(input, beside=(left, right))
    node = _onto(
        base,
        contract(equation, a, b),
        as_number(beta),
        as_number(alpha),
        name,
        [input, left, right],
    )
    return Outcome(grad_name, node, (input, left, right), saved_pair(left, right))


@operator("addmm", inplace=True)
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Outcome:
    """beta * input + alpha * (mat1 @ mat2), with input expanded to (n, m). Same as torch.addmm."""
    return _accumulate("addmm", "AddmmBackward0", "ik,kj->ij", input, mat1, mat2, beta, alpha)


@operator("addmv", inplace=True)
def addmv(
    input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Outcome:
    """beta * input + alpha * (mat @ vec). Same as torch.addmv."""
    return _accumulate("addmv", "AddmvBackward0", "ik,k->i", input, mat, vec, beta, alpha)


@operator("baddbmm", inplace=True)
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Outcome:
    """beta * input + alpha * (batch1 @ batch2), for each of the batch. Same as torch.baddbmm."""
    return _accumulate(
        "baddbmm", "BaddbmmBackward0", "bik,bkj->bij", input, batch1, batch2, beta, alpha
    )


@operator("addbmm", inplace=True)
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Outcome:
    """beta * input + alpha * the sum of (batch1 @ batch2) over the batch. Same as torch.addbmm."""
    return _accumulate(
        "addbmm", "AddbmmBackward0", "bik,bkj->ij", input, batch1, batch2, beta, alpha
    )


@operator("addr", inplace=True)
def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Outcome:
    """beta * input + alpha * the outer product of two vectors. Same as torch.addr."""
    from .arguments import result_type

    _require_rank("addr", vec1, 1, "vec1")
    _require_rank("addr", vec2, 1, "vec2")
    dtype = result_type(input, vec1, vec2)
    common_place("addr", (input, vec1, vec2))
    base, first, second = (node.cast(dtype) for node in tensor_nodes(input, vec1, vec2))
    shape = (*first.shape, *second.shape)
    outer = first.reshape((*first.shape, 1)).expand(shape) * second.expand(shape)
    node = _onto(base, outer, as_number(beta), as_number(alpha), "addr", [input, vec1, vec2])
    return Outcome("AddrBackward0", node, (input, vec1, vec2), saved_pair(vec1, vec2))


def _unrecorded(input: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Whether these are rows, a matrix and a row that fit, and nobody records what is done with them: no views are needed then."""
    if grad_enabled() and (input.requires_grad or weight.requires_grad or bias.requires_grad):
        return False
    same = input.dtype is weight.dtype is bias.dtype and input.dtype.kind == "float"
    return same and input.ndim >= 1 and weight.ndim == 2 and tuple(bias.shape) == (weight.shape[0],)


@operator("linear.affine", module=False, method=False)
def _affine(input: Tensor, weight: Tensor, bias: Tensor) -> Outcome:
    """input @ weight.T + bias, of rows, a matrix and a row."""
    common_place("linear", (input, weight, bias))
    left, right, row = tensor_nodes(input, weight, bias)
    rows = left.reshape((math.prod(input.shape[:-1]), left.shape[-1]))
    product = contract("ik,jk->ij", rows, right)
    sums = (row.expand(product.shape) + product).reshape((*left.shape[:-1], right.shape[0]))
    return Outcome("AddmmBackward0", sums, (input, weight, bias))


@function("linear", module=False, method=False, nn=True, out=True)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias.

    Args:
        input: (..., in); weight: (out, in) or (in,); bias: (out,) or ().

    Raises:
        RuntimeError: the inner sizes or the dtypes differ.

    Same as torch.nn.functional.linear.
    """
    from .shaping import reshape, t, view

    if weight.ndim == 2 and input.ndim >= 1 and input.shape[-1] != weight.shape[1]:
        words = f"mat1 and mat2 shapes cannot be multiplied ({_folded(input)} and {weight.shape[1]}x{weight.shape[0]})"
        raise _inner_error(
            "linear", input, weight, (int(input.shape[-1]), int(weight.shape[1])), words
        )
    if bias is not None and _unrecorded(input, weight, bias):
        return _affine(input, weight, bias)
    turned = t(weight)
    if bias is None:
        return matmul(input, turned)
    if input.ndim == 2 and weight.ndim == 2:
        return addmm(bias, input, turned)
    if weight.ndim == 2 and input.ndim in (1, 3):
        flat = reshape(input, (math.prod(input.shape[:-1]), int(input.shape[-1])))
        return view(addmm(bias, flat, turned), (*input.shape[:-1], int(weight.shape[0])))
    from .arithmetic import add

    return add(matmul(input, turned), bias)


@function("outer", "ger", out=True)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The product of every pair of elements, (n,) and (m,) -> (n, m). Same as torch.outer."""
    from .arithmetic import mul
    from .shaping import view

    _require_rank("outer", input, 1, "self")
    _require_rank("outer", vec2, 1, "vec2")
    return mul(view(input, (input.shape[0], 1)), vec2)


@function("inner", out=True)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sum of products over the last axis of both. Same as torch.inner."""
    from .arithmetic import mul

    if not input.ndim or not other.ndim:
        return mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        words = "the size of tensor a must match the size of tensor b at the last dimension"
        raise _inner_error(
            "inner", input, other, (int(input.shape[-1]), int(other.shape[-1])), words
        )
    return tensordot(input, other, ([-1], [-1]))


@function("tensordot", method=False, out=True)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over several axes.

    Args:
        dims: how many last axes of `a` meet how many first axes of `b`, or the two lists of axes.

    Raises:
        RuntimeError: sizes of axes that meet differ.

    Same as torch.tensordot.
    """
    from . import arguments
    from .shaping import permute, reshape, view

    if isinstance(dims, int):
        left = tuple(range(a.ndim - dims, a.ndim))
        right = tuple(range(dims))
    else:
        left = tuple(arguments.axis(d, a.ndim, "tensordot") for d in dims[0])
        right = tuple(arguments.axis(d, b.ndim, "tensordot") for d in dims[1])
    if len(left) == len(right):  # an axis of size 1 broadcasts: what meets it is summed
        b = _summed(b, [j for i, j in zip(left, right, strict=True) if a.shape[i] == 1])
        a = _summed(a, [i for i, j in zip(left, right, strict=True) if b.shape[j] == 1])
    if [a.shape[i] for i in left] != [b.shape[i] for i in right]:
        raise RuntimeError(
            f"tensordot: contracted dimensions need to match, but first has {[a.shape[i] for i in left]} and second "
            f"has {[b.shape[i] for i in right]}" + describe_operands(a=a, b=b)
        )
    free_left = [i for i in range(a.ndim) if i not in left]
    free_right = [i for i in range(b.ndim) if i not in right]
    size = math.prod(int(a.shape[i]) for i in left)
    shape = tuple(a.shape[i] for i in free_left) + tuple(b.shape[i] for i in free_right)
    rows = math.prod(int(a.shape[i]) for i in free_left)
    columns = math.prod(int(b.shape[i]) for i in free_right)
    flat_left = reshape(permute(a, (*free_left, *left)), (rows, size))
    flat_right = reshape(permute(b, (*right, *free_right)), (size, columns))
    return view(mm(flat_left, flat_right), shape)


def _summed(input: Tensor, axes: list[int]) -> Tensor:
    """The sum over those of the axes that have more than one element, which keep size 1."""
    wide = [axis for axis in axes if input.shape[axis] != 1]
    return input.sum(wide, keepdim=True, dtype=input.dtype) if wide else input


@function("einsum", method=False)
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Einstein's summation: "ij,jk->ik" multiplies matrices; "..." stands for axes that broadcast.

    Args:
        equation: as above; or the first operand, and behind each operand the numbers of its axes (0 to 51, or Ellipsis), those of the
            result at the end if they are not to be told: einsum(a, [0, 1], b, [1, 2], [0, 2]).

    Raises:
        RuntimeError: the equation does not fit the operands.

    Same as torch.einsum.
    """
    from .equations import summation, written

    if isinstance(equation, Tensor):
        equation, operands = written((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    return summation(equation, operands)
