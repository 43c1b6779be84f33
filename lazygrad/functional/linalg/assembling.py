"""Matrices and tuples put together from smaller ones: block_diag, cartesian_prod, combinations; and cov, corrcoef, renorm."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

from ...ir import composite
from ...ir.build import pad
from ...ir.dtype import int64, promote
from ...ir.node import where
from ...results import result, tensor_nodes
from ...tensor import Tensor
from .. import arguments
from ..arguments import Number, common_place, describe_operands, sizes_text
from ..creation import buffer_node
from ..gathering import selected
from ..joining import joined, meshgrid, stack
from ..reductions import sum as total
from ..registry import Outcome, function, operator

# --- pieces


@function("block_diag", method=False)
def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the given ones along its diagonal, zeros elsewhere; a vector is a row, a number a 1 by 1 matrix.

    Raises:
        RuntimeError: one has more than 2 axes. Same as torch.block_diag.
    """
    for position, each in enumerate(tensors):
        if each.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {position} has {each.ndim} dimensions"
            )
    common_place("block_diag", tensors)
    dtype = tensors[0].dtype
    for each in tensors[1:]:
        dtype = promote(dtype, each.dtype)
    nodes = [node.cast(dtype) for node in tensor_nodes(*tensors)]
    nodes = [node.reshape(((1, 1) + tuple(node.shape))[-2:]) for node in nodes]
    widths: list[int] = [int(node.shape[1]) for node in nodes]  # type: ignore[arg-type]
    width = sum(widths)
    rows, before = [], 0
    for node, own in zip(nodes, widths, strict=True):
        rows.append(pad(node, (0, before), (0, width - before - own)))
        before += own
    return result("BlockDiagBackward0", joined(rows, 0), tensors)


@function("cartesian_prod", method=False)
def cartesian_prod(*tensors: Any) -> Tensor:
    """Every tuple of one element of each vector, as rows, the last changing fastest. Same as torch.cartesian_prod.

    Raises:
        RuntimeError: one is no vector.
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    for each in tensors:
        if each.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {sizes_text(each.shape)}")
    if len(tensors) == 1:
        return tensors[0]  # type: ignore[no-any-return]
    grids = meshgrid(*tensors, indexing="ij")
    made: Tensor = stack(grids, -1).reshape(-1, len(tensors))
    return made


@function("combinations", method=False)
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """The choices of r elements of a vector, as rows, in the order of their places; with `with_replacement` repeatedly.

    Raises:
        RuntimeError: not a vector; r is negative. Same as torch.combinations.
    """
    import numpy as np

    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {sizes_text(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    (node,) = tensor_nodes(input)
    if r == 0:
        return input.new_empty((0,))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = np.array(list(choose(range(int(input.shape[0])), r)), np.int64).reshape(-1)
    taken = selected(node, buffer_node(places, int64, node.place), 0)
    return result("ReshapeBackward0", taken.reshape((len(places) // r, r)), (input,))


# --- covariance


def _weights(name: str, weights: Tensor | None, count: int, floating: bool) -> None:
    if weights is None:
        return
    if weights.ndim > 1:
        raise RuntimeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with {weights.ndim} dimensions"
        )
    if floating != (weights.dtype.kind == "float"):
        kind = "floating point" if floating else "integral"
        raise RuntimeError(
            f"cov(): expected {name} to have {kind} dtype but got {name} with {weights.dtype}"
        )
    if weights.numel() != count:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input but got "
            f"{weights.numel()} != {count}"
        )
    if count and float(weights.min().item()) < 0:
        raise RuntimeError(f"cov(): {name} cannot be negative")


@function("cov")
def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """The covariances of variables, which are rows, over observations, which are columns.

    Args:
        input: (variables, observations), or one variable (observations,).
        correction: the divisor is the sum of the weights less this.
        fweights: how often each observation was made, integers; aweights: its importance. They are read at once.

    Returns: (variables, variables), or () for one.

    Raises:
        RuntimeError: more than 2 axes; bool; weights of another rank, dtype or length, or negative.

    Same as torch.cov.
    """
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
            + describe_operands(input=input)
        )
    if input.dtype.kind == "bool":
        raise RuntimeError("cov(): bool dtype is not supported for input")
    values: Any = input if input.ndim == 2 else input.reshape(1, -1)
    count = int(values.shape[1])
    _weights("fweights", fweights, count, False)
    _weights("aweights", aweights, count, True)
    weights: Any = fweights
    if aweights is not None:
        weights = aweights if fweights is None else fweights * aweights
    divisor: Any
    if weights is None:
        centre, divisor = total(values, 1) / count, max(count - correction, 0)
    else:
        weight = total(weights)
        if count and weight.item() == 0:
            raise RuntimeError("cov(): weights sum to zero, can't be normalized")
        centre = total(values * weights, 1) / weight
        lost = correction if aweights is None else correction * total(weights * aweights) / weight
        divisor = (weight - lost).clamp(min=0)
    if not (divisor if isinstance(divisor, int) else divisor.item()):
        warnings.warn("cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.", stacklevel=3)  # fmt: skip
    centred = values - centre.unsqueeze(1)
    scaled = centred if weights is None else centred * weights
    made: Tensor = ((centred @ scaled.t()) / divisor).squeeze()
    return made


@function("corrcoef")
def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlations of variables, which are rows; see `cov`. Same as torch.corrcoef."""
    if input.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    covariance: Any = cov(input)
    made: Tensor
    if not covariance.ndim:
        made = covariance / covariance
        return made
    deviation = covariance.diag().sqrt()
    made = (covariance / deviation.unsqueeze(1) / deviation.unsqueeze(0)).clamp(-1, 1)
    return made


# --- norms that are limited


@operator("renorm", inplace=True)
def renorm(input: Tensor, p: Number, dim: int, maxnorm: Number) -> Outcome:
    """The slices along `dim`, those with a p-norm above `maxnorm` scaled down to it. Same as torch.renorm.

    Raises:
        RuntimeError: `p` is not positive; `maxnorm` is negative; fewer than 2 axes; not floating.
    """
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.ndim < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions"
        )
    arguments.require_floating("renorm", input)
    axis = arguments.axis(dim, input.ndim, "renorm")
    (node,) = tensor_nodes(input)
    axes = tuple(each for each in range(input.ndim) if each != axis)
    norms = composite.call("norm", [node], p=float(p), axes=axes)
    factor = where(norms.gt(float(maxnorm)), float(maxnorm) / (norms + 1e-7), 1.0)
    return Outcome("RenormBackward0", node * factor.expand(node.shape), (input,), (input,))
