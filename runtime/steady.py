"""When to run what nobody reads, and what to run along with what somebody reads, so that loops have steady keys.

In: the storages that are written (`writes`), backward passes, values on deep chains (`cut`). Out: the decision to
submit now, always at the same place of a loop, so that every turn of it is one key.

- A training step: a storage with a pending write is written again, and there was a backward pass since that write. Everything
  pending is submitted: once a step, after the first, always at the same write. When two steps had the same number of writes, before
  and after their backward passes, later ones are submitted right after their last write, where nothing else is on its way. So it is
  where a loop reads in every step what depends on all the writes of the step before.
- A loop of in-place writes without backward: the first storage and line written since the last submit is the anchor; when it
  has been written `REPEATS` times, or its value has grown by `DEEP_WRITE` operations, everything pending is submitted. The cut
  lies where the sequence of operations repeats, whether or not a budget divides the step.
- A loop that binds new values (`x = x * 0.99 + 1`) has no write to count. A value `DEPTH_BUDGET` operations deep is computed at
  a place of the loop where it was cut before; a chain that comes by no such place is cut at twice that depth, and the place
  remembered. Other values that a tensor holds are computed with it: those on the chain, and the ends of other deep chains.
- What is read takes pending writes along: a later step would compute them, and what they share with it, a second time.
- What is read takes along what contractions were computed for and a tensor holds outside of autograd (`keep_live`): keys and values
  that the next word attends to. Without it they would be computed a second time, with all below them.
- What is computed a second time is kept (`keep_again`), so a loop that reads a function of a growing chain has a steady key too; and
  gradients that are read are kept, since the update that follows reads them again.

State is per thread: a loop runs in one.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from sys import getrefcount
from typing import TYPE_CHECKING, Any, Protocol

from lazygrad.ir.op import MOVEMENT, Op
from lazygrad.site import here

from .history import contracts, spread
from .keys import LEAVES, Normal

if TYPE_CHECKING:
    from lazygrad.ir.node import Node, Site

REPEATS = 16
"""How often the anchor is written before what is pending is submitted."""
DEEP_WRITE = 256
"""How much deeper the anchor's value may become before that."""
DEPTH_BUDGET = 1024
"""How deep a value may be before it is computed though nobody reads it."""
CUT_DEPTH = DEPTH_BUDGET + DEPTH_BUDGET // 8
"""How deep it is when it is computed at a known place: by then the loop's other chains, if they grow as fast, are deep too."""
CUT_LIMIT = 256
"""How many places where chains were cut are remembered."""
PENDING_LIMIT = 64
"""How many pending writes are noted before it is asked which of their storages are still there."""
LATE = -1
"""Stands for a number of backward passes."""
TURN_LIMIT = 1024
"""How many writes of a turn are counted."""
LIVE_LIMIT = 16
"""How many values of a graph tensors may hold for them to be the variables of a loop."""
WINDOW = 64
"""How many steps of a chain tell where in its loop it is."""


class Written(Protocol):
    """What this module needs of a Storage."""

    node: Node


class Steady(threading.local):
    """The pending writes of one thread."""

    def __init__(self) -> None:
        self.pending: dict[int, tuple[weakref.ref[Written], int]] = {}
        """By storage: a reference, and the number of backward passes before its first pending write (see `_mark`)."""
        self.pending_limit = PENDING_LIMIT
        """At how many of them the dead ones are forgotten: twice those that were alive the last time."""
        self.backwards = 0
        self.first_backward = 0
        """How many backward passes there had been at the first write of the turn."""
        self.turn: list[int] = []
        """For each write since the last submit, the number of backward passes since the first of them."""
        self.last_turn: list[int] = []
        """The same of the last turn that ended because a storage was written again."""
        self.ended = -1
        """How many backward passes there had been when a step was last taken for ended."""
        self.whole_turn: list[int] | None = None
        """What `turn` is when a step is whole: two turns were like this."""
        self.anchor: weakref.ref[Written] | None = None
        self.anchor_site: Site | None = None
        self.repeats = 0
        self.anchor_depth = 0
        """The depth of its value when it was first seen again."""
        self.cuts: OrderedDict[int, None] = OrderedDict()
        self.runs = 0
        """How many plans have run."""
        self.counted = -1
        """The value of `runs` when a chain was counted and found deep."""
        self.tips: dict[Site | None, weakref.ref[Node]] = {}
        """The last value of each line that was deep, since the last cut."""
        self.records: list[Any] | None = None
        """Where to leave records of what is compiled (lower_api.py)."""
        self.through = False
        """Whether the last sketch went through values."""
        self.observer: Any = None
        """Who is told of runs, writes and reads while a call is traced (lazygrad/compiled)."""
        self.tracing: Any = None
        """Who is told of writes and draws while a function runs on placeholders that have no value (lazygrad/func/mapping.py)."""

        self.ahead: Any = None
        """Who is told of an operator's call before it is made, and may make it (lazygrad/turns)."""
        self.passage: Any = None
        """The passage of a known turn that is under way, `ahead` or not."""
        self.recording: Any = None
        """Who notes what a turn does."""
        self.settling = 0
        """In how many calls that were foreseen and are made now it is."""

    def reads(self, behind: bool) -> None:
        """What is read takes pending writes along; `behind`: it depends on them all, so their step ended at the last one."""
        turn = self.turn
        self.whole_turn = turn if behind and turn == self.last_turn else None
        self.last_turn = turn if behind else []

    def reads_again(self) -> None:
        """What a step has computed is computed again. If it was just taken for ended, the read was part of it."""
        if self.backwards == self.ended:
            self.forget()

    def forget(self) -> None:
        """Forget what steps are like."""
        self.whole_turn, self.last_turn = None, []

    def disturb(self) -> None:
        """What a turn has used may change: what was foreseen is made now."""
        if self.recording is not None or (self.passage is not None and self.passage.step.index):
            self.leave()

    def leave(self) -> None:
        """Calls come that belong to no turn of this loop: what was foreseen is made now."""
        recording, passage = self.recording, self.passage
        self.ahead = self.recording = None
        if recording is not None:
            recording.stop()
        if passage is not None:
            passage.leave()
            self.passage = None

    def backward(self) -> None:
        """A backward pass is built: what was written before belongs to an earlier step, and steps need no anchor."""
        self.backwards += 1
        self.anchor = None

    def writes(self, storage: Written) -> bool:
        """Note that `storage` is about to be written; whether to submit what is pending before that."""
        if self.observer is not None:
            self.observer.wrote(storage)
        found = self.pending.get(id(storage))
        submit = False
        if found is not None and found[0]() is storage and storage.node.value is None:
            submit = found[1] not in (self.backwards, LATE)
            if found[1] == LATE:
                found = None  # from now on it is written in time
            if submit:
                turn = self.turn
                self.whole_turn = turn if turn == self.last_turn else None
                self.last_turn = turn
        else:
            found = None
        anchor = self.anchor
        if anchor is None or anchor() is None:
            self._drop_anchor(storage)
        elif anchor() is storage and not submit:
            site = here()
            if self.anchor_site is None:
                self.anchor_site = site
            if site == self.anchor_site:
                self.repeats += 1
                if self.repeats == 2:
                    self.anchor_depth = storage.node.depth
                grown = storage.node.depth - self.anchor_depth
                submit = self.repeats > REPEATS or grown > DEEP_WRITE
        if submit:
            return True
        if found is None:
            if len(self.pending) >= self.pending_limit:
                self._forget_dead()
            self.pending[id(storage)] = (weakref.ref(storage), self._mark())
        self._count()
        return False

    def _mark(self) -> int:
        """The number of backward passes before a write, or LATE for one that comes after its step was taken for ended."""
        if self.backwards != self.ended:
            return self.backwards
        self.forget()
        return LATE

    def _count(self) -> None:
        """Note a write of this turn."""
        if not self.turn:
            self.first_backward = self.backwards
        if len(self.turn) < TURN_LIMIT:
            self.turn.append(self.backwards - self.first_backward)

    def ends_turn(self) -> bool:
        """Whether the write that was noted last is the last one of its step."""
        if self.turn != self.whole_turn or self.backwards == self.ended or self.tracing is not None:
            return False
        self.ended = self.backwards
        return True

    def wrote_after_submit(self, storage: Written) -> None:
        """The write that caused a submit comes after it: it is the first of the next turn."""
        self._drop_anchor(storage)
        self.pending[id(storage)] = (weakref.ref(storage), self.backwards)
        self._count()

    def _drop_anchor(self, storage: Written) -> None:
        self.anchor = weakref.ref(storage)
        self.anchor_site = here()
        self.repeats = 1
        self.anchor_depth = storage.node.depth

    def _forget_dead(self) -> None:
        self.pending = {key: item for key, item in self.pending.items() if item[0]() is not None}
        self.pending_limit = max(PENDING_LIMIT, 2 * len(self.pending))

    def nodes(self) -> list[Node]:
        """The values that pending writes made and that are not computed yet, in the order of the first writes.

        A constant is left to those who read it: it costs them nothing (gradients that a step sets to zero).
        """
        found: list[Node] = []
        for reference, _ in self.pending.values():
            storage = reference()
            if (
                storage is not None
                and storage.node.value is None
                and storage.node.op is not Op.CONST
            ):
                found.append(storage.node)
        return found

    def done(self) -> None:
        """Nothing is pending any more: a new turn begins."""
        self.pending.clear()
        self.anchor = None
        self.turn = []

    @contextmanager
    def apart(self, records: list[Any]) -> Iterator[None]:
        """Inside, nothing is pending, and compilations leave records; afterwards everything is as it was."""
        self.leave()
        kept = (
            self.pending,
            self.backwards,
            self.anchor,
            self.anchor_site,
            self.repeats,
            self.records,
        )
        self.pending, self.anchor, self.records = {}, None, records
        try:
            yield
        finally:
            (
                self.pending, self.backwards, self.anchor, self.anchor_site, self.repeats, self.records,
            ) = kept  # fmt: skip

    def deeper(self, node: Node) -> bool:
        """Whether more than `DEPTH_BUDGET` pending operations stand below a node.

        Its depth counts those that stood there when it was built. Where that is too many they are counted again, until a chain
        is found to be deep: on it there is no need before the next run.
        """
        if node.depth > DEPTH_BUDGET and self.counted != self.runs:
            count_again(node)
            if node.depth > DEPTH_BUDGET:
                self.counted = self.runs
        return node.depth > DEPTH_BUDGET

    def cut(self, node: Node) -> bool:
        """Whether to compute this deep value now: where its chain was cut before, or else for the first time."""
        if not self.deeper(node):
            return False
        self.tips[node.site] = weakref.ref(node)
        if node.depth <= CUT_DEPTH:
            return False
        turn = signature(node)
        if turn in self.cuts:
            self.cuts.move_to_end(turn)
            return True
        if node.depth <= 2 * DEPTH_BUDGET:
            return False
        self.cuts[turn] = None
        while len(self.cuts) > CUT_LIMIT:
            self.cuts.popitem(last=False)
        return True

    def deep_values(self, place: str) -> list[Node]:
        """The last deep value of each line, where it is still pending: those of a loop's other chains. They are asked for once."""
        found = [reference() for reference in self.tips.values()]
        self.tips.clear()
        return [n for n in found if n is not None and n.value is None and n.place == place]


STEADY = Steady()
"""The pending writes, by thread."""


def count_again(node: Node) -> None:
    """Give a node, and what stands below it, the depth that it has now."""
    stack = [(node, False)]
    seen: set[Node] = set()
    while stack:
        current, ready = stack.pop()
        if ready:
            current.depth = max(map(_depth, current.src)) + 1
        elif current not in seen and current.depth > 0:
            seen.add(current)
            if current.value is not None:
                current.depth = 0
            else:
                stack.append((current, True))
                stack.extend([(source, False) for source in current.src])


def signature(node: Node) -> int:
    """Which place of a loop a value comes from: the operations and lines of the last `WINDOW` steps of its deepest chain."""
    steps: list[object] = []
    for _ in range(WINDOW):
        steps.append((node.op, node.site))
        if not node.src:
            break
        node = max(node.src, key=_depth)
    return hash(tuple(steps))


def _depth(node: Node) -> int:
    return node.depth


def live_values(
    nodes: Sequence[Node], lists: int = 1, limit: int | None = LIVE_LIMIT
) -> list[Node]:
    """Those of the nodes of a graph that someone outside of it holds, if they are few: the variables of a loop.

    `lists` is how many lists hold every node, `nodes` included. A reference that is not from the graph is from a tensor, or from another graph; a value that many others read is left out
    with them, as is a graph that autograd holds. `limit` is how many are few; None for any number.
    """
    inside: dict[Node, int] = {}
    for node in nodes:
        for source in node.src:
            inside[source] = inside.get(source, 0) + 1
    # Beside its readers and the lists, the loop's name and the call itself refer to a node, and `inside` where it is read.
    found = [
        node
        for node in nodes
        if node.value is None
        and node.src
        and node.op not in (Op.GRAD, Op.EXTERN)
        and getrefcount(node) > inside.get(node, 0) + (node in inside) + REFERENCES + lists
    ]
    return found if limit is None or len(found) <= limit else []


REFERENCES = 2
"""What refers to a node in `live_values` without holding it."""

COMPUTED = -1
"""The `depth` of a node that a plan has computed without keeping it."""

PASSING = MOVEMENT | LEAVES | {Op.STOP, Op.EXTERN}
"""What is not kept itself: it is as good as what it stands on, which other readers may share."""
FREE, TRACKED, GRADIENT = range(3)


def reads_again(normal: Normal, asked: int) -> bool:
    """Whether to look for what to keep: quick, and true rather too often than not often enough.

    The nodes below the first `asked` roots are numbered first. Writes that nobody asks for meet a value again only where no
    gradient goes, such as data that a step begins with.
    """
    if asked:
        last = max(normal.roots[:asked]) + 1
        return normal.gradients < last or any(
            [n.depth < 0 and n.op not in PASSING for n in normal.nodes[:last]]  # noqa: C419
        )
    return any([n.op is Op.STOP and n.src and computed(n.src[0]) for n in normal.nodes])  # noqa: C419


def keep_data(normal: Normal, lists: int) -> None:
    """Ask for the values that no gradient looks behind and that tensors hold: data, which every step of a loop begins with."""
    if not any([n.op is Op.STOP and n.src and n.src[0].value is None for n in normal.nodes]):  # noqa: C419
        return
    live = set(live_values(normal.nodes, lists))
    data = {n.src[0] for n in normal.nodes if n.op is Op.STOP and n.src} & live
    kept = [n for n, node in enumerate(normal.nodes) if node in data and not node.tracked]
    kept = [number for number in kept if number not in normal.roots]
    if kept:
        normal.keep(tuple(sorted({*normal.extra, *kept})))


def keep_live(normal: Normal, asked: int, lists: int) -> None:
    """Where autograd has no part, ask for the values below the first `asked` roots that tensors hold and that contractions are computed for.

    Nobody has read them, but whoever holds one is likely to, and would run the contractions again.
    """
    last = max(normal.roots[:asked]) + 1
    if normal.gradients < last or any([node.tracked for node in normal.nodes[:last]]):  # noqa: C419
        return
    made = [False] * last
    for number, node in enumerate(normal.nodes[:last]):
        made[number] = node.value is None and (
            any([made[n] for n in normal.sources(number)]) or contracts(node)  # noqa: C419
        )
    if not any(made):
        return
    live = set(live_values(normal.nodes, lists, limit=None))
    found = {
        number
        for number, node in enumerate(normal.nodes[:last])
        if made[number] and node in live and not spread(node)
    }
    found -= {*normal.roots, *normal.extra}
    if found:
        normal.keep(tuple(sorted({*normal.extra, *found})))


def computed(node: Node) -> bool:
    """Whether a plan has computed a value, perhaps seen through movement, that was not kept."""
    while node.op in PASSING and node.src and node.value is None:
        node = node.src[0]
    return node.depth < 0 and node.op not in PASSING


def keep_again(normal: Normal, asked: int) -> None:
    """Ask for more beside the roots: values that were computed before, and gradients that are asked for.

    `asked` of the roots are asked for; where none is, the others are looked at.

    It looks from those roots down to leaves, other roots, and what it keeps. What only a GRAD reads is computed again: the
    expensive part of it was kept when it was read (history.py). What no gradient can look behind lets its sources go.
    """
    nodes, entries = normal.nodes, normal.entries
    seen = {(root, way) for root in normal.roots for way in (FREE, TRACKED, GRADIENT)}
    stack = [
        (source, TRACKED if nodes[root].tracked else FREE)
        for root in normal.roots[: asked or None]
        for source in normal.sources(root)
    ]
    kept: set[int] = set()
    held: set[int] = set()
    while stack:
        number, way = stack.pop()
        if (number, way) in seen:
            continue
        seen.add((number, way))
        op, node = entries[number][0], nodes[number]
        if op is Op.STOP:
            way = FREE
        elif op is Op.GRAD:
            way = GRADIENT
        elif way == FREE and node.tracked:
            way = TRACKED
        if way != FREE:
            held.add(number)
        again = node.depth == COMPUTED and op not in PASSING
        if way != GRADIENT and (again or (asked and op is Op.ELEMENT)):
            kept.add(number)
        if not again or way == GRADIENT:
            stack.extend([(source, way) for source in normal.sources(number)])
    if kept:
        normal.keep(tuple(sorted(kept)))
        normal.free = kept - held
