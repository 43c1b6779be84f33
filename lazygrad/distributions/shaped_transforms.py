"""Transforms of values with axes of their own: reshapes, simplexes, triangles, and several transforms along an axis.

In and out as in transforms.py, which exposes them. Vectors of triangles hold the rows of the part below the diagonal, one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..functional.activations import logsigmoid, softplus
from ..functional.creation import eye
from ..functional.diagonals import diag_embed, tril_indices
from ..functional.joining import cat, stack
from ..functional.linalg.factorizations import cholesky
from ..functional.numeric_limits import finfo
from ..functional.padding import pad
from ..tensor import Tensor
from . import constraints
from .distribution import summed
from .transforms import Shape, Transform, clipped_sigmoid, require_axes


class ReshapeTransform(Transform):
    """The last axes of shape `in_shape` as `out_shape`. Same as torch.distributions.ReshapeTransform.

    Raises:
        ValueError: the shapes have different numbers of elements.
    """

    bijective = True

    def __init__(
        self, in_shape: Sequence[int], out_shape: Sequence[int], cache_size: int = 0
    ) -> None:
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise ValueError("in_shape, out_shape have different numbers of elements")
        super().__init__(cache_size=cache_size)

    @property
    def domain(self) -> Any:
        return constraints.independent(constraints.real, len(self.in_shape))

    @property
    def codomain(self) -> Any:
        return constraints.independent(constraints.real, len(self.out_shape))

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return ReshapeTransform(self.in_shape, self.out_shape, cache_size=cache_size)

    def _call(self, x: Tensor) -> Tensor:
        batch = tuple(x.shape[: x.dim() - len(self.in_shape)])
        return x.reshape(batch + self.out_shape)

    def _inverse(self, y: Tensor) -> Tensor:
        batch = tuple(y.shape[: y.dim() - len(self.out_shape)])
        return y.reshape(batch + self.in_shape)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_zeros(tuple(x.shape[: x.dim() - len(self.in_shape)]))

    def forward_shape(self, shape: Sequence[int]) -> Shape:
        return _exchanged(tuple(shape), self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Sequence[int]) -> Shape:
        return _exchanged(tuple(shape), self.out_shape, self.in_shape)


def _exchanged(shape: Shape, old: Shape, new: Shape) -> Shape:
    require_axes(shape, len(old))
    cut = len(shape) - len(old)
    if shape[cut:] != old:
        raise ValueError(f"Shape mismatch: expected {shape[cut:]} but got {old}")
    return shape[:cut] + new


class SoftmaxTransform(Transform):
    """y = exp(x) over its sum along the last axis; as many x have one y. Same as torch.distributions.SoftmaxTransform."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SoftmaxTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        y: Tensor = x.softmax(-1)
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x: Tensor = y.log()
        return x

    def forward_shape(self, shape: Sequence[int]) -> Shape:
        return require_axes(shape, 1)

    def inverse_shape(self, shape: Sequence[int]) -> Shape:
        return require_axes(shape, 1)


class StickBreakingTransform(Transform):
    """n real numbers as n + 1 shares: each breaks a part off what the ones before left. Same as torch.distributions.StickBreakingTransform."""

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StickBreakingTransform)

    __hash__ = object.__hash__

    def _offset(self, x: Tensor) -> Tensor:
        """log of how many shares are left at each break: zeros break equal parts off."""
        size = x.shape[-1]
        found: Tensor = (size + 1 - x.new_ones(size).cumsum(-1)).log()
        return found

    def _call(self, x: Tensor) -> Tensor:
        part = clipped_sigmoid(x - self._offset(x))
        left = (1 - part).cumprod(-1)
        return pad(part, [0, 1], value=1) * pad(left, [1, 0], value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        shares = y[..., :-1]
        left = (1 - shares.cumsum(-1)).clamp(min=finfo(y.dtype).tiny)
        return shares.log() - left.log() + self._offset(shares)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        x = x - self._offset(x)
        found: Tensor = (logsigmoid(x) - x + y[..., :-1].log()).sum(-1)
        return found

    def forward_shape(self, shape: Sequence[int]) -> Shape:
        require_axes(shape, 1)
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: Sequence[int]) -> Shape:
        require_axes(shape, 1)
        return (*shape[:-1], shape[-1] - 1)


class LowerCholeskyTransform(Transform):
    """The lower triangle of a matrix, with exp of its diagonal. Same as torch.distributions.LowerCholeskyTransform."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LowerCholeskyTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return x.tril(-1) + diag_embed(x.diagonal(0, -2, -1).exp())

    def _inverse(self, y: Tensor) -> Tensor:
        return y.tril(-1) + diag_embed(y.diagonal(0, -2, -1).log())


class PositiveDefiniteTransform(Transform):
    """L @ L.mT of the triangle L that LowerCholeskyTransform makes. Same as torch.distributions.PositiveDefiniteTransform."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositiveDefiniteTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        lower = LowerCholeskyTransform()(x)
        return lower @ lower.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return LowerCholeskyTransform().inv(cholesky(y))


class CorrCholeskyTransform(Transform):
    """n (n - 1) / 2 real numbers as the Cholesky factor of a correlation matrix (n, n). Same as torch.distributions.CorrCholeskyTransform.

    tanh of each is the partial correlation: what a row breaks off the unit of length that its entries before left.
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        eps = finfo(x.dtype).eps
        partial = triangle(x.tanh().clamp(min=-1 + eps, max=1 - eps), -1)
        left = (1 - partial * partial).sqrt().cumprod(-1)
        unit = eye(partial.shape[-1], dtype=x.dtype, device=x.device)
        return (partial + unit) * pad(left[..., :-1], [1, 0], value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        left = pad((1 - (y * y).cumsum(-1))[..., :-1], [1, 0], value=1)
        partial = entries(y, -1) / entries(left, -1).sqrt()
        return (partial.log1p() - (-partial).log1p()) / 2

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        left = entries(1 - (y * y).cumsum(-1), -2)
        breaks = 0.5 * left.log().sum(-1)
        bends = -2 * (x + softplus(-2 * x) - math.log(2.0)).sum(-1)
        found: Tensor = breaks + bends
        return found

    def forward_shape(self, shape: Sequence[int]) -> Shape:
        require_axes(shape, 1)
        count = shape[-1]
        size = round((0.25 + 2 * count) ** 0.5 + 0.5)
        if size * (size - 1) // 2 != count:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return (*shape[:-1], size, size)

    def inverse_shape(self, shape: Sequence[int]) -> Shape:
        require_axes(shape, 2)
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        size = shape[-1]
        return (*shape[:-2], size * (size - 1) // 2)


def triangle(vector: Tensor, diagonal: int) -> Tensor:
    """The lower triangles up to a diagonal (0 or below) whose entries, row after row, stand along the last axis."""
    count = vector.shape[-1]
    size = round(((1 + 8 * count) ** 0.5 - 1) / 2) - diagonal
    rows, columns = tril_indices(size, size, diagonal).unbind(0)
    made = vector.new_zeros((*vector.shape[:-1], size, size))
    made[..., rows, columns] = vector
    return made


def entries(matrix: Tensor, diagonal: int) -> Tensor:
    """The entries of the lower triangles up to a diagonal, row after row, along the last axis."""
    rows, columns = tril_indices(matrix.shape[-2], matrix.shape[-1], diagonal).unbind(0)
    found: Tensor = matrix[..., rows, columns]
    return found


class _Several(Transform):
    """Transforms of which each has its part of an axis."""

    transforms: list[Transform]
    dim: int

    @property
    def bijective(self) -> bool:
        return all(each.bijective for each in self.transforms)

    def _parts(self, value: Tensor, inverse: bool) -> list[Tensor]:
        raise NotImplementedError

    def _joined(self, parts: list[Tensor]) -> Tensor:
        raise NotImplementedError

    def _check(self, value: Tensor) -> None:
        if not -value.dim() <= self.dim < value.dim():
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-value.dim()}, {value.dim() - 1}], but got {self.dim})"
            )

    def _call(self, x: Tensor) -> Tensor:
        pairs = zip(self.transforms, self._parts(x, inverse=False))
        return self._joined([each(part) for each, part in pairs])

    def _inverse(self, y: Tensor) -> Tensor:
        pairs = zip(self.transforms, self._parts(y, inverse=True))
        return self._joined([each.inv(part) for each, part in pairs])


class CatTransform(_Several):
    """Each transform on a stretch of an axis; `lengths` has the lengths, 1 each unless told. Same as torch.distributions.CatTransform."""

    def __init__(
        self,
        tseq: Sequence[Transform],
        dim: int = 0,
        lengths: Sequence[int] | None = None,
        cache_size: int = 0,
    ) -> None:
        super().__init__(cache_size=cache_size)
        self.transforms = [each.with_cache(cache_size) for each in tseq]
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise ValueError(
                f"CatTransform: {len(self.transforms)} transforms, but {len(self.lengths)} lengths"
            )
        self.dim = dim

    @property
    def event_dim(self) -> int:
        return max(each.event_dim for each in self.transforms)

    @property
    def length(self) -> int:
        """The length of the axis."""
        return sum(self.lengths)

    @property
    def domain(self) -> Any:
        return constraints.cat([each.domain for each in self.transforms], self.dim, self.lengths)

    @property
    def codomain(self) -> Any:
        return constraints.cat([each.codomain for each in self.transforms], self.dim, self.lengths)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def _parts(self, value: Tensor, inverse: bool) -> list[Tensor]:
        self._check(value)
        if value.size(self.dim) != self.length:
            raise ValueError(
                f"CatTransform: the axis {self.dim} has the size {value.size(self.dim)}, but the lengths are {self.length} in all"
            )
        return list(value.split(self.lengths, self.dim))

    def _joined(self, parts: list[Tensor]) -> Tensor:
        return cat(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        axes = self.event_dim
        found = []
        pairs = zip(self.transforms, self._parts(x, False), self._parts(y, True))
        for each, before, after in pairs:
            term = each.log_abs_det_jacobian(before, after)
            found.append(summed(term, axes - each.event_dim))
        dim = self.dim - x.dim() if self.dim >= 0 else self.dim
        dim += axes
        if dim < 0:
            return cat(found, dim)
        total = found[0]
        for term in found[1:]:
            total = total + term
        return total


class StackTransform(_Several):
    """Each transform on an element of an axis. Same as torch.distributions.StackTransform."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.transforms = [each.with_cache(cache_size) for each in tseq]
        self.dim = dim

    @property
    def domain(self) -> Any:
        return constraints.stack([each.domain for each in self.transforms], self.dim)

    @property
    def codomain(self) -> Any:
        return constraints.stack([each.codomain for each in self.transforms], self.dim)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return StackTransform(self.transforms, self.dim, cache_size)

    def _parts(self, value: Tensor, inverse: bool) -> list[Tensor]:
        self._check(value)
        if value.size(self.dim) != len(self.transforms):
            raise ValueError(
                f"StackTransform: the axis {self.dim} has the size {value.size(self.dim)}, for {len(self.transforms)} transforms"
            )
        return list(value.unbind(self.dim))

    def _joined(self, parts: list[Tensor]) -> Tensor:
        return stack(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(self.transforms, self._parts(x, False), self._parts(y, True))
        return stack([each.log_abs_det_jacobian(a, b) for each, a, b in pairs], self.dim)
