"""Where a plan comes from: the cache directory, or the compiler.

In: `Normal` (keys.py). Out: a `CompiledPlan`. What the directory has of this graph, for this compiler and machine, is taken from
there, and neither the compiler nor LLVM is even imported; what is compiled is left there for other processes. Whoever
looks at the compiler (dumps, checks, explanations, `lg.lower`) has everything compiled before his eyes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lazygrad import config
from lazygrad.ir.dim import UndecidedError

from . import cache, fingerprint, profile, schedules
from . import device as devices

if TYPE_CHECKING:
    from lazygrad.ir.kernel_graph import KernelGraph
    from lazygrad.ir.node import Node
    from lazygrad.schedule.dims import Pattern

    from .compile import Compiled
    from .keys import Normal
    from .plan import Plan


@dataclass(slots=True)
class Record:
    """What one compilation did, for those who look: dumps, `lg.lower`, the checks of `config.verify`."""

    graph: list[Node] = field(default_factory=list)
    """The roots after the graph passes."""
    given: list[list[Node]] = field(default_factory=list)
    """The roots before those passes, which are the device's, of each part of the program that is computed at once."""
    schedule: list[KernelGraph] = field(default_factory=list)
    compiled: list[Compiled] = field(default_factory=list)
    """The kernel of each launch."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time by pass."""
    device: str = ""
    plan: Plan | None = None

    @property
    def kernels(self) -> list[Node]:
        """The KERNEL node of each launch, as it is rendered."""
        return [each.kernel for each in self.compiled]


class CompiledPlan:
    """A plan, which nodes of the normalised graph its outputs are values of, and the sizes of this key where it has dims."""

    __slots__ = ("attach", "dims", "pattern", "plan")

    def __init__(
        self,
        plan: Plan,
        attach: Sequence[int],
        dims: Sequence[int] = (),
        pattern: Pattern | None = None,
    ) -> None:
        self.plan = plan
        self.attach = tuple(attach)
        self.dims = tuple(dims)
        self.pattern = pattern
        """The sizes that the plan is for, where it has dims."""


def plan_for(
    normal: Normal, record: Record | None = None, general: list[Node] | None = None
) -> CompiledPlan:
    """A plan that computes the roots of `normal`, and what it keeps for gradients.

    `general` is its graph with Dims; that a pass cannot do without the numbers is known from the directory, too.

    Raises:
        UndecidedError: there can be no plan of `general`.
    """
    made = general or normal.graph()
    schedules.compiled(config.active().search)
    store = cache.store() if record is None and config.active().unseen else None
    device = devices.get(normal.nodes[normal.roots[0]].place or config.active().device)
    entry = _entry(store, device, normal, made) if store is not None else ""
    if store is not None and entry:
        found = _restore(store, entry, device)
        if found is not None:
            return found
    from .compile import compile_general, compile_normal

    try:
        compiled = (
            compile_normal(normal, record, made)
            if general is None
            else compile_general(normal, made)
        )
    except UndecidedError as error:
        if store is not None and entry:
            from . import records

            store.write(entry, records.refusal(error))
        raise
    if store is not None and entry:
        _keep(store, entry, compiled)
    return compiled


def _entry(store: cache.Store, device: Any, normal: Normal, made: Sequence[Node]) -> str:
    """What the plan is called in the directory, or "" where it cannot be there."""
    if normal.copies or not hasattr(device, "restore"):
        return ""
    from . import records

    try:
        graph = records.describe(normal, made)
        name = cache.digest(fingerprint.program(store), device.signature.encode(), graph.encode())
    except (records.NotPortable, fingerprint.Unsettled):
        return ""
    return f"{name}.plan"


def _restore(store: cache.Store, entry: str, device: Any) -> CompiledPlan | None:
    """The plan of an entry, or None where there is none that can be used.

    Raises:
        UndecidedError: it says that there can be no plan.
    """
    from . import records

    content = store.read(entry)
    if content is None:
        return None
    try:
        plan, attach = records.from_bytes(device, content)
    except UndecidedError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError):
        return None  # it is compiled again, and replaced
    profile.instant("plan from the cache directory", "cache", entry=entry)
    return CompiledPlan(plan, attach)


def _keep(store: cache.Store, entry: str, compiled: CompiledPlan) -> None:
    from . import records

    try:
        content = records.to_bytes(compiled.plan, compiled.attach)
        fingerprint.sources(store)  # what has just been imported was not younger than the process
    except (records.NotPortable, fingerprint.Unsettled):
        return
    store.write(entry, content)
