"""Computing what is asked for: key -> plan -> run -> values on the nodes.

In: nodes. Afterwards each has a `value`. A plan is compiled when its key is new, once whatever the number of threads that ask,
and kept; plans that have not run for long make room. Values are attached when everything has run: an error leaves every
node as it was.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from .keys import Entry, Normal, normalise
from .memory import Buffer
from .plan import Plan

PLAN_LIMIT = 1024
"""How many plans are kept."""


class PlanCache:
    """Plans by key, the least recently used dropped first. A key is compiled by one thread; others wait for it."""

    def __init__(self, limit: int = PLAN_LIMIT) -> None:
        self.limit = limit
        self.compiled = 0
        """How many plans have been compiled so far."""
        self._plans: OrderedDict[Entry, CompiledPlan] = OrderedDict()
        self._lock = threading.RLock()
        self._pending: dict[Entry, threading.Event] = {}

    def get(self, normal: Normal) -> CompiledPlan:
        key = normal.key
        try:
            found = self._plans[key]
            self._plans.move_to_end(key)
            return found
        except KeyError:
            return self._compile(normal)

    def _compile(self, normal: Normal) -> CompiledPlan:
        from .compile import compile_normal

        key = normal.key
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
            plan = compile_normal(normal)
            with self._lock:
                self.compiled += 1
                self._plans[key] = plan
                while len(self._plans) > self.limit:
                    self._plans.popitem(last=False)
            return plan
        finally:
            with self._lock:
                del self._pending[key]
            event.set()

    def clear(self) -> None:
        """Forget every plan."""
        with self._lock:
            self._plans.clear()


class CompiledPlan:
    """A plan, and which nodes of the normalised graph its outputs are values of."""

    __slots__ = ("attach", "plan")

    def __init__(self, plan: Plan, attach: Sequence[int]) -> None:
        self.plan = plan
        self.attach = tuple(attach)


PLANS = PlanCache()
"""The plans of this process."""

_graph_lock = threading.RLock()
"""Held while nodes are walked and while values are attached: a node that gets its value may lose its sources."""


def realize(nodes: Sequence[Node], history: Sequence[Node] = ()) -> None:
    """Give every node its value.

    `history`: differentiable leaves. When given, what a later gradient of the nodes with respect to them will read, and what is
    expensive to compute again (contractions, reductions), gets its value too, in the same plan.

    Raises:
        IndexError, RuntimeError, ZeroDivisionError: a check failed; no node has changed.
    """
    with _graph_lock:
        roots = [node for node in nodes if node.value is None]
        if not roots:
            return
        normal = normalise(roots, history)
    found = PLANS.get(normal)
    results = found.plan.run(normal.buffers, normal.numbers)
    attach(normal, found, results)


def attach(normal: Normal, found: CompiledPlan, results: Sequence[Buffer]) -> None:
    """Hang the results on their nodes."""
    nodes = normal.nodes
    with _graph_lock:
        for number, buffer in zip(found.attach, results, strict=True):
            node = nodes[number]
            if node.value is None:
                node.value = buffer
                node.depth = 0
                if node.op is Op.STOP:
                    release(node)


def release(node: Node) -> None:
    """Make a leaf of a node that has a value and that no gradient will look behind: what it was made of can go."""
    with _graph_lock:
        if node.value is not None:
            node.op = Op.BUFFER
            node.arg = None
            node.src = ()
