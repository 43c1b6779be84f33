"""The old constructors: `Tensor(2, 3)`, `FloatTensor([1, 2])`; their use as dtypes in `.type(FloatTensor)`; other old names: range, new, apply_, ...

In: sizes or data, as the first versions of PyTorch took them. Out: tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import dtype as dtypes
from ..ir.dtype import BY_NAME, DType
from ..tensor import Tensor
from .arguments import as_dtype, as_number
from .creation import arange, empty, filled, tensor
from .devices import creation_place
from .registry import function, method
from .settings import default_dtype


class tensortype(type):
    """The class of FloatTensor and its like: calling makes a tensor, isinstance asks for the dtype."""

    dtype: DType
    is_cuda: bool

    def __call__(cls, *args: Any, **_: Any) -> Tensor:
        return construct(cls.dtype, args, device="cuda" if cls.is_cuda else None)

    def __instancecheck__(cls, instance: object) -> bool:
        if not isinstance(instance, Tensor) or instance.dtype is not cls.dtype:
            return False
        return instance.place.startswith("cuda") is (
            cls.is_cuda or creation_place("cpu").startswith("cuda")
        )

    def __repr__(cls) -> str:
        return f"<class '{cls.__module__}.{cls.__name__}'>"

    __str__ = __repr__


def construct(
    dtype: DType, args: tuple[Any, ...], named: dict[str, Any] | None = None, device: Any = None
) -> Tensor:
    """A tensor of `dtype`: of sizes given one by one (contents unspecified), or with a copy of data.

    Raises:
        TypeError: a float where a size or a sequence should be.
    """
    if not args:
        return filled((0,), 0, dtype, creation_place(device))
    first = args[0]
    if len(args) == 1:
        if isinstance(first, Tensor):
            if first.dtype is not dtype:
                from .arguments import type_name

                raise TypeError(
                    f"expected {type_name(dtype)}Tensor (got {type_name(first.dtype)}Tensor); use .type() or tensor()"
                )
            return first.detach()
        from ..size import Size

        if isinstance(first, Size):
            return empty(first, dtype=dtype, device=device)
        if isinstance(first, (list, tuple, np.ndarray)):
            return tensor(first, dtype=dtype, device=device)
    for each in args:
        if isinstance(each, (float, str)) or not hasattr(each, "__index__"):
            raise TypeError(f"new(): data must be a sequence (got {type(each).__name__})")
    return empty(*args, dtype=dtype, device=device)


def _make(name: str, dtype: DType, cuda: bool) -> tensortype:
    module = "torch.cuda" if cuda else "torch"
    return tensortype(name, (), {"dtype": dtype, "__module__": module, "is_cuda": cuda})


NAMES = {
    "FloatTensor": dtypes.float32, "DoubleTensor": dtypes.float64, "HalfTensor": dtypes.float16,
    "BFloat16Tensor": dtypes.bfloat16, "LongTensor": dtypes.int64, "IntTensor": dtypes.int32,
    "ShortTensor": dtypes.int16, "CharTensor": dtypes.int8, "ByteTensor": dtypes.uint8, "BoolTensor": dtypes.bool_,
}  # fmt: skip

CLASSES: dict[str, tensortype] = {name: _make(name, dtype, False) for name, dtype in NAMES.items()}
"""FloatTensor and its like, by name."""
CUDA_CLASSES: dict[str, tensortype] = {
    name: _make(name, dtype, True) for name, dtype in NAMES.items()
}
"""cuda.FloatTensor and its like."""

_NAME_OF = {dtype: name for name, dtype in NAMES.items()}


def type_of(input: Tensor) -> str:
    """The name of a tensor's class, "torch.FloatTensor"."""
    module = "torch.cuda" if input.place.startswith("cuda") else "torch"
    return f"{module}.{_NAME_OF.get(input.dtype, input.dtype.name)}"


def place_named(value: Any, input: Tensor) -> str | None:
    """Where `input.type(value)` is: a class is of one sort of device, "cpu" the one that DEVICE names; None where the tensor stays."""
    if not isinstance(value, tensortype) and not (
        isinstance(value, str) and value.rpartition(".")[2] in NAMES
    ):
        return None
    cuda = is_cuda_class(value)
    if cuda is input.place.startswith("cuda"):
        return None
    return creation_place("cuda" if cuda else "cpu")


def is_cuda_class(value: Any) -> bool:
    """Whether a class, or its name, is one of CUDA's."""
    if isinstance(value, tensortype):
        return value.is_cuda
    return isinstance(value, str) and value.startswith("torch.cuda.")


def dtype_named(value: Any) -> DType:
    """The dtype that a dtype, a class such as FloatTensor, or its name means.

    Raises:
        ValueError: an unknown name. RuntimeError: something else.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, tensortype):
        return value.dtype
    if value is Tensor:
        return default_dtype()
    if isinstance(value, str):
        name = value.rpartition(".")[2]
        if name in NAMES:
            return NAMES[name]
        if name in BY_NAME and value == f"torch.{name}":
            return BY_NAME[name]
        raise ValueError(f"invalid type: '{value}'")
    raise RuntimeError("invalid type object")


def _construct(*args: Any, **named: Any) -> Tensor:
    return construct(default_dtype(), args, named)


Tensor.construct = staticmethod(_construct)


# --- older functions and methods


@function("range", method=False)
def range_(
    start: float, end: float, step: float = 1, *, dtype: DType | None = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """start, start + step, ... up to `end`, which belongs to it. Same as torch.range.

    Raises:
        RuntimeError: a zero step, or one that leads away from `end`.
    """
    if step == 0:
        raise RuntimeError("range: step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    found = default_dtype() if dtype is None else as_dtype(dtype)
    count = int((end - start) / step) + 1
    made = arange(0, count, dtype=found if found.kind == "float" else None, device=device)
    made = (made * step + start).to(found)
    return made.requires_grad_() if requires_grad else made


@function("scalar_tensor", method=False)
def scalar_tensor(
    s: Any, *, dtype: DType | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A number as a tensor of no axes, of the default float dtype unless told otherwise. Same as torch.scalar_tensor."""
    found = default_dtype() if dtype is None else as_dtype(dtype)
    return filled((), as_number(s), found, creation_place(device), requires_grad)


@method("new")
def new(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """A tensor of this one's dtype and device: of sizes given one by one, or with a copy of data. Same as torch.Tensor.new."""
    return construct(self.dtype, args, device=self.device if device is None else device)


@function("get_device")
def get_device(input: Tensor) -> int:
    """The number of the GPU that holds the tensor; -1 for the host. Same as torch.Tensor.get_device."""
    index: int | None = input.device.index
    return -1 if index is None or input.is_cpu else index


@method("apply_")
def apply_(self: Tensor, callable: Any) -> Tensor:
    """Replace each element by callable(element), in Python. Same as torch.Tensor.apply_."""
    return _each(self, "apply_", callable, self)


@method("map_")
def map_(self: Tensor, tensor: Tensor, callable: Any) -> Tensor:
    """Replace each element by callable(element, element of `tensor`), which broadcasts. Same as torch.Tensor.map_."""
    return _each(self, "map_", callable, self, tensor)


@method("map2_")
def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Any) -> Tensor:
    """As `map_` with two more tensors. Same as torch.Tensor.map2_."""
    return _each(self, "map2_", callable, self, x, y)


def _each(target: Tensor, name: str, callable: Any, *tensors: Tensor) -> Tensor:
    if any(each.requires_grad for each in tensors):
        raise RuntimeError(f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead.")  # fmt: skip
    shape = tuple(target.shape)
    columns = [each.expand(shape).reshape(-1).tolist() for each in tensors]
    made = [callable(*values) for values in zip(*columns, strict=True)]
    filled_: Tensor = target.copy_(
        tensor(made, dtype=target.dtype, device=target.device).reshape(shape)
    )
    return filled_
