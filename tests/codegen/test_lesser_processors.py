"""What machines with less than this one run: the smoke programs, in a process whose kernels are restricted to AVX2 and to SSE4.2."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, re, sys
import numpy as np
import lazygrad as lg
from lazygrad.nn import functional as F
def run():
    random = np.random.default_rng(0)
    def draw(*size, dtype=lg.float32): return lg.tensor(random.uniform(-2, 2, size).astype(np.float32)).to(dtype).realize()
    x, y, b = draw(130, 96), draw(96, 83), draw(83)
    yield "elements", x.exp() + x.tanh() * x.sigmoid() - x.abs().sqrt() + lg.erf(x) * x.sin()
    yield "product", (x @ y + b).relu()
    for name in ("float64", "bfloat16", "float16"):
        kind = getattr(lg, name)
        yield name, (x.to(kind) @ y.to(kind)).float()
    yield "bytes", (x * 20).to(lg.int8).to(lg.int32) @ (y * 20).to(lg.int8).to(lg.int32)
    yield "halves", (x.half() * x.half()).float() + (x.bfloat16() + x.bfloat16()).float()
    yield "softmax", F.softmax(x, -1) + F.softmax(x, 0)
    yield "norm", F.layer_norm(x, (96,))
    yield "sums", x.sum(1) * x.amax(1) + x.square().mean(1)
    yield "columns", x.sum(0) + x.amin(0)
    yield "places", x.argmax(1) * 1000 + x.argmin(1)
    yield "running", x.cumsum(1)
    yield "backwards", x.flip(1) + y.flip(0).t()[:1]
    yield "steps", x[:, 1::3].contiguous() + x[:, 2::3]
    yield "transposed", x.t().contiguous() + 1
    yield "sorted", x.sort(1)[0]
    yield "taken", x[x.argmax(1)] + x[2:3]
    yield "random", (lg.manual_seed(3), lg.rand(64, 33))[1]
    image, weight = draw(2, 3, 17, 19), draw(8, 3, 3, 3).requires_grad_()
    loss = F.conv2d(image, weight, padding=1).relu().square().mean()
    loss.backward()
    yield "convolution", weight.grad
    q = draw(2, 2, 70, 16)
    yield "attention", F.scaled_dot_product_attention(q, q, q, is_causal=True)
found = {name: value.double().tolist() for name, value in run()}
code = str(lg.lower(lambda: dict(run())["product"]).asm("cpu"))
print(json.dumps([found, sorted(set(re.findall(r"[xyz]mm", code)))]))
"""


def result(**variables: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT, env={**os.environ, "DEVICE": "cpu", **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the levels are those of x86-64")
def test_smaller_vectors_compute_the_same() -> None:
    expected, _ = result(DEVICE="interpret")
    widest = {"avx2": {"xmm", "ymm"}, "sse4.2": {"xmm"}}
    for level, registers in widest.items():
        found, used = result(LAZYGRAD_ARCH=level)
        assert set(used) <= registers and max(used) == max(registers)
        assert found.keys() == expected.keys()
        for name, values in found.items():
            near = {"bfloat16": 2e-2, "float16": 2e-3}.get(name, 2e-5)
            left, right = np.array(values), np.array(expected[name])
            np.testing.assert_allclose(left, right, near, near * np.abs(right).max(), err_msg=name)


def test_a_level_is_named_and_holds_for_the_process() -> None:
    from lazygrad import config

    with pytest.raises(ValueError, match="LAZYGRAD_ARCH=avx1: expected one of native, avx512"):
        config.read({"LAZYGRAD_ARCH": "avx1"})
    other = "avx2" if config.environment.arch != "avx2" else "sse4.2"
    with (
        pytest.raises(ValueError, match="holds for the whole process"),
        config.override(arch=other),
    ):
        pass
