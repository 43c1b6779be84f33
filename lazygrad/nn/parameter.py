"""Parameter and Buffer: tensors that a Module counts among its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..functional.creation import empty
from ..ir.dtype import DType
from ..tensor import Tensor


class Parameter(Tensor):
    """A leaf on the memory of `data` that requires grad, and registers itself with the Module it is set on."""

    __slots__ = ()

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = empty(0)
        made: Parameter = cls._make_subclass(data.detach(), requires_grad)
        return made

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    __str__ = __repr__

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        copy: Parameter = memo[id(self)]
        return copy


class Buffer(Tensor):
    """A tensor on the memory of `data` that registers itself as a buffer with the Module it is set on."""

    __slots__ = ("persistent",)

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = empty(0)
        made: Buffer = cls._make_subclass(data.detach(), data.requires_grad)
        made.persistent = persistent
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), persistent=self.persistent)
        copy: Buffer = memo[id(self)]
        return copy


def empty_parameter(shape: Sequence[int], device: Any, dtype: DType | None) -> Parameter:
    """A parameter whose values are still to be set."""
    return Parameter(empty(tuple(shape), device=device, dtype=dtype))


def __getattr__(name: str) -> Any:
    if name in ("UninitializedParameter", "UninitializedBuffer"):  # they are made of parameters
        return getattr(import_module("lazygrad.nn.lazy"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
