"""The table that every family of this room adds its rules to."""

from __future__ import annotations

from lazygrad.ir.node import Node
from lazygrad.ir.rewrite import RuleTable

MATH: RuleTable[Node] = RuleTable("math")
"""One node of a function that hardware lacks -> the same value by operations that it has."""
