"""Modules that hold modules: in a row, in a list, in a dict, as torch.nn's containers."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Self, overload

from .module import Module


class Container(Module):
    """Modules by their names. Same as torch.nn.Container, which PyTorch keeps for old code."""

    def __init__(self, **kwargs: Module | None) -> None:
        super().__init__()
        for name, module in kwargs.items():
            self.add_module(name, module)


class _Row(Module):
    """Modules named 0, 1, 2, ... (Sequential: also otherwise): what Sequential and ModuleList have in common."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())  # type: ignore[arg-type]  # None is allowed there, and rare

    def _name(self, index: int) -> str:
        """The name of the module at `index`, which may count from the end.

        Raises:
            IndexError: there is none.
        """
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range")
        return list(self._modules)[index]

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._of(list(self._modules.items())[index])
        return self._modules[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        gone = list(self._modules)[index] if isinstance(index, slice) else [self._name(index)]
        for name in gone:
            delattr(self, name)
        self._renumber(list(self._modules.values()))

    def _of(self, items: list[tuple[str, Module | None]]) -> Self:
        """A new container of some of the modules."""
        raise NotImplementedError

    def _renumber(self, modules: Iterable[Module | None]) -> None:
        self._modules = {str(position): module for position, module in enumerate(modules)}

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end.

        Raises:
            TypeError: `modules` is not iterable.
        """
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"{type(self).__name__}.extend should be called with an iterable, but got {type(modules).__name__}"
            )
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, key: int | slice) -> Any:
        """Take away the module at `key` (or several) and give it back."""
        found = self[key]
        del self[key]
        return found


class Sequential(_Row):
    """Modules in a row: each takes the output of the one before. Same as torch.nn.Sequential.

    Args: the modules, or one OrderedDict of them by name.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for position, module in enumerate(args):
                self.add_module(str(position), module)

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input

    def _of(self, items: list[tuple[str, Module | None]]) -> Self:
        return type(self)(OrderedDict(items))

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before the one at `index`.

        Raises:
            AssertionError: `module` is no Module. IndexError: there is no such place.
        """
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        if not -len(self) <= index <= len(self):
            raise IndexError(f"Index out of range: {index}")
        modules = list(self._modules.values())
        modules.insert(index, module)
        self._renumber(modules)
        return self

    def _check_sequential(self, other: object) -> None:
        if not isinstance(other, Sequential):
            raise ValueError(
                f"add operator supports only objects of Sequential class, but {type(other)} is given."
            )

    def __add__(self, other: Sequential) -> Sequential:
        self._check_sequential(other)
        return Sequential(*self, *other)

    def __iadd__(self, other: Sequential) -> Self:
        self._check_sequential(other)
        return self.extend(other)

    def _check_factor(self, other: object) -> None:
        if not isinstance(other, int):
            raise TypeError(f"unsupported operand type(s) for *: {type(self)} and {type(other)}")
        if other <= 0:
            raise ValueError(f"Non-positive multiplication factor {other} for {type(self)}")

    def __mul__(self, other: int) -> Sequential:
        """The same modules several times over, not copies of them."""
        self._check_factor(other)
        return Sequential(*list(self) * other)

    __rmul__ = __mul__

    def __imul__(self, other: int) -> Self:
        self._check_factor(other)
        return self.extend(list(self) * (other - 1))


class ModuleList(_Row):
    """A list of modules, each of which parameters() and the rest find. Same as torch.nn.ModuleList."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _of(self, items: list[tuple[str, Module | None]]) -> Self:
        return type(self)(module for _, module in items if module is not None)

    def insert(self, index: int, module: Module) -> None:
        """Add a module before the one at `index`."""
        modules = list(self._modules.values())
        modules.insert(index, module)
        self._renumber(modules)

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

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

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        module = self._modules[key]
        return module  # type: ignore[return-value]  # None is allowed there, and rare

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

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._modules.values()  # type: ignore[return-value]

    def items(self) -> Iterable[tuple[str, Module]]:
        """Name and module, in the order of insertion."""
        return self._modules.items()  # type: ignore[return-value]

    def update(self, modules: Any) -> None:
        """Add or replace modules: a mapping, a ModuleDict or pairs.

        Raises:
            TypeError, ValueError: it is none of these.
        """
        for name, module in pairs("ModuleDict", "ModuleDict", modules, ModuleDict):
            self[name] = module


def pairs(
    kind: str, plural: str, entries: Any, own: type, in_order: bool = True
) -> list[tuple[str, Any]]:
    """The entries of an update(): a mapping's (sorted by name unless `in_order`, as ParameterDict has it), or pairs as they are."""
    if not isinstance(entries, Iterable):
        raise TypeError(
            f"{plural}.update should be called with an iterable of key/value pairs, but got {type(entries).__name__}"
        )
    if isinstance(entries, (own, OrderedDict)):
        return list(entries.items())  # type: ignore[attr-defined]
    if isinstance(entries, Mapping):
        return list(entries.items()) if in_order else sorted(entries.items())
    found = []
    for position, pair in enumerate(entries):
        if not isinstance(pair, Iterable):
            raise TypeError(
                f"{kind} update sequence element #{position} should be Iterable; is{type(pair).__name__}"
            )
        entry: Any = pair
        if len(entry) != 2:
            raise ValueError(
                f"{kind} update sequence element #{position} has length {len(entry)}; 2 is required"
            )
        found.append((entry[0], entry[1]))
    return found
