"""The named tuples that functions with several results return, printed as PyTorch's torch.return_types."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from ..tensor import Tensor


def _show(self: Any) -> str:
    lines = ",\n".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
    return f"torch.return_types.{type(self).__name__}(\n{lines})"


def return_type(name: str, *fields: str) -> Any:
    """A named tuple class `name` that prints as PyTorch's does."""
    made = namedtuple(name, fields)  # type: ignore[misc]
    made.__repr__ = _show  # type: ignore[method-assign]
    return made


Max = return_type("max", "values", "indices")
Min = return_type("min", "values", "indices")
Aminmax = return_type("aminmax", "min", "max")
Cummax = return_type("cummax", "values", "indices")
Cummin = return_type("cummin", "values", "indices")
Frexp = return_type("frexp", "mantissa", "exponent")
Sort = return_type("sort", "values", "indices")
Topk = return_type("topk", "values", "indices")
Kthvalue = return_type("kthvalue", "values", "indices")
Median = return_type("median", "values", "indices")
Nanmedian = return_type("nanmedian", "values", "indices")
Mode = return_type("mode", "values", "indices")

Histogram = return_type("histogram", "hist", "bin_edges")
Histogramdd = return_type("histogramdd", "hist", "bin_edges")

Pair = tuple[Tensor, Tensor]
