"""A tensor's metadata and conversions, and the lines that messages name."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lazygrad.site import describe, here
from lazygrad.views import contiguous, reshaped

torch: Any = import_module("lazygrad")
oracle: Any = pytest.importorskip("torch")


def test_site_is_the_users_line() -> None:
    tensor = torch.ones(3) * 2  # this very line
    text = describe(tensor.node.site)
    assert text.startswith("test_tensor.py:") and text.endswith("# this very line")
    assert describe(None) == ""
    site = here()
    assert site is not None and describe(site).endswith("site = here()")


def test_an_error_names_where_the_leaf_was_made() -> None:
    leaf = torch.ones(3, requires_grad=True)  # made here
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad") as error:
        leaf.add_(1)
    assert "made here" in str(error.value)


def test_conversions() -> None:
    assert int(torch.tensor([2.5])) == 2 and float(torch.tensor(3)) == 3.0
    assert [1, 2, 3][torch.tensor(2)] == 3 and bool(torch.tensor([0.5]))
    assert torch.tensor(True).item() is True and torch.tensor(4).tolist() == 4
    assert torch.tensor([1.5, -2.25], dtype=torch.bfloat16).tolist() == [1.5, -2.25]
    assert torch.tensor(1.5, dtype=torch.bfloat16).item() == 1.5
    assert torch.tensor([[1], [2]]).tolist() == [[1], [2]] and torch.zeros(0, 3).tolist() == []
    for call, error, words in (
        (
            lambda: torch.ones(3).item(),
            RuntimeError,
            "a Tensor with 3 elements cannot be converted to Scalar",
        ),
        (lambda: bool(torch.ones(2)), RuntimeError, "more than one value is ambiguous"),
        (lambda: bool(torch.ones(0)), RuntimeError, "no values is ambiguous"),
        (lambda: [1][torch.tensor(0.0)], TypeError, "only integer tensors of a single element"),
        (lambda: len(torch.tensor(1)), TypeError, r"len\(\) of a 0-d tensor"),
        (lambda: iter(torch.tensor(1)), TypeError, "iteration over a 0-d tensor"),
        (lambda: torch.ones(1, dtype=torch.bfloat16).numpy(), TypeError, "BFloat16"),
    ):
        with pytest.raises(error, match=words):
            call()


def test_tensors_hash_by_identity_and_take_attributes() -> None:
    a, b = torch.ones(2), torch.ones(2)
    assert len({a, b, a}) == 2
    a.note = "mine"
    assert a.note == "mine" and not hasattr(b, "note")


def test_deepcopy() -> None:
    a = torch.ones(2, requires_grad=True)
    (a * a).sum().backward()
    b = copy.deepcopy(a)
    with torch.no_grad():
        b.add_(1)
    assert a.tolist() == [1, 1] and b.tolist() == [2, 2] and b.requires_grad
    assert b.grad is not a.grad and b.grad.tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(a * 1)


def test_data_can_be_replaced() -> None:
    x = torch.ones(2, requires_grad=True)
    y = torch.zeros(3)
    x.data = y
    y.add_(4)
    assert x.tolist() == [4, 4, 4] and list(x.shape) == [3] and x.requires_grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [8, 8, 8]
    with pytest.raises(RuntimeError, match="must be floating point"):
        x.data = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(TypeError, match="Variable data has to be a tensor"):
        x.data = 3


@st.composite
def strided(draw: st.DrawFn) -> Any:
    """A PyTorch tensor reached by a few movements, and a shape of as many elements."""
    shape = draw(st.lists(st.integers(1, 4), max_size=4))
    x = oracle.zeros(shape)
    for _ in range(draw(st.integers(0, 3))):
        if not x.dim():
            break
        axis = draw(st.integers(0, x.dim() - 1))
        kind = draw(st.sampled_from(["transpose", "slice", "unsqueeze", "expand"]))
        if kind == "transpose":
            x = x.transpose(axis, draw(st.integers(0, x.dim() - 1)))
        elif kind == "slice":
            x = x.narrow(axis, 0, max(1, x.shape[axis] - 1))
        elif kind == "unsqueeze":
            x = x.unsqueeze(axis)
        elif x.shape[axis] == 1:
            x = x.expand(*[3 if a == axis else -1 for a in range(x.dim())])
    rest, target = x.numel(), []
    while rest > 1:
        size = draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0]))
        target.append(size)
        rest //= size
        if len(target) > 4:
            target.append(rest)
            break
    return x, target


@given(strided())
def test_strides_of_a_reshaped_view_are_pytorchs(case: Any) -> None:
    x, target = case
    try:
        expected = x.view(target).stride()
    except RuntimeError:
        expected = None
    found = reshaped(tuple(x.shape), x.stride(), tuple(target))
    assert found == expected
    if expected is not None and x.is_contiguous():
        assert contiguous(target) == oracle.zeros(target).stride()


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("dims", [(0, 1), (2, 0)])
def test_what_is_turned_lies_where_pytorchs_does(turns: int, dims: tuple[int, int]) -> None:
    """An odd number of quarter turns is flipped in memory and seen transposed, and is no view of anything."""

    def said(module: Any) -> Any:
        x = module.arange(24.0).reshape(2, 3, 4).requires_grad_()
        turned = module.rot90(x, turns, dims)
        assert turned.grad_fn.name() == "Rot90Backward0" and not turned._is_view()
        (turned**2 * module.arange(24.0).reshape(turned.shape)).sum().backward()
        written = module.rot90(x.detach(), turns, dims)
        written[1:].mul_(2)
        return turned.stride(), turned.tolist(), x.grad.tolist(), written.tolist(), x.tolist()

    assert said(torch) == said(oracle)


LAID = {
    "transposed": lambda m: m.arange(6.0).reshape(2, 3).t(),
    "permuted": lambda m: m.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
    "cut": lambda m: m.arange(12.0).reshape(2, 6)[:, 1:4].t(),
    "expanded": lambda m: m.arange(12.0).reshape(3, 4, 1).expand(3, 4, 2).permute(1, 2, 0),
}


@pytest.mark.parametrize("laid", LAID)
def test_what_is_flipped_keeps_the_layout_of_its_input(laid: str) -> None:
    def said(module: Any) -> Any:
        x = LAID[laid](module).requires_grad_()
        copies = [
            x.flip(0),
            x.flip(0, 1),
            module.fliplr(x),
            *(module.rot90(x, k) for k in range(4)),
        ]
        total = sum(
            (each**2 * module.arange(float(x.numel())).reshape(each.shape)).sum() for each in copies
        )
        total.backward()
        return [(each.stride(), each.tolist()) for each in copies], x.grad.tolist()

    assert said(torch) == said(oracle)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(1, 2)), max_size=4),
    st.data(),
)
def test_view_chains_lie_where_pytorchs_do(
    moves: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    ours, theirs = torch.arange(24.0).view(2, 3, 4), oracle.arange(24.0).view(2, 3, 4)
    for kind, where, amount in moves:
        rank = theirs.dim()
        axis = where % rank if rank else 0
        if kind == 0 and rank:
            index = (
                data.draw(st.integers(0, theirs.shape[axis] - 1)) if theirs.shape[axis] else None
            )
            if index is not None:
                ours, theirs = ours.select(axis, index), theirs.select(axis, index)
        elif kind == 1 and rank:
            cut = (slice(None),) * axis + (slice(amount - 1, None, amount),)
            ours, theirs = ours[cut], theirs[cut]
        elif kind == 2 and rank:
            ours, theirs = ours.transpose(axis, 0), theirs.transpose(axis, 0)
        elif kind == 3:
            ours, theirs = ours.unsqueeze(axis), theirs.unsqueeze(axis)
        elif kind == 4 and rank:
            sizes = [amount, *theirs.shape]
            ours, theirs = ours.expand(*sizes), theirs.expand(*sizes)
    assert ours.stride() == theirs.stride() and ours.storage_offset() == theirs.storage_offset()
    assert ours.is_contiguous() == theirs.is_contiguous()
    assert ours.tolist() == theirs.tolist() == (ours * 1).tolist()
