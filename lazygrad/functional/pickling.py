"""Tensors as bytes: pickle and copy, and memory that forked processes share.

In: any tensor. Out: what pickle needs to make it again (dtype, shape, bytes, whether it requires grad; no history, and no sharing
of memory between tensors), or a tensor whose memory is shared.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

from ..ir.dtype import DType, bfloat16, int16
from ..results import from_external
from ..tensor import Tensor
from .registry import METHODS, method


def _as_array(tensor: Tensor) -> Any:
    """The values as an array; bfloat16, which numpy does not have, as int16."""
    values = tensor.detach().cpu().contiguous()
    if values.dtype is bfloat16:
        values = values.view(int16)
    return values.numpy()


def rebuild(
    kind: type[Tensor], values: bytes, dtype: DType, shape: tuple[int, ...], place: str, requires: bool
) -> Tensor:  # fmt: skip
    """The tensor that `reduce` took apart."""
    array = np.frombuffer(values, dtype.storage).reshape(shape)
    tensor: Tensor = from_external(array, dtype).clone()
    if place != "cpu":
        tensor = tensor.to(place)
    if kind is not Tensor:
        tensor = kind._make_subclass(tensor)
    if requires:
        tensor.requires_grad_()
    return tensor


def reduce(self: Tensor, protocol: int) -> Any:
    """What pickle stores. The history is not among it; a tensor that requires grad comes back as a leaf."""
    values = _as_array(self).tobytes()
    arguments = (type(self), values, self.dtype, tuple(self.shape), self.place, self.requires_grad)
    return rebuild, arguments, getattr(self, "__dict__", None) or None


def shallow(self: Tensor) -> Tensor:
    """copy.copy: another leaf on the same memory."""
    made: Tensor = type(self)._make_subclass(self.detach(), self.requires_grad)
    return made


METHODS["__reduce_ex__"] = reduce
METHODS["__copy__"] = shallow


@method("share_memory_")
def share_memory_(self: Tensor) -> Tensor:
    """Move the value into memory that processes forked from now on share: what one writes, the others see.

    Raises:
        RuntimeError: the tensor is not on the host, or is bfloat16, which cannot be seen from outside.
    """
    if is_shared(self):
        return self
    if self.place != "cpu" or self.dtype is bfloat16:
        raise RuntimeError(
            f"share_memory_: cannot share {self.dtype} memory of device {self.place}"
        )
    values = _as_array(self)
    if values.nbytes:
        shared = np.frombuffer(mmap.mmap(-1, values.nbytes), values.dtype).reshape(values.shape)
        shared[...] = values
        self.data = from_external(shared, self.dtype)
    return self


@method("is_shared")
def is_shared(self: Tensor) -> bool:
    """Whether the value is in memory that forked processes share."""
    pin = self.storage.pin
    base: Any = None if pin is None else pin.array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    return isinstance(base, mmap.mmap)
