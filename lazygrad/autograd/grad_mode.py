"""Switching the recording of history on and off: context managers that are decorators too, and hold for one thread."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, TypeVar

from ..history import mode
from ..runtime.steady import STEADY

Function = TypeVar("Function", bound=Callable[..., Any])
_GENERATOR = 0x20  # the flag of a generator function's code


class _Context:
    """Sets the mode on entry and puts the former one back on exit. One instance may be entered again, also by itself."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before: list[tuple[bool, bool]] = []

    def _set(self) -> None:
        raise NotImplementedError

    def _again(self) -> _Context:
        """A context of its own for one call of a decorated function."""
        return type(self)()

    def __enter__(self) -> None:
        self._before.append((mode.enabled, mode.inference))
        self._set()

    def __exit__(self, *exception: object) -> None:
        mode.enabled, mode.inference = self._before.pop()

    def __call__(self, function: Function) -> Function:
        """Decorate a function, or a generator function, each of whose steps then runs in this mode."""
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & _GENERATOR:
            return self._decorate_generator(function)

        @wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return decorated  # type: ignore[return-value]

    def _decorate_generator(self, function: Function) -> Function:
        @wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            steps = function(*args, **kwargs)
            resume, argument = steps.send, None
            try:
                while True:
                    with self._again():
                        try:
                            value = resume(argument)
                        except StopIteration as stop:
                            return stop.value
                    try:
                        resume, argument = steps.send, (yield value)
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        resume, argument = steps.throw, error
            finally:
                with self._again():
                    steps.close()

        return decorated  # type: ignore[return-value]


class _Bare(_Context):
    """A context that also decorates without being called: @no_grad."""

    __slots__ = ()

    def __new__(cls, function: Any = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)

    def __init__(self, function: Any = None) -> None:
        super().__init__()


class no_grad(_Bare):
    """Results made in this context need no gradients."""

    __slots__ = ()

    def _set(self) -> None:
        mode.enabled = False


class enable_grad(_Bare):
    """History is recorded in this context, also inside of no_grad."""

    __slots__ = ()

    def _set(self) -> None:
        mode.enabled = True


class set_grad_enabled(_Context):
    """Switch recording on or off: for a context, or, called as a function, from here on."""

    __slots__ = ("_mode",)

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._mode = bool(mode)
        self._before.append(_switch(self._mode))

    def __enter__(self) -> None:
        if len(self._before) > 1 or mode.enabled != self._mode:
            self._before.append(_switch(self._mode))

    def __call__(self, function: Function) -> Function:
        mode.enabled = self._before[0][0]  # a decorator does not switch where it stands
        return super().__call__(function)

    def _again(self) -> _Context:
        return set_grad_enabled(self._mode)

    def _set(self) -> None:
        mode.enabled = self._mode


def _switch(enabled: bool) -> tuple[bool, bool]:
    before = (mode.enabled, mode.inference)
    mode.enabled = enabled
    return before


class inference_mode(_Context):
    """As no_grad; what is made in it can never take part in recorded operations."""

    __slots__ = ("_mode",)

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if isinstance(mode, bool):
            return made
        made.__init__()  # type: ignore[misc]
        return made(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self._mode = mode

    def _again(self) -> _Context:
        made: _Context = inference_mode(self._mode)
        return made

    def _set(self) -> None:
        mode.inference = self._mode
        if self._mode:
            STEADY.leave()
            mode.enabled = False


def is_grad_enabled() -> bool:
    """Whether this thread records history."""
    return mode.enabled


def is_inference_mode_enabled() -> bool:
    """Whether this thread is in inference mode."""
    return mode.inference
