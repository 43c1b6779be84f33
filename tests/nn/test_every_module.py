"""Every module of torch.nn is here, and gives PyTorch's output, gradients, repr and state from the same weights and inputs.

The list is that of PyTorch's own names: one that has neither a case nor a reason to be missing fails.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn

torch = pytest.importorskip("torch")


class Case(NamedTuple):
    """How a module is made, and the shapes of what it is called with."""

    args: tuple[Any, ...]
    inputs: tuple[Any, ...]
    options: dict[str, Any] = {}


class Whole(NamedTuple):
    """Whole numbers below a limit, of a shape."""

    limit: int
    shape: tuple[int, ...]


class Given(NamedTuple):
    """Values as they stand here; integers and truths have no gradient."""

    values: Any


ROW, LINE, PLANE, SPACE = (3, 4), (2, 3, 8), (2, 3, 6, 8), (2, 3, 4, 4, 6)
TARGET = Given([0, 2, 1])
SIGNS = Given([1.0, -1.0, 1.0])

CASES: dict[str, Case] = {
    **{
        name: Case((), (ROW,))
        for name in (
            "CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU", "LogSigmoid", "Mish",
            "PReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "GLU",
        )
    },
    **{name: Case((-1,), (ROW,)) for name in ("LogSoftmax", "Softmax", "Softmin")},
    "Softmax2d": Case((), (PLANE,)),
    "RReLU": Case((), (ROW,)),
    "Threshold": Case((0.1, 2.0), (ROW,)),
    **{
        f"{kind}{rank}d": Case(args, (shape,))
        for kind, args in (
            ("AdaptiveAvgPool", (3,)), ("AdaptiveMaxPool", (2,)), ("AvgPool", (2, 2, 1)), ("MaxPool", (3, 2, 1)), ("LPPool", (2, 2)),
            ("BatchNorm", (3,)), ("InstanceNorm", (3, 1e-5, 0.1, True, True)), ("Conv", (3, 4, 3, 2, 1)), ("ConvTranspose", (3, 4, 3, 2, 1)),
            ("ConstantPad", (1, 0.5)), ("ReflectionPad", (1,)), ("ReplicationPad", (1,)), ("ZeroPad", (1,)), ("CircularPad", (1,)),
            ("LazyConv", (4, 3, 2, 1)), ("LazyConvTranspose", (4, 3, 2, 1)), ("LazyBatchNorm", ()), ("LazyInstanceNorm", (1e-5, 0.1, True, True)),
        )
        for rank, shape in ((1, LINE), (2, PLANE), (3, SPACE))
    },
    **{f"Dropout{rank}": Case((0.4,), (shape,)) for rank, shape in (("", ROW), ("1d", LINE), ("2d", PLANE), ("3d", SPACE))},
    "AlphaDropout": Case((0.4,), (ROW,)),
    "FeatureAlphaDropout": Case((0.4,), (PLANE,)),
    "SyncBatchNorm": Case((3,), (PLANE,)),
    "Linear": Case((4, 5), (ROW,)),
    "LazyLinear": Case((5,), (ROW,)),
    "Bilinear": Case((4, 2, 5), (ROW, (3, 2))),
    "LayerNorm": Case(((3, 4),), ((2, 3, 4),)),
    "RMSNorm": Case((4,), (ROW,)),
    "GroupNorm": Case((2, 4), ((2, 4, 5),)),
    "LocalResponseNorm": Case((2,), (PLANE,), {"alpha": 0.5}),
    "Flatten": Case((), (PLANE,)),
    "Unflatten": Case((1, (2, 2)), (ROW,)),
    "ChannelShuffle": Case((2,), ((2, 4, 3, 3),)),
    "PixelShuffle": Case((2,), ((2, 8, 3, 2),)),
    "PixelUnshuffle": Case((2,), ((2, 3, 4, 6),)),
    "Upsample": Case((), (PLANE,), {"scale_factor": 1.5, "mode": "bicubic"}),
    "UpsamplingBilinear2d": Case((), (PLANE,), {"scale_factor": 2}),
    "UpsamplingNearest2d": Case((), (PLANE,), {"size": (7, 5)}),
    "Fold": Case(((5, 6), (2, 3)), ((2, 12, 16),)),
    "Unfold": Case(((2, 3),), (PLANE,)),
    "FractionalMaxPool2d": Case((2, (3, 5)), (PLANE,), {"_random_samples": Given(np.linspace(0, 0.95, 12, dtype="f").reshape(2, 3, 2))}),
    "FractionalMaxPool3d": Case((2, (2, 2, 4)), (SPACE,), {"_random_samples": Given(np.linspace(0, 0.95, 18, dtype="f").reshape(2, 3, 3))}),
    "Embedding": Case((5, 4), (Whole(5, (2, 3)),)),
    "EmbeddingBag": Case((5, 4), (Whole(5, (2, 3)),)),
    "CosineSimilarity": Case((), (ROW, ROW)),
    "PairwiseDistance": Case((), (ROW, ROW)),
    "RNN": Case((4, 5, 2), ((3, 3, 4),), {"nonlinearity": "relu"}),
    "LSTM": Case((4, 5), ((3, 2, 4),), {"bidirectional": True, "proj_size": 3}),
    "GRU": Case((4, 5), ((3, 3, 4),), {"batch_first": True}),
    "RNNCell": Case((4, 5), (ROW,)),
    "LSTMCell": Case((4, 5), (ROW,)),
    "GRUCell": Case((4, 5), (ROW,)),
    "MultiheadAttention": Case((4, 2), ((3, 2, 4), (5, 2, 4), (5, 2, 4))),
    "TransformerEncoderLayer": Case((4, 2, 8), ((3, 2, 4),), {"dropout": 0.0}),
    "TransformerDecoderLayer": Case((4, 2, 8), ((3, 2, 4), (5, 2, 4)), {"dropout": 0.0, "norm_first": True}),
    "L1Loss": Case((), (ROW, ROW)),
    "MSELoss": Case((), (ROW, ROW)),
    "SmoothL1Loss": Case((), (ROW, ROW)),
    "HuberLoss": Case((), (ROW, ROW)),
    "SoftMarginLoss": Case((), (ROW, Given(np.where(np.arange(12).reshape(ROW) % 3, 1.0, -1.0).astype("f")))),
    "KLDivLoss": Case((), (ROW, Given(np.full(ROW, 0.25, "f"))), {"reduction": "batchmean"}),
    "BCELoss": Case((), (Given(np.linspace(0.1, 0.9, 12, dtype="f").reshape(ROW)), Given(np.arange(12, dtype="f").reshape(ROW) % 2))),
    "BCEWithLogitsLoss": Case((), (ROW, Given(np.arange(12, dtype="f").reshape(ROW) % 2))),
    "CrossEntropyLoss": Case((), (ROW, TARGET)),
    "NLLLoss": Case((), (ROW, TARGET)),
    "NLLLoss2d": Case((), ((1, 4, 1, 3), Given([[[0, 2, 1]]]))),
    "PoissonNLLLoss": Case((), (ROW, Given(np.arange(12, dtype="f").reshape(ROW)))),
    "GaussianNLLLoss": Case((), (ROW, ROW, Given(np.linspace(0.5, 2, 12, dtype="f").reshape(ROW)))),
    "CTCLoss": Case((), ((6, 2, 4), Given([[1, 2, 1], [3, 1, 2]]), Given([6, 5]), Given([3, 2]))),
    "CosineEmbeddingLoss": Case((), (ROW, ROW, SIGNS)),
    "HingeEmbeddingLoss": Case((), ((3,), SIGNS)),
    "MarginRankingLoss": Case((), ((3,), (3,), SIGNS)),
    "MultiLabelMarginLoss": Case((), (ROW, Given([[1, 2, -1, 0], [0, -1, 1, 2], [3, 2, 1, 0]]))),
    "MultiLabelSoftMarginLoss": Case((), (ROW, Given(np.arange(12, dtype="f").reshape(ROW) % 2))),
    "MultiMarginLoss": Case((), (ROW, TARGET)),
    "TripletMarginLoss": Case((), (ROW, ROW, ROW)),
    "TripletMarginWithDistanceLoss": Case((), (ROW, ROW, ROW)),
    "AdaptiveLogSoftmaxWithLoss": Case((4, 9, [3, 6]), (ROW, Given([1, 8, 4]))),
    "LinearCrossEntropyLoss": Case((4, 5), (ROW, TARGET), {"bias": True}),
}  # fmt: skip

CONTAINERS = {
    "Container", "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "RNNBase", "RNNCellBase", "Sequential",
    "Transformer", "TransformerDecoder", "TransformerEncoder",
}  # fmt: skip
"""Modules that compute nothing by themselves, or consist of others; other tests have them."""
UNPOOLS = {f"MaxUnpool{rank}d" for rank in (1, 2, 3)}
MISSING = {"CrossMapLRN2d", "DataParallel"}
"""What says that it is not here: LuaTorch's old normalisation, and several devices."""


def names() -> list[str]:
    """The modules that PyTorch has."""
    found = vars(torch.nn).items()
    return sorted(
        name
        for name, each in found
        if isinstance(each, type) and issubclass(each, torch.nn.Module) and not name.startswith("_")
    )


def test_each_module_has_a_case() -> None:
    known = {*CASES, *CONTAINERS, *UNPOOLS}
    assert set(names()) - MISSING == known
    assert [name for name in sorted(known) if not isinstance(getattr(nn, name, None), type)] == []
    for name in MISSING:
        with pytest.raises(AttributeError, match=rf"{name}.*: .*docs/differences"):
            getattr(nn, name)


def made(framework: Any, value: Any) -> Any:
    return framework.tensor(np.asarray(value.values)) if isinstance(value, Given) else value


def inputs(framework: Any, name: str, case: Case) -> list[Any]:
    draws = np.random.default_rng(3)
    found = []
    for each in case.inputs:
        if isinstance(each, Whole):
            found.append(framework.tensor(draws.integers(0, each.limit, each.shape)))
            continue
        values = (
            np.asarray(each.values)
            if isinstance(each, Given)
            else draws.normal(size=each).astype("f")
        )
        floating = values.dtype == np.float32
        asks = floating and not (isinstance(each, Given) and "Margin" in name)
        found.append(framework.tensor(values, requires_grad=asks))
    return found


def tensors(framework: Any, result: Any) -> list[Any]:
    """The floating tensors of a result, which may be nested."""
    if isinstance(result, framework.Tensor):
        return [result] if result.is_floating_point() else []
    parts = result if isinstance(result, (tuple, list)) else ()
    return [tensor for part in parts for tensor in tensors(framework, part)]


def build(framework: Any, name: str, case: Case) -> Any:
    options = {key: made(framework, value) for key, value in case.options.items()}
    module = getattr(framework.nn, name)(*case.args, **options)
    if "Dropout" in name or name == "RReLU":
        module.eval()
    return module


@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.filterwarnings("ignore")
def test_module_is_pytorchs(name: str) -> None:
    case = CASES[name]
    ours, theirs = build(lg, name, case), build(torch, name, case)
    assert repr(ours) == repr(theirs)
    left, right = inputs(lg, name, case), inputs(torch, name, case)
    if name.startswith("Lazy"):
        ours(*left)
        theirs(*right)
        assert repr(ours) == repr(theirs)
    draws = np.random.default_rng(5)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.tensor(draws.normal(0, 0.5, tuple(parameter.shape))))
    state = {key: lg.tensor(np.array(value)) for key, value in theirs.state_dict().items()}
    ours.load_state_dict(state)
    assert list(ours.state_dict()) == list(theirs.state_dict())

    found, expected = tensors(lg, ours(*left)), tensors(torch, theirs(*right))
    assert len(found) == len(expected) > 0
    for mine, reference in zip(found, expected):
        np.testing.assert_allclose(mine.detach().numpy(), reference.detach().numpy(), 1e-4, 1e-5)
    sum((each**2).sum() for each in found).backward()
    sum((each**2).sum() for each in expected).backward()
    mine, reference = [*left, *ours.parameters()], [*right, *theirs.parameters()]
    assert len(mine) == len(reference)
    for one, other in zip(mine, reference):
        assert (one.grad is None) == (other.grad is None)
        if other.grad is not None:
            np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), 1e-4, 1e-5)
    for (key, value), other in zip(ours.state_dict().items(), theirs.state_dict().values()):
        np.testing.assert_allclose(value.numpy(), other.numpy(), 1e-4, 1e-6, err_msg=key)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unpooling(rank: int) -> None:
    shape = (LINE, PLANE, SPACE)[rank - 1]
    values = np.random.default_rng(0).normal(size=shape).astype("f")
    results = []
    for framework in (lg, torch):
        pool = getattr(framework.nn, f"MaxPool{rank}d")(2, return_indices=True)
        back = getattr(framework.nn, f"MaxUnpool{rank}d")(2)
        x = framework.tensor(values, requires_grad=True)
        made = back(*pool(x))
        (made**2).sum().backward()
        results.append((repr(back), made.detach().numpy(), x.grad.numpy()))
    assert results[0][0] == results[1][0]
    np.testing.assert_allclose(results[0][1], results[1][1], 1e-5)
    np.testing.assert_allclose(results[0][2], results[1][2], 1e-5)
