"""What operators do with their arguments before they build: promotion, broadcasting, axes, and the text of errors.

In: what the user passed. Out: nodes of one dtype and shape, non-negative axes, Python numbers; or an exception of PyTorch's type
whose message begins with the operator and ends with where the operands were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from ..ir.build import copy
from ..ir.dtype import DType, bool_, float64, int64, promote
from ..ir.node import Node, Shape, constant
from ..ir.op import Op
from ..results import tensor_nodes
from ..site import describe
from ..tensor import Tensor
from .settings import default_dtype

Number = int | float | bool
Operand = Tensor | Number

_TYPE_NAMES = {
    "float64": "Double", "float32": "Float", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long", "int32": "Int",
    "int16": "Short", "int8": "Char", "uint8": "Byte", "uint32": "UInt32", "uint64": "UInt64", "bool": "Bool",
}  # fmt: skip


def type_name(dtype: DType) -> str:
    """PyTorch's C++ name of a dtype, which its messages use."""
    return _TYPE_NAMES[dtype.name]


def sizes_text(shape: Iterable[Any]) -> str:
    """A shape as PyTorch's messages write it: [2, 3]."""
    return "[" + ", ".join(map(str, shape)) + "]"


def tensor_text(tensor: Tensor) -> str:
    """A tensor as messages name it: float32[2, 3]."""
    return f"{tensor.dtype.name}{sizes_text(tensor.shape)}"


def describe_operands(**operands: Tensor | Sequence[Tensor] | Number | None) -> str:
    """Lines that say what each operand is and where it was made; they begin with a line break, or are nothing."""
    lines = []
    width = max((len(name) for name in operands), default=0)
    for name, value in operands.items():
        tensors = (
            [value]
            if isinstance(value, Tensor)
            else value
            if isinstance(value, (list, tuple))
            else []
        )
        for each in tensors:
            place = describe(each.node.site)
            made = f"  made at {place}" if place else ""
            lines.append(f"\n    {name:<{width}} {tensor_text(each)}{made}")
    return "".join(lines)


# --- numbers


def as_number(value: Any) -> Number:
    """A Python number: numpy scalars become one."""
    if isinstance(value, (bool, int, float)):
        return value
    if hasattr(value, "dtype") and hasattr(value, "item"):
        number = value.item()
        if isinstance(number, (bool, int, float)):
            return number
    if hasattr(value, "__index__"):
        return int(value.__index__())
    raise TypeError(f"expected a number, not {type(value).__name__}")


def number_dtype(value: Number) -> DType:
    """The dtype that a tensor made of this number has."""
    if isinstance(value, bool):
        return bool_
    return int64 if isinstance(value, int) else default_dtype()


def integer(name: str, argument: str, value: Any) -> int:
    """An int argument.

    Raises:
        TypeError: it is not an integer.
    """
    if isinstance(value, Tensor):
        if value.numel() == 1 and not value.dtype.is_floating_point:
            return int(value.item())
    elif not isinstance(value, (bool, float, str)) and hasattr(value, "__index__"):
        return int(value.__index__())
    raise TypeError(f"{name}(): argument '{argument}' must be int, not {type(value).__name__}")


def require_tensor(name: str, argument: str, position: int, value: object) -> None:
    """Check that an argument is a tensor.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}(): argument '{argument}' (position {position}) must be Tensor, not {type(value).__name__}"
        )


def sizes(name: str, arguments: Sequence[Any]) -> tuple[int, ...]:
    """Sizes given either one by one or as one sequence."""
    if len(arguments) == 1 and isinstance(arguments[0], (tuple, list)):
        arguments = arguments[0]
    return tuple([a if type(a) is int else integer(name, "size", a) for a in arguments])


def as_dtype(value: Any) -> DType:
    """A dtype argument: also Python's bool, int and float.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, DType):
        return value
    for kind, dtype in ((bool, bool_), (int, int64), (float, float64)):
        if value is kind:
            return dtype
    raise TypeError(f"argument 'dtype' must be torch.dtype, not {type(value).__name__}")


# --- promotion


def result_type(*operands: Operand) -> DType:
    """The dtype of a result: tensors with dimensions decide, then 0-d tensors, then numbers, each only to raise the category."""
    tiers: list[DType | None] = [None, None, None]
    for operand in operands:
        if isinstance(operand, Tensor):
            tier, dtype = (0 if operand.shape else 1), operand.dtype
        else:
            tier, dtype = 2, number_dtype(operand)
        before = tiers[tier]
        tiers[tier] = dtype if before is None else promote(before, dtype)
    combined: DType | None = None
    for lower in reversed(tiers):
        combined = _raise_category(lower, combined)
    assert combined is not None
    return combined


def _raise_category(higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None or lower is None:
        return lower if higher is None else higher
    return lower if lower.category > higher.category else higher


def can_cast(source: DType, target: DType) -> bool:
    """Whether PyTorch's in-place operators may store a result of dtype `source` in a tensor of `target`."""
    if source.kind == "float" and target.kind != "float":
        return False
    return source.kind == "bool" or target.kind != "bool"


def require_castable(name: str, source: DType, target: DType) -> None:
    """Check that a result may be stored in a tensor of `target`.

    Raises:
        RuntimeError: it may not.
    """
    if not can_cast(source, target):
        raise RuntimeError(
            f"{name}: result type {type_name(source)} can't be cast to the desired output type "
            f"{type_name(target)}"
        )


def compute_dtype(dtype: DType) -> DType:
    """The float dtype that a float-valued function of `dtype` has: integers and bool become the default dtype."""
    return dtype if dtype.kind == "float" else default_dtype()


# --- broadcasting


def broadcast_shapes(name: str, *shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that all of `shapes` broadcast to.

    Raises:
        RuntimeError: two sizes on one axis differ and neither is 1.
    """
    rank = max((len(shape) for shape in shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        offset = rank - len(shape)
        for axis, size in enumerate(shape, offset):
            if size == out[axis] or size == 1:
                continue
            if out[axis] != 1:
                raise RuntimeError(
                    f"{name}: The size of tensor a ({out[axis]}) must match the size of tensor b ({size}) at "
                    f"non-singleton dimension {axis}: "
                    + " and ".join(sizes_text(shape) for shape in shapes)
                )
            out[axis] = size
    return tuple(out)


def broadcast_shape_of(name: str, *operands: Operand) -> tuple[int, ...]:
    """The shape that operands broadcast to; numbers have any shape."""
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    shape = tuple(tensors[0].shape)
    if all(tensor.shape == shape for tensor in tensors):
        return shape
    try:
        return broadcast_shapes(name, *(tuple(tensor.shape) for tensor in tensors))
    except RuntimeError as error:
        raise RuntimeError(f"{error}{describe_operands(operand=tensors)}") from None


def elementwise_nodes(
    name: str, *operands: Operand, dtype: DType | None = None
) -> tuple[list[Node], DType, tuple[int, ...]]:
    """The operands as nodes of one dtype (the promoted one unless given) and one shape.

    Raises:
        RuntimeError: the shapes do not broadcast; the tensors are on different devices.
    """
    if len(operands) == 2:
        found = _alike(operands[0], operands[1], dtype)
        if found is not None:
            return found
    shape = broadcast_shape_of(name, *operands)
    if dtype is None:
        dtype = result_type(*operands)
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    rest = iter(tensor_nodes(*tensors))
    place = broadcast_place(name, tensors)
    nodes = []
    for operand in operands:
        if isinstance(operand, Tensor):
            node = copy(next(rest), place)
            if node.dtype is not dtype:
                node = node.cast(dtype)
            nodes.append(node if node.shape == shape else node.expand(shape))
        else:
            nodes.append(constant(operand, dtype, shape, place))
    return nodes, dtype, shape


def _alike(
    left: Operand, right: Operand, dtype: DType | None
) -> tuple[list[Node], DType, tuple[int, ...]] | None:
    """The nodes of the most frequent pairs, which need no promotion: made with few questions."""
    if not isinstance(left, Tensor) or (dtype is not None and dtype is not left.dtype):
        return None
    kind = left.dtype
    if isinstance(right, Tensor):
        if right.dtype is not kind:
            return None
        first, second = tensor_nodes(left, right)
        if first.place != second.place:
            return None
        shape = first.shape
        if shape != second.shape:
            sizes = _common_shape(shape, second.shape)
            if sizes is None:
                return None
            if shape != sizes:
                first = Node(Op.EXPAND, (first,), kind, sizes)
            if second.shape != sizes:
                second = Node(Op.EXPAND, (second,), kind, sizes)
            shape = sizes
    else:
        if number_dtype(right).category > kind.category:
            return None
        (first,) = tensor_nodes(left)
        shape = first.shape
        second = constant(right, kind, shape, first.place)
    return [first, second], kind, shape  # type: ignore[return-value]


@lru_cache(4096)
def _common_shape(left: Shape, right: Shape) -> Shape | None:
    """The shape that two shapes broadcast to; None where they do not."""
    short, long = sorted((left, right), key=len)
    short = (1,) * (len(long) - len(short)) + short
    if any(m != n and m != 1 and n != 1 for m, n in zip(short, long, strict=True)):
        return None
    return tuple(n if m == 1 else m for m, n in zip(short, long, strict=True))


def common_place(name: str, tensors: Sequence[Tensor]) -> str:
    """The device of the operands.

    Raises:
        RuntimeError: there are two.
    """
    place = tensors[0].place
    for tensor in tensors[1:]:
        if tensor.place != place:
            raise RuntimeError(
                f"{name}: Expected all tensors to be on the same device, but found at least two devices, "
                f"{place} and {tensor.place}!" + describe_operands(operand=tensors)
            )
    return place


def broadcast_place(name: str, tensors: Sequence[Tensor]) -> str:
    """The device of operands that broadcast: to those of another device, a 0-d tensor of the host is a number.

    Raises:
        RuntimeError: there are two all the same.
    """
    place = tensors[0].place
    if all(tensor.place == place for tensor in tensors):
        return place
    return common_place(name, [t for t in tensors if t.ndim or t.place != "cpu"] or tensors)


def check_number(name: str, value: Number, dtype: DType) -> None:
    """A number given as a value of `dtype` must fit it.

    Raises:
        RuntimeError: it overflows.
    """
    if dtype.is_integer and dtype is not int64 and not isinstance(value, float):
        low = -(1 << dtype.bits - 1) if dtype.kind == "int" else 0
        high = (1 << dtype.bits - (dtype.kind == "int")) - 1
        if not low <= value <= high and not (dtype.kind == "uint" and -high <= value < 0):
            raise RuntimeError(
                f"{name}: value cannot be converted to type {dtype.name} without overflow"
            )


# --- axes


def axis(dim: Any, rank: int, name: str = "") -> int:
    """A non-negative axis; a 0-d tensor has one axis, as in PyTorch.

    Raises:
        IndexError: out of range.
    """
    if type(dim) is not int:
        dim = integer(name or "dim", "dim", dim)
    limit = rank or 1
    if not -limit <= dim < limit:
        raise IndexError(
            (f"{name}: " if name else "")
            + f"Dimension out of range (expected to be in range of [{-limit}, "
            f"{limit - 1}], but got {dim})"
        )
    return int(dim) % limit


def axes(dims: Any, rank: int, name: str = "") -> tuple[int, ...]:
    """The axes a reduction goes over, sorted: one, several, or all for None and ().

    Raises:
        IndexError: one is out of range.
        RuntimeError: one appears twice; the tensor has more than 64 axes.
    """
    if rank > 64:
        raise RuntimeError(f"{name}: only tensors with up to 64 dims are supported")
    if dims is None or (isinstance(dims, (tuple, list)) and not dims):
        return tuple(range(rank))
    if not isinstance(dims, (tuple, list)):
        dims = (dims,)
    found = [axis(dim, rank, name) for dim in dims]
    for each in found:
        if found.count(each) > 1:
            raise RuntimeError(f"{name}: dim {each} appears multiple times in the list of dims")
    return tuple(sorted(found)) if rank else ()


def no_kernel(name: str, dtype: DType) -> NotImplementedError:
    """PyTorch's error for a dtype that an operation is not made for."""
    return NotImplementedError(f"{name}: \"{name}_cpu\" not implemented for '{type_name(dtype)}'")


def require_floating(name: str, tensor: Tensor) -> None:
    """Check that a tensor is floating.

    Raises:
        NotImplementedError: it is not.
    """
    if not tensor.dtype.is_floating_point:
        raise NotImplementedError(
            f"{name}: expected a floating point tensor, but got {tensor_text(tensor)}"
            + describe_operands(input=tensor)
        )
