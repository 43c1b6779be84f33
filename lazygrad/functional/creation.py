"""Making tensors: from Python data, from numpy, from a value, from a range; and the *_like and new_* forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, cast

import numpy as np

from ..ir.dtype import BY_NAME, DType, bfloat16, bool_, float32, float64, int64
from ..ir.node import Node, accumulation, constant, iota, unary, where
from ..ir.op import Op
from ..results import from_external, from_node
from ..runtime import device as runtime_device
from ..runtime.plan import packer
from ..runtime.steady import STEADY
from ..storage import leaf as stored_leaf
from ..tensor import Tensor
from .arguments import (
    Number,
    as_dtype,
    as_number,
    check_number,
    integer,
    number_dtype,
    sizes,
    sizes_text,
    type_name,
)
from .devices import creation_place, place_like
from .registry import Outcome, function, method, write_out
from .settings import default_dtype

Shape = tuple[int, ...]
P = ParamSpec("P")


def leaf(node: Node, requires_grad: bool = False) -> Tensor:
    """A tensor with no history.

    Raises:
        RuntimeError: it should require grad but is not floating.
    """
    made = from_node(node)
    if requires_grad:
        if not node.dtype.is_floating_point:
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        made.requires_grad_(True)
    return made


def buffer_node(array: Any, dtype: DType, place: str) -> Node:
    """A leaf with a copy of a host array, whose dtype is `dtype` (for bfloat16: float32, converted on the device)."""
    stored = float32 if dtype is bfloat16 else dtype
    node = Node(Op.BUFFER, (), stored, tuple(array.shape), None, place)
    node.value = runtime_device.get(place).from_host(array)
    if STEADY.observer is not None:
        STEADY.observer.born(node.value)
    return node.cast(dtype)


def dtype_or_default(dtype: Any) -> DType:
    """The dtype given, or the default float dtype."""
    return default_dtype() if dtype is None else as_dtype(dtype)


def stored_zeros(like: Tensor) -> Tensor:
    """Zeros of a tensor's shape, dtype and device that are in memory at once: to every plan a leaf, never a constant."""
    return stored_full(like, 0)


def stored_full(like: Tensor, value: Number) -> Tensor:
    """The same for any number."""
    shape, storage = tuple(like.shape), like.dtype.storage
    element = np.array(packer(bfloat16)(value) if like.dtype is bfloat16 else value, storage)
    array = np.frombuffer(element.tobytes() * math.prod(shape), storage).reshape(shape)
    made = runtime_device.get(like.place).from_host(array)
    return leaf(stored_leaf(made, like.dtype, tuple(like.shape), like.place))


# --- from data


def _nested_shape(data: Any) -> Shape:
    """The shape of nested sequences, as the first elements have it."""
    shape: list[int] = []
    while isinstance(data, (list, tuple)) or (
        hasattr(data, "__len__") and not isinstance(data, (str, Tensor))
    ):
        if isinstance(data, np.ndarray):
            return (*shape, *data.shape)
        shape.append(len(data))
        if not len(data):
            break
        data = data[0]
    if isinstance(data, Tensor):
        shape.extend(data.shape)
    return tuple(shape)


def _flatten(data: Any, shape: Shape) -> list[Any]:
    """The elements of nested sequences, row by row.

    Raises:
        ValueError: a sequence is longer or shorter than `shape` says. TypeError: a number where a sequence should be.
    """
    level = [data]
    for depth, size in enumerate(shape):
        below: list[Any] = []
        for each in level:
            if isinstance(each, Tensor):
                each = each.tolist()
            if isinstance(each, str):
                raise TypeError("new(): invalid data type 'str'")
            if not hasattr(each, "__len__"):
                raise TypeError(
                    f"'{type(each).__name__}' object cannot be interpreted as a sequence of length {size}"
                )
            if len(each) != size:
                raise ValueError(
                    f"expected sequence of length {size} at dim {depth} (got {len(each)})"
                )
            below.extend(each)
        level = below
    return level


def _scalars(values: list[Any]) -> tuple[list[Number], DType]:
    """Python numbers, and the dtype that they have together."""
    numbers: list[Number] = []
    category = 0
    for value in values:
        if isinstance(value, (Tensor, np.generic)):
            value = value.item()
        if isinstance(value, bool):
            pass
        elif isinstance(value, int):
            category = category or 1
        elif isinstance(value, float):
            category = 2
        elif isinstance(value, (list, tuple)):
            raise TypeError(f"'{type(value).__name__}' object cannot be interpreted as an integer")
        elif isinstance(value, str):
            raise TypeError("new(): invalid data type 'str'")
        elif isinstance(value, complex):
            raise TypeError("new(): complex numbers are not supported")
        else:
            raise RuntimeError(f"Could not infer dtype of {type(value).__name__}")
        numbers.append(value)
    if not numbers:
        return numbers, default_dtype()
    return numbers, (bool_, int64, default_dtype())[category]


def dtype_of_array(array: Any) -> DType:
    """The dtype of a numpy array.

    Raises:
        TypeError: tensors have no such dtype.
    """
    found = BY_NAME.get(array.dtype.name)
    if found is None:
        raise TypeError(
            f"can't convert np.ndarray of type {array.dtype.type.__module__}.{array.dtype.type.__name__}. The only "
            "supported types are: float64, float32, float16, int64, int32, int16, int8, uint64, uint32, uint8, and bool."
        )
    return found


def _convert_numbers(numbers: list[Number], dtype: DType) -> list[Number]:
    if dtype.kind == "float":
        return [float(n) for n in numbers]
    if dtype is bool_:
        return [bool(n) for n in numbers]
    whole = [int(n) for n in numbers]
    for n in whole:
        if dtype is int64 and not -(2**63) <= n < 2**63:
            raise ValueError("Overflow when unpacking long long")
        check_number("tensor", n, dtype)
    limit = 1 << dtype.bits
    if dtype.kind == "uint":
        return [n % limit for n in whole]
    return list(whole)


def data_node(data: Any, dtype: DType | None, place: str) -> Node:
    """The node of Python data, a numpy array, or a numpy scalar."""
    dtype = None if dtype is None else as_dtype(dtype)
    if isinstance(data, np.ndarray):
        node = buffer_node(data, dtype_of_array(data), place)
        return node if dtype is None else node.cast(dtype)
    if isinstance(data, np.generic):
        dtype = dtype or BY_NAME.get(data.dtype.name)
        data = data.item()
    if isinstance(data, (list, tuple)) and data and isinstance(data[0], np.ndarray):
        same = {each.dtype.name for each in data if isinstance(each, np.ndarray)}
        if dtype is None and len(same) == 1:
            dtype = dtype_of_array(data[0])
    shape = _nested_shape(data)
    numbers, found = _scalars(_flatten(data, shape))
    dtype = dtype or found
    numbers = _convert_numbers(numbers, dtype)
    stored = "float32" if dtype is bfloat16 else dtype.storage
    return buffer_node(np.array(numbers, dtype=stored).reshape(shape), dtype, place)


@function("tensor", method=False)
def tensor(
    data: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:  # fmt: skip
    """A tensor with a copy of `data`.

    Args:
        data: a number, nested sequences of numbers, a numpy array, or a tensor.
        dtype: by default bool, int64 or the default float dtype, whichever the numbers need; an array's own.

    Raises:
        ValueError: sequences of different lengths. RuntimeError, TypeError: something that is no number.

    Same as torch.tensor.
    """
    if isinstance(data, Tensor):
        from .casting import convert
        from .shaping import clone

        place = place_like(data.place, device)
        return leaf(convert(clone(data.detach()), dtype, place).node, requires_grad)
    if isinstance(data, str):
        raise TypeError("new(): invalid data type 'str'")
    return leaf(data_node(data, dtype, creation_place(device)), requires_grad)


@function("as_tensor", method=False)
def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor: a tensor or a numpy array shares its memory where dtype and device allow. Same as torch.as_tensor."""
    if isinstance(data, Tensor):
        from .casting import convert

        return convert(data, dtype, None if device is None else creation_place(device))
    if isinstance(data, np.ndarray) and (dtype is None or dtype is dtype_of_array(data)):
        return from_numpy(data)
    return tensor(data, dtype=dtype, device=device)


@function("from_numpy", method=False)
def from_numpy(ndarray: Any) -> Tensor:
    """A tensor on the memory of a numpy array: writes to either are seen by both.

    Raises:
        TypeError: not an array, or one of a dtype that tensors do not have.
        ValueError: an array with negative strides, strides between elements, or another byte order.

    Same as torch.from_numpy.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    dtype = dtype_of_array(ndarray)
    if not ndarray.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is "
            "currently not supported."
        )
    if any(stride < 0 for stride in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not "
            "currently supported. (You can probably work around this by making a copy of your array with array.copy().)"
        )
    return from_external(ndarray, dtype)


# --- from a value


def filled(
    shape: Shape, value: Number, dtype: DType, place: str, requires_grad: bool = False
) -> Tensor:
    """A tensor with `value` in every element.

    Raises:
        RuntimeError: a negative size.
    """
    for size in shape:
        if size < 0:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {size}: {sizes_text(shape)}"
            )
    return leaf(constant(value, dtype, shape, place), requires_grad)


def _filler(name: str, value: Number, what: str) -> Callable[..., Tensor]:
    def run(
        *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
        layout: Any = None, pin_memory: bool = False, memory_format: Any = None,
    ) -> Tensor:  # fmt: skip
        shape = _shape(name, size)
        return filled(shape, value, dtype_or_default(dtype), creation_place(device), requires_grad)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = (
        f"A tensor of {what}.\n\n    Args:\n        size: sizes one by one, or one sequence.\n        dtype: the default float "
        f"dtype unless given.\n\n    Raises:\n        RuntimeError: a negative size.\n\n    Same as torch.{name}."
    )
    return _creator(name)(run)


def _creator(name: str) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Register a function that makes a tensor of the dtype asked for, which with out= is that of out."""

    def register(run: Callable[P, Tensor]) -> Callable[P, Tensor]:
        @wraps(run)
        def called(*args: Any, out: Tensor | None = None, **kwargs: Any) -> Tensor:
            if out is None:
                return run(*args, **kwargs)
            dtype = kwargs.setdefault("dtype", out.dtype)
            if dtype is not None and as_dtype(dtype) is not out.dtype:
                raise RuntimeError(
                    f"{name}: dtype {type_name(as_dtype(dtype))} does not match dtype of out parameter "
                    f"({type_name(out.dtype)})"
                )
            return write_out(name, Outcome(name, run(*args, **kwargs).node, ()), out)

        return function(name, method=False)(cast("Callable[P, Tensor]", called))

    return register


def _shape(name: str, size: Sequence[Any]) -> Shape:
    for each in size:
        if isinstance(each, (str, float)):
            raise TypeError(
                f"{name}(): argument 'size' (position 1) must be tuple of ints, not {type(each).__name__}"
            )
    return sizes(name, size)


zeros = _filler("zeros", 0, "zeros")
ones = _filler("ones", 1, "ones")
empty = _filler("empty", 0, "unspecified contents (zeros here)")


@_creator("full")
def full(
    size: Any, fill_value: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None,
) -> Tensor:  # fmt: skip
    """A tensor with `fill_value` in every element; its dtype is that of the number unless given. Same as torch.full."""
    value = as_number(fill_value.item() if isinstance(fill_value, Tensor) else fill_value)
    dtype = number_dtype(value) if dtype is None else as_dtype(dtype)
    check_number("full", value, dtype)
    return filled(_shape("full", (size,)), value, dtype, creation_place(device), requires_grad)


def _like(name: str, value: Number | None) -> Callable[..., Tensor]:
    def run(
        input: Tensor, *args: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
        layout: Any = None, memory_format: Any = None, **named: Any,
    ) -> Tensor:  # fmt: skip
        found = value
        if found is None:
            given = args[0] if args else named["fill_value"]
            found = as_number(given.item() if isinstance(given, Tensor) else given)
        place = place_like(input.place, device)
        return filled(
            tuple(input.shape),
            found,
            input.dtype if dtype is None else as_dtype(dtype),
            place,
            requires_grad,
        )

    run.__name__ = run.__qualname__ = name
    run.__doc__ = (
        f"As {name[:-5]}, with the shape, dtype and device of a tensor. Same as torch.{name}."
    )
    return function(name, method=False)(run)


zeros_like = _like("zeros_like", 0)
ones_like = _like("ones_like", 1)
empty_like = _like("empty_like", 0)
full_like = _like("full_like", None)


def _new(name: str, value: Number | None) -> None:
    def run(
        self: Tensor, *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
        fill_value: Any = None, layout: Any = None, pin_memory: bool = False,
    ) -> Tensor:  # fmt: skip
        found = value
        if found is None:
            if len(size) > 1:
                size, fill_value = size[:-1], size[-1]
            found = as_number(fill_value.item() if isinstance(fill_value, Tensor) else fill_value)
        place = place_like(self.place, device)
        return filled(
            _shape(name, size),
            found,
            self.dtype if dtype is None else as_dtype(dtype),
            place,
            requires_grad,
        )

    run.__name__ = run.__qualname__ = name
    run.__doc__ = (
        f"As {name[4:]}, with the dtype and device of this tensor. Same as torch.Tensor.{name}."
    )
    method(name)(run)


_new("new_zeros", 0)
_new("new_ones", 1)
_new("new_empty", 0)
_new("new_full", None)


@method("new_tensor")
def new_tensor(
    self: Tensor,
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor with a copy of `data`, and the dtype and device of this one. Same as torch.Tensor.new_tensor."""
    dtype = self.dtype if dtype is None else as_dtype(dtype)
    place = place_like(self.place, device)
    if isinstance(data, (Tensor, str)):
        from .casting import convert

        return leaf(convert(tensor(data), dtype, place).node, requires_grad)
    return leaf(data_node(data, dtype, place), requires_grad)


# --- ranges


def _range_dtype(dtype: DType | None, *numbers: Number) -> DType:
    if dtype is not None:
        return as_dtype(dtype)
    return default_dtype() if any(isinstance(n, float) for n in numbers) else int64


def _plain(value: Any) -> Number:
    return as_number(value.item() if isinstance(value, Tensor) else value)


@_creator("arange")
def arange(
    *bounds: Any, start: Any = None, end: Any = None, step: Any = None, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False, layout: Any = None,
) -> Tensor:  # fmt: skip
    """start, start + step, ... below end: arange(end), arange(start, end) or arange(start, end, step).

    Returns: int64 if all bounds are integers, else the default float dtype.

    Raises:
        RuntimeError: a zero step, or one that leads away from end.

    Same as torch.arange.
    """
    given = [_plain(bound) for bound in bounds]
    if end is not None:
        given.append(_plain(end))
    if len(given) == 1:
        given.insert(0, 0 if start is None else _plain(start))
    low, high = given[0], given[1]
    by = given[2] if len(given) > 2 else 1 if step is None else _plain(step)
    if by == 0:
        raise RuntimeError("arange: step must be nonzero")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"arange: unsupported range: {low} -> {high}")
    if (high - low) * by < 0:
        raise RuntimeError(
            f"arange: upper bound and lower bound inconsistent with step sign: start={low}, end={high}, step={by}"
        )
    dtype = _range_dtype(dtype, low, high, by)
    if dtype.kind != "float" and not int(by):
        raise ValueError("arange: step must be nonzero")
    if dtype is int64:  # PyTorch counts the elements of narrower integers by the bounds as they are
        low, high, by = int(low), int(high), int(by)
    if all(isinstance(n, int) for n in (low, high, by)):
        count = int(max(0, -((int(low) - int(high)) // int(by))))
    else:
        count = max(0, math.ceil((high - low) / by))
    place = creation_place(device)
    index = iota(count, int64, place)
    if dtype.kind == "float":
        node = index.cast(dtype if dtype.itemsize > 2 else float32)
        node = (node * float(by) + float(low)) if (low, by) != (0, 1) else node
    else:
        node = index * int(by) + int(low) if (low, by) != (0, 1) else index
    return leaf(node.cast(dtype), requires_grad)


@_creator("linspace")
def linspace(
    start: Any, end: Any, steps: int, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None,
) -> Tensor:  # fmt: skip
    """`steps` numbers from start to end, both included, equally far apart.

    Raises:
        RuntimeError: a negative number of steps.

    Same as torch.linspace: the first half counts from start, the second from end, so both ends are exact.
    """
    low, high, count = _plain(start), _plain(end), integer("linspace", "steps", steps)
    if count < 0:
        raise RuntimeError("linspace: number of steps must be non-negative")
    dtype = dtype_or_default(dtype)
    wide = dtype if dtype.kind == "float" else float64
    if dtype.kind != "float":
        low, high = int(low), int(high)
    place = creation_place(device)
    if count == 1:
        return leaf(constant(low, dtype, (1,), place), requires_grad)
    index = iota(count, int64, place)
    first, last = (constant(each, wide, (count,), place) for each in (low, high))
    step = (last - first) / float(max(count - 1, 1))  # every step rounds to the dtype, as PyTorch's
    forward = first + index.cast(wide) * step
    backward = last - ((count - 1) - index).cast(wide) * step
    node = where(index.lt(count // 2), forward, backward)
    if dtype.kind != "float":
        node = unary(Op.TRUNC, node)
    return leaf(node.cast(dtype), requires_grad)


@_creator("logspace")
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """base ** linspace(start, end, steps). Same as torch.logspace, whose integers are powers of fractions, cut at the end."""
    from .arithmetic import rpow

    found = dtype_or_default(dtype)
    if found.kind == "float":
        powers = linspace(start, end, steps, dtype=found, device=device)
        wide = powers.to(accumulation(found))
        return leaf(rpow(wide, base).node.cast(found), requires_grad)
    powers = linspace(int(_plain(start)), int(_plain(end)), steps, dtype=float64, device=device)
    return leaf(unary(Op.TRUNC, rpow(powers, base).node).cast(found), requires_grad)


@_creator("eye")
def eye(
    n: int, m: int | None = None, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None,
) -> Tensor:  # fmt: skip
    """Ones on the diagonal of an (n, m) matrix, zeros elsewhere. Same as torch.eye."""
    m = n if m is None else m
    if n < 0 or m < 0:
        raise RuntimeError(f"eye: n and m must be greater or equal to 0, got {n} and {m}")
    place = creation_place(device)
    rows = iota(n, int64, place).reshape((n, 1)).expand((n, m))
    columns = iota(m, int64, place).reshape((1, m)).expand((n, m))
    return leaf(rows.eq(columns).cast(dtype_or_default(dtype)), requires_grad)
