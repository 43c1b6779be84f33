"""jacrev, jacfwd and hessian: whole matrices of derivatives, a row or a column at a time for all rows or columns at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from ..ir.dtype import int64
from ..ir.node import iota
from ..results import from_node
from ..tensor import Tensor
from .derivatives import Argnums, _place, jvp, vjp
from .mapping import vmap
from .trees import Structure, flatten

Function = Callable[..., Any]


def jacrev(
    func: Function,
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Function:
    """A function that gives the Jacobian of `func` by its arguments `argnums`, by reverse mode: all rows at once.

    Its shape is that of the output, then that of the argument; for containers of outputs and arguments, containers of Jacobians.

    Args:
        chunk_size: compute so many rows at a time.
        has_aux: `func` returns (output, aux), and the new function (jacobian, aux).

    Same as torch.func.jacrev.
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        partial, chosen = _partial(func, args, kwargs, argnums)
        found = vjp(partial, *chosen, has_aux=has_aux)
        outputs, structure = flatten(found[0])
        basis = _basis(outputs)
        rows = vmap(
            lambda *each: flatten(found[1](structure.build(each)))[0], chunk_size=chunk_size
        )(*basis)
        leaves, inputs = flatten(chosen[0] if isinstance(argnums, int) else tuple(chosen))
        results = []
        for output, part in zip(outputs, zip(*[each.split(_sizes(outputs)) for each in rows])):
            blocks = [
                block.reshape(*output.shape, *leaf.shape) for block, leaf in zip(part, leaves)
            ]
            results.append(inputs.build(blocks))
        made = structure.build(results)
        return (made, found[2]) if has_aux else made

    return jacobian


def jacfwd(
    func: Function, argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Function:
    """As `jacrev`, by forward mode: all columns at once. Better where there are more outputs than inputs.

    Same as torch.func.jacfwd.
    """

    @wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        partial, chosen = _partial(func, args, kwargs, argnums)
        primals, inputs = flatten(tuple(chosen))
        kept: list[Any] = []

        def column(*tangents: Tensor) -> list[Any]:
            found = jvp(partial, tuple(chosen), inputs.build(tangents), has_aux=has_aux)
            outputs, structure = flatten(found[1])
            kept[:] = [structure, found[2] if has_aux else None]
            return outputs

        sized = vmap(column, out_dims=-1, randomness=randomness)
        columns = sized(*_basis(primals))
        structure: Structure = kept[0]
        shapes = inputs.parts[0] if isinstance(argnums, int) else inputs
        results = []
        for each in columns:
            blocks = [
                block.reshape(*each.shape[:-1], *leaf.shape)
                for block, leaf in zip(each.split(_sizes(primals), -1), primals)
            ]
            results.append(shapes.build(blocks))
        made = structure.build(results)
        return (made, kept[1]) if has_aux else made

    return jacobian


def hessian(func: Function, argnums: Argnums = 0) -> Function:
    """A function that gives the matrix of second derivatives of `func`: jacfwd of jacrev. Same as torch.func.hessian."""
    return jacfwd(jacrev(func, argnums), argnums)


def _partial(
    func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], argnums: Argnums
) -> tuple[Function, list[Any]]:
    """`func` as a function of the arguments `argnums`, and these."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    places = [_place(each, len(args)) for each in numbers]

    def partial(*chosen: Any) -> Any:
        given = list(args)
        for place, each in zip(places, chosen):
            given[place] = each
        return func(*given, **kwargs)

    return partial, [args[place] for place in places]


def _sizes(tensors: Sequence[Tensor]) -> list[int]:
    return [each.numel() for each in tensors]


def _basis(tensors: Sequence[Tensor]) -> list[Tensor]:
    """For every element of all tensors a batch element that is 1 there and 0 elsewhere."""
    total = sum(_sizes(tensors))
    found = []
    begin = 0
    for each in tensors:
        count = each.numel()
        rows = iota(total, int64, each.place).reshape((total, 1)).expand((total, count))
        columns = iota(count, int64, each.place).reshape((1, count)).expand((total, count))
        node = rows.eq(columns + begin).cast(each.dtype)
        found.append(from_node(node.reshape((total, *each.shape))))
        begin += count
    return found
