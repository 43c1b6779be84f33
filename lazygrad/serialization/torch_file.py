"""PyTorch's files: a zip archive with a pickle and the bytes of each storage, or, as before PyTorch 1.6, pickles one behind the other.

In: the file. Out: the tree that was saved, its tensors on storages that share memory as they did. The pickle is read by `pickles.py`,
which runs nothing; the names that it may ask for are those in `_names`.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..functional.attributes import strided
from ..functional.creation import empty
from ..functional.devices import device
from ..functional.legacy import NAMES as CLASSES
from ..ir.dtype import ALL, DType, uint8
from ..nn.parameter import Buffer, Parameter
from ..size import Size
from ..storage import Storage
from ..tensor import Tensor
from . import pickles
from .pickles import Name
from .placement import tensor_on
from .source import Source

if TYPE_CHECKING:
    from .loading import Places

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

STORAGES: dict[str, DType] = {
    name.replace("Tensor", "Storage"): dtype for name, dtype in CLASSES.items()
}
"""The dtype of each class of storages; an untyped one counts bytes."""
STORAGES["UntypedStorage"] = uint8


Reader = Callable[[DType, tuple[int, ...], str], Storage]
"""What reads a storage: its dtype, its shape and its place."""


class Stored:
    """A storage of the file, which is read when a tensor on it is made."""

    def __init__(
        self, nbytes: int, dtype: DType, location: str, read: Reader, places: Places
    ) -> None:  # fmt: skip
        self.nbytes = nbytes
        self.dtype = dtype
        self.location = location
        self._read = read
        self._places = places
        self._made: dict[int, Storage] = {}

    def typed(self, dtype: DType, shape: tuple[int, ...]) -> Storage:
        """The storage with elements as wide as those of `dtype`; all of one width share memory.

        It has `shape` if it is read now and that is all of it.
        """
        width = dtype.itemsize
        found = self._made.get(width)
        if found is None:
            count = self.nbytes // width
            if math.prod(shape) != count:
                shape = (count,)
            found = self._made[width] = self._places.of(
                self.location, lambda place: self._read(dtype, shape, place)
            )
        return found


def _tensor(stored: Any, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(stored, Stored):
        raise ValueError("a tensor without a storage")
    return _on(stored, stored.dtype, offset, size, stride)


def _tensor_v2(
    stored: Any, offset: int, size: Any, stride: Any, requires: bool, hooks: Any, metadata: Any = None
) -> Tensor:  # fmt: skip
    return _requiring(_tensor(stored, offset, size, stride), requires)


def _tensor_v3(
    stored: Any, offset: int, size: Any, stride: Any, requires: bool, hooks: Any, dtype: Any, metadata: Any = None
) -> Tensor:  # fmt: skip
    if not isinstance(stored, Stored) or not isinstance(dtype, DType):
        raise ValueError("a tensor without a storage or a dtype")
    return _requiring(_on(stored, dtype, offset, size, stride), requires)


def _on(stored: Stored, dtype: DType, offset: Any, size: Any, stride: Any) -> Tensor:
    shape, strides = tuple(size), tuple(stride)
    if not all(type(each) is int for each in (offset, *shape, *strides)):
        raise ValueError("sizes that are no integers")
    if min((0, *shape)) < 0:
        raise ValueError(f"sizes {shape}")
    return tensor_on(stored.typed(dtype, shape), dtype, shape, strides, offset)


def _requiring(tensor: Tensor, requires: Any) -> Tensor:
    return tensor.requires_grad_() if requires is True else tensor


def _parameter(data: Any, requires: Any, hooks: Any, state: Any = None) -> Parameter:
    if not isinstance(data, Tensor):
        raise ValueError("a parameter of no tensor")
    made: Parameter = _with_state(Parameter(data, bool(requires)), state)
    return made


def _of_type(rebuild: Any, kind: Any, arguments: Any, state: Any) -> Tensor:
    """A tensor of a class, with attributes."""
    if not isinstance(rebuild, Name) or rebuild.name not in TENSORS or type(arguments) is not tuple:
        raise ValueError("a tensor that is made by something else")
    made: Any = TENSORS[rebuild.name](*arguments)
    if isinstance(state, dict) and state.get("_is_buffer"):
        made = Buffer(made, persistent=bool(state.get("persistent", True)))
        state = {
            key: value for key, value in state.items() if key not in ("persistent", "_is_buffer")
        }
    elif kind in (_PARAMETER, _BUFFER):
        made = Parameter(made, made.requires_grad) if kind is _PARAMETER else Buffer(made)
    dressed: Tensor = _with_state(made, state)
    return dressed


def _with_state(made: Any, state: Any) -> Any:
    if isinstance(state, tuple):
        state = state[0]
    if state:
        if type(state) is not dict or not all(type(key) is str for key in state):
            raise ValueError("attributes that are no dict")
        made.__dict__.update(state)
    return made


def _layout(name: str) -> Any:
    if name != "torch.strided":
        raise ValueError(f"layout {name}")
    return strided


TENSORS: dict[str, Callable[..., Tensor]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
"""What makes tensors."""
_PARAMETER = Name("torch.nn.parameter.Parameter")
_BUFFER = Name("torch.nn.parameter.Buffer")


def _names(tensors: dict[str, Callable[..., Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {f"torch.{dtype.name}": dtype for dtype in ALL}
    found.update({name: Name(name, call) for name, call in tensors.items()})
    for kind in STORAGES:
        for module in ("torch", "torch.cuda", "torch.storage"):
            found[f"{module}.{kind}"] = Name(f"torch.{kind}")
    found["torch.Tensor"] = Name("torch.Tensor")
    found[_PARAMETER.name], found[_BUFFER.name] = _PARAMETER, _BUFFER
    found["torch.Size"] = Name("torch.Size", lambda sizes=(): Size([int(each) for each in sizes]))
    found["torch.device"] = Name("torch.device", device)
    found["torch.serialization._get_layout"] = Name("layout", _layout)
    return found


NAMES: dict[str, Any] = _names({**TENSORS, "torch._tensor._rebuild_from_type_v2": _of_type})


def _identity(saved: Any) -> tuple[DType, str, str, int]:
    """The dtype, the key, the device and the bytes of a storage, from its persistent id."""
    if type(saved) is not tuple or len(saved) < 5 or saved[0] != "storage":
        raise ValueError(f"a persistent id {saved!r}")
    kind, key, location, count = saved[1:5]
    if (
        not isinstance(kind, Name)
        or type(key) is not str
        or type(location) is not str
        or type(count) is not int
    ):
        raise ValueError(f"a storage {saved!r}")
    dtype = STORAGES[kind.name.removeprefix("torch.")]
    return dtype, key, location, count * dtype.itemsize


# --- the zip archive


def load_zip(source: Source, places: Places) -> Any:
    """The tree in an archive.

    Raises:
        RuntimeError: the archive is damaged, or is a program of TorchScript. pickle.UnpicklingError: see pickles.py.
    """
    data = io.BytesIO(source.read(0, source.size)) if source.offset else source.file
    if source.offset:
        source = Source(data, False)
    try:
        archive = zipfile.ZipFile(data)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise RuntimeError(f"load: failed reading zip archive: {error}") from None
    members = {info.filename: info for info in archive.infolist()}
    pickled = next((name for name in members if name.endswith("/data.pkl")), None)
    if pickled is None:
        raise RuntimeError("load: a zip archive without data.pkl, so none that torch.save wrote")
    root = pickled.removesuffix("data.pkl")
    if root + "constants.pkl" in members:
        raise RuntimeError("load: the file is a TorchScript program; lazygrad runs none")
    stored: dict[str, Stored] = {}

    def content(name: str) -> bytes:
        begin, info = _member(source, members[name])
        return source.read(begin, info.file_size)

    if root + "byteorder" in members and content(root + "byteorder") != b"little":
        raise RuntimeError("load: the file's numbers are big-endian, which is not supported")

    def persistent(saved: Any) -> Stored:
        dtype, key, location, nbytes = _identity(saved)
        if key not in stored:
            begin, info = _member(source, members[f"{root}data/{key}"])
            if info.file_size < nbytes:
                raise RuntimeError(
                    f"load: storage {key} has {info.file_size} bytes and needs {nbytes}"
                )

            def read(dtype: DType, shape: tuple[int, ...], place: str) -> Storage:
                whole = info.file_size == math.prod(shape) * dtype.itemsize
                return source.storage(begin, dtype, shape, place, info.CRC if whole else None)

            stored[key] = Stored(nbytes, dtype, location, read, places)
        return stored[key]

    value, _ = pickles.load(content(pickled), NAMES, persistent)
    return value


@dataclass(frozen=True, slots=True)
class _Member:
    file_size: int
    CRC: int


def _member(source: Source, info: zipfile.ZipInfo) -> tuple[int, _Member]:
    """Where the bytes of an archive's member begin, which PyTorch never compresses, and how many there are."""
    if (
        info.compress_type != zipfile.ZIP_STORED
        or info.file_size != info.compress_size
        or info.flag_bits & 1
    ):
        raise RuntimeError(
            f"load: {info.filename} in the archive is compressed, so PyTorch did not write it"
        )
    header = source.read(info.header_offset, 30)
    if not header.startswith(b"PK\x03\x04"):
        raise RuntimeError(f"load: the zip archive is damaged where {info.filename} should be")
    name, extra = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    return info.header_offset + 30 + name + extra, _Member(info.file_size, info.CRC)


# --- pickles one behind the other


def load_stream(source: Source, places: Places) -> Any:
    """The tree in a file of PyTorch before 1.6, or of `_use_new_zipfile_serialization=False`.

    The pickle of the tree stands before the storages and does not say how long it is, so it is read twice: for what storages there
    are, and with them.
    """
    data = source.everything()
    magic, position = pickles.load(data, {})
    if magic != MAGIC:
        raise pickle.UnpicklingError(
            "Weights only load failed: a pickle that torch.save did not write; lazygrad runs none"
        )
    protocol, position = pickles.load(data, {}, None, position)
    if protocol != PROTOCOL:
        raise RuntimeError(f"Invalid protocol version: {protocol}")
    system, begin = pickles.load(data, {}, None, position)
    if not isinstance(system, dict) or not system.get("little_endian", True):
        raise RuntimeError("load: the file's numbers are big-endian, which is not supported")
    found: dict[str, tuple[DType, str, int]] = {}

    def note(saved: Any) -> None:
        dtype, key, location, nbytes = _identity(saved)
        if len(saved) > 5 and saved[5] is not None:
            raise ValueError("storages that are views of others, as before PyTorch 0.4")
        found[key] = (dtype, location, nbytes)

    def nothing(*_: Any) -> Tensor:
        return empty(0)

    dry = _names(dict.fromkeys((*TENSORS, "torch._tensor._rebuild_from_type_v2"), nothing))
    _, position = pickles.load(data, dry, note, begin)
    keys, position = pickles.load(data, {}, None, position)
    if type(keys) is not list or not all(type(key) is str and key in found for key in keys):
        raise RuntimeError("load: the file lists storages that none of its tensors has")
    stored: dict[str, Stored] = {}
    for key in keys:
        dtype, location, nbytes = found[key]
        count = int.from_bytes(source.read(position, 8), "little")
        if count * dtype.itemsize != nbytes:
            raise RuntimeError(
                f"load: storage {key} has {count} elements and should have {nbytes} bytes"
            )
        stored[key] = Stored(nbytes, dtype, location, _reader(source, position + 8), places)
        position += 8 + nbytes
    source.position = position
    value, _ = pickles.load(data, NAMES, lambda saved: stored[_identity(saved)[1]], begin)
    return value


def _reader(source: Source, begin: int) -> Reader:
    return lambda dtype, shape, place: source.storage(begin, dtype, shape, place)
