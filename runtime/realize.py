"""Computing what is asked for: key -> plan -> run -> values on the nodes.

In: nodes. Afterwards each has a `value`. A plan is compiled when its key is new, once whatever the number of threads that ask,
and kept; plans that have not run for long make room. Values are attached when everything has run: an error leaves every
node as it was.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lazygrad import config
from lazygrad.ir.args import Drawn, Scalar
from lazygrad.ir.dim import UndecidedError
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.ir.template import unfold, unfold_all
from lazygrad.schedule.dims import Pattern, narrowed

from . import device as devices
from . import profile, schedules
from .families import (
    PATTERN_LIMIT,
    Family,
    deserves_its_own,
    note,
    pattern_for,
    symbolic_graph,
    take_apart,
)
from .history import watch_recorded
from .keys import Entry, Normal, normalise
from .memory import Buffer
from .plan import ERRORS
from .plans import CompiledPlan, Record, plan_for
from .resized import Resized, likeness, with_sizes
from .sketch import Sketch, sketch
from .steady import (
    COMPUTED,
    DEPTH_BUDGET,
    STEADY,
    Written,
    keep_again,
    keep_data,
    keep_live,
    live_values,
    reads_again,
)

if TYPE_CHECKING:
    from lazygrad.config import Settings

__all__ = [
    "DEPTH_BUDGET",
    "PLANS",
    "after_backward",
    "after_write",
    "before_write",
    "compile_only",
    "deep",
    "graph_lock",
    "realize",
    "recording",
    "release",
    "submit",
]

PLAN_LIMIT = 1024
"""How many plans are kept."""


Variant = tuple[object, ...]


class Ready:
    """What a key that was seen before needs: its plan, and how the values of a run fill it in."""

    __slots__ = ("buffers", "dims", "numbers", "outputs", "plan", "tries", "turn")

    def __init__(
        self,
        found: CompiledPlan,
        buffers: tuple[int, ...] | None,
        numbers: tuple[tuple[int, Scalar], ...] | None,
        outputs: tuple[tuple[int, int, bool], ...],
    ) -> None:
        self.plan = found.plan
        self.dims = found.dims
        self.buffers = buffers
        """The buffer of this key that is each buffer of the plan; None where they are the same."""
        self.numbers = numbers
        """For each number of the plan the number of this key (-1 for none), and the value of one that a template has."""
        self.outputs = outputs
        """For each result the node, the line of its template (-1 for the node itself), and whether no gradient looks behind it."""
        self.turn: Any = None
        """What came after it, up to the next run, where that is known (lazygrad/turns)."""
        self.tries = 0
        """How often it has run with nothing known of what comes after it, and how often that was tried to be found out."""


class PlanCache:
    """Plans by key, the least recently used dropped first. A key is compiled by one thread; others wait for it."""

    def __init__(self, limit: int = PLAN_LIMIT) -> None:
        self.limit = limit
        self.compiled = 0
        """How many plans have been compiled so far."""
        self.ready: OrderedDict[Entry, Ready] = OrderedDict()
        """By the key as it is first made, with APPLYs in it and the states of its nodes: the latest `limit`."""
        self._resized: OrderedDict[Entry, Resized] = OrderedDict()
        """The same for plans with dims, by that key without its sizes."""
        self._plans: OrderedDict[Any, CompiledPlan] = OrderedDict()
        self._families: OrderedDict[Entry, Family] = OrderedDict()
        self._lock = threading.RLock()
        self._pending: dict[object, threading.Event] = {}

    def find(self, key: Entry) -> CompiledPlan | None:
        """The plan of a key, if there is one."""
        found = self._plans.get(key)
        if found is not None:
            try:
                self._plans.move_to_end(key)
            except KeyError:
                pass  # another thread has just dropped it
        return found

    def keep(self, drawn: Sketch, normal: Normal, ready: Ready, found: CompiledPlan) -> None:
        """Remember what a sketch needs; where its plan has dims, for sketches that differ in sizes alone, too."""
        _latest(self.ready, drawn.key, ready, self.limit)
        if found.pattern is not None:
            alike, sizes = likeness(drawn.key)
            vector = take_apart(normal).vector
            if set(vector) <= set(sizes):
                resized = Resized(ready, found, found.pattern, sizes, vector)
                _latest(self._resized, alike, resized, self.limit)

    def resized(self, drawn: Sketch) -> Ready | None:
        """What a sketch needs that is like one before but for its sizes; None where that is not known."""
        if not self._resized:
            return None
        alike, sizes = likeness(drawn.key)
        known = self._resized.get(alike)
        found = None if known is None else known.bind(sizes)
        if known is None or found is None:
            return None
        ready = Ready(found, known.buffers, known.numbers, known.outputs)
        _latest(self.ready, drawn.key, ready, self.limit)
        return ready

    def get(self, normal: Normal, variant: Variant | None = None) -> CompiledPlan:
        """The plan of a key, compiled if need be; `variant` tells plans apart that are compiled under observation."""
        key = normal.key if variant is None else (normal.key, variant)
        while True:
            with self._lock:
                found = self._plans.get(key)
                if found is not None:
                    return found
                pending = self._pending.get(key)
                if pending is None:
                    event = self._pending[key] = threading.Event()
                    break
            pending.wait()
        try:
            with profile.span("make plan", "compile", nodes=len(normal.nodes)):
                plan = self._make(normal, observed=variant is not None)
            with self._lock:
                self._plans[key] = plan
                while len(self._plans) > self.limit:
                    self._plans.popitem(last=False)
            return plan
        finally:
            with self._lock:
                del self._pending[key]
            event.set()

    def _make(self, normal: Normal, observed: bool) -> CompiledPlan:
        """The plan of a new key: one of its family with dims that fit, a new one, or one for its sizes alone."""
        sizes = take_apart(normal)
        with self._lock:
            family = self._families.setdefault(sizes.structure, Family())
            self._families.move_to_end(sizes.structure)
            while len(self._families) > self.limit:
                self._families.popitem(last=False)
        alone = observed or deserves_its_own(family, sizes)
        if not alone:
            for known, plan in family.plans:
                bound = known.bind(sizes.vector)
                if bound is not None:
                    return with_sizes(plan, known, bound)
        if "recompile" in config.current.explain:
            from . import dump

            dump.explain_compile(normal, [key for key in list(self._plans) if len(key) > 2])
        with self._lock:
            self.compiled += 1
            pattern = None if alone else pattern_for(family, sizes)
            family.heavy += alone and not observed
            note(family, sizes)
        bound = None if pattern is None else pattern.bind(sizes.vector)
        if pattern is not None and bound is not None:  # a size may be more than a Dim can be
            general = symbolic_plan(normal, pattern, [*family.vectors, sizes.vector])
            bound = None if general is None else general[0].bind(sizes.vector)
            if general is not None and bound is not None:
                with self._lock:
                    family.plans.insert(0, general)
                    del family.plans[PATTERN_LIMIT:]
                return with_sizes(general[1], general[0], bound)
        return plan_for(normal)

    def clear(self) -> None:
        """Forget every plan."""
        with self._lock:
            self.ready.clear()
            self._resized.clear()
            self._plans.clear()
            self._families.clear()
        STEADY.forget()


def _latest(kept: OrderedDict[Entry, Any], key: Entry, value: Any, limit: int) -> None:
    """Keep one more, and as many as there may be."""
    if len(kept) >= limit:
        kept.popitem(last=False)
    kept[key] = value


QUESTION_LIMIT = 8
"""How many questions about a graph with dims may be answered by bounds."""


def symbolic_plan(
    normal: Normal, pattern: Pattern, vectors: Sequence[Sequence[int]]
) -> tuple[Pattern, CompiledPlan] | None:
    """A plan with the dims of a pattern, or None where some pass cannot do without the numbers.

    Where their bounds leave a question open, the pattern that is returned is for sizes of which it has the answer that it has of `vectors`.
    """
    for _ in range(QUESTION_LIMIT):
        try:
            return pattern, plan_for(normal, general=symbolic_graph(normal, pattern))
        except (UndecidedError, TypeError) as error:
            less = narrowed(pattern, getattr(error, "question", ()), vectors)
            if less is None:
                if "recompile" in config.current.explain:
                    from . import dump

                    dump.say(f"compiles for these sizes alone: {error}")
                return None
            pattern = less
    return None


PLANS = PlanCache()
"""The plans of this process."""
schedules.on_change(PLANS.clear)

FAILURES = tuple(ERRORS.values())
"""What a failed check raises."""

graph_lock = threading.RLock()
"""Held while nodes are walked and while values are attached: a node that gets its value may lose its sources."""


def realize(nodes: Sequence[Node], history: Sequence[Node] = (), why: str = "") -> None:
    """Give every node its value.

    `history`: differentiable leaves. When given, what a later gradient of the nodes with respect to them will read, and what is
    expensive to compute again (contractions, reductions), gets its value too, in the same plan. `why` is for explanations.

    Raises:
        IndexError, RuntimeError, ZeroDivisionError: a check failed; no node has changed.
    """
    with graph_lock:
        asked = [node for node in nodes if node.value is None]
        if not asked:
            return
        waiting = STEADY.nodes()
    if waiting:
        try:
            _run(asked, waiting, history, why)
        except FAILURES:
            pass  # it may be the fault of a value that nobody has asked for
        else:
            STEADY.done()
            return
        STEADY.done()
    _run(asked, (), history, why)


def _run(asked: Sequence[Node], waiting: Sequence[Node], history: Sequence[Node], why: str) -> None:
    """Compute what is asked for and what waits, and keep what will be read again."""
    settings = config.active()
    if settings.search:
        schedules.search(settings.search)
    if STEADY.records is not None or STEADY.observer is not None:
        with profile.read(why):
            return _run_slowly(None, asked, waiting, history, why)
    with graph_lock:
        drawn = sketch((*asked, *waiting), history, len(asked), STEADY.through and bool(waiting))
        STEADY.through = drawn.through
    if asked and waiting:
        behind = drawn.behind(len(asked), len(waiting), len(history))
        STEADY.reads(behind)
        if behind:
            # a step, and the begin of the next one: their plans are the same whether or not somebody reads in between
            _run((), waiting, (), "a step ended")
            return _run(asked, (), history, why)
    if not settings.plain:
        del drawn  # its list of nodes would count as a reference to each (keep_live)
        with profile.read(why):
            return _run_slowly(None, asked, waiting, history, why)
    ready = PLANS.ready.get(drawn.key) or PLANS.resized(drawn)
    if ready is None:
        return _run_slowly(drawn, asked, waiting, history, why)
    buffers: Sequence[Buffer] = drawn.buffers
    if ready.buffers is not None:
        buffers = [buffers[index] for index in ready.buffers]
    numbers: Sequence[Scalar] = drawn.numbers
    if ready.numbers is not None:
        numbers = [value if index < 0 else numbers[index] for index, value in ready.numbers]
    try:
        results = ready.plan.run(buffers, numbers, ready.dims)
    except FAILURES:
        # The plan that names the line is the one of the graph with all its nodes.
        return _run_slowly(None, asked, waiting, history, why)
    nodes = drawn.nodes
    bodies: dict[int, list[Node]] = {}
    with graph_lock:
        for (number, line, free), buffer in zip(ready.outputs, results, strict=True):
            node = nodes[number]
            if line >= 0:
                if number not in bodies:
                    bodies[number] = unfold(node)
                node = bodies[number][line]
            if node.value is None:
                node.value = buffer
                node.depth = 0
                if free:
                    release(node)
        for node in nodes:
            if node.value is None:
                node.depth = COMPUTED
    STEADY.runs += 1
    if on_run is not None:
        on_run(drawn, ready, results)


on_run: Callable[[Sketch | None, Ready | None, Sequence[Buffer]], None] | None = None
"""Who is told of the runs of a plain loop: lazygrad/turns."""


def _run_slowly(
    drawn: Sketch | None,
    asked: Sequence[Node],
    waiting: Sequence[Node],
    history: Sequence[Node],
    why: str,
) -> None:
    """Run a program as one who sees it for the first time; remember it for its sketch if there is one."""
    if on_run is not None:
        on_run(None, None, ())
    settings = config.active()
    origins: dict[int, tuple[int, int]] = {}
    with graph_lock:
        if drawn is None:
            unfold_all((*asked, *waiting))
        else:
            for number, node in enumerate(drawn.nodes):
                if node.op is Op.APPLY:
                    # no name may stay behind that holds a node: what is held is kept
                    lines = enumerate(map(id, unfold(node)[:-1]))
                    origins.update((each, (number, line)) for line, each in lines)
        normal = normalise((*asked, *waiting), history)
        if not history:
            watch_recorded(normal, len(asked))
        if reads_again(normal, len(asked)):
            keep_again(normal, len(asked))
            if asked:
                STEADY.reads_again()
        lists = 1 + (drawn is not None)
        if not asked:
            keep_data(normal, lists)
        elif not history:
            keep_live(normal, len(asked), lists)
    if settings.explain and "realize" in settings.explain:
        from . import dump

        dump.explain_run(asked or waiting, why)
    if STEADY.records is not None:
        STEADY.records.append(Record())
        found = plan_for(normal, STEADY.records[-1])
    elif settings.verify or settings.dump or settings.dump_passes:
        found = PLANS.get(normal, _observed(settings))
    else:
        known = PLANS.find(normal.key)
        found = known if known is not None else PLANS.get(normal)
        if known is not None:
            profile.instant("plan cache hit", "cache")
    if drawn is not None and fills(normal):
        PLANS.keep(drawn, normal, _ready(drawn, normal, found, origins), found)
    try:
        results = profile.run(found.plan, normal.buffers, normal.numbers, found.dims)
    except FAILURES as error:
        raise _located(normal, found, error) from None
    if settings.debug_nans:
        _find_nans(normal, found, results)
    if STEADY.observer is not None:
        STEADY.observer.ran(normal, found, results)
    attach(normal, found, results)
    STEADY.runs += 1


def fills(normal: Normal) -> bool:
    """Whether every number that is another one in the next run is an argument of the plan."""
    return not any(
        entry[0] is Op.CONST and node.arg.value.__class__ is Drawn  # type: ignore[union-attr]
        for entry, node in zip(normal.entries, normal.nodes)
    )


def _ready(
    first: Sketch, normal: Normal, found: CompiledPlan, origins: dict[int, tuple[int, int]]
) -> Ready:
    """How the values that `first` finds fill in the plan that was found for the same graph unfolded."""
    slots = {id(buffer): index for index, buffer in enumerate(first.buffers)}
    buffers: tuple[int, ...] | None = tuple([slots[id(buffer)] for buffer in normal.buffers])
    if buffers == tuple(range(len(first.buffers))):
        buffers = None
    names = {id(number): index for index, number in enumerate(first.numbers)}
    numbers: tuple[tuple[int, Scalar], ...] | None
    numbers = tuple([(names.get(id(number), -1), number) for number in normal.numbers])
    if [index for index, _ in numbers] == list(range(len(first.numbers))):
        numbers = None
    places = {id(node): (number, -1) for number, node in enumerate(first.nodes)}
    outputs = []
    for number in found.attach:
        node = normal.nodes[number]
        place = places.get(id(node)) or origins[id(node)]
        outputs.append((*place, node.op is Op.STOP or number in normal.free))
    return Ready(found, buffers, numbers, tuple(outputs))


# --- for lg.lower


@contextmanager
def recording(records: list[Record]) -> Iterator[None]:
    """In this thread, compile what runs anew and leave a record of it; pending writes from before stay as they were."""
    with STEADY.apart(records):
        yield


def compile_only(nodes: Sequence[Node], records: list[Record]) -> None:
    """Compile what `realize(nodes)` would, and leave a record of it."""
    with graph_lock:
        unfold_all(nodes)
        normal = normalise(nodes)
    records.append(Record())
    plan_for(normal, records[-1])


# --- what the tensor layer reports


def before_write(storage: Written) -> None:
    """A storage is about to be written in place: run what is pending first, where a loop comes round."""
    if STEADY.tracing is not None:
        STEADY.tracing.wrote(storage)
        return
    if STEADY.writes(storage):
        submit("a loop came round")
        STEADY.wrote_after_submit(storage)


def after_write() -> None:
    """A storage has been written in place: run what is pending where a step ends."""
    if STEADY.whole_turn is not None and STEADY.ends_turn():
        submit("a step ended")


def after_backward() -> None:
    """A backward pass is built: storages written before it belong to an earlier step."""
    STEADY.backward()


def deep(node: Node) -> None:
    """A value is more than `DEPTH_BUDGET` operations deep: compute it, at a place where its loop comes round."""
    if STEADY.tracing is None and STEADY.cut(node):
        STEADY.leave()
        with graph_lock:
            order = []
            if node.value is None:
                others = [other for other in STEADY.deep_values(node.place) if other is not node]
                order = sketch([node, *others]).nodes
                del others  # live_values counts references
            waiting = [node, *(other for other in live_values(order) if other is not node)]
        if order:
            _run((), waiting, (), "a chain of operations grew long")


def submit(why: str = "") -> None:
    """Compute every pending write.

    Raises:
        IndexError, RuntimeError, ZeroDivisionError: a check failed; nothing has changed, and nothing is pending any more.
    """
    waiting = STEADY.nodes()
    STEADY.done()
    if waiting:
        _run((), waiting, (), why)


def _observed(settings: Settings) -> Variant:
    """The settings that a compilation shows itself to: a plan that was compiled under others is compiled again."""
    return (
        settings.verify, settings.dump, settings.dump_passes, settings.dump_filter, settings.dump_to, settings.dump_diff,
    )  # fmt: skip


def _located(normal: Normal, found: CompiledPlan, error: Exception) -> Exception:
    """The error of a failed check with the line of the operation; other errors, and those on several devices, as they are."""
    from .compile import expanded
    from .oracle import VerificationError as Mismatch
    from .oracle import located

    if isinstance(error, Mismatch) or normal.copies:
        return error
    device = devices.get(normal.nodes[found.attach[0]].place)
    return located(error, expanded(normal, found.attach), device, normal.buffers, normal.numbers)


def _find_nans(normal: Normal, found: CompiledPlan, results: Sequence[Buffer]) -> None:
    """LAZYGRAD_DEBUG_NANS: where a result holds a NaN, name the operation that made the first one."""
    from .compile import expanded
    from .oracle import explain_nan, has_nan

    for number, buffer in zip(found.attach, results, strict=True):
        node = normal.nodes[number]
        if has_nan(devices.get(node.place), node, buffer) and not normal.copies:
            roots = expanded(normal, found.attach)
            explain_nan(roots, devices.get(node.place), normal.buffers, normal.numbers)


def attach(normal: Normal, found: CompiledPlan, results: Sequence[Buffer]) -> None:
    """Hang the results on their nodes; mark what was computed and not kept."""
    nodes = normal.nodes
    with graph_lock:
        for number, buffer in zip(found.attach, results, strict=True):
            node = nodes[number]
            if node.value is None:
                node.value = buffer
                node.depth = 0
                if node.op is Op.STOP or number in normal.free:
                    release(node)
        for node in nodes:
            if node.value is None:
                node.depth = COMPUTED


def release(node: Node) -> None:
    """Make a leaf of a node that has a value and that no gradient will look behind: what it was made of can go."""
    with graph_lock:
        if node.value is not None:
            node.op = Op.BUFFER
            node.arg = None
            node.src = ()
