"""Tables of rows and random zeros: by formula, and what both frameworks agree on or refuse."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn

F = nn.functional

draws = np.random.default_rng(11)
TABLE = draws.normal(size=(7, 3)).astype("float32")
INDICES = np.array([[1, 4, 1, 6], [0, 1, 4, 2]])
COTANGENT = draws.normal(size=(2, 4, 3)).astype("float32")
CASES: list[dict[str, Any]] = [
    {},
    {"padding_idx": 4},
    {"padding_idx": -3},
    {"scale_grad_by_freq": True},
    {"scale_grad_by_freq": True, "padding_idx": 1},
    {"max_norm": 1.0},
    {"max_norm": 0.7, "norm_type": 1.0},
]


def gradient(options: dict[str, Any]) -> np.ndarray:
    """The sum of the cotangents of each row, in the order of its indices."""
    total = np.zeros_like(TABLE)
    np.add.at(total, INDICES.ravel(), COTANGENT.reshape(-1, 3))
    if "padding_idx" in options:
        total[options["padding_idx"]] = 0
    if options.get("scale_grad_by_freq"):
        total /= np.maximum(np.bincount(INDICES.ravel(), minlength=7), 1)[:, None]
    return total


def limited(options: dict[str, Any]) -> np.ndarray:
    """The table after the rows that are read have been scaled to `max_norm`."""
    table = TABLE.copy()
    if "max_norm" in options:
        for row in set(INDICES.ravel()):
            norm = np.linalg.norm(table[row], options.get("norm_type", 2.0))
            if norm > options["max_norm"]:
                table[row] *= options["max_norm"] / (norm + 1e-7)
    return table


@pytest.mark.parametrize("options", CASES, ids=str)
@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_rows_and_their_gradients(options: dict[str, Any], dtype: str) -> None:
    module = nn.Embedding.from_pretrained(lg.tensor(TABLE), freeze=False, **options)
    rows = module(lg.tensor(INDICES.astype(dtype)))
    table = limited(options)
    np.testing.assert_allclose(rows.detach().numpy(), table[INDICES], 1e-6)
    rows.backward(lg.tensor(COTANGENT))
    assert module.weight.grad is not None
    np.testing.assert_allclose(module.weight.grad.numpy(), gradient(options), 1e-5, 1e-6)
    np.testing.assert_allclose(module.weight.detach().numpy(), table, 1e-6)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_module_is_pytorchs(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = nn.Embedding(7, 3, **options), torch.nn.Embedding(7, 3, **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    if "padding_idx" in options:
        assert ours.padding_idx == theirs.padding_idx
        assert not ours.weight[ours.padding_idx].any() and ours.weight.any(1).sum() == 6
    weights = theirs.weight.detach().numpy().copy()
    ours.load_state_dict({"weight": lg.tensor(weights)})
    rows, expected = ours(lg.tensor(INDICES)), theirs(torch.tensor(INDICES))
    np.testing.assert_allclose(rows.detach().numpy(), expected.detach().numpy(), 1e-6)
    rows.backward(lg.tensor(COTANGENT))
    expected.backward(torch.tensor(COTANGENT))
    np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad.numpy(), 1e-5, 1e-6)  # type: ignore[union-attr]
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), 1e-6)


@pytest.mark.of_the_cpu("says in which order the CPU adds")
def test_gradients_of_a_row_are_summed_in_order_with_work_for_the_result_only() -> None:
    """The same bits as adding one after the other, and as many adds as there are elements: 4,096 rows of 50,000."""
    index = draws.integers(0, 40, 4096)
    values = draws.normal(size=(4096, 2)).astype("float32")
    weight = lg.zeros(50_000, 2, requires_grad=True)
    F.embedding(lg.tensor(index), weight).backward(lg.tensor(values))
    expected = np.zeros((50_000, 2), "float32")
    np.add.at(expected, index, values)
    assert weight.grad is not None
    np.testing.assert_array_equal(weight.grad.numpy(), expected)
    lowered = lg.lower(
        lambda w, i, v: lg.autograd.grad(F.embedding(i, w), w, v)[0],
        lg.zeros(50_000, 2, requires_grad=True), lg.tensor(index), lg.tensor(values),
    )  # fmt: skip
    assert lowered.cost.flops < 8 * values.size


def test_second_derivative_of_a_loss_of_rows() -> None:
    """For sum(rows**3) the gradient of the sum of its squared gradient is 36 x**3 times the count squared."""
    weight = lg.tensor(TABLE, requires_grad=True)
    total = (F.embedding(lg.tensor(INDICES), weight) ** 3).sum()
    (first,) = lg.autograd.grad(total, weight, create_graph=True)
    assert first is not None
    (first**2).sum().backward()
    counts = np.bincount(INDICES.ravel(), minlength=7)[:, None]
    assert weight.grad is not None
    np.testing.assert_allclose(weight.grad.numpy(), 36 * TABLE**3 * counts**2, 1e-4, 1e-4)


def test_wrong_tables_and_indices() -> None:
    table = lg.tensor(TABLE)
    with pytest.raises(RuntimeError, match="scalar types: Long, Int; but got Float"):
        F.embedding(lg.zeros(2), table)
    with pytest.raises(RuntimeError, match="'weight' must be 2-D"):
        F.embedding(lg.tensor([0]), table[0])
    for wrong in (7, -1):
        with pytest.raises(IndexError, match=f"index {wrong} is out of bounds"):
            F.embedding(lg.tensor([wrong]), table).tolist()
    with pytest.raises(AssertionError, match="Padding_idx must be within num_embeddings"):
        F.embedding(lg.tensor([0]), table, padding_idx=7)
    with pytest.raises(AssertionError, match="Padding_idx must be within num_embeddings"):
        nn.Embedding(3, 2, padding_idx=-4)
    with pytest.raises(NotImplementedError, match="sparse gradients do not exist here"):
        nn.Embedding(3, 2, sparse=True)
    with pytest.raises(NotImplementedError, match="sparse=False"):
        F.embedding(lg.tensor([0]), table, sparse=True)
    with pytest.raises(AssertionError, match="2-dimensional"):
        nn.Embedding.from_pretrained(table[0])
    frozen = nn.Embedding.from_pretrained(table)
    assert not frozen.weight.requires_grad and frozen.weight.data_ptr() == table.data_ptr()


# --- dropout


DROPOUTS = ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"]
RANKS = {"Dropout1d": 3, "Dropout2d": 4, "Dropout3d": 5}


def drawn(name: str, p: float, size: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """An input of ones, in channels of four elements, and its dropout."""
    shape = (64, size // 64, 2, 2, *(1,) * (RANKS.get(name, 4) - 4))
    shape = (64, size // 64, 4) if name == "Dropout1d" else shape
    lg.manual_seed(5)
    input = lg.ones(shape, requires_grad=True)
    output = getattr(nn, name)(p)(input)
    output.sum().backward()
    assert input.grad is not None
    return output.detach().numpy(), input.grad.numpy()


@pytest.mark.parametrize("name", ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d"])
def test_share_scale_and_gradient(name: str) -> None:
    output, slope = drawn(name, 0.25)
    assert set(np.unique(output)) == {0.0, np.float32(1 / 0.75)}
    np.testing.assert_array_equal(output, slope)
    whole = output.reshape(64, 64, -1)
    same = (whole == whole[..., :1]).all()
    assert same == (name != "Dropout")
    assert abs((whole[..., 0] == 0).mean() - 0.25) < 0.03


@pytest.mark.parametrize("name", ["AlphaDropout", "FeatureAlphaDropout"])
def test_mean_and_variance_stay(name: str) -> None:
    lg.manual_seed(9)
    input = lg.randn(256, 256, 2)
    output = getattr(nn, name)(0.3)(input).numpy()
    assert abs(output.mean()) < 0.03 and abs(output.std() - 1) < 0.03
    assert (np.unique(output, return_counts=True)[1].max() / output.size) == pytest.approx(0.3, abs=0.02)  # fmt: skip


@pytest.mark.parametrize("name", DROPOUTS)
def test_modes_and_ends(name: str) -> None:
    input = lg.randn(*(3,) * RANKS.get(name, 4))
    module = getattr(nn, name)()
    assert module.eval()(input) is input
    module.train().p = 0.0
    assert module(input) is input
    module.p = 1.0
    before = lg.get_rng_state().tolist()
    assert module(input).tolist() == (input * 0).tolist() and lg.get_rng_state().tolist() == before
    changed = input.clone()
    inplace = getattr(nn, name)(0.5, inplace=True)
    lg.manual_seed(1)
    assert inplace(changed) is changed
    lg.manual_seed(1)
    module.p = 0.5
    np.testing.assert_array_equal(changed.numpy(), module(input).numpy())


def test_backward_sees_the_same_draws_as_forward_and_the_next_call_others() -> None:
    input = lg.ones(1000, requires_grad=True)
    first, second = F.dropout(input, 0.5), F.dropout(input, 0.5)
    assert (first.detach() != second.detach()).any()
    first.backward(lg.ones(1000))
    assert input.grad is not None and input.grad.tolist() == first.tolist()


def test_dropouts_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for name in DROPOUTS:
        assert repr(getattr(nn, name)(0.2)) == repr(getattr(torch.nn, name)(0.2))
    for modules, t in ((nn, lg), (torch.nn, torch)):
        with pytest.raises(ValueError, match="between 0 and 1, but got 2"):
            modules.Dropout(2)
        with pytest.raises(ValueError, match="between 0 and 1"):
            modules.functional.dropout(t.ones(2), -0.1)
        with pytest.raises(RuntimeError, match="Expected 2D or 3D input"):
            modules.functional.dropout1d(t.ones(2))
        with pytest.raises(RuntimeError, match="can't be cast"):
            modules.functional.dropout(t.ones(2).int(), 0.5)
        with pytest.raises(RuntimeError, match="at least 2 dimensions"):
            modules.functional.feature_alpha_dropout(t.ones(2), 0.5, True)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            modules.functional.dropout2d(t.ones(2, 3), 0.5)
            modules.functional.dropout3d(t.ones(2, 3), 0.5)
            modules.functional.dropout2d(t.ones(2, 3, 4), 0.5)
        assert len(seen) == 3
