"""Autograd's rules of identity, beside PyTorch: the same program in both, the same results and the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import lazygrad

torch = pytest.importorskip("torch")


def separate(lg: Any) -> Any:
    """Two results of the same expression are two variables."""
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    a, b = x * 2, x * 2
    a.retain_grad()
    b.retain_grad()
    (a.sum() + 3 * b.sum()).backward()
    return [a.grad.tolist(), b.grad.tolist(), x.grad.tolist(), a is b]


def separate_targets(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    a, b = x * 2, x * 2
    found = lg.autograd.grad((a * a).sum() + b.sum(), [a, b, x])
    unused = lg.autograd.grad(a.sum(), b, allow_unused=True)
    return [[g.tolist() for g in found], unused]


def constant(lg: Any) -> Any:
    """A value made under no_grad is a constant, also when it is the same expression."""
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    a = x * 2
    with lg.no_grad():
        b = x * 2
    c = (x * 2).detach()
    (a * b * c).sum().backward()
    return [b.requires_grad, b.grad_fn, c.requires_grad, x.grad.tolist()]


def constant_read_first(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    with lg.no_grad():
        b = x * 2
    b.tolist()
    a = x * 2
    a.tolist()
    (a * b).sum().backward()
    return x.grad.tolist()


def constants_are_not_followed(lg: Any) -> Any:
    """A gradient with respect to a value that a constant was made of is none of the constant's."""
    x = lg.tensor([3.0], requires_grad=True)
    y = x * x
    return [
        lg.autograd.grad(y * y.detach(), x, retain_graph=True)[0].tolist(),
        lg.autograd.grad((y - y.data).abs().sum() + y.sum(), x)[0].tolist(),
    ]


def a_leaf_stays(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    same = [x + 0, x * 1, x.view(2), x.clone(), x.float(), x.reshape(2), x.contiguous()]
    return [(each is x, each.is_leaf, each.requires_grad) for each in same]


def an_update_behind_its_back(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * 3).sum()
    x.data.mul_(10)
    y.backward()
    return [y.item(), x.grad.tolist(), x.tolist()]


def grads_add_up(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    return [first is x.grad, x.grad.tolist(), first.tolist()]


def again(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward()
    y.backward()


def again_by_another_way(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    shared = x.exp()
    (shared * 2).sum().backward()
    (shared * 3).sum().backward()


def again_where_nothing_is_saved(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    return x.grad.tolist()


def retained(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad.tolist()


def saved_changed(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    z = y * y
    y += 1
    z.sum().backward()


def saved_result_changed(lg: Any) -> Any:
    x = lg.tensor([[1.0, 2.0]], requires_grad=True)
    y = x.exp()
    y.mul_(2)
    y.sum().backward()


def saved_operand_changed(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    w = lg.tensor([3.0, 4.0])
    y = (x * w).sum()
    w[0] = 9.0
    y.backward()


def unsaved_changed(lg: Any) -> Any:
    """Addition saves nothing: its result may change."""
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    y = x + 1
    y *= 3
    y.sum().backward()
    return x.grad.tolist()


def changed_leaf(lg: Any) -> Any:
    x = lg.tensor([1.0, 2.0], requires_grad=True)
    x += 1


def no_history(lg: Any) -> Any:
    lg.tensor([1.0]).sum().backward()


def a_vector(lg: Any) -> Any:
    x = lg.ones(2, 3, requires_grad=True)
    (x * 2).backward()


RULES = [
    separate, separate_targets, constant, constant_read_first, constants_are_not_followed, a_leaf_stays,
    an_update_behind_its_back, grads_add_up, again_where_nothing_is_saved, retained, unsaved_changed,
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_the_same_as_pytorch(on: str, rule: Callable[[Any], Any]) -> None:
    assert rule(lazygrad) == rule(torch)


FAILURES: list[tuple[Callable[[Any], Any], str]] = [
    (again, "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed)."),
    (again_by_another_way, "Specify retain_graph=True if you need to backward through the graph a second time"),
    (saved_changed, "one of the variables needed for gradient computation has been modified by an inplace operation"),
    (saved_result_changed, "is at version 1; expected version 0 instead"),
    (saved_operand_changed, "one of the variables needed for gradient computation has been modified by an inplace operation"),
    (changed_leaf, "a leaf Variable that requires grad is being used in an in-place operation."),
    (no_history, "element 0 of tensors does not require grad and does not have a grad_fn"),
    (a_vector, "grad can be implicitly created only for scalar outputs"),
]  # fmt: skip


@pytest.mark.parametrize(("failure", "words"), FAILURES)
def test_the_same_message(on: str, failure: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(RuntimeError) as theirs:
        failure(torch)
    with pytest.raises(RuntimeError) as ours:
        failure(lazygrad)
    assert words in str(theirs.value) and words in str(ours.value)
