"""`lazygrad.backends.cudnn`: the settings of cuDNN, which is not used. In: what a program sets. Out: the same, read back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

enabled = True
benchmark = False
benchmark_limit: int | None = 10
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """False: kernels are compiled, not cuDNN's."""
    return False


def version() -> int | None:
    """None: there is no cuDNN."""
    return None


@contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
) -> Iterator[None]:
    """Settings for a block of code. Same as torch.backends.cudnn.flags."""
    names = ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32")
    given = (enabled, benchmark, benchmark_limit, deterministic, allow_tf32)
    before = {name: globals()[name] for name in names}
    globals().update(zip(names, given, strict=True))
    try:
        yield
    finally:
        globals().update(before)
