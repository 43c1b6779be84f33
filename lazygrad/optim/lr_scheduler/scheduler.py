"""LRScheduler: what all schedules of learning rates share.

In: an optimizer, and calls of `step`. Out: new values of each group's "lr": numbers, or, where that is a tensor, its new content,
so that whoever holds the tensor sees it. A schedule writes nothing else, and no rate makes a step compile again.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import FunctionType
from typing import Any

from ...tensor import Tensor
from ..optimizer import Optimizer

Rate = float | Tensor

EPOCH_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use "
    "`scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from None, the closed form is used "
    "instead of the new chainable form, where available."
)


class LRScheduler:
    """The base class of schedules. A subclass defines `get_lr`, and `_get_closed_form_lr` if a rate follows from its epoch alone.

    Args:
        optimizer: its groups' rates are changed, now and at each `step`.
        last_epoch: the last epoch seen; -1 to begin. To go on, the groups must have their "initial_lr".

    Raises:
        TypeError: no optimizer.
        KeyError: a group without "initial_lr", with a last_epoch that is not -1.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        require_optimizer(optimizer)
        self.optimizer = optimizer
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{index}] when resuming scheduler with "
                    "last_epoch >= 0.\nLoad the optimizer's state first, or begin with last_epoch=-1."
                )
        self.base_lrs = options(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        optimizer.__dict__.setdefault("_scheduled_step", optimizer.__dict__.get("step"))
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Rate]:
        """The rate of each group after the last step; tensors are copies."""
        return self._last_lr

    def get_lr(self) -> list[Rate]:
        """The next rate of each group."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch, or (deprecated) to one that is given. To be called after the optimizer's step."""
        if self._step_count == 1:
            self._warn_of_order()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _warn_of_order(self) -> None:
        if self.optimizer.__dict__.get("step") is not self.optimizer.__dict__.get(
            "_scheduled_step"
        ):
            warnings.warn(
                "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. Please, make "
                "sure to call `optimizer.step()` before `lr_scheduler.step()`. See more details at "
                "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate",
                UserWarning,
                stacklevel=3,
            )
        elif not self.optimizer._opt_called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you should call "
                "them in the opposite order: `optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will result "
                "in PyTorch skipping the first value of the learning rate schedule. See more details at "
                "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate",
                UserWarning,
                stacklevel=3,
            )

    def _update_lr(self, epoch: int | None = None) -> None:
        """Go to an epoch without counting a step."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._set(epoch is not None)

    def _set(self, closed: bool = False) -> None:
        """Give the groups the rates of the epoch there is."""
        self._get_lr_called_within_step = True
        try:
            form = getattr(self, "_get_closed_form_lr", self.get_lr) if closed else self.get_lr
            rates = form()
        finally:
            self._get_lr_called_within_step = False
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            assign(group, "lr", rate)
        self._last_lr = options(self.optimizer, "lr")

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )


def require_optimizer(optimizer: object) -> None:
    """Refuse what is no optimizer.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def copied(value: Any) -> Any:
    """The value; of a tensor a copy, which does not change with it."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def options(optimizer: Optimizer, name: str) -> list[Any]:
    """An option of each group."""
    return [copied(group[name]) for group in optimizer.param_groups]


def for_each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """A value for each group: a list's own, or the same one.

    Raises:
        ValueError: the list's length is not the number of groups.
    """
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [copied(value) for _ in range(groups)]
    if len(value) != groups:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, "
            f"param_groups has {groups}."
        )
    return [copied(each) for each in value]


def assign(group: dict[str, Any], name: str, value: Any) -> None:
    """Give an option a value: a tensor keeps its identity and takes the value over."""
    if not isinstance(group[name], Tensor):
        group[name] = value
    elif isinstance(value, Tensor):
        group[name].copy_(value.detach().reshape(group[name].shape))
    else:
        group[name].fill_(value)


def saved_functions(functions: Sequence[Any]) -> list[dict[str, Any] | None]:
    """What of functions goes into a state_dict: the attributes of objects that can be called, nothing of plain functions."""
    return [
        None if isinstance(function, FunctionType) else dict(vars(function))
        for function in functions
    ]


def restore_functions(functions: Sequence[Any], saved: Sequence[dict[str, Any] | None]) -> None:
    """Give objects that can be called the attributes that were saved."""
    for function, attributes in zip(functions, saved):
        if attributes is not None:
            vars(function).update(attributes)
