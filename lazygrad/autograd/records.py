"""The records that gradients run through: found, checked, and let go of.

In: records (history.py), from the last to the first. Out: those below some starts, in the order that backward takes; errors where one was
released or something that it saved was changed in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from ..history import AccumulateGrad, Record
from ..tensor import Tensor

SECOND_TIME = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after "
    "calling backward."
)

Target = tuple[Record, int]
"""A place where a gradient is wanted: an output of a record, or (AccumulateGrad, 0)."""

_order = attrgetter("sequence")


def collect(starts: Iterable[Record]) -> list[Record]:
    """The records below the starts, latest first, without the leaves' own."""
    seen: set[int] = set()
    found: list[Record] = []
    stack = list(starts)
    while stack:
        record = stack.pop()
        if id(record) in seen or isinstance(record, AccumulateGrad):
            continue
        seen.add(id(record))
        found.append(record)
        for source, _ in record.edges:
            if source is not None and id(source) not in seen:
                stack.append(source)
    found.sort(key=_order, reverse=True)
    return found


def leading_to(records: Sequence[Record], targets: Sequence[Target]) -> set[int]:
    """The records from which a gradient goes to a target (ids)."""
    ends = {id(record) for record, _ in targets}
    leading: set[int] = set()
    for record in reversed(records):
        for source, _ in record.edges:
            if source is not None and (id(source) in ends or id(source) in leading):
                leading.add(id(record))
                break
    return leading


def require_intact(records: Sequence[Record]) -> bool:
    """Check that the records can run. Returns whether none of them has hooks or a backward of its own.

    Raises:
        RuntimeError: one was released, or something that it saved was changed in place.
    """
    plain = True
    for record in records:
        if record.special or record.hooks is not None:
            plain = False
            if record.special:
                continue
        if record.released:
            raise RuntimeError(SECOND_TIME)
        for counter, version in zip(record.counters, record.versions):
            if counter.version != version:
                check_versions(record)
    return plain


def check_versions(record: Record) -> None:
    """Raises RuntimeError where something that the record saved was changed in place."""
    for saved, counter, version in zip(record.saved, record.counters, record.versions):
        if counter.version == version:
            continue
        if isinstance(saved, Tensor):
            shape, dtype, place = saved.shape, saved.dtype, saved.place
            maker = saved.grad_fn
            index = saved.output_nr
        else:
            node = record.nodes[0]
            shape, dtype, place = node.shape, node.dtype, node.place  # type: ignore[assignment]
            maker, index = record, 0
        made_by = (
            None if maker is None else maker.name().rstrip("0123456789").removesuffix("Backward")
        )
        origin = f", which is output {index} of {made_by}," if made_by else ""
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"[{type_name(dtype.name, place)} [{', '.join(map(str, shape))}]]{origin} is at version {counter.version}; "
            f"expected version {version} instead. Hint: enable anomaly detection to find the operation that failed to "
            "compute its gradient, with torch.autograd.set_detect_anomaly(True, check_nan=False)."
        )


_TYPES = {
    "float64": "Double", "float32": "Float", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long", "int32": "Int",
    "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
}  # fmt: skip


def type_name(dtype: str, place: str) -> str:
    """PyTorch's name of the tensors of a dtype: torch.FloatTensor."""
    module = "torch.cuda" if place.startswith("cuda") else "torch"
    return f"{module}.{_TYPES.get(dtype, dtype)}Tensor"


def depending(
    records: Sequence[Record], starts: Sequence[tuple[Target, Tensor]]
) -> dict[int, bool]:
    """Of each node that a record used or made: whether its gradient depends on values that require grad themselves."""
    incoming: dict[int, bool] = {}
    by_node: dict[int, bool] = {}
    for (record, index), cotangent in starts:
        incoming[id(record)] = incoming.get(id(record), False) or cotangent.requires_grad
        by_node[id(record.nodes[index])] = cotangent.requires_grad
    for record in records:
        depends = incoming.get(id(record), False) or any(
            each in ("result", "overwritten") if isinstance(each, str) else each.requires_grad
            for each in record.saved
        )
        for (source, _), operand in zip(record.edges, record.operands):
            if source is not None and operand is not None:
                incoming[id(source)] = incoming.get(id(source), False) or depends
                by_node[id(operand)] = by_node.get(id(operand), False) or depends
    return by_node


def release(records: list[Record]) -> None:
    """Let go of the records whose backward has saved something, or leads to one that has."""
    records.sort(key=_order)
    gone: set[Record] = set()
    for record in records:
        if record.saved or any([source in gone for source, _ in record.edges]):  # noqa: C419
            gone.add(record)
            record.release()


__all__ = [
    "SECOND_TIME",
    "Target",
    "check_versions",
    "collect",
    "depending",
    "leading_to",
    "release",
    "require_intact",
    "type_name",
]
