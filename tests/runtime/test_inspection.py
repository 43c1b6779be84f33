"""What the compiler shows, and the checks that compare it with the interpreter."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.ir import build
from lazygrad.ir.args import Constant
from lazygrad.ir.node import Node, constant, postorder
from lazygrad.ir.op import Op
from lazygrad.runtime import compile, device, oracle
from lazygrad.runtime.keys import Normal
from lazygrad.runtime.plans import CompiledPlan, Record
from lazygrad.runtime.realize import PLANS, realize

DEVICES = ("interpret", "cpu")


@pytest.fixture(params=DEVICES)
def on(request: pytest.FixtureRequest) -> Iterator[str]:
    with config.override(device=request.param):
        yield request.param


def launches() -> int:
    return device.default().launches


def two_layers(x: lg.Tensor, w1: lg.Tensor, w2: lg.Tensor) -> lg.Tensor:
    result: lg.Tensor = ((x @ w1).relu() @ w2).square().sum()
    return result


def tensors() -> tuple[lg.Tensor, lg.Tensor, lg.Tensor]:
    generator = np.random.default_rng(0)
    x, w1, w2 = (
        lg.tensor(np.asarray(generator.standard_normal(shape), np.float32))
        for shape in ((8, 20), (20, 6), (6, 3))
    )
    return x, w1.requires_grad_(), w2.requires_grad_()


# --- what is kept for gradients


def contractions(record: Record) -> int:
    from lazygrad.schedule.place import contraction

    return sum(contraction(n) for n in postorder(record.graph))


@pytest.mark.parametrize("read_first", [False, True])
def test_a_read_of_the_loss_costs_no_second_forward(
    read_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two contractions forward, three backward (the data need no gradient), with and without the read."""
    with config.override(device="cpu"):
        records: list[Record] = []
        original = compile.compile_normal

        def spy(
            normal: Normal, record: object = None, general: list[Node] | None = None
        ) -> CompiledPlan:
            records.append(Record())
            return original(normal, records[-1], general)

        monkeypatch.setattr("lazygrad.runtime.realize.plan_for", spy)
        PLANS.clear()
        x, w1, w2 = tensors()
        loss = two_layers(x, w1, w2)
        if read_first:
            loss.item()
        loss.backward()
        assert w1.grad is not None and w2.grad is not None
        realize([w1.grad.node, w2.grad.node])
        assert sum(map(contractions, records)) == 5


# --- dumps


def test_every_dump_of_one_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with config.override(device="cpu", dump="all", dump_to=str(tmp_path)):
        x = lg.tensor([1.0, 2.0, 3.0])
        (x * 2.5).exp().tolist()
    kinds = {path.name.split("_")[1].split(".")[0] for path in tmp_path.iterdir()}
    assert {"graph", "schedule", "kernel", "source", "asm"} <= kinds
    kernel = next(p for p in sorted(tmp_path.iterdir()) if "_kernel" in p.name).read_text()
    assert "kernel " in kernel and "store" in kernel and "test_inspection.py" in kernel
    assert capsys.readouterr().err == ""


def test_dump_filter_by_name_and_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    x = lg.tensor([1.0, 2.0, 3.0])
    with config.override(device="cpu", dump="kernel", dump_filter="no_such_kernel*"):
        (x * 3.5).tolist()
        assert capsys.readouterr().err == ""
    with config.override(device="cpu", dump="kernel", dump_filter="*@test_inspection.py:*"):
        (x * 3.5).tolist()
        assert "kernel mul" in capsys.readouterr().err
    with config.override(device="cpu", dump="kernel", dump_filter="*@other.py:7"):
        (x * 3.5).tolist()
        assert capsys.readouterr().err == ""


def test_dump_of_passes_and_their_differences(capsys: pytest.CaptureFixture[str]) -> None:
    x, w1, w2 = tensors()
    with config.override(device="cpu", dump_passes="all"):
        two_layers(x, w1, w2).item()
        text = capsys.readouterr().err
        for name in ("expand", "attach", "inline", "simplify", "lower", "optimise"):
            assert f"--- pass {name}" in text
    with config.override(device="cpu", dump_passes="simplify", dump_diff=True):
        two_layers(x, w1, w2).item()
        text = capsys.readouterr().err
        assert "--- pass simplify" in text and "--- before" in text and "pass expand" not in text
    assert compile.PASS_TIMES["simplify"].runs > 0 and compile.PASS_TIMES["simplify"].seconds > 0


def test_a_dump_changes_nothing_and_is_not_lost_to_the_cache(
    capsys: pytest.CaptureFixture[str],
) -> None:
    x = lg.tensor([1.0, 2.0, 3.0])
    with config.override(device="cpu"):
        plain = (x * 4.5 + 1.25).tolist()
        for _ in range(2):
            with config.override(dump="kernel"):
                assert (x * 4.5 + 1.25).tolist() == plain
            assert "kernel" in capsys.readouterr().err or _ == 1


def test_explanations(capsys: pytest.CaptureFixture[str], on: str) -> None:
    x = lg.tensor([1.0, 2.0, 3.0])
    with config.override(explain="recompile,realize"):
        (x * 5.5).sum().item()
        capsys.readouterr()
        (x * 5.5).max().item()
        text = capsys.readouterr().err
    assert "compiles a program" in text and "runs 1 result" in text and "item" in text
    assert "where the nearest plan has" in text or "nodes where" in text
    assert "test_inspection.py" in text


# --- checks


def test_verification_passes_and_catches_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w1, w2 = tensors()
    with config.override(device="cpu", verify=True):
        loss = two_layers(x, w1, w2)
        loss.backward()
        expected = loss.item()
        assert w1.grad is not None
        w1.grad.tolist()
    assert two_layers(x, w1, w2).item() == pytest.approx(expected)

    def wrong(kernel: Node, target: object) -> Node:
        """1.5 becomes 2.5 wherever it stands."""
        from lazygrad.ir.rewrite import RuleTable, rewrite

        table: RuleTable[Node] = RuleTable(f"wrong on purpose {id(kernel)}")

        @table.rule(Op.CONST)
        def change(node: Node) -> Node | None:
            if isinstance(node.arg, Constant) and node.arg.value == 1.5:
                return constant(2.5, node.dtype, node.shape, node.place)
            return None

        return rewrite([original(kernel, target)], table)[0]

    ((name, original),) = compile.KERNEL_PASSES
    monkeypatch.setattr(compile, "KERNEL_PASSES", ((name, wrong),))
    clamped = lg.tensor([0.0, 1.0, 2.0, 3.0]).clamp(max=1.5)
    with (
        config.override(device="cpu", verify=True),
        pytest.raises(oracle.VerificationError) as found,
    ):
        clamped.tolist()
    assert "the interpreter 1.5" in str(found.value) and "kernel" in str(found.value)


def test_debug_nans_names_the_operation_and_the_line(on: str) -> None:
    x = lg.tensor([4.0, -1.0])
    with config.override(debug_nans=True), pytest.raises(oracle.NaNError) as found:
        (x.sqrt() * 2.5 + 1.0).tolist()
    assert "made by sqrt at [1]" in str(found.value)
    assert "test_inspection.py" in str(found.value)
    with config.override(debug_nans=True):
        assert (x.abs().sqrt() + 1.5).tolist() == [3.5, 2.5]


def test_an_error_leaves_everything_as_it_was(on: str) -> None:
    x = lg.tensor([1.0, 2.0, 3.0])
    index = lg.tensor([0, 7])
    base = lg.tensor([5.0, 6.0, 7.0])
    with pytest.raises(
        IndexError, match=r"index 7 is out of bounds .* size 3 \(test_inspection.py"
    ):
        x.gather(0, index).tolist()
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError \(test_inspection.py"):
        (index // lg.tensor([1, 0])).tolist()
    with pytest.raises(IndexError):
        (x.gather(0, index) + 1).tolist()
    assert x.tolist() == [1.0, 2.0, 3.0] and base.tolist() == [5.0, 6.0, 7.0]
    assert index.tolist() == [0, 7]
    assert x.gather(0, lg.tensor([2, 0])).tolist() == [3.0, 1.0]


# --- threads and devices


def test_one_key_is_compiled_once_by_many_threads(on: str) -> None:
    before = PLANS.compiled
    data = lg.tensor(np.arange(17.0))
    found: list[list[float]] = []

    def work() -> None:
        with config.override(device=on):
            found.append((data * 6.5 - 1.0).cumsum(0).tolist())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all(values == found[0] for values in found)
    assert PLANS.compiled - before == 1


def test_a_graph_over_two_devices() -> None:
    array = np.arange(6, dtype=np.float32)
    leaf = Node(Op.BUFFER, (), lg.float32, (6,), None, place="interpret")
    leaf.value = device.get("interpret").from_host(array)
    there = build.copy(leaf * 2.5, "cpu")
    back = build.copy(there + 1.5, "interpret")
    total = back * leaf
    realize([total, there])
    assert total.value.device == "interpret" and there.value.device == "cpu"
    result = device.get("interpret").to_host(total.value, total.dtype, total.shape)
    np.testing.assert_array_equal(result, (array * 2.5 + 1.5) * array)
    (gradient,) = build.grad(
        [total.sum((0,))], [constant(1.0, lg.float32, (1,), "interpret")], [leaf]
    )
    realize([gradient])
    result = device.get("interpret").to_host(gradient.value, gradient.dtype, gradient.shape)
    np.testing.assert_allclose(result, 5 * array + 1.5)


def test_writes_that_wait_on_two_devices() -> None:
    tensors = []
    for name in ("interpret", "cpu"):
        with config.override(device=name):
            tensors.append(lg.tensor([1.0, 2.0, 3.0]))
            tensors[-1] += 1
    assert [t.storage.node.place for t in tensors] == ["interpret", "cpu"]
    for tensor in tensors:
        assert tensor.tolist() == [2.0, 3.0, 4.0]


# --- lower


def test_lower_changes_nothing_and_shows_every_stage(on: str) -> None:
    x, w1, w2 = tensors()
    counter = lg.zeros(3)
    state = lg.get_rng_state().tolist()

    def step() -> tuple[lg.Tensor, lg.Tensor]:
        loss = two_layers(x, w1, w2)
        loss.backward()
        counter.add_(1)
        assert w1.grad is not None
        with lg.no_grad():
            w1.sub_(w1.grad * 0.01)
        return loss, lg.rand(3)

    values = w1.tolist()
    version = counter._version
    count = launches()
    lowered = lg.lower(step)
    assert launches() == count
    assert w1.grad is None and w1.tolist() == values and counter.tolist() == [0.0, 0.0, 0.0]
    assert counter._version == version and lg.get_rng_state().tolist() == state
    assert len(lowered.plans) == 1
    assert "return" in lowered.graph
    sources = lowered.source(device="cpu")
    assert sources and all("define" in text for text in sources.values())
    assert all("ret" in text for text in lowered.asm(device="cpu").values())
    assert lowered.cost.bytes > 0 and lowered.cost.flops > 0 and lowered.cost.seconds > 0
    if on == "cpu":
        assert set(lowered.kernels) == set(sources) and "loops" in lowered.schedule
        assert all("kernel" in text for text in lowered.kernels.values())
    assert str(lowered).count("# plan") == 1


def test_a_read_inside_splits_the_plan(on: str) -> None:
    x = lg.tensor([1.0, 2.0, 3.0])

    def f(x: lg.Tensor) -> lg.Tensor:
        total = (x * 7.5).sum().item()
        scaled: lg.Tensor = x * total
        return scaled

    lowered = lg.lower(f, x)
    assert len(lowered.plans) == 2
    assert f(x).tolist() == [45.0, 90.0, 135.0]


def test_another_device_gets_the_program_as_it_was_before_passes(on: str) -> None:
    """Each device divides reductions its own way; and a program in parts, or with a loop of its own, has all its kernels: an LSTM's had none that could be shown."""
    x = lg.arange(8192 * 48.0).reshape(8192, 48).realize()
    names = [list(lg.lower(lambda: x.sum(0)).source("cuda"))]
    with config.override(device="interpret"):
        y = lg.tensor(x.numpy()).realize()
        names.append(list(lg.lower(lambda: y.sum(0)).source("cuda")))
    assert names[0] == names[1]
    layer, words = lg.nn.LSTM(3, 4), lg.ones(5, 2, 3)
    texts = lg.lower(lambda: layer(words)[0]).source("cuda")
    assert len(texts) >= 3 and all("__global__" in text for text in texts.values())
