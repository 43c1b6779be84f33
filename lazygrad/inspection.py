"""`lg.lower`: what a call would compile to, without a trace of the call left behind.

In: a function and its arguments. Out: `Lowered` (runtime/lower_api.py). The function is called: its operations build nodes as
always, a read in the middle computes what it needs, and at the end everything that the call changed about tensors, gradients
and random numbers is put back.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .ir.node import Node
from .random import Generator
from .runtime.lower_api import Lowered
from .runtime.plans import Record
from .runtime.realize import compile_only, recording
from .storage import Storage
from .tensor import Tensor

STATE: dict[type, tuple[str, ...]] = {
    Tensor: (
        "storage", "dtype", "_size", "_view", "_counter", "_record", "_index", "_requires", "_grad", "_node", "_stamp", "_extra",
    ),
    Storage: ("node", "version", "writes", "tracked", "pin"),
    Generator: ("_seed", "_offset"),
}  # fmt: skip
"""What a call may change, by class."""


def lower(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Lowered:
    """Trace `fn(*args, **kwargs)` and compile what it asks for and what it changes, without running that.

    Returns: the graph, the schedule, the kernels, their source and their cost; one plan for each split, that is for each
    read inside of the call, and one for what is left at its end.

    Same as jax's lower().compile(), reached from PyTorch's spelling.
    """
    records: list[Record] = []
    with _unchanged() as before, recording(records):
        result = fn(*args, **kwargs)
        wanted = list(_results(result))
        wanted += _changes(before)
        nodes = list(dict.fromkeys(node for node in wanted if node.value is None))
        if nodes:
            compile_only(nodes, records)
    return Lowered(records)


Before = dict[int, tuple[Any, tuple[Any, ...]]]


@contextmanager
def _unchanged() -> Iterator[Before]:
    """Put the state of every tensor, storage and generator back at the end."""
    before: Before = {}
    for item in gc.get_objects():
        for kind, fields in STATE.items():
            if kind is type(item) or (kind is Tensor and issubclass(type(item), Tensor)):
                before[id(item)] = (item, tuple(getattr(item, name, None) for name in fields))
    try:
        yield before
    finally:
        for item, values in before.values():
            kind = Tensor if isinstance(item, Tensor) else type(item)
            for name, value in zip(STATE[kind], values, strict=True):
                if getattr(item, name, None) is not value:
                    setattr(item, name, value)


def _changes(before: Before) -> list[Node]:
    """The values that were written, and the gradients that were added."""
    nodes: list[Node] = []
    for item, values in before.values():
        if isinstance(item, Storage) and item.node is not values[0]:
            nodes.append(item.node)
        elif isinstance(item, Tensor) and item._grad is not None:
            if item._grad is not values[STATE[Tensor].index("_grad")]:
                nodes.append(item._grad.node)
    return nodes


def _results(result: Any) -> Iterable[Node]:
    """The nodes of the tensors in what a function returned."""
    pending = [result]
    while pending:
        item = pending.pop()
        if isinstance(item, Tensor):
            yield item.node
        elif isinstance(item, dict):
            pending.extend(reversed(list(item.values())))
        elif isinstance(item, (list, tuple)):
            pending.extend(reversed(item))
