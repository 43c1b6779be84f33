"""`lazygrad.backends.mkldnn`: whether PyTorch's build has it. In: nothing. Out: that lazygrad's kernels do without."""

from __future__ import annotations


def is_available() -> bool:
    """False."""
    return False
