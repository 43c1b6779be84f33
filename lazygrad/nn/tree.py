"""The tree of modules: parameters, buffers and submodules under names, and everything that walks them.

In: what a module sets as attributes or registers. Out: attribute access, named_parameters() and the other walks, dotted paths, the
repr. `Tree` is the root of Module (module.py), and knows nothing of calls, state dicts or values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from ..tensor import Tensor
from .parameter import Buffer, Parameter

if TYPE_CHECKING:
    from .module import Module


class Tree:
    """Names of a module: each is a parameter, a buffer, a submodule or a plain attribute."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]

    def __init__(self) -> None:
        set_plainly = super().__setattr__
        set_plainly("training", True)
        for name in ("_parameters", "_buffers", "_modules"):
            set_plainly(name, {})
        set_plainly("_non_persistent_buffers_set", set())

    # --- attributes: Parameters, Modules and buffers live in their own tables

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__
        if isinstance(value, Parameter):
            self._require_initialised("parameters")
            _forget(name, tables, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif name in tables.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, None)
        elif isinstance(value, Tree):
            self._require_initialised("module")
            _forget(name, tables, "_buffers")
            tables["_modules"][name] = value
        elif name in tables.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            tables["_modules"][name] = None
        elif isinstance(value, Buffer) or name in tables.get("_buffers", ()):
            self._require_initialised("buffer")
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            persistent = getattr(value, "persistent", name not in self._non_persistent_buffers_set)
            self.register_buffer(name, value, persistent)
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        tables = self.__dict__
        for table in ("_parameters", "_buffers", "_modules"):
            entries = tables.get(table)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*super().__dir__(), *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[0].isdigit())

    def _require_initialised(self, what: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")

    def _require_new_name(self, what: str, name: str, own: Mapping[str, object]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {type(name).__name__}")
        if "." in name:
            more = f", got: {name}" if what == "module" else ""
            raise KeyError(f'{what} name can\'t contain "."{more}')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if name not in own and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, reached as an attribute and by parameters(); None reserves the name.

        Raises:
            KeyError: the name is taken, empty or has a dot.
            TypeError: `param` is no Parameter.
            ValueError: `param` is the result of an operation.
        """
        self._require_initialised("parameter")
        self._require_new_name("parameter", name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created explicitly. "
                f"To express '{name}' as a function of another Tensor, compute the value in the forward() method."
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but no parameter; a persistent one is in the state_dict.

        Raises:
            KeyError: the name is taken, empty or has a dot.
            TypeError: `tensor` is no Tensor.
        """
        self._require_initialised("buffer")
        self._require_new_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Tree | None) -> None:
        """Add a submodule; None reserves the name.

        Raises:
            KeyError: the name is taken, empty or has a dot.
            TypeError: `module` is no Module.
        """
        if module is not None and not isinstance(module, Tree):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._require_initialised("module")
        self._require_new_name("module", name, self._modules)
        self._modules[name] = cast("Module | None", module)

    def register_module(self, name: str, module: Tree | None) -> None:
        """Another name of add_module."""
        self.add_module(name, module)

    # --- dotted paths

    def _member(self, name: str) -> Any:
        """An attribute, or an AttributeError in PyTorch's words."""
        if not hasattr(self, name):
            raise AttributeError(f"{self._get_name()} has no attribute `{name}`")
        return getattr(self, name)

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path below this one; the empty path is the module itself.

        Raises:
            AttributeError: there is none.
        """
        module: Tree = self
        for part in target.split(".") if target else ():
            module = module._member(part)
            if not isinstance(module, Tree):
                raise AttributeError(f"`{part}` is not an nn.Module")
        return cast("Module", module)

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module at a dotted path, whose parent exists; with `strict` something must be there already.

        Raises:
            ValueError: the path is empty; `module` is no Module.
            AttributeError: the parent does not exist, or something that is no module is at the path.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Tree):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if (strict or hasattr(parent, name)) and not isinstance(parent._member(name), Tree):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path.

        Raises:
            AttributeError: there is none.
        """
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._member(name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path.

        Raises:
            AttributeError: there is none.
        """
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        found: Tensor = owner._member(name)
        if name not in owner._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    # --- walks

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with dotted names, parents first; a shared module once, unless `remove_duplicate` is False."""
        seen = set() if memo is None else memo
        stack: list[tuple[str, Module]] = [(prefix, cast("Module", self))]
        while stack:
            name, module = stack.pop()
            if module in seen:
                continue
            if remove_duplicate:
                seen.add(module)
            yield name, module
            start = name + "." if name else ""
            stack.extend(
                (start + key, child)
                for key, child in reversed(module._modules.items())
                if child is not None
            )

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules set on this one, each once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules set on this one, each once."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self,
        get_members_fn: Callable[[Module], Iterable[tuple[str, Any]]],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """What `get_members_fn` gives of each module, with dotted names."""
        owners: Iterable[tuple[str, Module]] = [(prefix, cast("Module", self))]
        if recurse:
            owners = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        seen: set[int] = set()
        for owner_name, owner in owners:
            for name, value in get_members_fn(owner):
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield (owner_name + "." if owner_name else "") + name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters of this module and (`recurse`) of all below it, with dotted names; a shared one once."""
        return self._named_members(
            lambda module: module._parameters.items(), prefix, recurse, remove_duplicate
        )

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and (`recurse`) of all below it, each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers of this module and (`recurse`) of all below it, with dotted names; a shared one once."""
        return self._named_members(
            lambda module: module._buffers.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and (`recurse`) of all below it, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # --- repr

    def extra_repr(self) -> str:
        """What stands between the parentheses of the repr before the submodules."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr().split("\n") if self.extra_repr() else []
        children = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        if len(extra) == 1 and not children:
            return f"{self._get_name()}({extra[0]})"
        lines = extra + children
        if not lines:
            return f"{self._get_name()}()"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


def _forget(name: str, tables: dict[str, Any], *others: str) -> None:
    """Free `name` for another kind of attribute."""
    tables.pop(name, None)
    tables["_non_persistent_buffers_set"].discard(name)
    for other in others:
        tables[other].pop(name, None)
