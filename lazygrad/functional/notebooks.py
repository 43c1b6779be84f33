"""Tensors in notebooks: `_repr_html_`.

In: a tensor, which is computed. Out: HTML without styles of its own: what the tensor is, and its numbers, as a table if it has one or
two axes. Digits and how much shows follow `set_printoptions`.
"""

from __future__ import annotations

from html import escape
from typing import Any

from .. import printing, reading
from ..tensor import Tensor
from .registry import METHODS


def _describe(tensor: Tensor) -> str:
    parts = [
        f"{type(tensor).__name__} {tuple(tensor.shape)}",
        repr(tensor.dtype),
        str(tensor.device),
    ]
    if tensor.grad_fn is not None:
        parts.append(f"grad_fn={type(tensor.grad_fn).__name__}")
    elif tensor.requires_grad:
        parts.append("requires_grad")
    return escape(", ".join(parts))


def _shown(size: int, edge: int, cut: bool) -> list[int | None]:
    """The positions that show on an axis; None where others are left out."""
    if not cut or size <= 2 * edge:
        return list(range(size))
    return [*range(edge), None, *range(size - edge, size)]


def html(self: Tensor) -> str:
    """The tensor as a notebook shows it: its kind, and a table of its numbers. It is computed."""
    head = f"<div><code>{_describe(self)}</code></div>"
    if self.ndim not in (1, 2) or not self.numel():
        return f"{head}<pre>{escape(str(self.detach()))}</pre>"
    options = printing.get_printoptions()
    values = reading.values(self).reshape((-1, self.shape[-1]))
    cut = self.numel() > options["threshold"]
    rows, columns = (_shown(size, options["edgeitems"], cut) for size in values.shape)
    numbers = [
        values[row, column].item() for row in rows if row is not None for column in columns if column is not None
    ]  # fmt: skip
    show = printing.Formatter(numbers, self.is_floating_point(), printing.Options(**options))
    lines = []
    for row in rows:
        cells = []
        for column in columns:
            hidden = row is None or column is None
            cells.append("…" if hidden else escape(show(values[row, column].item()).strip()))
        number = f"<th>{'' if row is None else row}</th>" if self.ndim == 2 else ""
        lines.append(f"<tr>{number}{_cells('td', cells)}</tr>")
    names = ["…" if column is None else str(column) for column in columns]
    top = f"<tr>{'<th></th>' if self.ndim == 2 else ''}{_cells('th', names)}</tr>"
    return f"{head}<table><thead>{top}</thead><tbody>{''.join(lines)}</tbody></table>"


def _cells(kind: str, texts: list[str]) -> str:
    style: Any = ' style="text-align: right"' if kind == "td" else ""
    return "".join(f"<{kind}{style}>{text}</{kind}>" for text in texts)


METHODS["_repr_html_"] = html
