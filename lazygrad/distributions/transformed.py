"""TransformedDistribution: draws of a distribution, and what transforms make of them; and which transform leads into a constraint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from ..size import Size
from ..tensor import Tensor
from . import constraints, transforms
from .distribution import Distribution, Independent, summed
from .transforms import ComposeTransform, Transform


class TransformedDistribution(Distribution):
    """The distribution of transforms[-1](... transforms[0](x)), x of a base distribution. Same as torch.distributions.TransformedDistribution.

    Args:
        base_distribution: where draws come from; it is expanded to the shape that the transforms broadcast with.
        transforms: one or a list; for `log_prob` they have to be bijective.

    Raises:
        ValueError: `transforms` are none; a value of the first has more axes than a draw.
    """

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | list[Transform],
        validate_args: bool | None = None,
    ) -> None:
        if isinstance(transforms, Transform):
            self.transforms = [transforms]
        elif isinstance(transforms, list):
            if not all(isinstance(each, Transform) for each in transforms):
                raise ValueError("transforms must be a Transform or a list of Transforms")
            self.transforms = transforms
        else:
            raise ValueError(f"transforms must be a Transform or list, but was {transforms}")
        whole = ComposeTransform(self.transforms)
        base = base_distribution
        shape = (*base.batch_shape, *base.event_shape)
        inside, outside = whole.domain.event_dim, whole.codomain.event_dim
        if len(shape) < inside:
            raise ValueError(
                f"base_distribution needs to have shape with size at least {inside}, but got {Size(shape)}."
            )
        made = whole.forward_shape(shape)
        wide = whole.inverse_shape(made)
        if shape != wide:
            base = base.expand(wide[: len(wide) - len(base.event_shape)])
        more = inside - len(base.event_shape)
        if more > 0:
            base = Independent(base, more)
        self.base_dist = base
        axes = max(outside, len(base_distribution.event_shape) + outside - inside)
        cut = len(made) - axes
        super().__init__(made[:cut], made[cut:], validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.base_dist.has_rsample

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        made: Self = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        shape = (*batch_shape, *self.event_shape)
        for each in reversed(self.transforms):
            shape = each.inverse_shape(shape)
        made.base_dist = self.base_dist.expand(shape[: len(shape) - len(self.base_dist.event_shape)])  # fmt: skip
        made._batch_shape = Size(batch_shape)
        return made

    @property
    def support(self) -> Any:
        if not self.transforms:
            return self.base_dist.support
        found = self.transforms[-1].codomain
        more = len(self.event_shape) - found.event_dim
        return constraints.independent(found, more) if more > 0 else found

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._forward(self.base_dist.sample(sample_shape)).detach()

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._forward(self.base_dist.rsample(sample_shape))

    def _forward(self, x: Tensor) -> Tensor:
        for each in self.transforms:
            x = each(x)
        return x

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        axes = len(self.event_shape)
        total: Any = 0.0
        for each in reversed(self.transforms):
            x = each.inv(value)
            axes += each.domain.event_dim - each.codomain.event_dim
            term = each.log_abs_det_jacobian(x, value)
            total = total - summed(term, axes - each.domain.event_dim)
            value = x
        base = summed(self.base_dist.log_prob(value), axes - len(self.base_dist.event_shape))
        found: Tensor = total + base
        return found

    def _turned(self, share: Tensor) -> Tensor:
        """A probability, or what is left of it where the transforms fall."""
        sign: Any = 1
        for each in self.transforms:
            sign = sign * each.sign
        if isinstance(sign, int) and sign == 1:
            return share
        turned: Tensor = sign * (share - 0.5) + 0.5
        return turned

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        for each in reversed(self.transforms):
            value = each.inv(value)
        return self._turned(self.base_dist.cdf(value))

    def icdf(self, value: Tensor) -> Tensor:
        return self._forward(self.base_dist.icdf(self._turned(value)))


Factory = TypeVar("Factory", bound=Callable[..., Any])


class ConstraintRegistry:
    """Which transform leads from real numbers into a constraint. Same as torch.distributions.constraint_registry.ConstraintRegistry."""

    def __init__(self) -> None:
        self._registry: dict[type, Callable[..., Transform]] = {}

    def register(self, constraint: Any, factory: Factory | None = None) -> Any:
        """Register a function of a constraint for its class; without `factory`, a decorator.

        Raises:
            TypeError: `constraint` is neither a constraint nor a class of them.
        """
        if factory is None:
            return lambda factory: self.register(constraint, factory)
        kind = type(constraint) if isinstance(constraint, constraints.Constraint) else constraint
        if not (isinstance(kind, type) and issubclass(kind, constraints.Constraint)):
            raise TypeError(
                f"Expected constraint to be either a Constraint subclass or instance, but got {constraint}"
            )
        self._registry[kind] = factory
        return factory

    def __call__(self, constraint: Any) -> Transform:
        """The transform into a constraint.

        Raises:
            NotImplementedError: none is registered for its class.
        """
        factory = self._registry.get(type(constraint))
        if factory is None:
            raise NotImplementedError(
                f"Cannot transform {type(constraint).__name__} constraints"
            ) from None
        return factory(constraint)


biject_to, transform_to = ConstraintRegistry(), ConstraintRegistry()


def _both(constraint: Any) -> Callable[[Factory], Factory]:
    def register(factory: Factory) -> Factory:
        biject_to.register(constraint, factory)
        transform_to.register(constraint, factory)
        return factory

    return register


@_both(constraints.real)
def _real(constraint: Any) -> Transform:
    return transforms.identity_transform


@_both(constraints.positive)
@_both(constraints.nonnegative)
def _above(constraint: Any) -> Transform:
    exp, bound = transforms.ExpTransform(), constraint.lower_bound
    if isinstance(bound, (int, float)) and bound == 0:
        return exp
    return ComposeTransform([exp, transforms.AffineTransform(bound, 1)])


@_both(constraints.less_than(0.0))
def _below(constraint: Any) -> Transform:
    return ComposeTransform(
        [transforms.ExpTransform(), transforms.AffineTransform(constraint.upper_bound, -1)]
    )


@_both(constraints.unit_interval)
@_both(constraints.half_open_interval)
def _between(constraint: Any) -> Transform:
    low, high = constraint.lower_bound, constraint.upper_bound
    sigmoid = transforms.SigmoidTransform()
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and (low, high) == (0, 1):
        return sigmoid
    return ComposeTransform([sigmoid, transforms.AffineTransform(low, high - low)])


@biject_to.register(constraints.simplex)  # type: ignore[untyped-decorator]
def _breaking(constraint: Any) -> Transform:
    return transforms.StickBreakingTransform()


@transform_to.register(constraints.simplex)  # type: ignore[untyped-decorator]
def _softmax(constraint: Any) -> Transform:
    return transforms.SoftmaxTransform()


@_both(constraints.lower_cholesky)
def _triangle(constraint: Any) -> Transform:
    return transforms.LowerCholeskyTransform()


@_both(constraints.positive_definite)
def _definite(constraint: Any) -> Transform:
    return transforms.PositiveDefiniteTransform()


@_both(constraints.corr_cholesky)
def _correlation(constraint: Any) -> Transform:
    return transforms.CorrCholeskyTransform()


def _independent(registry: ConstraintRegistry) -> Callable[[Any], Transform]:
    def factory(constraint: Any) -> Transform:
        base = registry(constraint.base_constraint)
        return transforms.IndependentTransform(base, constraint.reinterpreted_batch_ndims)

    return factory


def _along(registry: ConstraintRegistry, kind: type) -> Callable[[Any], Transform]:
    def factory(constraint: Any) -> Transform:
        parts = [registry(each) for each in constraint.cseq]
        if kind is constraints.cat:
            return transforms.CatTransform(parts, constraint.dim, constraint.lengths)
        return transforms.StackTransform(parts, constraint.dim)

    return factory


for _registry in (biject_to, transform_to):
    _registry.register(constraints.Independent, _independent(_registry))
    for _kind in (constraints.cat, constraints.stack):
        _registry.register(_kind, _along(_registry, _kind))
