"""What PyTorch has beside views: the same elements in memory of their own (view_copy, ...), and parts that may be written to (unsafe_split, ...).

In: what the view takes. Out: copies of what it gives; the unsafe forms give the views, which lazygrad has no reason to call unsafe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from . import joining as joining  # registers what is copied here
from . import memory as memory
from .registry import FUNCTIONS, METHODS, function
from .shaping import clone

COPIED = (
    "as_strided", "detach", "diagonal", "expand", "permute", "select", "split", "split_with_sizes", "squeeze", "t", "transpose",
    "unbind", "unfold", "unsqueeze", "view", "alias", "slice",
)  # fmt: skip
"""The views that have a copying form."""
UNSAFE = ("chunk", "split", "split_with_sizes")


def _copying(name: str, view: Callable[..., Any]) -> Callable[..., Any]:
    def run(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        made = view(input, *args, **kwargs)
        if isinstance(made, Tensor):
            return clone(made)
        return tuple([clone(each) for each in made])

    run.__name__ = run.__qualname__ = f"{name}_copy"
    run.__doc__ = f"As `{name}`, in memory of its own. Same as torch.{name}_copy."
    return function(f"{name}_copy", method=name == "narrow", out=True)(run)


def _alias(input: Tensor) -> Tensor:
    return input


def _sliced(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    from .arguments import axis
    from .shaping import slice_axis

    found = axis(dim, input.ndim, "slice_copy")
    first, last, _ = slice(start, end, step).indices(int(input.shape[found]))
    return slice_axis(input, found, first, max(first, last), step)


def _detached(input: Tensor) -> Tensor:
    return input.detach()


_OWN: dict[str, Callable[..., Any]] = {"alias": _alias, "slice": _sliced, "detach": _detached}

for _name in (*COPIED, "narrow"):
    _copying(_name, _OWN.get(_name) or FUNCTIONS.get(_name) or METHODS[_name])
for _name in UNSAFE:
    function(f"unsafe_{_name}")(FUNCTIONS[_name])


@function("detach", "detach_", method=False)
def detach(input: Tensor) -> Tensor:
    """The same memory as a tensor of no history. Same as torch.detach."""
    return input.detach()
