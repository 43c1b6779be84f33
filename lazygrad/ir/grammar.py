"""The grammar of the IR, as data: what each operation takes and gives. `verify.py` applies it.

One `Entry` an operation. A relation that a table cannot say is a function beside it: it returns a sentence about what is wrong,
or None. Sizes compare with `==`; a question that the bounds of dims leave open is an error of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from . import extern
from .args import (
    ARG_CLASS,
    Axes,
    Axis,
    Call,
    Constant,
    Element,
    Grad,
    Padding,
    Reduction,
    Region,
    Scan,
    Scatter,
    Sort,
    Windows,
)
from .composite import COMPOSITES, expand_call
from .dim import Size, product
from .dtype import DType, int64
from .node import Node
from .op import BINARY, COMPARISON, UNARY, Op

Takes = Literal["any", "bool", "float", "integer", "bits", "number", "index"]
ACCEPTED: dict[Takes, Callable[[DType], bool]] = {
    "any": lambda dtype: True,
    "bool": lambda dtype: dtype.kind == "bool",
    "float": lambda dtype: dtype.kind == "float",
    "integer": lambda dtype: dtype.is_integer,
    "bits": lambda dtype: dtype.kind != "float",
    "number": lambda dtype: dtype.kind != "bool",
    "index": lambda dtype: dtype is int64,
}
"""The dtypes of each kind of source: "bits" are integers and bool, "number" all but bool."""

Relation = Callable[[Node], str | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one operation takes and gives.

    `takes` has the kind of each source (the last one for all further ones, of which there may be any number with `more`).
    `alike` sources have one dtype and shape. `gives` is the result's dtype: that of source 0 or 1, bool, or any. `keeps`
    says that the result has the first source's shape. `relation` is what else must hold.
    """

    takes: tuple[Takes, ...]
    gives: Literal["first", "second", "bool", "any"] = "first"
    keeps: bool = True
    alike: tuple[int, ...] = ()
    more: bool = False
    relation: Relation | None = None


def _constant(node: Node) -> str | None:
    assert isinstance(node.arg, Constant)
    value, dtype = node.arg.value, node.dtype
    wanted = {"float": float, "bool": bool}.get(dtype.kind, int)
    if type(value) is not wanted:
        return f"the constant {value!r} is not of the category of {dtype.name}"
    if dtype.is_integer:
        low = -(1 << (dtype.bits - 1)) if dtype.kind == "int" else 0
        if not low <= value < low + (1 << dtype.bits):
            return f"the constant {value} does not fit in {dtype.name}"
    return None


def _iota(node: Node) -> str | None:
    assert isinstance(node.arg, Axis)
    return _axis(node.arg.axis, node.shape)


def _axis(axis: int, shape: Sequence[Size]) -> str | None:
    return None if 0 <= axis < len(shape) else f"axis {axis} is not one of {len(shape)}"


def _bitcast(node: Node) -> str | None:
    if node.dtype.itemsize != node.src[0].dtype.itemsize:
        return f"the widths of {node.src[0].dtype.name} and {node.dtype.name} differ"
    return None


def _partial(kind: str, dtype: DType, accumulate: DType) -> str | None:
    if accumulate.category != dtype.category or accumulate.itemsize < dtype.itemsize:
        return f"{accumulate.name} cannot hold partial results of {dtype.name}"
    if kind in ("add", "mul") and dtype.kind == "bool":
        return f"bool has no {kind}"
    if kind == "logaddexp" and dtype.kind != "float":
        return f"{dtype.name} has no logaddexp"
    if kind in ("and", "or") and dtype.kind == "float":
        return f"floats have no {kind}"
    return None


def _reduce(node: Node) -> str | None:
    arg, shape = node.arg, node.src[0].shape
    assert isinstance(arg, Reduction)
    axes = arg.axes
    if not axes or list(axes) != sorted(set(axes)) or axes[0] < 0 or axes[-1] >= len(shape):
        return f"the axes {axes} are not sorted axes of {_shape(shape)}"
    expected = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return _partial(arg.kind, node.dtype, arg.accumulate) or _is(node, expected)


def _is(node: Node, expected: Sequence[Size]) -> str | None:
    if tuple(expected) != node.shape:
        return f"the shape must be {_shape(expected)}, not {_shape(node.shape)}"
    return None


def _shape(shape: Sequence[Size]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _scan(node: Node) -> str | None:
    arg = node.arg
    assert isinstance(arg, Scan)
    if node.src[0].dtype not in (node.dtype, arg.accumulate):
        return f"a scan of {node.src[0].dtype.name} does not give {node.dtype.name}"
    return _axis(arg.axis, node.shape) or _partial(arg.kind, node.dtype, arg.accumulate)


def _sort(node: Node) -> str | None:
    arg, keys = node.arg, node.src[0].dtype
    assert isinstance(arg, Sort)
    if keys.kind != "uint" or not 1 <= arg.bits <= keys.bits:
        return f"{keys.name} has no keys of {arg.bits} bits"
    if node.dtype is not int64:
        return f"the result must be int64, not {node.dtype.name}"
    source = node.src[0].shape
    wrong = _axis(arg.axis, node.shape)
    if wrong is not None or len(source) != len(node.shape):
        return wrong or f"{_shape(node.shape)} of {_shape(source)}"
    size, count = source[arg.axis], node.shape[arg.axis]
    if not isinstance(size, int) or not isinstance(count, int):
        return f"a sort needs to know the size of axis {arg.axis}"
    others = [a for a in range(len(source)) if a != arg.axis and source[a] != node.shape[a]]
    if others or not 0 <= arg.first <= size - count:
        return f"{count} places from {arg.first} of {_shape(source)} cannot be {_shape(node.shape)}"
    if not 0 <= arg.run <= size:
        return f"a row of {size} elements does not begin with a run of {arg.run}"
    return None


def _reshape(node: Node) -> str | None:
    before, after = product(node.src[0].shape), product(node.shape)
    return None if before == after else f"{before} elements cannot become {after}"


def _permute(node: Node) -> str | None:
    assert isinstance(node.arg, Axes)
    axes, shape = node.arg.axes, node.src[0].shape
    if sorted(axes) != list(range(len(shape))):
        return f"{axes} is no permutation of {len(shape)} axes"
    return _is(node, [shape[axis] for axis in axes])


def _expand(node: Node) -> str | None:
    shape = node.src[0].shape
    new = len(node.shape) - len(shape)
    if new < 0 or any(
        before != 1 and before != after
        for before, after in zip(shape, node.shape[new:], strict=True)
    ):
        return f"{_shape(shape)} does not broadcast to {_shape(node.shape)}"
    return None


def _flip(node: Node) -> str | None:
    assert isinstance(node.arg, Axes)
    axes = node.arg.axes
    if len(set(axes)) != len(axes):
        return f"the axes {axes} repeat"
    return next((wrong for axis in axes if (wrong := _axis(axis, node.shape))), None)


def _pad(node: Node) -> str | None:
    arg, shape = node.arg, node.src[0].shape
    assert isinstance(arg, Padding)
    if not len(arg.before) == len(arg.after) == len(arg.between) == len(shape):
        return f"the padding is not of {len(shape)} axes"
    if any(size < 0 for size in (*arg.before, *arg.after, *arg.between)):
        return "the padding is negative"
    expected = [
        before + after + (size if gap == 0 else size + max(size - 1, 0) * gap)
        for size, before, after, gap in zip(shape, arg.before, arg.after, arg.between, strict=True)
    ]
    return _is(node, expected)


def _inside(region: Region, size: Sequence[Size], shape: Sequence[Size]) -> str | None:
    """Whether a region of `size` lies in `shape`."""
    if not len(region.starts) == len(region.steps) == len(size) == len(shape):
        return f"the region is not of {len(shape)} axes"
    for start, step, count, whole in zip(region.starts, region.steps, size, shape, strict=True):
        if step < 1 or start < 0 or count < 0:
            return f"a region cannot start at {start} with step {step}"
        if (count != 0 and start + (count - 1) * step >= whole) or start > whole:
            return f"{count} elements from {start} with step {step} leave an axis of {whole}"
    return None


def _shrink(node: Node) -> str | None:
    assert isinstance(node.arg, Region)
    return _inside(node.arg, node.shape, node.src[0].shape)


def _update(node: Node) -> str | None:
    assert isinstance(node.arg, Region)
    return _inside(node.arg, node.src[1].shape, node.shape)


def _window(node: Node) -> str | None:
    return _windowed(node, node.src[0].shape, node.shape)


def _fold(node: Node) -> str | None:
    return _windowed(node, node.shape, node.src[0].shape)


def _windowed(node: Node, whole: Sequence[Size], windows: Sequence[Size]) -> str | None:
    """Whether `windows` is the shape of the windows over `whole`."""
    arg = node.arg
    assert isinstance(arg, Windows)
    parameters = (arg.axes, arg.sizes, arg.strides, arg.dilations)
    if len({len(part) for part in parameters}) != 1 or len(set(arg.axes)) != len(arg.axes):
        return "axes, sizes, strides and dilations do not belong together"
    expected = list(whole)
    for axis, size, stride, dilation in zip(*parameters, strict=True):
        if _axis(axis, whole) or min(size, stride, dilation) < 1:
            return f"a window of {size} with stride {stride} and dilation {dilation} on axis {axis}"
        expected[axis] = (whole[axis] - (dilation * (size - 1) + 1)) // stride + 1
        if expected[axis] < 0:
            return f"a window of {size} is longer than axis {axis}"
    if (*expected, *arg.sizes) != tuple(windows):
        return f"windows over {_shape(whole)} are {_shape((*expected, *arg.sizes))}, not {_shape(windows)}"
    return None


def _others(left: Sequence[Size], right: Sequence[Size], axis: int) -> str | None:
    """Whether two shapes agree but for `axis`."""
    wrong = _axis(axis, left)
    if wrong or len(left) != len(right):
        return wrong or f"{_shape(left)} and {_shape(right)} have different ranks"
    if any(a != b for i, (a, b) in enumerate(zip(left, right, strict=True)) if i != axis):
        return f"{_shape(left)} and {_shape(right)} differ beside axis {axis}"
    return None


def _gather(node: Node) -> str | None:
    assert isinstance(node.arg, Axis)
    source, index = node.src
    return _is(node, index.shape) or _others(source.shape, index.shape, node.arg.axis)


def _scatter(node: Node) -> str | None:
    assert isinstance(node.arg, Scatter)
    base, index, value = node.src
    if value.dtype is not base.dtype or value.shape != index.shape:
        return "the values are not of the base's dtype and the index's shape"
    return _others(base.shape, index.shape, node.arg.axis)


def _grad(node: Node) -> str | None:
    arg = node.arg
    assert isinstance(arg, Grad)
    roots, cotangents = node.src[: arg.roots], node.src[arg.roots : 2 * arg.roots]
    if len(node.src) != 2 * arg.roots + len(arg.boundary):
        return "roots, cotangents and targets do not add up to its sources"
    if any(
        (a.dtype, a.shape) != (b.dtype, b.shape) for a, b in zip(roots, cotangents, strict=True)
    ):
        return "a cotangent differs from its root in dtype or shape"
    return None


def _element(node: Node) -> str | None:
    assert isinstance(node.arg, Element)
    grad, index = node.src[0], node.arg.index
    if grad.op is Op.EXTERN:
        results = extern.kinds(grad)
        if not 0 <= index < len(results):
            return f"there is no element {index} of {len(results)}"
        dtype, shape = results[index]
        return _is(node, shape) if node.dtype is dtype else f"that result is {dtype.name}"
    if not isinstance(grad.arg, Grad):
        return "only a grad or an extern has elements"
    targets = grad.src[2 * grad.arg.roots :]
    if not 0 <= index < len(targets):
        return f"there is no element {index} of {len(targets)}"
    target = targets[index]
    if target.dtype is not node.dtype:
        return f"the gradient of {target.dtype.name} is {node.dtype.name}"
    return _is(node, target.shape)


def _call(node: Node) -> str | None:
    assert isinstance(node.arg, Call)
    if node.arg.name not in COMPOSITES:
        return f"there is no composite {node.arg.name!r}"
    body = expand_call(node)
    if body.dtype is not node.dtype:
        return f"its body gives {body.dtype.name}"
    return _is(node, body.shape)


def _extern(node: Node) -> str | None:
    assert isinstance(node.arg, Call)
    if node.arg.name not in extern.EXTERNS:
        return f"there is no host function {node.arg.name!r}"
    return _is(node, ())


_FLOATS = frozenset((*range(Op.FLOOR, Op.DIGAMMA + 1), Op.DIV, Op.FMOD, Op.ATAN2))
_SECOND: dict[Op, Takes] = {
    Op.IDIV: "integer", Op.MOD: "integer", Op.GCD: "integer", Op.AND: "bits", Op.OR: "bits", Op.XOR: "bits",
    Op.SHL: "integer", Op.SHR: "integer", Op.MAX: "any", Op.MIN: "any",
}  # fmt: skip
_FIRST: dict[Op, Takes] = {Op.NOT: "bits", Op.CAST: "any", Op.BITCAST: "any"}

ELEMENTWISE_GRAMMAR: dict[Op, Entry] = {
    **{
        Op(op): Entry(("float",) if op in _FLOATS else (_FIRST.get(Op(op), "number"),))
        for op in UNARY
    },
    **{
        Op(op): Entry((kind, kind), alike=(0, 1))
        for op in BINARY - COMPARISON
        for kind in ("float" if op in _FLOATS else _SECOND.get(Op(op), "number"),)
    },
    **{op: Entry(("any", "any"), gives="bool", alike=(0, 1)) for op in COMPARISON},
    Op.CAST: Entry(("any",), gives="any"),
    Op.BITCAST: Entry(("any",), gives="any", relation=_bitcast),
    Op.WHERE: Entry(("bool", "any", "any"), gives="second", alike=(1, 2)),
    Op.FMA: Entry(("float", "float", "float"), alike=(0, 1, 2)),
}
"""Both strata: no implicit broadcasting, no implicit promotion."""

GRAPH_GRAMMAR: dict[Op, Entry] = {
    **ELEMENTWISE_GRAMMAR,
    Op.CONST: Entry((), gives="any", relation=_constant),
    Op.ARGUMENT: Entry((), gives="any"),
    Op.BUFFER: Entry((), gives="any"),
    Op.IOTA: Entry((), gives="any", relation=_iota),
    Op.REDUCE: Entry(("any",), keeps=False, relation=_reduce),
    Op.SCAN: Entry(("any",), gives="any", relation=_scan),
    Op.SORT: Entry(("integer",), gives="any", keeps=False, relation=_sort),
    Op.RESHAPE: Entry(("any",), keeps=False, relation=_reshape),
    Op.PERMUTE: Entry(("any",), keeps=False, relation=_permute),
    Op.EXPAND: Entry(("any",), keeps=False, relation=_expand),
    Op.PAD: Entry(("any",), keeps=False, relation=_pad),
    Op.SHRINK: Entry(("any",), keeps=False, relation=_shrink),
    Op.FLIP: Entry(("any",), relation=_flip),
    Op.WINDOW: Entry(("any",), keeps=False, relation=_window),
    Op.FOLD: Entry(("number",), keeps=False, relation=_fold),
    Op.GATHER: Entry(("any", "index"), keeps=False, relation=_gather),
    Op.SCATTER: Entry(("any", "index", "any"), relation=_scatter),
    Op.UPDATE: Entry(("any", "any"), relation=_update),
    Op.STOP: Entry(("any",)),
    Op.COPY: Entry(("any",)),
    Op.GRAD: Entry(("any",), gives="any", keeps=False, more=True, relation=_grad),
    Op.ELEMENT: Entry(("any",), gives="any", keeps=False, relation=_element),
    Op.CALL: Entry(("any",), gives="any", keeps=False, more=True, relation=_call),
    Op.EXTERN: Entry(("any",), gives="any", keeps=False, more=True, relation=_extern),
}
"""The graph stratum."""


def check_entry(node: Node, entry: Entry) -> str | None:
    """What is wrong with `node` as its operation's entry has it, as a sentence, or None."""
    count = len(node.src)
    if count < len(entry.takes) or (count > len(entry.takes) and not entry.more):
        return f"{node.op.name.lower()} has {count} sources, not {len(entry.takes)}"
    wanted = ARG_CLASS.get(node.op)
    if type(node.arg) is not (wanted or type(None)) and not (
        node.op is Op.BUFFER and node.arg is None
    ):
        name = wanted.__name__ if wanted else "None"
        return f"the arg is {type(node.arg).__name__}, not {name}"
    for position, source in enumerate(node.src):
        kind = entry.takes[min(position, len(entry.takes) - 1)]
        if not ACCEPTED[kind](source.dtype):
            return f"source {position} is {source.dtype.name}, and must be {kind}"
    for position in entry.alike[1:]:
        first, other = node.src[entry.alike[0]], node.src[position]
        if first.dtype is not other.dtype:
            return f"the dtypes of its sources differ: {first.dtype.name} and {other.dtype.name}"
        if first.shape != other.shape:
            return (
                f"the shapes of its sources differ: {_shape(first.shape)} and {_shape(other.shape)}"
            )
    if entry.gives != "any":
        dtype = node.src[entry.gives == "second"].dtype.name if entry.gives != "bool" else "bool"
        if node.dtype.name != dtype:
            return f"the result must be {dtype}, not {node.dtype.name}"
    if entry.keeps and node.src:
        last = entry.alike[-1] if entry.alike else 0
        wrong = _is(node, node.src[0].shape) or _is(node, node.src[last].shape)
        if wrong:
            return wrong
    return entry.relation(node) if entry.relation else None
