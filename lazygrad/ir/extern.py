"""Functions of host libraries as nodes: an EXTERN calls one on whole arrays, and ELEMENT reads its results.

In: the name of a registered function and its source nodes. Out: one ELEMENT a result. The table holds, for each function, what runs
on the host and which dtypes and shapes come out; nothing else leaves the compiler's own code. What a function computes has no
gradient here: composites (composites/factorization.py, composites/solving.py) wrap results and differentiate them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .args import Attribute, Call, Element
from .dtype import DType
from .node import Node, Shape
from .op import Op

if TYPE_CHECKING:
    from .repeated import Repeated

Host = Callable[..., tuple[Any, ...]]
"""On contiguous numpy arrays and the attributes; gives one array a result."""
Kinds = tuple[tuple[DType, Shape], ...]
"""The dtype and shape of each result."""


class LinAlgError(RuntimeError):
    """A matrix that a function of linear algebra cannot do: singular, not positive-definite, without convergence."""


class Extern(NamedTuple):
    """A registered function."""

    run: Host
    results: Callable[..., Kinds]
    """From the source nodes and the attributes."""
    repeated: Callable[..., Repeated] | None = None
    """From the shapes of the sources and the attributes: steps that devices with kernels repeat; `run` is then the interpreter's."""


EXTERNS: dict[str, Extern] = {}
"""Every function of a host library that a node may call, by name. All of them stand in lapack.py, but those that are `repeated`."""


def extern(name: str, results: Callable[..., Kinds]) -> Callable[[Host], Host]:
    """Register a function as what EXTERN nodes of that name run."""

    def register(run: Host) -> Host:
        if name in EXTERNS:
            raise ValueError(f"an extern named {name!r} exists")
        EXTERNS[name] = Extern(run, results)
        return run

    return register


def host_call(name: str, sources: Sequence[Node], **attributes: Attribute) -> tuple[Node, ...]:
    """The results of calling `name` on the values of `sources`, each an ELEMENT of one EXTERN."""
    node = Node(
        Op.EXTERN,
        tuple(sources),
        sources[0].dtype,
        (),
        Call(name, tuple(sorted(attributes.items()))),
    )
    return tuple(
        [
            Node(Op.ELEMENT, (node,), dtype, shape, Element(index))
            for index, (dtype, shape) in enumerate(kinds(node))
        ]
    )


def kinds(node: Node) -> Kinds:
    """The dtype and shape of each result of an EXTERN."""
    assert isinstance(node.arg, Call)
    return EXTERNS[node.arg.name].results(*node.src, **dict(node.arg.attributes))


def run(node: Node, arrays: Sequence[Any]) -> tuple[Any, ...]:
    """The results of an EXTERN for the values of its sources.

    Raises:
        LinAlgError: the function cannot do with these values.
    """
    assert isinstance(node.arg, Call)
    return EXTERNS[node.arg.name].run(*arrays, **dict(node.arg.attributes))


def repeated(node: Node) -> Repeated | None:
    """What an EXTERN repeats on devices with kernels; None for a function of the host."""
    assert isinstance(node.arg, Call)
    found = EXTERNS[node.arg.name].repeated
    if found is None:
        return None
    return found([source.shape for source in node.src], **dict(node.arg.attributes))


def is_result(node: Node) -> bool:
    """Whether a node is a result of an EXTERN."""
    return node.op is Op.ELEMENT and node.src[0].op is Op.EXTERN
