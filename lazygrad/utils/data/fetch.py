"""From indices to a batch: what a loader's iterator, or its worker, does with a dataset.

In: a list of indices, or one index where there are no batches; for an iterable dataset only their number counts. Out: a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from .collate import default_collate
from .dataset import IterableDataset, Subset, TensorDataset

Fetch = Callable[[Any], Any]


def fetcher(dataset: Any, batches: bool, collate: Callable[[Any], Any], drop_last: bool) -> Fetch:
    """The function that makes a batch of indices; StopIteration is its end."""
    if isinstance(dataset, IterableDataset):
        return _in_order(dataset, batches, collate, drop_last)
    whole = (
        getattr(dataset, "batch", None) if isinstance(dataset, (TensorDataset, Subset)) else None
    )

    def fetch(indices: Any) -> Any:
        if not batches:
            return collate(dataset[indices])
        if whole is not None and collate is default_collate:
            made = whole(indices)
            if made is not None:
                return made
        if callable(getattr(dataset, "__getitems__", None)):
            return collate(dataset.__getitems__(indices))
        return collate([dataset[index] for index in indices])

    return fetch


def _in_order(dataset: Any, batches: bool, collate: Callable[[Any], Any], drop_last: bool) -> Fetch:
    samples = iter(dataset)

    def fetch(indices: Any) -> Any:
        if not batches:
            return collate(next(samples))
        batch = list(islice(samples, len(indices)))
        if not batch or (drop_last and len(batch) < len(indices)):
            raise StopIteration
        return collate(batch)

    return fetch
