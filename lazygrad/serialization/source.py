"""Where a file is read from: a path, or an object with `read`; bytes of it as they are asked for, and storages on them.

In: what the user gave `load`. Out: the bytes of a range, or a storage with what stands there: read into memory of its device, or,
of a file that is mapped, the file's own pages. A range that the file does not have is an error before anything is allocated.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import zlib
from typing import Any, Self

import numpy as np

from ..ir.dtype import DType, bool_
from ..runtime import device as devices
from ..runtime.device import HostDevice
from ..runtime.steady import STEADY
from ..storage import Storage, leaf


class Source:
    """An open file of `size` bytes, counted from where it stood when it was given."""

    def __init__(self, file: Any, mapped: bool) -> None:
        """
        Raises:
            FileNotFoundError and its like: a path that cannot be opened. RuntimeError: an empty file, or one without a path that should
                be mapped.
        """
        self._own = isinstance(file, (str, os.PathLike))
        if mapped and not self._own:
            raise ValueError(
                "load: f must be a string or os.PathLike in order to use the mmap argument"
            )
        if self._own:
            file = open(os.fspath(file), "rb")  # noqa: SIM115 - closed by __exit__
        elif not hasattr(file, "seek") or (hasattr(file, "seekable") and not file.seekable()):
            file = io.BytesIO(file.read())
        self.file = file
        self.offset = 0 if self._own else file.tell()
        self.size = file.seek(0, os.SEEK_END) - self.offset
        self._mapping: mmap.mmap | None = None
        if mapped and self.size:
            # Copy on write: nothing that is written to a tensor reaches the file.
            self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self.position = 0
        """Where the next of several things that stand one behind the other begins."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._own:
            self.file.close()
        else:
            self.file.seek(self.offset + (self.position or self.size))

    def read(self, begin: int, count: int) -> bytes:
        """The bytes of a range.

        Raises:
            RuntimeError: the file ends before.
        """
        self._require(begin, count)
        self.file.seek(self.offset + begin)
        found: bytes = self.file.read(count)
        if len(found) != count:
            raise _truncated(begin, count, self.size)
        return found

    def everything(self) -> bytes | mmap.mmap:
        """All bytes, not read before they are looked at where that can be."""
        if self._own:
            return mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        return self.read(0, self.size)

    def _require(self, begin: int, count: int) -> None:
        if count < 0 or begin < 0 or begin + count > self.size:
            raise _truncated(begin, count, self.size)

    def storage(
        self,
        begin: int,
        dtype: DType,
        shape: tuple[int, ...],
        place: str,
        checksum: int | None = None,
    ) -> Storage:
        """A storage with the elements that begin at a byte of the file; what is read, not mapped, has to have the checksum."""
        nbytes = math.prod(shape) * dtype.itemsize
        self._require(begin, nbytes)
        device = devices.get(place)
        host = isinstance(device, HostDevice)
        pages = self._mapping if nbytes and begin % dtype.itemsize == 0 else None
        if pages is not None and dtype is not bool_:
            array = np.frombuffer(pages, dtype.storage, nbytes // dtype.itemsize, begin)
            buffer = device.wrap(array) if host else device.from_host(array)
            return Storage(leaf(buffer, dtype, shape, place))
        if host:
            buffer = device.allocate(nbytes)
            array = device.view(buffer, dtype, shape)
        else:
            array = np.empty(shape, dtype.storage)
        self._fill(array, begin, checksum)
        if not host:
            buffer = device.from_host(array)
        if STEADY.observer is not None:
            STEADY.observer.born(buffer)
        return Storage(leaf(buffer, dtype, shape, place))

    def _fill(self, array: Any, begin: int, checksum: int | None) -> None:
        flat = array.reshape(-1).view(np.uint8)
        into = memoryview(flat)
        self.file.seek(self.offset + begin)
        done = 0
        while done < len(into):
            if hasattr(self.file, "readinto"):
                count = self.file.readinto(into[done:])
            else:
                found = self.file.read(len(into) - done)
                count = len(found)
                into[done : done + count] = found
            if not count:
                raise _truncated(begin, len(into), self.size)
            done += count
        if checksum is not None and zlib.crc32(into) != checksum:
            raise RuntimeError(
                f"load: the data at byte {begin} of the file do not have their checksum"
            )
        if array.dtype == bool:
            np.not_equal(flat, 0, out=array.reshape(-1))  # any other byte is True to nobody else


def _truncated(begin: int, count: int, size: int) -> RuntimeError:
    return RuntimeError(
        f"load: the file is truncated or damaged: bytes {begin} to {begin + count} are asked for, and there are {size}"
    )
