"""The table of a model's layers counts what they are and take, and leaves the model as it was; notebooks and plots take tensors."""

from __future__ import annotations

from typing import Any

import pytest

import lazygrad as lg
from lazygrad import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 30), nn.BatchNorm1d(30), nn.ReLU())
        self.head = nn.Linear(30, 3, bias=False)
        self.twice = self.head
        self.norm = nn.LayerNorm(3)
        next(self.norm.parameters()).requires_grad_(False)

    def forward(self, x: Any, scale: Any = None) -> Any:
        y = self.head(self.body(x))
        y = self.norm(y + self.twice(self.body(x)))
        return {"y": y if scale is None else y * scale}


def test_a_summary_counts() -> None:
    model = Net()
    model.body.eval()
    before = {name: value.tolist() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    found = lg.summary(model, (4, 20))
    assert [(each.name, each.kind, each.depth) for each in found.layers] == [
        ("model", "Net", 0), ("body", "Sequential", 1), ("0", "Linear", 2), ("1", "BatchNorm1d", 2), ("2", "ReLU", 2), ("head", "Linear", 1),
        ("body", "Sequential", 1), ("0", "Linear", 2), ("1", "BatchNorm1d", 2), ("2", "ReLU", 2), ("head", "Linear", 1), ("norm", "LayerNorm", 1),
    ]  # fmt: skip
    linear = found.layers[2]
    assert (linear.input, linear.output, linear.parameters) == ("(4, 20)", "(4, 30)", 630)
    assert linear.cost is not None and found.cost is not None
    assert linear.cost.flops == 2 * 4 * 20 * 30 + 4 * 30  # products and sums, and the bias
    assert linear.cost.bytes == 4 * (4 * 20 + 20 * 30 + 30 + 4 * 30)
    assert found.layers[7].parameters == 0 and found.layers[7].cost == linear.cost
    assert found.layers[0].cost is None and found.layers[1].cost is None
    total = sum(p.numel() for p in model.parameters())
    assert found.parameters == total and found.trainable == total - 3
    assert found.parameter_bytes == 4 * total and found.buffer_bytes == 4 * 60 + 8
    parts = sum(each.cost.bytes for each in found.layers if each.cost is not None)
    assert found.cost.bytes < parts  # layers share kernels
    text = str(found)
    assert "0 (Linear)" in text and f"{total:,} ({total - 3:,} trainable)" in text
    assert "<td>&emsp;&emsp;0 (Linear)</td>" in found._repr_html_()
    assert [module.training for module in model.modules()] == modes
    assert {name: value.tolist() for name, value in model.state_dict().items()} == before
    assert not model._forward_hooks and not model.head._forward_pre_hooks


def test_forms_of_a_summary() -> None:
    model = Net()
    x = lg.ones(4, 20)
    tables = [str(lg.summary(model, given)) for given in (x, (x,), {"x": x}, lg.Size([4, 20]))]
    assert tables == [tables[0]] * 4
    assert str(lg.summary(model, (x, lg.ones(3)))) != tables[0]
    plain = lg.summary(model, depth=1)
    assert plain.cost is None and [each.name for each in plain.layers] == [
        "model",
        "body",
        "head",
        "norm",
    ]
    with pytest.raises(RuntimeError, match="linear"):
        lg.summary(model, (4, 21))
    assert model.training and not model._forward_hooks
    recurrent = lg.summary(nn.LSTM(3, 5), (7, 2, 3)).layers[0]
    assert (
        recurrent.output == "(7, 2, 5), (1, 2, 5), (1, 2, 5)"
        and recurrent.parameters == 4 * 5 * (3 + 5 + 2)
    )


def test_tensors_in_notebooks() -> None:
    table = lg.tensor([[1.5, float("nan")], [-2, 0]], requires_grad=True)._repr_html_()
    assert table.count("<tr>") == 3 and ">1.5000</td>" in table and "requires_grad" in table
    large = lg.arange(10_000).view(100, 100)._repr_html_()
    assert (
        large.count("<tr>") == 8
        and ">9999</td>" in large
        and "…" in large
        and ">500</td>" not in large
    )
    assert (
        "<table" not in lg.ones(2, 2, 2)._repr_html_() and "tensor(3)" in lg.tensor(3)._repr_html_()
    )
    halves = lg.ones(2, dtype=lg.bfloat16)._repr_html_()
    assert ">1.</td>" in halves and "torch.bfloat16" in halves


def test_plots_take_tensors() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    x = lg.linspace(0, 1, 5)
    (line,) = axes.plot(x, x.square())
    assert line.get_ydata().tolist() == x.square().tolist()
    axes.scatter(x, x, c=x)
    axes.bar(lg.arange(5), x)
    axes.fill_between(x, x - 1, x + 1)
    assert axes.hist(lg.arange(10.0), bins=5)[0].tolist() == [2] * 5
    assert axes.imshow(lg.eye(3)).get_array().shape == (3, 3)
    axes.errorbar(x, x, yerr=x)
    figure.canvas.draw()
    pyplot.close(figure)


def test_steps_of_recurrent_layers_are_counted() -> None:
    """At least the products of ten steps, of two layers."""
    found = lg.summary(nn.LSTM(6, 32, 2), lg.ones(10, 2, 6))
    products = 2 * 10 * 2 * 4 * 32 * (6 + 32 + 32 + 32)
    assert found.cost is not None and products < found.cost.flops < 1.5 * products
