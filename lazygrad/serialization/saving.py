"""`save`: a tree of tensors and plain values as one safetensors file, written whole or not at all.

In: a tree, and a path or an object with `write`. Out: the file. Its arrays have the names of the tree, so that any reader of the
format finds a state dict's tensors; what the tree is like beside that stands in the header as text (tree.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from .placement import Written, arrange
from .safetensors import METADATA, header
from .tree import Names, Packed

STRUCTURE = "lazygrad"
"""Under this name the structure of the tree stands in a header's metadata."""
VERSION = 1


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Save a tree of tensors and plain values in one safetensors file.

    Args:
        obj: tensors (all dtypes; parameters and buffers too), numpy arrays, numbers, text, bytes, None, dtypes, devices and sizes, in dicts,
            OrderedDicts, lists, tuples and sets, nested as they like, as `Module.state_dict()` and `Optimizer.state_dict()` are.
            What is one object, or shares memory, does so again after `load`.
        f: a path, whose file is replaced when everything is written (a process that dies before leaves the old file as it was), or an
            object with `write`.
        pickle_module, pickle_protocol, _use_new_zipfile_serialization: taken for PyTorch's sake; nothing is pickled.

    Raises:
        TypeError: an object of another type, such as a whole module; it is named, and nothing is written.
        RuntimeError: the directory of `f` does not exist; a computation that a tensor waited for failed.

    As torch.save, in another format: PyTorch reads the file by `safetensors.torch.load_file`. A tensor that is alone in its memory is
    stored with its own elements only, where torch.save stores all of the memory that it is a view of.
    """
    names = Names(METADATA)
    packed = Packed(obj, names)
    written, places = arrange(packed.tensors, names.unused)
    for position, place in enumerate(places):
        packed.place(position, place)
    structure = {"version": VERSION, "root": packed.root, "records": packed.records}
    metadata = {"format": "pt", STRUCTURE: json.dumps(structure, separators=(",", ":"))}
    start, order = header([(each.name, each.dtype, each.shape) for each in written], metadata)
    if isinstance(f, (str, os.PathLike)):
        with replaced(os.fspath(f)) as file:
            _write(file, start, written, order)
    else:
        if not hasattr(f, "write"):
            raise AttributeError(
                "expected 'f' to be string, path, or a file-like object with a 'write' attribute"
            )
        _write(f, start, written, order)


def _write(file: Any, start: bytes, written: Sequence[Written], order: Sequence[int]) -> None:
    file.write(start)
    for position in order:
        values = written[position].values()
        if values.size:
            file.write(memoryview(values.reshape(-1)).cast("B"))


@contextlib.contextmanager
def replaced(path: str) -> Iterator[Any]:
    """A file to write, which takes the place of `path` when the block ends well; until then, and otherwise, the old one stays."""
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    before = os.stat(path) if os.path.exists(path) else None
    if before is not None and not stat.S_ISREG(before.st_mode):
        with open(path, "wb") as device:  # a pipe, /dev/null: there is nothing to replace
            yield device
        return
    beside = os.path.join(folder, f".{os.path.basename(path)}.{secrets.token_hex(8)}.tmp")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            if before is not None:
                os.chmod(beside, stat.S_IMODE(before.st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise
    with contextlib.suppress(OSError):  # a system whose directories cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
