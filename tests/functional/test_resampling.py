"""interpolate with windows of weights: antialiased, and of bytes, which PyTorch weighs in whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config

torch = pytest.importorskip("torch")

SHAPES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 2, 7, 9), {"size": (3, 4)}),
    ((2, 5, 5, 5), {"size": (9, 5)}),
    ((1, 1, 6, 9), {"scale_factor": (1.7, 0.4), "recompute_scale_factor": True}),
    ((1, 3, 1, 8), {"scale_factor": 1.3, "align_corners": True}),
]


def values(shape: tuple[int, ...], dtype: str) -> Any:
    draw = np.random.default_rng(0)
    if dtype == "uint8":
        return draw.integers(0, 256, shape).astype(np.uint8)
    return draw.normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_pictures_are_pytorchs(mode: str, dtype: str) -> None:
    for shape, arguments in SHAPES:
        for antialias in (True, False):
            with config.override(device="interpret"):
                expected, found = (
                    np.array(m.nn.functional.interpolate(m.tensor(values(shape, dtype)), mode=mode, antialias=antialias, **arguments).tolist())
                    for m in (torch, lg)
                )  # fmt: skip
            tolerance = {"uint8": 0, "float32": 2e-5, "float64": 1e-9}[dtype]
            np.testing.assert_allclose(found, expected, tolerance, tolerance)


def test_gradients_of_windows() -> None:
    grads = []
    for m in (torch, lg):
        x = m.tensor(values((1, 1, 6, 7), "float64"), requires_grad=True)
        y = m.nn.functional.interpolate(x, size=(4, 3), mode="bicubic", antialias=True)
        (grad,) = m.autograd.grad((y**3).sum(), x, create_graph=True)
        grad.square().sum().backward()
        grads.append([np.array(each.tolist()) for each in (grad, x.grad)])
    for found, expected in zip(grads[1], grads[0], strict=True):
        np.testing.assert_allclose(found, expected, 1e-9, 1e-12)


def test_bytes_on_the_cpu() -> None:
    picture = values((1, 3, 9, 12), "uint8")
    expected, found = (
        m.nn.functional.interpolate(m.tensor(picture), scale_factor=0.5, mode="bicubic", antialias=True)
        for m in (torch, lg)
    )  # fmt: skip
    assert found.tolist() == expected.tolist()


def test_what_antialiasing_refuses() -> None:
    for dtype, mode in (("float16", "bilinear"), ("float32", "nearest")):
        for m in (torch, lg):
            with pytest.raises((NotImplementedError, ValueError)):
                x = m.ones(1, 1, 4, 4, dtype=getattr(m, dtype))
                m.nn.functional.interpolate(x, size=2, mode=mode, antialias=True)
