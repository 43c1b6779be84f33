"""parts: vectors of more lanes than a language has, as several.

In: a kernel with vectors of any power of two of lanes. Out: the same values, in the same order of additions, in vectors of at most so many lanes.
So running sums stand side by side where one vector of them would wait for each addition.
"""

from __future__ import annotations

from lazygrad.ir import loops
from lazygrad.ir.args import Lanes, Reduction
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node, constant, postorder
from lazygrad.ir.op import ELEMENTWISE, Op
from lazygrad.ir.rewrite import remake

from .access import ScheduleError, constant_value

_MEMORY = frozenset((Op.LOAD, Op.STORE, Op.ACCUMULATE))


def parts(kernel: Node, lanes: int) -> Node:
    """Divide the vectors of more than `lanes` lanes.

    Raises:
        ScheduleError: a wide vector is made in a way that has no parts.
    """
    divided = _Parts(lanes)
    if not any(divided.count(node) for node in postorder([kernel])):
        return kernel
    for node in postorder([kernel]):
        divided.visit(node)
    return divided.whole[id(kernel)]


class _Parts:
    """What stands for each node that was visited: one, or several of a wide vector."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.whole: dict[int, Node] = {}
        self.several: dict[int, list[Node]] = {}

    def count(self, node: Node) -> int:
        """Into how many parts a line or a value goes; 0 where it stays one."""
        widest = (node, *node.src[1:3]) if node.op in _MEMORY else (node,)
        if node.op is Op.CHECK:
            widest = node.src
        if node.op in (Op.KERNEL, Op.LOOP, Op.LOCAL, Op.PARAM):
            return 0
        most = max((each.shape[0] for each in widest if each.shape), default=0)
        return most // self.lanes if isinstance(most, int) and most > self.lanes else 0

    def visit(self, node: Node) -> None:
        number = self.count(node)
        if node.op in (Op.CONST, Op.SPLAT) and number:
            self.several[id(node)] = [self._part(node, 0)] * number
        elif node.op is Op.SHUFFLE:
            made = [self._shuffled(node, at) for at in range(max(number, 1))]
            if number:
                self.several[id(node)] = made
            else:
                self.whole[id(node)] = made[0]
        elif number:
            self.several[id(node)] = [self._part(node, at) for at in range(number)]
        elif node.op is Op.REDUCE and id(node.src[0]) in self.several:
            assert isinstance(node.arg, Reduction)
            joined = self._joined(self.several[id(node.src[0])], Op[node.arg.kind.upper()])
            self.whole[id(node)] = node.like((joined,))
        else:
            source: list[Node] = []
            for each in node.src:
                if id(each) not in self.several:
                    source.append(self.whole[id(each)])
                elif node.op is Op.LOOP or node.op is Op.KERNEL:
                    source.extend(self.several[id(each)])
                else:
                    raise ScheduleError(f"{node.op.name.lower()} of a vector that has parts")
            self.whole[id(node)] = remake(node, tuple(source))

    def _part(self, node: Node, at: int) -> Node:
        shape = (self.lanes,) if node.shape else ()
        begin = at * self.lanes
        if node.op is Op.LANES:
            own = Node(Op.LANES, (), int64, shape)
            return own + loops.splat(constant(begin, int64), self.lanes) if at else own
        sources = [self._of(each, at) for each in node.src]
        if node.op in _MEMORY:
            sources[0] = self.whole[id(node.src[0])]
            if not node.src[1].shape and at:
                known = constant_value(sources[1])
                sources[1] = sources[1] + begin if known is None else constant(known + begin, int64)
        elif node.op not in ELEMENTWISE | {Op.CONST, Op.SPLAT, Op.CHECK}:
            raise ScheduleError(f"{node.op.name.lower()} of {node.shape[0]} lanes has no parts")
        return Node(node.op, tuple(sources), node.dtype, shape, node.arg, node.place, node.site)

    def _shuffled(self, node: Node, at: int) -> Node:
        """A part of a shuffle: lanes of one part or of two, and then, one after the other, of further ones."""
        assert isinstance(node.arg, Lanes)
        chosen = node.arg.lanes[at * self.lanes : (at + 1) * self.lanes]
        size = node.src[0].shape[0]
        assert isinstance(size, int)
        width = min(size, self.lanes)
        places = [(lane // size, lane % size // width, lane % width) for lane in chosen]
        found = list(dict.fromkeys(place[:2] for place in places))
        pieces = [self._of(node.src[side], number) for side, number in found]
        first, second = pieces[0], pieces[1] if len(pieces) > 1 else pieces[0]
        numbers = [found.index(place[:2]) for place in places]
        lanes = [
            lane + width if number == 1 else lane * (number == 0)
            for number, (*_, lane) in zip(numbers, places, strict=True)
        ]
        more = [0] * (width - len(chosen)) if len(pieces) > 2 else []  # lanes that nobody looks at
        made = loops.shuffle(first, second, [*lanes, *more])
        for further, piece in enumerate(pieces[2:], 2):
            lanes = [
                width + place[2] if number == further else position
                for position, (number, place) in enumerate(zip(numbers, places, strict=True))
            ]
            made = loops.shuffle(made, piece, lanes if piece is pieces[-1] else [*lanes, *more])
        return made

    def _of(self, source: Node, at: int) -> Node:
        several = self.several.get(id(source))
        return self.whole[id(source)] if several is None else several[at]

    @staticmethod
    def _joined(found: list[Node], op: Op) -> Node:
        """The parts as one, the second half upon the first: as the lanes of a vector are reduced."""
        while len(found) > 1:
            half = len(found) // 2
            found = [
                Node(op, (left, right), left.dtype, left.shape)
                for left, right in zip(found[:half], found[half:], strict=True)
            ]
        return found[0]


__all__ = ["parts"]
