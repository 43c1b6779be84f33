"""The cases of benchmarks/cpu.py as PyTorch spells them: lazygrad's side and PyTorch's, plain and compiled; and the table of them all.

In: the framework as a module, and its compiler or None. Out: functions of a step's number that do one call, on other inputs at
every call, and return the results. `CASES` says of each what it must reach, and what bytes and operations nobody can save.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import models
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[int], Any]
SETS = 3
"""Inputs that calls take in turns."""


def bfloat16_rate() -> int:
    """How many operations on bfloat16 this processor does in the time of one on float32: AMX, from caches, 8; dot products of vectors 2."""
    information = Path("/proc/cpuinfo")
    words = set(information.read_text().split()) if information.exists() else set()
    return 8 if "amx_bf16" in words else 2 if "avx512_bf16" in words else 1


BFLOAT16_RATE = bfloat16_rate()


@dataclass(frozen=True)
class Case:
    """One row. `body` is its name in BODIES and in jax_cases.py; `bytes` and `flops` are what a call cannot do without.

    `gradients` is how many of the inputs, from the first, get a gradient; the last input is then the cotangent of the result.
    """

    name: str
    goal: float
    body: str
    shapes: tuple[tuple[int, ...], ...]
    bytes: float = 0.0
    flops: float = 0.0
    gradients: int = 0
    dtype: str = "float32"
    ours: str = "lazygrad"
    rivals: tuple[str, ...] = ("torch", "inductor", "jax")
    tolerance: float = 1e-4
    reads: bool = False
    """Whether it only reads: what it writes is next to nothing."""

    def inputs(self, number: int) -> list[Array]:
        """The arrays of a set of inputs."""
        draw = np.random.default_rng(number)
        return [draw.standard_normal(shape, dtype="float32") for shape in self.shapes]


def chain(torch: Any, x: Any, a: Any, b: Any) -> Any:
    return torch.tanh(x * a + b) * torch.sigmoid(x) + torch.exp(-x * x)


def softmax(torch: Any, x: Any) -> Any:
    return torch.softmax(x, -1)


def variance_and_mean(torch: Any, x: Any) -> Any:
    return torch.var_mean(x, -1)


def layernorm(torch: Any, x: Any, weight: Any, bias: Any) -> Any:
    return torch.nn.functional.layer_norm(x, (x.shape[-1],), weight, bias)


def matmul(torch: Any, a: Any, b: Any) -> Any:
    return a @ b


def conv2d(torch: Any, x: Any, weight: Any) -> Any:
    return torch.nn.functional.conv2d(x, weight, padding=1)


def maxpool(torch: Any, x: Any) -> Any:
    return torch.nn.functional.max_pool2d(x, 2)


def attention(torch: Any, q: Any, k: Any, v: Any) -> Any:
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)


def causal(torch: Any, q: Any, k: Any, v: Any) -> Any:
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def plain_attention(torch: Any, q: Any, k: Any, v: Any) -> Any:
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v


BODIES: dict[str, Callable[..., Any]] = {
    "chain": chain, "softmax": softmax, "layernorm": layernorm, "matmul": matmul, "conv2d": conv2d, "maxpool": maxpool,
    "attention": attention, "causal": causal, "plain_attention": plain_attention, "var_mean": variance_and_mean,
    "sum": lambda torch, x: torch.sum(x),
    "sum_rows": lambda torch, x: torch.sum(x, -1),
    "sum_columns": lambda torch, x: torch.sum(x, 0),
    "logsumexp": lambda torch, x: torch.logsumexp(x, -1),
}  # fmt: skip

SQUARE = (4096, 4096)
HEADS = ((4, 8, 1024, 64),) * 3
MLP, CONVNET = (784, 512, 512, 10), (8, 16)
PICTURES = ((32, 64, 56, 56), (64, 64, 3, 3))
WORDS = models.TransformerSizes()
GPT = models.TransformerSizes(12, 768, 12, 256, 1, 50257)
M = 1e6


def product(name: str, goal: float, *shape: int, **other: Any) -> Case:
    """A product of (rows, terms) and (terms, columns), or of batches of them."""
    *batch, rows, terms, columns = shape
    left, right = (*batch, rows, terms), (*batch, terms, columns)
    size = 2 if other.get("dtype") == "bfloat16" else 4
    elements = np.prod(left) + np.prod(right) + np.prod((*batch, rows, columns))
    flops = 2.0 * np.prod([float(n) for n in shape])
    if size == 2:
        flops /= BFLOAT16_RATE
    return Case(name, goal, "matmul", (left, right), float(elements) * size, flops, **other)


def trained(name: str, goal: float, body: str, flops: float) -> list[Case]:
    """A training step compiled whole, and plain beside PyTorch eager."""
    return [
        Case(f"{name} step, lg.compile", goal, body, (), flops=flops, ours="lazygrad.compile", tolerance=2e-3),
        Case(f"{name} step, plain loop", 0.9, body, (), flops=flops, rivals=("torch",), tolerance=2e-3),
    ]  # fmt: skip


CASES: tuple[Case, ...] = (
    Case("chain 16M", 0.4, "chain", ((1 << 24,), (1,), (1,)), 2 * 2**26),
    Case("chain 10k, plain", 0.7, "chain", ((10_000,), (1,), (1,)), 8e4, rivals=("torch",)),
    Case("chain 10k, lg.compile", 1.0, "chain", ((10_000,), (1,), (1,)), 8e4, ours="lazygrad.compile", rivals=("jax",)),
    Case("sum of all 4096x4096", 1.05, "sum", (SQUARE,), 2**26, tolerance=1e-3, reads=True),
    Case("sum of rows", 1.05, "sum_rows", (SQUARE,), 2**26, reads=True),
    Case("sum of columns", 0.9, "sum_columns", (SQUARE,), 2**26, reads=True),
    Case("mean+var of rows", 0.7, "var_mean", (SQUARE,), 2**26, reads=True),
    Case("logsumexp of rows", 0.6, "logsumexp", (SQUARE,), 2**26, reads=True),
    Case("softmax 4096x4096", 0.4, "softmax", (SQUARE,), 2**27),
    Case("softmax forward+backward", 0.4, "softmax", (SQUARE, SQUARE), 4 * 2**26, gradients=1),
    Case("layernorm 8192x1024", 0.5, "layernorm", ((8192, 1024), (1024,), (1024,)), 2**26),
    Case("layernorm forward+backward", 0.5, "layernorm", ((8192, 1024), (1024,), (1024,), (8192, 1024)), 2**27, gradients=3),
    product("matmul 64, lg.compile", 1.0, 64, 64, 64, ours="lazygrad.compile", rivals=("jax",)),
    product("matmul 256", 1.0, 256, 256, 256),
    product("matmul 512", 1.0, 512, 512, 512),
    product("matmul 1024", 1.0, 1024, 1024, 1024),
    product("matmul 2048", 1.0, 2048, 2048, 2048),
    product("gemv 4096", 1.05, 4096, 4096, 1),
    product("batched 32x128x64x128", 1.05, 32, 128, 64, 128),
    product("4096x64 @ 64x4096", 0.5, 4096, 64, 4096),
    product("bfloat16 matmul 1024", 0.9, 1024, 1024, 1024, dtype="bfloat16", tolerance=2e-2),
    product("bfloat16 matmul 2048", 0.9, 2048, 2048, 2048, dtype="bfloat16", tolerance=2e-2),
    Case("conv2d 3x3", 0.9, "conv2d", PICTURES, 51.7e6, 32 * 56 * 56 * 64 * 64 * 9 * 2.0),
    Case("conv2d 3x3 forward+backward", 0.9, "conv2d", (*PICTURES, PICTURES[0]), 1e8, 32 * 56 * 56 * 64 * 64 * 9 * 6.0, gradients=2),
    Case("maxpool 2x2", 0.9, "maxpool", PICTURES[:1], 32 * 64 * 56 * 56 * 5.0),
    Case("attention 4x8x1024x64", 0.9, "attention", HEADS, 4 * 2**23, 4 * 2**31),
    Case("attention, causal", 0.9, "causal", HEADS, 4 * 2**23, 2 * 2**31),
    Case("attention, plain code", 0.9, "plain_attention", HEADS, 4 * 2**23, 4 * 2**31),
    Case("attention forward+backward", 0.9, "attention", (*HEADS, HEADS[0]), 8 * 2**23, 14 * 2**31, gradients=3),
    *trained("MLP", 0.7, "mlp_step", 6.0 * 128 * (784 * 512 + 512 * 512 + 5120)),
    *trained("convnet", 0.7, "convnet_step", 6.0 * 64 * (26 * 26 * 32 * 9 + 11 * 11 * 64 * 288 + 1600 * 10)),
    *trained("transformer", 0.7, "transformer_step", 6.0 * 1024 * (12 * 256 * 256 * 4 + 256 * 1000 + 4 * 2 * 256 * 256)),
    Case("GPT-2 forward, T=128", 0.8, "gpt_forward", (), 496e6, 2.0 * 128 * 124e6, tolerance=2e-3),
    Case("GPT-2 a token, cache to 256", 0.8, "gpt_token", (), 496e6, rivals=("torch", "jax"), tolerance=2e-3),
)  # fmt: skip


# --- models


def convnet(torch: ModuleType) -> Any:
    """Two convolutions with relu and pools, and a linear layer."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 10),
    )  # fmt: skip


MODELS: dict[str, Callable[[ModuleType], Any]] = {
    "mlp": lambda torch: models.mlp(torch, MLP),
    "convnet": convnet,
    "transformer": lambda torch: models.transformer(torch, WORDS),
    "gpt": lambda torch: models.transformer(torch, GPT),
}


def batches(model: str) -> list[tuple[Array, Array]]:
    """Inputs and answers of a model."""
    if model == "mlp":
        return [models.mlp_data(seed, 128) for seed in range(SETS)]
    if model == "convnet":
        draws = [np.random.default_rng(seed) for seed in range(SETS)]
        return [
            (draw.standard_normal((64, 1, 28, 28), dtype="float32"), draw.integers(0, 10, 64))
            for draw in draws
        ]
    sizes = WORDS if model == "transformer" else GPT
    return [models.transformer_data(seed, sizes) for seed in range(SETS)]


def training(torch: ModuleType, compiled: Any, model: str, start: dict[str, Array]) -> Call:
    """A step: the loss before it."""
    network = MODELS[model](torch)
    network.load_state_dict({name: torch.tensor(array) for name, array in start.items()})
    ours = torch.__name__ == "lazygrad"
    called = network if compiled is None or ours else compiled(network)
    loss_of = models.transformer_loss if model == "transformer" else models.mlp_loss
    name = "AdamW" if model == "transformer" else "Adam"
    run = models.Training(torch, called, loss_of, name, lr=1e-3)
    if ours:
        run.optimizer = torch.optim.__dict__[name](network.parameters(), lr=1e-3)
    optimizer = run.optimizer
    data = [tuple(torch.tensor(each) for each in batch) for batch in batches(model)]

    def step(inputs: Any, answers: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(torch, called, inputs, answers)
        loss.backward()
        optimizer.step()
        return loss

    whole = compiled(step) if compiled is not None and ours else step

    def call(number: int) -> Any:
        loss = whole(*data[number % SETS])
        if ours:
            torch.realize(loss, list(network.parameters()))
        return (loss.detach(),)

    return call


def gpt_forward(torch: ModuleType, compiled: Any, start: dict[str, Array]) -> Call:
    """The logits of 128 tokens."""
    network = MODELS["gpt"](torch)
    network.load_state_dict({name: torch.tensor(array) for name, array in start.items()})
    called = network if compiled is None else compiled(network)
    tokens = [torch.tensor(inputs[:, :128]) for inputs, _ in batches("gpt")]

    def call(number: int) -> Any:
        with torch.no_grad():
            return (finished(torch, called(tokens[number % SETS])),)

    return call


class Cached:
    """A GPT that is given one token at a time, and keeps the keys and values of those before."""

    def __init__(self, torch: ModuleType, network: Any) -> None:
        self.torch, self.network = torch, network
        self.keys: list[Any] = []
        self.values: list[Any] = []
        self.length = 0

    def __call__(self, token: Any) -> Any:
        torch, network = self.torch, self.network
        x = network.tokens(token) + network.positions.weight[self.length]
        for number, block in enumerate(network.blocks):
            parts = block.attention.inputs(block.first_norm(x)).view(1, 1, 3, GPT.heads, -1)
            query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
            if self.length:
                key = torch.cat([self.keys[number], key], 2)
                value = torch.cat([self.values[number], value], 2)
                self.keys[number], self.values[number] = key, value
            else:
                self.keys.append(key)
                self.values.append(value)
            mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
            x = x + block.attention.output(mixed.transpose(1, 2).reshape(1, 1, -1))
            x = x + block.feedforward(block.second_norm(x))
        self.length += 1
        return network.head(network.norm(x))


def gpt_token(torch: ModuleType, start: dict[str, Array]) -> Call:
    """The logits of the next token, the cache growing to 256 and then starting anew."""
    network = MODELS["gpt"](torch)
    network.load_state_dict({name: torch.tensor(array) for name, array in start.items()})
    tokens = torch.tensor(batches("gpt")[0][0])
    state = [Cached(torch, network)]

    def call(number: int) -> Any:
        if state[0].length == 256:
            state[0] = Cached(torch, network)
        with torch.no_grad():
            at = state[0].length
            logits = state[0](tokens[:, at : at + 1])
            if hasattr(torch, "realize"):
                torch.realize(logits, state[0].keys, state[0].values)
            return (logits,)

    return call


# --- what the worker asks for


def finished(torch: ModuleType, results: Any) -> Any:
    """The results, computed."""
    if hasattr(torch, "realize"):
        torch.realize(results)
    return results


def function(torch: ModuleType, compiled: Any, case: Case) -> Call:
    """Calls of one of BODIES, with its gradients where the case has some."""
    body = BODIES[case.body]
    dtype = getattr(torch, case.dtype)
    sets = [[torch.tensor(each).to(dtype) for each in case.inputs(k)] for k in range(SETS)]

    def forward(*inputs: Any) -> Any:
        return body(torch, *inputs)

    called = forward if compiled is None else compiled(forward)

    def plain(number: int) -> Any:
        result = finished(torch, called(*sets[number % SETS]))
        return result if isinstance(result, tuple) else (result,)

    def differentiated(number: int) -> Any:
        *inputs, cotangent = sets[number % SETS]
        for each in inputs[: case.gradients]:
            each.requires_grad_().grad = None
        result = called(*inputs)
        result.backward(cotangent)
        gradients = [each.grad for each in inputs[: case.gradients]]
        return finished(torch, (result.detach(), *gradients))

    return differentiated if case.gradients else plain


def make(torch: ModuleType, compiled: Any, case: Case, weights: Callable[[str], Any]) -> Call:
    """The calls of a case."""
    model, _, kind = case.body.partition("_")
    if kind == "step":
        return training(torch, compiled, model, weights(model))
    if case.body == "gpt_forward":
        return gpt_forward(torch, compiled, weights("gpt"))
    if case.body == "gpt_token":
        return gpt_token(torch, weights("gpt"))
    return function(torch, compiled, case)
