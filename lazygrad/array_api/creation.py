"""Functions that make arrays, with the standard's arguments."""

from __future__ import annotations

from typing import Any

import lazygrad as lg

from ..ir.dtype import DType
from ..tensor import Tensor


def asarray(
    obj: Any, /, *, dtype: DType | None = None, device: Any = None, copy: Any = None
) -> Tensor:
    """Anything as a tensor; see lazygrad.asarray."""
    return lg.asarray(obj, dtype=dtype, device=device, copy=copy)


def from_dlpack(x: Any, /, *, device: Any = None, copy: Any = None) -> Tensor:
    """A tensor on another library's memory."""
    return lg.from_dlpack(x, device=device, copy=copy)


def arange(
    start: Any,
    /,
    stop: Any = None,
    step: Any = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
) -> Tensor:
    """start, start + step, ... below stop; empty where the step leads away from it."""
    start, stop = (0, start) if stop is None else (start, stop)
    if (stop - start) * step <= 0:
        whole = all(isinstance(each, int) for each in (start, stop, step))
        return lg.zeros(0, dtype=dtype or (lg.int64 if whole else None), device=device)
    return lg.arange(start, stop, step, dtype=dtype, device=device)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: DType | None = None, device: Any = None, endpoint: bool = True
) -> Tensor:  # fmt: skip
    """`num` numbers from start to stop, which is the last of them only with `endpoint`."""
    if endpoint:
        return lg.linspace(start, stop, num, dtype=dtype, device=device)
    return lg.linspace(start, stop, num + 1, dtype=dtype, device=device)[:num]


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: DType | None = None, device: Any = None
) -> Tensor:  # fmt: skip
    """Ones on the k-th diagonal."""
    columns = n_rows if n_cols is None else n_cols
    rows = lg.arange(n_rows, device=device)[:, None]
    return (rows + k == lg.arange(columns, device=device)).to(dtype or lg.get_default_dtype())


def empty(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    return lg.empty(_shape(shape), dtype=dtype, device=device)


def zeros(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    return lg.zeros(_shape(shape), dtype=dtype, device=device)


def ones(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    return lg.ones(_shape(shape), dtype=dtype, device=device)


def full(shape: Any, fill_value: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    return lg.full(_shape(shape), fill_value, dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    return lg.empty_like(x, dtype=dtype, device=device)


def zeros_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    return lg.zeros_like(x, dtype=dtype, device=device)


def ones_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    return lg.ones_like(x, dtype=dtype, device=device)


def full_like(
    x: Tensor, /, fill_value: Any, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    return lg.full_like(x, fill_value, dtype=dtype, device=device)


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """The coordinates of a grid."""
    return tuple(lg.meshgrid(*arrays, indexing=indexing))


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    return lg.tril(x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    return lg.triu(x, k)


def _shape(shape: Any) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)
