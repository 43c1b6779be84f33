"""`python -m lazygrad script.py args...`: runs a script that was written for PyTorch, `import torch` meaning lazygrad.

In: the path of a script and its arguments. The script runs as `__main__`, unmodified; torch, torch.nn, torch.optim and so on are
lazygrad's modules under PyTorch's names, in this process only. PyTorch itself is not imported, installed or not.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType, TracebackType

ALIAS = "torch"
REAL = "lazygrad"


class AliasFinder(importlib.abc.MetaPathFinder):
    """Answers every import of `torch` and `torch.x`, so that no later finder is asked for them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != ALIAS and not fullname.startswith(ALIAS + "."):
            return None
        name = REAL + fullname.removeprefix(ALIAS)
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: lazygrad has no module {name!r}", name=fullname
            ) from None
        return importlib.machinery.ModuleSpec(
            fullname, AliasLoader(module), is_package=hasattr(module, "__path__")
        )


class AliasLoader(importlib.abc.Loader):
    """Gives a module that is already loaded, and leaves it as it was."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system has put the alias there


def show_exception(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """The usual traceback, from the script's own first line on."""
    shown = traceback
    while shown is not None and shown.tb_frame.f_globals is not _script_globals:
        shown = shown.tb_next
    sys.__excepthook__(kind, error.with_traceback(shown or traceback), shown or traceback)


_script_globals: dict[str, object] = {}


def run(script: str, arguments: Sequence[str]) -> None:
    """Run the file `script` as `__main__`, with `arguments` as the rest of sys.argv."""
    global _script_globals
    with open(script, "rb") as file:
        source = file.read()
    sys.meta_path.insert(0, AliasFinder())
    sys.argv[:] = [script, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    main = ModuleType("__main__")
    main.__dict__.update(__file__=script, __builtins__=__builtins__, __cached__=None)
    sys.modules["__main__"] = main
    _script_globals = main.__dict__
    sys.excepthook = show_exception
    exec(compile(source, script, "exec"), main.__dict__)


def main() -> None:
    """The command line."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m lazygrad script.py [argument ...]")
        sys.exit(0 if arguments else 2)
    if not os.path.isfile(arguments[0]):
        print(f"python -m lazygrad: can't open file {arguments[0]!r}", file=sys.stderr)
        sys.exit(2)
    if ALIAS in sys.modules:
        raise RuntimeError(
            "python -m lazygrad: PyTorch is imported already, by a .pth file or site customisation"
        )
    run(arguments[0], arguments[1:])


if __name__ == "__main__":
    main()
