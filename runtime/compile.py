"""From a normalised graph to a plan: the passes, in the order they run.

In: `Normal` (keys.py). Out: a plan for the device of its roots, and which nodes its outputs are values of. The passes over the
graph are `graph_passes`; then placement makes kernels of it, and `KERNEL_PASSES` make code of each. Each pass is timed,
verified where `config.verify` asks, and shown by runtime/dump.py. Kernels that are the same text are compiled once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from lazygrad import config
from lazygrad.gradient.expand import expand
from lazygrad.ir.args import Slot
from lazygrad.ir.composite import inline
from lazygrad.ir.dim import Size, UndecidedError
from lazygrad.ir.extern import is_result
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rebuild, remake

from . import cache, dump, fingerprint, profile, schedules
from . import device as devices
from .device import Device, Executable
from .history import kept_for_gradients
from .keys import Normal
from .plan import KernelPlan, Launch, Output, Plan, Value, dim_names
from .plans import CompiledPlan, Record
from .temporaries import bytes_of, temporaries

if TYPE_CHECKING:
    from lazygrad.codegen.target import Target
    from lazygrad.schedule.cost import Machine
    from lazygrad.schedule.place import Schedule

    from .schedules import Steps

KERNEL_LIMIT = 1024
"""How many compiled kernels are kept."""


@dataclass(slots=True)
class PassTime:
    """How often a pass ran, how often it changed something, and how long it took in all."""

    runs: int = 0
    changes: int = 0
    seconds: float = 0.0


PASS_TIMES: dict[str, PassTime] = {}
"""Totals of this process by pass."""


# --- the passes


def attach_values(roots: Sequence[Node]) -> list[Node]:
    """Nodes whose value is stored become the BUFFER that has it; a STOP, which no gradient meets any more, its source."""

    def make(node: Node, src: tuple[Node, ...]) -> Node:
        return src[0] if node.op is Op.STOP else remake(node, src)

    return rebuild(roots, lambda node: node.value, make)


def simplify(roots: Sequence[Node]) -> list[Node]:
    """Algebra, constants, movement merged, equal nodes shared."""
    from lazygrad.schedule.simplify import simplify

    return simplify(roots)


GraphPass = Callable[[Sequence[Node]], list[Node]]
KernelPass = Callable[[Node, Any], Node]

EXPANSION: tuple[tuple[str, GraphPass], ...] = (
    ("expand", expand),
    ("attach", attach_values),
    ("inline", inline),
)
"""What every device needs: afterwards there is no GRAD, STOP or CALL."""


def divide_reductions(roots: Sequence[Node], machine: Machine) -> list[Node]:
    """Large reductions to few results in two steps, for threads."""
    from lazygrad.schedule.divide import divide_reductions

    return divide_reductions(roots, machine)


def divide_scans(roots: Sequence[Node]) -> list[Node]:
    """Large scans of few rows in three steps, for a GPU."""
    from lazygrad.schedule.divide_scans import divide_scans

    return divide_scans(roots)


def separate_fills(roots: Sequence[Node]) -> list[Node]:
    """A CONST of its own, so memory of its own, for each root that is one.

    Parameters that begin as zeros are written one by one later: were they one buffer now, the first step would be another
    program than the second.
    """
    seen: set[int] = set()
    result: list[Node] = []
    for root in roots:
        again = root.op is Op.CONST and id(root) in seen
        seen.add(id(root))
        result.append(root.like(()) if again else root)
    return result


def divide_sorts(roots: Sequence[Node]) -> list[Node]:
    """Long sorts in steps, for groups of threads."""
    from lazygrad.codegen.sorting_network import MOST
    from lazygrad.schedule.merging import divide_sorts

    return divide_sorts(roots, MOST)


def graph_passes(target: Target) -> tuple[tuple[str, GraphPass], ...]:
    """What runs before placement for a device with kernels."""
    passes: tuple[tuple[str, GraphPass], ...] = (
        ("simplify", simplify),
        ("divide", partial(divide_reductions, machine=target.machine)),
        ("fills", separate_fills),
    )
    sorts = (("sorts", divide_sorts),) if target.shares else ()
    scans = (("scans", divide_scans),) if target.machine.grid else ()
    return (*sorts, *passes, *scans)


def optimise(kernel: Node, target: Any) -> Node:
    """The transforms that were given or that the cost model chooses, then functions as arithmetic: ready to render.

    Raises:
        ScheduleError: a schedule that was given does not apply.
    """
    from lazygrad.codegen.schedule_text import chooser
    from lazygrad.codegen.transform.access import ScheduleError

    steps = schedules.followed()
    try:
        optimised: Node = chooser(target.language).optimise(kernel, target, steps)
    except ScheduleError as error:
        if steps is None:
            raise
        name = getattr(kernel.arg, "name", "")
        raise ScheduleError(f"the schedule given for kernel {name} does not fit: {error}") from None
    return optimised


KERNEL_PASSES: tuple[tuple[str, KernelPass], ...] = (("optimise", optimise),)
"""What is done to each kernel between lowering and rendering."""


def compile_normal(
    normal: Normal, record: Record | None = None, made: list[Node] | None = None
) -> CompiledPlan:
    """A plan that computes the roots of `normal`, and what it keeps for gradients; `made` is its graph, with Dims perhaps."""
    record = record or Record()
    made = made or normal.graph()
    wanted = list(dict.fromkeys((*normal.roots, *normal.extra)))
    if normal.history:
        leaves = [*normal.history, *normal.interior]
        wanted += kept_for_gradients(made, wanted, leaves, normal.watched)
    wanted += results_beside(made, wanted)
    roots = [made[number] for number in wanted]
    for name, function in EXPANSION:
        roots = graph_pass(name, function, roots, record)
    if normal.copies or any(node.op is Op.EXTERN for node in postorder(roots)):
        from .stages import staged_plan

        record.plan = staged_plan(roots, len(normal.buffers), record)
    else:
        record.plan = compile_on(normal.nodes[wanted[0]].place, roots, record)
    return CompiledPlan(record.plan, wanted)


def results_beside(made: Sequence[Node], wanted: Sequence[int]) -> list[int]:
    """The results of host calls that are to be kept too: all of those calls that the wanted nodes need, outside of gradients.

    They are there as soon as one of them is, and whoever reads another one, or a gradient, needs no second call.
    """
    found = [n for n, node in enumerate(made) if is_result(node) and node.value is None]
    if not found:
        return []
    calls: set[int] = set()
    seen: set[int] = set()
    stack = [made[number] for number in wanted]
    while stack:
        node = stack.pop()
        if id(node) in seen or node.value is not None or node.op is Op.GRAD:
            continue
        seen.add(id(node))
        if node.op is Op.EXTERN:
            calls.add(id(node))
        stack.extend(node.src)
    return [n for n in found if id(made[n].src[0]) in calls and n not in wanted]


def compile_general(normal: Normal, made: list[Node]) -> CompiledPlan:
    """The same for a graph with Dims.

    Raises:
        UndecidedError: the graph, or some pass, cannot do without the numbers.
    """
    from lazygrad.ir.verify import VerificationError, verify_graph

    try:
        verify_graph([made[number] for number in normal.roots])
        return compile_normal(normal, made=made)
    except (VerificationError, TypeError, NotImplementedError) as error:
        raise UndecidedError(str(error), getattr(error.__cause__, "question", ())) from error


IN_HOST_MEMORY = {"cpu", "interpret"}
"""Devices that read each other's memory."""


def compile_on(place: str, roots: Sequence[Node], record: Record) -> Plan:
    """A plan for a graph of one device.

    Raises:
        RuntimeError: it reads memory of another device.
    """
    device = devices.get(place) if place else devices.default()
    reached = {node.place for node in postorder(roots) if node.op is Op.BUFFER} - {"", device.name}
    if reached and not {device.name, *reached} <= IN_HOST_MEMORY:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{device.name} and {min(reached)}!"
        )
    record.device = device.name
    if is_kernel_device(device):
        return compile_graph(device, roots, record)
    record.given.append(list(roots))
    record.graph.extend(roots)
    dump.graph(roots)
    return device.compile(roots)


def expanded(normal: Normal, wanted: Sequence[int]) -> list[Node]:
    """Some nodes of a key as the interpreter runs them, without a trace of the passes."""
    made = normal.graph()
    roots = [made[number] for number in wanted]
    for _, function in EXPANSION:
        roots = function(roots)
    return roots


def is_kernel_device(device: Device) -> bool:
    """Whether a device runs kernels; the interpreter runs graphs."""
    return hasattr(device, "build")


def graph_pass(name: str, function: GraphPass, roots: Sequence[Node], record: Record) -> list[Node]:
    """Run one pass over a graph: timed, verified, shown."""
    start = perf_counter()
    result = function(roots)
    _count(
        name,
        perf_counter() - start,
        any(a is not b for a, b in zip(roots, result, strict=True)),
        record,
    )
    if config.current.verify:
        verify(result)
    dump.after_pass(name, "graph", list(roots), result)
    return result


def kernel_pass(name: str, function: KernelPass, kernel: Node, target: Any, record: Record) -> Node:
    """Run one pass over a kernel: timed, verified, shown."""
    start = perf_counter()
    result = function(kernel, target)
    _count(name, perf_counter() - start, result is not kernel, record)
    if config.current.verify:
        verify([result])
    dump.after_pass(name, "kernel", [kernel], [result])
    return result


def verify(roots: Sequence[Node]) -> None:
    """Check the grammar of what a pass made."""
    from lazygrad.ir.verify import verify_graph, verify_kernel

    if len(roots) == 1 and roots[0].op is Op.KERNEL:
        verify_kernel(roots[0])
    else:
        verify_graph(roots)


def _count(name: str, seconds: float, changed: bool, record: Record) -> None:
    record.seconds[name] = record.seconds.get(name, 0.0) + seconds
    total = PASS_TIMES.setdefault(name, PassTime())
    total.runs += 1
    total.changes += changed
    total.seconds += seconds
    profile.passed(name, seconds, changed)


# --- kernels


class Compiled:
    """A kernel: as it is rendered, and its code; each is made when it is first asked for."""

    __slots__ = ("_kernel", "_make", "executable", "given", "text")

    def __init__(
        self,
        text: str,
        make: Callable[[], Node],
        executable: Executable | None = None,
        given: Steps | None = None,
    ) -> None:
        self.text = text
        """What it was lowered to."""
        self.executable = executable
        self.given = given
        """The schedule that it gets in the place of the cost model's choice."""
        self._make = make
        self._kernel: Node | None = None

    @property
    def kernel(self) -> Node:
        """The KERNEL node after its passes."""
        if self._kernel is None:
            with schedules.following(self.given):
                self._kernel = self._make()
        return self._kernel

    def schedule(self, device: Any) -> Steps:
        """The steps that make it what it is."""
        from lazygrad.codegen.schedule_text import chooser
        from lazygrad.ir.parse import parse

        if self.given is not None:
            return self.given
        (kernel,) = parse(self.text)
        chosen = chooser(device.target.language)
        return tuple(chosen.choose(chosen.prepared(kernel, device.target), device.target))

    def settle(self, device: Any) -> None:
        """Let go of the program that this was a kernel of: what is asked for from now on is made from the text."""
        text = self.text
        self._make = lambda: from_text(device, text)


class KernelCache:
    """Kernels by device, target and the text they were lowered to, the least recently used dropped first.

    The text before any transform is the key: it is small, and what is done with it depends on it and on the target alone. So it
    is in the cache directory, too, where a changed program finds the kernels that have not changed.
    """

    def __init__(self, limit: int = KERNEL_LIMIT) -> None:
        self.limit = limit
        self.hits = 0
        self.built = 0
        self._kernels: OrderedDict[object, Compiled] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, device: Any, lowered: Node, make: Callable[[], Node]) -> Compiled:
        """The kernel that `lowered` becomes, from `make` where it is new; as this program wrote it, with its lines, for who looks."""
        from lazygrad.ir.text import show

        text = show(lowered, sites=False)
        name = lowered.arg.name  # type: ignore[union-attr]
        with self._lock:
            given = schedules.by_hand(device.name, name)
            if given is None:
                given = searched(device, lowered, text)
            key = (device.name, device.target, text, given)
            found = self._kernels.get(key)
            if found is not None:
                self.hits += 1
                profile.instant("kernel cache hit", "cache", kernel=name)
                self._kernels.move_to_end(key)
                if config.active().unseen:
                    return found
                return Compiled(text, make, found.executable, given)
            made = self._kernels[key] = Compiled(text, make, None, given)
            while len(self._kernels) > self.limit:
                self._kernels.popitem(last=False)
            return made

    def codes(self, device: Any, compiled: Sequence[Compiled]) -> list[Executable]:
        """The code of kernels: found in the cache directory, or built, all together, at their first use."""
        with self._lock:
            first: dict[str, Compiled] = {}
            for each in compiled:
                if each.executable is None:
                    first.setdefault(each.text, each)
            new = list(first.values())
            stored = self._stored(device, new)
            missing = [each for each in new if each.executable is None]
            asked = [partial(getattr, each, "kernel") for each in missing]
            for each, built in zip(missing, device.build_all(asked), strict=True):
                each.executable = built
                self.built += 1
                if stored is not None:
                    stored(each)
            for each in compiled:
                if each.text in first:
                    each.executable = first[each.text].executable
                    each.settle(device)
            return [each.executable for each in compiled if each.executable is not None]

    def _stored(self, device: Any, new: Sequence[Compiled]) -> Callable[[Compiled], None] | None:
        """Give those kernels that the cache directory has their code; what stores another one there, where there is a directory."""
        store = cache.store() if config.active().unseen and hasattr(device, "restore") else None
        program = fingerprint.known_program(store) if store is not None else None
        if store is None or program is None:
            return None
        from . import records

        def name(each: Compiled) -> str:
            given = "" if each.given is None else repr(each.given)
            parts = (program, device.signature.encode(), each.text.encode(), given.encode())
            return f"{cache.digest(b'kernel', *parts)}.kernel"

        for each in new:
            content = store.read(name(each))
            if content is not None:
                each.executable = records.kernel_from_bytes(device, content)
            if each.executable is not None:
                found = each.executable.name
                profile.instant("kernel from the cache directory", "cache", kernel=found)
        return lambda each: store.write(name(each), records.kernel_to_bytes(each.executable))


def searched(device: Any, kernel: Node, text: str) -> Steps | None:
    """The best schedule of a kernel that a search has found, or finds now where LAZYGRAD_SEARCH asks for one."""
    from . import winners

    known = winners.found(device, text)
    count = config.active().search
    schedules.compiled(count)
    if count and (known is None or known.measured < count):
        from .search import search

        known = search(device, kernel, text, count)
    return None if known is None else known.steps


def from_text(device: Any, text: str) -> Node:
    """The kernel that the text of a lowered one becomes, without the user's lines."""
    from lazygrad.ir.parse import parse

    (kernel,) = parse(text)
    for _, function in KERNEL_PASSES:
        kernel = function(kernel, device.target)
    return kernel


KERNELS = KernelCache()
"""The compiled kernels of this process."""


def compile_graph(
    device: Any, roots: Sequence[Node], record: Record | None = None, lends: bool = True
) -> Plan:
    """A plan of kernels for a graph without GRAD, STOP and CALL.

    `lends`: the memory of its results may hold what is between kernels until they are written.
    """
    record = record or Record()
    record.given.append(list(roots))
    roots, schedule, compiled = make_kernels(device, roots, record)
    start = perf_counter()
    executables = KERNELS.codes(device, compiled)
    _count("build", perf_counter() - start, True, record)
    return _table(device, roots, schedule, executables, compiled, lends)


def make_kernels(
    device: Any, roots: Sequence[Node], record: Record
) -> tuple[list[Node], Schedule, list[Compiled]]:
    """The simplified graph, its schedule, and a KERNEL node for each of its kernels, ready to render."""
    from lazygrad.codegen.lower import lower
    from lazygrad.schedule.place import place
    from lazygrad.schedule.slices import slice_inputs

    roots = list(roots)
    for name, function in graph_passes(device.target):
        roots = graph_pass(name, function, roots, record)
    record.graph.extend(roots)
    dump.graph(roots)
    start = perf_counter()
    schedule = place(roots, device.target.machine)
    if getattr(device, "parts", False):
        slice_inputs(schedule.kernels)
    _count("place", perf_counter() - start, True, record)
    record.schedule.extend(schedule.kernels)
    dump.schedule(schedule.kernels)
    compiled: list[Compiled] = []
    same: dict[object, Compiled] = {}
    unseen = config.active().unseen
    for kernel_graph in schedule.kernels:
        structure = kernel_graph.structure() if unseen else object()
        if structure in same:
            compiled.append(same[structure])
            KERNELS.hits += 1
            continue
        start = perf_counter()
        lowered = lower(kernel_graph, groups=device.target.shares)
        _count("lower", perf_counter() - start, True, record)
        if config.current.verify:
            verify([lowered])
        dump.after_pass("lower", "kernel", [], [lowered])

        def make(kernel: Node = lowered) -> Node:
            for name, kernel_function in KERNEL_PASSES:
                kernel = kernel_pass(name, kernel_function, kernel, device.target, record)
            return kernel

        compiled.append(KERNELS.get(device, lowered, make))
        same[structure] = compiled[-1]
        if not unseen:
            dump.kernel(device, compiled[-1].kernel)
    record.compiled.extend(compiled)
    return roots, schedule, compiled


def _table(
    device: Any,
    roots: Sequence[Node],
    schedule: Schedule,
    executables: Sequence[Executable],
    compiled: Sequence[Compiled],
    lends: bool,
) -> Plan:
    """The launches of a schedule: where each param's value comes from, and where results go."""
    from lazygrad.schedule.slices import origin
    from lazygrad.schedule.traffic import traffic

    outputs: list[Output] = []
    where: dict[int, Value] = {}
    made: list[Size] = []
    for node in schedule.values:
        if node.op is Op.BUFFER:
            assert isinstance(node.arg, Slot)
            outputs.append(Output("input", node.arg.index))
            continue
        if id(node) not in where:
            where[id(node)] = Value("output", len(made))
            made.append(bytes_of(node))
        outputs.append(Output("new", where[id(node)].index))
    blocks = temporaries(schedule.kernels, where, made if lends else ())
    dims = dim_names(roots)
    table: list[Launch] = []
    number_types: dict[int, Any] = {}
    for kernel_graph, executable in zip(schedule.kernels, executables, strict=True):
        values: list[Value] = []
        for node in kernel_graph.inputs:
            base, begin = origin(node, where)
            value = _slot("input", base) if base.op is Op.BUFFER else where[id(base)]
            values.append(replace(value, start=begin) if begin else value)
        for node in kernel_graph.numbers:
            values.append(_slot("number", node))
            number_types[values[-1].index] = node.dtype
        values += [Value("dim", dims.index(name)) for name in kernel_graph.dims]
        results = kernel_graph.results
        values += [where[id(node)] for node in results]
        table.append(Launch(executable, tuple(values), len(results), traffic(kernel_graph)))
    make: Any = getattr(device, "plan", KernelPlan)
    plan: Plan = make(device, table, outputs, made, blocks, number_types, dims)
    if config.current.verify:
        from .oracle import CheckedPlan

        return CheckedPlan(plan, schedule.kernels, [each.kernel for each in compiled])
    return plan


def _slot(kind: Any, node: Node) -> Value:
    assert isinstance(node.arg, Slot)
    return Value(kind, node.arg.index)
