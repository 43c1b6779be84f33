"""torch.nn.functional under its own name: the operators that registered themselves for it.

The operators live in lazygrad/functional, by family; this module only gives them PyTorch's address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..functional.absent import refuse
from ..functional.registry import NN_FUNCTIONS

if TYPE_CHECKING:
    from ..signatures.nn_functional import *  # noqa: F403


globals().update(NN_FUNCTIONS)

__all__ = sorted(NN_FUNCTIONS)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    refuse(__name__, name)
