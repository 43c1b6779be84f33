"""A search for a step length that meets the strong Wolfe conditions, for LBFGS.

In: a function of the step length that gives the loss and its gradient, and a direction of descent. Out: a step that lowers the loss
enough (Armijo) and where the slope is flat enough. Nocedal and Wright, Numerical Optimization, algorithms 3.5 and 3.6: steps
grow until they bracket such a point, then the bracket shrinks, each trial the minimum of a cubic through its two ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..tensor import Tensor

ENOUGH, FLAT = 1e-4, 0.9
"""The constants of the Armijo and of the curvature condition."""


@dataclass(slots=True)
class Trial:
    """A step along the direction: the loss there, its gradient, and its slope along the direction."""

    step: float
    loss: float
    gradient: Tensor
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Trial],
    start: Trial,
    step: float,
    reach: float,
    limit: int,
    tolerance: float = 1e-9,
) -> tuple[Trial, int]:
    """A step that meets the conditions, or the best one of the last bracket, and how many evaluations it took.

    Args:
        evaluate: the trial of a step.
        start: the trial of the step 0; its slope is negative.
        step: the first step to try.
        reach: the largest element of the direction: a bracket whose ends are nearer than `tolerance` in every element is given up.
        limit: how many trials there may be after the first.
    """
    before, now = start, evaluate(step)
    trials, turns = 1, 0
    bracket: list[Trial] | None = None
    while turns < limit:
        rises = _too_high(now, start) or (turns > 1 and now.loss >= before.loss)
        if not rises and _flat(now, start):
            return now, trials
        if rises or now.slope >= 0:
            bracket = [before, now]
            break
        longer = now.step + 0.01 * (now.step - before.step), now.step * 10
        before, now = now, evaluate(cubic_minimum(before, now, longer))
        trials += 1
        turns += 1
    if bracket is None:
        bracket = [start, now]
    stuck = False
    low = 0 if bracket[0].loss <= bracket[1].loss else 1
    while turns < limit:
        if abs(bracket[1].step - bracket[0].step) * reach < tolerance:
            break
        ends = sorted(trial.step for trial in bracket)
        step = cubic_minimum(bracket[0], bracket[1], (ends[0], ends[1]))
        margin = 0.1 * (ends[1] - ends[0])
        if min(ends[1] - step, step - ends[0]) < margin:
            # Too near an end: allowed once, then the step is moved inside, or the bracket would hardly shrink.
            if stuck or step >= ends[1] or step <= ends[0]:
                nearer_end = abs(step - ends[1]) < abs(step - ends[0])
                step = ends[1] - margin if nearer_end else ends[0] + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        now = evaluate(step)
        trials += 1
        turns += 1
        if _too_high(now, start) or now.loss >= bracket[low].loss:
            bracket[1 - low] = now
            low = 0 if bracket[0].loss <= bracket[1].loss else 1
            continue
        finished = _flat(now, start)
        if not finished and now.slope * (bracket[1 - low].step - bracket[low].step) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = now
        if finished:
            break
    return bracket[low], trials


def cubic_minimum(left: Trial, right: Trial, bounds: tuple[float, float]) -> float:
    """Where the cubic with both losses and slopes is least, within bounds; their middle where it has no minimum."""
    if left.step > right.step:
        left, right = right, left
    mean = left.slope + right.slope - 3 * (left.loss - right.loss) / (left.step - right.step)
    square = mean * mean - left.slope * right.slope
    if square < 0:
        return (bounds[0] + bounds[1]) / 2
    root = math.sqrt(square)
    share = (right.slope + root - mean) / (right.slope - left.slope + 2 * root)
    return min(max(right.step - (right.step - left.step) * share, bounds[0]), bounds[1])


def _too_high(trial: Trial, start: Trial) -> bool:
    return trial.loss > start.loss + ENOUGH * trial.step * start.slope


def _flat(trial: Trial, start: Trial) -> bool:
    return abs(trial.slope) <= -FLAT * start.slope
