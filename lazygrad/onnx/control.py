"""Control flow: If, Loop, Scan.

In: bodies (programs with the values that they read from outside) and values. Out: values. A condition is read, which computes it;
so that no pass computes anything twice, all that a pass hands on is computed with its condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import lazygrad as lg

from ..reading import realize
from ..tensor import Tensor
from .elements import Array, stored, tensor_of
from .indexing import as_array
from .program import Body, Value
from .table import operator


@operator("If", 1)
def choose(condition: Array, *, then_branch: Body, else_branch: Body) -> Any:
    return tuple((then_branch if condition.item() else else_branch)())


def _computed(values: Sequence[Value]) -> None:
    realize([value for value in values if isinstance(value, (Tensor, list))])


def _stacked(values: list[Value]) -> Any:
    return lg.stack(
        [tensor_of(value) if isinstance(value, np.ndarray) else value for value in values]
    )


@operator("Loop", 1)
def loop(
    count: Array | None = None, condition: Array | None = None, *carried: Value, body: Body
) -> Any:
    """The carried values after the last pass, then for each scan output the values of all passes."""
    limit = None if count is None else int(count.item())
    running = condition is None or bool(condition.item())
    state = list(carried)
    outputs: list[list[Value]] = []
    number = 0
    while running and (limit is None or number < limit):
        # the number is data: a constant would make each pass a program of its own
        going, *results = body(
            stored(np.array(number, np.int64)), stored(np.array(running)), *state
        )
        _computed([going, *results])
        running = bool(as_array(going).item())
        state, made = results[: len(state)], results[len(state) :]
        outputs = outputs or [[] for _ in made]
        for collected, value in zip(outputs, made):
            collected.append(value)
        number += 1
    if not number:
        outputs = [[] for _ in body.program.outputs[1 + len(state) :]]
    return (
        *state,
        *[_stacked(values) if values else np.zeros(0, np.float32) for values in outputs],
    )


@operator("Scan", 8)
def scan_batches(
    lengths: Tensor | None = None,
    *values: Tensor,
    body: Body,
    num_scan_inputs: int,
    directions: Sequence[int] = (),
) -> Any:
    """Each batch scanned alone, along the axis behind that of the batch."""
    if lengths is not None:
        raise NotImplementedError("Scan: sequence_lens is not supported")
    results = []
    for batch in range(values[0].shape[0]):
        parts = [value.select(0, batch) for value in values]
        results.append(
            scan(
                *parts, body=body, num_scan_inputs=num_scan_inputs, scan_input_directions=directions
            )
        )
    return tuple(_stacked(list(parts)) for parts in zip(*results))


@operator("Scan", 9)
def scan(
    *values: Tensor, body: Body, num_scan_inputs: int, scan_input_axes: Sequence[int] = (),
    scan_input_directions: Sequence[int] = (), scan_output_axes: Sequence[int] = (),
    scan_output_directions: Sequence[int] = (),
) -> Any:  # fmt: skip
    """The states after the last step, then each scan output with the values of all steps along an axis."""
    first = len(values) - num_scan_inputs
    state: list[Value] = list(values[:first])
    axes = list(scan_input_axes) or [0] * num_scan_inputs
    backward = list(scan_input_directions) or [0] * num_scan_inputs
    inputs = values[first:]
    steps = inputs[0].shape[axes[0]]
    outputs: list[list[Value]] = []
    for step in range(steps):
        parts = [
            value.select(axis, steps - 1 - step if reverse else step)
            for value, axis, reverse in zip(inputs, axes, backward)
        ]
        results = body(*state, *parts)
        state, made = results[:first], results[first:]
        outputs = outputs or [[] for _ in made]
        for collected, value in zip(outputs, made):
            collected.append(value)
    joined = []
    for place, collected in enumerate(outputs):
        if place < len(scan_output_directions) and scan_output_directions[place]:
            collected.reverse()
        result = _stacked(collected)
        axis = scan_output_axes[place] if place < len(scan_output_axes) else 0
        joined.append(result.movedim(0, axis))
    return (*state, *joined)
