"""Averages of models over training, the rate that goes with them, and batch norms of averaged models. torch.optim.swa_utils.

In: a model whose parameters change from step to step. Out: another one whose parameters are their average.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

from ..autograd.grad_mode import no_grad
from ..functional.casting import convert
from ..functional.creation import tensor
from ..ir.dtype import int64
from ..nn import Module
from ..reading import realize
from ..tensor import Tensor
from .lr_scheduler.scheduler import LRScheduler, Rate, for_each_group
from .optimizer import Optimizer

Average = Callable[[Tensor, Tensor, Any], Tensor]
"""The new average, of the one before, the model's value, and how many values it is of."""


def get_swa_avg_fn() -> Average:
    """Of all values so far, each with the same weight."""
    return no_grad()(lambda average, value, count: average + (value - average) / (count + 1))


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """Of the values so far, each step's weight `decay` times the next's.

    Raises:
        ValueError: a decay outside [0, 1].
    """
    _require_decay(decay)
    return no_grad()(lambda average, value, count: decay * average + (1 - decay) * value)


def get_swa_multi_avg_fn() -> Callable[..., None]:
    """`get_swa_avg_fn` for lists, in place."""
    return _of_lists(get_swa_avg_fn())


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[..., None]:
    """`get_ema_avg_fn` for lists, in place."""
    return _of_lists(get_ema_avg_fn(decay))


def _of_lists(average: Average) -> Callable[..., None]:
    @no_grad()
    def update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Any) -> None:
        for mean, value in zip(averages, values):
            mean.copy_(average(mean, value, count) if mean.is_floating_point() else value)

    return update


def _require_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


class AveragedModel(Module):
    """A copy of a model whose parameters are averages. Same as torch.optim.swa_utils.AveragedModel.

    Args:
        model: what is copied, as `module`.
        device: where the copy is.
        avg_fn: what an average is; by default of all values. `multi_avg_fn`: the same for lists, in place.
        use_buffers: average the buffers, too; else they are the model's.

    Raises:
        AssertionError: both functions.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Callable[..., None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take another value of the model into the average; the first one is taken as it is."""
        averages: list[Tensor] = list(self.module.parameters())
        values: list[Tensor] = list(model.parameters())
        buffers = list(zip(self.module.buffers(), model.buffers()))
        if self.use_buffers:
            averages += [average for average, _ in buffers]
            values += [value for _, value in buffers]
            buffers = []
        values = [
            convert(value.detach(), None, average.place) for value, average in zip(values, averages)
        ]
        if int(self.n_averaged.item()) == 0:
            for average, value in zip(averages, values):
                average.copy_(value)
        elif self.multi_avg_fn is not None:
            self.multi_avg_fn(averages, values, self.n_averaged)
        else:
            _of_lists(self.avg_fn or get_swa_avg_fn())(averages, values, self.n_averaged)
        for kept, value in buffers:
            kept.copy_(value.detach())
        self.n_averaged += 1
        realize([*averages, self.n_averaged])


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Measure the mean and variance of batch norms again, over a loader's batches. Same as torch.optim.swa_utils.update_bn."""
    norms: dict[Any, Any] = {}
    for module in model.modules():
        if any(kind.__name__ == "_BatchNorm" for kind in type(module).__mro__):
            module.reset_running_stats()
            norms[module] = module.momentum
    if not norms:
        return
    training = model.training
    model.train()
    for norm in norms:
        norm.momentum = None  # each batch has the same weight
    for batch in loader:
        batch = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(batch if device is None else batch.to(device))
    for norm, momentum in norms.items():
        norm.momentum = momentum
    model.train(training)


class SWALR(LRScheduler):
    """Goes to `swa_lr` in `anneal_epochs` epochs, and stays. Same as torch.optim.swa_utils.SWALR.

    Raises:
        ValueError: an unknown strategy; epochs that are no integer of 0 or more.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for rate, group in zip(for_each_group("swa_lr", optimizer, swa_lr), optimizer.param_groups):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must by one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _way(self, step: int) -> float:
        """What part of the way is gone after a step."""
        part = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return part if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * part)) / 2

    def get_lr(self) -> list[Rate]:
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._way(step - 1), self._way(step)
        rates = []
        for group in self.optimizer.param_groups:
            end = group["swa_lr"]
            # Where the way began: the rate may have been changed by others on it.
            start = end if before == 1 else (group["lr"] - before * end) / (1 - before)
            rates.append(end * now + start * (1 - now))
        return rates
