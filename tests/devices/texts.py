"""The CUDA C of every kernel that a run of tests compiles, whatever device it runs on: `pytest --device cpu --cuda-texts DIRECTORY`.

In: the graphs that plans are made of. Out: a file for each text, under a name that comes from it, so that a kernel of many tests is one.
`python benchmarks/cuda_resources.py --texts DIRECTORY` has NVIDIA's compiler say what they take of a GPU.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lazygrad.codegen.choose_cuda import optimise, target
from lazygrad.codegen.lower import lower
from lazygrad.codegen.render.cuda import program, render
from lazygrad.ir.node import Node
from lazygrad.ir.text import show
from lazygrad.runtime import compile as compiler
from lazygrad.runtime.plans import Record
from lazygrad.schedule.place import place


def collect(folder: Path) -> None:
    """From now on, in this process, each graph that is compiled for a device is written for CUDA too."""
    folder.mkdir(parents=True, exist_ok=True)
    real, seen = compiler.make_kernels, set[str]()

    def make_kernels(device: Any, roots: Sequence[Node], record: Record) -> Any:
        made = real(device, roots, record)
        write(folder, made[0], seen)
        return made

    compiler.make_kernels = make_kernels


def write(folder: Path, roots: Sequence[Node], seen: set[str]) -> None:
    """The kernels of a simplified graph, those that are new. What cannot be written is a file whose compiler will say so."""
    for graph in place(list(roots)).kernels:
        lowered = lower(graph)
        name = hashlib.sha256(show(lowered, sites=False).encode()).hexdigest()[:24]
        if name in seen:
            continue
        seen.add(name)
        try:
            text = program([render(optimise(lowered, target()))])
        except Exception as error:
            text = f"#error {type(error).__name__}: {error}\n".replace("\n", "\n// ")
        (folder / f"{name}.cu").write_text(text)
