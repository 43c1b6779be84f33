"""Gradient checkpointing: a part of a program is run again in backward, instead of keeping what its gradients read.

In: a function and its arguments. Out: its results, computed at once, with nothing kept of what they were made of. Backward runs the
function once more on the same values, with the random numbers of the first time, and takes the gradients of that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import random
from ..autograd.engine import Run
from ..autograd.function import Function
from ..func.levels import Level, anchor
from ..func.trees import flatten
from ..history import AccumulateGrad, Edge, mode
from ..ir.node import Node
from ..reading import realize
from ..results import attach, from_node
from ..runtime.steady import STEADY
from ..tensor import Tensor

Contexts = tuple[Any, Any]


class CheckpointError(RuntimeError):
    """The function did something else the second time."""


def noop_context_fn() -> Contexts:
    """Two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], Contexts] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), which backward will run again instead of keeping what its gradients read.

    Args:
        context_fn: gives the contexts to run the function in, the first time and again.
        determinism_check: "default" compares shapes and dtypes of the results of both runs, "none" nothing.
        preserve_rng_state: random numbers are the same both times.
        use_reentrant, debug, early_stop: accepted; gradients reach whatever the function reads, as with use_reentrant=False.

    Raises:
        CheckpointError: (in backward) the function returned something else than the first time.

    Same as torch.utils.checkpoint.checkpoint.
    """
    if not mode.enabled:
        return function(*args, **kwargs)
    run = _Run(function, args, kwargs, context_fn(), determinism_check, preserve_rng_state)
    return run.forward()


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """The functions one after the other, in `segments` parts that are each a checkpoint, but for the last.

    Same as torch.utils.checkpoint.checkpoint_sequential.
    """
    steps = list(functions.children() if hasattr(functions, "children") else functions)
    size = len(steps) // segments
    for begin in range(0, size * (segments - 1), size):
        input = checkpoint(
            _chain(steps[begin : begin + size]), input, use_reentrant=use_reentrant, **kwargs
        )
    return _chain(steps[size * (segments - 1) :])(input)


def _chain(steps: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        for step in steps:
            value = step(value)
        return value

    return run


class _Run:
    """One call of a checkpointed function, and what running it again takes."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        contexts: Contexts,
        determinism_check: str,
        preserve: bool,
    ) -> None:
        self.function = function
        self.contexts = contexts
        self.checks = determinism_check != "none"
        self.state = _random_state() if preserve else None
        self.level = Level()
        leaves, self.structure = flatten((args, kwargs))
        with self.level:
            self.leaves = [self._fixed(each) for each in leaves]
        self.shapes: list[tuple[Any, Any]] = []

    def _fixed(self, value: Any) -> Any:
        """An argument as it is now, whatever is written to it later."""
        if not isinstance(value, Tensor):
            return value
        return self.level.variable(value) if value.requires_grad else from_node(value._raw())

    def call(self, context: Any) -> Any:
        """Run the function on tensors of its own."""
        given = [
            anchor(each) if isinstance(each, Tensor) and each.requires_grad else each
            for each in self.leaves
        ]
        args, kwargs = self.structure.build(given)
        with context:
            return self.function(*args, **kwargs)

    def forward(self) -> Any:
        """The results, of which nothing but the values is kept."""
        with self.level:
            result = self.call(self.contexts[0])
            leaves, structure = flatten(result)
            outputs = [each for each in leaves if isinstance(each, Tensor) and each.requires_grad]
            targets = [_tensor(edge, node) for edge, node in self.level.outside(outputs)]
        if not targets:
            return result
        self.shapes = [(each.dtype, tuple(each.shape)) for each in outputs]
        if STEADY.tracing is None:
            realize(outputs)
        plain = [each.detach() for each in outputs]
        del result, outputs
        made = iter(Recompute.apply(self, targets, plain, *targets))
        leaves = [
            next(made) if isinstance(each, Tensor) and each.requires_grad else each
            for each in leaves
        ]
        return structure.build(leaves)

    def backward(self, targets: Sequence[Tensor], cotangents: Sequence[Tensor]) -> Any:
        """The gradients of the targets: the function is run again."""
        create = mode.enabled
        if STEADY.tracing is None:
            realize(list(cotangents))  # what lies behind is done with, before more is computed
        before = _random_state()
        if self.state is not None:
            _set_random_state(self.state)
        try:
            with self.level:
                leaves, _ = flatten(self.call(self.contexts[1]))
                outputs = [e for e in leaves if isinstance(e, Tensor) and e.requires_grad]
        finally:
            if self.state is not None:
                _set_random_state(before)
        shapes = [(each.dtype, tuple(each.shape)) for each in outputs]
        if len(shapes) != len(self.shapes) or (self.checks and shapes != self.shapes):
            raise CheckpointError(
                "checkpoint: Recomputed values have different metadata than during the forward pass: "
                f"{self.shapes} were computed then, {shapes} now"
            )
        run = Run(outputs, cotangents, create, targets, accumulate=False)
        run.records = [each for each in run.records if not self.level.is_outside(each)]
        run.used = {id(record) for record in run.records}
        return run.execute()


class Recompute(Function):
    """Results whose gradients are those of another run."""

    @staticmethod
    def forward(
        ctx: Any, run: _Run, targets: list[Tensor], outputs: list[Tensor], *_: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.run_again, ctx.targets = run, targets
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *ctx.run_again.backward(ctx.targets, cotangents)


def _tensor(edge: Edge, node: Node) -> Tensor:
    """A tensor whose gradients go to a place of the history."""
    record, index = edge
    if isinstance(record, AccumulateGrad):
        return record.variable
    assert record is not None
    made = from_node(node)
    attach(made, record, index)
    made.storage.tracked = True
    return made


def _random_state() -> tuple[int, int]:
    generator = random.default_generator
    return generator._seed, generator._offset


def _set_random_state(state: Iterable[int]) -> None:
    generator = random.default_generator
    generator._seed, generator._offset = state
