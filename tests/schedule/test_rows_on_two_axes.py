"""Layers over batches of sequences whose loss is that of all positions in one row: the rows of a block are two axes of the layers between."""

from __future__ import annotations

import numpy as np

import lazygrad as lg
from lazygrad import nn
from lazygrad.nn import functional as F


def test_sequences_learn_as_the_rows_that_they_are() -> None:
    lg.manual_seed(0)
    x = lg.randn(16, 128, 128).realize()
    first, second = nn.Linear(128, 512), nn.Linear(512, 128)
    gradients = []
    for rows in (x, x.flatten(0, 1)):
        first.zero_grad()
        logits = second(F.gelu(first(rows))).reshape(2048, 128)
        loss = F.cross_entropy(logits, lg.zeros(2048, dtype=lg.int64))
        loss.backward()
        assert 4 < loss.item() < 6 and first.weight.grad is not None
        gradients.append(first.weight.grad.numpy())
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)
