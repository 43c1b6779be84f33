"""The namespace of linear algebra, `lazygrad.linalg`, as PyTorch's torch.linalg: functional/linalg/ has the operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .functional.absent import refuse
from .functional.registry import LINALG_FUNCTIONS
from .ir.extern import LinAlgError as LinAlgError

if TYPE_CHECKING:
    from .signatures.linalg import *  # noqa: F403

globals().update(LINALG_FUNCTIONS)


def __getattr__(name: str) -> Any:
    refuse(__name__, name)
