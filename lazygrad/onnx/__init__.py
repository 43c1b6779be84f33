"""ONNX models as callables: `lazygrad.onnx.load(path)`. Needs the package onnx (`pip install lazygrad[onnx]`), which parses.

In: models of ONNX. Out: `Model`, from named numpy arrays to named numpy arrays. table.py says how an operator is added, program.py
how a graph is run; each of the other files has a family of operators.
"""

from __future__ import annotations

from importlib import import_module

try:
    import onnx as onnx
except ImportError as error:
    raise ImportError(
        "lazygrad.onnx needs the package onnx: pip install 'lazygrad[onnx]'"
    ) from error

from .model import Info as Info
from .model import Model as Model
from .model import load as load
from .model import operators as operators

FAMILIES = (
    "activations",
    "attention",
    "contraction",
    "control",
    "convolution",
    "creation",
    "elementwise",
    "indexing",
    "losses",
    "microsoft",
    "normalization",
    "pooling",
    "quantized",
    "recurrent",
    "reductions",
    "resizing",
    "sequences",
    "shaping",
    "signals",
    "text",
    "vision",
)
"""The files of operators, each of which registers its own."""

for _family in FAMILIES:
    import_module(f"{__name__}.{_family}")
