"""The test suite of the package onnx, run through lazygrad.

    python -m tests.onnx.backend [--only WORD] [--kinds node,simple,...]     passed of all, and the failures by operator
    python -m tests.onnx.backend --page docs/onnx.md                         and writes that into the page, between its marks

In: the cases that onnx carries: a model and what it must compute. Out: for each "passed", or what was wrong.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

import lazygrad.onnx

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
SLOW = ("averagepool", "lppool", "maxpool", "attention")
"""Modules whose expected values take onnx seconds to compute."""


def node_cases(modules: Sequence[str] | None = None, without: Sequence[str] = ()) -> list[Any]:
    """The cases of single nodes, of all modules or of those named."""
    from onnx.backend.test.case import node

    for _, name, _ in pkgutil.iter_modules(node.__path__):
        if (modules is None or name in modules) and name not in without:
            if name != "ai_onnx_ml":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    importlib.import_module(f"{node.__name__}.{name}")
    return list(node._NodeTestCases)


def model_cases(kind: str) -> list[Any]:
    """The cases of whole models that onnx carries as files."""
    from onnx.backend.test.loader import load_model_tests

    found: list[Any] = load_model_tests(kind=kind)
    return found


def model_of(case: Any) -> ModelProto:
    """The model of a case, in memory or beside it."""
    if case.model is not None:
        model: ModelProto = case.model
        return model
    if case.model_dir is not None:
        return onnx.load(str(Path(case.model_dir) / "model.onnx"))
    # "light" models, whose weights are left out: their folder stands in the package
    return onnx.load(str(Path(onnx.__file__).parent.parent / case.url))


def read_value(data: bytes, type_proto: Any) -> Any:
    """One input or output as it is stored beside a model."""
    if type_proto.WhichOneof("value") == "sequence_type":
        sequence = onnx.SequenceProto.FromString(data)
        return numpy_helper.to_list(sequence)
    if type_proto.WhichOneof("value") == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(TensorProto.FromString(data))


def data_of(case: Any, model: ModelProto) -> Iterator[tuple[list[Any], list[Any]]]:
    """(inputs, outputs) in the model's order."""
    if case.data_sets is not None:
        yield from case.data_sets
        return
    if case.model_dir is None:
        yield light_data(case, model)
        return
    for sets in sorted(Path(case.model_dir).glob("test_data_set_*")):
        values = []
        for what, infos in (("input", model.graph.input), ("output", model.graph.output)):
            files = [sets / f"{what}_{place}.pb" for place in range(len(infos))]
            values.append(
                [
                    read_value(file.read_bytes(), info.type)
                    for file, info in zip(files, infos)
                    if file.exists()
                ]
            )
        yield values[0], values[1]


def light_data(case: Any, model: ModelProto) -> tuple[list[Any], list[Any]]:
    """Of a "light" model, whose output stands beside it and whose input is made as onnx makes it."""
    from onnx.backend.test.runner import Runner

    constants = {initializer.name for initializer in model.graph.initializer}
    inputs = [
        Runner.generate_dummy_data(info, seed=0, name=case.model_name, random=False)
        for info in model.graph.input
        if info.name not in constants
    ]
    file = Path(onnx.__file__).parent.parent / case.url.replace(".onnx", "_output_0.pb")
    return inputs, [read_value(file.read_bytes(), model.graph.output[0].type)]


def as_given(value: Any) -> Any:
    """A value of a case as lazygrad takes it."""
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return [as_given(item) for item in value] if isinstance(value, list) else value


def run(case: Any) -> str:
    """ "passed", or one line that says what is wrong."""
    try:
        proto = model_of(case)
        model = lazygrad.onnx.load(proto)
        for given, expected in data_of(case, proto):
            inputs = dict(zip(model.inputs, map(as_given, given)))
            results = model(inputs)
            for name, wanted in zip(model.outputs, expected):
                difference = compare(results[name], as_given(wanted), case)
                if difference:
                    return f"{name}: {difference}"
    except Exception as error:
        return f"{type(error).__name__}: {error}".split("\n")[0][:200]
    return "passed"


def compare(result: Any, expected: Any, case: Any) -> str:
    """What differs, or nothing."""
    if isinstance(expected, list):
        if not isinstance(result, list) or len(result) != len(expected):
            return "another number of values"
        return "; ".join(filter(None, (compare(*pair, case) for pair in zip(result, expected))))
    if expected is None or result is None:
        return "" if expected is result else "absent"
    expected = np.asarray(expected)
    if result.shape != expected.shape:
        return f"shape {result.shape}, expected {expected.shape}"
    if result.dtype != expected.dtype:
        return f"dtype {result.dtype}, expected {expected.dtype}"
    if case.name.removesuffix("_expanded") in RANDOM:
        return ""
    if expected.dtype == object:
        return "" if (result == expected).all() else f"{result}, expected {expected}"
    wide = [np.asarray(value, np.float64) for value in (result, expected)]
    rtol = max(case.rtol, UNITS.get(result.dtype.name, 0.0))
    if not np.allclose(wide[0], wide[1], rtol=rtol, atol=max(case.atol, 1e-6), equal_nan=True):
        with np.errstate(all="ignore"):
            return f"differs by {np.nanmax(np.abs(wide[0] - wide[1])):.3g}"
    return ""


UNITS = {"bfloat16": 2**-6, "float16": 2**-9}
"""How far numbers of the half types may differ at least: two units in the last place."""
RANDOM = {
    "test_bernoulli",
    "test_bernoulli_double",
    "test_bernoulli_seed",
    "test_training_dropout",
    "test_training_dropout_default",
    "test_training_dropout_default_mask",
    "test_training_dropout_mask",
}
"""Cases of random numbers, of which shape and dtype are compared."""


def operator_of(case: Any) -> str:
    """What a failure is listed under: the operator of a case of one node, or its kind."""
    if case.kind != "node" or case.model is None:
        return str(case.kind)
    expanded = "_expanded" in case.name
    return f"{case.model.graph.node[0].op_type}{' and others' if expanded else ''}"


BEGIN, END = "<!-- suite: begin -->", "<!-- suite: end -->"


def section(counts: dict[str, tuple[int, int]], failures: dict[str, list[str]]) -> str:
    """What the page says: how many cases of each kind pass, and of each operator that fails how many, and why the first does."""
    lines = ["| cases | pass | of |", "|---|---|---|"]
    lines += [f"| {kind} | {passed} | {total} |" for kind, (passed, total) in counts.items()]
    lines += ["", "| what fails | cases | why |", "|---|---|---|"]
    for name, found in sorted(failures.items()):
        why = found[0].partition(": ")[2].replace("|", "\\|")
        lines.append(f"| {name} | {len(found)} | {why} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--only", default="", help="cases whose name has this word")
    parser.add_argument("--without-slow", action="store_true")
    parser.add_argument("--page", type=Path, help="write the outcome into this page")
    arguments = parser.parse_args()
    failures: dict[str, list[str]] = defaultdict(list)
    counts: dict[str, tuple[int, int]] = {}
    for kind in arguments.kinds.split(","):
        cases = (
            node_cases(without=SLOW if arguments.without_slow else ())
            if kind == "node"
            else model_cases(kind)
        )
        cases = [case for case in cases if arguments.only in case.name]
        passed, start = 0, time.perf_counter()
        for case in cases:
            outcome = run(case)
            passed += outcome == "passed"
            if outcome != "passed":
                failures[operator_of(case)].append(f"{case.name}: {outcome}")
        counts[kind] = passed, len(cases)
        print(f"{kind}: {passed}/{len(cases)} in {time.perf_counter() - start:.0f} s", flush=True)
    for name, lines in sorted(failures.items()):
        print(f"{name}: {len(lines)}")
        for line in lines:
            print(f"    {line}")
    if arguments.page is not None:
        before, _, rest = arguments.page.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        text = f"{before}{BEGIN}\n{section(counts, failures)}\n{END}{after}"
        arguments.page.write_text(text)


if __name__ == "__main__":
    main()
