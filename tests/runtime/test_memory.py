"""The pool: blocks come back, stay bounded, and survive threads, forks and views."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from lazygrad.ir.dtype import bfloat16, bool_, float32, int64
from lazygrad.runtime import device, memory
from lazygrad.runtime.device import HostDevice
from lazygrad.runtime.memory import ALIGNMENT, HUGE_PAGE, SMALL, Buffer, Pool, size_class


@pytest.mark.parametrize("nbytes", [0, 1, 64, 65, 1000, 4096, 1 << 18, (1 << 20) + 1, 5 << 20])
def test_blocks_are_aligned_come_back_and_waste_little(nbytes: int) -> None:
    pool = Pool()
    buffer = pool.allocate("cpu", nbytes)
    address, size = buffer.address, size_class(nbytes)
    assert address % ALIGNMENT == 0 and address
    assert size >= nbytes and (size <= nbytes * 1.25 or size <= nbytes + ALIGNMENT)
    if size >= HUGE_PAGE:
        assert address % HUGE_PAGE == 0
    other = pool.allocate("cpu", nbytes)
    assert abs(other.address - address) >= size
    del buffer
    assert pool.kept == size
    assert pool.allocate("cpu", nbytes).address == address
    pool.empty_cache()
    assert pool.kept == 0


def test_every_size_has_one_class() -> None:
    classes = [size_class(n) for n in range(1 << 14)]
    assert classes == sorted(classes)
    assert all(size_class(size) == size for size in set(classes))


def test_the_pool_is_bounded() -> None:
    pool = Pool(limit=1 << 20)
    for _ in range(3):
        buffers = [pool.allocate("cpu", 200_000) for _ in range(20)]
        buffers += [pool.allocate("cpu", 1_000) for _ in range(20)]
        del buffers
        assert pool.kept <= 1 << 20


def test_pages_go_back_when_their_last_block_does() -> None:
    pool = Pool()
    buffer = pool.allocate("cpu", 3 << 20)
    owner = weakref.ref(buffer.owner)
    del buffer
    assert owner() is not None
    pool.empty_cache()
    assert owner() is None


def test_threads_share_a_pool() -> None:
    """Two buffers never hold one block: each thread finds what it wrote."""
    pool = Pool(limit=1 << 22)
    wrong: list[int] = []
    host = HostDevice("cpu", pool)

    def work(number: int) -> None:
        random = np.random.default_rng(number)
        held: list[Buffer] = []
        for _ in range(400):
            buffer = host.allocate(int(random.integers(8, 3000)))
            host.view(buffer, int64, (1,))[0] = number
            held.append(buffer)
            if len(held) > 20:
                wrong.extend(
                    n for n in (int(host.view(b, int64, (1,))[0]) for b in held) if n != number
                )
                del held[:15]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pool.kept <= pool.limit


def test_a_forked_child_has_its_own_memory_and_no_held_lock() -> None:
    pool = Pool()
    host = HostDevice("cpu", pool)
    buffer = host.from_host(np.arange(3.0))
    with pool._lock:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                thread = threading.Thread(target=lambda: pool.allocate("cpu", 8), daemon=True)
                thread.start()
                thread.join(5)
                host.view(buffer, int64, (3,))[:] = 7
                status = int(thread.is_alive())
            finally:
                os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert host.view(buffer, int64, (3,))[0] == 0


def test_too_much_memory_says_how_much() -> None:
    with pytest.raises(RuntimeError, match="you tried to allocate 4000000000000000 bytes"):
        device.get("cpu").allocate(4_000_000_000_000_000)


def test_a_cycle_that_dies_inside_the_pool_does_not_hang() -> None:
    pool = Pool()

    class Holder:
        def __init__(self) -> None:
            self.buffer, self.me = pool.allocate("cpu", 100), self

    Holder()
    with pool._lock:
        gc.collect()
    assert pool.kept >= size_class(100)


def test_host_arrays_go_in_and_out() -> None:
    host = device.get("cpu")
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    buffer = host.from_host(array)
    assert not buffer.external and buffer.nbytes == 48
    np.testing.assert_array_equal(host.to_host(buffer, float32, (4, 3)), array)
    view = host.view(buffer, float32, (4, 3))
    address = buffer.address
    del buffer
    view[0, 0] = 5  # the array keeps the memory
    assert host.allocate(48).address != address
    assert host.view(host.from_host(np.array(True)), bool_, ()).dtype == np.bool_
    assert host.to_host(host.from_host(np.zeros(2, np.uint16)), bfloat16, (2,)).dtype == np.uint16
    assert host.to_host(host.from_host(np.zeros((0, 3))), float32, (0, 3)).shape == (0, 3)


def test_wrapped_memory_is_the_array_itself_and_is_never_pooled() -> None:
    host = device.get("cpu")
    array = np.arange(4, dtype=np.float32)
    buffer = host.wrap(array)
    assert buffer.external and buffer.address == array.ctypes.data
    array[1] = 9
    assert host.to_host(buffer, float32, (4,))[1] == 9
    kept = memory.HOST.kept
    del buffer
    assert memory.HOST.kept == kept
    with pytest.raises(ValueError, match="not contiguous"):
        host.wrap(array[::2])


def test_an_unknown_device_lists_those_there_are() -> None:
    with pytest.raises(
        RuntimeError, match=r"Expected one of cpu, interpret.* device string: toaster"
    ):
        device.get("toaster")
    assert device.get("cpu") is device.get("cpu")


def test_no_page_behind_a_block_is_taken() -> None:
    """What a huge page would round up would stay resident as long as the block."""
    path = Path("/proc/self/pagemap")
    if not path.exists():
        pytest.skip("this system does not say which pages are resident")
    size = HUGE_PAGE + HUGE_PAGE // 2
    buffer = Pool().allocate("cpu", size)
    ctypes.memset(buffer.address, 1, size)
    end = buffer.owner.ctypes.data + buffer.owner.nbytes
    with path.open("rb") as file:
        file.seek((buffer.address + size) // mmap.PAGESIZE * 8)
        entries = file.read((end - buffer.address - size) // mmap.PAGESIZE * 8)
    assert not (np.frombuffer(entries, np.uint64) >> np.uint64(63)).any()


def test_blocks_smaller_than_a_huge_page_share_some() -> None:
    """The matrices of a step are more small pages than a processor keeps at hand."""
    pool = Pool()
    first, second = (pool.allocate("cpu", 3 * SMALL) for _ in range(2))
    assert first.address % HUGE_PAGE == 0
    assert second.address == first.address + size_class(3 * SMALL)
    mapping = weakref.ref(first.owner)
    assert second.owner is mapping()
    assert pool.allocate("cpu", SMALL).owner is not mapping()
    del first
    pool.empty_cache()
    assert mapping() is not None
    del second
    pool.empty_cache()
    assert mapping() is None
