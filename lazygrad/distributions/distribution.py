"""Distribution: what all distributions share, and Independent, which makes axes of a batch one value.

In: parameters, numbers or tensors that broadcast. Out: draws (`sample`, and with gradients to the parameters `rsample`), log probabilities, moments.
Parameters and values are checked as PyTorch's are, which reads them; `validate_args=False` (or `set_default_validate_args`) leaves that out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn, Self

from ..autograd.grad_mode import no_grad
from ..functional.creation import full, tensor
from ..functional.shaping import broadcast_tensors
from ..size import Size
from ..tensor import Tensor
from .constraints import Constraint
from .constraints import Independent as IndependentConstraint


class Distribution:
    """The base class of distributions. Same as torch.distributions.Distribution.

    A subclass names its parameters in `arg_constraints`, and sets them as attributes before it calls this constructor.
    """

    has_rsample: ClassVar[bool] = False
    has_enumerate_support: ClassVar[bool] = False
    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    _validate_args: bool = __debug__

    def __init__(
        self,
        batch_shape: Sequence[int] = (),
        event_shape: Sequence[int] = (),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                if name in self.__dict__:  # what is derived from it is not read for that
                    self._require_parameter(name, getattr(self, name), constraint)

    def _require_parameter(self, name: str, value: Tensor, constraint: Constraint) -> None:
        with no_grad():
            if bool(constraint.check(value).all()):
                return
        raise ValueError(
            f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution {self!r} to "
            f"satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
        )

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check parameters and values where nothing else is said.

        Raises:
            ValueError: `value` is no bool.
        """
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def _names(self) -> list[str]:
        """The parameters that it was made of."""
        return [name for name in self.arg_constraints if name in self.__dict__]

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        """The same distribution with a larger batch."""
        made: Self = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        size = Size(batch_shape)
        for name in self._names():
            event = self.arg_constraints[name].event_dim
            value = getattr(self, name)
            own = tuple(value.shape[value.dim() - event :]) if event else ()
            setattr(made, name, value.expand(tuple(size) + own))
        made._batch_shape = size
        return made

    @property
    def batch_shape(self) -> Size:
        """The shape over which parameters vary."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one value."""
        return self._event_shape

    @property
    def support(self) -> Any:
        """What its values satisfy."""
        self._absent("support")

    @property
    def mean(self) -> Tensor:
        self._absent("mean")

    @property
    def mode(self) -> Tensor:
        self._absent("mode")

    @property
    def variance(self) -> Tensor:
        self._absent("variance")

    @property
    def stddev(self) -> Tensor:
        """The root of the variance."""
        root: Tensor = self.variance.sqrt()
        return root

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws, (*sample_shape, *batch_shape, *event_shape), without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws through which gradients go to the parameters."""
        self._absent("rsample")

    def sample_n(self, n: int) -> Tensor:
        """`n` draws."""
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, of values (..., *batch_shape, *event_shape)."""
        self._absent("log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of values that are not larger."""
        self._absent("cdf")

    def icdf(self, value: Tensor) -> Tensor:
        """The value with this probability of values that are not larger."""
        self._absent("icdf")

    def entropy(self) -> Tensor:
        """The entropy, of the shape of the batch."""
        self._absent("entropy")

    def perplexity(self) -> Tensor:
        """exp of the entropy."""
        found: Tensor = self.entropy().exp()
        return found

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution, along the first axis."""
        self._absent("enumerate_support")

    def _absent(self, name: str) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__} has no {name}")

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> tuple[int, ...]:
        return (*sample_shape, *self._batch_shape, *self._event_shape)

    def _validate_sample(self, value: Any) -> None:
        """Check a value, where that is asked for.

        Raises:
            ValueError: it is no tensor, its shape does not fit, or it is outside of the support.
        """
        if not self._validate_args:
            return
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        event = len(self._event_shape)
        if event and tuple(value.shape[value.dim() - event :]) != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.size()} vs {self._event_shape}."
            )
        expected = (*self._batch_shape, *self._event_shape)
        for mine, other in zip(reversed(value.shape), reversed(expected)):
            if mine != 1 and other != 1 and mine != other:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {value.size()} vs {Size(expected)}."
                )
        constraint = self.support
        with no_grad():
            if bool(constraint.check(value).all()):
                return
        raise ValueError(
            f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the support "
            f"({constraint!r}) of the distribution {self!r}, but found invalid values:\n{value}"
        )

    def __repr__(self) -> str:
        texts = []
        for name in self._names():
            value = getattr(self, name)
            texts.append(f"{name}: {value if value.numel() == 1 else value.size()}")
        return f"{type(self).__name__}({', '.join(texts)})"


class Independent(Distribution):
    """Another distribution, of whose batch the last axes are one value: log probabilities are summed over them. Same as torch.distributions.Independent."""

    def __init__(
        self,
        base_distribution: Distribution,
        reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ) -> None:
        batch, event = base_distribution.batch_shape, base_distribution.event_shape
        if reinterpreted_batch_ndims > len(batch):
            raise ValueError(
                "Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual "
                f"{reinterpreted_batch_ndims} vs {len(batch)}"
            )
        cut = len(batch) - reinterpreted_batch_ndims
        self.base_dist = base_distribution
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        super().__init__(tuple(batch[:cut]), (*batch[cut:], *event), validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.base_dist.has_rsample

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        inner = tuple(self.event_shape[: self.reinterpreted_batch_ndims])
        made: Self = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.base_dist = self.base_dist.expand((*batch_shape, *inner))
        made._batch_shape = Size(batch_shape)
        return made

    @property
    def support(self) -> Any:
        return IndependentConstraint(self.base_dist.support, self.reinterpreted_batch_ndims)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return summed(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Tensor:
        return summed(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"


def summed(value: Tensor, axes: int) -> Tensor:
    """The sum over the last `axes` axes."""
    if not axes:
        return value
    total: Tensor = value.sum(tuple(range(-axes, 0)))
    return total


def parameters(*values: Any) -> tuple[Tensor, ...]:
    """Numbers and tensors as tensors of one shape; numbers have the dtype and device of the first tensor."""
    first = next((value for value in values if isinstance(value, Tensor)), None)
    made = []
    for value in values:
        if isinstance(value, Tensor):
            made.append(value)
        elif first is None:
            made.append(tensor(float(value)))
        else:
            made.append(full((), float(value), dtype=first.dtype, device=first.device))
    return tuple(broadcast_tensors(*made))
