"""`Tensor`: a view of a storage, with PyTorch's metadata and autograd state.

Its operators are methods that `functional/` installs; they make results with `results.py`. Nothing is computed until a value is
read. To autograd a variable is a node: a leaf that requires grad is a STOP over its value, a recorded result is its operation's
node, and a tensor changed behind autograd's back is a STOP over its new value whose gradient goes on to the old node.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from . import reading
from .history import (
    AccumulateGrad,
    Counter,
    Extra,
    Hook,
    Record,
    RemovableHandle,
    Untracked,
    distinct,
    mode,
    record_class,
)
from .ir.node import Node
from .ir.op import Op
from .runtime.steady import STEADY
from .size import Size
from .storage import Storage
from .views import View, apply, contiguous, row_major

if TYPE_CHECKING:
    from .history import Versioned
    from .ir.dtype import DType
    from .runtime.device import Array
    from .signatures.methods import Methods
else:
    Methods = object

_PLAIN = frozenset((Op.BUFFER, Op.CONST, Op.IOTA, Op.ARGUMENT))
_new: Callable[[type[Tensor]], Tensor] = object.__new__


class Tensor(Methods):
    """A multi-dimensional array of one dtype, computed when it is read."""

    __slots__ = (
        "storage", "dtype", "_size", "_view", "_counter", "_record", "_index", "_requires", "_grad", "_node", "_stamp",
        "_extra", "__dict__", "__weakref__",
    )  # fmt: skip

    construct: ClassVar[Callable[..., Tensor] | None] = None
    """What `Tensor(...)` does: the legacy constructor, installed by functional/."""

    __array_priority__ = 1000
    __hash__ = object.__hash__

    storage: Storage
    dtype: DType
    _size: Size | None
    _view: View | None
    _counter: Versioned
    _record: Record | None
    _index: int
    _requires: bool
    _grad: Tensor | None
    _node: Node | None
    _stamp: int
    _extra: Extra | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        if Tensor.construct is None:
            raise TypeError("tensors are made by creation functions such as tensor() and zeros()")
        return Tensor.construct(*args, **kwargs)

    if TYPE_CHECKING:  # functional/ gives the class its operators when it is imported

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __iadd__(self, other: Any) -> Tensor: ...
        def __isub__(self, other: Any) -> Tensor: ...
        def __imul__(self, other: Any) -> Tensor: ...
        def __itruediv__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __lshift__(self, other: Any) -> Tensor: ...
        def __rshift__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __neg__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __getitem__(self, key: Any) -> Tensor: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...

    # --- the value as a node

    @property
    def node(self) -> Node:
        """The current value; for a tensor with history the very node that autograd knows it by."""
        if self._stamp != self.storage.writes:
            self._sync()
        if self._requires:
            if self._node is None:
                record = self._record
                if record is not None and record.nodes:
                    return record.nodes[self._index]
                self._node = self._raw().stop()
            return self._node
        return self._raw()

    def _raw(self) -> Node:
        """The current value without regard to autograd."""
        node = self.storage.current()
        view = self._view
        return node if view is None else view.replay(node)

    def _constant(self) -> Node:
        """The value as a recorded operation reads it of a tensor that needs no gradient: no path leads on from it."""
        node = self._raw()
        if node.op in _PLAIN:
            return node
        stopped = self._node
        if stopped is None or not stopped.src or stopped.src[0] is not node:
            stopped = self._node = node.stop()
        return stopped

    def _sync(self) -> None:
        """Take note of writes that other aliases made."""
        self._node = None
        view = self._view
        base = None if view is None else view.base
        if view is None or base is None:
            self._stamp = self.storage.writes
            if self._record is not None:
                self._node = self._raw().stop()
            return
        if not base.requires_grad or view.origin == "no_grad":
            self._stamp = self.storage.writes
            return
        below = base.node
        made = apply(view.from_base(), below)
        if made is below:
            made = distinct(made)
        self._record = record_class("AsStrided")((made,), (base._edge(),), (below,))
        self._index = 0
        self._requires = True
        self._stamp = self.storage.writes

    def _edge(self) -> tuple[Record | None, int]:
        """Where gradients of this tensor go."""
        requires = self.requires_grad
        record = self._record
        if record is not None:
            return record, self._index
        if not requires or (self._view is not None and self._view.origin == "no_grad"):
            return None, 0
        extra = self._extras()
        found = extra.accumulator() if extra.accumulator is not None else None
        if found is None:
            found = AccumulateGrad(self)
            extra.accumulator = weakref.ref(found)
        return found, 0

    def _extras(self) -> Extra:
        if self._extra is None:
            self._extra = Extra()
        return self._extra

    def _write(self, node: Node) -> None:
        """Replace every element, in the storage and all aliases, without recording it.

        Raises:
            RuntimeError: elements share memory.
        """
        from .results import overwrite

        overwrite(self, node)

    # --- metadata

    @property
    def shape(self) -> Size:
        size = self._size
        if size is None:
            view = self._view
            sizes = self.storage.node.shape if view is None else view.shape
            size = self._size = Size(sizes)  # type: ignore[arg-type]
        return size

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        shape = self.shape
        return shape if dim is None else shape[_axis(dim, len(shape))]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def dim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self.shape.numel()

    nelement = numel

    @property
    def place(self) -> str:
        """The name of the device that holds it."""
        return self.storage.node.place

    @property
    def strides(self) -> tuple[int, ...]:
        """The distance between neighbours on each axis, in elements."""
        return contiguous(self.shape) if self._view is None else self._view.stride

    def stride(self, dim: int | None = None) -> Any:
        """The distances between neighbours in memory, in elements, or that of one axis."""
        strides = self.strides
        return strides if dim is None else strides[_axis(dim, len(strides))]

    def storage_offset(self) -> int:
        """The first element's place in the storage."""
        return 0 if self._view is None else self._view.offset

    def is_contiguous(self, memory_format: object = None) -> bool:
        """Whether the elements lie row-major without gaps."""
        if self._view is None or 0 in self.shape:
            return True
        return row_major(self._view.shape, self._view.stride)

    def element_size(self) -> int:
        """The bytes of an element."""
        return self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self.dtype.itemsize

    def data_ptr(self) -> int:
        """The address of the first element. The value is computed, and stays at this address while nothing writes to it."""
        if 0 in self.shape:
            return 0
        return self.storage.realize().address + self.storage_offset() * self.dtype.itemsize

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return False

    def is_signed(self) -> bool:
        return self.dtype.is_signed

    # --- autograd

    @property
    def requires_grad(self) -> bool:
        if self._stamp != self.storage.writes:
            self._sync()
        return self._requires

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether gradients for this tensor are wanted.

        Raises:
            RuntimeError: not a leaf, not of a floating dtype, or made in inference mode.
        """
        if requires_grad == self.requires_grad:
            return self
        if self._record is not None:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
                "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
            )
        if requires_grad and not self.dtype.is_floating_point:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        if requires_grad and self.is_inference() and not mode.inference:
            raise RuntimeError(
                "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
            )
        STEADY.disturb()
        self._requires = bool(requires_grad)
        self._node = None
        return self

    @property
    def is_leaf(self) -> bool:
        return not self.requires_grad or self._record is None

    @property
    def grad_fn(self) -> Record | None:
        """The record of the operation that made it, if gradients go through it."""
        return self._record if self.requires_grad else None

    @property
    def output_nr(self) -> int:
        """Which output of its grad_fn it is."""
        return self._index

    @property
    def grad(self) -> Tensor | None:
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            reading.check_gradient(self, value)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def _version(self) -> int:
        return self._counter.version

    @property
    def _base(self) -> Tensor | None:
        return None if self._view is None else self._view.base

    def _is_view(self) -> bool:
        return self._base is not None

    @property
    def retains_grad(self) -> bool:
        return self._extra is not None and self._extra.retains

    def is_inference(self) -> bool:
        """Whether it was made in inference mode."""
        return isinstance(self._counter, Untracked)

    @property
    def data(self) -> Tensor:
        """The same memory as a tensor of no history. Writes to it are not seen by autograd's checks."""
        ahead = STEADY.ahead
        if ahead is not None:
            foreseen: Tensor | None = ahead.alias(self, True)
            if foreseen is not None:
                return foreseen
        alias = same_memory(self, Counter())
        if not alias.shape:
            alias._extras().indexable = True
        return alias

    @data.setter
    def data(self, value: Tensor) -> None:
        if (
            isinstance(value, Tensor)
            and value.storage is self.storage
            and value._view is self._view is None
        ):
            # `tensor.data -= ...` ends with this: the memory is the same
            self._counter = Counter(self._counter.version)
            self._node = None
            self._stamp = -1
            return
        STEADY.disturb()
        reading.check_data(self, value)
        counter = Counter(self._counter.version)
        alias = same_memory(value, counter)
        self.storage, self.dtype, self._size = alias.storage, alias.dtype, alias._size
        self._view, self._counter = alias._view, counter
        self._node = None
        self._stamp = -1 if self._record is not None else self.storage.writes

    def detach(self) -> Tensor:
        """The same memory as a tensor of no history; autograd's checks see writes to it."""
        ahead = STEADY.ahead
        if ahead is not None:
            foreseen: Tensor | None = ahead.alias(self, False)
            if foreseen is not None:
                return foreseen
        return same_memory(self, self._counter)

    def detach_(self) -> Tensor:
        """Forget the history.

        Raises:
            RuntimeError: it is a view.
        """
        if self._is_view():
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) for training, "
                "and gradient_as_bucket_view is set as True, gradients are views of DDP buckets, and hence detach_() cannot be "
                "called on these gradients."
            )
        STEADY.disturb()
        self._record = None
        self._index = 0
        self._requires = False
        self._node = None
        return self

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Add this tensor's gradients to the `.grad` of the leaves it was made of. See autograd.backward."""
        from .autograd.engine import backward

        ahead = STEADY.ahead
        if ahead is not None and gradient is inputs is None and not (retain_graph or create_graph):
            if ahead.backward(self):
                return
        backward(self, gradient, retain_graph, create_graph, inputs)

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is not a leaf in its `.grad`."""
        from .autograd.hooks import retain_grad

        retain_grad(self)

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """Call hook(grad) when the gradient of this tensor is known; what it returns replaces it."""
        from .autograd.hooks import register_hook

        return register_hook(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Hook) -> RemovableHandle:
        """Call hook(tensor) when a gradient has been added to this leaf's `.grad`."""
        from .autograd.hooks import register_post_accumulate_grad_hook

        return register_post_accumulate_grad_hook(self, hook)

    # --- reading

    def realize(self) -> Tensor:
        """Compute the value now."""
        reading.compute(self)
        return self

    def item(self) -> int | float | bool:
        """The only element as a Python number.

        Raises:
            RuntimeError: there is not exactly one.
        """
        return reading.item(self)

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return reading.tolist(self)

    def numpy(self, *, force: bool = False) -> Array:
        """The value as a numpy array on the same memory; `force` allows a copy where that is not possible.

        Raises:
            RuntimeError: the tensor requires grad.
            TypeError: numpy has no such dtype.
        """
        return reading.to_numpy(self, force)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return reading.to_array(self, dtype, copy)

    def __bool__(self) -> bool:
        return reading.truth(self)

    def __int__(self) -> int:
        return int(reading.scalar(self))

    def __float__(self) -> float:
        return float(reading.scalar(self))

    def __complex__(self) -> complex:
        return complex(reading.scalar(self))

    def __index__(self) -> int:
        return reading.index(self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        unbind: Callable[[Tensor, int], Sequence[Tensor]] = type(self).unbind  # type: ignore[attr-defined]
        return iter(unbind(self, 0))

    def __reversed__(self) -> Tensor:
        flip: Callable[[Tensor, Any], Tensor] = type(self).flip  # type: ignore[attr-defined]
        return flip(self, (0,)) if self.shape else self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return reading.deepcopy(self, memo)

    @classmethod
    def _make_subclass(cls, data: Tensor, require_grad: bool = False) -> Any:
        """A tensor of this class on the memory of `data`, with no history."""
        made = same_memory(data, data._counter, cls)
        if require_grad:
            made.requires_grad_()
        return made


# --- making tensors


def make(
    storage: Storage,
    dtype: DType,
    view: View | None,
    counter: Versioned,
    kind: type[Tensor] = Tensor,
) -> Tensor:
    made = _new(kind)
    made.storage = storage
    made.dtype = dtype
    made._size = None
    made._view = view
    made._counter = counter
    made._record = None
    made._index = 0
    made._requires = False
    made._grad = None
    made._node = None
    made._stamp = storage.writes
    made._extra = None
    return made


def same_memory(tensor: Tensor, counter: Versioned, kind: type[Tensor] = Tensor) -> Tensor:
    """A tensor of no history on the same storage."""
    view = tensor._view
    if view is not None:
        view = View(None, view.path, view.path, view.shape, view.stride, view.offset, "")
    return make(tensor.storage, tensor.dtype, view, counter, kind)


def _axis(dim: int, rank: int) -> int:
    limit = rank or 1
    if not -limit <= dim < limit:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})"
        )
    return dim % limit
