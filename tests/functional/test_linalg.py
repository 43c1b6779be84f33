"""Linear algebra: values and gradients are PyTorch's, errors too; a host call is a step of a plan, made once and kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.ir import extern
from lazygrad.ir.parse import parse
from lazygrad.ir.text import show
from lazygrad.ir.verify import VerificationError, verify_graph

torch = pytest.importorskip("torch")

HOST_FUNCTIONS = {
    "cholesky", "cofactor", "det", "eigh", "eigvalsh", "geqrf", "inv", "lu", "matrix_exp", "qr", "row_order", "slogdet", "solve",
    "solve_triangular", "svd", "svdvals",
}  # fmt: skip


def test_what_the_host_is_called_for() -> None:
    """What is repeated has kernels of its own."""
    called = {name: each for name, each in extern.EXTERNS.items() if each.repeated is None}
    assert set(called) == HOST_FUNCTIONS
    assert {each.run.__module__ for each in called.values()} == {"lazygrad.ir.lapack"}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The host functions that are called, in order."""
    made: list[str] = []

    def noted(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arrays: Any, **attributes: Any) -> Any:
            made.append(name)
            return run(*arrays, **attributes)

        return call

    for name, each in extern.EXTERNS.items():
        monkeypatch.setitem(extern.EXTERNS, name, each._replace(run=noted(name, each.run)))
    yield made


# --- against PyTorch


def random(*shape: int, kind: str = "") -> Any:
    draws = np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)
    if kind == "positive":
        return draws @ np.swapaxes(draws, -1, -2) + np.eye(shape[-1])
    if kind == "symmetric":
        return draws + np.swapaxes(draws, -1, -2)
    return draws + 3 * np.eye(shape[-1]) if kind == "steep" else draws


POSITIVE = [random(2, 3, 3, kind="positive"), random(1, 1, kind="positive"), np.zeros((2, 0, 0))]
SQUARE = [random(2, 3, 3), np.zeros((0, 2, 2)), np.zeros((0, 0))]
SYMMETRIC = [random(2, 3, 3, kind="symmetric"), np.zeros((2, 0, 0))]
ANY = [random(4, 3), random(2, 3, 4), np.zeros((0, 3)), np.zeros((2, 3, 0))]
PAIRS = [(random(2, 3, 3, kind="steep"), random(2, 3, 2)), (np.zeros((0, 0)), np.zeros((0, 2)))]

# Vectors are determined up to signs: their squares are compared.
CASES: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "cholesky": (lambda m, a: m.linalg.cholesky(a), POSITIVE),
    "upper cholesky": (lambda m, a: m.linalg.cholesky_ex(a, upper=True).L, POSITIVE),
    "inv": (lambda m, a: m.linalg.inv(a), SQUARE),
    "det": (lambda m, a: m.det(a) * (a.sum() + 1), SQUARE),
    "slogdet": (lambda m, a: m.linalg.slogdet(a).logabsdet, SQUARE),
    "logdet": (lambda m, a: a.logdet(), POSITIVE),
    "eigh": (lambda m, a: [each**2 for each in m.linalg.eigh(a, "U")], SYMMETRIC),
    "eigvalsh": (lambda m, a: m.linalg.eigvalsh(a), SYMMETRIC),
    "svd": (lambda m, a: [each**2 for each in m.linalg.svd(a, full_matrices=False)], ANY[:2]),
    "svdvals": (lambda m, a: m.linalg.svdvals(a), ANY),
    "qr": (lambda m, a: [each**2 for each in m.linalg.qr(a)], ANY),
    "pinv": (lambda m, a: m.linalg.pinv(a, atol=0.1), ANY),
    "symmetric pinv": (lambda m, a: m.linalg.pinv(a, hermitian=True), SYMMETRIC),
    "solve": (lambda m, a, b: m.linalg.solve(a, b), PAIRS),
    "solve from the right": (lambda m, a, b: m.linalg.solve(a, b.mT, left=False), PAIRS),
    "solve vectors": (lambda m, a, b: m.linalg.solve(a, b[..., 0]), PAIRS[:1]),
    "solve_triangular": (lambda m, a, b: m.linalg.solve_triangular(a, b, upper=True), PAIRS),
    "unit triangles": (
        lambda m, a, b: m.linalg.solve_triangular(
            a, b.mT, upper=False, left=False, unitriangular=True
        ),
        PAIRS,
    ),
    "cholesky_solve": (lambda m, a, b: m.cholesky_solve(b, a.tril()), PAIRS),
    "cholesky_inverse": (lambda m, a: m.cholesky_inverse(a.triu(), upper=True), POSITIVE),
    "lstsq": (lambda m, a, b: m.linalg.lstsq(a[..., :2], b).solution, PAIRS[:1]),
    "nuclear norm": (lambda m, a: m.linalg.matrix_norm(a, "nuc", keepdim=True), ANY[:2]),
    "norms": (lambda m, a: m.linalg.norm(a, -2) + m.linalg.norm(a, 1) + a.norm("nuc"), ANY[:1]),
    "cond": (lambda m, a: m.linalg.cond(a, "nuc") + m.linalg.cond(a, -2), SQUARE[:1]),
    "matrix_power": (lambda m, a: a.matrix_power(-3), SQUARE[:1]),
    "lu": (lambda m, a: [m.linalg.lu(a)[0] @ m.linalg.lu(a)[1], m.linalg.lu(a)[2]], ANY),
    "lu_factor": (lambda m, a: m.linalg.lu_factor_ex(a).LU, [random(2, 40, 40)]),
    "lu_unpack": (lambda m, a: m.lu_unpack(*m.linalg.lu_factor(a))[1:], SQUARE[:1]),
    "lu_solve": (
        lambda m, a, b: m.linalg.lu_solve(*m.linalg.lu_factor(a), b.mT, left=False, adjoint=True),
        PAIRS,
    ),
    "matrix_exp": (lambda m, a: m.linalg.matrix_exp(a), [*SQUARE, random(3, 3) * 9]),
    "householder_product": (
        lambda m, a: m.linalg.householder_product(a, a[..., 0, :2] / 3),
        [random(2, 4, 3)],
    ),
    "cross": (lambda m, a: m.linalg.cross(a, a.flip(-1) * 2), SQUARE[:1]),
}


def derivatives(module: Any, function: Callable[..., Any], arrays: tuple[Any, ...]) -> list[Any]:
    """The results, their gradients, and the gradients of those, for fixed cotangents."""
    inputs = [module.tensor(each, requires_grad=True) for each in arrays]

    def weighed(tensors: Any) -> Any:
        draws = np.random.default_rng(3)
        return sum(
            (each * module.tensor(draws.normal(size=tuple(each.shape)))).sum() for each in tensors
        )

    made = function(module, *inputs)
    results = [made] if isinstance(made, module.Tensor) else list(made)
    first = module.autograd.grad(weighed(results), inputs, create_graph=True)
    second = module.autograd.grad(weighed(first) + weighed(inputs), inputs)
    return [np.array(each.tolist()) for each in (*results, *first, *second)]


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(name: str) -> None:
    function, samples = CASES[name]
    for sample in samples:
        arrays = sample if isinstance(sample, tuple) else (sample,)
        expected = derivatives(torch, function, arrays)
        with config.override(device="interpret"):
            found = derivatives(lg, function, arrays)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, 1e-6, 1e-8)


def test_on_the_cpu_in_float32() -> None:
    array = random(2, 3, 3, kind="positive").astype(np.float32)
    (ours, theirs) = (module.tensor(array, requires_grad=True) for module in (lg, torch))
    for module, a in ((lg, ours), (torch, theirs)):
        (module.linalg.cholesky(a).sum() + (module.linalg.eigh(a)[1] ** 2)[..., 0].sum()).backward()
    assert lg.linalg.inv(ours).dtype is lg.float32
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), 1e-3, 1e-4)


def test_corners_of_distances() -> None:
    """Gradients where rows are equal, and where the largest difference is there twice."""
    for p in (0.0, 0.5, 1.0, 1.5, 2.0, float("inf")):
        grads = []
        for module in (lg, torch):
            a = module.tensor([[0.0, 0.0], [1.0, -1.0], [1.0, 2.0]], requires_grad=True)
            b = module.tensor([[0.0, 0.0], [1.0, 0.0]])
            module.cdist(a, b, p=p).sum().backward()
            grads.append(a.grad.tolist())
        np.testing.assert_allclose(grads[0], grads[1], 1e-5, 1e-6)


def test_a_long_triangle_is_solved_in_blocks() -> None:
    a, b = random(70, 70) + 30 * np.eye(70), random(70, 2)
    found = lg.linalg.solve_triangular(lg.tensor(a), lg.tensor(b), upper=False).numpy()
    np.testing.assert_allclose(np.tril(a) @ found, b, 1e-9, 1e-9)


def test_singular_matrices_have_cofactors() -> None:
    a = lg.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]], requires_grad=True)
    lg.det(a).backward()
    assert a.grad is not None
    np.testing.assert_allclose(a.grad.numpy(), [[4, 4, -4], [-2, -2, 2], [0, 0, 0]], atol=1e-5)


# --- errors

MATRIX = [[1.0, 2.0], [2.0, 4.0]]
ERRORS: dict[str, Callable[[Any], Any]] = {
    "singular": lambda m: m.linalg.inv(m.tensor(MATRIX)),
    "singular in a batch": lambda m: m.linalg.inv(m.stack([m.eye(2), m.ones(2, 2)])),
    "singular system": lambda m: m.linalg.solve(m.ones(2, 2), m.ones(2)),
    "not positive": lambda m: m.linalg.cholesky(m.tensor([[1.0, 2.0], [2.0, 1.0]])),
    "singular factor": lambda m: m.linalg.lu_factor(m.ones(2, 2)),
    "no pivots": lambda m: m.linalg.lu(m.ones(2, 2), pivot=False),
    "exponential of a row": lambda m: m.linalg.matrix_exp(m.ones(1, 2)),
    "too many reflections": lambda m: m.linalg.householder_product(m.ones(3, 2), m.ones(3)),
    "not finite": lambda m: m.linalg.svd(m.full((2, 2), float("nan"))),
    "not square": lambda m: m.linalg.det(m.ones(2, 3)),
    "no matrix": lambda m: m.linalg.qr(m.ones(3)),
    "integers": lambda m: m.linalg.eigh(m.ones(2, 2, dtype=m.int64)),
    "integers, to a function without a kernel": lambda m: m.linalg.slogdet(m.ones(2, 2).long()),
    "half types": lambda m: m.linalg.inv(m.ones(2, 2, dtype=m.float16)),
    "half types in a kernel": lambda m: m.linalg.svd(m.ones(2, 2, dtype=m.bfloat16)),
    "dtypes": lambda m: m.linalg.solve(m.eye(2), m.ones(2, dtype=m.float64)),
    "shapes": lambda m: m.linalg.solve_triangular(m.eye(3), m.ones(2, 2), upper=True),
    "mode": lambda m: m.linalg.qr(m.eye(2), mode="full"),
    "triangle": lambda m: m.linalg.eigvalsh(m.eye(2), UPLO="X"),
    "norm": lambda m: m.linalg.matrix_norm(m.eye(2), 3),
    "norm of nothing": lambda m: m.linalg.vector_norm(m.zeros(0), float("inf")),
    "cross": lambda m: m.linalg.cross(m.ones(2), m.ones(2)),
    "distance": lambda m: m.cdist(m.ones(2, 2), m.ones(2, 3)),
    "chain": lambda m: m.linalg.multi_dot([m.ones(2, 3), m.ones(2, 3)]),
    "no second factor": lambda m: m.autograd.grad(
        m.linalg.qr(a := m.eye(2).requires_grad_(), mode="r").R.sum(), a
    )[0].tolist(),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_pytorch(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        ERRORS[name](torch)
    kind = type(theirs.value)
    wanted = lg.linalg.LinAlgError if kind is torch.linalg.LinAlgError else kind
    with pytest.raises(wanted) as ours:
        made = ERRORS[name](lg)
        (made if isinstance(made, lg.Tensor) else made[0]).tolist()
    assert str(theirs.value).splitlines()[0].rstrip(".") in str(ours.value)


def test_an_error_changes_nothing_and_names_the_line() -> None:
    a = lg.ones(2, 2)
    other = a * 3
    singular = lg.linalg.inv(a)
    a += 1
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"singular.*test_linalg\.py"):
            lg.realize(singular, other)
    assert other.tolist() == [[3.0, 3.0], [3.0, 3.0]] and a.tolist() == [[2.0, 2.0], [2.0, 2.0]]


# --- plans


def test_one_call_serves_all_readers(calls: list[str]) -> None:
    a = lg.tensor(random(3, 3), requires_grad=True)
    left, values, _ = lg.linalg.svd(a)
    assert values.sum().item() > 0 and calls == ["svd"]
    left.tolist()
    (values**2).sum().backward()
    assert a.grad is not None
    np.testing.assert_allclose(a.grad.numpy(), 2 * a.detach().numpy())
    assert calls == ["svd"]  # neither another result nor the gradient needs a second one


def test_equal_calls_are_one_and_only_what_is_needed_is_called(calls: list[str]) -> None:
    a = lg.tensor(random(3, 3))
    assert (lg.linalg.inv(a) + lg.linalg.inv(a)).sum().item() and calls == ["inv"]
    assert lg.linalg.svdvals(a).sum().item() and calls == ["inv", "svdvals"]


def test_a_loop_has_one_plan_and_compiles(calls: list[str]) -> None:
    def step(a: Any, b: Any) -> Any:
        return (lg.linalg.solve(a @ a.T + lg.eye(3, dtype=lg.float64), b) * 2).sum()

    compiled = lg.compile(step)
    b = lg.ones(3, dtype=lg.float64)
    for seed in range(3):
        a = lg.tensor(np.random.default_rng(seed).normal(size=(3, 3)))
        array = a.numpy()
        expected = 2 * np.linalg.solve(array @ array.T + np.eye(3), np.ones(3)).sum()
        assert compiled(a, b).item() == pytest.approx(expected)
        assert step(a, b).item() == pytest.approx(expected)
    assert calls == ["solve"] * 6


@pytest.mark.of_the_cpu("looks at the kernels of the CPU")
def test_what_is_expensive_is_kept_over_a_call() -> None:
    """The product before a call is read behind it too: it is stored, not computed twice."""
    a, b = lg.tensor(random(8, 8)), lg.tensor(random(8, 8, 1)[..., 0])
    lowered = lg.lower(lambda: lg.linalg.inv((a @ b) + 1) + (a @ b))
    assert sum("matmul" in name for name in lowered.kernels) == 1
    assert "call inv on slots" in str(lowered)


@pytest.mark.of_the_cpu("about several devices")
def test_other_devices_and_children() -> None:
    a = lg.tensor(random(3, 3, kind="positive"), device="interpret")
    found = lg.linalg.cholesky(a).to("cpu") * 2
    np.testing.assert_allclose(found.numpy(), 2 * np.linalg.cholesky(a.to("cpu").numpy()))
    child = os.fork()
    if not child:
        code = 1
        try:
            code = int(lg.linalg.det(lg.eye(3) * 2).item() != 8.0)
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_text_both_ways_and_grammar() -> None:
    text = (
        "graph\n"
        "  %0 = buffer 0 : f64[3, 2] @cpu\n"
        "  %1 = extern.svd %0 {caller='linalg.svd', full=False} : f64[]\n"
        "  %2 = element %1 {index=1} : f64[2]\n"
        "  return %2\n"
    )
    roots = parse(text)
    verify_graph(roots)
    assert show(roots[0]) == text
    for wrong in (text.replace("f64[2]\n", "f64[3]\n"), text.replace("index=1", "index=3")):
        with pytest.raises(VerificationError):
            verify_graph(parse(wrong))
    with pytest.raises(VerificationError, match="no host function"):
        verify_graph(parse(text.replace("extern.svd", "extern.fft")))


def test_checks_and_switches_see_host_calls() -> None:
    a = lg.tensor(random(3, 3), requires_grad=True)
    with lg.config.override(verify=True):
        lg.linalg.inv(a).sum().backward()
    with (
        lg.config.override(debug_nans=True),
        pytest.raises(RuntimeError, match="NaN"),
    ):
        (lg.linalg.inv(a.detach()) * float("nan")).tolist()
