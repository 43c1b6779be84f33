"""Blocks of rows: attention never stores its scores, whatever it is written as, and computes what the stored ones would give."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config

LENGTH = 512
Arrays = list[np.ndarray[Any, Any]]


def draw(count: int, *shape: int) -> Arrays:
    random = np.random.default_rng(3)
    return [random.standard_normal(shape, dtype="float32") for _ in range(count)]


def plain(q: lg.Tensor, k: lg.Tensor, v: lg.Tensor) -> Any:
    return lg.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v


def causal(q: lg.Tensor, k: lg.Tensor, v: lg.Tensor) -> Any:
    return lg.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def masked(q: lg.Tensor, k: lg.Tensor, v: lg.Tensor) -> Any:
    length = q.shape[-2]
    far = (lg.arange(length)[:, None] - lg.arange(length)).abs() * -0.01
    return lg.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=far)


def scores(q: lg.Tensor, k: lg.Tensor, v: lg.Tensor) -> Any:
    """Not a softmax, and heads before the length."""
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    weights = lg.einsum("blhd,bmhd->bhlm", q, k).sigmoid()
    return lg.einsum("bhlm,bmhd->bhld", weights, v)


def gradients(function: Callable[..., Any], arrays: Arrays) -> Arrays:
    """The result, read before the gradients, and they."""
    *inputs, cotangent = (lg.tensor(each) for each in arrays)
    for each in inputs:
        each.requires_grad_()
    result = function(*inputs)
    found = [result.detach().numpy()]
    result.backward(cotangent)
    return [*found, *[each.grad.numpy() for each in inputs if each.grad is not None]]


def largest(function: Callable[..., Any], arrays: Arrays) -> int:
    """The elements of the largest tensor that a kernel of the whole program reads or writes."""

    def whole(*tensors: lg.Tensor) -> list[Any]:
        *inputs, cotangent = tensors
        result = function(*inputs)
        return [result, *lg.autograd.grad(result, inputs, cotangent)]

    tensors = [lg.tensor(each) for each in arrays]
    for each in tensors[:-1]:
        each.requires_grad_()
    heads = [text.partition(")")[0] for text in lg.lower(whole, *tensors).kernels.values()]
    shapes = [shape for head in heads for shape in re.findall(r"\[([\d, ]+)\]", head)]
    return max(math.prod(map(int, shape.split(", "))) for shape in shapes)


@pytest.mark.parametrize("function", [plain, causal, masked, scores])
def test_scores_of_attention_are_not_stored(function: Callable[..., Any]) -> None:
    arrays = draw(4, 1, 4, LENGTH, 8)
    assert largest(function, arrays) <= LENGTH * LENGTH  # a mask may have so many
    found = gradients(function, arrays)
    with config.override(device="interpret"):
        expected = gradients(function, arrays)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
