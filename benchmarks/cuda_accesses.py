"""What the memory of a GPU has to do for a kernel, predicted from its loop tree: banks that threads of a warp wait for, sectors that a warp touches.

In: a KERNEL as it is rendered, and how its grid is mapped. Out: `Accesses`. Every line that meets memory is looked at for the first warp of a block, at the first iterations of the loops around it;
where an element is that is only known when the kernel runs is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazygrad.codegen.render import c_tiles
from lazygrad.codegen.transform.access import all_loops, body, constant_value, extent
from lazygrad.ir.args import Constant, Fetch, Loop, Mma
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

LANES, BANKS, WORD, SECTOR, WIDEST = 32, 32, 4, 32, 16
Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(slots=True)
class Accesses:
    """Of one warp, each line once."""

    conflicts: int = 0
    """How often shared memory is gone to once more because elements of one access lie in one bank."""
    shared: int = 0
    """Accesses of shared memory that were looked at."""
    sectors: int = 0
    """Sectors of 32 bytes of global memory that are touched."""
    least: int = 0
    """As many as the bytes that are asked for would fill."""


def accesses(kernel: Node, mapping: str, shared: set[int]) -> Accesses:
    """What the accesses of a kernel cost, whose arrays `shared` are those of a group."""
    found = Accesses()
    shifts = c_tiles.swizzles(kernel)
    for line, around in _lines(kernel):
        if isinstance(line.arg, Mma):
            for operand in (c_tiles._left(line.arg), c_tiles._right(line.arg)):
                _matrices(found, operand)
            continue
        places = [(line.src[0], line.src[1])]
        if line.op is Op.FETCH:
            places.append((line.src[2], line.src[3]))
        for buffer, offset in places:
            if buffer.op is not Op.PARAM and id(buffer) not in shared:
                continue
            count = _elements(line, offset, around)
            where = _offsets(offset, around, mapping)
            if where is None:
                continue
            width = count * buffer.dtype.itemsize
            if buffer.op is Op.PARAM:
                _global(found, where * buffer.dtype.itemsize, width)
                continue
            shift = shifts.get(id(buffer))
            if shift is not None:
                where = where ^ (where >> shift & 7) * 8
            _shared(found, where * buffer.dtype.itemsize, width)
    return found


def _lines(kernel: Node) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    for loop, around in [(kernel, ()), *all_loops(kernel)]:
        inner = around if loop.op is Op.KERNEL else (*around, loop)
        for line in body(loop):
            if line.op in (Op.LOAD, Op.STORE, Op.FETCH, Op.MMA):
                yield line, inner


def _elements(line: Node, offset: Node, around: tuple[Node, ...]) -> int:
    """How many elements are met at once: those of a vector or a copy, or neighbours in a loop that is written out, which the compiler joins."""
    if isinstance(line.arg, Fetch):
        return line.arg.elements
    value = line if line.op is Op.LOAD else line.src[2]
    if value.shape:
        return int(value.shape[0])  # type: ignore[arg-type]
    if line.src[0].op is Op.PARAM:
        return 1
    for loop in reversed(around):
        if isinstance(loop.arg, Loop) and loop.arg.kind != "unroll":
            break
        run = min(extent(loop) or 1, WIDEST // line.src[0].dtype.itemsize)
        met = [_offsets(offset, around, "group", {id(loop.src[0]): step}) for step in range(run)]
        if run > 1 and all(
            each is not None and met[0] is not None and (each - met[0] == step).all()
            for step, each in enumerate(met)
        ):
            return run
    return 1


def _offsets(
    offset: Node, around: tuple[Node, ...], mapping: str, at: Mapping[int, int] | None = None
) -> Numbers | None:
    """The offsets of a warp's lanes, at the first iterations of loops but for those that `at` names."""
    lane = np.arange(LANES, dtype=np.int64)
    known: dict[int, Numbers] = {}
    trip = lane.copy()
    for loop in reversed(around):
        assert isinstance(loop.arg, Loop)
        size = -(-(extent(loop) or 1 << 20) // loop.arg.step)
        if loop.arg.kind == "threads":
            known[id(loop.src[0])] = lane * loop.arg.step
        elif loop.arg.kind == "parallel" and mapping == "item":
            known[id(loop.src[0])] = trip % size * loop.arg.step
            trip = trip // size
        else:
            known[id(loop.src[0])] = lane * 0 + (at or {}).get(id(loop.src[0]), 0)
    for node in postorder([offset]):
        if id(node) in known:
            continue
        values = [known[id(source)] for source in node.src if id(source) in known]
        if len(values) < len(node.src):
            return None
        number = _value(node, values)
        if number is None:
            return None
        known[id(node)] = number
    return known[id(offset)] + lane * 0


def _value(node: Node, values: list[Numbers]) -> Numbers | None:
    match node.op:
        case Op.CONST:
            assert isinstance(node.arg, Constant)
            return np.full(LANES, int(node.arg.value), np.int64)
        case Op.ADD:
            return values[0] + values[1]
        case Op.SUB:
            return values[0] - values[1]
        case Op.MUL:
            return values[0] * values[1]
        case Op.XOR:
            return values[0] ^ values[1]
        case Op.IDIV | Op.MOD if by := constant_value(node.src[1]):
            return values[0] // by if node.op is Op.IDIV else values[0] % by
        case _:
            return None


def _shared(found: Accesses, addresses: Numbers, width: int) -> None:
    """As many lanes at a time as take 128 bytes; two words of one bank take two turns, the same word one."""
    found.shared += 1
    together = min(LANES, LANES * WORD // max(width, WORD))
    for start in range(0, LANES, together):
        words = {
            (int(address) + byte) // WORD
            for address in addresses[start : start + together]
            for byte in range(0, width, WORD)
        }
        turns = np.bincount([word % BANKS for word in words], minlength=BANKS).max()
        found.conflicts += int(turns) - 1


def _matrices(found: Accesses, operand: c_tiles._Operand) -> None:
    """The rows that ldmatrix reads, eight at a time: of the very text that the kernel has."""

    def swizzled(place: int) -> int:
        return place ^ (place >> operand.shift & 7) * 8

    def number(text: str, **names: int) -> int:
        return int(eval(text.replace("/", "//"), {}, names))  # arithmetic in C's words

    name = "left" if operand.left else "right"
    for part in range(2):
        for term in (0, 16):
            rows = []
            for lane in range(LANES):
                begin = swizzled(number(operand.lane, lane=lane))
                names = {name: 0, f"{name}_lane": begin, "part": part, "term": term}
                rows.append(2 * number(operand.place(name), **names))
            _shared(found, np.array(rows, np.int64), WIDEST)


def _global(found: Accesses, addresses: Numbers, width: int) -> None:
    sectors = {
        (int(address) + byte) // SECTOR
        for address in addresses
        for byte in range(0, width, min(width, SECTOR))
    }
    distinct = len({int(address) for address in addresses})
    found.sectors += len(sectors)
    found.least += -(-distinct * width // SECTOR)
