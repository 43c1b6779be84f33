"""The most memory that training steps of a model take, in a process of its own; printed in bytes.

usage: peak_worker.py SIDE MODEL THREADS SCRATCH

In: a side (lazygrad, lazygrad.compile, torch, inductor) and a model of cpu_cases.py, whose first weights stand in SCRATCH. What counts is the
peak of the resident set of the process, from before the model is made until three steps are done, less what was resident
before: parameters, gradients, the optimizer's state, what backward keeps, temporaries, and what the framework itself
takes beside them. Imports do not count, and the compiler does not where its plans are in the cache directory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

side, model, threads, scratch = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "LAZYGRAD_NUM_THREADS"):
    os.environ[name] = str(threads)

import numpy as np  # noqa: E402

sys.path[1:1] = [str(Path(__file__).resolve().parents[k]) for k in (1, 2)]
import cpu_cases  # noqa: E402

STEPS = 3


def resident(field: str) -> int:
    """A field of the status of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def main() -> None:
    torch: Any
    if side.startswith("lazygrad"):
        import lazygrad as torch
    else:
        import torch

        torch.set_num_threads(threads)
    compiled = torch.compile if side in ("lazygrad.compile", "inductor") else None
    with np.load(scratch / f"{model}.npz") as stored:
        weights = {name: stored[name] for name in stored.files}
    first = torch.ones(4).requires_grad_()
    (first * 2).sum().backward()  # what is imported only when it is used
    torch.optim.AdamW([first]).step()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    call = cpu_cases.training(torch, compiled, model, weights)
    losses = [float(call(number)[0]) for number in range(STEPS)]
    print(resident("VmHWM") - before, *losses)


if __name__ == "__main__":
    main()
