"""Registering functions that are called with gradients: on tensors, leaves or not, and to keep the gradient of one that is not."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from ..history import Hook, RemovableHandle
from ..runtime.steady import STEADY

if TYPE_CHECKING:
    from ..tensor import Tensor


def register_hook(tensor: Tensor, hook: Hook) -> RemovableHandle:
    """Call hook(grad) when the gradient of `tensor` is known; a tensor that it returns replaces the gradient.

    Raises:
        RuntimeError: the tensor does not require grad.
    """
    if not tensor.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    STEADY.disturb()
    record = tensor._record
    if record is None:
        return RemovableHandle(tensor._extras().hooks, hook)
    return RemovableHandle(record._hooks().outputs.setdefault(tensor._index, {}), hook)


def register_post_accumulate_grad_hook(tensor: Tensor, hook: Hook) -> RemovableHandle:
    """Call hook(tensor) each time a gradient has been added to `tensor.grad`.

    Raises:
        RuntimeError: the tensor does not require grad, or is not a leaf.
    """
    if not tensor.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if tensor._record is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    STEADY.disturb()
    return RemovableHandle(tensor._extras().accumulated, hook)


def retain_grad(tensor: Tensor) -> None:
    """Have backward() set `tensor.grad` of a tensor that is not a leaf; nothing changes for a leaf.

    Raises:
        RuntimeError: the tensor does not require grad.
    """
    if not tensor.requires_grad:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    record = tensor._record
    if record is None:
        return
    tensor._extras().retains = True
    record._hooks().retained[tensor._index] = weakref.ref(tensor)
