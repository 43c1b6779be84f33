"""A saved tree comes back as it was, a damaged file raises and takes no memory, and a save that dies leaves the old file."""

from __future__ import annotations

import collections
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import safetensors.numpy as safetensors

import lazygrad as lg
from lazygrad import nn
from lazygrad.ir.dtype import ALL

Point = collections.namedtuple("Point", "x")
ROOT = pathlib.Path(__file__).resolve().parents[2]


def equal(one: Any, other: Any) -> bool:
    """Whether two trees are the same values of the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, lg.Tensor):
        return (
            one.dtype is other.dtype
            and one.stride() == other.stride()
            and one.requires_grad == other.requires_grad
            and one.shape == other.shape
            and one.tolist() == other.tolist()
        )
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other) or (one != one and other != other)


def tree() -> dict[Any, Any]:
    values: dict[Any, Any] = {
        f"dtype {dtype.name}": lg.arange(5).to(dtype).view(5, 1) for dtype in ALL
    }
    values.update(
        nested={
            "list": [
                1,
                -2.5,
                float("nan"),
                float("-inf"),
                None,
                True,
                "é\ud800",
                b"\x00\xff",
                3j,
                2**80,
            ]
        },
        fixed=(lg.tensor(3), (), ((1,),), frozenset([1, (2, "x")])),
        ordered=collections.OrderedDict(b=1, a=lg.zeros(0, 3)),
        counter=collections.Counter("aab"),
        sets={1, "two"},
        kinds=[lg.bfloat16, lg.device("cpu"), lg.Size([2, 3]), bytearray(b"x")],
        numpy=[np.arange(6.0).reshape(2, 3), np.float64(2.5), np.int8(-3)],
        parameter=nn.Parameter(lg.ones(2, dtype=lg.float16)),
        leaf=lg.ones(2, requires_grad=True),
        computed=lg.ones(2, requires_grad=True) * 2,
        transposed=lg.arange(6).view(2, 3).t(),
        repeated=lg.tensor([7]).expand(100, 50),
        part=lg.arange(100)[10:20:2].contiguous(),
    )
    values[5], values[(1, None)], values["__metadata__"] = "int", "tuple", lg.ones(1)
    values["nested.list"] = lg.ones(1)
    return values


@pytest.mark.parametrize("how", ["path", "file", "mapped"])
def test_a_tree_comes_back(how: str, tmp_path: pathlib.Path) -> None:
    before, file = tree(), io.BytesIO()
    target: Any = file if how == "file" else tmp_path / "tree.safetensors"
    lg.save(before, target)
    file.seek(0)
    after = lg.load(target, mmap=how == "mapped" or None)
    assert after.pop("nested")["list"][2:3] != [None]
    for key, value in after.items():
        assert equal(before[key], value), key
    assert list(before)[len(ALL)] == "nested"
    if how == "path":
        assert os.path.getsize(target) < 12_000  # what is repeated is stored once
        other = lg.load(target)["nested"]["list"]
        assert equal(before["nested"]["list"], other)


def test_what_was_one_is_one_again(tmp_path: pathlib.Path) -> None:
    base = lg.arange(12.0).view(3, 4)
    shared = [base[1], base.t()[1:], base]
    loop: list[Any] = [base, shared, (shared,)]
    loop.append(loop)
    halves = lg.arange(8)
    lg.save(
        {"loop": loop, "parts": [halves[:3], halves[2:6]], "bits": [base.view(lg.int32), base]},
        tmp_path / "t",
    )
    found = lg.load(tmp_path / "t")
    after = found["loop"]
    assert after[3] is after and after[2][0] is after[1] and after[1][2] is after[0]
    after[0][1, 2] = 50
    assert after[1][0].tolist() == [4, 5, 50, 7] and after[1][1][1, 1].item() == 50
    assert found["bits"][0][1, 2].item() == int(np.float32(50).view(np.int32))
    first, second = found["parts"]
    first[2] = -1
    assert second.tolist() == [-1, 3, 4, 5] and second.storage is first.storage
    assert not after[1][1]._is_view()


def test_a_deep_tree() -> None:
    deep: Any = lg.ones(1)
    for number in range(20_000):
        deep = (deep,) if number % 2 else [deep]
    file = io.BytesIO()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        lg.save(deep, file)
        file.seek(0)
        found = lg.load(file)
    finally:
        sys.setrecursionlimit(limit)
    for _ in range(20_000):
        (found,) = found
    assert found.tolist() == [1.0]


def test_state_dicts_go_both_ways(tmp_path: pathlib.Path) -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def step(model: nn.Module, optimizer: Any) -> list[Any]:
        optimizer.zero_grad()
        model(lg.arange(6.0).view(2, 3)).sum().backward()
        optimizer.step()
        found: list[Any] = [parameter.tolist() for parameter in model.parameters()]
        return found

    lg.manual_seed(0)
    one = model()
    moments = lg.optim.AdamW(one.parameters(), lr=0.1)
    step(one, moments)
    lg.save({"model": one.state_dict(), "optimizer": moments.state_dict()}, str(tmp_path / "c.pt"))
    other = model()
    found = lg.load(tmp_path / "c.pt", weights_only=True, map_location="cpu")
    assert found["model"]._metadata == one.state_dict()._metadata  # type: ignore[attr-defined]
    other.load_state_dict(found["model"])
    again = lg.optim.AdamW(other.parameters(), lr=0.5)
    again.load_state_dict(found["optimizer"])
    assert step(one, moments) == step(other, again)


def test_mapped_tensors_do_not_change_the_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "m.safetensors"
    lg.save({"x": lg.arange(1000.0), "mask": lg.ones(3, dtype=lg.bool)}, path)
    before = path.read_bytes()
    found = lg.load(path, mmap=True)
    found["x"][3:5] += 1
    assert (found["x"].numpy()[:6] == [0, 1, 2, 4, 5, 5]).all()
    assert path.read_bytes() == before
    assert lg.load(path)["x"][3].item() == 3
    with pytest.raises(ValueError, match="mmap"):
        lg.load(io.BytesIO(before), mmap=True)


@pytest.mark.of_the_host
def test_arrays_of_mapped_tensors_do_not_change_the_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "m.safetensors"
    lg.save({"x": lg.arange(1000.0)}, path)
    before = path.read_bytes()
    found = lg.load(path, mmap=True)
    found["x"].numpy()[0] = 9
    assert found["x"][0].item() == 9 and path.read_bytes() == before


def test_other_programs_read_the_file_and_are_read(tmp_path: pathlib.Path) -> None:
    dtypes = [dtype for dtype in ALL if dtype.name != "bfloat16"]
    state = {f"layer.{dtype.name}": lg.arange(6).view(2, 3).to(dtype) for dtype in dtypes}
    state["layer.turned"] = lg.arange(6).view(2, 3).t()
    lg.save(state, tmp_path / "ours")
    found = safetensors.load_file(tmp_path / "ours")
    assert set(found) == set(state)
    assert all(np.array_equal(found[name], state[name].numpy()) for name in state)
    arrays = {name: value.copy() for name, value in found.items()}
    safetensors.save_file(arrays, tmp_path / "theirs", metadata={"format": "np"})
    back = lg.load(tmp_path / "theirs")
    assert set(back) == set(state)
    assert all(back[name].tolist() == state[name].tolist() for name in state)


@pytest.mark.of_the_cpu("about several devices")
def test_map_location(tmp_path: pathlib.Path) -> None:
    path, seen = tmp_path / "x", []
    lg.save([lg.arange(3, device="interpret"), lg.ones(1)], path)
    assert [each.place for each in lg.load(path)] == ["interpret", "cpu"]
    assert [each.place for each in lg.load(path, "cpu")] == ["cpu", "cpu"]
    assert [each.place for each in lg.load(path, {"cpu": "interpret"})] == ["interpret"] * 2

    def choose(storage: Any, location: str) -> Any:
        seen.append((location, storage.tolist()))
        return storage.to("interpret") if location == "cpu" else None

    assert [each.place for each in lg.load(path, map_location=choose)] == ["interpret"] * 2
    assert seen == [("interpret", [0, 1, 2]), ("cpu", [1.0])]
    with pytest.raises(RuntimeError, match="deserialize object on cuda"):
        lg.load(path, map_location=lg.device("cuda"))


# --- files that are wrong


def pieces(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: Any, rest: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + rest


def change(key: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda header: header[key].update(values)


def structure(edit: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    def apply(header: dict[str, Any]) -> None:
        found = json.loads(header["__metadata__"]["lazygrad"])
        edit(found)
        header["__metadata__"]["lazygrad"] = json.dumps(found)

    return apply


HUGE = 1 << 40
WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "overlap": (change("b", data_offsets=[8, 16]), "overlap|hole|end at"),
    "hole": (change("b", data_offsets=[20, 28]), "hole"),
    "outside": (change("b", data_offsets=[HUGE, HUGE + 8]), "hole"),
    "large": (change("b", shape=[HUGE], data_offsets=[16, 16 + HUGE * 4]), "end at byte"),
    "shape": (change("b", shape=[3]), "range of 8 bytes"),
    "product": (change("b", shape=[1 << 62, 1 << 62]), "range of"),
    "negative": (change("b", shape=[-2]), "shape"),
    "truth": (change("b", shape=[True, 2]), "shape"),
    "dtype": (change("b", dtype="C128"), "dtype 'C128'"),
    "metadata": (lambda h: h.update(__metadata__={"a": 1}), "metadata"),
    "extra": (lambda h: h["b"].update(code="x"), "needs a dtype"),
    "later": (structure(lambda s: s.update(version=99)), "later lazygrad"),
    "root": (structure(lambda s: s.update(root=[9])), "damaged"),
    "kind": (structure(lambda s: s["records"][1].update(kind="module")), "damaged"),
    "view": (structure(lambda s: s["records"][1].update(stride=[HUGE])), "outside of its storage"),
    "offset": (structure(lambda s: s["records"][1].update(offset=-1)), "offset -1"),
    "width": (structure(lambda s: s["records"][1].update(dtype="float32")), "elements in a storage"),
    "records": (structure(lambda s: s.update(records=3)), "damaged"),
    "plain": (structure(lambda s: s.update(root={"number": ["O", "AAAA"]})), "damaged"),
}  # fmt: skip


@pytest.fixture(scope="module")
def good() -> bytes:
    file = io.BytesIO()
    lg.save({"a": lg.arange(2), "b": lg.ones(2)}, file)
    return file.getvalue()


def refuses(data: bytes, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((RuntimeError, EOFError), match=message):
            lg.load(io.BytesIO(data))
        assert tracemalloc.get_traced_memory()[1] < 1 << 21
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_table_raises(name: str, good: bytes) -> None:
    header, rest = pieces(good)
    edit, message = WRONG[name]
    edit(header)
    refuses(joined(header, rest), message)


def test_a_damaged_file_raises(good: bytes) -> None:
    header, rest = pieces(good)
    for length in (0, 3, 8, 9, 60, len(good) - 25, len(good) - 1):
        refuses(good[:length], "truncated|empty|few|claims|end at|neither")
    refuses(good + b"\0", "end at")
    refuses(joined(header, rest, 1 << 62), "claims|neither")
    refuses(joined(header, rest, 99_999_999), "claims 99999999 bytes of a file")
    refuses(joined(b'{"a":' + b"[" * 100_000, rest), "no JSON")
    twice = json.dumps(header["a"])
    refuses(joined(f'{{"a":{twice},"a":{twice}}}'.encode(), rest), "twice")
    refuses(b"hello world", "neither")
    generator = np.random.default_rng(0)
    for position in generator.integers(0, len(good), 150):
        broken = bytearray(good)
        broken[position] ^= 1 << int(generator.integers(0, 8))
        try:
            lg.load(io.BytesIO(bytes(broken)))
        except (RuntimeError, EOFError):
            continue  # anything else would be a bug


def test_keys_of_many_parts_raise() -> None:
    """A tuple of the same tuple twice, forty times over, would take for ever to hash."""
    records: list[Any] = [{"kind": "dict", "keys": [[1]], "items": [1]}]
    records += [{"kind": "tuple", "items": [[n + 1], [n + 1]]} for n in range(1, 40)]
    records.append({"kind": "tuple", "items": []})
    text = json.dumps({"version": 1, "root": [0], "records": records})
    refuses(joined({"__metadata__": {"lazygrad": text}}, b""), "more than 100 parts")
    records[-1] = {"kind": "tuple", "items": [[1]]}
    text = json.dumps({"version": 1, "root": [0], "records": records})
    refuses(joined({"__metadata__": {"lazygrad": text}}, b""), "holds itself")


def test_what_cannot_be_saved_is_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x"
    lg.save(1, path)
    for value in (nn.Linear(1, 1), open, Point(1), np.array("text")):
        with pytest.raises(TypeError, match=r"cannot store 'a\.1' of type"):
            lg.save({"a": [1, value]}, path)
    with pytest.raises(RuntimeError, match=r"Parent directory .* does not exist"):
        lg.save(1, tmp_path / "nowhere" / "x")
    with pytest.raises(IndexError):
        lg.save({"x": lg.arange(3), "y": lg.arange(3)[lg.tensor([5])]}, path)
    assert lg.load(path) == 1 and os.listdir(tmp_path) == ["x"]


KILLED = """
import os, signal, sys
import lazygrad as lg
from lazygrad.serialization import saving

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "half":
    class Half:
        def __init__(self, file): self.file = file
        def write(self, data):
            self.file.write(bytes(data)[:len(data) // 2])
            self.file.flush()
            die()
    write = saving._write
    saving._write = lambda file, *rest: write(Half(file), *rest)
else:
    os.replace = die
lg.save({"x": lg.ones(1000)}, sys.argv[1])
"""


@pytest.mark.parametrize("moment", ["half", "before"])
def test_a_kill_leaves_the_old_file(moment: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.safetensors"
    lg.save({"x": lg.zeros(5)}, path)
    os.chmod(path, 0o640)
    command = [sys.executable, "-c", KILLED, str(path), moment]
    ended = subprocess.run(command, cwd=ROOT, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert lg.load(path)["x"].tolist() == [0.0] * 5
    link = tmp_path / "link"
    link.symlink_to(path)
    lg.save([1], link)
    assert lg.load(path) == [1] and link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
