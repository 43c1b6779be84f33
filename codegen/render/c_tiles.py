"""Tiles of GPUs in C: copies that are under way while a kernel goes on, and the matrix instructions of a warp.

In: FETCH, COMMIT, AWAIT and MMA lines (ir/tiles.py), and the text of their places. Out: lines of a dialect that has device functions for them (cuda_functions.py).

What an MMA reads lies in shared memory in lines; eight neighbours in a line, 16 bytes, are a unit. Units change places within their line, each line in another
way (`lg_swizzled`), so that the eight lines which `ldmatrix` reads at a time, and the units that are written together, lie in different banks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lazygrad.ir.args import Await, Fetch, Loop, Mma
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.ir.tiles import COLUMNS, ROWS

from ..transform.access import body, constant_value, lines_inside
from .c_functions import whole_access
from .c_text import Writer, memory_type
from .llvm_text import RenderError

UNIT = 8
"""Elements that change places together; and how many lines `ldmatrix` reads at a time."""

PRODUCTS = """
void NAME(float *sums, const ushort *left, int left_lane, const ushort *right, int right_lane) {
  // A warp adds to ROWS x COLUMNS sums the products of DEPTH terms; an instruction has 16 rows, 8 columns and 16 terms.
  #pragma unroll
  for (int term = 0; term < DEPTH; term += 16) {
    uint left_parts[LEFT_PARTS][4], right_parts[RIGHT_PARTS][4];
    #pragma unroll
    for (int part = 0; part < LEFT_PARTS; part++)
      LEFT_LOAD(left_parts[part], LEFT_PLACE);
    #pragma unroll
    for (int part = 0; part < RIGHT_PARTS; part++)
      RIGHT_LOAD(right_parts[part], RIGHT_PLACE);
    #pragma unroll
    for (int row = 0; row < LEFT_PARTS; row++)
      #pragma unroll
      for (int column = 0; column < COLUMN_PARTS; column++)
        lg_mma_m16n8k16_KIND(sums + (row * COLUMN_PARTS + column) * 4, left_parts[row], right_parts[column / 2] + column % 2 * 2);
  }
}"""


def is_tiled(kernel: Node) -> bool:
    """Whether a kernel has copies that it waits for."""
    return any(line.op is Op.AWAIT for line in lines_inside(kernel))


def is_ring(loop: Node) -> bool:
    """Whether a loop goes round a ring of stages that is written out: written out once more it would fill registers."""
    return any(
        isinstance(line.arg, Loop)
        and line.arg.kind == "unroll"
        and any(each.op is Op.AWAIT for each in body(line))
        for line in body(loop)
    )


def staged_arrays(kernel: Node) -> set[int]:
    """The locals that an AWAIT orders what meets them."""
    waits = [line for line in lines_inside(kernel) if line.op is Op.AWAIT]
    return {id(source) for line in waits for source in line.src}


def swizzles(kernel: Node) -> dict[int, int]:
    """Of the locals that MMAs read: how far the number of an element is shifted to get by which its unit changes places."""
    found: dict[int, int] = {}
    for line in lines_inside(kernel):
        if isinstance(line.arg, Mma):
            for at, operand in ((2, _left(line.arg)), (4, _right(line.arg))):
                shift = operand.shift
                if found.setdefault(id(line.src[at]), shift) != shift:
                    raise RenderError("a local is the operand of matrix instructions in two ways")
    return found


@dataclass(frozen=True, slots=True)
class _Operand:
    """How the side (rows or columns) and the terms of an operand lie: one of the two along lines."""

    side_stride: int
    term_stride: int
    left: bool

    @property
    def along_terms(self) -> bool:
        return self.term_stride == 1

    @property
    def pitch(self) -> int:
        return max(self.side_stride, self.term_stride)

    @property
    def shift(self) -> int:
        if min(self.side_stride, self.term_stride) != 1 or self.pitch & (self.pitch - 1):
            raise RenderError("the lines of an operand of matrix instructions are powers of two")
        return max(self.pitch, UNIT * UNIT).bit_length() - 1

    @property
    def lane(self) -> str:
        """Where the line begins whose address a lane gives: of four matrices of 8 x 8."""
        if self.along_terms == self.left:
            return f"lane % 16 * {self.pitch} + lane / 16 * 8"
        return f"(lane / 16 * 8 + lane % 8) * {self.pitch} + lane / 8 % 2 * 8"

    @property
    def load(self) -> str:
        return "lg_ldmatrix_x4" if self.along_terms else "lg_ldmatrix_x4_trans"

    def place(self, name: str) -> str:
        """Where the four matrices of a part and 16 terms are: whole units away from those of the first, which the lane's units have changed places with."""
        lines, along = ("part * 16", "term") if self.along_terms else ("term", "part * 16")
        if (ROWS * self.pitch) % (UNIT << self.shift):
            raise RenderError(f"lines of {self.pitch} are too short for matrix instructions")
        return f"{name} + {lines} * {self.pitch} + ({name}_lane ^ {along})"


def _left(arg: Mma) -> _Operand:
    return _Operand(arg.left_row, arg.left_term, left=True)


def _right(arg: Mma) -> _Operand:
    return _Operand(arg.right_column, arg.right_term, left=False)


def products(writer: Writer, line: Node) -> str:
    """The name of the function that does what an MMA says."""
    arg = line.arg
    assert isinstance(arg, Mma)
    if arg.columns % (2 * COLUMNS):
        raise RenderError("columns of matrix instructions are loaded in pairs")
    left, right = _left(arg), _right(arg)
    kind = line.src[2].dtype.short
    how = "".join("t" if each.along_terms else "s" for each in (left, right))
    name = f"add_products_{kind}_{arg.rows}x{arg.columns}x{arg.terms}_{how}"
    words = {
        "NAME": name,
        "ROWS": arg.rows,
        "COLUMNS": arg.columns,
        "DEPTH": arg.terms,
        "LEFT_PARTS": arg.rows // ROWS,
        "RIGHT_PARTS": arg.columns // (2 * COLUMNS),
        "COLUMN_PARTS": arg.columns // COLUMNS,
        "LEFT_LOAD": left.load,
        "RIGHT_LOAD": right.load,
        "LEFT_PLACE": left.place("left"),
        "RIGHT_PLACE": right.place("right"),
        "KIND": kind,
    }
    text = PRODUCTS.strip()
    for word, value in words.items():
        text = text.replace(word, str(value))
    return writer.function(name, writer.dialect.function + text)


def split_place(offset: Node, shift: int) -> tuple[list[Node], list[Node]]:
    """The addends of an offset: those that leave the pattern as it is, a stage or whole lines, and the others."""
    whole: list[Node] = []
    rest: list[Node] = []
    stack = [offset]
    while stack:
        node = stack.pop()
        factor = constant_value(node.src[1]) if node.op is Op.MUL else None
        if node.op is Op.ADD:
            stack.extend(reversed(node.src))
        elif factor is not None and factor % (UNIT << shift) == 0:
            whole.append(node)
        else:
            rest.append(node)
    return whole, rest


def lanes(writer: Writer, kernel: Node, numbers: dict[tuple[int, int], str]) -> None:
    """Lines that say where, in a stage, a lane's lines of each operand of an MMA begin; the names go to `numbers`, by line and operand."""
    for line in lines_inside(kernel):
        if not isinstance(line.arg, Mma):
            continue
        if not numbers:
            writer.add("const int lane = thread % 32;")
        for at, operand in ((2, _left(line.arg)), (4, _right(line.arg))):
            first = split_place(line.src[at + 1], operand.shift)[1]
            begins = [_of_warp(each) for each in first]
            place = " + ".join([*(each for each in begins if each != "0"), operand.lane])
            name = f"{'left' if operand.left else 'right'}_lane"
            text = f"lg_kept(lg_swizzled<{operand.shift}>({place}))"
            numbers[id(line), at] = writer.value("int", text, name)


def _of_warp(node: Node) -> str:
    """Arithmetic on the number of the warp. Recursion is over the depth of an offset only."""
    value = constant_value(node)
    if value is not None:
        return str(value)
    if node.op is Op.INDEX:
        return "thread / 32"
    symbol = {Op.ADD: "+", Op.MUL: "*", Op.IDIV: "/", Op.MOD: "%"}.get(node.op)
    if symbol is None:
        raise RenderError("where a warp's operands begin depends on more than the warp")
    left, right = map(_of_warp, node.src)
    return f"({left}) {symbol} {right}" if node.src[0].op is Op.ADD else f"{left} {symbol} {right}"


def copy(line: Node) -> str:
    """The name of the function that a FETCH calls."""
    assert isinstance(line.arg, Fetch)
    size = line.arg.elements * line.src[0].dtype.itemsize
    if size not in (4, 8, 16):
        raise RenderError(f"no copy has {size} bytes")
    return f"lg_cp_async_{'zero_' if len(line.src) > 4 else ''}{size}"


def copy_at_once(writer: Writer, line: Node, places: Sequence[str], spaces: Sequence[str]) -> str:
    """A FETCH as a load and a store: to the first of the places from the second, where the third, if there is one, says so; in memory of these address spaces."""
    assert isinstance(line.arg, Fetch)
    dtype, lanes = line.src[0].dtype, line.arg.elements if line.arg.elements > 1 else None
    target, source, *mask = places
    read = f"*({source})"
    if lanes is not None:
        read = f"{whole_access(writer, dtype, lanes, spaces[1], write=False)}({source})"
    if mask:
        read = f"({mask[0]} ? {read} : ({memory_type(dtype, lanes)})(0))"
    if lanes is None:
        return f"*({target}) = {read};"
    return f"{whole_access(writer, dtype, lanes, spaces[0], write=True)}({target}, {read});"


def wait(line: Node) -> str:
    """What an AWAIT does, its barrier apart."""
    assert isinstance(line.arg, Await)
    return f"lg_cp_async_wait<{line.arg.left}>();"
