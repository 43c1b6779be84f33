"""The Array API standard 2024.12, as `x.__array_namespace__()` gives it: numpy's names and arguments on tensors.

In: tensors, and Python numbers beside them. Out: tensors. The functions are those of the package under the standard's names; a module a
chapter of the standard. What the standard asks of arrays and tensors cannot do is in docs/interchange.md: complex numbers and uint16 do not exist, and `x.size` is
PyTorch's method.
"""

from __future__ import annotations

from math import e as e
from math import inf as inf
from math import nan as nan
from math import pi as pi

from ..ir.dtype import bool_, float32, float64, int8, int16, int32, int64, uint8, uint32, uint64
from . import linalg as linalg
from .creation import (
    arange,
    asarray,
    empty,
    empty_like,
    eye,
    from_dlpack,
    full,
    full_like,
    linspace,
    meshgrid,
    ones,
    ones_like,
    tril,
    triu,
    zeros,
    zeros_like,
)
from .data_types import (
    __array_namespace_info__,
    astype,
    can_cast,
    finfo,
    iinfo,
    isdtype,
    result_type,
)
from .elementwise import *  # noqa: F403 - the chapter's list is its table
from .elementwise import NAMES
from .linalg import matmul, matrix_transpose, tensordot, vecdot
from .manipulation import (
    broadcast_arrays,
    broadcast_shapes,
    broadcast_to,
    concat,
    expand_dims,
    flip,
    moveaxis,
    permute_dims,
    repeat,
    reshape,
    roll,
    squeeze,
    stack,
    take,
    take_along_axis,
    tile,
    unstack,
)
from .searching import (
    argmax,
    argmin,
    argsort,
    count_nonzero,
    isin,
    nonzero,
    searchsorted,
    sort,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
    where,
)
from .statistics import (
    all,
    any,
    cumulative_prod,
    cumulative_sum,
    diff,
    max,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)

bool = bool_
newaxis = None
__array_api_version__ = "2024.12"

__all__ = [  # noqa: PLE0604 - all of it is text
    "__array_api_version__", "__array_namespace_info__", "all", "any", "arange", "argmax", "argmin", "argsort", "asarray", "astype", "bool",
    "broadcast_arrays", "broadcast_shapes", "broadcast_to", "can_cast", "concat", "count_nonzero", "cumulative_prod", "cumulative_sum", "diff",
    "e", "empty", "empty_like", "expand_dims", "eye", "finfo", "flip", "float32", "float64", "from_dlpack", "full", "full_like", "iinfo", "inf",
    "int8", "int16", "int32", "int64", "isdtype", "isin", "linalg", "linspace", "matmul", "matrix_transpose", "max", "mean", "meshgrid", "min",
    "moveaxis", "nan", "newaxis", "nonzero", "ones", "ones_like", "permute_dims", "pi", "prod", "repeat", "reshape", "result_type", "roll",
    "searchsorted", "sort", "squeeze", "stack", "std", "sum", "take", "take_along_axis", "tensordot", "tile", "tril", "triu", "uint8", "uint32",
    "uint64", "unique_all", "unique_counts", "unique_inverse", "unique_values", "unstack", "var", "vecdot", "where", "zeros", "zeros_like",
    *NAMES,
]  # fmt: skip
