"""`Function`: operations with a backward written by the user, on lazy tensors.

A Function's context is its record, as in PyTorch: what forward keeps on `ctx` is on the result's grad_fn. Its outputs are variables
of their own (STOPs), so that no gradient but the user's passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from ..history import Record, mode
from ..ir.dtype import float32
from ..ir.node import Node, constant
from ..results import attach, check_inplace, from_node, result, tensor_nodes
from ..site import here
from ..tensor import Tensor, same_memory
from ..views import View
from .records import SECOND_TIME, check_versions


class Context(Record):
    """The record of one application of a Function: `ctx`."""

    special = True
    function: type[Function]

    def __init__(self) -> None:
        super().__init__((), (), ())
        self.to_save: tuple[Any, ...] = ()
        self.needs_input_grad: tuple[bool, ...] = ()
        self.materialize_grads = True
        self.dirty: tuple[Tensor, ...] = ()
        self.constant: tuple[Tensor, ...] = ()
        self.arguments: list[tuple[Any, Any, str] | None] = []
        """Of each argument of forward that is a tensor: dtype, shape, place."""
        self.outputs: list[tuple[Any, Any, str] | None] = []
        self._kept: list[Any] = []

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward, which reads them as `saved_tensors`; a later in-place change of one is an error."""
        self.to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Accepted as PyTorch does; nothing reads it in reverse mode."""

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say which arguments forward has changed in place."""
        self.dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which outputs have no gradient."""
        self.constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (True, the default) or None for an output that has no gradient."""
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What save_for_backward kept.

        Raises:
            RuntimeError: it was released; one of the tensors was changed in place.
        """
        if self.released:
            raise RuntimeError(SECOND_TIME)
        check_versions(self)
        found = []
        each: Any
        for each in self._kept:
            if isinstance(each, tuple):  # an output: it would keep the record that keeps it
                output, index = each
                each = same_memory(output, output._counter)
                attach(each, self, index)
            found.append(each)
        return tuple(found)

    def release(self) -> None:
        """Let go of what was saved; the user's backward may still run where it reads nothing of it."""
        self.saved = self.counters = self.versions = ()
        self._kept = []
        self.released = True

    def keep(self, outputs: Sequence[Any]) -> None:
        """Take over what save_for_backward was given, once the outputs are known."""
        tensors = [each for each in self.to_save if isinstance(each, Tensor)]
        if len(tensors) != sum(each is not None for each in self.to_save):
            raise TypeError("save_for_backward can only save variables")
        for each in self.to_save:
            position = next(
                (i for i, out in enumerate(outputs) if out is each and each is not None), None
            )
            if position is None:
                self._kept.append(each)
            else:
                self._kept.append((same_memory(each, each._counter), position))
        outside = {id(out) for out in outputs}
        self.saved = tuple("result" if id(each) in outside else each for each in tensors)
        self.counters = tuple([each._counter for each in tensors])
        self.versions = tuple([each._version for each in tensors])
        self.to_save = ()

    def run(self, cotangents: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        """Call backward; its results, checked, for each tensor argument of forward."""
        given = list(cotangents) + [None] * (len(self.outputs) - len(cotangents))
        if self.materialize_grads:
            for index, (each, known) in enumerate(zip(given, self.outputs)):
                if each is None and known is not None:
                    dtype, shape, place = known
                    given[index] = from_node(constant(0, dtype, shape, place))
        returned = self.function.backward(self, *given)
        grads = list(returned) if isinstance(returned, (tuple, list)) else [returned]
        name, expected = self.name(), len(self.arguments)
        while len(grads) > expected and grads[-1] is None:
            grads.pop()
        if len(grads) != expected:
            raise RuntimeError(
                f"function {name} returned an incorrect number of gradients (expected {expected}, got {len(grads)})"
            )
        results = []
        for index, (each, known) in enumerate(zip(grads, self.arguments)):
            if known is None:
                if each is not None:
                    raise RuntimeError(
                        f"function {name} returned a gradient different than None at position {index + 1}, but the "
                        "corresponding forward input was not a Variable"
                    )
                continue
            results.append(None if each is None else self._fitted(index, each, known))
        return tuple(results)

    def _fitted(self, index: int, gradient: Any, known: tuple[Any, Any, str]) -> Tensor:
        """A gradient in the dtype and shape of its argument: what was broadcast is summed."""
        if not isinstance(gradient, Tensor):
            raise TypeError(
                f"{self.name()} returned a {type(gradient).__name__} as a gradient, not a tensor"
            )
        dtype, shape, _ = known
        have = tuple(gradient.shape)
        if have == shape and gradient.dtype is dtype:
            return gradient
        extra = len(have) - len(shape)
        if extra < 0 or any(n != m and m != 1 for n, m in zip(have[extra:], shape)):
            raise RuntimeError(
                f"Function {self.name()} returned an invalid gradient at index {index} - got {list(have)} but expected "
                f"shape compatible with {list(shape)}"
            )
        (node,) = tensor_nodes(gradient)
        axes = [a for a, n in enumerate(have) if a < extra or (shape[a - extra] == 1 and n != 1)]
        return result("SumToSize", node.sum(axes).reshape(shape).cast(dtype), (gradient,))

    def __repr__(self) -> str:
        return f"<torch.autograd.function.{type(self).__name__} object at {id(self):#x}>"


class Function:
    """The base of custom operations: subclasses write static `forward` and `backward` and are used by `apply`.

    `forward(ctx, *args)`, or `forward(*args)` with `setup_context(ctx, inputs, output)`; `backward(ctx, *grads)` returns one
    gradient (or None) for each argument of forward.
    """

    _context: type[Context]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._context = type(
            f"{cls.__name__}Backward", (Context,), {"function": cls, "__module__": cls.__module__}
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. "
            "Please use new-style autograd function with static forward method."
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; without history inside."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The gradients of forward's arguments, from those of its outputs."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward "
            "mode AD."
        )

    setup_context: Callable[..., Any] | None = None

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward and record it.

        Raises:
            RuntimeError: forward changed a leaf that requires grad.
        """
        ctx = cls._context()
        needs = [isinstance(each, Tensor) and each.requires_grad for each in args]
        ctx.needs_input_grad = tuple(needs)
        recorded = mode.enabled and any(needs)
        before = mode.enabled
        edges = (
            [(each._edge(), each.node) for each in args if isinstance(each, Tensor)]
            if recorded
            else []
        )
        mode.enabled = False
        try:
            if cls.setup_context is None:
                returned = cls.forward(ctx, *args, **kwargs)
            else:
                returned = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, returned)
        finally:
            mode.enabled = before
        outputs = list(returned) if isinstance(returned, (tuple, list)) else [returned]
        if not recorded:
            return returned
        ctx.arguments = [_described(each) for each in args]
        ctx.edges = tuple([edge for edge, _ in edges])
        ctx.operands = tuple([node if edge[0] is not None else None for edge, node in edges])
        made = cls._outputs(ctx, args, outputs)
        ctx.keep(made if len(ctx.to_save) else ())
        return made[0] if not isinstance(returned, (tuple, list)) else tuple(made)

    @classmethod
    def _outputs(cls, ctx: Context, args: Sequence[Any], outputs: Sequence[Any]) -> list[Any]:
        """The outputs as variables whose gradients go to `ctx`."""
        made: list[Any] = []
        nodes: list[Node] = []
        arguments = {id(each) for each in args}
        dirty = {id(each) for each in ctx.dirty}
        for index, each in enumerate(outputs):
            if not isinstance(each, Tensor):
                made.append(each)
                nodes.append(constant(0, float32))
                ctx.outputs.append(None)
                continue
            ctx.outputs.append(_described(each))
            if any(each is other for other in ctx.constant) or each.dtype.kind != "float":
                made.append(each)
                nodes.append(each._raw())
                continue
            if id(each) in dirty:
                _require_writable(each)
                each._counter.version += 1
                each._node = None
            elif id(each) in arguments or each._view is not None:
                each = _output_view(each, cls.__name__)
            ctx.to_save = tuple(
                [
                    each if kept is outputs[index] and id(kept) not in arguments else kept
                    for kept in ctx.to_save
                ]
            )
            node = each._raw().stop()
            node.site = here()
            each._stamp = each.storage.writes
            attach(each, ctx, index)
            made.append(each)
            nodes.append(node)
        ctx.nodes = tuple(nodes)
        return made


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a backward whose own results have no gradient."""

    @wraps(function)
    def backward(ctx: Any, *grads: Any) -> Any:
        before = mode.enabled
        mode.enabled = False
        try:
            return function(ctx, *grads)
        finally:
            mode.enabled = before

    return backward


def _described(value: Any) -> tuple[Any, Any, str] | None:
    return (value.dtype, tuple(value.shape), value.place) if isinstance(value, Tensor) else None


def _require_writable(tensor: Tensor) -> None:
    """Whether forward may have changed an argument in place."""
    if tensor.requires_grad and tensor._record is None:
        raise RuntimeError(
            "a leaf Variable that requires grad has been used in an in-place operation."
        )
    if tensor._base is not None:
        check_inplace(tensor)


def _output_view(tensor: Tensor, name: str) -> Tensor:
    """An output that is an argument, or a view: a view of it by itself, which refuses recorded in-place writes."""
    made = same_memory(tensor, tensor._counter)
    seen = tensor._view
    path = seen.path if seen is not None else ()
    made._view = View(
        None, path, path, tuple(tensor.shape), tensor.strides, tensor.storage_offset(), name
    )
    return made
