"""torch.optim: optimizers, the schedules of their learning rates, and averages of models."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..functional.absent import refuse
from . import lr_scheduler
from .adafactor import Adafactor
from .adam import Adam, AdamW
from .adam_family import Adamax, NAdam, RAdam
from .adaptive import Adadelta, Adagrad, RMSprop
from .averaged import ASGD, Rprop
from .lbfgs import LBFGS
from .muon import Muon
from .optimizer import Optimizer
from .sgd import SGD

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam", "Optimizer", "RAdam",
    "RMSprop", "Rprop", "lr_scheduler", "swa_utils",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "swa_utils":  # reads nn, which not every program with an optimizer has
        return import_module(f"{__name__}.{name}")
    refuse(__name__, name)
