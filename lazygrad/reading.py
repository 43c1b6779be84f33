"""Values on their way to the user: computing, numbers, lists, numpy arrays; and the checks of what is assigned to a tensor.

In: tensors. Out: Python numbers, arrays on the tensor's memory. Reading a view computes its whole storage, and then goes by
strides, so that no read of a part costs a kernel.
"""

from __future__ import annotations

import copy as copying
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .history import AccumulateGrad, Record, distinct, mode
from .ir.dtype import bfloat16
from .ir.node import Node
from .runtime import device as devices
from .runtime.realize import realize as realize_nodes
from .runtime.steady import STEADY

if TYPE_CHECKING:
    from .runtime.device import Array
    from .tensor import Tensor


def realize(*values: Any) -> Any:
    """Compute tensors now, all in one plan, and wait for them.

    Args:
        values: tensors, and lists, tuples, dicts and sets of such, nested as they like. What else a container holds (None,
            numbers, text) is passed over, so a `state_dict()` can be given as it is.

    Returns: the argument itself, the tensors in it computed; a tuple of the arguments where there are several.

    Raises:
        TypeError: an argument is something else; nothing has been computed.
        IndexError, RuntimeError, ZeroDivisionError: a check on data failed; every tensor is as it was.

    Tensors with a history also keep what their gradients will read of expensive results, as every read does. Writes that wait
    for a reader are computed along.
    """
    nodes: dict[int, Node] = {}
    history: dict[int, Node] = {}
    ahead = STEADY.ahead
    if ahead is not None and len(values) == 1 and ahead.read(values[0]):
        return values[0]
    found = tensors(values)
    for tensor in found:
        node = tensor.storage.current()
        if node.value is None:
            nodes[id(node)] = node
            record = tensor._record
            if record is not None and tensor._requires:
                history.update((id(leaf), leaf) for leaf in leaves(record))
    if nodes:
        realize_nodes(list(nodes.values()), list(history.values()))
        for tensor in found:
            tensor.storage.current()  # lets go of what the values were made of
    return values[0] if len(values) == 1 else values


def tensors(values: Sequence[Any]) -> list[Tensor]:
    """The tensors among the arguments of `realize` and in their containers, in order."""
    from .tensor import Tensor

    found: list[Tensor] = []
    for position, value in enumerate(values):
        if not isinstance(value, (Tensor, *CONTAINERS)):
            kind = type(value).__name__
            hint = "; unpack it, as in realize(*tensors)" if hasattr(value, "__next__") else ""
            raise TypeError(
                f"realize(): argument {position + 1} must be a Tensor or a list, tuple, dict or set of Tensors, not {kind}{hint}"
            )
    pending = [*reversed(values)]
    entered: set[int] = set()  # a container may hold itself
    while pending:
        item = pending.pop()
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, CONTAINERS) and id(item) not in entered:
            entered.add(id(item))
            inside = item.values() if isinstance(item, Mapping) else item
            pending.extend(reversed(list(inside)))
    return found


CONTAINERS = (list, tuple, Mapping, set, frozenset)
"""What `realize` looks into."""


def compute(tensor: Tensor) -> None:
    """Compute the value; with a history, also what its gradients will read of expensive results."""
    ahead = STEADY.ahead
    if ahead is not None and ahead.read(tensor):
        return  # while an operator is made nobody is ahead
    mode.draws += 1
    storage = tensor.storage
    if not storage.computed():
        record = tensor._record
        history = leaves(record) if record is not None and tensor._requires else []
        storage.realize(history)


def leaves(record: Record) -> list[Node]:
    """The nodes of the leaves that gradients through this record would go to."""
    found: dict[int, Node] = {}
    seen = {id(record)}
    stack = [record]
    while stack:
        current = stack.pop()
        for (source, _), operand in zip(current.edges, current.operands):
            if source is None or operand is None:
                continue
            if isinstance(source, AccumulateGrad):
                found[id(operand)] = operand
            elif id(source) not in seen:
                seen.add(id(source))
                stack.append(source)
    return list(found.values())


def host(tensor: Tensor) -> Array:
    """The value as an array by strides on the storage's memory, to be read only; bfloat16 as its bits."""
    compute(tensor)
    if STEADY.observer is not None:
        STEADY.observer.read(tensor)
    return _array(tensor)


def _array(tensor: Tensor) -> Array:
    whole = tensor.storage.array()
    view = tensor._view
    return whole if view is None else _strided(whole, tensor)


def values(tensor: Tensor) -> Array:
    """The value as an array of numbers, to be read only: bfloat16 as float32."""
    array = host(tensor)
    return widened(array) if tensor.dtype is bfloat16 else array


def widened(bits: Array) -> Array:
    """bfloat16 bits as float32 numbers: the bits are the upper half."""
    halves = np.zeros((*bits.shape, 2), np.uint16)
    halves[..., 1 if halves.dtype.newbyteorder("=").str[0] == "<" else 0] = bits
    return halves.view(np.float32)[..., 0]


def item(tensor: Tensor) -> int | float | bool:
    count = tensor.numel()
    if count != 1:
        raise RuntimeError(f"a Tensor with {count} elements cannot be converted to Scalar")
    compute(tensor)
    number = _array(tensor).item()
    if tensor.dtype is bfloat16:
        number = struct.unpack("f", struct.pack("I", number << 16))[0]
    value: int | float | bool = number
    return value if STEADY.observer is None else STEADY.observer.item(tensor, value)


def scalar(tensor: Tensor) -> int | float | bool:
    """The number that float(), int() and complex() ask for."""
    if tensor.numel() != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    return item(tensor)


def tolist(tensor: Tensor) -> Any:
    return values(tensor).tolist()


def to_numpy(tensor: Tensor, force: bool) -> Array:
    if tensor.requires_grad and not force:
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    if tensor.dtype is bfloat16:
        if force:
            return values(tensor)
        raise TypeError("Got unsupported ScalarType BFloat16")
    place = tensor.place
    if not isinstance(devices.get(place), devices.HostDevice):
        if force or place == devices.default().name:  # a script that says "cpu" runs there
            return host(tensor)
        raise TypeError(
            f"can't convert {place} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
        )
    return exposed(tensor)


def exposed(tensor: Tensor) -> Array:
    """An array on the memory of a tensor on the host, which the outside sees from now on; bfloat16 as its bits."""
    compute(tensor)
    whole = tensor.storage.expose()
    return whole if tensor._view is None else _strided(whole, tensor)


def _strided(whole: Array, tensor: Tensor) -> Array:
    """The tensor's elements in the memory of its storage."""
    if 0 in tensor.shape:
        return np.zeros(tuple(tensor.shape), tensor.dtype.storage)  # it may begin behind the end
    size = tensor.dtype.itemsize
    strides = tuple([step * size for step in tensor.strides])
    offset = tensor.storage_offset() * size
    return np.ndarray(tuple(tensor.shape), tensor.dtype.storage, whole, offset, strides)


def to_array(tensor: Tensor, dtype: Any, copy: bool | None) -> Array:
    """What numpy asks of an object that it makes an array of."""
    array = to_numpy(tensor, False)
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        return array.astype(dtype)
    return array.copy() if copy else array


def truth(tensor: Tensor) -> bool:
    count = tensor.numel()
    if count == 1:
        return bool(item(tensor))
    if count == 0:
        raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
    raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")


def index(tensor: Tensor) -> int:
    if tensor.numel() != 1 or tensor.dtype.is_floating_point:
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(item(tensor))


# --- memory from outside


def write_through(tensor: Tensor, node: Node) -> None:
    """Compute `node` now and put its elements where the tensor lies in memory that the outside sees."""
    if node.value is None:
        realize_nodes((node,))
    whole = tensor.storage.pinned()
    assert whole is not None
    computed = devices.get(node.place).view(node.value, node.dtype, node.shape)
    target = whole if tensor._view is None else _strided(whole, tensor)
    np.copyto(target, computed)


def flatten_memory(array: Array) -> tuple[Array, tuple[int, ...]]:
    """The memory that a strided array spans, as a flat array on it, and the strides in elements.

    Raises:
        ValueError: a stride is negative or no multiple of the element size, as PyTorch's from_numpy does.
    """
    size = array.itemsize
    if any(step < 0 for step in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not "
            "currently supported. (You can probably work around this by making a copy of your array with array.copy().)"
        )
    if any(step % size for step in array.strides):
        raise ValueError("given numpy array strides not a multiple of the element byte size.")
    stride = tuple([step // size for step in array.strides])
    extent = 1 + sum((n - 1) * step for n, step in zip(array.shape, stride)) if array.size else 0
    return np.lib.stride_tricks.as_strided(array, (extent,), (size,)), stride


# --- assignments, copies


def check_gradient(tensor: Tensor, value: object) -> None:
    """Whether `value` may become `tensor.grad`."""
    from .tensor import Tensor

    if not isinstance(value, Tensor):
        raise TypeError(
            f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
        )
    if value is tensor:
        raise RuntimeError("can't assign Variable as its own grad")
    if value.dtype is not tensor.dtype:
        raise RuntimeError(
            f"attempting to assign a gradient with dtype '{value.dtype.name}' to a tensor with grad_dtype "
            f"'{tensor.dtype.name}'. The gradient must match the tensor's grad_dtype (defaults to the tensor's dtype)."
        )
    if value.place != tensor.place:
        raise RuntimeError(
            f"attempting to assign a gradient with device type '{value.place}' to a tensor with device type "
            f"'{tensor.place}'. Please ensure that the gradient and the tensor are on the same device"
        )
    if value.shape != tensor.shape:
        raise RuntimeError(
            f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
            f"'{list(tensor.shape)}'. Please ensure that the gradient and the tensor are the same size"
        )


def check_data(tensor: Tensor, value: object) -> None:
    """Whether `value` may become `tensor.data`."""
    from .tensor import Tensor

    if not isinstance(value, Tensor):
        raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
    if tensor._requires and not value.dtype.is_floating_point:
        raise RuntimeError(
            "data set to a tensor that requires gradients must be floating point or complex dtype"
        )


def deepcopy(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    """A leaf with memory of its own, with its gradient and attributes."""
    if not tensor.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment."
        )
    if id(tensor) in memo:
        found: Tensor = memo[id(tensor)]
        return found
    from .storage import Storage
    from .tensor import make
    from .views import View

    copies: dict[int, Storage] = memo.setdefault(id(Storage), {})
    storage = copies.get(id(tensor.storage))
    if storage is None:  # tensors that share memory share that of the copy
        storage = copies[id(tensor.storage)] = Storage(distinct(tensor.storage.current()))
        if tensor.storage.pinned() is not None:  # the outside may change it later
            storage.realize()
    view = tensor._view
    if view is not None:
        view = View(None, view.path, view.path, view.shape, view.stride, view.offset, "")
    made = make(storage, tensor.dtype, view, storage, type(tensor))
    made._requires = tensor._requires
    memo[id(tensor)] = made
    if tensor._grad is not None:
        made._grad = copying.deepcopy(tensor._grad, memo)
    made.__dict__.update(copying.deepcopy(tensor.__dict__, memo))
    return made
