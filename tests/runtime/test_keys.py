"""Keys: what two nodes may share in them, and what not."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lazygrad.ir.args import Slot
from lazygrad.ir.dtype import DType, float32, float64
from lazygrad.ir.node import Node, constant
from lazygrad.ir.op import Op
from lazygrad.runtime import device
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
