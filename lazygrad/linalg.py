"""The namespace of linear algebra, `lazygrad.linalg`, as PyTorch's torch.linalg: functional/linalg/ has the operators."""

from __future__ import annotations

from .functional.registry import LINALG_FUNCTIONS
from .ir.extern import LinAlgError as LinAlgError

globals().update(LINALG_FUNCTIONS)
