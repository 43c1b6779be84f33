"""Forward mode by dual tensors: within a `dual_level`, `make_dual` gives a tensor a tangent, `unpack_dual` asks for that of a result.

The tangent of a result is found by its rule table when it is asked for (gradient/forward.py); operations on dual tensors are like any.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..tensor import Tensor

if TYPE_CHECKING:
    from ..func.levels import Level


class UnpackedDualTensor(NamedTuple):
    """A tensor's value and its tangent, None where it does not depend on a dual tensor."""

    primal: Tensor
    tangent: Tensor | None


class _Inside(threading.local):
    """The dual level that each thread is in."""

    level: dual_level | None = None


_inside = _Inside()


class dual_level:
    """The context in which tangents live. Same as torch.autograd.forward_ad.dual_level.

    Raises:
        RuntimeError: one is inside of another.
    """

    def __init__(self) -> None:
        from ..func.levels import Level

        self.level: Level = Level()
        self.duals: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> int:
        if _inside.level is not None:
            raise RuntimeError(
                "Nested forward mode AD is not supported at the moment. If you need it, please use func.jvp"
            )
        self.level.__enter__()
        _inside.level = self
        return 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _inside.level = None
        self.level.__exit__(kind, error, trace)


def enter_dual_level() -> int:
    """Begin a dual level, until `exit_dual_level`."""
    return dual_level().__enter__()


def exit_dual_level(*, level: int | None = None) -> None:
    """End the dual level."""
    if _inside.level is None:
        raise RuntimeError(
            "Trying to exit a forward AD level but no level was entered before: call enter_dual_level() first"
        )
    _inside.level.__exit__(None, None, None)


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Any:
    """A tensor with the value of `tensor` that moves along `tangent`, of the same shape and dtype.

    Raises:
        RuntimeError: there is no dual level; the shapes or dtypes differ. ValueError: the dtype is no floating one.

    Same as torch.autograd.forward_ad.make_dual.
    """
    inside = _inside.level
    if inside is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    if not tensor.dtype.is_floating_point:
        raise ValueError(
            f"Expected primal to be floating point or complex, but got: {tensor.dtype}"
        )
    from ..func.derivatives import check_tangents
    from ..func.levels import anchor

    check_tangents([tensor], [tangent])
    made = inside.level.variable(tensor)
    inside.duals.append((anchor(made), tangent))
    return made


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value of a tensor and its tangent. Same as torch.autograd.forward_ad.unpack_dual."""
    inside = _inside.level
    if inside is None:
        return UnpackedDualTensor(tensor, None)
    from ..func.derivatives import Pushing

    pushing = Pushing(inside.level, [variable for variable, _ in inside.duals], [tensor])
    (tangent,) = pushing.along([tangent for _, tangent in inside.duals])
    return UnpackedDualTensor(inside.level.leave(tensor), tangent)
