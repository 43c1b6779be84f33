"""Transforms have PyTorch's values, inverses, Jacobians, shapes and constraints; distributions through them, its log probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config

torch = pytest.importorskip("torch")

REAL = [[0.3, -1.2, 2.0], [0.0, 0.7, -3.0]]
UNIT = [[0.3, 0.2, 0.9], [0.5, 0.7, 0.1]]
MATRIX = [[1.5, 0.3], [0.2, -0.7]]

CASES: dict[str, tuple[Any, Any]] = {
    "exp": (lambda t, d: d.ExpTransform(), REAL),
    "power": (lambda t, d: d.PowerTransform(t.tensor([2.0, 0.5, -1.0])), UNIT),
    "sigmoid": (lambda t, d: d.SigmoidTransform(), REAL),
    "tanh": (lambda t, d: d.TanhTransform(cache_size=1), REAL),
    "softplus": (lambda t, d: d.SoftplusTransform(), REAL),
    "abs": (lambda t, d: d.AbsTransform(), REAL),
    "affine": (lambda t, d: d.AffineTransform(1.0, -2.5), REAL),
    "affine of vectors": (lambda t, d: d.AffineTransform(t.zeros(3), t.tensor([1.0, -2.0, 3.0]), event_dim=1), REAL),
    "softmax": (lambda t, d: d.SoftmaxTransform(), REAL),
    "stick": (lambda t, d: d.StickBreakingTransform(), REAL),
    "lower": (lambda t, d: d.LowerCholeskyTransform(), MATRIX),
    "definite": (lambda t, d: d.PositiveDefiniteTransform(), MATRIX),
    "correlation": (lambda t, d: d.CorrCholeskyTransform(), REAL),
    "reshape": (lambda t, d: d.ReshapeTransform((3,), (3, 1)), REAL),
    "composed": (lambda t, d: d.ComposeTransform([d.AffineTransform(0.5, 2.0), d.StickBreakingTransform()]), REAL),
    "inverse": (lambda t, d: d.ComposeTransform([d.SigmoidTransform(), d.AffineTransform(1.0, 3.0)]).inv, [1.5, 3.5]),
    "independent": (lambda t, d: d.IndependentTransform(d.TanhTransform(), 1), REAL),
    "cat": (lambda t, d: d.CatTransform([d.ExpTransform(), d.TanhTransform()], -1, [2, 1]), REAL),
    "stack": (lambda t, d: d.StackTransform([d.ExpTransform(), d.AffineTransform(1.0, 2.0)], 0), REAL),
    "cdf": (lambda t, d: d.CumulativeDistributionTransform(d.Normal(0.5, 2.0)), REAL),
}  # fmt: skip


def facts(framework: Any, name: str) -> list[Any]:
    make, values = CASES[name]
    this = make(framework, framework.distributions)
    x = framework.tensor(values, requires_grad=True)
    y = this(x)
    found = [y, this.inv(y), this.inv(y * 1.0)]
    found += framework.autograd.grad((y * y).sum(), [x], retain_graph=True)
    try:
        jacobian = this.log_abs_det_jacobian(x, y)
        found += [jacobian, *framework.autograd.grad(jacobian.sum(), [x])] if jacobian.requires_grad else [jacobian]  # fmt: skip
    except NotImplementedError:
        found.append(None)
    try:
        sign = this.sign
    except NotImplementedError:
        sign = None
    plain = [sign if sign is None else np.asarray(sign).tolist(), bool(this.bijective), this == make(framework, framework.distributions)]  # fmt: skip
    plain += [this.domain.event_dim, this.codomain.event_dim]
    plain += [tuple(this.forward_shape(tuple(x.shape))), tuple(this.inverse_shape(tuple(y.shape)))]
    if name not in ("cat", "stack"):  # PyTorch's check of those takes other shapes
        plain += [this.domain.check(x).tolist(), this.codomain.check(y).tolist()]
    return [plain, *[None if each is None else each.detach().numpy() for each in found]]


@pytest.mark.parametrize("name", CASES)
def test_facts(name: str) -> None:
    with config.override(device="interpret"):
        ours, theirs = (facts(framework, name) for framework in (lg, torch))
    assert ours[0] == theirs[0]
    for mine, expected in zip(ours[1:], theirs[1:], strict=True):
        assert (mine is None) == (expected is None)
        if expected is not None:
            assert mine.shape == expected.shape
            np.testing.assert_allclose(mine, expected, 2e-4, 2e-5)


def test_cached_inverses_are_exact() -> None:
    """The inverse of the very value that was made is what it was made of; of an equal one it is computed."""
    for framework in (lg, torch):
        this = framework.distributions.TanhTransform(cache_size=1)
        x = framework.tensor([20.0, 0.5])
        y = this(x)
        assert this.inv(y) is x
        assert not np.isfinite(this.inv(y.clone()).numpy()[0])


def through(t: Any) -> Any:
    d = t.distributions
    return {
        "squashed": (d.TransformedDistribution(d.Normal(t.zeros(2), t.tensor([1.0, 2.0])), d.TanhTransform()), [[0.3, -0.5]]),
        "falling": (d.TransformedDistribution(d.Exponential(t.tensor([1.0, 2.0])), [d.AffineTransform(1.0, -2.0)]), [0.3, -0.5]),
        "logistic": (d.TransformedDistribution(d.Uniform(t.zeros(()), t.ones(())), [d.SigmoidTransform().inv, d.AffineTransform(1.0, 2.0)]), [0.3, -5.0]),
        "shares": (d.TransformedDistribution(d.Normal(t.zeros(3), 1.0), d.StickBreakingTransform()), [0.1, 0.2, 0.3, 0.4]),
        "widened": (d.TransformedDistribution(d.Normal(0.0, 1.0), d.AffineTransform(t.zeros(2), t.ones(2) * 3)), [0.3, -5.0]),
        "vectors": (d.TransformedDistribution(d.Independent(d.Normal(t.zeros(2), 1.0), 1), [d.ExpTransform()]), [0.3, 5.0]),
        "mixture": (d.MixtureSameFamily(d.Categorical(t.tensor([0.3, 0.7])), d.Normal(t.tensor([-1.0, 2.0]), t.tensor([0.5, 1.0]))), [0.3, 5.0]),
        "vector mixture": (d.MixtureSameFamily(d.Categorical(t.ones(3, 2)), d.Independent(d.Normal(t.ones(3, 2, 4), 2.0), 1)), [0.3, 5.0, 1.0, -1.0]),
    }  # fmt: skip


COMPUTED: tuple[Any, ...] = (
    lambda this, at, t: this.log_prob(at),
    lambda this, at, t: this.cdf(at),
    lambda this, at, t: this.icdf(t.tensor([0.2, 0.9])),
    lambda this, at, t: this.mean,
    lambda this, at, t: this.variance,
    lambda this, at, t: this.expand((5, *this.batch_shape) if this.batch_shape else (2,)).log_prob(at),
)  # fmt: skip


def computed(compute: Any, *operands: Any) -> Any:
    try:
        return compute(*operands).numpy()
    except NotImplementedError:
        return None


@pytest.mark.parametrize("name", through(torch))
def test_distributions(name: str) -> None:
    results: list[Any] = []
    with config.override(device="interpret"):
        for framework in (lg, torch):
            framework.manual_seed(3)
            this, value = through(framework)[name]
            at = framework.tensor(value)
            found = [computed(compute, this, at, framework) for compute in COMPUTED]
            drawn = this.sample((4,))
            plain = [tuple(this.batch_shape), tuple(this.event_shape), tuple(drawn.shape), bool(this.has_rsample)]  # fmt: skip
            plain += [this.support.event_dim, bool(this.support.check(drawn).all())]
            results.append((plain, found))
    assert results[0][0] == results[1][0]
    for mine, expected in zip(results[0][1], results[1][1], strict=True):
        assert (mine is None) == (expected is None)
        if expected is not None:
            np.testing.assert_allclose(mine, expected, 2e-4, 2e-5)


def test_divergences() -> None:
    for t in (lg, torch):
        d = t.distributions
        one = d.TransformedDistribution(d.Normal(0.0, 1.0), [d.AffineTransform(1.0, 2.0)])
        other = d.TransformedDistribution(d.Normal(1.0, 1.0), [d.AffineTransform(1.0, 2.0)])
        assert d.kl_divergence(one, other).item() == pytest.approx(0.5)
        with pytest.raises(NotImplementedError):
            d.kl_divergence(one, d.TransformedDistribution(d.Normal(0.0, 1.0), [d.ExpTransform()]))


CONSTRAINTS: dict[str, Any] = {
    "real": lambda t, c: c.real,
    "positive": lambda t, c: c.positive,
    "above": lambda t, c: c.greater_than(2.0),
    "at least": lambda t, c: c.greater_than_eq(-1.0),
    "below": lambda t, c: c.less_than(3.0),
    "unit": lambda t, c: c.unit_interval,
    "between": lambda t, c: c.interval(t.tensor([0.0, -1.0, 2.0]), t.tensor([1.0, 2.0, 5.0])),
    "simplex": lambda t, c: c.simplex,
    "correlation": lambda t, c: c.corr_cholesky,
    "vector": lambda t, c: c.real_vector,
    "several": lambda t, c: c.independent(c.positive, 1),
    "cat": lambda t, c: c.cat([c.positive, c.real], 0, [1, 1]),
    "stack": lambda t, c: c.stack([c.positive, c.real], 0),
}  # fmt: skip


@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_ways_into_constraints(name: str, registry: str) -> None:
    found = []
    for t in (lg, torch):
        constraint = CONSTRAINTS[name](t, t.distributions.constraints)
        way = getattr(t.distributions, registry)(constraint)
        found.append(way(t.tensor(REAL)).numpy())
        assert constraint.check(way(t.tensor(REAL))).all()
    np.testing.assert_allclose(found[0], found[1], 1e-5, 1e-6)


ERRORS: dict[str, Any] = {
    "cache": lambda t, d: d.ExpTransform(cache_size=2),
    "reshape": lambda t, d: d.ReshapeTransform((3,), (2,)),
    "list": lambda t, d: d.TransformedDistribution(d.Normal(0.0, 1.0), "exp"),
    "members": lambda t, d: d.TransformedDistribution(d.Normal(0.0, 1.0), [1]),
    "axes": lambda t, d: d.TransformedDistribution(d.Normal(0.0, 1.0), d.StickBreakingTransform()),
    "triangle": lambda t, d: d.CorrCholeskyTransform().forward_shape((4,)),
    "registry": lambda t, d: d.biject_to(d.constraints.boolean),
    "registered": lambda t, d: d.biject_to.register(3, lambda c: None),
    "mixture": lambda t, d: d.MixtureSameFamily(d.Normal(0.0, 1.0), d.Normal(t.zeros(2), 1.0)),
    "components": lambda t, d: d.MixtureSameFamily(d.Categorical(t.ones(3)), d.Normal(t.zeros(2), 1.0)),
    "support": lambda t, d: d.Pareto(t.ones(2), 1.0).log_prob(t.tensor([0.5, 2.0])),
    "sign": lambda t, d: d.AbsTransform().sign,
    "event": lambda t, d: d.StickBreakingTransform().forward_shape(()),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    with pytest.raises((ValueError, TypeError, NotImplementedError)) as theirs:
        ERRORS[name](torch, torch.distributions)
    with pytest.raises(theirs.type):
        ERRORS[name](lg, lg.distributions)
