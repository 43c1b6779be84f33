"""Plans as data: the name of what the compiler is asked for, and a plan of kernels as bytes and back.

In: the graph of one key as the compiler sees it; or a `KernelPlan` of a device that can give its code away (`Device.portable`).
Out: text that is equal for two graphs only if the compiler cannot tell them apart (lines of the user's program are not in
it); or bytes, from which `restore` makes the plan again without the compiler. The bytes are a table in JSON and the objects of
the kernels behind one another: nothing in them is executed while they are read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lazygrad.ir.args import Call
from lazygrad.ir.composite import COMPOSITES
from lazygrad.ir.dim import Dim, Size, UndecidedError, Variable
from lazygrad.ir.dtype import BY_NAME
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.schedule.traffic import Traffic

from .plan import KernelPlan, Launch, Output, Plan, Value

if TYPE_CHECKING:
    from .keys import Normal

NAMES = {op: op.name for op in Op}
"""The name of each operation: an enum finds it more slowly."""
KINDS = ("input", "output", "temporary", "number", "dim", "new")
"""What a value or an output is, by the number that it is stored as."""
_NUMBER = {kind: number for number, kind in enumerate(KINDS)}


class NotPortable(Exception):
    """This cannot be kept between processes."""


def describe(normal: Normal, made: Sequence[Node]) -> str:
    """Everything that compiling `normal` depends on, given its graph.

    Raises:
        NotPortable: it depends on something that is not data, such as a composite of the user's own.
    """
    number = {id(node): position for position, node in enumerate(made)}
    variables: dict[Variable, None] = {}
    args: dict[int, str] = {}
    lines: list[str] = []
    for node in made:
        arg = node.arg
        text = args.get(id(arg))
        if text is None:
            text = args[id(arg)] = "" if arg is None else repr(arg)
            if isinstance(arg, Call) and not _is_ours(arg):
                raise NotPortable(arg.name)
        sources = ",".join([str(number[id(source)]) for source in node.src])
        lines.append(
            f"{NAMES[node.op]} {sources} {node.dtype.short}{node.shape}{text} {node.place}"
        )
        for size in node.shape:
            if isinstance(size, Dim):
                variables.update(dict.fromkeys(size.variables))
    for variable in variables:
        # An example is no part of its equality, but placement counts with it.
        lines.append(repr(variable))
    asked = (
        normal.roots, normal.extra, normal.history, normal.watched, normal.interior, normal.stored, normal.copies, len(normal.buffers),
    )  # fmt: skip
    lines.append(repr(asked))
    return "\n".join(lines)


def _is_ours(call: Call) -> bool:
    """Whether the body of a composite stands in our sources, which the fingerprint covers."""
    body = COMPOSITES.get(call.name)
    return body is not None and body.__module__.startswith("lazygrad.")


# --- plans


def to_bytes(plan: Plan, attach: Sequence[int]) -> bytes:
    """A plan, and the numbers of the nodes that its outputs are values of.

    Raises:
        NotPortable: it is not a plan of kernels, or they cannot leave this process.
    """
    if type(plan) is not KernelPlan:
        raise NotPortable(type(plan).__name__)
    kernels: dict[int, int] = {}
    descriptions: list[Any] = []
    objects: list[bytes] = []
    for launch in plan.table:
        if id(launch.executable) not in kernels:
            kernels[id(launch.executable)] = len(kernels)
            kept: Any = launch.executable
            description, code = kept.portable()
            descriptions.append([description, len(code)])
            objects.append(code)
    table = {
        "attach": list(attach),
        "kernels": descriptions,
        "launches": [
            [kernels[id(each.executable)], each.written, *[_pair(value) for value in each.values]]
            for each in plan.table
        ],
        "traffic": [_counts(each.traffic) for each in plan.table],
        "outputs": [_pair(output) for output in plan.outputs],
        "made": [_size(size) for size in plan.made],
        "blocks": [_size(size) for size in plan.blocks],
        "numbers": {str(index): dtype.name for index, dtype in plan.number_types.items()},
        "dims": list(plan.dims),
    }
    return _joined(table, objects)


def refusal(error: UndecidedError) -> bytes:
    """That there can be no plan, and why."""
    return _joined({"undecided": str(error), "question": error.question}, ())


def _joined(table: Any, objects: Sequence[bytes]) -> bytes:
    text = json.dumps(table, separators=(",", ":")).encode()
    return b"".join((len(text).to_bytes(8, "little"), text, *objects))


def from_bytes(device: Any, content: bytes) -> tuple[KernelPlan, list[int]]:
    """The plan that `to_bytes` wrote, for the same device, and the numbers of its nodes.

    Raises:
        UndecidedError: it is a `refusal`.
        ValueError, KeyError, IndexError, TypeError, RuntimeError: it is neither.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    table = json.loads(content[8:start])
    if "undecided" in table:
        asked = tuple([(tuple(names), factor) for names, factor in table["question"]])
        raise UndecidedError(table["undecided"], asked)
    objects: list[tuple[Any, bytes]] = []
    for description, length in table["kernels"]:
        objects.append((description, content[start : start + length]))
        start += length
    executables = device.restore(objects)
    launches = [
        Launch(
            executables[kernel], tuple([_value(each) for each in values]), written, _traffic(counts)
        )
        for (kernel, written, *values), counts in zip(
            table["launches"], table["traffic"], strict=True
        )
    ]
    plan = KernelPlan(
        device,
        launches,
        [Output(KINDS[kind], index) for kind, index, _ in map(_parts, table["outputs"])],  # type: ignore[arg-type]
        [_made(size) for size in table["made"]],
        [_made(size) for size in table["blocks"]],
        {int(index): BY_NAME[name] for index, name in table["numbers"].items()},
        table["dims"],
    )
    return plan, table["attach"]


# --- kernels


def kernel_to_bytes(executable: Any) -> bytes:
    """The code of one kernel, of a device that has `restore`."""
    description, code = executable.portable()
    return _joined([description], (code,))


def kernel_from_bytes(device: Any, content: bytes) -> Any:
    """The kernel that `kernel_to_bytes` wrote, for the same device, or None where it did not."""
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        (description,) = json.loads(content[8:start])
        (found,) = device.restore([(description, content[start:])])
    except (ValueError, TypeError, IndexError, KeyError, RuntimeError):
        return None
    return found


# --- values


def _counts(traffic: Traffic | None) -> Any:
    """What a launch moves and computes; the lines are those of the program that was compiled."""
    if traffic is None:
        return None
    return [_size(traffic.bytes), _size(traffic.flops), traffic.lines]


def _traffic(counts: Any) -> Traffic | None:
    if counts is None:
        return None
    moved, computed, lines = counts
    return Traffic(_made(moved), _made(computed), tuple(lines))


def _pair(value: Value | Output) -> Any:
    """A number; with the byte that it begins at, where that is not the first."""
    number = value.index * 8 + _NUMBER[value.kind]
    start = value.start if isinstance(value, Value) else 0
    return [number, start] if start else number


def _parts(packed: Any) -> tuple[int, int, int]:
    number, start = packed if isinstance(packed, list) else (packed, 0)
    return number % 8, number // 8, start


def _value(packed: Any) -> Value:
    kind, index, start = _parts(packed)
    return Value(KINDS[kind], index, start)  # type: ignore[arg-type]


def _size(size: Size) -> Any:
    """A number, or the terms of a Dim: the variables by all that they are, and the coefficient."""
    if isinstance(size, int):
        return size
    return [
        [[[v.name, v.low, v.high, v.multiple, v.example] for v in monomial], coefficient]
        for monomial, coefficient in size.terms
    ]


def _made(size: Any) -> Size:
    if isinstance(size, int):
        return size
    return Dim({tuple([Variable(*v) for v in monomial]): c for monomial, c in size})
