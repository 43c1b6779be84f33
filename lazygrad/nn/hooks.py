"""Calling a module: forward, and the hooks before it, after it and around its gradients.

In: a module and its arguments. Out: what `forward` returns, as the hooks change it. Backward hooks see gradients because the
arguments and the results of a call with such hooks pass through an identity whose record carries them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ..autograd.function import Function
from ..autograd.grad_mode import is_grad_enabled
from ..history import RemovableHandle
from ..tensor import Tensor
from .tree import Tree

Hooks = dict[int, Callable[..., Any]]
"""Hooks by the number of their handle, in the order of their calls."""


class Called(Tree):
    """A tree that can be called, with hooks."""

    _forward_pre_hooks: Hooks
    _forward_hooks: Hooks
    _backward_pre_hooks: Hooks
    _backward_hooks: Hooks
    _forward_pre_hooks_with_kwargs: dict[int, bool]
    _forward_hooks_with_kwargs: dict[int, bool]
    _forward_hooks_always_called: dict[int, bool]
    _compiled_call_impl: Any = None
    """What `compile` made of `_call_impl`."""

    def __init__(self) -> None:
        super().__init__()
        tables = self.__dict__
        for name in (
            "_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks",
            "_forward_pre_hooks_with_kwargs", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
        ):  # fmt: skip
            tables[name] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = self._compiled_call_impl
        if call is not None:
            return call(*args, **kwargs)
        if not (
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
        ):
            return self.forward(*args, **kwargs)
        return self._call_with_hooks(args, kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Have this module's calls compiled from now on, with the arguments of `lazygrad.compile`. Same as torch.nn.Module.compile."""
        self.__dict__["_compiled_call_impl"] = import_module("lazygrad").compile(
            self._call_impl, *args, **kwargs
        )

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        """A call that is not compiled."""
        return self._call_with_hooks(args, kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        done: set[int] = set()
        try:
            args, kwargs = self._before_forward(args, kwargs)
            backward = None
            if self._backward_hooks or self._backward_pre_hooks:
                backward = _BackwardHooks(self)
                args = backward.of_arguments(args)
            output = self.forward(*args, **kwargs)
            for key, hook in tuple(self._forward_hooks.items()):
                done.add(key)
                changed = self._after_forward(key, hook, args, kwargs, output)
                output = output if changed is None else changed
            return output if backward is None else backward.of_output(output)
        except Exception:
            self._after_failure(done, args, kwargs)
            raise

    def _before_forward(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for key, hook in tuple(self._forward_pre_hooks.items()):
            if key not in self._forward_pre_hooks_with_kwargs:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
                continue
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise RuntimeError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                    )
                args, kwargs = changed
        return args, kwargs

    def _after_forward(
        self, key: int, hook: Callable[..., Any], args: Any, kwargs: dict[str, Any], output: Any
    ) -> Any:
        if key in self._forward_hooks_with_kwargs:
            return hook(self, args, kwargs, output)
        return hook(self, args, output)

    def _after_failure(self, done: set[int], args: Any, kwargs: dict[str, Any]) -> None:
        """Call the hooks that are always called; their own errors become warnings."""
        for key, hook in tuple(self._forward_hooks.items()):
            if key in self._forward_hooks_always_called and key not in done:
                try:
                    self._after_forward(key, hook, args, kwargs, None)
                except Exception as error:
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception that was silenced as another "
                        f"error was raised in forward: {error}",
                        stacklevel=3,
                    )

    # --- registration

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args) before each forward; what it returns, if not None, replaces the arguments.

        With `with_kwargs` it is hook(module, args, kwargs), which returns both or None.
        """
        handle = register(self._forward_pre_hooks, hook, prepend)
        _mark(self._forward_pre_hooks_with_kwargs, self._forward_pre_hooks, handle, with_kwargs)
        return handle

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call hook(module, args, output) after each forward; what it returns, if not None, replaces the output.

        With `with_kwargs` it is hook(module, args, kwargs, output). With `always_call` it is also called when forward raises.
        """
        handle = register(self._forward_hooks, hook, prepend)
        _mark(self._forward_hooks_with_kwargs, self._forward_hooks, handle, with_kwargs)
        _mark(self._forward_hooks_always_called, self._forward_hooks, handle, always_call)
        return handle

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call hook(module, grad_output) when the gradients of the outputs are known; what it returns, if not None, replaces them."""
        return register(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call hook(module, grad_input, grad_output) when the gradients of the positional arguments are known.

        What it returns, if not None, replaces grad_input. If no argument requires grad it is called when the gradients of the
        outputs are known, with Nones.
        """
        return register(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The older name of `register_full_backward_hook`: grad_input is that of the module, whatever it consists of."""
        return self.register_full_backward_hook(hook)


class BackwardHookFunction(Function):
    """The identity of several tensors: its record stands where backward enters or leaves a module."""

    @staticmethod
    def forward(ctx: Any, *args: Tensor) -> tuple[Tensor, ...]:
        ctx.mark_non_differentiable(*[each for each in args if not each.requires_grad])
        ctx.set_materialize_grads(False)
        return args

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return grads


class _BackwardHooks:
    """The backward hooks of one call: remembers the gradients of the outputs until those of the arguments are there."""

    def __init__(self, module: Called) -> None:
        self.module = module
        self.hooks = tuple(module._backward_hooks.values())
        self.pre_hooks = tuple(module._backward_pre_hooks.values())
        self.of_outputs: Sequence[Any] | None = None
        self.arguments: list[int] | None = None
        self.count = 0

    def of_arguments(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, passed through the record after which grad_input is known."""
        self.count = len(args)
        args, self.arguments, record = _through(args)
        if record is not None:
            record.register_hook(self._leave)
        return args

    def of_output(self, output: Any) -> Any:
        """The result, passed through the record before which grad_output is known."""
        if not isinstance(output, (Tensor, tuple)):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received "
                f"{type(output)}",
                stacklevel=4,
            )
        several = output if isinstance(output, tuple) else (output,)
        made, positions, record = _through(several)
        if record is not None and positions is not None:
            record.register_hook(lambda _, grads: self._enter(positions, len(several), grads))
        return made if isinstance(output, tuple) else made[0]

    def _enter(self, positions: list[int], count: int, grads: Sequence[Any]) -> tuple[Any, ...]:
        found: Sequence[Any] = _placed(positions, grads, count)
        for hook in self.pre_hooks:
            changed = hook(self.module, found)
            if changed is None:
                continue
            if isinstance(changed, Tensor):
                changed = (changed,)
            if len(changed) != count:
                raise RuntimeError(
                    f"Backward pre hook returned an invalid number of grad_output, got {len(changed)}, but expected {count}"
                )
            found = changed
        self.of_outputs = found
        if self.arguments is None:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs "
                "require gradients.",
                stacklevel=3,
            )
            for hook in self.hooks:
                changed = hook(self.module, (None,) * self.count, found)
                if changed is not None and any(each is not None for each in changed):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or None for "
                        "all gradients."
                    )
            self.of_outputs = None
        return tuple(found[position] for position in positions)

    def _leave(self, grads: Sequence[Any], _: Any) -> tuple[Any, ...] | None:
        if self.of_outputs is None or self.arguments is None:
            return None  # a second gradient that comes from the arguments but not from the results
        found = _placed(self.arguments, grads, self.count)
        for hook in self.hooks:
            changed = hook(self.module, found, self.of_outputs)
            if changed is None:
                continue
            if isinstance(changed, Tensor):
                changed = (changed,)
            if len(changed) != len(found):
                raise RuntimeError(
                    f"Backward hook returned an invalid number of grad_input, got {len(changed)}, but expected {len(found)}"
                )
            found = tuple(changed)
        self.of_outputs = None
        return tuple(found[position] for position in self.arguments)


def _through(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[int] | None, Any]:
    """The tensors among `values` passed through one record; where they are, and the record. Without gradients nothing happens."""
    positions = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    if not (is_grad_enabled() and any(values[i].requires_grad for i in positions)):
        return values, None, None
    made = list(values)
    for position, tensor in zip(
        positions, BackwardHookFunction.apply(*[values[i] for i in positions]), strict=True
    ):
        made[position] = tensor
    record = next(made[i].grad_fn for i in positions if made[i].grad_fn is not None)
    kind: Any = type(values)
    return (tuple(made) if kind is tuple else kind(*made)), positions, record


def _placed(positions: Sequence[int], values: Sequence[Any], count: int) -> tuple[Any, ...]:
    """`values` at their positions among `count`, None elsewhere."""
    placed: list[Any] = [None] * count
    for position, value in zip(positions, values):
        placed[position] = value
    return tuple(placed)


def register(hooks: Hooks, hook: Callable[..., Any], first: bool = False) -> RemovableHandle:
    """Add a hook, last or `first`."""
    later = dict(hooks) if first else {}
    if first:
        hooks.clear()
    handle = RemovableHandle(hooks, hook)
    hooks.update(later)
    return handle


def _mark(marks: dict[int, bool], hooks: Hooks, handle: RemovableHandle, marked: bool) -> None:
    """Note a property of a hook, and forget those of hooks that are gone."""
    for key in [key for key in marks if key not in hooks]:
        del marks[key]
    if marked:
        marks[handle.id] = True
