"""LBFGS: a quasi-Newton method that remembers the last steps and how the gradient changed over them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..autograd.grad_mode import enable_grad, no_grad
from ..functional.joining import cat
from ..functional.updates import descend, steady
from ..reading import realize
from ..tensor import Tensor
from .line_search import Trial, strong_wolfe
from .optimizer import Closure, Optimizer, require_rate


class LBFGS(Optimizer):
    """Steps along an approximate inverse Hessian times the gradient. Same as torch.optim.LBFGS.

    Args:
        params: tensors, in one group.
        lr: the first step to try; without a line search, the step.
        max_iter: how many directions a call of `step` tries, and `max_eval` how often it calls the closure (by default 1.25 times that).
        tolerance_grad: no element of the gradient above this: it is a minimum.
        tolerance_change: neither the parameters nor the loss change by more than this: it is one, too.
        history_size: how many steps are remembered.
        line_search_fn: None, or "strong_wolfe".

    Numbers of the state (steps, curvatures) are Python numbers; all vectors are flat, over all parameters.

    Raises:
        ValueError: several groups; a negative learning rate.
        RuntimeError: from `step`: another line search.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        require_rate(lr)
        super().__init__(
            params,
            {
                "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @no_grad()
    def step(self, closure: Closure) -> Any:  # type: ignore[override]
        """Try up to `max_iter` directions; the loss before the first is returned.

        Args:
            closure: clears the gradients, computes the loss, calls backward, returns the loss.
        """
        group = self.param_groups[0]
        rate, tolerance = float(group["lr"]), group["tolerance_change"]
        state = self.state[group["params"][0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first, loss, gradient = self._evaluate(closure)
        evaluations = 1
        state["func_evals"] += 1
        if self._flat(gradient):
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, gradient)
            state["d"], state["prev_flat_grad"], state["prev_loss"] = direction, gradient, loss
            state["t"] = rate
            if state["n_iter"] == 1:
                state["t"] *= min(1.0, 1.0 / float(gradient.abs().sum()))
            slope = float(gradient.dot(direction))
            if slope > -tolerance:
                break
            tried = 0
            if group["line_search_fn"] is not None:
                if group["line_search_fn"] != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                start = Trial(0.0, loss, gradient, slope)
                found, tried = self._search(
                    closure, start, state["t"], direction, group["max_eval"] - evaluations
                )
                loss, gradient, state["t"] = found.loss, found.gradient, found.step
                flat = self._flat(gradient)
            else:
                self._move(state["t"], direction)
                flat = False
                if iteration != group["max_iter"]:
                    _, loss, gradient = self._evaluate(closure)
                    tried = 1
                    flat = self._flat(gradient)
            evaluations += tried
            state["func_evals"] += tried
            if (
                evaluations >= group["max_eval"]
                or flat
                or float(direction.abs().max()) * abs(state["t"]) <= tolerance
                or abs(loss - state["prev_loss"]) < tolerance
            ):
                break
        return first

    def _direction(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        """Minus the inverse Hessian times the gradient, by the two loops over what is remembered (Nocedal and Wright, 7.4)."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return _computed(-gradient)
        changes, steps, inverses = state["old_dirs"], state["old_stps"], state["ro"]
        change = _computed(gradient - state["prev_flat_grad"])
        step = _computed(state["d"] * float(state["t"]))
        curvature = float(change.dot(step))
        if curvature > 1e-10:
            if len(changes) == self.param_groups[0]["history_size"]:
                del changes[0], steps[0], inverses[0]
            changes.append(change)
            steps.append(step)
            inverses.append(1.0 / curvature)
            state["H_diag"] = curvature / float(change.dot(change))
        direction = _computed(-gradient)
        weights = [0.0] * len(changes)
        for at in reversed(range(len(changes))):
            weights[at] = float(steps[at].dot(direction)) * float(inverses[at])
            direction = _computed(direction - changes[at] * weights[at])
        direction = _computed(direction * float(state["H_diag"]))
        for at in range(len(changes)):
            back = float(changes[at].dot(direction)) * float(inverses[at])
            direction = _computed(direction + steps[at] * (weights[at] - back))
        return direction

    def _search(
        self, closure: Closure, start: Trial, step: float, direction: Tensor, limit: int
    ) -> tuple[Trial, int]:
        """Find a step, go it, and say how often the closure was called."""
        parameters = self.param_groups[0]["params"]
        places = [parameter.detach().clone() for parameter in parameters]
        realize(places)

        def evaluate(step: float) -> Trial:
            self._move(step, direction, places)
            _, loss, gradient = self._evaluate(closure)
            return Trial(step, loss, gradient, float(gradient.dot(direction)))

        reach = float(direction.abs().max())
        found, tried = strong_wolfe(evaluate, start, step, reach, limit)
        self._move(found.step, direction, places)
        return found, tried

    def _evaluate(self, closure: Closure) -> tuple[Any, float, Tensor]:
        """What the closure returned, as a number, and the gradient of all parameters."""
        with enable_grad():
            result = closure()
        pieces = [
            parameter.new_zeros(parameter.numel())
            if parameter.grad is None
            else parameter.grad.detach().reshape(-1)
            for parameter in self.param_groups[0]["params"]
        ]
        gradient = cat(pieces, 0).clone()
        realize([gradient])
        return result, float(result), gradient

    def _flat(self, gradient: Tensor) -> bool:
        tolerance: float = self.param_groups[0]["tolerance_grad"]
        return float(gradient.abs().max()) <= tolerance

    def _move(self, step: float, direction: Tensor, places: list[Tensor] | None = None) -> None:
        """Add so much of the direction to the parameters, or to where they were."""
        offset, along = 0, steady(-step)
        parameters = self.param_groups[0]["params"]
        for number, parameter in enumerate(parameters):
            if places is not None:
                parameter.copy_(places[number])
            piece = direction[offset : offset + parameter.numel()].view(parameter.shape)
            descend(parameter, piece, along)
            offset += parameter.numel()
        realize(parameters)


def _computed(tensor: Tensor) -> Tensor:
    """The tensor, in memory: what is remembered must not grow into one graph."""
    realize([tensor])
    return tensor
