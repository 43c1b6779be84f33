"""Correlation: windows of a signal times a kernel, summed over channels and over what is inside a window.

Every convolution of PyTorch is one (functional/convolution.py), and so are its gradients: that of the signal is the correlation of the
cotangent, spread by the stride, with the kernel turned around; that of the kernel is the correlation of the signal with the cotangent,
the batch in the place of the channels. So all of them, and second gradients too, are contractions over WINDOW.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.args import Call
from ..ir.build import pad, shrink, window
from ..ir.composite import call, composite
from ..ir.node import Node
from .contraction import contract

LEAD = 3
"""The axes before the spatial ones: batch, group, channel of a signal; group, result channel, channel of a kernel."""


@composite("correlation")
def correlation(
    signal: Node,
    kernel: Node,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    between: tuple[int, ...],
    before: tuple[int, ...],
    after: tuple[int, ...],
) -> Node:
    """The sums (N, G, O, *result) of a signal (N, G, C, *sizes) under a kernel (G, O, C, *window).

    Args:
        strides: the distances between windows; dilations: those inside one.
        between: the zeros between the elements of the signal; `before`, `after`: at its ends. Negative ones take elements away.
    """
    rank = len(strides)
    if _apart(kernel, strides, dilations, between, before, after):
        return _blocks(signal, kernel)
    padded = _spread(signal, between, before, after)
    axes = range(LEAD, LEAD + rank)
    windows = window(padded, axes, _sizes(kernel), strides, dilations)
    results = [f"result{axis}" for axis in range(rank)]
    inside = [f"inside{axis}" for axis in range(rank)]
    return contract(
        windows,
        kernel,
        ["batch", "group", "channel", *results, *inside],
        ["group", "feature", "channel", *inside],
        ["batch", "group", "feature", *results],
    )


def _apart(
    kernel: Node,
    strides: Sequence[int],
    dilations: Sequence[int],
    between: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
) -> bool:
    """Whether each window has one element of the spread signal and zeros else: a transposed convolution that steps by its kernel."""
    return all(
        stride == dilation == 1 and n == b == a == size - 1
        for size, stride, dilation, n, b, a in zip(
            _sizes(kernel), strides, dilations, between, before, after, strict=True
        )
    ) and any(size > 1 for size in _sizes(kernel))


def _blocks(signal: Node, kernel: Node) -> Node:
    """Each element of the signal gives a block of results of the kernel's size: a product of matrices, without the zeros."""
    rank = len(_sizes(kernel))
    places = [f"place{axis}" for axis in range(rank)]
    inside = [f"inside{axis}" for axis in range(rank)]
    blocks = contract(
        signal,
        kernel.flip(range(LEAD, LEAD + rank)),
        ["batch", "group", "channel", *places],
        ["group", "feature", "channel", *inside],
        ["batch", "group", "feature", *(name for pair in zip(places, inside) for name in pair)],
    )
    sizes = [n * k for n, k in zip(_sizes(signal), _sizes(kernel), strict=True)]
    return blocks.reshape((*blocks.shape[:LEAD], *sizes))


def _sizes(node: Node) -> tuple[int, ...]:
    """The sizes of the spatial axes."""
    sizes: tuple[int, ...] = node.shape[LEAD:]  # type: ignore[assignment]
    return sizes


def _spread(
    signal: Node, between: Sequence[int], before: Sequence[int], after: Sequence[int]
) -> Node:
    """The signal with zeros between its elements and at its ends, or with its ends taken away."""
    nothing = (0,) * LEAD
    padded = pad(
        signal,
        (*nothing, *(max(n, 0) for n in before)),
        (*nothing, *(max(n, 0) for n in after)),
        (*nothing, *between),
    )
    starts = [max(-n, 0) for n in before]
    sizes = [
        size - start - max(-n, 0)
        for size, start, n in zip(_sizes(padded), starts, after, strict=True)
    ]
    return shrink(padded, (*nothing, *starts), (*padded.shape[:LEAD], *sizes))


@COMPOSITE_REVERSE.rule("correlation")
def correlation_reverse(node: Node, cotangent: Node) -> Cotangents:
    """Both cotangents are correlations; see the top of this file."""
    signal, kernel = node.src
    strides, dilations, between, before, after = (
        _attribute(node, name) for name in ("strides", "dilations", "between", "before", "after")
    )
    reach = [d * (k - 1) for d, k in zip(dilations, _sizes(kernel), strict=True)]
    # what the last window leaves over at the end of the signal
    rest = [
        (size - 1) * (m + 1) + 1 + b + a - r - 1 - (count - 1) * stride
        for size, m, b, a, r, count, stride in zip(
            _sizes(signal), between, before, after, reach, _sizes(node), strides, strict=True
        )
    ]
    rank = len(strides)
    of_signal = call(
        "correlation",
        [cotangent, _exchanged(kernel, 1, 2).flip(range(LEAD, LEAD + rank))],
        like=signal,
        strides=tuple(m + 1 for m in between),
        dilations=dilations,
        between=tuple(stride - 1 for stride in strides),
        before=tuple(r - b for r, b in zip(reach, before, strict=True)),
        after=tuple(r + e - a for r, e, a in zip(reach, rest, after, strict=True)),
    )
    of_kernel = call(
        "correlation",
        [_exchanged(signal, 0, 2), cotangent.permute((1, 2, 0, *range(LEAD, LEAD + rank)))],
        strides=dilations,
        dilations=strides,
        between=between,
        before=before,
        after=tuple(a - e for a, e in zip(after, rest, strict=True)),
    )
    return of_signal, of_kernel.permute((1, 2, 0, *range(LEAD, LEAD + rank)))


def _exchanged(node: Node, first: int, second: int) -> Node:
    """The node with two of its axes exchanged."""
    axes = list(range(len(node.shape)))
    axes[first], axes[second] = second, first
    return node.permute(axes)


def _attribute(node: Node, name: str) -> tuple[int, ...]:
    assert isinstance(node.arg, Call)
    found = node.arg.get(name)
    assert isinstance(found, tuple)
    return found
