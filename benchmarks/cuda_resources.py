"""What the CUDA kernels of a few programs take of a GPU, without a GPU: registers, shared memory, spills, occupancy, instructions, arithmetic intensity.

usage: python benchmarks/cuda_resources.py [--arch sm_80] [--size 4096]

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

import lazygrad as lg
from lazygrad.ir.dim import example
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
KINDS = ("FFMA", "HMMA", "LDS.128", "LDS", "STS", "LDG", "STG", "BAR", "SHFL")


def programs(size: int) -> dict[str, Callable[[], Any]]:
    x, w = (lg.empty(size, size).realize() for _ in range(2))
    half = lg.empty(size, size, dtype=lg.float16).realize()
    image = lg.empty(8, 64, 56, 56).realize()
    filters = lg.empty(64, 64, 3, 3).realize()
    return {
        "matmul": lambda: x @ w,
        "matmul, bias, relu": lambda: lg.relu(x @ w + w[0]),
        "matmul float16": lambda: half @ half,
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


def longest_loop(image: bytes) -> Counter[str]:
    """The instructions between the backward jump that is farthest and where it goes, by kind; nothing without nvdisasm."""
    tool = next((str(p / "bin" / "nvdisasm") for p in _packages()), "nvdisasm")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(image)
        try:
            done = subprocess.run([tool, path], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return Counter()
    lines = done.stdout.splitlines()
    labels = {line.strip(" :"): at for at, line in enumerate(lines) if line.startswith(".L_x")}
    best: tuple[int, int] = (0, 0)
    for at, line in enumerate(lines):
        jump = re.search(r"BRA.*`\((\.L_x_\d+)\)", line)
        if jump and labels.get(jump[1], at) < at:
            start = labels[jump[1]]
            if not any("BRA" in each and each is not line for each in lines[start:at]) or best == (
                0,
                0,
            ):
                best = max(best, (start, at), key=lambda span: span[1] - span[0])
    found: Counter[str] = Counter()
    for line in lines[best[0] : best[1] + 1]:
        code = re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", line)
        if code:
            name = code[1]
            kind = next((k for k in KINDS if name == k or name.startswith((k + ".", k))), "other")
            found[kind] += 1
    return found


def _packages() -> list[Path]:
    folders = [folder.parent for folder in nvrtc.folders()]
    return [folder for folder in folders if (folder / "bin" / "nvdisasm").exists()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", default="sm_80")
    parser.add_argument("--size", type=int, default=4096)
    options = parser.parse_args()
    library = nvrtc.packaged()
    if library is None:
        raise SystemExit("no NVRTC: pip install nvidia-cuda-nvrtc")
    from lazygrad.codegen.render.cuda import OPTIONS, program, render_all

    device: Any = devices.get("cuda:0").variant(options.arch)  # type: ignore[attr-defined]
    print(f"{options.arch}; an H100 does {H100:.0f} flops in float32 for each byte of its memory")
    head = (
        "program",
        "kernel",
        "threads",
        "registers",
        "stack",
        "shared",
        "occupancy",
        "flops/byte",
        "in the main loop",
    )
    print("{:20}{:26}{:>8}{:>10}{:>7}{:>8}{:>11}{:>11}  {}".format(*head))
    for name, function in programs(options.size).items():
        lowered = lg.lower(function)
        for record in lowered._records:
            trace = Record()
            compiled = make_kernels(device, record.graph, trace)[2]
            for graph, each in zip(trace.schedule, compiled, strict=True):
                (source,) = render_all([each.kernel])
                image = nvrtc.compile_with(library, program([source]), options.arch, OPTIONS)
                (taken,) = cubin.resources(image).values()
                moved = traffic(graph)
                ratio = example(moved.flops) / max(example(moved.bytes), 1)
                loop = longest_loop(image)
                issued = ", ".join(f"{count} {kind}" for kind, count in loop.most_common(6))
                print(
                    f"{name:20}{source.name[:25]:26}{source.group:8}{taken.registers:10}{taken.stack_bytes:7}{taken.shared_bytes:8}"
                    f"{occupancy(taken, source.group, options.arch):11.0%}{ratio:11.1f}  {issued}"
                )


if __name__ == "__main__":
    main()
