"""The namespace computes what numpy's computes, which is one of the Array API too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import array_api

ROOT = Path(__file__).resolve().parents[2]

CALLS = """
abs(a) | acos(p) | acosh(a * a + 1) | asin(p) | asinh(a) | atan(a) | atanh(p) | ceil(a) | cos(a) | exp(a) | expm1(a) | floor(a) | isfinite(n) | isinf(n)
isnan(n) | log(p) | log1p(p) | log2(p) | log10(p) | logical_not(b) | negative(a) | positive(a) | reciprocal(p) | round(a * 2) | sign(a) | signbit(a)
sin(a) | sinh(a) | square(i) | sqrt(p) | tan(a) | tanh(a) | trunc(a) | bitwise_invert(i) | conj(a) | real(a) | ceil(i) | round(i) | isnan(i)
add(a, 2) | add(1, i) | atan2(a, p) | bitwise_and(i, 3) | bitwise_left_shift(i, 2) | bitwise_or(i, j) | bitwise_right_shift(i, j) | bitwise_xor(b, b)
copysign(a, -p) | copysign(2.0, a) | divide(a, p) | equal(i, 2) | floor_divide(i, j) | greater(a, 0.5) | greater_equal(2, i) | hypot(a, p) | less(a, p)
less_equal(i, j) | logaddexp(a, p) | logical_and(b, ~b) | logical_or(b, True) | logical_xor(b, b) | maximum(a, 0.0) | minimum(i, j) | multiply(a, 2)
nextafter(a, 5.0) | nextafter(a * 0, -p) | nextafter(n, 1.0) | nextafter(d, -d) | not_equal(i, j) | pow(p, 2.5) | pow(i, 2) | remainder(i - 3, j)
remainder(a, -p) | subtract(5, i) | clip(a, -0.5, 0.5) | clip(i, min=2) | clip(a, max=p) | clip(a)
max(a) | max(a, axis=0) | min(i, axis=(0, 1), keepdims=True) | mean(a, axis=-1) | mean(a, axis=(0, 2)) | var(a) | var(a, axis=1, correction=1)
std(a, axis=(0, 1), keepdims=True, correction=0.5) | sum(i) | sum(u, axis=0) | sum(a, axis=(0, 2), keepdims=True) | sum(h, dtype=f64) | sum(b) | sum(a, axis=())
prod(p, axis=(0, 1)) | prod(i[0]) | prod(u[:1, 0]) | all(b) | all(a, axis=(0, 2)) | any(b, axis=1, keepdims=True) | any(a, axis=())
cumulative_sum(a, axis=1) | cumulative_sum(v) | cumulative_sum(i, axis=-1, include_initial=True) | cumulative_prod(p, axis=0, include_initial=True)
diff(a) | diff(i, axis=0, n=2) | diff(v, prepend=v[:1], append=v) | argmax(a) | argmax(a, axis=1, keepdims=True) | argmin(a, keepdims=True) | nonzero(b)[1]
count_nonzero(i - 3) | count_nonzero(b, axis=(0, 1)) | where(b, a, 0.0) | searchsorted(s, v) | searchsorted(s, v, side="right") | sort(a, axis=0)
argsort(v) | sort(unique_values(k)) | unique_counts(k)[1] | unique_inverse(k)[1] | unique_all(k)[1]
isin(i, j) | isin(i, 3, invert=True) | concat([a, p]) | concat([a, v], axis=None) | stack([a, p], axis=1) | unstack(a, axis=2)[3] | expand_dims(a, axis=-1)
squeeze(v[None, :, None], (0, -1)) | squeeze(v[None], 0) | flip(a) | flip(a, axis=(0, -1)) | roll(a, 2) | roll(a, (1, -2), axis=(0, 1)) | moveaxis(a, 0, -1)
permute_dims(a, (2, 0, 1)) | reshape(a, (4, -1)) | reshape(v, (1, -1), copy=True) | repeat(a, 2) | repeat(v, 3, axis=0) | tile(v, (2, 2)) | take(v, k)
take(a, k % 2, axis=1) | take_along_axis(a, argsort(a), axis=-1) | broadcast_to(v, (2, 5)) | broadcast_arrays(v, v[:, None])[1] | meshgrid(v, v[:2])[0]
meshgrid(v, v[:2], indexing="ij")[1] | arange(5) | arange(1, 7, 2) | arange(5, 1) | arange(0.0, 1.0, 0.25, dtype=f64) | arange(3, dtype=f32)
linspace(0, 1, 5, dtype=f64) | linspace(0, 1, 4, endpoint=False, dtype=f64) | eye(3, dtype=f64) | eye(2, 4, k=1, dtype=f32) | eye(3, k=-1, dtype=f64) | full((2, 2), 3)
full(2, True) | zeros_like(a) | ones_like(i, dtype=f32) | full_like(a, 2.5) | zeros((2, 0), dtype=f64) | tril(m, k=-1) | triu(m, k=1) | matmul(a, m)
matmul(h, m) | matrix_transpose(a) | tensordot(a, m, axes=1) | tensordot(a, a, axes=((0, 1), (0, 1))) | vecdot(a, p) | vecdot(a, p, axis=-2) | vecdot(i, j)
linalg.cholesky(spd) | linalg.cholesky(spd, upper=True) | linalg.cross(v[:3], v[2:]) | linalg.det(m) | linalg.diagonal(a, offset=1) | linalg.eigh(spd)[0]
linalg.inv(spd) | linalg.matrix_norm(a) | linalg.matrix_norm(a, ord=1, keepdims=True) | linalg.matrix_power(m, 3) | linalg.matrix_rank(spd) | linalg.outer(v, v)
linalg.pinv(spd) | linalg.slogdet(spd)[1] | linalg.solve(spd, m) | linalg.svdvals(m) | linalg.svd(a)[1] | linalg.trace(a, offset=1) | linalg.trace(i)
linalg.vector_norm(a) | linalg.vector_norm(a, axis=(0, 2), ord=1) | linalg.vector_norm(a, axis=1, keepdims=True) | linalg.eigvalsh(spd) | astype(a, f32)
"""


def given(xp: Any, asarray: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    a = generator.normal(size=(2, 3, 4))
    m = generator.normal(size=(4, 4))
    arrays = {
        "a": a, "p": generator.uniform(0.1, 0.9, a.shape), "i": np.arange(24).reshape(a.shape) % 7, "j": np.arange(1, 25).reshape(a.shape) % 5 + 1,
        "n": np.array([np.nan, np.inf, -np.inf, 1.0]), "b": a > 0, "u": np.arange(250, 256, dtype=np.uint8).reshape(3, 2), "h": a.astype(np.float32),
        "d": a[0] * 1e-300, "v": a[0, 0, :].repeat(2)[:5] + np.arange(5), "s": np.arange(-2.0, 3), "k": np.array([3, 1, 3, 2, 1]), "m": m,
        "spd": m @ m.T + np.eye(4),
    }  # fmt: skip
    names = {name: asarray(value) for name, value in arrays.items()}
    names.update(f32=xp.float32, f64=xp.float64)
    return names


def called(xp: Any, asarray: Any, text: str) -> Any:
    return eval(text, {**{name: getattr(xp, name) for name in dir(xp)}, **given(xp, asarray)})


@pytest.mark.skipif(np.__version__ < "2.3", reason="numpy has the Array API 2024.12 as of 2.3")
def test_calls_are_those_of_numpy() -> None:
    texts = [text.strip() for line in CALLS.strip().splitlines() for text in line.split(" | ")]
    wrong = []
    with np.errstate(all="ignore"):
        for text in texts:
            expected = np.asarray(called(np, np.array, text))
            try:
                found = called(array_api, lg.tensor, text)
                assert isinstance(found, lg.Tensor)
                assert found.dtype.name == expected.dtype.name, f"{found.dtype} {expected.dtype}"
                assert tuple(found.shape) == expected.shape, f"{found.shape} {expected.shape}"
                tolerance = 1e-5 if expected.dtype == np.float32 else 1e-9
                np.testing.assert_allclose(
                    found.numpy(), expected, rtol=tolerance, atol=tolerance * 1e-3
                )
            except Exception as error:
                wrong.append(f"{text}: {type(error).__name__} {str(error)[:300]}")
    assert not wrong, "\n".join(wrong)


def test_what_numpy_does_otherwise() -> None:
    xp = lg.ones(1).__array_namespace__(api_version="2024.12")
    assert xp is array_api and xp.__array_api_version__ == "2024.12"
    x = lg.tensor([3.0, 1.0, 2.0, 1.0])
    assert xp.sort(x, descending=True).tolist() == [3, 2, 1, 1]
    assert xp.argsort(x, descending=True).tolist() == [0, 2, 1, 3]
    assert xp.unique_all(x).indices.tolist() == [1, 2, 0] and xp.unique_all(x).counts.tolist() == [
        2,
        1,
        1,
    ]
    assert xp.isdtype(lg.int8, ("real floating", "integral")) and not xp.isdtype(
        lg.uint8, "signed integer"
    )
    assert (
        xp.isdtype(lg.float16, "numeric")
        and xp.isdtype(lg.bool, lg.bool)
        and not xp.isdtype(lg.bool, "numeric")
    )
    assert (
        xp.result_type(lg.int32, 2.5) is lg.float32
        and xp.result_type(x, lg.float64, 1) is lg.float64
    )
    assert xp.can_cast(lg.int8, lg.int32) and not xp.can_cast(x, lg.int32)
    assert not xp.can_cast(lg.uint64, lg.int64) and xp.can_cast(lg.uint32, lg.int64)
    wide, small = lg.tensor([4_000_000_000], dtype=lg.uint32), lg.tensor([-1], dtype=lg.int8)
    for made, value in (
        (xp.add(wide, small), 3_999_999_999), (xp.maximum(small, wide), 4_000_000_000), (xp.where(wide > 1, small, wide), -1),
        (xp.concat([small, wide])[1:], 4_000_000_000), (xp.vecdot(wide, small), -4_000_000_000), (xp.stack([wide, small])[0], 4_000_000_000),
    ):  # fmt: skip
        assert made.dtype is lg.int64 and made.tolist() in (value, [value]), value
    with pytest.raises(TypeError, match="no integer dtype holds both"):
        xp.add(lg.tensor([1], dtype=lg.uint64), small)
    limits = xp.finfo(x)
    assert limits.dtype is lg.float32 and limits.bits == 32 and limits.smallest_normal == 2.0**-126
    assert xp.iinfo(lg.uint8).max == 255
    information = xp.__array_namespace_info__()
    assert information.default_dtypes()["real floating"] is lg.float32
    assert set(information.dtypes(kind="unsigned integer")) == {"uint8", "uint32", "uint64"}
    assert information.default_device() in information.devices()
    assert xp.astype(x, lg.float32, copy=False) is x and xp.astype(x, lg.float32) is not x
    assert x.to_device("cpu").tolist() == x.tolist()
    for wrong in (
        lambda: x.__array_namespace__(api_version="1999.01"), lambda: xp.isdtype(lg.int8, "number"), lambda: xp.squeeze(lg.ones(1, 2), 1),
        lambda: xp.take(lg.ones(2, 2), lg.tensor([0])), lambda: xp.cumulative_sum(lg.ones(2, 2)), lambda: xp.result_type(1, 2.0),
        lambda: xp.reshape(lg.ones(2, 3).t(), (6,), copy=False), lambda: xp.vecdot(lg.ones(2), lg.ones(3)), lambda: x.to_device("cpu", stream=1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"\w"):
            wrong()  # type: ignore[no-untyped-call]
    with pytest.raises(TypeError, match="at least one"):
        xp.add(1, 2)
    with pytest.raises(IndexError, match="axis 2"):
        xp.sum(x, axis=2)


def test_a_library_that_knows_only_the_standard() -> None:
    """What such a library does: it asks an array for its namespace, and uses that."""

    def standardised(x: Any) -> Any:
        xp = x.__array_namespace__()
        centre = xp.mean(x, axis=0, keepdims=True)
        spread = xp.std(x, axis=0, keepdims=True)
        spread = xp.where(spread == 0, xp.ones_like(spread), spread)
        u, s, vh = xp.linalg.svd((x - centre) / spread, full_matrices=False)
        return xp.matmul(u * s, vh)

    data = np.random.default_rng(0).normal(size=(6, 3))
    np.testing.assert_allclose(standardised(lg.tensor(data)).numpy(), standardised(data), rtol=1e-9)


DISPATCHED = """
import warnings
import numpy as np, scipy.special, scipy.stats
from sklearn import config_context, decomposition, discriminant_analysis, metrics, preprocessing
import lazygrad as lg

warnings.simplefilter("error")
data = np.random.default_rng(0).normal(size=(40, 4))
classes = np.arange(40) % 3
calls = [
    lambda x, y: preprocessing.StandardScaler().fit_transform(x),
    lambda x, y: decomposition.PCA(2, svd_solver="full").fit(x).explained_variance_,
    lambda x, y: discriminant_analysis.LinearDiscriminantAnalysis().fit(x, y).predict(x),
    lambda x, y: metrics.pairwise.rbf_kernel(x),
    lambda x, y: scipy.special.logsumexp(x, axis=1),
    lambda x, y: scipy.stats.skew(x),
]
for call in calls:
    expected = call(data, classes)
    with config_context(array_api_dispatch=True):
        found = call(lg.tensor(data), lg.tensor(classes))
    assert isinstance(found, lg.Tensor), found
    np.testing.assert_allclose(found.numpy(), expected, 1e-8, 1e-10)
"""


def test_other_libraries_take_tensors() -> None:
    """What scikit-learn and scipy do with an array of a namespace that they do not know."""
    pytest.importorskip("sklearn")
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-c", DISPATCHED]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert ended.returncode == 0, ended.stderr
