"""The decoder and the whole transformer give PyTorch's outputs and gradients from the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn

torch = pytest.importorskip("torch")


def close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), 1e-4, 1e-5)


def copied(ours: Any, theirs: Any) -> None:
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: lg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})


@pytest.mark.parametrize("first", [False, True])
def test_transformer(first: bool) -> None:
    """One layer each, a causal mask and a padding mask; in training, where PyTorch takes no other way."""
    options: dict[str, Any] = {
        "dim_feedforward": 6,
        "dropout": 0.0,
        "batch_first": first,
        "norm_first": first,
    }
    if first:
        options |= {"activation": "gelu", "bias": False}
    torch.manual_seed(0)
    theirs, ours = (
        torch.nn.Transformer(4, 2, 1, 1, **options),
        nn.Transformer(4, 2, 1, 1, **options),
    )
    copied(ours, theirs)
    draw = np.random.default_rng(0)
    inputs = [
        draw.normal(size=(2, 3, 4) if first else (3, 2, 4)).astype("float32") for _ in range(2)
    ]
    padding = np.array([[False, False, True], [False, False, False]])
    results = []
    for framework, net in ((lg, ours), (torch, theirs)):
        mask = net.generate_square_subsequent_mask(3)
        src, tgt = (framework.tensor(x, requires_grad=True) for x in inputs)
        given = framework.tensor(padding)
        output = net(src, tgt, tgt_mask=mask, memory_key_padding_mask=given)
        (output**3).sum().backward()
        results.append(
            [
                mask,
                output,
                src.grad,
                tgt.grad,
                net.decoder.layers[0].multihead_attn.in_proj_weight.grad,
            ]
        )
    for mine, other in zip(*results):
        close(mine, other)


def test_errors() -> None:
    net = nn.Transformer(4, 2, 1, 1, 6)
    with pytest.raises(RuntimeError, match="the batch number of src and tgt must be equal"):
        net(lg.ones(3, 2, 4), lg.ones(3, 1, 4))
    with pytest.raises(RuntimeError, match="must be equal to d_model"):
        net(lg.ones(3, 2, 4), lg.ones(3, 2, 5))
