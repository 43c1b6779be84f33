"""Tiles of dot products: what they mean, that contractions become such tiles, and that every instruction set computes the same."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.codegen.choose import Transform, apply, choose
from lazygrad.codegen.render.llvm import render
from lazygrad.codegen.target import Target, host
from lazygrad.codegen.transform.access import ScheduleError
from lazygrad.codegen.transform.dots import dots
from lazygrad.ir.dtype import DType, bfloat16, float16, float32, int8, int32, uint8
from lazygrad.ir.elementwise import from_storage, round_to, to_storage
from lazygrad.ir.interpret import run_kernel
from lazygrad.ir.node import Node
from lazygrad.ir.parse import parse
from lazygrad.ir.verify import VerificationError, verify_kernel
from lazygrad.nn import functional as F
from lazygrad.runtime.cpu import CpuDevice

from .test_llvm import run

Golden = Callable[..., None]

PRODUCT = """
kernel product(%x: {left}[{x}] in, %w: {right}[{w}] in, %y: {wide}[{rows}, {columns}] out)
  for %i in range(0, {rows}) parallel:
    for %j in range(0, {columns}):
      local %r : {wide}[]
      store %r[0], {zero}
      for %k in range(0, {terms}):
        %a = load %x[{at_x}] : {left}
        %b = load %w[{at_w}] : {right}
        %c = cast %a : {wide}
        %d = cast %b : {wide}
        %e = mul %c, %d : {wide}
        accumulate %r[0], %e {{kind=add}}
      %s = load %r[0] : {wide}
      store %y[%i*{columns} + %j], %s
"""

AVX512 = frozenset(("avx512bf16", "avx512vnni", "avx512bw"))
AMX = frozenset(("amx-tile", "amx-bf16", "amx-int8"))
KINDS = {"matrix registers": AMX, "vectors": AVX512}


def product(
    sizes: tuple[int, int, int],
    left: DType,
    right: DType,
    turned: tuple[bool, bool] = (False, False),
) -> Node:
    """The product of two matrices, each transposed in memory or not."""
    rows, terms, columns = sizes
    wide = float32 if left.kind == "float" else int32
    (kernel,) = parse(
        PRODUCT.format(
            left=left.short,
            right=right.short,
            wide=wide.short,
            zero="0.0" if wide is float32 else "0",
            rows=rows,
            columns=columns,
            terms=terms,
            x=f"{terms}, {rows}" if turned[0] else f"{rows}, {terms}",
            w=f"{columns}, {terms}" if turned[1] else f"{terms}, {columns}",
            at_x=f"%k*{rows} + %i" if turned[0] else f"%i*{terms} + %k",
            at_w=f"%j*{terms} + %k" if turned[1] else f"%k*{columns} + %j",
        )
    )
    return kernel


def operands(sizes: tuple[int, int, int], left: DType, right: DType) -> list[np.ndarray]:
    """Random operands as they are stored."""
    rows, terms, columns = sizes
    random = np.random.default_rng(terms)
    result = []
    for dtype, size in ((left, rows * terms), (right, terms * columns)):
        if dtype.kind == "float":
            values = round_to(random.standard_normal(size).astype(np.float32), dtype)
            result.append(to_storage(values, dtype))
        else:
            low = -128 if dtype.is_signed else 0
            result.append(random.integers(low, low + 256, size).astype(dtype.storage))
    return result


def with_features(kind: str, left: DType) -> Target:
    """This machine, with one kind of instructions for these dot products only; skips where it has none of it."""
    wanted = KINDS[kind]
    dropped = (AMX | AVX512) - wanted - {"avx512bw"}
    target = replace(host(), features=host().features - dropped)
    if not target.dots(left, left):
        pytest.skip(f"this machine has no dot products of {left.name} in {kind}")
    return target


def check(
    kernel: Node, cpu: CpuDevice, sizes: tuple[int, int, int], left: DType, right: DType
) -> None:
    """The kernel's code computes the product, and so does the interpreter: sums of half types within the bound of their length."""
    rows, terms, columns = sizes
    inputs = operands(sizes, left, right)
    (x, w), wide = inputs, np.dtype("float32" if left.kind == "float" else "int32")
    found = np.zeros(rows * columns, wide)
    run(cpu, kernel, [x, w, found])
    meant = np.zeros(rows * columns, wide)
    run_kernel(kernel, [x, w, meant])
    a, b = (
        from_storage(x, left).reshape(rows, terms),
        from_storage(w, right).reshape(terms, columns),
    )
    exact = (a.astype(np.float64) @ b.astype(np.float64)).reshape(-1)
    if wide.kind == "i":
        assert (found == exact).all() and (meant == exact).all()
        return
    # the error of a sum of n float32 products, of which the sizes are known
    bound = terms * 2.0**-24 * (abs(a).astype(np.float64) @ abs(b).astype(np.float64)).reshape(-1)
    assert (abs(found - exact) <= bound).all() and (abs(meant - exact) <= bound).all()


PAIRS = [(bfloat16, bfloat16), (int8, int8), (uint8, int8), (int8, uint8), (uint8, uint8)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("left", "right"), PAIRS, ids=lambda dtype: dtype.name)
def test_every_instruction_set_computes_tiles(kind: str, left: DType, right: DType) -> None:
    """Sizes that fill no tile, and sizes that do, of which rows are read as they lie."""
    target = with_features(kind, left)
    cpu = CpuDevice(target)
    for sizes in ((37, 70, 50), (32, 64, 16))[: 2 if left is right else 1]:
        kernel = apply(dots(product(sizes, left, right), "i"), [Transform("vectorize", "j", 16)])
        verify_kernel(kernel)
        assert ("tdpb" in render(kernel, target)) == (kind == "matrix registers")
        check(kernel, cpu, sizes, left, right)


@pytest.mark.parametrize("turned", [(False, True), (True, False)], ids=["right", "left"])
def test_transposed_operands_are_packed(turned: tuple[bool, bool]) -> None:
    sizes = (20, 40, 33)
    kernel = dots(product(sizes, bfloat16, bfloat16, turned), "i")
    verify_kernel(kernel)
    inputs = operands(sizes, bfloat16, bfloat16)
    shapes = ((20, 40), (40, 33))
    lying = [
        np.ascontiguousarray(each.reshape(shape).T if turn else each.reshape(shape)).ravel()
        for each, shape, turn in zip(inputs, shapes, turned, strict=True)
    ]
    found = np.zeros(20 * 33, np.float32)
    run_kernel(kernel, [*lying, found])
    a, b = (from_storage(e, bfloat16).reshape(s) for e, s in zip(inputs, shapes, strict=True))
    np.testing.assert_allclose(found.reshape(20, 33), a @ b, 1e-5, 1e-4)


def test_dots_packs_and_computes_tiles(golden: Golden) -> None:
    golden(dots(product((16, 70, 20), int8, uint8), "i"))
    golden(dots(product((16, 64, 20), int8, uint8), "i"), "rows")


def test_sums_of_wide_values_are_no_dot_products() -> None:
    text = str(product((16, 64, 16), int8, int8)).replace("i8[", "i32[").replace(": i8", ": i32")
    (kernel,) = parse(text.replace("%2 = cast %0 : i32\n", "").replace("%3 = cast %1 : i32\n", "")
                      .replace("mul %2, %3", "mul %0, %1"))  # fmt: skip
    with pytest.raises(ScheduleError, match="no dot products of narrow values"):
        dots(kernel, "i")


TILE = """
kernel tile(%a: {a}[{size}] in, %b: {b}[1024] in, %c: {c}[256] out)
  dots %c[0], %a[0], %b[0] {{rows={rows}, columns=16, terms={terms}, pitch=0}}
"""


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"c": "f32"}, "there are no f.*32 dot products of int8 and int8"),
        ({"b": "bf16"}, "there are no int32 dot products of int8 and bfloat16"),
        ({"rows": 8}, "rows and columns come in groups of 16"),
        ({"terms": 60}, "terms come in steps of 64"),
        ({"size": 1000}, "outside a buffer of 1000"),
    ],
)
def test_what_is_no_tile_is_said(given: dict[str, object], sentence: str) -> None:
    fields = {"a": "i8", "b": "i8", "c": "i32", "rows": 16, "terms": 64, "size": 1024, **given}
    (kernel,) = parse(TILE.format(**fields))
    with pytest.raises(VerificationError, match=sentence):
        verify_kernel(kernel)
    (kernel,) = parse(TILE.format(**{**fields, "a": "i8", "b": "i8", "c": "i32", "rows": 16, "terms": 64, "size": 1024}))  # fmt: skip
    verify_kernel(kernel)


def test_threads_have_tiles_of_their_own() -> None:
    """Python threads compute side by side, and with one thread and with two the results are the same bits."""
    left, right = whole(96, 512), whole(512, 640)
    expected = (left @ right).float().tolist()

    def product_again(_: int) -> bool:
        return bool((left @ right).float().tolist() == expected)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(product_again, range(12)))
    before = lg.get_num_threads()
    try:
        lg.set_num_threads(1)
        assert product_again(0)
    finally:
        lg.set_num_threads(before)


def whole(*shape: int) -> lg.Tensor:
    """Small whole numbers: their sums are exact."""
    count = int(np.prod(shape))
    values = np.random.default_rng(count).integers(-4, 5, shape).astype(np.float32)
    return lg.tensor(values).bfloat16().realize()


def linear_gradients() -> list[lg.Tensor]:
    x, w, b = (t.requires_grad_() for t in (whole(48, 70), whole(65, 70), whole(65)))
    y = F.linear(x, w, b).relu()
    y.backward(whole(48, 65))
    return [y, *(t.grad for t in (x, w, b) if t.grad is not None)]


def image() -> list[lg.Tensor]:
    x, w = (t.requires_grad_() for t in (whole(2, 16, 14, 14), whole(24, 16, 3, 3)))
    y = F.conv2d(x, w, padding=1)
    y.backward(whole(2, 24, 14, 14))
    return [y, *(t.grad for t in (x, w) if t.grad is not None)]


PROGRAMS: dict[str, Callable[[], list[lg.Tensor]]] = {
    "a product of matrices": lambda: [whole(65, 100) @ whole(100, 47)],
    "a batch": lambda: [whole(3, 33, 64) @ whole(3, 64, 40)],
    "a batch of one matrix": lambda: [whole(3, 33, 64) @ whole(64, 40)],
    "transposed operands": lambda: [whole(64, 49).t() @ whole(50, 64).t()],
    "a layer and its gradients": linear_gradients,
    "a convolution and its gradients": image,
    "an operand that is computed": lambda: [(whole(64, 64) * 2).relu() @ whole(64, 64).neg()],
    "many terms": lambda: [whole(16, 17000) @ whole(17000, 20)],
    "bytes": lambda: [
        (whole(40, 70) * 30).to(lg.int8).to(lg.int32)
        @ (whole(70, 60) + 4).to(lg.uint8).to(lg.int32)
    ],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_compute_what_the_interpreter_does(name: str) -> None:
    found: list[list[object]] = []
    for device in ("cpu", "interpret"):
        with lg.config.override(device=device):
            found.append([each.float().tolist() for each in PROGRAMS[name]()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, 2.0**-7, 2.0**-7)


@pytest.mark.skipif(not host().dots(bfloat16, bfloat16), reason="this machine has no dot products")
def test_contractions_of_narrow_values_are_tiles() -> None:
    def names(program: Callable[[], list[lg.Tensor]]) -> list[str]:
        texts = lg.lower(program).kernels.values()
        return ["dots" for text in texts if "dots %" in text]

    assert names(PROGRAMS["bytes"]) == ["dots"]
    assert names(linear_gradients) == ["dots"] * 3
    assert names(lambda: [whole(4, 8) @ whole(8, 8)]) == []  # less work than a tile's code


def test_a_target_without_dot_products_makes_none() -> None:
    plain = replace(host(), features=host().features - AMX - AVX512)
    steps = [step.name for step in choose(product((64, 64, 64), bfloat16, bfloat16), plain)]
    assert "dots" not in steps and plain.dots(bfloat16, bfloat16) == ""
    assert host().dots(bfloat16, float16) == "" and host().dots(float32, float32) == ""


def test_half_floats_that_are_only_moved_keep_their_bits() -> None:
    (kernel,) = parse("""
kernel move(%x: bf16[64] in, %y: bf16[64] out)
  for %i in range(0, 32, 16):
    %a = load %x[%i] : bf16x16
    %b = load %x[%i + 32] : bf16x16
    %c = lt 0.0, %a : boolx16
    %d = load %x[%i] : bf16x16
    %e = where %c, %d, %b : bf16x16
    %f = shuffle %e, 1.5:bf16x16 {lanes=(1, 0, 16, 3)} : bf16x4
    store %y[%i], %b
    store %y[%i + 32], %f
""")
    bits = (np.arange(64, dtype=np.uint16) * 1021 + 0x7F83) % 0xFFFF
    found, meant = np.zeros(64, np.uint16), np.zeros(64, np.uint16)
    run(CpuDevice(), kernel, [bits, found])
    run_kernel(kernel, [bits, meant])
    np.testing.assert_array_equal(found, meant)
    assert ((bits & 0x7FFF) > 0x7F80).any()  # NaNs of several kinds are among them
