"""Module: what all layers and models are, as torch.nn.Module: a tree (tree.py) that is called (hooks.py) and has a state dict (state.py).

In: subclasses that set Parameters, Modules and buffers as attributes, and define `forward`. Out, here: modes, gradients, and moving and
casting the values of the whole tree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from ..autograd.grad_mode import no_grad
from ..functional.arguments import as_dtype
from ..ir.dtype import DType
from ..tensor import Tensor
from .state import Stateful


class Module(Stateful):
    """The base class of all layers and models."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs:
            raise TypeError(
                f"{type(self).__name__}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
            )
        if args:
            raise TypeError(
                f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given"
            )
        super().__init__()

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Call `fn` on every module below this one, children first, and on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # --- modes and gradients

    def train(self, mode: bool = True) -> Self:
        """Set training mode on this module and all below it.

        Raises:
            ValueError: `mode` is no bool.
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode: train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set requires_grad of every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradient of every parameter, or fill it with zeros."""
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                gradient = parameter.grad
                if gradient.grad_fn is not None:
                    gradient.detach_()
                else:
                    gradient.requires_grad_(False)
                gradient.zero_()

    # --- moving and casting

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the value of every parameter, gradient and buffer; parameters stay the objects that they are."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is not None:
                    gradient = parameter.grad
                    parameter.data = fn(parameter.data)
                    if gradient is not None:
                        parameter.grad = fn(gradient).requires_grad_(gradient.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move or cast the parameters and buffers: to(device), to(dtype), to(device, dtype) or to(tensor).

        A dtype changes floating tensors only. `non_blocking` and `memory_format` are taken for PyTorch's sake.

        Raises:
            TypeError: the dtype is not floating; an argument is none of these.
        """
        device, dtype = _destination(*args, **kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def change(tensor: Tensor) -> Tensor:
            if device is not None:
                tensor = tensor.to(device)
            return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor

        return self._apply(change)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move the parameters and buffers to a device without their values."""
        from ..functional.creation import empty_like

        return self._apply(lambda tensor: empty_like(tensor, device=device), recurse)

    def _cast(self, method: str) -> Self:
        return self._apply(lambda t: getattr(t, method)() if t.is_floating_point() else t)

    def float(self) -> Self:
        """Cast floating parameters and buffers to float32."""
        return self._cast("float")

    def double(self) -> Self:
        """Cast floating parameters and buffers to float64."""
        return self._cast("double")

    def half(self) -> Self:
        """Cast floating parameters and buffers to float16."""
        return self._cast("half")

    def bfloat16(self) -> Self:
        """Cast floating parameters and buffers to bfloat16."""
        return self._cast("bfloat16")

    def type(self, dst_type: Any) -> Self:
        """Cast all parameters and buffers."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def cpu(self) -> Self:
        """Move the parameters and buffers to the host."""
        return self._apply(lambda tensor: tensor.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Move the parameters and buffers to a CUDA device."""
        return self._apply(lambda tensor: tensor.cuda(device))

    def share_memory(self) -> Self:
        """Move the values into memory that forked processes share."""
        return self._apply(lambda tensor: tensor.share_memory_())


def _destination(
    *args: Any,
    device: Any = None,
    dtype: DType | None = None,
    tensor: Tensor | None = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: object = None,
) -> tuple[Any, DType | None]:
    """The device and the dtype that the arguments of `to` name."""
    if len(args) > 3:
        raise TypeError(f"to() takes at most 3 positional arguments ({len(args)} given)")
    if tensor is not None:
        args = (tensor, *args)
    for value in args:
        if isinstance(value, Tensor):
            device, dtype = value.device, value.dtype
        elif isinstance(value, DType) or value in (float, int, bool):
            dtype = as_dtype(value)
        elif not isinstance(value, bool) and value is not None:
            device = value
    return device, dtype
