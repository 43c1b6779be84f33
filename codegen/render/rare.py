"""Arms of choices that no lane may need: long computations whose every use is one side of a WHERE.

In: a kernel, laid out in blocks. Out: the arms that are worth a jump around them, each with the choice that it stands before. Where a vector
has one lane or more that needs an arm, all lanes compute it, as before; where none has, it is left out. So functions whose
pieces are for arguments of different sizes cost what the pieces cost that are met with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lazygrad.ir.blocks import LISTED, Block, Nested
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

LONG = 24
"""A jump is worth the work of so many operations on vectors of one register."""
REGISTER = 64
"""The bytes of a vector of one register."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What one side of the choices by one condition needs, and nothing else does."""

    condition: Node
    side: int
    """1 for what is chosen where the condition holds, 2 for the rest."""
    lines: tuple[Node, ...]
    """In the order in which they are computed."""
    results: tuple[Node, ...]
    """Those of the lines that the choices read."""


@dataclass(frozen=True, slots=True)
class Arms:
    """The arms of a kernel: of two that have a line in common, one has all lines of the other, and its choices."""

    before: dict[int, list[Arm]]
    """Those that are computed before a line, by its id."""
    owner: dict[int, Arm]
    """The innermost arm of a line, by its id."""


def rare_arms(kernel: Node, root: Block, scalars: bool = False) -> Arms:
    """The arms of a kernel that are long enough: of vectors, and where `scalars` says so of scalars, which a GPU's work-items are the lanes of."""
    places: dict[int, tuple[int, int]] = {}
    ordered: dict[int, Node] = {}
    choices: dict[tuple[int, int, int], list[Node]] = {}
    for number, block in enumerate(_blocks(root)):
        for position, line in enumerate(block.lines):
            if isinstance(line, Node):
                places[id(line)] = number, position
                ordered[id(line)] = line
                if (
                    line.op is Op.WHERE
                    and line.src[0].shape == line.shape
                    and (scalars or line.shape)
                ):
                    for side in (1, 2):
                        choices.setdefault((number, id(line.src[0]), side), []).append(line)
    if not choices:
        return Arms({}, {})
    uses: dict[int, int] = {}
    for node in postorder([kernel]):
        for source in node.src:
            uses[id(source)] = uses.get(id(source), 0) + 1
    found = []
    for (number, _, side), group in choices.items():
        inside = _cone(group, side, number, places, uses)
        while any(id(choice) in inside for choice in group):  # a choice within what another needs
            group = [choice for choice in group if id(choice) not in inside]
            inside = _cone(group, side, number, places, uses)
        weight = sum(_weight(node) for node in inside.values() if node.shape or scalars)
        if weight >= LONG:
            found.append((weight, side, group, inside))
    made = Arms({}, {})
    accepted: list[tuple[set[int], set[int]]] = []
    for _, side, group, inside in sorted(found, key=lambda each: -each[0]):
        first = min(group, key=lambda node: places[id(node)])
        number, before = places[id(first)]
        sources = {id(source) for node in inside.values() for source in node.src}
        needed = [places[each] for each in sources - inside.keys() if each in places]
        if any(place[0] == number and place[1] >= before for place in needed):
            continue
        whole = inside.keys() | set(map(id, group))
        apart = (
            (within.isdisjoint(whole) and every.isdisjoint(inside)) or within >= whole
            for within, every in accepted
        )
        if not all(apart):
            continue
        accepted.append((set(inside), whole))
        read = {id(choice.src[side]) for choice in group}
        lines = tuple(sorted(inside.values(), key=lambda node: places[id(node)]))
        results = tuple(node for node in lines if id(node) in read)
        arm = Arm(group[0].src[0], side, lines, results)
        made.before.setdefault(id(first), []).append(arm)
        made.owner.update((id(line), arm) for line in lines)
    return made


def _cone(
    group: list[Node],
    side: int,
    number: int,
    places: dict[int, tuple[int, int]],
    uses: dict[int, int],
) -> dict[int, Node]:
    """What nothing but these choices needs, for one side alone, of the values of their block."""
    inside: dict[int, Node] = {}
    met: dict[int, int] = {}
    pending = [choice.src[side] for choice in group]
    while pending:
        node = pending.pop()
        met[id(node)] = met.get(id(node), 0) + 1
        place = places.get(id(node))
        shared = node.op in LISTED or (node.op is Op.REDUCE and not node.shape)
        if place is None or place[0] != number or shared:
            continue
        if met[id(node)] == uses[id(node)]:
            inside[id(node)] = node
            pending.extend(node.src)
    return inside


def _weight(node: Node) -> int:
    """How many registers an operation computes."""
    lanes = node.shape[0] if node.shape else 1
    return max(lanes * node.dtype.itemsize // REGISTER, 1) if isinstance(lanes, int) else 0


def _blocks(root: Block) -> Iterator[Block]:
    stack = [root]
    while stack:
        block = stack.pop()
        yield block
        stack.extend(line.block for line in block.lines if isinstance(line, Nested))


__all__ = ["Arm", "rare_arms"]
