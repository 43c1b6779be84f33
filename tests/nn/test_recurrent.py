"""RNN, LSTM and GRU, their cells and packed sequences give PyTorch's outputs, states, gradients, names and errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn
from lazygrad.nn.utils import rnn as packing
from lazygrad.runtime.compile import KERNELS

torch = pytest.importorskip("torch")

NETS: list[tuple[str, dict[str, Any], str]] = [
    ("RNN", {"nonlinearity": "relu", "num_layers": 2, "bias": False}, "unbatched"),
    ("GRU", {"bidirectional": True}, "state"),
    ("LSTM", {"proj_size": 2, "num_layers": 2, "batch_first": True, "bidirectional": True}, "batched"),
    ("LSTM", {"bidirectional": True}, "packed"),
]  # fmt: skip


def close(ours: Any, theirs: Any) -> None:
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), 1e-4, 1e-5)


def pair(shape: tuple[int, ...], seed: int) -> tuple[Any, Any]:
    values = np.random.default_rng(seed).normal(size=shape).astype("float32")
    return lg.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)


@pytest.mark.parametrize(("name", "options", "form"), NETS, ids=str)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_net(name: str, options: dict[str, Any], form: str) -> None:
    torch.manual_seed(0)
    theirs, ours = getattr(torch.nn, name)(3, 4, **options), getattr(nn, name)(3, 4, **options)
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: lg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    left, right = pair((4, 3) if form == "unbatched" else (4, 3, 3), 1)
    inputs: list[Any]
    if form == "packed":
        inputs = [
            (each.pack_padded_sequence(x, [2, 4, 1], enforce_sorted=False),)
            for each, x in ((packing, left), (torch.nn.utils.rnn, right))
        ]
    elif form == "state":
        inputs = list(zip((left, right), pair((2, 3, 4), 2)))
    else:
        inputs = [(left,), (right,)]
    (output, state), (expected, reference) = ours(*inputs[0]), theirs(*inputs[1])
    if form == "packed":
        assert output.batch_sizes.tolist() == expected.batch_sizes.tolist()
        assert output.sorted_indices.tolist() == expected.sorted_indices.tolist()
        output, expected = output.data, expected.data
    results = [(output, expected)]
    results += zip(state, reference) if isinstance(state, tuple) else [(state, reference)]
    for mine, other in results:
        close(mine, other)
    sum((mine**3).sum() for mine, _ in results).backward()
    sum((other**3).sum() for _, other in results).backward()
    close(left.grad, right.grad)
    for mine, other in zip(ours.parameters(), theirs.parameters()):
        close(mine.grad, other.grad)


LAYERS: list[tuple[str, dict[str, Any], bool]] = [
    ("RNN", {"nonlinearity": "relu", "bias": False, "num_layers": 2}, False),
    ("GRU", {"bias": False, "bidirectional": True}, False),
    ("LSTM", {"bidirectional": True}, False),
    ("RNN", {}, True),
    ("GRU", {}, True),
    ("LSTM", {}, True),
]


@pytest.mark.parametrize(("name", "options", "twice"), LAYERS, ids=str)
def test_layer_of_several_steps(name: str, options: dict[str, Any], twice: bool) -> None:
    """Such a pass is one node: its outputs, gradients, and gradients of these, are those of its steps."""
    torch.manual_seed(1)
    theirs = getattr(torch.nn, name)(5, 4, dtype=torch.float64, **options)
    ours = getattr(nn, name)(5, 4, dtype=lg.float64, **options)
    ours.load_state_dict({k: lg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    draw = np.random.default_rng(0).normal(size=(4, 3, 5))
    found = []
    for framework, net in ((lg, ours), (torch, theirs)):
        input = framework.tensor(draw, requires_grad=True)
        output, states = net(input)
        states = states if isinstance(states, tuple) else (states,)
        total = (output**2).sum() + sum((k + 1) * (s**3).sum() for k, s in enumerate(states))
        leaves = [input, *net.parameters()]
        first = framework.autograd.grad(total, leaves, create_graph=twice)
        second: Any = []
        if twice:
            second = framework.autograd.grad(sum((g**2).sum() for g in first), leaves)
        found.append([v.detach().numpy() for v in (output, *states, *first, *second)])
    for mine, expected in zip(*found, strict=True):
        np.testing.assert_allclose(mine, expected, 1e-9, 1e-12)


@pytest.mark.of_the_cpu("other devices have each step as nodes")
def test_layer_is_compiled_for_one_step() -> None:
    """Twice as many steps need no more kernels than its products with all steps; the interpreter computes the same."""
    net, input = nn.LSTM(3, 5), lg.randn(40, 2, 3)
    assert net(input)[0].grad_fn.name() == "LstmBackward0"
    built = []
    for steps in (20, 40):
        before = KERNELS.built
        net(input[:steps])[0].square().sum().backward()
        found = [each.grad for each in net.parameters() if each.grad is not None]
        lg.realize(found)
        built.append(KERNELS.built - before)
    assert built[1] <= built[0] <= 20
    expected = net(input[:4])[0].detach().numpy()
    with lg.config.override(verify=True):
        np.testing.assert_allclose(net(input[:4] + 0.0)[0].detach().numpy(), expected, 1e-5, 1e-6)


def test_layers_are_mapped_step_by_step() -> None:
    net, input = nn.GRU(3, 4), lg.randn(2, 5, 1, 3)
    with lg.no_grad():
        mapped = lg.func.vmap(lambda x: net(x)[0])(input)
        np.testing.assert_allclose(mapped[1].numpy(), net(input[1])[0].numpy(), 1e-5, 1e-6)


@pytest.mark.parametrize("kind", ["RNN", "GRU"])
def test_gradients_of_layers_are_mapped(kind: str) -> None:
    """Several cotangents at once, and gradients of such gradients: as one after the other."""
    net, input = getattr(nn, kind)(3, 4).double(), lg.randn(5, 1, 3, dtype=lg.float64)
    output = net(input.requires_grad_())[0]
    variables = [input, net.weight_hh_l0, net.bias_ih_l0]
    given = lg.randn(2, *output.shape, dtype=lg.float64)

    def gradients(root: Any, cotangent: Any = None, mapped: bool = False) -> list[Any]:
        made = lg.autograd.grad(
            root, variables, cotangent, create_graph=True, is_grads_batched=mapped
        )
        return [each for each in made if each is not None]

    together = gradients(output, given, mapped=True)
    alone = [gradients(output, given[index]) for index in range(2)]
    for index, several in itertools.product(range(2), range(3)):
        np.testing.assert_allclose(
            together[several][index].tolist(), alone[index][several].tolist(), 1e-10, 1e-12
        )
    second = gradients(sum(each.square().sum() for each in together))
    expected = gradients(sum(each.square().sum() for example in alone for each in example))
    for one, several in zip(expected, second, strict=True):
        np.testing.assert_allclose(several.tolist(), one.tolist(), 1e-9, 1e-11)


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
def test_cell(name: str) -> None:
    theirs, ours = getattr(torch.nn, name)(3, 4), getattr(nn, name)(3, 4)
    ours.load_state_dict({k: lg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    left, right = pair((2, 3), 1)
    mine, other = ours(left), theirs(right)
    again, reference = ours(left, mine), theirs(right, other)
    last, expected = (again[1], reference[1]) if name == "LSTMCell" else (again, reference)
    close(last, expected)
    last.sum().backward()
    expected.sum().backward()
    close(left.grad, right.grad)
    single = ours(lg.ones(3))
    assert tuple((single[0] if name == "LSTMCell" else single).shape) == (4,)


def test_dropout_between_layers_is_for_training() -> None:
    net = nn.GRU(2, 8, num_layers=2, dropout=0.5)
    x = lg.ones(2, 1, 2)
    assert not net(x)[0].equal(net(x)[0])
    net.eval()
    assert net(x)[0].equal(net(x)[0])


def test_padding_and_packing() -> None:
    def steps(t: Any, r: Any) -> list[Any]:
        rows = [t.arange(6.0).reshape(3, 2), t.ones(1, 2), t.ones(2, 2) * 7]
        packed = r.pack_sequence(rows, enforce_sorted=False)
        padded, lengths = r.pad_packed_sequence(packed, True, 9.0, total_length=4)
        left = r.pad_sequence(rows, padding_value=-1.0, padding_side="left")
        parts = [packed.data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices]
        parts += [padded, lengths, left, *r.unpack_sequence(packed)]
        again = r.pack_padded_sequence(padded, t.tensor([3, 1, 2]), True, enforce_sorted=False)
        assert again.is_cuda == padded.is_cuda
        parts += [again.data, packed.double().data, r.invert_permutation(t.tensor([2, 0, 1]))]
        return [each.tolist() for each in parts]

    assert steps(lg, packing) == steps(torch, torch.nn.utils.rnn)


ERRORS: dict[str, Any] = {
    "rank": lambda t, n, r: n.GRU(2, 3)(t.ones(2)),
    "size": lambda t, n, r: n.GRU(2, 3)(t.ones(4, 1, 5)),
    "dtype": lambda t, n, r: n.LSTM(2, 3)(t.ones(4, 1, 2, dtype=t.float64)),
    "state": lambda t, n, r: n.LSTM(2, 3)(t.ones(4, 1, 2), (t.ones(1, 1, 4), t.ones(1, 1, 3))),
    "state rank": lambda t, n, r: n.LSTM(2, 3)(t.ones(4, 2), (t.ones(1, 1, 3), t.ones(1, 1, 3))),
    "projection": lambda t, n, r: n.GRU(2, 3, proj_size=2),
    "nonlinearity": lambda t, n, r: n.RNN(2, 3, 1, "sine"),
    "hidden size": lambda t, n, r: n.RNN(2, 0),
    "dropout": lambda t, n, r: n.LSTM(2, 3, dropout=True),
    "bias": lambda t, n, r: n.LSTM(2, 3, bias=3),
    "cell": lambda t, n, r: n.LSTMCell(2, 3)(t.ones(1, 1, 2)),
    "cell size": lambda t, n, r: n.GRUCell(2, 3)(t.ones(1, 4)),
    "order": lambda t, n, r: r.pack_padded_sequence(t.ones(3, 2, 1), [1, 2]),
    "length": lambda t, n, r: r.pack_padded_sequence(t.ones(3, 2, 1), [2, 0]),
    "lengths": lambda t, n, r: r.pack_padded_sequence(t.ones(3, 2, 1), [2]),
    "total": lambda t, n, r: r.pad_packed_sequence(r.pack_sequence([t.ones(3, 1)]), total_length=1),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    with pytest.raises((ValueError, RuntimeError, TypeError)) as theirs:
        ERRORS[name](torch, torch.nn, torch.nn.utils.rnn)
    with pytest.raises(theirs.type) as ours:
        ERRORS[name](lg, nn, packing)
    assert str(theirs.value).split("\n")[0][:40] in str(ours.value)
