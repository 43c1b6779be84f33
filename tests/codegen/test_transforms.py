"""Transforms of loop trees: golden text, and equality with the untransformed tree in the simulator, loop by loop, factor by factor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lazygrad as lg
from lazygrad import config
from lazygrad.codegen.choose import Transform, apply, choose
from lazygrad.codegen.lower import lower
from lazygrad.codegen.target import host
from lazygrad.codegen.transform.access import ScheduleError, all_loops, loop_name, remainders
from lazygrad.codegen.transform.accumulate import accumulate
from lazygrad.codegen.transform.cascade import cascade
from lazygrad.codegen.transform.fuse import fuse
from lazygrad.codegen.transform.hold import hold
from lazygrad.codegen.transform.jam import jam
from lazygrad.codegen.transform.nest import divide, interchange, merge
from lazygrad.codegen.transform.pack import pack
from lazygrad.codegen.transform.parts import parts
from lazygrad.codegen.transform.prefetch import prefetch
from lazygrad.codegen.transform.together import together
from lazygrad.codegen.transform.transpose import transpose
from lazygrad.codegen.transform.vectorize import vectorize
from lazygrad.ir import build, loops
from lazygrad.ir.args import Slot
from lazygrad.ir.dim import product
from lazygrad.ir.dtype import DType, float64, int64
from lazygrad.ir.interpret import run_kernel
from lazygrad.ir.node import Node, constant, unary
from lazygrad.ir.op import Op
from lazygrad.ir.text import parse, show
from lazygrad.ir.verify import verify_kernel
from lazygrad.schedule.place import place

Golden = Callable[..., None]

COPY = """
kernel copy(%x: f32[10] in, %y: f32[10] out)
  for %i in range(0, 10):
    %v = load %x[%i] : f32
    %a = mul %v, 2.0 : f32
    store %y[%i], %a
"""

ROW_SUM = """
kernel rows(%x: f32[3, 10] in, %y: f32[3] out)
  for %i in range(0, 3) parallel:
    local %r : f32[]
    store %r[0], 0.0
    for %k in range(0, 10):
      %v = load %x[%i*10 + %k] : f32
      accumulate %r[0], %v {kind=add}
    %s = load %r[0] : f32
    store %y[%i], %s
"""

SCALED = """
kernel scaled(%x: f32[3, 10] in, %s: f32[3] in, %y: f32[3, 10] out)
  for %i in range(0, 3) parallel:
    %c = load %s[%i] : f32
    for %j in range(0, 10):
      %v = load %x[%i*10 + %j] : f32
      %a = mul %v, %c : f32
      store %y[%i*10 + %j], %a
"""

PRODUCT = """
kernel product(%x: f32[3, 5] in, %w: f32[5, 10] in, %y: f32[3, 10] out)
  for %i in range(0, 3) parallel:
    for %j in range(0, 10):
      local %r : f32[]
      store %r[0], 0.0
      for %k in range(0, 5):
        %a = load %x[%i*5 + %k] : f32
        %b = load %w[%k*10 + %j] : f32
        %c = exp %b : f32
        %d = mul %a, %c : f32
        accumulate %r[0], %d {kind=add}
      %s = load %r[0] : f32
      store %y[%i*10 + %j], %s
"""


def only(text: str) -> Node:
    (kernel,) = parse(text)
    return kernel


def test_vectorize_masks_the_rest(golden: Golden) -> None:
    golden(vectorize(only(COPY), "i", 4))


def test_vectorize_a_reduction_has_partial_results(golden: Golden) -> None:
    golden(vectorize(only(ROW_SUM), "k", 4))


def test_vectorize_around_a_reduction_has_one_result_a_lane(golden: Golden) -> None:
    golden(vectorize(only(ROW_SUM), "i", 2))


SHIFTED = """
kernel shifted(%k: i64[5] in, %x: f32[4] in, %y: f32[5] out)
  for %i in range(0, 5):
    local %t : f32[4]
    for %j in range(0, 4):
      %v = load %x[%j] : f32
      store %t[%j], %v
    %p = load %k[%i] : i64
    %q = add %p, -1 : i64
    %m = le 0, %q : bool
    %a = load %t[%q] if %m : f32
    %b = where %m, %a, 7.0 : f32
    store %y[%i], %b
"""


@pytest.mark.parametrize("lanes", [2, 4])
def test_vectorize_keeps_the_masks_of_locals(lanes: int) -> None:
    """An array that each lane has its own part of is read where it is meant to be alone: one element in front of it was read, too (and not used)."""
    wide = vectorize(only(SHIFTED), "i", lanes)
    result = np.zeros(5, np.float32)
    x = np.arange(4, dtype=np.float32)
    run_kernel(wide, [np.array([0, 1, 4, 0, 2]), x, result])
    assert result.tolist() == [7, 0, 3, 7, 1]


def test_jam_repeats_lines_inside_the_loops(golden: Golden) -> None:
    golden(jam(only(ROW_SUM), "i", 2))


def test_divide_cuts_a_loop_into_parts(golden: Golden) -> None:
    golden(divide(only(ROW_SUM), "k", 4))


def test_what_a_part_leaves_over_is_known(golden: Golden) -> None:
    """Parts of 10 in fours leave 2 over, or nothing: half a vector without a mask, two rows at once; in twos nothing."""
    golden(vectorize(divide(only(SCALED), "j", 4), "j", 4), "vectorize")
    golden(jam(divide(only(SCALED), "j", 4), "j", 4), "jam")
    assert "_rest" not in show(vectorize(divide(only(SCALED), "j", 4), "j", 2))


def test_remainders_of_values() -> None:
    part = loops.index("part")
    size = constant(100, int64)
    assert remainders((size - part * 32).minimum(64), 32) == {0, 4}
    assert remainders((size - part * 8).minimum(64), 32) == {0, 4, 12, 20, 28}
    assert remainders(size.minimum(part * 5 + 3), 4) == {0, 1, 2, 3}
    assert remainders(part * 6 + 1, 4) == {1, 3}


def test_cascade_sums_parts_and_then_their_sums(golden: Golden) -> None:
    golden(cascade(only(ROW_SUM), "k", 4))
    with pytest.raises(ScheduleError, match="no register from outside"):
        cascade(only(ROW_SUM), "i", 2)


def test_parts_divide_what_is_wider(golden: Golden) -> None:
    """Sums side by side, whose halves are added as the lanes of one vector are."""
    wide = accumulate(vectorize(only(ROW_SUM), "k", 8))
    assert parts(wide, 8) is wide
    divided = parts(wide, 4)
    verify_kernel(divided)
    golden(divided)


def test_interchange_takes_loads_along(golden: Golden) -> None:
    golden(interchange(only(SCALED), "i"))


def test_merge_makes_one_loop_of_two(golden: Golden) -> None:
    golden(merge(only(SCALED), "i"))


BESIDE = """
kernel beside(%x: f32[4, 40] in, %y: f32[4] out, %z: f32[4] out)
  for %i in range(0, 4) parallel:
    local %r : f32[]
    store %r[0], inf
    for %j in range(0, 40):
      %a = load %x[%i*40 + %j] : f32
      accumulate %r[0], %a {kind=min}
    %b = load %r[0] : f32
    local %s : f32[]
    store %s[0], -inf
    for %k in range(0, 40):
      %c = load %x[%i*40 + %k] : f32
      accumulate %s[0], %c {kind=max}
    %d = load %s[0] : f32
    store %y[%i], %b
    store %z[%i], %d
"""


def test_fuse_reads_once_what_two_loops_reduce(golden: Golden) -> None:
    fused = fuse(only(BESIDE), "j")
    verify_kernel(fused)
    golden(fused)
    assert choose(only(BESIDE), host())[0].name == "fuse"


def test_two_searches_are_one_loop() -> None:
    """Both read the largest element: lines of the loop around stay what they are."""
    rows = np.random.default_rng(3).normal(size=(13, 96)).astype(np.float32)
    with config.override(verify=True):
        found = lg.tensor(rows).argmax(1) * 1000 + lg.tensor(rows).argmin(1)
        np.testing.assert_array_equal(found.numpy(), rows.argmax(1) * 1000 + rows.argmin(1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("range(0, 40):\n      %c", "range(0, 39):\n      %c", "do not run over as much"),
        ("accumulate %s[0], %c", "accumulate %r[0], %c", "touches what the other one writes"),
        ("store %s[0], -inf", "store %s[0], %b", "loop k waits for loop j"),
        ("accumulate %s[0], %c {kind=max}", "store %z[%i], %c", "write what is no local"),
    ],
)
def test_fuse_refuses_what_is_not_apart(old: str, new: str, message: str) -> None:
    assert old in BESIDE
    with pytest.raises(ScheduleError, match=message):
        fuse(only(BESIDE.replace(old, new)), "j")
    with pytest.raises(ScheduleError, match="no loop follows loop k"):
        fuse(only(BESIDE), "k")


GATHERED = """
kernel gathered(%x: f32[4, 64] in, %n: i64[4, 48] in, %y: f32[4, 48] out)
  for %i in range(0, 4) parallel:
    for %j in range(0, 48):
      %a = load %n[%i*48 + %j] : i64
      %b = le 0, %a : bool
      %c = lt %a, 64 : bool
      %d = and %b, %c : bool
      check %d, IndexError, 'index out of range'
      %e = where %d, %a, 0 : i64
      %f = load %x[%i*64 + %e] : f32
      store %y[%i*48 + %j], %f
"""


def test_prefetch_asks_for_the_next_row(golden: Golden) -> None:
    """Also where vectors gather: a line of the cache for each vector, or two where the row is longer than what is gathered."""
    for kernel in (only(GATHERED), vectorize(only(GATHERED), "j", 16)):
        verify_kernel(prefetch(kernel, "j"))
    golden(prefetch(vectorize(only(GATHERED), "j", 16), "j"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%x[%i*64 + %e]", "%x[%e]"),  # one row for all
        ("%x[%i*64 + %e]", "%x[%e*4 + %i]"),  # columns
        ("where %d, %a, 0", "where %b, %a, 0"),  # nothing says where the row ends
        ("%x[%i*64 + %e]", "%x[%i*64 + %j]"),
    ],
)
def test_prefetch_refuses_what_gathers_from_no_row(old: str, new: str) -> None:
    assert old in GATHERED
    with pytest.raises(ScheduleError, match="gathers from no rows"):
        prefetch(only(GATHERED.replace(old, new)), "j")


COUNTED = """
kernel counted(%n: i64[11] in, %x: f32[11] in, %y: f32[5] out)
  for %i in range(0, 5):
    store %y[%i], 0.0
  for %j in range(0, 11):
    %a = load %n[%j] : i64
    %b = le 0, %a : bool
    %c = lt %a, 5 : bool
    %d = and %b, %c : bool
    check %d, IndexError, 'index out of range'
    %e = where %d, %a, 0 : i64
    %f = load %x[%j] : f32
    %g = load %y[%e] : f32
    %h = add %g, %f : f32
    store %y[%e], %h
"""


def test_together_reads_before_it_writes(golden: Golden) -> None:
    made = together(only(COUNTED), "j", 4)
    verify_kernel(made)
    golden(made)
    index = np.random.default_rng(3).integers(0, 5, 11)
    values, found = np.arange(11, dtype=np.float32), np.zeros(5, np.float32)
    run_kernel(made, [index, values, found])
    np.testing.assert_array_equal(found, np.bincount(index, values, 5))


def test_what_does_not_vary_is_checked_and_written_each_time() -> None:
    """One index for all, and an element that each iteration writes again."""
    text = COUNTED.replace("load %n[%j]", "load %n[0]").replace(
        "store %y[%e]", "store %y[1], 0.5\n    store %y[%e]"
    )
    made = together(only(text), "j", 4)
    verify_kernel(made)
    for first in (1, 3):
        expected, found = np.zeros(5, np.float32), np.zeros(5, np.float32)
        arguments = [np.full(11, first), np.arange(11, dtype=np.float32)]
        run_kernel(only(text), [*arguments, expected])
        run_kernel(made, [*arguments, found])
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("range(0, 11)", "range(0, 3)", "a short one"),
        (
            "load %n[%j] : i64",
            "load %y[%j] : f32\n    %k = cast %a : i64",
            "nothing is read before",
        ),
    ],
)
def test_together_refuses(old: str, new: str, message: str) -> None:
    text = COUNTED.replace(old, new)
    if "%k" in new:
        text = text.replace("0, %a", "0, %k").replace("lt %a", "lt %k").replace("d, %a", "d, %k")
        text = text.replace("load %x[%j]", "load %y[%j]")
    with pytest.raises(ScheduleError, match=message):
        together(only(text), "j", 4)


def test_pack_keeps_panels_of_what_a_loop_shares(golden: Golden) -> None:
    kernel = only(PRODUCT)
    golden(pack(kernel, "i", 4))
    golden(pack(kernel, "j", 4), "rows")


def test_hold_sets_apart_what_follows_the_sums(golden: Golden) -> None:
    divided = divide(divide(only(PRODUCT), "i", 2), "j", 4)
    with pytest.raises(ScheduleError, match="is divided"):
        hold(only(PRODUCT), "i")
    with pytest.raises(ScheduleError, match="no loops whose innermost has sums"):
        hold(divided, "j")
    held = hold(interchange(divided, "i"), "i")
    verify_kernel(held)
    golden(held)


TURNED = """
kernel turned(%x: f32[7, 6] in, %y: f32[6, 7] out)
  for %i in range(0, 6) parallel:
    for %j in range(0, 7):
      %v = load %x[%j*6 + %i] : f32
      store %y[%i*7 + %j], %v
"""


def test_transpose_turns_tiles_in_registers(golden: Golden) -> None:
    golden(transpose(only(TURNED), "j", 2))


def test_transpose_says_when_nothing_runs_across() -> None:
    with pytest.raises(ScheduleError, match="runs along the loop around it"):
        transpose(
            only(SCALED.replace("    %c = load %s[%i] : f32\n", "").replace("%c", "2.0")), "j", 2
        )


def test_pack_says_when_there_is_nothing() -> None:
    with pytest.raises(ScheduleError, match="no sum in loop i has an operand"):
        pack(only(ROW_SUM), "i", 4)


def test_accumulate_of_a_product_is_one_fma(golden: Golden) -> None:
    kernel = only(
        ROW_SUM.replace("accumulate %r[0], %v", "%w = mul %v, %v : f32\n      accumulate %r[0], %w")
    )
    golden(accumulate(kernel))


def test_an_unknown_loop_is_named_with_those_there_are() -> None:
    with pytest.raises(ScheduleError, match="no loop 'z'; the loops are i"):
        vectorize(only(COPY), "z", 4)


def test_a_carried_value_refuses_to_vectorize() -> None:
    kernel = only("""
kernel running(%x: f32[10] in, %y: f32[10] out)
  local %r : f32[]
  store %r[0], 0.0
  for %i in range(0, 10):
    %v = load %x[%i] : f32
    %b = load %r[0] : f32
    %a = add %b, %v : f32
    store %r[0], %a
    store %y[%i], %a
""")
    with pytest.raises(ScheduleError, match="what another one writes"):
        vectorize(kernel, "i", 4)


def buffer(number: int, *shape: int, dtype: DType = float64) -> Node:
    return Node(Op.BUFFER, (), dtype, shape, Slot(number), "cpu")


def programs(rows: int, columns: int) -> dict[str, list[Node]]:
    x, y = buffer(0, rows, columns), buffer(1, columns, rows)
    index = buffer(2, rows, 3, dtype=int64)
    full = (rows, columns, rows)
    product = x.reshape((rows, columns, 1)).expand(full) * y.reshape((1, columns, rows)).expand(
        full
    )
    top = x.reduce("max", (1,)).expand(x.shape)
    powers = unary(Op.EXP, x - top)
    return {
        "map": [x * 2.0 + 1.0],
        "transpose": [x.permute((1, 0)) + y],
        "matmul": [product.sum((1,))],
        "softmax": [powers / powers.sum((1,)).expand(x.shape)],
        "columns": [x.sum((0,)) * 2.0],
        "all": [x.reduce("min", (0, 1))],
        "gather": [build.gather(x, index, 1)],
        "pad": [build.pad(x, (1, 2), (0, 1), (1, 0), 3.0)],
        "backwards": [x.flip((1,)) + x],
        "steps": [build.shrink(x, (0, 1), (rows, columns // 2), (1, 2)) * 2.0],
        "compare": [x.gt(0.5).reduce("and", (1,))],
    }


NAMES = sorted(programs(2, 3))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_transforms_keep_the_meaning(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(3, 21))
    roots = programs(rows, columns)[data.draw(st.sampled_from(NAMES))]
    (graph,) = place(roots).kernels
    kernel = lower(graph)
    verify_kernel(kernel)
    rng = np.random.default_rng(rows * 100 + columns)
    arrays = [
        rng.standard_normal((rows, columns)),
        rng.standard_normal((columns, rows)),
        rng.integers(0, columns, (rows, 3)),
    ]
    inputs = [arrays[n.arg.index].ravel() for n in graph.inputs if isinstance(n.arg, Slot)]

    def run(kernel: Node) -> list[np.ndarray]:
        sizes = [int(str(product(n.shape))) for n in graph.results]
        made = [
            np.zeros(size, n.dtype.storage) for size, n in zip(sizes, graph.results, strict=True)
        ]
        run_kernel(kernel, [*inputs, *made])
        return made

    expected = run(accumulate(kernel))
    steps: list[Transform] = []
    changed = kernel
    for _ in range(data.draw(st.integers(1, 5))):
        names = [loop_name(loop) for loop, _ in all_loops(changed)]
        if not names:
            break
        step = Transform(
            data.draw(
                st.sampled_from(
                    [
                        "vectorize",
                        "jam",
                        "divide",
                        "interchange",
                        "merge",
                        "pack",
                        "transpose",
                        "cascade",
                    ]
                )
            ),
            data.draw(st.sampled_from(names)),
            data.draw(st.sampled_from([2, 3, 4, 8])),
        )
        try:
            changed = apply(changed, [step])
        except ScheduleError:
            continue
        steps.append(step)
        verify_kernel(changed)
    for got, want in zip(run(accumulate(changed)), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, err_msg=str(steps))


def test_a_scatter_that_adds_refuses_to_vectorize() -> None:
    """Two lanes may add to one element."""
    kernel = only("""
kernel scatter(%index: i64[8] in, %x: f32[8] in, %y: f32[3] out)
  for %i in range(0, 8):
    %where = load %index[%i] : i64
    %old = load %y[%where] : f32
    %value = load %x[%i] : f32
    %new = add %old, %value : f32
    store %y[%where], %new
""")
    with pytest.raises(ScheduleError, match="what another one writes"):
        vectorize(kernel, "i", 4)
    with pytest.raises(ScheduleError, match="what another one writes"):
        jam(kernel, "i", 2)
    assert [step.name for step in choose(kernel, host())] == ["together", "accumulate"]


def test_sums_of_columns_are_wide_whatever_follows_them() -> None:
    kernel = only("""
        kernel update(%x: f32[64, 1024] in, %p: f32[1024] in, %y: f32[1024] out)
          for %i in range(0, 1024) parallel:
            local %r : f32[]
            store %r[0], 0.0
            for %j in range(0, 64):
              %0 = load %x[%i + %j*1024] : f32
              accumulate %r[0], %0 {kind=add}
            %1 = load %r[0] : f32
            %2 = load %p[%i] : f32
            %3 = mul %1, %1 : f32
            %4 = add %3, %2 : f32
            %5 = sqrt %4 : f32
            %6 = add %5, 1.0 : f32
            %7 = div %1, %6 : f32
            %8 = mul %7, %2 : f32
            %9 = add %8, %4 : f32
            %10 = mul %9, %6 : f32
            %11 = sub %10, %5 : f32
            store %y[%i], %11
    """)
    target = host()
    (wide,) = [step.factor for step in choose(kernel, target) if step.name == "vectorize"]
    assert wide * 4 >= 2 * target.vector_bytes
