"""`Tensor`: a view of a storage, with PyTorch's metadata and autograd state; and how operators make results of tensors.

In: nodes, built by the operators of `functional/`. Out: tensors. Nothing is computed until a value is read.

An operator asks `tensor_nodes` for the nodes to build on, builds its node, and hands it to `result`, `results` (several outputs),
`view` (a result that aliases its input) or `result_inplace`. Those record history (history.py) where it is wanted. To autograd
a variable is a node: a leaf that requires grad is a STOP over its value, a recorded result is its operation's node, and a
tensor changed behind autograd's back is a STOP over its new value whose gradient goes on to the old node.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from . import reading
from .history import AccumulateGrad, Counter, Extra, Hook, Record, RemovableHandle, mode, record_class
from .ir.node import Node
from .ir.op import Op
from .runtime.realize import before_write, deep
from .runtime.steady import DEPTH_BUDGET
from .site import describe, here
from .size import Size
from .storage import Storage, wrap
from .views import Step, Strided, View, apply, contiguous, overlaps, write

if TYPE_CHECKING:
    from .history import Versioned
    from .ir.dtype import DType
    from .runtime.device import Array

_PLAIN = frozenset((Op.BUFFER, Op.CONST, Op.IOTA, Op.ARGUMENT))
_new: Callable[[type[Tensor]], Tensor] = object.__new__


class Tensor:
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
        made = apply(view.steps, below)
        if made is below:
            made = _alias(made)
        self._record = record_class("AsStrided")((made,), (base._edge(),), (below,))
        self._index = 0
        self._requires = True
        self._stamp = self.storage.writes

    def _edge(self) -> tuple[Record | None, int]:
        """Where gradients of this tensor go."""
        record = self._record
        if record is not None:
            return record, self._index
        if not self._requires or (self._view is not None and self._view.origin == "no_grad"):
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
        _store(self, node)
        self._counter.version += 1

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
        expected = contiguous(self.shape)
        return all(n == 1 or a == b for n, a, b in zip(self.shape, self.strides, expected))

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
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
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
        return isinstance(self._counter, _NoCounter)

    @property
    def data(self) -> Tensor:
        """The same memory as a tensor of no history. Writes to it are not seen by autograd's checks."""
        alias = _same_memory(self, Counter())
        if not alias.shape:
            alias._extras().indexable = True
        return alias

    @data.setter
    def data(self, value: Tensor) -> None:
        reading.check_data(self, value)
        counter = Counter(self._counter.version)
        alias = _same_memory(value, counter)
        self.storage, self.dtype, self._size = alias.storage, alias.dtype, alias._size
        self._view, self._counter = alias._view, counter
        self._node = None
        self._stamp = -1 if self._record is not None else self.storage.writes

    def detach(self) -> Tensor:
        """The same memory as a tensor of no history; autograd's checks see writes to it."""
        return _same_memory(self, self._counter)

    def detach_(self) -> Tensor:
        """Forget the history.

        Raises:
            RuntimeError: it is a view.
        """
        if self._is_view():
            raise RuntimeError("Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) for training, "
                "and gradient_as_bucket_view is set as True, gradients are views of DDP buckets, and hence detach_() cannot be "
                "called on these gradients.")
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
        reading.realize(self)
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
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

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
        made = _same_memory(data, data._counter, cls)
        if require_grad:
            made.requires_grad_()
        return made


class _NoCounter(Counter):
    """The counter of a tensor made in inference mode, which autograd does not follow."""

    __slots__ = ()


# --- making tensors


def _make(
    storage: Storage, dtype: DType, view: View | None, counter: Versioned, kind: type[Tensor] = Tensor
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


def _same_memory(tensor: Tensor, counter: Versioned, kind: type[Tensor] = Tensor) -> Tensor:
    """A tensor of no history on the same storage."""
    view = tensor._view
    if view is not None:
        view = View(None, view.path, view.path, view.shape, view.stride, view.offset, "")
    return _make(tensor.storage, tensor.dtype, view, counter, kind)


def from_node(node: Node) -> Tensor:
    """A new leaf whose value is `node`: what creation functions return."""
    if node.site is None:
        node.site = here()
    storage = Storage(node)
    return _make(storage, node.dtype, None, _NoCounter() if mode.inference else storage)


def from_external(array: Array, dtype: DType) -> Tensor:
    """A tensor on the memory of a numpy array, which may be strided: writes go both ways."""
    if array.flags.c_contiguous:
        storage = wrap(array, dtype)
        storage.node.site = here()
        return _make(storage, dtype, None, storage)
    flat, stride = reading.flatten_memory(array)
    storage = wrap(flat, dtype)
    storage.node.site = here()
    steps: tuple[Step, ...] = (Strided(array.shape, stride, 0),)
    view = View(None, steps, steps, array.shape, stride, 0, "")
    return _make(storage, dtype, view, storage)


def grad_enabled() -> bool:
    """Whether this thread records history."""
    return mode.enabled


def tensor_nodes(*tensors: Tensor) -> tuple[Node, ...]:
    """The nodes that an operation on these tensors builds on."""
    if mode.enabled:
        for tensor in tensors:
            if tensor.requires_grad:
                return tuple([t.node if t.requires_grad else t._constant() for t in tensors])
    return tuple([tensor._raw() for tensor in tensors])


def result(
    name: str, node: Node, inputs: Sequence[Tensor | None], saved: tuple[Tensor | str, ...] = ()
) -> Tensor:
    """An operation's result.

    Args:
        name: of the operation, "Mul" or in full "MulBackward0".
        node: what it computes, built on `tensor_nodes(...)`.
        inputs: the operands in the order of next_functions, None for numbers.
        saved: the tensors whose values backward reads, "result" for the result's own; any other string stands for something else
            that backward reads, such as a number. With anything saved, a second backward needs retain_graph.
    """
    if node.site is None:
        node.site = here()
    pinned = tracked = False
    floating = mode.enabled and node.dtype.kind == "float"
    for tensor in inputs:
        if tensor is not None:
            storage = tensor.storage
            if storage.node is node:
                node = _alias(node)
            if tensor._requires and floating:
                tracked = True
            if storage.pin is not None and storage.pinned() is not None:
                pinned = True
    storage = Storage(node)
    made = _make(storage, node.dtype, None, storage)
    if tracked:
        record = _record(name, (node,), inputs)
        if record.nodes[0] is not node:
            storage.node = record.nodes[0]
        storage.tracked = True
        made._record = record
        made._requires = True
        if saved:
            _save(record, saved, made)
        record.eager = pinned
    elif mode.inference:
        made._counter = _NoCounter()
    if pinned:
        reading.realize(made)
    elif node.depth > DEPTH_BUDGET:
        deep(storage.node)
    return made


def results(
    name: str,
    nodes: Sequence[Node],
    inputs: Sequence[Tensor | None],
    saved: tuple[Tensor | str, ...] = (),
) -> tuple[Tensor, ...]:
    """The results of one operation with several outputs; see `result`. Outputs that are not floating are not differentiable."""
    made = [from_node(_unaliased(node, inputs)) for node in nodes]
    if _tracks(inputs):
        record = _record(name, tuple([each.storage.node for each in made]), inputs)
        for index, each in enumerate(made):
            if each.dtype.kind == "float":
                _attach(each, record, index)
                each.storage.tracked = True
                each.storage.node = record.nodes[index]
        _save(record, saved, made[0])
        record.eager = _reads_pinned(inputs)
    if _reads_pinned(inputs):
        for each in made:
            reading.realize(each)
    return tuple(made)


def view(name: str, input: Tensor, node: Node, step: Step) -> Tensor:
    """The result of an operation that aliases its input: `step` leads from the input's node to `node`."""
    return views(name, input, ((node, step),), "")[0]


def views(
    name: str, input: Tensor, parts: Sequence[tuple[Node, Step]], several: str | None = None
) -> tuple[Tensor, ...]:
    """The results of one operation that gives several views of its input (split, unbind), as (node, step) each.

    PyTorch refuses recorded in-place writes to such views, naming the operation.
    """
    from_view = input._view
    requires = mode.enabled and input.requires_grad
    if from_view is None:
        base, steps, path = input, (), ()  # type: tuple[Tensor, tuple[Step, ...], tuple[Step, ...]]
    elif from_view.base is None:
        base, steps, path = input, (), from_view.path
    else:
        base, steps, path = from_view.base, from_view.steps, from_view.path
    origin = name.removesuffix("Backward0") if several is None else several
    if not mode.enabled:
        origin = "no_grad"
    elif from_view is not None and from_view.origin and not origin:
        origin = from_view.origin
    shape, stride, offset = input.shape, input.strides, input.storage_offset()
    site = here()
    made = []
    nodes = []
    for node, step in parts:
        below = input.node
        if node is below:
            node = _alias(node)
        if node.site is None:
            node.site = site
        new_stride, new_offset = step.layout(shape, stride, offset)
        sizes: tuple[int, ...] = node.shape  # type: ignore[assignment]
        seen = View(base, (*steps, step), (*path, step), sizes, new_stride, new_offset, origin)
        each = _make(input.storage, node.dtype, seen, input._counter)
        nodes.append(node)
        made.append(each)
    if not mode.enabled:
        # PyTorch's: such a view says that it requires grad as its base does, but no gradient goes anywhere.
        for each in made:
            each._requires = input.requires_grad and each.dtype.kind == "float"
    elif requires:
        record = _record(name, tuple(nodes), (input,))
        for index, each in enumerate(made):
            if each.dtype.kind == "float":
                _attach(each, record, index)
    return tuple(made)


def result_inplace(
    name: str,
    tensor: Tensor,
    node: Node,
    inputs: Sequence[Tensor | None],
    saved: tuple[Tensor | str, ...] = (),
) -> Tensor:
    """Replace the value of `tensor` by an operation's result of the same shape and dtype; see `result`.

    Raises:
        RuntimeError: it is a leaf that requires grad, or a view of one, or a view that cannot be written to, and the operation is
            recorded; its elements share memory; it was made in inference mode.
    """
    if node.site is None:
        node.site = here()
    tracked = mode.enabled and (tensor.requires_grad or _tracks(inputs))
    if tracked:
        _check_inplace(tensor)
    if isinstance(tensor._counter, _NoCounter) and not mode.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed."
            "You can make a clone to get a normal tensor before doing inplace update."
        )
    node = _unaliased(node, inputs)
    if not tracked or node.dtype.kind != "float":
        _store(tensor, node)
        tensor._counter.version += 1
        return tensor
    seen = tensor._view
    base = None if seen is None else seen.base
    if seen is None or base is None:
        record = _record(name, (node,), inputs)
        _store(tensor, node, tracked=seen is None)
        changed = tensor
    else:
        below = base.node if base.requires_grad else base._constant()
        whole = write(seen.steps, below, node)
        if whole is node:
            whole = _alias(whole)  # the view shows all of its base: they are two variables
        others = [each for each in inputs if each is not tensor]
        record = _record("CopySlices", (whole,), (base, *others))
        _store(base, whole, tracked=base._view is None)
        changed = base
    tensor._counter.version += 1
    if changed.retains_grad and changed._record is not None:  # the gradient kept is that of the new value
        changed._record._hooks().retained.pop(changed._index, None)
        record._hooks().retained[0] = weakref.ref(changed)
    _attach(changed, record, 0)
    changed._node = None
    changed._stamp = changed.storage.writes
    record.eager = _reads_pinned(inputs)
    _save(record, saved, tensor)
    return tensor


# --- what recording an operation takes

_NOTHING: tuple[None, int] = (None, 0)


def _record(name: str, nodes: tuple[Node, ...], inputs: Sequence[Tensor | None]) -> Record:
    """The record of an operation on `inputs`, some of which need gradients."""
    edges: list[tuple[Record | None, int]] = []
    operands: list[Node | None] = []
    for tensor in inputs:
        if tensor is None or not tensor._requires:
            edges.append(_NOTHING)
            operands.append(None)
            continue
        operand = tensor.node
        for node in nodes:
            if node is operand:  # the same value, but another variable
                nodes = tuple([_alias(each) if each is operand else each for each in nodes])
        operands.append(operand)
        source = tensor._record
        edges.append((source, tensor._index) if source is not None else tensor._edge())
    return record_class(name)(nodes, tuple(edges), tuple(operands))


def _attach(tensor: Tensor, record: Record, index: int) -> None:
    tensor._record = record
    tensor._index = index
    tensor._requires = True


def _save(record: Record, saved: tuple[Tensor | str, ...], output: Tensor) -> None:
    """Note the versions of what backward reads. The output itself is not kept: it keeps the record."""
    counters: list[Versioned] = []
    kept: list[Tensor | str] = []
    for each in saved:
        if isinstance(each, str):
            if each == "result":
                counters.append(output._counter)
                kept.insert(len(counters) - 1, each)
            else:
                kept.append(each)
            continue
        if isinstance(each._counter, _NoCounter):
            raise RuntimeError(
                "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in "
                "computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and "
                "use it in autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`."
            )
        counters.append(each._counter)
        kept.insert(len(counters) - 1, each if each is not output else "result")
    record.saved = tuple(kept)
    record.counters = tuple(counters)
    record.versions = tuple([counter.version for counter in counters])


def _tracks(inputs: Sequence[Tensor | None]) -> bool:
    return mode.enabled and any(each is not None and each._requires for each in inputs)


def _reads_pinned(inputs: Sequence[Tensor | None]) -> bool:
    return any(each is not None and each.storage.pinned() is not None for each in inputs)


def _alias(node: Node) -> Node:
    """The same value as another variable."""
    return Node(Op.RESHAPE, (node,), node.dtype, node.shape, None, node.place, node.site)


def _unaliased(node: Node, inputs: Sequence[Tensor | None]) -> Node:
    for tensor in inputs:
        if tensor is not None and (node is tensor.storage.node or node is tensor.node):
            return _alias(node)
    return node


def _store(tensor: Tensor, node: Node, tracked: bool = False) -> None:
    """Put `node` where `tensor` lies in its storage."""
    if overlaps(tensor.shape, tensor.strides):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation."
        )
    storage = tensor.storage
    seen = tensor._view
    before_write(storage)
    if storage.pinned() is not None:
        reading.write_through(tensor, node)
        storage.writes += 1
        return
    below = storage.current()
    storage.replace(node if seen is None else write(seen.path, below, node), tracked)
    if node.depth > DEPTH_BUDGET:
        deep(storage.node)


def _check_inplace(tensor: Tensor) -> None:
    """Whether a recorded in-place operation may change this tensor."""
    seen = tensor._view
    if seen is not None and seen.base is not None:
        if seen.origin:
            raise RuntimeError(_refusal(seen.origin, tensor._index))
        if seen.base._record is None and seen.base.requires_grad:
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place operation."
                + _made_at(tensor)
            )
    if tensor._record is None and tensor.requires_grad:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation." + _made_at(tensor)
        )


def _made_at(tensor: Tensor, what: str = "it was") -> str:
    place = describe(tensor.storage.node.site)
    return f"\n    {what} made at {place}" if place else ""


def _refusal(origin: str, index: int) -> str:
    if origin == "no_grad":
        return (
            "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that this use "
            "case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and the "
            "inplace either both inside the no_grad block (if you don't want the inplace to be tracked) or both outside "
            "(if you want the inplace to be tracked)."
        )
    return (
        f"Output {index} of {origin} is a view and is being modified inplace. This view is the output of a function that "
        "returns multiple views. Such functions do not allow the output views to be modified inplace. You should replace the "
        "inplace operation by an out-of-place one."
    )


def _axis(dim: int, rank: int) -> int:
    limit = rank or 1
    if not -limit <= dim < limit:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})"
        )
    return dim % limit
