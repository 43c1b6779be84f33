"""scatter_reduce: values that meet in the elements that an index chooses, by a sum, a product, a mean or an extreme."""

from __future__ import annotations

from ..ir.build import scatter
from ..ir.dtype import bool_
from ..ir.elementwise import identity
from ..ir.node import Node, constant
from ..tensor import Tensor
from .arguments import no_kernel
from .gathering import onto_part, scatter_operands
from .registry import Outcome, operator

KINDS = {"sum": "add", "prod": "mul", "mean": "add", "amax": "max", "amin": "min"}
BOOL_KINDS = {"sum": "max", "prod": "min", "amax": "max", "amin": "min"}


@operator("scatter_reduce", inplace=True)
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Outcome:
    """Input with element index[i][j] along `dim` combined with src[i][j], for each element of `index`.

    Args:
        index: int64, of input's rank; src: of input's dtype, at least as large as `index`.
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: False leaves what is there out; elements that no index names stay in any case.

    Raises:
        RuntimeError: sizes or dtypes do not fit; an unknown `reduce`; an index out of range, at the latest when the result is read.

    Same as torch.scatter_reduce. Elements meet in the order of the index.
    """
    if reduce not in KINDS:
        raise RuntimeError(
            f"scatter_reduce: reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    if input.dtype is bool_ and reduce == "mean":
        raise no_kernel("scatter_gather_tensor_cpu_reduce_mean", input.dtype)
    axis, node, places, values, inputs = scatter_operands("scatter_reduce", input, dim, index, src)

    def meet(base: Node) -> Node:
        return combined(base, places, values, axis, reduce, include_self)

    made = onto_part(node, places.shape, axis, meet).reshape(tuple(input.shape))
    saved = (index,) if reduce == "sum" else (input, index, src, "result")
    return Outcome("ScatterReduceBackward0", made, inputs, saved)


def combined(
    base: Node, places: Node, values: Node, axis: int, reduce: str, include_self: bool
) -> Node:
    """`base` with the elements that indices along an axis choose combined with values."""
    kind = (BOOL_KINDS if base.dtype is bool_ else KINDS)[reduce]
    if not include_self:
        start = constant(identity(kind, base.dtype), base.dtype, places.shape, base.place)
        base = scatter(base, places, start, axis, "set")
    met = scatter(base, places, values, axis, kind)
    return _mean(met, places, axis, include_self) if reduce == "mean" else met


def _mean(total: Node, places: Node, axis: int, include_self: bool) -> Node:
    """Sums divided by how many elements met; those that none met stay."""
    one = constant(1, total.dtype, places.shape, total.place)
    there = constant(int(include_self), total.dtype, total.shape, total.place)
    count = scatter(there, places, one, axis, "add").maximum(1)
    return total / count if total.dtype.kind == "float" else total // count
