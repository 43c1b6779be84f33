"""What parameters and values of distributions may be: `check(value)` says where a value satisfies a constraint.

Same names as torch.distributions.constraints; the texts of errors come from their repr.
"""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor


class Constraint:
    """A region of values; `event_dim` of their last axes are one value."""

    is_discrete = False
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:
        """For each value whether it is in the region, bool, without the axes of one value."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return type(self).__name__.lstrip("_") + "()"


class _Real(Constraint):
    def check(self, value: Tensor) -> Tensor:
        found: Tensor = value == value
        return found


class _Boolean(Constraint):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value == 0) | (value == 1)


class _NonNegativeInteger(Constraint):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value % 1 == 0) & (value >= 0)

    def __repr__(self) -> str:
        return "IntegerGreaterThan(lower_bound=0)"


class _Bounded(Constraint):
    """Between bounds, which are numbers or tensors."""

    def __init__(self, lower_bound: Any = None, upper_bound: Any = None) -> None:
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound

    def __repr__(self) -> str:
        bounds = {"lower_bound": self.lower_bound, "upper_bound": self.upper_bound}
        text = ", ".join(f"{name}={bound}" for name, bound in bounds.items() if bound is not None)
        return f"{type(self).__name__}({text})"


class GreaterThan(_Bounded):
    """Above a bound."""

    def check(self, value: Tensor) -> Tensor:
        found: Tensor = value > self.lower_bound
        return found


class LessThan(_Bounded):
    """Below a bound."""

    def check(self, value: Tensor) -> Tensor:
        found: Tensor = value < self.upper_bound
        return found


class GreaterThanEq(_Bounded):
    """A bound, or above it."""

    def check(self, value: Tensor) -> Tensor:
        found: Tensor = value >= self.lower_bound
        return found


class Interval(_Bounded):
    """Between two bounds, which belong to it."""

    def check(self, value: Tensor) -> Tensor:
        found: Tensor = (value >= self.lower_bound) & (value <= self.upper_bound)
        return found


class HalfOpenInterval(_Bounded):
    """Between two bounds, of which the lower one belongs to it."""

    def check(self, value: Tensor) -> Tensor:
        found: Tensor = (value >= self.lower_bound) & (value < self.upper_bound)
        return found


class IntegerInterval(_Bounded):
    """Whole numbers between two bounds, which belong to it."""

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        found: Tensor = (value % 1 == 0) & (value >= self.lower_bound) & (value <= self.upper_bound)
        return found


class _Simplex(Constraint):
    """Not negative along the last axis, and 1 in all."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)


class _OneHot(Constraint):
    is_discrete = True
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)


class _Multinomial(Constraint):
    """Counts along the last axis that are `upper_bound` in all."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: Tensor) -> Tensor:
        found: Tensor = (value >= 0).all(-1) & (value.sum(-1) <= self.upper_bound)
        return found


class _LowerCholesky(Constraint):
    """Lower triangles with a positive diagonal."""

    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        lower: Tensor = (value.tril() == value).flatten(-2).all(-1)
        return lower & (value.diagonal(0, -2, -1) > 0).all(-1)


class _PositiveDefinite(Constraint):
    """Symmetric matrices whose eigenvalues are positive."""

    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        from ..functional.linalg.factorizations import cholesky_ex

        alike = ((value - value.mT).abs() < 1e-6).flatten(-2).all(-1)
        found: Tensor = alike & (cholesky_ex(value)[1] == 0)
        return found


class Independent(Constraint):
    """A constraint of whose batch the last axes are one value."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims

    def check(self, value: Tensor) -> Tensor:
        found = self.base_constraint.check(value)
        if not self.reinterpreted_batch_ndims:
            return found
        whole: Tensor = found.flatten(-self.reinterpreted_batch_ndims).all(-1)
        return whole

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


real = _Real()
boolean = _Boolean()
nonnegative_integer = _NonNegativeInteger()
positive = GreaterThan(lower_bound=0.0)
nonnegative = GreaterThanEq(lower_bound=0.0)
unit_interval = Interval(lower_bound=0.0, upper_bound=1.0)
greater_than = GreaterThan


def less_than(upper_bound: Any) -> LessThan:
    """Below a bound."""
    return LessThan(None, upper_bound)


greater_than_eq = GreaterThanEq
interval = Interval
half_open_interval = HalfOpenInterval
integer_interval = IntegerInterval
simplex = _Simplex()
one_hot = _OneHot()
multinomial = _Multinomial
lower_cholesky = _LowerCholesky()
positive_definite = _PositiveDefinite()
real_vector = Independent(real, 1)
independent = Independent
