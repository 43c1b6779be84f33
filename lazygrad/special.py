"""The namespace of special functions, `lazygrad.special`, as PyTorch's torch.special: functional/special.py has the operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .functional.absent import refuse
from .functional.registry import SPECIAL_FUNCTIONS

if TYPE_CHECKING:
    from .signatures.special import *  # noqa: F403

globals().update(SPECIAL_FUNCTIONS)


def __getattr__(name: str) -> Any:
    refuse(__name__, name)
