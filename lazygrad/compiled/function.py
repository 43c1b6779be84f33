"""`lg.compile`: a function that is traced once for each kind of call, and replayed from then on.

In: a function or a module. Out: a `Compiled`, called as the function is. A call tries the programs that there are; where none fits
it is traced, which runs it as it is written; where that cannot be replayed it is run as it is written from then on.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any, overload

from .. import config
from ..history import mode
from ..ir.node import Node
from ..ir.op import Op
from ..nn.module import Module
from ..runtime import dump
from ..runtime.plan import ERRORS
from ..runtime.steady import STEADY
from ..site import describe, here, line_of
from ..tensor import Tensor
from .actions import AGAIN, PLAIN, Miss
from .effects import Trace, conclude, restore, scrub, unlifted
from .program import Program, signature
from .scan import AsQuick, Reach, Refused
from .state import State
from .trace import Call, circumstances, prepare

PROGRAM_LIMIT = 16
"""How many signatures a function keeps."""
CREDIT = 24.0
"""How many traces a function may make that are not paid for by replays."""
PRICE = 0.25
"""What of a trace one replay pays for."""
RECOVERY = 1 / 64
"""What of a trace a call pays for that is run as it is written for lack of credit."""
FAILURES: tuple[type[Exception], ...] = (*ERRORS.values(), ArithmeticError)
"""What a replay may raise before it changes anything; the function is then run, to raise it where the user can see it."""


class Compiled:
    """A compiled function. Attributes that it does not have are those of the function or module."""

    def __init__(
        self, target: Callable[..., Any], donate: tuple[int | str, ...], fullgraph: bool
    ) -> None:
        self.compiled_function = target
        self.donate = donate
        self.fullgraph = fullgraph
        self.refusal = ""
        """Why it is never compiled, if it is not."""
        self.traces = 0
        """How many calls have been traced."""
        self._programs: tuple[Program, ...] = ()
        self._credit = CREDIT
        self._hits = 0
        self._paid = 0
        self._reach = Reach()
        self._lock = threading.RLock()
        self._said: set[str] = set()
        function = target.__call__ if isinstance(target, Module) else target
        self._call: Callable[..., Any] = function
        shown = target.forward if isinstance(target, Module) else target
        shown = getattr(shown, "__func__", shown)
        code = getattr(shown, "__code__", None)
        names = code.co_varnames[: code.co_argcount] if code is not None else ()
        bound = isinstance(target, (Module, MethodType))
        self._parameters: tuple[str, ...] = names[1:] if bound else names
        self.__name__ = getattr(target, "__name__", type(target).__name__)
        self.__doc__ = getattr(target, "__doc__", None)
        self.__wrapped__ = target

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if STEADY.observer is not None or mode.transforms:
            return self._call(*args, **kwargs)
        STEADY.disturb()
        try:
            for program in self._programs:
                found = program.replay(args, kwargs)
                if found.__class__ is not Miss:
                    self._hits += 1
                    if program is not self._programs[0]:
                        self._first(program)
                    if self.donate:
                        self._give(args, kwargs)
                    return found
                if found is PLAIN:
                    return self._call(*args, **kwargs)
        except FAILURES:
            pass  # nothing has changed; the call itself says what is wrong, and where
        return self._slowly(args, kwargs)

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else MethodType(self, owner)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.compiled_function, name)

    def __repr__(self) -> str:
        return f"<compiled {self.compiled_function!r}>"

    @property
    def source(self) -> str:
        """The replays as Python, a function for each signature."""
        return "\n".join(program.text for program in self._programs)

    # --- where no program fits

    def _first(self, program: Program) -> None:
        with self._lock:
            self._programs = (program, *(each for each in self._programs if each is not program))

    def _slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        watched = config.active().debug_nans or STEADY.records is not None
        if self.refusal or watched or mode.inference:
            result = self._call(*args, **kwargs)
        else:
            with self._lock:
                result = self._again(args, kwargs)  # another thread may have traced such a call
                if result is PLAIN:
                    result = self._call(*args, **kwargs)
                elif result.__class__ is Miss:
                    result = self._trace(args, kwargs, result)
        if self.donate:
            self._give(args, kwargs)
        return result

    def _again(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a replay, or why the one was left that came furthest."""
        furthest = Miss("", "")
        try:
            for program in self._programs:
                found = program.replay(args, kwargs)
                while found is AGAIN:
                    found = program.replay(args, kwargs)
                if found.__class__ is not Miss or found is PLAIN:
                    return found
                if found.position > furthest.position:
                    furthest = found
        except FAILURES:
            pass
        return furthest

    def _trace(self, args: tuple[Any, ...], kwargs: dict[str, Any], miss: Miss) -> Any:
        """Run a call under observation, and keep what a replay needs."""
        self._credit = min(CREDIT, self._credit + PRICE * (self._hits - self._paid))
        self._paid = self._hits
        if self._credit < 1:
            self._say("calls differ too often: those that no trace fits run as they are written")
            self._credit += RECOVERY
            return self._call(*args, **kwargs)
        self._credit -= 1
        try:
            state = self._state(args, kwargs)
            prepare(state)
        except Refused as refused:
            self._refuse(refused)
            return self._call(*args, **kwargs)
        self._explain(state, miss)
        self.traces += 1
        before = circumstances()
        problem: Refused | None = None
        for lift in (True, False) if self._reach.lifts else (False,):
            call = Call(self._call, state, lift)
            try:
                raw = call.run(args, kwargs)
                break
            except Exception:
                lifted = bool(call.observer.lifted)
                restore(call)
                scrub(call)
                if not lifted:
                    raise
            # What the function was given did not behave as a number does: once more, with the numbers themselves.
        written = restore(call)
        after = state
        try:
            after = self._state(args, kwargs)
            trace = conclude(call, state, after, raw, written)
        except Refused as error:
            problem = error.with_traceback(None)  # the frames of a traceback hold the call
            trace = Trace(state, None)
        result = unlifted(raw)
        del raw
        if problem is None and circumstances() != before:
            problem = Refused("it leaves the grad mode or a default changed", lasting=True)
        if scrub(call) and problem is None:
            problem, trace = Refused("it keeps a number of the call elsewhere"), Trace(state, None)
        try:
            if problem is None or not problem.lasting:
                self._keep(trace)
        except Refused as error:
            problem = error.with_traceback(None)
        call.forget(after)
        if problem is not None:
            self._refuse(problem)
        return result

    def _state(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> State:
        """The state that a call reaches; once more where the code that it goes through has turned out to be larger."""
        while True:
            known = self._reach.size()
            state = State(self._call, args, kwargs, self._reach, self._parameters)
            if self._reach.size() == known:
                return state

    def _keep(self, trace: Trace) -> None:
        """Take a trace into the program of its signature, or make one.

        Raises:
            Refused: it contradicts another trace.
        """
        now = circumstances()
        key = signature(now, trace)
        for program in self._programs:
            if program.key == key:
                program.add(trace)
                return
        program = Program(self.__name__, now, trace)
        self._programs = (program, *self._programs)[:PROGRAM_LIMIT]

    # --- what is said

    def _refuse(self, refused: Refused) -> None:
        """This call is run as it is written, or from now on all are."""
        why = str(refused)
        if isinstance(refused, AsQuick):
            self.refusal = why
        elif self.fullgraph:
            raise RuntimeError(f"compile: {self.__name__} cannot be compiled: {why}")
        elif refused.lasting:
            self.refusal = why
            warnings.warn(f"compile: {self.__name__} runs as it is written: {why}", stacklevel=2)
        self._say(f"runs as it is written: {why}")

    def _say(self, text: str) -> None:
        if "recompile" in config.active().explain and text not in self._said:
            if len(self._said) > 256:
                self._said.clear()
            self._said.add(text)
            dump.say(f"compile: {self.__name__}: {text}")

    def _explain(self, state: State, miss: Miss) -> None:
        """LAZYGRAD_EXPLAIN=recompile: which guard of the last program does not hold, and on which line."""
        if "recompile" not in config.active().explain:
            return
        where = describe(here())
        if not self._programs:
            dump.say(f"compile: {self.__name__} is traced for the first time  # {where}")
            return
        program = next((p for p in self._programs if miss in p.misses), self._programs[0])
        old = {line.label: line.fact for line in program.guards if line.condition}
        new = {line.label: line.fact for line in state.lines if line.condition}
        label = miss.label
        if miss.site is not None:
            line = f"{os.path.basename(miss.site[0].co_filename)}:{line_of(miss.site)}"
            text = f"a number has another value at {describe(miss.site) or line}"
        elif label in new and label in old and new[label] != old[label]:
            text = f"{label} is {new[label]}, was {old[label]}"
        else:
            text = f"{label} is not as it was" + (f" ({miss.fact})" if miss.fact else "")
        name = label.partition("'")[2].partition("'")[0]
        used = self._reach.lines.get(name)
        read = f", read at {used}" if used and not label.startswith("argument") else ""
        dump.say(f"compile: {self.__name__} is traced again: {text}{read}  # {where}")

    # --- donation

    def _give(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Let go of the memory of the arguments that were donated."""
        for key in self.donate:
            if isinstance(key, int):
                given = args[key] if key < len(args) else None
            else:
                position = self._parameters.index(key) if key in self._parameters else len(args)
                given = kwargs.get(key, args[position] if position < len(args) else None)
            if isinstance(given, Tensor) and given.storage.pinned() is None:
                node = given.storage.node
                given.storage.replace(
                    Node(Op.BUFFER, (), node.dtype, node.shape, None, node.place, node.site)
                )


@overload
def compile(
    model: Callable[..., Any],
    *,
    donate: Iterable[int | str] | int | str = ...,
    fullgraph: bool = ...,
    dynamic: bool | None = ...,
    backend: Any = ...,
    mode: str | None = ...,
    options: dict[str, Any] | None = ...,
    disable: bool = ...,
) -> Compiled: ...


@overload
def compile(
    model: None = None,
    *,
    donate: Iterable[int | str] | int | str = ...,
    fullgraph: bool = ...,
    dynamic: bool | None = ...,
    backend: Any = ...,
    mode: str | None = ...,
    options: dict[str, Any] | None = ...,
    disable: bool = ...,
) -> Callable[[Callable[..., Any]], Compiled]: ...


def compile(
    model: Callable[..., Any] | None = None,
    *,
    donate: Iterable[int | str] | int | str = (),
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = None,
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """Trace a function once for each kind of call, and replay it from then on, without building anything.

    Args:
        model: a function, or a module; left out in a decorator with arguments.
        donate: arguments, by position or name, that are given up: their memory may be used again, and they cannot be read any more.
        fullgraph: raise RuntimeError where the function cannot be compiled, instead of running it as it is written.
        disable: give the function back as it is.
        dynamic, backend, mode, options: taken for PyTorch's sake.

    Returns: a function that does what `model` does, backward passes and steps of optimizers included.

    Raises:
        TypeError: `model` cannot be called.

    Same as torch.compile. What is guarded, and what only a trace sees, stands in docs/compile.md.
    """
    keys = (donate,) if isinstance(donate, (int, str)) else tuple(donate)

    def wrap(target: Callable[..., Any]) -> Any:
        if not callable(target):
            raise TypeError(
                f"compile: expected a function or a module, not {type(target).__name__}"
            )
        if disable or isinstance(target, Compiled):
            return target
        return Compiled(target, keys, fullgraph)

    return wrap if model is None else wrap(model)
