"""What goes through the pipes between a loader and its workers: any objects, the memory of arrays beside them.

In: a connection of multiprocessing, and an object. Out: the same object at the other end. A tensor travels as the array of its value: the
bytes are written from where they are and read to where they stay. An error travels with its traceback.
"""

from __future__ import annotations

import io
import pickle
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ...functional.creation import from_numpy
from ...ir.dtype import DType, bfloat16, int16
from ...results import from_external
from ...tensor import Tensor


@dataclass(frozen=True)
class Failure:
    """An exception in a worker: its type, and its text with the traceback."""

    kind: type[BaseException]
    text: str

    @classmethod
    def of(cls, error: BaseException, where: str) -> Failure:
        """The failure that an exception is, to be raised in another process."""
        trace = "".join(traceback.format_exception(error))
        return cls(type(error), f"Caught {type(error).__name__} {where}.\nOriginal {trace}")

    def exception(self) -> BaseException:
        """The exception: of the same type where that can be made of a text."""
        text: Any = _Lines(self.text) if issubclass(self.kind, KeyError) else self.text
        try:
            return self.kind(text)
        except Exception:  # an exception of the user's may ask for anything
            return RuntimeError(self.text)


class _Lines(str):
    """A text that a KeyError shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is not Tensor:
            return NotImplemented
        values = obj.detach().cpu().contiguous()
        if values.dtype is bfloat16:
            values = values.view(int16)
        return _tensor, (np.ascontiguousarray(values.numpy()), obj.dtype, obj.requires_grad)


def _tensor(array: Any, dtype: DType, requires_grad: bool) -> Tensor:
    made = from_external(array, dtype) if dtype is bfloat16 else from_numpy(array)
    return made.requires_grad_() if requires_grad else made


Parcel = tuple[bytes, list[memoryview]]


def pack(value: Any) -> Parcel:
    """An object as bytes, and the memory that goes beside them.

    Raises:
        TypeError, pickle.PicklingError, AttributeError: it cannot be pickled.
    """
    beside: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    _Pickler(stream, protocol=5, buffer_callback=beside.append).dump(value)
    return stream.getvalue(), [buffer.raw() for buffer in beside]


@dataclass
class Packed:
    """An object as `pack` makes it, for another process: a forked one shares its memory."""

    head: bytes
    beside: list[Any]

    def __getstate__(self) -> dict[str, Any]:
        return {"head": self.head, "beside": [bytearray(each) for each in self.beside]}

    def unpack(self) -> Any:
        """The object, whose tensors are on this process's device."""
        return pickle.loads(self.head, buffers=self.beside)


def send(connection: Connection, parcel: Parcel) -> None:
    """Write what `pack` made."""
    head, beside = parcel
    connection.send([len(each) for each in beside])
    connection.send_bytes(head)
    for each in beside:
        if len(each):
            connection.send_bytes(each)


def receive(connection: Connection) -> Any:
    """Read an object.

    Raises:
        EOFError: the other end was closed.
    """
    sizes = connection.recv()
    head = connection.recv_bytes()
    beside = [bytearray(size) for size in sizes]
    for each in beside:
        if each:
            connection.recv_bytes_into(each)
    return pickle.loads(head, buffers=beside)
