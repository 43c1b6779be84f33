"""Updates in place: what an elementwise update makes of a few small buffers, done to many buffers of any size in one launch.

In: the values that an update gave its operands, as nodes on small example buffers (`update_of`). Out: an `Update`: one kernel for any number
of elements, whose results lie where its operands did; and the numbers and shared buffers of this run. `Update.run` launches it for
all operands together. It is not interrupted, and nobody sees it half done: a plan that writes what others know is run whole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lazygrad.ir.args import Param, Scalar, Slot
from lazygrad.ir.blocks import parameters
from lazygrad.ir.dim import Dim, Size, UndecidedError, product
from lazygrad.ir.dtype import DType
from lazygrad.ir.node import Node
from lazygrad.ir.op import ELEMENTWISE, Op
from lazygrad.ir.rewrite import rebuild
from lazygrad.ir.template import unfold_all
from lazygrad.schedule.traffic import Traffic

from . import compile as compiler
from . import device as devices
from . import profile, schedules
from .bundles import BYTES_PER_NANOSECOND, CLAIM_COST
from .keys import normalise
from .memory import Buffer
from .plan import KernelPlan, Launch, Value
from .sketch import Sketch, sketch

if TYPE_CHECKING:
    from .device import Executable

UPDATE_LIMIT = 256
"""How many updates are kept, the latest."""
PLAN_LIMIT = 8
"""How many plans an update keeps, the latest, each for a number of members."""
SIZE = "n"
"""The name of the number of elements."""


class _NotElementwise(Exception):
    """An element of a result depends on other elements."""


class Update:
    """One kernel, and where its params come from: operands by position, shared buffers behind them, and numbers of a run."""

    __slots__ = (
        "_device", "_executable", "_inputs", "_number_types", "_numbers", "_operands", "_plans", "_results", "_used", "compiled",
    )  # fmt: skip

    def __init__(
        self,
        device: Any,
        executable: Executable,
        operands: int,
        inputs: Sequence[int],
        used: Sequence[int],
        results: Sequence[int],
        numbers: Sequence[tuple[int, Scalar]],
        number_types: dict[int, DType],
    ) -> None:
        self._device = device
        self._executable = executable
        self._operands = operands
        self._inputs = tuple(inputs)
        """For each buffer that is read the operand, or the count of operands and the place of a shared one."""
        self._used = tuple(used)
        """The number of each number param."""
        self._results = tuple(results)
        """For each result the operand that it is the new value of."""
        self._numbers = tuple(numbers)
        """For each number of the kernel the number of a run (-1 for none), and the value of one that is always the same."""
        self._number_types = number_types
        self._plans: OrderedDict[tuple[int, bool], KernelPlan] = OrderedDict()

    def run(
        self,
        buffers: Sequence[Buffer],
        shared: Sequence[Buffer],
        numbers: Sequence[Scalar],
        sizes: Sequence[int],
    ) -> None:
        """Update members of `sizes` elements; `buffers` are their operands, operand by operand. Those that change are the caller's alone."""
        moved = sum(sizes) * self._operands * 4
        small = moved / BYTES_PER_NANOSECOND < 2 * CLAIM_COST
        plan = self._plans.get((len(sizes), small))
        if plan is None:
            if len(self._plans) >= PLAN_LIMIT:
                self._plans.popitem(last=False)
            plan = self._plans[len(sizes), small] = self._plan(len(sizes), small)
        given = [value if index < 0 else numbers[index] for index, value in self._numbers]
        profile.run(plan, [*buffers, *shared], given, sizes)

    def _plan(self, count: int, small: bool) -> KernelPlan:
        """The table of launches for `count` members; one that is `small` in all is not divided among threads."""
        table = []
        traffic = Traffic(0, 0, ()) if small else None
        shared = (count - 1) * self._operands
        for member in range(count):
            values = [
                Value("input", index * count + member if index < self._operands else index + shared)
                for index in self._inputs
            ]
            values += [Value("number", index) for index in self._used]
            values.append(Value("dim", member))
            values += [Value("input", index * count + member) for index in self._results]
            table.append(Launch(self._executable, tuple(values), len(self._results), traffic))
        names = [f"{SIZE}{member}" for member in range(count)]
        return KernelPlan(self._device, table, (), (), (), self._number_types, names, whole=True)


class Updates:
    """Updates by what they do, each compiled once."""

    def __init__(self) -> None:
        self.compiled = 0
        """How many have been compiled."""
        self._known: OrderedDict[object, Update | None] = OrderedDict()

    def find(
        self, nodes: Sequence[Node], changed: Sequence[int], operands: Sequence[Buffer]
    ) -> tuple[Update, list[Buffer], list[Scalar]] | None:
        """The update that gives `operands[changed[i]]` the value `nodes[i]`, with what this run reads beside operands.

        None where it is not elementwise, or needs several kernels.
        """
        drawn = sketch(nodes)
        position = {id(buffer): index for index, buffer in enumerate(operands)}
        places = [position.get(id(buffer), -1) for buffer in drawn.buffers]
        key = (drawn.key, tuple(places), tuple(changed), len(operands))
        if key not in self._known:
            if len(self._known) >= UPDATE_LIMIT:
                self._known.popitem(last=False)
            self._known[key] = _compile(nodes, changed, operands, drawn)
            self.compiled += 1
        found = self._known[key]
        if found is None:
            return None
        shared = [buffer for buffer, at in zip(drawn.buffers, places, strict=True) if at < 0]
        return found, shared, drawn.numbers

    def clear(self) -> None:
        """Forget every update."""
        self._known.clear()


UPDATES = Updates()
"""The updates of this process."""
schedules.on_change(UPDATES.clear)


def _compile(
    nodes: Sequence[Node], changed: Sequence[int], operands: Sequence[Buffer], drawn: Sketch
) -> Update | None:
    device: Any = devices.get(nodes[0].place)
    if not hasattr(device, "executor"):
        return None  # a device with plans of its own
    shape = nodes[0].shape
    unfold_all(nodes)
    normal = normalise(nodes)
    made = normal.graph()
    roots = [made[number] for number in normal.roots]
    try:
        for _, function in compiler.EXPANSION:
            roots = function(roots)
        roots = _of_any_size(roots, shape)
        for _, function in compiler.graph_passes(device.target):
            roots = function(roots)
        return _kernel(device, roots, changed, operands, drawn, normal.buffers, normal.numbers)
    except (_NotElementwise, UndecidedError):
        return None


def _of_any_size(roots: Sequence[Node], shape: tuple[Size, ...]) -> list[Node]:
    """The same elementwise graph on rows of `SIZE` elements.

    Raises:
        _NotElementwise: it is none.
    """
    row = (Dim.variable(SIZE, 1, 1 << 40, 1, 4096),)

    def known(node: Node) -> Node | None:
        if product(node.shape) == 1:
            return node
        if not node.src and node.shape == shape and node.op is not Op.IOTA:
            return Node(node.op, (), node.dtype, row, node.arg, node.place, node.site)
        return None

    def make(node: Node, src: tuple[Node, ...]) -> Node:
        if node.shape != shape:
            raise _NotElementwise
        if node.op in ELEMENTWISE:
            return Node(node.op, src, node.dtype, row, node.arg, node.place, node.site)
        if node.op is Op.EXPAND and product(src[0].shape) == 1:
            return src[0].reshape((1,)).expand(row)
        if node.op is Op.RESHAPE:
            return src[0]
        raise _NotElementwise

    return rebuild(roots, known, make)


def _kernel(
    device: Any,
    roots: Sequence[Node],
    changed: Sequence[int],
    operands: Sequence[Buffer],
    drawn: Sketch,
    buffers: Sequence[Buffer],
    numbers: Sequence[Scalar],
) -> Update | None:
    from lazygrad.codegen.lower import lower
    from lazygrad.schedule.place import place

    schedule = place(roots, device.target.machine)
    if len(schedule.kernels) != 1:
        return None
    (graph,) = schedule.kernels
    roles = {id(node): operand for node, operand in zip(schedule.values, changed, strict=True)}
    if len(roles) != len(changed) or set(roles) != set(map(id, graph.results)):
        return None  # a result that is an operand, or another result
    lowered = _overwriting(lower(graph))

    def make() -> Node:
        kernel = lowered
        for _, function in compiler.KERNEL_PASSES:
            kernel = function(kernel, device.target)
        return kernel

    (executable,) = compiler.KERNELS.codes(device, [compiler.KERNELS.get(device, lowered, make)])
    count = len(operands)
    position = {id(buffer): index for index, buffer in enumerate(operands)}
    shared = [id(buffer) for buffer in drawn.buffers if id(buffer) not in position]
    position |= {buffer: count + index for index, buffer in enumerate(shared)}
    names = {id(number): index for index, number in enumerate(drawn.numbers)}
    return Update(
        device,
        executable,
        count,
        [position[id(buffers[_slot(node)])] for node in graph.inputs],
        [_slot(node) for node in graph.numbers],
        [roles[id(node)] for node in graph.results],
        [(names.get(id(number), -1), number) for number in numbers],
        {_slot(node): node.dtype for node in graph.numbers},
    )


def _slot(node: Node) -> int:
    assert isinstance(node.arg, Slot)
    return node.arg.index


def _overwriting(kernel: Node) -> Node:
    """The kernel with results that may lie where inputs do: each element is read before it is written."""
    swapped: dict[int, Node] = {}
    for param in parameters(kernel):
        assert isinstance(param.arg, Param)
        if param.arg.role == "out":
            arg = Param(param.arg.name, "inout")
            swapped[id(param)] = Node(Op.PARAM, (), param.dtype, param.shape, arg)
    return rebuild([kernel], lambda node: swapped.get(id(node)))[0]
