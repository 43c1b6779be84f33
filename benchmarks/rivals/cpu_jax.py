"""The cases of benchmarks/cpu.py as JAX spells them: pure functions under jax.jit.

In: a `Case` and the arrays of weights. Out: functions of a step's number, as in cpu_cases.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import cpu_cases
import jax
import jax.numpy as jnp
from cpu_cases import GPT, SETS, WORDS, Call, Case


def layernorm(x: Any, weight: Any, bias: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5)
    return scaled * weight + bias


def conv2d(x: Any, weight: Any, padding: int = 1) -> Any:
    names = ("NCHW", "OIHW", "NCHW")
    return jax.lax.conv_general_dilated(
        x, weight, (1, 1), [(padding, padding)] * 2, dimension_numbers=names
    )


def maxpool(x: Any) -> Any:
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def attention(q: Any, k: Any, v: Any, causal: bool = False) -> Any:
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -jnp.inf)
    return jax.nn.softmax(scores) @ v


BODIES: dict[str, Callable[..., Any]] = {
    "chain": lambda x, a, b: jnp.tanh(x * a + b) * jax.nn.sigmoid(x) + jnp.exp(-x * x),
    "softmax": jax.nn.softmax, "layernorm": layernorm, "matmul": jnp.matmul, "conv2d": conv2d, "maxpool": maxpool,
    "attention": attention, "plain_attention": attention, "causal": partial(attention, causal=True),
    "var_mean": lambda x: (x.var(-1, ddof=1), x.mean(-1)),
    "sum": jnp.sum,
    "sum_rows": lambda x: x.sum(-1),
    "sum_columns": lambda x: x.sum(0),
    "logsumexp": lambda x: jax.nn.logsumexp(x, -1),
}  # fmt: skip


def function(case: Case) -> Call:
    body = BODIES[case.body]
    sets = [[jnp.asarray(each, case.dtype) for each in case.inputs(k)] for k in range(SETS)]

    def forward(*inputs: Any) -> Any:
        result = body(*inputs)
        return result if isinstance(result, tuple) else (result,)

    def differentiated(*inputs: Any) -> Any:
        *given, cotangent = inputs
        result, back = jax.vjp(body, *given)
        return (result, *back(cotangent)[: case.gradients])

    jitted = jax.jit(differentiated if case.gradients else forward)
    return lambda number: jax.block_until_ready(jitted(*sets[number % SETS]))


# --- models, by the names of a state_dict


def linear(p: Any, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def norm(p: Any, name: str, x: Any) -> Any:
    return layernorm(x, p[f"{name}.weight"], p[f"{name}.bias"])


def cross_entropy(logits: Any, classes: Any) -> Any:
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), classes[..., None], -1)
    return -picked.mean()


def mlp(p: Any, x: Any) -> Any:
    for layer in range(3):
        x = linear(p, str(2 * layer), x if layer == 0 else jax.nn.relu(x))
    return x


def convnet(p: Any, x: Any) -> Any:
    for layer in ("0", "3"):
        bias = p[f"{layer}.bias"][:, None, None]
        x = maxpool(jax.nn.relu(conv2d(x, p[f"{layer}.weight"], 0) + bias))
    return linear(p, "7", x.reshape(x.shape[0], -1))


def heads(p: Any, name: str, x: Any, count: int) -> Any:
    batch, length, _ = x.shape
    parts = linear(p, f"{name}.inputs", x).reshape(batch, length, 3, count, -1)
    return parts.transpose(2, 0, 3, 1, 4)


def joined(p: Any, name: str, mixed: Any) -> Any:
    batch, _, length, _ = mixed.shape
    return linear(p, f"{name}.output", mixed.swapaxes(1, 2).reshape(batch, length, -1))


def feedforward(p: Any, block: str, x: Any) -> Any:
    inner = linear(p, f"{block}.feedforward.0", norm(p, f"{block}.second_norm", x))
    return linear(p, f"{block}.feedforward.2", jax.nn.gelu(inner, approximate=False))


def transformer(sizes: Any, p: Any, tokens: Any) -> Any:
    x = p["tokens.weight"][tokens] + p["positions.weight"][: tokens.shape[1]]
    for layer in range(sizes.layers):
        block = f"blocks.{layer}"
        q, k, v = heads(p, f"{block}.attention", norm(p, f"{block}.first_norm", x), sizes.heads)
        x = x + joined(p, f"{block}.attention", attention(q, k, v, causal=True))
        x = x + feedforward(p, block, x)
    return linear(p, "head", norm(p, "norm", x))


MODELS: dict[str, Callable[..., Any]] = {
    "mlp": mlp,
    "convnet": convnet,
    "transformer": partial(transformer, WORDS),
}


def training(model: str, weights: Any) -> Call:
    """A step of Adam, or of AdamW for the transformer."""
    forward = MODELS[model]
    decay = 1e-2 if model == "transformer" else 0.0

    def loss_of(p: Any, inputs: Any, answers: Any) -> Any:
        return cross_entropy(forward(p, inputs), answers)

    def step(state: Any, inputs: Any, answers: Any) -> Any:
        p, first, second, t = state
        loss, gradient = jax.value_and_grad(loss_of)(p, inputs, answers)
        t = t + 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)

        def update(w: Any, m: Any, v: Any) -> Any:
            spread = jnp.sqrt(v / (1 - 0.999**t)) + 1e-8
            return w * (1 - 1e-3 * decay) - 1e-3 * (m / (1 - 0.9**t)) / spread

        return (jax.tree.map(update, p, first, second), first, second, t), loss

    jitted = jax.jit(step, donate_argnums=0)
    p, first, second = (
        {name: jnp.asarray(array * scale) for name, array in weights.items()} for scale in (1, 0, 0)
    )
    state = [(p, first, second, jnp.float32(0))]
    data = [tuple(map(jnp.asarray, batch)) for batch in cpu_cases.batches(model)]

    def call(number: int) -> Any:
        state[0], loss = jitted(state[0], *data[number % SETS])
        jax.block_until_ready(state[0])
        return (loss,)

    return call


def gpt_forward(weights: Any) -> Call:
    p = {name: jnp.asarray(array) for name, array in weights.items()}
    tokens = [jnp.asarray(inputs[:, :128]) for inputs, _ in cpu_cases.batches("gpt")]
    jitted = jax.jit(partial(transformer, GPT))
    return lambda number: (jax.block_until_ready(jitted(p, tokens[number % SETS])),)


def gpt_token(weights: Any) -> Call:
    """The cache has room for 256 from the start: what jax.jit needs to compile once."""
    p = {name: jnp.asarray(array) for name, array in weights.items()}
    tokens = jnp.asarray(cpu_cases.batches("gpt")[0][0])

    def step(p: Any, cache: Any, token: Any, at: Any) -> Any:
        x = p["tokens.weight"][token] + p["positions.weight"][at]
        kept = []
        for layer, (keys, values) in enumerate(cache):
            block = f"blocks.{layer}"
            q, k, v = heads(p, f"{block}.attention", norm(p, f"{block}.first_norm", x), GPT.heads)
            keys = jax.lax.dynamic_update_slice(keys, k, (0, 0, at, 0))
            values = jax.lax.dynamic_update_slice(values, v, (0, 0, at, 0))
            kept.append((keys, values))
            scores = q @ keys.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
            scores = jnp.where(jnp.arange(256) <= at, scores, -jnp.inf)
            x = x + joined(p, f"{block}.attention", jax.nn.softmax(scores) @ values)
            x = x + feedforward(p, block, x)
        return linear(p, "head", norm(p, "norm", x)), kept

    jitted = jax.jit(step, donate_argnums=1)
    empty = (1, GPT.heads, 256, GPT.width // GPT.heads)
    state: list[Any] = [None]

    def call(number: int) -> Any:
        at = number % 256
        if at == 0:
            state[0] = [(jnp.zeros(empty), jnp.zeros(empty)) for _ in range(GPT.layers)]
        logits, state[0] = jitted(p, state[0], tokens[:, at : at + 1], at)
        return (jax.block_until_ready(logits),)

    return call


def make(case: Case, weights: Callable[[str], Any]) -> Call:
    """The calls of a case."""
    model, _, kind = case.body.partition("_")
    if kind == "step":
        return training(model, weights(model))
    if case.body == "gpt_forward":
        return gpt_forward(weights("gpt"))
    if case.body == "gpt_token":
        return gpt_token(weights("gpt"))
    return function(case)
