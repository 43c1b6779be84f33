"""Every reverse rule against PyTorch in float64: values, first and second derivatives, at generic and at singular points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lazygrad.gradient.reverse import REVERSE
from lazygrad.ir import build
from lazygrad.ir.dtype import float32, float64, int64
from lazygrad.ir.node import Node, constant, unary, where
from lazygrad.ir.op import Op

torch = pytest.importorskip("torch")

Compare = Callable[..., None]
Array = np.ndarray[Any, Any]

GENERIC = [-2.3, -0.7, 0.4, 1.6, 3.1]
SINGULAR = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]
INSIDE = [-0.9, -0.3, 0.2, 0.75]
POSITIVE = [0.2, 0.5, 1.7, 4.0]

UNARY: list[tuple[Op, Callable[..., Any], list[float]]] = [
    (Op.NEG, torch.neg, GENERIC + SINGULAR),
    (Op.ABS, torch.abs, GENERIC + SINGULAR),
    (Op.SIGN, torch.sign, GENERIC + SINGULAR),
    (Op.FLOOR, torch.floor, GENERIC),
    (Op.CEIL, torch.ceil, GENERIC),
    (Op.TRUNC, torch.trunc, GENERIC),
    (Op.ROUND, torch.round, GENERIC),
    (Op.SQRT, torch.sqrt, POSITIVE + SINGULAR),
    (Op.RSQRT, torch.rsqrt, POSITIVE + [np.inf]),
    (Op.EXP, torch.exp, GENERIC + SINGULAR),
    (Op.EXP2, torch.exp2, GENERIC + SINGULAR),
    (Op.EXPM1, torch.expm1, GENERIC + SINGULAR),
    (Op.LOG, torch.log, POSITIVE + SINGULAR),
    (Op.LOG2, torch.log2, POSITIVE + SINGULAR),
    (Op.LOG10, torch.log10, POSITIVE + SINGULAR),
    (Op.LOG1P, torch.log1p, POSITIVE + SINGULAR),
    (Op.SIN, torch.sin, GENERIC + SINGULAR),
    (Op.COS, torch.cos, GENERIC + SINGULAR),
    (Op.TAN, torch.tan, GENERIC + SINGULAR),
    (Op.ASIN, torch.asin, INSIDE + [1.0, -1.0, 0.0, 1.5]),
    (Op.ACOS, torch.acos, INSIDE + [1.0, -1.0, 0.0, 1.5]),
    (Op.ATAN, torch.atan, GENERIC + SINGULAR),
    (Op.SINH, torch.sinh, GENERIC + SINGULAR),
    (Op.COSH, torch.cosh, GENERIC + SINGULAR),
    (Op.TANH, torch.tanh, GENERIC + SINGULAR),
    (Op.ASINH, torch.asinh, GENERIC + [0.0]),
    (Op.ACOSH, torch.acosh, [1.2, 2.5, 7.0, 1.0]),
    (Op.ATANH, torch.atanh, INSIDE + [0.0, 1.0, -1.0]),
    (Op.ERF, torch.erf, GENERIC + [0.0]),
    (Op.ERFC, torch.erfc, GENERIC + [0.0]),
    (Op.ERFINV, torch.erfinv, INSIDE + [0.0]),
    (Op.LGAMMA, torch.lgamma, POSITIVE + [-0.5, -2.3]),
    (Op.DIGAMMA, torch.digamma, POSITIVE + [-0.5, -2.3, 0.5]),
]


@pytest.mark.parametrize(
    ("op", "reference", "points"), UNARY, ids=[op.name.lower() for op, _, _ in UNARY]
)
def test_unary(
    compare: Compare, op: Op, reference: Callable[..., Any], points: list[float]
) -> None:
    tolerance = 1e-7 if op in (Op.DIGAMMA, Op.LGAMMA) else 1e-9
    compare(lambda x: unary(op, x), reference, points, tolerance=tolerance)


def pairs(values: list[float]) -> tuple[Array, Array]:
    grid = np.meshgrid(values, values)
    return grid[0].ravel(), grid[1].ravel()


BINARY: list[tuple[Op, Callable[..., Any], list[float]]] = [
    (Op.ADD, torch.add, GENERIC + SINGULAR),
    (Op.SUB, torch.sub, GENERIC + SINGULAR),
    (Op.MUL, torch.mul, GENERIC + SINGULAR),
    (Op.DIV, torch.div, GENERIC + [0.0, np.inf]),
    (Op.FMOD, torch.fmod, GENERIC),
    (Op.POW, torch.pow, POSITIVE + [0.0, 1.0]),
    (Op.ATAN2, torch.atan2, GENERIC),
    (Op.MAX, torch.maximum, GENERIC + [0.0, np.inf, -np.inf, np.nan]),
    (Op.MIN, torch.minimum, GENERIC + [0.0, np.inf, -np.inf, np.nan]),
]


@pytest.mark.parametrize(
    ("op", "reference", "points"), BINARY, ids=[op.name.lower() for op, _, _ in BINARY]
)
def test_binary(
    compare: Compare, op: Op, reference: Callable[..., Any], points: list[float]
) -> None:
    compare(lambda x, y: Node(op, (x, y), x.dtype, x.shape), reference, *pairs(points))


def test_power_of_zero_and_of_negative_numbers(compare: Compare) -> None:
    base = np.array([0.0, 0.0, 0.0, -2.0, -2.0, 0.0])
    exponent = np.array([0.0, 1.0, 2.0, 3.0, 0.0, 0.5])
    compare(
        lambda x, y: Node(Op.POW, (x, y), x.dtype, x.shape), torch.pow, base, exponent, second=False
    )


def test_where_and_fma(compare: Compare) -> None:
    condition = np.array([True, False, True])
    values = np.array([1.0, 2.0, 3.0])
    compare(where, torch.where, condition, values, values + 0.5)
    compare(
        lambda a, b, c: Node(Op.FMA, (a, b, c), a.dtype, a.shape),
        lambda a, b, c: a * b + c,
        values, values + 1, values - 2,
    )  # fmt: skip


def test_cast_carries_gradients_between_floats_only(compare: Compare) -> None:
    x = np.array([0.1, 1.5, -2.0])
    compare(
        lambda a: a.cast(float32).cast(float64) * a,
        lambda a: a.float().double() * a,
        x, tolerance=1e-7,
    )  # fmt: skip
    compare(lambda a: a.cast(int64).cast(float64) * a, lambda a: a.long().double() * a, x)


TABLE = np.array([[1.5, -0.5, 2.0], [2.0, 2.0, -1.0]])
ZEROS = np.array([[1.5, 0.0, 2.0], [0.0, 2.0, 0.0], [3.0, 1.0, -2.0]])


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("kind", ["add", "max", "min", "mul"])
def test_reductions(compare: Compare, kind: str, axes: tuple[int, ...]) -> None:
    references: dict[str, Callable[..., Any]] = {
        "add": lambda x: x.sum(axes, keepdim=True),
        "max": lambda x: x.amax(axes, keepdim=True),
        "min": lambda x: x.amin(axes, keepdim=True),
        "mul": lambda x: x.prod() if len(axes) == 2 else x.prod(axes[0], keepdim=True),
    }
    points = [TABLE, ZEROS] if kind == "mul" else [TABLE, np.array([[np.nan, 1.0], [2.0, np.inf]])]
    for table in points:
        compare(
            lambda x: (x.reduce(kind, axes).reshape(()) if kind == "mul" and len(axes) == 2 else x.reduce(kind, axes)),
            references[kind], table,
        )  # fmt: skip


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kind", ["add", "max", "min", "mul", "logaddexp"])
def test_scans(compare: Compare, kind: str, axis: int) -> None:
    references: dict[str, Callable[..., Any]] = {
        "add": lambda x: x.cumsum(axis),
        "max": lambda x: x.cummax(axis).values,
        "min": lambda x: x.cummin(axis).values,
        "mul": lambda x: x.cumprod(axis),
        "logaddexp": lambda x: x.logcumsumexp(axis),
    }
    tables = [TABLE, ZEROS]
    if kind in ("max", "min"):
        tables.append(np.array([[1.0, 2.0, np.nan, 3.0, np.nan], [2.0, 2.0, 1.0, 2.0, 3.0]]))
    for table in tables:
        compare(lambda x: build.scan(x, kind, axis), references[kind], table)  # type: ignore[arg-type]


CUBE = np.arange(24.0).reshape(2, 3, 4) / 7 - 1


def squared(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """So that second derivatives are not zero."""
    return lambda x: function(x) * function(x)


MOVEMENT: list[tuple[str, Callable[[Node], Node], Callable[[Any], Any]]] = [
    ("reshape", lambda x: x.reshape((6, 4)), lambda x: x.reshape(6, 4)),
    ("permute", lambda x: x.permute((2, 0, 1)), lambda x: x.permute(2, 0, 1)),
    ("expand", lambda x: x.reshape((2, 3, 1, 4)).expand((5, 2, 3, 2, 4)),
     lambda x: x.reshape(2, 3, 1, 4).expand(5, 2, 3, 2, 4)),
    ("flip", lambda x: x.flip((0, 2)), lambda x: x.flip(0, 2)),
    ("pad", lambda x: build.pad(x, (1, 0, 2), (0, 1, 0), value=3),
     lambda x: torch.nn.functional.pad(x, (2, 0, 0, 1, 1, 0), value=3.0)),
    ("shrink", lambda x: build.shrink(x, (1, 0, 1), (1, 2, 2), (1, 2, 2)), lambda x: x[1:2, 0:3:2, 1:4:2]),
    ("empty shrink", lambda x: build.shrink(x, (1, 0, 4), (1, 2, 0), (1, 2, 2)), lambda x: x[1:2, 0:3:2, 4:]),
    ("window", lambda x: build.window(x, (1, 2), (2, 2), (1, 2), (1, 1)),
     lambda x: x.unfold(1, 2, 1).unfold(2, 2, 2)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "function", "reference"), MOVEMENT, ids=[name for name, _, _ in MOVEMENT]
)
def test_movement(
    compare: Compare, name: str, function: Callable[[Node], Node], reference: Callable[[Any], Any]
) -> None:
    compare(squared(function), squared(reference), CUBE)


def test_interior_padding(compare: Compare) -> None:
    def reference(x: Any) -> Any:
        return torch.zeros(2, 3, 10, dtype=x.dtype).index_copy(2, torch.arange(0, 10, 3), x)

    compare(
        squared(lambda x: build.pad(x, (0, 0, 0), (0, 0, 0), (0, 0, 2))), squared(reference), CUBE
    )


def test_fold_is_the_transpose_of_dilated_windows(compare: Compare) -> None:
    def fold(x: Node) -> Node:
        wide = build.window(x, (1,), (2,), (1,), (2,))
        return build.fold(wide * wide, (2, 5), (1,), (2,), (1,), (2,))

    def reference(x: Any) -> Any:
        wide = torch.stack([x[:, :3], x[:, 2:]], -1) ** 2
        pad = torch.nn.functional.pad
        return pad(wide[..., 0], (0, 2)) + pad(wide[..., 1], (2, 0))

    compare(fold, reference, np.arange(10.0).reshape(2, 5) / 3 - 1)


INDEX = np.array([[0, 2, 2], [1, 1, 0]])


def test_gather(compare: Compare) -> None:
    compare(
        squared(lambda x: build.gather(x, index_node(), 1)),
        squared(lambda x: x.gather(1, torch.tensor(INDEX))),
        TABLE,
    )


def index_node() -> Node:
    rows = [constant(int(v), int64, (1,), "cpu") for v in INDEX.ravel()]
    total = build.pad(rows[0], (0,), (5,))
    for i, row in enumerate(rows[1:], 1):
        total = total + build.pad(row, (i,), (5 - i,))
    return total.reshape(INDEX.shape)


@pytest.mark.parametrize("kind", ["set", "add", "mul", "max", "min"])
def test_scatter(compare: Compare, kind: str) -> None:
    value = np.array([[0.5, 2.0, -3.0], [2.0, 2.5, 0.5]])
    index = torch.tensor(INDEX)

    def reference(base: Any, value: Any) -> Any:
        if kind in ("set", "add"):
            return (base.scatter if kind == "set" else base.scatter_add)(1, index, value)
        names = {"mul": "prod", "max": "amax", "min": "amin"}
        return base.scatter_reduce(1, index, value, names[kind])

    def function(base: Node, value: Node) -> Node:
        return build.scatter(base, index_node(), value, 1, kind)

    if kind == "set":
        value[0, 1] = value[0, 2]  # the order of duplicates is not PyTorch's promise
    for v in (value, np.where(value == 2.0, 0.0, value)):
        compare(function, reference, TABLE, v, second=kind != "mul")
        compare(function, reference, np.where(TABLE == 2.0, 0.0, TABLE), v, second=False)


def test_scatter_product_differentiates_twice(compare: Compare) -> None:
    value = np.array([[0.5, 2.0, -3.0], [2.0, 2.5, 0.5]])

    def reference(base: Any, value: Any) -> Any:
        picked = [
            torch.stack([base[r, c], *(value[r, k] for k in range(3) if INDEX[r, k] == c)]).prod()
            for r in range(2) for c in range(3)
        ]  # fmt: skip
        return torch.stack(picked).reshape(2, 3)

    compare(lambda b, v: build.scatter(b, index_node(), v, 1, "mul"), reference, TABLE, value)


def test_update(compare: Compare) -> None:
    def function(base: Node, value: Node) -> Node:
        result = build.update(base, value, (0, 1, 0), (1, 1, 2))
        return result * result

    def reference(base: Any, value: Any) -> Any:
        result = base.clone()
        result[0:2, 1:3, 0:4:2] = value
        return result * result

    compare(function, reference, CUBE, np.arange(8.0).reshape(2, 2, 2))


def test_every_rule_was_tried() -> None:
    """Runs last in this file: the rules count how often they gave a result."""
    idle = [rule.name for rule in REVERSE.all_rules() if not rule.hits]
    assert set(idle) <= {"copying"}  # there is one device here


def test_a_copy_takes_its_cotangent_back() -> None:
    x = constant(1.0, float32, (2,), "cpu")
    far = build.copy(x, "interpret")
    (back, *_) = REVERSE(Op.COPY, far, constant(2.0, float32, (2,), "interpret")) or ()
    assert back is not None and (back.op, back.place) == (Op.COPY, "cpu")
