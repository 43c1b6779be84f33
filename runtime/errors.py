"""Exceptions of the runtime that users meet by name."""

from __future__ import annotations


class OutOfMemoryError(RuntimeError):
    """A device has not the memory that was asked for. Same as torch.OutOfMemoryError."""
