"""Datasets, samplers and loaders behave as PyTorch's, with workers that are forked and spawned."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.utils import data

Pair = collections.namedtuple("Pair", "left right")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spawned worker imports the datasets of this file: `pytest` alone does not put the tree on the path."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).resolve().parents[2])])


class Squares(data.Dataset[Any]):
    """Samples that say where they were made."""

    def __init__(self, count: int, wrong: int = -1, slow: float = 0.0, dead: int = -1) -> None:
        self.count, self.wrong, self.slow, self.dead = count, wrong, slow, dead

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == self.wrong:
            raise KeyError(f"no sample {index}")
        if index == self.dead:
            os._exit(3)
        time.sleep(self.slow)
        info = data.get_worker_info()
        square = (lg.arange(3) + index) ** 2.0
        return {
            "square": square,
            "half": lg.tensor([index]).to(lg.bfloat16),
            "worker": -1 if info is None else info.id,
        }


class Count(data.IterableDataset[Any]):
    """Numbers, shared out among the workers."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        info = data.get_worker_info()
        return iter(
            range(self.count) if info is None else range(info.id, self.count, info.num_workers)
        )


def seeded(number: int) -> None:
    """A worker_init_fn that can be found by name."""
    info = data.get_worker_info()
    assert info is not None and info.id == number
    info.dataset.slow = 0.0
    info.dataset.count = int(lg.initial_seed() == info.seed) * info.dataset.count


def alive() -> int:
    """How many children there are."""
    import multiprocessing

    return len(multiprocessing.active_children())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_give_what_one_process_gives(method: str) -> None:
    """In order, twice, with one plan of training in between: the thread pool of the parent goes on, and children have none."""
    plain = [batch["square"].tolist() for batch in data.DataLoader(Squares(10), 4)]
    loader = data.DataLoader(
        Squares(10, slow=1e9), 4, num_workers=2, multiprocessing_context=method,
        worker_init_fn=seeded, persistent_workers=True, timeout=60,
    )  # fmt: skip
    weight = lg.ones(3, requires_grad=True)
    optimizer = lg.optim.SGD([weight], lr=0.01)
    for _ in range(2):
        found, workers = [], []
        for batch in loader:
            optimizer.zero_grad()
            ((batch["square"] * weight).sum() + lg.ones(600, 600).exp().sum() * 0).backward()
            optimizer.step()
            assert weight.isfinite().all().item()
            found.append(batch["square"].tolist())
            assert batch["half"].dtype is lg.bfloat16 and batch["half"].shape[1:] == (1,)
            workers += batch["worker"].tolist()
        assert found == plain
        assert workers == [0] * 4 + [1] * 4 + [0] * 2
    assert alive() == 2
    del loader, batch
    assert alive() == 0


def test_an_error_of_a_worker_is_raised_with_its_traceback() -> None:
    loader = data.DataLoader(Squares(6, wrong=3), 2, num_workers=2)
    batches = iter(loader)
    assert next(batches)["worker"].tolist() == [0, 0]
    with pytest.raises(KeyError) as caught:
        next(batches)
    text = str(caught.value)
    assert text.startswith("Caught KeyError in DataLoader worker process 1.\nOriginal Traceback")
    assert "in __getitem__" in text and "no sample 3" in text
    del batches, caught
    assert alive() == 0


def test_workers_that_die_or_do_not_answer() -> None:
    with pytest.raises(
        RuntimeError, match=r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly"
    ):
        list(data.DataLoader(Squares(6, dead=3), 2, num_workers=2))
    assert alive() == 0
    with pytest.raises(RuntimeError, match=r"timed out after 0\.2 seconds"):
        list(data.DataLoader(Squares(6, slow=60.0), 2, num_workers=1, timeout=0.2))
    start = time.monotonic()
    for batch in data.DataLoader(Squares(100, slow=0.01), 2, num_workers=2):
        assert batch["worker"].shape == (2,)
        break
    del batch
    assert alive() == 0 and time.monotonic() - start < 30


def test_large_batches_do_not_block() -> None:
    """More than pipes hold, in both directions, left in the middle."""
    big = data.TensorDataset(lg.arange(3_000_000).reshape(1000, 3000))
    loader = data.DataLoader(big, sampler=data.BatchSampler(range(1000), 300, False), num_workers=2, batch_size=None, prefetch_factor=2)  # fmt: skip
    assert [batch[0].shape[0] for batch in loader] == [300, 300, 300, 100]
    for batch in loader:
        assert batch[0][2, 1].item() == 6001
        break
    tasks = [[0] * 60_000] * 6
    for batch in data.DataLoader(
        data.TensorDataset(lg.arange(4)), batch_sampler=tasks, num_workers=2
    ):
        assert batch[0].shape == (60_000,)
        break


def test_iterable_datasets() -> None:
    assert [b.tolist() for b in data.DataLoader(Count(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [b.tolist() for b in data.DataLoader(Count(7), 3, drop_last=True)] == [
        [0, 1, 2],
        [3, 4, 5],
    ]
    shared = [b.tolist() for b in data.DataLoader(Count(7), 2, num_workers=2)]
    assert shared == [[0, 2], [1, 3], [4, 6], [5]]
    loose = data.DataLoader(Count(5), None, num_workers=2, in_order=False)
    assert sorted(loose) == [0, 1, 2, 3, 4]
    chained = data.ChainDataset([Count(2), Count(3)])
    assert list(Count(2) + Count(3)) == list(chained) == [0, 1, 0, 1, 2]


CONTROL_C = """
import sys, time
sys.path.insert(0, {folder!r})
from test_data import Squares
from lazygrad.utils import data
if __name__ == "__main__":
    loader = data.DataLoader(Squares(1000, slow=0.05), 2, num_workers=2, multiprocessing_context={method!r})
    try:
        for number, batch in enumerate(loader):
            if number == 1:
                print("ready", flush=True)
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_control_c_ends_all(method: str, tmp_path: Path) -> None:
    """The signal goes to the whole group, as from a terminal: one interrupt in the parent, no word from the workers."""
    script = tmp_path / "script.py"
    script.write_text(CONTROL_C.format(folder=str(Path(__file__).parent), method=method))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(lg.__file__).parents[1])},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "stopped\n", "")
    limit = time.monotonic() + 30
    # Nobody of the group is left; Python's tracker of resources ends a moment later.
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < limit:
            os.killpg(process.pid, 0)
            time.sleep(0.02)


# --- as PyTorch's


def plain(value: Any) -> Any:
    """A batch without either framework's tensors, types named."""
    if hasattr(value, "detach"):
        return str(value.dtype), value.tolist()
    if isinstance(value, dict):
        return type(value).__name__, {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(each) for each in value]
    return value


BATCHES: list[Callable[[Any], Any]] = [
    lambda f: [f.ones(2), f.zeros(2)],
    lambda f: [np.ones((2, 2), "int16"), np.zeros((2, 2), "int16")],
    lambda f: [np.float32(1), np.float32(2)],
    lambda f: [1.5, 2.0],
    lambda f: [1, 2],
    lambda f: [True, False],
    lambda f: ["a", "b"],
    lambda f: [{"x": 1, "y": "s"}, {"x": 2, "y": "t"}],
    lambda f: [collections.OrderedDict(x=f.ones(1)), collections.OrderedDict(x=f.ones(1))],
    lambda f: [Pair(1, 2.0), Pair(3, 4.0)],
    lambda f: [(f.ones(2), 3), (f.zeros(2), 4)],
    lambda f: [[1, (2, "a")], [3, (4, "b")]],
    lambda f: [f.ones(2).to(f.bfloat16), f.ones(2).to(f.bfloat16)],
]


def test_batches_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for make in BATCHES:
        mine = [plain(f(make(lg))) for f in (data.default_collate, data.default_convert)]
        module = torch.utils.data
        theirs = [plain(f(make(torch))) for f in (module.default_collate, module.default_convert)]
        assert mine == theirs


ERRORS: list[Callable[[Any, Any], Any]] = [
    lambda d, f: d.default_collate([{1}, {2}]),
    lambda d, f: d.default_collate([np.array(["a"]), np.array(["b"])]),
    lambda d, f: d.default_collate([[1, 2], [3]]),
    lambda d, f: d.default_collate([f.ones(2), f.ones(3)]),
    lambda d, f: d.TensorDataset(f.ones(2), f.ones(3)),
    lambda d, f: d.StackDataset(),
    lambda d, f: d.StackDataset(d.TensorDataset(f.ones(2)), d.TensorDataset(f.ones(3))),
    lambda d, f: d.ConcatDataset([]),
    lambda d, f: d.ConcatDataset([d.TensorDataset(f.ones(2))])[-3],
    lambda d, f: d.random_split(range(5), [2, 2]),
    lambda d, f: d.random_split(range(5), [1.5, -0.5]),
    lambda d, f: d.RandomSampler([1], replacement=1),
    lambda d, f: d.RandomSampler([]),
    lambda d, f: d.WeightedRandomSampler([1.0], 0),
    lambda d, f: d.WeightedRandomSampler([[1.0]], 1),
    lambda d, f: d.BatchSampler([1], 0, False),
    lambda d, f: d.BatchSampler([1], 1, 0),
    lambda d, f: d.DataLoader([1], num_workers=-1),
    lambda d, f: d.DataLoader([1], timeout=-1),
    lambda d, f: d.DataLoader([1], prefetch_factor=2),
    lambda d, f: d.DataLoader([1], persistent_workers=True),
    lambda d, f: d.DataLoader([1], sampler=[0], shuffle=True),
    lambda d, f: d.DataLoader([1], batch_sampler=[[0]], batch_size=2),
    lambda d, f: d.DataLoader([1], batch_size=None, drop_last=True),
    lambda d, f: d.DataLoader([1], multiprocessing_context="fork"),
    lambda d, f: d.DataLoader([1], num_workers=1, multiprocessing_context="thread"),
    lambda d, f: d.DataLoader([1], num_workers=1, multiprocessing_context=3),
    lambda d, f: setattr(d.DataLoader([1]), "batch_size", 2),
    lambda d, f: d.DataLoader(d.ChainDataset([]), shuffle=True),
    lambda d, f: d.DataLoader(d.ChainDataset([]), sampler=[1]),
]  # fmt: skip


def test_errors_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for make in ERRORS:
        raised = []
        for framework in (lg, torch):
            with pytest.raises(Exception) as caught:
                make(framework.utils.data, framework)
            raised.append((type(caught.value), str(caught.value)[:60]))
        assert raised[0] == raised[1]


def test_datasets_made_of_datasets() -> None:
    first = data.TensorDataset(lg.arange(6), lg.arange(6.0) / 2)
    second = data.TensorDataset(lg.arange(2) + 10, lg.zeros(2))
    both = first + second
    assert isinstance(both, data.ConcatDataset) and len(both) == 8
    assert [both[i][0].item() for i in (0, 5, 6, -1)] == [0, 5, 10, 11]
    stacked = data.StackDataset(a=first, b=data.Subset(first, [3, 2, 1, 0, 4, 5]))
    assert stacked[1]["b"][0].item() == 2
    assert [s["b"][0].item() for s in stacked.__getitems__([0, 4])] == [3, 4]
    lg.manual_seed(3)
    parts = data.random_split(first, [0.5, 0.3, 0.2])
    assert [len(part) for part in parts] == [4, 1, 1]
    assert sorted(i for part in parts for i in part.indices) == list(range(6))
    nested = data.Subset(parts[0], [1, 0])
    (batch,) = data.DataLoader(nested, 2)
    assert batch[0].tolist() == [parts[0].indices[1], parts[0].indices[0]]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        data.random_split(range(1), [0.9, 0.1])  # type: ignore[arg-type]
    assert "might result in an empty dataset" in str(seen[0].message)


def test_orders() -> None:
    source = data.TensorDataset(lg.arange(50))

    def order(**options: Any) -> list[int]:
        return [i for batch in data.DataLoader(source, 7, **options) for i in batch[0].tolist()]

    generator = lg.Generator()
    orders = [order(shuffle=True, generator=generator.manual_seed(5)) for _ in range(2)]
    assert (
        orders[0]
        == orders[1]
        == order(shuffle=True, generator=generator.manual_seed(5), num_workers=1)
    )
    assert sorted(orders[0]) == list(range(50)) != orders[0]
    assert order(shuffle=True) != order(shuffle=True)
    picked = order(sampler=data.SubsetRandomSampler(range(20, 30)))
    assert sorted(picked) == list(range(20, 30))
    twice = order(sampler=data.RandomSampler(source, num_samples=120))
    assert sorted(twice[:50]) == sorted(twice[50:100]) == list(range(50)) and len(twice) == 120
    again = order(sampler=data.RandomSampler(source, replacement=True, num_samples=5000))
    assert len(again) == 5000 and set(again) == set(range(50))
    weights = [0.0] * 48 + [1.0, 3.0]
    drawn = order(sampler=data.WeightedRandomSampler(weights, 4000))
    assert set(drawn) == {48, 49} and 0.7 < drawn.count(49) / 4000 < 0.8
    assert sorted(order(sampler=data.WeightedRandomSampler(weights, 2, replacement=False))) == [
        48,
        49,
    ]
    with pytest.raises(RuntimeError, match="without replacement"):
        order(sampler=data.WeightedRandomSampler(weights, 3, replacement=False))
    batches = data.BatchSampler(data.SequentialSampler(range(7)), 3, drop_last=True)
    assert list(batches) == [[0, 1, 2], [3, 4, 5]] and len(batches) == 2
    assert len(data.DataLoader(source, 7)) == 8 == len(list(data.DataLoader(source, 7)))
