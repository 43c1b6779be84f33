"""How operations make tensors: the nodes they build on, results, views, in-place writes, and the records of all of them.

An operator asks `tensor_nodes` for the nodes to build on, builds its node, and hands it to `result`, `results` (several outputs),
`view` and `views` (results that alias their input) or `result_inplace`. Creation functions use `from_node` and `from_external`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn

from . import reading
from .history import Record, Untracked, distinct, mode, record_class
from .ir.node import Node
from .ir.op import Op
from .runtime.realize import after_write, before_write, deep
from .runtime.steady import DEPTH_BUDGET, STEADY
from .site import describe, here
from .storage import Storage, wrap
from .tensor import Tensor, make
from .views import Sizes, Step, Strided, View, by_strides, overlaps, placed, write

if TYPE_CHECKING:
    from .ir.dtype import DType
    from .runtime.device import Array

KNOWN_LIMIT = 4096
"""How many calls of a function that makes views are remembered."""


def from_node(node: Node) -> Tensor:
    """A new leaf whose value is `node`: what creation functions return."""
    if node.site is None:
        node.site = here()
    storage = Storage(node)
    return make(storage, node.dtype, None, Untracked() if mode.inference else storage)


def from_external(array: Array, dtype: DType) -> Tensor:
    """A tensor on the memory of a numpy array, which may be strided: writes go both ways."""
    if array.flags.c_contiguous:
        storage = wrap(array, dtype)
        storage.node.site = here()
        return make(storage, dtype, None, storage)
    flat, stride = reading.flatten_memory(array)
    storage = wrap(flat, dtype)
    storage.node.site = here()
    steps = by_strides(flat.shape, array.shape, stride, 0)
    view = View(None, steps, steps, array.shape, stride, 0, "")
    return make(storage, dtype, view, storage)


def grad_enabled() -> bool:
    """Whether this thread records history."""
    return mode.enabled


def tensor_nodes(*tensors: Tensor, beside: tuple[Tensor, ...] = ()) -> tuple[Node, ...]:
    """The nodes that an operation on these tensors builds on.

    All of its operands are named together, those whose nodes are asked for elsewhere as `beside`: where one of them needs a
    gradient, none leads through the history of another that needs none.
    """
    pinned = tracked = False
    for tensor in (*tensors, *beside) if beside else tensors:
        storage = tensor.storage
        if tensor._stamp != storage.writes:
            tensor._sync()
        if tensor._requires:
            tracked = True
        if storage.pin is not None and storage.pinned() is not None:
            pinned = True
    if pinned or mode.pinned:
        mode.pinned = pinned
    if tracked and mode.enabled:
        return tuple([t.node if t._requires else t._constant() for t in tensors])
    nodes = []
    for tensor in tensors:  # what Tensor._raw does, without a call where nothing is to be done
        node = tensor.storage.node
        plain = tensor._view is None and (node.value is None or node.op is Op.BUFFER)
        nodes.append(node if plain else tensor._raw())
    return tuple(nodes)


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
    pinned, tracked = mode.pinned, False
    floating = mode.enabled and node.dtype.kind == "float"
    for tensor in inputs:
        if tensor is not None:
            storage = tensor.storage
            if storage.node is node:
                node = distinct(node)
            if tensor._requires and floating:
                tracked = True
            if storage.pin is not None and storage.pinned() is not None:
                pinned = True
    storage = Storage(node)
    made = make(storage, node.dtype, None, storage)
    if tracked:
        record = _record(name, (node,), inputs)
        if record.nodes[0] is not node:
            storage.node = record.nodes[0]
        storage.tracked = True
        made._record = record
        made._requires = True
        if saved:
            save(record, saved, made)
        record.eager = pinned
    elif mode.inference:
        made._counter = Untracked()
    if pinned:
        _at_once(made)
    elif node.depth > DEPTH_BUDGET:
        deep(storage.node)
    return made


def result_seen(name: str, node: Node, step: Step, inputs: Sequence[Tensor | None]) -> Tensor:
    """An operation's result that lies in memory as `node` does and is seen through one movement: PyTorch's rot90 is a flip, transposed.

    It is no view of another tensor, and its strides are those of the movement. See `result`.
    """
    shown = step.apply(node)
    shown.site = node.site = here()
    storage = Storage(node)
    dtype, shape, stride, offset = placed(step, node.dtype, tuple(node.shape), None, 0)
    made = make(storage, dtype, View(None, (step,), (step,), shape, stride, offset, ""), storage)
    pinned = mode.pinned or _reads_pinned(inputs)
    if _tracks(inputs) and dtype.kind == "float":
        record = _record(name, (shown,), inputs)
        record.eager = pinned
        attach(made, record, 0)
        storage.tracked = True  # gradients go through its node
    elif mode.inference:
        made._counter = Untracked()
    if pinned:
        _at_once(made)
    elif node.depth > DEPTH_BUDGET:
        deep(storage.node)
    return made


def results(
    name: str,
    nodes: Sequence[Node],
    inputs: Sequence[Tensor | None],
    saved: tuple[Tensor | int, ...] = (),
) -> tuple[Tensor, ...]:
    """The results of one operation with several outputs; see `result`. Outputs that are not floating are not differentiable.

    saved: what backward reads: tensors, and results by their index.
    """
    made = [from_node(_distinct_from(node, inputs)) for node in nodes]
    if _tracks(inputs):
        record = _record(name, tuple([each.storage.node for each in made]), inputs)
        for index, each in enumerate(made):
            if each.dtype.kind == "float":
                attach(each, record, index)
                each.storage.tracked = True
                each.storage.node = record.nodes[index]
        save(record, tuple([made[e] if isinstance(e, int) else e for e in saved]), *made)
        record.eager = _reads_pinned(inputs)
    if mode.pinned or _reads_pinned(inputs):
        for each in made:
            _at_once(each)
    return tuple(made)


def _at_once(tensor: Tensor) -> None:
    """Compute what was read from memory that the outside may change; while a function is mapped, that is up to the mapping."""
    if STEADY.tracing is None:
        reading.compute(tensor)
    else:
        STEADY.tracing.eager = True


def view(name: str, input: Tensor, step: Step) -> Tensor:
    """The result of an operation that aliases its input: what one movement shows of it.

    Where no gradient goes through it, it has no node before someone asks for it.
    """
    if input.requires_grad:
        (node,) = tensor_nodes(input)
        return views(name, input, ((step.apply(node), step),), "")[0]
    below = input._view
    if below is None:
        lies = placed(step, input.dtype, input.shape, None, 0)
    else:
        lies = placed(step, input.dtype, below.shape, below.stride, below.offset)
    return _shown(input, step, *lies)


def _shown(
    input: Tensor, step: Step, dtype: DType, shape: Sizes, stride: Sizes, offset: int
) -> Tensor:
    """The view of a tensor without a gradient that one movement makes, and that lies so."""
    below = input._view
    origin = "" if mode.enabled else "no_grad"
    if below is None:
        seen = View(input, (step,), (step,), shape, stride, offset, origin)
    else:
        path, origin = (*below.path, step), origin or below.origin
        if below.base is None:
            seen = View(input, (step,), path, shape, stride, offset, origin)
        else:
            seen = View(below.base, (*below.steps, step), path, shape, stride, offset, origin)
    return make(input.storage, dtype, seen, input._counter)


def remembered(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function that shows a tensor by one movement: a call with the same numbers, of a tensor that lies the same, is known the second time.

    Only where no gradient goes through the view. Loops make the same views in every turn.
    """
    known: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    @wraps(run)
    def called(input: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs or input.__class__ is not Tensor or input.requires_grad:
            return run(input, *args, **kwargs)
        for each in args:
            if each.__class__ is not int:
                return run(input, *args)
        below = input._view
        if below is None:
            key: tuple[Any, ...] = (args, input.dtype, input.shape)
        else:
            key = (args, input.dtype, below.shape, below.stride, below.offset)
        found = known.get(key)
        if found is not None:
            return _shown(input, *found)
        made = run(input, *args)
        seen = made._view
        steps = 0 if below is None else len(below.path)
        if seen is not None and made.storage is input.storage and len(seen.path) == steps + 1:
            if len(known) >= KNOWN_LIMIT:
                known.clear()
            known[key] = (seen.path[-1], made.dtype, seen.shape, seen.stride, seen.offset)
        return made

    return called


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
            node = distinct(node)
        if node.site is None:
            node.site = site
        new_stride, new_offset = step.layout(shape, stride, offset)
        sizes: tuple[int, ...] = node.shape  # type: ignore[assignment]
        seen = View(base, (*steps, step), (*path, step), sizes, new_stride, new_offset, origin)
        each = make(input.storage, node.dtype, seen, input._counter)
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
                attach(each, record, index)
    return tuple(made)


def storage_view(name: str, input: Tensor, step: Strided) -> Tensor:
    """A view of all that the storage of `input` holds, whatever part of it `input` shows. Gradients go to that part alone."""
    seen = input._view
    if seen is None:
        return view(name, input, step)
    (shown,) = tensor_nodes(input)
    whole = input.storage.current()
    tracked = mode.enabled and input.requires_grad
    node = step.apply(write(seen.path, whole.stop(), shown) if tracked else whole)
    if node.site is None:
        node.site = here()
    base = seen.base
    origin = "no_grad" if not mode.enabled else seen.origin
    if base is None or base._view is not None:
        base, origin = None, origin or name.removesuffix("Backward0")
    sizes: tuple[int, ...] = node.shape  # type: ignore[assignment]
    view_ = View(base, (step,), (step,), sizes, step.stride, step.offset, origin)
    made = make(input.storage, node.dtype, view_, input._counter)
    if tracked:
        record = _record(name, (node,), (input,))
        attach(made, record, 0)
    elif not mode.enabled:
        made._requires = input.requires_grad and made.dtype.kind == "float"
    return made


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
    if node.place != tensor.place:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{node.place} and {tensor.place}!"
        )
    tracked = mode.enabled and (tensor.requires_grad or _tracks(inputs))
    if tracked:
        check_inplace(tensor)
    if isinstance(tensor._counter, Untracked) and not mode.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed."
            "You can make a clone to get a normal tensor before doing inplace update."
        )
    node = _distinct_from(node, inputs)
    if not tracked or node.dtype.kind != "float":
        store(tensor, node)
        tensor._counter.version += 1
        return tensor
    seen = tensor._view
    base = None if seen is None else seen.base
    if seen is None or base is None:
        record = _record(name, (node,), inputs)
        store(tensor, node, tracked=seen is None)
        changed = tensor
    else:
        below = base.node if base.requires_grad else base._constant()
        whole = write(seen.from_base(), below, node)
        if whole is node:
            whole = distinct(whole)  # the view shows all of its base: they are two variables
        others = [each for each in inputs if each is not tensor]
        record = _record("CopySlices", (whole,), (base, *others))
        store(base, whole, tracked=base._view is None)
        changed = base
    tensor._counter.version += 1
    if (
        changed.retains_grad and changed._record is not None
    ):  # the gradient kept is that of the new value
        changed._record._hooks().retained.pop(changed._index, None)
        record._hooks().retained[0] = weakref.ref(changed)
    attach(changed, record, 0)
    changed._node = None
    changed._stamp = changed.storage.writes
    record.eager = _reads_pinned(inputs)
    save(record, saved, tensor)
    return tensor


def view_inplace(name: str, tensor: Tensor, step: Step) -> Tensor:
    """Make `tensor` lie in its memory as one movement shows it; no element changes.

    Raises:
        RuntimeError: it is a leaf that requires grad, or a view that cannot be written to, and the operation is recorded.
    """
    STEADY.disturb()
    tracked = mode.enabled and tensor.requires_grad
    if tracked:
        check_inplace(tensor)
    (below,) = tensor_nodes(tensor)
    node = step.apply(below)
    moved = node is not below
    if not moved:
        node = distinct(node)
    if node.site is None:
        node.site = here()
    record = _record(name, (node,), (tensor,)) if tracked else None
    if moved:
        seen = tensor._view
        base, steps, path, origin = (
            (None, (), (), "") if seen is None else (seen.base, seen.steps, seen.path, seen.origin)
        )
        stride, offset = step.layout(tensor.shape, tensor.strides, tensor.storage_offset())
        sizes: tuple[int, ...] = node.shape  # type: ignore[assignment]
        tensor._view = View(base, (*steps, step), (*path, step), sizes, stride, offset, origin)
        tensor._size = None
    tensor._node = None
    tensor._counter.version += 1
    if record is not None:
        attach(tensor, record, 0)
    return tensor


def overwrite(tensor: Tensor, node: Node) -> None:
    """Replace every element, in the storage and in all aliases, without recording it.

    Raises:
        RuntimeError: elements share memory.
    """
    store(tensor, distinct(node))
    tensor._counter.version += 1


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
                nodes = tuple([distinct(each) if each is operand else each for each in nodes])
        operands.append(operand)
        source = tensor._record
        edges.append((source, tensor._index) if source is not None else tensor._edge())
    return record_class(name)(nodes, tuple(edges), tuple(operands))


def attach(tensor: Tensor, record: Record, index: int) -> None:
    tensor._record = record
    tensor._index = index
    tensor._requires = True


def save(record: Record, saved: tuple[Tensor | str, ...], *outputs: Tensor) -> None:
    """Note the versions of what backward reads. An output itself is not kept: it keeps the record."""
    counters = []
    for each in saved:
        if isinstance(each, str):
            if each != "result":
                continue
            each = outputs[0]
        counter = each._counter
        if type(counter) is Untracked:
            refuse_inference()
        counters.append(counter)
    if len(counters) != len(saved):  # those without a version come last
        saved = tuple(sorted(saved, key=lambda each: isinstance(each, str) and each != "result"))
    own = set(map(id, outputs))
    record.saved = tuple(["result" if id(each) in own else each for each in saved])
    record.counters = tuple(counters)
    record.versions = tuple([counter.version for counter in counters])


def refuse_inference() -> NoReturn:
    """A tensor made in inference mode would be read by backward."""
    raise RuntimeError(
        "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in "
        "computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and "
        "use it in autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`."
    )


def _tracks(inputs: Sequence[Tensor | None]) -> bool:
    return mode.enabled and any(each is not None and each._requires for each in inputs)


def _reads_pinned(inputs: Sequence[Tensor | None]) -> bool:
    return any(each is not None and each.storage.pinned() is not None for each in inputs)


def _distinct_from(node: Node, inputs: Sequence[Tensor | None]) -> Node:
    for tensor in inputs:
        if tensor is not None and (node is tensor.storage.node or node is tensor.node):
            return distinct(node)
    return node


def store(tensor: Tensor, node: Node, tracked: bool = False) -> None:
    """Put `node` where `tensor` lies in its storage."""
    seen = tensor._view
    if seen is not None and overlaps(tensor.shape, tensor.strides):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation."
        )
    storage = tensor.storage
    before_write(storage)
    outside = storage.pinned()
    if outside is not None and not outside.flags.writeable:
        storage.pin = None  # nobody may write there: from here on the tensor has memory of its own
    elif outside is not None:
        reading.write_through(tensor, node)
        storage.writes += 1
        return
    below = storage.current()
    written = node if seen is None else write(seen.path, below, node)
    # a write of no elements leaves the very node, which may be a record's
    storage.replace(written, tracked or (written is below and storage.tracked))
    if node.depth > DEPTH_BUDGET:
        deep(storage.node)
    if not tracked:
        after_write()


def check_inplace(tensor: Tensor) -> None:
    """Whether a recorded in-place operation may change this tensor."""
    seen = tensor._view
    if seen is not None and seen.base is not None:
        if seen.origin:
            raise RuntimeError(_refusal(seen.origin, tensor._index))
        if seen.base._record is None and seen.base.requires_grad:
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place operation."
                + made_at(tensor)
            )
    if tensor._record is None and tensor.requires_grad:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation."
            + made_at(tensor)
        )


def made_at(tensor: Tensor, what: str = "it was") -> str:
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
