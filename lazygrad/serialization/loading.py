"""`load`: what `save` wrote, any other safetensors file, and PyTorch's own files.

In: a path or an object with `read`. Out: the tree. Nothing that stands in a file is run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..functional.devices import creation_place, device
from ..ir.dtype import BY_NAME
from ..storage import Storage
from ..tensor import Tensor, make
from ..views import contiguous
from . import pickles, torch_file
from .placement import in_order, tensor_on
from .safetensors import Entry, header_length, looks_like, parse
from .saving import STRUCTURE, VERSION
from .source import Source
from .tree import Record, unpack

MapLocation = Callable[[Any, str], Any] | dict[str, Any] | str | device | None
"""Where tensors go: see `load`."""


def load(
    f: Any,
    map_location: MapLocation = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Load what `lazygrad.save`, `torch.save` or the safetensors library has written.

    Args:
        f: a path, or an object with `read`.
        map_location: where tensors go that were saved on another device: a device, its name, a dict from the device they were on, or a
            function of (a tensor on the storage, the device it was on) that gives the tensor where it should be, or None.
        weights_only: taken for PyTorch's sake: whatever it says, nothing in the file is run, and only tensors, plain values and
            containers are read.
        mmap: tensors lie on the pages of the file, which are read when the tensors are. The file must not change meanwhile.
        pickle_module, pickle_load_args: taken for PyTorch's sake.

    Returns: the tree; of a safetensors file that another program wrote, a dict of its tensors by name.

    Raises:
        RuntimeError: a file that is truncated or otherwise damaged; a device that is not there.
        pickle.UnpicklingError: a file of PyTorch's that holds something else, such as a whole module or code to run; it is named.

    Same as torch.load with weights_only.
    """
    if pickle_module is not None and weights_only:
        raise RuntimeError(
            "Can not safely load weights when explicit pickle_module is specified; lazygrad runs no pickles at all"
        )
    places = Places(map_location)
    with Source(f, bool(mmap)) as source:
        if not source.size:
            raise EOFError("Ran out of input: the file is empty")
        start = source.read(0, min(source.size, 9))
        if start.startswith(b"PK\x03\x04"):
            return torch_file.load_zip(source, places)
        if start[:1] == pickles.PROTO:
            return torch_file.load_stream(source, places)
        if not looks_like(start) and not start[8:9] == b"{":
            raise RuntimeError(
                f"load: neither a safetensors file nor one of PyTorch's: it begins with {start!r}"
            )
        return _load_safetensors(source, places)


class Places:
    """Where storages go, by what `map_location` says of the device that they were saved on."""

    def __init__(self, wanted: MapLocation) -> None:
        self._wanted = wanted

    def of(self, location: str, storage: Callable[[str], Storage]) -> Storage:
        """A storage that was saved at `location`, made by `storage` at the place where it goes.

        Raises:
            RuntimeError: that is no device of this machine.
        """
        wanted = self._wanted
        if isinstance(wanted, dict):
            wanted = wanted.get(location, location)
        elif wanted is not None and not isinstance(wanted, (str, device)):
            made = storage(creation_place("cpu"))
            moved = wanted(make(made, made.node.dtype, None, made), location)
            if isinstance(moved, Tensor):
                return moved.storage
            wanted = location
        target = location if wanted is None else wanted
        try:
            place = creation_place(target)
        except (AssertionError, RuntimeError) as error:
            raise RuntimeError(
                f"Attempting to deserialize object on {target} but it is not available here ({error}). Please use load with "
                "map_location=torch.device('cpu') to map your storages to the CPU."
            ) from None
        return storage(place)


def _load_safetensors(source: Source, places: Places) -> Any:
    length = header_length(source.read(0, min(8, source.size)), source.size)
    table = parse(source.read(8, length), source.size)
    entries = {entry.name: entry for entry in table.entries}
    storages: dict[str, Storage] = {}

    def storage(entry: Entry, location: str) -> Storage:
        found = storages.get(entry.name)
        if found is None:
            found = storages[entry.name] = places.of(
                location, lambda place: source.storage(entry.begin, entry.dtype, entry.shape, place)
            )
        return found

    if STRUCTURE not in table.metadata:
        return {name: _whole(entry, storage(entry, "cpu")) for name, entry in entries.items()}

    def tensor(record: Record) -> Tensor:
        entry = entries[record["data"]]
        dtype, shape = BY_NAME[record["dtype"]], tuple(record["shape"])
        stride, offset = tuple(record["stride"]), record.get("offset", 0)
        if not all(type(each) is int for each in (*shape, *stride, offset)):
            raise ValueError(f"sizes {shape}, strides {stride}, offset {offset}")
        kept = storage(entry, record.get("device", "cpu"))
        if record.get("moved"):
            return in_order(_whole(entry, kept), stride)
        return tensor_on(kept, dtype, shape, stride, offset)

    structure = _structure(table.metadata[STRUCTURE])
    return unpack(structure["root"], structure["records"], tensor)


def _structure(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
        if found["version"] > VERSION:
            raise RuntimeError(
                f"load: written by a later lazygrad (structure {found['version']}, known up to {VERSION})"
            )
        if not isinstance(found["records"], list) or not all(
            isinstance(each, dict) and isinstance(each.get("kind"), str)
            for each in found["records"]
        ):
            raise ValueError("records")
        found["root"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RuntimeError(f"load: the structure in the file is damaged: {error!r}") from None
    structure: dict[str, Any] = found
    return structure


def _whole(entry: Entry, storage: Storage) -> Tensor:
    """All of an array of a file."""
    return tensor_on(storage, entry.dtype, entry.shape, contiguous(entry.shape), 0)
