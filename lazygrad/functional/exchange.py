"""Memory shared with other libraries without a copy: DLPack both ways, buffers, files; and `asarray`, which takes any of them.

In: tensors, or whatever offers its memory: an object with `__dlpack__`, a DLPack capsule, an object with the buffer protocol, a file.
Out: what the others take, or tensors on that very memory, pinned as `from_numpy`'s is (storage.py). Memory that others may only read
is read, and a tensor on it gets memory of its own when it is written to.

A capsule is made and taken apart by numpy, which knows every dtype here but bfloat16: there the two bytes of the capsule that say
so are read and written in place.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np

from .. import reading
from ..ir.dtype import BY_NAME, DType, bfloat16
from ..results import from_external
from ..runtime import device as devices
from ..runtime.device import HostDevice
from ..tensor import Tensor
from .arguments import as_dtype
from .creation import dtype_or_default, from_numpy, tensor
from .devices import creation_place
from .registry import function, method

CPU = (1, 0)
"""The device type and number of the host in DLPack."""
TYPES = {
    1: "cpu",
    2: "cuda",
    3: "cuda_host",
    4: "opencl",
    7: "vulkan",
    8: "metal",
    10: "rocm",
    13: "cuda_managed",
}
BFLOAT, UINT = 4, 1
"""DLPack's codes of the kinds of numbers that bfloat16 has, and that numpy takes its bits for."""
PLAIN, VERSIONED = b"dltensor", b"dltensor_versioned"
"""The names of the two kinds of capsules."""


# --- out


@method("__dlpack_device__")
def dlpack_device(self: Tensor) -> tuple[int, int]:
    """The device that holds the tensor, in DLPack's numbers."""
    if isinstance(devices.get(self.place), HostDevice):
        return CPU
    name, _, index = self.place.partition(":")
    number = next((number for number, known in TYPES.items() if known == name), 0)
    return number, int(index or 0)


@method("__dlpack__")
def dlpack(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """A DLPack capsule on the memory of the tensor, which is computed.

    Args:
        stream: None; the host has no streams.
        max_version: the newest version of DLPack that the caller knows.
        dl_device: the device that the caller wants it on: where it is, or the host.
        copy: True for memory of its own; False refuses to make any.

    Raises:
        BufferError: the tensor requires grad; it is not on the host and `dl_device` does not ask for a copy there.
        AssertionError: a stream, where the host has none.

    Same as torch.Tensor.__dlpack__.
    """
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    here = dlpack_device(self)
    if here == CPU and stream is not None:
        raise AssertionError("stream should be None on cpu.")
    wanted = here if dl_device is None else (int(dl_device[0]), int(dl_device[1]))
    if wanted != CPU or (here != CPU and copy is False):
        raise BufferError(
            f"cannot export a tensor on {self.place} to DLPack's device {wanted}; the host is {CPU}"
        )
    if here == CPU:
        array = reading.exposed(self)
        array = array.copy() if copy else array
    else:
        array = np.array(reading.host(self))
    try:
        capsule = array.__dlpack__(max_version=max_version)  # type: ignore[call-arg, unused-ignore]
    except TypeError:  # numpy before 2.1 knows the first version only
        capsule = array.__dlpack__()
    if self.dtype is bfloat16:
        _kind(capsule)[0] = BFLOAT
    return capsule


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule on the memory of the tensor. Same as torch.utils.dlpack.to_dlpack."""
    return dlpack(tensor)


@method("__buffer__")
def buffer(self: Tensor, flags: int) -> memoryview:
    """The memory as Python's buffer protocol gives it, which asks this method from Python 3.12 on.

    Raises:
        BufferError: the tensor requires grad, is not on the host, or is bfloat16.
    """
    try:
        array: Any = reading.to_numpy(self, False)
        return memoryview(array)
    except (RuntimeError, TypeError) as error:
        raise BufferError(str(error)) from None


@method("__array_wrap__")
def array_wrap(
    self: Tensor, array: Any, context: Any = None, return_scalar: bool = False
) -> Tensor:
    """What a function of numpy that was given a tensor returns: a tensor."""
    return from_numpy(np.asarray(array))


# --- in


class _Capsule:
    """A capsule as the object with `__dlpack__` that numpy takes."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU


class _Writable:
    """What numpy reads to make an array that may be written, on the memory of one that says nothing about that."""

    def __init__(self, array: Any) -> None:
        self.array = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


@function("from_dlpack", method=False)
def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of another library's: writes to either are seen by both.

    Args:
        ext_tensor: an object with `__dlpack__`, or a DLPack capsule, which can be taken once.
        device: where the tensor should be; elsewhere than the memory is, it is a copy.
        copy: True for memory of its own; False refuses that.

    Raises:
        RuntimeError: it is neither, or a capsule that was taken before; the memory is not the host's; its dtype is none of ours.
        ValueError: a negative stride; `copy=False`, and the tensor's device has memory of its own.

    Same as torch.from_dlpack.
    """
    place = None if device is None else creation_place(device)
    if hasattr(ext_tensor, "__dlpack__"):
        kind, _ = ext_tensor.__dlpack_device__()
        if int(kind) not in (1, 3):
            raise RuntimeError(
                f"from_dlpack: the memory is on a device of type {TYPES.get(int(kind), int(kind))}, not the host's"
            )
        capsule = _ask(ext_tensor, copy)
    else:
        capsule = ext_tensor
    name = _name(capsule)
    if name is None:
        raise RuntimeError(
            "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only once, so you might have "
            "already constructed a tensor from it once."
        )
    described = _kind(capsule)
    half = described[0] == BFLOAT and described[1] == 16
    if half:
        described[0] = UINT
    try:
        array = np.from_dlpack(_Capsule(capsule))  # type: ignore[arg-type, unused-ignore]
    except (BufferError, RuntimeError) as error:
        raise RuntimeError(f"from_dlpack: {error}") from None
    dtype = bfloat16 if half else BY_NAME.get(array.dtype.name)
    if dtype is None:
        raise RuntimeError(f"from_dlpack: tensors have no dtype {array.dtype.name}")
    if name == PLAIN and not array.flags.writeable:
        array = np.asarray(
            _Writable(array)
        )  # the first version cannot say that it may not be written
    made = from_external(array.copy() if copy else array, dtype)
    place = place or made.place
    if copy is False and (made.place != place or not _is_shared(made)):
        raise ValueError(
            f"Cannot move DLPack tensor from device cpu to device {place} without copying. Set copy=None or copy=True."
        )
    return made if made.place == place else made.to(place)


def _is_shared(made: Tensor) -> bool:
    """Whether a tensor that was made of memory from outside lies there: where DEVICE names one with memory of its own, it does not."""
    return made.storage.pin is not None


def _ask(offered: Any, copy: bool | None) -> Any:
    """The capsule of an object, of the newest version that it knows."""
    asked: dict[str, Any] = {"max_version": (1, 0)}
    if copy is not None:
        asked["copy"] = copy
    try:
        return offered.__dlpack__(**asked)
    except TypeError:
        return offered.__dlpack__()


def _name(capsule: Any) -> bytes | None:
    """The kind of a capsule that nobody has taken yet, None for anything else."""
    import ctypes

    valid = ctypes.pythonapi.PyCapsule_IsValid
    valid.argtypes = [ctypes.py_object, ctypes.c_char_p]
    if type(capsule).__name__ != "PyCapsule":
        return None
    return next((name for name in (PLAIN, VERSIONED) if valid(capsule, name)), None)


def _kind(capsule: Any) -> Any:
    """The code of a capsule's dtype and its bits, as two bytes in its own memory.

    struct DLTensor {void *data; int32 device[2]; int32 ndim; uint8 code, bits; ...}, behind four words in a versioned capsule:
    the version, the owner's pointer, the deleter, the flags.
    """
    import ctypes

    name = _name(capsule)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype = ctypes.c_void_p
    pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    start = pointer(capsule, name) + (32 if name == VERSIONED else 0)
    word = ctypes.sizeof(ctypes.c_void_p)
    return (ctypes.c_uint8 * 2).from_address(start + word + 12)


@function("frombuffer", method=False)
def frombuffer(
    buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A 1-d tensor on the memory of an object with the buffer protocol: bytes, a bytearray, an array, a mapped file.

    Args:
        count: how many elements; -1 for all that there are.
        offset: how many bytes are passed over first.

    Raises:
        ValueError: no buffer; bytes that do not divide into elements, or too few of them. TypeError: no dtype.

    Same as torch.frombuffer. Memory that may only be read, such as that of `bytes`, stays as it is: a write gives the tensor its own.
    """
    dtype = as_dtype(dtype)
    try:
        view = memoryview(buffer).cast("B")
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    length, size = view.nbytes, dtype.itemsize
    if length <= 0 or count == 0:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({length} bytes) - 1"
        )
    if count < 0 and (length - offset) % size:
        raise ValueError(
            f"buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a multiple of element size ({size})"
        )
    count = (length - offset) // size if count < 0 else count
    if offset + count * size > length:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater than actual "
            f"buffer length ({length} bytes)"
        )
    made = from_external(np.frombuffer(view, dtype.storage, count, offset), dtype)
    return made.requires_grad_() if requires_grad else made


@function("from_file", method=False)
def from_file(
    filename: str | os.PathLike[str],
    shared: bool | None = None,
    size: int | None = 0,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A 1-d tensor on a mapped file.

    Args:
        shared: write to the file what is written to the tensor; the file is made, or made longer, if need be.
        size: how many elements.

    Raises:
        RuntimeError: the file is too short, and not shared; `shared`, and the tensor's device has memory of its own.
        FileNotFoundError: there is none, and not shared.

    Same as torch.from_file.
    """
    found = dtype_or_default(dtype)
    nbytes = (size or 0) * found.itemsize
    place = devices.default().name if device is None else creation_place(device)
    if shared and not isinstance(devices.get(place), HostDevice):
        raise RuntimeError(
            f"from_file: writes on {place} do not reach a file: shared=True needs the host's memory"
        )
    descriptor = os.open(filename, os.O_RDWR | os.O_CREAT if shared else os.O_RDONLY, 0o666)
    try:
        length = os.fstat(descriptor).st_size
        if length < nbytes and shared:
            os.truncate(descriptor, nbytes)
        elif length < nbytes:
            raise RuntimeError(
                f"from_file: {os.fspath(filename)} has {length} bytes, and {nbytes} are asked for"
            )
        if not nbytes:
            return from_external(np.empty(0, found.storage), found)
        access = mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY
        pages = mmap.mmap(descriptor, nbytes, access=access)
    finally:
        os.close(descriptor)
    made = from_external(np.frombuffer(pages, found.storage, size or 0), found)
    made = made if device is None else made.to(device)
    return made.requires_grad_() if requires_grad else made


@function("asarray", method=False)
def asarray(
    obj: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:
    """Anything as a tensor: a tensor, an array, an object with `__dlpack__`, a buffer, numbers.

    Args:
        copy: True for memory of its own; None for the object's own where dtype and device allow; False refuses anything else.
        requires_grad: by default what a tensor has, False for anything else.

    Raises:
        ValueError: `copy=False`, and the memory cannot be shared.

    Same as torch.asarray.
    """
    dtype = None if dtype is None else as_dtype(dtype)
    shared = True
    if isinstance(obj, Tensor):
        found = obj.detach() if requires_grad is False and obj.requires_grad else obj
    elif isinstance(obj, np.ndarray):
        found = from_numpy(obj)
    elif _name(obj) or (hasattr(obj, "__dlpack__") and not isinstance(obj, np.generic)):
        found = from_dlpack(obj)
    elif isinstance(obj, (bytes, bytearray, memoryview)) or _buffered(obj):
        found = frombuffer(obj, dtype=dtype_or_default(dtype))
    else:
        found, shared = tensor(obj, dtype=dtype, device=device), False
    source = found
    place = found.place if device is None else creation_place(device)
    if found.place != place:
        found = found.to(place)
    found = found if dtype is None else found.to(dtype)
    shared = shared and found is source and (isinstance(obj, Tensor) or _is_shared(found))
    if copy is False and not shared:
        raise ValueError(
            f"can't alias {type(obj).__name__}: it has another dtype or device, or is no memory to share"
        )
    if copy and shared:
        found = found.clone()
    if requires_grad and not found.requires_grad:
        found.requires_grad_()
    return found


def _buffered(value: object) -> bool:
    """Whether an object that is no sequence of numbers has the buffer protocol: array.array, a mapped file."""
    if isinstance(value, (list, tuple, int, float, np.generic)):
        return False
    try:
        memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True
