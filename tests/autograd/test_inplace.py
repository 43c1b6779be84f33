"""In-place writes, views and versions: every alias sees a write, gradients follow, and what cannot be followed is refused."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

torch: Any = import_module("lazygrad")
Compare = Callable[[Callable[[Any, Any], Any]], None]

VIEWS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda x: x,
    "select": lambda x: x[1],
    "slice": lambda x: x[:, 1:3],
    "step": lambda x: x[::2, ::2],
    "transpose": lambda x: x.t(),
    "view": lambda x: x.view(2, 6),
    "chain": lambda x: x.t()[1:].t().unsqueeze(1)[0],
    "narrow": lambda x: x.narrow(1, 1, 2),
    "diagonal": lambda x: x.diagonal(),
    "lower diagonal": lambda x: x.diagonal(-1),
    "squeezed": lambda x: x[1:2].squeeze(0),
    "flat": lambda x: x.flatten()[3:7],
    "permuted": lambda x: x.view(3, 2, 2).permute(2, 0, 1),
    "unfold": lambda x: x.unfold(1, 2, 2),
    "empty": lambda x: x[2:2],
}


@pytest.mark.parametrize("view", VIEWS)
def test_writes_reach_every_alias(same_as_torch: Compare, view: str) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.arange(12.0).view(3, 4).clone()
        alias, flat = x.detach(), x.view(-1)
        v = VIEWS[view](x)
        before = [list(v.shape), v.stride(), v.storage_offset(), v.is_contiguous(), v]
        v.mul_(-2)
        v.add_(1)
        first = [x.clone(), alias, flat, v, x._version, v._version, alias._version]
        x.data.add_(100)
        return [before, first, v, x._version, v.numel() and v.data_ptr() - x.data_ptr()]

    same_as_torch(scenario)


@pytest.mark.parametrize("view", VIEWS)
def test_gradients_through_writes_to_views(same_as_torch: Compare, view: str) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        w = t.arange(12.0).view(3, 4).clone().requires_grad_()
        s = t.tensor(3.0, requires_grad=True)
        x = w * 2
        v = VIEWS[view](x)
        names = [v.grad_fn]
        before = x.sum()
        v.mul_(s)
        weights = t.arange(12.0).view(3, 4)
        names += [x.grad_fn, x.grad_fn.next_functions, v.grad_fn]
        out = (x * weights).sum() + before + v.sum()
        out.backward()
        return [names, w.grad, s.grad, x, v, x._version]

    same_as_torch(scenario)


@pytest.mark.parametrize("view", VIEWS)
def test_a_plain_base_becomes_tracked(same_as_torch: Compare, view: str) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        s = t.tensor(3.0, requires_grad=True)
        x = t.ones(3, 4)
        v = VIEWS[view](x)
        w = x.view(4, 3)
        v.mul_(s)
        seen = [
            x.requires_grad,
            v.requires_grad,
            w.requires_grad,
            x.grad_fn,
            x.grad_fn.next_functions,
        ]
        (w * w).sum().backward()
        return [seen, s.grad]

    same_as_torch(scenario)


def test_refusals(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.ones(4, requires_grad=True)
        y = x * 1
        with t.no_grad():
            quiet = y[0]
        first, _ = y.split(2)
        a, _ = y.unbind(0)[:2]
        seen = [
            attempt(lambda: x.add_(1)),
            attempt(lambda: x[0].add_(1)),
            attempt(lambda: x.view(4, 1).mul_(2)),
            attempt(lambda: quiet.add_(1)),
            attempt(lambda: first.add_(1)),
            attempt(lambda: a.add_(1)),
            attempt(lambda: t.ones(1).expand(3).add_(1)),
            attempt(lambda: t.ones(1).expand(1, 1).add_(1)),
            quiet.requires_grad,
            quiet.grad_fn,
        ]
        with t.no_grad():
            x.add_(1)
            x[0].mul_(5)
        return [*seen, x, x._version, y._version]

    same_as_torch(scenario)


def test_versions(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        c = t.tensor([3.0, 4.0])
        seen = []

        a = x * 1
        b = a * a
        a.add_(1)
        seen.append(attempt(lambda: b.sum().backward()))

        e = x.exp()
        f = e.add_(1)
        seen.append(attempt(lambda: f.sum().backward()))

        g = x * c
        c.add_(1)
        seen.append(attempt(lambda: g.sum().backward()))

        h = x + a
        a.mul_(2)  # a sum reads nothing
        seen.append(attempt(lambda: h.sum().backward()))

        k = x * c
        c.data.mul_(2)  # behind autograd's back
        seen.append(attempt(lambda: k.sum().backward()))
        m = x * c[0]
        c[1] = 5.0
        seen.append(attempt(lambda: m.sum().backward()))
        with t.no_grad():
            n = x * x
            o = (x * 2).relu()
            x.mul_(2)
        return [*seen, n, o, c._version]

    same_as_torch(scenario)


def test_version_message_in_full() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError) as error:
        z.sum().backward()
    assert str(error.value) == (
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{x.type()} [3]], which is output 0 of Add, is at version 1; expected version 0 instead. Hint: enable "
        "anomaly detection to find the operation that failed to compute its gradient, with "
        "torch.autograd.set_detect_anomaly(True, check_nan=False)."
    )


def test_a_value_changed_behind_autograds_back(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = x * 3
        y.data.mul_(10)
        z = y * y
        with t.no_grad():
            y.add_(1)
        u = y * 5
        v = y.view(2) * 7
        u.sum().backward(retain_graph=True)
        seen = [x.grad.clone(), y, u, v]
        v.sum().backward(retain_graph=True)
        seen.append(x.grad.clone())
        d = y.detach()
        d.zero_()
        (y + 1).sum().backward()
        return [*seen, x.grad, y, attempt(lambda: z.sum().backward())]

    same_as_torch(scenario)


def test_a_leaf_between_updates(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        w = t.tensor([1.0, -2.0], requires_grad=True)
        total: Any = 0
        for step in range(4):
            total = total + (w + step).sum()
            with t.no_grad():
                w -= 0.1 * step
        total.backward()
        seen = [w.grad.clone(), total]
        for _ in range(3):
            w.grad.zero_()
            (w * w).sum().backward()
            w.data -= 0.1 * w.grad.data
        w.data = t.tensor([7.0, 8.0])
        (w * w).sum().backward()
        return [*seen, w, w.grad, w._version]

    same_as_torch(scenario)


def test_data_and_detach(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor(2.0, requires_grad=True)
        y = x * x
        d = y.detach()
        before = (d * 2).requires_grad
        z = y * 1
        z.detach_()
        w = y[None].data
        w[0] = 9.0
        return [before, z.requires_grad, z.grad_fn, y, d, y._version, d._version, d.is_leaf]

    same_as_torch(scenario)


def test_the_old_index_of_a_scalar() -> None:
    loss = (torch.ones(3) * 2).sum()
    assert loss.data[0] == 6.0
    with pytest.raises(IndexError, match="invalid index of a 0-dim tensor"):
        loss[0]
    with pytest.raises(IndexError, match="invalid index of a 0-dim tensor"):
        loss.detach()[0]


def test_gradients_of_gradients_through_what_was_overwritten(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([0.5, 1.5], requires_grad=True)
        seen = []
        for change in ("sin_", "square_", "log_"):
            y = getattr(x * 1, change)()
            (first,) = t.autograd.grad(y.sum(), x, create_graph=True)
            seen += [first, first.requires_grad, *t.autograd.grad(first.sum(), x)]
        return seen

    same_as_torch(scenario)


def test_a_write_of_no_elements_leaves_the_history(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([[1.0, 2.0]], requires_grad=True)
        y = x.clone()
        empty = y[:, :0]
        empty.sigmoid_()
        empty.data.zero_()
        seen = [y.tolist()]
        return [*seen, *t.autograd.grad(y, x, t.ones_like(y))]

    same_as_torch(scenario)


def test_gather_saves_what_it_reads_of(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = x * 1
        z = t.gather(y, 0, t.tensor([0, 0]))
        y.mul_(2)
        return attempt(lambda: z.sum().backward())

    same_as_torch(scenario)
