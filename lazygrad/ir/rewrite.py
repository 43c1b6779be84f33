"""Rule tables and the engine that applies them.

A table maps an operation to functions; a pass is a table (or a named function) from nodes to nodes. The engine walks without
recursion, rewrites each node once whatever the number of its readers, and counts how often each rule fired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .node import Node
from .op import Op

Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(slots=True)
class Rule:
    """One rule of a table: its name, its function, and how often it gave a result."""

    name: str
    function: Callable[..., Any]
    hits: int = 0


@dataclass(slots=True)
class RuleTable(Generic[Result]):
    """Rules by operation, tried in the order they were written. Every table is in `TABLES`, for the tests of coverage."""

    name: str
    rules: dict[object, list[Rule]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name in TABLES:
            raise ValueError(f"a rule table named {self.name!r} exists")
        TABLES[self.name] = self

    def rule(self, *keys: Op | str) -> Callable[[Function], Function]:
        """Register a function for the operations `keys` (for composites and externs, their names)."""

        def register(function: Function) -> Function:
            rule = Rule(function.__name__, function)
            for key in keys:
                self.rules.setdefault(key, []).append(rule)
            return function

        return register

    def __call__(self, key: Op | str, *args: Any) -> Result | None:
        """The first result that is not None of the rules for `key`."""
        for rule in self.rules.get(key, ()):
            result: Result | None = rule.function(*args)
            if result is not None:
                rule.hits += 1
                return result
        return None

    def all_rules(self) -> list[Rule]:
        """Every rule, each once."""
        return list({id(rule): rule for rules in self.rules.values() for rule in rules}.values())


TABLES: dict[str, RuleTable[Any]] = {}
"""Every rule table by name."""


def rewrite(roots: Sequence[Node], table: RuleTable[Node]) -> list[Node]:
    """Apply `table` everywhere, sources first, until no rule gives a result.

    A result is rewritten in its turn, so a rule may build nodes that other rules improve; rules must make progress.
    A new node without a site takes that of the node it replaces.
    """
    done: dict[int, Node] = {}
    keep: list[Node] = []  # ids stay unique while their nodes live
    stack: list[Node] = list(reversed(roots))
    waiting: dict[int, Node] = {}  # a node whose replacement is being rewritten -> the replacement
    rules = table.rules
    while stack:
        node = stack[-1]
        if id(node) in done:
            stack.pop()
            continue
        replacement = waiting.get(id(node))
        if replacement is not None:
            done[id(node)] = done[id(replacement)]
            stack.pop()
            continue
        pending = [source for source in node.src if id(source) not in done]
        if pending:
            stack.extend(reversed(pending))
            continue
        current = remake(node, tuple([done[id(source)] for source in node.src]))
        if current is not node:
            keep.append(current)
        result = table(current.op, current) if current.op in rules else None
        if result is None or result is current:
            done[id(node)] = current
            done[id(current)] = current
            stack.pop()
            continue
        if result.site is None:
            result.site = node.site
        keep.append(result)
        waiting[id(node)] = result
        stack.append(result)
    return [done[id(root)] for root in roots]


def remake(node: Node, src: tuple[Node, ...]) -> Node:
    """The node on these sources: itself where they are its own."""
    return node if src == node.src else node.like(src)  # nodes are equal only to themselves


def rebuild(
    roots: Sequence[Node],
    known: Callable[[Node], Node | None],
    make: Callable[[Node, tuple[Node, ...]], Node] = remake,
) -> list[Node]:
    """The roots with some nodes replaced: those that `known` has something for, whose sources are not looked at.

    `make` gives what stands for any other node, from its new sources.
    """
    done: dict[int, Node] = {}
    keep: list[Node] = []  # ids stay unique while their nodes live
    stack = list(reversed(roots))
    while stack:
        node = stack[-1]
        if id(node) in done:
            stack.pop()
            continue
        found = known(node)
        if found is None:
            pending = [source for source in node.src if id(source) not in done]
            if pending:
                stack.extend(reversed(pending))
                continue
            found = make(node, tuple([done[id(source)] for source in node.src]))
            keep.append(found)
        done[id(node)] = found
        stack.pop()
    return [done[id(root)] for root in roots]
