"""Handwritten digits: a classifier trained with Adam (or SGD) on scikit-learn's real 8x8 images, at least 97 % right on the test set.

    python examples/digits.py [--optimizer sgd] [--epochs 60] [--output pictures]

Writes digits.png into the output directory: the loss curve, and sixteen test digits with what the model says they are.
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
    """Two hidden layers between 64 pixels and 10 classes."""

    def __init__(self, hidden: int = 128) -> None:
        super().__init__()
        self.first = nn.Linear(64, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.first(pixels))
        hidden = F.relu(self.second(hidden))
        logits: torch.Tensor = self.last(hidden)
        return logits


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images, test images, training labels, test labels; a pixel is between 0 and 1."""
    digits = load_digits()
    images = (digits.data / 16).astype(np.float32)
    split = train_test_split(
        images, digits.target, test_size=0.2, random_state=0, stratify=digits.target
    )
    return tuple(split)


def train(
    model: Classifier,
    optimizer: optim.Optimizer,
    images: np.ndarray,
    labels: np.ndarray,
    epochs: int,
) -> list[float]:
    """Train, and return the loss of each step. Batches that are not full are left out."""
    order = np.random.default_rng(0)
    steps = len(images) // BATCH
    losses: list[float] = []
    with tqdm(total=epochs * steps, unit="step") as progress:
        for epoch in range(epochs):
            shuffled = order.permutation(len(images))
            for step in range(steps):
                batch = shuffled[step * BATCH : (step + 1) * BATCH]
                pixels = torch.tensor(images[batch])
                targets = torch.tensor(labels[batch])

                loss = F.cross_entropy(model(pixels), targets, label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

                losses.append(loss.item())
                progress.update()
            progress.set_postfix(epoch=epoch + 1, loss=f"{losses[-1]:.4f}")
    return losses


def predict(model: Classifier, images: np.ndarray) -> np.ndarray:
    """The class that the model finds likeliest for each image."""
    with torch.no_grad():
        guesses: np.ndarray = model(torch.tensor(images)).argmax(dim=1).numpy()
        return guesses


def draw(
    path: Path,
    losses: list[float],
    images: np.ndarray,
    labels: np.ndarray,
    guesses: np.ndarray,
    accuracy: float,
) -> None:
    """Save the loss curve beside sixteen test digits; a wrong prediction is red."""
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

    right.suptitle(f"Test digits and predictions ({accuracy:.1%} right)")
    for axes, image, label, guess in zip(right.subplots(4, 4).flat, images, labels, guesses):
        axes.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(str(guess), color="black" if guess == label else "red", pad=3)
        axes.axis("off")

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> float:
    """Train, say how good it became, draw, and return the test accuracy."""
    parser = argparse.ArgumentParser(description="Train a classifier of handwritten digits.")
    parser.add_argument("--optimizer", choices=("adam", "sgd"), default="adam")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path("pictures"))
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    train_images, test_images, train_labels, test_labels = load()
    model = Classifier()
    print(model)
    optimizer: optim.Optimizer
    if options.optimizer == "adam":
        optimizer = optim.Adam(model.parameters(), lr=2e-3)
    else:
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    start = time.perf_counter()
    losses = train(model, optimizer, train_images, train_labels, options.epochs)
    seconds = time.perf_counter() - start

    guesses = predict(model, test_images)
    accuracy = float((guesses == test_labels).mean())
    print(f"{len(losses)} steps in {seconds:.1f} s, loss {losses[-1]:.4f}")
    print(f"test accuracy {accuracy:.2%} of {len(test_labels)} digits")

    picture = options.output / "digits.png"
    draw(picture, losses, test_images, test_labels, guesses, accuracy)
    print(f"picture: {picture}")
    return accuracy


if __name__ == "__main__":
    main()
