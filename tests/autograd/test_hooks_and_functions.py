"""Hooks in PyTorch's order, kept gradients, and Functions with a backward of the user's."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

torch: Any = import_module("lazygrad")
Compare = Callable[[Callable[[Any, Any], Any]], None]


def test_order_of_hooks(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        seen: list[Any] = []

        def note(name: str) -> Callable[..., None]:
            return lambda *grads: seen.append([name, *grads])

        x = t.tensor([1.0, 2.0], requires_grad=True)
        w = t.tensor([3.0, 4.0], requires_grad=True)
        a = x * w
        b = a.sin()
        c = a * 2
        d = (b + c).exp()
        for name, tensor in {"x": x, "w": w, "a": a, "b": b, "c": c, "d": d}.items():
            tensor.register_hook(note(name))
        a.register_hook(note("a again"))
        a.retain_grad()
        c.grad_fn.register_hook(note("post c"))
        c.grad_fn.register_prehook(note("pre c"))
        w.register_post_accumulate_grad_hook(lambda p: seen.append(["stored", p.grad]))
        x.register_post_accumulate_grad_hook(lambda p: seen.append(["stored", p.grad]))
        d.sum().backward()
        return [seen, x.grad, w.grad, a.grad, a.retains_grad, b.retains_grad]

    same_as_torch(scenario)


def test_hooks_change_gradients(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = x * x
        z = y * 3
        handle = y.register_hook(lambda g: g * 10)
        x.register_hook(lambda g: g + 1)
        z.grad_fn.register_hook(lambda ins, outs: (ins[0] * 2, None))
        z.grad_fn.register_prehook(lambda outs: (outs[0] * 5,))
        z.sum().backward(retain_graph=True)
        first = x.grad.clone()
        handle.remove()
        z.sum().backward(retain_graph=True)
        seen = [first, x.grad, t.autograd.grad(z.sum(), [y, x], retain_graph=True)]
        y.register_hook(lambda g: g[:1])
        seen.append(attempt(lambda: z.sum().backward(retain_graph=True)))
        u = x * 2
        u.register_hook(lambda g: "text")
        seen.append(attempt(lambda: u.sum().backward()))
        return seen

    same_as_torch(scenario)


def test_hooks_and_double_backward(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = x * x * x
        y.register_hook(lambda g: g * g * 2)
        (g,) = t.autograd.grad((y * y).sum(), x, create_graph=True)
        (h,) = t.autograd.grad(g.sum(), x)
        return [g, h]

    same_as_torch(scenario)


def test_kept_gradients_follow_in_place_writes(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = x * 2
        y.retain_grad()
        y.mul_(3)
        (y * 5).sum().backward()
        return [y.grad, x.grad]

    same_as_torch(scenario)


def residual(t: Any, x: Any, depth: int) -> Any:
    for _ in range(depth):
        inner = (x * 0.5).sin()
        inner.register_hook(lambda g: g * 1.5)
        x = x + inner
    return x


def test_a_chain_of_regions(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        residual(t, x, 6).sum().backward()
        return x.grad

    same_as_torch(scenario)


def test_regions_compute_what_they_share_once() -> None:
    """Each join of two paths begins a region: the nodes of a residual net with hooks grow with its depth, not its square."""
    from lazygrad.gradient.expand import expand
    from lazygrad.ir.node import postorder
    from lazygrad.ir.template import unfold_all

    sizes = []
    for depth in (20, 40, 80):
        x = torch.tensor([1.0, 2.0], requires_grad=True)
        residual(torch, x, depth).sum().backward()
        assert x.grad is not None
        unfold_all([x.grad.node])
        sizes.append(len(postorder(expand([x.grad.node]))))
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])


def test_function(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        class Scale(t.autograd.Function):  # type: ignore[misc]
            @staticmethod
            def forward(ctx: Any, a: Any, k: float, b: Any) -> Any:
                ctx.save_for_backward(a, b)
                ctx.k = k
                return a * b * k

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                a, b = ctx.saved_tensors
                return g * b * ctx.k + 100, None, g * a * ctx.k

        a = t.tensor([1.0, 2.0], requires_grad=True)
        b = t.tensor([3.0, 4.0])
        y = Scale.apply(a * 2, 5.0, b)
        seen = [
            y, y.grad_fn.name(), y.grad_fn.next_functions, y.grad_fn.needs_input_grad, y.grad_fn.k, y.requires_grad,
        ]  # fmt: skip
        (y * y).sum().backward()
        seen += [
            a.grad,
            attempt(lambda: y.sum().backward()),
            attempt(lambda: y.grad_fn.saved_tensors),
        ]
        z = Scale.apply(a, 5.0, b)
        b.add_(1)
        seen.append(attempt(lambda: z.sum().backward()))
        with t.no_grad():
            seen.append(Scale.apply(a, 5.0, b).requires_grad)
        return [*seen, Scale.apply(b, 2.0, b).grad_fn]

    same_as_torch(scenario)


def test_function_with_several_outputs(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        seen: list[Any] = []

        class Parts(t.autograd.Function):  # type: ignore[misc]
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                mask = x > 0
                ctx.mark_non_differentiable(mask)
                out = x.exp()
                ctx.save_for_backward(out, x)
                return out, mask, x.sum(), "text"

            @staticmethod
            def backward(ctx: Any, g: Any, gm: Any, gs: Any, nothing: Any) -> Any:
                out, x = ctx.saved_tensors
                seen.append([g, gs, nothing, out.requires_grad, x.requires_grad])
                return g * out + gs

        x = t.tensor([1.0, -2.0], requires_grad=True)
        out, mask, total, text = Parts.apply(x)
        seen += [out.requires_grad, mask.requires_grad, total.grad_fn, text]
        out.sum().backward(retain_graph=True)
        (total * 3 + out.sum()).backward()
        return [seen, x.grad]

    same_as_torch(scenario)


def test_function_styles(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        Base = t.autograd.Function

        class Setup(Base):  # type: ignore[misc, valid-type]
            @staticmethod
            def forward(x: Any, k: float) -> Any:
                return x * k, x + k

            @staticmethod
            def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
                ctx.k = inputs[1]
                ctx.set_materialize_grads(False)

            @staticmethod
            def backward(ctx: Any, g: Any, h: Any) -> Any:
                return (g * ctx.k if h is None else h * 1000), None

        class Identity(Base):  # type: ignore[misc, valid-type]
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                return x

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return g * 3

        class Double(Base):  # type: ignore[misc, valid-type]
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.mark_dirty(x)
                x.mul_(2)
                return x

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return g * 2

        class Wrong(Base):  # type: ignore[misc, valid-type]
            @staticmethod
            def forward(ctx: Any, x: Any, how: str) -> Any:
                ctx.how = how
                return x * 1

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return {"count": (g, None, g), "shape": (g[:1].expand(5), None), "text": (g, g)}[
                    ctx.how
                ]

        class Missing(Base):  # type: ignore[misc, valid-type]
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                return x * 1

        x = t.tensor([1.0, 2.0], requires_grad=True)
        first, second = Setup.apply(x, 4.0)
        first.sum().backward()
        second.sum().backward()
        seen = [x.grad.clone()]
        same = Identity.apply(x)
        (same * same).sum().backward()
        seen += [x.grad.clone(), same is x, same.grad_fn]
        y = x * 1
        changed = Double.apply(y)
        (changed * y).sum().backward()
        seen += [changed is y, y.grad_fn, y._version, y, x.grad.clone()]
        seen += [attempt(lambda: Double.apply(x))]
        for how in ("count", "shape", "text"):
            seen.append(attempt(lambda how=how: Wrong.apply(x, how).sum().backward()))
        seen.append(attempt(lambda: Missing.apply(x).sum().backward()))
        return seen

    same_as_torch(scenario)


def test_double_backward_of_functions(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        once = import_module(f"{t.__name__}.autograd.function").once_differentiable

        class Cube(t.autograd.Function):  # type: ignore[misc]
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.save_for_backward(x)
                return x * x * x

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                (x,) = ctx.saved_tensors
                return 3 * x * x * g

        class Once(Cube):
            backward = staticmethod(once(Cube.backward))

        x = t.tensor([1.0, 2.0], requires_grad=True)
        (g,) = t.autograd.grad(Cube.apply(x).sum(), x, create_graph=True)
        (h,) = t.autograd.grad((g * g).sum(), x, create_graph=True)
        (k,) = t.autograd.grad(Once.apply(x).sum(), x, create_graph=True)
        return [g, h, t.autograd.grad(h.sum(), x), k.requires_grad]

    same_as_torch(scenario)
