"""A simulator of kernels: runs the loop stratum in numpy and reports what a processor would not.

In: a KERNEL and its arguments; buffers are written in place. Errors: an access outside a buffer, a read of an element that was
never written, two iterations of a parallel loop that touch the same element, and failed checks.

A value is an array (trips, lanes). The iterations of an outermost parallel loop run in lockstep, some thousands at a time; all
other loops run one iteration after the other, as a batch of one trip or of the trips of the loop around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .args import (
    Accumulate,
    Await,
    Constant,
    Dots,
    Fetch,
    Lanes,
    Loop,
    Message,
    Mma,
    Name,
    Param,
    Reduction,
)
from .blocks import Block, Nested, blocks, parameters
from .dtype import DType
from .elementwise import (
    REDUCERS,
    Array,
    apply,
    from_storage,
    identity,
    partial_dtype,
    round_to,
    rounded,
    to_storage,
    value_dtype,
)
from .errors import ERRORS
from .interpret_dots import left_places, products, right_places
from .node import Node, postorder
from .op import ELEMENTWISE, Op
from .text import describe
from .tiles import operand_places, sum_places

TRIPS = 4096
"""How many iterations of a parallel loop run in lockstep."""
ATOMIC = -2
"""What owns an element that iterations of a parallel loop have accumulated atomically: each of them."""


class SimulationError(RuntimeError):
    """A kernel did what no kernel may do."""


@dataclass(slots=True, eq=False)
class _Memory:
    """A buffer: its elements as stored, one row, or one for each trip; which are written; who touched them."""

    name: str
    dtype: DType
    data: Array
    written: Array | None = None
    owner: Array | None = None
    touched: Array | None = None

    @property
    def shared(self) -> bool:
        return int(self.data.shape[0]) == 1


@dataclass(slots=True, eq=False)
class _Copy:
    """Elements on their way into a local: they are unwritten until they are waited for."""

    memory: _Memory
    places: tuple[Array, Array]
    values: Array


@dataclass(slots=True, eq=False)
class _Frame:
    """A block that is running: a loop's, or the kernel's."""

    block: Block
    position: int = 0
    loop: Node | None = None
    index: int = 0
    extent: int = 0
    step: int = 1
    batched: bool = False
    lockstep: bool = False


@dataclass(slots=True, eq=False)
class _Run:
    """One execution of a kernel."""

    values: dict[int, Array] = field(default_factory=dict)
    memory: dict[int, _Memory] = field(default_factory=dict)
    trips: int = 1
    first: int = 0
    """The first trip of the running batch of the parallel loop; meaningful while `parallel`."""
    parallel: bool = False
    copies: list[list[_Copy]] = field(default_factory=lambda: [[]])
    """What FETCHes have begun to copy: a list for each group that an AWAIT has not waited for, the last one not closed yet."""


def run_kernel(kernel: Node, arguments: Sequence[Any]) -> None:
    """Run `kernel` once, writing its output buffers in place.

    Args:
        arguments: one for each param, in order: for a buffer a contiguous numpy array of the storage dtype, for a number or a
            dim the number.

    Raises:
        SimulationError: an access out of bounds, a read of an unwritten element, a race.
        IndexError, RuntimeError, ZeroDivisionError: a failed check, as it says.
    """
    run = _Run()
    for param, argument in zip(parameters(kernel), arguments, strict=True):
        _bind(run, param, argument)
    with np.errstate(all="ignore"):
        _execute(run, blocks(kernel))


def _bind(run: _Run, param: Node, argument: Any) -> None:
    arg = param.arg
    assert isinstance(arg, Param)
    if arg.role in ("number", "dim"):
        run.values[id(param)] = _number(argument, param.dtype).reshape(1, 1)
        return
    if not (isinstance(argument, np.ndarray) and argument.flags.c_contiguous):
        raise TypeError(f"%{arg.name} must be a contiguous numpy array")
    if argument.dtype != np.dtype(param.dtype.storage):
        raise TypeError(f"%{arg.name} must hold {param.dtype.storage}, not {argument.dtype}")
    data = argument.reshape(1, -1)
    written = np.zeros(data.shape, bool) if arg.role == "out" else None
    run.memory[id(param)] = _Memory(arg.name, param.dtype, data, written)


def _number(number: Any, dtype: DType) -> Array:
    if dtype.kind == "float":
        return round_to(np.asarray(float(number)), dtype)
    return np.asarray(number).astype(value_dtype(dtype))


def _execute(run: _Run, root: Block) -> None:
    stack = [_Frame(root)]
    while stack:
        frame = stack[-1]
        if frame.position < len(frame.block.lines):
            line = frame.block.lines[frame.position]
            frame.position += 1
            if isinstance(line, Nested):
                _enter(run, stack, line)
            else:
                _line(run, line)
            continue
        if frame.loop is None:
            return
        _advance(run, frame)
        if frame.index < frame.extent:
            _start(run, frame)
        else:
            stack.pop()
            if frame.batched:
                _leave_parallel(run)


def _enter(run: _Run, stack: list[_Frame], line: Nested) -> None:
    loop = line.loop
    assert isinstance(loop.arg, Loop)
    extent = int(_read(run, loop.src[1]).flat[0])  # iterations whose extents differ run one by one
    batched = loop.arg.kind == "parallel" and not run.parallel
    lockstep = batched and not _differs(loop)
    frame = _Frame(line.block, 0, loop, 0, extent, loop.arg.step, batched, lockstep)
    if extent <= 0:
        return
    if batched:
        run.parallel = True
        for memory in run.memory.values():
            memory.owner = np.full(memory.data.shape[1], -1, np.int64)
            memory.touched = np.full(memory.data.shape[1], -1, np.int64)
    stack.append(frame)
    _start(run, frame)


def _differs(loop: Node) -> bool:
    """Whether the extent of some loop inside depends on the loop's variable."""
    index = loop.src[0]
    extents = [inner.src[1] for inner in postorder(loop.src[2:]) if inner.op is Op.LOOP]
    return any(node is index for node in postorder(extents))


def _leave_parallel(run: _Run) -> None:
    if any(run.copies):
        raise SimulationError("a copy is never waited for")
    run.parallel, run.trips, run.first = False, 1, 0
    run.memory = {key: memory for key, memory in run.memory.items() if memory.shared}
    for memory in run.memory.values():
        memory.owner = memory.touched = None


def _advance(run: _Run, frame: _Frame) -> None:
    frame.index += frame.step * (run.trips if frame.batched else 1)


def _start(run: _Run, frame: _Frame) -> None:
    """Begin the iteration (or the batch of iterations) at the frame's index."""
    frame.position = 0
    assert frame.loop is not None
    index = np.full((1, 1), frame.index, np.int64)
    if frame.batched:
        left = -(-(frame.extent - frame.index) // frame.step)
        together = TRIPS if frame.lockstep else 1
        run.trips, run.first = min(left, together), frame.index // frame.step
        index = index + np.arange(run.trips, dtype=np.int64).reshape(-1, 1) * frame.step
    run.values[id(frame.loop.src[0])] = index


def _read(run: _Run, node: Node) -> Array:
    found = run.values.get(id(node))
    if found is not None:
        return found
    if node.op is not Op.CONST:
        raise SimulationError(f"a value is used before it is computed: {describe(node)}")
    assert isinstance(node.arg, Constant)
    lanes = node.shape[0] if node.shape else 1
    assert isinstance(lanes, int)
    value = np.broadcast_to(_number(node.arg.value, node.dtype), (1, lanes))
    run.values[id(node)] = value
    return value


def _line(run: _Run, node: Node) -> None:
    if node.op in ELEMENTWISE:
        sources = [_read(run, source) for source in node.src]
        run.values[id(node)] = apply(node.op, node.dtype, [s.dtype for s in node.src], sources)
        return
    function = _LINES.get(node.op)
    if function is None:
        raise SimulationError(f"the simulator has no {node.op.name.lower()}: {describe(node)}")
    function(run, node)


def _local(run: _Run, node: Node) -> None:
    assert isinstance(node.arg, Name)
    size = 1
    for entry in node.shape:
        assert isinstance(entry, int)
        size *= entry
    shape = (run.trips if run.parallel else 1, size)
    run.memory[id(node)] = _Memory(
        node.arg.name, node.dtype, np.zeros(shape, node.dtype.storage), np.zeros(shape, bool)
    )


def _check(run: _Run, node: Node) -> None:
    assert isinstance(node.arg, Message)
    if not np.all(_read(run, node.src[0])):
        raise ERRORS[node.arg.error](node.arg.text)


def _splat(run: _Run, node: Node) -> None:
    lanes = node.shape[0]
    assert isinstance(lanes, int)
    value = _read(run, node.src[0])
    run.values[id(node)] = np.broadcast_to(value, (value.shape[0], lanes))


def _lanes(run: _Run, node: Node) -> None:
    count = node.shape[0]
    assert isinstance(count, int)
    run.values[id(node)] = np.arange(count, dtype=np.int64).reshape(1, count)


def _shuffle(run: _Run, node: Node) -> None:
    assert isinstance(node.arg, Lanes)
    both = np.broadcast_arrays(*[_read(run, source) for source in node.src])
    run.values[id(node)] = np.concatenate(both, axis=1)[:, list(node.arg.lanes)]


def _reduce(run: _Run, node: Node) -> None:
    """A vector's lanes become a scalar."""
    arg = node.arg
    assert isinstance(arg, Reduction)
    partial = partial_dtype(arg.kind, arg.accumulate)
    value = _read(run, node.src[0]).astype(partial, copy=False)
    start = partial.type(identity(arg.kind, arg.accumulate))
    result = REDUCERS[arg.kind].reduce(value, axis=1, keepdims=True, dtype=partial, initial=start)
    run.values[id(node)] = rounded(result, arg.accumulate, node.dtype)


@dataclass(slots=True)
class _Access:
    """The elements that one line touches: where, and which lanes do so, all of shape (trips, lanes)."""

    memory: _Memory
    rows: Array
    offsets: Array
    active: Array
    trips: Array

    @property
    def places(self) -> tuple[Array, Array]:
        """The active elements, in order of trips and lanes."""
        return self.rows[self.active], self.offsets[self.active]


def _access(run: _Run, node: Node, lanes: int, mask: Sequence[Node]) -> _Access:
    """Check bounds, for a LOAD, STORE or ACCUMULATE of `lanes` lanes."""
    offsets = _read(run, node.src[1])
    if offsets.shape[1] != lanes:
        offsets = offsets + np.arange(lanes, dtype=np.int64)
    return _reached(run, node, 0, offsets, mask)


def _reached(
    run: _Run, node: Node, position: int, offsets: Array, mask: Sequence[Node] = ()
) -> _Access:
    """Check that `offsets`, of shape (trips, lanes), lie in the buffer that is the source `position` of `node`."""
    memory = run.memory.get(id(node.src[position]))
    if memory is None:
        raise SimulationError(
            f"a buffer is used outside the loop that declares it: {describe(node)}"
        )
    lanes = offsets.shape[1]
    shape = (run.trips if run.parallel else 1, lanes)
    offsets = np.broadcast_to(offsets, shape)
    active = np.broadcast_to(_read(run, mask[0]), shape) if mask else np.ones(shape, bool)
    trips = np.broadcast_to(np.arange(shape[0]).reshape(-1, 1), shape)
    rows = np.zeros_like(trips) if memory.shared else trips
    outside = active & ((offsets < 0) | (offsets >= memory.data.shape[1]))
    if np.any(outside):
        wrong = int(offsets[outside][0])
        size = memory.data.shape[1]
        raise SimulationError(
            f"element {wrong} of %{memory.name}, which has {size}: {describe(node)}"
        )
    return _Access(memory, rows, offsets, active, trips + run.first)


def _race(access: _Access, node: Node, writes: bool) -> None:
    """A parallel iteration reads no element that another writes, and writes none that another touches."""
    memory = access.memory
    if memory.owner is None or memory.touched is None or not memory.shared:
        return
    _, offsets = access.places
    trips = access.trips[access.active]
    owners = memory.owner[offsets]
    wrong = (owners != -1) & (owners != trips)
    if writes:
        touched = memory.touched[offsets]
        wrong |= (touched != -1) & (touched != trips)
        memory.owner[offsets] = trips
        wrong |= memory.owner[offsets] != trips
    else:
        # -1: nobody has read it; a trip: only this one has; -2: several have.
        before = memory.touched[offsets]
        memory.touched[offsets] = np.where((before == -1) | (before == trips), trips, -2)
        memory.touched[offsets[memory.touched[offsets] != trips]] = -2
    if np.any(wrong):
        place = int(offsets[wrong][0])
        raise SimulationError(
            f"two iterations of a parallel loop touch element {place} of %{memory.name}: {describe(node)}"
        )


def _readable(access: _Access, node: Node) -> None:
    """Check that what an access reads was written."""
    memory, places = access.memory, access.places
    if memory.written is not None and not np.all(memory.written[places]):
        unwritten = ~memory.written[places]
        place = int(places[1][unwritten][0])
        raise SimulationError(
            f"element {place} of %{memory.name} was never written: {describe(node)}"
        )


def _fetch(access: _Access, node: Node) -> Array:
    """The stored elements of an access that reads, 0 in inactive lanes."""
    memory, places = access.memory, access.places
    _readable(access, node)
    _race(access, node, writes=False)
    result = np.zeros(access.active.shape, memory.data.dtype)
    result[access.active] = memory.data[places]
    return from_storage(result, memory.dtype)


def _load(run: _Run, node: Node) -> None:
    lanes = node.shape[0] if node.shape else 1
    assert isinstance(lanes, int)
    run.values[id(node)] = _fetch(_access(run, node, lanes, node.src[2:]), node)


def _store(run: _Run, node: Node) -> None:
    value = _read(run, node.src[2])
    _write(_access(run, node, value.shape[1], node.src[3:]), node, value, node.src[2].dtype)


def _write(access: _Access, node: Node, value: Array, dtype: DType) -> None:
    _race(access, node, writes=True)
    stored = to_storage(np.broadcast_to(value, access.active.shape), dtype)
    access.memory.data[access.places] = stored[access.active]
    if access.memory.written is not None:
        access.memory.written[access.places] = True


def _accumulate(run: _Run, node: Node) -> None:
    """Lanes meet their elements one after the other, since several may meet the same."""
    assert isinstance(node.arg, Accumulate)
    value = _read(run, node.src[2])
    access = _access(run, node, value.shape[1], node.src[3:])
    dtype = node.src[2].dtype
    meet: Callable[..., Array] = REDUCERS[node.arg.kind]
    value = np.broadcast_to(value, access.active.shape)
    if node.arg.atomic:
        _accumulate_atomically(access, node, value[access.active], meet)
        return
    for lane in range(value.shape[1]):
        one = slice(lane, lane + 1)
        part = _Access(
            access.memory, access.rows[:, one], access.offsets[:, one], access.active[:, one],
            access.trips[:, one],
        )  # fmt: skip
        held = _fetch(part, node)
        _race(part, node, writes=True)
        result = meet(held, value[:, one])
        result = round_to(result, dtype) if dtype.kind == "float" else result.astype(held.dtype)
        access.memory.data[part.places] = to_storage(result, dtype)[part.active]


def _accumulate_atomically(
    access: _Access, node: Node, value: Array, meet: Callable[..., Array]
) -> None:
    """Trips meet their elements one after the other, in their order."""
    memory, dtype = access.memory, node.src[2].dtype
    _readable(access, node)
    _race_of_atomics(access, node)
    if dtype.storage == value.dtype.name:
        meet.at(memory.data, access.places, value)  # type: ignore[attr-defined]
        return
    for row, offset, each in zip(*access.places, value, strict=True):  # half floats
        place = slice(row, row + 1), slice(offset, offset + 1)
        met = meet(from_storage(memory.data[place], dtype), each)
        memory.data[place] = to_storage(round_to(met, dtype), dtype)


def _race_of_atomics(access: _Access, node: Node) -> None:
    """Where some iterations of a parallel loop accumulate atomically, no other one reads or writes in another way."""
    memory = access.memory
    if memory.owner is None or memory.touched is None or not memory.shared:
        return
    _, offsets = access.places
    trips = access.trips[access.active]
    owners, touched = memory.owner[offsets], memory.touched[offsets]
    wrong = (owners != -1) & (owners != ATOMIC) & (owners != trips)
    wrong |= (touched != -1) & (touched != trips)
    memory.owner[offsets] = ATOMIC
    if np.any(wrong):
        raise SimulationError(
            f"iterations of a parallel loop touch element {int(offsets[wrong][0])} of %{memory.name}, one of them not atomically: {describe(node)}"
        )


def _dots(run: _Run, node: Node) -> None:
    arg = node.arg
    assert isinstance(arg, Dots)
    operands: list[Array] = []
    for position, places in ((2, left_places), (4, right_places)):
        start = _read(run, node.src[position + 1])
        offsets = start + places(arg, node.src[position].dtype).reshape(1, -1)
        operands.append(_fetch(_reached(run, node, position, offsets), node))
    tile = node.src[0].dtype
    total = products(arg, tile, *operands)
    offsets = _read(run, node.src[1]) + np.arange(total.shape[1], dtype=np.int64)
    _write(_reached(run, node, 0, offsets), node, total, tile)


def _mma(run: _Run, node: Node) -> None:
    """A product of small matrices, added to what the sums hold."""
    arg = node.arg
    assert isinstance(arg, Mma)
    found: list[Array] = []
    accesses: list[_Access] = []
    for number, places in enumerate((sum_places(arg), *operand_places(arg))):
        start = _read(run, node.src[2 * number + 1])
        access = _reached(run, node, 2 * number, start + places.reshape(1, -1))
        found.append(_fetch(access, node).reshape(-1, *places.shape))
        accesses.append(access)
    sums, left, right = (each.astype(np.float32) for each in found)
    total = sums + left @ right
    _write(accesses[0], node, total.reshape(len(total), -1), node.src[0].dtype)


def _begin_copy(run: _Run, node: Node) -> None:
    """Read the elements; where they go to is unwritten from now on until they are waited for."""
    arg = node.arg
    assert isinstance(arg, Fetch)
    steps = np.arange(arg.elements, dtype=np.int64)
    source = _reached(run, node, 2, _read(run, node.src[3]) + steps, node.src[4:])
    target = _reached(run, node, 0, _read(run, node.src[1]) + steps)
    values = to_storage(_fetch(source, node), node.src[2].dtype)
    _race(target, node, writes=True)
    assert target.memory.written is not None
    target.memory.written[target.places] = False
    run.copies[-1].append(_Copy(target.memory, target.places, values[target.active]))


def _commit(run: _Run, node: Node) -> None:
    run.copies.append([])


def _await(run: _Run, node: Node) -> None:
    arg = node.arg
    assert isinstance(arg, Await)
    while len(run.copies) - 1 > arg.left:
        for copy in run.copies.pop(0):
            copy.memory.data[copy.places] = copy.values
            assert copy.memory.written is not None
            copy.memory.written[copy.places] = True


_LINES: dict[Op, Callable[[_Run, Node], None]] = {
    Op.LOCAL: _local,
    Op.CHECK: _check,
    Op.SPLAT: _splat,
    Op.LANES: _lanes,
    Op.SHUFFLE: _shuffle,
    Op.REDUCE: _reduce,
    Op.LOAD: _load,
    Op.STORE: _store,
    Op.ACCUMULATE: _accumulate,
    Op.DOTS: _dots,
    Op.PREFETCH: lambda run, node: None,
    Op.MMA: _mma,
    Op.FETCH: _begin_copy,
    Op.COMMIT: _commit,
    Op.AWAIT: _await,
}
