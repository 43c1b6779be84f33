"""The table of operators: (domain, name, version since which) -> a function over tensors.

A function says by its parameters how it is called. Positional parameters are the inputs of the node, in order, by annotation:

    Tensor      the tensor, not computed yet
    Array       the numbers themselves, as a numpy array; computed now, unless they are known without running anything
    Value       as it is: a tensor, a known array, a sequence (list), or None for what is absent

Keyword parameters are the attributes of the node with their defaults (one that is annotated DType is an element type); `outputs` is how
many outputs the node names, and `held` what the first output is held as (held.py), of a function that rounds to that itself.
A function returns a value, or a tuple of several outputs. An array that it returns is known: what computes only with such values
is computed by the functions of folding.py.
"""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]
NEWEST = 28
"""The newest version of the operator set of ai.onnx whose changes the functions know."""
OLDEST = 7
MICROSOFT = "com.microsoft"
SPECIAL = ("outputs", "held")
"""Keyword parameters that are not attributes."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of the table.

    inputs, rest: the annotations of the positional parameters, and that of what may follow.
    attributes: for each whether it must be there, and whether it is an element type.
    """

    domain: str
    name: str
    since: int
    function: Function
    inputs: tuple[str, ...]
    rest: str | None
    required: int
    attributes: dict[str, tuple[bool, bool]]
    special: tuple[str, ...]
    random: bool

    def kind(self, position: int) -> str | None:
        """How the input at this position is given; None if there can be none."""
        return self.inputs[position] if position < len(self.inputs) else self.rest


OPERATORS: dict[tuple[str, str], list[Operator]] = {}
"""The versions of each operator, oldest first."""


def operator(
    name: str, *since: int, domain: str = "", random: bool = False
) -> Callable[[Function], Function]:
    """Register a function for an operator from the versions `since` on, up to the next one that is registered.

    random: the result differs from run to run, so it is never computed in advance.
    """

    def register(function: Function) -> Function:
        for version in since:
            versions = OPERATORS.setdefault((domain, name), [])
            versions.append(row(domain, name, version, function, random))
            versions.sort(key=lambda entry: entry.since)
        return function

    return register


PREPARED: dict[tuple[str, str], Function] = {}
"""By domain and name: what computes of an operator's constant inputs, once, what each run would compute again."""


def prepares(name: str, domain: str = "") -> Callable[[Function], Function]:
    """Register a function that gets a node's constant inputs (None for others) and its attributes.

    It returns None, or (function, inputs): what a run calls instead, and with which inputs, each the place of one of the node's or a
    new constant.
    """

    def register(function: Function) -> Function:
        PREPARED[domain, name] = function
        return function

    return register


def row(domain: str, name: str, since: int, function: Function, random: bool) -> Operator:
    """Read a function's parameters."""
    inputs: list[str] = []
    rest, required = None, 0
    attributes: dict[str, tuple[bool, bool]] = {}
    special = []
    for parameter in inspect.signature(function).parameters.values():
        annotation = str(parameter.annotation).removesuffix(" | None")
        if parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.name in SPECIAL:
                special.append(parameter.name)
            else:
                attributes[parameter.name] = (
                    parameter.default is parameter.empty,
                    annotation == "DType",
                )
            continue
        assert annotation in ("Tensor", "Array", "Value"), f"{name}: {parameter}"
        if parameter.kind is parameter.VAR_POSITIONAL:
            rest = annotation
        else:
            inputs.append(annotation)
            required += parameter.default is parameter.empty
    return Operator(
        domain,
        name,
        since,
        function,
        tuple(inputs),
        rest,
        required,
        attributes,
        tuple(special),
        random,
    )


def find(domain: str, name: str, version: int) -> Operator | None:
    """The row that a node of a model with this version of the domain's operator set means, or None."""
    versions = OPERATORS.get(("" if domain == "ai.onnx" else domain, name), [])
    position = bisect_right([entry.since for entry in versions], version)
    return versions[position - 1] if position else None
