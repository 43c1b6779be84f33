"""What the CUDA kernels of a few programs take of a GPU, without a GPU: registers, shared memory, spills, occupancy, instructions, arithmetic intensity.

usage: python benchmarks/cuda_resources.py [--arch sm_80] [--size 4096]
       python benchmarks/cuda_resources.py --texts DIRECTORY      all texts that a run of tests has left there (pytest --cuda-texts DIRECTORY), for sm_80 and sm_90

NVRTC (the package nvidia-cuda-nvrtc) compiles each kernel, the cubin says what a thread and a block take, and the figures below what a multiprocessor has. Where nvdisasm is
found (the package nvidia-cuda-nvdisasm) the instructions of the longest loop are counted by kind. Intensity is flops for each byte that a kernel must move at least.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cuda_accesses import accesses

import lazygrad as lg
from lazygrad.codegen.render.c_grid import Source
from lazygrad.codegen.render.c_locals import place_locals
from lazygrad.codegen.render.cuda import CUDA, OPTIONS, program, render_all
from lazygrad.ir.dim import example
from lazygrad.ir.node import Node
from lazygrad.runtime import cubin, nvrtc
from lazygrad.runtime import device as devices
from lazygrad.runtime.compile import make_kernels
from lazygrad.runtime.plans import Record
from lazygrad.schedule.traffic import traffic

REGISTERS, THREADS, BLOCKS = 65536, 2048, 32
"""Of a multiprocessor of sm_80 and sm_90: registers, threads, blocks."""
SHARED_BYTES = {"sm_80": 164 << 10, "sm_90": 228 << 10}
H100 = 67e12 / 3.35e12
"""Flops in float32 for each byte of memory that an H100 can do at once."""
HALF_PRECISION = 989e12 / 67e12
"""So many times more of them in float16, by matrix instructions."""
TOGETHER = 48
"""So many texts are compiled at once: what a compilation takes beside its kernels is more than they take."""
KINDS = (
    "FFMA", "DFMA", "HMMA", "LDSM", "LDGSTS", "LDS", "STS", "LDG", "STG", "BAR", "SHFL", "mma", "ldmatrix", "cp.async", "ld.shared", "fma", "bar",
)  # fmt: skip
SASS = r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)"
PTX = r"\s+(?:@!?%p\d+\s+)?([a-z][\w.]+)\s"


def programs(size: int) -> dict[str, Callable[[], Any]]:
    x, w = (lg.empty(size, size).realize() for _ in range(2))
    half = lg.empty(size, size, dtype=lg.float16).realize()
    brain = half.bfloat16().realize()
    image = lg.empty(8, 64, 56, 56).realize()
    filters = lg.empty(64, 64, 3, 3).realize()
    return {
        "matmul": lambda: x @ w,
        "matmul, A B^T": lambda: x @ w.T,
        "matmul, bias, relu": lambda: lg.relu(x @ w + w[0]),
        "matmul float16": lambda: half @ half,
        "matmul float16, A B^T": lambda: half @ half.T,
        "matmul float16, A^T B": lambda: half.T @ half,
        "linear bfloat16": lambda: lg.nn.functional.gelu(brain @ brain.T + brain[0]),
        "convolution": lambda: lg.nn.functional.conv2d(image, filters, padding=1),
        "sum": lambda: lg.sum(x),
        "rows": lambda: x.sum(1),
        "columns": lambda: x.amax(0),
        "softmax": lambda: x.softmax(1),
        "layer norm": lambda: lg.nn.functional.layer_norm(x, (size,)),
        "chain": lambda: (x * 2 + 1).sin().exp(),
        "transpose": lambda: x.t().contiguous(),
    }


def occupancy(taken: cubin.Resources, threads: int, arch: str) -> float:
    """The part of a multiprocessor's threads that can be there at once."""
    warps = -(-threads // 32)
    registers = -(-taken.registers * 32 // 256) * 256 * warps
    shared = SHARED_BYTES.get(arch, SHARED_BYTES["sm_80"]) // max(taken.shared_bytes + 1024, 1)
    blocks = min(BLOCKS, THREADS // (warps * 32), REGISTERS // max(registers, 1), shared)
    return blocks * warps * 32 / THREADS


def main_loop(image: bytes) -> list[str]:
    """The instructions of the loop that computes most, by name: between a jump backwards and where it goes; nothing without nvdisasm."""
    tool = next((str(p / "bin" / "nvdisasm") for p in _packages()), "nvdisasm")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(image)
        try:
            done = subprocess.run([tool, path], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return []
    return _loop(done.stdout.splitlines(), r"\.L_x_\d+", r"BRA.*`\((LABEL)\)", SASS)


def main_loop_of_ptx(text: str) -> list[str]:
    """The same of PTX, which is not what is issued: addresses are computed in more steps."""
    return _loop(text.splitlines(), r"\$L__\w+", r"bra\s+(LABEL);", PTX)


def _loop(lines: list[str], label: str, jump: str, instruction: str) -> list[str]:
    """The innermost loop with the most multiplications."""
    labels: dict[str, int] = {}
    best: list[str] = []
    begins = 0
    for at, line in enumerate(lines):
        if re.fullmatch(rf"\s*({label}):\s*", line):
            labels[line.strip(" :\t")] = at
        back = re.search(jump.replace("LABEL", label), line)
        if back and labels.get(back[1], -1) >= begins:
            inside = (re.match(instruction, each) for each in lines[labels[back[1]] : at + 1])
            found = [match[1] for match in inside if match]
            begins = labels[back[1]] + 1  # what goes around this loop is not looked at
            if sum(map(_multiplies, found)) >= sum(map(_multiplies, best)):
                best = found
    return best


def _multiplies(name: str) -> bool:
    return name.startswith(("HMMA", "FFMA", "DFMA", "IMAD.", "mma", "fma"))


def computes(name: str) -> bool:
    """Whether an instruction multiplies matrices or numbers, or brings what is multiplied: 16 bytes at a time, or as matrices."""
    if name.startswith(("LDS.", "LDG", "LDGSTS", "cp.async", "ld.")):
        return "128" in name or ".v4" in name or name.startswith("cp.async.c")
    return name.startswith(("HMMA", "FFMA", "DFMA", "LDSM", "mma", "ldmatrix", "fma"))


def _packages() -> list[Path]:
    folders = [folder.parent for folder in nvrtc.folders()]
    return [folder for folder in folders if (folder / "bin" / "nvdisasm").exists()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", default="sm_80")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--texts", type=Path, help="only say what the kernels in *.cu here take")
    options = parser.parse_args()
    library = nvrtc.packaged()
    if library is None:
        raise SystemExit("no NVRTC: pip install nvidia-cuda-nvrtc")
    if options.texts is not None:
        raise SystemExit(of_texts(library, options.texts))
    device: Any = devices.get("cuda:0").variant(options.arch)  # type: ignore[attr-defined]
    print(
        f"{options.arch}; an H100 does {H100:.0f} flops in float32 for each byte of its memory, {H100 * HALF_PRECISION:.0f} in float16 by matrix instructions"
    )
    disassembled = True
    head = (
        "program",
        "kernel",
        "threads",
        "registers",
        "stack",
        "shared",
        "occupancy",
        "flops/byte",
        "conflicts",
        "sectors",
        "computes",
        "in the main loop",
    )
    print("{:22}{:26}{:>8}{:>10}{:>7}{:>8}{:>11}{:>11}{:>10}{:>10}{:>9}  {}".format(*head))
    for name, function in programs(options.size).items():
        lowered = lg.lower(function)
        for roots in (roots for record in lowered._records for roots in record.given):
            trace = Record()
            compiled = make_kernels(device, roots, trace)[2]
            for graph, each in zip(trace.schedule, compiled, strict=True):
                (source,) = render_all([each.kernel])
                image = nvrtc.compile_with(library, program([source]), options.arch, OPTIONS)
                taken = cubin.resources(image)[source.name]
                moved = traffic(graph)
                ratio = example(moved.flops) / max(example(moved.bytes), 1)
                met = accesses(each.kernel, source.mapping, shared_arrays(each.kernel, source))
                loop = main_loop(image)
                if not loop:
                    disassembled = False
                    virtual = options.arch.replace("sm_", "compute_")
                    text = program([source])
                    ptx = nvrtc.compile_with(library, text, virtual, OPTIONS, "PTX")
                    loop = main_loop_of_ptx(ptx.rstrip(b"\0").decode())
                part = sum(map(computes, loop)) / max(len(loop), 1)
                kinds = Counter(next((k for k in KINDS if n.startswith(k)), "other") for n in loop)
                issued = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6))
                print(
                    f"{name:22}{source.name[:25]:26}{source.group:8}{taken.registers:10}{taken.stack_bytes:7}{taken.shared_bytes:8}"
                    f"{occupancy(taken, source.group, options.arch):11.0%}{ratio:11.1f}{met.conflicts:10}{met.sectors / max(met.least, 1):10.2f}{part:9.0%}  {issued}"
                )
    print(
        "conflicts: how often a warp goes to shared memory once more, each of its accesses counted once; sectors: of 32 bytes in global memory, in parts of those that what is"
        " asked for would fill; computes: the part of the main loop's instructions that multiply, or bring what is multiplied by 16 bytes or as matrices"
    )
    if not disassembled:
        print(
            "no nvdisasm (pip install nvidia-cuda-nvdisasm): instructions of main loops are PTX's"
        )


def of_texts(library: Any, folder: Path) -> int:
    """Compile all texts for each architecture; how many are refused, or need memory of a thread's own."""
    paths = sorted(folder.glob("*.cu"))
    failed = 0
    for arch in ("sm_80", "sm_90"):
        taken: dict[str, cubin.Resources] = {}
        for start in range(0, len(paths), TOGETHER):
            some = paths[start : start + TOGETHER]
            try:
                taken |= together(library, some, arch)
            except nvrtc.CompilationError:
                for path in some:
                    try:
                        taken |= together(library, [path], arch)
                    except nvrtc.CompilationError as error:
                        failed += 1
                        print(f"{path.name} for {arch}: refused: {str(error)[:300]}")
        large = {name: each for name, each in taken.items() if each.stack_bytes}
        failed += len(large)
        for name, each in large.items():
            print(f"{name} for {arch}: {each.stack_bytes} bytes of a thread's own, {each.registers} registers")  # fmt: skip
        bounds = (32, 64, 128, 168, 255)
        most = Counter(next(n for n in bounds if each.registers <= n) for each in taken.values())
        held = ", ".join(f"{count} up to {number}" for number, count in sorted(most.items()))
        shared = max((each.shared_bytes for each in taken.values()), default=0)
        print(f"{arch}: {len(taken)} kernels; registers of a thread: {held}; at most {shared} bytes of shared memory; {len(large)} with memory of a thread's own", flush=True)  # fmt: skip
    return failed


def together(library: Any, paths: list[Path], arch: str) -> dict[str, cubin.Resources]:
    """What the kernels of some texts take, by file and kernel: compiled as one, each in a namespace of its own.

    Raises:
        CompilationError: one of them is refused.
    """
    parts = []
    for path in paths:
        own = rf"\1_in_{path.stem}"
        text = re.sub(r"(__launch_bounds__\([^)]*\) \w+)", own, path.read_text())
        parts.append(f"namespace in_{path.stem} {{\n{text}\n}}")
    image = nvrtc.compile_with(library, "\n".join(parts), arch, (*OPTIONS, "-w"))
    return cubin.resources(image)


def shared_arrays(kernel: Node, source: Source) -> set[int]:
    """The arrays of a group."""
    return place_locals(kernel, CUDA, source.mapping == "group").shared


if __name__ == "__main__":
    main()
