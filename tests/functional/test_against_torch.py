"""Every family of operators against PyTorch: values, shapes, dtypes, the names of records, and gradients."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config

from . import cases

torch = pytest.importorskip("torch")
warnings.filterwarnings("ignore", module="torch")

TABLES = {
    name: cases.split(getattr(cases, name))
    for name in (
        "ARITHMETIC", "UNARY", "ACTIVATIONS", "REDUCTIONS", "MOVEMENT", "INDEXING", "PRODUCTS", "LOSSES", "CASTING",
    )
}  # fmt: skip
EXPRESSIONS = [each for table in TABLES.values() for each in table]
OTHER_RECORDS = {
    "torch.gradient(a, spacing=(u*9+k.sum()*torch.arange(3)*9, v+torch.arange(4)*9), edge_order=2)[0]",
    "torch.einsum(a, [0, 1], q, [1, 2], [2, 0])",
    "torch.einsum(c, [..., 0], [...])",
}
"""Where our record is another than PyTorch's, on purpose."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def numbers(tensor: Any) -> Any:
    return np.array(tensor.detach().tolist(), dtype="float64")


def records(tensor: Any) -> Any:
    """The names of the tensor's record and of those next to it."""
    if tensor.grad_fn is None:
        return None
    nexts = [
        None if each is None else type(each).__name__ for each, _ in tensor.grad_fn.next_functions
    ]
    return type(tensor.grad_fn).__name__, nexts


def check_value(ours: Any, theirs: Any) -> None:
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    loose = ours.dtype.itemsize == 2
    wrong = 1e-2 if loose else 2e-5
    np.testing.assert_allclose(numbers(ours), numbers(theirs), rtol=wrong, atol=wrong / 2)


def gradients(names: dict[str, Any]) -> dict[str, Any]:
    found = {name: getattr(names[name], "grad", None) for name in cases.SHAPES}
    return {name: numbers(each) for name, each in found.items() if each is not None}


def check_gradients(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert set(ours) == set(theirs)
    for name, expected in theirs.items():
        np.testing.assert_allclose(
            ours[name], expected, rtol=5e-4, atol=5e-4, err_msg=f"gradient of {name}"
        )


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_on_the_interpreter(expression: str) -> None:
    with config.override(device="interpret"):
        mine, torchs = cases.operands(lg), cases.operands(torch)
        ours, theirs = eval(expression, mine), eval(expression, torchs)
        check_value(ours, theirs)
        assert (records(ours) == records(theirs)) is (expression not in OTHER_RECORDS)
        if theirs.requires_grad:
            # A cotangent that differs from element to element finds gradients that are moved to the wrong place.
            weight = np.arange(1, theirs.numel() + 1).reshape(tuple(theirs.shape)) / 7
            theirs.backward(torch.tensor(weight).to(theirs.dtype))
            ours.backward(lg.tensor(weight).to(ours.dtype))
            check_gradients(gradients(mine), gradients(torchs))


@pytest.mark.parametrize("name", TABLES)
def test_on_the_cpu(name: str) -> None:
    """The same values from kernels; one test a family, since what failed is in the message."""
    with config.override(device="cpu"):
        mine, torchs = cases.operands(lg, grad=False), cases.operands(torch, grad=False)
        wrong = []
        for expression in TABLES[name]:
            try:
                check_value(eval(expression, mine), eval(expression, torchs))
            except Exception as error:
                wrong.append(f"{expression}: {type(error).__name__} {str(error)[:300]}")
        assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("statement", cases.split(cases.INPLACE))
@pytest.mark.parametrize("recorded", [True, False])
def test_in_place(statement: str, recorded: bool) -> None:
    with config.override(device="interpret"):
        results = []
        for module in (lg, torch):
            names = cases.operands(module, grad=recorded)
            names["x"] = names["a"] * 1
            alias = names["x"].view(12)
            eval(statement, names)
            if recorded:
                names["x"].backward(
                    module.tensor(np.arange(12.0).reshape(3, 4)).to(names["x"].dtype)
                )
            results.append((names["x"], alias, gradients(names), records(names["x"])))
        (
            (ours, our_alias, our_gradients, our_record),
            (theirs, their_alias, their_gradients, their_record),
        ) = results
        check_value(ours, theirs)
        check_value(our_alias, their_alias)
        check_gradients(our_gradients, their_gradients)
        if recorded:
            assert our_record == their_record


INTEGER = cases.split("""
n+m; n-m; n*m; n/m; n//m; n//3; -n//3; n%m; n%-3; torch.fmod(n, -3); n.div(-3, rounding_mode='trunc'); n.div(m, rounding_mode='floor'); n**2; n**m; 2**m; n/2; n*1.5; n+True; n.bool()+n
n&m; n|m; n^m; ~n; n<<1; n>>1; n<m; n<=m; n==m; n!=m; n>m; n>=m; n==2; n>1.5; n.sum(); n.prod(); n.max(); n.min(1); n.abs(); n.sign(); n.clamp(-1, 2); n.clamp(0.5, 2); n.sqrt(); n.exp(); n.sum(dtype=torch.float32)
n.bool().any(); n.bool().all(1); n.any(0); n.argmax(); n.argmax(1); n.argmin(0, keepdim=True); n.count_nonzero(); n.count_nonzero(0); n.logical_and(m); n.logical_not(); n.bool()&m.bool(); n.bool()^m.bool(); n.cumsum(1)
n.floor(); n.round(); n.isnan(); n.isfinite(); n.to(torch.uint8); n.float()//m; n.float()%m; n.square(); n.relu(); torch.where(n > 0, n, 0); torch.where(n > 0, n, m.float()); n.tril(); n@m.T; n.float().isinf(); n.eq(m).sum()
torch.equal(n, n); torch.allclose(n.float(), n.float()+1e-9); torch.isclose(n.float(), n*1.0); torch.result_type(n, 1.5); torch.promote_types(torch.int8, torch.float16); torch.can_cast(torch.float32, torch.int64)
F.one_hot(m-1, 5); F.one_hot(m); n.nonzero(); torch.where(n > 0)[1]; torch.argwhere(n); n.T.contiguous().stride(); n.t().stride(); n[:, 1:].storage_offset(); n.is_contiguous(); n.numel(); torch.tril_indices(3, 4)
torch.arange(5); torch.arange(1, 4, 0.5); torch.arange(5, 0, -2); torch.linspace(0, 1, 7); torch.linspace(-3.14, 3.14, 2000); torch.linspace(2, 5, 1); torch.eye(3); torch.eye(2, 4); torch.full((2, 3), 7); torch.full((2,), 1.5)
torch.zeros(2, 3, dtype=torch.int32); torch.ones(3); torch.zeros_like(n); torch.full_like(n, 4); torch.ones_like(n, dtype=torch.float64); n.new_zeros(2, 2); n.new_full((2,), 3); n.new_tensor([1, 2]); torch.logspace(0, 2, 3)
torch.tensor([[1, 2.5], [True, 3]]); torch.tensor([True, False]); torch.tensor(3); torch.tensor([]); torch.tensor([[], []]); torch.tensor([1, 2], dtype=torch.bfloat16); torch.tensor(-1, dtype=torch.uint8); torch.FloatTensor([1, 2])
torch.LongTensor([1, 2]); torch.Tensor([1, 2]); torch.Tensor([[1], [2]]).type(torch.FloatTensor); n.type(torch.DoubleTensor); n.type().split('.')[-1]; n.float().type().split('.')[-1]; isinstance(n, torch.LongTensor); isinstance(n, torch.FloatTensor); torch.as_tensor([1.5])
""")


@pytest.mark.parametrize("device", ["interpret", "cpu"])
def test_integers_creation_and_questions(device: str) -> None:
    with config.override(device=device):
        wrong = []
        for expression in INTEGER:
            results = []
            for module in (lg, torch):
                names = {
                    "torch": module,
                    "F": module.nn.functional,
                    "n": module.tensor([[-7, -2, 0, 1], [2, 3, 5, 8]]),
                    "m": module.tensor([[2, 3, 1, 4], [3, 2, 2, 3]]),
                }
                results.append(eval(expression, names))
            try:
                for ours, theirs in zip(
                    *(r if isinstance(r, tuple) else (r,) for r in results), strict=True
                ):
                    if isinstance(theirs, torch.Tensor):
                        check_value(ours, theirs)
                    else:
                        assert str(ours) == str(theirs)
            except AssertionError as error:
                wrong.append(f"{expression}: {str(error)[:300]}")
        assert not wrong, "\n".join(wrong)


DTYPES = [
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
]


@pytest.mark.parametrize("left", DTYPES)
def test_promotion(left: str) -> None:
    """The dtype of sums and products for every pair of dtypes, 0-d tensors and numbers."""
    for right in DTYPES:
        for shapes in (((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())):
            ours = [
                lg.ones(shape, dtype=getattr(lg, name))
                for shape, name in zip(shapes, (left, right), strict=True)
            ]
            theirs = [
                torch.ones(shape, dtype=getattr(torch, name))
                for shape, name in zip(shapes, (left, right), strict=True)
            ]
            for operate in ("__add__", "__mul__", "__truediv__", "__eq__"):
                found, expected = (getattr(each[0], operate)(each[1]) for each in (ours, theirs))
                assert str(found.dtype) == str(expected.dtype), (left, right, shapes, operate)
                assert tuple(found.shape) == tuple(expected.shape)
    for number in (True, 3, 2.5):
        one, other = (
            lg.ones(2, dtype=getattr(lg, left)),
            torch.ones(2, dtype=getattr(torch, left)),
        )
        assert str((one * number).dtype) == str((other * number).dtype)
        assert str((one / number).dtype) == str((other / number).dtype)


def test_out_and_its_errors() -> None:
    out = lg.zeros(2)
    assert lg.add(lg.ones(2), 1, out=out) is out
    assert out.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        lg.mul(lg.ones(2, requires_grad=True), 2, out=out)
    with pytest.raises(
        RuntimeError, match="result type Float can't be cast to the desired output type Long"
    ):
        lg.mul(lg.ones(2), 2, out=lg.zeros(2, dtype=lg.int64))


@pytest.mark.parametrize("recorded", [True, False])
def test_in_place_views(recorded: bool) -> None:
    """The tensor lies in its memory in another way: its shape, strides and record, and where writes and gradients go."""
    changes = (
        "t_()",
        "transpose_(-1, 0)",
        "unsqueeze_(1)",
        "unsqueeze_(0).squeeze_()",
        "squeeze_(0)",
        "squeeze_((0,))",
    )
    for change in changes:
        results = []
        for module in (lg, torch):
            names = cases.operands(module, grad=recorded)
            for begin in (0, 1):
                whole = names["a"] * 1
                each = whole[begin:] if begin else whole
                seen = eval(f"each.{change}", {"each": each})
                layout = (
                    tuple(seen.shape),
                    seen.stride(),
                    each._version,
                    seen is each,
                    records(each),
                )
                each.add_(module.arange(each.shape[-1]))
                results.append((layout, numbers(whole)))
                if recorded:
                    (whole * whole).sum().backward()
                    results.append((gradients(names)["a"].tolist(), None))
        half = len(results) // 2
        for ours, theirs in zip(results[:half], results[half:], strict=True):
            assert ours[0] == theirs[0], change
            np.testing.assert_array_equal(ours[1], theirs[1])


MOVES = {
    "transposed": lambda a: a.transpose_(0, 2),
    "squeezed": lambda a: a.squeeze_(1),
    "unsqueezed": lambda a: a.unsqueeze_(0),
    "both": lambda a: a.transpose_(0, 2).squeeze_(1),
}


@pytest.mark.parametrize("move", MOVES)
def test_an_earlier_view_of_a_base_that_lies_otherwise_now_is_still_one(move: str) -> None:
    for leaf in (False, True):
        results = []
        for module in (lg, torch):
            base = module.arange(6.0).reshape(2, 1, 3).clone()
            factor = module.ones(3, requires_grad=True)
            if leaf:
                base = base.requires_grad_() * 1
            row, flat = base[0], base.view(6)
            MOVES[move](base)
            row.mul_(factor)
            flat[1:4].add_(factor)
            weight = module.arange(6.0).view(base.shape)
            ((base * weight).sum() + (row * 2).sum() + (flat**2).sum()).backward()
            found = [each.tolist() for each in (base, row, flat, factor.grad)]
            results.append((found, tuple(base.stride())))
        assert results[0] == results[1]


def test_out_takes_results_of_every_form() -> None:
    for module in (lg, torch):
        x = module.tensor([[1.0, 5.0], [4.0, 2.0]])
        values, places = module.zeros(2), module.zeros(2).long()
        found = module.max(x, 1, out=(values, places))
        assert (found[0] is values, values.tolist(), places.tolist()) == (True, [5.0, 4.0], [1, 0])
        empty = module.empty(0)
        assert module.matmul(x, x, out=empty) is empty
        assert empty.tolist() == [[21.0, 15.0], [12.0, 24.0]]
        assert module.arange(3, out=values.new_empty(3)).tolist() == [0.0, 1.0, 2.0]


def test_every_operator_has_a_docstring() -> None:
    from lazygrad.functional.registry import OPERATORS

    assert len(OPERATORS) > 250
    missing = [name for name, each in OPERATORS.items() if not each.function.__doc__]
    assert not missing
