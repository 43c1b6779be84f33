"""Vectors of elements that lie a small step apart: whole vectors and shuffles, within the buffer; results against NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.codegen.transform.parts import parts
from lazygrad.codegen.transform.vectorize import vectorize
from lazygrad.ir import loops
from lazygrad.ir.dtype import float32
from lazygrad.ir.interpret import SimulationError, run_kernel
from lazygrad.ir.node import Node
from lazygrad.ir.text import parse, show
from lazygrad.ir.verify import verify_kernel

Golden = Callable[..., None]
KINDS = ["bool", "uint8", "int16", "float16", "bfloat16", "int32", "float32", "int64", "float64"]


def copy(count: int, read: str, written: str = "%i", size: int = 0) -> Node:
    """Element by element from offset `read` of a buffer of `size` to offset `written` of one of `count`."""
    (kernel,) = parse(f"""
kernel copy(%x: f32[{size or count}] in, %y: f32[{count}] out)
  for %i in range(0, {count}):
    %v = load %x[{read}] : f32
    store %y[{written}], %v
""")
    return kernel


def test_backwards_is_one_vector_reversed(golden: Golden) -> None:
    golden(vectorize(copy(11, "10 - %i"), "i", 4), "read")
    golden(vectorize(copy(11, "%i", "10 - %i"), "i", 4), "written")


def test_steps_are_vectors_of_which_some_lanes_are_taken(golden: Golden) -> None:
    golden(vectorize(copy(10, "%i*2 + 1", size=20), "i", 4), "two")
    golden(vectorize(copy(10, "%i*3", size=28), "i", 4), "three")


@pytest.mark.parametrize("count", [3, 8, 16, 21])
@pytest.mark.parametrize("step", [-5, -3, -2, -1, 2, 3, 4, 5, 11])
def test_what_is_read_lies_within_the_buffer(step: int, count: int) -> None:
    """The buffer begins with the first element and ends with the last; the interpreter refuses what is outside."""
    size = (count - 1) * abs(step) + 1
    read = f"%i*{step}" if step > 0 else f"{size - 1} + %i*{step}"
    x = np.arange(size, dtype=np.float32)
    for lanes in (2, 4, 8, 16):
        kernel = vectorize(copy(count, read, size=size), "i", lanes)
        verify_kernel(kernel)
        y = np.zeros(count, np.float32)
        run_kernel(kernel, [x, y])
        np.testing.assert_array_equal(y, x[::step])
        if count >= lanes and abs(step) * 2 - 1 < lanes * 1.5:
            assert "shuffle" in show(kernel)


def test_elements_that_are_read_again_are_a_vector_of_fewer_lanes(golden: Golden) -> None:
    golden(vectorize(copy(10, "%i // 2", size=5), "i", 4))


@pytest.mark.parametrize("count", [3, 8, 16, 21])
@pytest.mark.parametrize("times", [2, 3, 4, 8])
def test_what_is_read_again_lies_within_the_buffer(times: int, count: int) -> None:
    size = -(-count // times) + 1
    x = np.arange(size, dtype=np.float32)
    for lanes in (2, 4, 8, 16):
        kernel = vectorize(copy(count, f"%i // {times} + 1", size=size), "i", lanes)
        verify_kernel(kernel)
        y = np.zeros(count, np.float32)
        run_kernel(kernel, [x, y])
        np.testing.assert_array_equal(y, x[np.arange(count) // times + 1])
        if count >= lanes and lanes > times and lanes % times == 0:
            assert "shuffle" in show(kernel)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_twice_as_large(kind: str) -> None:
    """Each element again, beside masks that a border decides, and the gradient of a pool that leaves a line and a column out."""
    values = np.random.default_rng(9).integers(0, 2, (2, 3, 37)).astype(np.float32)
    x = lg.tensor(values).to(getattr(lg, kind)).realize()
    with config.override(verify=True):
        for times in (2, 3, 4):
            ours = x[..., None].expand(2, 3, 37, times).reshape(2, 3, 37 * times)
            theirs = values.repeat(times, -1)
            np.testing.assert_array_equal((ours == 1).numpy(), theirs == 1)
            cut = lg.nn.functional.pad(ours.to(lg.float32), (1, 2))[..., 2:].contiguous()
            padded = np.pad(theirs, ((0, 0), (0, 0), (1, 2)))[..., 2:]
            np.testing.assert_array_equal(cut.numpy(), padded)


def test_the_gradient_of_a_pool_that_leaves_a_column_out() -> None:
    """What is around the windows is 0, and what lies in them follows from their shape: no remainder of a line and a column together."""
    values = np.random.default_rng(10).normal(size=(3, 4, 11, 19)).astype(np.float32)
    x = lg.tensor(values, requires_grad=True)
    with config.override(verify=True):
        lg.nn.functional.max_pool2d(x, 2).sum().backward()
        found = x.grad
        assert found is not None
        windows = values[:, :, :10, :18].reshape(3, 4, 5, 2, 9, 2)
        expected = np.zeros_like(values)
        top = windows.max((3, 5), keepdims=True)
        expected[:, :, :10, :18] = (windows == top).reshape(3, 4, 10, 18)
        np.testing.assert_array_equal(found.numpy(), expected)


def test_the_interpreter_refuses_what_is_outside() -> None:
    x, y = loops.parameter("x", float32, (6,), "in"), loops.parameter("y", float32, (4,), "out")
    vector = loops.load(x, 3, None, 4)
    kernel = loops.kernel("beyond", [x, y], [vector, loops.store(y, 0, vector)])
    with pytest.raises(SimulationError, match="element 6 of %x, which has 6"):
        run_kernel(kernel, [np.zeros(6, np.float32), np.zeros(4, np.float32)])


@pytest.mark.parametrize("kind", KINDS)
def test_copies_with_steps(kind: str) -> None:
    rng = np.random.default_rng(5)
    dtype = getattr(lg, kind)
    for rows, columns in ((1, 5), (3, 70), (2, 259)):
        values = rng.integers(0, 2 if kind == "bool" else 100, (rows, columns)).astype(np.float32)
        x = lg.tensor(values).to(dtype).realize()
        found, expected = [x.flip(1), x.flip(0, 1)], [values[:, ::-1], values[::-1, ::-1]]
        for step in range(2, 10):
            found += [x[:, ::step].contiguous(), x[:, step - 1 :: step].contiguous()]
            expected += [values[:, ::step], values[:, step - 1 :: step]]
            found.append(x[:, 1::step].flip(1))
            expected.append(values[:, 1::step][:, ::-1])
        with config.override(verify=True):
            lg.realize(*found)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.to(lg.float32).numpy(), theirs)


def test_steps_of_what_masks_decide() -> None:
    """What is read under a mask: a border, behind which every second element is taken, forwards and backwards."""
    values = np.random.default_rng(6).normal(size=(5, 41)).astype(np.float32)
    x = lg.tensor(values)
    padded = np.pad(values, ((0, 0), (3, 6)))
    ours = lg.nn.functional.pad(x, (3, 6))
    with config.override(verify=True):
        np.testing.assert_array_equal(ours[:, ::2].contiguous().numpy(), padded[:, ::2])
        np.testing.assert_array_equal(ours.flip(1).numpy(), padded[:, ::-1])
        np.testing.assert_array_equal(ours.flip(1)[:, ::3].numpy(), padded[:, ::-1][:, ::3])


@pytest.mark.parametrize("count", [64, 75])
@pytest.mark.parametrize("step", [-3, -2, -1, 2, 3, 4, 5, 7, 8, 16])
def test_vectors_wider_than_a_language_has(step: int, count: int) -> None:
    """Shuffles of them are shuffles of their parts."""
    size = (count - 1) * abs(step) + 1
    read = f"%i*{step}" if step > 0 else f"{size - 1} + %i*{step}"
    x = np.arange(size, dtype=np.float32)
    for lanes in (8, 32, 64):
        kernel = vectorize(copy(count, read, size=size), "i", lanes)
        for most in (4, 16):
            divided = parts(kernel, most)
            verify_kernel(divided)
            y = np.zeros(count, np.float32)
            run_kernel(divided, [x, y])
            np.testing.assert_array_equal(y, x[::step])


def test_sums_of_what_is_read_with_steps() -> None:
    """In vectors as wide as sums side by side are, on every device."""
    values = np.random.default_rng(9).normal(size=(4, 4096)).astype(np.float32)
    x = lg.tensor(values)
    for found, expected in (
        (x[:, ::2].amax(1), values[:, ::2].max(1)),
        (x.flip(1).amin(1), values[:, ::-1].min(1)),
        (x[:, 2::3].amax(1), values[:, 2::3].max(1)),
        (x.reshape(4, 64, 64)[:, ::4].amax(1), values.reshape(4, 64, 64)[:, ::4].max(1)),
    ):
        np.testing.assert_array_equal(found.numpy(), expected)


def test_assignment_with_steps() -> None:
    values = np.random.default_rng(7).normal(size=(4, 90)).astype(np.float32)
    part = np.random.default_rng(8).normal(size=(4, 45)).astype(np.float32)
    x, expected = lg.tensor(values), values.copy()
    x[:, ::2] = lg.tensor(part)
    expected[:, ::2] = part
    x[:, 1::2] += lg.tensor(part).flip(1)
    expected[:, 1::2] += part[:, ::-1]
    x[:, ::3] *= 2
    expected[:, ::3] *= 2
    np.testing.assert_array_equal(x.numpy(), expected)
