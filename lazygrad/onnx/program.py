"""Graphs of ONNX as flat programs: a list of steps over numbered slots, and the loop that runs them.

In: a GraphProto. Out: a `Program`; `run` takes values of its inputs and returns those of its outputs, tensors that are not
computed yet. What depends on constants only is computed once, while the program is built; what is known without running
anything (shapes, and numbers made of them) stays a numpy array and is computed on the host. Bodies of control flow are programs
too, and get the values that they read from outside as further inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from ..ir.dtype import DType
from ..reading import realize
from ..tensor import Tensor
from .elements import Array, array_from, array_of, dense_array_of, dtype_of, tensor_of
from .folding import FOLDED
from .held import HELD, TEXT, Held, Integer, held_outputs, held_type
from .table import NEWEST, OLDEST, PREPARED, Operator, find

Value = Any
"""A Tensor, a known numpy array, a list of values (a sequence), or None (absent)."""
KNOWN_SIZE = 1024
"""Arrays of at most so many elements are kept as known numbers."""


class Step:
    """One node: what to call, with what, where the results go, and which slots nobody reads afterwards."""

    __slots__ = ("bodies", "call", "fold", "inputs", "kinds", "label", "outputs", "release", "text")

    def __init__(self, label: str, call: Any, fold: Any) -> None:
        self.label = label
        self.call = call
        self.fold = fold
        self.inputs: tuple[int, ...] = ()
        self.kinds: tuple[str, ...] = ()
        self.outputs: tuple[int, ...] = ()
        self.release: tuple[int, ...] = ()
        self.text = False  # it reads or makes text, so it is computed on the host
        self.bodies: tuple[tuple[str, Program, tuple[int, ...]], ...] = ()


class Program:
    """The steps of a graph. `captured` are the names that it reads from the graph around it; their values come first in `run`."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.steps: list[Step] = []
        self.size = 1  # slot 0 is the absent value
        self.constants: dict[int, Value] = {}
        self.tensors: dict[int, Tensor] = {}
        self.captured: list[str] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.input_names: list[str] = []
        self.held: list[Held | None] = []  # for each output

    def run(self, values: Sequence[Value]) -> list[Value]:
        """The values of the outputs, given those of `inputs` (captured ones first), none of them computed yet if it can be put off."""
        slots: list[Value] = [None] * self.size
        for slot, value in self.constants.items():
            slots[slot] = value
        for slot, value in zip(self.inputs, values):
            slots[slot] = value
        for step in self.steps:
            try:
                self.execute(step, slots)
            except Exception as error:
                error.add_note(f"in {step.label}")
                raise
        return [slots[slot] for slot in self.outputs]

    def execute(self, step: Step, slots: dict[int, Value] | list[Value]) -> None:
        """Run one step: on the host if all that it reads is known there."""
        given = [slots[slot] for slot in step.inputs]
        if step.text:
            given = [array_from(value) if isinstance(value, Tensor) else value for value in given]
        if step.fold is not None and all(value is None or known(value) for value in given):
            results = step.fold(*given)
        else:
            for position, kind in enumerate(step.kinds):
                value = given[position]
                if kind == "Tensor" and isinstance(value, np.ndarray):
                    given[position] = self.tensor(step.inputs[position], value)
                elif kind == "Array" and isinstance(value, Tensor):
                    given[position] = array_from(value)
            bodies = {
                name: Body(body, [slots[slot] for slot in outside])
                for name, body, outside in step.bodies
            }
            results = step.call(*given, **bodies)
        if not isinstance(results, tuple):
            results = (results,)
        for slot, result in zip(step.outputs, results):
            slots[slot] = result
        slots[0] = None
        for slot in step.release:
            slots[slot] = None

    def tensor(self, slot: int, array: Array) -> Tensor:
        """A known array as a tensor; that of a constant is made once."""
        if slot not in self.constants:
            return tensor_of(array)
        made = self.tensors.get(slot)
        if made is None:
            made = self.tensors[slot] = tensor_of(array)
        return made


def known(value: Value) -> bool:
    return isinstance(value, np.ndarray) and (value.size <= KNOWN_SIZE or value.dtype == object)


class Body:
    """A program of control flow, with the values that it reads from outside."""

    def __init__(self, program: Program, captured: list[Value]) -> None:
        self.program = program
        self.captured = captured

    def __call__(self, *values: Value) -> list[Value]:
        return self.program.run([*self.captured, *values])


class Builder:
    """Makes the program of one graph. `outer` is the builder of the graph around it, whose names are visible here."""

    def __init__(self, label: str, opsets: dict[str, int], outer: Builder | None = None) -> None:
        self.program = Program(label)
        self.opsets = opsets
        self.outer = outer
        self.slots: dict[str, int] = {"": 0}
        self.held: dict[int, Held] = {}
        """The slots whose elements tensors do not have."""

    def build(self, graph: GraphProto) -> Program:
        """Read a graph.

        Raises:
            NotImplementedError: an operator, an attribute or an element type that is not supported, with the node's name.
            ValueError: a node reads a name that nothing before it computes.
        """
        program = self.program
        for initializer in graph.initializer:
            value = self.read(initializer, f"initializer {initializer.name!r}")
            self.mark(self.constant(initializer.name, value), HELD.get(initializer.data_type))
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            self.constant(name, self.read(sparse, f"initializer {name!r}"))
        for info in graph.input:
            if info.name not in self.slots:
                program.inputs.append(self.slot(info.name))
                program.input_names.append(info.name)
                self.mark(program.inputs[-1], held_type(info.type))
        for position, node in enumerate(graph.node):
            self.add(node, position)
        for info in graph.output:
            program.outputs.append(self.lookup(info.name, "the outputs"))
        program.held = [self.held.get(slot) for slot in program.outputs]
        program.inputs[:0] = [self.slots[name] for name in program.captured]
        self.release()
        return program

    @staticmethod
    def read(proto: Any, label: str) -> Value:
        """A constant: known if it is small, otherwise a tensor."""
        try:
            array = array_of(proto) if isinstance(proto, TensorProto) else dense_array_of(proto)
            return array if known(array) else tensor_of(array)
        except NotImplementedError as error:
            raise NotImplementedError(f"{label}: {error}") from None

    def slot(self, name: str) -> int:
        """A new slot for a name."""
        slot = self.program.size
        self.program.size += 1
        if name:
            self.slots[name] = slot
        return slot

    def mark(self, slot: int, held: Held | None) -> None:
        if held is not None and slot:
            self.held[slot] = held

    def constant(self, name: str, value: Value) -> int:
        slot = self.slot(name)
        self.program.constants[slot] = value
        return slot

    def lookup(self, name: str, reader: str) -> int:
        """The slot of a name, which may be one of the graphs around this one."""
        found = self.slots.get(name)
        if found is not None:
            return found
        missing: list[Builder] = []
        builder: Builder | None = self
        while builder is not None and name not in builder.slots:
            missing.append(builder)
            builder = builder.outer
        if builder is None:
            raise ValueError(
                f"{reader} of {self.program.label} reads {name!r}, which nothing before it computes"
            )
        slot = builder.slots[name]
        constant = slot in builder.program.constants
        value = builder.program.constants.get(slot)
        for inner in reversed(missing):
            if constant:
                inner.constant(name, value)
            else:
                inner.slot(name)
                inner.program.captured.append(name)
            inner.mark(inner.slots[name], builder.held.get(slot))
        return self.slots[name]

    def add(self, node: NodeProto, position: int) -> None:
        """Append the step of a node, or compute it if it depends on constants only."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        label = describe(node, position)
        version = self.opsets.get(domain, 1)
        operator = find(domain, node.op_type, version)
        if operator is None:
            raise NotImplementedError(
                f"{label} is not supported (version {version} of its operator set)"
            )
        keywords, bodies = self.attributes(node, operator, label)
        outputs = len(node.output)
        while outputs and not node.output[outputs - 1]:
            outputs -= 1
        given = list(node.input)
        while given and not given[-1]:
            given.pop()
        reads = [self.held.get(self.lookup(name, label)) for name in given]
        if bodies:
            makes = bodies[0][1].held[1 if node.op_type == "Loop" else 0 :]
        else:
            makes = held_outputs(node, domain, version, reads)
        special = {"outputs": outputs, "held": makes[0] if makes else None}
        keywords.update({name: special[name] for name in operator.special})
        fold = FOLDED.get(node.op_type) if not domain else None
        step = Step(
            label,
            partial(operator.function, **keywords),
            fold and partial(fold, **keywords),
        )
        if len(given) < operator.required:
            raise ValueError(f"{label} has {len(given)} inputs, and needs {operator.required}")
        kinds = [operator.kind(place) for place in range(len(given))]
        if None in kinds:
            raise NotImplementedError(
                f"{label} has {len(given)} inputs, and {kinds.index(None)} are supported"
            )
        step.kinds = tuple(kind or "" for kind in kinds)
        if any((*reads, *makes)) and not bodies:
            self.hold(step, reads, makes, "held" in operator.special)
        step.inputs = tuple(self.lookup(name, label) for name in given)
        step.bodies = tuple(
            (name, body, tuple(self.lookup(captured, label) for captured in body.captured))
            for name, body in bodies
        )
        constants = self.program.constants
        constant = (
            all(not slot or slot in constants for slot in step.inputs) and not operator.random
        )
        step.outputs = tuple(self.slot(name) if name else 0 for name in node.output)
        for slot, held in zip(step.outputs, makes):
            self.mark(slot, held)
        if constant and not step.bodies:
            self.settle(step)
            return
        prepare = PREPARED.get((domain, node.op_type))
        if prepare is not None:
            self.prepare(step, prepare, keywords)
        self.program.steps.append(step)

    @staticmethod
    def hold(
        step: Step, reads: Sequence[Held | None], makes: Sequence[Held | None], own: bool
    ) -> None:
        """A step of elements that tensors do not have: numbers are cut to what they have, unless the function does so on its `own`.

        Raises:
            NotImplementedError: text in an operator that computes on tensors; bits of numbers that are held in wider ones.
        """
        if step.label.endswith(".BitCast"):
            names = ", ".join(held.name for held in (*reads, *makes) if held is not None)
            raise NotImplementedError(f"{step.label}: bits of {names} are not supported")
        step.text = TEXT in (*reads, *makes)
        if step.text:
            tensors = (kind for kind, held in zip(step.kinds, reads) if held is TEXT)
            if step.fold is None and "Tensor" in tensors:
                raise NotImplementedError(f"{step.label}: text is not supported")
            return
        step.fold = None
        if not own and any(isinstance(held, Integer) for held in makes):
            step.call = partial(_cut, step.call, makes)

    def prepare(self, step: Step, prepare: Any, keywords: dict[str, Any]) -> None:
        """Compute of constant inputs, once, what each run would compute again."""
        constants = self.program.constants
        values = [constants.get(slot) for slot in step.inputs]
        tensors = [tensor_of(value) if isinstance(value, np.ndarray) else value for value in values]
        made = prepare(*tensors, **keywords)
        if made is not None:
            step.call, inputs = made
            step.inputs = tuple(
                step.inputs[item] if isinstance(item, int) else self.constant("", settled(item))
                for item in inputs
            )
            step.kinds = ("Tensor",) * len(step.inputs)

    def settle(self, step: Step) -> None:
        """Compute a step whose inputs are constants."""
        slots = {slot: self.program.constants.get(slot) for slot in step.inputs}
        try:
            self.program.execute(step, slots)
            for slot in step.outputs:
                if slot:
                    self.program.constants[slot] = settled(slots[slot])
        except Exception as error:
            error.add_note(f"in {step.label}")
            raise

    def attributes(
        self, node: NodeProto, operator: Operator, label: str
    ) -> tuple[dict[str, Any], list[tuple[str, Program]]]:
        """The attributes of a node as keywords, and the programs of those that are graphs."""
        keywords: dict[str, Any] = {}
        bodies = []
        for attribute in node.attribute:
            if attribute.name not in operator.attributes:
                raise NotImplementedError(f"{label}: attribute {attribute.name!r} is not supported")
            if attribute.type == AttributeProto.GRAPH:
                inner = Builder(f"{attribute.name} of {label}", self.opsets, self)
                bodies.append((attribute.name, inner.build(attribute.g)))
            else:
                value = self.attribute(attribute, label)
                if operator.attributes[attribute.name][1]:
                    value = element_type(value, label)
                keywords[attribute.name] = value
        for name, (required, _) in operator.attributes.items():
            if required and name not in keywords and all(name != body for body, _ in bodies):
                raise ValueError(f"{label} needs the attribute {name!r}")
        return keywords, bodies

    def attribute(self, attribute: AttributeProto, label: str) -> Any:
        """The value of an attribute that is not a graph."""
        kind = attribute.type
        if kind == AttributeProto.INT:
            return int(attribute.i)
        if kind == AttributeProto.FLOAT:
            return float(attribute.f)
        if kind == AttributeProto.STRING:
            return attribute.s.decode()
        if kind == AttributeProto.INTS:
            return tuple(attribute.ints)
        if kind == AttributeProto.FLOATS:
            return tuple(attribute.floats)
        if kind == AttributeProto.STRINGS:
            return tuple(text.decode() for text in attribute.strings)
        if kind == AttributeProto.TENSOR:
            return self.read(attribute.t, label)
        if kind == AttributeProto.SPARSE_TENSOR:
            return self.read(attribute.sparse_tensor, label)
        if kind == AttributeProto.TYPE_PROTO:
            return attribute.tp
        kind_name = AttributeProto.AttributeType.Name(kind)
        raise NotImplementedError(
            f"{label}: attribute {attribute.name!r} of {kind_name} is not supported"
        )

    def release(self) -> None:
        """Tell each step which slots nobody reads after it."""
        kept = {0, *self.program.outputs, *self.program.constants}
        for step in reversed(self.program.steps):
            outside = (slot for _, _, slots in step.bodies for slot in slots)
            read = {*step.inputs, *outside, *step.outputs} - kept
            step.release = tuple(read)
            kept |= read


def _cut(call: Any, makes: Sequence[Held | None], *given: Value) -> Any:
    """What a function gives, cut to what its outputs have."""
    results = call(*given)
    pairs = zip(results if isinstance(results, tuple) else (results,), makes)
    return tuple(
        held.cut(value) if held is not None and isinstance(value, Tensor) else value
        for value, held in pairs
    )


def element_type(number: int, label: str) -> DType | None:
    """An attribute that is an element type; 0 is none, and text has none."""
    try:
        return dtype_of(number) if number and HELD.get(number) is not TEXT else None
    except NotImplementedError as error:
        raise NotImplementedError(f"{label}: {error}") from None


def settled(value: Value) -> Value:
    """A constant as it is kept: a small tensor as known numbers, a larger one computed."""
    if isinstance(value, list):
        return [settled(item) for item in value]
    if isinstance(value, Tensor):
        if value.numel() <= KNOWN_SIZE:
            return array_from(value).copy()
        return realize(value if value._view is None else value.clone())
    if isinstance(value, np.ndarray) and value.size > KNOWN_SIZE:
        return tensor_of(value)
    return value


def describe(node: NodeProto, position: int) -> str:
    """A node as errors name it."""
    name = f"node {node.name!r}" if node.name else f"node number {position}"
    first = f" -> {node.output[0]!r}" if node.output else ""
    return f"{name}{first}: operator {node.domain or 'ai.onnx'}.{node.op_type}"


def unsupported(graph: GraphProto, opsets: dict[str, int]) -> list[tuple[str, NodeProto, int]]:
    """The nodes of a graph, and of the bodies in it, that the table has no function for, with what errors call them."""
    found = []
    pending = [graph]
    while pending:
        current = pending.pop()
        for position, node in enumerate(current.node):
            domain = "" if node.domain == "ai.onnx" else node.domain
            version = opsets.get(domain, 1)
            if find(domain, node.op_type, version) is None:
                found.append((describe(node, position), node, version))
            pending += [item.g for item in node.attribute if item.type == AttributeProto.GRAPH]
    return found


def check_opsets(opsets: dict[str, int]) -> None:
    """Raises NotImplementedError for a version of the operator set that the functions do not know."""
    version = opsets.get("", OLDEST)
    if not OLDEST <= version <= NEWEST:
        raise NotImplementedError(
            f"the model uses version {version} of the operator set ai.onnx; {OLDEST} to {NEWEST} are supported"
        )
