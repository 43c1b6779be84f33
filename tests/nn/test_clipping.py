"""torch.nn.utils' functions on gradients and parameters are PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.nn import utils

torch = pytest.importorskip("torch")

draws = np.random.default_rng(5)
GRADIENTS = [draws.normal(size=shape).astype("float32") for shape in ((3, 4), (5,), ())]


def parameters(framework: Any) -> list[Any]:
    """Three with gradients, one without."""
    made = [framework.zeros(g.shape, requires_grad=True) for g in GRADIENTS]
    for parameter, gradient in zip(made, GRADIENTS):
        parameter.grad = framework.tensor(gradient)
    return [*made, framework.zeros(2, requires_grad=True)]


@pytest.mark.parametrize(
    ("most", "order"), [(1.0, 2.0), (100.0, 2), (0.5, 1.0), (0.25, math.inf), (1, 3.5), (2, 0.0)]
)
def test_norms(most: float, order: float) -> None:
    both = []
    for framework in (lg, torch):
        tensors = parameters(framework)
        module = framework.nn.utils
        total = module.clip_grad_norm_(iter(tensors), most, norm_type=order)
        left = module.get_total_norm([t.grad for t in tensors[:3]], norm_type=order)
        alone = module.clip_grad_norm_(tensors[0], most, order, foreach=True)
        both.append([total.item(), left.item(), alone.item(), *tensors[0].grad.flatten().tolist()])
        assert tensors[3].grad is None and total.shape == ()
    np.testing.assert_allclose(both[0], both[1], rtol=1e-5)


def test_values_and_nothing_to_clip() -> None:
    for framework in (lg, torch):
        tensors = parameters(framework)
        module = framework.nn.utils
        held = [t.grad for t in tensors[:3]]
        module.clip_grad_value_(tensors, 0.5)
        for gradient, before, parameter in zip(held, GRADIENTS, tensors):
            assert parameter.grad is gradient
            np.testing.assert_array_equal(gradient.numpy(), before.clip(-0.5, 0.5))
        assert module.clip_grad_norm_(tensors[3], 1.0).item() == 0.0
        assert module.get_total_norm([]).item() == 0.0


def test_a_norm_that_is_not_finite() -> None:
    for framework in (lg, torch):
        tensors = parameters(framework)
        tensors[1].grad = framework.tensor([math.inf, 1.0, 1.0, 1.0, 1.0])
        with pytest.raises(RuntimeError, match=r"total norm of order 2\.0 .* is non-finite"):
            framework.nn.utils.clip_grad_norm_(tensors, 1.0, error_if_nonfinite=True)
        np.testing.assert_array_equal(tensors[0].grad.numpy(), GRADIENTS[0])
        assert framework.nn.utils.clip_grad_norm_(tensors, 1.0).item() == math.inf
        assert tensors[0].grad.abs().sum().item() == 0.0 and tensors[1].grad.isnan().any().item()


def test_vectors() -> None:
    tensors = parameters(lg)
    vector = utils.parameters_to_vector(t for t in tensors)
    assert vector.shape == (20,)
    (vector * lg.arange(20)).sum().backward()
    assert tensors[3].grad is not None and tensors[3].grad.tolist() == [18.0, 19.0]
    utils.vector_to_parameters(lg.arange(20.0), tensors)
    assert tensors[0].is_leaf and tensors[0].tolist()[1] == [4.0, 5.0, 6.0, 7.0]
    assert tensors[2].item() == 17.0 and tensors[2].shape == ()
    with pytest.raises(TypeError, match=r"expected torch\.Tensor"):
        utils.vector_to_parameters([1.0], tensors)
