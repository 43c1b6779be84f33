"""Drawn indices: reading, writing and the gradient of reading, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lazygrad as lg
from lazygrad import config

torch = pytest.importorskip("torch")


@st.composite
def parts(draw: Any, size: int) -> Any:
    """One part of an index for an axis of `size`, as a function from the library to the part."""
    kind = draw(st.sampled_from(["int", "slice", "slice", "list", "tensor", "mask"]))
    whole = st.integers(-size, size - 1)
    if kind == "int":
        value = draw(whole)
        return lambda module: value
    if kind == "slice":
        bounds = st.none() | st.integers(-size - 2, size + 2)
        chosen = slice(draw(bounds), draw(bounds), draw(st.none() | st.integers(1, 3)))
        return lambda module: chosen
    if kind == "mask":
        flags = draw(st.lists(st.booleans(), min_size=size, max_size=size))
        return lambda module: module.tensor(flags)
    values = draw(st.lists(whole, min_size=2, max_size=2))
    if kind == "list":
        return lambda module: list(values)
    return lambda module: module.tensor(values)


@st.composite
def indices(draw: Any) -> tuple[tuple[int, ...], Any]:
    """A shape, and an index for a tensor of that shape."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    first = draw(st.integers(0, len(shape)))
    last = draw(st.integers(max(first, 1), len(shape)))
    chosen: list[Any] = [draw(parts(size)) for size in shape[:first]]
    if first < len(shape) and draw(st.booleans()):  # two axes by one mask
        sizes = shape[first : first + 2]
        flags = draw(
            st.lists(st.booleans(), min_size=sizes[0] * sizes[-1], max_size=sizes[0] * sizes[-1])
        )
        if len(sizes) == 2:
            chosen.append(lambda module: module.tensor(flags).reshape(sizes))
            last = max(last, first + 2)
    if last < len(shape) or draw(st.booleans()):
        chosen.append(lambda module: Ellipsis)
        chosen.extend([draw(parts(size)) for size in shape[last:]])
    if draw(st.booleans()):
        chosen.insert(draw(st.integers(0, len(chosen))), lambda module: None)
    return shape, lambda module: tuple(part(module) for part in chosen)


def outcome(run: Any) -> Any:
    """The result, or the type of the error that index tensors of different lengths make."""
    try:
        return run()
    except IndexError as error:
        return type(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(indices())
def test_reading_and_its_gradient(case: Any) -> None:
    shape, index = case
    values = np.arange(float(np.prod(shape))).reshape(shape)
    with config.override(device="interpret"):
        ours, theirs = (
            lg.tensor(values, requires_grad=True),
            torch.tensor(values, requires_grad=True),
        )
        mine, expected = outcome(lambda: ours[index(lg)]), outcome(lambda: theirs[index(torch)])
        if isinstance(expected, type):
            assert mine is expected
            return
        assert tuple(mine.shape) == tuple(expected.shape)
        assert mine.tolist() == expected.tolist()
        assert tuple(mine.stride()) == tuple(expected.stride()) or not mine._is_view()
        (mine * mine).sum().backward()
        (expected * expected).sum().backward()
        assert ours.grad is not None and ours.grad.tolist() == theirs.grad.tolist()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(indices(), st.sampled_from(["number", "row", "whole"]))
def test_writing_reaches_every_alias(case: Any, kind: str) -> None:
    shape, index = case
    values = np.arange(float(np.prod(shape))).reshape(shape)
    with config.override(device="interpret"):
        results = []
        for module in (lg, torch):
            base = module.tensor(values)
            alias = base.view(-1)
            picked = outcome(lambda: base[index(module)])  # noqa: B023 - called at once
            if isinstance(picked, type):
                return
            count = picked.numel()
            value: Any = -1.0
            if kind == "row":
                value = module.tensor([-5.0], dtype=module.float64)
            elif kind == "whole":
                value = (-module.arange(1.0, count + 1)).double().reshape(tuple(picked.shape))
            base[index(module)] = value
            results.append((base.tolist(), alias.tolist()))
        distinct = kind != "whole" or not _repeats(shape, index)
        if distinct:
            assert results[0] == results[1]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(indices(), st.booleans())
def test_the_gradients_of_writing(case: Any, whole: bool) -> None:
    """A recorded assignment: what was there has no gradient any more, and the value has that of what it became."""
    shape, index = case
    values = np.arange(1.0, np.prod(shape) + 1).reshape(shape)
    with config.override(device="interpret"):
        results = []
        for module in (lg, torch):
            start = module.tensor(values, requires_grad=True)
            base = start * 2
            picked = outcome(lambda: base[index(module)])  # noqa: B023 - called at once
            if isinstance(picked, type) or (whole and _repeats(shape, index)):
                return
            sizes = tuple(picked.shape) if whole else ()
            value = (module.ones(sizes, dtype=module.float64) * -3).detach().requires_grad_()
            base[index(module)] = value
            (base * base * module.tensor(values)).sum().backward()
            results.append((base.tolist(), start.grad.tolist(), value.grad.tolist()))
        assert results[0] == results[1]


def _repeats(shape: tuple[int, ...], index: Any) -> bool:
    """Whether an element is selected twice: which of its values stays is not said."""
    places = torch.arange(int(np.prod(shape))).reshape(shape)[index(torch)].flatten().tolist()
    return len(set(places)) != len(places)
