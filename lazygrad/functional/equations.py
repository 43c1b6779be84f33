"""einsum: an equation becomes contractions of two operands at a time, from the left."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters, ascii_lowercase, ascii_uppercase
from typing import Any

from ..composites.contraction import contract
from ..ir.build import gather
from ..ir.dtype import int64
from ..ir.node import Node, iota
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .arguments import describe_operands
from .registry import Outcome

Labels = tuple[str | int, ...]
"""One label for each axis: a letter, or for an axis of the ellipsis its distance from the end, negative."""


def summation(equation: str, operands: Sequence[Tensor]) -> Tensor:
    """The sum of products that `equation` says.

    Raises:
        RuntimeError: it does not fit the operands.
    """
    terms, out = _parse(equation, operands)
    nodes = list(tensor_nodes(*operands))
    sizes: dict[str | int, int] = {}
    for position, labels in enumerate(terms):
        for label, size in zip(labels, operands[position].shape, strict=True):
            known = sizes.get(label, 1)
            if known not in (1, size) and size != 1:
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {size} for operand {position} which does not broadcast "
                    f"with previously seen size {known}" + describe_operands(operand=list(operands))
                )
            sizes[label] = max(known, size) if known == 1 and size != 1 else known
    prepared = [_without_repeats(node, labels) for node, labels in zip(nodes, terms, strict=True)]
    node, labels = prepared[0]
    for position, (other, other_labels) in enumerate(prepared[1:], 1):
        later = {label for _, each in prepared[position + 1 :] for label in each} | set(out)
        kept = tuple(dict.fromkeys(each for each in (*labels, *other_labels) if each in later))
        if node.dtype.kind != "float" and (set(labels) ^ set(other_labels)) - set(kept):
            node, other = node.cast(int64), other.cast(int64)  # sums of one operand's own axes
        node = contract(node, other, labels, other_labels, kept)
        labels = kept
    summed = [axis for axis, label in enumerate(labels) if label not in out]
    if summed and len(nodes) == 1 and node.dtype.kind != "float":
        node = node.cast(int64)
    node = node.sum(summed).reshape([n for axis, n in enumerate(node.shape) if axis not in summed])
    labels = tuple(label for label in labels if label in out)
    node = node.permute([labels.index(label) for label in out])
    outcome = Outcome("ViewBackward0", node, tuple(operands), tuple(operands))
    return result(*outcome)


def _parse(equation: str, operands: Sequence[Tensor]) -> tuple[list[Labels], Labels]:
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    words = left.split(",")
    if len(words) != len(operands):
        raise RuntimeError(
            f"einsum(): {'more' if len(words) < len(operands) else 'fewer'} operands were provided than specified in "
            f"the equation: {equation!r} with {len(operands)} operands"
        )
    terms = [
        _labels(word, tensor.ndim, position)
        for position, (word, tensor) in enumerate(zip(words, operands, strict=True))
    ]
    ellipsis = sorted({label for term in terms for label in term if isinstance(label, int)})
    if arrow:
        if "..." in right:
            before, after = right.split("...")
            out: Labels = (*before, *ellipsis, *after)
        else:
            out = tuple(right)
        known = {label for term in terms for label in term}
        for label in out:
            if label not in known:
                raise RuntimeError(
                    f"einsum(): output subscript {label} does not appear in the equation for any input operand"
                )
            if out.count(label) > 1:
                raise RuntimeError(
                    f"einsum(): output subscript {label} appears more than once in the output"
                )
    else:
        letters = [label for term in terms for label in term if isinstance(label, str)]
        out = (*ellipsis, *sorted(label for label in set(letters) if letters.count(label) == 1))
    return terms, out


def _labels(word: str, rank: int, position: int) -> Labels:
    if "..." in word:
        before, after = word.split("...")
        hidden = rank - len(before) - len(after)
        if hidden < 0:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(word) - 3}) is more than the number of dimensions ({rank}) for operand {position}"
            )
        labels: Labels = (*before, *range(-hidden, 0), *after)
    else:
        labels = tuple(word)
        if len(labels) != rank:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(labels)}) does not match the number of "
                f"dimensions ({rank}) for operand {position} and no ellipsis was given"
            )
    for label in labels:
        if isinstance(label, str) and not label.isalpha():
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {word.index(label)} in the equation string, subscripts must be in [a-zA-Z]"
            )
    return labels


def _without_repeats(node: Node, labels: Labels) -> tuple[Node, Labels]:
    """The diagonal over axes that have one label."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            node = diagonal_node(node, first, second)
            labels = (*labels[:second], *labels[second + 1 :])
    return node, labels


def diagonal_node(node: Node, first: int, second: int) -> Node:
    """The elements where two axes of one size have equal indices; the first of them stays."""
    size = node.shape[first]
    shape = tuple(1 if axis == second else n for axis, n in enumerate(node.shape))
    place = [size if axis == first else 1 for axis in range(len(shape))]
    index = iota(size, int64, node.place).reshape(place).expand(shape)
    found = gather(node, index, second)
    return found.reshape([n for axis, n in enumerate(found.shape) if axis != second])


def written(arguments: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The equation, and the operands, of operands and lists of axes in turn.

    Raises:
        RuntimeError: the number of an axis is not in [0, 52).
    """
    operands, lists = arguments[0::2], list(arguments[1::2])
    told = len(arguments) % 2 == 1
    if told:
        operands, lists = arguments[:-1:2], [*lists, arguments[-1]]

    def letters(axes: Any) -> str:
        text = ""
        for each in axes:
            if each is Ellipsis:
                text += "..."
            elif not 0 <= each < len(ascii_letters):
                raise RuntimeError(
                    f"einsum(): not within the valid range [0, 52): {each} is the subscript of an operand"
                )
            else:
                text += (ascii_uppercase + ascii_lowercase)[each]
        return text

    texts = [letters(each) for each in lists]
    inputs = texts[:-1] if told else texts
    return ",".join(inputs) + ("->" + texts[-1] if told else ""), operands
