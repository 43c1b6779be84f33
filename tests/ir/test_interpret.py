"""The interpreter against PyTorch: every elementwise operation on every dtype and special value, and every other operation."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lazygrad.ir import build
from lazygrad.ir.args import Call, ReduceKind, Slot
from lazygrad.ir.composite import COMPOSITES
from lazygrad.ir.dim import Dim
from lazygrad.ir.dtype import (
    ALL,
    BY_NAME,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from lazygrad.ir.interpret import evaluate, from_storage, to_storage, value_dtype
from lazygrad.ir.node import Node, iota, unary, where
from lazygrad.ir.op import BINARY, COMPARISON, UNARY, Op
from lazygrad.ir.verify import VerificationError, verify_graph

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("error")

FLOATS = (float64, float32, float16, bfloat16)
INTEGERS = (int64, int32, int16, int8, uint8)
DTYPES = (*FLOATS, *INTEGERS, bool_)

TORCH_UNARY: dict[Op, Callable[..., Any]] = {
    Op.NEG: torch.neg, Op.ABS: torch.abs, Op.SIGN: torch.sign, Op.FLOOR: torch.floor, Op.CEIL: torch.ceil,
    Op.TRUNC: torch.trunc, Op.ROUND: torch.round, Op.SQRT: torch.sqrt, Op.RSQRT: torch.rsqrt,
    Op.EXP: torch.exp, Op.EXP2: torch.exp2, Op.EXPM1: torch.expm1, Op.LOG: torch.log, Op.LOG2: torch.log2,
    Op.LOG10: torch.log10, Op.LOG1P: torch.log1p, Op.SIN: torch.sin, Op.COS: torch.cos, Op.TAN: torch.tan,
    Op.ASIN: torch.asin, Op.ACOS: torch.acos, Op.ATAN: torch.atan, Op.SINH: torch.sinh, Op.COSH: torch.cosh,
    Op.TANH: torch.tanh, Op.ASINH: torch.asinh, Op.ACOSH: torch.acosh, Op.ATANH: torch.atanh,
    Op.ERF: torch.erf, Op.ERFC: torch.erfc, Op.ERFINV: torch.erfinv, Op.LGAMMA: torch.lgamma,
    Op.DIGAMMA: torch.digamma, Op.NOT: torch.bitwise_not,
}  # fmt: skip
TORCH_BINARY: dict[Op, Callable[..., Any]] = {
    Op.ADD: torch.add, Op.SUB: torch.sub, Op.MUL: torch.mul, Op.DIV: torch.div,
    Op.IDIV: torch.floor_divide, Op.MOD: torch.remainder, Op.FMOD: torch.fmod, Op.POW: torch.pow,
    Op.GCD: lambda x, y: torch.gcd(x, y).abs(),  # negative there for some least integers
    Op.ATAN2: torch.atan2, Op.MAX: torch.maximum, Op.MIN: torch.minimum, Op.LT: torch.lt, Op.LE: torch.le,
    Op.EQ: torch.eq, Op.NE: torch.ne, Op.AND: torch.bitwise_and, Op.OR: torch.bitwise_or,
    Op.XOR: torch.bitwise_xor, Op.SHL: torch.bitwise_left_shift, Op.SHR: torch.bitwise_right_shift,
}  # fmt: skip
EXACT = {
    Op.NEG, Op.ABS, Op.SIGN, Op.FLOOR, Op.CEIL, Op.TRUNC, Op.ROUND, Op.SQRT, Op.NOT, Op.ADD, Op.SUB, Op.MUL,
    Op.DIV, Op.IDIV, Op.MOD, Op.GCD, Op.FMOD, Op.MAX, Op.MIN, Op.AND, Op.OR, Op.XOR, Op.SHL, Op.SHR, *COMPARISON,
}  # fmt: skip
TOLERANCE = {float64: 1e-12, float32: 1e-6, float16: 2.0**-10, bfloat16: 2.0**-7}


def torch_dtype(dtype: DType) -> Any:
    return getattr(torch, dtype.name)


def specials(dtype: DType) -> Any:
    """A torch tensor of the values where operations go wrong."""
    if dtype is bool_:
        return torch.tensor([True, False])
    if dtype.kind != "float":
        limits = torch.iinfo(torch_dtype(dtype))
        near = [limits.min, limits.min + 1, limits.max - 1, limits.max]
        small = range(-9 if dtype.is_signed else 0, 10)
        return torch.tensor([*near, *small, 63, 64, 100], dtype=torch_dtype(dtype))
    info = torch.finfo(torch_dtype(dtype))
    numbers = [
        0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.7, 7.25, 0.1, 1e-3, 20.0, 90.0, 1e4, 0.99, 1.01, 6.0, 170.6,
        float("inf"), info.max, info.tiny, info.smallest_normal / 4, info.eps, 1 - info.eps, 0.75, 1 / 3,
    ]  # fmt: skip
    both = torch.tensor([*numbers, *(-x for x in numbers), float("nan")], dtype=torch.float64)
    return both.to(torch_dtype(dtype))


def to_array(tensor: Any) -> Any:
    """As the buffers hold it."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


def buffer(tensor: Any, slot: int = 0) -> Node:
    dtype = BY_NAME[str(tensor.dtype).removeprefix("torch.")]
    return Node(Op.BUFFER, (), dtype, tuple(tensor.shape), Slot(slot), "cpu")


def run(node: Node, *tensors: Any) -> Any:
    verify_graph([node])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (value,) = evaluate([node], [to_array(t) for t in tensors])
    assert value.dtype == value_dtype(node.dtype)
    return value


def assert_same(
    value: Any, expected: Any, dtype: DType, exact: bool, signed_zeros: bool = True
) -> None:
    wanted = expected.float().numpy() if dtype is bfloat16 else expected.numpy()
    assert value.dtype == wanted.dtype
    if dtype.kind != "float":
        np.testing.assert_array_equal(value, wanted)
        return
    with np.errstate(all="ignore"):
        if exact:
            np.testing.assert_array_equal(value, wanted)
        else:
            # A result on the edge of the range may round either way.
            limit = float(torch.finfo(torch_dtype(dtype)).tiny)
            finite = np.isfinite(wanted) & np.isfinite(value)
            np.testing.assert_array_equal(value[~finite], wanted[~finite])
            np.testing.assert_allclose(
                value[finite].astype(float),
                wanted[finite].astype(float),
                TOLERANCE[dtype],
                limit * 1e-2,
            )
        if signed_zeros:
            zero = (value == 0) & (wanted == 0)
            np.testing.assert_array_equal(np.signbit(value[zero]), np.signbit(wanted[zero]))


def accepted(op: Op, dtype: DType) -> bool:
    """Whether the grammar has `op` on `dtype`."""
    x = Node(Op.BUFFER, (), dtype, (2,), Slot(0))
    result = bool_ if op in COMPARISON else dtype
    node = Node(op, (x,) if op in UNARY else (x, x), result, (2,))
    try:
        verify_graph([node])
    except VerificationError:
        return False
    return True


def test_every_elementwise_operation_is_compared() -> None:
    assert set(TORCH_UNARY) == set(map(Op, UNARY)) - {Op.CAST, Op.BITCAST}
    assert set(TORCH_BINARY) == set(map(Op, BINARY))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.short)
@pytest.mark.parametrize("op", TORCH_UNARY, ids=lambda op: op.name.lower())
def test_unary(op: Op, dtype: DType) -> None:
    if not accepted(op, dtype):
        assert dtype.kind != "float" or op is Op.NOT
        return
    x = specials(dtype)
    value = run(unary(op, buffer(x)), x)
    expected = TORCH_UNARY[op](x)
    wrong_in_torch = torch.zeros_like(x, dtype=torch.bool)
    if op is Op.SQRT and dtype is float64:
        expected = torch.from_numpy(
            np.array([math.sqrt(v) if v >= 0 else math.nan for v in x])
        )  # PyTorch's is not exact
    if dtype.kind == "float" and dtype is not float64:
        # PyTorch's own float32 functions lose digits there; float64's do not.
        expected64 = TORCH_UNARY[op](x.double())
        if op not in EXACT:
            expected = expected64.to(x.dtype)
    if op is Op.DIGAMMA and dtype is float64:
        wrong_in_torch = x < 0  # its reflection rounds the argument first
    if op is Op.LGAMMA or op is Op.DIGAMMA:
        wrong_in_torch |= x.isinf()
    keep = ~wrong_in_torch.numpy()
    assert_same(value[keep], expected[~wrong_in_torch], dtype, op in EXACT)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.short)
@pytest.mark.parametrize("op", TORCH_BINARY, ids=lambda op: op.name.lower())
def test_binary(op: Op, dtype: DType) -> None:
    if not accepted(op, dtype):
        return
    x, y = (
        part.reshape(-1).contiguous()
        for part in torch.meshgrid(specials(dtype), specials(dtype), indexing="ij")
    )
    if op in (Op.IDIV, Op.MOD):
        x, y = x[y != 0], y[y != 0]
        if dtype.is_signed:  # the smallest number by -1 is undefined in PyTorch
            least = torch.iinfo(x.dtype).min
            keep = ~((x == least) & (y == -1))
            x, y = x[keep], y[keep]
    node = Node(op, (buffer(x), buffer(y, 1)), bool_ if op in COMPARISON else dtype, tuple(x.shape))
    value = run(node, x, y)
    if op is Op.FMOD:  # PyTorch's double one makes NaN of large quotients
        expected = torch.tensor(list(map(_fmod, x.tolist(), y.tolist())), dtype=torch.float64)
        expected = expected.to(x.dtype)
    elif op not in EXACT and dtype.kind == "float":
        expected = TORCH_BINARY[op](x.double(), y.double()).to(x.dtype)
    else:
        expected = TORCH_BINARY[op](x, y)
    # Which zero is the larger is not said.
    assert_same(value, expected, node.dtype, op in EXACT, signed_zeros=op not in (Op.MAX, Op.MIN))


def _fmod(left: float, right: float) -> float:
    return math.nan if math.isinf(left) or right == 0 else math.fmod(left, right)


@pytest.mark.parametrize("target", DTYPES, ids=lambda d: d.short)
@pytest.mark.parametrize("source", DTYPES, ids=lambda d: d.short)
def test_cast(source: DType, target: DType) -> None:
    x = specials(source)
    if source.kind == "float":
        more = torch.tensor(
            [3e9, -3e9, 300.7, -300.7, 7e4, 1e10, -1.0, 2.0**31, -(2.0**31), 2.0**63]
        )
        x = torch.cat([x, more.to(x.dtype)])
    # So long that PyTorch's vector code runs over all of them.
    x = x.repeat(64)
    assert_same(run(buffer(x).cast(target), x), x.to(torch_dtype(target)), target, exact=True)


@pytest.mark.parametrize("target", ALL, ids=lambda d: d.short)
@pytest.mark.parametrize("source", DTYPES, ids=lambda d: d.short)
def test_bitcast(source: DType, target: DType) -> None:
    if source.itemsize != target.itemsize or bool_ in (source, target):
        return
    x = specials(source)
    value = run(buffer(x).bitcast(target), x)
    expected = x.view(torch_dtype(target))
    if target is bfloat16:
        expected = expected.float()
    np.testing.assert_array_equal(value, expected.numpy())


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.short)
def test_where_and_storage(dtype: DType) -> None:
    x = specials(dtype)
    node = where(buffer(x).ne(buffer(x)), buffer(x), buffer(x).flip((0,)))
    value = run(node, x)
    assert_same(value, torch.where(x != x, x, x.flip(0)), dtype, exact=True)
    stored = to_storage(value, dtype)
    assert stored.dtype == np.dtype(dtype.storage)
    np.testing.assert_array_equal(from_storage(stored, dtype), value)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.short)
def test_fma_rounds_once(dtype: DType) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (
        torch.randn(400, generator=generator, dtype=torch.float64).to(torch_dtype(dtype))
        for _ in range(2)
    )
    c = (-(a.double() * b.double())).to(a.dtype)
    node = Node(Op.FMA, (buffer(a), buffer(b, 1), buffer(c, 2)), dtype, (400,))
    value = run(node, a, b, c)
    if dtype is float64:
        from fractions import Fraction

        exact = [
            Fraction(x) * Fraction(y) + Fraction(z)
            for x, y, z in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
        ]
        np.testing.assert_array_equal(value, [float(x) for x in exact])
    else:
        # The product of such factors is exact in float64, and so is its small difference from its rounding.
        np.testing.assert_array_equal(
            value, (a.double() * b.double() + c.double()).to(a.dtype).float()
        )
    assert np.count_nonzero(value) > 100


def test_integer_division_by_zero_is_pytorchs_error() -> None:
    x, y = torch.tensor([1, 2]), torch.tensor([1, 0])
    for op in (Op.IDIV, Op.MOD):
        node = Node(op, (buffer(x), buffer(y, 1)), int64, (2,))
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            run(node, x, y)


# --- reductions, movement, indices


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.short)
@pytest.mark.parametrize("kind", ["add", "mul", "max", "min", "and", "or"])
def test_reduce(kind: Any, dtype: DType) -> None:
    if (kind in ("and", "or") and dtype.kind == "float") or (
        kind in ("add", "mul") and dtype is bool_
    ):
        return
    x = (torch.arange(2 * 3 * 4).reshape(2, 3, 4) % 5 - (1 if dtype.is_signed else 0)).to(
        torch_dtype(dtype)
    )
    node = buffer(x).reduce(kind, (1,))
    expected = {
        "add": lambda: x.sum(1, keepdim=True, dtype=x.dtype),
        "mul": lambda: x.prod(1, keepdim=True, dtype=x.dtype),
        "max": lambda: x.amax(1, keepdim=True),
        "min": lambda: x.amin(1, keepdim=True),
        "and": lambda: x[:, :1] & x[:, 1:2] & x[:, 2:3],
        "or": lambda: x[:, :1] | x[:, 1:2] | x[:, 2:3],
    }[kind]()
    assert_same(run(node, x), expected, dtype, exact=True)
    if kind in ("add", "mul"):
        scan = {"add": x.cumsum, "mul": x.cumprod}[kind](2, dtype=x.dtype)
        assert_same(run(build.scan(buffer(x), kind, 2), x), scan, dtype, exact=True)


def test_reductions_of_nothing_and_of_nan() -> None:
    empty, nans = torch.zeros(0, 3), torch.tensor([[1.0, float("nan")], [float("-inf"), 2.0]])
    kinds: dict[ReduceKind, float] = {
        "add": 0.0,
        "mul": 1.0,
        "max": float("-inf"),
        "min": float("inf"),
    }
    for kind, start in kinds.items():
        np.testing.assert_array_equal(
            run(buffer(empty).reduce(kind, (0,)), empty), np.full((1, 3), start)
        )
    assert np.isnan(run(buffer(nans).reduce("max", (0, 1)), nans)).all()
    assert run(buffer(nans).reduce("min", (1,)), nans)[1, 0] == float("-inf")


def test_half_sums_have_float32_partial_results() -> None:
    x = torch.ones(5000, dtype=torch.bfloat16)
    assert run(buffer(x).sum((0,)), x)[0] == x.sum().item()  # 256 if every step rounded
    x = torch.full((4,), 60000.0, dtype=torch.float16)
    both = torch.cat([x, -x])
    assert run(buffer(both).sum((0,)), both)[0] == 0


def test_movement() -> None:
    x = torch.arange(24.0).reshape(2, 3, 4)
    node = buffer(x)
    cases = {
        "reshape": (node.reshape((4, 6)), x.reshape(4, 6)),
        "permute": (node.permute((2, 0, 1)), x.permute(2, 0, 1)),
        "expand": (node.sum((1,)).expand((5, 2, 3, 4)), x.sum(1, keepdim=True).expand(5, 2, 3, 4)),
        "flip": (node.flip((0, 2)), x.flip(0, 2)),
        "shrink": (build.shrink(node, (1, 0, 1), (1, 2, 2), (1, 2, 2)), x[1:2, 0:3:2, 1:4:2]),
        "pad": (
            build.pad(node, (0, 1, 2), (3, 0, 1), value=-1.5),
            torch.nn.functional.pad(x, (2, 1, 1, 0, 0, 3), value=-1.5),
        ),
        "stop": (node.stop(), x),
    }
    for name, (moved, expected) in cases.items():
        np.testing.assert_array_equal(run(moved, x), expected.numpy(), err_msg=name)
    spread = run(build.pad(node, (0, 0, 0), (0, 0, 0), (1, 0, 2), 9.0), x)
    expected = torch.full((3, 3, 10), 9.0)
    expected[::2, :, ::3] = x
    np.testing.assert_array_equal(spread, expected.numpy())
    replaced = build.update(node, buffer(x[:1, :2, :2].contiguous() * 10, 1), (1, 0, 1), (1, 2, 2))
    expected = x.clone()
    expected[1:2, ::2, 1::2] = x[:1, :2, :2] * 10
    np.testing.assert_array_equal(
        run(replaced, x, x[:1, :2, :2].contiguous() * 10), expected.numpy()
    )
    np.testing.assert_array_equal(evaluate([iota(4, int32)])[0], np.arange(4, dtype=np.int32))


@pytest.mark.parametrize(
    ("size", "stride", "dilation"), [(3, 1, 1), (2, 3, 1), (2, 1, 3), (3, 2, 2)]
)
def test_windows_and_their_transpose(size: int, stride: int, dilation: int) -> None:
    x = torch.randn(2, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    parameters: Any = ((1, 2), (size, 2), (stride, 2), (dilation, 1))
    node = build.window(buffer(x), *parameters)
    unfolded = torch.nn.functional.unfold(
        x[:, None], (size, 2), dilation=(dilation, 1), stride=(stride, 2)
    )
    expected = unfolded.reshape(2, size, 2, *node.shape[1:3]).permute(0, 3, 4, 1, 2)
    np.testing.assert_array_equal(run(node, x), expected.numpy())
    folded = build.fold(node, (2, 9, 8), *parameters)
    back = torch.nn.functional.fold(
        unfolded, (9, 8), (size, 2), dilation=(dilation, 1), stride=(stride, 2)
    )[:, 0]
    np.testing.assert_allclose(run(folded, x), back.numpy(), 1e-13)


@pytest.mark.parametrize("kind", ["set", "add", "mul", "max", "min"])
def test_gather_and_scatter(kind: str) -> None:
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    index = torch.tensor([[0, 4, 1, 1], [0, 0, 1, 3], [2, 0, 3, 3]])
    taken = build.gather(buffer(x), buffer(index, 1), 0)
    np.testing.assert_array_equal(run(taken, x, index), x.gather(0, index).numpy())
    value = x[1:4] * 2
    node = build.scatter(buffer(x), buffer(index, 1), buffer(value, 2), 0, kind)
    if kind == "set":
        expected = x.clone()
        for row, column in np.ndindex(3, 4):
            expected[index[row, column], column] = value[row, column]
    else:
        name = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[kind]
        expected = x.scatter_reduce(0, index, value, name)
    np.testing.assert_allclose(run(node, x, index, value), expected.numpy(), 1e-13)


@pytest.mark.parametrize("wrong", [-1, 5])
def test_an_index_outside_raises(wrong: int) -> None:
    x, index = torch.zeros(5), torch.tensor([0, wrong])
    with pytest.raises(
        IndexError, match=f"index {wrong} is out of bounds for dimension 0 with size 5"
    ):
        run(build.gather(buffer(x), buffer(index, 1), 0), x, index)


# --- structure


def test_dims_numbers_and_roots() -> None:
    n = Dim.variable("n")
    x = Node(Op.BUFFER, (), float32, (n,), Slot(0), "cpu")
    rate = Node(Op.ARGUMENT, (), bfloat16, (n,), Slot(0), "cpu")
    grown = build.pad(x, (0,), (n,))
    scaled = x * rate.cast(float32)
    results = evaluate(
        [grown, scaled, x, scaled], [np.arange(3, dtype=np.float32)], [0.1], {"n": 3}
    )
    np.testing.assert_array_equal(results[0], [0, 1, 2, 0, 0, 0])
    tenth = torch.tensor(0.1, dtype=torch.bfloat16).item()
    np.testing.assert_array_equal(results[1], np.array([0, tenth, 2 * tenth], np.float32))
    assert results[1] is results[3]


def test_realised_values_are_read_and_copied() -> None:
    x = Node(Op.BUFFER, (), float32, (2,), None, "cpu")
    y = x * 2.0
    y.value = np.array([5.0, 6.0], np.float32)  # not what x gives
    (z,) = evaluate([y + 1.0])
    np.testing.assert_array_equal(z, [6.0, 7.0])
    (same,) = evaluate([y])
    y.value[0] = 9
    assert same[0] == 5.0
    with pytest.raises(ValueError, match="neither a value nor a slot"):
        evaluate([x])


def test_a_composite_is_its_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMPOSITES, "test: halve twice", lambda x, by: (x * by) * by)
    x = torch.tensor([4.0])
    node = Node(Op.CALL, (buffer(x),), float32, (1,), Call("test: halve twice", (("by", 0.5),)))
    assert run(node, x)[0] == 1.0


def test_gradients_must_be_expanded_first() -> None:
    x = torch.ones(1)
    (gradient,) = build.grad([buffer(x)], [buffer(x)], [buffer(x)])
    with pytest.raises(NotImplementedError, match="expanded"):
        evaluate([gradient], [to_array(x)])


def test_a_chain_of_20000_does_not_recurse() -> None:
    x = torch.zeros(3)
    node = buffer(x)
    for _ in range(20_000):
        node = node + 1.0
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        (value,) = evaluate([node], [to_array(x)])
    finally:
        sys.setrecursionlimit(limit)
    np.testing.assert_array_equal(value, [20_000.0] * 3)
