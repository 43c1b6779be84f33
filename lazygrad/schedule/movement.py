"""Simplification rules of movement: chains become one step, inverses cancel, and EXPAND moves outwards past what it repeats.

A movement of a number is that number in another shape, a movement of an IOTA is mostly an IOTA of another shape.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.args import Axes, Axis, Padding, Region, Windows
from ..ir.build import pad, shrink
from ..ir.dim import Size
from ..ir.node import Node, Shape
from ..ir.op import Op
from .algebra import EVERY_ELEMENTWISE, SIMPLIFY, filled

NUMBERS = (Op.CONST, Op.ARGUMENT)


def refilled(node: Node, shape: Sequence[Size]) -> Node:
    """A CONST or ARGUMENT in another shape."""
    return Node(node.op, (), node.dtype, tuple(shape), node.arg, node.place, node.site)


def ones(rank: int) -> tuple[int, ...]:
    return (1,) * rank


def padded(shape: Shape, rank: int) -> Shape:
    """The shape with leading ones, as broadcasting reads it."""
    return ones(rank - len(shape)) + shape


# --- numbers and nothing


@SIMPLIFY.rule(
    *EVERY_ELEMENTWISE, Op.SCAN, Op.SORT, Op.RESHAPE, Op.PERMUTE, Op.EXPAND, Op.SHRINK, Op.FLIP, Op.WINDOW, Op.GATHER, Op.SCATTER, Op.UPDATE,
    Op.REDUCE, Op.FOLD, Op.STOP, Op.COPY, Op.PAD, Op.IOTA,
)  # fmt: skip
def nothing(node: Node) -> Node | None:
    """There are no elements to compute."""
    return filled(node, 0) if 0 in node.shape else None


@SIMPLIFY.rule(Op.RESHAPE, Op.PERMUTE, Op.EXPAND, Op.SHRINK, Op.FLIP, Op.WINDOW)
def move_number(node: Node) -> Node | None:
    return refilled(node.src[0], node.shape) if node.src[0].op in NUMBERS else None


@SIMPLIFY.rule(Op.PAD)
def pad_number(node: Node) -> Node | None:
    """Padding with the value that is there already, or of nothing."""
    assert isinstance(node.arg, Padding)
    source = node.src[0]
    if 0 in source.shape or (source.op is Op.CONST and source.arg == node.arg.value):
        return filled(node, node.arg.value.value)
    return None


@SIMPLIFY.rule(Op.STOP)
def stop(node: Node) -> Node:
    """Gradients are expanded: nothing is left to stop."""
    return node.src[0]


@SIMPLIFY.rule(Op.COPY)
def copy_to_itself(node: Node) -> Node | None:
    return node.src[0] if node.src[0].place == node.place else None


# --- the index along an axis


@SIMPLIFY.rule(Op.RESHAPE, Op.PERMUTE, Op.EXPAND)
def move_iota(node: Node) -> Node | None:
    source = node.src[0]
    if source.op is not Op.IOTA:
        return None
    assert isinstance(source.arg, Axis)
    axis = source.arg.axis
    if node.op is Op.PERMUTE:
        assert isinstance(node.arg, Axes)
        axis = node.arg.axes.index(axis)
    elif node.op is Op.EXPAND:
        axis += len(node.shape) - len(source.shape)
        if node.shape[axis] != source.shape[source.arg.axis]:
            return None
    else:
        length = source.shape[axis]
        found = _unit_reshape(source.shape, node.shape)
        if found is None or length == 1:
            return None
        axis = found[axis]
    return _iota(source, node.shape, axis)


def _iota(like: Node, shape: Sequence[Size], axis: int) -> Node:
    return Node(Op.IOTA, (), like.dtype, tuple(shape), Axis(axis), like.place, like.site)


@SIMPLIFY.rule(Op.IOTA)
def single_index(node: Node) -> Node | None:
    assert isinstance(node.arg, Axis)
    return filled(node, 0) if node.shape[node.arg.axis] == 1 else None


@SIMPLIFY.rule(Op.SHRINK)
def shrink_iota(node: Node) -> Node | None:
    source = node.src[0]
    if source.op is not Op.IOTA:
        return None
    assert isinstance(source.arg, Axis) and isinstance(node.arg, Region)
    axis = source.arg.axis
    start, step = node.arg.starts[axis], node.arg.steps[axis]
    if not isinstance(start, int):
        return None
    return _iota(source, node.shape, axis) * step + start


@SIMPLIFY.rule(Op.FLIP)
def flip_iota(node: Node) -> Node | None:
    source = node.src[0]
    if source.op is not Op.IOTA:
        return None
    assert isinstance(source.arg, Axis) and isinstance(node.arg, Axes)
    size = source.shape[source.arg.axis]
    if source.arg.axis not in node.arg.axes:
        return source
    return (size - 1) - source if isinstance(size, int) else None


# --- chains of one kind


@SIMPLIFY.rule(Op.RESHAPE, Op.EXPAND, Op.SHRINK, Op.PAD, Op.UPDATE)
def same_shape(node: Node) -> Node | None:
    if node.op is Op.UPDATE:
        return node.src[1] if node.src[1].shape == node.shape else None
    return node.src[0] if node.src[0].shape == node.shape else None


@SIMPLIFY.rule(Op.RESHAPE)
def reshape_chain(node: Node) -> Node | None:
    source = node.src[0]
    return source.src[0].reshape(node.shape) if source.op is Op.RESHAPE else None


@SIMPLIFY.rule(Op.EXPAND)
def expand_chain(node: Node) -> Node | None:
    source = node.src[0]
    return source.src[0].expand(node.shape) if source.op is Op.EXPAND else None


@SIMPLIFY.rule(Op.EXPAND)
def expand_reshape(node: Node) -> Node | None:
    """A reshape that only takes away or adds leading ones: EXPAND adds them itself."""
    source = node.src[0]
    if source.op is not Op.RESHAPE:
        return None
    inner, rank = source.src[0], len(node.shape)
    if len(inner.shape) > rank or padded(inner.shape, rank) != padded(source.shape, rank):
        return None
    return inner.expand(node.shape)


@SIMPLIFY.rule(Op.PERMUTE)
def permute_chain(node: Node) -> Node | None:
    source = node.src[0]
    assert isinstance(node.arg, Axes)
    if node.arg.axes == tuple(range(len(node.shape))):
        return source
    if source.op is not Op.PERMUTE:
        return None
    assert isinstance(source.arg, Axes)
    return source.src[0].permute([source.arg.axes[axis] for axis in node.arg.axes])


@SIMPLIFY.rule(Op.PERMUTE)
def permute_units(node: Node) -> Node | None:
    """Only axes of size 1 move: the elements stay in order."""
    assert isinstance(node.arg, Axes)
    moving = [axis for axis in node.arg.axes if node.src[0].shape[axis] != 1]
    return node.src[0].reshape(node.shape) if moving == sorted(moving) else None


@SIMPLIFY.rule(Op.FLIP)
def flip_chain(node: Node) -> Node | None:
    """Twice backwards is forwards; an axis of size 1 has one direction."""
    source = node.src[0]
    assert isinstance(node.arg, Axes)
    axes = {axis for axis in node.arg.axes if node.shape[axis] != 1}
    if source.op is Op.FLIP:
        assert isinstance(source.arg, Axes)
        return source.src[0].flip(sorted(axes.symmetric_difference(source.arg.axes)))
    return source.flip(sorted(axes)) if len(axes) < len(node.arg.axes) else None


@SIMPLIFY.rule(Op.SHRINK)
def shrink_chain(node: Node) -> Node | None:
    source = node.src[0]
    if source.op is not Op.SHRINK:
        return None
    assert isinstance(node.arg, Region) and isinstance(source.arg, Region)
    inner = source.arg
    starts = [
        first + step * start
        for first, step, start in zip(inner.starts, inner.steps, node.arg.starts, strict=True)
    ]
    steps = [a * b for a, b in zip(inner.steps, node.arg.steps, strict=True)]
    return Node(Op.SHRINK, source.src, node.dtype, node.shape, Region(tuple(starts), tuple(steps)))


@SIMPLIFY.rule(Op.PAD)
def pad_chain(node: Node) -> Node | None:
    source = node.src[0]
    if source.op is not Op.PAD:
        return None
    assert isinstance(node.arg, Padding) and isinstance(source.arg, Padding)
    outer, inner = node.arg, source.arg
    if outer.value != inner.value or any(outer.between):
        return None
    before = tuple([a + b for a, b in zip(outer.before, inner.before, strict=True)])
    after = tuple([a + b for a, b in zip(outer.after, inner.after, strict=True)])
    arg = Padding(before, after, inner.between, inner.value)
    return Node(Op.PAD, source.src, node.dtype, node.shape, arg)


# --- regions of what was padded or replaced


@SIMPLIFY.rule(Op.SHRINK)
def shrink_pad(node: Node) -> Node | None:
    """A region of a padded node, axis by axis: all of it padding, the content moved, or less content and less padding."""
    source = node.src[0]
    if source.op is not Op.PAD:
        return None
    assert isinstance(node.arg, Region) and isinstance(source.arg, Padding)
    content = source.src[0]
    fill = source.arg.value
    starts: list[Size] = []
    kept: list[Size] = []
    before: list[Size] = []
    after: list[Size] = []
    for axis, size in enumerate(node.shape):
        lead, between = source.arg.before[axis], source.arg.between[axis]
        start, step, length = node.arg.starts[axis], node.arg.steps[axis], content.shape[axis]
        if size == 1:
            step = between + 1  # one element has no steps
        if step != between + 1 or (start - lead) % step != 0:
            return None
        first = (
            start - lead
        ) // step  # of the content; the region is content[first : first + size]
        if first >= length or first + size <= 0:
            return filled(node, fill.value)
        begin = first if first >= 0 else 0
        end = first + size if first + size <= length else length
        starts.append(begin)
        kept.append(end - begin)
        before.append(begin - first)
        after.append(first + size - end)
    part = shrink(content, starts, kept)
    return pad(part, before, after, value=fill.value)


@SIMPLIFY.rule(Op.SHRINK)
def shrink_update(node: Node) -> Node | None:
    """A region of a node with a region replaced: the same one, or one beside it."""
    source = node.src[0]
    if source.op is not Op.UPDATE:
        return None
    assert isinstance(node.arg, Region)
    base, value = source.src
    if node.arg == source.arg and node.shape == value.shape:
        return value
    return (
        Node(Op.SHRINK, (base,), node.dtype, node.shape, node.arg) if _apart(node, source) else None
    )


def _apart(region: Node, update: Node) -> bool:
    """Whether the region that is read and the one that is replaced have no element in common."""
    assert isinstance(region.arg, Region) and isinstance(update.arg, Region)
    for axis, (read, written) in enumerate(zip(region.shape, update.src[1].shape, strict=True)):
        first, first_written = region.arg.starts[axis], update.arg.starts[axis]
        last = first + region.arg.steps[axis] * (read - 1)
        last_written = first_written + update.arg.steps[axis] * (written - 1)
        if last < first_written or last_written < first:
            return True
    return False


@SIMPLIFY.rule(Op.UPDATE)
def update_of_nothing(node: Node) -> Node | None:
    return node.src[0] if 0 in node.src[1].shape else None


@SIMPLIFY.rule(Op.UPDATE)
def update_again(node: Node) -> Node | None:
    """The same region replaced twice."""
    base, value = node.src
    if base.op is not Op.UPDATE or base.arg != node.arg or base.src[1].shape != value.shape:
        return None
    return node.like((base.src[0], value))


@SIMPLIFY.rule(Op.UPDATE)
def update_with_itself(node: Node) -> Node | None:
    """A region replaced by what it was."""
    base, value = node.src
    return (
        base if value.op is Op.SHRINK and value.src[0] is base and value.arg == node.arg else None
    )


# --- EXPAND moves outwards


@SIMPLIFY.rule(Op.PERMUTE)
def permute_expand(node: Node) -> Node | None:
    source = node.src[0]
    if source.op is not Op.EXPAND:
        return None
    assert isinstance(node.arg, Axes)
    inner = source.src[0]
    inner = inner.reshape(padded(inner.shape, len(node.shape)))
    return inner.permute(node.arg.axes).expand(node.shape)


@SIMPLIFY.rule(Op.SHRINK)
def shrink_expand(node: Node) -> Node | None:
    source = node.src[0]
    if source.op is not Op.EXPAND:
        return None
    assert isinstance(node.arg, Region)
    inner = source.src[0]
    inner = inner.reshape(padded(inner.shape, len(node.shape)))
    starts, steps, shape = [], [], []
    for axis, size in enumerate(inner.shape):
        repeated = size == 1 and source.shape[axis] != 1
        starts.append(0 if repeated else node.arg.starts[axis])
        steps.append(1 if repeated else node.arg.steps[axis])
        shape.append(1 if repeated else node.shape[axis])
    return shrink(inner, starts, shape, steps).expand(node.shape)


@SIMPLIFY.rule(Op.FLIP)
def flip_expand(node: Node) -> Node | None:
    source = node.src[0]
    if source.op is not Op.EXPAND:
        return None
    assert isinstance(node.arg, Axes)
    inner = source.src[0]
    new = len(node.shape) - len(inner.shape)
    axes = [axis - new for axis in node.arg.axes if axis >= new and inner.shape[axis - new] != 1]
    return inner.flip(axes).expand(node.shape)


@SIMPLIFY.rule(Op.RESHAPE)
def reshape_expand(node: Node) -> Node | None:
    """Where each group of axes that becomes a group of others is repeated as a whole, or not at all."""
    source = node.src[0]
    if source.op is not Op.EXPAND:
        return None
    inner = source.src[0]
    small = padded(inner.shape, len(source.shape))
    target: list[Size] = [1] * len(node.shape)
    groups = _groups(source.shape, node.shape)
    if groups is None:
        return None
    for before, after in groups:
        repeated = [axis for axis in before if small[axis] == 1 and source.shape[axis] != 1]
        if not repeated:
            for axis in after:
                target[axis] = node.shape[axis]
        elif any(small[axis] != 1 for axis in before):
            return None
    return inner.reshape(target).expand(node.shape)


def _groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]] | None:
    """The smallest runs of axes of two shapes that have equally many elements. Axes of size 1 belong to no run."""
    groups: list[tuple[list[int], list[int]]] = []
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    i = j = 0
    while i < len(left) and j < len(right):
        group: tuple[list[int], list[int]] = ([left[i]], [right[j]])
        have, want = before[left[i]], after[right[j]]
        i, j = i + 1, j + 1
        while have != want:
            if have < want:
                if i == len(left):
                    return None
                have = have * before[left[i]]
                group[0].append(left[i])
                i += 1
            else:
                if j == len(right):
                    return None
                want = want * after[right[j]]
                group[1].append(right[j])
                j += 1
        groups.append(group)
    return groups if i == len(left) and j == len(right) else None


def _unit_reshape(before: Shape, after: Shape) -> dict[int, int] | None:
    """Where each axis that is not of size 1 goes, if a reshape only adds and takes away ones."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    if [before[axis] for axis in left] != [after[axis] for axis in right]:
        return None
    return dict(zip(left, right, strict=True))


@SIMPLIFY.rule(*EVERY_ELEMENTWISE)
def compute_before_expand(node: Node) -> Node | None:
    """An operation whose sources all repeat along an axis is computed once and repeated."""
    rank = len(node.shape)
    small: list[Size] = [1] * rank
    for source in node.src:
        for axis, size in enumerate(_distinct(source)):
            if size != 1:
                small[axis] = size
    if tuple(small) == node.shape:
        return None
    shape = tuple(small)
    sources = tuple([_narrowed(source, shape) for source in node.src])
    result = Node(node.op, sources, node.dtype, shape, node.arg, node.place, node.site)
    return result.expand(node.shape)


# --- windows


@SIMPLIFY.rule(Op.FOLD)
def fold_of_windows_side_by_side(node: Node) -> Node | None:
    """Windows that follow each other without a gap: each element is in one of them, or in none at the end."""
    assert isinstance(node.arg, Windows)
    arg, source, rank = node.arg, node.src[0], len(node.shape)
    if arg.sizes != arg.strides or any(d != 1 for d in arg.dilations):
        return None
    order: list[int] = []
    flat, left = list(source.shape[:rank]), [0] * rank
    for axis in range(rank):
        order.append(axis)
        if axis in arg.axes:
            place = arg.axes.index(axis)
            order.append(rank + place)
            count, whole = source.shape[axis], node.shape[axis]
            if not isinstance(count, int) or not isinstance(whole, int):
                return None
            flat[axis] = count * arg.sizes[place]
            left[axis] = whole - count * arg.sizes[place]
    if min(left) < 0:
        return None
    moved = pad(source.permute(order).reshape(flat), [0] * rank, left)
    return moved + 0 if node.dtype.kind == "float" else moved  # a sum of one -0 is 0


def _distinct(node: Node) -> Shape:
    """The shape of a node without what it repeats."""
    if node.op in NUMBERS:
        return ones(len(node.shape))
    if node.op is Op.EXPAND:
        return padded(node.src[0].shape, len(node.shape))
    if node.op is Op.IOTA:
        assert isinstance(node.arg, Axis)
        axis = node.arg.axis
        return tuple([size if a == axis else 1 for a, size in enumerate(node.shape)])
    return node.shape


def _narrowed(node: Node, shape: Shape) -> Node:
    """A node that repeats, in a smaller shape."""
    if node.op in NUMBERS:
        return refilled(node, shape)
    if node.op is Op.EXPAND:
        inner = node.src[0]
        return inner.reshape(padded(inner.shape, len(shape))).expand(shape)
    assert node.op is Op.IOTA and isinstance(node.arg, Axis)
    return _iota(node, shape, node.arg.axis)
