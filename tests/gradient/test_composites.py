"""Every composite against PyTorch: value, first and second derivatives, ties, boundaries and overflows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lazygrad.composites.contraction import contract, matmul
from lazygrad.gradient.reverse import COMPOSITE_REVERSE
from lazygrad.ir import build
from lazygrad.ir.args import Slot
from lazygrad.ir.composite import COMPOSITES, call, inline
from lazygrad.ir.dim import Dim
from lazygrad.ir.dtype import bfloat16, float16, float32, float64, int64
from lazygrad.ir.interpret import evaluate
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

torch = pytest.importorskip("torch")
F = torch.nn.functional

Compare = Callable[..., None]
Array = np.ndarray[Any, Any]

POINTS = np.array([-30.0, -2.0, -0.5, 0.3, 1.0, 3.0, 25.0])
EDGES = np.array([-1e4, -1.0, 0.0, 1.0, 1e4, 0.5, 2.0])
POSITIVE = np.array([0.2, 0.5, 1.0, 2.5, 7.0])
TABLE = np.array([[1.5, -0.5, 2.0, 0.1], [2.0, 2.0, -1.0, 0.7], [-3.0, 0.0, 1.0, 2.5]])
TARGET = np.array([2, 0, 3])
PROBABILITY = np.array([[0.1, 0.5, 0.9, 0.3], [0.2, 0.7, 0.6, 0.45], [0.99, 0.01, 0.5, 0.8]])
LIKELY = np.array([[1.0, 0.0, 0.3, 1.0], [0.0, 0.2, 1.0, 0.0], [0.5, 1.0, 0.0, 0.0]])


def of(name: str, **attributes: Any) -> Callable[..., Node]:
    return lambda *nodes: call(name, nodes, **attributes)


ELEMENTWISE: list[tuple[str, dict[str, Any], Callable[[Any], Any], tuple[Array, ...]]] = [
    ("relu", {}, torch.relu, (POINTS, EDGES)),
    ("abs", {}, torch.abs, (POINTS, EDGES)),
    ("sigmoid", {}, torch.sigmoid, (POINTS, EDGES)),
    ("silu", {}, F.silu, (POINTS, np.array([-100.0, 0.0, 100.0]))),
    ("gelu", {"approximate": "none"}, F.gelu, (POINTS, EDGES)),
    ("gelu", {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh"), (POINTS,)),
    ("softplus", {"beta": 1.0, "threshold": 20.0}, F.softplus, (POINTS, EDGES)),
    ("softplus", {"beta": 2.0, "threshold": 5.0}, lambda x: F.softplus(x, 2.0, 5.0), (POINTS,)),
    ("leaky_relu", {"slope": 0.1}, lambda x: F.leaky_relu(x, 0.1), (POINTS, EDGES)),
    ("elu", {"alpha": 1.5}, lambda x: F.elu(x, 1.5), (POINTS, EDGES)),
    ("hardtanh", {"min": -1.0, "max": 1.0}, F.hardtanh, (POINTS, EDGES)),
    ("clamp", {"min": -1.0, "max": 1.0}, lambda x: x.clamp(-1, 1), (POINTS, EDGES)),
    ("clamp", {"min": 0.0, "max": None}, lambda x: x.clamp(min=0), (POINTS, EDGES)),
    ("clamp", {"min": None, "max": 1.0}, lambda x: x.clamp(max=1), (POINTS, EDGES)),
    *[("pow_scalar", {"exponent": e}, lambda x, e=e: x**e, (POSITIVE,)) for e in (2.5, 1, -1, -2, 0.5, -0.5)],
    *[("pow_scalar", {"exponent": e}, lambda x, e=e: x**e, (POINTS, EDGES)) for e in (0, 1, 2, 3, 4)],
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "attributes", "reference", "points"), ELEMENTWISE,
    ids=["-".join([name, *map(str, attributes.values())]) for name, attributes, _, _ in ELEMENTWISE],
)  # fmt: skip
def test_elementwise(
    compare: Compare, name: str, attributes: Any, reference: Any, points: tuple[Array, ...]
) -> None:
    for values in points:
        compare(of(name, **attributes), reference, values)


def test_special_values() -> None:
    """NaN stays NaN; infinities go where PyTorch sends them."""
    values = np.array([np.nan, np.inf, -np.inf, -0.0])
    leaf = Node(Op.BUFFER, (), float64, (4,), Slot(0), "cpu")
    cases: list[tuple[str, dict[str, Any], Any]] = [
        ("relu", {}, torch.relu), ("sigmoid", {}, torch.sigmoid), ("softplus", {}, F.softplus),
        ("clamp", {"min": -1.0, "max": 1.0}, lambda x: x.clamp(-1, 1)),
        ("hardtanh", {}, F.hardtanh), ("elu", {}, F.elu), ("gelu", {}, F.gelu),
        ("leaky_relu", {}, F.leaky_relu), ("silu", {}, F.silu),
        ("logsumexp", {"axes": (0,)}, lambda x: x.logsumexp(0, keepdim=True)),
        ("argmax", {"axis": 0}, lambda x: x.argmax(0, keepdim=True)),
    ]  # fmt: skip
    for name, attributes, reference in cases:
        (found,) = evaluate([call(name, [leaf], **attributes)], [values])
        np.testing.assert_array_equal(found, reference(torch.tensor(values)).numpy(), name)


PAIRS = np.meshgrid([-1.0, 0.0, 2.0, 3.5], [-1.0, 0.0, 2.0, 0.5])


def test_pairs(compare: Compare) -> None:
    left, right = PAIRS
    compare(of("maximum"), torch.maximum, left, right)
    compare(of("minimum"), torch.minimum, left, right)
    compare(of("pow"), torch.pow, np.abs(left) + 0.5, right)
    x, low, high = np.meshgrid([-1.0, 0.0, 2.0, 5.0], [-1.0, 0.0, 3.0], [-2.0, 0.0, 2.0])
    compare(of("clamp_tensor"), torch.clamp, x, low, high)


@pytest.mark.parametrize("axis", [0, 1])
def test_along_an_axis(compare: Compare, axis: int) -> None:
    keep = {"dim": axis, "keepdim": True}
    cases: list[tuple[Callable[..., Node], Callable[[Any], Any]]] = [
        (of("softmax", axis=axis), lambda x: x.softmax(axis)),
        (of("safe_softmax", axis=axis), lambda x: x.softmax(axis)),
        (of("log_softmax", axis=axis), lambda x: x.log_softmax(axis)),
        (of("logsumexp", axes=(axis,)), lambda x: x.logsumexp(**keep)),
        (of("amax", axes=(axis,)), lambda x: x.amax(**keep)),
        (of("amin", axes=(axis,)), lambda x: x.amin(**keep)),
        (of("max_along", axis=axis), lambda x: x.max(**keep).values),
        (of("min_along", axis=axis), lambda x: x.min(**keep).values),
        (of("mean", axes=(axis,)), lambda x: x.mean(**keep)),
        (of("variance", axes=(axis,), correction=1.0), lambda x: x.var(**keep)),
        (of("variance", axes=(axis,), correction=0.0), lambda x: x.var(correction=0, **keep)),
        (of("prod", axes=(axis,)), lambda x: x.prod(**keep)),
    ]
    for function, reference in cases:
        for scale in (1.0, -1.0):
            compare(function, reference, TABLE * scale)
    for name in ("softmax", "log_softmax"):
        # second derivatives of saturated rows are differences of equal numbers
        compare(of(name, axis=axis), lambda x, n=name: getattr(x, n)(axis), TABLE * 1e4)


def test_softmax_of_a_masked_row_is_zero_and_has_no_gradient(compare: Compare) -> None:
    """A row of minus infinity, as PyTorch's attention takes it; NaN stays in its row."""
    rows = np.array([[1.0, -np.inf, 2.0], [-np.inf] * 3, [np.nan, 1.0, 2.0]])
    leaf = Node(Op.BUFFER, (), float64, (3, 3), Slot(0), "cpu")
    (found,) = evaluate([call("safe_softmax", [leaf], axis=1)], [rows])
    expected = torch._safe_softmax(torch.tensor(rows), -1).numpy()
    np.testing.assert_allclose(found, expected, 1e-12)
    compare(of("safe_softmax", axis=1), lambda x: torch._safe_softmax(x, -1), rows[:2])


def test_a_scaled_gradient(compare: Compare) -> None:
    """The value is x, its gradient is multiplied by the factor, which has none itself."""

    def reference(x: Any, factor: Any) -> Any:
        scaled = x * factor.detach()
        return scaled + (x - scaled).detach()

    compare(of("scale_gradient"), reference, TABLE, PROBABILITY)


def test_argmax_takes_the_first_and_nan() -> None:
    values = np.array([[1.0, 3.0, 3.0], [np.nan, 5.0, np.nan]])
    leaf = Node(Op.BUFFER, (), float64, (2, 3), Slot(0), "cpu")
    largest, least = evaluate(
        [call("argmax", [leaf], axis=1), call("argmin", [leaf], axis=1)], [values]
    )
    np.testing.assert_array_equal(largest, [[1], [0]])
    np.testing.assert_array_equal(least, [[0], [0]])


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, math.inf, -math.inf])
def test_norm(compare: Compare, p: float) -> None:
    def reference(x: Any) -> Any:
        return torch.linalg.vector_norm(x, p, dim=1, keepdim=True)

    compare(
        of("norm", p=p, axes=(1,)), reference, np.where(TABLE == 0, 0.25, TABLE), tolerance=1e-8
    )
    compare(of("norm", p=p, axes=(1,)), reference, TABLE, second=False)
    if p not in (0.5, -math.inf):
        compare(of("norm", p=p, axes=(1,)), reference, np.zeros((2, 3)), second=False)


REDUCTIONS = ["mean", "sum", "none"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses(compare: Compare, reduction: str) -> None:
    kind: dict[str, Any] = {"reduction": reduction}
    compare(of("mse_loss", **kind), lambda x, y: F.mse_loss(x, y, **kind), TABLE, LIKELY)
    compare(of("l1_loss", **kind), lambda x, y: F.l1_loss(x, y, **kind), TABLE, LIKELY + 0.01)
    compare(
        of("binary_cross_entropy", **kind),
        lambda x, y: F.binary_cross_entropy(x, y, **kind), PROBABILITY, LIKELY,
    )  # fmt: skip
    compare(
        of("binary_cross_entropy", **kind),
        lambda x, y: F.binary_cross_entropy(x, y, **kind),
        np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]), second=False,
    )  # fmt: skip
    compare(
        of("binary_cross_entropy_with_logits", **kind),
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, **kind), TABLE * 10, LIKELY,
    )  # fmt: skip
    compare(
        of("binary_cross_entropy_with_logits", **kind),
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, **kind), TABLE * 1e3, LIKELY,
    )  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weighted_binary_losses(compare: Compare, reduction: str) -> None:
    """The weights are constants, in integers here so that they are no differentiable operands."""
    weight = np.array([[1, 2, 3, 1], [2, 2, 1, 1], [0, 1, 2, 3]])
    kind: dict[str, Any] = {"reduction": reduction}

    def logits(weighted: bool, positive: bool) -> Callable[..., Node]:
        return lambda x, y, w: call(
            "binary_cross_entropy_with_logits",
            [x, y, *[w.cast(float64)] * (weighted + positive)],
            weighted=weighted, pos_weighted=positive, **kind,
        )  # fmt: skip

    def reference(weighted: bool, positive: bool) -> Callable[..., Any]:
        return lambda x, y, w: F.binary_cross_entropy_with_logits(
            x, y, w.double() if weighted else None, reduction=reduction,
            pos_weight=w.double() if positive else None,
        )  # fmt: skip

    for flags in ((True, False), (False, True), (True, True)):
        compare(logits(*flags), reference(*flags), TABLE, LIKELY, weight)
    compare(
        lambda x, y, w: call("binary_cross_entropy", [x, y, w.cast(float64)], **kind),
        lambda x, y, w: F.binary_cross_entropy(x, y, w.double(), **kind),
        PROBABILITY, LIKELY, weight,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_class_losses(compare: Compare, name: str, reduction: str) -> None:
    weight = np.array([1, 2, 0, 3])
    images = np.random.default_rng(0).normal(size=(2, 3, 2, 2))
    labels = np.array([[[0, 1], [2, 2]], [[1, -100], [0, 2]]])
    kind: dict[str, Any] = {"reduction": reduction}
    function: Any = getattr(F, name)
    cases: list[tuple[Array, Array, dict[str, Any]]] = [
        (TABLE, TARGET, {}),
        (TABLE, TARGET, {"ignore_index": 0}),
        (images, labels, {}),
        (TABLE * 1e3, TARGET, {}),
        (TABLE[0], np.array(2), {}),
    ]
    for scores, targets, more in cases:
        options = {**kind, **more}
        compare(of(name, **options), lambda x, t, o=options: function(x, t, **o), scores, targets)
    compare(
        lambda x, t, w: call(name, [x, t, w.cast(float64)], **kind),
        lambda x, t, w: function(x, t, w.double(), **kind), TABLE, TARGET, weight,
    )  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_class_loss_of_log_softmax(compare: Compare, reduction: str) -> None:
    """The way the functional layer builds cross entropy: the loss's cotangent has one element a row."""
    images = np.random.default_rng(0).normal(size=(2, 3, 2, 2))
    labels = np.array([[[0, 1], [2, 2]], [[1, -100], [0, 2]]])
    for scores, targets in ((TABLE, TARGET), (images, labels), (TABLE[0], np.array(2))):
        axis = min(1, scores.ndim - 1)
        compare(
            lambda x, t, a=axis: call(
                "nll_loss", [call("log_softmax", [x], axis=a), t], reduction=reduction
            ),
            lambda x, t: F.cross_entropy(x, t, reduction=reduction), scores, targets,
        )  # fmt: skip


def test_one_of_several_equal_elements(compare: Compare) -> None:
    values = np.array([[2.0, 1.0, 2.0], [3.0, 2.0, 0.0]])

    def median(x: Node) -> Node:
        value = build.shrink(x.stop().reshape((6,)), (0,), (1,)).reshape(())
        return call("one_of", [x, value], like=value)

    compare(median, torch.median, values)


def test_everything_ignored_is_nan_as_in_pytorch() -> None:
    x = Node(Op.BUFFER, (), float64, (3, 4), Slot(0), "cpu")
    t = Node(Op.BUFFER, (), int64, (3,), Slot(1), "cpu")
    (found,) = evaluate([call("cross_entropy", [x, t])], [TABLE, np.full(3, -100)])
    assert math.isnan(found)


def test_normalization(compare: Compare) -> None:
    weight, bias = np.array([1.0, 0.5, -2.0, 1.5]), np.array([0.1, 0.2, 0.3, 0.4])
    layer = of("layer_norm", axes=(1,), eps=1e-5)
    compare(layer, lambda x: F.layer_norm(x, (4,)), TABLE)
    compare(layer, lambda x, w: F.layer_norm(x, (4,), w), TABLE, weight)
    compare(layer, lambda x, w, b: F.layer_norm(x, (4,), w, b), TABLE, weight, bias, tolerance=1e-8)
    root = of("rms_norm", axes=(1,), eps=1e-5)
    compare(root, lambda x, w: F.rms_norm(x, (4,), w, eps=1e-5), TABLE, weight, tolerance=1e-8)
    compare(
        of("standardize", axes=(0,), eps=1e-5),
        lambda x: F.batch_norm(x, None, None, training=True), TABLE, tolerance=1e-8,
    )  # fmt: skip


MATRICES = [((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((5, 2, 3), (3, 4)),
            ((5, 1, 2, 3), (6, 3, 4)), ((3,), (5, 3, 2)), ((5, 2, 3), (3,))]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), MATRICES)
def test_matmul(compare: Compare, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    compare(matmul, torch.matmul, random.normal(size=left), random.normal(size=right))


def test_contract_as_einsum(compare: Compare) -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 3, 4)), random.normal(size=(4, 5, 2))
    for text in ("abc,cda->bd", "abc,cda->dab", "abc,cda->", "abc,cda->abcd"):
        operands, result = text.split("->")
        left, right = operands.split(",")
        compare(
            lambda x, y, le=left, r=right, o=result: contract(x, y, le, r, o),
            lambda x, y, t=text: torch.einsum(t, x, y), a, b,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [float16, bfloat16])
def test_half_types_round_once(dtype: Any) -> None:
    """Computed in float32, as PyTorch does on the CPU, and rounded at the end."""
    random = np.random.default_rng(1)
    torch_dtype = getattr(torch, dtype.name)
    x = torch.tensor(random.normal(size=(4, 64)), dtype=torch_dtype)
    values = x.float().numpy()
    leaf = Node(Op.BUFFER, (), float32, (4, 64), Slot(0), "cpu").cast(dtype)
    found = evaluate(
        [call("softmax", [leaf], axis=1), call("log_softmax", [leaf], axis=1), matmul(leaf, leaf.permute((1, 0)))],
        [values],
    )  # fmt: skip
    expected = [x.softmax(1), x.log_softmax(1), (x.float() @ x.float().T).to(torch_dtype)]
    step = 2.0**-10 if dtype is float16 else 2.0**-7
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.astype(np.float64), theirs.double().numpy(), step)


def test_a_length_known_only_at_run_time() -> None:
    """Means divide by the size of an axis, also where that is a Dim."""
    n = Dim.variable("n")
    x = Node(Op.BUFFER, (), float64, (2, n), Slot(0), "cpu")
    values = np.random.default_rng(0).normal(size=(2, 7))
    roots = inline(
        [call("mean", [x], axes=(1,)), call("variance", [x], axes=(0, 1), correction=1.0)]
    )
    mean, variance = evaluate(roots, [values], dims={"n": 7})
    np.testing.assert_allclose(mean, values.mean(1, keepdims=True))
    np.testing.assert_allclose(variance, values.var(ddof=1, keepdims=True))


TRIED_BY_OPERATORS = {
    # tests/functional/test_linalg.py and test_database.py: gradients and second gradients against PyTorch
    "distance", "cholesky", "qr", "eigh", "svd", "inv", "solve", "solve_triangular", "det", "cofactor", "slogdet", "pinv",
    "cholesky_solve", "lu", "matrix_exp",
    "bessel_i", "entr", "erfcx", "log_ndtr", "ndtri", "next_number", "polygamma", "zeta",
    # tests/nn/test_recurrent.py
    "recurrence", "recurrence_gradient",
    # tests/nn/test_convolution.py and test_pooling.py
    "correlation", "max_pool", "adaptive_max_pool",
    # tests/distributions and tests/programs/test_coverage.py
    "gamma_draw", "incomplete_gamma",
}  # fmt: skip


def test_every_composite_and_every_rule_was_tried() -> None:
    """Runs last in this file: the rules count how often they gave a result."""
    idle = {rule.name for rule in COMPOSITE_REVERSE.all_rules() if not rule.hits}
    untried = idle - {f"{name}_reverse" for name in TRIED_BY_OPERATORS}
    assert not untried, sorted(untried)
    assert set(COMPOSITE_REVERSE.rules) <= set(COMPOSITES)
