"""Operators and programs that have run before: what is remembered of them must serve the next ones exactly."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.runtime.realize import PLANS

NUMBERS = [0.5, 2.5, -3.25, 0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 2, 3, 0, 1, -1, 1e-300, 1e30]  # fmt: skip


def data(*shape: int, seed: int = 0) -> lg.Tensor:
    return lg.tensor(np.random.default_rng(seed).standard_normal(shape).astype("float32"))


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(
    "compute",
    [lambda x, n: x + n, lambda x, n: x - n, lambda x, n: x * n, lambda x, n: x / n],
    ids=["add", "sub", "mul", "div"],
)
def test_numbers(compute: Callable[[Any, Any], Any], swap: bool) -> None:
    """One recipe serves every number, except those that select an algorithm; signs of zeros and NaNs included."""
    values = [1.5, -2.0, 0.0, -0.0, math.inf]
    x, array = lg.tensor(values), np.array(values, np.float32)
    for _ in range(3):
        for number in NUMBERS:
            with np.errstate(all="ignore"):
                expected = (
                    compute(np.float32(number), array)
                    if swap
                    else compute(array, np.float32(number))
                )
            found = (compute(number, x) if swap else compute(x, number)).numpy()
            # a number over a tensor is its reciprocal times the number, as in PyTorch
            np.testing.assert_allclose(found, expected, 2e-7 if swap else 0)
            numbers = ~np.isnan(expected)
            np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(expected)[numbers])


def test_a_number_that_is_also_a_literal() -> None:
    """The exponent belongs to the recipe of pow, the factor to the call, though both are one object."""
    x = lg.tensor([1.0, 2.0, 3.0])
    exponent = float("2.5")
    for factor in (exponent, 7.0, 1.25, exponent):
        found = (x**exponent * factor).numpy()
        np.testing.assert_allclose(found, np.array([1.0, 2.0, 3.0]) ** 2.5 * factor, 1e-6)


def test_one_object_and_equal_objects() -> None:
    x = lg.tensor([1.0, 2.0])
    for left, right in ((0.3, 0.3), (0.3, 0.7), (0.2, 0.2), (0.2, 0.9)):
        np.testing.assert_allclose(
            (x * left + right).numpy(), np.array([1, 2]) * left + right, 1e-6
        )
    same = 0.3
    for number in (same, 0.4, same):
        np.testing.assert_allclose(
            (x * number + same).numpy(), np.array([1, 2]) * number + 0.3, 1e-6
        )


def test_which_operands_are_the_same() -> None:
    """x * x, x * y, and y on the memory of x, with gradients, in every order."""
    for _ in range(2):
        for kind in ("same", "other", "alias", "same", "alias", "other"):
            x = lg.tensor([2.0, 3.0], requires_grad=True)
            y = {
                "same": x,
                "other": lg.tensor([5.0, 7.0], requires_grad=True),
                "alias": x.detach(),
            }[kind]
            (x * y).sum().backward()
            expected = {"same": [4.0, 6.0], "other": [5.0, 7.0], "alias": [2.0, 3.0]}[kind]
            assert x.grad is not None and x.grad.tolist() == expected


def test_gradients_are_wanted_or_not() -> None:
    for wants in [(True, False), (False, True), (False, False), (True, True)] * 2:
        x = lg.tensor([2.0], requires_grad=wants[0])
        y = lg.tensor([3.0], requires_grad=wants[1])
        z = x * y
        assert z.requires_grad == any(wants)
        with lg.no_grad():
            assert not (x * y).requires_grad
        if any(wants):
            z.sum().backward()
        assert (x.grad is None, y.grad is None) == (not wants[0], not wants[1])


def test_draws_are_new_each_time() -> None:
    x = lg.ones(64)
    drawn = [lg.nn.functional.dropout(x, 0.5).tolist() for _ in range(4)]
    assert len({tuple(each) for each in drawn}) == 4


def test_the_default_dtype_is_asked_again() -> None:
    x = lg.tensor([1, 2])
    try:
        for dtype in (lg.float32, lg.float64, lg.float32):
            lg.set_default_dtype(dtype)
            assert (x * 0.5).dtype is dtype and (x / 2).dtype is dtype
    finally:
        lg.set_default_dtype(lg.float32)


def test_arguments_of_other_kinds() -> None:
    x = data(3, 4)
    for _ in range(2):
        for dim, keep in ((0, False), (1, False), (1, True), (None, False)):
            found = x.sum() if dim is None else x.sum(dim=dim, keepdim=keep)
            expected = x.numpy().sum(axis=dim, keepdims=keep)
            np.testing.assert_allclose(found.numpy(), expected, 1e-5)
        for low, high in ((0.0, 0.5), (-0.0, 0.5), (0.5, 1.0), (None, 0.1)):
            np.testing.assert_array_equal(x.clamp(low, high).numpy(), x.numpy().clip(low, high))


def test_one_node_each_and_the_text_of_all() -> None:
    x = data(4)
    for _ in range(2):
        y = (x * 2.5 + x).sum()
    assert y.node.op is Op.APPLY
    gc.collect()
    before = sum(isinstance(each, Node) for each in gc.get_objects())
    z = x * 3.5 + x
    gc.collect()
    assert sum(isinstance(each, Node) for each in gc.get_objects()) == before + 2
    text = str(z.node)
    assert "mul" in text and "const 3.5" in text and "add" in text and "apply" not in text
    np.testing.assert_allclose(z.numpy(), x.numpy() * 4.5, 1e-6)


def test_a_known_program_compiles_nothing() -> None:
    def program(x: lg.Tensor, factor: float) -> list[float]:
        w = x.clone().requires_grad_()
        loss = ((w * factor).exp() + x).sum()
        loss.item()
        loss.backward()
        with lg.no_grad():
            assert w.grad is not None
            w -= 0.125 * w.grad
        found: list[float] = w.tolist()
        return found

    for _ in range(3):
        program(data(5), 0.3)
    compiled, ready = PLANS.compiled, len(PLANS.ready)
    for seed, factor in enumerate((0.3, 0.4, 0.77)):
        x = data(5, seed=seed)
        found = program(x, factor)
        slope = factor * np.exp(x.numpy() * factor)
        np.testing.assert_allclose(found, x.numpy() - 0.125 * slope, 1e-5)
    assert (PLANS.compiled, len(PLANS.ready)) == (compiled, ready)


def test_errors_of_known_programs() -> None:
    """A check that fails in a plan that ran well before says the line, and leaves everything as it was."""
    table = lg.arange(4.0)
    kept = lg.zeros(2)
    for indices in ([0, 3], [1, 2], [2, 9], [3, 0]):
        index = lg.tensor(indices)
        if max(indices) < 4:
            kept += table[index]
            kept.realize()
            continue
        before = kept.tolist()
        with pytest.raises(IndexError, match="out of"):
            (kept + table[index]).realize()
        assert kept.tolist() == before
    for divisor in (2, 3, 0, 5):
        quotient = lg.tensor([6, 9]) // lg.tensor([divisor, 1])
        if divisor:
            assert quotient.tolist() == [6 // divisor, 9]
        else:
            with pytest.raises((RuntimeError, ZeroDivisionError)):
                quotient.tolist()


def test_in_place_forms_see_views_records_and_versions() -> None:
    for _ in range(3):
        x = lg.zeros(2, 3)
        row = x[1]
        x += 1.5
        row *= 2.0
        x.sub_(0.5)
        row.mul_(x[0])
        np.testing.assert_array_equal(x.numpy(), [[1.0] * 3, [2.5] * 3])
        w = lg.ones(3, requires_grad=True)
        with pytest.raises(RuntimeError, match="leaf Variable"):
            w += 1.0
        y = w * 2.0
        z = y.exp()
        with lg.no_grad():
            z += 1.0
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()
        assert w._version == 0 and z._version == 1


def test_unread_updates_keep_nothing_of_the_past() -> None:
    w, x = data(8).requires_grad_(), data(8, seed=1)

    def turn() -> None:
        (w * x).pow(2).sum().backward()
        with lg.no_grad():
            assert w.grad is not None
            w.sub_(0.01 * w.grad)
            w.grad = None

    def nodes() -> int:
        gc.collect()
        return sum(isinstance(each, Node) for each in gc.get_objects())

    for _ in range(5):
        turn()
    before = nodes()
    for _ in range(40):
        turn()
    assert nodes() <= before + 5
