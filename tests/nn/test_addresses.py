"""PyTorch's older names and addresses lead to the same things, and names that are left out say why."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn
from lazygrad.nn import modules
from lazygrad.nn.attention import SDPBackend, sdpa_kernel
from lazygrad.utils.data import DistributedSampler


def test_modules_have_pytorchs_addresses() -> None:
    files = [
        import_module(f"lazygrad.nn.modules.{name}")
        for name in ("batchnorm", "conv", "loss", "utils")
    ]
    norm, conv, loss = files[0]._BatchNorm, files[1]._ConvNd, files[2]._Loss
    from lazygrad.nn.parameter import UninitializedParameter

    assert isinstance(nn.Conv2d(1, 1, 1), conv) and isinstance(nn.BatchNorm2d(1), norm)
    assert isinstance(nn.MSELoss(), loss) and modules.Linear is nn.Linear
    assert UninitializedParameter is nn.UninitializedParameter
    sizes = files[3]
    assert sizes._pair(3) == (3, 3) and sizes._pair([1, 2]) == (1, 2)
    state: dict[str, Any] = {"module.a": 1, "b": 2}
    sizes.consume_prefix_in_state_dict_if_present(state, "module.")
    assert state == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("owner", "name", "why"),
    [
        (nn, "DataParallel", "one process"),
        (nn, "quantized", "quantized"),
        (lg.optim, "SparseAdam", "dense"),
        (lg.utils.data, "IterDataPipe", "IterableDataset"),
    ],
)
def test_names_that_are_left_out_say_why(owner: Any, name: str, why: str) -> None:
    with pytest.raises(AttributeError, match=why):
        getattr(owner, name)


def test_a_module_that_compiles_itself() -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh()), lg.ones(2, 3)
    expected = model(x).tolist()
    model.compile(fullgraph=True)
    with lg.no_grad():
        for _ in range(3):
            assert model(x).tolist() == expected
    assert model._compiled_call_impl.traces == 1
    made = copy.deepcopy(model)
    assert made._compiled_call_impl is None and made(x).tolist() == expected


def test_batch_norms_of_several_processes() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ModuleList([nn.BatchNorm2d(2, eps=0.1)])).eval()
    made: Any = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    norm = made[1][0]
    assert type(norm) is nn.SyncBatchNorm and norm.eps == 0.1 and not norm.training
    x = lg.randn(2, 2, 3)
    assert norm(x).tolist() == nn.BatchNorm1d(2, eps=0.1).eval()(x).tolist()


def test_indices_of_several_processes() -> None:
    torch = pytest.importorskip("torch")
    for count, processes in ((10, 3), (1, 4), (12, 4)):
        for drops in (False, True):
            for rank in range(processes):
                given = (range(count), processes, rank, False, 0, drops)
                assert list(DistributedSampler(*given)) == list(
                    torch.utils.data.DistributedSampler(*given)
                )
    parts = [DistributedSampler(range(9), 3, rank) for rank in range(3)]
    orders = []
    for epoch in range(2):
        for part in parts:
            part.set_epoch(epoch)
        orders.append([list(part) for part in parts])
        assert sorted(index for part in orders[-1] for index in part) == list(range(9))
    assert orders[0] != orders[1]


def test_the_older_spectral_norm() -> None:
    torch = pytest.importorskip("torch")
    draws = np.random.default_rng(0)
    weight, x = draws.normal(size=(4, 3)).astype("f"), draws.normal(size=(5, 3)).astype("f")
    results = []
    for framework in (lg, torch):
        layer = framework.nn.Linear(3, 4, bias=False)
        layer.weight.data = framework.tensor(weight)
        utils = framework.nn.utils
        assert utils.spectral_norm(layer, n_power_iterations=2) is layer
        layer.weight_u.fill_(0.5)
        with pytest.raises(RuntimeError, match="two spectral_norm hooks"):
            utils.spectral_norm(layer)
        outputs = [layer(framework.tensor(x)) for _ in range(2)]
        (outputs[0] ** 2).sum().backward()
        keys, gradient = list(layer.state_dict()), layer.weight_orig.grad.numpy()
        utils.remove_spectral_norm(layer)
        values = [each.detach().numpy() for each in (*outputs, layer.weight)]
        results.append((keys, list(layer.state_dict()), [*values, gradient]))
    assert results[0][:2] == results[1][:2]
    for mine, other in zip(results[0][2], results[1][2]):
        np.testing.assert_allclose(mine, other, 1e-4, 1e-5)


def test_how_attention_is_computed_may_be_said() -> None:
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]), sdpa_kernel(SDPBackend.MATH):
        pass
    with pytest.raises(AssertionError, match="Backend"), sdpa_kernel("math"):  # type: ignore[arg-type]
        pass
    with pytest.warns(FutureWarning, match="clip_grad_norm_"):
        nn.utils.clip_grad_norm([], 1.0)
    with pytest.warns(FutureWarning, match="min_val"):
        assert nn.Hardtanh(min_value=-2.0).min_val == -2.0
