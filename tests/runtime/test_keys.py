"""Keys: what two nodes may share in them, and what not."""

from __future__ import annotations

from lazygrad.ir.args import Slot
from lazygrad.ir.dtype import DType, float32, float64
from lazygrad.ir.node import Node, constant
from lazygrad.ir.op import Op
from lazygrad.runtime import device
from lazygrad.runtime.keys import normalise


def scaled(number: float, dtype: DType) -> Node:
    buffer = Node(Op.BUFFER, (), dtype, (2,), Slot(0), "cpu")
    buffer.value = device.get("cpu").allocate(16)
    return buffer * constant(number, dtype, (2,), "cpu")


def test_one_object_is_a_number_of_each_dtype() -> None:
    number = float("0.3")
    normal = normalise([scaled(number, float32), scaled(number, float64)])
    assert normal.numbers == [number, number]
    assert len(normalise([scaled(number, float32), scaled(number, float32)]).numbers) == 1
