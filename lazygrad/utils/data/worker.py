"""A worker of a loader: a process that makes batches.

In: tasks from a pipe, indices mostly. Out: batches into another one. Batches are made while the one before is still being written; a
worker ends when it is told to, or when its parent has gone. Where DEVICE names one with memory of its own, which a forked child cannot use,
workers compute on the CPU, and batches come to the device where they are received.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import queue
import random
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from ... import config
from ...random import manual_seed
from ...runtime import device, realize
from ...runtime.threads import set_num_threads
from .fetch import fetcher
from .transport import Failure, Packed, Parcel, pack, receive, send


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker knows of itself. Same as torch.utils.data's."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


class _Here(threading.local):
    info: WorkerInfo | None = None


_HERE = _Here()
"""Whether this process is a worker."""


def get_worker_info() -> WorkerInfo | None:
    """The worker that this process is, or None in the main process. Same as torch.utils.data.get_worker_info."""
    return _HERE.info


@dataclass(frozen=True)
class Job:
    """What all workers of a loader are given."""

    dataset: Any
    batches: bool
    collate: Callable[[Any], Any]
    drop_last: bool
    begin: Callable[[int], Any] | None
    """The loader's worker_init_fn."""
    seed: int
    workers: int


class End:
    """The answer of a worker whose iterable dataset has no more samples."""


@dataclass(frozen=True)
class Again:
    """The task of beginning once more, from another seed."""

    seed: int


def elsewhere() -> bool:
    """Whether DEVICE names a device with memory of its own."""
    return not isinstance(device.default(), device.HostDevice)


def for_workers(dataset: Any) -> Any:
    """What workers are given of a dataset: where its tensors may be in a device's memory, their values, if it can be pickled."""
    if not elsewhere():
        return dataset
    realize.submit("workers of a loader begin")  # what is pending is not theirs
    try:
        return Packed(*pack(dataset))
    except (TypeError, AttributeError, pickle.PicklingError):
        return dataset


def work(job: Job, number: int, tasks: Connection, results: Connection) -> None:
    """The life of worker `number`."""
    with config.override(device="cpu") if elsewhere() else contextlib.nullcontext():
        if isinstance(job.dataset, Packed):
            job = replace(job, dataset=job.dataset.unpack())
        _live(job, number, tasks, results)


def _live(job: Job, number: int, tasks: Connection, results: Connection) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the parent, which then ends its workers
    set_num_threads(1)
    where = f"in DataLoader worker process {number}"
    outgoing: queue.SimpleQueue[Parcel] = queue.SimpleQueue()
    threading.Thread(target=_write, args=(results, outgoing), daemon=True).start()
    fetch, failure = _begin(job, number, job.seed, where, first=True)
    while True:
        task = _next(tasks)
        if task is None:
            return
        if isinstance(task[0], Again):
            fetch, failure = _begin(job, number, task[0].seed, where, first=False)
            continue
        answer: Any = failure
        if failure is None:
            try:
                answer = fetch(task[0])
            except StopIteration:
                answer = End()
            except Exception as error:
                answer = Failure.of(error, where)
        failure = None
        try:
            parcel = pack(answer)
        except Exception as error:
            text = Failure.of(error, where).text
            parcel = pack(Failure(RuntimeError, text))
        outgoing.put(parcel)


def _begin(
    job: Job, number: int, seed: int, where: str, first: bool
) -> tuple[Callable[[Any], Any], Failure | None]:
    """Seed the random numbers, and the function that fetches; or the failure to make it, which is the answer to the first task."""
    seed += number
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    manual_seed(seed)
    _HERE.info = WorkerInfo(number, job.workers, seed, job.dataset)
    try:
        if first and job.begin is not None:
            job.begin(number)
        return fetcher(job.dataset, job.batches, job.collate, job.drop_last), None
    except Exception as error:
        return _nothing, Failure.of(error, where)


def _nothing(indices: Any) -> Any:
    """What a worker fetches that could not begin."""
    raise StopIteration


def _next(tasks: Connection) -> Any:
    """The next task, or None when there will be none."""
    parent = multiprocessing.parent_process()
    ready = wait([tasks] if parent is None else [tasks, parent.sentinel])
    try:
        return receive(tasks) if tasks in ready else None
    except (EOFError, OSError):
        return None


def _write(results: Connection, outgoing: queue.SimpleQueue[Parcel]) -> None:
    """Write batches, one after another, beside the thread that makes them."""
    with contextlib.suppress(OSError):  # nobody reads any more
        while True:
            send(results, outgoing.get())
