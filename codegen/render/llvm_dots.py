"""DOTS as LLVM IR text: tiles of dot products by matrix registers, or by dot products of vectors.

In: a DOTS, where its tile and its operands begin, and what the target can do. Out: the loops that compute it. Matrix registers
have one shape, 16 rows of 64 bytes, which a kernel that uses them loads when it begins and lets go when it ends: a thread has
a state of its own. Registers 0 to 3 hold results, 4 and 5 rows, 6 and 7 columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lazygrad.ir.args import Dots
from lazygrad.ir.dots import ROWS, RUN_BYTES, STEP_BYTES
from lazygrad.ir.dtype import DType, bfloat16, float16
from lazygrad.ir.node import Node

from ..target import Target
from .llvm_text import Emitter, RenderError

SHAPE = "@tile.shape"
GROUP_STEP = ROWS * STEP_BYTES
"""Bytes of a step of a packed operand: what a matrix register holds."""
TOGETHER = 8
"""Rows of which the dot products of vectors are summed side by side."""


def enter(emit: Emitter) -> str:
    """Give the matrix registers their shape; returns the constant that the module then needs."""
    emit.add(emit.call("llvm.x86.ldtilecfg", "void", (("ptr", SHAPE),)))
    wide = [STEP_BYTES, 0] * 8 + [0] * 16
    content = [1] + [0] * 15 + wide + [ROWS] * 8 + [0] * 8
    return f"{SHAPE} = private unnamed_addr constant [64 x i8] [{', '.join(f'i8 {byte}' for byte in content)}], align 64"


def leave(emit: Emitter) -> None:
    """Let the matrix registers go."""
    emit.add(emit.call("llvm.x86.tilerelease", "void", ()))


def uses_tiles(node: Node, target: Target) -> bool:
    """Whether a DOTS is computed by matrix registers."""
    return target.dots(node.src[2].dtype, node.src[4].dtype).startswith("amx")


def compute(emit: Emitter, node: Node, target: Target, places: Sequence[str], current: str) -> str:
    """Compute a DOTS of which `places` are the addresses; `current` is the block it begins in. Returns that in which it ends.

    Raises:
        RenderError: the target has no instructions for it.
    """
    feature = target.dots(node.src[2].dtype, node.src[4].dtype)
    assert isinstance(node.arg, Dots)
    if not feature:
        raise RenderError(f"{target.name} has no dot products of {node.src[2].dtype.name}")
    size = node.src[2].dtype.itemsize
    job = _Job(emit, node.arg, node.src[2].dtype, node.src[4].dtype, size, *places)
    return (_by_tiles if feature.startswith("amx") else _by_vectors)(job, current)


@dataclass(slots=True)
class _Job:
    emit: Emitter
    arg: Dots
    left_type: DType
    right_type: DType
    size: int
    tile: str
    left: str
    right: str

    @property
    def group_bytes(self) -> int:
        """Bytes from one group of rows, or columns, of an operand to the next."""
        return ROWS * self.arg.terms * self.size

    @property
    def row_bytes(self) -> int:
        """Bytes from one row of the left operand to the next, within its group."""
        return self.arg.pitch * self.size or STEP_BYTES

    def rows_at(self, row: int) -> str:
        """Where a row of the left operand begins."""
        if self.arg.pitch:
            return self.at(self.left, row * self.row_bytes, "left")
        offset = row // ROWS * self.group_bytes + row % ROWS * STEP_BYTES
        return self.at(self.left, offset, "left")

    def tile_at(self, row: int, column: int) -> str:
        """Where the results of a row lie, those of a group of columns."""
        return self.at(self.tile, (row * self.arg.columns + column * ROWS) * 4, "tile.at")

    def at(self, base: str, offset: int | str, hint: str) -> str:
        """An address so many bytes behind another."""
        return (
            base
            if offset == 0
            else self.emit.value(f"getelementptr inbounds i8, ptr {base}, i64 {offset}", hint)
        )


def _loop(emit: Emitter, name: str, current: str) -> tuple[str, str]:
    """Begin a loop of one block: its label, and its index from 0."""
    label = emit.name(name)
    emit.add(f"br label %{label}")
    emit.lines.append(f"{label}:")
    index = f"%{label}.at"
    emit.lines.append(f"  {index} = phi i64 [ 0, %{current} ], [ {index}.next, %{label} ]")
    return label, index


def _next(emit: Emitter, label: str, index: str, step: int, limit: int) -> str:
    """End an iteration; returns the label behind it."""
    emit.add(f"{index}.next = add nuw nsw i64 {index}, {step}")
    emit.add(f"{index}.more = icmp ult i64 {index}.next, {limit}")
    emit.add(f"br i1 {index}.more, label %{label}, label %{label}.exit")
    emit.lines.append(f"{label}.exit:")
    return f"{label}.exit"


def _by_tiles(job: _Job, current: str) -> str:
    emit, arg = job.emit, job.arg
    rows, columns = range(arg.rows // ROWS), range(arg.columns // ROWS)
    lefts = [job.rows_at(row * ROWS) for row in rows]
    rights = [job.at(job.right, column * job.group_bytes, "right") for column in columns]
    name = f"llvm.x86.{_tile_instruction(job.left_type, job.right_type)}"

    def tile(register: int) -> tuple[str, str]:
        return "i8", str(register)

    def move(instruction: str, register: int, address: str, pitch: int) -> None:
        operands = (tile(register), ("ptr", address), ("i64", str(pitch)))
        emit.add(emit.call(f"llvm.x86.{instruction}", "void", operands))

    pitch = arg.columns * 4
    results = [
        (row * len(columns) + column, job.tile_at(row * ROWS, column))
        for row in rows
        for column in columns
    ]
    for register, _ in results:
        emit.add(emit.call("llvm.x86.tilezero", "void", (tile(register),)))
    label, index = _loop(emit, "dots", current)
    along = index
    if arg.pitch:  # a step of a row is all that lies together
        along = emit.value(f"lshr exact i64 {index}, 4", "along")
    for row in rows:
        move("tileloadd64", 4 + row, job.at(lefts[row], along, "left.at"), job.row_bytes)
        for column in columns:
            if row == 0:
                move(
                    "tileloadd64", 6 + column, job.at(rights[column], index, "right.at"), STEP_BYTES
                )
            operands = tile(row * len(columns) + column), tile(4 + row), tile(6 + column)
            emit.add(emit.call(name, "void", operands))
    current = _next(emit, label, index, GROUP_STEP, job.group_bytes)
    for register, address in results:
        move("tilestored64", register, address, pitch)
    return current


def _tile_instruction(left: DType, right: DType) -> str:
    if left.kind == "float":
        return {bfloat16: "tdpbf16ps", float16: "tdpfp16ps"}[left]
    letters = ["s" if dtype.is_signed else "u" for dtype in (left, right)]
    return f"tdpb{''.join(letters)}d"


def _by_vectors(job: _Job, current: str) -> str:
    for row in range(0, job.arg.rows, TOGETHER):
        current = _rows(job, row, current)
    return current


def _rows(job: _Job, first: int, current: str) -> str:
    """A few rows of the tile: a run of terms of each in every lane meets those of 16 columns."""
    emit, arg = job.emit, job.arg
    kind = "<16 x float>" if job.left_type.kind == "float" else "<16 x i32>"
    columns = range(arg.columns // ROWS)
    left = job.rows_at(first)
    rights = [job.at(job.right, column * job.group_bytes, "right") for column in columns]
    flips = job.left_type.kind != "float" and job.left_type.is_signed == job.right_type.is_signed
    # Dot products are of unsigned and signed bytes. Of two of one kind the left ones get 128 more or the right ones 128 less,
    # and what the sums then have too much, or too little, is summed beside them.
    places = [(row, column) for row in range(TOGETHER) for column in columns]
    extra = [] if not flips else list(columns) if job.left_type.is_signed else list(range(TOGETHER))
    names = [f"%{emit.name('sum')}" for _ in range(len(places) + len(extra))]
    label, index = _loop(emit, "dots", current)
    for name in names:
        start = "zeroinitializer"
        emit.lines.append(
            f"  {name} = phi {kind} [ {start}, %{current} ], [ {name}.next, %{label} ]"
        )
    offset = emit.value(f"mul nuw nsw i64 {index}, {RUN_BYTES}", "run.at")
    if not arg.pitch:
        step = emit.value(f"and i64 {offset}, -{STEP_BYTES}", "step")
        more = emit.value(f"mul nuw nsw i64 {step}, {ROWS - 1}", "steps")
        offset = emit.value(f"add nuw nsw i64 {offset}, {more}", "left.at")
    across = emit.value(f"mul nuw nsw i64 {index}, {STEP_BYTES}", "right.offset")
    words: list[str] = []
    for column in columns:
        address = job.at(rights[column], across, "right.at")
        words.append(emit.value(f"load <16 x i32>, ptr {address}, align 64", "columns"))
    spread: list[str] = []
    start = job.at(left, offset, "left.at")
    for row in range(TOGETHER):
        address = job.at(start, row * job.row_bytes, "row.at")
        word = emit.value(f"load i32, ptr {address}, align 1", "word")
        if flips and job.left_type.is_signed:
            word = emit.value(f"xor i32 {word}, {_signs()}", "unsigned")
        spread.append(_splat(emit, word))
    if flips and not job.left_type.is_signed:
        words = [
            emit.value(f"xor <16 x i32> {word}, splat (i32 {_signs()})", "signed") for word in words
        ]
    for name, (row, column) in zip(names, places, strict=False):
        _dot(job, flips, name, spread[row], words[column])
    for name, number in zip(names[len(places) :], extra, strict=True):
        if job.left_type.is_signed:
            _add_bytes(emit, name, f"splat (i32 {_signs()})", words[number])
        else:
            _add_bytes(emit, name, spread[number], "splat (i32 16843009)")
    runs = job.arg.terms * job.size // RUN_BYTES
    current = _next(emit, label, index, 1, runs)
    for name, (row, column) in zip(names, places, strict=False):
        value = f"{name}.next"
        if extra and job.left_type.is_signed:
            value = emit.value(f"sub {kind} {value}, {names[len(places) + column]}.next", "exact")
        elif extra:
            more = names[len(places) + row]
            times = emit.value(f"shl {kind} {more}.next, splat (i32 7)", "more")
            value = emit.value(f"add {kind} {value}, {times}", "exact")
        address = job.tile_at(first + row, column)
        emit.add(f"store {kind} {value}, ptr {address}, align 64")
    return current


def _signs() -> int:
    """The signs of four bytes, as a word."""
    return 0x80808080 - (1 << 32)


def _splat(emit: Emitter, word: str) -> str:
    first = emit.value(f"insertelement <16 x i32> poison, i32 {word}, i64 0", "first")
    return emit.value(
        f"shufflevector <16 x i32> {first}, <16 x i32> poison, <16 x i32> zeroinitializer", "row"
    )


def _dot(job: _Job, flips: bool, name: str, row: str, column: str) -> None:
    """One step of the sum `name`, in every lane."""
    emit = job.emit
    if job.left_type.kind == "float":
        halves = [
            emit.value(f"bitcast <16 x i32> {word} to <32 x bfloat>", "halves")
            for word in (row, column)
        ]
        operands = (("<16 x float>", name), *(("<32 x bfloat>", half) for half in halves))
        text = emit.call("llvm.x86.avx512bf16.dpbf16ps.512", "<16 x float>", operands)
        emit.add(f"{name}.next = {text}")
    elif flips or not job.left_type.is_signed:
        _add_bytes(emit, name, row, column)
    else:
        _add_bytes(emit, name, column, row)


def _add_bytes(emit: Emitter, name: str, unsigned: str, signed: str) -> None:
    operands: list[tuple[str, str]] = [("<16 x i32>", name)]
    for word in (unsigned, signed):
        text = emit.value(f"bitcast <16 x i32> {word} to <64 x i8>", "bytes")
        operands.append(("<64 x i8>", text))
    text = emit.call("llvm.x86.avx512.vpdpbusd.512", "<16 x i32>", tuple(operands))
    emit.add(f"{name}.next = {text}")
