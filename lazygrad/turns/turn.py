"""What a turn of a loop is: its calls, the tensors from outside that they use, and the plan that it ends with.

In: what a Recorder has noted. Out: data that a Passage compares calls with, and the questions that both ask of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import config
from ..history import Untracked, mode
from ..ir.node import kind_of
from ..ir.op import Op
from ..recipes import Recipes
from ..runtime.memory import ALIGNMENT
from ..runtime.steady import STEADY
from ..tensor import Tensor

if TYPE_CHECKING:
    from ..ir.args import Scalar
    from ..ir.dtype import DType
    from ..ir.node import Kind, Node, Site
    from ..runtime.realize import Ready
    from ..size import Size

NUMBER, CONSTANT = -1, -2
UNALIGNED = ALIGNMENT - 1
_BUFFER = Op.BUFFER


class External:
    """A tensor that a turn uses and has not made: what another one in its place must be."""

    __slots__ = ("aligned", "dtype", "kind", "node", "requires", "same", "type", "view")

    def __init__(self, tensor: Tensor, node: Node, same: int | None) -> None:
        self.type = tensor.__class__
        self.requires = tensor._requires
        self.dtype = tensor.dtype
        self.kind: Kind = kind_of(node)
        """Of its storage's value."""
        self.node = None if node.op is _BUFFER else node
        """The value, where it is no computed one: the very node, or a constant like it."""
        self.view = None if tensor._view is None else tensor._view.alone()
        """How it lies in its storage, where it is a view of data."""
        self.same = same
        """An earlier one that has the same memory."""
        self.aligned = node.op is not _BUFFER or node.value.address & UNALIGNED == 0


Argument = tuple[int, Any]
"""A tensor's slot; or NUMBER and its position among the numbers; or CONSTANT, its key and its value."""


class Leaf(NamedTuple):
    """A leaf that gets a gradient: its slot, the gradient's, and what the gradient is; `into` where there is one already, that grows."""

    slot: int
    result: int
    dtype: DType
    size: Size
    into: bool = False
    requires: bool = False


class Run(NamedTuple):
    """A run of a plan in a turn: where its buffers and numbers come from, and whose values its results are."""

    number: int
    ready: Ready
    buffers: tuple[tuple[int, int], ...]
    """The slot of an external, as (-1, slot); or a result of an earlier run of the turn, as (its number, the result)."""
    numbers: tuple[tuple[int, Scalar], ...]
    """For each number of the plan the position among those given (-1 for none), and the value of one that is always the same."""
    written: tuple[tuple[int, int], ...]
    """The externals that are written to, each with the result that is its value."""
    constants: tuple[tuple[int, Node], ...]
    """Those whose last write was a constant."""
    plain: tuple[tuple[int, int, Kind], ...]
    """Other slots whose values are results, what these are, and that need no gradient; `kept`: those that have a history."""
    kept: tuple[tuple[int, int, Kind], ...]


class Step:
    """One call of a turn."""

    __slots__ = (
        "args", "dtype", "enabled", "function", "index", "leaves", "names", "next", "of", "requires", "result", "returns", "run", "site",
        "size", "writes",
    )  # fmt: skip

    def __init__(
        self,
        function: Any,
        enabled: bool,
        args: tuple[Argument, ...],
        names: tuple[str, ...],
        site: Site | None,
    ) -> None:
        self.function = function
        self.enabled = enabled
        """The grad mode."""
        self.args = args
        self.names = names
        """The last of the arguments are named by these."""
        self.site = site
        self.index = 0
        self.next: Step = self
        self.result = -1
        """The slot of its result."""
        self.dtype: DType | None = None
        self.size: Size | None = None
        self.requires = False
        self.of = -1
        """The external that it makes an alias of, where it is none of a result."""
        self.writes: tuple[tuple[int, int], ...] = ()
        """The arguments that it writes into, each with the external whose storage that is."""
        self.returns = False
        """Whether it gives back the first of them."""
        self.leaves: tuple[Leaf, ...] = ()
        """What it gives gradients to."""
        self.run: Run | None = None
        """What is run when it has been made."""


def BACKWARD(root: Tensor) -> None:
    """backward() of one value, without arguments."""
    Tensor.backward(root)


def DATA(tensor: Tensor) -> Tensor:
    """`.data` of a tensor that is no view."""
    return tensor.data


def DETACH(tensor: Tensor) -> Tensor:
    """`.detach()` of a tensor that is no view."""
    return tensor.detach()


ALIASES = frozenset((DATA, DETACH))


def READ(tensor: Tensor) -> None:
    """The value is asked for."""
    tensor.realize()


def END() -> None:
    """No call: behind the last one."""


class Turn:
    """What comes after one run of a plan, up to the end of another one where nothing is under way."""

    __slots__ = ("before", "era", "externals", "left", "open", "passed", "runs", "steps")

    def __init__(
        self,
        before: Ready,
        steps: Sequence[Step],
        externals: Sequence[External],
        runs: Sequence[Run],
    ) -> None:
        self.before = before
        self.era = Recipes.era
        self.externals = tuple(externals)
        self.runs = tuple(runs)
        """The last of them ends the turn."""
        self.passed = self.left = 0
        """How many passages came to their end, and how many were left."""
        made = {step.result for step in steps if step.result >= 0}
        made.update([leaf.result for step in steps for leaf in step.leaves])
        self.open = bool(made.difference([slot for run in runs for slot, *_ in run.plain]))
        """Whether something that it makes may be foreseen still when it has ended."""
        end = Step(END, True, (), (), None)
        self.steps = (*steps, end)
        for index, (step, following) in enumerate(zip(self.steps, (*self.steps[1:], end))):
            step.index = index
            step.next = following


def whole(tensor: Tensor) -> bool:
    """Whether a tensor with a real storage is a variable or data, and all of its memory or a view of data."""
    storage, view = tensor.storage, tensor._view
    if storage.pin is not None or tensor._record is not None:
        return False
    if tensor._stamp != storage.writes:
        tensor._sync()
    if view is not None and (tensor._requires or not view.path):
        return False
    return tensor._counter.__class__ is not Untracked


def hooked(leaf: Tensor) -> bool:
    """Whether somebody has a say in the gradient of a leaf."""
    extra = leaf._extra
    if extra is None:
        return False
    if extra.hooks or extra.accumulated:
        return True
    record = None if extra.accumulator is None else extra.accumulator()
    return record is not None and record.hooks is not None


def undisturbed() -> bool:
    """Whether plans run as they do in a plain loop, seen by nobody."""
    steady = STEADY.__dict__  # the thread is found once
    return (
        config.active().plain
        and steady["records"] is None
        and steady["observer"] is None
        and steady["tracing"] is None
        and not mode.inference
    )
