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
from lazygrad.codegen.lower import lower
from lazygrad.composites.contraction import matmul
from lazygrad.ir.args import Slot
from lazygrad.ir.dtype import float32
from lazygrad.ir.node import Node, iota, unary, where
from lazygrad.ir.op import Op
from lazygrad.ir.text import parse, show
from lazygrad.ir.verify import verify_kernel
from lazygrad.schedule.place import place
from lazygrad.schedule.simplify import simplify

LENGTH = 256
Arrays = list[np.ndarray[Any, Any]]


def draw(count: int, *shape: int) -> Arrays:
    random = np.random.default_rng(3)
    return [random.standard_normal(shape, dtype="float32") for _ in range(count)]


def plain(q: lg.Tensor, k: lg.Tensor, v: lg.Tensor) -> Any:
    return lg.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v


def causal(q: lg.Tensor, k: lg.Tensor, v: lg.Tensor) -> Any:
    return lg.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def written_causal(q: lg.Tensor, k: lg.Tensor, v: lg.Tensor) -> Any:
    """The mask of half of the keys, from ones and zeros."""
    ones = lg.ones(q.shape[-2], q.shape[-2])
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return lg.softmax(scores.masked_fill(lg.tril(ones) == 0, -math.inf), -1) @ v


def grouped(q: lg.Tensor, k: lg.Tensor, v: lg.Tensor) -> Any:
    """Two heads of queries for each of keys and values, and a mask of truths."""
    near = (lg.arange(q.shape[-2])[:, None] - lg.arange(q.shape[-2])) % 7 < 4
    k, v = k[:, :2], v[:, :2]
    attend = lg.nn.functional.scaled_dot_product_attention
    return attend(q, k, v, attn_mask=near, enable_gqa=True)


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


@pytest.mark.parametrize(
    ("function", "length"),
    [
        (plain, LENGTH),
        (causal, LENGTH),
        (masked, LENGTH),
        (scores, LENGTH),
        (written_causal, 263),  # a prime: the last block overlaps the one before
        (causal, 263),
        (grouped, 263),
    ],
)
def test_scores_of_attention_are_not_stored(function: Callable[..., Any], length: int) -> None:
    arrays = draw(4, 1, 4, length, 8)
    assert largest(function, arrays) <= length * length  # a mask may have so many
    found = gradients(function, arrays)
    with config.override(device="interpret"):
        expected = gradients(function, arrays)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_kernel_of_many_loops_is_read_back_from_its_text() -> None:
    """Its loops have names that no buffer has."""
    *inputs, cotangent = (lg.tensor(each) for each in draw(4, 1, 4, 263, 8))
    for each in inputs:
        each.requires_grad_()
    lowered = lg.lower(lambda: lg.autograd.grad(causal(*inputs), inputs[:2], cotangent))
    for text in lowered.kernels.values():
        (kernel,) = parse(text)
        verify_kernel(kernel)
        assert show(kernel) == text


def test_results_of_half_precision_that_are_added_up_across_rows() -> None:
    """The gradients of the values run along the lanes of no tile."""
    arrays = [each.astype("float16") for each in draw(4, 1, 2, 512, 32)]

    def gradient() -> Any:
        *inputs, cotangent = (lg.tensor(each) for each in arrays)
        for each in inputs:
            each.requires_grad_()
        made = lg.autograd.grad(plain(*inputs), inputs[:2], cotangent)
        lg.realize(*made)
        assert made[1] is not None
        return made[1].numpy()

    found = gradient()
    with config.override(device="interpret"):
        np.testing.assert_allclose(found, gradient(), rtol=2e-2, atol=1e-2)


def test_what_a_mask_leaves_out_of_a_whole_block_is_not_computed(
    golden: Callable[..., None],
) -> None:
    q, k, v = (
        Node(Op.BUFFER, (), float32, (4, 1024, 8), Slot(number), "cpu") for number in range(3)
    )
    rows, columns = (
        iota(1024).reshape(shape).expand((4, 1024, 1024)) for shape in ((1024, 1), (1, 1024))
    )
    scores = where(columns.le(rows), matmul(q, k.permute((0, 2, 1))), -math.inf)
    weights = unary(Op.EXP, scores - scores.reduce("max", (2,)).expand(scores.shape))
    result = matmul(weights / weights.sum((2,)).expand(weights.shape), v)
    (graph,) = place(simplify([result])).kernels
    golden(show(lower(graph)))
