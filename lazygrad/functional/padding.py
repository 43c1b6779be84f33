"""Padding: elements before and after the others, constant or taken from them: mirrored, repeated, or from the other end.

In: a tensor and the amounts from the last axis on, two an axis; negative ones cut. Out: a tensor with the record of its operation.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.build import pad as pad_node
from ..ir.build import shrink, update
from ..ir.node import Node
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .arguments import Number, as_number, describe_operands, no_kernel, sizes_text
from .registry import NN_FUNCTIONS, function

_RECORDS = {"reflect": "ReflectionPad", "replicate": "ReplicationPad"}


def _amounts(pad: Sequence[int], rank: int) -> tuple[list[int], list[int]]:
    """The elements before and after, axis by axis."""
    before, after = [0] * rank, [0] * rank
    for position in range(len(pad) // 2):
        axis = rank - 1 - position
        before[axis], after[axis] = int(pad[2 * position]), int(pad[2 * position + 1])
    return before, after


def _sizes(node: Node) -> tuple[int, ...]:
    sizes: tuple[int, ...] = node.shape  # type: ignore[assignment]
    return sizes


@function("constant_pad_nd", method=False)
def constant_pad_nd(input: Tensor, pad: Sequence[int], value: Number = 0) -> Tensor:
    """Elements of `value` before and after, from the last axis on; negative amounts cut. Same as torch.constant_pad_nd."""
    rank = input.ndim
    if len(pad) % 2 or len(pad) // 2 > rank:
        raise RuntimeError(
            f"constant_pad_nd: Length of pad must be even and no more than twice the number of dimensions of the input: "
            f"{list(pad)} for {sizes_text(input.shape)}"
        )
    before, after = _amounts(pad, rank)
    (node,) = tensor_nodes(input)
    starts = [max(-each, 0) for each in before]
    shape = [n - s - max(-a, 0) for n, s, a in zip(_sizes(node), starts, after, strict=True)]
    if any(n < 0 for n in shape):
        raise RuntimeError(
            f"constant_pad_nd: the padding {list(pad)} gives a negative size for {sizes_text(input.shape)}"
        )
    made = shrink(node, starts, shape)
    made = pad_node(
        made, [max(b, 0) for b in before], [max(a, 0) for a in after], value=as_number(value)
    )
    return result("ConstantPadNdBackward0", made, (input,))


@function("nn.pad", module=False, method=False)
def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Elements before and after, from the last axis on.

    Args:
        pad: two amounts for each axis, the last axis first; negative ones cut. But for "constant" there are as many as spatial axes.
        mode: "constant" (`value`), "reflect" (mirrored, without the end), "replicate" (the end), "circular" (from the other end).
        value: for "constant" only; None is 0.

    Raises:
        RuntimeError: the amounts are odd in number, larger than the tensor has elements for, or leave nothing.
        NotImplementedError: an unknown mode; a number of axes that the mode is not made for.

    Same as torch.nn.functional.pad.
    """
    if len(pad) % 2:
        raise RuntimeError(f"pad: Padding length must be divisible by 2, got {list(pad)}")
    if len(pad) > 2 * input.ndim:
        raise RuntimeError(
            f"pad: Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} and input of dimension {input.ndim}"
        )
    if mode == "constant":
        return constant_pad_nd(input, pad, 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"pad: Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise RuntimeError(f'pad: Padding mode "{mode}" doesn\'t take in value argument')
    spatial = len(pad) // 2
    if not 1 <= spatial <= 3 or input.ndim not in (spatial + 1, spatial + 2):
        raise NotImplementedError(
            f"pad: Padding size {len(pad)} is not supported for {input.ndim}D input tensor. Only 2D, 3D, 4D and 5D padding "
            f"with non-constant padding are supported" + describe_operands(input=input)
        )
    if mode != "circular" and input.dtype.kind == "bool":
        raise no_kernel(f"{mode}_pad{spatial}d", input.dtype)
    if 0 in input.shape[input.ndim - spatial - 1 :] and mode != "circular":
        raise RuntimeError(
            f"pad: Expected {spatial + 1}D or {spatial + 2}D (batch mode) tensor with possibly 0 batch size and other "
            f"non-zero dimensions for input, but got: {sizes_text(input.shape)}"
        )
    (node,) = tensor_nodes(input)
    before, after = _amounts(pad, input.ndim)
    for axis in range(input.ndim - spatial, input.ndim):
        _check_amounts(mode, before[axis], after[axis], axis, input)
        node = _padded(node, mode, axis, before[axis], after[axis])
    record = "CopySlices" if mode == "circular" else f"{_RECORDS[mode]}{spatial}DBackward0"
    return result(record, node, (input,), (input,) if mode != "circular" else ())


def _check_amounts(mode: str, before: int, after: int, axis: int, input: Tensor) -> None:
    size = input.shape[axis]
    if mode == "reflect" and max(before, after) >= size:
        raise RuntimeError(
            f"pad: Padding size should be less than the corresponding input dimension, but got: padding "
            f"({before}, {after}) at dimension {axis} of input {sizes_text(input.shape)}"
        )
    if mode == "circular" and max(before, after) > size + min(before, 0) + min(after, 0):
        raise RuntimeError(
            f"pad: Padding value causes wrapping around more than once: ({before}, {after}) at dimension {axis} of input "
            f"{sizes_text(input.shape)}"
        )
    if size + before + after < (0 if mode == "circular" else 1):
        raise RuntimeError(
            f"pad: the padding ({before}, {after}) gives a negative or empty size at dimension {axis} of input "
            f"{sizes_text(input.shape)}"
        )


def _padded(node: Node, mode: str, axis: int, before: int, after: int) -> Node:
    """The node with elements of its own before and after along one axis."""
    if mode == "circular":  # what is cut does not come in again at the other end
        kept = _sizes(node)[axis] + min(before, 0) + min(after, 0)
        node = _part(node, axis, max(-before, 0), kept)
        before, after = max(before, 0), max(after, 0)
    size = _sizes(node)[axis]
    left, right = max(before, 0), max(after, 0)
    made = pad_node(node, _only(node, axis, left), _only(node, axis, right))
    for amount, place, first in ((left, 0, True), (right, left + size, False)):
        if not amount:
            continue
        if mode == "replicate":
            piece = _part(node, axis, 0 if first else size - 1, 1)
            shape = list(piece.shape)
            shape[axis] = amount
            piece = piece.expand(shape)
        elif mode == "reflect":
            piece = _part(node, axis, 1 if first else size - 1 - amount, amount).flip((axis,))
        else:
            piece = _part(node, axis, size - amount if first else 0, amount)
        made = update(made, piece, _only(node, axis, place))
    cut = max(-before, 0)
    return _part(made, axis, cut, size + left + right - cut - max(-after, 0))


def _only(node: Node, axis: int, value: int) -> tuple[int, ...]:
    """`value` for one axis, 0 for the others."""
    return tuple(value if a == axis else 0 for a in range(len(node.shape)))


def _part(node: Node, axis: int, start: int, size: int) -> Node:
    """`size` elements along one axis, from `start` on."""
    shape = list(node.shape)
    shape[axis] = size
    return shrink(node, _only(node, axis, start), shape)


NN_FUNCTIONS["pad"] = pad
