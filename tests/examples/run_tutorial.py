"""Runs one tutorial in this process with given starting values, under PyTorch or under lazygrad, and reports as JSON.

usage: run_tutorial.py torch|lazygrad script.py permutations, with DEVICE in the environment for lazygrad

`randn` gives values made by numpy from one seed. With `permutations`, the script runs that many times more with one summation in
another order: the inner axis of the first layer, or the points of a linspace. Under lazygrad on a device that compiles, numpy's
functions that compute are replaced by ones that raise before lazygrad is imported, and so is the interpreter.
The report goes to the last line of standard output.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import numpy.random

SEED = 20
SLOW_STEPS = 170
"""How many of the 500 steps of a network the interpreter and an emulated GPU take: they are slow, and the steps are alike."""
# What is not a ufunc but computes on arrays all the same.
COMPUTING = (
    "all any amax amin argmax argmin argsort average clip convolve correlate cov cross cumprod cumsum diff dot einsum "
    "inner interp kron matmul max mean median min nanmean nansum norm outer prod ptp round searchsorted sort std sum "
    "take take_along_axis tensordot trace tril triu var vdot where linspace arange"
).split()


class NumpyComputed(AssertionError):
    """A function of numpy that computes was called."""


def refuse(name: str) -> Callable[..., Any]:
    def raising(*args: Any, **kwargs: Any) -> Any:
        raise NumpyComputed(f"numpy.{name} was called")

    return raising


def poison() -> None:
    """Make numpy unable to compute, for everyone who reaches it by its public names."""
    for name, value in list(vars(numpy).items()):
        if isinstance(value, numpy.ufunc) or name in COMPUTING:
            setattr(numpy, name, refuse(name))
    for name, value in list(vars(numpy.linalg).items()):
        if callable(value) and not isinstance(value, type) and not name.startswith("_"):
            setattr(numpy.linalg, name, refuse(f"linalg.{name}"))


def forbid_the_interpreter() -> None:
    """Make the interpreter raise, under every name that a module of lazygrad has for it."""
    interpret = importlib.import_module("lazygrad.ir.interpret")
    forbidden = {id(interpret.evaluate): "evaluate", id(interpret.run_kernel): "run_kernel"}
    for module in [module for name, module in sys.modules.items() if name.startswith("lazygrad")]:
        for name, value in list(vars(module).items()):
            if id(value) in forbidden:
                setattr(module, name, refuse(f"(interpreter) {forbidden[id(value)]}"))


class Draws:
    """`randn` with values that numpy makes, the same under both frameworks.

    `order` None keeps every summation; otherwise it seeds a permutation of the first layer's inner axis.
    """

    def __init__(self, framework: ModuleType, order: int | None) -> None:
        self.framework = framework
        self.values = numpy.random.default_rng(SEED)
        self.order = None if order is None else numpy.random.default_rng(1000 + order)
        self.inner: Any = None
        self.count = 0

    def randn(self, *size: Any, dtype: Any = None, requires_grad: bool = False, **_: Any) -> Any:
        shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
        array = numpy.asarray(self.values.standard_normal(shape), dtype="float32")
        if self.order is not None and len(shape) == 2:
            if self.count == 0:  # x: its columns, and below the rows of the weight that meets them
                self.inner = self.order.permutation(shape[1])
                array = numpy.ascontiguousarray(array[:, self.inner])
            elif self.inner is not None and shape[0] == len(self.inner):
                array = numpy.ascontiguousarray(array[self.inner])
        self.count += 1
        return self.framework.tensor(array, dtype=dtype, requires_grad=requires_grad)

    def linspace(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def permuted(*args: Any, **kwargs: Any) -> Any:
            points = real(*args, **kwargs)
            if self.order is None:
                return points
            return points[self.framework.from_numpy(self.order.permutation(len(points)))]

        return permuted


def run(source: str, path: str, framework: ModuleType, order: int | None) -> str:
    """What the script prints."""
    draws = Draws(framework, order)
    real = {name: getattr(framework, name) for name in ("randn", "linspace")}
    out = io.StringIO()
    try:
        framework.randn = draws.randn  # type: ignore[attr-defined]
        framework.linspace = draws.linspace(real["linspace"])  # type: ignore[attr-defined]
        with contextlib.redirect_stdout(out):
            exec(compile(source, path, "exec"), {"__name__": "__main__", "__file__": path})
    finally:
        for name, function in real.items():
            setattr(framework, name, function)
    return out.getvalue()


def in_pytorch_spelling(source: str) -> str:
    """The script as it was written for PyTorch. Its `loss.data[0]` is an error in PyTorch since 0.5; item() is what it became."""
    source = source.replace("import lazygrad as torch", "import torch")
    source = source.replace("from lazygrad.autograd import", "from torch.autograd import")
    return source.replace("loss.data[0]", "loss.data.item()")


def main() -> None:
    name, path, permutations = sys.argv[1], sys.argv[2], int(sys.argv[3])
    source = Path(path).read_text()
    report: dict[str, Any] = {}
    if name == "torch":
        framework = importlib.import_module("torch")
        framework.set_num_threads(1)
        source = in_pytorch_spelling(source)
        report["permuted"] = [run(source, path, framework, order) for order in range(permutations)]
        report["output"] = run(source, path, framework, None)
    else:
        where = os.environ["DEVICE"].lower()
        if where != "interpret":
            poison()
        on_cuda = where == "cuda" or "\ndtype = torch.cuda.FloatTensor" in source
        if where == "interpret" or (on_cuda and "CUDA_EMULATOR" in os.environ):
            source = source.replace("range(500)", f"range({SLOW_STEPS})")
        framework = importlib.import_module("lazygrad")
        if where != "interpret":
            forbid_the_interpreter()
        device = importlib.import_module("lazygrad.runtime.device")
        used = device.get("cuda" if on_cuda else where)
        before = used.launches
        report["output"] = run(source, path, framework, None)
        report["launches"] = used.launches - before
        report["device"] = used.name.partition(":")[0]
        report["others"] = sum(d.launches for d in device.DEVICES.values() if d is not used)
        report["steps"] = SLOW_STEPS if f"range({SLOW_STEPS})" in source else None
    print(json.dumps(report))


if __name__ == "__main__":
    main()
