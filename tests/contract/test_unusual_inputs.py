"""Many public functions beside PyTorch on inputs that nobody lists: empty, one element, 0-d, views that are not contiguous, every dtype.

PyTorch's result (shape, dtype, values) or PyTorch's kind of error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import lazygrad
from lazygrad import config

torch = pytest.importorskip("torch")

Function = Callable[[Any, Any], Any]

UNARY = """
abs neg exp log sqrt rsqrt sin cos tanh sigmoid relu floor ceil round trunc sign square reciprocal erf isnan isinf isfinite
expm1 log1p logical_not bitwise_not sum mean prod any all amax amin max min argmax argmin logsumexp std var cumsum softmax
log_softmax flatten t numel tolist item clone contiguous nonzero flip zeros_like ones_like norm float long bool double half
""".split()
BINARY = """
add sub mul div floor_divide remainder pow eq lt maximum minimum logical_and bitwise_and matmul mm dot outer atan2 fmod
""".split()
WITH_DIM = {"logsumexp", "cumsum", "softmax", "log_softmax", "flip"}

MORE: dict[str, Function] = {
    "sum(0)": lambda t, x: x.sum(0),
    "mean(-1, keepdim)": lambda t, x: x.mean(-1, keepdim=True),
    "amax(0)": lambda t, x: x.amax(0),
    "max(0)": lambda t, x: list(x.max(0)),
    "argmax(-1)": lambda t, x: x.argmax(-1),
    "var(0)": lambda t, x: x.var(0),
    "all(0)": lambda t, x: x.all(0),
    "prod(0)": lambda t, x: x.prod(0),
    "cumsum(-1)": lambda t, x: x.cumsum(-1),
    "softmax(-1)": lambda t, x: t.softmax(x, -1),
    "view(-1)": lambda t, x: x.view(-1),
    "reshape(-1)": lambda t, x: x.reshape(-1),
    "reshape(0, -1)": lambda t, x: x.reshape(0, -1),
    "unsqueeze": lambda t, x: x.unsqueeze(-1),
    "squeeze": lambda t, x: x.squeeze(),
    "x[0]": lambda t, x: x[0],
    "x[-1]": lambda t, x: x[-1],
    "x[..., 0]": lambda t, x: x[..., 0],
    "x[None]": lambda t, x: x[None],
    "x[1:]": lambda t, x: x[1:],
    "x[::2]": lambda t, x: x[::2],
    "x[x > 0]": lambda t, x: x[x > 0],
    "x[[0]]": lambda t, x: x[[0]],
    "x[index]": lambda t, x: x[t.tensor([0, 0])],
    "cat": lambda t, x: t.cat([x, x]),
    "cat(-1)": lambda t, x: t.cat([x, x], -1),
    "stack": lambda t, x: t.stack([x, x]),
    "chunk": lambda t, x: list(x.chunk(2)),
    "split": lambda t, x: list(x.split(1)),
    "transpose": lambda t, x: x.transpose(0, -1),
    "expand": lambda t, x: x.expand(2, *x.shape),
    "repeat": lambda t, x: x.repeat(2, *[1] * x.dim()),
    "where": lambda t, x: t.where(x > 0, x, 0),
    "clamp": lambda t, x: x.clamp(min=0),
    "x + 1": lambda t, x: x + 1,
    "x + 1.5": lambda t, x: x + 1.5,
    "x // 2": lambda t, x: x // 2,
    "x / 2": lambda t, x: x / 2,
    "x ** 2": lambda t, x: x**2,
    "2 ** x": lambda t, x: 2**x,
    "x ** 0.5": lambda t, x: x**0.5,
    "~x": lambda t, x: ~x,
    "-x": lambda t, x: -x,
    "x % 2": lambda t, x: x % 2,
    "x += 1": lambda t, x: x.add_(1),
    "x *= 1.5": lambda t, x: x.mul_(1.5),
    "x.zero_()": lambda t, x: x.zero_(),
    "x[0] = 1": lambda t, x: (x.__setitem__(0, 1), x)[1],
    "fill": lambda t, x: x.fill_(2),
    "layer_norm": lambda t, x: t.nn.functional.layer_norm(x, x.shape[-1:]),
    "linear": lambda t, x: t.nn.functional.linear(x, x),
    "mse_loss": lambda t, x: t.nn.functional.mse_loss(x, x + 1),
    "cross_entropy": lambda t, x: t.nn.functional.cross_entropy(x, x.sum(-1).long() * 0),
    "one_hot": lambda t, x: t.nn.functional.one_hot(x),
    "gather": lambda t, x: x.gather(0, (x * 0).long()),
    "masked_fill": lambda t, x: x.masked_fill(x > 0, 1),
    "tril": lambda t, x: x.tril(),
    "diagonal": lambda t, x: x.diagonal(),
    "len": lambda t, x: len(x),
    "iterate": lambda t, x: list(x),
    "bool": lambda t, x: bool(x),
    "int": lambda t, x: int(x),
    "repr": lambda t, x: repr(x),
    "numpy": lambda t, x: x.numpy().shape,
    "stride": lambda t, x: (x.stride(), x.is_contiguous(), x.storage_offset()),
    "type": lambda t, x: x.type().rpartition(".")[2],
}


def _named(name: str) -> Function:
    def call(t: Any, x: Any) -> Any:
        method = getattr(x, name, None)
        function = method if method is not None else lambda *a: getattr(t, name)(x, *a)
        return function(0) if name in WITH_DIM else function()

    return call


def _pair(name: str) -> Function:
    return lambda t, x: getattr(t, name)(x, x)


FUNCTIONS: dict[str, Function] = {
    **{name: _named(name) for name in UNARY},
    **{f"{name}(x, x)": _pair(name) for name in BINARY},
    **MORE,
}

DTYPES = ("float32", "float64", "int64", "uint8", "bool", "float16")


def _base(t: Any, *shape: int, sizes: tuple[int, ...] = (), dtype: str = "float32") -> Any:
    shape = shape or sizes
    count = int(np.prod(shape))
    values = (np.arange(count) * 7 % 5 - 1).reshape(shape)
    kind = {"bool": "bool", "uint8": "uint8"}.get(dtype, dtype)
    return t.tensor(abs(values).astype(kind) if dtype == "uint8" else values.astype(kind))


INPUTS: dict[str, Callable[[Any], Any]] = {
    "empty": lambda t: _base(t, 0),
    "no rows": lambda t: _base(t, 0, 3),
    "no columns": lambda t: _base(t, 3, 0),
    "no integers": lambda t: _base(t, 0, 3, dtype="int64"),
    "number": _base,
    "one": lambda t: _base(t, 1),
    "transposed": lambda t: _base(t, 3, 2).t(),
    "every other": lambda t: _base(t, 4, 6)[::2, 1::2],
    "flipped": lambda t: _base(t, 3, 3).flip(0).t(),
    "expanded": lambda t: _base(t, 1, 3).expand(2, 3),
    "a column": lambda t: _base(t, 3, 4)[:, 2],
    "a middle": lambda t: _base(t, 2, 3, 4).permute(2, 0, 1)[1:3],
    **{dtype: partial(_base, sizes=(2, 3), dtype=dtype) for dtype in DTYPES},
}


def outcome(t: Any, function: Function, make: Callable[[Any], Any]) -> Any:
    """What a call gives: leaves of its result, or its error."""
    x = make(t)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return list(leaves(function(t, x)))
        except Exception as error:
            return error


def leaves(result: Any) -> Iterator[Any]:
    if isinstance(result, (list, tuple)) and not hasattr(result, "dtype"):
        for each in result:
            yield from leaves(each)
    elif hasattr(result, "dtype"):
        array = result.detach().double() if str(result.dtype) == "torch.bfloat16" else result
        yield tuple(result.shape), str(result.dtype), np.asarray(array.detach().tolist(), float)
    else:
        yield result


def agree(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, Exception):
        return isinstance(ours, type(theirs))
    if isinstance(ours, Exception) or len(ours) != len(theirs):
        return False
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(b, tuple) and len(b) == 3 and isinstance(b[2], np.ndarray):
            tolerance = 4e-3 if b[1] == "torch.float16" else 1e-5
            if a[:2] != b[:2] or not np.allclose(a[2], b[2], tolerance, tolerance, equal_nan=True):
                return False
        elif a != b and not (a != a and b != b):
            return False
    return True


ZERO_STRIDES = (
    "PyTorch's tensor() of an empty array has strides of 0; a new empty tensor has not, ours never"
)
DIFFERENT = {
    **{
        ("stride", name): ZERO_STRIDES for name in ("empty", "no rows", "no columns", "no integers")
    },
    **{
        (name, "no integers"): "PyTorch lets softmax of no integers pass, and refuses it of some"
        for name in ("softmax", "log_softmax", "softmax(-1)")
    },
    **{
        (
            name,
            "expanded",
        ): "elements that share memory are not written, also with one value for all"
        for name in ("x.zero_()", "fill")
    },
}
"""Where we differ on purpose, and why."""


@pytest.mark.parametrize("device", ["interpret", "cpu"])
@pytest.mark.parametrize("name", INPUTS)
def test_every_function(name: str, device: str) -> None:
    wrong = []
    chosen = (
        FUNCTIONS if device == "interpret" else dict(list(FUNCTIONS.items())[hash_of(name) :: 4])
    )
    with config.override(device=device):
        for label, function in chosen.items():
            if (label, name) in DIFFERENT:
                continue
            theirs = outcome(torch, function, INPUTS[name])
            ours = outcome(lazygrad, function, INPUTS[name])
            if not agree(ours, theirs):
                wrong.append(f"{label}: {ours!r}, PyTorch {theirs!r}")
    assert not wrong, "\n".join(wrong)


def hash_of(name: str) -> int:
    """Which quarter of the functions an input tries on the CPU, whose kernels take time to compile."""
    return sum(map(ord, name)) % 4
