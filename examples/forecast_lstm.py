"""An LSTM that forecasts a chaotic series: the Mackey-Glass equation, measured with noise, twenty steps ahead.

    python examples/forecast_lstm.py [--steps 400] [--output pictures]

The figure is the root mean square error beside that of the naive forecast, that nothing changes. Writes forecast_lstm.png into the
output directory: the loss curve, and the forecasts of a stretch that the model has not seen.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import lazygrad as torch
from lazygrad import nn, optim
from lazygrad.nn.utils import clip_grad_norm_

BATCH = 64
WINDOW = 50
AHEAD = 20
HIDDEN = 32
RATE = 1e-2
NOISE = 0.1


class Forecaster(nn.Module):
    """Values (batch, steps) to the value `AHEAD` steps after the last one, (batch,)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, HIDDEN, batch_first=True)
        self.output = nn.Linear(HIDDEN, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(values.unsqueeze(-1))
        change: torch.Tensor = self.output(states[:, -1]).squeeze(-1)
        return values[:, -1] + change


def mackey_glass(length: int, delay: int = 17, substeps: int = 10) -> np.ndarray:
    """x' = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x, by Euler's method with ten steps to a unit of time."""
    values = np.full(delay * substeps + 1, 1.2).tolist()
    for now in range(delay * substeps, (length + 500) * substeps):
        before = values[now - delay * substeps]
        values.append(
            values[now] + (0.2 * before / (1 + before**10) - 0.1 * values[now]) / substeps
        )
    return np.array(values[500 * substeps :: substeps][:length])


def load(length: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """The measured series, standardised, as windows of inputs and the values to forecast."""
    series = mackey_glass(length)
    series = (series - series.mean()) / series.std()
    series += NOISE * np.random.default_rng(0).normal(size=length)
    starts = np.arange(length - WINDOW - AHEAD + 1)
    inputs = series[starts[:, None] + np.arange(WINDOW)].astype(np.float32)
    targets = series[starts + WINDOW + AHEAD - 1].astype(np.float32)
    return inputs, targets


def begin(model: Forecaster, seed: int) -> None:
    """Draw the first weights as the layers themselves do, but by numpy: a seed is then the same start under any framework."""
    draws = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            values = draws.uniform(-1, 1, tuple(parameter.shape)) / HIDDEN**0.5
            parameter.copy_(torch.tensor(values, dtype=torch.float32))


def train(model: Forecaster, inputs: np.ndarray, targets: np.ndarray, steps: int) -> list[float]:
    """Train with Adam on the squared error, and return the loss of each step."""
    draws = np.random.default_rng(0)
    optimizer = optim.Adam(model.parameters(), lr=RATE)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses: list[float] = []
    with tqdm(total=steps, unit="step") as progress:
        for _ in range(steps):
            batch = draws.integers(0, len(inputs), BATCH)
            forecast = model(torch.tensor(inputs[batch]))
            loss = nn.functional.mse_loss(forecast, torch.tensor(targets[batch]))
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()

            losses.append(loss.item())
            progress.update()
            progress.set_postfix(loss=f"{losses[-1]:.4f}")
    return losses


def forecast(model: Forecaster, inputs: np.ndarray) -> np.ndarray:
    """What the model says of each window."""
    with torch.no_grad():
        values: np.ndarray = model(torch.tensor(inputs)).numpy()
        return values


def error(forecasts: np.ndarray, targets: np.ndarray) -> float:
    """The root of the mean squared error."""
    return float(np.sqrt(np.mean((forecasts - targets) ** 2)))


def draw(
    path: Path, losses: list[float], naive: np.ndarray, forecasts: np.ndarray, targets: np.ndarray
) -> None:
    """Save the loss curve beside the first forecasts of the unseen stretch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (curve, series) = pyplot.subplots(
        1, 2, figsize=(13, 4.5), width_ratios=(1, 2), layout="constrained"
    )
    curve.plot(losses, color="navy", linewidth=0.8)
    curve.set(yscale="log", xlabel="step", ylabel="squared error", title="Training loss")

    shown = slice(0, 250)
    series.plot(targets[shown], color="black", linewidth=1.2, label="measured")
    series.plot(forecasts[shown], color="firebrick", linewidth=1.2, label="LSTM")
    series.plot(naive[shown], color="lightsteelblue", linewidth=1, label="nothing changes")
    series.set(xlabel="time", title=f"Unseen: forecasts {AHEAD} steps ahead")
    series.legend(loc="lower right", ncols=3)

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> float:
    """Train, forecast, draw, and return the error on unseen values."""
    parser = argparse.ArgumentParser(description="Train an LSTM to forecast a chaotic series.")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("pictures"))
    options = parser.parse_args(arguments)

    inputs, targets = load()
    cut = len(inputs) * 3 // 4
    test = slice(cut + WINDOW + AHEAD, None)  # no value of it was trained on
    model = Forecaster()
    begin(model, options.seed)
    print(model)

    start = time.perf_counter()
    losses = train(model, inputs[:cut], targets[:cut], options.steps)
    seconds = time.perf_counter() - start

    forecasts = forecast(model, inputs[test])
    naive = inputs[test][:, -1]
    ours, theirs = error(forecasts, targets[test]), error(naive, targets[test])
    print(f"{len(losses)} steps in {seconds:.1f} s, loss {losses[-1]:.4f}")
    print(
        f"error {ours:.4f} of {len(forecasts)} forecasts, naive {theirs:.4f}: {ours / theirs:.1%}"
    )

    picture = options.output / "forecast_lstm.png"
    draw(picture, losses, naive, forecasts, targets[test])
    print(f"picture: {picture}")
    return ours


if __name__ == "__main__":
    main()
