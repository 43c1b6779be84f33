"""Kernels under oclgrind, which checks each access, race and uninitialised value: every operator of test_numbers.py, a smoke set, and planted mistakes.

usage: python -m tests.devices.oclgrind [TESTS ...]        (Debian: apt-get install oclgrind)

TESTS are what pytest takes, such as tests/functional, in place of test_numbers.py: they run on OpenCL alone. oclgrind interprets every work-item, so sizes should be
small. What it reports about our kernels fails the command, and so does a wrong number; so does its silence about a planted overrun, a planted race and a planted
uninitialised read. test_oclgrind.py runs the smoke set and the planted ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

INSIDE = "UNDER_OCLGRIND"
KINDS = ("vectors", "items")
"""The kernels for processors, and those for GPUs."""
TIME_LIMIT = 6000
"""Seconds for one run."""
COMPLAINTS = (
    "Invalid read",
    "Invalid write",
    "ninitialized",
    "data race",
    "Aborting",
    "Divergence",
    "FAILED",
)
PLANTED = {
    "overrun": "kernel void f(global float *x) { x[get_global_id(0) + 8] = 1.0f; }",
    "race": "kernel void f(global float *x) { x[0] = (float)get_global_id(0); }",
    "uninitialised": "kernel void f(global float *x) { if (x[get_global_id(0)] > 0.0f) x[get_global_id(0)] = 1.0f; }",
}  # fmt: skip


def smoke() -> None:
    """Every kind of kernel: vectors and tails, reductions, contractions, gathers with checks, scatters, scans, half floats, a step of training."""
    import lazygrad as lg

    x = lg.arange(7 * 19.0).reshape(7, 19) / 50
    k = lg.tensor([0, 2, 6])
    w = lg.linspace(-1, 1, 19 * 5).reshape(19, 5).requires_grad_()
    loss = (x @ w).tanh().softmax(1).square().sum()
    loss.backward()
    values = {
        "chain": (x * 2 + 1).sin().exp(), "rows": x.sum(1), "all": x.sum(), "softmax": x.softmax(1), "gradient": w.grad, "gather": x[k], "columns": x[:, k].amax(0),
        "scan": x.cumsum(1), "scatter": lg.zeros(7).index_add(0, k, lg.ones(3)), "half": x.half() * 3, "bfloat16": x.bfloat16().sum(0), "int": (x * 9).int() // 4 % 3,
        "bool": (x > 1).any(1), "transposed": x.t().contiguous(), "strided": x[1::2, ::3] + 1, "double": x.double().log1p(), "normal": lg.randn(13), "padded": lg.nn.functional.pad(x, (1, 2)),
    }  # fmt: skip
    for name, value in values.items():
        assert value is not None
        print(name, float(value.detach().float().sum().item()), flush=True)
    try:
        x[lg.tensor([9])].sum().item()
        print("FAILED: no error")
    except IndexError:
        print("IndexError, as it must be")


def planted(name: str) -> None:
    """One kernel that does what must not be."""
    import numpy as np
    import pyopencl as cl

    context = cl.create_some_context(interactive=False)
    queue = cl.CommandQueue(context)
    kernel = cl.Program(context, PLANTED[name]).build().f
    buffer = cl.Buffer(context, cl.mem_flags.READ_WRITE, 32)
    if name != "uninitialised":
        cl.enqueue_copy(queue, buffer, np.zeros(8, np.float32))
    kernel(queue, (8,), (4,), buffer)
    queue.finish()


def suite(tests: Sequence[str]) -> None:
    """Tests on OpenCL; those of test_numbers.py compare every operator with another device."""
    import pytest

    if pytest.main([*tests, "-q", "-p", "no:cacheprovider", "--device", "opencl"]):
        print("FAILED: a number is wrong")


def as_gpu() -> None:
    """Let the device have the kernels for GPUs: scalar work-items."""
    from lazygrad.codegen.choose_opencl import target
    from lazygrad.runtime import device as devices

    devices.get("opencl")._given = target("gpu")  # type: ignore[attr-defined]


def complaints(text: str) -> list[str]:
    """The lines in which oclgrind, or the program, says that something is wrong."""
    return [line.strip() for line in text.splitlines() if any(c in line for c in COMPLAINTS)]


def under(what: str, *tests: str) -> str:
    """What oclgrind and the program print.

    Kernels are compiled as they are written: it misreads what clang's optimiser makes of truths of vectors, widened by their sign. Its check for uninitialised values takes
    results of kernels for such where they are vectors, and what is computed from them, so our kernels go without.
    """
    checks = ["--data-races", *(["--uninitialized"] if what in PLANTED else [])]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        done = subprocess.run(
            ["oclgrind", *checks, "--max-errors", "20", "--build-options", "-cl-opt-disable", "--log", str(report),
             sys.executable, "-m", "tests.devices.oclgrind", what, *tests],
            env={**os.environ, INSIDE: "1", "DEVICE": "opencl", "LAZYGRAD_CACHE_DIR": "0", "XDG_CACHE_HOME": folder},
            capture_output=True, text=True, timeout=TIME_LIMIT, check=False,
        )  # fmt: skip
        said = report.read_text() if report.exists() else ""
    text = f"{done.stdout}\n{done.stderr}\n{said}"
    return text + (f"\nFAILED: {done.returncode}" if done.returncode else "")


def inside(what: str, *tests: str) -> None:
    """What runs under oclgrind."""
    if what in PLANTED:
        return planted(what)
    if what == "items":
        as_gpu()
    return suite(tests) if tests else smoke()


def main() -> int:
    if os.environ.get(INSIDE):
        inside(*sys.argv[1:])
        return 0
    if shutil.which("oclgrind") is None:
        print("oclgrind is not installed: apt-get install oclgrind")
        return 2
    tests = sys.argv[1:] or ["tests/devices/test_numbers.py"]
    failed = False
    for what in (
        *((kind,) for kind in KINDS),
        *((kind, *tests) for kind in KINDS),
        *((name,) for name in PLANTED),
    ):
        text = under(*what)
        found = complaints(text)
        right = bool(found) is (what[0] in PLANTED)
        failed |= not right
        print(f"{' '.join(what)}: {len(found)} complaints{'' if right else '   <- WRONG'}")
        if not right:
            print(text[-6000:])
        elif found:
            print(f"    {found[0]}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
