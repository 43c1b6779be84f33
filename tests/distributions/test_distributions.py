"""Distributions have PyTorch's log probabilities, moments, entropies, divergences, reprs and errors; draws follow them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config

torch = pytest.importorskip("torch")

CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "Normal": ({"loc": [0.5, -1.0], "scale": [1.5, 0.2]}, [[0.0, -1.2], [3.0, 0.4]]),
    "LogNormal": ({"loc": [0.5, -1.0], "scale": [0.5, 0.2]}, [0.3, 2.0]),
    "HalfNormal": ({"scale": [0.5, 2.0]}, [0.3, 2.0]),
    "Laplace": ({"loc": 0.5, "scale": [1.5, 0.2]}, [0.0, 0.7]),
    "Cauchy": ({"loc": 0.5, "scale": [1.5, 0.2]}, [0.0, 0.7]),
    "Gumbel": ({"loc": 0.5, "scale": [1.5, 0.2]}, [0.0, 0.7]),
    "Exponential": ({"rate": [0.5, 3.0]}, [0.2, 1.5]),
    "Uniform": ({"low": [0.0, -1.0], "high": [1.0, 2.0]}, [0.2, 1.5]),
    "HalfCauchy": ({"scale": [0.5, 2.0]}, [0.3, 2.0]),
    "Pareto": ({"scale": [0.5, 2.0], "alpha": [3.0, 2.5]}, [0.7, 2.5]),
    "GeneralizedPareto": ({"loc": 0.1, "scale": [0.5, 2.0], "concentration": [0.0, -0.3]}, [0.7, 2.5]),
    "Weibull": ({"scale": [0.5, 2.0], "concentration": [3.0, 1.5]}, [0.7, 2.5]),
    "Kumaraswamy": ({"concentration1": [1.5, 3.0], "concentration0": [1.7, 2.0]}, [0.2, 0.6]),
    "VonMises": ({"loc": [0.5, -1.0], "concentration": [0.7, 20.0]}, [0.2, -1.3]),
    "LogisticNormal": ({"loc": [0.5, -1.0], "scale": [0.7, 0.2]}, [[0.2, 0.5, 0.3]]),
    "RelaxedBernoulli": ({"temperature": 0.7, "probs": [0.2, 0.7]}, [0.2, 0.6]),
    "RelaxedOneHotCategorical": ({"temperature": 0.7, "logits": [0.1, 2.0, -1.0]}, [[0.2, 0.5, 0.3]]),
    "Bernoulli": ({"probs": [0.2, 0.7]}, [[1.0, 0.0]]),
    "Geometric": ({"logits": [0.3, -0.7]}, [[3.0, 0.0]]),
    "Categorical": ({"logits": [[0.1, 2.0, -1.0], [1.0, 0.0, 0.5]]}, [[2, 0], [1, 1]]),
    "OneHotCategorical": ({"probs": [0.2, 0.5, 0.3]}, [[0.0, 1.0, 0.0]]),
    "Gamma": ({"concentration": [0.5, 3.0], "rate": [2.0, 0.7]}, [0.2, 1.5]),
    "Chi2": ({"df": [0.5, 3.0]}, [0.2, 1.5]),
    "InverseGamma": ({"concentration": [1.5, 9.0], "rate": [2.0, 0.7]}, [0.2, 1.5]),
    "Beta": ({"concentration1": [0.5, 3.0], "concentration0": [0.7, 2.0]}, [0.2, 0.6]),
    "Dirichlet": ({"concentration": [[0.5, 3.0, 1.5], [0.2, 0.3, 0.9]]}, [0.2, 0.7, 0.1]),
    "StudentT": ({"df": [1.5, 9.0], "loc": [0.3, 1.0], "scale": [2.0, 0.7]}, [0.2, 1.5]),
    "FisherSnedecor": ({"df1": [1.5, 9.0], "df2": [3.0, 20.0]}, [0.2, 1.5]),
    "Poisson": ({"rate": [0.5, 30.0]}, [[2.0, 25.0], [0.0, 31.0]]),
    "Binomial": ({"total_count": 4, "probs": [0.2, 0.7]}, [[1.0, 0.0], [4.0, 3.0]]),
    "NegativeBinomial": ({"total_count": 4, "logits": [0.2, -0.7]}, [[1.0, 0.0], [4.0, 3.0]]),
    "Multinomial": ({"total_count": 4, "probs": [0.2, 0.5, 0.3]}, [[1.0, 0.0, 3.0], [0.0, 2.0, 2.0]]),
    "ContinuousBernoulli": ({"probs": [0.2, 0.5]}, [0.1, 0.8]),
    "LowRankMultivariateNormal": ({"loc": [1.0, 2.0], "cov_factor": [[2.0], [0.5]], "cov_diag": [0.5, 1.5]}, [[0.0, 1.0]]),
    "Wishart": ({"df": [3.5, 6.0], "covariance_matrix": [[2.0, 0.5], [0.5, 1.0]]}, [[1.0, 0.2], [0.2, 3.0]]),
    "LKJCholesky": ({"dim": 3, "concentration": [0.7, 2.0]}, [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.6, 0.8]]),
    "MultivariateNormal": ({"loc": [1.0, 2.0], "covariance_matrix": [[2.0, 0.5], [0.5, 1.0]]}, [[0.0, 1.0]]),
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "Normal": {"loc": 0.1, "scale": 0.7},
    "Pareto": {"scale": 1.0, "alpha": [0.5, 3.0]},
    "Weibull": {"scale": 1.0, "concentration": [0.5, 3.0]},
    "Kumaraswamy": {"concentration1": 1.0, "concentration0": [0.5, 3.0]},
    "LogisticNormal": {"loc": [0.1, 0.3], "scale": [1.0, 2.0]},
    "Uniform": {"low": -2.0, "high": [3.0, 1.5]},
    "Geometric": {"probs": 0.3},
    "Categorical": {"probs": [0.2, 0.5, 0.3]},
    "Gamma": {"concentration": 1.5, "rate": [0.3, 2.0]},
    "Beta": {"concentration1": 1.5, "concentration0": [0.3, 2.0]},
    "Dirichlet": {"concentration": [1.5, 0.2, 1.0]},
    "Poisson": {"rate": 2.5},
    "Binomial": {"total_count": 4, "probs": 0.4},
    "ContinuousBernoulli": {"logits": [1.3, -2.0]},
    "LowRankMultivariateNormal": {
        "loc": [0.0, 1.0],
        "cov_factor": [[1.0], [0.3]],
        "cov_diag": [0.7, 0.4],
    },
    "MultivariateNormal": {"loc": [0.0, 1.0], "precision_matrix": [[2.0, 0.3], [0.3, 0.5]]},
}


def made(framework: Any, name: str, options: dict[str, Any], grad: bool = False) -> Any:
    given = {
        key: framework.tensor(value, requires_grad=grad) if (grad or isinstance(value, list)) and key not in ("total_count", "dim") else value
        for key, value in options.items()
    }  # fmt: skip
    return getattr(framework.distributions, name)(**given), [
        t for t in given.values() if grad and not isinstance(t, int)
    ]


def facts(framework: Any, name: str, options: dict[str, Any], value: Any) -> list[Any]:
    """Everything that can be compared; what is not there is the name of the error."""
    this, leaves = made(framework, name, options, grad=True)
    dtype = framework.int64 if name == "Categorical" else framework.float32
    at = framework.tensor(value, dtype=dtype)
    found: list[Any] = [this.log_prob(at)]
    found += framework.autograd.grad(found[0].sum(), leaves, retain_graph=True)
    for compute in (
        lambda: this.mean, lambda: this.mode, lambda: this.variance, lambda: this.stddev, this.entropy,
        lambda: this.cdf(at), lambda: this.icdf(framework.tensor([0.3, 0.8])), this.enumerate_support,
        lambda: this.expand((2, *this.batch_shape)).log_prob(at), this.perplexity,
    ):  # fmt: skip
        try:
            found.append(compute())
        except NotImplementedError:
            found.append(None)
    other, _ = made(framework, name, OTHERS.get(name, options))
    try:
        found.append(framework.distributions.kl_divergence(this, other))
    except NotImplementedError:
        found.append(None)
    return [None if each is None else each.detach().numpy() for each in found]


@pytest.mark.parametrize("name", CASES)
def test_facts(name: str) -> None:
    options, value = CASES[name]
    with config.override(device="interpret"):
        both = [facts(framework, name, options, value) for framework in (lg, torch)]
    for mine, expected in zip(*both, strict=True):
        if expected is None:
            assert mine is None
            continue
        assert mine is not None and mine.shape == expected.shape
        np.testing.assert_allclose(mine, expected, 2e-4, 2e-5)
    ours, theirs = made(lg, name, options)[0], made(torch, name, options)[0]
    if name not in (
        "LogNormal",
        "HalfNormal",
        "OneHotCategorical",
        "Beta",
        "Chi2",
        "Multinomial",
        "InverseGamma",
        "HalfCauchy",
    ):  # PyTorch's do not name their parameters
        assert repr(ours) == repr(theirs)
    assert (tuple(ours.batch_shape), tuple(ours.event_shape)) == (tuple(theirs.batch_shape), tuple(theirs.event_shape))  # fmt: skip
    assert (ours.has_rsample, ours.has_enumerate_support) == (theirs.has_rsample, theirs.has_enumerate_support)  # fmt: skip


HEAVY = ("Cauchy", "FisherSnedecor", "HalfCauchy", "InverseGamma", "StudentT")
"""Those whose means or variances are infinite with the parameters of CASES."""
WITHOUT_MEAN = (
    "LKJCholesky",
    "LogisticNormal",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "VonMises",
)
"""Those whose mean is no formula, or that of a direction."""


@pytest.mark.parametrize("name", WITHOUT_MEAN)
def test_draws_are_as_pytorchs(name: str) -> None:
    """The means of 20,000 draws of either, and of their squares, are within five standard errors."""
    means = []
    for framework in (lg, torch):
        framework.manual_seed(7)
        with config.override(device="interpret"):
            this, leaves = made(framework, name, CASES[name][0], grad=True)
            drawn = this.sample((20_000,))
            assert not drawn.requires_grad
            values = drawn.numpy().astype(np.float64)
        if name == "VonMises":
            values = np.concatenate([np.cos(values), np.sin(values)], -1)
        values = np.concatenate([values, values**2], -1)
        means.append((values.mean(0), values.std(0) / np.sqrt(len(values))))
        if this.has_rsample:
            with config.override(device="interpret"):
                this.rsample((2,)).sum().backward()
            assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)
    (ours, error), (theirs, other) = means
    assert (np.abs(ours - theirs) <= 5 * np.hypot(error, other)).all()


@pytest.mark.parametrize("name", [name for name in CASES if name not in (*HEAVY, *WITHOUT_MEAN)])
def test_draws(name: str) -> None:
    """The mean of 20,000 draws is within five of its standard errors, and draws with gradients have them."""
    with config.override(device="interpret"):
        draws(name)


def draws(name: str) -> None:
    lg.manual_seed(3)
    this, leaves = made(lg, name, CASES[name][0], grad=True)
    drawn = this.sample((20_000,))
    assert tuple(drawn.shape) == (20_000, *this.batch_shape, *this.event_shape)
    assert not drawn.requires_grad
    values = drawn.numpy().astype(np.float64)
    if name == "Categorical":
        values = np.stack([(values == k).mean(0) for k in range(3)], -1)
        np.testing.assert_allclose(values, this.probs.detach().numpy(), atol=0.02)
    else:
        mean, error = this.mean.detach().numpy(), values.std(0) / np.sqrt(len(values))
        assert (np.abs(values.mean(0) - mean) < 5 * error).all()
    if this.has_rsample:
        this.rsample((2,)).sum().backward()
        assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


def test_independent() -> None:
    results = []
    for framework in (lg, torch):
        inner = framework.distributions.Normal(framework.zeros(2, 3), framework.ones(2, 3))
        this = framework.distributions.Independent(inner, 1)
        other = framework.distributions.Independent(framework.distributions.Normal(framework.ones(2, 3), 2.0), 1)  # fmt: skip
        kl = framework.distributions.kl_divergence(this, other)
        parts = [this.log_prob(framework.ones(2, 3)), this.entropy(), kl]
        results.append((repr(this), [each.tolist() for each in parts], tuple(this.expand((4, 2)).sample().shape)))  # fmt: skip
    assert results[0][0] == results[1][0] and results[0][2] == results[1][2]
    np.testing.assert_allclose(results[0][1][0], results[1][1][0], 1e-5)
    np.testing.assert_allclose(results[0][1][2], results[1][1][2], 1e-5)


ERRORS: dict[str, Any] = {
    "scale": lambda t: t.distributions.Normal(0.0, t.tensor([1.0, -1.0])),
    "probability": lambda t: t.distributions.Bernoulli(1.5),
    "both": lambda t: t.distributions.Categorical(probs=t.ones(2), logits=t.ones(2)),
    "empty": lambda t: t.distributions.Uniform(1.0, 1.0),
    "support": lambda t: t.distributions.Categorical(probs=t.ones(3)).log_prob(t.tensor(3)),
    "shape": lambda t: t.distributions.Normal(t.zeros(3), 1.0).log_prob(t.zeros(2)),
    "event": lambda t: t.distributions.MultivariateNormal(t.zeros(2), t.eye(2)).log_prob(t.zeros(3)),
    "matrix": lambda t: t.distributions.MultivariateNormal(t.zeros(2), -t.eye(2)),
    "pair": lambda t: t.distributions.kl_divergence(t.distributions.Laplace(0.0, 1.0), t.distributions.Gumbel(0.0, 1.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    with pytest.raises((ValueError, NotImplementedError)) as theirs:
        ERRORS[name](torch)
    with pytest.raises(theirs.type) as ours:
        ERRORS[name](lg)
    assert str(ours.value)[:150] == str(theirs.value)[:150]


def test_checks_can_be_left_out() -> None:
    this = lg.distributions.Categorical(logits=lg.zeros(3), validate_args=False)
    assert this.log_prob(lg.tensor(0)).item() == pytest.approx(-np.log(3), rel=1e-6)
    lg.distributions.Normal(0.0, -1.0, validate_args=False)
    with pytest.raises(TypeError, match="to be a Distribution subclass"):
        lg.distributions.register_kl(int, lg.distributions.Normal)


def test_gamma_draws() -> None:
    """Draws of small, middle and large shapes follow the distribution, and their gradients hold its integral."""
    lg.manual_seed(5)
    shapes = np.array([0.05, 0.7, 3.0, 14.9, 15.1, 400.0])
    shape = lg.tensor(shapes).expand(4000, 6).clone().requires_grad_()
    drawn = lg._standard_gamma(shape)
    drawn.sum().backward()
    assert shape.grad is not None
    at = lg.distributions.Gamma(lg.tensor(shapes), 1.0).cdf(drawn.detach()).numpy()
    steps = np.arange(1, 4001)[:, None] / 4000
    assert (
        np.abs(np.sort(at, 0) - steps).max() < 0.03
    )  # Kolmogorov and Smirnov's distance: 1.9 / sqrt(4000), exceeded once in 700
    moved = torch._standard_gamma_grad(*(torch.tensor(t.detach().numpy()) for t in (shape, drawn)))
    np.testing.assert_allclose(shape.grad.numpy(), moved.numpy(), 2e-3)  # PyTorch's own error: 7e-4


def test_dirichlet_gradients_have_the_right_mean() -> None:
    """The derivative of the mean of the first share by its concentration, (total - c) / total^2."""
    lg.manual_seed(1)
    with config.override(device="interpret"):
        c = lg.tensor([0.5, 2.0, 1.5], dtype=lg.float64, requires_grad=True)
        lg.distributions.Dirichlet(c).rsample((20_000,))[:, 0].mean().backward()
        assert c.grad is not None
        np.testing.assert_allclose(c.grad.tolist(), [3.5 / 16, -0.5 / 16, -0.5 / 16], atol=5e-3)
