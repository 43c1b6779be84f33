"""What benchmarks/operators.py measures: every elementwise operator, reductions, scans, indexing, order, arrangement, random numbers.

In: how many elements. Out: cases, each an operator, what it is given, and how its result is compared. An operator that stands in a table
by its name is made for each dtype beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Run = Callable[..., Any]

NEAR = 3e-5
"""How far float32 results of a function may differ, of 1 and the result."""


class Case(NamedTuple):
    """An operator, what it is given, and how its result is compared."""

    name: str
    run: Run
    inputs: tuple[Array, ...] = ()
    tolerance: float = 0.0
    compared: str = "all"
    """"all", or of results in pairs the "first" (which of equal elements is meant may differ), or the "shape" alone."""


class Data:
    """Arrays of about `size` elements, made when they are asked for: a square of each kind."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.side = int(size**0.5)
        self.square = (self.side, self.side)
        self.draw = np.random.default_rng(0)

    @cached_property
    def x(self) -> Array:
        return self.draw.normal(size=self.square).astype(np.float32)

    @cached_property
    def y(self) -> Array:
        return self.draw.normal(size=self.square).astype(np.float32)

    @cached_property
    def positive(self) -> Array:
        return np.abs(self.x) + np.float32(0.1)

    @cached_property
    def unit(self) -> Array:
        """Between -1 and 1, far from the ends."""
        return np.tanh(self.x) * np.float32(0.9)

    @cached_property
    def wide(self) -> Array:
        return self.draw.integers(-1_000_000, 1_000_000, self.square)

    @cached_property
    def small(self) -> Array:
        return self.draw.integers(0, 1000, self.square)

    @cached_property
    def bits(self) -> Array:
        return self.draw.integers(0, 30, self.square)

    @cached_property
    def mask(self) -> Array:
        return self.x > 0

    @cached_property
    def other(self) -> Array:
        return self.y > 0

    @cached_property
    def rare(self) -> Array:
        return self.x > 2.5

    @cached_property
    def rows(self) -> Array:
        return self.draw.integers(0, self.side, self.side)

    @cached_property
    def order(self) -> Array:
        return self.draw.permutation(self.side)

    @cached_property
    def anywhere(self) -> Array:
        return self.draw.integers(0, self.side, self.square)

    @cached_property
    def permutation(self) -> Array:
        return self.draw.permutation(self.side * self.side)

    def of(self, kind: str, what: str = "x") -> Array:
        """A square of a dtype, of numbers that suit it."""
        if kind == "bool":
            return self.mask if what == "x" else self.other
        if kind.startswith(("int", "uint")):
            return (self.small if what == "y" or kind == "uint8" else self.wide).astype(kind)
        made: Array = getattr(self, what)
        return made.astype(kind)


def cases(size: int) -> Iterator[Case]:
    """All cases, on about `size` elements."""
    data = Data(size)
    for family in (
        unary, binary, typed, activations, reductions, scans, gathers, scatters, choices, orders, arrangements, creations,
    ):  # fmt: skip
        yield from family(data)


# --- elementwise

UNARY = {
    "x": "abs acosh asinh atan ceil cos cosh deg2rad erf erfc exp exp2 expm1 floor frac i0 isfinite isinf isnan isneginf "
    "isposinf nan_to_num neg rad2deg round sgn sigmoid sign signbit sin sinc sinh square tan tanh trunc logical_not "
    "special.i0e special.i1 special.i1e special.ndtr special.log_ndtr special.erfcx",
    "positive": "digamma lgamma log log10 log1p log2 reciprocal rsqrt sqrt special.entr",
    "unit": "acos asin atanh erfinv",
}
BINARY = {
    "xy": "add sub mul atan2 maximum minimum fmax fmin logaddexp logaddexp2 hypot copysign nextafter heaviside eq ne lt le gt "
    "ge isclose logical_and logical_or logical_xor",
    "xp": "div remainder fmod floor_divide ldexp",
    "px": "pow xlogy special.xlog1py float_power",
}
ACTIVATIONS = (
    "relu relu6 elu selu celu gelu silu mish hardswish hardsigmoid hardtanh leaky_relu logsigmoid softplus softsign "
    "tanhshrink softshrink hardshrink"
)


def _named(name: str) -> Run:
    """The function of a module that has this name, "special.i0e" too."""

    def run(module: Any, *inputs: Any) -> Any:
        for part in name.split("."):
            module = getattr(module, part)
        return module(*inputs)

    return run


def unary(d: Data) -> Iterator[Case]:
    """Functions of one tensor."""
    for what, names in UNARY.items():
        given = np.abs(d.x) + 1 if what == "acosh" else getattr(d, what)
        for name in names.split():
            yield Case(name, _named(name), (np.abs(d.x) + 1 if name == "acosh" else given,), NEAR)
    ndtri = d.unit * np.float32(0.5) + np.float32(0.5)
    yield Case("special.ndtri", _named("special.ndtri"), (ndtri,), NEAR)
    yield Case("logit", _named("logit"), (ndtri,), NEAR)
    yield Case("round decimals", lambda m, a: m.round(a, decimals=2), (d.x,), NEAR)
    yield Case("bitwise_not", lambda m, a: ~a, (d.wide,))
    yield Case("polygamma", lambda m, a: m.polygamma(1, a), (d.positive,), 1e-4)
    yield Case("mvlgamma", lambda m, a: m.mvlgamma(a + 2, 2), (d.positive,), 1e-4)


def binary(d: Data) -> Iterator[Case]:
    """Functions of two and three tensors."""
    sources = {"x": d.x, "y": d.y, "p": d.positive}
    for given, names in BINARY.items():
        for name in names.split():
            yield Case(name, _named(name), (sources[given[0]], sources[given[1]]), 1e-4)
    yield Case("mul by a number", lambda m, a: a * 2.5, (d.x,))
    yield Case("pow of a number", lambda m, a: a**2.5, (d.positive,), 1e-5)
    yield Case("rpow", lambda m, a: 2.5**a, (d.x,), 1e-5)
    yield Case("remainder by a number", lambda m, a: a % 0.7, (d.x,), 1e-4)
    yield Case("div trunc", lambda m, a, b: m.div(a, b, rounding_mode="trunc"), (d.x, d.positive))
    yield Case("div floor", lambda m, a, b: m.div(a, b, rounding_mode="floor"), (d.x, d.positive))
    yield Case("add of rows", lambda m, a, b: a + b, (d.x, d.y[0]))
    yield Case("add of columns", lambda m, a, b: a + b, (d.x, d.y[:, :1].copy()))
    yield Case(
        "addcmul", lambda m, a, b, c: m.addcmul(a, b, c, value=0.5), (d.x, d.y, d.unit), 1e-5
    )
    yield Case("addcdiv", lambda m, a, b, c: m.addcdiv(a, b, c, value=0.5), (d.x, d.y, d.positive), 1e-5)  # fmt: skip
    yield Case("lerp", lambda m, a, b: m.lerp(a, b, 0.3), (d.x, d.y), 1e-5)
    yield Case("lerp by a tensor", lambda m, a, b, c: m.lerp(a, b, c), (d.x, d.y, d.unit), 1e-5)
    yield Case("clamp", lambda m, a: a.clamp(-1, 1), (d.x,))
    yield Case("clamp by tensors", lambda m, a, b, c: m.clamp(a, b, c), (d.x, d.y, d.unit))
    yield Case("clamp_min", lambda m, a: a.clamp_min(0.5), (d.x,))
    yield Case("where", lambda m, c, a, b: m.where(c, a, b), (d.mask, d.x, d.y))
    yield Case("gcd", lambda m, a, b: m.gcd(a, b), (d.wide, d.small))
    yield Case("lcm", lambda m, a, b: m.lcm(a, b), (d.small, d.bits))
    yield Case("allclose", lambda m, a, b: m.tensor(m.allclose(a, b)), (d.x, d.x.copy()))
    yield Case("equal", lambda m, a, b: m.tensor(m.equal(a, b)), (d.x, d.x.copy()))
    yield Case("zeta", lambda m, a, b: m.special.zeta(a + 1, b), (d.positive, d.positive), 1e-4)


def typed(d: Data) -> Iterator[Case]:
    """Operators on other dtypes than float32, and casts."""
    for kind in ("int64", "int32", "uint8", "float64", "bool"):
        pair = d.of(kind), d.of(kind, "y")
        names = ["add", "mul", "maximum", "lt", "eq", "logical_and"]
        if kind != "bool":
            names += ["sub"]
        for name in names:
            yield Case(f"{name} {kind}", _named(name), pair)
        if kind.startswith(("int", "uint")):
            over = (pair[0], np.maximum(pair[1], 1).astype(kind))
            for name in ("floor_divide", "remainder", "fmod"):
                yield Case(f"{name} {kind}", _named(name), over)
            yield Case(f"div {kind}", _named("div"), over, 1e-5)
            shifted = (pair[0], (d.bits % 7).astype(kind))
            for name in ("bitwise_left_shift", "bitwise_right_shift"):
                yield Case(f"{name} {kind}", _named(name), shifted)
        if not kind.startswith("float"):
            for name in ("bitwise_and", "bitwise_xor"):
                yield Case(f"{name} {kind}", _named(name), pair)
        if kind not in ("bool", "uint8"):
            for name in ("abs", "neg", "sign"):
                yield Case(f"{name} {kind}", _named(name), pair[:1])
            yield Case(f"clamp {kind}", lambda m, a: a.clamp(-1, 1), pair[:1])
        yield Case(f"where {kind}", _named("where"), (d.mask, *pair))
    for name in ("exp", "log", "sin", "tanh", "sqrt", "sigmoid", "erf"):
        yield Case(f"{name} float64", _named(name), (d.of("float64", "positive"),), 1e-12)
    yield Case("pow int64", lambda m, a: a**3, (d.small,))
    yield Case("floor_divide by a number", lambda m, a: a // 7, (d.wide,))
    yield Case("remainder int64 by a number", lambda m, a: a % 7, (d.wide,))
    for source, target in (
        ("float32", "float64"), ("float32", "int64"), ("float32", "int32"), ("float32", "uint8"), ("float32", "bool"),
        ("float32", "bfloat16"), ("float32", "float16"), ("float64", "float32"), ("int64", "float32"), ("int64", "int32"),
        ("int32", "int64"), ("bool", "float32"), ("bool", "int64"), ("uint8", "float32"),
    ):  # fmt: skip
        given = d.of(source, "positive" if target == "uint8" else "x")
        compared = "shape" if target == "bfloat16" else "all"  # NumPy has none
        yield Case(f"cast {source} to {target}", lambda m, a, t=target: a.to(getattr(m, t)), (given,), 0.0, compared)  # fmt: skip
    for kind in ("bfloat16", "float16"):
        yield Case(f"add in {kind}", lambda m, a, b, k=kind: (a.to(getattr(m, k)) + b.to(getattr(m, k))).float(), (d.x, d.y))  # fmt: skip


def activations(d: Data) -> Iterator[Case]:
    """Activations."""
    for name in ACTIVATIONS.split():
        yield Case(name, _named(f"nn.functional.{name}"), (d.x,), NEAR)
    yield Case("gelu tanh", lambda m, a: m.nn.functional.gelu(a, approximate="tanh"), (d.x,), NEAR)
    yield Case("threshold", lambda m, a: m.nn.functional.threshold(a, 0.1, 20.0), (d.x,))
    yield Case("prelu", lambda m, a, w: m.nn.functional.prelu(a, w), (d.x, d.y[0]), NEAR)
    yield Case("glu", lambda m, a: m.nn.functional.glu(a, 1), (d.x,), NEAR)
    yield Case("dropout", lambda m, a: m.nn.functional.dropout(a, 0.3), (d.x,), compared="shape")
    for name in ("softmax", "log_softmax"):
        yield Case(f"{name} rows", lambda m, a, n=name: getattr(a, n)(1), (d.x,), NEAR)
        yield Case(f"{name} columns", lambda m, a, n=name: getattr(a, n)(0), (d.x,), NEAR)


# --- reductions and scans

DIMS = {"": None, " rows": 1, " columns": 0}


def reductions(d: Data) -> Iterator[Case]:
    """All elements, the last axis, the first."""

    def along(name: str, given: Array, tolerance: float, compared: str = "all") -> Iterator[Case]:
        for where, dim in DIMS.items():
            kind = "" if given.dtype == np.float32 else f" {given.dtype}"

            def run(m: Any, a: Any, dim: Any = dim) -> Any:
                return getattr(m, name)(a) if dim is None else getattr(m, name)(a, dim)

            yield Case(f"{name}{kind}{where}", run, (given,), tolerance, compared)

    small = d.x * np.float32(0.001) + np.float32(1)
    for name in ("sum", "nansum", "mean", "nanmean", "amax", "amin", "count_nonzero"):
        yield from along(name, d.x, 2e-2 if "sum" in name else 1e-3)
    yield from along("prod", small, 1e-2)
    for name in ("max", "min", "argmax", "argmin"):
        yield from along(name, d.x, 0.0, "all" if name.startswith("arg") else "first")
    for name in ("var", "std"):
        yield from along(name, d.x, 1e-3)
    for name in ("any", "all"):
        yield from along(name, d.rare if name == "any" else ~d.rare, 0.0)
    for kind in ("int64", "int32", "bool", "float64"):
        for name in ("sum", "amax", "argmax"):
            if kind != "bool" or name == "sum":
                yield from along(name, d.of(kind), 1e-9)
    yield Case("mean float64 rows", lambda m, a: a.mean(1), (d.of("float64"),), 1e-9)
    yield Case("all of a comparison", lambda m, a: (a == a).all(), (d.x,))
    yield Case("count_nonzero bool", lambda m, a: m.count_nonzero(a), (d.mask,))
    yield Case("norm", lambda m, a: a.norm(), (d.x,), 1e-1)
    yield Case("norm 1 rows", lambda m, a: a.norm(1, dim=1), (d.x,), 1e-2)
    yield Case("norm inf rows", lambda m, a: a.norm(float("inf"), dim=1), (d.x,), 1e-2)
    yield Case("var_mean rows", lambda m, a: m.var_mean(a, 1), (d.x,), 1e-3)
    yield Case("aminmax", lambda m, a: m.aminmax(a), (d.x,))
    yield Case("logsumexp rows", lambda m, a: a.logsumexp(1), (d.x,), 1e-4)
    yield Case("logsumexp columns", lambda m, a: a.logsumexp(0), (d.x,), 1e-4)
    yield Case("trace", lambda m, a: m.trace(a), (d.x,), 1e-3)
    yield Case("trapezoid", lambda m, a: m.trapezoid(a), (d.x,), 1e-3)


def scans(d: Data) -> Iterator[Case]:
    """Running results."""
    small = d.x * np.float32(0.001) + np.float32(1)
    for where, dim in (("rows", 1), ("columns", 0)):
        yield Case(f"cumsum {where}", lambda m, a, i=dim: a.cumsum(i), (d.x,), 1e-3)
        yield Case(f"cumsum int64 {where}", lambda m, a, i=dim: a.cumsum(i), (d.wide,))
        yield Case(f"cumprod {where}", lambda m, a, i=dim: a.cumprod(i), (small,), 1e-2)
        yield Case(f"cummax {where}", lambda m, a, i=dim: a.cummax(i), (d.x,), 0.0, "first")
        yield Case(f"cummin {where}", lambda m, a, i=dim: a.cummin(i), (d.x,), 0.0, "first")
        yield Case(f"logcumsumexp {where}", lambda m, a, i=dim: a.logcumsumexp(i), (d.x,), 1e-4)
    yield Case("cumsum of all", lambda m, a: a.cumsum(0), (d.x.reshape(-1),), 1e-1)
    yield Case("cumsum of all int64", lambda m, a: a.cumsum(0), (d.wide.reshape(-1),))
    yield Case("cumsum of all bool", lambda m, a: a.cumsum(0), (d.mask.reshape(-1),))
    yield Case("cumsum float64 rows", lambda m, a: a.cumsum(1), (d.of("float64"),), 1e-9)
    yield Case("diff", lambda m, a: a.diff(), (d.x,))


# --- elements by their places


def gathers(d: Data) -> Iterator[Case]:
    """Elements, rows and columns that indices choose."""
    x, line = d.x, d.x.reshape(-1)
    yield Case("gather rows", lambda m, a, i: a.gather(1, i), (x, d.anywhere))
    yield Case("gather columns", lambda m, a, i: a.gather(0, i), (x, d.anywhere))
    yield Case("gather int64 rows", lambda m, a, i: a.gather(1, i), (d.wide, d.anywhere))
    yield Case("take", lambda m, a, i: a.take(i), (line, d.permutation))
    yield Case("take_along_dim", lambda m, a, i: m.take_along_dim(a, i, 1), (x, d.anywhere))
    for kind in ("float32", "int64", "bool", "float64"):
        given = d.of(kind)
        yield Case(f"index_select {kind} rows", lambda m, a, i: a.index_select(0, i), (given, d.rows))  # fmt: skip
    yield Case("index_select columns", lambda m, a, i: a.index_select(1, i), (x, d.rows))
    narrow = x.reshape(-1, 64)
    many = d.draw.integers(0, len(narrow), len(narrow))
    yield Case("index_select short rows", lambda m, a, i: a.index_select(0, i), (narrow, many))
    yield Case("index rows", lambda m, a, i: a[i], (x, d.rows))
    yield Case("index with two tensors", lambda m, a, i, j: a[i, j], (x, d.anywhere, d.anywhere.T.copy()))  # fmt: skip
    yield Case("index with a mask of rows", lambda m, a, c: a[c], (x, d.mask[0]))
    yield Case("embedding", lambda m, a, i: m.nn.functional.embedding(i, a), (narrow, many))
    yield Case("embedding backward", _embedding_backward, (narrow, many), 1e-4)
    yield Case("one column", lambda m, a: a[:, 1].contiguous(), (x,))


def _embedding_backward(m: Any, table: Any, rows: Any) -> Any:
    weight = table.detach().requires_grad_()
    m.nn.functional.embedding(rows, weight).sum().backward()
    return weight.grad


def scatters(d: Data) -> Iterator[Case]:
    """Elements, rows and columns put where indices say."""
    x, y, line = d.x, d.y, d.x.reshape(-1)
    places = np.argsort(y, 1)
    yield Case("scatter rows", lambda m, a, i, b: a.scatter(1, i, b), (x, places, y))
    yield Case("scatter a number", lambda m, a, i: a.scatter(1, i, 1.0), (x, d.anywhere))
    for where, dim in (("rows", 1), ("columns", 0)):
        yield Case(f"scatter_add {where}", lambda m, a, i, b, k=dim: a.scatter_add(k, i, b), (x, d.anywhere, y), 1e-4)  # fmt: skip
    for kind in ("sum", "amax", "mean"):
        yield Case(f"scatter_reduce {kind}", lambda m, a, i, b, k=kind: a.scatter_reduce(1, i, b, k), (x, d.anywhere, y), 1e-4)  # fmt: skip
    yield Case("index_add rows", lambda m, a, i, b: a.index_add(0, i, b), (x, d.rows, y), 1e-4)
    yield Case("index_add columns", lambda m, a, i, b: a.index_add(1, i, b), (x, d.rows, y), 1e-4)
    yield Case("index_copy rows", lambda m, a, i, b: a.index_copy(0, i, b), (x, d.order, y))
    yield Case("index_fill rows", lambda m, a, i: a.index_fill(0, i, 1.0), (x, d.rows))
    yield Case("index_put rows", lambda m, a, i, b: a.index_put((i,), b), (x, d.order, y))
    yield Case("index_put accumulate", lambda m, a, i, b: a.index_put((i,), b, accumulate=True), (line, d.permutation, y.reshape(-1)), 1e-4)  # fmt: skip
    yield Case("put", lambda m, a, i, b: m.Tensor.put(a, i, b), (line, d.permutation, y.reshape(-1)))  # fmt: skip
    yield Case("bincount", lambda m, a: m.bincount(a), (d.small.reshape(-1),))
    yield Case("bincount with weights", lambda m, a, w: m.bincount(a, w), (d.small.reshape(-1), y.reshape(-1)), 1e-3)  # fmt: skip
    yield Case("histc", lambda m, a: m.histc(a, 100, -3, 3), (line,))


def choices(d: Data) -> Iterator[Case]:
    """What masks choose."""
    x = d.x
    yield Case("masked_fill", lambda m, a, c: a.masked_fill(c, 0.0), (x, d.mask))
    for kind in ("float32", "int64", "bool"):
        yield Case(f"masked_select {kind}", lambda m, a, c: a.masked_select(c), (d.of(kind), d.mask))  # fmt: skip
    yield Case("masked_select few", lambda m, a, c: a.masked_select(c), (x, d.rare))
    yield Case("masked_scatter", lambda m, a, c, b: a.masked_scatter(c, b), (x, d.mask, d.y))
    yield Case("nonzero", lambda m, a: m.nonzero(a), (d.mask,))
    yield Case("nonzero float32", lambda m, a: m.nonzero(a), (np.where(d.rare, x, 0),))
    yield Case("argwhere", lambda m, a: m.argwhere(a), (d.rare,))
    yield Case("where as nonzero", lambda m, c: m.where(c), (d.mask,))


# --- order


def orders(d: Data) -> Iterator[Case]:
    """Sorting, selecting, counting, searching."""
    x, line, whole = d.x, d.x.reshape(-1), d.wide.reshape(-1)
    for kind in ("float32", "int64", "int32", "float64", "uint8", "bool"):
        yield Case(f"sort {kind} rows", lambda m, a: a.sort(1), (d.of(kind),), 0.0, "first")
        yield Case(f"sort {kind} of all", lambda m, a: a.sort(), (d.of(kind).reshape(-1),), 0.0, "first")  # fmt: skip
    yield Case("sort short rows", lambda m, a: a.sort(1), (x.reshape(-1, 64),), 0.0, "first")
    yield Case("sort columns", lambda m, a: a.sort(0), (x,), 0.0, "first")
    yield Case("sort descending", lambda m, a: a.sort(1, descending=True), (x,), 0.0, "first")
    yield Case("argsort rows stable", lambda m, a: m.argsort(a, dim=1, stable=True), (x,))
    yield Case("argsort of all", lambda m, a: m.argsort(a), (line,), 0.0, "shape")
    yield Case("msort", lambda m, a: m.msort(a), (x,))
    yield Case("topk 10 of rows", lambda m, a: a.topk(10, 1), (x,), 0.0, "first")
    yield Case("topk 10 of all", lambda m, a: a.topk(10), (line,), 0.0, "first")
    yield Case("topk 10 of all int64", lambda m, a: a.topk(10), (whole,), 0.0, "first")
    yield Case("topk 1000 of all", lambda m, a: a.topk(1000), (line,), 0.0, "first")
    yield Case("kthvalue rows", lambda m, a: a.kthvalue(100, 1), (x,), 0.0, "first")
    yield Case("median of all", lambda m, a: a.median(), (x,))
    yield Case("median rows", lambda m, a: a.median(1), (x,), 0.0, "first")
    yield Case("nanmedian rows", lambda m, a: a.nanmedian(1), (x,), 0.0, "first")
    yield Case("quantile rows", lambda m, a: m.quantile(a, 0.3, dim=1), (x,), 1e-5)
    yield Case("mode rows", lambda m, a: a.mode(1), (d.small,), 0.0, "first")
    yield Case("unique int64", lambda m, a: m.unique(a), (d.small,))
    yield Case("unique with counts", lambda m, a: m.unique(a, return_inverse=True, return_counts=True), (d.small,))  # fmt: skip
    yield Case("unique", lambda m, a: m.unique(a), (line,))
    runs = np.sort(d.small.reshape(-1))
    yield Case("unique_consecutive", lambda m, a: m.unique_consecutive(a), (runs,))
    yield Case("unique_consecutive different", lambda m, a: m.unique_consecutive(a), (whole,))
    ordered = np.sort(line[:: max(1, d.size // 65536)])
    yield Case("searchsorted", lambda m, a, b: m.searchsorted(a, b), (ordered, line))
    edges = np.linspace(-2, 2, 10, dtype=np.float32)
    yield Case("bucketize in 10", lambda m, b, a: m.bucketize(a, b), (edges, x))
    yield Case("isin", lambda m, a, b: m.isin(a, b), (d.small, np.arange(0, 900, 9)))
    yield Case("isin 10", lambda m, a, b: m.isin(a, b), (d.small, np.arange(10)))


# --- arrangement and creation


def arrangements(d: Data) -> Iterator[Case]:
    """Copies in another order."""
    x, y, line, half = d.x, d.y, d.x.reshape(-1), d.side // 2
    left, right = x[:, :half].copy(), y[:, :half].copy()
    yield Case("clone", lambda m, a: a.clone(), (x,))
    yield Case("cat", lambda m, a, b: m.cat([a, b]), (x[:half], y[:half]))
    yield Case("cat int64", lambda m, a, b: m.cat([a, b]), (d.wide[:half], d.small[:half]))
    yield Case("cat columns", lambda m, a, b: m.cat([a, b], 1), (left, right))
    parts = tuple(np.ascontiguousarray(x[n::8]) for n in range(8))
    yield Case("cat of 8", lambda m, *a: m.cat(list(a)), parts)
    yield Case("stack", lambda m, a, b: m.stack([a, b]), (x[:half], y[:half]))
    yield Case("stack last", lambda m, a, b: m.stack([a, b], -1), (x[:half], y[:half]))
    yield Case("hstack", lambda m, a, b: m.hstack([a, b]), (left, right))
    yield Case("flip rows", lambda m, a: a.flip(1), (x,))
    yield Case("flip columns", lambda m, a: a.flip(0), (x,))
    yield Case("flip int64", lambda m, a: a.flip(1), (d.wide,))
    yield Case("roll", lambda m, a: a.roll(100, 1), (x,))
    yield Case("roll rows", lambda m, a: a.roll(100, 0), (x,))
    yield Case("roll of all", lambda m, a: a.roll(100), (x,))
    yield Case("rot90", lambda m, a: m.rot90(a), (x,))
    yield Case("tril", lambda m, a: a.tril(), (x,))
    yield Case("triu", lambda m, a: a.triu(), (x,))
    yield Case("tril int64", lambda m, a: a.tril(), (d.wide,))
    yield Case("transpose", lambda m, a: a.t().contiguous(), (x,))
    yield Case("transpose int64", lambda m, a: a.t().contiguous(), (d.wide,))
    yield Case("transpose bool", lambda m, a: a.t().contiguous(), (d.mask,))
    yield Case("permute", lambda m, a: a.permute(2, 0, 1).contiguous(), (line[: len(line) // 4096 * 4096].reshape(-1, 64, 64),))  # fmt: skip
    yield Case("repeat", lambda m, a: a.repeat(2, 2), (np.ascontiguousarray(x[:half, :half]),))
    yield Case("tile rows", lambda m, a: m.tile(a, (4, 1)), (x[: d.side // 4],))
    yield Case("repeat_interleave", lambda m, a: a.repeat_interleave(2, 1), (left,))
    yield Case("repeat_interleave rows", lambda m, a: a.repeat_interleave(2, 0), (x[:half],))
    yield Case("expand and copy", lambda m, a: a.expand(d.side, d.side).contiguous(), (x[0],))
    yield Case("pad", lambda m, a: m.nn.functional.pad(a, (3, 5, 2, 4)), (x,))
    yield Case("slice steps", lambda m, a: a[:, ::2].contiguous(), (x,))
    yield Case("unfold and copy", lambda m, a: a.unfold(1, 2, 2).contiguous(), (x,))
    yield Case("diag of a vector", lambda m, a: m.diag(a), (x[0],))
    yield Case("diag_embed", lambda m, a: m.diag_embed(a), (line[: d.size // 64 // 64 * 64].reshape(-1, 64),))  # fmt: skip
    yield Case("outer", lambda m, a, b: m.outer(a, b), (x[0], y[0]))
    yield Case("kron", lambda m, a, b: m.kron(a, b), (x[:half, :half], y[:2, :2]))
    yield Case("meshgrid", lambda m, a, b: [e.contiguous() for e in m.meshgrid(a, b, indexing="ij")], (x[0], y[0]))  # fmt: skip
    yield Case("one_hot", lambda m, a: m.nn.functional.one_hot(a, 64), (d.small.reshape(-1)[: d.size // 64] % 64,))  # fmt: skip


def creations(d: Data) -> Iterator[Case]:
    """New tensors, and random numbers."""
    size = d.size
    yield Case("arange", lambda m: m.arange(size))
    yield Case("arange float32", lambda m: m.arange(0.0, float(size)))
    yield Case("linspace", lambda m: m.linspace(0, 1, size), (), 1e-5)
    for name in ("zeros", "ones"):
        yield Case(name, lambda m, n=name: getattr(m, n)(size))
    yield Case("full int64", lambda m: m.full((size,), 7))
    yield Case("eye", lambda m: m.eye(d.side))
    draws: dict[str, Run] = {
        "rand": lambda m: m.rand(size),
        "rand float64": lambda m: m.rand(size, dtype=m.float64),
        "randn": lambda m: m.randn(size),
        "randint": lambda m: m.randint(0, 1000, (size,)),
        "randperm": lambda m: m.randperm(size),
        "bernoulli": lambda m: m.bernoulli(m.full((size,), 0.3)),
        "normal": lambda m: m.normal(0.0, 2.0, (size,)),
        "multinomial": lambda m: m.multinomial(m.ones(1000), size // 16, replacement=True),
    }
    for name, run in draws.items():
        yield Case(name, run, (), 0.0, "shape")
    yield Case("uniform_", lambda m, a: a.clone().uniform_(), (d.x,), 0.0, "shape")
    yield Case("exponential_", lambda m, a: a.clone().exponential_(), (d.x,), 0.0, "shape")


__all__ = ["Case", "cases"]
