"""Parametrizations: a parameter of a module that is computed from others at each access. torch.nn.utils.parametrize.

In: a module, the name of a parameter or buffer, and a module that computes its value. Out: the same module, of a class of its own with a
property of that name; what the value is computed from is kept under `module.parametrizations`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from ...autograd.grad_mode import no_grad
from ...tensor import Tensor
from ..container import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter


class _Cache:
    """The values that were computed in a `with cached()`, by module and name."""

    __slots__ = ("depth", "values")

    def __init__(self) -> None:
        self.depth = 0
        self.values: dict[tuple[int, str], Tensor] = {}


_CACHE = _Cache()
"""What `cached` keeps while it lasts."""


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized value once, however often it is read. Same as torch.nn.utils.parametrize.cached."""
    _CACHE.depth += 1
    try:
        yield
    finally:
        _CACHE.depth -= 1
        if not _CACHE.depth:
            _CACHE.values.clear()


class ParametrizationList(ModuleList):
    """What one value is computed from, and the modules that compute it, the first first.

    Raises:
        ValueError: no modules; a result, or what `right_inverse` gives, of another kind, dtype or shape.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        dtype, shape = original.dtype, original.shape
        new: Any = original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with contextlib.suppress(NotImplementedError):
                        new = module.right_inverse(new)
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if isinstance(new, Tensor):
            if new.dtype != dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            _set(original, new)
            _register(self, "original", original)
        else:
            for number, each in enumerate(new):
                if not isinstance(each, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got element "
                        f"{number} of the sequence with type {type(each).__name__}."
                    )
                own = each.detach()
                if isinstance(original, Parameter):
                    own = Parameter(own, original.requires_grad)
                _register(self, f"original{number}", own)
        if not unsafe:
            _require_same("Registering a parametrization", self(), dtype, shape, "unparametrized")

    def right_inverse(self, value: Any) -> None:
        """Set what is kept so that the value is this one.

        Raises:
            RuntimeError: a module has no `right_inverse`.
            ValueError: what it gives is of another kind, dtype or number.
        """
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                value = module.right_inverse(value)
        if self.is_tensor:
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"`right_inverse` should return a tensor. Got {type(value).__name__}"
                )
            values: Sequence[Any] = [value]
        elif not isinstance(value, Sequence):
            raise ValueError(
                f"'right_inverse' must return a sequence of tensors. Got {type(value).__name__}."
            )
        else:
            values = value
        if len(values) != self.ntensors:
            raise ValueError(
                f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. Got a sequence of length "
                f"{len(values)}."
            )
        for kept, new in zip(self._kept(), values, strict=True):
            if kept.dtype != new.dtype:
                raise ValueError(
                    f"The tensor returned by `right_inverse` has dtype {new.dtype} while `original` has dtype {kept.dtype}"
                )
            _set(kept, new)

    def _kept(self) -> list[Any]:
        names = ["original"] if self.is_tensor else [f"original{n}" for n in range(self.ntensors)]
        return [getattr(self, name) for name in names]

    def forward(self) -> Any:
        first, *others = list(self)
        value = first(*self._kept())
        for module in others:
            value = module(value)
        return value


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let a parameter be computed by a module, after those that compute it already. Same as torch.nn.utils.parametrize's.

    Raises:
        ValueError: there is none of that name; the result, or what `right_inverse` gives, has another dtype or shape, unless `unsafe`.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        lists: Any = module.parametrizations
        if not unsafe:
            value = getattr(module, tensor_name)
            new = parametrization(value)
            _require_same(
                "Registering a parametrization",
                new,
                value.dtype,
                value.shape,
                f"module.{tensor_name}",
            )
            if hasattr(parametrization, "right_inverse"):
                with contextlib.suppress(NotImplementedError):
                    back = parametrization.right_inverse(new)
                    if not isinstance(back, Tensor):
                        raise ValueError(
                            f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}"
                        )
        lists[tensor_name].append(parametrization)
        lists[tensor_name].unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        made = ParametrizationList([parametrization], original, unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _own_class(module)
            module.parametrizations = ModuleDict()
        setattr(type(module), tensor_name, _property(tensor_name))
        module.parametrizations[tensor_name] = made
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name '{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a parameter, or any, is computed. Same as torch.nn.utils.parametrize.is_parametrized."""
    lists = module._modules.get("parametrizations")
    if not isinstance(lists, ModuleDict):
        return False
    return len(lists) > 0 if tensor_name is None else tensor_name in lists


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make a computed parameter a plain one, with its value, or with what it was computed from. Same as torch.nn.utils.parametrize's.

    Raises:
        ValueError: it is not computed; it is computed from several tensors, and the value is not to be left.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    lists: Any = module.parametrizations
    made = lists[tensor_name]
    value = getattr(module, tensor_name)
    if made.is_tensor:
        plain = made.original
        if leave_parametrized:
            _set(plain, value.detach())
    elif leave_parametrized:
        plain = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del lists[tensor_name]
    _register(module, tensor_name, plain)
    if not is_parametrized(module):
        del module._modules["parametrizations"]
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of a module as it was written. Same as torch.nn.utils.parametrize's."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def _own_class(module: Module) -> None:
    """A class for this module alone, for properties to stand in."""

    def copy(self: Any, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            memo[id(self)] = replica = object.__new__(type(self))
            replica.__dict__ = deepcopy(self.__dict__, memo)
        return memo[id(self)]

    def refuse(self: Any) -> Any:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict()."
        )

    before = type(module)
    members: dict[str, Any] = {"__getstate__": refuse, "__deepcopy__": copy}
    module.__class__ = type(f"Parametrized{before.__name__}", (before,), members)


def _property(name: str) -> property:
    def read(self: Any) -> Any:
        made = self.parametrizations[name]
        if not _CACHE.depth:
            return made()
        key = (id(self), name)
        if key not in _CACHE.values:
            _CACHE.values[key] = made()
        return _CACHE.values[key]

    def write(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(read, write)


def _require_same(what: str, value: Any, dtype: Any, shape: Any, before: str) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")
    for kind, old, new in (("dtype", dtype, value.dtype), ("shape", shape, value.shape)):
        if old != new:
            raise ValueError(
                f"{what} may not change the {kind} of the tensor, unless the `unsafe` flag is enabled.\n"
                f"{before}.{kind}: {old}\nparametrized {kind}: {new}"
            )


def _register(module: Module, name: str, tensor: Any) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _set(target: Tensor, value: Tensor) -> None:
    if target is not value:
        target.data = value.detach().clone()
