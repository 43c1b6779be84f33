"""Errors end to end: PyTorch's type, words with shapes and the user's line; afterwards everything lives and is what it was."""

from __future__ import annotations

import re
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

import lazygrad

torch = pytest.importorskip("torch")
Child = Callable[..., CompletedProcess[str]]

CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    # shapes
    "matmul": (lambda t: t.ones(3, 4) @ t.ones(5, 6), r"3, 4.*5, 6|3x4.*5x6"),
    "mm": (lambda t: t.mm(t.ones(3, 4), t.ones(5, 6)), r"3, 4.*5, 6|3x4.*5x6"),
    "add": (lambda t: t.ones(3, 4) + t.ones(3, 5), r"4\D+5"),
    "in-place add": (lambda t: t.ones(3).add_(t.ones(2, 3)), r"3\D+2, 3"),
    "view": (lambda t: t.ones(3, 4).view(5, 3), r"5, 3"),
    "reshape": (lambda t: t.ones(3, 4).reshape(-1, 5), r"5"),
    "cat": (lambda t: t.cat([t.ones(2, 3), t.ones(2, 4)]), r"3\D+4"),
    "stack": (lambda t: t.stack([t.ones(2, 3), t.ones(2, 4)]), r"2, 3.*2, 4"),
    "expand": (lambda t: t.ones(3).expand(2, 4), r"2, 4|4"),
    "linear": (lambda t: t.nn.functional.linear(t.ones(2, 3), t.ones(5, 4)), r"2x3|2, 3"),
    "cross_entropy": (
        lambda t: t.nn.functional.cross_entropy(t.ones(2, 3), t.zeros(3, dtype=t.long)),
        r"2\D+3|3\D+2",
    ),
    # dtypes
    "bits of floats": (lambda t: t.ones(2) & t.ones(2), r"(?i)float"),
    "mean of ints": (lambda t: t.ones(2, dtype=t.int64).mean(), r"(?i)floating point"),
    "matmul dtypes": (lambda t: t.ones(2, 2) @ t.ones(2, 2, dtype=t.float64), r"(?i)dtype|type"),
    "grad of ints": (lambda t: t.ones(2, dtype=t.int32, requires_grad=True), r"(?i)floating"),
    "float into int": (lambda t: t.ones(2, dtype=t.int64).add_(0.5), r"(?i)float.*cast|cast.*"),
    "index": (lambda t: t.ones(2)[t.ones(1)], r"(?i)tensors used as ind"),
    # dims
    "sum": (lambda t: t.ones(2, 3).sum(2), r"-2, 1.*2"),
    "softmax": (lambda t: t.softmax(t.ones(2, 3), -3), r"-2, 1.*-3"),
    "transpose": (lambda t: t.ones(2, 3).transpose(0, 5), r"-2, 1.*5"),
    "repeated dim": (lambda t: t.ones(2, 3).sum((0, 0)), r"(?i)dim 0 appears multiple times"),
    "too many indices": (lambda t: t.ones(2)[0, 0], r"too many indices"),
    "index 5": (lambda t: t.ones(2, 3)[:, 5], r"5.*size 3"),
    # devices
    "device": (lambda t: t.ones(2, device="gpu"), r"(?i)device.*gpu|gpu.*device"),
    # the rest
    "item": (lambda t: t.ones(2, 3).item(), r"6 elements"),
    "bool": (lambda t: bool(t.ones(2)), r"ambiguous"),
    "float": (lambda t: float(t.ones(2)), r"2 elements|only one element"),
    "leaf": (lambda t: t.ones(2, requires_grad=True).mul_(2), r"leaf Variable"),
    "backward": (lambda t: (t.ones(2, requires_grad=True) * 2).backward(), r"scalar outputs"),
    "backward shape": (
        lambda t: (t.ones(2, requires_grad=True) * 2).backward(t.ones(3)),
        r"2.*3|3.*2",
    ),
    "numpy of a variable": (lambda t: t.ones(2, requires_grad=True).numpy(), r"requires grad"),
    "unknown": (lambda t: t.ones(2).no_such_thing, r"no_such_thing"),
    "argument": (lambda t: t.ones(2).sum(axes=1), r"axes"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_type_and_words(on: str, name: str) -> None:
    call, words = CALLS[name]
    alive = lazygrad.arange(6.0).reshape(2, 3)
    pending = alive * 2
    with pytest.raises(Exception) as theirs:
        call(torch)
    with pytest.raises(Exception) as ours:
        call(lazygrad)
    assert type(ours.value) is type(theirs.value), str(ours.value)
    assert re.search(words, str(ours.value).splitlines()[0]), str(ours.value)
    assert re.search(words, str(theirs.value)), str(theirs.value)
    assert pending.tolist() == [[0, 2, 4], [6, 8, 10]] and alive.sum().item() == 15


DATA: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "division": (lambda t, zero: t.tensor([1, 2, 3]) // zero, "ZeroDivisionError"),
    "remainder": (lambda t, zero: t.tensor([1, 2, 3]) % zero, "ZeroDivisionError"),
    "number": (lambda t, zero: 7 // zero, "ZeroDivisionError"),
    "index": (lambda t, zero: t.arange(3.0)[zero + 3], "index 3 is out of bounds"),
    "negative": (lambda t, zero: t.arange(3.0)[zero - 4], "index -4 is out of bounds"),
    "gather": (lambda t, zero: t.arange(3.0).gather(0, zero + 5), "out of bounds"),
    "embedding": (
        lambda t, zero: t.nn.functional.embedding(zero + 2, t.ones(2, 2)),
        "index out of range|out of bounds",
    ),
    "write": (lambda t, zero: t.arange(3.0).index_fill_(0, zero + 3, 1.0), "out of|index"),
    "scatter": (lambda t, zero: t.zeros(3).scatter(0, zero + 3, t.ones(3)), "out of bounds"),
}  # fmt: skip


@pytest.mark.parametrize("name", DATA)
def test_what_only_the_data_tell(on: str, name: str) -> None:
    """Raised no later than the first read; the tensors it was made of, and those made beside it, are what they were."""
    make, words = DATA[name]
    zero, other = lazygrad.tensor([0, 1, 0]), lazygrad.tensor([1.0, 2.0])
    counter = lazygrad.zeros(2)
    counter += 1
    with pytest.raises(Exception) as theirs:
        make(torch, torch.tensor([0, 1, 0]))
    with pytest.raises((IndexError, RuntimeError, ZeroDivisionError)) as ours:
        bad = make(lazygrad, zero)
        counter += 1
        bad.tolist()
    if words == "ZeroDivisionError":
        assert str(theirs.value) == "ZeroDivisionError"
        assert "ZeroDivisionError" in str(ours.value) and isinstance(ours.value, RuntimeError)
    else:
        assert re.search(words, str(theirs.value)) and re.search(words, str(ours.value))
    assert "test_errors_leave_all_alive.py:" in str(ours.value)
    assert zero.tolist() == [0, 1, 0] and other.tolist() == [1.0, 2.0]
    assert counter.tolist()[0] in (1.0, 2.0)
    counter += 1
    assert counter.tolist()[0] in (2.0, 3.0)
    np.testing.assert_array_equal((other * 3).numpy(), [3.0, 6.0])


def test_an_update_that_fails_changes_nothing(on: str) -> None:
    x = lazygrad.tensor([1, 2, 3])
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        y = x // (x - 2)
        y.tolist()
    assert x.tolist() == [1, 2, 3]
    weight = lazygrad.ones(3, requires_grad=True)
    index = lazygrad.tensor([0, 9])
    with pytest.raises(IndexError):
        weight[index].sum().backward()
        assert weight.grad is not None
        weight.grad.tolist()
    weight.grad = None
    weight[lazygrad.tensor([0, 2])].sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [1.0, 0.0, 1.0]


def test_the_message_has_shapes_and_lines(on: str) -> None:
    left = lazygrad.ones(3, 4)
    right = lazygrad.ones(5, 6)
    with pytest.raises(RuntimeError) as error:
        left @ right
    text = str(error.value)
    assert "(3, 4) @ (5, 6) needs 4 == 5" in text
    assert "left = lazygrad.ones(3, 4)" in text and "right = lazygrad.ones(5, 6)" in text


@pytest.mark.parametrize("name", ["FOO", "CUDA:x", "CPU2"])
def test_an_unknown_device(child: Child, name: str) -> None:
    done = child("import lazygrad\nprint(lazygrad.ones(1) + 1)\n", DEVICE=name)
    assert done.returncode == 1 and done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: ")
    assert "Expected one of" in last and "cpu" in last and "interpret" in last
    assert name.lower() in last.lower() and "program.py" in done.stderr


def test_a_failing_process_says_the_line_and_ends_as_python_does(child: Child) -> None:
    program = (
        "import lazygrad as torch\na = torch.tensor([1, 2])\nb = a // (a - 1)\nprint(a)\nprint(b)\n"
    )
    for name in ("CPU", "INTERPRET"):
        done = child(program, DEVICE=name)
        assert done.returncode == 1 and done.stdout == "tensor([1, 2])\n"
        assert "ZeroDivisionError" in done.stderr and "b = a // (a - 1)" in done.stderr
