"""`lazygrad.backends.mps`: Apple's GPUs, which are no device here. In: nothing. Out: that they are not there."""

from __future__ import annotations


def is_available() -> bool:
    """False."""
    return False


def is_built() -> bool:
    """False."""
    return False
