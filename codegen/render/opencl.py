"""OpenCL C: the dialect of the shared C renderer, and programs of several kernels.

In: kernels after their transforms (codegen/choose_opencl.py). Out: text that any OpenCL 1.2 compiler takes, with nothing in it that depends
on the driver: math functions are the polynomials of codegen/math, so that a result is the same on every device; built-ins are used where
OpenCL says that they are exact (fma, floor, ceil, trunc, rint, fabs, fmod, and with an option sqrt and division).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lazygrad.ir.args import Message
from lazygrad.ir.node import Node

from ..choose_opencl import OpenClTarget
from ..transform.share import group_size
from .c_grid import Mapped, Source, names
from .c_kernel import render_kernel
from .c_launches import launched, render_launches
from .c_text import Atomics, Dialect
from .opencl_builtins import by_halves
from .streaming import streamed

LOCAL_BYTES = 32 << 10
"""The local memory that every device has at least."""
ATOMICS = Atomics(
    space="volatile global ",
    updates={
        (kind, name): (f"atomic_{kind}" if word in ("int", "uint") else f"atom_{kind}", word)
        for kind in ("add", "min", "max")
        for name, word in {"int32": "int", "uint32": "uint", "int64": "long", "uint64": "ulong"}.items()
    },
    swaps={4: ("atomic_cmpxchg", "uint"), 8: ("atom_cmpxchg", "ulong")},
    extensions={
        8: "".join(f"#pragma OPENCL EXTENSION cl_khr_int64_{kind}_atomics : enable\n" for kind in ("base", "extended")),
    },
)  # fmt: skip
OPENCL = Dialect(
    language="OpenCL C",
    header="#pragma OPENCL FP_CONTRACT OFF",
    kernel="kernel void ",
    function="",
    memory="global ",
    restrict="restrict",
    item="(long)get_global_id(0)",
    items="(long)get_global_size(0)",
    first_error="atomic_cmpxchg(error + launch, 0, {number})",
    fence="mem_fence(CLK_GLOBAL_MEM_FENCE)",
    lanes=16,
    block="(long)get_group_id(0)",
    blocks="(long)get_num_groups(0)",
    thread="(int)get_local_id(0)",
    shared="local ",
    shared_bytes=LOCAL_BYTES,
    barrier="barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);",
    hoists=True,
)
OPENCL_OF_GPUS = replace(
    OPENCL, narrow="int", diverges=True, aligned="__attribute__((aligned(16))) ", atomics=ATOMICS
)
OPTIONS = ("-cl-std=CL1.2", "-w")
CONTRACTS = "-DCONTRACTS_EXACTLY"
"""Given where `PROBE` shows that a product and a sum are contracted with one rounding: PoCL's compiler does that faster than it calls fma."""
PROBED = 8
"""The lanes of its vectors: every driver's built-ins take so many."""
PROBE = """
#ifdef CONTRACTS_EXACTLY
#pragma OPENCL FP_CONTRACT OFF
float8 fused(float8 a, float8 b, float8 c) {
  #pragma OPENCL FP_CONTRACT ON
  return a * b + c;
}
kernel void probe(global const float *x, global float *y) {
  vstore8(fused(vload8(0, x), vload8(0, x), vload8(1, x)), 0, y);
}
#endif
"""
FEATURES = """#pragma clang attribute push(__attribute__((target("{features}"))), apply_to = function)
{text}
#pragma clang attribute pop
"""
"""A text for a processor that has more than the driver's compiler knows: what its functions may use."""
FEATURES_PROBE = """
static __attribute__((noinline)) void doubled(global const float16 *x, global float16 *y) {
  *y = *x + *x;
}
kernel void probe(global const float16 *x, global float16 *y) {
  doubled(x, y);
}
"""
APART = "static __attribute__((noinline)) void "
"""PoCL puts a kernel's text into functions of its own, which are compiled for the processor that its compiler knows."""
CORRECT_ROUNDING = "-cl-fp32-correctly-rounded-divide-sqrt"
"""Given where the device says that it can."""


def render(kernel: Node, target: OpenClTarget) -> str:
    """The source of one kernel, complete."""
    return program(render_all([kernel], target), target)


def render_all(kernels: Sequence[Node], target: OpenClTarget) -> list[Source]:
    """The kernels of one program, each under a name of its own."""
    dialect = replace(
        OPENCL if target.kind == "cpu" else OPENCL_OF_GPUS,
        builtin_bytes=target.builtin_bytes,
        apart=APART if target.features else "",
    )

    def launch(kernel: Node, name: str, checks: dict[Message, int]) -> Source:
        threads = group_size(kernel)
        mapping: Mapped = "group" if threads else target.mapping
        passing = streamed(kernel, target)
        return render_kernel(kernel, dialect, mapping, name, threads or 1, passing, checks)

    called = zip(kernels, names(kernels, dialect), strict=True)
    if target.kind == "cpu":  # whose work-items do what stands before their trips, each for itself
        return [launch(kernel, name, {}) for kernel, name in called]
    return [render_launches(kernel, name, launch) for kernel, name in called]


def program(sources: Sequence[Source], target: OpenClTarget) -> str:
    """The text of a program: the header, each function once, the kernels."""
    functions: dict[str, str] = {}
    sources = launched(sources)
    for source in sources:
        functions.update(source.functions)
    text = "\n\n".join([OPENCL.header, *functions.values(), *(each.text for each in sources)])
    text = by_halves(text, target.builtin_bytes)
    return with_features(text, target.features)


def with_features(text: str, features: frozenset[str]) -> str:
    """A program whose functions may use features that the driver's compiler does not take the processor to have."""
    listed = ",".join(sorted(features))
    return FEATURES.format(features=listed, text=text) if features else text
