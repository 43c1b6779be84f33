"""What parameters and values of distributions may be: `check(value)` says where a value satisfies a constraint.

Same names as torch.distributions.constraints; the texts of errors come from their repr.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.dtype import bool_
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


class _PositiveInteger(Constraint):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value % 1 == 0) & (value >= 1)

    def __repr__(self) -> str:
        return "IntegerGreaterThan(lower_bound=1)"


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


class _LowerTriangular(Constraint):
    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        lower: Tensor = (value.tril() == value).flatten(-2).all(-1)
        return lower


class _CorrCholesky(Constraint):
    """Cholesky factors of correlation matrices: their rows have length 1."""

    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        from ..functional.numeric_limits import finfo

        slack = finfo(value.dtype).eps * value.shape[-1] * 10  # rounding of a sum of squares
        unit: Tensor = ((value.norm(dim=-1) - 1).abs() < slack).all(-1)
        return _LowerCholesky().check(value) & unit


class _Square(Constraint):
    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        square = value.shape[-2] == value.shape[-1]
        return value.new_full(tuple(value.shape[:-2]), square, dtype=bool_)


class _Symmetric(_Square):
    def check(self, value: Tensor) -> Tensor:
        if value.shape[-2] != value.shape[-1]:
            return super().check(value)
        alike: Tensor = ((value - value.mT).abs() < 1e-6).flatten(-2).all(-1)
        return alike


class _PositiveSemidefinite(_Symmetric):
    """Symmetric matrices whose eigenvalues are not negative."""

    def check(self, value: Tensor) -> Tensor:
        from ..functional.linalg.factorizations import eigvalsh

        alike = super().check(value)
        if value.shape[-2] != value.shape[-1]:
            return alike
        found: Tensor = alike & (eigvalsh(value) >= 0).all(-1)
        return found


class _PositiveDefinite(_Symmetric):
    """Symmetric matrices whose eigenvalues are positive."""

    def check(self, value: Tensor) -> Tensor:
        from ..functional.linalg.factorizations import cholesky_ex

        alike = super().check(value)
        if value.shape[-2] != value.shape[-1]:
            return alike
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


class cat(Constraint):
    """Constraints of stretches of an axis, which have `lengths` (1 each unless told)."""

    def __init__(
        self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None
    ) -> None:
        self.cseq = list(cseq)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        self.dim = dim

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return any(each.is_discrete for each in self.cseq)

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return max(each.event_dim for each in self.cseq)

    def check(self, value: Tensor) -> Tensor:
        from ..functional.joining import cat as joined

        parts = value.split(self.lengths, self.dim)
        return joined([each.check(part) for each, part in zip(self.cseq, parts)], self.dim)


class stack(Constraint):
    """Constraints of the elements of an axis."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0) -> None:
        self.cseq, self.dim = list(cseq), dim

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return any(each.is_discrete for each in self.cseq)

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        axes = max(each.event_dim for each in self.cseq)
        return axes + 1 if self.dim + axes < 0 else axes

    def check(self, value: Tensor) -> Tensor:
        from ..functional.joining import stack as joined

        parts = value.unbind(self.dim)
        return joined([each.check(part) for each, part in zip(self.cseq, parts)], self.dim)


class MixtureSameFamilyConstraint(Constraint):
    """What all components of a mixture allow; they stand along the last axis of the batch."""

    def __init__(self, base_constraint: Constraint) -> None:
        self.base_constraint = base_constraint
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim

    def check(self, value: Tensor) -> Tensor:
        found = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        allowed: Tensor = found.all(-1)
        return allowed

    def __repr__(self) -> str:
        return f"MixtureSameFamilyConstraint({self.base_constraint!r})"


real = _Real()
boolean = _Boolean()
nonnegative_integer = _NonNegativeInteger()
positive_integer = _PositiveInteger()
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
lower_triangular = _LowerTriangular()
corr_cholesky = _CorrCholesky()
square = _Square()
symmetric = _Symmetric()
positive_semidefinite = _PositiveSemidefinite()
positive_definite = _PositiveDefinite()
real_vector = Independent(real, 1)
independent = Independent
