"""DataLoader: batches of a dataset, in the order of a sampler, made here or by worker processes.

In: a dataset, and how to go through it. Out: an iterator of batches. Workers are told a few batches in advance, and answer through a pipe
each, in the order they were asked, so batches come in the sampler's order. Whatever ends an iteration (its end, a break, an error, Ctrl-C, the
end of the program), its workers are ended.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from .collate import default_collate, default_convert
from .dataset import IterableDataset
from .fetch import fetcher
from .sampler import BatchSampler, RandomSampler, SequentialSampler, new_seed
from .transport import Failure, pack, receive, send
from .worker import Again, End, Job, for_workers, work

FIXED = frozenset(
    ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
)
"""What does not change after the loader was made."""
GRACE = 1.0
"""How many seconds workers have to end by themselves."""


class DataLoader:
    """Batches of a dataset. Same as torch.utils.data.DataLoader.

    Args:
        dataset: with samples by index, or an IterableDataset.
        batch_size: how many samples a batch has; None gives single samples.
        shuffle: take the samples in random order.
        sampler: gives the indices; `batch_sampler`: gives lists of them.
        num_workers: how many processes make batches, on the CPU; 0 makes them here.
        collate_fn: makes a batch of a list of samples.
        pin_memory, pin_memory_device: taken for PyTorch's sake.
        drop_last: leave the last batch out if it is smaller.
        timeout: how many seconds to wait for a batch of a worker; 0 waits.
        worker_init_fn: is called with its number in each worker.
        multiprocessing_context: "fork", "spawn", "forkserver", or a context of multiprocessing.
        generator: of the order, and of the workers' seeds.
        prefetch_factor: how many batches each worker is told in advance, 2 if not said.
        persistent_workers: keep the workers for the next iteration.
        in_order: give the batches in the sampler's order, not as they come.

    Raises:
        ValueError: options that exclude each other, or are outside their range.
        TypeError: `multiprocessing_context` is none.

    A worker's exception is raised here, with its traceback in its text; RuntimeError if a worker died, or did not answer in time.
    """

    _fixed = False
    _kept: _Workers | None = None

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _require_counts(num_workers, timeout, prefetch_factor, persistent_workers)
        if isinstance(dataset, IterableDataset):
            _require_nothing("shuffle", shuffle or None)
            _require_nothing("sampler", sampler)
            _require_nothing("batch_sampler", batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            )
        if sampler is None:
            if isinstance(dataset, IterableDataset):
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        default = default_convert if batch_sampler is None else default_collate
        self.collate_fn: Callable[[Any], Any] = default if collate_fn is None else collate_fn
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self.multiprocessing_context = multiprocessing_context
        self._fixed = True
        self._warn_of_many()

    def __setattr__(self, name: str, value: Any) -> None:
        if self._fixed and name in FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        if name == "multiprocessing_context":
            value = _context(value, self.num_workers)
        super().__setattr__(name, value)

    def _warn_of_many(self) -> None:
        available = (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        )
        if self.num_workers > (available or self.num_workers):
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our suggested max number of worker in "
                f"current system is {available}, which is smaller than what this DataLoader is going to create. Please be aware "
                "that excessive worker creation might get DataLoader running slow or even freeze, lower the worker number to "
                "avoid potential slowness/freeze if necessary.",
                stacklevel=3,
            )

    def __iter__(self) -> Iterator[Any]:
        if self.pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used.",
                stacklevel=2,
            )
        if self.num_workers == 0:
            return _counted(self, self._here())
        if not self.persistent_workers:
            return _counted(self, _Workers(self))
        if self._kept is None:
            self._kept = _Workers(self)
        else:
            self._kept.begin_again(self)
        return _counted(self, self._kept)

    @property
    def _index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _here(self) -> Iterator[Any]:
        """Batches made in this process."""
        new_seed(
            self.generator
        )  # as workers' seeds would be drawn: the order does not depend on how many there are
        indices = iter(self._index_sampler)
        fetch = fetcher(
            self.dataset, self.batch_sampler is not None, self.collate_fn, self.drop_last
        )
        for each in indices:
            try:
                batch = fetch(each)
            except StopIteration:
                return
            yield batch

    def __len__(self) -> int:
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)
        count = len(self.dataset)  # type: ignore[arg-type]
        self._said = count if self.batch_size is None else math.ceil(count / self.batch_size)
        if self.batch_size is None:
            return int(count)
        return int(
            count // self.batch_size if self.drop_last else math.ceil(count / self.batch_size)
        )


class _Endless:
    """The sampler of iterable datasets: how many samples there are, they know."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


def _counted(loader: DataLoader, batches: Iterator[Any]) -> Iterator[Any]:
    """The batches, with a warning if there are more than an iterable dataset has said."""
    for number, batch in enumerate(batches, 1):
        said = loader.__dict__.get("_said")
        if said is not None and number > said:
            warnings.warn(
                f"Length of IterableDataset {loader.dataset} was reported to be {said}(when accessing len(dataloader)), but "
                f"{number} samples have been fetched. ",
                stacklevel=2,
            )
        yield batch


class _Workers:
    """The batches that worker processes make."""

    def __init__(self, loader: DataLoader) -> None:
        context = loader.multiprocessing_context or multiprocessing
        self.count = loader.num_workers
        self.processes: list[Any] = []
        self.tasks: list[Connection] = []
        self.results: list[Connection] = []
        self.begun = False
        self.stop = weakref.finalize(
            self, _end, self.processes, self.tasks, self.results, os.getpid()
        )
        job = Job(
            for_workers(loader.dataset), loader.batch_sampler is not None, loader.collate_fn, loader.drop_last,
            loader.worker_init_fn, new_seed(loader.generator), self.count,
        )  # fmt: skip
        for number in range(self.count):
            their_tasks, tasks = context.Pipe(duplex=False)
            results, their_results = context.Pipe(duplex=False)
            process = context.Process(
                target=work, args=(job, number, their_tasks, their_results), daemon=True
            )
            process.start()
            their_tasks.close()
            their_results.close()
            self.processes.append(process)
            self.tasks.append(tasks)
            self.results.append(results)
        self._begin(loader)

    def _begin(self, loader: DataLoader) -> None:
        self.indices = iter(loader._index_sampler)
        self.timeout, self.in_order = loader.timeout, loader.in_order
        self.keep = loader.persistent_workers
        self.turn = 0
        self.active = [True] * self.count
        self.waiting: deque[int] = deque()
        """The workers that owe a batch, in the order they were asked."""
        for _ in range((loader.prefetch_factor or 1) * self.count):
            self._ask()

    def begin_again(self, loader: DataLoader) -> None:
        """Another iteration with the same workers."""
        while self.waiting:  # what an iteration that was left has asked for
            self._receive(self.waiting.popleft())
        again = pack((Again(new_seed(loader.generator)),))
        for connection in self.tasks:
            send(connection, again)
        self._begin(loader)

    def _ask(self) -> None:
        """Give the next worker the next indices, if there are both."""
        turns = [(self.turn + step) % self.count for step in range(self.count)]
        number = next((each for each in turns if self.active[each]), None)
        if number is None:
            return
        try:
            index = next(self.indices)
        except StopIteration:
            return
        self.turn = number + 1
        try:
            send(self.tasks[number], pack((index,)))
        except OSError:
            self._died([self.processes[number]])
        self.waiting.append(number)

    def __iter__(self) -> _Workers:
        return self

    def __next__(self) -> Any:
        while self.waiting:
            number = self._first()
            answer = self._receive(number)
            if isinstance(answer, End):
                self.active[number] = False
                self._ask()
                continue
            self._ask()
            if isinstance(answer, Failure):
                raise answer.exception()
            return answer
        if not self.keep:
            self.stop()
        raise StopIteration

    def _first(self) -> int:
        """The worker whose batch is next."""
        if self.in_order:
            return self.waiting.popleft()
        found = self._wait(list(dict.fromkeys(self.waiting)))
        self.waiting.remove(found)
        return found

    def _receive(self, number: int) -> Any:
        """The answer of a worker."""
        self._wait([number])
        try:
            return receive(self.results[number])
        except (EOFError, OSError):
            return self._died([self.processes[number]])

    def _wait(self, numbers: list[int]) -> int:
        """Which of these workers has an answer.

        Raises:
            RuntimeError: one of them died without; none had one in time.
        """
        results = {self.results[number]: number for number in numbers}
        ends = {self.processes[number].sentinel: number for number in numbers}
        ready = wait([*results, *ends], self.timeout or None)
        for each in ready:
            if each in results:
                return results[each]
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {self.timeout} seconds")
        return int(self._died([self.processes[ends[each]] for each in ready]))

    def _died(self, processes: list[Any]) -> Any:
        pids = ", ".join(str(process.pid) for process in processes)
        self.stop()
        raise RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly")


def _end(
    processes: list[Any], tasks: list[Connection], results: list[Connection], owner: int
) -> None:
    """End workers: by telling them, or, where they are busy for long, by a signal."""
    if os.getpid() != owner:
        return  # a forked child: they are its parent's
    goodbye = pack(None)
    for connection in tasks:
        with contextlib.suppress(OSError):
            os.set_blocking(
                connection.fileno(), False
            )  # a worker that does not read is not waited for
            send(connection, goodbye)
        connection.close()
    for connection in results:
        connection.close()
    limit = time.monotonic() + GRACE
    for process in processes:
        process.join(max(0.0, limit - time.monotonic()))
        if process.is_alive():
            process.terminate()
            process.join()


def _context(value: Any, workers: int) -> Any:
    """The context that a name stands for.

    Raises:
        ValueError: there is none of that name; there are no workers.
        TypeError: it is no context.
    """
    if value is None:
        return None
    if workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
            f"num_workers={workers}"
        )
    if isinstance(value, str):
        methods = multiprocessing.get_all_start_methods()
        if value not in methods:
            raise ValueError(
                f"multiprocessing_context option should specify a valid start method in {methods!r}, but got "
                f"multiprocessing_context={value!r}"
            )
        return multiprocessing.get_context(value)
    if not isinstance(value, multiprocessing.context.BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string specifying the start method, but got "
            f"multiprocessing_context={value}"
        )
    return value


def _require_nothing(name: str, value: object) -> None:
    if value is not None:
        raise ValueError(
            f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
        )


def _require_counts(
    workers: int, timeout: float, prefetch_factor: int | None, persistent: bool
) -> None:
    if workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing.let num_workers > 0 to enable multiprocessing, "
            "otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent and workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
