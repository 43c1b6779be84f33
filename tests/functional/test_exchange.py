"""Memory that other libraries see and offer is shared, not copied: DLPack, buffers, files, pickles and copies."""

from __future__ import annotations

import array
import copy
import gc
import pathlib
import pickle
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.ir.dtype import ALL, DType

NUMPY = [dtype for dtype in ALL if dtype.name != "bfloat16"]


@pytest.mark.of_the_host
@pytest.mark.parametrize("dtype", ALL, ids=lambda dtype: dtype.name)
def test_memory_is_shared_with_torch(dtype: DType) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.arange(6).to(getattr(torch, dtype.name)).view(2, 3)
    ours = lg.from_dlpack(theirs.t())
    assert ours.dtype is dtype and ours.stride() == (1, 3)
    theirs[0, 1] = 0
    ours[2, 1] = 1
    assert ours.tolist() == theirs.t().tolist()
    ours = lg.arange(6).to(dtype).view(2, 3)
    theirs = torch.from_dlpack(ours[:, 1:])
    assert theirs.dtype is getattr(torch, dtype.name) and theirs.stride() == (3, 1)
    theirs[1, 1] = 1
    ours[0, 1] = 0
    assert ours[:, 1:].tolist() == theirs.tolist()
    assert ours.data_ptr() + ours.element_size() == theirs.data_ptr()


@pytest.mark.of_the_host
def test_memory_is_shared_with_numpy() -> None:
    for dtype in NUMPY:
        ours = lg.arange(6).to(dtype).view(2, 3)
        theirs = np.from_dlpack(ours)
        theirs[1, 2] = 0
        again = lg.from_dlpack(theirs)
        again[0, 0] = 1
        assert (
            ours.tolist()
            == theirs.tolist()
            == again.tolist()
            == np.array([[1, 1, 2], [3, 4, 0]]).astype(dtype.storage).tolist()
        )
    assert (
        lg.from_dlpack(np.zeros((0, 3))).shape == (0, 3) and lg.from_dlpack(np.array(2)).item() == 2
    )
    both = lg.ones(3)
    seen = np.from_dlpack(both)
    both.mul_(2)
    total = both.sum()
    seen[0] = 50
    assert both.tolist() == [50, 2, 2] and total.item() == 6  # what read the memory ran at once
    del seen
    gc.collect()
    assert both.storage.pinned() is None


@pytest.mark.of_the_host
def test_capsules_and_what_is_refused() -> None:
    capsule = lg.utils.dlpack.to_dlpack(lg.arange(3))
    made = lg.utils.dlpack.from_dlpack(capsule)
    assert made.tolist() == [0, 1, 2]
    for wrong in (capsule, 3, None):
        with pytest.raises(RuntimeError, match="invalid capsule"):
            lg.from_dlpack(wrong)
    with pytest.raises(BufferError, match="require gradient"):
        lg.ones(2, requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="cannot export"):
        lg.ones(2).__dlpack__(dl_device=(2, 0))
    with pytest.raises(AssertionError, match="stream should be None"):
        lg.ones(2).__dlpack__(stream=1)
    swapped = np.arange(3.0).astype(np.dtype(float).newbyteorder())
    uneven = np.zeros(3, [("a", np.float32), ("b", np.uint8)])["a"]
    for make in (lg.from_numpy, lg.as_tensor, lg.asarray):
        with pytest.raises(ValueError, match="byte order"):
            make(swapped)
        with pytest.raises(ValueError, match="multiple of the element byte size"):
            make(uneven)
    assert lg.tensor(swapped).tolist() == [0, 1, 2] and lg.tensor(uneven).tolist() == [0, 0, 0]
    for dtype in ("uint16", "complex64"):
        with pytest.raises(RuntimeError, match=f"no dtype {dtype}"):
            lg.from_dlpack(np.zeros(2, dtype))
    with pytest.raises(ValueError, match="negative"):
        lg.from_dlpack(np.arange(3)[::-1])
    ours = lg.ones(2)
    assert ours.__dlpack_device__() == (1, 0)
    other = np.from_dlpack(ours, copy=True) if np.__version__ >= "2.1" else np.ones(2)
    other[0] = 5
    assert ours.tolist() == [1, 1]


def test_memory_that_may_only_be_read_stays_as_it_is() -> None:
    fixed = np.arange(3.0)
    fixed.flags.writeable = False
    for made in (
        lg.from_numpy(fixed),
        lg.from_dlpack(fixed) if np.__version__ >= "2.1" else lg.from_numpy(fixed),
    ):
        part = made[1:]
        assert part.tolist() == [1, 2]
        part[0] = 7
        assert made.tolist() == [0, 7, 2] and fixed.tolist() == [0, 1, 2]
    data = b"\x01\x02\x03"
    made = lg.frombuffer(data, dtype=lg.uint8)
    made += 1
    assert made.tolist() == [2, 3, 4] and data == b"\x01\x02\x03"


@pytest.mark.of_the_host
def test_buffers_and_files(tmp_path: pathlib.Path) -> None:
    numbers = array.array("f", [1, 2, 3, 4])
    made = lg.frombuffer(numbers, dtype=lg.float32, count=2, offset=4, requires_grad=True)
    assert made.tolist() == [2, 3] and made.requires_grad
    made.data[0] = 9
    assert numbers[1] == 9
    halves = lg.frombuffer(bytearray(b"\x80\x3f\x00\x40"), dtype=lg.bfloat16)
    assert halves.tolist() == [1, 2]
    for arguments, text in (
        ({"offset": 16}, "offset"), ({"offset": 2}, "multiple"), ({"count": 5}, "greater than actual"), ({"count": 0}, "must not be 0"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=text):
            lg.frombuffer(numbers, dtype=lg.float32, **arguments)
    with pytest.raises(ValueError, match="buffer protocol"):
        lg.frombuffer(3, dtype=lg.float32)
    view = lg.arange(4, dtype=lg.int32)
    memory = view.__buffer__(0)
    assert memory.format == "i" and memory.shape == (4,)
    memory[1] = 50
    assert view.tolist() == [0, 50, 2, 3]
    with pytest.raises(BufferError):
        lg.ones(1, requires_grad=True).__buffer__(0)
    path = tmp_path / "numbers"
    shared = lg.from_file(str(path), shared=True, size=3, dtype=lg.int16)
    shared[1] = 300
    assert np.fromfile(path, np.int16).tolist() == [0, 300, 0]
    own = lg.from_file(str(path), size=2, dtype=lg.int16)
    own[0] = 5
    assert own.tolist() == [5, 300] and np.fromfile(path, np.int16).tolist() == [0, 300, 0]
    with pytest.raises(RuntimeError, match="6 bytes, and 8"):
        lg.from_file(str(path), size=4, dtype=lg.int16)


@pytest.mark.of_the_host
def test_asarray() -> None:
    leaf = lg.ones(2, requires_grad=True)
    result = leaf * 2
    assert lg.asarray(leaf) is leaf and lg.asarray(result) is result
    assert not lg.asarray(result, requires_grad=False).requires_grad
    assert lg.asarray([1.5], requires_grad=True).requires_grad
    numbers = np.arange(3)
    made = lg.asarray(numbers)
    made[0] = 5
    assert numbers[0] == 5 and lg.asarray(numbers, copy=True).storage.pin is None
    assert lg.asarray(numbers, dtype=lg.float32).dtype is lg.float32
    assert lg.asarray(bytearray(b"ab"), dtype=lg.uint8).tolist() == [97, 98]
    assert lg.asarray(np.float64(2)).dtype is lg.float64 and lg.asarray([[1], [2]]).shape == (2, 1)
    for wrong in ([1], np.arange(3)):
        with pytest.raises(ValueError, match="can't alias"):
            lg.asarray(wrong, dtype=lg.float32, copy=False)


def test_functions_of_numpy_give_tensors() -> None:
    x = lg.arange(3.0)
    for made in (
        np.square(x),
        np.multiply(x, x),
        np.add(np.array([0.0, 0, 2]), x, dtype=np.float32),
    ):
        assert isinstance(made, lg.Tensor) and made.tolist() == [0, 1, 4]
    assert np.asarray(x, np.int32).tolist() == [0, 1, 2] and np.stack([x, x]).shape == (2, 3)


def copied(value: Any) -> list[Any]:
    return [copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))]


def test_copies_of_everything() -> None:
    for value in (lg.bfloat16, lg.bool, lg.strided):
        assert all(each is value for each in copied(value))
    for other in (lg.device("cuda:1"), lg.Size([2, 3]), lg.finfo(lg.float16).dtype):
        assert all(each == other and type(each) is type(other) for each in copied(other))
    stream = lg.Generator().manual_seed(5)
    lg.rand(3, generator=stream)
    others = copied(stream)
    drawn = lg.rand(2, generator=stream).tolist()
    assert [lg.rand(2, generator=each).tolist() for each in others] == [drawn] * 3
    outside = np.arange(6.0)
    whole: Any = lg.from_numpy(outside).view(2, 3)
    whole.note = "kept"
    one, turned, same = copy.deepcopy([whole, whole.t()[1:], whole])
    outside[1] = 50
    one[0, 2] = -1
    assert one is same and one.note == "kept"
    assert turned.tolist() == [[1, 4], [-1, 5]] and turned.stride() == (1, 3)
    leaf = lg.ones(2, requires_grad=True)
    leaf.grad = lg.zeros(2)
    double = copy.deepcopy(leaf)
    assert double.requires_grad and double.grad is not None and double.grad is not leaf.grad
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(leaf * 2)


def test_an_array_is_compared_as_a_tensor() -> None:
    values, tensor = np.array([1.0, 3.0]), lg.tensor([1.0, 2.0])
    for found in (values == tensor, tensor == values):
        assert isinstance(found, lg.Tensor)
        assert found.tolist() == [True, False]
    with pytest.raises(TypeError, match="not supported between"):
        _ = values < tensor
