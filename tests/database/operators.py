"""PyTorch's own operator database, as much of it as we serve: names, families, and how a sample reaches either library.

In: the names of names.txt and beside.txt, a family a heading. Out: OpInfo entries with their samples, and `copy`, which makes fresh arguments for
PyTorch or for lazygrad from those of a sample: the same numbers, strides, dtypes and needs of gradients.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.testing._internal.common_methods_invocations import op_db

import lazygrad as lg

DTYPES = {
    name: getattr(torch, name)
    for name in (
        "bool", "uint8", "int8", "int16", "int32", "int64", "uint32", "uint64", "bfloat16", "float16", "float32", "float64",
    )
}  # fmt: skip
ALIASES = {"half": "float16", "double": "float64", "float": "float32", "long": "int64"}


class Unserved(Exception):
    """A sample needs what lazygrad leaves out on purpose: complex numbers, sparse or quantized tensors."""


LIST, BESIDE = "names.txt", "beside.txt"
"""The operators that have to be whole, and others that are served."""


@cache
def families(*files: str) -> dict[str, list[str]]:
    """The names by family, those of both files unless told otherwise."""
    found: dict[str, list[str]] = {}
    for file in files or (LIST, BESIDE):
        for line in (Path(__file__).parent / file).read_text().splitlines():
            if line.startswith("# --- "):
                family = found.setdefault(line.removeprefix("# --- "), [])
            else:
                family.extend(line.split())
    return found


@cache
def entries() -> dict[str, list[Any]]:
    """The database's entries by name: most names have one, some have variants."""
    found: dict[str, list[Any]] = {name: [] for names in families().values() for name in names}
    for entry in op_db:
        if entry.name in found and entry.variant_test_name != "complex":
            found[entry.name].append(entry)
    return found


def title(entry: Any) -> str:
    """An entry's name and variant."""
    variant = entry.variant_test_name
    return f"{entry.name} {variant}" if variant else str(entry.name)


def dtypes(entry: Any) -> list[str]:
    """Which of our dtypes the entry takes on the CPU."""
    return [name for name, each in DTYPES.items() if entry.supports_dtype(each, "cpu")]


# --- functions


def named(module: Any, name: str) -> Any:
    """What a dotted name means in a library; None if it means nothing."""
    for part in name.split("."):
        module = getattr(module, part, None)
    return module


def rebound(function: Any) -> Any:
    """A function of the database that names `torch`, with lazygrad in its place."""
    if not isinstance(function, types.FunctionType) or "testing" not in (function.__module__ or ""):
        return function
    names = {**function.__globals__, "torch": lg}
    made = types.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def function_of(entry: Any, module: Any) -> Callable[..., Any]:
    """The entry's function in a library.

    Raises:
        NotImplementedError: it has none.
    """
    if module is torch:
        return entry.op  # type: ignore[no-any-return]
    if isinstance(entry.op, types.FunctionType) and "testing" in entry.op.__module__:
        return rebound(entry.op)  # type: ignore[no-any-return]
    for name in (entry.name, *(alias.name for alias in entry.aliases)):
        found = named(lg, name) or getattr(lg.Tensor, name, None)
        if found is not None:
            return found  # type: ignore[no-any-return]
    raise NotImplementedError(f"lazygrad has no {entry.name}")


def variant_of(function: Any, module: Any) -> Callable[..., Any] | None:
    """A method, in-place or operator form of PyTorch's in either library; None where there is none."""
    if function is None or module is torch:
        return function  # type: ignore[no-any-return]
    if isinstance(function, functools.partial):  # partial(torch.nn.functional.silu, inplace=True)
        inner = getattr(lg.nn.functional, function.func.__name__)
        return functools.partial(inner, *function.args, **function.keywords)
    again = rebound(function)
    if again is not function:
        return again  # type: ignore[no-any-return]
    return getattr(lg.Tensor, function.__name__, None) or _missing(function.__name__)


def _missing(name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"lazygrad's Tensor has no {name}")

    return call


# --- arguments


def copy(value: Any, module: Any, leaves: list[Any]) -> Any:
    """A sample's argument for a library, on memory of its own; tensors are appended to `leaves`."""
    if isinstance(value, torch.Tensor):
        made = _tensor(value, module)
        leaves.append(made)
        return made
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(copy(each, module, leaves) for each in value)
    if isinstance(value, dict):
        return {key: copy(each, module, leaves) for key, each in value.items()}
    if isinstance(value, slice):
        parts = (value.start, value.stop, value.step)
        return slice(*(copy(each, module, leaves) for each in parts))
    if isinstance(value, complex):
        raise Unserved("complex number")
    if isinstance(value, torch.memory_format):  # where elements lie is not compared for it
        kept = value is torch.contiguous_format  # which contiguous() takes no other than
        return (value if kept else torch.preserve_format) if module is torch else None
    if module is torch:
        return value
    if isinstance(value, torch.dtype):
        name = str(value).removeprefix("torch.")
        if name not in DTYPES:
            raise Unserved(name)
        return getattr(lg, "bool_" if name == "bool" else name)
    if isinstance(value, torch.device) or value == "cpu":  # where the sweep's tensors are
        return lg.device(lg.tensor(0).node.place)
    if isinstance(value, torch.layout):
        if value is not torch.strided:
            raise Unserved("sparse tensors")
        return lg.strided
    return value


def _tensor(value: Any, module: Any) -> Any:
    name = str(value.dtype).removeprefix("torch.")
    plain_ = value.layout is torch.strided and not value.is_quantized and value.device.type == "cpu"
    if name not in DTYPES or not plain_:
        raise Unserved(name)
    value_ = value.detach()
    size = value_.untyped_storage().nbytes() // value_.element_size()
    flat = value_.as_strided((size,), (1,), 0)
    if module is torch:
        whole = flat.clone()
    elif name == "bfloat16":
        whole = lg.tensor(flat.float().numpy()).to(lg.bfloat16)
    else:
        whole = lg.tensor(flat.numpy().copy())
    if value_.is_contiguous() and value_.storage_offset() == 0 and value_.numel() == size:
        made = whole.view(tuple(value_.shape)).detach()
    else:
        made = whole.as_strided(
            tuple(value_.shape), value_.stride(), value_.storage_offset()
        ).detach()
    return made.requires_grad_() if value.requires_grad else made


def plain(value: Any) -> Any:
    """A result of lazygrad in PyTorch's terms."""
    if isinstance(value, lg.Tensor):
        value = value.detach()
        if value.dtype is lg.bfloat16:
            return torch.from_numpy(value.float().numpy().copy()).to(torch.bfloat16)
        return torch.from_numpy(value.numpy().copy())
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def tensors_of(value: Any) -> Iterator[Any]:
    """The tensors of a result, in order."""
    if isinstance(value, (torch.Tensor, lg.Tensor)):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors_of(each)


def describe(sample: Any) -> str:
    """A sample in one line."""

    def text(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            strides = "" if value.is_contiguous() else f" strides {tuple(value.stride())}"
            few = f" {value.tolist()}" if 0 < value.numel() <= 3 else ""
            return f"<{str(value.dtype)[6:]}{list(value.shape)}{strides}{few}>"
        if isinstance(value, (list, tuple)):
            return "(" + ", ".join(map(text, value)) + ")"
        return repr(value)

    named_arguments = [f"{key}={text(each)}" for key, each in sample.kwargs.items()]
    return ", ".join([text(sample.input), *map(text, sample.args), *named_arguments])
