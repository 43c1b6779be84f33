"""The loops that are timed, as PyTorch spells them: lazygrad's side and PyTorch's, plain and compiled.

In: the framework (lazygrad, or torch) as a module, and a function that compiles a function, or None. Out: `Program`s: objects
whose `steps(count)` does that many steps of the loop and leaves nothing waiting, and `values()` for comparing the sides. lazygrad
compiles a whole step; PyTorch's compiler is given the loss, as it is used, and backward() and the update stay outside.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import starts

Compile = Callable[[Callable[..., Any]], Callable[..., Any]] | None


def two_layer_loss(x: Any, y: Any, w1: Any, w2: Any) -> Any:
    return (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()


def two_layer_step(torch: ModuleType, loss_of: Callable[..., Any]) -> Callable[..., Any]:
    """A step as one function: the loss before it."""

    def step(x: Any, y: Any, w1: Any, w2: Any) -> Any:
        loss = loss_of(x, y, w1, w2)
        loss.backward()
        with torch.no_grad():
            w1 -= 1e-6 * w1.grad
            w2 -= 1e-6 * w2.grad
        w1.grad = None
        w2.grad = None
        return loss

    return step


def polynomial_loss(x: Any, y: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    return (a + b * x + c * x**2 + d * x**3 - y).pow(2).sum()


def polynomial_step(torch: ModuleType, loss_of: Callable[..., Any]) -> Callable[..., Any]:
    """A step as one function: the loss before it."""

    def step(x: Any, y: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        loss = loss_of(x, y, a, b, c, d)
        loss.backward()
        with torch.no_grad():
            a -= 1e-6 * a.grad
            b -= 1e-6 * b.grad
            c -= 1e-6 * c.grad
            d -= 1e-6 * d.grad
            a.grad = None
            b.grad = None
            c.grad = None
            d.grad = None
        return loss

    return step


def chain_of(torch: ModuleType, tens: int, a: Any, b: Any, c: Any) -> Callable[..., Any]:
    """Ten operations, `tens` times."""

    def chain(y: Any, shift: float, scale: float) -> Any:
        for _ in range(tens):
            y = y * a
            y = y + shift
            y = torch.sin(y)
            y = y - b
            y = torch.tanh(y)
            y = y * scale
            y = torch.exp(y)
            y = y - c
            y = y * 0.5
            y = y + a
        return y

    return chain


def whole_step(
    torch: ModuleType, compiled: Compile, step: Callable[..., Any], loss: Callable[..., Any]
) -> Callable[..., Any] | None:
    """A step that is compiled, in whole by lazygrad, its loss by PyTorch; None where nothing compiles."""
    if compiled is None:
        return None
    if torch.__name__ == "lazygrad":
        whole: Callable[..., Any] = compiled(step(torch, loss))
        return whole
    return step(torch, compiled(loss))  # type: ignore[no-any-return]


class Program:
    """A loop and its state."""

    period = 1
    """After how many steps what is launched comes round."""

    def __init__(self, torch: ModuleType) -> None:
        self.torch = torch
        self.step = 0

    def steps(self, count: int) -> None:
        raise NotImplementedError

    def values(self) -> list[float]:
        """The state in a few numbers."""
        raise NotImplementedError

    def finish(self, *tensors: Any) -> None:
        """Wait until the tensors are there; PyTorch has computed them already."""
        if hasattr(self.torch, "realize"):
            self.torch.realize(*tensors)


class TwoLayer(Program):
    """examples/autograd_two_layer_net.py: the loss is read at every step."""

    def __init__(self, torch: ModuleType, compiled: Compile) -> None:
        super().__init__(torch)
        self.whole = whole_step(torch, compiled, two_layer_step, two_layer_loss)
        x, y, w1, w2 = (torch.tensor(array) for array in starts.two_layer())
        self.x, self.y, self.w1, self.w2 = x, y, w1.requires_grad_(), w2.requires_grad_()
        self.loss = 0.0

    def steps(self, count: int) -> None:
        x, y, w1, w2 = self.x, self.y, self.w1, self.w2
        learning_rate = 1e-6
        if self.whole is not None:
            for _ in range(count):
                self.loss = self.whole(x, y, w1, w2).item()
        else:
            for _ in range(count):
                y_pred = x.mm(w1).clamp(min=0).mm(w2)
                loss = (y_pred - y).pow(2).sum()
                self.loss = loss.data.item()
                loss.backward()
                w1.data -= learning_rate * w1.grad.data
                w2.data -= learning_rate * w2.grad.data
                w1.grad.data.zero_()
                w2.grad.data.zero_()
        self.finish(w1, w2)

    def values(self) -> list[float]:
        return [self.loss, self.w1.abs().sum().item(), self.w2.abs().sum().item()]


class Polynomial(Program):
    """examples/polynomial.py: the loss is read every hundredth step."""

    period = 100

    def __init__(self, torch: ModuleType, compiled: Compile) -> None:
        super().__init__(torch)
        self.whole = whole_step(torch, compiled, polynomial_step, polynomial_loss)
        self.x, self.y, *rest = (torch.tensor(array) for array in starts.polynomial())
        self.weights = [weight.requires_grad_() for weight in rest]
        self.loss = 0.0

    def steps(self, count: int) -> None:
        torch = self.torch
        x, y = self.x, self.y
        a, b, c, d = self.weights
        learning_rate = 1e-6
        for t in range(self.step, self.step + count):
            if self.whole is not None:
                loss = self.whole(x, y, a, b, c, d)
                if t % 100 == 99:
                    self.loss = loss.item()
                continue
            y_pred = a + b * x + c * x**2 + d * x**3
            loss = (y_pred - y).pow(2).sum()
            if t % 100 == 99:
                self.loss = loss.item()
            loss.backward()
            with torch.no_grad():
                a -= learning_rate * a.grad
                b -= learning_rate * b.grad
                c -= learning_rate * c.grad
                d -= learning_rate * d.grad
                a.grad = None
                b.grad = None
                c.grad = None
                d.grad = None
        self.step += count
        self.finish(*self.weights)

    def values(self) -> list[float]:
        return [self.loss, *[weight.item() for weight in self.weights]]


class Chain(Program):
    """A chain of `length` operations on 1,000 elements, with other values and other numbers at every call."""

    def __init__(self, torch: ModuleType, compiled: Compile, length: int) -> None:
        super().__init__(torch)
        fixed, inputs = starts.chain(16)
        self.fixed = [torch.tensor(array) for array in fixed]
        self.inputs = [torch.tensor(array) for array in inputs]
        self.last = self.inputs[0]
        chain = chain_of(torch, length // 10, *self.fixed)
        self.chain = chain if compiled is None else compiled(chain)

    def steps(self, count: int) -> None:
        inputs, chain = self.inputs, self.chain
        for t in range(self.step, self.step + count):
            self.last = chain(inputs[t % 16], 0.25 + 1e-4 * (t % 97), 0.9 - 1e-4 * (t % 89))
            self.finish(self.last)
        self.step += count

    def values(self) -> list[float]:
        return [self.last.sum().item(), self.last.abs().max().item(), self.last[7].item()]


def make(name: str, torch: ModuleType, compiled: Compile = None) -> Program:
    """The program of that name: two_layer, polynomial, chain_10, chain_100, ..."""
    if name.startswith("chain_"):
        return Chain(torch, compiled, int(name.removeprefix("chain_")))
    return {"two_layer": TwoLayer, "polynomial": Polynomial}[name](torch, compiled)
