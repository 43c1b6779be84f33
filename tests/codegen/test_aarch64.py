"""Kernels for 64-bit ARM: NEON code that LLVM makes on this machine, linked with a small program in C and run by qemu.

All programs are one executable and one run of it: the memory of all kernels and their launches are written to a file, and the
memory comes back in another. What they compute is compared with this machine's own results.
"""

from __future__ import annotations

import platform
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.codegen.choose import optimise
from lazygrad.codegen.lower import lower
from lazygrad.codegen.render.llvm import Rendered, render_kernel, symbol
from lazygrad.codegen.target import typical
from lazygrad.ir.args import Kernel, Slot
from lazygrad.ir.blocks import parameters
from lazygrad.ir.dim import example, product
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.ir.template import unfold_all
from lazygrad.nn import functional as F
from lazygrad.runtime import device
from lazygrad.runtime.compile import expanded
from lazygrad.runtime.keys import normalise
from lazygrad.runtime.llvm import Compiler
from lazygrad.runtime.lower_api import kernels_of
from lazygrad.runtime.plan import packer

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
MISSING = [name for name in (COMPILER, EMULATOR) if shutil.which(name) is None]
ONES_OWN = platform.machine() in ("aarch64", "arm64")
pytestmark = pytest.mark.skipif(
    bool(MISSING) and not ONES_OWN,
    reason=f"no {' and no '.join(MISSING)}: apt-get install qemu-user gcc-aarch64-linux-gnu",
)
SINGLE = "float32"


def halves(x: lg.Tensor) -> lg.Tensor:
    return (x.half() * x.half()).float() + (x.bfloat16() + x.bfloat16()).float()


def integers(x: lg.Tensor) -> lg.Tensor:
    y = (x * x).to(lg.int32)
    mixed: lg.Tensor = y // y.amax().clamp(min=1) + (y & y.roll(1, 0)) - (y ^ y.flip(1))
    return mixed.to(lg.int64)


PROGRAMS: dict[str, tuple[Any, ...]] = {
    "elements": (lambda x: x.exp() + x.tanh() * x.sigmoid() - x.abs().sqrt(), (37, 51)),
    "angles": (lambda x: x.sin() + x.cos() * x.atan() + lg.erf(x), (17, 29)),
    "powers": (lambda x: x.abs().log1p() + x.abs().pow(x) + x.fmod(x + x.sign()), (9, 31)),
    "doubles": (lambda x: x.double().exp().sum(0) / x.double().cosh().sum(0), (23, 19)),
    "halves": (halves, (21, 33)),
    "integers": (integers, (14, 18)),
    "sums": (lambda x: x.sum(1) * x.amax(1) + x.square().mean(1), (45, 203)),
    "columns": (lambda x: x.sum(0) + x.amin(0), (203, 45)),
    "places": (lambda x: x.argmax(1) * 1000 + x.argmin(1), (31, 57)),
    "running": (lambda x: x.cumsum(1), (13, 41)),
    "softmax": (lambda x: F.softmax(x, -1), (32, 100)),
    "layer norm": (lambda x: F.layer_norm(x, (96,)), (40, 96)),
    "product": (lambda x, y: x @ y, (33, 29), (29, 47)),
    "tiled product": (lambda x, y, b: (x @ y + b).relu(), (128, 96), (96, 80), (80,)),
    "transposed": (lambda x: x.t().contiguous() + x.t(), (43, 66)),
    "convolution": (lambda x, w: F.conv2d(x, w, padding=1), (2, 3, 17, 19), (8, 3, 3, 3)),
    "chosen": (lambda x: x[x.argmax(1) % 25] + x[2:3], (25, 26)),
    "sorted": (lambda x: x.sort(1)[0], (11, 40)),
}  # fmt: skip

DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include <stdint.h>
#include <string.h>
typedef int64_t (*kernel)(void **, int64_t, int64_t, void *);
%s
static kernel kernels[] = {%s};
static int64_t number(FILE *file) { int64_t value; return fread(&value, 8, 1, file) == 1 ? value : (exit(3), 0); }
int main(int count, char **arguments) {
  FILE *in = fopen(arguments[1], "rb"), *out = fopen(arguments[2], "wb");
  int64_t buffers = number(in), launches = number(in), failed = 0;
  void **memory = calloc(buffers, sizeof *memory); int64_t *sizes = calloc(buffers, 8);
  for (int64_t i = 0; i < buffers; i++) {
    sizes[i] = number(in);
    memory[i] = aligned_alloc(64, (sizes[i] + 127) / 64 * 64);
    if (fread(memory[i], 1, sizes[i], in) != (size_t)sizes[i]) return 4;
  }
  for (int64_t i = 0; i < launches; i++) {
    int64_t which = number(in), scratch = number(in), params = number(in), error = 0;
    void *slots[64];
    for (int64_t p = 0; p < params; p++) {
      int64_t kind = number(in), value = number(in);
      slots[p] = kind ? (void *)value : memory[value];
    }
    slots[params] = &error;
    kernels[which](slots, 0, -1, aligned_alloc(64, (scratch + 127) / 64 * 64));
    if (error) return 5;
  }
  for (int64_t i = 0; i < buffers; i++) fwrite(memory[i], 1, sizes[i], out);
  return fclose(out) + failed;
}
"""


class Program:
    """One executable of the kernels of many graphs, the memory that they have, and their launches."""

    def __init__(self) -> None:
        self.target = typical("neon")
        self.rendered: list[Rendered] = []
        self.names: list[str] = []
        self.memory: list[bytes] = []
        self.launches: list[tuple[int, list[tuple[int, int]]]] = []

    def keep(self, content: bytes) -> int:
        self.memory.append(content)
        return len(self.memory) - 1

    def add(self, result: lg.Tensor) -> int:
        """Take the kernels of a value in; where the last one leaves it."""
        node = result.node
        unfold_all([node])
        normal = normalise([node])
        kernels = kernels_of(expanded(normal, normal.roots))
        cpu = device.get("cpu")
        where: dict[int, tuple[int, int]] = {}
        for graph in kernels:
            for each in (*graph.inputs, *graph.numbers):
                if id(each) in where:
                    continue
                assert isinstance(each.arg, Slot)
                if each.op is Op.BUFFER:
                    held = cpu.to_host(normal.buffers[each.arg.index], each.dtype, each.shape)
                    where[id(each)] = 0, self.keep(held.tobytes())
                else:
                    where[id(each)] = 1, packer(each.dtype)(normal.numbers[each.arg.index])
            for each in graph.results:
                size = example(product(each.shape)) * each.dtype.itemsize
                where[id(each)] = 0, self.keep(b"\xa5" * size)
            lowered = lower(graph)
            assert isinstance(lowered.arg, Kernel)
            self.names.append(f"{lowered.arg.name}{len(self.names)}")
            kernel = optimise(lowered, self.target)
            renamed = replace(lowered.arg, name=self.names[-1])
            whole = Node(Op.KERNEL, kernel.src, kernel.dtype, kernel.shape, renamed)
            self.rendered.append(render_kernel(whole, self.target))
            nodes = (*graph.inputs, *graph.numbers, *graph.results)
            params = [where[id(each)] for each in nodes]
            assert len(params) == len(parameters(kernel))
            self.launches.append((len(self.names) - 1, params))
        (last,) = kernels[-1].results
        return where[id(last)][1]

    def run(self, folder: Path) -> list[bytes]:
        """The memory when everything has run."""
        compiler = Compiler(self.target)
        objects = []
        for number, each in enumerate(self.rendered):
            path = folder / f"{number}.o"
            path.write_bytes(compiler.compile(each.text))
            objects.append(str(path))
        declared = "\n".join(
            f'extern int64_t k{n}(void **, int64_t, int64_t, void *) __asm__("{symbol(name)}");'
            for n, name in enumerate(self.names)
        )
        table = ", ".join(f"k{n}" for n in range(len(self.names)))
        (folder / "driver.c").write_text(DRIVER % (declared, table))
        binary = str(folder / "program")
        gcc = "cc" if ONES_OWN else COMPILER
        flags = ["-O1", "-o", binary, str(folder / "driver.c"), *objects, "-lm"]
        subprocess.run([gcc, *([] if ONES_OWN else ["-static"]), *flags], check=True)
        parts = [struct.pack("<qq", len(self.memory), len(self.launches))]
        for content in self.memory:
            parts += [struct.pack("<q", len(content)), content]
        for number, params in self.launches:
            scratch = self.rendered[number].scratch_bytes
            words = [word for pair in params for word in pair]
            head = number, scratch, len(params)
            parts.append(struct.pack(f"<{3 + len(words)}q", *head, *words))
        (folder / "in").write_bytes(b"".join(parts))
        emulator = [] if ONES_OWN else [EMULATOR]
        subprocess.run([*emulator, binary, str(folder / "in"), str(folder / "out")], check=True)
        data, found = (folder / "out").read_bytes(), []
        for content in self.memory:
            found.append(data[: len(content)])
            data = data[len(content) :]
        return found


def test_neon_kernels_compute_what_this_machine_does(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    program = Program()
    expected: dict[str, tuple[int, np.ndarray]] = {}
    with config.override(device="cpu"):
        for name, (function, *shapes) in PROGRAMS.items():
            arrays = [random.uniform(-3, 3, size).astype(SINGLE) for size in shapes]
            tensors = [lg.tensor(array).realize() for array in arrays]
            number = program.add(function(*tensors))
            expected[name] = number, np.array(function(*tensors).numpy())
    assert any("<4 x float>" in each.text for each in program.rendered)
    found = program.run(tmp_path)
    wrong = []
    for name, (number, wanted) in expected.items():
        made = np.frombuffer(found[number], wanted.dtype).reshape(wanted.shape)
        if wanted.dtype.kind == "f":
            tolerance = 1e-12 if wanted.dtype == np.float64 else 2e-5
            same = np.allclose(made, wanted, tolerance, tolerance * np.abs(wanted).max())
        else:
            same = bool((made == wanted).all())
        wrong += [] if same else [name]
    assert not wrong


def test_neon_code_is_neon() -> None:
    """A product of matrices: steps of vectors, no calls in its loops, and nothing of this machine's."""
    with config.override(device="cpu"):
        x, y = lg.rand(128, 96).realize(), lg.rand(96, 80).realize()
        (code,) = lg.lower(lambda: x @ y).asm(arch="neon").values()
    assert code.count("fmla") >= 16 and "\tbl\t" not in code and "zmm" not in code
