"""A variational autoencoder of handwritten digits: scikit-learn's 8x8 images; its figure is the evidence lower bound in nats an image.

    python examples/vae.py [--epochs 40] [--output pictures]

Writes vae.png into the output directory: the bound while training, test digits above what the model makes of them, and digits that it draws.
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
PIXELS = 64
HIDDEN = 256
LATENT = 8
RATE = 2e-3


class Autoencoder(nn.Module):
    """Pixels to a normal distribution of codes, and a code to the logits of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT)
        )
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS)
        )

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean, log_variance = self.encoder(pixels).chunk(2, dim=-1)
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decoder(code), mean, log_variance


def load() -> tuple[np.ndarray, np.ndarray]:
    """Training and test images; a pixel is between 0 and 1."""
    digits = load_digits()
    images = (digits.data / 16).astype(np.float32)
    return tuple(train_test_split(images, test_size=0.2, random_state=0, stratify=digits.target))


def bound(model: Autoencoder, pixels: torch.Tensor) -> torch.Tensor:
    """The evidence lower bound of each image, estimated with one draw of its code: (images,)."""
    logits, mean, log_variance = model(pixels)
    likelihood = -F.binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(-1)
    divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
    found: torch.Tensor = likelihood - divergence
    return found


def train(model: Autoencoder, images: np.ndarray, epochs: int) -> list[float]:
    """Train with Adam, and return the bound of each step."""
    draws = np.random.default_rng(0)
    steps = len(images) // BATCH
    optimizer = optim.Adam(model.parameters(), lr=RATE)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    bounds: list[float] = []
    with tqdm(total=epochs * steps, unit="step") as progress:
        for epoch in range(epochs):
            order = draws.permutation(len(images))
            for step in range(steps):
                batch = order[step * BATCH : (step + 1) * BATCH]
                loss = -bound(model, torch.tensor(images[batch])).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                bounds.append(-loss.item())
                progress.update()
            schedule.step()
            progress.set_postfix(epoch=epoch + 1, bound=f"{bounds[-1]:.2f}")
    return bounds


def evaluate(model: Autoencoder, images: np.ndarray, draws: int = 50) -> float:
    """The mean bound of images, over several draws of each code."""
    pixels = torch.tensor(images)
    with torch.no_grad():
        return float(np.mean([bound(model, pixels).mean().item() for _ in range(draws)]))


def draw(
    path: Path,
    bounds: list[float],
    images: np.ndarray,
    reconstructed: np.ndarray,
    sampled: np.ndarray,
) -> None:
    """Save the bound's curve, pairs of images and reconstructions, and samples."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(13, 4.5), layout="constrained")
    left, middle, right = figure.subfigures(1, 3)
    curve = left.subplots()
    curve.plot(bounds, color="navy", linewidth=0.6)
    curve.set(xlabel="step", ylabel="nats an image", title="Evidence lower bound", ylim=(-45, None))

    middle.suptitle("Test digits, each above what comes back")
    pairs = np.stack((images[:32].reshape(4, 8, PIXELS), reconstructed[:32].reshape(4, 8, PIXELS)))
    right.suptitle("Digits drawn from the prior")
    for part, pictures in ((middle, pairs.swapaxes(0, 1)), (right, sampled[:64])):
        for axes, pixels in zip(part.subplots(8, 8).flat, pictures.reshape(64, 8, 8)):
            axes.imshow(pixels, cmap="gray_r", vmin=0, vmax=1)
            axes.axis("off")

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> float:
    """Train, draw digits, and return the bound on the test set."""
    parser = argparse.ArgumentParser(description="Train a variational autoencoder of digits.")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("pictures"))
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    train_images, test_images = load()
    model = Autoencoder()
    print(model)

    start = time.perf_counter()
    bounds = train(model, train_images, options.epochs)
    seconds = time.perf_counter() - start

    final = evaluate(model, test_images)
    print(f"{len(bounds)} steps in {seconds:.1f} s, bound {bounds[-1]:.2f}")
    print(f"test bound {final:.3f} nats an image of {len(test_images)} digits")

    with torch.no_grad():
        mean, _ = model.encoder(torch.tensor(test_images[:32])).chunk(2, dim=-1)
        reconstructed = torch.sigmoid(model.decoder(mean)).numpy()
        sampled = torch.sigmoid(model.decoder(torch.randn(64, LATENT))).numpy()
    picture = options.output / "vae.png"
    draw(picture, bounds, test_images, reconstructed, sampled)
    print(f"picture: {picture}")
    return final


if __name__ == "__main__":
    main()
