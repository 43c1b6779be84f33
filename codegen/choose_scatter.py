"""Which transforms for a scatter on a GPU.

In: the loop tree of a kernel whose grid is marked. Out: the steps that make its fill and its updates grids (transform/scatter.py); none for a kernel that is no
scatter, or a small one. And those that make grids of the loops in front of any kernel's parallel one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lazygrad.ir.args import Loop
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from .choose_group import trips
from .steps import Transform, apply
from .transform.access import (
    ScheduleError,
    all_loops,
    body,
    lines_inside,
    loop_name,
)
from .transform.launches import grid
from .transform.scatter import atomic, distribute, free_loops, numbers, owned, row, updates, winner
from .transform.share import dependence

STEPS: dict[str, Callable[..., Node]] = {
    "distribute": distribute,
    "grid": grid,
    "atomic": atomic,
    "owned": owned,
    "winner": winner,
}
FEW = 64
"""So many updates one thread does as soon."""
LEAST_ROW = 32
"""Elements of a row beside each other that are worth a thread each, which reads all indices."""
OWNERS = 1 << 15
"""Threads that own places, where each goes through all updates for some element of a row."""
SCATTERED_OWNERS = 1 << 12
"""The same where an update is one element: each thread does more for nothing."""


def scatter(kernel: Node, deterministic: bool, atomic_bytes: int) -> list[Transform]:
    """The steps that make a scatter parallel: what it fills apart from what it updates, and both as grids; elements of up to `atomic_bytes` are updated atomically."""
    if not _updated(kernel):
        return []
    steps = [Transform("distribute", name) for name in reversed(_around(kernel))]
    try:
        apart = apply(kernel, steps, STEPS)
    except ScheduleError:
        return []
    found: list[Transform] = []
    written: set[int] = set()
    for nest in body(apart):
        if nest.op is not Op.LOOP:
            continue
        name = loop_name(nest)
        stored = {id(line.src[0]) for line in lines_inside(nest) if line.op is Op.STORE}
        if written & stored:
            found += _update(apart, name, deterministic, atomic_bytes)
        elif not dependence(nest):
            found.append(Transform("grid", name))
        written |= stored
    if not any(step.name in ("atomic", "owned", "winner") for step in found):
        return []
    steps += found
    try:
        apply(kernel, steps, STEPS)
    except ScheduleError:
        return []
    return steps


def fronts(kernel: Node) -> list[Transform]:
    """The steps that make a grid of each nest of many iterations in front of a kernel's parallel loop: it fills what all trips read, and would be one thread's."""
    nests = [line for line in body(kernel) if line.op is Op.LOOP]
    parallel = [isinstance(nest.arg, Loop) and nest.arg.kind == "parallel" for nest in nests]
    if True not in parallel:
        return []
    return [
        Transform("grid", loop_name(nest))
        for nest in nests[: parallel.index(True)]
        if math.prod(trips(loop) for loop, _ in all_loops(nest)) > FEW and not dependence(nest)
    ]


def _updated(kernel: Node) -> bool:
    """Whether two lines write one buffer of the caller's: what fills it, and what updates it."""
    stored = [
        id(line.src[0])
        for line in lines_inside(kernel)
        if line.op is Op.STORE and line.src[0].op is Op.PARAM
    ]
    return len(set(stored)) < len(stored)


def _around(kernel: Node) -> list[str]:
    """The loops around both, from the outermost inwards."""
    names: list[str] = []
    lines = body(kernel)
    while len(found := [line for line in lines if line.op is Op.LOOP]) == 1:
        names.append(loop_name(found[0]))
        lines = body(found[0])
    return names


def _update(kernel: Node, name: str, deterministic: bool, atomic_bytes: int) -> list[Transform]:
    """The step for a loop that updates what another one has filled."""
    try:
        found = updates(kernel, name)
    except ScheduleError:
        return []
    if math.prod(map(trips, found.loops)) <= FEW:
        return []
    along = row(kernel, found)
    rows = along is not None and trips(along) >= LEAST_ROW
    if found.kind is None and not rows and numbers(found).itemsize <= atomic_bytes:
        return [Transform("winner", name)]
    ordered = found.kind in ("add", "mul") and found.value.dtype.kind == "float"
    at_once = found.kind is not None and found.value.dtype.itemsize <= atomic_bytes
    if at_once and not (ordered and (rows or deterministic)):
        return [Transform("atomic", name)]
    free = math.prod(map(trips, free_loops(kernel, found)))
    owners = (OWNERS if rows else SCATTERED_OWNERS) // free
    return [Transform("owned", name, max(owners, 1))]


__all__ = ["fronts", "scatter"]
