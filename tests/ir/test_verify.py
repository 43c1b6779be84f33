"""One planted violation for each class of operation, in both strata; and what is right is accepted."""

from __future__ import annotations

import pytest

from lazygrad.ir import build, loops
from lazygrad.ir.args import (
    ARG_CLASS,
    Axes,
    Axis,
    Constant,
    Element,
    Grad,
    Reduction,
    Region,
    Scatter,
    Slot,
    Windows,
)
from lazygrad.ir.dim import Dim
from lazygrad.ir.dtype import float16, float32, int32, int64, uint8, uint32
from lazygrad.ir.grammar import GRAPH_GRAMMAR
from lazygrad.ir.node import Node, constant, unary, where
from lazygrad.ir.op import Op
from lazygrad.ir.text import parse
from lazygrad.ir.verify import KERNEL_GRAMMAR, VerificationError, verify_graph, verify_kernel

N = Dim.variable("n")
X = Node(Op.BUFFER, (), float32, (3, 4), Slot(0), "cpu")
M = Node(Op.BUFFER, (), float32, (N, 4), Slot(1), "cpu")
I = Node(Op.BUFFER, (), int64, (3, 4), Slot(2), "cpu")  # noqa: E741
B = X.lt(0.0)


def test_the_grammar_has_every_operation() -> None:
    assert set(Op) - {Op.APPLY} == set(GRAPH_GRAMMAR) | set(KERNEL_GRAMMAR)  # it is unfolded first
    assert set(ARG_CLASS) <= set(Op)


def elementwise(op: Op, *src: Node) -> Node:
    return Node(op, src, src[0].dtype, src[0].shape)


WRONG = {
    "a constant of another category": (Node(Op.CONST, (), float32, (), Constant(1)), "is not of the category of float32"),
    "a constant too large": (Node(Op.CONST, (), uint8, (), Constant(256)), "256 does not fit in uint8"),
    "an axis": (Node(Op.IOTA, (), int64, (3,), Axis(1)), "axis 1 is not one of 1"),
    "no arg": (Node(Op.ARGUMENT, (), float32, ()), "the arg is NoneType, not Slot"),
    "an arg too many": (Node(Op.EXP, (X,), float32, (3, 4), Slot(0)), "the arg is Slot, not None"),
    "exp of integers": (unary(Op.EXP, I), "source 0 is int64, and must be float"),
    "not of floats": (unary(Op.NOT, X), "must be bits"),
    "two sources for one": (elementwise(Op.NEG, X, X), "neg has 2 sources, not 1"),
    "a missing source": (elementwise(Op.ADD, X), "add has 1 sources, not 2"),
    "implicit promotion": (X + I, "dtypes of its sources differ: float32 and int64"),
    "implicit broadcasting": (X + X.sum((0,)), r"shapes of its sources differ: \[3, 4\] and \[1, 4\]"),
    "bool plus bool": (B + B, "source 0 is bool, and must be number"),
    "integers divided": (I / I, "must be float"),
    "a comparison that gives floats": (Node(Op.LT, (X, X), float32, X.shape), "must be bool, not float32"),
    "a result of another dtype": (Node(Op.SIN, (X,), float16, X.shape), "must be float32, not float16"),
    "a result of another shape": (Node(Op.SIN, (X,), float32, (3,)), r"must be \[3, 4\], not \[3\]"),
    "where on numbers": (where(X, X, X), "must be bool"),
    "where of two dtypes": (Node(Op.WHERE, (B, X, I), float32, X.shape), "dtypes of its sources differ"),
    "bits of another width": (X.bitcast(float16), "widths of float32 and float16 differ"),
    "a reduction's shape": (Node(Op.REDUCE, (X,), float32, (3,), Reduction("add", (1,), float32)), r"must be \[3, 1\]"),
    "a reduction's axes": (Node(Op.REDUCE, (X,), float32, (1, 1), Reduction("add", (1, 0), float32)), "not sorted axes"),
    "a narrow accumulator": (X.reduce("add", (0,), float16), "float16 cannot hold partial results"),
    "a reduction of another category": (X.reduce("add", (0,), int64), "int64 cannot hold partial results"),
    "or of floats": (X.reduce("or", (0,)), "floats have no or"),
    "a sum of bools": (B.sum((0,)), "bool has no add"),
    "a scan's axis": (build.scan(X, "add", 2), "axis 2 is not one of 2"),
    "a sort of floats": (build.sort(X, 0, 32), "must be integer"),
    "a sort of negative numbers": (build.sort(I, 0, 32), "int64 has no keys of 32 bits"),
    "a sort whose size is open": (build.sort(M.bitcast(uint32), 0, 32), "needs to know the size"),
    "a reshape": (X.reshape((5, 2)), "12 elements cannot become 10"),
    "a permutation": (Node(Op.PERMUTE, (X,), float32, (3, 3), Axes((0, 0))), "no permutation of 2 axes"),
    "an expansion": (X.expand((3, 8)), "does not broadcast"),
    "a flip": (X.flip((0, 0)), "repeat"),
    "negative padding": (build.pad(X, (-1, 0), (0, 0)), "negative"),
    "a region outside": (build.shrink(X, (1, 0), (2, 2), (2, 1)), "leave an axis of 3"),
    "an update outside": (build.update(X, build.shrink(X, (0, 0), (2, 4)), (2, 0)), "leave an axis of 3"),
    "a region's rank": (Node(Op.SHRINK, (X,), float32, (3, 4), Region((0,), (1,))), "region is not of 2 axes"),
    "a window's shape": (Node(Op.WINDOW, (X,), float32, (3, 4, 2), Windows((1,), (2,), (1,), (1,))), "windows over"),
    "a window too long": (build.window(X, (1,), (6,), (1,), (1,)), "longer than axis 1"),
    "a fold's shape": (build.fold(build.window(X, (1,), (2,), (1,), (1,)), (3, 5), (1,), (2,), (1,), (1,)), "windows over"),
    "a gather's index": (build.gather(X, I.cast(int32), 0), "source 1 is int32, and must be index"),
    "a gather's other axes": (build.gather(X, build.shrink(I, (0, 0), (3, 2)), 0), "differ beside axis 0"),
    "a scatter's values": (Node(Op.SCATTER, (X, I, X.sum((0,))), float32, X.shape, Scatter(0, "add")), "index's shape"),
    "a cotangent's shape": (Node(Op.GRAD, (X, M, X), float32, (), Grad(1, (False,))), "a cotangent differs"),
    "an element too far": (Node(Op.ELEMENT, (Node(Op.GRAD, (X, X, X), float32, (), Grad(1, (False,))),), float32, (3, 4), Element(1)), "no element 1"),
    "an unknown composite": (parse("graph\n %0 = const 1.0 : f32[]\n %1 = call.nope %0 : f32[]\n return %1")[0], "no composite 'nope'"),
    "another device": (X + Node(Op.BUFFER, (), float32, (3, 4), Slot(1), "opencl:0"), "other devices"),
    "a statement in a graph": (loops.lanes(4), "lanes is no operation of graphs"),
    "another dim": (M + Node(Op.BUFFER, (), float32, (Dim.variable("m"), 4), Slot(3), "cpu"), "shapes of its sources differ"),
    "a question the dims leave open": (build.shrink(M, (0, 0), (3, 4)), "leave a question open"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_graphs_are_refused(name: str) -> None:
    node, message = WRONG[name]
    with pytest.raises(VerificationError, match=message):
        verify_graph([node])


def test_the_message_has_the_node_and_the_users_line() -> None:
    node = X + I
    node.site = (test_the_message_has_the_node_and_the_users_line.__code__, 0)
    with pytest.raises(
        VerificationError,
        match=r": add buffer:f32\[3, 4\], buffer:i64\[3, 4\] : .*# test_verify.py:",
    ):
        verify_graph([unary(Op.EXP, node)])


def test_what_dims_decide_is_accepted() -> None:
    padded = build.pad(M, (0, 0), (N, 0))
    verify_graph(
        [
            build.shrink(padded, (N, 0), (N, 4)),
            padded.reshape((N * 8,)),
            build.shrink(M, (1, 0), (N - 1, 4)),
        ]
    )


WRONG_KERNELS = {
    "a value after its loop": (
        "for %i in range(0, 8):\n  %v = load %x[%i] : f32\nstore %y[0], %v",
        "used outside the loop it belongs to",
    ),
    "an offset of floats": ("%v = load %x[0] : f32\n%w = load %x[%v] : f32\nstore %y[0], %w", "index|int64"),
    "a constant offset outside": ("%v = load %x[8] : f32\nstore %y[0], %v", "element 8 is outside a buffer of 8"),
    "a vector that ends outside": ("%v = load %x[5] : f32x4\nstore %y[0], %v", "element 5 is outside a buffer of 8"),
    "a write to what is read": ("store %x[0], 1.0", "%x is only read"),
    "a value of another dtype": ("store %y[0], 1.0:f64", "float64 is not what a buffer of float32 holds"),
    "a mask of numbers": ("%v = load %x[0] if %n : f32\nstore %y[0], %v", "the mask is int64, not bool"),
    "a mask of other lanes": (
        "%l = lanes : i64x2\n%m = lt %l, 1 : boolx2\n%v = load %x[0] if %m : f32x4\nstore %y[0], %v",
        "the mask has neither one lane",
    ),
    "lanes that differ": (
        "%v = load %x[0] : f32x4\n%w = load %x[0] : f32x2\n%s = add %v, %w : f32x4\nstore %y[0], %s",
        "shapes of its sources differ",
    ),
    "a scalar with lanes": (
        "%v = load %x[0] : f32x4\n%w = load %x[0] : f32\n%s = add %v, %w : f32x4\nstore %y[0], %s",
        "shapes of its sources differ",
    ),
    "a splat of a vector": ("%v = load %x[0] : f32x4\n%s = splat %v : f32x4\nstore %y[0], %s", "in every lane"),
    "lanes without lanes": ("%l = lanes : i64\n%v = load %x[%l] : f32\nstore %y[0], %v", "its result has lanes"),
    "a reduction that keeps lanes": (
        "%v = load %x[0] : f32x4\n%s = reduce %v {kind=add, axes=(0,), accumulate=f32} : f32x4\nstore %y[0], %s",
        "takes lanes to one value",
    ),
    "two loops of one name": (
        "for %i in range(0, 4):\n  store %y[%i], 1.0\nfor %i in range(0, 4):\n  store %y[%i], 2.0",
        "two things are called %i",
    ),
    "a local with a param's name": ("local %x : f32[2]\nstore %x[0], 1.0", "two things are called %x"),
    "a step of nothing": ("for %i in range(0, 4, 0):\n  store %y[%i], 1.0", "cannot have step 0"),
    "a condition of lanes": (
        "%l = lanes : i64x2\n%m = lt %l, 1 : boolx2\ncheck %m, IndexError, 'no'", "one condition"),
    "a condition of numbers": ("check %n, IndexError, 'no'", "must be bool"),
    "a buffer as a value": ("%v = exp %x : f32\nstore %y[0], %v", r"must be \[8\]|read by load only"),
    "a number as a buffer": ("%v = load %n[0] : i64\nstore %y[%v], 1.0", "param is no buffer"),
    "an or of floats": ("accumulate %y[0], 1.0 {kind=or}", "floats have no or"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_KERNELS)
def test_wrong_kernels_are_refused(name: str) -> None:
    body, message = WRONG_KERNELS[name]
    lines = "\n".join("    " + line for line in body.split("\n"))
    (kernel,) = parse(f"kernel k(%x: f32[8] in, %n: i64 dim, %y: f32[8] out)\n{lines}")
    with pytest.raises(VerificationError, match=message):
        verify_kernel(kernel)


def test_kernels_that_text_cannot_say() -> None:
    x, y = loops.parameter("x", float32, (8,), "in"), loops.parameter("y", float32, (8,), "out")
    i, j = loops.index("i"), loops.index("j")
    value = loops.load(x, i)
    unlisted = loops.loop(i, 8, [loops.store(y, i, value)])
    early = loops.loop(i, 8, [loops.store(y, i, value), value])
    twice = loops.loop(i, 8, [value, value, loops.store(y, i, value)])
    free = loops.store(y, j, constant(1.0, float32))
    stranger = loops.loop(
        i, 8, [loops.store(loops.parameter("z", float32, (8,), "out"), i, constant(1.0, float32))]
    )
    store = loops.store(y, i, constant(1.0, float32))
    again = [
        loops.loop(i, 8, [store]),
        loops.loop(i, 4, [loops.store(y, i, constant(2.0, float32))]),
    ]
    pure = loops.loop(i, 8, [value, unary(Op.EXP, value), loops.store(y, i, value)])
    wrong_name = loops.local("a b", float32)
    graph = loops.loop(i, 8, [loops.store(y, i, X.sum((0, 1)).reshape(()))])
    for body, message in (
        ([unlisted], "used before it is listed"),
        ([early], "used before it is listed"),
        ([twice], "listed twice"),
        ([free], "index of a loop is used outside"),
        ([stranger], "does not list this param"),
        (again, "two loops have one index"),
        ([pure], "cannot be a line"),
        ([wrong_name], "is no name"),
        ([graph], "no operation of kernels"),
        (
            [loops.check(where(B, B, B), "IndexError", "")],
            "no operation of kernels|one scalar or one vector",
        ),
    ):
        with pytest.raises(VerificationError, match=message):
            verify_kernel(loops.kernel("k", [x, y], body))
    with pytest.raises(VerificationError, match="no kernel"):
        verify_kernel(value)
    with pytest.raises(VerificationError, match="first sources are its params"):
        verify_kernel(loops.kernel("k", [store], []))
