"""Modules that hold modules: in a row, in a list, in a dict, as torch.nn's containers."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Self, overload

from .module import Module


def _position(index: int, size: int) -> str:
    """The name of the module at `index`, which may count from the end.

    Raises:
        IndexError: there is none.
    """
    index = operator.index(index)
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of range")
    return str(index % size)


class _Row(Module):
    """Modules named 0, 1, 2, ...: what Sequential and ModuleList have in common."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter([module for module in self._modules.values() if module is not None])

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._of(list(self._modules.items())[index])
        return self._modules[_position(index, len(self))]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, _position(index, len(self)), module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)
        gone = names[index] if isinstance(index, slice) else [_position(index, len(self))]
        self._renumber([module for name, module in self._modules.items() if name not in gone])

    def _of(self, items: list[tuple[str, Module | None]]) -> Self:
        """A new container of some of the modules."""
        raise NotImplementedError

    def _renumber(self, modules: list[Module | None]) -> None:
        self._modules = {str(i): module for i, module in enumerate(modules)}

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before the one at `index`.

        Raises:
            AssertionError: `module` is no Module.
        """
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        modules = list(self._modules.values())
        modules.insert(index, module)
        self._renumber(modules)
        return self

    def pop(self, index: int) -> Module:
        """Take away the module at `index` and give it back."""
        module = self[index]
        del self[index]
        return module


class Sequential(_Row):
    """Modules in a row: each takes the output of the one before. Same as torch.nn.Sequential.

    Args: the modules, or one ordered dict of them by name.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for position, module in enumerate(args):
                self.add_module(str(position), module)

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return super().__getitem__(index)
        return list(self._modules.values())[int(_position(index, len(self)))]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, list(self._modules)[int(_position(index, len(self)))], module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)
        gone = names[index] if isinstance(index, slice) else [names[index]]
        for name in gone:
            del self._modules[name]
        if all(name.isdecimal() for name in names):
            self._renumber(list(self._modules.values()))

    def _of(self, items: list[tuple[str, Module | None]]) -> Self:
        return type(self)(dict(items))


class ModuleList(_Row):
    """A list of modules, each of which parameters() and the rest find. Same as torch.nn.ModuleList."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _of(self, items: list[tuple[str, Module | None]]) -> Self:
        return type(self)(module for _, module in items if module is not None)

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __repr__(self) -> str:
        """Equal modules that follow each other show once, with their count."""
        if not len(self):
            return f"{self._get_name()}()"
        lines, start = [], 0
        for text, equal in groupby(map(repr, self)):
            count = len(list(equal))
            many = f"({start}-{start + count - 1}): {count} x {text}"
            one = f"({start}): {text}"
            lines.append((many if count > 1 else one).replace("\n", "\n  "))
            start += count
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


class ModuleDict(Module):
    """Modules by name, each of which parameters() and the rest find. Same as torch.nn.ModuleDict."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        module = self._modules[key]
        assert module is not None
        return module

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Take away all modules."""
        self._modules.clear()

    def pop(self, key: str) -> Module:
        """Take away the module called `key` and give it back."""
        module = self[key]
        del self[key]
        return module

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module | None]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Module | None]]:
        """Name and module, in the order of insertion."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules."""
        for name, module in modules.items() if isinstance(modules, Mapping) else modules:
            self[name] = module
