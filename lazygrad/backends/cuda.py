"""`lazygrad.backends.cuda`: settings of products and attention on GPUs. In: what a program sets. Out: the same, read back."""

from __future__ import annotations


class Products:
    """The settings of matmul."""

    def __init__(self) -> None:
        self.allow_tf32 = False
        self.allow_fp16_reduced_precision_reduction = True
        self.allow_bf16_reduced_precision_reduction = True


matmul = Products()


def is_built() -> bool:
    """Whether GPUs can be used: lazygrad.cuda says what that takes."""
    from ..cuda import is_available

    return is_available()


def flash_sdp_enabled() -> bool:
    """False: attention is compiled from its formula."""
    return False


def mem_efficient_sdp_enabled() -> bool:
    """False; see `flash_sdp_enabled`."""
    return False


def math_sdp_enabled() -> bool:
    """True; see `flash_sdp_enabled`."""
    return True


def enable_flash_sdp(enabled: bool) -> None:
    """Nothing to choose from."""


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Nothing to choose from."""


def enable_math_sdp(enabled: bool) -> None:
    """Nothing to choose from."""
