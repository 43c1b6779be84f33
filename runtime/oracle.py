"""Checks against the interpreter: LAZYGRAD_VERIFY compares every kernel with it, LAZYGRAD_DEBUG_NANS finds who made a NaN.

In: plans while they run. Out: nothing, or an error that shows the kernel and its worst element, or the operation and the
user's line. Both are slow and change no result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazygrad.ir.args import Axis, Call, Reduction, Scalar, Scatter, Slot
from lazygrad.ir.dim import Size, example, product
from lazygrad.ir.dtype import DType
from lazygrad.ir.errors import OutOfRange
from lazygrad.ir.extern import LinAlgError
from lazygrad.ir.interpret import evaluate, from_storage
from lazygrad.ir.kernel_graph import KernelGraph
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rebuild
from lazygrad.ir.text import describe, show

from .device import Array, Device
from .memory import Buffer
from .plan import Plan, Value, concrete, failure

RELATIVE = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""How far a kernel's result may be from the interpreter's, of the result's size."""
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


class VerificationError(RuntimeError):
    """A kernel computed something else than the interpreter."""


@dataclass(slots=True)
class _Reference:
    """What one kernel should compute: its results as a graph whose leaves are the kernel's inputs."""

    graph: KernelGraph
    kernel: Node
    roots: list[Node]
    terms: int
    """The length of the longest reduction."""


class CheckedPlan(Plan):
    """A plan of kernels that compares each launch with the interpreter, from the same inputs."""

    def __init__(self, plan: Any, graphs: Sequence[KernelGraph], kernels: Sequence[Node]) -> None:
        """`plan` is a `KernelPlan`, or one that runs in `steps`."""
        self.plan = plan
        self.launches = plan.launches
        self.dims = plan.dims
        self.references = [
            _reference(graph, kernel) for graph, kernel in zip(graphs, kernels, strict=True)
        ]

    def run(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> list[Buffer]:
        plan = self.plan
        if hasattr(plan, "steps"):
            return self._run_steps(plan, buffers, numbers, dims)
        slots, made, _arena = plan.bind(buffers, numbers, dims)
        sizes = dict(zip(plan.dims, dims, strict=True))
        start = slots.buffer_info()[0]
        position = 0
        for launch, reference in zip(plan.table, self.references, strict=True):
            params = slots[position : position + len(launch.values)]
            inputs = self._arrays(reference.graph.inputs, params, sizes)
            launch.executable.run(start + position * 8, 0, -1)
            position += len(launch.values) + 1
            error = slots[plan.error_words + plan.table.index(launch)]
            if error:
                raise failure(launch.executable.checks[error - 1])
            results = self._arrays(
                reference.graph.results, params[len(params) - len(reference.graph.results) :], sizes
            )
            arguments = _arguments(reference.graph, launch.values, numbers)
            compare(reference, inputs, results, arguments, sizes)
        whole: list[Buffer] = plan.results(buffers, made)
        return whole

    def _run_steps(
        self, plan: Any, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int]
    ) -> list[Buffer]:
        """The same for a device that launches by itself, and reads its error words when all have run: a failed check comes first."""
        sizes = dict(zip(plan.dims, dims, strict=True))
        made: list[Buffer] = []
        wrong: VerificationError | None = None
        steps = plan.steps(buffers, numbers, dims, made)
        for (launch, values, _), reference in zip(steps, self.references, strict=True):
            graph = reference.graph
            inputs, results = (
                [
                    read(plan.device, buffer, node.dtype, node.shape, sizes)
                    for node, buffer in zip(nodes, given)
                ]
                for nodes, given in (
                    (graph.inputs, values),
                    (graph.results, values[len(values) - len(graph.results) :]),
                )
            )
            try:
                compare(
                    reference, inputs, results, _arguments(graph, launch.values, numbers), sizes
                )
            except VerificationError as error:
                wrong = wrong or error
        if wrong is not None:
            raise wrong
        return made

    def _arrays(
        self, nodes: Sequence[Node], addresses: Sequence[int], sizes: Mapping[str, int]
    ) -> list[Array]:
        """Copies of the memory that a launch reads or has written."""
        device = self.plan.device
        return [
            read(device, Buffer(device.name, 0, address, None), node.dtype, node.shape, sizes)
            for node, address in zip(nodes, addresses, strict=False)
        ]

    def __str__(self) -> str:
        return f"{self.plan}\n  (each launch compared with the interpreter)"


def read(
    device: Device, buffer: Buffer, dtype: DType, shape: Sequence[Size], sizes: Mapping[str, int]
) -> Array:
    """The values in a buffer, as the interpreter has them."""
    numbers = concrete(tuple(shape), sizes)
    if 0 in numbers:
        return from_storage(np.zeros(numbers, dtype.storage), dtype)
    return from_storage(device.to_host(buffer, dtype, numbers), dtype)


def _reference(graph: KernelGraph, kernel: Node) -> _Reference:
    """The results of a kernel on leaves that are its inputs and numbers, in their order."""
    leaf: dict[int, Node] = {}
    for index, node in enumerate(graph.inputs):
        leaf[id(node)] = Node(Op.BUFFER, (), node.dtype, node.shape, Slot(index), node.place)
    for index, node in enumerate(graph.numbers):
        leaf[id(node)] = Node(Op.ARGUMENT, (), node.dtype, node.shape, Slot(index), node.place)
    roots = rebuild(graph.results, lambda node: leaf.get(id(node)))
    terms = 1
    for node in postorder(roots):
        if isinstance(node.arg, Reduction) and node.src:
            ratio = example(product(node.src[0].shape)) // max(example(product(node.shape)), 1)
            terms = max(terms, ratio)
    return _Reference(graph, kernel, roots, terms)


def _arguments(
    graph: KernelGraph, values: Sequence[Value], numbers: Sequence[Scalar]
) -> list[Scalar]:
    first = len(graph.inputs)
    return [numbers[value.index] for value in values[first : first + len(graph.numbers)]]


def compare(
    reference: _Reference,
    inputs: Sequence[Array],
    results: Sequence[Array],
    numbers: Sequence[Scalar],
    sizes: Mapping[str, int],
) -> None:
    """Raise when a result is not what the interpreter computes from the same inputs.

    Raises:
        VerificationError: with the kernel's text and the worst element.
    """
    expected = evaluate(reference.roots, inputs, numbers, dict(sizes))
    scale = max([_largest(array) for array in inputs], default=0.0)
    for node, found, wanted in zip(reference.graph.results, results, expected, strict=True):
        beyond = excess(node.dtype, found, wanted, scale, reference.terms)
        if beyond.size and beyond.max() > 0:
            at = tuple(int(i) for i in np.unravel_index(int(beyond.argmax()), found.shape))
            raise VerificationError(
                f"kernel {reference.graph.name} computes {found[at].item()!r} at {list(at)} of {describe(node)}, "
                f"the interpreter {wanted[at].item()!r} "
                f"({int((beyond > 0).sum())} of {found.size} elements differ)\n{show(reference.kernel)}"
            )


def excess(dtype: DType, found: Array, wanted: Array, scale: float, terms: int) -> Array:
    """How far each element is beyond what rounding explains; positive means wrong."""
    if not dtype.is_floating_point:
        return np.asarray(found != wanted, np.float64)
    with np.errstate(all="ignore"):
        left, right = found.astype(np.float64), wanted.astype(np.float64)
        finite = np.isfinite(left) & np.isfinite(right)
        largest = _largest(right)
        allowed = RELATIVE[dtype.name] * (np.abs(right) + largest)
        allowed = allowed + 8 * EPSILON[dtype.name] * terms * max(scale, scale * scale)
        difference = np.where(finite, np.abs(left - right) - allowed, -1.0)
        equal = (left == right) | (np.isnan(left) & np.isnan(right))
        # A result at the edge of the range may round to infinity on one side.
        limit = 0.9 * float(np.finfo(np.float32 if dtype.name == "bfloat16" else dtype.name).max)
        edge = (np.abs(left) > limit) & (np.abs(right) > limit) & (np.sign(left) == np.sign(right))
    excess: Array = np.where(finite | equal | edge, difference, np.inf)
    return excess


def _largest(array: Array) -> float:
    if array.dtype.kind != "f" or not array.size:
        return 0.0
    finite = np.abs(array[np.isfinite(array)].astype(np.float64))
    return float(finite.max()) if finite.size else 0.0


# --- failed checks

TRACEABLE = 1 << 24
"""A failure is not traced through values of more elements."""


def located(
    error: Exception,
    roots: Sequence[Node],
    device: Device,
    buffers: Sequence[Buffer],
    numbers: Sequence[Scalar],
) -> Exception:
    """The error of a failed check with what is wrong and the user's line, where they are found.

    Only the indices and the divisors are computed again, and only if that is little work.
    """
    order = postorder(roots)
    arrays = leaf_arrays(order, device, buffers)
    site = nearest_sites(order)
    for node in order:
        if node.op is Op.GATHER or node.op is Op.SCATTER:
            if not isinstance(error, IndexError) or not _small(node.src[1]):
                continue
            assert isinstance(node.arg, (Axis, Scatter))
            (index,) = evaluate([node.src[1]], arrays, numbers)
            axis = node.arg.axis
            size = example(node.src[0].shape[axis])
            wrong = index[(index < 0) | (index >= size)]
            if wrong.size:
                text = f"index {int(wrong.flat[0])} is out of bounds for dimension {axis} with size {size}"
                return OutOfRange(text + line_of(site.get(id(node))))
        elif node.op is Op.EXTERN and isinstance(error, LinAlgError):
            assert isinstance(node.arg, Call)
            if str(error).startswith(f"{dict(node.arg.attributes).get('caller')}: "):
                return LinAlgError(str(error) + line_of(site.get(id(node))))
        elif node.op in (Op.IDIV, Op.MOD) and not isinstance(error, IndexError):
            if _small(node.src[1]) and not evaluate([node.src[1]], arrays, numbers)[0].all():
                return type(error)(str(error) + line_of(site.get(id(node))))
    return error


def _small(node: Node) -> bool:
    return all(product(below.shape) <= TRACEABLE for below in postorder([node]))


def leaf_arrays(
    order: Sequence[Node], device: Device, buffers: Sequence[Buffer]
) -> list[Array | None]:
    """The values of the BUFFER leaves by slot."""
    arrays: list[Array | None] = [None] * len(buffers)
    for node in order:
        if node.op is Op.BUFFER and isinstance(node.arg, Slot):
            arrays[node.arg.index] = from_storage(
                device.view(buffers[node.arg.index], node.dtype, node.shape), node.dtype
            )
    return arrays


# --- NaNs


class NaNError(RuntimeError):
    """An operation made a NaN from operands that had none."""


def has_nan(device: Device, node: Node, buffer: Buffer) -> bool:
    """Whether a result of a float type holds a NaN."""
    if not node.dtype.is_floating_point:
        return False
    return bool(np.isnan(read(device, buffer, node.dtype, node.shape, {})).any())


def explain_nan(
    roots: Sequence[Node], device: Device, buffers: Sequence[Buffer], numbers: Sequence[Scalar]
) -> None:
    """Compute a graph again node by node, and name the first that makes a NaN.

    Raises:
        NaNError: with the operation and the user's line; a NaN in a leaf is the leaf's.
    """
    order = [node for node in postorder(roots) if node.op is not Op.EXTERN]
    arrays = leaf_arrays(order, device, buffers)
    site = nearest_sites(order)
    for node, value in zip(order, evaluate(order, arrays, numbers), strict=True):
        if value.dtype.kind == "f" and np.isnan(value).any():
            at = [int(i) for i in np.unravel_index(int(np.isnan(value).argmax()), value.shape)]
            what = (
                "is in an input" if node.op is Op.BUFFER else f"was made by {node.op.name.lower()}"
            )
            raise NaNError(
                f"NaN {what} at {at}{line_of(site.get(id(node)))}: {describe(node)} (LAZYGRAD_DEBUG_NANS)"
            )


def nearest_sites(order: Sequence[Node]) -> dict[int, object]:
    """The user's line of each node: its own, or that of its nearest reader that has one."""
    site: dict[int, object] = {}
    for node in reversed(order):
        if node.site is not None:
            site[id(node)] = node.site
        found = site.get(id(node))
        if found is not None:
            for source in node.src:
                site.setdefault(id(source), found)
    return site


def line_of(site: object) -> str:
    """' (train.py:7)', or nothing."""
    if site is None:
        return ""
    from lazygrad.site import describe as text

    return f" ({text(site)})"  # type: ignore[arg-type]
