"""CUDA C: the dialect of the shared C renderer for NVIDIA's GPUs.

In: kernels after their transforms (codegen/choose_cuda.py). Out: text that NVRTC and nvcc take as it is, one kernel each, for sm_80 and newer; nothing
of it needs a header. Math functions are the polynomials of codegen/math, so that a result is the same on every device; what CUDA C has is used where
NVIDIA says that it is exact (fma, floor, ceil, trunc, rint, fabs, fmod, and by default sqrt and division). The text must be compiled
with `OPTIONS`: a product and a sum round twice unless they are written as fma.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lazygrad.ir.args import Message
from lazygrad.ir.node import Node

from ..transform.share import group_size
from .c_grid import Mapped, Source, grid_loops, names
from .c_kernel import render_kernel
from .c_launches import launched, render_launches
from .c_text import Atomics, Dialect
from .cuda_functions import DEFINITIONS, FUNCTION, HALVES, TYPES

GROUP = 256
"""The work-items of a group, where each has trips of its own."""

SHARED_BYTES = 48 << 10
"""What every kernel may have."""
ATOMICS = Atomics(
    space="",
    updates={
        **{
            ("add", name): ("atomicAdd", word)
            for name, word in {"float32": "float", "float64": "double", "int32": "int", "uint32": "uint"}.items()
        },
        **{("add", name): ("atomicAdd", "unsigned long long") for name in ("int64", "uint64")},
        **{
            (kind, name): (f"atomic{kind.capitalize()}", word)
            for kind in ("min", "max")
            for name, word in {"int32": "int", "uint32": "uint", "int64": "long long", "uint64": "unsigned long long"}.items()
        },
    },
    swaps={2: ("atomicCAS", "ushort"), 4: ("atomicCAS", "uint"), 8: ("atomicCAS", "unsigned long long")},
)  # fmt: skip

CUDA = Dialect(
    language="CUDA C",
    header=TYPES,
    kernel='extern "C" __global__ void __launch_bounds__({bounds}) ',
    function=FUNCTION,
    memory="",
    restrict="__restrict__",
    lanes=1,
    item="(long)blockIdx.x * blockDim.x + threadIdx.x",
    items="(long)gridDim.x * blockDim.x",
    narrow="int",
    first_error="atomicCAS(error + launch, 0, {number})",
    name="lg_{}",
    definitions=DEFINITIONS,
    private_bytes=0,
    block="(long)blockIdx.x",
    blocks="(long)gridDim.x",
    thread="(int)threadIdx.x",
    shared="__shared__ ",
    shared_bytes=SHARED_BYTES,
    barrier="__syncthreads();",
    fence="__threadfence_block()",
    exchanges=True,
    halves=HALVES,
    aligned="__align__(16) ",
    diverges=True,
    copies=True,
    atomics=ATOMICS,
)
OPTIONS = ("-std=c++17", "--fmad=false")
"""What NVRTC and nvcc are told beside the architecture."""


def render(kernel: Node, name: str = "") -> Source:
    """One kernel, and what its launch must know; `program` of it is the whole text.

    Raises:
        RenderError: the kernel holds something that has no code here.
    """
    return render_launches(kernel, name or names([kernel], CUDA)[0], _launch)


def _launch(kernel: Node, name: str, checks: dict[Message, int]) -> Source:
    threads = group_size(kernel)
    mapping: Mapped = "group" if threads else "item"
    group = threads or (GROUP if grid_loops(kernel, "item") else 1)
    return render_kernel(kernel, CUDA, mapping, name, group, checks=checks)


def render_all(kernels: Sequence[Node]) -> list[Source]:
    """The kernels of one module, each under a name of its own."""
    return [
        render(kernel, name) for kernel, name in zip(kernels, names(kernels, CUDA), strict=True)
    ]


def program(sources: Sequence[Source]) -> str:
    """The text of a module, complete: types, the functions that its kernels use, the kernels."""
    functions: dict[str, str] = {}
    sources = launched(sources)
    for source in sources:
        functions.update(source.functions)
    text = _signed("\n\n".join([*functions.values(), *(source.text for source in sources)]))
    used = [
        definition
        for name, definition in CUDA.definitions.items()
        if re.search(rf"\b{name}\b", text)
    ]
    return "\n\n".join([CUDA.header, *used, text])


def _signed(text: str) -> str:
    """The text with chars that have a sign on every host."""
    lines = []
    for line in text.split("\n"):
        code, mark, comment = line.partition("//")
        lines.append(re.sub(r"\bchar\b", "signed char", code) + mark + comment)
    return "\n".join(lines)
