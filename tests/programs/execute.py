"""Running a random program: with lazygrad on a device, with PyTorch, and in numpy; and what they have to agree in.

In: a `Program`. Out: `Observation`s, and AssertionErrors that end in a script of the program.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import lazygrad
from lazygrad import config

from . import reference
from .generator import Array, Program, write

try:
    import torch
except ImportError:
    torch = None

STEP = 1e-5
"""Of finite differences."""


@dataclass
class Observation:
    """What a program gave: values, first and second gradients, or the error that its gradients raised."""

    values: dict[str, Array] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    gradients: dict[str, Array | None] = field(default_factory=dict)
    seconds: dict[str, Array | None] = field(default_factory=dict)
    error: str = ""


def cotangent(array: Array) -> Array:
    """Another weight for every element, so that gradients that are moved to a wrong place are seen."""
    weights: Array = np.cos(np.arange(array.size) + 1.0).reshape(array.shape)
    return weights


def _array(tensor: Any) -> Array:
    shape = tuple(tensor.shape)
    return np.array(tensor.detach().clone().tolist(), dtype=np.float64).reshape(shape)


def run(program: Program, module: Any, shapes: dict[str, Array]) -> Observation:
    """Run the program with a library that has PyTorch's names; `shapes` are its values in numpy."""
    environment: dict[str, Any] = {"torch": module, "F": module.nn.functional, "np": np, "nan": np.nan, "inf": np.inf}  # fmt: skip
    for leaf in program.leaves:
        tensor = module.tensor(leaf.array)
        environment[leaf.name] = tensor.requires_grad_() if leaf.requires_grad else tensor
    exec(compile(program.torch, "<program>", "exec"), environment)
    seen = Observation()
    leaves = [leaf for leaf in program.leaves if leaf.requires_grad]
    tracked = [environment[n] for n in program.tracked if environment[n].requires_grad]
    if module is lazygrad and program.together:
        lazygrad.realize(*[environment[name] for name in program.outputs])
    for name in program.outputs:
        tensor = environment[name]
        seen.values[name] = _array(tensor)
        seen.dtypes[name] = str(tensor.dtype).split(".")[-1]
    if tracked and leaves:
        targets = [environment[leaf.name] for leaf in leaves]
        names = [n for n in program.tracked if environment[n].requires_grad]
        weights = [module.tensor(cotangent(shapes[n])).to(environment[n].dtype) for n in names]
        try:
            _differentiate(program, module, seen, tracked, weights, leaves, targets)
        except RuntimeError as error:
            seen.error = str(error).split("\n")[0][:60]
    return seen


def _differentiate(
    program: Program,
    module: Any,
    seen: Observation,
    tracked: Any,
    weights: Any,
    leaves: Any,
    targets: Any,
) -> None:
    names = [leaf.name for leaf in leaves]
    if program.backward and not program.second:
        module.autograd.backward(tracked, weights)
        found = [target.grad for target in targets]
    else:
        found = module.autograd.grad(tracked, targets, weights, create_graph=program.second, allow_unused=True)  # fmt: skip
    kept = [(n, g) for n, g in zip(names, found, strict=True)]
    if program.second:
        again = [g for g in found if g is not None and g.requires_grad]
        if again:
            ones = [module.tensor(cotangent(np.empty(tuple(g.shape)))).to(g.dtype) for g in again]
            seconds = module.autograd.grad(again, targets, ones, allow_unused=True)
            for name, each in zip(names, seconds, strict=True):
                seen.seconds[name] = None if each is None else _array(each)
    for name, each in kept:
        seen.gradients[name] = None if each is None else _array(each)


def run_numpy(program: Program, leaves: dict[str, Array]) -> dict[str, Array]:
    """The variables of the program in numpy."""
    environment: dict[str, Any] = {"np": np, "ref": reference}
    environment.update({name: array.copy() for name, array in leaves.items()})
    with np.errstate(all="ignore"):
        exec(compile(program.numpy, "<program>", "exec"), environment)
    return {name: environment[name] for name in (*program.tolerance,)}


def differences(program: Program, sample: int = 2) -> dict[str, dict[int, float]]:
    """Derivatives of the weighted sum of the outputs by some elements of each leaf, where it is smooth."""
    start = {leaf.name: leaf.array for leaf in program.leaves}

    def loss(name: str, position: int, change: float) -> float:
        leaves = {k: v.copy() for k, v in start.items()}
        leaves[name].reshape(-1)[position] += change
        values = run_numpy(program, leaves)
        return float(sum((values[n] * cotangent(values[n])).sum() for n in program.tracked))

    found: dict[str, dict[int, float]] = {}
    for leaf in program.leaves:
        if not leaf.requires_grad:
            continue
        found[leaf.name] = {}
        for position in range(leaf.array.size)[:: max(1, leaf.array.size // sample)][:sample]:
            try:
                below, here, above = (loss(leaf.name, position, d * STEP) for d in (-1, 0, 1))
                wide = loss(leaf.name, position, 2 * STEP) - loss(leaf.name, position, -2 * STEP)
            except (ValueError, IndexError):
                continue  # the shape of something depends on this value
            slope = (above - below) / (2 * STEP)
            scale = 1 + abs(slope)
            kink = abs((above - here) - (here - below)) / STEP > 1e-2 * scale
            if not kink and abs(wide / (4 * STEP) - slope) < 1e-6 * scale:
                found[leaf.name][position] = slope
    return found


# --- what must agree


def check(program: Program, device: str = "cpu") -> None:
    """Compare lazygrad on a device and INTERPRET with numpy, with PyTorch where it is installed, and with finite differences."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            _check(program, device)
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error}\n\n{program!r}") from error


def shortest_failure(seeds: Sequence[int]) -> str | None:
    """None where the program of the seeds passes; else what is wrong with it once every step is left out that can be."""
    message = failure(seeds)
    kept = list(seeds)
    for step in reversed(range(1, len(kept) if message else 0)):
        fewer = [*kept[:step], 0, *kept[step + 1 :]]
        found = failure(fewer)
        if found:
            kept, message = fewer, found
    return message


def failure(seeds: Sequence[int]) -> str | None:
    """What is wrong with the program of the seeds, or None."""
    try:
        check(write(seeds))
    except AssertionError as error:
        return str(error)
    return None


def _check(program: Program, device: str) -> None:
    expected = run_numpy(program, {leaf.name: leaf.array for leaf in program.leaves})
    old = lazygrad.get_default_dtype()
    lazygrad.set_default_dtype(lazygrad.float64)
    try:
        with config.override(device=device):
            ours = run(program, lazygrad, expected)
            known = run(program, lazygrad, expected)  # by recipes, and by plans that are known
        with config.override(device="interpret"):
            interpreted = run(program, lazygrad, expected)
    finally:
        lazygrad.set_default_dtype(old)
    for name in program.outputs:
        value, tolerance = expected[name], program.tolerance[name]
        close(f"{name}: again and first", known.values[name], ours.values[name], tolerance)
        close(f"{name}: interpreter and numpy", interpreted.values[name], value, tolerance)
        close(
            f"{name}: cpu and interpreter",
            ours.values[name],
            interpreted.values[name],
            tolerance,
            program.special,
        )
        assert ours.dtypes[name] == value.dtype.name, (
            f"{name} is {ours.dtypes[name]}, not {value.dtype}"
        )
    same_gradients("again and first", program, known, ours)
    same_gradients("cpu and interpreter", program, ours, interpreted)
    if torch is not None:
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(1)
        try:
            theirs = run(program, torch, expected)
        except RuntimeError as refused:
            # Of a view whose base became tracked by a write through it, PyTorch says so until someone asks for its grad_fn.
            if "a leaf Variable that requires grad" not in str(refused):
                raise
            return
        finally:
            torch.set_default_dtype(torch.float32)
        for name in program.outputs:
            assert theirs.dtypes[name] == ours.dtypes[name], (
                f"{name}: {theirs.dtypes[name]} in PyTorch"
            )
            close(
                f"{name}: cpu and PyTorch",
                ours.values[name],
                theirs.values[name],
                program.tolerance[name],
            )
        if "not implemented" not in theirs.error:  # some second derivatives are not, in PyTorch
            same_gradients("cpu and PyTorch", program, ours, theirs)
    if program.smooth and not program.special and ours.gradients:
        for name, slopes in differences(program).items():
            found = ours.gradients[name]
            for position, slope in slopes.items():
                mine = 0.0 if found is None else float(found.reshape(-1)[position])
                error = abs(mine - slope)
                assert error <= 1e-4 * (1 + abs(slope)), (
                    f"d/d{name}[{position}] is {mine}; finite differences {slope}"
                )


def same_gradients(what: str, program: Program, left: Observation, right: Observation) -> None:
    assert bool(left.error) == bool(right.error), f"{what}: {left.error!r} and {right.error!r}"
    tolerance = max(program.tolerance.values())
    for kind, ours, theirs in (
        ("gradient", left.gradients, right.gradients),
        ("second gradient", left.seconds, right.seconds),
    ):
        for name in {**ours, **theirs}:
            a, b = ours.get(name), theirs.get(name)
            if a is None and b is None:
                continue
            a = np.zeros_like(b) if a is None else a
            b = np.zeros_like(a) if b is None else b
            close(f"{kind} of {name}: {what}", a, b, 50 * tolerance)


def close(what: str, left: Array, right: Array, tolerance: float, signs: bool = False) -> None:
    """The same shape, the same NaNs and infinities, and near each other on the scale of the largest element."""
    assert left.shape == right.shape, f"{what}: shapes {left.shape} and {right.shape}"
    right = right.astype(np.float64)
    if not left.size:
        return
    finite = np.abs(right[np.isfinite(right)])
    scale = float(finite.max()) if finite.size else 0.0
    same = np.isclose(left, right, tolerance, tolerance * max(1.0, scale), equal_nan=True)
    assert same.all(), f"{what}:\n{left}\n{right}"
    if signs:
        zero = (left == 0) & (right == 0)
        assert (np.signbit(left) == np.signbit(right))[zero].all(), (
            f"{what}: signs of zeros\n{left}\n{right}"
        )
