"""Dropout: elements, or whole channels, replaced at random.

In: a floating tensor and a probability. Out: the tensor as it is outside of training, else a new one (or the tensor itself, changed
in place). The draws are an expression of the counter (random.py): backward computes them again, and nothing of them is stored.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

from ..ir.dtype import float32
from ..ir.node import Node, where
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .arguments import describe_operands, type_name
from .registry import Outcome, change, function

ALPHA = 1.7580993408473766
"""The negative of SELU's limit at minus infinity: what alpha dropout puts in, negated."""


def survivors(shape: tuple[int, ...], p: float, like: Node) -> Node:
    """Where a draw says that an element stays: true with probability 1 - p."""
    from ..random import uniform

    dtype = like.dtype if like.dtype.itemsize > 2 else float32
    return uniform(shape, dtype, like.place).ge(p)


def drop_elements(node: Node, p: float, shape: tuple[int, ...] | None = None) -> Node:
    """The node with elements 0 at probability `p`, else divided by 1 - p; one draw for each element of `shape`, which broadcasts."""
    if p == 1.0:
        return node * 0.0
    drawn: tuple[int, ...] = shape or node.shape  # type: ignore[assignment]
    kept = survivors(drawn, p, node).expand(node.shape)
    return where(kept, node * (1.0 / (1.0 - p)), 0.0)


def _drop_alpha(node: Node, p: float, shape: tuple[int, ...] | None = None) -> Node:
    """As `drop_elements`, but with -ALPHA for 0, then scaled and shifted so that mean 0 and variance 1 stay."""
    if p == 1.0:
        return node * 0.0
    scale = 1.0 / math.sqrt((ALPHA**2 * p + 1.0) * (1.0 - p))
    drawn: tuple[int, ...] = shape or node.shape  # type: ignore[assignment]
    kept = survivors(drawn, p, node).expand(node.shape)
    return where(kept, node * scale, -ALPHA * scale) + ALPHA * scale * p


def _dropout(
    name: str,
    drop: Callable[[Node, float, tuple[int, ...] | None], Node],
    input: Tensor,
    p: float,
    training: bool,
    inplace: bool,
    channels: bool = False,
) -> Tensor:
    """Apply `drop` in training; with `channels` the first two axes, (N, C), have a draw for each of their elements."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    shape = tuple(input.shape)
    if channels and len(shape) < 2:
        raise RuntimeError(
            "Feature dropout requires at least 2 dimensions in the input"
            + describe_operands(input=input)
        )
    if not training or p == 0.0:
        return input
    if input.dtype.kind != "float":
        raise RuntimeError(
            f"{name}: result type Float can't be cast to the desired output type {type_name(input.dtype)}"
        )
    drawn = (*shape[:2], *(1,) * (len(shape) - 2)) if channels else None
    (node,) = tensor_nodes(input)
    outcome = Outcome("MulBackward0", drop(node, float(p), drawn), (input, None), ("mask",))
    return change(input, f"{name}_", outcome) if inplace else result(*outcome)


@function("dropout", method=False, nn=True)
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element 0 with probability `p`, else divided by 1 - p; input itself when not training, or when p is 0.

    Raises:
        ValueError: `p` is not in [0, 1].
        RuntimeError: input is not floating.

    Same as torch.nn.functional.dropout; the draws are those of random.py.
    """
    return _dropout("dropout", drop_elements, input, p, training, inplace)


@function("alpha_dropout", method=False, nn=True)
def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout for selu: mean 0 and variance 1 of the input stay. Same as torch.nn.functional.alpha_dropout."""
    return _dropout("alpha_dropout", _drop_alpha, input, p, training, inplace)


@function("feature_alpha_dropout", method=False, nn=True)
def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """alpha_dropout of whole channels (axes 0 and 1). Same as torch.nn.functional.feature_alpha_dropout."""
    return _dropout("feature_alpha_dropout", _drop_alpha, input, p, training, inplace, True)


@function("dropout1d", module=False, method=False, nn=True)
def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Dropout of whole channels of (N, C, L) or (C, L).

    Raises:
        ValueError: `p` is not in [0, 1].
        RuntimeError: input has another rank.

    Same as torch.nn.functional.dropout1d.
    """
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. Note that dropout1d exists to provide "
            "channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional batch dimension "
            "(i.e. 2D or 3D inputs)." + describe_operands(input=input)
        )
    return _channels("dropout1d", input, p, training, inplace, unbatched=2)


@function("dropout2d", module=False, method=False, nn=True)
def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Dropout of whole channels of (N, C, H, W); other ranks are taken as (N, C, ...), with a warning, as PyTorch does.

    Same as torch.nn.functional.dropout2d.
    """
    if input.ndim not in (3, 4):
        _warn_rank("dropout2d", input.ndim, "2 spatial dimensions", "3D or 4D")
    elif input.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired - input "
            "is interpreted as shape (N, C, L), where C is the channel dim. Please use dropout1d for that.",
            stacklevel=2,
        )
    return _dropout("dropout2d", drop_elements, input, p, training, inplace, True)


@function("dropout3d", module=False, method=False, nn=True)
def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W). Same as torch.nn.functional.dropout3d."""
    if input.ndim not in (4, 5):
        _warn_rank("dropout3d", input.ndim, "3 spatial dimensions", "4D or 5D")
    return _channels("dropout3d", input, p, training, inplace, unbatched=4)


def _warn_rank(name: str, rank: int, space: str, ranks: str) -> None:
    warnings.warn(
        f"{name}: Received a {rank}-D input to {name}, which is deprecated and will result in an error in a future release. To "
        f"retain the behavior and silence this warning, please use dropout instead. Note that {name} exists to provide "
        f"channel-wise dropout on inputs with {space}, a channel dimension, and an optional batch dimension (i.e. {ranks} "
        "inputs).",
        stacklevel=3,
    )


def _channels(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, unbatched: int
) -> Tensor:
    """Dropout of channels, which are the first axis if the rank is `unbatched`, else the second."""
    from .shaping import squeeze, unsqueeze

    if input.ndim != unbatched:
        return _dropout(name, drop_elements, input, p, training, inplace, True)
    made = _dropout(name, drop_elements, unsqueeze(input, 0), p, training, inplace, True)
    return input if inplace else squeeze(made, 0)
