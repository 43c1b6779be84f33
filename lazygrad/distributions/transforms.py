"""Transforms: functions of draws whose inverses and Jacobians are known, so that a TransformedDistribution has log probabilities.

In: a tensor x of the transform's domain. Out: y of its codomain, and log |dy/dx|. torch.distributions.transforms; what changes the shape
of one value stands in shaped_transforms.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import mul
from typing import Any, ClassVar, Self

from ..functional.activations import softplus
from ..functional.arguments import broadcast_shapes
from ..functional.creation import full_like, zeros_like
from ..functional.numeric_limits import finfo
from ..tensor import Tensor
from . import constraints
from .distribution import summed

Shape = tuple[int, ...]


class Transform:
    """The base class of transforms. Same as torch.distributions.Transform.

    A subclass has a `domain`, a `codomain`, `_call`, and, if it is bijective, `_inverse` and `log_abs_det_jacobian`.

    Args:
        cache_size: 1 to keep the latest pair (x, y): the inverse of that very y is then that x, exactly. 0: keep nothing.

    Raises:
        ValueError: another `cache_size`.
    """

    bijective: ClassVar[Any] = False
    domain: Any
    codomain: Any

    def __init__(self, cache_size: int = 0) -> None:
        if cache_size not in (0, 1):
            raise ValueError("cache_size must be 0 or 1")
        self._cache_size = cache_size
        self._latest: tuple[Tensor, Tensor] | None = None
        self._inv: Transform | None = None

    @property
    def event_dim(self) -> int:
        """How many of the last axes are one value, where that is the same on both sides."""
        if self.domain.event_dim != self.codomain.event_dim:
            raise ValueError("Please use either .domain.event_dim or .codomain.event_dim")
        found: int = self.domain.event_dim
        return found

    @property
    def inv(self) -> Transform:
        """The inverse transform."""
        if self._inv is None:
            self._inv = _InverseTransform(self)
        return self._inv

    @property
    def sign(self) -> Any:
        """The sign of the derivative, of transforms that are monotone."""
        raise NotImplementedError

    def with_cache(self, cache_size: int = 1) -> Transform:
        """The same transform with another `cache_size`."""
        if self._cache_size == cache_size:
            return self
        if type(self).__init__ is Transform.__init__:
            return type(self)(cache_size=cache_size)
        raise NotImplementedError(f"{type(self)}.with_cache is not implemented")

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __call__(self, x: Tensor) -> Tensor:
        if self._cache_size == 0:
            return self._call(x)
        if self._latest is not None and self._latest[0] is x:
            return self._latest[1]
        y = self._call(x)
        self._latest = x, y
        return y

    def _inv_call(self, y: Tensor) -> Tensor:
        if self._cache_size == 0:
            return self._inverse(y)
        if self._latest is not None and self._latest[1] is y:
            return self._latest[0]
        x = self._inverse(y)
        self._latest = x, y
        return x

    def _call(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |dy/dx|, of the shape of the batch."""
        raise NotImplementedError

    def forward_shape(self, shape: Sequence[int]) -> Shape:
        """The shape of y, from that of x."""
        return tuple(shape)

    def inverse_shape(self, shape: Sequence[int]) -> Shape:
        """The shape of x, from that of y."""
        return tuple(shape)

    def __repr__(self) -> str:
        return type(self).__name__ + "()"


class _InverseTransform(Transform):
    """A transform from its codomain to its domain."""

    def __init__(self, transform: Transform) -> None:
        super().__init__(cache_size=transform._cache_size)
        self._inv = transform

    @property
    def inv(self) -> Transform:
        assert self._inv is not None
        return self._inv

    @property
    def domain(self) -> Any:
        return self.inv.codomain

    @property
    def codomain(self) -> Any:
        return self.inv.domain

    @property
    def bijective(self) -> bool:
        found: bool = self.inv.bijective
        return found

    @property
    def sign(self) -> Any:
        return self.inv.sign

    def with_cache(self, cache_size: int = 1) -> Transform:
        return self.inv.with_cache(cache_size).inv

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _InverseTransform) and self.inv == other.inv

    __hash__ = object.__hash__

    def __call__(self, x: Tensor) -> Tensor:
        return self.inv._inv_call(x)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -self.inv.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Sequence[int]) -> Shape:
        return self.inv.inverse_shape(shape)

    def inverse_shape(self, shape: Sequence[int]) -> Shape:
        return self.inv.forward_shape(shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inv!r})"


class ComposeTransform(Transform):
    """Transforms one after the other, the first of the list first. Same as torch.distributions.ComposeTransform."""

    def __init__(self, parts: list[Transform], cache_size: int = 0) -> None:
        if cache_size:
            parts = [part.with_cache(cache_size) for part in parts]
        super().__init__(cache_size=cache_size)
        self.parts = parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ComposeTransform) and self.parts == other.parts

    __hash__ = object.__hash__

    @property
    def domain(self) -> Any:
        return _widest([(part.codomain, part.domain) for part in reversed(self.parts)])

    @property
    def codomain(self) -> Any:
        return _widest([(part.domain, part.codomain) for part in self.parts])

    @property
    def bijective(self) -> bool:
        return all(part.bijective for part in self.parts)

    @property
    def sign(self) -> Any:
        return reduce(mul, (part.sign for part in self.parts), 1)

    @property
    def inv(self) -> Transform:
        if self._inv is None:
            made = ComposeTransform([part.inv for part in reversed(self.parts)])
            made._inv = self
            self._inv = made
        return self._inv

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return ComposeTransform(self.parts, cache_size=cache_size)

    def __call__(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if not self.parts:
            return zeros_like(x)
        values = [x]
        for part in self.parts[:-1]:
            values.append(part(values[-1]))
        values.append(y)
        total: Any = 0.0
        axes = self.domain.event_dim
        for part, before, after in zip(self.parts, values, values[1:]):
            term = part.log_abs_det_jacobian(before, after)
            total = total + summed(term, axes - part.domain.event_dim)
            axes += part.codomain.event_dim - part.domain.event_dim
        made: Tensor = total
        return made

    def forward_shape(self, shape: Sequence[int]) -> Shape:
        for part in self.parts:
            shape = part.forward_shape(shape)
        return tuple(shape)

    def inverse_shape(self, shape: Sequence[int]) -> Shape:
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return tuple(shape)

    def __repr__(self) -> str:
        return "ComposeTransform(\n    " + ",\n    ".join(repr(part) for part in self.parts) + "\n)"


def _widest(path: list[tuple[Any, Any]]) -> Any:
    """The last constraint of steps (from, to), with as many axes in a value as the steps before need."""
    if not path:
        return constraints.real
    axes = path[0][0].event_dim
    for start, end in path:
        axes = max(axes + end.event_dim - start.event_dim, end.event_dim)
    found = path[-1][1]
    more = axes - found.event_dim
    return constraints.independent(found, more) if more else found


identity_transform = ComposeTransform([])


class IndependentTransform(Transform):
    """Another transform, of whose batch the last axes are one value. Same as torch.distributions.IndependentTransform."""

    def __init__(
        self, base_transform: Transform, reinterpreted_batch_ndims: int, cache_size: int = 0
    ) -> None:
        super().__init__(cache_size=cache_size)
        self.base_transform = base_transform.with_cache(cache_size)
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return IndependentTransform(
            self.base_transform, self.reinterpreted_batch_ndims, cache_size=cache_size
        )

    @property
    def domain(self) -> Any:
        return constraints.independent(self.base_transform.domain, self.reinterpreted_batch_ndims)

    @property
    def codomain(self) -> Any:
        return constraints.independent(self.base_transform.codomain, self.reinterpreted_batch_ndims)

    @property
    def bijective(self) -> bool:
        found: bool = self.base_transform.bijective
        return found

    @property
    def sign(self) -> Any:
        return self.base_transform.sign

    def _call(self, x: Tensor) -> Tensor:
        if x.dim() < self.domain.event_dim:
            raise ValueError("Too few dimensions on input")
        return self.base_transform(x)

    def _inverse(self, y: Tensor) -> Tensor:
        if y.dim() < self.codomain.event_dim:
            raise ValueError("Too few dimensions on input")
        return self.base_transform.inv(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        found = self.base_transform.log_abs_det_jacobian(x, y)
        return summed(found, self.reinterpreted_batch_ndims)

    def forward_shape(self, shape: Sequence[int]) -> Shape:
        return self.base_transform.forward_shape(shape)

    def inverse_shape(self, shape: Sequence[int]) -> Shape:
        return self.base_transform.inverse_shape(shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_transform!r}, {self.reinterpreted_batch_ndims})"


class _Elementwise(Transform):
    """A bijection of each element; alike are those of one class."""

    bijective = True
    domain: Any = constraints.real
    codomain: Any = constraints.real

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    __hash__ = object.__hash__

    @property
    def sign(self) -> Any:
        return 1


class ExpTransform(_Elementwise):
    """y = exp(x). Same as torch.distributions.ExpTransform."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        y: Tensor = x.exp()
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x: Tensor = y.log()
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class PowerTransform(_Elementwise):
    """y = x ** exponent, of positive numbers. Same as torch.distributions.PowerTransform."""

    domain = constraints.positive
    codomain = constraints.positive

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.exponent = exponent

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return PowerTransform(self.exponent, cache_size=cache_size)

    @property
    def sign(self) -> Any:
        if isinstance(self.exponent, Tensor):
            return self.exponent.sign()
        return math.copysign(1, self.exponent)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PowerTransform) and _alike(self.exponent, other.exponent)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        y: Tensor = x.pow(self.exponent)
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x: Tensor = y.pow(1 / self.exponent)
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = (self.exponent * y / x).abs().log()
        return found

    def _broadcast(self, shape: Sequence[int]) -> Shape:
        return broadcast_shapes("PowerTransform", tuple(shape), _shape(self.exponent))

    def forward_shape(self, shape: Sequence[int]) -> Shape:
        return self._broadcast(shape)

    def inverse_shape(self, shape: Sequence[int]) -> Shape:
        return self._broadcast(shape)


class SigmoidTransform(_Elementwise):
    """y = 1 / (1 + exp(-x)), kept inside of (0, 1). Same as torch.distributions.SigmoidTransform."""

    codomain = constraints.unit_interval

    def _call(self, x: Tensor) -> Tensor:
        return clipped_sigmoid(x)

    def _inverse(self, y: Tensor) -> Tensor:
        limits = finfo(y.dtype)
        inside = y.clamp(min=limits.tiny, max=1.0 - limits.eps)
        return inside.log() - (-inside).log1p()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -softplus(-x) - softplus(x)


class SoftplusTransform(_Elementwise):
    """y = log(1 + exp(x)). Same as torch.distributions.SoftplusTransform."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return softplus(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return (-y).expm1().neg().log() + y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -softplus(-x)


class TanhTransform(_Elementwise):
    """y = tanh(x); the Jacobian is computed from x, which loses nothing where y rounds to 1. Same as torch.distributions.TanhTransform."""

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: Tensor) -> Tensor:
        y: Tensor = x.tanh()
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x: Tensor = y.atanh()
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))


class AbsTransform(Transform):
    """y = |x|, which is not a bijection; its inverse takes the positive x. Same as torch.distributions.AbsTransform."""

    domain = constraints.real
    codomain = constraints.positive

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbsTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        y: Tensor = x.abs()
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        return y


class AffineTransform(Transform):
    """y = loc + scale * x. Same as torch.distributions.AffineTransform.

    Args:
        loc, scale: numbers or tensors.
        event_dim: how many of the last axes are one value.
    """

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.loc, self.scale = loc, scale
        self._event_dim = event_dim

    @property
    def event_dim(self) -> int:
        return self._event_dim

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return AffineTransform(self.loc, self.scale, self.event_dim, cache_size=cache_size)

    @property
    def domain(self) -> Any:
        axes = self._event_dim
        return constraints.independent(constraints.real, axes) if axes else constraints.real

    @property
    def codomain(self) -> Any:
        return self.domain

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, AffineTransform)
            and _alike(self.loc, other.loc)
            and _alike(self.scale, other.scale)
        )

    __hash__ = object.__hash__

    @property
    def sign(self) -> Any:
        if isinstance(self.scale, Tensor):
            return self.scale.sign()
        return 1 if self.scale > 0 else -1 if self.scale < 0 else 0

    def _call(self, x: Tensor) -> Tensor:
        y: Tensor = self.loc + self.scale * x
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x: Tensor = (y - self.loc) / self.scale
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        scale = self.scale
        if isinstance(scale, Tensor):
            found: Tensor = scale.abs().log()
        else:
            found = full_like(x, math.log(abs(scale)))
        cut = x.dim() - self._event_dim
        own = tuple(x.shape[cut:])
        ready = found.expand((*_broadcast(found, x)[: -len(own)], *own)) if own else found
        return summed(ready, self._event_dim).expand(tuple(x.shape[:cut]))

    def forward_shape(self, shape: Sequence[int]) -> Shape:
        made = broadcast_shapes("AffineTransform", tuple(shape), _shape(self.loc), _shape(self.scale))  # fmt: skip
        return tuple(made)

    def inverse_shape(self, shape: Sequence[int]) -> Shape:
        return self.forward_shape(shape)


class CumulativeDistributionTransform(Transform):
    """y = distribution.cdf(x). Same as torch.distributions.CumulativeDistributionTransform."""

    bijective = True
    codomain = constraints.unit_interval

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Any:
        return self.distribution.support

    @property
    def sign(self) -> Any:
        return 1

    def with_cache(self, cache_size: int = 1) -> Self:
        if self._cache_size == cache_size:
            return self
        return type(self)(self.distribution, cache_size=cache_size)

    def _call(self, x: Tensor) -> Tensor:
        y: Tensor = self.distribution.cdf(x)
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x: Tensor = self.distribution.icdf(y)
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = self.distribution.log_prob(x)
        return found


def clipped_sigmoid(x: Tensor) -> Tensor:
    """The logistic function, kept inside of (0, 1): the logarithms of it and of what is left are finite."""
    limits = finfo(x.dtype)
    return x.sigmoid().clamp(min=limits.tiny, max=1.0 - limits.eps)


def require_axes(shape: Sequence[int], least: int) -> Shape:
    """The shape, of as many axes as a value has.

    Raises:
        ValueError: there are fewer.
    """
    if len(shape) < least:
        raise ValueError("Too few dimensions on input")
    return tuple(shape)


def _shape(value: Any) -> Shape:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _broadcast(left: Tensor, right: Tensor) -> Shape:
    return tuple(broadcast_shapes("log_abs_det_jacobian", tuple(left.shape), tuple(right.shape)))


def _alike(left: Any, right: Any) -> bool:
    """Whether two numbers or tensors are equal in all elements."""
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        same: Any = left == right
        return bool(same.all())
    return bool(left == right)


from .shaped_transforms import (  # noqa: E402
    CatTransform,
    CorrCholeskyTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    ReshapeTransform,
    SoftmaxTransform,
    StackTransform,
    StickBreakingTransform,
)

__all__ = [
    "AbsTransform", "AffineTransform", "CatTransform", "ComposeTransform", "CorrCholeskyTransform", "CumulativeDistributionTransform", "ExpTransform",
    "IndependentTransform", "LowerCholeskyTransform", "PositiveDefiniteTransform", "PowerTransform", "ReshapeTransform", "SigmoidTransform",
    "SoftmaxTransform", "SoftplusTransform", "StackTransform", "StickBreakingTransform", "TanhTransform", "Transform", "identity_transform",
]  # fmt: skip
