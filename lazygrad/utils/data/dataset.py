"""Datasets: what has samples by index, or in order, and what is made of others.

In: an index (or a list of them, where a dataset has `__getitems__`). Out: samples, of any kind.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

import numpy as np

from ...functional.creation import from_numpy, tensor
from ...ir.dtype import bfloat16
from ...random import Generator, randperm
from ...tensor import Tensor

Sample = TypeVar("Sample", covariant=True)


class Dataset(Generic[Sample]):
    """Samples by index. A subclass defines `__getitem__`, mostly `__len__`, and perhaps `__getitems__` for many at once."""

    def __getitem__(self, index: Any) -> Sample:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[Sample], Iterable[Sample]):
    """Samples in order. A subclass defines `__iter__`; each worker of a loader has a copy, and asks `get_worker_info` for its part."""

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample i is row i of each tensor. Same as torch.utils.data.TensorDataset.

    Raises:
        AssertionError: the first sizes differ.
    """

    def __init__(self, *tensors: Tensor) -> None:
        if any(tensors[0].size(0) != each.size(0) for each in tensors):
            raise AssertionError("Size mismatch between tensors")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple([each[index] for each in self.tensors])

    def __len__(self) -> int:
        return int(self.tensors[0].size(0))

    def batch(self, indices: Sequence[int]) -> list[Tensor] | None:
        """What collating these samples gives, taken at once; None where a subclass makes other samples."""
        if type(self).__getitem__ is not TensorDataset.__getitem__:
            return None
        return [rows(each, indices) for each in self.tensors]


def rows(source: Tensor, indices: Sequence[int]) -> Tensor:
    """Some rows of a tensor: as data where they are on the host, so that no program is compiled for each size of a batch."""
    if source.requires_grad or source.device.type != "cpu" or source.dtype is bfloat16:
        picked: Tensor = source[tensor(list(indices))]
        return picked
    return from_numpy(source.numpy()[np.asarray(indices)])


class StackDataset(Dataset[Any]):
    """Sample i is a tuple, or a dict, of sample i of each dataset. Same as torch.utils.data.StackDataset.

    Raises:
        ValueError: no datasets; both kinds of arguments; the lengths differ.
    """

    def __init__(self, *args: Dataset[Any], **kwargs: Dataset[Any]) -> None:
        if args and kwargs:
            raise ValueError(
                "Supported either ``tuple``- (via ``args``) or``dict``- (via ``kwargs``) like input/output, but both types are given."
            )
        if not args and not kwargs:
            raise ValueError("At least one dataset should be passed")
        self.datasets: Any = args or kwargs
        lengths = {len(each) for each in args or kwargs.values()}  # type: ignore[arg-type]
        if len(lengths) != 1:
            raise ValueError("Size mismatch between datasets")
        (self._length,) = lengths

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple([dataset[index] for dataset in self.datasets])

    def __getitems__(self, indices: list[int]) -> list[Any]:
        named = isinstance(self.datasets, dict)
        columns = [
            _samples(dataset, indices)
            for dataset in (self.datasets.values() if named else self.datasets)
        ]
        if named:
            return [dict(zip(self.datasets, sample)) for sample in zip(*columns)]
        return list(zip(*columns))

    def __len__(self) -> int:
        return self._length


def _samples(dataset: Any, indices: list[int]) -> list[Any]:
    """Samples of a dataset, at once if it can.

    Raises:
        ValueError: it gave another number of them.
    """
    if not callable(getattr(dataset, "__getitems__", None)):
        return [dataset[index] for index in indices]
    found: list[Any] = dataset.__getitems__(indices)
    if len(found) != len(indices):
        raise ValueError(
            f"Nested dataset's output size mismatch. Expected {len(indices)}, got {len(found)}"
        )
    return found


class ConcatDataset(Dataset[Any]):
    """The samples of one dataset after those of another. Same as torch.utils.data.ConcatDataset.

    Raises:
        AssertionError: no datasets, or one without indices.
        ValueError: from indexing: a negative index beyond the beginning.
    """

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(each, IterableDataset) for each in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = list(accumulate(len(each) for each in self.datasets))  # type: ignore[arg-type]

    def __getitem__(self, index: Any) -> Any:
        if index < 0:
            if -index > len(self):
                raise ValueError("absolute value of index should not exceed dataset length")
            index += len(self)
        number = bisect_right(self.cumulative_sizes, index)
        before = self.cumulative_sizes[number - 1] if number else 0
        return self.datasets[number][index - before]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[Any]):
    """The samples of one iterable dataset after those of another. Same as torch.utils.data.ChainDataset.

    Raises:
        AssertionError: from iterating: one has indices.
    """

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = datasets

    def _each(self) -> Iterator[IterableDataset[Any]]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield dataset

    def __iter__(self) -> Iterator[Any]:
        for dataset in self._each():
            yield from dataset

    def __len__(self) -> int:
        lengths: list[int] = [len(dataset) for dataset in self._each()]  # type: ignore[arg-type]
        return sum(lengths)


class Subset(Dataset[Sample]):
    """Some samples of a dataset. Same as torch.utils.data.Subset.

    Raises:
        NotImplementedError: a subclass defines `__getitem__` without `__getitems__`.
    """

    def __init__(self, dataset: Dataset[Sample], indices: Sequence[int]) -> None:
        kind = type(self)
        if kind.__getitem__ is not Subset.__getitem__ and kind.__getitems__ is Subset.__getitems__:
            raise NotImplementedError(
                f"{kind.__name__} overrides __getitem__ but not __getitems__. When subclassing Subset and overriding "
                "__getitem__, you must also override __getitems__ to ensure DataLoader works correctly with your custom logic."
            )
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Sample:
        if isinstance(index, list):
            return self.dataset[[self.indices[each] for each in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        return _samples(self.dataset, [self.indices[each] for each in indices])

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Sequence[int]) -> list[Tensor] | None:
        """What collating these samples gives, where the dataset can say it at once."""
        whole = getattr(self.dataset, "batch", None)
        if (
            not isinstance(self.dataset, (TensorDataset, Subset))
            or type(self).__getitems__ is not Subset.__getitems__
        ):
            return None
        made: list[Tensor] | None = whole([self.indices[each] for each in indices])  # type: ignore[misc]
        return made


def random_split(
    dataset: Dataset[Sample], lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset[Sample]]:
    """Parts of a dataset, in random order, without overlap. Same as torch.utils.data.random_split.

    Args:
        lengths: how many samples each part has; or fractions that sum to 1: what is left over goes to the first parts, one each.

    Raises:
        ValueError: the lengths do not sum to the dataset's; a fraction outside [0, 1].
    """
    count = len(dataset)  # type: ignore[arg-type]
    sizes = list(lengths)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for index, fraction in enumerate(lengths):
            if fraction < 0 or fraction > 1:
                raise ValueError(f"Fraction at index {index} is not between 0 and 1")
        sizes = [math.floor(count * fraction) for fraction in lengths]
        for left in range(count - int(sum(sizes))):
            sizes[left % len(sizes)] += 1
        for index, size in enumerate(sizes):
            if size == 0:
                warnings.warn(
                    f"Length of split at index {index} is 0. This might result in an empty dataset.",
                    stacklevel=2,
                )
    if sum(sizes) != count:
        raise ValueError("Sum of input lengths does not equal the length of the input dataset!")
    order = randperm(count, generator=generator).tolist()
    ends = list(accumulate(int(size) for size in sizes))
    return [Subset(dataset, order[end - int(size) : end]) for end, size in zip(ends, sizes)]
