"""Samplers: in which order a loader takes a dataset's samples.

In: how many there are, and a generator of random numbers. Out: indices, or lists of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from ...functional.creation import as_tensor
from ...ir.dtype import float64
from ...random import Generator, default_generator, randint, randperm

Index = TypeVar("Index", covariant=True)


class Sampler(Generic[Index]):
    """The base class of samplers. A subclass defines `__iter__`, and mostly `__len__`."""

    def __iter__(self) -> Iterator[Index]:
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ... Same as torch.utils.data.SequentialSampler."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """All indices in random order, or draws of them. Same as torch.utils.data.RandomSampler.

    Args:
        replacement: draw each index from all of them.
        num_samples: how many there are in all; without replacement several orders follow one another.
        generator: of the random numbers.

    Raises:
        TypeError: `replacement` is no bool.
        ValueError: `num_samples` is no positive integer.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        _require_positive("num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        """How many indices there are in all."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        count = len(self.data_source)
        generator = self.generator
        if generator is None:  # one of its own: what is drawn meanwhile does not change the order
            generator = Generator()
            generator.manual_seed(new_seed(None))
        if self.replacement:
            yield from randint(0, count, (self.num_samples,), generator=generator).tolist()
            return
        left = self.num_samples
        while left > 0:
            yield from randperm(count, generator=generator).tolist()[:left]
            left -= count

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given indices in random order. Same as torch.utils.data.SubsetRandomSampler."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for place in randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[place]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices drawn with probabilities as their weights. Same as torch.utils.data.WeightedRandomSampler.

    Args:
        weights: one for each index; they need not sum to 1.
        num_samples: how many to draw.
        replacement: whether an index may be drawn again.
        generator: of the random numbers.

    Raises:
        ValueError: `num_samples` is no positive integer, `replacement` no bool, or `weights` no vector.
        RuntimeError: from iterating: weights that are negative, or too few that are not 0.
    """

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        _require_positive("num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        self.weights = as_tensor(weights, dtype=float64)
        if self.weights.dim() != 1:
            raise ValueError(
                f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        # On the host, as randperm: an order is data that the program is given.
        weights = self.weights.numpy()
        if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
            raise RuntimeError(
                "probability tensor contains either `inf`, `nan` or element < 0, or sums to 0"
            )
        if not self.replacement and np.count_nonzero(weights) < self.num_samples:
            raise RuntimeError(
                "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
            )
        seed, offset = (self.generator or default_generator).take(self.num_samples)
        draws = np.random.Generator(np.random.Philox(seed << 64 | offset))
        chances = weights / weights.sum()
        count = len(chances)
        yield from draws.choice(count, self.num_samples, self.replacement, chances).tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of `batch_size` indices of another sampler. Same as torch.utils.data.BatchSampler.

    Args:
        drop_last: leave the last list out if it is shorter.

    Raises:
        ValueError: `batch_size` is no positive integer, or `drop_last` no bool.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        _require_positive("batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(islice(indices, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        whole, rest = divmod(count, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)


def new_seed(generator: Generator | None) -> int:
    """A seed, drawn from a generator's stream."""
    seed, offset = (generator or default_generator).take(1)
    return int(np.random.SeedSequence((seed, offset)).generate_state(1, "uint64")[0]) >> 1


def _require_positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")


class DistributedSampler(Sampler[int]):
    """The part of a dataset's indices that one of several processes takes. Same as torch.utils.data.DistributedSampler.

    Args:
        num_replicas, rank: how many processes there are, and which one this is; by default one alone.
        shuffle: whether the order is random, by `seed` and the epoch that `set_epoch` says.
        drop_last: leave out what does not divide; otherwise the first indices are taken twice.

    Raises:
        ValueError: `rank` is none of the processes.
    """

    def __init__(
        self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True, seed: int = 0,
        drop_last: bool = False,
    ) -> None:  # fmt: skip
        self.dataset = dataset
        self.num_replicas = 1 if num_replicas is None else num_replicas
        self.rank = 0 if rank is None else rank
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {self.num_replicas - 1}]"
            )
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0
        left = len(dataset) % self.num_replicas
        self.num_samples = len(dataset) // self.num_replicas + (left > 0 and not drop_last)
        self.total_size = self.num_samples * self.num_replicas

    def __iter__(self) -> Iterator[int]:
        count = len(self.dataset)
        order = list(range(count))
        if self.shuffle:
            draws = Generator().manual_seed(self.seed + self.epoch)
            order = randperm(count, generator=draws).tolist()
        if order:
            order = (order * -(-self.total_size // count))[: self.total_size]
        return iter(order[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Which epoch begins: each has an order of its own."""
        self.epoch = epoch
