"""`summary`: the layers of a model as a table, with shapes, parameters, and what computing them takes.

In: a module, and an input for it. Out: `Summary`, which prints. The model is called once to see the shapes; beside its parameters nothing is
computed that it does not read itself. What a layer takes is counted on the layer alone, by the cost model of the scheduler; the total is that of the whole
program, in which layers share kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from ..autograd.grad_mode import no_grad
from ..functional.creation import stored_zeros, zeros
from ..reading import realize
from ..runtime.lower_api import Cost, predict
from ..size import Size
from ..tensor import Tensor
from .module import Module


@dataclass(slots=True)
class Layer:
    """One call of a module."""

    name: str
    kind: str
    depth: int
    input: str
    output: str = ""
    parameters: int = 0
    """The elements of its own parameters; 0 where they were counted before."""
    cost: Cost | None = None
    """What it takes; None for a module that only calls others."""


@dataclass(slots=True)
class Summary:
    """What `summary` has found: the layers in the order of their calls, and the totals."""

    layers: list[Layer] = field(default_factory=list)
    parameters: int = 0
    trainable: int = 0
    parameter_bytes: int = 0
    buffer_bytes: int = 0
    cost: Cost | None = None

    def table(self) -> list[list[str]]:
        """The table as text: a row of titles, then one for each layer."""
        called = self.cost is not None
        titles = ["Layer (type)", "Input", "Output", "Parameters", "Flops", "Bytes"]
        rows = [titles if called else ["Layer (type)", "Parameters"]]
        for layer in self.layers:
            first = f"{'  ' * layer.depth}{layer.name} ({layer.kind})"
            parameters = f"{layer.parameters:,}" if layer.parameters else "-"
            cost = layer.cost
            counted = ["-", "-"] if cost is None else [f"{cost.flops:,}", f"{cost.bytes:,}"]
            shapes = [layer.input, layer.output]
            rows.append([first, *shapes, parameters, *counted] if called else [first, parameters])
        return rows

    def totals(self) -> list[str]:
        """The lines under the table."""
        found = [
            f"Parameters: {self.parameters:,} ({self.trainable:,} trainable), {_size(self.parameter_bytes)}",
        ]
        if self.buffer_bytes:
            found.append(f"Buffers: {_size(self.buffer_bytes)}")
        if self.cost is not None:
            found.append(
                f"The whole program: {self.cost.flops:,} flops, {_size(self.cost.bytes)} moved by its kernels"
            )
        return found

    def __str__(self) -> str:
        rows = self.table()
        widths = [max(map(len, column)) for column in zip(*rows)]
        numbers = {len(rows[0]) - count for count in ((1, 2, 3) if len(rows[0]) > 2 else (1,))}
        lines = []
        for row in rows:
            cells = [
                text.rjust(width) if position in numbers else text.ljust(width)
                for position, (text, width) in enumerate(zip(row, widths))
            ]
            lines.append("  ".join(cells).rstrip())
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:], rule, *self.totals()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [[escape(text).replace("  ", "&emsp;") for text in row] for row in self.table()]
        head = "".join(f"<th>{text}</th>" for text in rows[0])
        body = "".join(
            f"<tr>{''.join(f'<td>{text}</td>' for text in row)}</tr>" for row in rows[1:]
        )
        under = "<br>".join(map(escape, self.totals()))
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><div>{under}</div>"
        )


def summary(model: Module, input: Any = None, *, depth: int | None = None) -> Summary:
    """The layers of a model: shapes, parameters, flops and bytes.

    Args:
        model: any module. It is called in evaluation mode, without gradients, and left as it was.
        input: a tensor, a tuple of arguments, a dict of named ones, or the shape of one float input as a `Size` or a tuple of ints;
            None for a table of parameters alone.
        depth: how many levels of modules show; all by default.

    Returns: a `Summary`, which prints as a table, in notebooks too.

    Flops count an addition, a multiplication and a comparison as one each, functions such as exp as the cost model weighs them. Bytes are
    those of the buffers that the kernels read and write, each once.
    """
    found = Summary()
    for parameter in model.parameters():
        found.parameters += parameter.numel()
        found.trainable += parameter.numel() if parameter.requires_grad else 0
        found.parameter_bytes += parameter.nbytes
    found.buffer_bytes = sum(buffer.nbytes for buffer in model.buffers())
    if input is None:
        counted: set[int] = set()
        for name, module in model.named_modules():
            level = name.count(".") + 1 if name else 0
            layer = Layer(name.rpartition(".")[2] or "model", type(module).__name__, level, "")
            layer.parameters = _own(module, counted)
            found.layers.append(layer)
    else:
        _watch(model, input, found)
    found.layers = [each for each in found.layers if depth is None or each.depth <= depth]
    return found


def _watch(model: Module, input: Any, found: Summary) -> None:
    """Call the model and note the calls of its modules."""
    args, kwargs = _arguments(model, input)
    realize([*model.parameters(), *model.buffers(), *_tensors((args, kwargs))])
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    counted: set[int] = set()
    open_calls: list[Layer] = []
    handles = []
    training = [(module, module.training) for module in model.modules()]

    def before(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name = names[id(module)] or "model"
        layer = Layer(name, type(module).__name__, len(open_calls), _shapes((args, kwargs)))
        layer.parameters = _own(module, counted)
        found.layers.append(layer)
        open_calls.append(layer)

    def after(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        layer = open_calls.pop()
        layer.output = _shapes(output)
        if found.layers[-1] is layer:  # no module was called inside
            layer.cost = _alone(module, args, kwargs)

    try:
        for module in model.modules():
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, prepend=True, with_kwargs=True))
        model.eval()
        with no_grad():
            output = model(*args, **kwargs)
            found.cost = predict([tensor.node for tensor in _tensors(output)])
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training:
            module.training = mode


def _alone(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cost:
    """What a module takes whose inputs are in memory."""

    def stand_in(value: Any) -> Any:
        if isinstance(value, Tensor):
            return stored_zeros(value)
        if isinstance(value, Mapping):
            return {key: stand_in(each) for key, each in value.items()}
        if type(value) in (list, tuple):
            return type(value)([stand_in(each) for each in value])
        return value

    output = module.forward(*stand_in(args), **stand_in(kwargs))
    return predict([tensor.node for tensor in _tensors(output)])


def _arguments(model: Module, input: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(input, Size) or (
        isinstance(input, tuple) and input and all(type(each) is int for each in input)
    ):
        like = next(iter(model.parameters()), None)
        return (zeros(tuple(input), device=None if like is None else like.device),), {}
    if isinstance(input, Mapping):
        return (), dict(input)
    return (tuple(input) if isinstance(input, (tuple, list)) else (input,)), {}


def _own(module: Module, counted: set[int]) -> int:
    """The elements of a module's own parameters that were not counted before."""
    total = 0
    for parameter in module.parameters(recurse=False):
        if id(parameter) not in counted:
            counted.add(id(parameter))
            total += parameter.numel()
    return total


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)


def _shapes(value: Any) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in _tensors(value)) or "-"


def _size(count: int) -> str:
    """A number of bytes as people read it."""
    amount = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{count} bytes" if unit == "bytes" else f"{amount:.2f} {unit}"
