"""Text and nodes are one program, in both directions and every stratum."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazygrad.ir import build, loops
from lazygrad.ir.args import Call, Constant, Slot
from lazygrad.ir.dim import Dim
from lazygrad.ir.dtype import ALL, bool_, float32, int64
from lazygrad.ir.node import Node, constant, iota, same, unary, where
from lazygrad.ir.op import Op
from lazygrad.ir.parse import ParseError
from lazygrad.ir.text import describe, parse, show
from lazygrad.ir.verify import verify_graph, verify_kernel

N = Dim.variable("n", 2, 4096, multiple=2)

KERNELS = {
    "map": """
        kernel mul_exp(%x: f32[1000] in, %lr: f32 number, %y: f32[1000] out)
          for %i in range(0, 1000, 16) parallel:
            %v = load %x[%i] : f32x16   # train.py:7
            %a = mul %v, 2.0 : f32x16
            %b = exp %a : f32x16
            store %y[%i], %b
    """,
    "rows": """
        dims n in 2..4096 multiple 2
        kernel rows(%x: f32[n, 100] in, %n: i64 dim, %y: f32[n] out)
          for %r in range(0, %n) parallel:
            local %sum : f32[]
            store %sum[0], -0.0
            for %c in range(0, 100):
              %v = load %x[%r*100 + %c] : f32
              accumulate %sum[0], %v {kind=add}
            %t = load %sum[0] : f32
            %u = fma %t, 2.0, nan : f32
            store %y[%r], %u
    """,
    "masks": """
        kernel masks(%x: f32[10] in, %i: i64[4] in, %y: f32[10] inout)
          %k = load %i[0] : i64x4
          %low = le 0:i64x4, %k : boolx4
          %high = lt %k, 10 : boolx4
          %ok = and %low, %high : boolx4
          %v = load %x[%k] if %ok : f32x4
          %s = reduce %v {kind=max, axes=(0,), accumulate=f32} : f32
          %all = lt %s, inf : bool
          check %all, IndexError, 'index "#1" is\\tout'
          for %u in range(0, 4) unroll:
            store %y[(%u + 1)*2 - %u//2 % 3], %s if %all
          %d = cast 1:i32 : f64
          %e = cast %d : f32
          %w = splat %e : f32x4
          %z = where %ok, %w, -inf : f32x4
          %l = lanes : i64x4
          %o = add %l, 1 : i64x4
          store %y[%o], %z if %ok
    """,
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_round_trip(name: str, golden: Any) -> None:
    (kernel,) = parse(KERNELS[name])
    verify_kernel(kernel)
    golden(kernel)
    assert same(parse(show(kernel)), [kernel])


def test_infix_keeps_the_tree() -> None:
    i, j = loops.index("i"), loops.index("j")
    for expression in (
        i - (j - 1),
        (i - j) - 1,
        i * (j // 3),
        i * j // 3,
        (i + j) % 4 * -2,
        -3 * i + j,
    ):
        x = loops.parameter("x", float32, (64,), "inout")
        value = loops.load(x, expression)
        inner = loops.loop(j, 4, [value, loops.store(x, expression, value)])
        kernel = loops.kernel("k", [x], [loops.loop(i, 4, [inner])])
        assert same(parse(show(kernel)), [kernel]), show(kernel)


def test_an_expression_that_doubles_is_not_written_out() -> None:
    """Forty doublings of one index: a tree of 2**40 leaves, and forty lines of text."""
    i, x = loops.index("i"), loops.parameter("x", float32, (64,), "inout")
    offset = i
    for _ in range(40):
        offset = offset + offset
    value = loops.load(x, offset)
    kernel = loops.kernel("k", [x], [loops.loop(i, 1, [value, loops.store(x, i, value)])])
    assert len(show(kernel)) < 2000
    assert same(parse(show(kernel)), [kernel])


def test_graph_golden(golden: Any) -> None:
    x = Node(Op.BUFFER, (), float32, (N, 4), Slot(0), place="cpu")
    rate = Node(Op.ARGUMENT, (), float32, (N, 4), Slot(0), place="cpu")
    y = build.pad(x * rate + -0.0, (0, 1), (0, N - 1), value=float("-inf"))
    z = build.shrink(y, (0, 1), (N, 4))
    call = Node(Op.CALL, (z,), float32, z.shape, Call("relu", (("limit", None), ("slope", 0.5))))
    index = constant(1, int64, (N, 4), "cpu")
    total = build.scatter(call, index, x, 1).sum((0, 1))
    golden([total, build.copy(build.scan(x, "max", 1), "opencl:0"), build.gather(x, index, 1)])


def test_messages_name_the_node_and_the_line() -> None:
    def program() -> None: ...

    node = constant(1.0, float32, (3,)) + 2.0
    node.site = (program.__code__, 0)
    assert describe(node).startswith("add const:f32[3], const:f32[3] : f32[3]  # test_text.py:")
    assert "# test_text.py:" in str(node) and "#" not in show(node, sites=False)
    assert same(parse(str(node)), [node])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("graph\n  %0 = frobnicate : f32[]\n  return %0", "line 2: frobnicate is no operation"),
        ("graph\n  %0 = exp %7 : f32[]\n  return %0", "%7 is not defined"),
        ("graph\n  %0 = const 1.0 : f31[]\n  return %0", "f31 is no type"),
        ("graph\n  %0 = const 1.0 : f32[n]\n  return %0", "the dim n is not declared"),
        ("graph\n  %0 = const 1.0 : f32[]", "no `return`"),
        ("graph\n  %0 = const 1.0 : f32[] $\n  return %0", "means nothing"),
        ("graph\n  %0 = const 1.0 : f32[]\n  %1 = reduce %0 {kind=add} : f32[]\n", "reduce needs"),
        ("kernel k(%x: f32[4] inout)\n  store %x[(1 + 2], 1.0", "parenthesis"),
        ("kernel k(%x: f32[4] inout)\n  store %x[0], 1.0 oops", "left over"),
        ("nonsense", "neither"),
    ],
)
def test_wrong_text_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message.replace("(", r"\(")):
        parse(text)


# --- random graphs

SHAPES = [(), (1,), (4,), (2, 3), (N, 4), (0, 2)]
FLOAT_UNARY = [Op.EXP, Op.SIN, Op.FLOOR, Op.ERFINV, Op.SQRT]
NUMBERS = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, float("inf"), 1e-45, 1e300]),
    st.integers(-(2**70), 2**70),
)


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Roots of a random graph whose every node is right."""
    nodes: list[Node] = []
    for slot in range(draw(st.integers(1, 3))):
        shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(ALL))
        nodes.append(
            Node(Op.BUFFER, (), dtype, shape, Slot(slot), draw(st.sampled_from(["", "cpu"])))
        )
    for _ in range(draw(st.integers(0, 12))):
        nodes.append(draw(grown(draw(st.sampled_from(nodes)))))
    return draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=3))


@st.composite
def grown(draw: st.DrawFn, x: Node) -> Node:
    """One more operation on `x`."""
    rank = len(x.shape)
    axis = draw(st.integers(0, rank - 1)) if rank else 0
    kind = draw(
        st.sampled_from(["cast", "unary", "compare", "number", "where", "move", "reduce", "index"])
    )
    if kind == "cast":
        return x.cast(draw(st.sampled_from(ALL)))
    if kind == "unary":
        y = x if x.dtype.kind == "float" else x.cast(float32)
        return unary(draw(st.sampled_from(FLOAT_UNARY)), y)
    if kind == "compare":
        return x.lt(x) ^ x.eq(x)
    if kind == "number" and x.dtype is not bool_:
        value = draw(NUMBERS)
        if x.dtype.kind != "float" and not isinstance(value, int):
            value = 3
        return x * value
    if kind == "where":
        return where(x.ne(x), x, x).stop()
    if kind == "reduce" and rank and x.dtype is not bool_:
        return draw(
            st.sampled_from([x.sum((axis,)), x.reduce("max", (axis,)), build.scan(x, "add", axis)])
        )
    if kind == "index" and rank:
        index = constant(0, int64, x.shape, x.place)
        if x.shape[axis] != 0:
            gathered = build.gather(x, index, axis)
            return build.scatter(x, index, gathered, axis, draw(st.sampled_from(["set", "add"])))
    if rank:
        ones = [1] * rank
        return draw(
            st.sampled_from(
                [
                    build.pad(x, ones, ones, value=draw(st.sampled_from([0, -1.5, float("nan")])))
                    if x.dtype.kind == "float"
                    else x.flip((axis,)),
                    x.permute(tuple(reversed(range(rank)))),
                    x.flip((axis,)),
                    x.reshape((1, *x.shape)),
                    build.update(build.pad(x, ones, ones), x, ones),
                    build.window(build.pad(x, [0] * rank, [3] * rank), (axis,), (2,), (1,), (2,)),
                ]
            )
        )
    return x.expand((2, *x.shape)).reshape((2, 1, *x.shape)) if rank < 3 else x


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_random_graphs_round_trip_and_verify(roots: list[Node]) -> None:
    verify_graph(roots)
    text = show(roots)
    back = parse(text)
    assert same(back, roots), text
    assert show(back) == text
    verify_graph(back)


@given(NUMBERS)
def test_constants_are_exact(value: float) -> None:
    node = Node(Op.CONST, (), float32, (), Constant(value))
    (back,) = parse(show(node))
    assert back.arg == node.arg


def test_leaves_with_values_lose_only_the_value() -> None:
    node = Node(Op.BUFFER, (), float32, (2,), None, "cpu")
    node.value = object()
    assert same(parse(show([node, iota(3)])), [node, iota(3)])
