"""A small GPT that reads and writes characters, trained on the topics of Python's own help; its figure is bits a character.

    python examples/char_gpt.py [--steps 250] [--length 96] [--output pictures]

Writes char_gpt.png into the output directory: the loss curve, and how sure the model is of each character of unseen text.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from pydoc_data import topics

import numpy as np
from tqdm import tqdm

import lazygrad as torch
from lazygrad import nn, optim
from lazygrad.nn import functional as F
from lazygrad.nn.utils import clip_grad_norm_

BATCH = 16
CONTEXT = 128
PROMPT = 8
"""Characters of the text that the model goes on from; together with what it writes, no more than the context."""
WIDTH = 128
HEADS = 4
LAYERS = 2
RATE = 3e-3

Cache = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of the characters so far, each (batch, heads, characters, width of a head)."""


class Attention(nn.Module):
    """Each character attends to itself and to those before it, which may come from a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs = nn.Linear(WIDTH, 3 * WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, past: Cache | None) -> tuple[torch.Tensor, Cache]:
        batch, length, _ = x.shape
        parts = self.inputs(x).view(batch, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        if past is not None:
            key = torch.cat((past[0], key), dim=2)
            value = torch.cat((past[1], value), dim=2)
        # a single character after a cache may look at everything
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=past is None)
        joined = mixed.transpose(1, 2).reshape(batch, length, WIDTH)
        return self.output(joined), (key, value)


class Block(nn.Module):
    """Attention and two linear layers, each with layer norm before it and added to what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.norm = nn.LayerNorm(WIDTH)
        self.hidden = nn.Linear(WIDTH, 4 * WIDTH)
        self.output = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, past: Cache | None) -> tuple[torch.Tensor, Cache]:
        attended, cache = self.attention(self.attention_norm(x), past)
        x = x + attended
        return x + self.output(F.gelu(self.hidden(self.norm(x)))), cache


class CharacterGPT(nn.Module):
    """Codes of characters, (batch, length), to logits of the character after each, (batch, length, characters)."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(characters, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.output = nn.Linear(WIDTH, characters)
        for embedding in (self.characters, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(
        self, codes: torch.Tensor, past: list[Cache] | None = None
    ) -> tuple[torch.Tensor, list[Cache]]:
        before = 0 if past is None else past[0][0].shape[2]
        places = torch.arange(before, before + codes.shape[1])
        x = self.characters(codes) + self.positions(places)
        caches = []
        for index, block in enumerate(self.blocks):
            x, cache = block(x, None if past is None else past[index])
            caches.append(cache)
        return self.output(self.norm(x)), caches


def load() -> tuple[str, np.ndarray, np.ndarray]:
    """The characters in use, and the text as places in them: nine parts of ten to train on, the last to test."""
    text = "\n".join(topics.topics[name] for name in sorted(topics.topics))
    alphabet = "".join(sorted(set(text)))
    codes = np.searchsorted(np.array(list(alphabet)), np.array(list(text)))
    cut = len(codes) * 9 // 10
    return alphabet, codes[:cut], codes[cut:]


def windows(codes: np.ndarray, starts: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Stretches of text from `starts` on, and the same one character later."""
    places = starts[:, None] + np.arange(CONTEXT)
    return torch.tensor(codes[places]), torch.tensor(codes[places + 1])


def train(model: CharacterGPT, codes: np.ndarray, steps: int) -> list[float]:
    """Train with AdamW, and return the loss of each step in bits a character."""
    draws = np.random.default_rng(0)
    optimizer = optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 20, 0.55 + 0.45 * math.cos(math.pi * step / steps))
    )
    losses: list[float] = []
    with tqdm(total=steps, unit="step") as progress:
        for _ in range(steps):
            inputs, targets = windows(codes, draws.integers(0, len(codes) - CONTEXT, BATCH))
            logits, _ = model(inputs)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()

            losses.append(loss.item() / math.log(2))
            progress.update()
            progress.set_postfix(bits=f"{losses[-1]:.3f}")
    return losses


def evaluate(model: CharacterGPT, codes: np.ndarray) -> np.ndarray:
    """The bits that each character of `codes` costs, in stretches of the context's length."""
    starts = np.arange(0, len(codes) - CONTEXT, CONTEXT)
    bits = []
    with torch.no_grad():
        for first in range(0, len(starts) - BATCH + 1, BATCH):
            inputs, targets = windows(codes, starts[first : first + BATCH])
            logits, _ = model(inputs)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            bits.append(loss.numpy() / math.log(2))
    return np.concatenate(bits)


def generate(model: CharacterGPT, prompt: np.ndarray, length: int) -> list[int]:
    """Codes of characters that the model writes after `prompt`: it reads each once, and remembers keys and values."""
    written: list[int] = []
    with torch.no_grad():
        logits, cache = model(torch.tensor(prompt[None]))
        for _ in range(length):
            likely = F.softmax(logits[:, -1] / 0.7, dim=-1)
            chosen = torch.multinomial(likely, 1)
            written.append(int(chosen.item()))
            logits, cache = model(chosen, cache)
    return written


def draw(path: Path, losses: list[float], bits: np.ndarray, text: str) -> None:
    """Save the loss curve beside unseen text whose characters are the redder, the more bits they cost."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (curve, page) = pyplot.subplots(1, 2, figsize=(13, 5), layout="constrained")
    curve.plot(losses, color="navy", linewidth=0.8)
    curve.axhline(bits.mean(), color="firebrick", linestyle="--", label="unseen text at the end")
    curve.set(xlabel="step", ylabel="bits a character", title="Training loss")
    curve.legend()

    page.set(xlim=(0, 64), ylim=(16, 0), title="Unseen text: the redder, the less expected")
    page.axis("off")
    shades = pyplot.get_cmap("Reds")
    for place, (character, cost) in enumerate(zip(text[: 16 * 64], bits)):
        row, column = divmod(place, 64)
        page.add_patch(pyplot.Rectangle((column, row), 1, 1, color=shades(min(cost / 10, 0.8))))
        shown = character if character.isprintable() else " "
        page.text(column + 0.5, row + 0.75, shown, family="monospace", size=7, ha="center")

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> float:
    """Train, write some text, draw, and return the bits a character of unseen text."""
    parser = argparse.ArgumentParser(description="Train a character-level GPT.")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--length", type=int, default=96, help="characters to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("pictures"))
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    alphabet, train_codes, test_codes = load()
    model = CharacterGPT(len(alphabet))
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(train_codes)} characters to train on, {len(alphabet)} kinds; {count} parameters")

    start = time.perf_counter()
    losses = train(model, train_codes, options.steps)
    seconds = time.perf_counter() - start

    bits = evaluate(model, test_codes)
    print(f"{len(losses)} steps in {seconds:.1f} s, {losses[-1]:.3f} bits a character")
    print(f"unseen text: {bits.mean():.3f} bits a character of {len(bits)}")

    prompt = train_codes[:PROMPT]
    start = time.perf_counter()
    written = generate(model, prompt, options.length)
    seconds = time.perf_counter() - start
    print(f"{len(written)} characters written in {seconds:.1f} s:")
    print("".join(alphabet[code] for code in [*prompt, *written]))

    picture = options.output / "char_gpt.png"
    draw(picture, losses, bits, "".join(alphabet[code] for code in test_codes[1:]))
    print(f"picture: {picture}")
    return float(bits.mean())


if __name__ == "__main__":
    main()
