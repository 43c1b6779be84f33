"""What a program says to the compiler of functions, `lazygrad.compiler`, as PyTorch's torch.compiler: `disable`, `is_compiling`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, overload

from .compiled import compile as compile
from .functional.absent import refuse
from .nn.module import Module
from .runtime.steady import STEADY

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def disable(fn: Function, recursive: bool = ..., *, reason: str | None = ...) -> Function: ...


@overload
def disable(
    fn: None = None, recursive: bool = ..., *, reason: str | None = ...
) -> Callable[[Function], Function]: ...


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Mark a function or module as one that always runs as it is written; without `fn`, a decorator.

    Args:
        recursive: accepted; what the function calls runs as it is written too.
        reason: added to what is said where a compiled function calls it.

    Returns: a function that does what `fn` does; a module has its forward replaced and is itself returned.

    A compiled function that calls it runs as it is written, too, and warns; with fullgraph=True that is an error. PyTorch compiles what is
    around it.

    Raises:
        TypeError: `fn` cannot be called.

    Same as torch.compiler.disable.
    """
    if fn is None:
        return lambda each: disable(each, recursive, reason=reason)
    if isinstance(fn, Module):
        fn.forward = disable(fn.forward, recursive, reason=reason)  # type: ignore[method-assign]
        return fn
    if not callable(fn):
        raise TypeError(f"disable: expected a function or a module, not {type(fn).__name__}")
    plain: Callable[..., Any] = getattr(fn, "compiled_function", fn)
    name = getattr(plain, "__qualname__", type(plain).__name__)
    why = f"it calls {name}, which compiler.disable keeps as it is written"
    told = f"{why}: {reason}" if reason else why

    @wraps(plain)
    def run(*args: Any, **kwargs: Any) -> Any:
        observer = STEADY.observer
        if observer is not None:
            observer.refuse(told, lasting=True)
        return plain(*args, **kwargs)

    return run


def is_compiling() -> bool:
    """Whether this code runs while a compiled function is traced. A replay runs no code of the function. Same as torch.compiler.is_compiling."""
    return STEADY.observer is not None


def is_dynamo_compiling() -> bool:
    """As `is_compiling`. Same as torch.compiler.is_dynamo_compiling."""
    return is_compiling()


def is_exporting() -> bool:
    """False: programs are not exported. Same as torch.compiler.is_exporting."""
    return False


def __getattr__(name: str) -> Any:
    refuse(__name__, name)
