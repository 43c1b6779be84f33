"""Pools, padding, pictures and norms of channels are PyTorch's in every argument form, with gradients and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg

from .windows import compare

torch = pytest.importorskip("torch")

DRAWS = np.random.default_rng(0)
ARRAYS = {
    "a": DRAWS.standard_normal((2, 4, 9)), "b": DRAWS.standard_normal((2, 4, 6, 7)), "c": DRAWS.standard_normal((1, 2, 4, 5, 6)),
    "s": DRAWS.uniform(-1.3, 1.3, (2, 3, 5, 2)), "t": DRAWS.standard_normal((2, 2, 3)), "w": DRAWS.standard_normal(4),
    "v": DRAWS.standard_normal(4), "m": DRAWS.standard_normal(4), "d": DRAWS.uniform(0.5, 2, 4), "e": DRAWS.standard_normal((2, 8, 12)),
}  # fmt: skip

POOLS = """
F.max_pool1d(a, 3) | F.max_pool1d(a[0], 2, 1, 1, 2, True, True) | F.max_pool2d(b, 2) | F.max_pool2d(b, (3, 2), 2, (1, 0), return_indices=True)
F.max_pool2d(b[0], 3, 2, 1, (1, 2), ceil_mode=True) | F.max_pool3d(c, 2, (1, 2, 2), 1, return_indices=True) | F.max_pool2d(b[:0], 2)
F.avg_pool1d(a, 3, 2, 1) | F.avg_pool2d(b, (2, 3), 2, 1, True, False) | F.avg_pool2d(b[0], 3, divisor_override=-5) | F.avg_pool3d(c, 2, 1, 1)
F.lp_pool2d(b.abs(), 3, 2, 1, True) | F.adaptive_avg_pool1d(a, 4) | F.adaptive_avg_pool2d(b, 1)
F.adaptive_avg_pool2d(b, (3, None)) | F.adaptive_avg_pool2d(b, (4, 5)) | F.adaptive_avg_pool3d(c, (2, 3, 4)) | F.adaptive_max_pool1d(a, 4)
F.adaptive_max_pool2d(b, (4, 3), True) | F.adaptive_max_pool2d(b[0], (3, 7)) | F.adaptive_max_pool3d(c, 3, return_indices=True)
F.max_unpool2d(*F.max_pool2d(b, 2, return_indices=True), 2, output_size=(6, 7)) | F.max_unpool1d(*F.max_pool1d(a, 3, return_indices=True), 3)
"""
PICTURES = """
F.pad(b, (1, 2, 3, 0), mode='reflect') | F.pad(a[0], (2, 1), mode='replicate') | F.pad(c, (1, 0, 2, 1, -1, 2), mode='replicate')
F.pad(b, (3, 2, -1, 1), mode='circular') | F.pad(b, (-1, 2, 1, -2), mode='reflect') | F.unfold(b, (2, 3), 2, 1, (2, 1)) | F.unfold(b[0], 2)
F.fold(e, (4, 5), 2) | F.fold(e[0], (4, 5), 2, 1, (0, 1), (2, 1)) | F.pixel_shuffle(b, 2) | F.pixel_unshuffle(b[..., :6], 3)
F.channel_shuffle(b, 2) | F.interpolate(b, scale_factor=2) | F.interpolate(b, (4, 9)) | F.interpolate(a, 13, mode='nearest-exact')
F.interpolate(a, scale_factor=1.7, mode='linear') | F.interpolate(b, (9, 4), mode='bilinear', align_corners=True)
F.interpolate(b, scale_factor=(0.6, 1.9), mode='bicubic', recompute_scale_factor=True) | F.interpolate(c, 7, mode='trilinear')
F.interpolate(b, (3, 4), mode='area') | F.affine_grid(t, (2, 1, 3, 4)) | F.grid_sample(b, s) | F.grid_sample(b, s, 'nearest', 'border', True)
F.grid_sample(b, s, 'bicubic', 'reflection', False) | F.grid_sample(b, F.affine_grid(t, (2, 4, 3, 3)), padding_mode='reflection', align_corners=True)
"""
NORMS = """
F.batch_norm(b, None, None, w, v, True) | F.batch_norm(a, m.detach(), d.detach(), w) | F.batch_norm(a[:, :, 0], None, None, training=True, eps=0.1)
F.instance_norm(b, weight=w, bias=v) | F.instance_norm(a, m.detach(), d.detach(), use_input_stats=False)
"""


def forms(*tables: str) -> list[str]:
    return [
        each.strip()
        for table in tables
        for line in table.strip().split("\n")
        for each in line.split("|")
    ]


def arrays_of(text: str) -> dict[str, np.ndarray]:
    return {
        name: array
        for name, array in ARRAYS.items()
        if any(f"{x}{name}{y}" in text for x in "( =" for y in ",)[.")
    }


@pytest.mark.parametrize("text", forms(POOLS, PICTURES, NORMS))
def test_is_pytorchs(text: str) -> None:
    compare(torch, text, arrays_of(text), twice="bicubic" not in text)


@pytest.mark.parametrize(
    "text",
    [
        "F.max_pool2d(b, 3, 2, 1)", "F.avg_pool2d(b, 3)", "F.adaptive_avg_pool2d(b, (4, 5))", "F.interpolate(b, 9, mode='bilinear')",
        "F.batch_norm(b, None, None, w, v, True)",
    ],
)  # fmt: skip
def test_half_types(text: str) -> None:
    compare(torch, text, arrays_of(text), "float16", twice=False)


def test_a_nan_is_the_largest_and_the_last_of_them_is_found() -> None:
    image = np.array([[[[1.0, np.nan, np.nan, 2.0], [-np.inf] * 4]]])
    for kwargs in ({"kernel_size": (1, 4)}, {"kernel_size": (2, 2), "padding": 1}):
        expected = torch.nn.functional.max_pool2d(
            torch.tensor(image), **kwargs, return_indices=True
        )
        found = lg.nn.functional.max_pool2d(lg.tensor(image), **kwargs, return_indices=True)
        for left, right in zip(expected, found, strict=True):
            np.testing.assert_array_equal(right.numpy(), left.numpy())


@pytest.mark.parametrize(
    "call",
    [
        "F.max_pool2d(x, 0)", "F.max_pool2d(x, 2, padding=2)", "F.max_pool2d(x, 2, padding=-1)", "F.max_pool2d(x, 9)",
        "F.max_pool1d(x, 2)", "F.avg_pool2d(x, 2, divisor_override=0)", "F.adaptive_avg_pool2d(x, (1, 2, 3))",
        "F.adaptive_avg_pool2d(x[0, 0], 2)", "F.max_unpool2d(x, x[..., :1].long(), 2)", "F.pad(x, (9, 1, 0, 0), mode='reflect')",
        "F.pad(x, (1, 1), mode='circular')", "F.pad(x, (1, 1, 1, 1), mode='other')", "F.unfold(x, 9)", "F.fold(x[0], (3, 3), 2)",
        "F.pixel_shuffle(x, 3)", "F.interpolate(x)", "F.interpolate(x, 2, scale_factor=2)", "F.interpolate(x, 2, mode='linear')",
        "F.interpolate(x, 2, mode='nearest', align_corners=True)", "F.interpolate(x, 0)", "F.grid_sample(x, x)",
        "F.grid_sample(x, x[..., :2], mode='other')", "F.affine_grid(x[0], (1, 1, 2, 2))", "F.batch_norm(x, None, None)",
        "F.batch_norm(x, x[0, :3, 0, 0], x[0, :3, 0, 0])", "F.batch_norm(x[:1, :, :1, :1], None, None, training=True)",
        "F.instance_norm(x[:, :, :1, :1])", "torch.nn.BatchNorm2d(4)(x[0])", "torch.nn.InstanceNorm2d(3, affine=True)(x)",
    ],
)  # fmt: skip
def test_errors(call: str) -> None:
    def run(module: Any) -> None:
        eval(call, {"torch": module, "F": module.nn.functional, "x": module.ones(2, 4, 6, 6)})

    with pytest.raises(Exception) as expected:
        run(torch)
    with pytest.raises(expected.type):
        run(lg)


MODULES = """
ReflectionPad2d(1) | ZeroPad2d((1,2,3,4)) | ConstantPad1d(2,3.5) | CircularPad3d(1) | ReplicationPad1d((2, 0)) | MaxPool2d(2)
MaxPool2d(3,stride=2,padding=1,dilation=2,ceil_mode=True) | MaxPool1d(2) | AvgPool2d(2) | AvgPool1d(2) | AvgPool3d(2,3,1) | LPPool2d(2,3)
AdaptiveAvgPool2d((1,None)) | AdaptiveMaxPool1d(3) | Unfold(2, 2) | PixelShuffle(2) | ChannelShuffle(2) | Upsample(scale_factor=2)
Upsample(size=(3,4),mode='bilinear',align_corners=True) | UpsamplingNearest2d(scale_factor=2) | UpsamplingBilinear2d(size=4) | BatchNorm2d(4)
BatchNorm1d(4,affine=False,momentum=None) | BatchNorm3d(4, track_running_stats=False) | InstanceNorm2d(4) | MaxPool3d(2)
InstanceNorm1d(4, affine=True, track_running_stats=True) | BatchNorm2d(4, bias=False)
"""


@pytest.mark.parametrize("text", forms(MODULES))
def test_modules(text: str) -> None:
    """Repr, names of the state, and outputs: twice in training, which moves running statistics, then in evaluation."""
    reference, module = eval(text, vars(torch.nn)), eval(text, vars(lg.nn))
    assert repr(module) == repr(reference)
    name = text.partition("(")[0]
    rank = 3 if "3d" in name else 1 if "1d" in name else 2
    for step in range(3):
        if step == 2:
            reference, module = reference.eval(), module.eval()
        image = DRAWS.standard_normal((2, 4, *(5, 6, 7)[:rank])).astype(np.float32)
        expected = reference(torch.tensor(image)).detach().numpy()
        np.testing.assert_allclose(module(lg.tensor(image)).detach().numpy(), expected, 1e-4, 1e-4)
    state = module.state_dict()
    assert list(state) == list(reference.state_dict())
    for key, value in reference.state_dict().items():
        np.testing.assert_allclose(state[key].numpy(), value.numpy(), 1e-4, 1e-5)


def test_grids_of_other_sizes() -> None:
    """The second size of a grid is a program of its own: how many positions there are is a plain number."""
    image = DRAWS.standard_normal((1, 2, 3, 4))
    for size in (4, 2, 5):
        grid = DRAWS.uniform(-1.2, 1.2, (1, size, size, 2))
        expected = torch.nn.functional.grid_sample(
            torch.tensor(image), torch.tensor(grid), align_corners=False
        )
        found = lg.nn.functional.grid_sample(lg.tensor(image), lg.tensor(grid), align_corners=False)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), 1e-6, 1e-6)
