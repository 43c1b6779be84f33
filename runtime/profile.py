"""LAZYGRAD_PROFILE and `lg.profile`: where the time went, as a trace that Perfetto (ui.perfetto.dev) and Chrome open.

In: spans that the compiler and the executor of plans report while `config.profile` names a file. Out: that file, in Chrome's trace
event format, written at exit, at the end of `profile`, and by `Trace.flush`; whole or not at all. Plans run launch by launch
while they are watched, each kernel timed with its bytes and flops; where nobody watches, nothing here is called for a known
program. A forked child records into a file of its own, out.<pid>.json.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from lazygrad import config

from .plan import KernelPlan, Launch, Value

if TYPE_CHECKING:
    from lazygrad.ir.args import Scalar
    from lazygrad.ir.dim import Size

    from .memory import Buffer
    from .plan import Plan

EVENT_LIMIT = 1_000_000
"""How many events a trace keeps; later ones are counted only."""

Arguments = dict[str, Any]
Event = tuple[str, str, int, int, int, Arguments]
"""Name, category, start and duration in nanoseconds (-1 for an instant), thread, arguments."""


class Trace:
    """The events of one process, on their way to one file."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.dropped = 0
        self.events: list[Event] = []
        self.threads: dict[int, str] = {}
        self._lock = threading.RLock()

    def add(self, name: str, category: str, start: int, duration: int, **arguments: Any) -> None:
        """An event of this thread; times in nanoseconds of `perf_counter_ns`."""
        thread = threading.get_native_id()
        if thread not in self.threads:
            self.threads[thread] = threading.current_thread().name
        if len(self.events) < EVENT_LIMIT:
            self.events.append((name, category, start, duration, thread, arguments))
        else:
            self.dropped += 1

    def kernel(self, launch: Launch, start: int, duration: int, sizes: Mapping[str, int]) -> None:
        """A launch: what it moved and computed, and how fast."""
        traffic = launch.traffic
        arguments: Arguments = {}
        if traffic is not None:
            moved, computed = number(traffic.bytes, sizes), number(traffic.flops, sizes)
            nanoseconds = max(duration, 1)
            arguments = {
                "bytes": moved,
                "flops": computed,
                "GB/s": round(moved / nanoseconds, 3),
                "GFLOP/s": round(computed / nanoseconds, 3),
                "lines": ", ".join(traffic.lines),
            }
        self.add(launch.executable.name, "kernel", start, duration, **arguments)

    def flush(self) -> None:
        """Write what has been recorded so far: to a file beside, which then takes the place of the old one."""
        import json

        with self._lock:
            temporary = f"{self.path}.{os.getpid()}.tmp"
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            try:
                with open(temporary, "w") as file:
                    json.dump(self._document(), file, separators=(",", ":"), default=str)
                os.replace(temporary, self.path)
            finally:
                if os.path.exists(temporary):
                    os.remove(temporary)

    def _document(self) -> dict[str, Any]:
        process = os.getpid()
        script = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
        listed: list[dict[str, Any]] = [_about("process_name", process, 0, f"{script} (lazygrad)")]
        for thread, name in list(self.threads.items()):
            listed.append(_about("thread_name", process, thread, name))
        for name, category, start, duration, thread, arguments in sorted(
            self.events[:], key=_order
        ):
            event: dict[str, Any] = {
                "name": name, "cat": category, "ph": "X", "ts": start / 1e3, "dur": duration / 1e3, "pid": process, "tid": thread,
            }  # fmt: skip
            if duration < 0:
                del event["dur"]
                event.update(ph="i", s="t")
            if arguments:
                event["args"] = arguments
            listed.append(event)
        return {
            "traceEvents": listed,
            "displayTimeUnit": "ms",
            "otherData": {
                "device": config.current.device,
                "events dropped": self.dropped,
            },
        }

    def at_exit(self) -> None:
        """The last flush; a file that cannot be written is no reason to fail then."""
        try:
            self.flush()
        except OSError as error:
            print(f"lazygrad: cannot write the profile {self.path}: {error}", file=sys.stderr)

    def after_fork(self) -> None:
        """In a child: what the parent recorded is the parent's."""
        base, suffix = os.path.splitext(self.path)
        self.path = f"{base}.{os.getpid()}{suffix}"
        self.events, self.threads, self.dropped = [], {}, 0
        self._lock = threading.RLock()
        library = sys.modules.get("multiprocessing.util")
        if library is not None:  # its children leave by os._exit, after functions of its own
            library.register_after_fork(
                self, lambda trace: library.Finalize(None, trace.at_exit, exitpriority=0)
            )


def _order(event: Event) -> tuple[int, int]:
    """Events as they began, the longer first: one stands before those inside of it."""
    return event[2], -event[3]


def _about(name: str, process: int, thread: int, value: str) -> dict[str, Any]:
    return {"name": name, "ph": "M", "pid": process, "tid": thread, "args": {"name": value}}


TRACES: dict[str, Trace] = {}
"""The traces of this process, by the value of the switch."""

_opening = threading.Lock()


def active() -> Trace | None:
    """The trace that this thread records into."""
    path = config.active().profile
    if not path:
        return None
    trace = TRACES.get(path)
    if trace is None:
        with _opening:
            trace = TRACES.get(path)
            if trace is None:
                trace = TRACES[path] = Trace(path)
                atexit.register(trace.at_exit)
    return trace


def _after_fork() -> None:
    global _opening
    _opening = threading.Lock()
    for trace in TRACES.values():
        trace.after_fork()


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def profile(path: str | os.PathLike[str]) -> Iterator[Trace]:
    """Record what this thread compiles and runs inside a `with` block, and write it to `path` at its end.

    The file is a trace in Chrome's format: open it in ui.perfetto.dev. docs/reading_a_profile.md says what is in it.
    """
    name = os.fspath(path)
    with config.override(profile=name):
        trace = active()
        assert trace is not None
        try:
            yield trace
        finally:
            trace.flush()
            TRACES.pop(name, None)
            atexit.unregister(trace.at_exit)


# --- what the compiler and the executor report


def span(name: str, category: str, **arguments: Any) -> AbstractContextManager[Arguments]:
    """A `with` block as one event; it may add to the arguments that it is given."""
    trace = active()
    return nullcontext(arguments) if trace is None else _recorded(trace, name, category, arguments)


@contextmanager
def _recorded(trace: Trace, name: str, category: str, arguments: Arguments) -> Iterator[Arguments]:
    start = perf_counter_ns()
    try:
        yield arguments
    except BaseException as error:
        arguments["error"] = type(error).__name__
        raise
    finally:
        trace.add(name, category, start, perf_counter_ns() - start, **arguments)


def read(why: str = "") -> AbstractContextManager[Arguments]:
    """A `with` block around computing what somebody asked for: who, and on which line of the user's."""
    trace = active()
    if trace is None:
        return nullcontext({})
    from lazygrad.site import describe, here

    from .dump import asker

    return _recorded(trace, why or asker(), "read", {"line": describe(here())})


def passed(name: str, seconds: float, changed: bool) -> None:
    """A pass of the compiler has just ended."""
    trace = active()
    if trace is not None:
        nanoseconds = int(seconds * 1e9)
        start = perf_counter_ns() - nanoseconds
        trace.add(name, "compile", start, nanoseconds, changed=changed)


def instant(name: str, category: str, **arguments: Any) -> None:
    """Something that takes no time of its own: a cache hit."""
    trace = active()
    if trace is not None:
        trace.add(name, category, perf_counter_ns(), -1, **arguments)


def run(
    plan: Plan, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
) -> list[Buffer]:
    """`plan.run`, in a trace if this thread records one: launch by launch, where the plan is a table of launches."""
    trace = active()
    if trace is None:
        return plan.run(buffers, numbers, dims)
    with _recorded(trace, "run plan", "plan", {"launches": plan.launches}):
        timed = getattr(plan, "run_timed", None)
        if timed is not None:
            made: list[Buffer] = timed(trace, buffers, numbers, dims)
            return made
        if type(plan) is KernelPlan:
            return _run_timed(trace, plan, buffers, numbers, dims)
        return plan.run(buffers, numbers, dims)


def runner(plan: Plan) -> Callable[..., list[Buffer]]:
    """What runs a plan under the settings that hold now: for replays, which are made anew under others."""
    return plan.run if active() is None else partial(run, plan)


def _run_timed(
    trace: Trace,
    plan: KernelPlan,
    buffers: Sequence[Buffer],
    numbers: Sequence[Scalar],
    dims: Sequence[int],
) -> list[Buffer]:
    steps = STEPS.get(plan)
    if steps is None:
        steps = STEPS[plan] = [Step(plan, launch) for launch in plan.table]
    sizes = dict(zip(plan.dims, dims, strict=True))
    _slots, made, blocks = plan.bind(buffers, numbers, dims)
    memory = {"input": buffers, "output": made, "temporary": blocks}
    for step in steps:
        given = [memory[value.kind][value.index] for value in step.memory]
        start = perf_counter_ns()
        step.plan.run(given, numbers, dims)
        trace.kernel(step.launch, start, perf_counter_ns() - start, sizes)
    return plan.results(buffers, made)


class Step:
    """One launch as a plan of its own, which the executor runs as it runs all, on as many threads; it is given all of its memory."""

    __slots__ = ("launch", "memory", "plan")

    def __init__(self, whole: KernelPlan, launch: Launch) -> None:
        self.launch = launch
        self.memory = [value for value in launch.values if value.kind in MEMORY]
        places = iter(range(len(self.memory)))
        values = [
            Value("input", next(places), value.start) if value.kind in MEMORY else value
            for value in launch.values
        ]
        table = [Launch(launch.executable, tuple(values), launch.written)]
        self.plan = KernelPlan(whole.device, table, (), (), (), whole.number_types, whole.dims)


MEMORY = ("input", "output", "temporary")
STEPS: WeakKeyDictionary[KernelPlan, list[Step]] = WeakKeyDictionary()
"""The launches of plans that were watched."""


def number(size: Size, sizes: Mapping[str, int]) -> int:
    """A size of this run."""
    return size if isinstance(size, int) else size.evaluate(dict(sizes))
