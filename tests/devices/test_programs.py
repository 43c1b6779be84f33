"""Programs on every device: views, writes in place, errors, gradients, training; and random programs on OpenCL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config

from ..functional import cases
from ..programs import execute
from ..programs.generator import drawn, write

RANDOM_PROGRAMS = 40


def test_writes_in_place(device: str) -> None:
    """Each in-place operation of the table, on a whole tensor and on a view of one, as the interpreter has it."""
    reference = "cpu" if device == "interpret" else "interpret"
    results = []
    for where in (reference, device):
        with config.override(device=where):
            found = []
            for text in cases.split(cases.INPLACE):
                names = cases.operands(lg, grad=False)
                base = lg.tensor(np.linspace(0.1, 2.0, 40).reshape(5, 8), dtype=lg.float32)
                for x in (base[:3, :4].clone(), base[1:4, ::2]):
                    eval(text, {**names, "x": x})
                found += [x, base]
            lg.realize(found)
            results.append([each.numpy() for each in found])
    for number, (left, right) in enumerate(zip(*results)):
        np.testing.assert_allclose(right, left, rtol=3e-5, atol=1e-6, err_msg=str(number))


def test_aliases_see_writes(place: str) -> None:
    base = lg.zeros(4, 4)
    row, column, same = base[1], base[:, 2], base.detach()
    row.add_(1)
    column.mul_(3)
    base.view(-1)[15] = 7
    assert base.tolist() == [[0, 0, 0, 0], [1, 1, 3, 1], [0, 0, 0, 0], [0, 0, 0, 7]]
    assert same.tolist() == base.tolist() and row.tolist() == [1, 1, 3, 1]
    assert base.place.partition(":")[0] == place.partition(":")[0]


def test_memory_of_the_host_is_shared_or_the_copy_is_known(place: str, tmp_path: Path) -> None:
    numbers, path = np.arange(3.0), str(tmp_path / "numbers")
    given = [
        lg.from_numpy(numbers),
        lg.from_dlpack(numbers),
        lg.asarray(numbers),
        lg.frombuffer(numbers, dtype=lg.float64),
    ]
    for each in given:
        assert each.place == place and each.mul(2).tolist() == [0, 2, 4]
    if place in ("cpu", "interpret"):
        given[0][1] = 5
        assert all(each.tolist() == [0, 5, 2] for each in given)
        assert lg.asarray(numbers, copy=False).tolist() == [0, 5, 2]
        lg.from_file(path, shared=True, size=3)[1] = 5
        assert np.fromfile(path, np.float32).tolist() == [0, 5, 0]
        return
    given[0][1] = 5
    assert numbers.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="can't alias ndarray"):
        lg.asarray(numbers, copy=False)
    with pytest.raises(ValueError, match="without copying"):
        lg.from_dlpack(numbers, copy=False)
    with pytest.raises(RuntimeError, match="do not reach a file"):
        lg.from_file(path, shared=True, size=3)
    with pytest.raises(BufferError, match=f"on {place} to DLPack's device"):
        np.from_dlpack(given[0])
    if np.__version__ >= "2.1":
        assert np.from_dlpack(given[0], device="cpu").tolist() == [0, 5, 2]


def test_errors_leave_tensors_alive(place: str) -> None:
    x = lg.arange(12.0).reshape(3, 4)
    y = x * 2
    for _ in range(2):
        with pytest.raises(
            IndexError, match="index 7 is out of bounds for dimension 0 with size 3"
        ):
            x[lg.tensor([0, 7])].sum().item()
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            (lg.tensor([4, 3]) // lg.tensor([2, 0])).tolist()
    assert y.tolist() == (np.arange(12.0).reshape(3, 4) * 2).tolist()
    assert x[lg.tensor([0, 2])].sum().item() == 44.0


MIXED = """
x[x < 0] = 0
x[0] = 0
x[[0, 2]] = 7
x[index] = 7
x[mask] = 7
x[x < 0] = number
x[index, index] = number
x.index_put_((index,), number)
x = x[index]
x = x[mask]
x = x[True]
x = x * number + number * x
x += number
x = torch.where(x > 0, number, 0)
x = torch.where(x > 0, x, number)
x = x.masked_fill(x > 0, number)
x = torch.lerp(x, x * 2, 0.5).clamp(min=number)
"""
"""Programs with numbers, indices and masks of the host: as in PyTorch they go where the tensor is."""


def test_the_host_beside_a_device(device: str) -> None:
    if device == "cpu":
        return
    values = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    for text in MIXED.strip().splitlines():
        results = []
        for where in ("cpu", device):
            names: dict[str, Any] = {
                "index": lg.tensor([2, 0]),
                "mask": lg.tensor([True, False, True]),
            }
            for _ in range(2):  # the second time by a recipe
                names |= {"torch": lg, "number": lg.tensor(1.5), "x": lg.tensor(values).to(where)}
                exec(text, names)
            assert names["x"].place.partition(":")[0] == where, text
            results.append(names["x"].tolist())
        assert results[0] == results[1], text
    scale = lg.tensor(2.0, requires_grad=True)
    x = lg.tensor(values).to(device)
    for made in (
        lg.rand_like(x), lg.randn_like(x), lg.randint_like(x, 4), lg.ones_like(x), x.new_tensor([1.0]), x.new_tensor(lg.ones(2)), x.new_zeros(2),
    ):  # fmt: skip
        assert made.device == x.device
    (x * scale).sum().backward()
    assert scale.grad is not None and scale.grad.device == scale.device
    np.testing.assert_allclose(scale.grad.item(), values.sum(), rtol=1e-5)
    for text in ("x * lg.ones(4)", "lg.ones(()).add_(x[0, 0])", "x.index_put_((lg.tensor([0]),), lg.ones(4))"):  # fmt: skip
        with pytest.raises(RuntimeError, match="on the same device, but found at least two"):
            eval(text, {"lg": lg, "x": x})


def test_a_network_learns(place: str) -> None:
    """Twenty steps of a network with embedding, normalisation, attention's softmax and Adam."""
    losses = train(place)
    assert losses[-1] < 0.5 * losses[0], losses


def train(where: str) -> list[float]:
    with config.override(device=where):
        lg.manual_seed(3)
        words = lg.arange(24).reshape(6, 4) % 7
        table = lg.nn.Embedding(7, 8)
        norm, first, last = lg.nn.LayerNorm(8), lg.nn.Linear(8, 16), lg.nn.Linear(16, 3)
        parameters = [p for module in (table, norm, first, last) for p in module.parameters()]
        optimizer = lg.optim.Adam(parameters, lr=0.05)
        found = []
        for _ in range(20):
            x = norm(table(words))
            x = (x @ x.transpose(1, 2) / 8**0.5).softmax(-1) @ x
            loss = lg.nn.functional.cross_entropy(
                last(first(x).relu()).mean(1), lg.tensor([0, 1, 2, 0, 1, 2])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found


def test_large_and_odd_sizes(place: str) -> None:
    """Sizes that are shared by many work-items, rows that no cache holds, and tails that no vector divides."""
    values = np.random.default_rng(0).random((257, 1031), dtype=np.float32)
    x = lg.tensor(values)
    checks = {
        "sum": (x.sum(), values.sum(dtype=np.float64)),
        "rows": (x.sum(1), values.sum(1, dtype=np.float64)),
        "columns": (x.amax(0), values.max(0)),
        "softmax": (x.softmax(1).sum(1), np.ones(257)),
        "product": (x @ x.T, values.astype(np.float64) @ values.T),
        "transposed": (x.t().contiguous()[5], values[:, 5]),
        "chain": ((x * 2 - 1).sin().exp()[100], np.exp(np.sin(values[100] * 2 - 1))),
    }
    lg.realize([value for value, _ in checks.values()])
    for name, (value, wanted) in checks.items():
        np.testing.assert_allclose(value.numpy(), wanted, rtol=2e-5, err_msg=name)
    wide = lg.ones(3, 70_000) * lg.arange(70_000)  # a row larger than private memory
    np.testing.assert_allclose(
        (wide - wide.mean(1, keepdim=True)).std(1).numpy(), 20207.26, rtol=1e-4
    )


@pytest.mark.parametrize("part", range(4))
def test_random_programs(part: int, device: str) -> None:
    """The programs of tests/programs, which run all of them on the CPU and the interpreter: here the few that both take again."""
    count = RANDOM_PROGRAMS if device == "opencl" else 4
    for number in range(part, count, 4):
        execute.check(write(drawn(number)), device)
