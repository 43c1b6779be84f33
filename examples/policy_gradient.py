"""Policy gradient: a cart learns to balance a pole; the figure is the median over five seeds of how long it does, 200 steps at most.

    python examples/policy_gradient.py [--updates 40] [--seeds 5] [--output pictures]

Writes policy_gradient.png into the output directory: the length of the episodes while learning, for each seed, and one episode at the end.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import lazygrad as torch
from lazygrad import nn, optim

CARTS = 16
"""How many episodes there are between two updates."""
LONGEST = 200
HIDDEN = 32
DISCOUNT = 0.99
RATE = 1e-2
GRAVITY, CART_MASS, POLE_MASS, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
EDGE, TIPPED = 2.4, 12 * np.pi / 180


def push(states: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The carts one step later: position, speed, angle and angular speed of each, (carts, 4).

    The equations of Barto, Sutton and Anderson (1983), without friction, by Euler's method.
    """
    _, speed, angle, turn = states.T
    force = np.where(right, FORCE, -FORCE)
    mass = CART_MASS + POLE_MASS
    pull = (force + POLE_MASS * HALF_LENGTH * turn**2 * np.sin(angle)) / mass
    bend = (GRAVITY * np.sin(angle) - np.cos(angle) * pull) / (
        HALF_LENGTH * (4 / 3 - POLE_MASS * np.cos(angle) ** 2 / mass)
    )
    push = pull - POLE_MASS * HALF_LENGTH * bend * np.cos(angle) / mass
    changes = np.stack((speed, push, turn, bend), axis=1)
    later: np.ndarray = states + SECONDS * changes
    return later


def fallen(states: np.ndarray) -> np.ndarray:
    """Which carts have left the track or let the pole tip over."""
    lost: np.ndarray = (np.abs(states[:, 0]) > EDGE) | (np.abs(states[:, 2]) > TIPPED)
    return lost


def policy() -> nn.Sequential:
    """The state of a cart to the logits of pushing it left and right."""
    return nn.Sequential(nn.Linear(4, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2))


def play(
    model: nn.Sequential, carts: int, draws: np.random.Generator, surest: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Episodes of several carts at once. `surest` takes the likelier action instead of drawing one.

    Returns: states (steps, carts, 4), actions (steps, carts), and which of the carts still balanced (steps, carts).
    """
    states = draws.uniform(-0.05, 0.05, (carts, 4))
    balanced = np.ones(carts, dtype=bool)
    history: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    with torch.no_grad():
        while balanced.any() and len(history) < LONGEST:
            likely = torch.softmax(model(torch.tensor(states, dtype=torch.float32)), dim=-1)
            right = (0.5 if surest else draws.random(carts)) < likely[:, 1].numpy()
            history.append((states, right.astype(np.int64), balanced))
            states = push(states, right)
            balanced = balanced & ~fallen(states)
    seen, actions, alive = (np.stack(each) for each in zip(*history))
    return seen, actions, alive


def advantages(alive: np.ndarray) -> np.ndarray:
    """The discounted reward still to come at each step, standardised over all steps that were balanced."""
    returns = np.zeros(alive.shape)
    later = np.zeros(alive.shape[1])
    for step in reversed(range(len(alive))):
        later = alive[step] * (1 + DISCOUNT * later)
        returns[step] = later
    kept = returns[alive]
    standard: np.ndarray = (kept - kept.mean()) / (kept.std() + 1e-8)
    return standard


def learn(seed: int, updates: int, progress: tqdm) -> tuple[nn.Sequential, list[float], float]:
    """Train a policy. Returns it, the mean length of the episodes before each update, and that of 32 episodes at the end."""
    torch.manual_seed(seed)
    draws = np.random.default_rng(seed)
    model = policy()
    optimizer = optim.Adam(model.parameters(), lr=RATE)
    lengths = []
    for _ in range(updates):
        states, actions, alive = play(model, CARTS, draws)
        lengths.append(float(alive.sum(0).mean()))
        logits = model(torch.tensor(states[alive], dtype=torch.float32))
        weights = torch.tensor(advantages(alive), dtype=torch.float32)
        chosen = torch.log_softmax(logits, dim=-1)[
            torch.arange(len(logits)), torch.tensor(actions[alive])
        ]
        loss = -(weights * chosen).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress.update()
        progress.set_postfix(seed=seed, steps=f"{lengths[-1]:.0f}")
    _, _, alive = play(model, 32, draws, surest=True)
    return model, lengths, float(alive.sum(0).mean())


def draw(path: Path, curves: list[list[float]], states: np.ndarray) -> None:
    """Save the curves of all seeds beside one episode, (steps, 4)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for seed, lengths in enumerate(curves):
        left.plot(lengths, linewidth=0.8, label=f"seed {seed}")
    left.plot(np.median(curves, axis=0), color="black", linewidth=2, label="median")
    left.set(xlabel="update", ylabel="steps", title="How long the pole is balanced")
    left.legend()

    for step in range(0, len(states), 10):
        place, _, angle, _ = states[step]
        tip = place + 2 * HALF_LENGTH * np.sin(angle), 2 * HALF_LENGTH * np.cos(angle)
        color = pyplot.get_cmap("viridis")(step / LONGEST)
        right.plot((place, tip[0]), (0, tip[1]), color=color, linewidth=2)
        right.plot(place, 0, "s", color=color, markersize=8)
    right.axvline(-EDGE, color="firebrick")
    right.axvline(EDGE, color="firebrick")
    right.set(xlim=(-2.6, 2.6), ylim=(-0.3, 1.3), title="An episode, every tenth step")

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> float:
    """Learn with several seeds, draw, and return the median of the lengths at the end."""
    parser = argparse.ArgumentParser(description="Balance a pole by policy gradient.")
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("pictures"))
    options = parser.parse_args(arguments)

    start = time.perf_counter()
    curves, finals = [], []
    with tqdm(total=options.seeds * options.updates, unit="update") as progress:
        for seed in range(options.seeds):
            model, lengths, final = learn(seed, options.updates, progress)
            curves.append(lengths)
            finals.append(final)
    seconds = time.perf_counter() - start

    print(f"{options.seeds} x {options.updates} updates in {seconds:.1f} s")
    print("balanced at the end:", ", ".join(f"{final:.1f}" for final in finals), "steps")
    median = float(np.median(finals))
    print(f"median {median:.1f} of {LONGEST} steps")

    states, _, alive = play(model, 1, np.random.default_rng(0), surest=True)
    picture = options.output / "policy_gradient.png"
    draw(picture, curves, states[alive[:, 0], 0])
    print(f"picture: {picture}")
    return median


if __name__ == "__main__":
    main()
