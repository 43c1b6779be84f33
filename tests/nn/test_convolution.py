"""Convolutions are PyTorch's in every argument form, with gradients and their gradients; no copy of the windows is stored."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.nn import functional as F

from .windows import as_array, compare

torch = pytest.importorskip("torch")

DRAWS = np.random.default_rng(0)
ARRAYS = {
    name: DRAWS.standard_normal(shape)
    for name, shape in {
        "a": (2, 4, 9), "b": (2, 4, 6, 7), "c": (1, 2, 4, 5, 4), "u": (4, 4, 3), "v": (6, 4, 3, 2), "w": (4, 2, 2, 3, 2),
        "g": (8, 1, 3, 3), "h": (6, 2, 3, 3), "p": (4, 3, 3, 2), "q": (4, 3, 2), "r": (2, 2, 2, 2, 1), "k": (6,), "l": (3,),
        "n": (8,),
    }.items()
}  # fmt: skip

FORMS = [
    "F.conv1d(a, u)",
    "F.conv1d(a[0], u, stride=2, padding='valid')",
    "F.conv1d(a, u, padding='same', dilation=3)",
    "torch.conv1d(a, u, None, 2, 1)",
    "F.conv2d(b, v, k)",
    "F.conv2d(b, v, k, 2, 1)",
    "F.conv2d(b, v, k, stride=(3, 2), padding=(2, 0), dilation=(2, 1))",
    "F.conv2d(b, v, padding='same')",
    "F.conv2d(b[1], v, k)",
    "F.conv2d(b, h, k, groups=2, stride=[2])",
    "F.conv2d(b, g, n, groups=4, padding=1)",
    "F.conv2d(b.transpose(2, 3), v.transpose(2, 3), k)",
    "F.conv2d(b[:0], v, k)",
    "F.conv3d(c, w, padding=1, stride=(1, 2, 1))",
    "F.conv_transpose1d(a, q, l, stride=2, padding=1, output_padding=1)",
    "F.conv_transpose2d(b, p, l)",
    "F.conv_transpose2d(b, p, l, stride=(3, 2), padding=1, output_padding=(2, 0), dilation=(1, 2))",
    "F.conv_transpose2d(b[0], p[:, :, :1], groups=2, stride=2)",
    "F.conv_transpose2d(b, p, l, stride=(3, 2))",
    "F.conv_transpose1d(a, q, stride=2, groups=2)",
    "F.conv_transpose3d(c, r, stride=2, dilation=(1, 1, 3))",
]


def arrays_of(text: str) -> dict[str, np.ndarray]:
    return {
        name: array
        for name, array in ARRAYS.items()
        if any(f"{x}{name}{y}" in text for x in "( " for y in ",)[.")
    }


@pytest.mark.parametrize("text", FORMS)
def test_is_pytorchs(text: str) -> None:
    compare(torch, text, arrays_of(text))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_other_types(dtype: str) -> None:
    text = "F.conv2d(b, v, k, 2, 1)"
    compare(torch, text, arrays_of(text), dtype, twice=False)


def test_a_weight_of_one_number() -> None:
    """Sums of windows: what is left of a product by ones has one operand, and tiles of that pack nothing else."""
    image = DRAWS.standard_normal((1, 3, 224, 224)).astype(np.float32)
    expected = torch.nn.functional.conv2d(torch.tensor(image), torch.ones(96, 3, 11, 11), stride=4)
    found = F.conv2d(lg.tensor(image), lg.ones(96, 3, 11, 11), stride=4)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), 1e-4, 1e-4)


def test_integers_too() -> None:
    image, weight = DRAWS.integers(-9, 9, (1, 2, 5, 5)), DRAWS.integers(-9, 9, (3, 2, 2, 2))
    expected = torch.nn.functional.conv2d(torch.tensor(image), torch.tensor(weight), padding=1)
    found = F.conv2d(lg.tensor(image), lg.tensor(weight), padding=1)
    assert found.dtype is lg.int64 and (found.numpy() == expected.numpy()).all()


@pytest.mark.parametrize(
    "call",
    [
        "F.conv2d(x, w[:, :3])", "F.conv2d(x, w, b[:3])", "F.conv2d(x, w, stride=0)", "F.conv2d(x, w, padding=-1)",
        "F.conv2d(x, w, groups=0)", "F.conv2d(x, w[:5, :2], groups=2)", "F.conv2d(x[0, 0], w)", "F.conv2d(x, w.double())",
        "F.conv2d(x, w, padding=(1, 2, 3))", "F.conv2d(x, w, padding='some')", "F.conv2d(x, w, padding='same', stride=2)",
        "F.conv2d(x[:, :, :2], w)", "F.conv2d(x.bool(), w.bool())", "F.conv2d(x, 2)", "F.conv2d(x, w, padding=[1, 'a'])",
        "F.conv_transpose2d(x, t[:3])", "F.conv_transpose2d(x, t, output_padding=1)", "F.conv_transpose2d(x, t, padding='same')",
        "torch.nn.Conv2d(4, 6, 3, groups=3)", "torch.nn.Conv2d(4, 6, 3, padding='some')", "torch.nn.Conv2d(4, 6, 3, padding_mode='x')",
        "torch.nn.ConvTranspose2d(4, 6, 3, padding_mode='reflect')",
        "torch.nn.ConvTranspose2d(4, 6, 3, stride=2)(x, output_size=(40, 40))",
    ],
)  # fmt: skip
def test_errors(call: str) -> None:
    def run(module: Any) -> None:
        names = {"torch": module, "F": module.nn.functional, "x": module.ones(2, 4, 8, 8)}
        names |= {
            "w": module.ones(6, 4, 3, 3),
            "b": module.ones(6),
            "t": module.ones(4, 6, 3, 3),
        }
        eval(call, names)

    with pytest.raises(Exception) as expected:
        run(torch)
    with pytest.raises(expected.type):
        run(lg)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("nn.Conv1d(4, 6, 3, stride=2, padding='valid')", (2, 4, 9)),
        ("nn.Conv2d(4, 6, 3, padding='same', groups=2, dilation=2, bias=False)", (2, 4, 6, 7)),
        ("nn.Conv2d(4, 6, (3, 2), padding=(2, 1), padding_mode='reflect')", (4, 6, 7)),
        ("nn.Conv2d(4, 4, 4, padding='same', padding_mode='circular')", (2, 4, 6, 7)),
        ("nn.Conv3d(2, 4, (1, 2, 3), padding_mode='replicate', padding=1)", (1, 2, 3, 4, 5)),
        ("nn.ConvTranspose1d(4, 6, 3, groups=2)", (2, 4, 5)),
        ("nn.ConvTranspose2d(4, 6, 3, output_padding=1, stride=2, padding=1)", (2, 4, 5, 6)),
    ],
)
def test_modules(text: str, shape: tuple[int, ...]) -> None:
    reference, module = eval(text, {"nn": torch.nn}), eval(text, {"nn": lg.nn})
    assert repr(module) == repr(reference)
    state = reference.state_dict()
    assert list(module.state_dict()) == list(state)
    module.load_state_dict({name: lg.tensor(each.numpy()) for name, each in state.items()})
    image = DRAWS.standard_normal(shape).astype(np.float32)
    expected = reference(torch.tensor(image)).detach().numpy()
    np.testing.assert_allclose(module(lg.tensor(image)).detach().numpy(), expected, 1e-4, 1e-5)


def test_initial_weights_have_pytorchs_range() -> None:
    bound = 1 / (4 * 9) ** 0.5
    module = lg.nn.Conv2d(8, 64, 3, groups=2)
    for each in module.parameters():
        assert 0.9 * bound < float(abs(each.detach()).max()) <= bound


@pytest.mark.of_the_cpu("looks at kernels of the CPU")
def test_the_windows_are_read_where_they_lie() -> None:
    """Forward and both backward passes write their results and nothing else that is larger than the image with its border."""
    image, weight = lg.rand(2, 8, 16, 16).requires_grad_(), lg.rand(8, 8, 3, 3).requires_grad_()
    passes = {
        "forward": lambda: F.conv2d(image, weight, padding=1),
        "image": lambda: lg.autograd.grad(F.conv2d(image, weight, padding=1).sum(), image)[0],
        "weight": lambda: lg.autograd.grad(F.conv2d(image, weight, padding=1).sum(), weight)[0],
    }
    for name, run in passes.items():
        written = re.findall(
            r"%y\d+: \w+\[([\d, ]*)\] out", " ".join(lg.lower(run).kernels.values())
        )
        sizes = [math.prod(map(int, shape.split(","))) for shape in written]
        assert sizes and max(sizes) <= 2 * 8 * 18 * 18, name


def test_output_size_chooses_among_the_sizes_that_a_convolution_maps_to_one() -> None:
    reference = torch.nn.ConvTranspose2d(2, 3, 3, stride=2)
    module = lg.nn.ConvTranspose2d(2, 3, 3, stride=2)
    module.load_state_dict({k: lg.tensor(v.numpy()) for k, v in reference.state_dict().items()})
    image = DRAWS.standard_normal((1, 2, 4, 4)).astype(np.float32)
    expected = reference(torch.tensor(image), output_size=(10, 9))
    found = module(lg.tensor(image), output_size=(10, 9))
    np.testing.assert_allclose(as_array(found), as_array(expected), 1e-4, 1e-5)
