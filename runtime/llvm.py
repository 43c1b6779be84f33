"""LLVM, and the way from an object file to code in memory.

In: LLVM IR as text, or object files. Out: object files; or addresses, with what keeps the code there. LLVM is imported when
something is compiled: objects that come from the cache directory are placed by link.py, which needs none of it, and by LLVM's
linker only where link.py refuses them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lazygrad.codegen.target import Target

from . import cache, fingerprint, link

if TYPE_CHECKING:
    from .object_code import ObjectCode


class Code:
    """Machine code in memory. It is unloaded, before the linker that placed it goes, when nothing refers to this any more."""

    __slots__ = ("_linker", "_tracker")

    def __init__(self, linker: Any, tracker: Any) -> None:
        self._linker = linker
        self._tracker = tracker

    def __del__(self) -> None:
        del self._tracker


class Compiler:
    """LLVM for one target, set up when it is first needed."""

    def __init__(self, target: Target | Callable[[], Target], level: int = 2) -> None:
        """`target` may be a function that says it; `level` is how much work LLVM's code generator does, 0 to 3."""
        self._target = target
        self._level = level
        self._lock = threading.RLock()
        self._loaded = 0

    @cached_property
    def _maker(self) -> ObjectCode:
        from .object_code import ObjectCode, binding

        with self._lock:
            setting = self.setting()
            target = self._target if isinstance(self._target, Target) else self._target()
            llvm = binding(target.triple)
            return ObjectCode(
                llvm, setting["cpu"], setting["features"], setting["level"], target.triple
            )

    def setting(self) -> dict[str, Any]:
        """What the code is for: the arguments of ObjectCode after the first."""
        target = self._target if isinstance(self._target, Target) else self._target()
        return {"cpu": target.cpu, "features": target.feature_text(), "level": self._level}

    @cached_property
    def _linker(self) -> Any:
        return self._maker.llvm.create_lljit_compiler(self._maker.machine)

    def compile(self, text: str) -> bytes:
        """LLVM IR to an object file.

        Raises:
            RuntimeError: LLVM does not accept the text, which is in the message: an error of the renderer.
        """
        with self._lock:
            try:
                return self._maker.emit(text)
            except RuntimeError as error:
                raise RuntimeError(f"LLVM refused this kernel: {error}\n{text}") from error

    def assembly(self, text: str) -> str:
        """LLVM IR to assembler text."""
        with self._lock:
            code: str = self._maker.machine.emit_assembly(self._maker.module(text))
            return code

    def load(self, code: bytes, symbol: str) -> tuple[int, Any]:
        """The address of `symbol` in an object file that is now linked in, and what keeps it there."""
        with self._lock:
            library = (
                self._maker.llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
            )
            self._loaded += 1
            tracker = library.export_symbol(symbol).link(self._linker, f"{symbol}.{self._loaded}")
        return int(tracker[symbol]), Code(self._linker, tracker)

    def load_all(self, objects: Sequence[tuple[bytes, str]]) -> list[tuple[int, Any]]:
        """The same for several, without LLVM where that can be.

        Raises:
            RuntimeError: they are no objects for this machine.
        """
        try:
            addresses, linked = link.link(objects)
        except link.Unlinkable:
            return [self.load(code, symbol) for code, symbol in objects]
        return [(address, linked) for address in addresses]

    def support(self, text: str, symbol: str) -> tuple[int, Any]:
        """`compile` and `load` for code that every process needs: it is compiled in the first one alone."""
        store = cache.store()
        if store is None:
            return self.load(self.compile(text), symbol)
        try:
            name = cache.digest(
                b"support", fingerprint.environment(), str(self._level).encode(), text.encode()
            )
        except fingerprint.Unsettled:
            return self.load(self.compile(text), symbol)
        name = f"{name}.object"
        code = store.read(name)
        if code is not None:
            try:
                return self.load_all([(code, symbol)])[0]
            except RuntimeError:
                pass  # it is compiled again
        code = self.compile(text)
        store.write(name, code)
        return self.load(code, symbol)
