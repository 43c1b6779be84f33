"""The same programs as JAX spells them: pure steps under jax.jit, in the same Python loops.

In: nothing but numpy's starting values. Out: programs as in loops.py, and the first steps of the two models.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp
import starts

RATE = 1e-6


class TwoLayer:
    period = 1

    def __init__(self) -> None:
        self.x, self.y, *rest = (jnp.asarray(array) for array in starts.two_layer())
        self.weights = tuple(rest)
        self.loss = 0.0

    @staticmethod
    @jax.jit
    def step(weights: Any, x: Any, y: Any) -> Any:
        def loss_of(weights: Any) -> Any:
            w1, w2 = weights
            return jnp.square(jnp.maximum(x @ w1, 0) @ w2 - y).sum()

        loss, gradients = jax.value_and_grad(loss_of)(weights)
        return jax.tree.map(lambda w, g: w - RATE * g, weights, gradients), loss

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.weights, loss = self.step(self.weights, self.x, self.y)
            self.loss = loss.item()
        jax.block_until_ready(self.weights)

    def values(self) -> list[float]:
        return [self.loss, *[float(jnp.abs(weight).sum()) for weight in self.weights]]


class Polynomial:
    period = 100

    def __init__(self) -> None:
        self.x, self.y, *rest = (jnp.asarray(array) for array in starts.polynomial())
        self.weights = tuple(rest)
        self.loss = 0.0
        self.count = 0

    @staticmethod
    @jax.jit
    def step(weights: Any, x: Any, y: Any) -> Any:
        def loss_of(weights: Any) -> Any:
            a, b, c, d = weights
            return jnp.square(a + b * x + c * x**2 + d * x**3 - y).sum()

        loss, gradients = jax.value_and_grad(loss_of)(weights)
        return jax.tree.map(lambda w, g: w - RATE * g, weights, gradients), loss

    def steps(self, count: int) -> None:
        for t in range(self.count, self.count + count):
            self.weights, loss = self.step(self.weights, self.x, self.y)
            if t % 100 == 99:
                self.loss = loss.item()
        self.count += count
        jax.block_until_ready(self.weights)

    def values(self) -> list[float]:
        return [self.loss, *[weight.item() for weight in self.weights]]


def make(name: str) -> Any:
    """The program of that name."""
    return {"two_layer": TwoLayer, "polynomial": Polynomial}[name]()


# --- models: weights by the names of a state_dict, (outputs, inputs) as there


def linear(p: Any, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def norm(p: Any, name: str, x: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def cross_entropy(logits: Any, classes: Any) -> Any:
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), classes[..., None], -1)
    return -picked.mean()


def mlp_loss(p: Any, images: Any, classes: Any) -> Any:
    x = images
    for layer in range(len(starts.MLP_SIZES) - 1):
        x = linear(p, str(2 * layer), x if layer == 0 else jax.nn.relu(x))
    return cross_entropy(x, classes)


def attention(p: Any, name: str, x: Any) -> Any:
    batch, length, width = x.shape
    parts = linear(p, f"{name}.inputs", x).reshape(batch, length, 3, starts.HEADS, -1)
    query, key, value = parts.transpose(2, 0, 3, 1, 4)
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
    scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
    mixed = (jax.nn.softmax(scores) @ value).swapaxes(1, 2).reshape(batch, length, width)
    return linear(p, f"{name}.output", mixed)


def transformer_loss(p: Any, tokens: Any, following: Any) -> Any:
    x = p["tokens.weight"][tokens] + p["positions.weight"]
    for layer in range(starts.LAYERS):
        block = f"blocks.{layer}"
        x = x + attention(p, f"{block}.attention", norm(p, f"{block}.first_norm", x))
        inner = linear(p, f"{block}.feedforward.0", norm(p, f"{block}.second_norm", x))
        x = x + linear(p, f"{block}.feedforward.2", jax.nn.gelu(inner, approximate=False))
    return cross_entropy(linear(p, "head", norm(p, "norm", x)), following)


def first_steps(model: str) -> Iterator[float]:
    """The losses of step after step of a model under Adam (mlp) or AdamW (transformer), one jitted function."""
    loss_of, decay = (mlp_loss, 0.0) if model == "mlp" else (transformer_loss, starts.WEIGHT_DECAY)

    def step(p: Any, first: Any, second: Any, t: Any, inputs: Any, answers: Any) -> Any:
        loss, gradient = jax.value_and_grad(loss_of)(p, inputs, answers)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)

        def update(w: Any, m: Any, v: Any) -> Any:
            spread = jnp.sqrt(v / (1 - 0.999**t)) + 1e-8
            kept = w * (1 - starts.LEARNING_RATE * decay)
            return kept - starts.LEARNING_RATE * (m / (1 - 0.9**t)) / spread

        return jax.tree.map(update, p, first, second), first, second, loss

    jitted = jax.jit(step, donate_argnums=(0, 1, 2))
    start = starts.weights(model)
    p, first, second = (
        {name: jnp.asarray(array * scale) for name, array in start.items()} for scale in (1, 0, 0)
    )
    inputs, answers = (jnp.asarray(array) for array in starts.data(model))
    for t in count(1):
        p, first, second, loss = jitted(p, first, second, jnp.float32(t), inputs, answers)
        jax.block_until_ready(p)
        yield loss.item()
