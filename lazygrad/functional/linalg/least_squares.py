"""Least squares: lstsq, by the pseudo-inverse."""

from __future__ import annotations

from ...composites.host import product
from ...ir.dtype import int64
from ...ir.extern import host_call
from ...ir.node import Node, constant
from ...results import from_node, result, tensor_nodes
from ...tensor import Tensor
from ..arguments import broadcast_shapes, describe_operands
from ..registry import function
from ..return_types import return_type
from .matrices import (
    broadcast_batches,
    default_tolerance,
    matrix_node,
    require_alike,
    require_precision,
)
from .norms import matrix_rank
from .solving import pseudo_inverse

Lstsq = return_type("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


@function("linalg.lstsq", out=True)
def lstsq(
    A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The X that makes the sums of squares of A @ X - B smallest, and of those the smallest X.

    Args:
        A: (..., m, n); B: (..., m, k), or vectors (..., m) with the batch of A.
        rcond: singular values up to rcond times the largest count as 0; None for the precision times max(m, n).
        driver: which results there are beside the solution, as in PyTorch: "gelsy" (the default) has the rank, "gelsd" and "gelss" the rank
            and the singular values, and all but "gelsy" the residuals, where m > n and every rank is n (which is read at once).

    Returns: solution (..., n, k), residuals (..., k), rank (...), singular_values (..., min(m, n)); what there is not is empty.

    Raises:
        RuntimeError: shapes do not fit; dtypes differ, or are not float32 or float64; an unknown driver.
        LinAlgError: no convergence; when the result is read.

    Same as torch.linalg.lstsq; computed as pinv(A) @ B, whatever the driver.
    """
    name = "torch.linalg.lstsq"
    if A.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if B.ndim < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    require_alike(name, A, B, ("input", "other"))
    require_precision(name, A)
    driver = driver or "gelsy"
    if driver not in DRIVERS:
        raise RuntimeError(f"{name}: parameter `driver` should be one of ({', '.join(DRIVERS)})")
    vector = A.ndim - 1 == B.ndim and A.shape[:-1] == B.shape
    if not vector and (B.ndim < 2 or A.shape[-2] != B.shape[-2]):
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size({-1 if vector else -2})"
            + describe_operands(input=A, other=B)
        )
    height, width = int(A.shape[-2]), int(A.shape[-1])
    least = default_tolerance(A.dtype) * max(height, width) if rcond is None else rcond
    matrix, right = tensor_nodes(A, B)
    inverse = pseudo_inverse(name, matrix, None, least, False)
    if vector:
        right = right.reshape((*right.shape, 1))
    broadcast_shapes(name, tuple(A.shape[:-2]), right.shape[:-2])  # type: ignore[arg-type]
    inverse, right = broadcast_batches(name, inverse, right)
    found = product(inverse, right)
    node = found.reshape(found.shape[:-1]) if vector else found
    solution = result("LinalgLstsqBackward0", node, (A, B), (A, B))
    nothing = from_node(constant(0, A.dtype, (0,), A.place))
    rank = matrix_rank(A.detach(), atol=0.0, rtol=least) if driver != "gels" else None
    residuals = result("LinalgLstsqBackward0", constant(0, A.dtype, (0,), A.place), (A, B), (A, B))
    full = height > width and driver != "gelsy"
    if full and rank is not None:
        full = bool((rank == width).all().item())
    if full:
        total = _residuals(matrix, right, found)
        residuals = result("LinalgLstsqBackward0", total, (A, B), (A, B))
    values = nothing
    if driver in ("gelsd", "gelss"):
        node = matrix_node(A.detach())
        values = from_node(host_call("svdvals", [node], caller=name)[0])
    if rank is None:
        rank = from_node(constant(0, int64, (0,), A.place))
    return Lstsq(solution, residuals, rank, values)  # type: ignore[no-any-return]


def _residuals(matrix: Node, right: Node, solution: Node) -> Node:
    """The sums of squares of what is left over."""
    matrix = matrix.expand((*right.shape[:-2], *matrix.shape[-2:]))
    rest = product(matrix, solution) - right
    rank = len(rest.shape)
    return (rest * rest).sum((rank - 2,)).reshape((*rest.shape[:-2], rest.shape[-1]))
