"""Named composites: a CALL node stands for a body of simpler nodes until the compiler inlines it.

A composite exists where the name helps: PyTorch has its own gradient rule for it (relu, clamp, a tie rule), or its gradient
is much simpler than that of its body (softmax, binary cross entropy with logits). Its body is a function from nodes to a node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .args import Attribute, Call
from .node import Node
from .op import Op
from .rewrite import RuleTable, rewrite

Body = Callable[..., Node]
COMPOSITES: dict[str, Body] = {}
"""The body of each composite by name: body(*sources, **attributes) -> Node."""
_DEFAULTS: dict[str, dict[str, Attribute]] = {}
"""The attributes of each composite that have a default."""


def composite(name: str) -> Callable[[Body], Body]:
    """Register a function as the body of the composite `name`."""

    def register(body: Body) -> Body:
        if name in COMPOSITES:
            raise ValueError(f"a composite named {name!r} exists")
        COMPOSITES[name] = body
        _DEFAULTS[name] = _defaults(body)
        return body

    return register


def _defaults(body: Any) -> dict[str, Attribute]:
    """The default arguments of a function, without the cost of importing inspect."""
    values = body.__defaults__ or ()
    names = body.__code__.co_varnames[: body.__code__.co_argcount]
    positional = zip(names[len(names) - len(values) :], values, strict=True)
    return {**dict(positional), **(body.__kwdefaults__ or {})}


def expand_call(node: Node) -> Node:
    """The body of a CALL, on its sources."""
    assert isinstance(node.arg, Call)
    return COMPOSITES[node.arg.name](*node.src, **dict(node.arg.attributes))


def call(
    name: str, sources: Sequence[Node], like: Node | None = None, **attributes: Attribute
) -> Node:
    """A CALL of `name`, with all its attributes, those left at their defaults too.

    Its dtype and shape are those of `like`; without it, the body is built once to learn them.
    """
    if _DEFAULTS[name]:
        attributes = {**_DEFAULTS[name], **attributes}
    if like is None:
        like = COMPOSITES[name](*sources, **attributes)
    return Node(
        Op.CALL,
        tuple(sources),
        like.dtype,
        like.shape,
        Call(name, tuple(sorted(attributes.items()))),
    )


INLINE: RuleTable[Node] = RuleTable("inline composites")


@INLINE.rule(Op.CALL)
def inline_call(node: Node) -> Node:
    return expand_call(node)


def inline(roots: Sequence[Node]) -> list[Node]:
    """Replace every CALL by its body, calls inside bodies included."""
    return rewrite(roots, INLINE)
