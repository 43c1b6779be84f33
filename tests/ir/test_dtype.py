"""Promotion is PyTorch's."""

from __future__ import annotations

import itertools

import pytest

from lazygrad.ir import dtype as types
from lazygrad.ir.dtype import ALL, DType, promote

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("left", "right"), list(itertools.product(ALL, ALL)), ids=lambda d: d.short
)
def test_promotes_as_torch(left: DType, right: DType) -> None:
    pair = getattr(torch, left.name), getattr(torch, right.name)
    try:
        expected = torch.promote_types(*pair)
    except RuntimeError:
        with pytest.raises(RuntimeError, match="Promotion for"):
            promote(left, right)
        return
    assert repr(promote(left, right)) == repr(expected)


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.short)
def test_properties_are_torchs(dtype: DType) -> None:
    other = getattr(torch, dtype.name)
    assert dtype.itemsize == other.itemsize
    assert dtype.is_floating_point == other.is_floating_point
    assert dtype.is_signed == other.is_signed
    assert repr(dtype) == repr(other)
    assert types.BY_SHORT[dtype.short] is dtype is types.BY_NAME[dtype.name]
