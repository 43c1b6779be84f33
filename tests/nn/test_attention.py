"""Attention: against the formula in numpy, and modules against PyTorch from the same weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn

F = nn.functional


def formula(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    allowed: np.ndarray,
    added: np.ndarray | float = 0.0,
    scale: float | None = None,
) -> np.ndarray:
    """softmax(q k^T * scale + added) v over the allowed keys, in float64; 0 where there is none."""
    query, key, value = (each.astype("float64") for each in (query, key, value))
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = query @ np.swapaxes(key, -1, -2) * factor + added
    powers = np.where(allowed, np.exp(scores - scores.max(-1, keepdims=True)), 0.0)
    total = powers.sum(-1, keepdims=True)
    found: np.ndarray = powers / np.where(total == 0, 1, total) @ value
    return found


draws = np.random.default_rng(7)
QUERY = draws.normal(size=(2, 4, 3, 8)).astype("float32")
KEY = draws.normal(size=(2, 4, 5, 8)).astype("float32")
VALUE = draws.normal(size=(2, 4, 5, 6)).astype("float32")
MASK = draws.random((2, 1, 3, 5)) < 0.6
MASK[0, 0, 1] = False
BIAS = draws.normal(size=(3, 5)).astype("float32")
EVERY = np.ones((3, 5), bool)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {"allowed": EVERY}),
    "scale": ({"scale": 0.3}, {"allowed": EVERY, "scale": 0.3}),
    "causal": ({"is_causal": True}, {"allowed": np.tril(EVERY)}),
    "bool mask": ({"attn_mask": MASK}, {"allowed": MASK}),
    "float mask": ({"attn_mask": BIAS}, {"allowed": EVERY, "added": BIAS}),
    "infinite mask": ({"attn_mask": np.where(MASK, 0, -np.inf).astype("float32")}, {"allowed": MASK}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_scaled_dot_product(case: str) -> None:
    options, expected = CASES[case]
    options = {k: lg.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    tensors = [lg.tensor(each, requires_grad=True) for each in (QUERY, KEY, VALUE)]
    found = F.scaled_dot_product_attention(*tensors, **options)
    np.testing.assert_allclose(
        found.detach().numpy(), formula(QUERY, KEY, VALUE, **expected), 1e-5, 1e-6
    )
    found.sum().backward()
    for each in tensors:
        assert each.grad is not None and bool(each.grad.isfinite().all())


def test_heads_shared_by_groups_of_queries() -> None:
    key, value = KEY[:, :2], VALUE[:, :2]
    query, key_, value_ = map(lg.tensor, (QUERY, key, value))
    found = F.scaled_dot_product_attention(
        query, key_, value_, attn_mask=lg.tensor(MASK), enable_gqa=True
    )
    expected = formula(QUERY, np.repeat(key, 2, 1), np.repeat(value, 2, 1), MASK)
    np.testing.assert_allclose(found.numpy(), expected, 1e-5, 1e-6)


def test_batches_broadcast_and_halves_sum_in_float32() -> None:
    found = F.scaled_dot_product_attention(*map(lg.tensor, (QUERY[0, 0], KEY[:, :1], VALUE)))
    expected = formula(QUERY[0, 0], KEY[:, :1], VALUE, EVERY)
    np.testing.assert_allclose(found.numpy(), expected, 1e-5, 1e-6)
    halves = [lg.tensor(each).half() for each in (QUERY, KEY, VALUE)]
    query, key, value = (each.float().numpy() for each in halves)
    exact = formula(query, key, value, EVERY)
    found = F.scaled_dot_product_attention(*halves)
    assert found.dtype is lg.float16
    np.testing.assert_allclose(found.float().numpy(), exact, atol=1e-3)


def test_dropped_weights_keep_the_mean() -> None:
    """Each weight is dropped or divided by 1 - p: with values of 1 the rows sum to a mean of 1."""
    lg.manual_seed(3)
    query, key, value = lg.zeros(64, 32, 4), lg.zeros(64, 32, 4), lg.ones(64, 32, 1)
    found = F.scaled_dot_product_attention(query, key, value, dropout_p=0.25).numpy()
    counts = found * 0.75 * 32
    np.testing.assert_allclose(counts, counts.round(), atol=1e-3)
    assert abs(found.mean() - 1) < 0.01 and found.std() > 0.05


def test_what_does_not_fit() -> None:
    query, key, value = map(lg.tensor, (QUERY, KEY, VALUE))
    refused: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((query, key.double(), value), {}, "same dtype"),
        ((query[0, 0, 0], key, value), {}, "at least 2 dimensional"),
        ((query, key[..., :3], value), {}, "sizes do not fit"),
        ((query, key, value[..., :3, :]), {}, "sizes do not fit"),
        ((query, key, value), {"attn_mask": lg.ones(3, 5).int()}, "Expected attn_mask dtype"),
        ((query, key, value), {"attn_mask": lg.ones(3, 4)}, "size of tensor|broadcast"),
        ((query, key, value), {"attn_mask": lg.ones(9, 2, 4, 3, 5)}, "must broadcast to"),
        ((query, key, value), {"dropout_p": 1.5}, "between 0 and 1"),
        ((query[:, :3], key[:, :2], value[:, :2]), {"enable_gqa": True}, "must divide"),
        ((query[:, :3], key, value), {}, "size of tensor|broadcast"),
    ]
    for operands, options, message in refused:
        with pytest.raises(RuntimeError, match=message):
            F.scaled_dot_product_attention(*operands, **options)


def test_second_derivatives_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for framework in (lg, torch):
        tensors = [framework.tensor(x, requires_grad=True) for x in (QUERY, KEY, VALUE)]
        if framework is lg:
            query, key, value = tensors
            made = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:  # PyTorch's kernel has no second derivative
            query, key, value = tensors
            scores = query @ key.transpose(-1, -2) / math.sqrt(8)
            scores = scores.masked_fill(~torch.ones(3, 5, dtype=torch.bool).tril(), -math.inf)
            made = scores.softmax(-1) @ value
        first = framework.autograd.grad((made**2).sum(), tensors, create_graph=True)
        sum((each**2).sum() for each in first).backward()
        found.append([each.grad.numpy() for each in tensors])
    for mine, expected in zip(*found):
        np.testing.assert_allclose(mine, expected, 1e-3, 1e-4)


# --- modules, against PyTorch


def copied(name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """Our module and PyTorch's with the same random weights, names and repr."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    theirs, ours = getattr(torch.nn, name)(*args, **options), getattr(nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0, 0.3)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [k for k, _ in ours.named_parameters()] == [k for k, _ in theirs.named_parameters()]
    ours.load_state_dict({k: lg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def agree(ours: Any, theirs: Any, inputs: list[np.ndarray], call: Any, atol: float = 2e-5) -> None:
    """Outputs and gradients of inputs and parameters, for call(module, framework, tensors)."""
    import torch

    left = [lg.tensor(x, requires_grad=True) for x in inputs]
    right = [torch.tensor(x, requires_grad=True) for x in inputs]
    outputs, expected = call(ours, lg, left), call(theirs, torch, right)
    outputs, expected = (
        each if isinstance(each, tuple) else (each,) for each in (outputs, expected)
    )
    total, their_total = lg.zeros(()), torch.zeros(())
    for mine, reference in zip(outputs, expected, strict=True):
        assert (mine is None) is (reference is None)
        if reference is None:
            continue
        assert tuple(mine.shape) == tuple(reference.shape)
        np.testing.assert_allclose(mine.detach().numpy(), reference.detach().numpy(), 1e-4, atol)
        weights = np.cos(np.arange(reference.numel(), dtype="float32")).reshape(reference.shape)
        total = total + (mine * lg.tensor(weights)).sum()
        their_total = their_total + (reference * torch.tensor(weights)).sum()
    total.backward()
    their_total.backward()
    named = dict(theirs.named_parameters())
    pairs = [(key, p.grad, named[key].grad) for key, p in ours.named_parameters()]
    for key, mine, reference in [
        *pairs,
        *((i, a.grad, b.grad) for i, (a, b) in enumerate(zip(left, right))),
    ]:
        assert mine is not None and reference is not None, key
        np.testing.assert_allclose(mine.numpy(), reference.numpy(), 1e-3, 10 * atol, err_msg=str(key))  # fmt: skip


SEQUENCE = draws.normal(size=(5, 2, 8)).astype("float32")
OTHER = draws.normal(size=(4, 2, 8)).astype("float32")
PADDING = np.array([[0, 0, 0, 1], [0, 0, 1, 1]], bool)
HEADS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"bias": False}, {"need_weights": False}),
    ({}, {"average_attn_weights": False, "attn_mask": draws.random((5, 4)) < 0.3}),
    ({}, {"key_padding_mask": PADDING}),
    ({}, {"key_padding_mask": PADDING, "need_weights": False}),
    ({}, {"key_padding_mask": np.where(PADDING, -np.inf, 0).astype("float32"), "attn_mask": draws.normal(size=(5, 4)).astype("float32")}),
    ({}, {"attn_mask": draws.normal(size=(4, 5, 4)).astype("float32"), "need_weights": False}),
    ({"add_bias_kv": True}, {"key_padding_mask": PADDING, "attn_mask": np.triu(np.ones((5, 4), bool), 1)}),
    ({"add_zero_attn": True}, {"key_padding_mask": PADDING, "need_weights": False}),
    ({"kdim": 6, "vdim": 3}, {}),
    ({"kdim": 6, "vdim": 3, "bias": False, "add_bias_kv": True, "add_zero_attn": True}, {"need_weights": False}),
    ({}, {"is_causal": True, "need_weights": False, "attn_mask": np.triu(np.ones((5, 4), bool), 1)}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HEADS)))
@pytest.mark.parametrize("batch_first", [False, True])
def test_heads_of_other_keys(number: int, batch_first: bool) -> None:
    options, call_options = HEADS[number]
    ours, theirs = copied("MultiheadAttention", 8, 2, batch_first=batch_first, **options)
    key, value = (
        OTHER[..., : options.get("kdim", 8)],
        OTHER[..., ::-1][..., : options.get("vdim", 8)],
    )
    inputs = [
        np.ascontiguousarray(x.swapaxes(0, 1) if batch_first else x) for x in (SEQUENCE, key, value)
    ]

    def call(module: Any, framework: Any, tensors: list[Any]) -> Any:
        masks = {
            k: framework.tensor(v) if isinstance(v, np.ndarray) else v
            for k, v in call_options.items()
        }
        return module(*tensors, **masks)

    agree(ours, theirs, inputs, call)


def test_heads_of_one_sequence_with_and_without_batch() -> None:
    ours, theirs = copied("MultiheadAttention", 8, 4)
    agree(ours, theirs, [SEQUENCE], lambda module, _, x: module(x[0], x[0], x[0]))
    ours.zero_grad()
    theirs.zero_grad()
    agree(ours, theirs, [SEQUENCE[:, 0]], lambda module, _, x: module(x[0], x[0], x[0]))


def test_heads_refuse_what_pytorch_refuses() -> None:
    torch = pytest.importorskip("torch")
    for modules, t in ((nn, lg), (torch.nn, torch)):
        with pytest.raises(ValueError, match="must be greater than 0"):
            modules.MultiheadAttention(0, 2)
        with pytest.raises(AssertionError, match="divisible by num_heads"):
            modules.MultiheadAttention(8, 3)
        with pytest.raises(RuntimeError, match="should be relu/gelu"):
            modules.TransformerEncoderLayer(8, 2, activation="tanh")
        heads, x = modules.MultiheadAttention(8, 2), t.zeros(5, 2, 8)
        for operands, options, error in (
            ((x[0, 0], x, x), {}, AssertionError),
            ((x, x[0], x), {}, AssertionError),
            ((x, x, x[:3]), {}, AssertionError),
            ((t.zeros(5, 2, 6), x, x), {}, AssertionError),
            ((x, x, x), {"is_causal": True}, RuntimeError),
            ((x, x, x), {"attn_mask": t.zeros(5, 4)}, RuntimeError),
            ((x, x, x), {"attn_mask": t.zeros(3, 5, 5)}, RuntimeError),
            ((x, x, x), {"key_padding_mask": t.zeros(5, 2)}, AssertionError),
        ):
            with pytest.raises(error):
                heads(*operands, **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"norm_first": True, "activation": "gelu"}, {"batch_first": True}, {"bias": False}],
)
def test_encoder(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    size = 5 if not options.get("batch_first") else 2
    mask = np.triu(np.full((size, size), -np.inf, "float32"), 1)

    def made(modules: Any) -> Any:
        layer = modules.TransformerEncoderLayer(8, 2, 16, dropout=0.0, **options)
        return modules.TransformerEncoder(
            layer, 2, modules.LayerNorm(8), enable_nested_tensor=False
        )

    ours, theirs = made(nn), made(torch.nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: lg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    agree(ours, theirs, [SEQUENCE], lambda module, t, x: module(x[0], mask=t.tensor(mask)), 5e-5)
