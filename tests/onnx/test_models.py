"""Loading and calling models: names, shapes, errors, what is known without running, control flow, functions, plans of later calls."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import lazygrad as lg  # noqa: E402
import lazygrad.onnx  # noqa: E402
from lazygrad.onnx.__main__ import written  # noqa: E402
from lazygrad.onnx.replay import decisions  # noqa: E402


def model(body: str, signature: str, version: int = 17, functions: str = "", more: str = "") -> Any:
    """A model from onnx's text form."""
    domains = f'"" : {version}' + more
    text = f"""<ir_version: 8, opset_import: [{domains}]> g {signature} {{ {body} }} {functions}"""
    return onnx.parser.parse_model(text)


def array(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


LINEAR = model("y = MatMul(x, w)  z = Relu(y)", "(float[n, 3] x, float[3, 2] w) => (float[n, 2] z)")


def test_inputs_outputs_and_sources(tmp_path: Path) -> None:
    path = tmp_path / "linear.onnx"
    onnx.save(LINEAR, path)
    x, w = array(4, 3), array(3, 2)
    for source in (LINEAR, LINEAR.SerializeToString(), path, str(path)):
        loaded = lg.onnx.load(source)
        assert [info.shape for info in loaded.inputs.values()] == [("n", 3), (3, 2)]
        assert loaded.outputs["z"].dtype is lg.float32 and loaded.outputs["z"].shape == ("n", 2)
        np.testing.assert_allclose(loaded({"x": x, "w": w})["z"], np.maximum(x @ w, 0), 1e-6)
    given = {"x": lg.tensor(x), "w": lg.tensor(w).T.contiguous().T}
    np.testing.assert_allclose(loaded(given)["z"], np.maximum(x @ w, 0), 1e-6)


def test_weights_beside_the_file(tmp_path: Path) -> None:
    proto = model("y = Add(x, w)", "(float[2000] x) => (float[2000] y)")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(array(2000), "w"))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    np.testing.assert_allclose(
        lg.onnx.load(tmp_path / "m.onnx")({"x": array(2000)})["y"], 2 * array(2000)
    )


def test_errors_of_calls() -> None:
    loaded = lg.onnx.load(LINEAR)
    x, w = array(4, 3), array(3, 2)
    with pytest.raises(ValueError, match="missing: w, unknown: v"):
        loaded({"x": x, "v": w})
    with pytest.raises(TypeError, match=r"input 'x': expected float32, got float64"):
        loaded({"x": x.astype(float), "w": w})
    with pytest.raises(ValueError, match=r"input 'w': expected the shape \(3, 2\), got \(2, 3\)"):
        loaded({"x": x, "w": w.T})


def test_errors_of_loading(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lg.onnx.load(tmp_path / "no.onnx")
    with pytest.raises(ValueError, match="not an ONNX model"):
        lg.onnx.load(b"no model \xff at all")
    unknown = model(
        "y = Relu(x)  z = other.Unheard(y)",
        "(float[n] x) => (float[n] z)", more=', "other" : 3',
    )  # fmt: skip
    unknown.graph.node[1].name = "bad"
    with pytest.raises(
        NotImplementedError, match=r"node 'bad'.*operator other\.Unheard \(version 3\)"
    ):
        lg.onnx.load(unknown)
    with pytest.raises(NotImplementedError, match=r"operator ai\.onnx\.Tile: text"):
        lg.onnx.load(model("y = Tile(x, n)", "(string[n] x, int64[1] n) => (string[m] y)", 13))
    with pytest.raises(NotImplementedError, match="version 99 of the operator set"):
        lg.onnx.load(model("y = Relu(x)", "(float[n] x) => (float[n] y)", 99))
    with pytest.raises(NotImplementedError, match=r"operator ai\.onnx\.Cast: tensors of COMPLEX64"):
        lg.onnx.load(model("y = Cast<to = 14>(x)", "(float[n] x) => (float[n] y)", 19))
    with pytest.raises(NotImplementedError, match="attribute 'other' is not supported"):
        lg.onnx.load(model("y = Relu<other = 1>(x)", "(float[n] x) => (float[n] y)"))
    with pytest.raises(ValueError, match="reads 'v', which nothing before it computes"):
        lg.onnx.load(model("y = Add(x, v)", "(float[n] x) => (float[n] y)"))


def test_an_error_of_a_run_names_the_node() -> None:
    loaded = lg.onnx.load(model("y = Add(x, w)", "(float[n] x, float[m] w) => (float[k] y)"))
    with pytest.raises(RuntimeError, match="size of tensor") as caught:
        loaded({"x": array(2), "w": array(3)})
    assert any("operator ai.onnx.Add" in note for note in caught.value.__notes__)


def test_shapes_are_known_without_a_run() -> None:
    """Flatten as exporters write it, and a size that goes through floats."""
    proto = model(
        """
        axes = Constant<value = int64[1] {0}>()  zero = Constant<value = int64 {0}>()  half = Constant<value = float {0.5}>()
        s = Shape(x)  n = Gather(s, zero)  first = Unsqueeze(n, axes)  rest = Constant<value = int64[1] {-1}>()
        wanted = Concat<axis = 0>(first, rest)  flat = Reshape(x, wanted)
        wide = Cast<to = 1>(n)  less = Mul(wide, half)  down = Floor(less)  count = Cast<to = 7>(down)
        end = Unsqueeze(count, axes)  y = Slice(flat, axes, end)
        """,
        "(float[a, b, c] x) => (float[d, e] y, int64[1] end)",
    )
    loaded = lg.onnx.load(proto)
    before = decisions()
    tensor, end = loaded.program.run([lg.tensor(array(5, 2, 3))])
    assert decisions() == before and isinstance(end, np.ndarray) and end.tolist() == [2]
    assert tuple(tensor.shape) == (2, 6)
    np.testing.assert_array_equal(
        loaded({"x": array(5, 2, 3)})["y"], array(5, 2, 3).reshape(5, -1)[:2]
    )


def test_later_calls_take_the_plan_of_the_first() -> None:
    """Other values, other shapes, results that stay as they are, inputs that are outputs."""
    proto = model(
        "y = Exp(x)  t = Transpose(y)  same = Identity(w)",
        "(float[n, m] x, float[k] w) => (float[m, n] t, float[n, m] y, float[k] same)",
    )
    loaded = lg.onnx.load(proto)
    kept: list[Any] = []
    for shape in ((2, 3), (2, 3), (4, 1), (2, 3), (4, 1)):
        x, w = array(*shape) + len(kept), array(2) + len(kept)
        kept.append((x, w, loaded({"x": x, "w": w})))
    for x, w, found in kept:
        np.testing.assert_allclose(found["t"], np.exp(x).T, 1e-6)
        np.testing.assert_allclose(found["y"], np.exp(x), 1e-6)
        np.testing.assert_array_equal(found["same"], w)
    replayed = lg.onnx.load(model("y = Exp(x)", "(float[n] x) => (float[n] y)"))
    results = [replayed({"x": array(5) + shift})["y"] for shift in range(4)]
    assert all(value is not None for value in replayed.replays.values())
    for shift, result in enumerate(results):
        np.testing.assert_allclose(result, np.exp(array(5) + np.float32(shift)), 1e-6)


def test_what_depends_on_values_is_decided_by_each_call() -> None:
    proto = model(
        "i = NonZero(x)  y = Reshape(x, s)  k, j = TopK(x, n)",
        "(float[a] x, int64[b] s, int64[1] n) => (int64[1, c] i, float[d, e] y, float[f] k)",
    )
    loaded = lg.onnx.load(proto)
    for sizes, values in (([2, 3], [1, 0, 2, 0, 0, 3]), ([3, 2], [0, 4, 0, 0, 0, 0])):
        x = np.array(values, np.float32)
        found = loaded({"x": x, "s": np.array(sizes), "n": np.array([sizes[0]])})
        np.testing.assert_array_equal(found["i"], [np.flatnonzero(x)])
        np.testing.assert_array_equal(found["y"], x.reshape(sizes))
        np.testing.assert_array_equal(found["k"], np.sort(x)[::-1][: sizes[0]])


def test_control_flow_reads_from_outside() -> None:
    """A Loop with an If in it, both of which read the names of the graphs around them; and a Scan."""
    proto = model(
        """
        more = Constant<value = bool {1}>()
        y, steps = Loop(n, more, x) <body = step (int64 i, bool go, float[k] v) => (bool again, float[k] out, float[1] seen) {
            limit = Constant<value = float[1] {100.0}>()
            total = ReduceSum<keepdims = 1>(v)  small = Less(total, limit)  again = Squeeze(small)
            out = If(again) <then_branch = bigger () => (float[k] a) { a = Add(v, w) },
                             else_branch = same () => (float[k] b) { b = Identity(v) }>
            seen = Identity(total)
        }>
        last, sums = Scan<num_scan_inputs = 1, body = add (float[k] state, float[k] row) => (float[k] next, float[k] copy) {
            next = Add(state, row)  copy = Mul(next, w)
        }>(x, rows)
        """,
        "(float[k] x, float[k] w, int64 n, float[m, k] rows) => (float[k] y, float[p, 1] steps, float[k] last, float[m, k] sums)",
    )
    x, w, rows = np.ones(3, np.float32), np.full(3, 10, np.float32), array(4, 3)
    found = lg.onnx.load(proto)({"x": x, "w": w, "n": np.array(9), "rows": rows})
    expected = x.copy()
    seen = []
    for _ in range(9):
        seen.append([expected.sum()])
        if expected.sum() >= 100:
            break
        expected = expected + w
    np.testing.assert_allclose(found["y"], expected)
    np.testing.assert_allclose(found["steps"], seen)
    np.testing.assert_allclose(found["sums"], (x + rows.cumsum(0)) * w, 1e-5, 1e-5)


def test_functions_are_inlined() -> None:
    proto = model(
        "y = own.scaled<by = 3.0>(x)", "(float[n] x) => (float[n] y)", more=', "own" : 1',
        functions="""
        <opset_import: ["" : 17, "own" : 1], domain: "own"> scaled <by> (a) => (c) {
            factor = Constant<value_float: float = @by>()  b = Mul(a, factor)  c = own.twice(b)
        }
        <opset_import: ["" : 17], domain: "own"> twice (a) => (b) { b = Add(a, a) }
        """,
    )  # fmt: skip
    np.testing.assert_allclose(lg.onnx.load(proto)({"x": array(4)})["y"], 6 * array(4), 1e-6)


def test_constants_are_computed_once() -> None:
    """Weights that are stored as integers are floats before the first call."""
    proto = model(
        """
        q = Constant<value = int8[2, 2] {1, 2, 3, 4}>()  s = Constant<value = float {0.5}>()  w = DequantizeLinear(q, s)
        y = MatMul(x, w)
        """,
        "(float[n, 2] x) => (float[n, 2] y)",
    )
    loaded = lg.onnx.load(proto)
    assert [step.label.rpartition(" ")[2] for step in loaded.program.steps] == ["ai.onnx.MatMul"]
    x = array(3, 2)
    np.testing.assert_allclose(loaded({"x": x})["y"], x @ [[0.5, 1], [1.5, 2]], 1e-6)


def test_long_chains() -> None:
    """20,000 nodes build, load, run and compute under a low recursion limit."""
    count = 20_000
    nodes = [onnx.helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    infos = [onnx.helper.make_tensor_value_info(name, 1, [3]) for name in ("v0", f"v{count}")]
    graph = onnx.helper.make_graph(nodes, "chain", infos[:1], infos[1:])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(200)
        found = lg.onnx.load(proto)({"v0": array(3)})
    finally:
        sys.setrecursionlimit(limit)
    np.testing.assert_array_equal(found[f"v{count}"], array(3))


def test_the_page_lists_the_operators() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "onnx.md"
    assert written(page.read_text()) == page.read_text(), "run python -m lazygrad.onnx"


def test_text_and_numbers_that_are_held() -> None:
    """Through control flow and constants too; integers wrap around as those of their own width."""
    proto = model(
        """
        z = StringNormalizer<case_change_action = "UPPER", stopwords = ["b"]>(t)  one = Constant<value_string = "A">()
        same = Equal(z, one)  n = Cast<to = 6>(same)
        w = Loop(count, , u) <body = step (int64 i, bool go, uint16[k] v) => (bool more, uint16[k] out) {
            more = Identity(go)  out = Add(v, u)
        }>
        f = Cast<to = 20>(x)  r = Reshape(f, shape)
        """,
        "(string[n] t, uint16[k] u, int64 count, float[m] x, int64[2] shape) => (string[p] z, int32[p] n, uint16[k] w, float8e5m2fnuz[a, b] r)",
        21,
    )
    loaded = lg.onnx.load(proto)
    assert "u: uint16 ('k',)" in repr(loaded) and loaded.inputs["t"].dtype is None
    u, x = np.array([40_000, 7], np.uint16), np.array([1.06, -1e9, -1e-9, 5e-6], np.float32)
    given = {"t": np.array(["a", "b", "c"]), "u": u, "count": np.array(2), "x": x}
    found = loaded({**given, "shape": np.array([2, 2])})
    assert found["z"].tolist() == ["A", "C"] and found["n"].tolist() == [1, 0]
    assert found["w"].dtype == np.uint16 and found["w"].tolist() == [3 * 40_000 % 65_536, 21]
    assert found["r"].dtype.name == "float8_e5m2fnuz"
    assert found["r"].astype(np.float32).tolist() == [[1.0, -57344.0], [0.0, 2.0**-17]]
    with pytest.raises(TypeError, match="input 'u': expected uint16, got int32"):
        loaded({**given, "u": u.astype(np.int32), "shape": np.array([2, 2])})


def test_sequences_and_optional_values() -> None:
    proto = model(
        """
        s = SequenceConstruct(x, w)  two = Constant<value = int64 {-1}>()  last = SequenceAt(s, two)
        all = ConcatFromSequence<axis = 0>(s)  count = SequenceLength(s)  more = SequenceInsert(s, x)
        """,
        "(float[n] x, float[m] w) => (float[m] last, float[k] all, int64 count, seq(float[k]) more)",
    )
    x, w = array(2), array(3)
    found = lg.onnx.load(proto)({"x": x, "w": w})
    np.testing.assert_array_equal(found["all"], np.concatenate([x, w]))
    assert found["count"] == 2 and len(found["more"]) == 3
    np.testing.assert_array_equal(found["last"], w)
