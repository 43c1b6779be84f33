"""Sorting, order statistics, searching, counting and scans against PyTorch: ties, NaN, signed zeros, every dtype, gradients twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg

torch = pytest.importorskip("torch")

DTYPES = (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint32", "uint64", "bool",
)  # fmt: skip
NAN, INF = float("nan"), float("inf")


def both(values: Any, dtype: str) -> tuple[Any, Any]:
    reference = torch.tensor(values, dtype=torch.float64).to(getattr(torch, dtype))
    return lg.tensor(values, dtype=lg.float64).to(getattr(lg, dtype)), reference


def same(ours: Any, reference: Any, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Equal by dtype, shape and value; named tuples and tuples by element."""
    if isinstance(reference, tuple):
        assert len(ours) == len(reference)
        for mine, its in zip(ours, reference, strict=True):
            same(mine, its, rtol, atol)
        return
    assert str(ours.dtype) == str(reference.dtype)
    assert tuple(ours.shape) == tuple(reference.shape)
    wide = "double" if reference.dtype.is_floating_point else "numpy"
    mine, its = (
        (each.detach().double() if wide == "double" else each).numpy() for each in (ours, reference)
    )
    np.testing.assert_allclose(mine, its, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_order_is_stable_with_nan_last_and_zeros_equal(dtype: str) -> None:
    draws = np.random.default_rng(0).integers(-9, 9, (3, 200)).astype(float)
    if dtype.startswith("u") or dtype == "bool":
        draws = np.abs(draws)
    if "float" in dtype:
        draws[0, ::7], draws[1, ::5], draws[2, 3], draws[2, 9] = NAN, -0.0, INF, -INF
        draws[:, 100:] *= 1e-3
    ours, reference = both(draws, dtype)
    for descending in (False, True):
        for row in (slice(None), slice(0, 60)):  # long and short rows have ways of their own
            found = lg.sort(ours[:, row], stable=True, descending=descending)
            expected = torch.sort(reference[:, row], stable=True, descending=descending)
            same(tuple(found), tuple(expected))
            signs = [np.signbit(each.values.double().numpy()) for each in (found, expected)]
            if "float" in dtype:
                kept = ~np.isnan(expected.values.double().numpy())
                np.testing.assert_array_equal(signs[0][kept], signs[1][kept])


def test_a_long_sort_along_any_axis_of_a_view() -> None:
    values = np.random.default_rng(1).standard_normal((2, 1500, 3)).astype(np.float32)
    ours, reference = lg.from_numpy(values), torch.from_numpy(values)
    same(tuple(ours.sort(1)), tuple(reference.sort(1)))
    same(
        ours[:, ::2].transpose(0, 1).sort(0, True)[0],
        reference[:, ::2].transpose(0, 1).sort(0, True)[0],
    )
    same(ours.flatten().argsort(), reference.flatten().argsort(stable=True))


EXPRESSIONS = """
torch.sort(x); torch.sort(x, 0, True); x.sort(dim=-2, descending=True); torch.msort(x); x.argsort(dim=1, stable=True); torch.sort(s)
torch.topk(i, 2); x.topk(2, 0, largest=False); torch.topk(s, 1); torch.topk(s, 0); torch.topk(e, 0); torch.sort(e, 1); torch.sort(e, 0)
torch.kthvalue(x, 2); x.kthvalue(1, 0, True); torch.kthvalue(s, 1); torch.median(x); torch.median(x, 1); x.median(0, keepdim=True)
torch.median(n); torch.median(n, 1); torch.nanmedian(n); torch.nanmedian(n, 1, True)[0]; torch.median(s); torch.median(e); torch.median(e, 0)
torch.mode(k); torch.mode(k, 0, True); torch.mode(s); torch.quantile(x, 0.3); torch.quantile(x, q, 1, True); x.quantile(0.5, dim=0, interpolation='lower')
torch.quantile(n, q, 1); torch.nanquantile(n, q, 1); n.nanquantile(0.7, interpolation='midpoint'); torch.quantile(x, 0.7, -1, interpolation='nearest')
torch.quantile(x, q, interpolation='higher'); torch.cummax(n, 1); torch.cummin(x, 0); k.cummax(-1); torch.cummax(s, 0); torch.cummin(e, 1)
torch.logcumsumexp(x, 1); torch.logcumsumexp(x * 300, 0).detach(); torch.logcumsumexp(i, 0); s.logcumsumexp(0)
torch.trapezoid(x); torch.trapezoid(x, dx=0.5, dim=0); torch.trapezoid(x, v); torch.cumulative_trapezoid(x, x); torch.cumulative_trapezoid(x, dim=0)
torch.searchsorted(r, x); torch.searchsorted(r, x, right=True); torch.searchsorted(r, x, side='right', out_int32=True); torch.searchsorted(r[0], 0.3)
torch.searchsorted(r[0], n); torch.searchsorted(x, x, sorter=x.argsort()); torch.bucketize(x, r[0]); torch.bucketize(0.5, r[0], right=True)
torch.bucketize(e, r[0]); torch.searchsorted(e[0], x); torch.isin(k, k[0]); torch.isin(k, 3, invert=True); torch.isin(2, k); torch.isin(n, n)
torch.isin(k, torch.arange(0, 90, 2)); torch.bincount(k[0]); torch.bincount(k[1], v, minlength=9); torch.histc(x, 5); torch.histc(i, 4, 0, 2); torch.histc(e, 3)
torch.unique(k); torch.unique(k, return_inverse=True, return_counts=True); torch.unique(n.detach()); torch.unique(k, dim=1, return_inverse=True, return_counts=True)
torch.unique(e, return_inverse=True, return_counts=True); k.unique(sorted=False, dim=0); torch.unique(s.detach(), return_inverse=True)
torch.unique_consecutive(k, return_inverse=True, return_counts=True); torch.unique_consecutive(k, dim=0); torch.unique_consecutive(n.detach(), return_counts=True)
x.scatter_reduce(1, k % 4, x + 1, 'sum'); x.scatter_reduce(0, k % 3, x, 'prod', include_self=False); x.scatter_reduce(1, k % 4, x, 'mean')
x.scatter_reduce(1, k % 2, x, 'amax'); x.scatter_reduce(1, k % 2, x + 1, 'amin', include_self=False); k.scatter_reduce(1, k % 4, -k, 'mean')
x.detach().clone().scatter_reduce_(1, k[:2, :3] % 3, x.detach(), 'mean', include_self=False); (k > 2).scatter_reduce(0, k % 3, k > 1, 'sum')
"""
CASES = [each.strip() for each in EXPRESSIONS.replace("\n", ";").split(";") if each.strip()]


def operands(module: Any) -> dict[str, Any]:
    draws = np.random.default_rng(0)
    x = module.tensor(draws.standard_normal((3, 4)).round(1), dtype=module.float64)
    nans = module.tensor(
        [[1.0, NAN, 0.0, 2.0], [NAN, NAN, NAN, NAN], [3.0, 1.0, 2.0, 1.0]], dtype=module.float64
    )
    return {
        "torch": module,
        "x": x.requires_grad_(),
        "n": nans.requires_grad_(),
        "k": module.tensor([[3, 1, 3, 1], [0, 5, 5, 0], [3, 1, 3, 1]]),
        "s": module.tensor(2.5, dtype=module.float64, requires_grad=True),
        "e": module.zeros(2, 0, dtype=module.float64),
        "v": module.tensor([0.5, 1.0, 1.5, 3.0], dtype=module.float64),
        "q": module.tensor([0.1, 0.75], dtype=module.float64, requires_grad=True),
        "r": module.tensor(np.sort(draws.standard_normal((3, 5)).round(1), 1), dtype=module.float64),
        "i": module.tensor([-INF, INF, 1.0], dtype=module.float64),
    }  # fmt: skip


def outcome(module: Any, expression: str) -> tuple[Any, ...]:
    """The results of an expression, and the first and second gradients of its operands."""
    names = operands(module)
    result = eval(expression, names)
    results = tuple(result) if isinstance(result, tuple) else (result,)
    floats = [each for each in results if each.requires_grad]
    found: list[Any] = list(results)
    if not floats:
        return tuple(found)
    leaves = [names[name] for name in "xnsq"]
    weights = [
        module.arange(float(each.numel()), dtype=each.dtype).reshape(each.shape) + 1
        for each in floats
    ]
    loss = sum(
        (each.nan_to_num(0.0) * weight).sum() for each, weight in zip(floats, weights, strict=True)
    )
    first = module.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
    again = [each for each in first if each is not None and each.requires_grad]
    second = [None] * len(leaves)
    if again:
        second = module.autograd.grad(
            sum((each * each).sum() for each in again), leaves, allow_unused=True
        )
    for gradient, leaf in zip((*first, *second), (*leaves, *leaves), strict=True):
        found.append(module.zeros_like(leaf) if gradient is None else gradient)
    return tuple(found)


@pytest.mark.parametrize("expression", CASES)
def test_results_and_gradients_are_those_of_pytorch(expression: str) -> None:
    same(outcome(lg, expression), outcome(torch, expression), rtol=1e-9, atol=1e-12)


WRONG = """
torch.sort(x, 2); torch.sort(x, True); torch.topk(x, 5); torch.topk(k > 1, 1); torch.kthvalue(x, 0); torch.kthvalue(e, 1, 1); torch.median(k > 1)
torch.median(e, 1); torch.mode(e, 1); torch.quantile(k, 0.5); torch.quantile(x, 1.5); torch.quantile(x, q * 2); torch.quantile(x, q[None])
torch.quantile(x, 0.5, interpolation='cubic'); torch.quantile(e, 0.5); torch.logcumsumexp(k, 0); torch.cummax(x, 2); torch.trapezoid(x, x, dx=1.0)
torch.searchsorted(r, v); torch.searchsorted(r, 1.0); torch.searchsorted(r[0], x, right=True, side='left')
torch.searchsorted(r[0], x, side='middle'); torch.searchsorted(r, r, sorter=r); torch.searchsorted(s, x); torch.bucketize(x, r); torch.isin(1, 2)
torch.isin(k > 1, k); torch.bincount(k); torch.bincount(-k[0]); torch.bincount(v); torch.bincount(k[0], minlength=-1); torch.bincount(k[0], v[:2])
torch.histc(k); torch.histc(x, 0); torch.histc(x, 3, 2, 1); torch.histc(n); torch.unique(s, dim=0); torch.unique(e, dim=0)
x.scatter_reduce(0, k, x, 'median'); x.scatter_reduce(0, k, x, 'sum'); x.scatter_reduce(0, k * 0, k, 'sum'); x.scatter_reduce(0, k * 0, x[:2], 'sum')

"""


@pytest.mark.parametrize(
    "expression", [e.strip() for e in WRONG.replace("\n", ";").split(";") if e.strip()]
)
def test_errors_are_of_pytorchs_type(expression: str) -> None:
    with pytest.raises(Exception) as expected:
        eval(expression, operands(torch))
    with pytest.raises(expected.type) as found:
        lg.tensor(0.0).item(), eval(expression, operands(lg)).numpy()
    assert str(found.value)


def test_results_go_into_out() -> None:
    x = lg.tensor([[3.0, 1.0], [2.0, 2.0]])
    values, indices = lg.empty(2, 2), lg.empty(2, 2, dtype=lg.int64)
    found = lg.sort(x, out=(values, indices))
    assert found.values is values and values.tolist() == [[1.0, 3.0], [2.0, 2.0]]
    assert indices.tolist() == [[1, 0], [0, 1]]
    lg.cummax(x, 0, out=(values, indices))
    assert values.tolist() == [[3.0, 1.0], [3.0, 2.0]] and indices.tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_a_part_of_the_order_is_that_of_the_whole(dtype: str) -> None:
    """Few elements are kept in a list, any others are found by digits; ranks of ties go to the first."""
    draws = np.random.default_rng(4)
    many = (draws.standard_normal((2, 700)) * 9).astype(dtype)
    narrow = (draws.integers(0, 5, (2, 700)) + 100).astype(dtype)
    for values in (many, narrow):
        order = np.argsort(values, axis=1, kind="stable")
        ours, reference = lg.from_numpy(values), torch.from_numpy(values)
        for count in (5, 300):
            found, expected = ours.topk(count), reference.topk(count)
            same(found.values, expected.values)
            np.testing.assert_array_equal(
                np.take_along_axis(values, found.indices.numpy(), 1), expected.values.numpy()
            )
            found = ours.topk(count, largest=False)
            np.testing.assert_array_equal(found.indices.numpy(), order[:, :count])
            np.testing.assert_array_equal(ours.kthvalue(count).indices.numpy(), order[:, count - 1])
        same(ours.median(1).values, reference.median(1).values)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8", "bool"])
def test_rows_that_are_longer_than_blocks(dtype: str) -> None:
    """Sorted whole, in part, and backwards, along any axis: stable, a NaN behind all else."""
    draws = np.random.default_rng(6)
    values = draws.integers(-40, 40, (2, 5003)).astype(np.float64)
    values[draws.random(values.shape) < 0.1] = 0 if dtype in ("int64", "int8", "bool") else NAN
    ours, reference = both(values, dtype)
    for descending in (False, True):
        expected = torch.sort(reference, dim=1, descending=descending, stable=True)
        same(tuple(ours.sort(1, descending)), tuple(expected))
        same(ours.T.argsort(0, descending), expected.indices.T)
    if dtype != "bool":
        order = torch.sort(reference, dim=1, stable=True).indices
        same(ours.topk(7, largest=False).indices, order[:, :7])
        same(ours.topk(2600, largest=False).indices, order[:, :2600])
        for k in (3, 2500, 5003):
            same(ours.kthvalue(k).indices, order[:, k - 1])


def test_a_median_of_long_rows_with_nan() -> None:
    values = np.random.default_rng(5).standard_normal((3, 400)).astype(np.float32)
    values[1, 17] = values[1, 300] = NAN
    found, expected = (m.median(m.from_numpy(values), 1) for m in (lg, torch))
    same(tuple(found), tuple(expected))
