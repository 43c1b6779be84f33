"""The text of replays: traces of one signature as one Python function, a tree whose branches are the decisions.

In: traces with the same guards. Out: a function replay(args, kwargs) that gives the result, or a `Miss` that says where it was left;
until the end it changes nothing, and then everything at once: no interrupt comes between two stores.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from typing import Any

from .. import config
from ..functional import settings
from ..history import mode
from ..runtime import schedules
from ..runtime.executor import REUSES
from ..runtime.memory import HOST, trim_heap
from ..storage import _lock
from .actions import AGAIN, PLAIN, Miss, settle
from .effects import Trace
from .numbers import same
from .scan import Refused

LONG_TEXT = 1 << 16
"""Python takes 70 bytes for each character of a text while it compiles it. For texts as long, memory is given back before and after."""
TRACE_LIMIT = 16
"""How many traces a signature has; the oldest makes room."""
FAILS = "(AttributeError, KeyError, IndexError, TypeError, ValueError)"
"""What a guard raises where something is not there any more, or of another kind."""


class Program:
    """The traces of one signature."""

    def __init__(self, name: str, circumstances: tuple[object, ...], trace: Trace) -> None:
        self.name = name
        self.circumstances = circumstances
        self.guards = trace.guards
        self.key = signature(circumstances, trace)
        self.traces: list[Trace] = []
        self.text = ""
        self.misses: list[Miss] = []
        self.replay: Callable[[tuple[Any, ...], dict[str, Any]], Any] = _never
        self.add(trace)

    def add(self, trace: Trace) -> None:
        """Take one more trace in.

        Raises:
            Refused: it does something else than another one where nothing has decided between them.
        """
        path = outcomes(trace)
        if trace.plain and self.traces and not self.traces[0].plain:
            return  # other calls of this signature can be replayed
        kept = [each for each in self.traces if outcomes(each) != path and not each.plain]
        del kept[: len(kept) + 1 - TRACE_LIMIT]
        names: dict[str, Any] = {
            "active": config.active, "settings_now": self.circumstances[3], "mode": mode, "defaults": settings.DEFAULTS,
            "dtype_now": self.circumstances[2], "device_now": self.circumstances[4], "schedules": schedules.changes, "schedules_now": self.circumstances[5], "settle": settle, "same": same, "lock": _lock, "AGAIN": AGAIN, "PLAIN": PLAIN,
        }  # fmt: skip
        writer = _Writer([*kept, trace])
        text = writer.write(self.circumstances)
        for each in [*kept, trace]:
            names.update(each.names)
        names["M"] = tuple(writer.misses)
        names.update(writer.names)
        file = f"<replay of {self.name} {id(self):x}>"
        space = names
        if len(text) >= LONG_TEXT:
            HOST.empty_cache()
        exec(compile(text, file, "exec"), space)
        if len(text) >= LONG_TEXT:
            trim_heap()
        self.traces = [*kept, trace]
        self.text, self.misses, self.replay = text, writer.misses, space["replay"]
        linecache.cache.pop(file, None)


def outcomes(trace: Trace) -> list[tuple[str, Any]]:
    """The decisions of a trace: which way it goes."""
    return [(step.text, step.outcome) for step in trace.steps if step.decision]


def signature(circumstances: tuple[object, ...], trace: Trace) -> tuple[object, ...]:
    """What traces of one program have in common."""
    return (circumstances, tuple([line.text for line in trace.guards]), tuple(trace.shared))


def _never(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise AssertionError("a program without a trace")


class _Writer:
    def __init__(self, traces: Sequence[Trace]) -> None:
        self.traces = traces
        self.lines: list[str] = []
        self.misses: list[Miss] = []
        self.names: dict[str, Any] = {}

    def miss(self, miss: Miss) -> str:
        self.misses.append(miss)
        miss.position = len(self.misses)
        return f"return M[{len(self.misses) - 1}]"

    def write(self, circumstances: tuple[object, ...]) -> str:
        enabled, inference = circumstances[:2]
        emit = self.lines.append
        emit("def replay(args, kwargs):")
        condition = f"mode.enabled is not {enabled} or mode.inference is not {inference} or defaults.dtype is not dtype_now or defaults.device != device_now or active() is not settings_now or schedules() != schedules_now"
        emit(f"  if {condition}: {self.miss(Miss('the grad mode, a default or a switch', ''))}")
        emit("  try:")
        for line in self.traces[0].guards:
            if line.condition:
                emit(f"    if {line.text}: {self.miss(Miss(line.label, line.fact))}")
            else:
                emit(f"    {line.text}")
        emit(f"  except {FAILS}: {self.miss(Miss('something that was there before', ''))}")
        reads = sorted({name for trace in self.traces for name in trace.reads})
        for name in reads:
            emit(f"  b_{name} = n_{name[2:]}.value")
        if reads:
            absent = " or ".join(f"b_{name} is None" for name in reads)
            emit(f"  if {absent}:")
            emit(f"    settle(({', '.join(reads)},))")
            for name in reads:
                emit(f"    n_{name[2:]} = {name}.node; b_{name} = n_{name[2:]}.value")
        for first, second in self.traces[0].shared:
            miss = Miss("tensors that share memory", "")
            emit(f"  if b_{first} is not b_{second}: {self.miss(miss)}")
        for name in sorted({name for trace in self.traces for name in trace.generators}):
            emit(f"  q_{name} = {name}._offset; z_{name} = {name}._seed")
        self._steps(list(self.traces), 0, 1)
        return "\n".join(self.lines) + "\n"

    def _steps(self, traces: list[Trace], position: int, depth: int) -> None:
        """The rest of some traces that are alike up to a position.

        Each trace holds where its own decisions do: one that does not know of a decision is the rest, behind the ways that do.
        """
        while True:
            steps = [
                trace.steps[position] if position < len(trace.steps) else None for trace in traces
            ]
            step = next((each for each in steps if each is not None and each.decision), None)
            if step is None:
                if len({None if each is None else each.text for each in steps}) > 1:
                    raise Refused(
                        "it does not do the same again where nothing has changed", lasting=True
                    )
                if steps[0] is None:
                    if len(traces) > 1:
                        raise Refused(
                            "it does not do the same again where nothing has changed", lasting=True
                        )
                    self._end(traces[0], depth)
                    return
                self._emit(depth, steps[0].text)
                position += 1
                continue
            groups: dict[object, list[Trace]] = {}
            rest: list[Trace] = []
            for trace, each in zip(traces, steps):
                if each is None or each.text != step.text or not each.decision:
                    rest.append(trace)
                else:
                    groups.setdefault(_key(each.outcome), []).append(trace)
            miss = Miss("a number or value", "", step.site)
            if len(groups) == 1 and not rest:
                self._emit(
                    depth, f"if not {self._holds(step.text, step.outcome)}: {self.miss(miss)}"
                )
                position += 1
                continue
            variable = f"d{len(self.lines)}"
            self._emit(depth, f"{variable} = {step.text}")
            for group in groups.values():
                outcome = next(
                    s.outcome for t, s in zip(traces, steps) if t is group[0] and s is not None
                )
                self._emit(depth, f"if {self._holds(variable, outcome)}:")
                self._steps(group, position + 1, depth + 1)
            if not rest:
                self._emit(depth, self.miss(miss))
                return
            traces = rest

    def _holds(self, text: str, outcome: Any) -> str:
        """The condition that an expression has a value."""
        kind = type(outcome)
        if kind is bool:
            return f"({text} is {outcome})"
        if kind is int:
            return f"({text} == {outcome})"
        if (
            kind is float
            and outcome == outcome
            and outcome not in (0.0, float("inf"), float("-inf"))
        ):
            return f"({text} == {outcome!r})"
        if kind is float:
            return f"same({text}, float('{outcome!r}'))"
        name = f"outcome_{hash(outcome) & 0xFFFFFFFFFFFF:x}"
        self.names[name] = outcome
        return f"({text} == {name})"

    def _end(self, trace: Trace, depth: int) -> None:
        if trace.plain:
            self._emit(depth, "return PLAIN")
            return
        for line in trace.makes:
            self._emit(depth, line)
        if not trace.commits:
            self._emit(depth, f"return {trace.result}")
            return
        # Nothing is called between the stores: neither an interrupt nor an error can come there.
        commits = []
        for index, (target, sign, value) in enumerate(trace.commits):
            if not value.isalnum():
                self._emit(depth, f"w{index} = {value}")
                value = f"w{index}"
            commits.append(f"{target} {sign} {value}")
        self._emit(depth, f"result = {trace.result}")
        if not REUSES:  # threads run at once
            self._emit(depth, "with lock:")
            depth += 1
        for name in trace.generators:
            self._emit(
                depth,
                f"if {name}._offset != q_{name} or {name}._seed != z_{name}: return AGAIN",
            )
        for line in commits:
            self._emit(depth, line)
        self._emit(depth, "return result")

    def _emit(self, depth: int, line: str) -> None:
        self.lines.append("  " * depth + line)


def _key(outcome: Any) -> object:
    return (type(outcome), outcome.hex() if type(outcome) is float else outcome)
