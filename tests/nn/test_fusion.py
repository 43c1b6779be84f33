"""Layers into which the norm behind them is taken do what both do, as PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.nn.utils import skip_init

torch = pytest.importorskip("torch")

PAIRS: list[tuple[str, tuple[Any, ...], str, tuple[int, ...]]] = [
    ("Conv2d", (3, 4, 2), "BatchNorm2d", (2, 3, 5, 5)),
    ("ConvTranspose2d", (3, 4, 2), "BatchNorm2d", (2, 3, 3, 3)),
    ("Linear", (3, 4, False), "BatchNorm1d", (5, 3)),
]


@pytest.mark.parametrize(("name", "args", "norm_name", "shape"), PAIRS, ids=str)
def test_fused_layer(
    name: str, args: tuple[Any, ...], norm_name: str, shape: tuple[int, ...]
) -> None:
    theirs = torch.nn.Sequential(getattr(torch.nn, name)(*args), getattr(torch.nn, norm_name)(4))
    with torch.no_grad():
        for value in theirs.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.5, 2.0)
    ours = lg.nn.Sequential(getattr(lg.nn, name)(*args), getattr(lg.nn, norm_name)(4))
    ours.load_state_dict({k: lg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    input = np.random.default_rng(0).normal(size=shape).astype("float32")
    results = []
    for framework, model in ((lg, ours), (torch, theirs.eval())):
        utils = framework.nn.utils
        fuse = utils.fuse_linear_bn_eval if name == "Linear" else utils.fuse_conv_bn_eval
        more = (True,) if "Transpose" in name else ()
        with pytest.raises(AssertionError, match="only for eval"):
            fuse(model[0].train(), model[1], *more)
        fused = fuse(model.eval()[0], model[1], *more)
        assert type(fused) is type(model[0]) and fused.weight.requires_grad
        results.append([fused.weight, fused.bias, fused(framework.tensor(input)), model(framework.tensor(input))])  # fmt: skip
    for mine, expected in zip(*([v.detach().numpy() for v in each] for each in results)):
        np.testing.assert_allclose(mine, expected, 1e-4, 1e-5)
    skipped = skip_init(lg.nn.Linear, 3, 2, bias=False)
    assert repr(skipped) == "Linear(in_features=3, out_features=2, bias=False)"
