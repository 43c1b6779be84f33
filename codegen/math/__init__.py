"""Transcendental functions as expressions of the IR.

In: any value of the loop stratum. Out: the same value with EXP, LOG, SIN, ... replaced by additions, multiplications, FMA,
comparisons, WHERE and integer operations on the bits, so that a renderer needs no library and vectors stay vectors.
float32 results are within 2 ulp of the correctly rounded ones for every input (benchmarks/math_accuracy.py); special
values are PyTorch's. Half types are computed in float32 and rounded once.
"""

from __future__ import annotations

from lazygrad.ir.node import Node
from lazygrad.ir.rewrite import rewrite

from . import (
    divisor,
    error_function,
    exponential,
    gamma,
    half,
    hyperbolic,
    inverse,
    logarithm,
    power,
    sign,
    trigonometric,
)
from .table import MATH

__all__ = [
    "MATH",
    "divisor",
    "error_function",
    "expand",
    "exponential",
    "gamma",
    "half",
    "hyperbolic",
    "inverse",
    "logarithm",
    "power",
    "sign",
    "trigonometric",
]


def expand(kernel: Node) -> Node:
    """`kernel` with every function that hardware lacks written out."""
    return rewrite([kernel], MATH)[0]
