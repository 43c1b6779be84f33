"""Bundles: launches beside one another that do not depend on each other share one region of the thread pool, as if they were one kernel.

In: a plan's launches, in the order they run. Out: `Bundle`s that cover them in that order. So 200 small kernels are divided among threads
over the sum of their sizes, and wake them once. How a bundle is divided depends on its launches alone, and no result depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lazygrad.ir.record import record

if TYPE_CHECKING:
    from .plan import Launch, Value

CLAIM_COST = 20_000.0
"""What is claimed at once, where the chunks are smaller, in nanoseconds: long beside claiming it."""
BYTES_PER_NANOSECOND = 16.0
FLOPS_PER_NANOSECOND = 8.0
ALL = 1 << 62
"""More chunks than there are: who claims them runs the bundle alone."""
DESCRIPTION = 3
"""The words of a bundle's description before those of its launches, of which each has two (launch_code.py)."""


@record
class Bundle:
    """Launches [first, first + count). Of several, `claim` chunks are claimed at once."""

    first: int
    count: int
    claim: int = 1

    @property
    def words(self) -> int:
        """The words of its description."""
        return DESCRIPTION + 2 * self.count if self.count > 1 else 0


def bundled(table: Sequence[Launch]) -> list[Bundle]:
    """The longest runs of launches of which none reads what another one writes, or writes what another one reads or writes."""
    found: list[Bundle] = []
    first = 0
    read: set[tuple[str, int]] = set()
    written: set[tuple[str, int]] = set()
    for number, launch in enumerate(table):
        reads, writes = _memory(launch.values), _memory(launch.results)
        if not (reads.isdisjoint(written) and writes.isdisjoint(read)):
            found.append(_bundle(table, first, number))
            first, read, written = number, set(), set()
        read |= reads  # results are among the values
        written |= writes
    if table:
        found.append(_bundle(table, first, len(table)))
    return found


def _memory(values: Sequence[Value]) -> set[tuple[str, int]]:
    return {(v.kind, v.index) for v in values if v.kind in ("input", "output", "temporary")}


def _bundle(table: Sequence[Launch], first: int, end: int) -> Bundle:
    if end - first == 1:
        return Bundle(first, 1)
    costs = [_cost(launch) for launch in table[first:end]]
    total = sum(costs)
    if total < 2 * CLAIM_COST:
        return Bundle(first, end - first, ALL)
    chunks = sum([max(cost / CLAIM_COST, 1.0) for cost in costs])
    return Bundle(first, end - first, max(int(CLAIM_COST * chunks / total), 1))


def _cost(launch: Launch) -> float:
    """About how many nanoseconds a launch takes; as much as one claim where its size is not known."""
    traffic = launch.traffic
    if traffic is None or not isinstance(traffic.bytes, int) or not isinstance(traffic.flops, int):
        return CLAIM_COST
    return traffic.bytes / BYTES_PER_NANOSECOND + traffic.flops / FLOPS_PER_NANOSECOND
