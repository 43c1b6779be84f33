"""One side of benchmarks/cpu.py, in a process of its own: it answers lines of JSON on standard input, until it ends.

usage: cpu_worker.py SIDE THREADS SCRATCH

To {"case": name} it makes the case and leaves the results of the first calls in SCRATCH; to {"calls": n} the answer has the seconds of
n calls, by the clock and by the processor, and how many plans lazygrad has made for them; {"save": model} has lazygrad draw the
first weights of a model, which all sides load.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

side, threads, scratch = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "LAZYGRAD_NUM_THREADS"):
    os.environ[name] = str(threads)
if threads == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import numpy as np  # noqa: E402

sys.path[1:1] = [str(Path(__file__).resolve().parents[k]) for k in (1, 2)]
import cpu_cases  # noqa: E402

NAMED = {case.name: case for case in cpu_cases.CASES}
CHECKED = 2
"""Calls whose results are compared."""


def weights(model: str) -> dict[str, Any]:
    with np.load(scratch / f"{model}.npz") as stored:
        return {name: stored[name] for name in stored.files}


def made(case: cpu_cases.Case) -> cpu_cases.Call:
    """The calls of a case on this side."""
    if side == "jax":
        import cpu_jax

        return cpu_jax.make(case, weights)
    torch: Any
    if side.startswith("lazygrad"):
        import lazygrad as torch
    else:
        import torch

        torch.set_num_threads(threads)
    compiled = torch.compile if side in ("lazygrad.compile", "inductor") else None
    return cpu_cases.make(torch, compiled, case, weights)


def array(value: Any) -> Any:
    """A result of any framework as float32 of numpy."""
    if side == "jax":
        return np.asarray(value, "float32")
    return np.asarray(value.float().tolist() if "bf" in str(value.dtype) else value.numpy())


def plans() -> int:
    if not side.startswith("lazygrad"):
        return 0
    from lazygrad.runtime.realize import PLANS

    return PLANS.compiled


def main() -> None:
    answers = sys.stdout
    call: Any = None
    number = 0
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            asked = json.loads(line)
            answer: dict[str, Any] = {}
            if "save" in asked:
                import lazygrad

                lazygrad.manual_seed(0)
                model = cpu_cases.MODELS[asked["save"]](lazygrad)
                state = {name: value.numpy() for name, value in model.state_dict().items()}
                np.savez(scratch / f"{asked['save']}.npz", **state)
            elif "case" in asked:
                call = None
                gc.collect()
                call = made(NAMED[asked["case"]])
                results = [[array(each) for each in call(k)] for k in range(CHECKED)]
                flat = [each for result in results for each in result]
                np.savez(scratch / f"{side}.npz", *flat)
                number = CHECKED
            else:
                before = plans()
                clock, processor = time.perf_counter(), time.process_time()
                for _ in range(asked["calls"]):
                    call(number)
                    number += 1
                answer["clock"] = time.perf_counter() - clock
                answer["processor"] = time.process_time() - processor
                answer["plans"] = plans() - before
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
