"""Rules and passes with a bug planted in them: random programs catch each."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

import lazygrad.composites  # noqa: F401  registers its rules
from lazygrad.ir import build
from lazygrad.ir.args import Region
from lazygrad.ir.dim import product
from lazygrad.ir.node import Node, constant, unary
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import TABLES
from lazygrad.runtime import compile as compiler
from lazygrad.runtime import realize
from lazygrad.runtime.plan import Value

from . import sweep
from .execute import check
from .generator import Program, write

Patch = pytest.MonkeyPatch
LIMIT = 120
"""Programs until a bug must have been caught, most of them of ten steps."""


@dataclass(frozen=True)
class Plant:
    """A bug: how to plant it, the operators that the programs are full of, and whether they have NaNs and negative zeros."""

    plant: Callable[[Patch], None]
    near: tuple[str, ...]
    special: bool = False
    steps: int = 10
    long: bool = False
    """Whether some axis is long, so that loops have tails."""
    limit: int = LIMIT


PLANTS: dict[str, Plant] = {}


def plant(*near: str, **more: Any) -> Callable[[Callable[[Patch], None]], None]:
    """Register a planted bug; `near` are words of the forms that are drawn more often."""

    def register(function: Callable[[Patch], None]) -> None:
        PLANTS[function.__name__] = Plant(function, near, **more)

    return register


def replace(patch: Patch, table: str, rule: str, function: Callable[..., Any]) -> None:
    """Put another function in the place of a rule's."""
    (found,) = [each for each in TABLES[table].all_rules() if each.name == rule]
    patch.setattr(found, "function", function)


def module(name: str) -> Any:
    return importlib.import_module(f"lazygrad.{name}")


@plant("a.sin()", "a.sin_()")
def reverse_rule_with_the_wrong_sign(patch: Patch) -> None:
    def sine(node: Node, cotangent: Node) -> tuple[Node]:
        return (cotangent * -unary(Op.COS, node.src[0]),)

    replace(patch, "reverse gradient", "sine", sine)


@plant("a * b", "a.mul(b)", "a.addcmul")
def reverse_rule_without_a_factor(patch: Patch) -> None:
    def multiply(node: Node, cotangent: Node) -> tuple[Node, Node]:
        return cotangent * node.src[1], cotangent

    replace(patch, "reverse gradient", "multiply", multiply)


@plant("a + {number}", special=True, steps=3, limit=300)
def identity_that_is_wrong_for_negative_zero(patch: Patch) -> None:
    def add_zero(node: Node) -> Node | None:
        left, right = node.src
        zero = right.op is Op.CONST and getattr(right.arg, "value", 1) == 0
        return left if zero else None

    replace(patch, "simplify", "add_zero", add_zero)


@plant("a == b", "a.where(a == a", special=True)
def comparison_that_is_wrong_for_nan(patch: Patch) -> None:
    def compare_with_itself(node: Node) -> Node | None:
        same = node.src[0] is node.src[1] and node.op in (Op.EQ, Op.LE)
        return constant(True, node.dtype, node.shape, node.place) if same else None

    replace(patch, "simplify", "compare_with_itself", compare_with_itself)


@plant("a[{slices}]", "a.narrow", "a.select", "a.split", "a.chunk")
def slices_that_forget_where_they_start(patch: Patch) -> None:
    def shrink_chain(node: Node) -> Node | None:
        source = node.src[0]
        if source.op is not Op.SHRINK:
            return None
        assert isinstance(node.arg, Region) and isinstance(source.arg, Region)
        steps = [a * b for a, b in zip(node.arg.steps, source.arg.steps, strict=True)]
        return build.shrink(source.src[0], source.arg.starts, node.shape, steps)

    replace(patch, "simplify", "shrink_chain", shrink_chain)


@plant("a.flip(", "a.fliplr", "a.flipud")
def flip_that_is_not_turned_back(patch: Patch) -> None:
    replace(patch, "reverse gradient", "flip", lambda node, cotangent: (cotangent,))


@plant("a.cos()", "a.exp()", "a.sum({axes}", "logsumexp")
def mask_dropped_from_a_reduction(patch: Patch) -> None:
    steps = module("codegen.transform.accumulate")
    before = steps._step

    def step(line: Node) -> list[Node]:
        return list(before(line.like(line.src[:3])))

    patch.setattr(steps, "_step", step)


@plant("a.cos()", "a + b", "a * b")
def vectorize_without_its_tail(patch: Patch) -> None:
    patch.setattr(module("codegen.transform.vectorize"), "_tail", lambda *_: [])


@plant("a @ a.transpose", "a.matmul(a.mT)", "a.mm(a.t())", long=True, steps=4)
def jam_without_its_tail(patch: Patch) -> None:
    jam = module("codegen.transform.jam")
    before = jam.replace_loop

    def replace_loop(kernel: Node, loop: Node, lines: Sequence[Node]) -> Node:
        made: Node = before(kernel, loop, list(lines)[:1])
        return made

    patch.setattr(jam, "replace_loop", replace_loop)


@plant("a.prod(", "a.cumprod", "amax", "amin")
def products_combined_by_sums(patch: Patch) -> None:
    steps = module("codegen.transform.accumulate")
    before = steps.combine
    patch.setattr(
        steps, "combine", lambda kind, *rest: before("add" if kind == "mul" else kind, *rest)
    )


@plant("scatter_add", "index_select", "F.embedding", "a[{positions_first}]", "a[{positions0}]")
def scatter_in_vectors(patch: Patch) -> None:
    for name in ("codegen.choose", "codegen.transform.vectorize", "codegen.transform.jam"):
        patch.setattr(module(name), "carries", lambda _: False)


@plant("a @ a.transpose", "softmax", "a.mm", "torch.outer", "cumsum")
def memory_reused_while_it_is_live(patch: Patch) -> None:
    def temporaries(kernels: Sequence[Any], where: dict[int, Value], made: Any) -> list[Any]:
        size: Any = 0
        for kernel in kernels:
            for node in kernel.results:
                if id(node) not in where:
                    where[id(node)] = Value("temporary", 0)
                    size = size + product(node.shape) * node.dtype.itemsize
        return [size] if size else []

    patch.setattr(compiler, "temporaries", temporaries)


@plant("a.flip(", "a.roll", "amax", "amin", "a.permute", steps=2)
def key_that_ignores_an_argument(patch: Patch) -> None:
    """Two reductions or movements that differ in their axes only share a plan."""
    plans: dict[Any, Any] = {}
    before = realize.PlanCache.get

    def find(self: Any, key: Any) -> Any:
        short = (tuple([entry[:4] for entry in key[0]]), *key[1:])
        return plans.get(short)

    def get(self: Any, normal: Any, variant: Any = None) -> Any:
        made = before(self, normal, variant)
        plans[(tuple([entry[:4] for entry in normal.key[0]]), *normal.key[1:])] = made
        return made

    patch.setattr(realize.PlanCache, "find", find)
    patch.setattr(realize.PlanCache, "get", get)


@pytest.fixture
def no_plans() -> Iterator[None]:
    """Plans and kernels of other tests are not used, and those of this one are forgotten."""
    forget()
    yield
    forget()


def forget() -> None:
    realize.PLANS.clear()
    compiler.KERNELS.__init__()  # type: ignore[misc]


def drawn(bug: Plant) -> Iterator[Program]:
    near = [
        form
        for form in sweep.FORMS
        if any(form.torch.startswith(w) or w in form.torch for w in bug.near)
    ]
    assert near
    found = 0
    for number in range(20 * bug.limit):
        draws = random.Random(number)
        seeds = [draws.randrange(1, 2**32) for _ in range(bug.steps + 1)]
        if bug.steps < 4:
            seeds[0] = number // 20  # few leaves, so that programs differ in little
        if bug.long and not any(17 in leaf.array.shape for leaf in write(seeds[:1]).leaves):
            continue
        yield write(seeds, near, bug.special)
        found += 1
        if found == bug.limit:
            return


def fails(program: Program) -> bool:
    try:
        check(program)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("name", PLANTS)
def test_random_programs_catch(name: str, no_plans: None) -> None:
    bug = PLANTS[name]
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        caught = next((program for program in drawn(bug) if fails(program)), None)
    assert caught is not None, f"{bug.limit} programs did not notice"
    forget()
    assert not fails(caught)
