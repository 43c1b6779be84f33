"""Keys: what two nodes may share in them, and what not."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from lazygrad.ir.args import Constant, Drawn, Slot
from lazygrad.ir.dtype import DType, float32, float64, int64
from lazygrad.ir.node import Node, constant
from lazygrad.ir.op import Op
from lazygrad.runtime import device, realize
from lazygrad.runtime.keys import normalise

torch: Any = import_module("lazygrad")


def scaled(number: float, dtype: DType) -> Node:
    buffer = Node(Op.BUFFER, (), dtype, (2,), Slot(0), "cpu")
    buffer.value = device.get("cpu").allocate(16)
    return buffer * constant(number, dtype, (2,), "cpu")


def test_one_object_is_a_number_of_each_dtype() -> None:
    number = float("0.3")
    normal = normalise([scaled(number, float32), scaled(number, float64)])
    assert normal.numbers == [number, number]
    assert len(normalise([scaled(number, float32), scaled(number, float32)]).numbers) == 1


def test_a_value_that_is_history_and_data() -> None:
    """What `y` was computed by is a path of the second gradient; the same value behind detach() is none."""
    x = torch.tensor([0.5], requires_grad=True)
    y = x * 2
    z = y * y * y.detach()
    assert z.item() == 1.0
    (first,) = torch.autograd.grad(z, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    assert (first.item(), second.item()) == (4.0, 8.0)


def test_draws_are_known_by_their_sketch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that draws is known the second time, whatever it draws; where a draw selects code, it is part of the sketch's program."""
    slow = []
    run_slowly = realize._run_slowly

    def counted(*given: Any) -> None:
        slow.append(1)
        run_slowly(*given)

    monkeypatch.setattr(realize, "_run_slowly", counted)
    torch.manual_seed(3)
    drawn = [(torch.rand(4) + torch.randn(4)).tolist() for _ in range(6)]
    assert len(slow) <= 2, "the first sum is made in full, and so is its sketch"
    slow.clear()
    torch.manual_seed(4)
    assert (torch.rand(4) + torch.randn(4)).tolist() not in drawn
    torch.manual_seed(3)
    assert [(torch.rand(4) + torch.randn(4)).tolist() for _ in range(6)] == drawn
    assert not slow

    def shifted(places: int) -> Any:
        count = Node(Op.CONST, (), int64, (2,), Constant(Drawn(places)), "cpu")
        buffer = torch.tensor([1, 2]).realize().storage.node
        node = Node(Op.SHL, (buffer, count), int64, (2,), None, "cpu")
        realize.realize([node])
        return device.get("cpu").view(node.value, int64, (2,)).tolist()

    assert [shifted(places) for places in (3, 4, 3)] == [[8, 16], [16, 32], [8, 16]]
    assert len(slow) == 3
