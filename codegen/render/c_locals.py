"""Where the locals of a kernel in C live: in variables, in private arrays, in arrays of a group of work-items, or in scratch memory.

In: a KERNEL, a dialect, and whether the work-items of a group share its loops. Out: `Places`. A local that is always met whole, at constant
places, is variables. Another is an array: private while those are small, else in scratch memory. What stands outside of the loops that a group
shares belongs to the group: its arrays are shared, its variables each work-item has, with the same value.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lazygrad.ir.args import Loop
from lazygrad.ir.dim import Dim, product
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

from ..transform.access import all_loops, body, constant_value, extent, lines_inside
from ..transform.share import group_size
from .c_text import Dialect, lanes_of
from .llvm_text import RenderError

VARIABLES_LIMIT = 64
"""A local of more elements (or vectors) than this is an array."""
WRITTEN_OUT_BYTES = 384
"""The most bytes of a work-item's arrays that the compiler is to make registers of."""
OWNED_LIMIT = 128
"""The most registers of a work-item's part of an array."""
REDUCTION_BYTES = 2 << 10
"""Of a group's memory, for the parts of reductions."""
ALIGNMENT = 128
WARP = 32
"""The work-items that exchange registers."""


@dataclass(slots=True)
class Places:
    """Where each local lives, by its id. What is in none of these is a private array."""

    variables: dict[int, dict[int, str]] = field(default_factory=dict)
    """The variables of a local, by offset; their names are given when it is declared."""
    lanes: dict[int, int | None] = field(default_factory=dict)
    """How many lanes the accesses of each local have."""
    owned: set[int] = field(default_factory=set)
    """Arrays of a group of which each work-item has a part of its own, at `iteration * size + place`: registers."""
    own: int = 0
    """The most elements of such a part."""
    shared: set[int] = field(default_factory=set)
    """Arrays of a group."""
    scratch: dict[int, int] = field(default_factory=dict)
    """Offsets into the scratch memory of a work-item."""
    scratch_bytes: int = 0
    group_scratch: dict[int, int] = field(default_factory=dict)
    """Offsets into the scratch memory of a group."""
    group_scratch_bytes: int = 0


def is_shared(loop: Node) -> bool:
    """Whether the work-items of a group share the iterations of a loop."""
    return isinstance(loop.arg, Loop) and loop.arg.kind in ("threads", "warps")


def place_locals(kernel: Node, dialect: Dialect, grouped: bool) -> Places:
    """Where the locals of `kernel` live.

    Raises:
        RenderError: the size of a local is not known.
    """
    places = Places()
    own = _inside_of_shared(kernel) if grouped else None
    accesses: dict[int, set[tuple[int | None, int | None]]] = {}
    offsets: dict[int, list[Node]] = {}
    found: list[tuple[int, Node]] = []
    for line in lines_inside(kernel):
        if line.op is Op.LOCAL:
            size = product(line.shape)
            if isinstance(size, Dim):
                raise RenderError(f"a local of {size} elements: the number must be constant")
            found.append((size * line.dtype.itemsize, line))
        elif line.op in (Op.LOAD, Op.STORE, Op.ACCUMULATE) and line.src[0].op is Op.LOCAL:
            value = line if line.op is Op.LOAD else line.src[2]
            offset = line.src[1]
            place = constant_value(offset) if lanes_of(offset) is None else None
            accesses.setdefault(id(line.src[0]), set()).add((place, lanes_of(value)))
            places.lanes[id(line.src[0])] = places.lanes.get(id(line.src[0])) or lanes_of(value)
            offsets.setdefault(id(line.src[0]), []).append(offset)
        elif line.op in (Op.FETCH, Op.MMA):
            for array in line.src[:1] if line.op is Op.FETCH else line.src[::2]:
                accesses.setdefault(id(array), set()).add((None, None))
                places.lanes[id(array)] = None
            if line.op is Op.MMA:
                offsets.setdefault(id(line.src[0]), []).append(line.src[1])
    room = dialect.shared_bytes
    if any(node.op is Op.REDUCE for node in postorder([kernel])):
        room -= REDUCTION_BYTES
    unrolled = {id(loop.src[0]) for loop, _ in all_loops(kernel) if _is_unrolled(loop)}
    private = shared = written = 0
    for size, line in sorted(found, key=lambda item: item[0]):
        used = accesses.get(id(line), set())
        each = next((lanes for _, lanes in used), None) or 1
        whole = all(place is not None and place % each == 0 for place, _ in used)
        if len({lanes for _, lanes in used}) == 1 and whole and len(used) <= VARIABLES_LIMIT:
            at = sorted(place for place, _ in used if place is not None)
            places.variables[id(line)] = dict.fromkeys(at, "")
        elif not used:
            places.variables[id(line)] = {}
        elif own is not None and id(line) not in own:
            if _is_owned(line, offsets.get(id(line), []), kernel, unrolled):
                places.owned.add(id(line))
                count = int(product(line.shape))  # type: ignore[arg-type]
                places.own = max(places.own, count // group_size(kernel))
            elif shared + size <= room:
                shared += _aligned(size)
                places.shared.add(id(line))
            else:
                places.group_scratch[id(line)] = places.group_scratch_bytes
                places.group_scratch_bytes += _aligned(size)
        elif private + size <= dialect.private_bytes:
            private += size
        elif written + size <= WRITTEN_OUT_BYTES and _written_out(line, offsets, unrolled):
            written += size
        else:
            places.scratch[id(line)] = places.scratch_bytes
            places.scratch_bytes += _aligned(size)
    return places


def _is_unrolled(loop: Node) -> bool:
    return isinstance(loop.arg, Loop) and loop.arg.kind == "unroll"


def _written_out(line: Node, offsets: dict[int, list[Node]], unrolled: set[int]) -> bool:
    """Whether an array is small and met only at places that are constant once loops are written out: the compiler makes registers of it."""
    if int(product(line.shape)) > VARIABLES_LIMIT:  # type: ignore[arg-type]
        return False
    return all(_is_constant(each, unrolled) for each in offsets[id(line)])


def owned_place(offset: Node) -> Node | None:
    """The place in a work-item's own part that an offset `iteration * size + place` means."""
    if offset.op is Op.ADD and offset.src[0].op is Op.MUL and offset.src[0].src[0].op is Op.INDEX:
        return offset.src[1]
    return None


def _is_owned(line: Node, offsets: list[Node], kernel: Node, unrolled: set[int]) -> bool:
    """Whether each work-item meets only its own part of an array: that of its one iteration of a shared loop, at constant places."""
    shared = {id(loop.src[0]): loop for loop, _ in all_loops(kernel) if is_shared(loop)}
    size = int(product(line.shape))  # type: ignore[arg-type]
    if not offsets:
        return False
    for offset in offsets:
        place = owned_place(offset)
        if place is None and offset.op is not Op.MUL:
            return False
        index, part = (offset.src[0] if place is not None else offset).src
        loop, each = shared.get(id(index)), constant_value(part)
        if loop is None or each is None:
            return False
        count = extent(loop) or 0
        if isinstance(loop.arg, Loop) and loop.arg.kind == "warps":
            count, each = count * WARP, each // WARP
        if count != group_size(kernel) or count * each != size or each > OWNED_LIMIT:
            return False
        if place is not None and not _is_constant(place, unrolled):
            return False
    return True


def _is_constant(place: Node, unrolled: set[int]) -> bool:
    """Whether a place is constant once loops are written out."""
    arithmetic = (Op.CONST, Op.ADD, Op.SUB, Op.MUL, Op.IDIV, Op.MOD)
    return all(each.op in arithmetic or id(each) in unrolled for each in postorder([place]))


def _aligned(size: int) -> int:
    return (size + ALIGNMENT - 1) & -ALIGNMENT


def _inside_of_shared(kernel: Node) -> set[int]:
    """The lines that stand in loops which a group shares."""
    found: set[int] = set()
    stack = list(body(kernel))
    while stack:
        line = stack.pop()
        if line.op is not Op.LOOP:
            continue
        if is_shared(line):
            found.update(id(each) for each in lines_inside(line))
        else:
            stack.extend(body(line))
    return found
