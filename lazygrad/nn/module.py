"""Module: parameters, buffers and submodules under names, as torch.nn.Module.

In: subclasses that set Parameters, Modules and buffers as attributes, and define `forward`. Out: everything that walks the tree of
modules: parameters(), state_dict(), to(), train(), hooks around `forward`, and the repr.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from ..autograd.grad_mode import no_grad
from ..history import RemovableHandle
from ..tensor import Tensor
from .parameter import Parameter

Hooks = dict[int, Callable[..., Any]]
"""Hooks by the number of their handle, in the order of their calls; each takes keyword arguments too."""


class IncompatibleKeys(NamedTuple):
    """What load_state_dict found on one side only."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Module:
    """The base class of all layers and models."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent: set[str]
    _forward_pre_hooks: Hooks
    _forward_hooks: Hooks

    def __init__(self) -> None:
        set_plainly = super().__setattr__
        set_plainly("training", True)
        set_plainly("_parameters", {})
        set_plainly("_buffers", {})
        set_plainly("_modules", {})
        set_plainly("_non_persistent", set())
        set_plainly("_forward_pre_hooks", {})
        set_plainly("_forward_hooks", {})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._forward_pre_hooks and not self._forward_hooks:
            return self.forward(*args, **kwargs)
        for hook in tuple(self._forward_pre_hooks.values()):
            changed = hook(self, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        output = self.forward(*args, **kwargs)
        for hook in tuple(self._forward_hooks.values()):
            changed = hook(self, args, kwargs, output)
            if changed is not None:
                output = changed
        return output

    # --- attributes: Parameters, Modules and buffers live in their own tables

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__
        if isinstance(value, Parameter):
            self._require_initialised("parameter")
            _forget(name, tables, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._require_initialised("module")
            _forget(name, tables, "_parameters", "_buffers")
            tables["_modules"][name] = value
        elif name in tables.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            tables["_parameters"][name] = None
        elif name in tables.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            tables["_modules"][name] = None
        elif name in tables.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as buffer '{name}' "
                    "(torch.Tensor or None expected)"
                )
            tables["_buffers"][name] = value
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        tables = self.__dict__
        for table in ("_parameters", "_modules", "_buffers"):
            entries = tables.get(table)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*super().__dir__(), *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[0].isdigit())

    def _require_initialised(self, what: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {what}s before Module.__init__() call")

    def _require_new_name(self, what: str, name: str, own: Mapping[str, object]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain "."')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if hasattr(self, name) and name not in own:
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
            self._non_persistent.discard(name)
        else:
            self._non_persistent.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule; None reserves the name.

        Raises:
            KeyError: the name is taken, empty or has a dot.
            TypeError: `module` is no Module.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._require_initialised("module")
        self._require_new_name("module", name, self._modules)
        self._modules[name] = module

    register_module = add_module

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path below this one; the empty path is the module itself.

        Raises:
            AttributeError: there is none.
        """
        module = self
        for part in target.split(".") if target else ():
            found = getattr(module, part, None)
            if not isinstance(found, Module):
                raise AttributeError(f"{type(module).__name__} has no attribute `{part}`")
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path.

        Raises:
            AttributeError: there is none.
        """
        path, _, name = target.rpartition(".")
        found = getattr(self.get_submodule(path), name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path.

        Raises:
            AttributeError: there is none.
        """
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._buffers.get(name)
        if found is None:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    # --- walking the tree

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with dotted names, parents first; a shared module once."""
        seen = set() if memo is None else memo
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if remove_duplicate and module in seen:
                continue
            seen.add(module)
            yield name, module
            start = name + "." if name else ""
            stack.extend(
                (start + key, child)
                for key, child in reversed(module._modules.items())
                if child is not None
            )

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
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
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        owners = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        seen: set[int] = set()
        for owner_name, owner in owners if recurse else [(prefix, self)]:
            for name, value in getattr(owner, table).items():
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield (owner_name + "." if owner_name else "") + name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters of this module and (`recurse`) of all below it, with dotted names; a shared one once."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and (`recurse`) of all below it, each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers of this module and (`recurse`) of all below it, with dotted names; a shared one once."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and (`recurse`) of all below it, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Call `fn` on every module below this one, children first, and on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # --- modes and gradients

    def train(self, mode: bool = True) -> Self:
        """Set training mode on this module and all below it.

        Raises:
            ValueError: `mode` is no bool.
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode: train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set requires_grad of every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradient of every parameter, or fill it with zeros."""
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                parameter.grad = parameter.grad.detach()
                parameter.grad.zero_()

    # --- moving and casting

    def _apply(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Replace the value of every parameter, gradient and buffer; a shared one once."""
        for parameter in self.parameters():
            with no_grad():
                parameter.data = change(parameter.data)
                if parameter.grad is not None:
                    parameter.grad = change(parameter.grad)
        changed: dict[int, Tensor] = {}
        for module in self.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    if id(buffer) not in changed:
                        changed[id(buffer)] = change(buffer)
                    module._buffers[name] = changed[id(buffer)]
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move or cast the parameters and buffers, as Tensor.to; a dtype changes floating tensors only.

        Raises:
            TypeError: the dtype is not floating.
        """
        dtype = kwargs.pop("dtype", None)
        places: list[Any] = []
        for value in args:
            if isinstance(value, Tensor):
                dtype, places = value.dtype, [value.device]
            elif hasattr(value, "is_floating_point"):
                dtype = value
            else:
                places.append(value)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def change(tensor: Tensor) -> Tensor:
            if places or kwargs:
                tensor = tensor.to(*places, **kwargs)
            return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor

        return self._apply(change)

    def _cast(self, method: str) -> Self:
        return self._apply(lambda t: getattr(t, method)() if t.is_floating_point() else t)

    def float(self) -> Self:
        """Cast floating parameters and buffers to float32."""
        return self._cast("float")

    def double(self) -> Self:
        """Cast floating parameters and buffers to float64."""
        return self._cast("double")

    def half(self) -> Self:
        """Cast floating parameters and buffers to float16."""
        return self._cast("half")

    def bfloat16(self) -> Self:
        """Cast floating parameters and buffers to bfloat16."""
        return self._cast("bfloat16")

    def type(self, dst_type: Any) -> Self:
        """Cast all parameters and buffers."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def cpu(self) -> Self:
        """Move the parameters and buffers to the host."""
        return self._apply(lambda tensor: tensor.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Move the parameters and buffers to a CUDA device."""
        return self._apply(lambda tensor: tensor.cuda(device))

    # --- state

    def state_dict(
        self,
        *,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """The parameters and persistent buffers by dotted name; the values share memory with the module's."""
        found: dict[str, Any] = OrderedDict() if destination is None else destination
        for owner, module in self.named_modules(prefix=prefix.rstrip("."), remove_duplicate=False):
            start = owner + "." if owner else ""
            for name, value in module._state():
                found[start + name] = value if keep_vars else value.detach()
        return found

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        """This module's own parameters and persistent buffers."""
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent:
                yield name, buffer

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the values of a state_dict into the parameters and buffers.

        Args:
            strict: the keys must be exactly those of this module's state_dict.
            assign: take the tensors themselves instead of copying their values.

        Returns: the keys found on one side only.

        Raises:
            RuntimeError: keys (if `strict`) or shapes do not agree; every disagreement is listed, and nothing was copied.
            TypeError: `state_dict` is no mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"Expected state_dict to be dict-like, got {type(state_dict).__name__}."
            )
        slots = {
            (owner + "." if owner else "") + name: (module, name, value)
            for owner, module in self.named_modules(remove_duplicate=False)
            for name, value in module._state()
        }
        missing = [key for key in slots if key not in state_dict]
        unexpected = [key for key in state_dict if key not in slots]
        problems = []
        if strict and unexpected:
            problems.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
        if strict and missing:
            problems.append(f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        for key, (_, _, value) in slots.items():
            given = state_dict.get(key)
            if given is not None and tuple(given.shape) != tuple(value.shape):
                problems.append(
                    f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, "
                    f"the shape in current model is {value.shape}."
                )
        if problems:
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(problems)
            )
        with no_grad():
            for key, (module, name, value) in slots.items():
                if key not in state_dict:
                    continue
                if not assign:
                    value.copy_(state_dict[key])
                elif name in module._parameters:
                    module._parameters[name] = Parameter(
                        state_dict[key].detach(), value.requires_grad
                    )
                else:
                    module._buffers[name] = state_dict[key]
        return IncompatibleKeys(missing, unexpected)

    # --- hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args) before each forward; what it returns, if not None, replaces the arguments.

        With `with_kwargs` it is hook(module, args, kwargs), which returns both or None.
        """

        def positional(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            changed = hook(module, args)
            if changed is None:
                return None
            return (changed if isinstance(changed, tuple) else (changed,)), kwargs

        return _register(self._forward_pre_hooks, hook if with_kwargs else positional, prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args, output) after each forward; what it returns, if not None, replaces the output.

        With `with_kwargs` it is hook(module, args, kwargs, output).
        """

        def positional(module: Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
            return hook(module, args, output)

        return _register(self._forward_hooks, hook if with_kwargs else positional, prepend)

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
    for other in others:
        tables[other].pop(name, None)


def _register(hooks: Hooks, hook: Callable[..., Any], first: bool) -> RemovableHandle:
    """Add a hook, last or `first`."""
    later = dict(hooks) if first else {}
    if first:
        hooks.clear()
    handle = RemovableHandle(hooks, hook)
    hooks.update(later)
    return handle


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
