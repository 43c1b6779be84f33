"""The verifier: whether a graph or a kernel is in the language that grammar.py writes down.

In: the roots of a graph, or a KERNEL. Out: nothing, or a `VerificationError` that says what is wrong, with which node, and the
user's line. For kernels also: every value is used inside the loop that it depends on, names are unique, constant offsets
are inside their buffers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .args import Accumulate, Constant, Dots, Kernel, Lanes, Loop, Name, Param, Reduction
from .blocks import ScopeError, blocks, parameters
from .dim import UndecidedError, product
from .dots import check_dots, left_size
from .dtype import int64
from .grammar import ELEMENTWISE_GRAMMAR, GRAPH_GRAMMAR, Entry, check_entry
from .kernel_graph import KernelGraph
from .node import Node, postorder
from .op import Op
from .text import describe
from .tiles import check_await, check_fetch, check_mma


class VerificationError(ValueError):
    """Not IR: `node` is what is wrong."""

    def __init__(self, sentence: str, node: Node) -> None:
        super().__init__(f"{sentence}: {describe(node)}")
        self.node = node


def verify_graph(roots: Sequence[Node]) -> None:
    """Check every node below `roots`.

    Raises:
        VerificationError: with the first wrong node, sources first.
    """
    for node in postorder(roots):
        _apply(node, _graph_node)


def verify_order(kernels: Sequence[KernelGraph]) -> None:
    """Check that what each kernel reads of the others' results has been written by an earlier one.

    Raises:
        VerificationError: with the first value that is read too early.
    """
    unwritten = {id(node) for kernel in kernels for node in kernel.results}
    for kernel in kernels:
        for node in kernel.inputs:
            if id(node) in unwritten:
                raise VerificationError(
                    f"{kernel.name} reads what no kernel before it writes", node
                )
        unwritten.difference_update(map(id, kernel.results))


def _apply(node: Node, check: Callable[[Node], str | None]) -> None:
    try:
        wrong = check(node)
    except UndecidedError as question:
        raise VerificationError(f"the dims leave a question open ({question})", node) from question
    if wrong is not None:
        raise VerificationError(wrong, node)


def _graph_node(node: Node) -> str | None:
    entry = GRAPH_GRAMMAR.get(node.op)
    if entry is None:
        return f"{node.op.name.lower()} is no operation of graphs"
    return check_entry(node, entry) or _places(node)


def _places(node: Node) -> str | None:
    """Only COPY crosses devices. A leaf without a place is everywhere."""
    if node.op is Op.COPY:
        return None
    places = {place for place in (node.place, *(s.place for s in node.src)) if place}
    if len(places) > 1:
        return f"it reads from other devices than its own: {', '.join(sorted(places))}"
    return None


# --- kernels


def _check_load(node: Node) -> str | None:
    buffer, offset = node.src[:2]
    return (
        _dtype(node, buffer)
        or _buffer(buffer)
        or _reach(buffer, offset, node, masked=len(node.src) > 2)
        or _mask(node.src[2:], node)
    )


def _check_write(node: Node) -> str | None:
    buffer, offset, value = node.src[:3]
    if isinstance(buffer.arg, Param) and buffer.arg.role == "in":
        return f"%{buffer.arg.name} is only read"
    if isinstance(node.arg, Accumulate):
        if node.arg.kind in ("and", "or") and value.dtype.kind == "float":
            return f"floats have no {node.arg.kind}"
        if node.arg.kind in ("add", "mul") and value.dtype.kind == "bool":
            return f"bool has no {node.arg.kind}"
        if node.arg.atomic and value.shape:
            return "a vector is not accumulated atomically"
    return (
        _dtype(value, buffer)
        or _buffer(buffer)
        or _reach(buffer, offset, value, masked=len(node.src) > 3)
        or _mask(node.src[3:], value)
    )


def _dtype(value: Node, buffer: Node) -> str | None:
    if value.dtype is not buffer.dtype:
        return f"{value.dtype.name} is not what a buffer of {buffer.dtype.name} holds"
    return None


def _buffer(buffer: Node) -> str | None:
    if isinstance(buffer.arg, Param) and buffer.arg.role in ("in", "out", "inout"):
        return None
    return None if buffer.op is Op.LOCAL else f"{buffer.op.name.lower()} is no buffer"


def _reach(buffer: Node, offset: Node, value: Node, masked: bool) -> str | None:
    """Whether the offset fits the value's lanes, and a constant one the buffer, unless a mask may keep it from use."""
    if offset.dtype is not int64:
        return f"the offset is {offset.dtype.name}, not int64"
    if offset.shape not in ((), value.shape):
        return "the offset has neither one lane nor those of the value"
    size = product(buffer.shape)
    if isinstance(offset.arg, Constant) and isinstance(size, int) and not masked:
        lanes = product(value.shape) if not offset.shape else 1
        start = int(offset.arg.value)
        if start < 0 or start + lanes > size:
            return f"element {offset.arg.value} is outside a buffer of {size}"
    return None


def _mask(mask: Sequence[Node], value: Node) -> str | None:
    if mask and mask[0].dtype.kind != "bool":
        return f"the mask is {mask[0].dtype.name}, not bool"
    if mask and mask[0].shape not in ((), value.shape):
        return "the mask has neither one lane nor those of the value"
    return None


def _check_dots(node: Node) -> str | None:
    arg = node.arg
    assert isinstance(arg, Dots)
    if isinstance(node.src[0].arg, Param) and node.src[0].arg.role == "in":
        return f"%{node.src[0].arg.name} is only read"
    sizes = arg.rows * arg.columns, left_size(arg), arg.columns * arg.terms
    for buffer, offset, lanes in zip(node.src[::2], node.src[1::2], sizes, strict=True):
        value = Node(Op.CONST, (), buffer.dtype, (lanes,))
        if offset.shape:
            return "a tile begins at one element"
        wrong = _buffer(buffer) or _reach(buffer, offset, value, masked=False)
        if wrong is not None:
            return wrong
    return check_dots(node)


def _check_loop(node: Node) -> str | None:
    assert isinstance(node.arg, Loop)
    index, extent = node.src[:2]
    if index.op is not Op.INDEX:
        return "a loop's first source is its index"
    if extent.dtype is not int64 or extent.shape:
        return "a loop's extent is one int64"
    return None if node.arg.step >= 1 else f"a loop cannot have step {node.arg.step}"


def _check_condition(node: Node) -> str | None:
    return None if not node.src[0].shape else "a check has one condition"


def _check_splat(node: Node) -> str | None:
    return "only one value can be in every lane" if node.src[0].shape else _vector(node)


def _vector(node: Node) -> str | None:
    return None if len(node.shape) == 1 else "its result has lanes"


def _check_shuffle(node: Node) -> str | None:
    assert isinstance(node.arg, Lanes)
    (source, _), lanes = node.src, node.arg.lanes
    if len(source.shape) != 1 or node.shape != (len(lanes),):
        return "its sources have lanes, and its result as many as it names"
    size = source.shape[0]
    assert isinstance(size, int)
    wrong = [lane for lane in lanes if not 0 <= lane < 2 * size]
    return f"there is no lane {wrong[0]} in two vectors of {size}" if wrong else None


def _check_reduce(node: Node) -> str | None:
    arg = node.arg
    assert isinstance(arg, Reduction)
    if arg.axes != (0,) or len(node.src[0].shape) > 1 or node.shape:
        return (
            "a reduction in a kernel takes lanes to one value, or what the threads of a group have"
        )
    if arg.accumulate.category != node.dtype.category:
        return f"{arg.accumulate.name} cannot hold partial results of {node.dtype.name}"
    return None


def _check_index(node: Node) -> str | None:
    return None if node.dtype is int64 and not node.shape else "an index is one int64"


def _check_local(node: Node) -> str | None:
    if all(isinstance(size, int) for size in node.shape):
        return None
    return "the size of a local buffer is not known when the kernel is compiled"


def _check_param(node: Node) -> str | None:
    assert isinstance(node.arg, Param)
    if node.arg.role in ("number", "dim") and node.shape:
        return f"a {node.arg.role} has no shape"
    return "a dim is int64" if node.arg.role == "dim" and node.dtype is not int64 else None


KERNEL_GRAMMAR: dict[Op, Entry] = {
    **ELEMENTWISE_GRAMMAR,
    Op.CONST: GRAPH_GRAMMAR[Op.CONST],
    Op.PARAM: Entry((), "any", relation=_check_param),
    Op.INDEX: Entry((), "any", relation=_check_index),
    Op.LOCAL: Entry((), "any", relation=_check_local),
    Op.LOOP: Entry(("index", "index", "any"), "any", False, more=True, relation=_check_loop),
    Op.LOAD: Entry(("any", "any"), "first", False, more=True, relation=_check_load),
    Op.STORE: Entry(("any", "any", "any"), "any", False, more=True, relation=_check_write),
    Op.ACCUMULATE: Entry(("any", "any", "any"), "any", False, more=True, relation=_check_write),
    Op.DOTS: Entry(
        ("any", "index", "any", "index", "any", "index"), "any", False, relation=_check_dots
    ),
    Op.MMA: Entry(
        ("any", "index", "any", "index", "any", "index"), "any", False, relation=check_mma
    ),
    Op.FETCH: Entry(("any", "index", "any", "any"), "any", False, more=True, relation=check_fetch),
    Op.COMMIT: Entry((), "any"),
    Op.AWAIT: Entry(("any",), "any", False, more=True, relation=check_await),
    Op.PREFETCH: Entry(("any", "index"), "any", False, relation=lambda node: _buffer(node.src[0])),
    Op.CHECK: Entry(("bool",), "any", False, relation=_check_condition),
    Op.SPLAT: Entry(("any",), "first", False, relation=_check_splat),
    Op.LANES: Entry((), "any", relation=_vector),
    Op.SHUFFLE: Entry(("any", "any"), "first", False, alike=(0, 1), relation=_check_shuffle),
    Op.REDUCE: Entry(("any",), "first", False, relation=_check_reduce),
    Op.KERNEL: Entry(("any",), "any", False, more=True),
}
"""The loop stratum."""

_VALUES = frozenset(
    (*ELEMENTWISE_GRAMMAR, Op.CONST, Op.LOAD, Op.SPLAT, Op.LANES, Op.SHUFFLE, Op.REDUCE)
)
_SOURCES = {Op.LOAD: 3, Op.STORE: 4, Op.ACCUMULATE: 4}
_NAME = re.compile(r"[A-Za-z_]\w*")


def verify_kernel(kernel: Node) -> None:
    """Check a kernel: its nodes, the scopes of its values, its names.

    Raises:
        VerificationError: with the first wrong node.
    """
    if kernel.op is not Op.KERNEL or not isinstance(kernel.arg, Kernel):
        raise VerificationError("this is no kernel", kernel)
    for node in postorder([kernel]):
        _apply(node, _kernel_node)
    for param in parameters(kernel):
        if param.op is not Op.PARAM:
            raise VerificationError("a kernel's first sources are its params", param)
    _names(kernel)
    try:
        blocks(kernel)
    except ScopeError as error:
        raise VerificationError(str(error), error.node) from None


def _kernel_node(node: Node) -> str | None:
    entry = KERNEL_GRAMMAR.get(node.op)
    if entry is None:
        return f"{node.op.name.lower()} is no operation of kernels"
    return check_entry(node, entry) or _everywhere(node)


def _everywhere(node: Node) -> str | None:
    """What holds for every node of a kernel."""
    if len(node.src) > _SOURCES.get(node.op, len(node.src)):
        return f"{node.op.name.lower()} has at most {_SOURCES[node.op]} sources"
    if node.op in _VALUES:
        if len(node.shape) > 1 or any(not isinstance(n, int) or n < 1 for n in node.shape):
            return "a value in a kernel is one scalar or one vector"
        if node.op is not Op.LOAD and any(_buffer(source) is None for source in node.src):
            return "a buffer is read by load only"
    return None


def _names(kernel: Node) -> None:
    """Params, indices and locals have different names, each param is in the list, each index has one loop."""
    listed = {id(param) for param in parameters(kernel)}
    seen: dict[str, Node] = {}
    loops: set[int] = set()
    for node in postorder([kernel]):
        if node.op is Op.LOOP:
            if id(node.src[0]) in loops:
                raise VerificationError("two loops have one index", node)
            loops.add(id(node.src[0]))
        if isinstance(node.arg, (Param, Name)):
            if node.op is Op.PARAM and id(node) not in listed:
                raise VerificationError("the kernel does not list this param", node)
            if not _NAME.fullmatch(node.arg.name):
                raise VerificationError(f"{node.arg.name!r} is no name", node)
            if node.arg.name in seen:
                raise VerificationError(f"two things are called %{node.arg.name}", node)
            seen[node.arg.name] = node
