"""The CUDA C of every kernel that a run of tests compiles, whatever device it runs on: `pytest --device cpu --cuda-texts DIRECTORY`.

usage: python -m tests.devices.texts DIRECTORY [FIRST LAST]      every operator of the tables in three types, with first and second gradients, without running anything

In: the graphs that plans are made of. Out: a file for each text, under a name that comes from it, so that a kernel of many tests is one.
`python benchmarks/cuda_resources.py --texts DIRECTORY` has NVIDIA's compiler say what they take of a GPU.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lazygrad as lg
from lazygrad.codegen.choose_cuda import optimise, target
from lazygrad.codegen.lower import lower
from lazygrad.codegen.render.cuda import program, render
from lazygrad.ir.node import Node
from lazygrad.ir.text import show
from lazygrad.runtime import compile as compiler
from lazygrad.runtime.plans import Record
from lazygrad.schedule.place import place

from ..programs.generator import Program
from ..programs.sweep import FORMS, programs_of

DTYPES = ("float64", "float32", "float16")


class Written(Exception):
    """The kernels are written: nothing is to be compiled or run."""


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
    nodes = compiler.simplify(compiler.divide_sorts(roots))
    for graph in place(nodes, target().machine).kernels:
        lowered = lower(graph, groups=True)
        name = hashlib.sha256(show(lowered, sites=False).encode()).hexdigest()[:24]
        if name in seen:
            continue
        seen.add(name)
        try:
            text = program([render(optimise(lowered, target()))])
        except Exception as error:
            text = f"#error {type(error).__name__}: {error}\n".replace("\n", "\n// ")
        (folder / f"{name}.cu").write_text(text)


def of_programs(folder: Path, first: int, last: int) -> int:
    """Write the kernels of the forms from `first` to `last`, with their gradients; returns how many programs stopped because they read a value."""
    folder.mkdir(parents=True, exist_ok=True)
    seen, stopped = set[str](), 0

    def make_kernels(device: Any, roots: Sequence[Node], record: Record) -> Any:
        nodes = list(roots)
        for name, function in compiler.graph_passes(target()):
            nodes = compiler.graph_pass(name, function, nodes, record)
        write(folder, nodes, seen)
        raise Written

    compiler.make_kernels = make_kernels
    for form in FORMS[first:last]:
        for drawn in programs_of(form):
            for dtype in DTYPES:
                try:
                    _write_program(drawn, dtype)
                except (Written, RuntimeError, TypeError):  # or this type is not for the operator
                    stopped += 1
    return stopped


def _write_program(program: Program, dtype: str) -> None:
    names: dict[str, Any] = {"torch": lg, "F": lg.nn.functional, "np": np, "nan": np.nan, "inf": np.inf}  # fmt: skip
    for leaf in program.leaves:
        floating = leaf.array.dtype == np.float64
        tensor = lg.tensor(leaf.array.astype(dtype) if floating else leaf.array)
        names[leaf.name] = tensor.requires_grad_() if leaf.requires_grad else tensor
    exec(compile(program.torch, "<program>", "exec"), names)
    _ask([names[name] for name in program.outputs])
    leaves = [names[leaf.name] for leaf in program.leaves if leaf.requires_grad]
    tracked = [names[name] for name in program.tracked]
    for _ in range(2):
        tracked = [each for each in tracked if each is not None and each.requires_grad]
        if not leaves or not tracked:
            return
        ones = [lg.ones_like(each) for each in tracked]
        tracked = list(
            lg.autograd.grad(tracked, leaves, ones, create_graph=True, allow_unused=True)
        )
        _ask([each for each in tracked if each is not None])


def _ask(tensors: Sequence[lg.Tensor]) -> None:
    try:
        lg.realize(*tensors)
    except Written:
        pass


if __name__ == "__main__":
    bounds = [int(text) for text in sys.argv[2:]] or [0, len(FORMS)]
    without = of_programs(Path(sys.argv[1]), *bounds)
    print(f"forms {bounds[0]} to {bounds[1]}; {without} programs stopped at a value that they read")
