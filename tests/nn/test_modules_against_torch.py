"""Modules give PyTorch's outputs, gradients, reprs and state from the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn

torch = pytest.importorskip("torch")

LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Linear", (6, 4), {}),
    ("Linear", (6, 4), {"bias": False}),
    ("Identity", (), {}),
    ("LayerNorm", (6,), {}),
    ("LayerNorm", ((3, 6),), {"eps": 1e-3}),
    ("LayerNorm", (6,), {"bias": False}),
    ("LayerNorm", (6,), {"elementwise_affine": False}),
    ("RMSNorm", (6,), {}),
    ("RMSNorm", ((3, 6),), {"eps": 1e-3}),
    ("ReLU", (), {}),
    ("ReLU6", (), {}),
    ("Tanh", (), {}),
    ("Sigmoid", (), {}),
    ("LogSigmoid", (), {}),
    ("Softsign", (), {}),
    ("Tanhshrink", (), {}),
    ("SiLU", (), {}),
    ("SELU", (), {}),
    ("Mish", (), {}),
    ("Hardswish", (), {}),
    ("Hardsigmoid", (), {}),
    ("LeakyReLU", (), {}),
    ("LeakyReLU", (0.2,), {}),
    ("ELU", (), {"alpha": 0.7}),
    ("CELU", (), {"alpha": 0.7}),
    ("Hardtanh", (-0.5, 1.5), {}),
    ("GELU", (), {}),
    ("GELU", ("tanh",), {}),
    ("Softplus", (2.0, 1.0), {}),
    ("Hardshrink", (), {}),
    ("Softshrink", (0.3,), {}),
    ("Threshold", (0.1, 20.0), {}),
    ("Softmax", (-1,), {}),
    ("LogSoftmax", (), {"dim": 0}),
    ("Softmin", (1,), {}),
    ("GLU", (), {}),
    ("PReLU", (), {}),
    ("PReLU", (3,), {}),
    ("Softmax2d", (), {}),
    ("GroupNorm", (3, 3), {"eps": 1e-3}),
    ("GroupNorm", (1, 3), {"bias": False}),
    ("LocalResponseNorm", (3,), {"alpha": 0.5, "beta": 0.6, "k": 1.2}),
    ("Flatten", (), {}),
    ("Unflatten", (-1, (2, 3)), {}),
]

PAIRS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Bilinear", (6, 6, 2), {}),
    ("CosineSimilarity", (), {"dim": 2}),
    ("PairwiseDistance", (), {"p": 3, "keepdim": True}),
]


def copy_weights(ours: nn.Module, theirs: Any) -> None:
    """Give our module PyTorch's values."""
    state = {key: lg.tensor(value.numpy()) for key, value in theirs.state_dict().items()}
    assert repr(ours.load_state_dict(state)) == "<All keys matched successfully>"


def compare(ours: nn.Module, theirs: Any, *inputs: np.ndarray) -> None:
    """Outputs, and gradients with respect to the inputs and every parameter."""
    left = [lg.tensor(x, requires_grad=True) for x in inputs]
    right = [torch.tensor(x, requires_grad=True) for x in inputs]
    output, expected = ours(*left), theirs(*right)
    assert tuple(output.shape) == tuple(expected.shape)
    np.testing.assert_allclose(output.detach().numpy(), expected.detach().numpy(), 1e-5, 1e-6)
    weights = np.cos(np.arange(expected.numel(), dtype="float32")).reshape(tuple(expected.shape))
    output.backward(lg.tensor(weights))
    expected.backward(torch.tensor(weights))
    for mine, reference in zip(left, right):
        assert mine.grad is not None
        np.testing.assert_allclose(mine.grad.numpy(), reference.grad.numpy(), 1e-4, 1e-5)
    named = dict(theirs.named_parameters())
    assert list(dict(ours.named_parameters())) == list(named)
    for key, parameter in ours.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad.numpy(), named[key].grad.numpy(), 1e-4, 1e-5)


@pytest.mark.parametrize(("name", "args", "options"), LAYERS, ids=str)
def test_layer(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    torch.manual_seed(1)
    theirs = getattr(torch.nn, name)(*args, **options)
    ours = getattr(nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_()
    copy_weights(ours, theirs)
    compare(ours, theirs, np.random.default_rng(2).normal(0, 2, (2, 3, 6)).astype("float32"))


@pytest.mark.parametrize(("name", "args", "options"), PAIRS, ids=str)
def test_layer_of_two_inputs(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    theirs, ours = getattr(torch.nn, name)(*args, **options), getattr(nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    copy_weights(ours, theirs)
    draw = np.random.default_rng(2)
    compare(ours, theirs, *(draw.normal(0, 2, (2, 3, 6)).astype("float32") for _ in range(2)))


def test_rrelu() -> None:
    ours = nn.RReLU(0.1, 0.3)
    assert repr(ours) == repr(torch.nn.RReLU(0.1, 0.3))
    compare(ours.eval(), torch.nn.RReLU(0.1, 0.3).eval(), np.linspace(-1, 1, 8, dtype="float32"))
    x = lg.full((100,), -1.0, requires_grad=True)
    slopes = -ours.train()(x)
    slopes.sum().backward()
    assert 0.1 <= slopes.min().item() < 0.15 and 0.25 < slopes.max().item() <= 0.3
    assert x.grad is not None and x.grad.equal(-slopes)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(mode: str) -> None:
    """Bags by offsets (one empty) and by rows, a padding row, and weights, whose gradient is compared too."""
    theirs = torch.nn.EmbeddingBag(7, 3, mode=mode, padding_idx=-3)
    ours: Any = nn.EmbeddingBag(7, 3, mode=mode, padding_idx=-3)
    assert repr(ours) == repr(theirs) and ours.weight[4].tolist() == [0.0] * 3
    copy_weights(ours, theirs)
    index, offsets = [1, 2, 4, 5, 4, 3, 2, 6], [0, 3, 3, 5]
    weights = np.linspace(-1, 2, 8, dtype="float32") if mode == "sum" else None
    results: list[Any] = []
    for framework, bags in ((lg, ours), (torch, theirs)):
        given = None if weights is None else framework.tensor(weights, requires_grad=True)
        flat = bags(framework.tensor(index), framework.tensor(offsets), given)
        values = flat.detach().tolist()  # read before backward: the gradients use what was kept
        rows = bags(framework.tensor(index).reshape(2, 4))
        ((flat**3).sum() + (rows**2).sum()).backward()
        kept = [] if given is None else given.grad.tolist()
        results.append((values, rows.detach().tolist(), bags.weight.grad.tolist(), kept))
    for mine, reference in zip(*results):
        np.testing.assert_allclose(mine, reference, 1e-4, 1e-5)


LOSSES: list[tuple[str, dict[str, Any], str]] = [
    ("MSELoss", {}, "values"),
    ("L1Loss", {"reduction": "sum"}, "values"),
    ("SmoothL1Loss", {"beta": 0.5}, "values"),
    ("HuberLoss", {"delta": 0.5}, "values"),
    ("KLDivLoss", {"reduction": "batchmean"}, "probabilities"),
    ("BCEWithLogitsLoss", {}, "probabilities"),
    ("BCEWithLogitsLoss", {"reduction": "none", "pos_weight": [1.0, 2, 3, 4, 5]}, "probabilities"),
    ("CrossEntropyLoss", {}, "classes"),
    ("CrossEntropyLoss", {"weight": [1.0, 2, 3, 4, 5], "ignore_index": 2}, "classes"),
    ("CrossEntropyLoss", {"label_smoothing": 0.1, "reduction": "sum"}, "classes"),
    ("CrossEntropyLoss", {}, "probabilities"),
    ("NLLLoss", {"reduction": "none"}, "classes"),
]


@pytest.mark.parametrize(("name", "options", "kind"), LOSSES, ids=str)
def test_loss(name: str, options: dict[str, Any], kind: str) -> None:
    draw = np.random.default_rng(3)
    targets: dict[str, np.ndarray] = {
        "values": draw.normal(size=(4, 5)).astype("float32"),
        "probabilities": draw.dirichlet(np.ones(5), 4).astype("float32"),
        "classes": np.array([0, 2, 4, 1]),
    }
    target = targets[kind]

    def made(framework: Any, modules: Any) -> Callable[[Any], Any]:
        values = {
            key: framework.tensor(value) if isinstance(value, list) else value
            for key, value in options.items()
        }
        loss = getattr(modules, name)(**values)
        assert repr(loss) == f"{name}()"
        return lambda input: loss(input, framework.tensor(target))

    logits = draw.normal(size=(4, 5)).astype("float32")
    mine, reference = (
        lg.tensor(logits, requires_grad=True),
        torch.tensor(logits, requires_grad=True),
    )
    output, expected = made(lg, nn)(mine), made(torch, torch.nn)(reference)
    np.testing.assert_allclose(output.detach().numpy(), expected.detach().numpy(), 1e-5, 1e-6)
    output.sum().backward()
    expected.sum().backward()
    assert mine.grad is not None
    np.testing.assert_allclose(mine.grad.numpy(), reference.grad.numpy(), 1e-4, 1e-6)


def model_of(modules: Any) -> Any:
    """A model with nested and shared modules."""
    block = modules.Sequential(modules.Linear(6, 6), modules.Tanh())
    return modules.Sequential(
        modules.Linear(6, 6),
        modules.LayerNorm(6),
        modules.GELU(),
        block,
        block,
        modules.Linear(6, 3),
    )


def test_model_with_a_shared_block() -> None:
    torch.manual_seed(0)
    theirs, ours = model_of(torch.nn), model_of(nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [name for name, _ in ours.named_modules()] == [
        name for name, _ in theirs.named_modules()
    ]
    copy_weights(ours, theirs)
    compare(ours, theirs, np.random.default_rng(0).normal(size=(5, 6)).astype("float32"))


def test_reprs_of_containers() -> None:
    def containers(modules: Any) -> list[Any]:
        return [
            modules.Sequential(),
            modules.ModuleList(),
            modules.ModuleList([modules.Linear(2, 2) for _ in range(3)] + [modules.ReLU()]),
            modules.ModuleList(
                [modules.Sequential(modules.ReLU(), modules.Linear(1, 1, bias=False))] * 2
            ),
            modules.ModuleDict(
                {"first": modules.ReLU(inplace=True), "second": modules.Identity(3)}
            ),
            modules.Sequential(
                modules.ModuleDict({"inner": modules.Softmax(dim=1)}), modules.LogSoftmax()
            ),
        ]

    for ours, theirs in zip(containers(nn), containers(torch.nn)):
        assert repr(ours) == repr(theirs)


def test_repr_of_a_parameter() -> None:
    values = [[1.0, -2.5], [0.0, 1e-3]]
    ours, theirs = nn.Parameter(lg.tensor(values)), torch.nn.Parameter(torch.tensor(values))
    assert repr(ours) == repr(theirs)
    assert repr(ours * 2) == repr(theirs * 2)


@pytest.mark.parametrize(
    "name", ["kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"]
)
def test_initial_values_have_pytorchs_spread(name: str) -> None:
    """Same formula: the standard deviation of 40,000 draws agrees with PyTorch's within 3 %, their mean with 0."""
    options = {"a": 0.3} if name.startswith("kaiming") else {"gain": 1.7}
    ours = getattr(nn.init, name)(lg.empty(100, 400), **options).numpy()
    theirs = getattr(torch.nn.init, name)(torch.empty(100, 400), **options).numpy()
    assert abs(ours.std() / theirs.std() - 1) < 0.03 and abs(ours.mean()) < 0.05 * ours.std()
    if "uniform" in name:
        assert abs(np.abs(ours).max() / np.abs(theirs).max() - 1) < 0.01
