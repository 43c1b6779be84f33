"""The data and the first weights of every program that is compared, made by numpy alone, so that all frameworks start alike."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Weights = dict[str, Array]

MLP_SIZES = (784, 512, 512, 10)
MLP_BATCH = 64
LAYERS, WIDTH, HEADS, LENGTH, BATCH, VOCABULARY = 4, 256, 8, 256, 4, 1000
"""Those of models.TransformerSizes."""
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2


def floats(array: Array) -> Array:
    return np.ascontiguousarray(array, dtype="float32")


def two_layer() -> list[Array]:
    """x, y, and the two weights."""
    draw = np.random.default_rng(1)
    shapes = [(64, 1000), (64, 10), (1000, 100), (100, 10)]
    return [floats(draw.standard_normal(shape)) for shape in shapes]


def polynomial() -> list[Array]:
    """x, y, and four coefficients."""
    draw = np.random.default_rng(2)
    x = floats(np.linspace(-np.pi, np.pi, 2000))
    return [x, np.sin(x), *[floats(draw.standard_normal(())) for _ in range(4)]]


def chain(count: int) -> tuple[list[Array], list[Array]]:
    """The three tensors that every call reads, and `count` inputs, one for a call."""
    draw = np.random.default_rng(3)
    fixed = [floats(draw.uniform(0.5, 1.5, 1000)) for _ in range(3)]
    return fixed, [floats(draw.standard_normal(1000)) for _ in range(count)]


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def mlp_shapes() -> dict[str, tuple[int, ...]]:
    """The names and shapes of a state_dict of models.mlp."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(len(MLP_SIZES) - 1):
        shapes.update(linear(str(2 * layer), MLP_SIZES[layer], MLP_SIZES[layer + 1]))
    return shapes


def transformer_shapes() -> dict[str, tuple[int, ...]]:
    """The names and shapes of a state_dict of models.transformer."""
    shapes: dict[str, tuple[int, ...]] = {
        "tokens.weight": (VOCABULARY, WIDTH),
        "positions.weight": (LENGTH, WIDTH),
    }
    for layer in range(LAYERS):
        block = f"blocks.{layer}"
        shapes.update(norm(f"{block}.first_norm"))
        shapes.update(linear(f"{block}.attention.inputs", WIDTH, 3 * WIDTH))
        shapes.update(linear(f"{block}.attention.output", WIDTH, WIDTH))
        shapes.update(norm(f"{block}.second_norm"))
        shapes.update(linear(f"{block}.feedforward.0", WIDTH, 4 * WIDTH))
        shapes.update(linear(f"{block}.feedforward.2", 4 * WIDTH, WIDTH))
    shapes.update(norm("norm"))
    shapes.update(linear("head", WIDTH, VOCABULARY))
    return shapes


def weights(model: str) -> Weights:
    """The first weights of "mlp" or "transformer": norms are 1 and 0, biases 0, the rest small."""
    draw = np.random.default_rng(4)
    made: Weights = {}
    for name, shape in (mlp_shapes() if model == "mlp" else transformer_shapes()).items():
        if len(shape) == 1:
            whole = np.ones if "norm" in name and name.endswith("weight") else np.zeros
            made[name] = floats(whole(shape))
        else:
            made[name] = floats(draw.standard_normal(shape) / np.sqrt(shape[-1]))
    return made


def data(model: str) -> tuple[Array, Array]:
    """A batch and its answers."""
    draw = np.random.default_rng(5)
    if model == "mlp":
        images = floats(draw.standard_normal((MLP_BATCH, MLP_SIZES[0])))
        return images, draw.integers(0, MLP_SIZES[-1], MLP_BATCH)
    text = draw.integers(0, VOCABULARY, (BATCH, LENGTH + 1))
    return np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:])
