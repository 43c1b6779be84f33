"""The one node of every stratum.

A node is `(op, src, arg, dtype, shape, place)`. It is never changed, and it is itself: `==` is identity, since two results of
the same expression are two variables to autograd. Structural equality is `same` (text.py prints and parses it back).
Beside that it carries, outside of every key, the user's line (`site`), a realised value (`value`), and how many pending
operations stand below it (`depth`), and whether a gradient may look behind it (`tracked`: autograd has a record of it).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from .args import Arg, Axes, Constant, Reduction, Scalar
from .dim import Size
from .dtype import DType, bool_, float32, int64
from .op import NO_RESULT, Op

if TYPE_CHECKING:
    from .args import ReduceKind

Shape = tuple[Size, ...]
Site = tuple[CodeType, int]
"""A place in the user's program: a code object and the instruction in it, made a line only when it is shown."""

RECORDED, RELEASED = 1, 2
"""What `tracked` is while autograd has a record of a node, and once a backward pass has released that."""


class Kind:
    """A dtype, a shape and a place: what an operator asks of an operand. There is one object for each, as long as anything holds it."""

    __slots__ = ("__weakref__", "dtype", "form", "place", "shape")

    def __init__(self, dtype: DType, shape: Shape, place: str) -> None:
        self.dtype = dtype
        self.shape = shape
        self.place = place
        self.form: Any = None
        """It without its sizes, and the sizes, once somebody has asked (runtime/resized.py)."""


class Node:
    """One operation. `src` are its sources; `shape` is of its result (in the loop stratum () or (lanes,))."""

    __slots__ = (
        "__weakref__",
        "arg",
        "depth",
        "dtype",
        "kind",
        "numbers",
        "op",
        "place",
        "shape",
        "site",
        "src",
        "tracked",
        "value",
    )

    depth: int
    tracked: int
    place: str
    kind: Kind | None
    """Its dtype, shape and place as one object, where someone has asked for it (`kind_of`)."""
    numbers: tuple[float, ...]
    """The number operands of an APPLY."""

    def __init__(
        self,
        op: Op,
        src: tuple[Node, ...],
        dtype: DType,
        shape: Shape,
        arg: Arg | None = None,
        place: str | None = None,
        site: Site | None = None,
    ) -> None:
        self.op = op
        self.src = src
        self.arg = arg
        self.dtype = dtype
        self.shape = shape
        self.site = site
        self.value: Any = None
        self.kind = None
        self.tracked = 0
        depth = 0
        for source in src:
            if source.depth > depth:
                depth = source.depth
        self.depth = depth + 1 if src else 0
        self.place = place if place is not None else src[0].place if src else ""

    def like(self, src: tuple[Node, ...]) -> Node:
        """The same operation on other sources."""
        return Node(self.op, src, self.dtype, self.shape, self.arg, self.place, self.site)

    def __repr__(self) -> str:
        sizes = ", ".join(map(str, self.shape))
        return f"<{self.op.name.lower()} {self.dtype.short}[{sizes}]>"

    def __str__(self) -> str:
        """The text form of everything below it."""
        from .text import show

        return show(self)

    # --- arithmetic, for rules and composite bodies: both sides have one shape, or one is a number

    def _operand(self, other: Node | Scalar) -> Node:
        return (
            other
            if isinstance(other, Node)
            else constant(other, self.dtype, self.shape, self.place)
        )

    def _binary(self, op: Op, other: Node | Scalar, swap: bool = False) -> Node:
        right = self._operand(other)
        pair = (right, self) if swap else (self, right)
        return Node(op, pair, self.dtype, self.shape)

    def _compare(self, op: Op, other: Node | Scalar, swap: bool = False) -> Node:
        right = self._operand(other)
        return Node(op, (right, self) if swap else (self, right), bool_, self.shape)

    def __add__(self, other: Node | Scalar) -> Node:
        return self._binary(Op.ADD, other)

    def __radd__(self, other: Scalar) -> Node:
        return self._binary(Op.ADD, other, swap=True)

    def __sub__(self, other: Node | Scalar) -> Node:
        return self._binary(Op.SUB, other)

    def __rsub__(self, other: Scalar) -> Node:
        return self._binary(Op.SUB, other, swap=True)

    def __mul__(self, other: Node | Scalar) -> Node:
        return self._binary(Op.MUL, other)

    def __rmul__(self, other: Scalar) -> Node:
        return self._binary(Op.MUL, other, swap=True)

    def __truediv__(self, other: Node | Scalar) -> Node:
        return self._binary(Op.DIV, other)

    def __rtruediv__(self, other: Scalar) -> Node:
        return self._binary(Op.DIV, other, swap=True)

    def __floordiv__(self, other: Node | Scalar) -> Node:
        return self._binary(Op.IDIV, other)

    def __mod__(self, other: Node | Scalar) -> Node:
        return self._binary(Op.MOD, other)

    def __and__(self, other: Node | Scalar) -> Node:
        return self._binary(Op.AND, other)

    def __or__(self, other: Node | Scalar) -> Node:
        return self._binary(Op.OR, other)

    def __xor__(self, other: Node | Scalar) -> Node:
        return self._binary(Op.XOR, other)

    def __lshift__(self, other: Node | Scalar) -> Node:
        return self._binary(Op.SHL, other)

    def __rshift__(self, other: Node | Scalar) -> Node:
        return self._binary(Op.SHR, other)

    def __neg__(self) -> Node:
        return unary(Op.NEG, self)

    def __invert__(self) -> Node:
        return unary(Op.NOT, self)

    def lt(self, other: Node | Scalar) -> Node:
        return self._compare(Op.LT, other)

    def le(self, other: Node | Scalar) -> Node:
        return self._compare(Op.LE, other)

    def gt(self, other: Node | Scalar) -> Node:
        return self._compare(Op.LT, other, swap=True)

    def ge(self, other: Node | Scalar) -> Node:
        return self._compare(Op.LE, other, swap=True)

    def eq(self, other: Node | Scalar) -> Node:
        return self._compare(Op.EQ, other)

    def ne(self, other: Node | Scalar) -> Node:
        return self._compare(Op.NE, other)

    def maximum(self, other: Node | Scalar) -> Node:
        return self._binary(Op.MAX, other)

    def minimum(self, other: Node | Scalar) -> Node:
        return self._binary(Op.MIN, other)

    # --- the rest of what rules write most

    def cast(self, dtype: DType) -> Node:
        return self if dtype is self.dtype else Node(Op.CAST, (self,), dtype, self.shape)

    def bitcast(self, dtype: DType) -> Node:
        return self if dtype is self.dtype else Node(Op.BITCAST, (self,), dtype, self.shape)

    def reshape(self, shape: Sequence[Size]) -> Node:
        shape = tuple(shape)
        return self if shape == self.shape else Node(Op.RESHAPE, (self,), self.dtype, shape)

    def expand(self, shape: Sequence[Size]) -> Node:
        shape = tuple(shape)
        return self if shape == self.shape else Node(Op.EXPAND, (self,), self.dtype, shape)

    def permute(self, axes: Sequence[int]) -> Node:
        axes = tuple(axes)
        if axes == tuple(range(len(axes))):
            return self
        return Node(Op.PERMUTE, (self,), self.dtype, tuple(self.shape[a] for a in axes), Axes(axes))

    def flip(self, axes: Sequence[int]) -> Node:
        return Node(Op.FLIP, (self,), self.dtype, self.shape, Axes(tuple(axes))) if axes else self

    def reduce(
        self, kind: ReduceKind, axes: Iterable[int], accumulate: DType | None = None
    ) -> Node:
        """Reduce over `axes`, which stay with size 1; over no axes it is the node itself."""
        axes = tuple(sorted(axes))
        if not axes:
            return self
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(self.shape))
        if accumulate is None:
            accumulate = accumulation(self.dtype)
        return Node(Op.REDUCE, (self,), self.dtype, shape, Reduction(kind, axes, accumulate))

    def sum(self, axes: Iterable[int]) -> Node:
        return self.reduce("add", axes)

    def stop(self) -> Node:
        return Node(Op.STOP, (self,), self.dtype, self.shape)


_KINDS: WeakValueDictionary[tuple[DType, Shape, str], Kind] = WeakValueDictionary()
"""Every kind that a node or a key holds. Threads that make one at the same moment may make two: it costs who keyed by them a miss."""


def kind_of(node: Node) -> Kind:
    """The kind of a node, the same object for equal ones."""
    kind = node.kind
    if kind is None:
        key = (node.dtype, node.shape, node.place)
        kind = _KINDS.get(key)
        if kind is None:
            kind = _KINDS.setdefault(key, Kind(*key))
        node.kind = kind
    return kind


def accumulation(dtype: DType) -> DType:
    """The dtype that partial sums of `dtype` have: float32 for the half types, itself otherwise."""
    return float32 if dtype.kind == "float" and dtype.itemsize == 2 else dtype


def constant(value: Scalar, dtype: DType, shape: Shape = (), place: str = "") -> Node:
    """A CONST with `value` in every element, converted to the category of `dtype` (an integer wraps to its width)."""
    if dtype.kind == "float":
        value = float(value)
    elif dtype.kind == "bool":
        value = bool(value)
    else:
        value = int(value)
        limit = 1 << dtype.bits
        value %= limit
        if dtype.kind == "int" and value >= limit >> 1:
            value -= limit
    return Node(Op.CONST, (), dtype, shape, Constant(value), place)


def unary(op: Op, node: Node) -> Node:
    """An elementwise operation of one source that keeps the dtype."""
    return Node(op, (node,), node.dtype, node.shape)


def where(condition: Node, left: Node | Scalar, right: Node | Scalar) -> Node:
    """`left` where `condition`, else `right`; one of the two may be a number."""
    if not isinstance(left, Node):
        if not isinstance(right, Node):
            raise TypeError("where: one of the two values must be a node")
        left = right._operand(left)
    if not isinstance(right, Node):
        right = left._operand(right)
    return Node(Op.WHERE, (condition, left, right), left.dtype, left.shape)


def iota(axis_size: Size, dtype: DType = int64, place: str = "") -> Node:
    """0, 1, 2, ... along one axis of `axis_size`."""
    from .args import Axis

    return Node(Op.IOTA, (), dtype, (axis_size,), Axis(0), place)


def postorder(roots: Iterable[Node]) -> list[Node]:
    """Every node that the roots reach, each once, sources before their readers. Does not recurse."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[Any] = [*roots]
    stack.reverse()
    while stack:
        node = stack.pop()
        if node is None:  # the sources of the one below it are done
            order.append(stack.pop())
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        if not node.src:
            order.append(node)
            continue
        stack += (node, None)
        for source in reversed(node.src):
            if id(source) not in seen:
                stack.append(source)
    return order


def same(left: Sequence[Node], right: Sequence[Node]) -> bool:
    """Whether two lists of roots are the same program: equal but for node identity, sites and realised values."""
    if len(left) != len(right):
        return False
    numbering: dict[object, int] = {}
    number: dict[int, int] = {}
    for node in postorder([*left, *right]):
        gives = (None, None) if node.op in NO_RESULT else (id(node.dtype), node.shape)
        key = (node.op, tuple(number[id(s)] for s in node.src), node.arg, gives, node.place)
        number[id(node)] = numbering.setdefault(key, len(numbering))
    return [number[id(n)] for n in left] == [number[id(n)] for n in right]
