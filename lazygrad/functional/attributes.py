"""What Tensor has beside operators and its core: device, printing, format, cpu(), cuda(), and questions about tensors."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .. import printing
from ..tensor import Tensor
from .casting import convert
from .devices import device, place_of
from .registry import METHODS, function, method


class layout:
    """How elements lie in memory; `strided` is the only one."""

    def __repr__(self) -> str:
        return "torch.strided"

    def __reduce__(self) -> str:
        return "strided"


strided = layout()


def _device(self: Tensor) -> device:
    """The device that holds the tensor. The device that DEVICE names is PyTorch's "cpu"."""
    name, _, index = self.place.partition(":")
    if name == "interpret":
        name = "cpu"
    return device(name, int(index) if index else None)


METHODS["device"] = property(_device, doc=_device.__doc__)  # type: ignore[assignment]
METHODS["is_cuda"] = property(lambda self: self.place.startswith("cuda"))  # type: ignore[assignment]
METHODS["is_cpu"] = property(lambda self: self.device.type == "cpu")  # type: ignore[assignment]
METHODS["is_sparse"] = property(lambda self: False)  # type: ignore[assignment]
METHODS["is_quantized"] = property(lambda self: False)  # type: ignore[assignment]
for _flag in (
    "is_sparse_csr", "is_mkldnn", "is_meta", "is_nested", "is_mps", "is_xla", "is_xpu", "is_vulkan", "is_ipu", "is_mtia", "is_maia",
):  # fmt: skip
    METHODS[_flag] = property(lambda self: False)  # type: ignore[assignment]
METHODS["layout"] = property(lambda self: strided)  # type: ignore[assignment]


@method("__repr__", "__str__")
def represent(self: Tensor, *, tensor_contents: Any = None) -> str:
    """The tensor as PyTorch prints it. It is computed."""
    return printing.show(self)


@method("__format__")
def format_(self: Tensor, specification: str) -> str:
    """A 0-d tensor formats as its number, others as their text."""
    if self.ndim == 0 and not self.requires_grad:
        return format(self.item(), specification)
    if self.ndim == 0 and specification:
        return format(self.item(), specification)
    return format(str(self), specification)


@method("is_set_to")
def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both show the same elements of one storage in the same way. Same as torch.Tensor.is_set_to."""
    layouts = [(tuple(t.shape), t.stride(), t.storage_offset()) for t in (self, tensor)]
    return self.storage is tensor.storage and layouts[0] == layouts[1]


@method("cpu")
def cpu(self: Tensor, memory_format: object = None) -> Tensor:
    """The tensor in host memory; itself if it is there. Same as torch.Tensor.cpu."""
    return convert(self, None, "cpu")


@method("cuda")
def cuda(self: Tensor, device_: Any = None, non_blocking: bool = False) -> Tensor:
    """The tensor on a CUDA device.

    Raises:
        AssertionError: there is none.
    """
    return convert(self, None, place_of(device("cuda", device_)))


@function("is_tensor", method=False)
def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor. Same as torch.is_tensor."""
    return isinstance(obj, Tensor)


@function("numel", method=False)
def numel(input: Tensor) -> int:
    """The number of elements. Same as torch.numel."""
    return input.numel()


@function("is_nonzero")
def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not zero.

    Raises:
        RuntimeError: there is not exactly one.
    """
    return bool(input)


@function("is_same_size")
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether the shapes are equal. Same as torch.Tensor.is_same_size."""
    return tuple(input.shape) == tuple(other.shape)


@method("pin_memory")
def pin_memory(self: Tensor) -> Tensor:
    """The tensor itself: host memory needs no pinning here."""
    return self


@method("is_pinned")
def is_pinned(self: Tensor, device: Any = None) -> bool:
    """False: host memory needs no pinning here."""
    return False


@function("is_distributed")
def is_distributed(input: Tensor) -> bool:
    """False. Same as torch.is_distributed."""
    return False


@function("is_signed", method=False)
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers. Same as torch.is_signed."""
    return input.dtype.is_signed


@function("is_inference", method=False)
def is_inference(input: Tensor) -> bool:
    """Whether the tensor was made in inference mode. Same as torch.is_inference."""
    return input.is_inference()


@method("__array_namespace__")
def array_namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """The functions of the Array API standard, as a module.

    Raises:
        ValueError: a version that is not there.
    """
    if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        raise ValueError(f"the Array API is there as of 2024.12, not {api_version!r}")
    return import_module("lazygrad.array_api")


@method("to_device")
def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on a device, as the Array API spells it.

    Raises:
        ValueError: a stream is given.
    """
    if stream is not None:
        raise ValueError("to_device: streams are not supported")
    moved: Tensor = self.to(device)
    return moved
