"""Optimizer: parameters in groups with options, and state per parameter, as torch.optim.Optimizer.

In: parameters with gradients. Out: in-place updates of the parameters. Where gradients wait to be computed a step only builds nodes; where
everything is in memory it is one launch (alike.py). Numbers that change from step to step (a learning rate, a bias correction) enter as
Python floats, so a step never recompiles. The first step is no exception: parameters are computed when an optimizer takes them, and state is
in memory from the start.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import wraps
from typing import Any, ClassVar

from ..autograd.grad_mode import enable_grad, set_grad_enabled
from ..functional.creation import stored_zeros, tensor
from ..history import RemovableHandle
from ..ir.dtype import float32
from ..reading import realize
from ..runtime.steady import STEADY
from ..tensor import Tensor
from .alike import Members, update_alike

Group = dict[str, Any]
State = dict[str, Any]
Member = tuple[Tensor, Tensor, State]
"""A parameter, its gradient and its state, which is empty at its first step."""
Closure = Callable[[], Any]
Hooks = dict[int, Callable[..., Any]]

STEP_PRE_HOOKS: Hooks = {}
"""What runs before each step of every optimizer."""

STEP_POST_HOOKS: Hooks = {}
"""What runs after each step of every optimizer."""


class Required:
    """What a default is that every group must give itself."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = Required()


class Optimizer:
    """The base class of all optimizers. A subclass defines `update`, or `step`.

    Args:
        params: tensors, (name, tensor) pairs, or groups: dicts with "params" and the options that differ for them.
        defaults: the value of every option for groups that do not say their own.
    """

    COUNTERS: ClassVar[Mapping[str, type]] = {}
    """Entries of the state that are plain numbers here and 0-d tensors in a state_dict, as PyTorch has them."""

    ELEMENTWISE: ClassVar[bool] = False
    """Whether `update` does to each element the same, which depends on nothing but what its tensors have at that place, the counters of its
    parameter and the group's options: members that are in memory are then updated all together (alike.py)."""

    _opt_called = False
    """Whether a step has been made; learning rate schedulers ask for it."""

    def __init_subclass__(cls) -> None:
        if "step" in cls.__dict__:
            cls.step = _hooked(cls.__dict__["step"])  # type: ignore[method-assign]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + params.type()
            )
        self.defaults = defaults
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._without_hooks()
        self._members: dict[tuple[int, bool], Members] = {}
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def _without_hooks(self) -> None:
        self._optimizer_step_pre_hooks: Hooks = {}
        self._optimizer_step_post_hooks: Hooks = {}
        self._optimizer_state_dict_pre_hooks: Hooks = {}
        self._optimizer_state_dict_post_hooks: Hooks = {}
        self._optimizer_load_state_dict_pre_hooks: Hooks = {}
        self._optimizer_load_state_dict_post_hooks: Hooks = {}

    def __getstate__(self) -> dict[str, Any]:
        return {
            "defaults": self.defaults,
            "state": self.state,
            "param_groups": self.param_groups,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_optimizer_step_pre_hooks" not in self.__dict__:
            self._without_hooks()
        self._members = {}
        self.defaults.setdefault("differentiable", False)

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with their own options; options not given take the defaults.

        Raises:
            TypeError: something is no tensor.
            ValueError: a tensor is not a leaf, or is in another group; a required option is missing; some have names and some not.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        given = param_group["params"]
        if isinstance(given, (set, frozenset)):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in "
                "sets will change between runs. Please use a list instead."
            )
        members = [given] if isinstance(given, Tensor) else list(given)
        names = [member[0] for member in members if isinstance(member, tuple)]
        members = [member[1] if isinstance(member, tuple) else member for member in members]
        if names:
            if len(names) != len(members):
                raise ValueError(
                    "all optimizer params should be with/without names. Some param names are missing"
                )
            param_group["param_names"] = names
        param_group["params"] = members
        for member in members:
            if not isinstance(member, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(member).__name__}"
                )
            if not (self.defaults.get("differentiable") or member.is_leaf or member.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter {name}"
                )
            param_group.setdefault(name, default)
        if len(set(map(id, members))) != len(members):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        named = "param_names" in param_group
        for group in self.param_groups:
            if named is not ("param_names" in group):
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param group "
                    f"{'with' if named else 'without'} names to the optimizer"
                )
            if not set(map(id, group["params"])).isdisjoint(map(id, members)):
                raise ValueError("some parameters appear in more than one parameter group")
        realize([each for each in members if not getattr(each, "uninitialized", False)])
        self.param_groups.append(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradient of every parameter, or fill it with zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if set_to_none:
                    parameter.grad = None
                else:
                    parameter.grad = parameter.grad.detach()
                    parameter.grad.zero_()

    def step(self, closure: Closure | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients again; called first, and its result returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        state = self.state
        with set_grad_enabled(bool(self.defaults.get("differentiable"))):
            for number, group in enumerate(self.param_groups):
                if self.ELEMENTWISE and update_alike(self, self._members, number, group):
                    continue
                members = []
                for parameter in group["params"]:
                    gradient = parameter.grad
                    if gradient is not None:
                        members.append((parameter, gradient, state[parameter]))
                if members:
                    self.update(group, members)
                if self.ELEMENTWISE and STEADY.observer is not None:
                    for parameter, _, entries in members:
                        STEADY.observer.updates((parameter, *entries.values()))
        return loss

    def begin(self, group: Group, parameter: Tensor, state: State) -> None:
        """Give a parameter that makes its first step its state, where that does not depend on its gradient."""

    def update(self, group: Group, members: list[Member]) -> None:
        """Change the parameters of a group that have gradients, in place."""
        raise NotImplementedError

    # --- hooks

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return new (args, kwargs)."""
        return RemovableHandle(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return RemovableHandle(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer)` before each `state_dict`."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` on what `state_dict` made; it may return another one."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before a copy of it is loaded; it may return another one."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer)` after each `load_state_dict`."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # --- state

    def state_dict(self) -> dict[str, Any]:
        """The state by the parameter's number, and the groups with numbers for parameters."""
        for hook in list(self._optimizer_state_dict_pre_hooks.values()):
            hook(self)
        number: dict[int, int] = {}
        position = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                number.setdefault(id(parameter), position)
                position += 1
        groups = [
            {
                **{k: v for k, v in group.items() if k != "params"},
                "params": [number[id(p)] for p in group["params"]],
            }
            for group in self.param_groups
        ]
        state = {
            (number[id(key)] if isinstance(key, Tensor) else key): self._saved(entry)
            for key, entry in self.state.items()
        }
        made: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in list(self._optimizer_state_dict_post_hooks.values()):
            changed = hook(self, made)
            if changed is not None:
                made = changed
        return made

    def _saved(self, entry: Any) -> Any:
        """One parameter's state as PyTorch has it: counters are tensors."""
        if not isinstance(entry, dict) or self.COUNTERS.keys().isdisjoint(entry):
            return entry
        return {
            name: tensor(float(value), dtype=float32) if name in self.COUNTERS else value
            for name, value in entry.items()
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the options and a copy of the state of a state_dict; parameters are matched by their order.

        Raises:
            ValueError: the numbers of groups, or of parameters in a group, differ.
        """
        state_dict = dict(state_dict)
        for hook in list(self._optimizer_load_state_dict_pre_hooks.values()):
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(
            len(new["params"]) != len(old["params"]) for new, old in zip(saved, self.param_groups)
        ):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        parameters: dict[Any, Tensor] = {}
        groups = []
        for new, old in zip(saved, self.param_groups):
            parameters.update(zip(new["params"], old["params"]))
            kept = {name: old[name] for name in ("param_names",) if name in old}
            options = deepcopy({k: v for k, v in new.items() if k != "params"})
            groups.append({**self.defaults, **kept, **options, "params": old["params"]})
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, entry in state_dict["state"].items():
            parameter = parameters.get(key)
            if parameter is None:
                state[key] = entry
            else:
                state[parameter] = {
                    name: self.COUNTERS[name](value)
                    if name in self.COUNTERS
                    else _loaded(value, parameter)
                    for name, value in entry.items()
                }
        realize([entry for entry in state.values() if isinstance(entry, dict)])
        self.__setstate__({"state": state, "param_groups": groups})
        for hook in list(self._optimizer_load_state_dict_post_hooks.values()):
            hook(self)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for position, group in enumerate(self.param_groups):
            lines += (
                ["", f"Parameter Group {position}"] if position else [f"Parameter Group {position}"]
            )
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


# --- hooks


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before each step of every optimizer; it may return new (args, kwargs)."""
    return RemovableHandle(STEP_PRE_HOOKS, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after each step of every optimizer."""
    return RemovableHandle(STEP_POST_HOOKS, hook)


def _register(hooks: Hooks, hook: Callable[..., Any], first: bool) -> RemovableHandle:
    handle = RemovableHandle(hooks, hook)
    if first:
        others = {key: value for key, value in hooks.items() if key != handle.id}
        for key in others:
            del hooks[key]
        hooks.update(others)
    return handle


def _hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """A class's `step` with the hooks around it, whose arguments begin with the optimizer, as PyTorch's do."""

    @wraps(step)
    def run(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True
        given: tuple[Any, ...] = (self, *args)
        for hook in [*STEP_PRE_HOOKS.values(), *self._optimizer_step_pre_hooks.values()]:
            changed = hook(self, given, kwargs)
            if changed is None:
                continue
            if not (isinstance(changed, tuple) and len(changed) == 2):
                raise RuntimeError(
                    f"{step} must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                )
            given, kwargs = changed
        result = step(*given, **kwargs)
        for hook in [*self._optimizer_step_post_hooks.values(), *STEP_POST_HOOKS.values()]:
            hook(self, given, kwargs)
        return result

    return run


Optimizer.step = _hooked(Optimizer.step)  # type: ignore[method-assign]


# --- state


def state_of(state: State, parameter: Tensor, *buffers: str) -> State:
    """The state of a parameter, begun with a count of no steps and buffers of zeros where it is new."""
    if not state:
        state["step"] = 0
        for name in buffers:
            state[name] = stored_zeros(parameter)
    return state


def directed(gradient: Tensor, parameter: Tensor, maximize: bool, decay: float) -> Tensor:
    """Which way is up: the gradient, turned around to maximize, with weight decay."""
    if maximize:
        gradient = -gradient
    if decay != 0:
        gradient = gradient.add(parameter, alpha=decay)
    return gradient


def _loaded(value: Any, parameter: Tensor) -> Any:
    """A copy of a value of a saved state, tensors with the parameter's dtype and device."""
    if isinstance(value, Tensor):
        dtype = parameter.dtype if parameter.is_floating_point() else value.dtype
        return parameter.new_zeros(value.shape, dtype=dtype).copy_(value.detach())
    if isinstance(value, (list, tuple)):
        return type(value)([_loaded(each, parameter) for each in value])
    return deepcopy(value)


# --- what options may be


def require_rate(lr: float | Tensor) -> None:
    """Refuse a learning rate.

    Raises:
        ValueError: it is negative, or a tensor of several elements.
    """
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    require(float(lr) >= 0, "learning rate", lr)


def require_betas(betas: Any) -> None:
    """Refuse the two betas.

    Raises:
        ValueError: one is outside [0, 1).
    """
    for index, beta in enumerate(betas):
        require(0 <= float(beta) < 1, f"beta parameter at index {index}", beta)


def require_form(fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    """Refuse arguments that PyTorch's implementations exclude together.

    Raises:
        RuntimeError: `fused` with `foreach` or `differentiable`.
    """
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def require(condition: bool, what: str, value: object) -> None:
    """Refuse an option's value.

    Raises:
        ValueError: the condition does not hold.
    """
    if not condition:
        raise ValueError(f"Invalid {what}: {value}")
