"""What `import lazygrad` loads: the rooms that every program needs, and nothing that can wait until it is named."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, sys
import numpy
before = set(sys.modules)
import lazygrad
print(json.dumps(sorted(set(sys.modules) - before)))
waiting = [name for name in lazygrad._MODULES if "lazygrad." + name not in sys.modules]
print(json.dumps(waiting))
for name in lazygrad._ELSEWHERE:
    assert getattr(lazygrad, name) is not None
"""
LOADED = {
    "autograd", "composites", "config", "dispatch", "functional", "gradient", "history", "ir", "printing", "random", "reading", "recipes",
    "results", "runtime", "schedule", "site", "size", "storage", "tensor", "turns", "views",
}  # fmt: skip
WAITING = {
    "amp", "array_api", "codegen", "cuda", "func", "linalg", "nn", "onnx", "opencl", "optim", "serialization", "special", "testing", "utils",
}  # fmt: skip
LATER = {
    "gradient.batching", "runtime.compile", "runtime.cpu", "runtime.cuda", "runtime.opencl", "schedule.place", "ir.interpret", "ir.verify",
    "autograd.checking", "autograd.functional",
}  # fmt: skip
"""Modules of rooms that are loaded, which wait for the first program, another device, or a transform."""


def test_only_what_every_program_needs_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120
    )
    modules, waiting = (json.loads(line) for line in done.stdout.splitlines())
    own = {name.removeprefix("lazygrad.") for name in modules if name.startswith("lazygrad.")}
    assert {name.partition(".")[0] for name in own} == LOADED
    assert set(waiting) >= WAITING
    assert not own & LATER
    others = {name.partition(".")[0] for name in modules} - {"lazygrad", "numpy"}
    assert not {name for name in others if name not in sys.stdlib_module_names}
