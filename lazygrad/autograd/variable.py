"""`Variable`: PyTorch's old name for a tensor that takes part in autograd. Calling it gives a tensor; every tensor is one."""

from __future__ import annotations

from typing import Any

from ..ir.dtype import float32
from ..ir.node import constant
from ..results import from_node
from ..runtime import device as devices
from ..tensor import Tensor


class _VariableMeta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, Tensor)


class Variable(metaclass=_VariableMeta):
    """Variable(data, requires_grad=False): a leaf on the memory of `data`.

    `volatile` is what no_grad has replaced, and is accepted without effect.
    """

    def __new__(  # type: ignore[misc]
        cls, data: Tensor | None = None, requires_grad: bool = False, volatile: bool = False
    ) -> Tensor:
        if data is None:
            data = from_node(constant(0, float32, (0,), devices.default().name))
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        made = data.detach()
        if requires_grad:
            made.requires_grad_()
        return made
