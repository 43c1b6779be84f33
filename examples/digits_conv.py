"""Handwritten digits with two convolutions: scikit-learn's real 8x8 images, at least 98.5 % right on the test set.

    python examples/digits_conv.py [--epochs 15] [--output pictures]

Writes digits_conv.png into the output directory: the loss curve, and the sixteen test digits that the model is least sure of.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import lazygrad as torch
from lazygrad import nn, optim
from lazygrad.nn import functional as F

BATCH = 64


class Classifier(nn.Module):
    """Two convolutions, each with batch norm, between the pixels and ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 32, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(32)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.3)
        self.last = nn.Linear(32 * 4 * 4, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.first_norm(self.first(images)))
        hidden = self.pool(F.relu(self.second_norm(self.second(hidden))))
        logits: torch.Tensor = self.last(self.dropout(hidden.flatten(1)))
        return logits


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images, test images, training labels, test labels; a pixel is between 0 and 1."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    split = train_test_split(
        images, digits.target, test_size=0.2, random_state=0, stratify=digits.target
    )
    return tuple(split)


def shifted(images: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Each image moved by up to one pixel in either direction: the same digit, another picture."""
    moved = np.zeros_like(images)
    for image, target in zip(images, moved):
        down, right = draws.integers(-1, 2, size=2)
        source = image[:, max(-down, 0) : 8 - max(down, 0), max(-right, 0) : 8 - max(right, 0)]
        target[:, max(down, 0) : 8 - max(-down, 0), max(right, 0) : 8 - max(-right, 0)] = source
    return moved


def train(model: Classifier, images: np.ndarray, labels: np.ndarray, epochs: int) -> list[float]:
    """Train with AdamW, and return the loss of each step. Batches that are not full are left out."""
    draws = np.random.default_rng(0)
    steps = len(images) // BATCH
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    losses: list[float] = []
    with tqdm(total=epochs * steps, unit="step") as progress:
        for epoch in range(epochs):
            for group in optimizer.param_groups:  # down along half a cosine
                group["lr"] = 3e-3 * (0.51 + 0.49 * np.cos(np.pi * epoch / epochs))
            order = draws.permutation(len(images))
            for step in range(steps):
                batch = order[step * BATCH : (step + 1) * BATCH]
                pixels = torch.tensor(shifted(images[batch], draws))
                targets = torch.tensor(labels[batch])

                loss = F.cross_entropy(model(pixels), targets, label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

                losses.append(loss.item())
                progress.update()
            progress.set_postfix(epoch=epoch + 1, loss=f"{losses[-1]:.4f}")
    return losses


def probabilities(model: Classifier, images: np.ndarray) -> np.ndarray:
    """How likely the model finds each class, for each image."""
    model.eval()
    with torch.no_grad():
        found: np.ndarray = F.softmax(model(torch.tensor(images)), dim=1).numpy()
        return found


def draw(
    path: Path, losses: list[float], images: np.ndarray, labels: np.ndarray, likely: np.ndarray
) -> None:
    """Save the loss curve beside the test digits that the model is least sure of; a wrong prediction is red."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.2, 1))

    curve = left.subplots()
    window = min(20, len(losses))
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    curve.plot(losses, color="lightsteelblue", linewidth=0.8, label="each step")
    curve.plot(range(window - 1, len(losses)), smooth, color="navy", label=f"mean of {window}")
    curve.set(yscale="log", xlabel="step", ylabel="cross entropy", title="Training loss")
    curve.legend()

    guesses = likely.argmax(1)
    accuracy = (guesses == labels).mean()
    right.suptitle(f"The least sure of {len(labels)} test digits ({accuracy:.1%} right)")
    for axes, index in zip(right.subplots(4, 4).flat, np.argsort(likely.max(1))):
        axes.imshow(images[index, 0], cmap="gray_r", vmin=0, vmax=1)
        color = "black" if guesses[index] == labels[index] else "red"
        axes.set_title(f"{guesses[index]} ({likely[index].max():.0%})", color=color, pad=3)
        axes.axis("off")

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> float:
    """Train, say how good it became, draw, and return the test accuracy."""
    parser = argparse.ArgumentParser(description="Train a small convolutional net.")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("pictures"))
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    train_images, test_images, train_labels, test_labels = load()
    model = Classifier()
    print(model)

    start = time.perf_counter()
    losses = train(model, train_images, train_labels, options.epochs)
    seconds = time.perf_counter() - start

    likely = probabilities(model, test_images)
    accuracy = float((likely.argmax(1) == test_labels).mean())
    print(f"{len(losses)} steps in {seconds:.1f} s, loss {losses[-1]:.4f}")
    print(f"test accuracy {accuracy:.2%} of {len(test_labels)} digits")

    picture = options.output / "digits_conv.png"
    draw(picture, losses, test_images, test_labels, likely)
    print(f"picture: {picture}")
    return accuracy


if __name__ == "__main__":
    main()
