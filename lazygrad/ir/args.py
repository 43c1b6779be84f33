"""What a node carries beside its sources: one small frozen class for each operation that needs one.

Equality of args is equality of what they select; source lines are not part of it. Constants compare by bits, so that
0.0 and -0.0 differ and a NaN equals itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from .dim import Size
from .dtype import DType
from .op import Op
from .record import record

Scalar = int | float | bool
ReduceKind = Literal["add", "mul", "max", "min", "and", "or"]
ScanKind = ReduceKind | Literal["logaddexp"]


class Arg:
    """The base of every arg."""

    __slots__ = ()


class Constant(Arg):
    """The value of a CONST, already of the node's category: bool, int or float."""

    __slots__ = ("key", "value")

    def __init__(self, value: Scalar) -> None:
        self.value = value
        self.key: object = value
        if value == 0 and isinstance(value, float):
            self.key = math.copysign(0.5, value)  # no other way to tell 0.0 from -0.0 by ==
        elif math.isnan(value):
            self.key = "nan"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Constant)
            and self.key == other.key
            and type(self.value) is type(other.value)
            and (self.value == other.value or self.key == "nan")
        )

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Constant({self.value!r})"


class Drawn(int):
    """A number of a CONST that is another one each time a program runs, such as a place in a random stream. Each object is one number."""

    __slots__ = ()


@record
class Slot(Arg):
    """ARGUMENT, BUFFER: which argument or buffer of the plan, from 0 each."""

    index: int


@record
class Axis(Arg):
    """IOTA, GATHER: the axis."""

    axis: int


@record
class Axes(Arg):
    """PERMUTE: the source axis of each result axis. FLIP: the axes that run backwards."""

    axes: tuple[int, ...]


@record
class Padding(Arg):
    """PAD: elements added before, after and between, for each axis (no negative numbers), all of them `value`."""

    before: tuple[Size, ...]
    after: tuple[Size, ...]
    between: tuple[int, ...]
    value: Constant


@record
class Region(Arg):
    """SHRINK, UPDATE: element i of the region is element start + step * i, on each axis; steps are positive."""

    starts: tuple[Size, ...]
    steps: tuple[int, ...]


@record
class Windows(Arg):
    """WINDOW, FOLD: for each axis in `axes`, the size of a window, and the distances between windows and inside one.

    WINDOW of (..., n, ...) has n -> (n - dilation * (size - 1) - 1) // stride + 1 on each axis, then one new last axis of `size` for
    each, in the order of `axes`. FOLD takes that shape back to node.shape.
    """

    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]


@record
class Reduction(Arg):
    """REDUCE: the operation, the axes (sorted, non-negative), and the dtype that partial results have."""

    kind: ReduceKind
    axes: tuple[int, ...]
    accumulate: DType


@record
class Scan(Arg):
    """SCAN: the operation, the axis, and the dtype of the running result."""

    kind: ScanKind
    axis: int
    accumulate: DType


@record
class Sort(Arg):
    """SORT: the axis, how many of the low bits of a key tell keys apart, and where in the order the result begins.

    It is as long as its shape says. Where `run` is not 0, that many keys are in order already, and so are those behind them: two runs that a merge makes one of.
    """

    axis: int
    bits: int
    first: int
    run: int = 0


@record
class Scatter(Arg):
    """SCATTER: the axis that the index selects, and how a value meets what is there ("set": the last one wins)."""

    axis: int
    kind: Literal["set", "add", "mul", "max", "min"]


@record
class Grad(Arg):
    """GRAD: its sources are `roots` roots, as many cotangents, then the targets.

    `boundary` says of each target whether gradients end there (True) or also flow on through it to others.
    """

    roots: int
    boundary: tuple[bool, ...]


@record
class Element(Arg):
    """ELEMENT: which result."""

    index: int


Attribute = int | float | bool | str | None | tuple[int, ...] | Constant


def _exact(value: object) -> object:
    """What tells apart values that == does not: 1, True and 1.0; 0.0 and -0.0."""
    if isinstance(value, tuple):
        return tuple(_exact(item) for item in value)
    return type(value), math.copysign(1, value) if isinstance(value, float) else None


@dataclass(frozen=True, slots=True, eq=False)
class Call(Arg):
    """CALL, EXTERN: a registered name and its attributes, sorted by name."""

    name: str
    attributes: tuple[tuple[str, Attribute], ...] = ()
    exact: object = field(init=False, repr=False)
    """The attributes in a form whose equality is exact: compared for every known plan."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "exact", (self.name, self.attributes, _exact(self.attributes)))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Call) and self.exact == other.exact)

    def __hash__(self) -> int:
        return hash((self.name, self.attributes))

    def get(self, name: str) -> Attribute:
        return dict(self.attributes)[name]


# --- loop stratum


@record
class Kernel(Arg):
    """KERNEL: its name, and how many of its sources are params; the rest are statements."""

    name: str
    params: int


@record
class Param(Arg):
    """PARAM: `in`, `out`, `inout` are buffers of node.shape; `number` is a scalar of node.dtype; `dim` an int64 variable."""

    name: str
    role: Literal["in", "out", "inout", "number", "dim"]


@record
class Name(Arg):
    """INDEX, LOCAL: its name, unique in the kernel."""

    name: str


@record
class Loop(Arg):
    """LOOP: the step, and what the iterations may do: `parallel` ones are independent, as are those of `threads`, which the
    work-items of a group share, and of `warps`, of which each is run by 32 of them together; `unroll` is written out."""

    step: int = 1
    kind: Literal["serial", "parallel", "unroll", "threads", "warps"] = "serial"


@record
class Accumulate(Arg):
    """ACCUMULATE: how the value meets what the element holds. Reassociation is allowed here and nowhere else.

    One that is `atomic` may meet the same element in several iterations of a parallel loop, in any order.
    """

    kind: ReduceKind
    atomic: bool = False


@record
class Dots(Arg):
    """DOTS: the size of the tile, and how many terms each of its dot products has.

    `pitch` is how many elements lie between the rows of the left operand, 0 where they are packed.
    """

    rows: int
    columns: int
    terms: int
    pitch: int


@record
class Mma(Arg):
    """MMA: the size of the tile, and how far apart in each operand neighbouring rows or columns, and terms, are."""

    rows: int
    columns: int
    terms: int
    left_row: int
    left_term: int
    right_term: int
    right_column: int


@record
class Fetch(Arg):
    """FETCH: how many elements are copied."""

    elements: int


@record
class Await(Arg):
    """AWAIT: how many groups of copies, the last ones, may still be under way."""

    left: int


@record
class Lanes(Arg):
    """SHUFFLE: which lane of the two sources, one followed by the other, is each lane of the result."""

    lanes: tuple[int, ...]


@record
class Message(Arg):
    """CHECK: the exception's type and text when the condition is false."""

    error: Literal["IndexError", "RuntimeError", "ZeroDivisionError"]
    text: str


ARG_CLASS: dict[Op, type[Arg]] = {
    Op.CONST: Constant,
    Op.ARGUMENT: Slot,
    Op.BUFFER: Slot,
    Op.IOTA: Axis,
    Op.REDUCE: Reduction,
    Op.SCAN: Scan,
    Op.SORT: Sort,
    Op.PERMUTE: Axes,
    Op.FLIP: Axes,
    Op.PAD: Padding,
    Op.SHRINK: Region,
    Op.UPDATE: Region,
    Op.WINDOW: Windows,
    Op.FOLD: Windows,
    Op.GATHER: Axis,
    Op.SCATTER: Scatter,
    Op.GRAD: Grad,
    Op.ELEMENT: Element,
    Op.CALL: Call,
    Op.EXTERN: Call,
    Op.KERNEL: Kernel,
    Op.PARAM: Param,
    Op.LOCAL: Name,
    Op.INDEX: Name,
    Op.LOOP: Loop,
    Op.ACCUMULATE: Accumulate,
    Op.DOTS: Dots,
    Op.MMA: Mma,
    Op.FETCH: Fetch,
    Op.AWAIT: Await,
    Op.CHECK: Message,
    Op.SHUFFLE: Lanes,
}
"""The class of each operation's arg; None for the others. (A BUFFER has a Slot or a realised value.)"""
