"""backward() and grad(): from records to GRAD nodes.

In: roots and their cotangents. The records that gradients run through are collected (no recursion), checked (released? changed in
place?), and replaced by one GRAD node between the roots' nodes and those of the leaves; its ELEMENTs, lazy like every node,
become or are added to `.grad`. Where Python has a say in between (a hook, a kept gradient, an autograd.Function), `regions.py`
cuts the graph there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..history import AccumulateGrad, Record, mode
from ..ir import build
from ..ir.node import Node, constant
from ..results import from_node, made_at
from ..runtime.realize import after_backward
from ..site import here
from ..storage import Storage
from ..tensor import Tensor, make
from .gradients import accumulate_into, add, gradients
from .records import Target, collect, depending, leading_to, release, require_intact

if TYPE_CHECKING:
    from ..ir.dtype import DType


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves they were made of.

    Args:
        grad_tensors: the gradient of each tensor; may be left out for tensors of one element.
        retain_graph: keep what backward reads, for another backward; by default as `create_graph`.
        create_graph: record the gradients' own history, for gradients of gradients.
        inputs: the tensors whose `.grad` is wanted; by default all leaves.

    Raises:
        RuntimeError: nothing requires grad; a gradient is missing or of another shape; the graph was released, or a value that
            backward reads was changed in place.

    Same as torch.autograd.backward.
    """
    if (
        grad_tensors is None
        and inputs is None
        and not create_graph
        and isinstance(tensors, Tensor)
        and _plain_backward(tensors, bool(retain_graph))
    ):
        return
    roots = _sequence(tensors)
    cotangents = _cotangents(roots, _sequence(grad_tensors, len(roots)))
    wanted = None
    if inputs is not None:
        wanted = _sequence(inputs)
        if not wanted:
            raise RuntimeError("'inputs' argument to 'backward' cannot be empty.")
        _require_differentiated(wanted)
    keep = create_graph if retain_graph is None else retain_graph
    run = Run(roots, cotangents, create_graph, wanted, accumulate=True)
    run.execute()
    if not keep:
        release(run.records)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, which may be any tensors that require grad.

    Args:
        grad_outputs, retain_graph, create_graph: as for `backward`.
        allow_unused: None for an input that the outputs do not depend on, instead of an error.
        materialize_grads: zeros for such an input.
        is_grads_batched: `grad_outputs` have a new first axis, for each index of which there is a gradient.

    Raises:
        RuntimeError: as `backward`; an input does not require grad, or was not used.

    Same as torch.autograd.grad.
    """
    if is_grads_batched:
        return _batched(
            _sequence(outputs), _sequence(inputs), _sequence(grad_outputs), retain_graph, create_graph, allow_unused, materialize_grads
        )  # fmt: skip
    roots = _sequence(outputs)
    wanted = _sequence(inputs)
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    cotangents = _cotangents(roots, _sequence(grad_outputs, len(roots)))
    _require_differentiated(wanted)
    keep = create_graph if retain_graph is None else retain_graph
    run = Run(roots, cotangents, create_graph, wanted, accumulate=False)
    found = run.execute()
    results: list[Tensor | None] = []
    for index, (tensor, gradient) in enumerate(zip(wanted, found)):
        if gradient is None and materialize_grads:
            gradient = from_node(constant(0, tensor.dtype, tuple(tensor.shape), tensor.place))
        elif gradient is None and not allow_unused:
            raise RuntimeError(
                f"The differentiated Tensor at index {index} appears to not have been used in the graph. "
                "Set allow_unused=True if this is the desired behavior."
            )
        results.append(gradient)
    if not keep:
        release(run.records)
    return tuple(results)


def _batched(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Sequence[Tensor | None],
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple[Tensor | None, ...]:
    """The gradients for a whole batch of cotangents: `grad` of one, mapped over them."""
    from ..func.mapping import vmap

    places: list[int] = []

    def one(*given: Tensor) -> list[Tensor]:
        found = grad(
            outputs, inputs, given, retain_graph, create_graph, True, allow_unused, False, materialize_grads
        )  # fmt: skip
        places[:] = [index for index, each in enumerate(found) if each is not None]
        return [each for each in found if each is not None]

    made = vmap(one, randomness="same")(*grad_outputs)
    results: list[Tensor | None] = [None] * len(inputs)
    for index, each in zip(places, made):
        results[index] = each
    return tuple(results)


class Run:
    """One pass of gradients: what it starts from, the records it runs through, and where gradients are wanted."""

    def __init__(
        self,
        roots: Sequence[Tensor],
        cotangents: Sequence[Tensor],
        create_graph: bool,
        wanted: Sequence[Tensor] | None,
        accumulate: bool,
    ) -> None:
        self.create_graph = create_graph
        self.accumulate = accumulate
        self.wanted = wanted
        self.starts = [(_target(root), cotangent) for root, cotangent in zip(roots, cotangents)]
        self.targets = None if wanted is None else [_target(tensor) for tensor in wanted]
        self._wanted_records = {id(record) for record, _ in self.targets or ()}
        self.records = collect([record for (record, _), _ in self.starts])
        self.used: set[int] | None = None
        """Records that lead to a wanted target (ids), where only some targets are wanted."""
        if self.targets is not None:
            self.used = leading_to(self.records, self.targets)
            self.records = [record for record in self.records if id(record) in self.used]
            self.starts = [start for start in self.starts if self.arrives(start[0][0])]
        self.found: dict[tuple[int, int], Tensor] = {}
        self.eager = any(record.eager for record in self.records)

    def execute(self) -> list[Tensor | None]:
        """Build the gradients; add them to `.grad`, or give them in the order of `wanted`."""
        before = mode.enabled
        mode.enabled = self.create_graph
        after_backward()
        try:
            if require_intact(self.records) and self._plain():
                self._one_segment()
            else:
                from .regions import run_regions

                run_regions(self)
        finally:
            mode.enabled = before
        found = [self.found.get((id(r), i)) for r, i in self.targets or ()]
        if self.accumulate:
            for tensor, gradient in zip(self.wanted or (), found):
                if gradient is not None and tensor._record is not None:
                    accumulate_into(tensor, gradient, self.create_graph)
        if self.eager:
            for tensor in self._results(found):
                tensor.realize()
        return found

    def _results(self, found: Iterable[Tensor | None]) -> Iterable[Tensor]:
        if not self.accumulate:
            return [tensor for tensor in found if tensor is not None]
        variables = [
            leaf.variable
            for record in self.records
            for leaf, _ in record.edges
            if isinstance(leaf, AccumulateGrad)
        ]
        return [tensor._grad for tensor in variables if tensor._grad is not None]

    def arrives(self, record: Record) -> bool:
        """Whether gradients go on into this record, or into the leaf that it stands for."""
        return self.used is None or id(record) in self.used or id(record) in self._wanted_records

    def is_target(self, record: Record) -> bool:
        """Whether the gradient of one of its outputs is wanted by itself."""
        return id(record) in self._wanted_records

    def _plain(self) -> bool:
        """Whether the nodes between roots and leaves are the whole story: no hooks, every operand its record's own node."""
        starts_plain = all(not isinstance(record, AccumulateGrad) for (record, _), _ in self.starts)
        for record in self.records:
            for (source, index), operand in zip(record.edges, record.operands):
                if source is None:
                    continue
                if isinstance(source, AccumulateGrad):
                    extra = source.variable._extra
                    if source.hooks is not None or (
                        extra is not None and (extra.hooks or extra.accumulated)
                    ):
                        return False
                elif source.nodes and source.nodes[index] is not operand:
                    return False
        return starts_plain

    def _one_segment(self) -> None:
        places: dict[int, Node] = {}
        ends: dict[int, bool] = {}
        owners: dict[tuple[int, int], tuple[Record, list[Node]]] = {}
        for record in self.records:
            for (source, index), operand in zip(record.edges, record.operands):
                if (
                    isinstance(source, AccumulateGrad)
                    and operand is not None
                    and self.arrives(source)
                ):
                    key = (id(source), index)
                    if id(operand) not in places:
                        places[id(operand)] = operand
                        ends[id(operand)] = True
                        owners.setdefault(key, (source, []))[1].append(operand)
        for target, index in self.targets or ():
            if not isinstance(target, AccumulateGrad) and target.nodes:
                node = target.nodes[index]
                if (id(target), index) not in owners and self._reaches(target):
                    places[id(node)] = node
                    ends[id(node)] = id(target) not in (self.used or ())
                    owners[id(target), index] = (target, [node])
        if not places:
            return
        roots = [(record.nodes[index], record, index) for (record, index), _ in self.starts]
        flags = depending(self.records, self.starts) if self.create_graph else None
        made = gradients(
            roots, [cotangent for _, cotangent in self.starts], list(places.values()), list(ends.values()), flags,
            self.records,
        )  # fmt: skip
        by_node = dict(zip(places, made))
        for (_, index), (record, nodes) in owners.items():
            total = by_node[id(nodes[0])]
            for node in nodes[1:]:
                total = add(total, by_node[id(node)])
            self.deliver(record, index, total)

    def _reaches(self, target: Record) -> bool:
        """Whether the roots depend on a target that is not a leaf."""
        if any(record is target for (record, _), _ in self.starts):
            return True
        return any(source is target for record in self.records for source, _ in record.edges)

    def deliver(self, record: Record, index: int, gradient: Tensor) -> None:
        """Bring a gradient to where it is wanted."""
        if self.accumulate and isinstance(record, AccumulateGrad):
            accumulate_into(record.variable, gradient, self.create_graph)
        else:
            self.found[id(record), index] = gradient


def _plain_backward(root: Tensor, keep: bool) -> bool:
    """backward() of one value to leaves without hooks, written flat: it runs in every step of a training loop.

    Returns False, and has changed nothing, where something has to be looked at more closely or is an error.
    """
    requires = root.requires_grad
    record = root._record
    if (
        record is None
        or not requires
        or root.storage.node.shape
        or root._view is not None
        or mode.inference
    ):
        return False
    records: list[Record] = []
    leaves: dict[AccumulateGrad, Node] = {}
    seen: set[Record] = {record}
    stack: list[Record] = [record]
    while stack:
        current = stack.pop()
        if current.special or current.released or current.eager or current.hooks is not None:
            return False
        for counter, version in zip(current.counters, current.versions):
            if counter.version != version:
                return False
        records.append(current)
        for (source, index), operand in zip(current.edges, current.operands):
            if source is None:
                continue
            if source.__class__ is AccumulateGrad:
                extra = source.variable._extra
                if source.hooks is not None or (extra and (extra.hooks or extra.accumulated)):
                    return False
                if leaves.setdefault(source, operand) is not operand:  # type: ignore[arg-type]
                    return False
                continue
            if source.released or source.special or source.nodes[index] is not operand:
                return False
            if source not in seen:
                seen.add(source)
                stack.append(source)
    node = record.nodes[root._index]
    cotangent = _one(node.dtype, node.place)
    made = build.grad([node], [cotangent], list(leaves.values()), (True,) * len(leaves))
    after_backward()  # what is added to gradients belongs to the step that goes on
    site = here()
    for leaf, gradient in zip(leaves, made):
        gradient.site = site
        storage = Storage(gradient)
        tensor = make(storage, gradient.dtype, None, storage)
        variable = leaf.variable
        if variable._grad is None:
            variable._grad = tensor
        else:
            accumulate_into(variable, tensor, False)
    if not keep:
        release(records)
    return True


@lru_cache(256)
def _one(dtype: DType, place: str) -> Node:
    """The gradient of a value by itself."""
    return constant(1, dtype, (), place)


# --- arguments


def _target(tensor: Tensor) -> Target:
    record, index = tensor._edge()
    if record is None:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    return record, index


def _sequence(value: Any, count: int = 0) -> list[Any]:
    if value is None:
        return [None] * count
    return [value] if isinstance(value, Tensor) else list(value)


def _require_differentiated(tensors: Sequence[Tensor]) -> None:
    for tensor in tensors:
        if not tensor.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")


def _cotangents(roots: Sequence[Tensor], given: Sequence[Tensor | None]) -> list[Tensor]:
    """The gradient that each root starts with, of its shape and dtype.

    Raises:
        RuntimeError: a root does not require grad, has more than one element and no gradient, or a gradient of another shape.
    """
    if len(given) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(given)} gradients")
    made = []
    for position, (root, cotangent) in enumerate(zip(roots, given)):
        shape = tuple(root.shape)
        if cotangent is None:
            if root.requires_grad and root.numel() != 1:
                raise RuntimeError(
                    "grad can be implicitly created only for scalar outputs\n"
                    f"    it has shape {list(shape)}" + made_at(root)
                )
        elif tuple(cotangent.shape) != shape and (shape or tuple(cotangent.shape) != (1,)):
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{position}] has a shape of {cotangent.shape} and output[{position}] has a "
                f"shape of {root.shape}."
            )
        if not root.requires_grad or root._edge()[0] is None:
            raise RuntimeError(
                f"element {position} of tensors does not require grad and does not have a grad_fn"
            )
        if cotangent is None:
            made.append(from_node(constant(1, root.dtype, shape, root.place)))
        else:
            made.append(_fitted(cotangent, root))
    return made


def _fitted(cotangent: Tensor, root: Tensor) -> Tensor:
    """A gradient in the shape and dtype of its root."""
    if cotangent.dtype is root.dtype and tuple(cotangent.shape) == tuple(root.shape):
        return cotangent
    from ..results import result, tensor_nodes

    (node,) = tensor_nodes(cotangent)
    return result("ToCopy", node.cast(root.dtype).reshape(tuple(root.shape)), (cotangent,))
