"""backward(), grad(), what they record, release and refuse: the same programs under PyTorch and lazygrad."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

torch: Any = import_module("lazygrad")
Compare = Callable[[Callable[[Any, Any], Any]], None]


def test_records(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.ones(3, requires_grad=True)
        y = x * 2 + 1
        z = (y * y).sum()
        product = y.grad_fn.next_functions[0][0]
        leaf = product.next_functions[0][0]
        return [
            repr(z.grad_fn).split(" object")[0],
            z.grad_fn.name(),
            z.grad_fn.next_functions,
            y.grad_fn.next_functions[1],
            leaf.variable is x,
            (x * 3).grad_fn.next_functions[0][0] is leaf,
            y.grad_fn is y.grad_fn,
            product(t.ones(3)),
            y.is_leaf,
            x.is_leaf,
            x.grad_fn,
            (x > 0).requires_grad,
            x.detach().requires_grad,
            str(type(product)),
        ]

    same_as_torch(scenario)


def test_accumulation(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
        (x * x).sum().backward()
        first = x.grad
        seen = [x.grad.clone()]
        (x * 3).sum().backward()
        seen += [x.grad.clone(), first is x.grad, x.grad.requires_grad]
        x.grad = None
        (x * x * x).backward(t.tensor([1.0, 10.0, 100.0]))
        seen.append(x.grad)
        x.grad.zero_()
        x.sum().backward()
        seen.append(x.grad)
        x.backward(t.ones(3))
        seen.append(x.grad)
        return seen

    same_as_torch(scenario)


def test_second_backward(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        z = (x * x).sum()
        z.backward(retain_graph=True)
        z.backward()
        again = attempt(z.backward)
        s = x.sum()
        s.backward()
        s.backward()
        e = x.exp()
        e.sum().backward()
        shared = e * 1.5
        return [again, x.grad, attempt(lambda: shared.sum().backward()), x.grad]

    same_as_torch(scenario)


def test_partial_release(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = x * x
        z = y.sum()
        t.autograd.grad(z, y)
        (g,) = t.autograd.grad(z, y)
        (h,) = t.autograd.grad(z, x)
        return [g, h, attempt(lambda: t.autograd.grad(z, x))]

    same_as_torch(scenario)


def test_errors(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.ones(3, requires_grad=True)
        y = t.ones(3)
        w = t.ones(2, requires_grad=True)
        return [
            attempt((x * 2).backward),
            attempt(lambda: y.sum().backward()),
            attempt(lambda: (x * 2).backward(t.ones(2))),
            attempt(lambda: x.sum().backward(t.ones(2))),
            attempt(lambda: t.autograd.grad(x.sum(), [w])),
            attempt(lambda: t.autograd.grad(x.sum(), [y])),
            attempt(lambda: t.autograd.grad(x.sum(), [w, x], allow_unused=True)),
            attempt(
                lambda: t.autograd.grad(x.sum(), [w, x], allow_unused=True, materialize_grads=True)
            ),
            attempt(lambda: setattr(x, "grad", t.ones(2))),
            attempt(lambda: setattr(x, "grad", 3)),
            attempt(lambda: setattr(x, "grad", x)),
            attempt(lambda: setattr(x * 1, "requires_grad", False)),
            attempt(lambda: t.ones(2, dtype=t.int64).requires_grad_()),
            attempt(x.numpy),
            attempt(lambda: y.register_hook(print)),
            attempt(y.retain_grad),
            attempt((x * 1)[0].detach_),
        ]

    same_as_torch(scenario)


def test_a_gradient_of_one_element_fits_a_scalar() -> None:
    """Wider than PyTorch 2.13, which wants the very shape; its older versions and many scripts do this."""
    x = torch.ones(3, requires_grad=True)
    (x * 2).sum().backward(torch.tensor([3.0]))
    assert x.grad is not None and x.grad.tolist() == [6.0, 6.0, 6.0]


def test_grad_of_intermediates(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = x * 3
        z = y * y
        out = z.sum()
        gz, gy, gx = t.autograd.grad(out, [z, y, x], retain_graph=True)
        same = t.autograd.grad(out, out, retain_graph=True)
        out.backward(inputs=[x, y], retain_graph=True)
        return [gz, gy, gx, same, x.grad, y.grad]

    same_as_torch(scenario)


def test_identity_of_variables(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        a = x * 2
        b = x * 2
        out = (a * b * b).sum()
        ga, gb = t.autograd.grad(out, [a, b], retain_graph=True)
        with t.no_grad():
            c = a * 10
        d = a.detach().requires_grad_()
        e = a.clone()
        f = a.view(2)
        out = (c * a + d * a + e * f).sum()
        return [ga, gb, *t.autograd.grad(out, [a, d, e, f], allow_unused=True), c.requires_grad]

    same_as_torch(scenario)


def test_double_backward(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
        w = t.tensor([0.5, -1.0, 2.0], requires_grad=True)
        y = (w * x * x * x).sum() + x.sin().sum()
        (g,) = t.autograd.grad(y, x, create_graph=True)
        (h,) = t.autograd.grad(g.sum(), x, create_graph=True)
        (third,) = t.autograd.grad(h.sum(), x, create_graph=True)
        penalty = (g * g).sum()
        penalty.backward()
        (linear,) = t.autograd.grad((w.detach() * x).sum(), x, create_graph=True)
        return [g, h, third, x.grad, w.grad, g.requires_grad, linear.requires_grad]

    same_as_torch(scenario)


def test_create_graph_accumulates_out_of_place(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([2.0], requires_grad=True)
        (x**3).sum().backward(create_graph=True)
        first = x.grad
        x.grad.sum().backward()
        return [first, x.grad, x.grad.requires_grad]

    same_as_torch(scenario)


def test_cotangents_that_require_grad(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        v = t.tensor([3.0, 5.0], requires_grad=True)
        (g,) = t.autograd.grad(x * x, x, v, create_graph=True)
        return [*t.autograd.grad(g.sum(), [v, x]), g]

    same_as_torch(scenario)


def test_several_roots(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        a = x * x
        b = a * 3
        t.autograd.backward([a, b.sum()], [t.tensor([1.0, 7.0]), None])
        return [x.grad, attempt(lambda: t.autograd.grad([a.sum(), b.sum()], x))]

    same_as_torch(scenario)


def test_values_read_in_the_middle(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
        y = x * 2
        steps = 0
        while y.data.norm() < 1000:
            y = y * 2
            steps += 1
        read = y.sum().item()
        y.backward(t.tensor([0.1, 1.0, 0.0001]))
        return [steps, read, y, x.grad]

    same_as_torch(scenario)


def test_grad_modes(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.ones(2, requires_grad=True)
        seen = []

        def doubled() -> Any:
            return (x * 2).requires_grad

        def enabled() -> Any:
            with t.enable_grad():
                return doubled()

        def steps() -> Any:
            yield t.is_grad_enabled()
            sent = yield t.is_grad_enabled()
            yield sent, t.is_grad_enabled()

        for inside in t.no_grad()(steps)():
            seen += [inside, t.is_grad_enabled()]
        generator = t.no_grad()(steps)()
        seen += [next(generator), next(generator), generator.send("sent")]
        generator.close()
        seen += [t.no_grad()(doubled)(), t.no_grad(enabled)(), t.set_grad_enabled(False)(doubled)()]
        seen.append(t.is_grad_enabled())
        with t.set_grad_enabled(False):
            seen.append((x * 2).requires_grad)
        t.set_grad_enabled(False)
        seen.append((x * 2).requires_grad)
        t.set_grad_enabled(True)
        with t.inference_mode():
            made = t.ones(2)
            seen += [made.is_inference(), (made * x).requires_grad]
        seen += [
            attempt(lambda: made * x),
            attempt(lambda: made.add_(1)),
            attempt(made.requires_grad_),
            (made + 1).is_inference(),
        ]
        with Swallowing(t.no_grad()):
            raise ValueError
        return [*seen, t.is_grad_enabled()]

    same_as_torch(scenario)


class Swallowing:
    """A context that swallows the error that left the context inside of it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __enter__(self) -> None:
        self.inner.__enter__()

    def __exit__(self, *exception: Any) -> bool:
        self.inner.__exit__(*exception)
        return True


def test_variable(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        data = t.ones(2, 2)
        x = t.autograd.Variable(data, requires_grad=True)
        y = (x * x).sum()
        y.backward()
        x.data.mul_(3)
        return [
            x.grad, x, data, isinstance(x, t.autograd.Variable), isinstance(data, t.autograd.Variable), x._version,
            attempt(lambda: t.autograd.Variable(3)),
        ]  # fmt: skip

    same_as_torch(scenario)


SAVING: dict[str, Callable[[Any, Any], Any]] = {
    "mul": lambda t, x: x * 2,
    "div": lambda t, x: x / 2,
    "add": lambda t, x: x + 2,
    "reflected": lambda t, x: 2 - x,
    "quotient": lambda t, x: 2 / x,
    "pow": lambda t, x: x**2,
    "sum": lambda t, x: x.sum(),
    "mean": lambda t, x: x.mean(),
    "relu": lambda t, x: x.relu(),
    "max": lambda t, x: x.max(0)[0],
    "index": lambda t, x: x[t.tensor([0, 1])],
    "view": lambda t, x: x.view(1, 2).t(),
    "product": lambda t, x: x.view(1, 2) @ t.ones(2, 1),
    "cat": lambda t, x: t.cat([x, x]),
    "where": lambda t, x: t.where(t.tensor([True, False]), x, x),
    "softmax": lambda t, x: x.softmax(0),
    "double": lambda t, x: x.double(),
    "lerp": lambda t, x: t.lerp(x, x.clone(), 0.5),
    "floor": lambda t, x: x.floor(),
    "loss": lambda t, x: t.nn.functional.mse_loss(x, t.ones(2)),
}


@pytest.mark.parametrize("name", SAVING)
def test_what_backward_reads_decides_whether_it_runs_twice(
    same_as_torch: Compare, name: str
) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = SAVING[name](t, x)
        gradient = t.ones(tuple(y.shape), dtype=y.dtype)
        y.backward(gradient)
        return [y.grad_fn, x.grad.clone(), attempt(lambda: y.backward(gradient)), x.grad]

    same_as_torch(scenario)
