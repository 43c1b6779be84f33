"""Optimizer: parameters in groups with options, and state per parameter, as torch.optim.Optimizer.

In: parameters with gradients. Out: in-place updates of the parameters. A step only builds nodes: it computes nothing by itself, and
numbers that change from step to step (a learning rate, a bias correction) enter as Python floats, so a step never recompiles.
The first step is no exception: parameters are computed when an optimizer takes them, and state is in memory from the start.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, ClassVar

from ..autograd.grad_mode import enable_grad, set_grad_enabled
from ..reading import realize
from ..tensor import Tensor

Group = dict[str, Any]
State = dict[str, Any]
Member = tuple[Tensor, Tensor, State]
"""A parameter, its gradient and its state, which is empty at its first step."""
Closure = Callable[[], Any]


class Optimizer:
    """The base class of all optimizers. A subclass defines `update`.

    Args:
        params: tensors, (name, tensor) pairs, or groups: dicts with "params" and the options that differ for them.
        defaults: the value of every option for groups that do not say their own.
    """

    COUNTERS: ClassVar[tuple[str, ...]] = ()
    """Entries of the state that are plain numbers; a state_dict made elsewhere may have tensors there."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + type(params).__name__
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(dict(group))

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with their own options; options not given take the defaults.

        Raises:
            TypeError: something is no tensor.
            ValueError: a tensor is not a leaf, is there already, or a required option is missing.
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
        if members and isinstance(members[0], tuple):
            param_group["param_names"] = [name for name, _ in members]
            members = [member for _, member in members]
        for member in members:
            if not isinstance(member, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(member).__name__}"
                )
            if not (self.defaults.get("differentiable") or member.is_leaf or member.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        known = {id(member) for group in self.param_groups for member in group["params"]}
        if not known.isdisjoint(map(id, members)):
            raise ValueError("some parameters appear in more than one parameter group")
        if len(set(map(id, members))) != len(members):
            raise ValueError("some parameters appear twice in a parameter group")
        realize(members)
        param_group["params"] = members
        self.param_groups.append(
            {**param_group, **{k: v for k, v in self.defaults.items() if k not in param_group}}
        )

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
            for group in self.param_groups:
                members = []
                for parameter in group["params"]:
                    gradient = parameter.grad
                    if gradient is not None:
                        members.append((parameter, gradient, state[parameter]))
                if members:
                    self.update(group, members)
        return loss

    def update(self, group: Group, members: list[Member]) -> None:
        """Change the parameters of a group that have gradients, in place."""
        raise NotImplementedError

    # --- state

    def state_dict(self) -> dict[str, Any]:
        """The state by the parameter's number, and the groups with numbers for parameters."""
        number = {
            id(parameter): position
            for position, parameter in enumerate(
                p for group in self.param_groups for p in group["params"]
            )
        }
        groups = [
            {
                **{k: v for k, v in group.items() if k != "params"},
                "params": [number[id(p)] for p in group["params"]],
            }
            for group in self.param_groups
        ]
        return {
            "state": {number[id(p)]: entry for p, entry in self.state.items()},
            "param_groups": groups,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the options and a copy of the state of a state_dict; parameters are matched by their order.

        Raises:
            ValueError: the numbers of groups, or of parameters in a group, differ.
        """
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
        for new, old in zip(saved, self.param_groups):
            parameters.update(zip(new["params"], old["params"]))
        self.param_groups = [
            {**deepcopy({k: v for k, v in new.items() if k != "params"}), "params": old["params"]}
            for new, old in zip(saved, self.param_groups)
        ]
        self.state = defaultdict(dict)
        for key, entry in state_dict["state"].items():
            parameter = parameters[key]
            self.state[parameter] = {
                name: self._loaded(name, value, parameter) for name, value in entry.items()
            }

    def _loaded(self, name: str, value: Any, parameter: Tensor) -> Any:
        """A copy of one entry of a saved state, with the parameter's dtype and device."""
        if name in self.COUNTERS:
            return int(value)
        if not isinstance(value, Tensor):
            return deepcopy(value)
        dtype = parameter.dtype if parameter.is_floating_point() else value.dtype
        return parameter.new_zeros(value.shape, dtype=dtype).copy_(value.detach())

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for position, group in enumerate(self.param_groups):
            lines += (
                ["", f"Parameter Group {position}"] if position else [f"Parameter Group {position}"]
            )
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


def require_rate(lr: float | Tensor) -> None:
    """Refuse a learning rate.

    Raises:
        ValueError: it is negative, or a tensor of several elements.
    """
    if not isinstance(lr, Tensor):
        require(lr >= 0, "learning rate", lr)
    elif lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")


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
