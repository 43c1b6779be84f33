"""The models that benchmarks train, written once for both frameworks: `torch` is PyTorch, or lazygrad under its name.

Every function takes the framework as its first argument and uses only what both have, so that the same text runs in both.
`copy_weights` gives two models the same start; `Training` is one model with its optimizer and its data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

MLP_SIZES = (784, 512, 512, 10)
BATCH = 64


@dataclass(frozen=True)
class TransformerSizes:
    """The sizes of a decoder in the manner of GPT; the defaults are those of the benchmark."""

    layers: int = 4
    width: int = 256
    heads: int = 8
    length: int = 256
    batch: int = 4
    vocabulary: int = 1000


def mlp(torch: ModuleType, sizes: tuple[int, ...] = MLP_SIZES) -> Any:
    """Linear layers with relu between them."""
    nn = torch.nn
    layers: list[Any] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def transformer(torch: ModuleType, sizes: TransformerSizes = TransformerSizes()) -> Any:
    """A decoder: embeddings of tokens and positions, blocks that normalise before each part, and a linear layer to the vocabulary."""
    nn = torch.nn
    functional = nn.functional
    width, heads = sizes.width, sizes.heads

    class Attention(nn.Module):
        """Each position attends to those before it."""

        def __init__(self) -> None:
            super().__init__()
            self.inputs = nn.Linear(width, 3 * width)
            self.output = nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            batch, length, _ = x.shape
            parts = self.inputs(x).view(batch, length, 3, heads, width // heads)
            query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            return self.output(mixed.transpose(1, 2).reshape(batch, length, width))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first_norm = nn.LayerNorm(width)
            self.attention = Attention()
            self.second_norm = nn.LayerNorm(width)
            self.feedforward = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.first_norm(x))
            return x + self.feedforward(self.second_norm(x))

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(sizes.vocabulary, width)
            self.positions = nn.Embedding(sizes.length, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(sizes.layers)])
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, sizes.vocabulary)

        def forward(self, tokens: Any) -> Any:
            places = torch.arange(tokens.shape[1])
            x = self.tokens(tokens) + self.positions(places)
            return self.head(self.norm(self.blocks(x)))

    return Decoder()


def mlp_loss(torch: ModuleType, model: Any, images: Any, classes: Any) -> Any:
    """Cross entropy of the classes of a batch of images, (batch, 784)."""
    return torch.nn.functional.cross_entropy(model(images), classes)


def transformer_loss(torch: ModuleType, model: Any, tokens: Any, following: Any) -> Any:
    """Cross entropy of each position's next token; both (batch, length)."""
    logits = model(tokens)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), following.flatten())


def mlp_data(seed: int = 0, batch: int = BATCH) -> tuple[np.ndarray, np.ndarray]:
    """A batch of images and their classes."""
    draw = np.random.default_rng(seed)
    images = draw.normal(size=(batch, MLP_SIZES[0])).astype("float32")
    return images, draw.integers(0, MLP_SIZES[-1], batch)


def transformer_data(
    seed: int = 0,
    sizes: TransformerSizes = TransformerSizes(),
) -> tuple[np.ndarray, np.ndarray]:
    """A batch of tokens and those that follow them."""
    draw = np.random.default_rng(seed)
    text = draw.integers(0, sizes.vocabulary, (sizes.batch, sizes.length + 1))
    return np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:])


def copy_weights(torch: ModuleType, model: Any, source: Any) -> None:
    """Give `model`, of the framework `torch`, the values of a model of the same names in any framework."""
    values = {name: value.detach().numpy() for name, value in source.state_dict().items()}
    model.load_state_dict({name: torch.tensor(value) for name, value in values.items()})


class Training:
    """A model, its optimizer and its loss: `step` is one step on a batch of numpy arrays.

    Args:
        loss: mlp_loss or transformer_loss.
        optimizer: the name of one in torch.optim; `options`: its arguments.
    """

    def __init__(
        self,
        torch: ModuleType,
        model: Any,
        loss: Callable[..., Any],
        optimizer: str,
        **options: Any,
    ) -> None:
        self.torch = torch
        self.model = model
        self.loss = loss
        self.optimizer = getattr(torch.optim, optimizer)(model.parameters(), **options)

    def step(self, *batch: np.ndarray) -> Any:
        """The loss before the step, a tensor."""
        inputs = [self.torch.tensor(each) for each in batch]
        self.optimizer.zero_grad()
        loss = self.loss(self.torch, self.model, *inputs)
        loss.backward()
        self.optimizer.step()
        return loss
