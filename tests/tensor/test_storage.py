"""Memory: what numpy shares, what stays lazy, what is let go of."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from lazygrad.ir.op import Op
from lazygrad.runtime import device as devices

torch: Any = import_module("lazygrad")


def launches() -> int:
    return devices.default().launches


@pytest.mark.of_the_host
def test_from_numpy_shares_memory_both_ways() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = torch.from_numpy(array)
    doubled = tensor * 2
    array[0, 0] = 100
    assert tensor.tolist() == [[100, 1, 2], [3, 4, 5]]
    assert doubled.tolist() == [[0, 2, 4], [6, 8, 10]], (
        "an operation reads what was there when it was called"
    )
    tensor[1].add_(10)
    tensor.t()[0] = -1
    assert array.tolist() == [[-1, 1, 2], [-1, 14, 15]]
    assert tensor.data_ptr() == array.__array_interface__["data"][0]


@pytest.mark.of_the_host
def test_numpy_shares_memory_until_nobody_looks() -> None:
    tensor = torch.arange(4.0) * 1
    before = tensor + 1
    array = tensor.numpy()
    array[0] = 7
    tensor[1] = 9
    assert tensor.tolist() == [7, 9, 2, 3] == array.tolist()
    assert before.tolist() == [1, 2, 3, 4]
    address = tensor.data_ptr()
    part = array[2:]
    del array
    tensor.mul_(2)
    assert part.tolist() == [4, 6] and tensor.data_ptr() == address
    del part
    gc.collect()
    tensor.add_(1)
    assert tensor.storage.pin is None and tensor.storage.node.op is not Op.BUFFER, "lazy again"
    assert tensor.tolist() == [15, 19, 5, 7]


@pytest.mark.of_the_host
def test_numpy_of_views() -> None:
    tensor = torch.arange(12.0).view(3, 4)
    view = tensor.t()[1:3]
    array = view.numpy()
    array[0, 0] = 50
    assert array.shape == (2, 3) and array.strides == (4, 16)
    assert tensor[0, 1].item() == 50
    assert np.asarray(tensor).tolist() == tensor.tolist()
    assert (np.asarray(tensor, dtype=np.float64) == np.array(tensor.tolist())).all()


@pytest.mark.of_the_host
@pytest.mark.parametrize(
    "make", [lambda a: a.T, lambda a: a[::2, 1:], lambda a: a[:, 0], lambda a: a[1:1]]
)
def test_strided_arrays(make: Any) -> None:
    whole = np.arange(12, dtype=np.float64).reshape(3, 4)
    array = make(whole)
    tensor = torch.from_numpy(array)
    assert tensor.tolist() == array.tolist()
    assert (tensor + 1).tolist() == (array + 1).tolist()
    tensor.mul_(-1)
    assert tensor.tolist() == array.tolist() and (array <= 0).all()
    whole += 100
    assert tensor.tolist() == array.tolist()


def test_negative_strides_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        torch.from_numpy(np.arange(3.0)[::-1])


def test_gradients_read_shared_memory_when_backward_is_called() -> None:
    array = np.array([1.0, 2.0], dtype=np.float32)
    weight = torch.ones(2, requires_grad=True)
    ((torch.from_numpy(array) * weight) ** 2).sum().backward()
    array[:] = 0
    assert weight.grad.tolist() == [2.0, 8.0]


@pytest.mark.of_the_host
def test_a_leaf_on_shared_memory() -> None:
    array = np.array([1.0, 2.0], dtype=np.float32)
    weight = torch.from_numpy(array).requires_grad_()
    (weight * weight).sum().backward()
    with torch.no_grad():
        weight -= weight.grad
    assert array.tolist() == [-1.0, -2.0]
    weight.grad = None
    (weight * weight).sum().backward()
    assert weight.grad.tolist() == [-2.0, -4.0]


@pytest.mark.of_the_host
def test_a_result_whose_memory_was_exposed() -> None:
    x = torch.ones(2, requires_grad=True)
    y = x * 3
    array = y.detach().numpy()
    array[0] = 10
    assert (y * 1).tolist() == [10, 3]
    (y * y).sum().backward()
    assert x.grad.tolist() == [60, 18]


def test_reading_parts_costs_one_computation() -> None:
    x = torch.arange(20.0).view(4, 5) * 2
    x.realize()
    before = launches()
    assert [x[i, j].item() for i in range(4) for j in range(5)] == [2.0 * n for n in range(20)]
    assert x.t()[3].tolist() == [6, 16, 26, 36] and x.diagonal().tolist() == [0, 12, 24, 36]
    assert launches() == before


def test_a_computed_value_forgets_how_it_was_made() -> None:
    x = torch.arange(4.0).realize()
    middle = x + 1
    watch = weakref.ref(middle.storage.node)
    y = middle * 2
    del middle
    assert watch() is not None
    assert y.tolist() == [2, 4, 6, 8]
    assert watch() is None and y.storage.node.src == ()


def test_backward_lets_go_of_the_graph() -> None:
    w = torch.ones(4, requires_grad=True)
    hidden = (w * 3).exp()
    watch = weakref.ref(hidden.storage.node)
    loss = hidden.log().sum()
    loss.backward()
    loss.item()
    w.grad.tolist()
    del hidden
    gc.collect()
    assert watch() is None, "the loss alone keeps nothing"
    assert loss.grad_fn is not None


def test_a_loop_of_updates_keeps_nothing() -> None:
    w = torch.ones(8, requires_grad=True)
    momentum = torch.zeros(8)
    nodes = []
    for step in range(30):
        loss = (w * w).sum()
        loss.backward()
        nodes.append(weakref.ref(loss.storage.node))
        with torch.no_grad():
            momentum.mul_(0.9).add_(w.grad)
            w -= 0.01 * momentum
            w.grad = None
        if step % 10 == 0:
            loss.item()
    del loss
    gc.collect()
    assert sum(node() is not None for node in nodes) <= 4


LONG = """
import gc, sys
sys.setrecursionlimit(200)
import lazygrad as torch
from lazygrad import reading

calls = 0

def count(frame, event, function):
    global calls
    calls += event in ("call", "c_call")

def run(length):
    global calls
    calls = 0
    sys.setprofile(count)
    x = torch.ones(4, requires_grad=True)
    y = x
    for _ in range(length // 2):
        y = y * 0.9999 + 0.0001
    y.sum().backward()
    values = x.grad.tolist()
    del y
    x.grad = None
    gc.collect()
    sys.setprofile(None)
    return calls

run(200)
short, long = run(2000), run(20000)
print(long / short)
"""


def test_long_chains_are_linear_under_a_low_recursion_limit() -> None:
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 12


def test_threads_build_and_read() -> None:
    shared = torch.arange(100.0) * 1
    weight = torch.ones(100, requires_grad=True)
    results: list[Any] = [None] * 8
    modes = []

    def work(index: int) -> None:
        with torch.no_grad():
            modes.append(torch.is_grad_enabled())
            quiet = weight * 2
        total = ((shared + index) * weight).sum()
        (gradient,) = torch.autograd.grad(total, weight)
        results[index] = (total.item(), gradient.sum().item(), quiet.requires_grad)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(4950.0 + 100 * i, 4950.0 + 100 * i, False) for i in range(8)]
    assert modes == [False] * 8 and torch.is_grad_enabled()


def test_every_result_of_an_operation_reads_shared_memory_at_once() -> None:
    array = np.array([1.0, 3.0, 2.0], dtype=np.float32)
    tensor = torch.from_numpy(array)
    values, indices = tensor.max(0)
    mask, order, copied = tensor > 1.5, tensor.argmin(), tensor.clone()
    picked, double = tensor[torch.tensor([0, 2])], tensor.double()
    array[:] = 0
    assert (values.item(), indices.item(), order.item()) == (3.0, 1, 0)
    assert mask.tolist() == [False, True, True] and copied.tolist() == double.tolist() == [1, 3, 2]
    assert picked.tolist() == [1, 2]


@pytest.mark.of_the_host
@pytest.mark.parametrize("enabled", [True, False])
def test_a_view_without_a_gradient_needs_no_node(
    enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of memory that numpy has seen, or still sees, and not where nothing is recorded."""
    results = import_module("lazygrad.results")
    once = torch.ones(4, 3).realize()
    once.numpy()
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    shared = torch.from_numpy(array)

    def refuse(*tensors: object, **others: object) -> None:
        raise AssertionError("a node was asked for")

    with monkeypatch.context() as patched, torch.set_grad_enabled(enabled):
        patched.setattr(results, "tensor_nodes", refuse)
        views = once.t(), shared.t(), shared[1:].t()
    array[:] = 7
    assert [view.sum().item() for view in views] == [12, 84, 63]
    views[1][0] = 0  # written to, and seen on the other side
    assert array[:, 0].tolist() == [0, 0, 0, 0] and views[2].sum().item() == 42


def test_a_call_that_makes_a_view_again_checks_what_the_first_did() -> None:
    """Calls with the same numbers are known; those that are other ones, or of tensors that lie otherwise, are not mistaken for them."""
    first, other = torch.arange(12.0).reshape(3, 4), torch.arange(12.0).reshape(4, 3)
    for _ in range(3):
        assert first.unfold(1, 2, 2).tolist()[0] == [[0, 1], [2, 3]]
        assert other.unfold(1, 2, 1).shape == (4, 2, 2)
        assert first.t().select(0, 1).tolist() == [1, 5, 9]
        assert first.select(0, 1).tolist() == [4, 5, 6, 7]
        assert first.int().select(0, 1).dtype is torch.int32
        with pytest.raises(IndexError):
            first.select(0, 3)
        with pytest.raises(TypeError):
            first.select(0, 1.0)
        with torch.no_grad():
            assert first.transpose(0, 1).view(4, 3).stride() == (1, 4)
        first.select(0, 1)[0] = 4  # one and the same memory
    leaf = torch.arange(12.0).reshape(3, 4).requires_grad_()
    leaf.select(0, 1).sum().backward()
    assert leaf.grad.sum(1).tolist() == [0, 4, 0]
    assert (
        leaf.detach().select(0, 1)._view is not None
        and not leaf.detach().select(0, 1).requires_grad
    )
