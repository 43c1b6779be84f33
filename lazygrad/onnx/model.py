"""`load`: an ONNX model as a callable from named arrays to named arrays.

In: a path, bytes, or a ModelProto. Out: a `Model`. Functions of the model are inlined, and so are operators that the table has no
function for but the standard defines by others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TypeProto, ValueInfoProto

from ..autograd.grad_mode import no_grad
from ..ir.dtype import DType
from ..reading import realize
from ..tensor import Tensor
from .elements import array_from, dtype_of, numpy_dtype, stored
from .held import TEXT, Held, held_type
from .program import Builder, Program, check_opsets, unsupported
from .replay import REPLAY_LIMIT, Replay, decisions, leaf_of, watched
from .table import OLDEST, OPERATORS


@dataclass(frozen=True, slots=True)
class Info:
    """An input or output.

    `shape` has a number, a name or None (unknown) for each axis, and is None if nothing is known of it. Of elements that tensors do not
    have, `dtype` is what holds them (None for text), and `held` says what they are.
    """

    name: str
    dtype: DType | None
    shape: tuple[int | str | None, ...] | None
    kind: str = "tensor"
    held: Held | None = None

    @property
    def element(self) -> str:
        """The name of the element type."""
        return str(self.dtype) if self.held is None else self.held.name.lower()


class Model:
    """A loaded model. `inputs` and `outputs` map names to `Info`; calling it computes the outputs."""

    def __init__(self, program: Program, inputs: dict[str, Info], outputs: dict[str, Info]) -> None:
        self.program = program
        self.inputs = inputs
        self.outputs = outputs
        self.replays: dict[Any, Replay | None] = {}
        """By the dtypes and shapes of the inputs; None where what is computed depends on values."""

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the outputs of the model.

        Args:
            inputs: for each name of `inputs` a numpy array (or a Tensor, a list of such for a sequence, None for an optional
                input), of the dtype and rank that the model says.

        Returns: for each name of `outputs` a numpy array, a list of such for a sequence, None for an absent optional.

        Raises:
            ValueError: names, ranks or sizes are not those of the model.
            TypeError: a dtype is not that of the model.
        """
        missing = [name for name in self.inputs if name not in inputs]
        extra = [name for name in inputs if name not in self.inputs]
        if missing or extra:
            named = ", ".join(self.inputs)
            raise ValueError(
                f"the model's inputs are {named}; missing: {', '.join(missing) or 'none'}, unknown: {', '.join(extra) or 'none'}"
            )
        with no_grad():
            given = [entering(inputs[name], info) for name, info in self.inputs.items()]
            results = self.results(given)
            kinds = self.program.held
            return {name: leaving(*pair) for name, *pair in zip(self.outputs, results, kinds)}

    def results(self, given: list[Any]) -> list[Any]:
        """The values of the outputs: by the plan of an earlier call with inputs of the same shapes if there is one."""
        leaves = [leaf for leaf in map(leaf_of, given) if leaf is not None]
        if watched() or len(leaves) != len(given):
            return computed(self.program.run(given))
        signature = tuple((leaf.dtype, leaf.shape, leaf.place) for leaf in leaves)
        if signature in self.replays:
            replay = self.replays[signature]
            return computed(self.program.run(given)) if replay is None else replay.run(leaves)
        before = decisions()
        results = self.program.run(given)
        if len(self.replays) >= REPLAY_LIMIT:
            self.replays.pop(next(iter(self.replays)))
        self.replays[signature] = None
        if decisions() == before and all(isinstance(value, Tensor) for value in results):
            whole = [value.clone() if value._view is not None else value for value in results]
            nodes = [value.storage.current() for value in whole]
            if len({id(node) for node in nodes if node.value is None}) == len(nodes):
                self.replays[signature] = Replay(leaves, nodes)
                return whole
        return computed(results)

    def __repr__(self) -> str:
        def text(infos: dict[str, Info]) -> str:
            return ", ".join(f"{info.name}: {info.element} {info.shape}" for info in infos.values())

        return f"Model({text(self.inputs)} -> {text(self.outputs)})"


def computed(values: list[Any]) -> list[Any]:
    """The same values, all tensors among them computed by one plan."""
    realize([value for value in values if isinstance(value, (Tensor, list))])
    return values


def entering(value: Any, info: Info) -> Any:
    """An input as a value of the program, checked against what the model says of it."""
    if value is None or info.kind != "tensor":
        if isinstance(value, (list, tuple)):
            element = Info(info.name, info.dtype, None, held=info.held)
            return [entering(item, element) for item in value]
        if info.kind == "optional" and value is not None:
            return entering(value, Info(info.name, info.dtype, None, held=info.held))
        if value is not None or info.kind == "tensor":
            raise TypeError(
                f"input {info.name!r}: expected a {info.kind}, got {type(value).__name__}"
            )
        return None
    given = value if isinstance(value, Tensor) else np.asarray(value)
    if info.held is not None and not isinstance(given, Tensor):
        fits = given.dtype.kind in "OUT" if info.held is TEXT else given.dtype == info.held.array
        if not fits:
            raise TypeError(f"input {info.name!r}: expected {info.element}, got {given.dtype}")
        given = info.held.hold(given)
    elif info.dtype is not None:
        wanted = info.dtype if isinstance(given, Tensor) else numpy_dtype(info.dtype)
        if given.dtype != wanted:
            raise TypeError(f"input {info.name!r}: expected {wanted}, got {given.dtype}")
    shape = tuple(given.shape)
    if info.shape is not None:
        fits = len(shape) == len(info.shape) and all(
            not isinstance(size, int) or size == real for size, real in zip(info.shape, shape)
        )
        if not fits:
            raise ValueError(f"input {info.name!r}: expected the shape {info.shape}, got {shape}")
    return given if isinstance(given, Tensor) or info.held is TEXT else stored(given)


def leaving(value: Any, held: Held | None) -> Any:
    """A value of the program as the caller gets it: arrays of memory of its own."""
    if isinstance(value, list):
        return [leaving(item, held) for item in value]
    array = array_from(value) if isinstance(value, Tensor) else value
    return array if held is None or array is None else array.astype(held.array)


def load(source: str | os.PathLike[str] | bytes | ModelProto) -> Model:
    """Load an ONNX model: `model({"x": array})["y"]`.

    Args:
        source: a path (external data is read from beside it), the bytes of a model, or a ModelProto.

    Returns: a `Model`, a callable from a dict of numpy arrays to a dict of numpy arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not an ONNX model, or an inconsistent one.
        NotImplementedError: an operator, an attribute, an element type or an operator set that is not supported; the message
            names the node, the operator, its domain and the version.

    Operator sets 7 to 28 of ai.onnx; docs/onnx.md lists the operators. Inputs that have an initializer are constants.
    """
    proto = parse(source)
    opsets = opsets_of(proto)
    if opsets.get("", OLDEST) < OLDEST:
        proto = converted(proto)
        opsets = opsets_of(proto)
    check_opsets(opsets)
    proto = inlined(proto, opsets)
    opsets = opsets_of(proto)
    check_opsets(opsets)
    missing = unsupported(proto.graph, opsets)
    if missing:
        named = "; ".join(f"{label} (version {version})" for label, _, version in missing[:8])
        more = f"; and {len(missing) - 8} more nodes" if len(missing) > 8 else ""
        raise NotImplementedError(f"operators that are not supported: {named}{more}")
    with no_grad():
        program = Builder("the graph", opsets).build(proto.graph)
    values = {info.name: info for info in proto.graph.input}
    inputs = {name: described(values[name]) for name in program.input_names}
    return Model(program, inputs, {info.name: info for info in outputs_of(proto)})


def parse(source: Any) -> ModelProto:
    """Read the source as a ModelProto."""
    if isinstance(source, ModelProto):
        return source
    try:
        proto = (
            onnx.load_from_string(source)
            if isinstance(source, bytes)
            else onnx.load(os.fspath(source))
        )
    except DecodeError as error:
        raise ValueError(f"not an ONNX model: {error}") from None
    if not proto.opset_import:
        raise ValueError("not an ONNX model: it names no operator set")
    return proto


def converted(proto: ModelProto) -> ModelProto:
    """A model of an older operator set in the oldest that the functions know."""
    from onnx import version_converter

    try:
        return version_converter.convert_version(proto, OLDEST)
    except RuntimeError as error:
        raise NotImplementedError(
            f"the model's operator set is older than {OLDEST}, and onnx cannot convert it: {error}"
        ) from None


def opsets_of(proto: ModelProto) -> dict[str, int]:
    """The versions of the operator sets that a model asks for, by domain."""
    return {
        "" if entry.domain == "ai.onnx" else entry.domain: entry.version
        for entry in proto.opset_import
    }


def inlined(proto: ModelProto, opsets: dict[str, int]) -> ModelProto:
    """The model without functions of its own, and without operators that only the standard's functions define."""
    if proto.functions:
        from onnx import inliner

        proto = inliner.inline_local_functions(proto)
    missing = unsupported(proto.graph, opsets)
    defined = sorted(
        {
            (node.domain, node.op_type)
            for _, node, version in missing
            if has_function(node.domain, node.op_type, version)
        }
    )
    if not defined:
        return proto
    from onnx import inliner

    try:
        # some of the functions differ by the types of a node's inputs
        typed = onnx.shape_inference.infer_shapes(proto)
        return inliner.inline_selected_functions(typed, defined, inline_schema_functions=True)
    except RuntimeError as error:
        named = "; ".join(f"{label} (version {version})" for label, _, version in missing[:8])
        raise NotImplementedError(
            f"operators that the standard defines by others, which onnx fails to inline here: {named}"
        ) from error


def has_function(domain: str, name: str, version: int) -> bool:
    """Whether the standard defines an operator by a function of others."""
    try:
        schema = onnx.defs.get_schema(name, version, "" if domain == "ai.onnx" else domain)
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def outputs_of(proto: ModelProto) -> list[Info]:
    """What is known of the outputs; where the model says nothing, what onnx infers."""
    infos = [described(info) for info in proto.graph.output]
    if all(info.shape is not None or info.kind != "tensor" for info in infos):
        return infos
    inferred = {
        info.name: described(info) for info in onnx.shape_inference.infer_shapes(proto).graph.output
    }
    return [inferred.get(info.name, info) for info in infos]


def described(value: ValueInfoProto) -> Info:
    """A ValueInfoProto as an Info."""
    kind = value.type.WhichOneof("value") or "tensor_type"
    element: TypeProto = value.type
    while element.WhichOneof("value") in ("sequence_type", "optional_type"):
        inside = element.WhichOneof("value")
        element = getattr(element, str(inside)).elem_type
    tensor = element.tensor_type
    dtype, held = None, held_type(value.type)
    if tensor.elem_type and held is not TEXT:
        try:
            dtype = dtype_of(tensor.elem_type)
        except NotImplementedError as error:
            raise NotImplementedError(f"{value.name!r}: {error}") from None
    shape: tuple[int | str | None, ...] | None = None
    if kind == "tensor_type" and tensor.HasField("shape"):
        shape = tuple(
            axis.dim_value
            if axis.HasField("dim_value") and axis.dim_value >= 0
            else axis.dim_param or None
            for axis in tensor.shape.dim
        )
    return Info(value.name, dtype, shape, kind.removesuffix("_type"), held)


def operators() -> list[tuple[str, str, list[int]]]:
    """(domain, name, versions since which there is a function) of every operator that is supported."""
    return [
        (domain or "ai.onnx", name, [entry.since for entry in versions])
        for (domain, name), versions in sorted(OPERATORS.items())
    ]
