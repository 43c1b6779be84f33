"""Random programs: a writer of programs of tensors in PyTorch's spelling, with their meaning in numpy.

In: the tables of operations.py. Out: `Program`: two texts that do the same, one for a library with PyTorch's names and one for
numpy, and the leaves they start from. The generator runs the numpy text as it writes it, so that it knows every value: it
brings tensors into the domains of functions, keeps rounded values away from jumps, and numbers from growing without bound.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import operations, reference
from .operations import DOMAINS, Form

Array = np.ndarray[Any, Any]

SIZE_LIMIT = 320
LEAF_LIMIT = 64
MAGNITUDE = 30.0
ROUNDED = 1e-9
"""The error that float64 results are allowed."""
LOOSE = 2e-4
"""That of results that have been through float32."""


@dataclass
class Leaf:
    """A tensor that a program starts from."""

    name: str
    array: Array
    requires_grad: bool


@dataclass
class Program:
    """A program, what to look at when it has run, and what is known about it."""

    leaves: list[Leaf]
    torch: str
    numpy: str
    outputs: list[str]
    tolerance: dict[str, float]
    depth: int
    smooth: bool
    """Whether finite differences are its gradients: nothing is detached or written behind autograd's back."""
    second: bool
    together: bool
    """Whether outputs are realised in one plan."""
    backward: bool
    """Whether gradients are asked for by backward(), otherwise by autograd.grad."""
    special: bool
    tracked: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        """A script that runs as it is, with PyTorch or lazygrad as torch."""
        lines = [
            "import numpy as np",
            "import lazygrad as torch",
            "F = torch.nn.functional",
            "nan, inf = float('nan'), float('inf')",
            "torch.set_default_dtype(torch.float64)",
        ]
        for leaf in self.leaves:
            flat = leaf.array.reshape(-1).tolist()
            grad = ".requires_grad_()" if leaf.requires_grad else ""
            lines.append(
                f"{leaf.name} = torch.tensor({flat}, dtype=torch.{leaf.array.dtype.name})"
                f".reshape({leaf.array.shape}){grad}"
            )
        lines += [self.torch, f"# outputs {self.outputs} tracked {self.tracked}"]
        return "\n".join(lines)


@dataclass(eq=False)
class Variable:
    """A variable of the program as it stands, with its present value."""

    name: str
    array: Array
    exact: bool
    tolerance: float
    tracked: bool
    plain: bool
    """Whether it is in row-major order in every library."""
    depth: int
    writable: bool = True
    detached: bool = False
    read: bool = False

    @property
    def category(self) -> str:
        return {"f": "float", "b": "bool"}.get(self.array.dtype.kind, "int")

    @property
    def root(self) -> int:
        return id(root(self.array))


def root(array: Array) -> Array:
    """The array whose memory an array is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _text(array: Array) -> tuple[str, str]:
    """An index as text of both libraries."""
    flat, shape = array.reshape(-1).tolist(), array.shape
    ours = f"torch.tensor({flat}, dtype=torch.int64)"
    theirs = f"np.array({flat}, dtype=np.int64)"
    if len(shape) == 1:
        return ours, theirs
    return f"{ours}.reshape({shape})", f"{theirs}.reshape({shape})"


class Unsuitable(Exception):
    """A form cannot be applied to this tensor."""


class Parameters:
    """The parameters of one form, drawn as they are met; a name means the same wherever it stands."""

    def __init__(self, draw: random.Random, shape: tuple[int, ...], unique: bool) -> None:
        self.draw = draw
        self.shape = shape
        self.rank = len(shape)
        self.unique = unique
        self.known: dict[str, tuple[str, str]] = {}
        self.axis_number = 0

    def integer(self, low: int, high: int) -> int:
        if low > high:
            raise Unsuitable
        return self.draw.randint(low, high)

    def one_of(self, values: Sequence[Any]) -> Any:
        if not values:
            raise Unsuitable
        return values[self.integer(0, len(values) - 1)]

    def get(self, name: str) -> tuple[str, str]:
        if name not in self.known:
            value = getattr(self, f"_{name}")()
            self.known[name] = value if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) else (str(value), str(value))  # fmt: skip
        return self.known[name]

    def fill(self, text: str, which: int) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: self.get(match[1])[which], text)

    def _axis(self) -> int:
        axis = self.integer(-self.rank, self.rank - 1)
        self.axis_number = axis % self.rank
        return axis

    def _axis2(self) -> int:
        return self.integer(-self.rank, self.rank - 1)

    def _long_axis(self) -> int:
        self.axis_number = self.one_of([i for i, n in enumerate(self.shape) if n >= 2])
        return self.axis_number

    def _unit_axis(self) -> int:
        chosen: int = self.one_of([i for i, n in enumerate(self.shape) if n == 1])
        return chosen

    def _new_axis(self) -> int:
        return self.integer(-self.rank - 1, self.rank)

    def _axes(self) -> str:
        bits = self.integer(1, 2**self.rank - 1)
        chosen = [i for i in range(self.rank) if bits >> i & 1]
        negative = self.integer(0, 1)
        return str(tuple(i - self.rank if negative else i for i in chosen))

    def _order(self) -> str:
        left, order = list(range(self.rank)), []
        while left:
            order.append(left.pop(self.integer(0, len(left) - 1)))
        return str(tuple(order))

    def _keep(self) -> bool:
        return bool(self.integer(0, 1))

    def _number(self) -> float:
        number: float = self.one_of([2.0, 0.5, 1.0, -1.0, 0.0, -1.5, 0.25, 3.0])
        return number

    def _nonzero(self) -> float:
        number: float = self.one_of([2.0, 0.5, -1.0, 4.0, 1.0, -0.25])
        return number

    def _diagonal(self) -> int:
        return self.integer(-1, 1)

    def _correction(self) -> int:
        return self.integer(0, 1)

    def _shape(self) -> str:
        return str(self.shape)

    def _wider(self) -> str:
        shape = [self.integer(0 if n == 0 else 1, 3) if n == 1 else n for n in self.shape]
        lead = [2] if self.rank < 4 and self.integer(0, 2) == 0 else []
        return str(tuple(lead + shape))

    def _slices(self) -> str:
        parts = []
        for size in self.shape:
            kind = self.integer(0, 5)
            if kind == 0 and size:
                parts.append(str(self.integer(-size, size - 1)))
            elif kind == 1:
                parts.append(f"{self.integer(-2, 2)}:")
            elif kind == 2:
                parts.append(f":{self.integer(-1, 3)}")
            elif kind == 3:
                parts.append(f"{self.integer(0, 1)}::2")
            elif kind == 4:
                parts.append(f"::{self.integer(2, 3)}")
            else:
                parts.append(":")
        return ", ".join([*parts, "..."])

    def _position(self) -> int:
        self.get("axis")
        return self.integer(0, self.shape[self.axis_number] - 1)

    def _start(self) -> int:
        self.get("axis")
        return self.integer(0, self.shape[self.axis_number])

    def _length(self) -> int:
        return self.integer(0, self.shape[self.axis_number] - int(self.get("start")[0]))

    def _reshaped(self) -> str:
        size = math.prod(self.shape)
        if not size:
            return str(self.one_of([(0,), (0, 2), (1, 0, 3)]))
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        first: int = self.one_of(divisors)
        rest = size // first
        return str(
            self.one_of([(-1,), (first, rest), (first, 1, rest), (first, -1), (1, first, rest)])
        )

    def _sizes(self) -> str:
        """Like `reshaped`, without a -1."""
        size = math.prod(self.shape)
        if not size:
            return str(self.one_of([(0,), (0, 2), (1, 0, 3)]))
        first: int = self.one_of([d for d in range(1, size + 1) if size % d == 0])
        return str((first, size // first))

    def _shift(self) -> int:
        return self.integer(-2, 3)

    def _repeats(self) -> str:
        return str(tuple(self.integer(1, 2) for _ in range(self.rank)))

    def _amounts(self) -> str:
        amounts: list[int] = []
        for axis in range(self.integer(1, min(self.rank, 2))):
            size = self.shape[-1 - axis]
            amounts += [self.integer(-min(size // 2, 1), 2), self.integer(-min(size // 2, 1), 1)]
        return str(amounts)

    def _indexes(self, size: int, count: int | None = None) -> Array:
        count = self.integer(0 if self.integer(0, 9) == 0 else 1, 4) if count is None else count
        return np.array([self.integer(0, size - 1) for _ in range(count)], dtype=np.int64)

    def _positions(self) -> tuple[str, str]:
        self.get("axis")
        return _text(self._indexes(self.shape[self.axis_number]))

    def _position_one(self) -> tuple[str, str]:
        return _text(self._indexes(self.shape[self.axis_number], 1))

    def _positions0(self) -> tuple[str, str]:
        return _text(self._indexes(self.shape[0] if self.shape else 1))

    _positions_first = _positions0

    def _positions_last(self) -> tuple[str, str]:
        return _text(self._indexes(self.shape[-1]))

    def _indices(self, full: bool = False) -> tuple[str, str]:
        self.get("axis")
        axis = self.axis_number
        shape = [n if full or i == axis else self.integer(1, n) for i, n in enumerate(self.shape)]
        shape[axis] = self.integer(1, min(self.shape[axis], 3))
        size = self.shape[axis]
        seed = self.integer(0, 999)
        numbers = np.random.default_rng(seed)
        if self.unique:
            index = numbers.random((*shape[:axis], size, *shape[axis + 1 :])).argsort(axis)
            index = index.take(np.arange(shape[axis]), axis)
        else:
            index = numbers.integers(0, size, shape)
        return _text(np.asarray(index))

    def _lines(self) -> tuple[str, str]:
        return self._indices(full=True)

    def _classes(self) -> tuple[str, str]:
        return _text(self._indexes(self.shape[-1], self.shape[0]))


class Writer:
    """A program while it is written."""

    def __init__(self, draw: random.Random, special: bool = False) -> None:
        self.draw = draw
        """Where decisions come from: another for each step, so that a step can be left out."""
        self.special = special
        self.leaves: list[Leaf] = []
        self.variables: list[Variable] = []
        self.torch: list[str] = []
        self.numpy: list[str] = []
        self.smooth = True
        self.counted = 0
        self.frozen: set[int] = set()
        """Roots of leaves that require grad: written under no_grad only."""
        self.environment: dict[str, Any] = {"np": np, "ref": reference}
        self.used: list[Form] = []

    # --- drawing

    def integer(self, low: int, high: int) -> int:
        return self.draw.randint(low, high)

    def one_of(self, values: Sequence[Any]) -> Any:
        return values[self.integer(0, len(values) - 1)]

    def pick(self, suits: Callable[[Variable], bool]) -> Variable:
        """A variable, most often the latest."""
        found = [variable for variable in self.variables if suits(variable)]
        if not found:
            raise Unsuitable
        if self.integer(0, 7):
            return found[-1]
        chosen: Variable = self.one_of(found)
        return chosen

    # --- leaves

    def leaf(self, shape: tuple[int, ...], dtype: str, exact: bool, grad: bool) -> None:
        numbers = np.random.default_rng(self.integer(0, 9999))
        if dtype == "bool":
            array = np.asarray(numbers.integers(0, 2, shape)).astype(bool)
        elif dtype.startswith(("int", "uint")):
            array = np.asarray(numbers.integers(0 if dtype[0] == "u" else -4, 5, shape)).astype(
                dtype
            )
        elif exact:
            array = np.asarray(numbers.integers(-8, 9, shape) / 4).astype(dtype)
        else:
            array = np.asarray(numbers.uniform(-2, 2, shape)).astype(dtype)
        if self.special:
            odd = numbers.choice([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0, 0.5], shape)
            array = np.where(numbers.random(shape) < 0.5, odd, array).astype(dtype)
        name = f"v{self._number()}"
        grad = grad and array.dtype.kind == "f"
        self.leaves.append(Leaf(name, array.copy(), grad))
        self.environment[name] = array
        tolerance = LOOSE if dtype == "float32" else ROUNDED
        self.variables.append(
            Variable(name, array, exact or dtype[0] != "f", tolerance, grad, True, 0)
        )
        if grad:
            self.frozen.add(id(root(array)))

    def _number(self) -> int:
        self.counted += 1
        return self.counted - 1

    # --- steps

    def apply(self, form: Form) -> Variable:
        """Apply a form to a tensor that it suits, or one that is brought into its domain."""
        a = self.operand(self.pick(lambda v: self.suits(form, v)), form.domain())
        parameters = Parameters(self.draw, a.array.shape, form.has("unique"))
        operands = self.operands(form, a)
        name = f"v{self._number()}"
        ours, theirs, guard = self._texts(form, parameters, operands)
        self.guard(form, guard, operands)
        wrap = "np.asarray" if form.has("views") else "ref.fresh"
        return self.assign(name, ours, f"{wrap}({theirs})", operands, form)

    def _texts(
        self, form: Form, parameters: Parameters, operands: dict[str, Variable]
    ) -> tuple[str, str, str]:
        ours = rename(parameters.fill(form.torch, 0), operands)
        theirs = rename(parameters.fill(form.numpy, 1), operands)
        guard = rename(parameters.fill(form.guard, 1), operands)
        return ours, theirs, guard

    def suits(self, form: Form, variable: Variable) -> bool:
        """Whether a form is for tensors of this category and shape."""
        words, shape, dtype = form.words, variable.array.shape, variable.array.dtype
        category = variable.category
        wanted = form.category
        if "anyint" in words:
            if category == "float":
                return False
        elif "signed" in words:
            if dtype.kind != "i":
                return False
        elif "wide" in words:
            if dtype not in (np.int64, np.int32):
                return False
        elif wanted == "number":
            if category == "bool" or (dtype.kind == "u"):
                return False
        elif wanted != "anything" and category != wanted:
            return False
        rank = len(shape)
        if ("rank1" in words and rank < 1) or ("rank2" in words and rank < 2):
            return False
        if ("rank3" in words and rank < 3) or ("matrix" in words and rank != 2):
            return False
        if ("cube" in words and rank != 3) or ("upto2" in words and rank > 2):
            return False
        if "full" in words and 0 in shape:
            return False
        if "many" in words and (not shape or min(shape) < 2):
            return False
        if "unit_axis" in words and 1 not in shape:
            return False
        if "long_axis" in words and (not shape or max(shape) < 2):
            return False
        if "plain" in words and not (variable.plain and variable.array.flags.c_contiguous):
            return False
        if "rounds" in words and not variable.exact:
            return False
        if "spread" in words:
            if not shape or min(shape) < 2:
                return False
            if min(float(np.var(variable.array, axis).min()) for axis in range(rank)) < 1e-2:
                return False
        return True

    def operand(self, variable: Variable, domain: str | None) -> Variable:
        """A tensor in a domain."""
        if domain is None:
            return variable
        if self.special:
            raise Unsuitable
        text, holds = DOMAINS[domain]
        array = variable.array
        if not array.size or holds(float(array.min()), float(array.max())):
            return variable
        line = text.format(variable.name)
        name = f"v{self._number()}"
        return self.assign(name, line, f"ref.fresh({line})", {"a": variable}, None)

    def operands(self, form: Form, a: Variable, inplace: bool = False) -> dict[str, Variable]:
        """The other tensors of a form: of the dtype of `a`, and broadcasting with it."""
        found = {"a": a}
        for letter in "bc":
            if re.search(rf"\b{letter}\b", form.torch):
                shapes = [v.array.shape for v in found.values()]
                b = self.pick(
                    lambda v, letter=letter, shapes=shapes: (  # type: ignore[misc]
                        self._pairs(form, a, v, inplace)
                        and (letter == "b" or _broadcast(*shapes, v.array.shape) is not None)
                    )
                )
                domain = form.domain(f"{letter}:")
                found[letter] = self.operand(b, domain)
        if re.search(r"\bm\b", form.torch):
            masks = [
                v for v in self.variables
                if v.category == "bool" and _broadcast(a.array.shape, v.array.shape) == a.array.shape
                and (not form.has("masked") or v.array.shape == a.array.shape)
            ]  # fmt: skip
            found["m"] = self.one_of(masks) if masks else self.mask(a)
        return found

    def mask(self, a: Variable) -> Variable:
        if a.category != "float":
            raise Unsuitable
        form = Form("a > 0.3", "a > 0.3", frozenset(), "a - 0.3")
        self.guard(form, f"{a.name} - 0.3", {"a": a})
        name = f"v{self._number()}"
        line = f"{a.name} > 0.3"
        return self.assign(name, line, f"ref.fresh({line})", {"a": a}, form)

    def _pairs(self, form: Form, a: Variable, b: Variable, inplace: bool) -> bool:
        if b.array.dtype != a.array.dtype or (inplace and a.root == b.root):
            return False
        if form.has("product"):
            try:
                product = np.matmul(np.empty(a.array.shape), np.empty(b.array.shape))
                return bool(product.size <= SIZE_LIMIT)
            except ValueError:
                return False
        if form.has("same"):
            return bool(b.array.shape == a.array.shape)
        shape = _broadcast(a.array.shape, b.array.shape)
        if inplace:
            return bool(shape == a.array.shape)
        return shape is not None and math.prod(shape) <= SIZE_LIMIT

    def guard(self, form: Form, text: str, operands: dict[str, Variable]) -> None:
        """Raise where rounding could decide."""
        if form.has("jumps"):
            array = operands["a"].array
            if array.dtype.kind == "f":
                if not np.all(np.isfinite(array)) or np.any(np.abs(array) > 100):
                    raise Unsuitable
                if "uint8" in form.torch and np.any(array < 0):
                    raise Unsuitable
                text = f"{operands['a'].name} - np.round({operands['a'].name})"
                if "bool" in form.torch:
                    text = operands["a"].name
        certain = self.special or all(v.exact for v in operands.values())
        if not text or (certain and not form.has("apart")):
            return
        if operands["a"].category != "float":
            return
        margin = 1e-5 if max(v.tolerance for v in operands.values()) <= ROUNDED else 2e-2
        with np.errstate(all="ignore"):
            distance = np.abs(np.asarray(eval(text, self.environment)))
        if distance.size and not float(distance.min()) > margin:
            raise Unsuitable

    def assign(
        self, name: str, ours: str, theirs: str, operands: dict[str, Variable], form: Form | None
    ) -> Variable:
        """Add `name = ...` to the program, unless the value is too large, in size or magnitude."""
        with np.errstate(all="ignore"):
            value = eval(theirs, self.environment)
        array = np.asarray(value)
        self.check(array, operands)
        sources = list(operands.values())
        views = form is not None and form.has("views")
        shares = [s for s in sources if views and root(s.array) is root(array)]
        floats = array.dtype.kind == "f"
        tolerance = max(s.tolerance for s in sources) if sources else ROUNDED
        if array.dtype == np.float32 or (form is not None and form.has("loose")):
            tolerance = max(tolerance, LOOSE)
        exact = all(s.exact for s in sources) and (
            not floats
            or (
                form is not None
                and (form.has("exact") or form.has("views") or form.has("rounds") or not form.numpy)
                and short(array)
            )
        )
        made = Variable(
            name,
            array,
            exact or self.special,
            tolerance,
            floats
            and any(s.tracked for s in sources)
            and not (form is not None and form.has("cuts")),
            all(s.plain for s in sources)
            and array.flags.c_contiguous
            and not (form is not None and form.has("strided")),
            1 + max((s.depth for s in sources), default=0),
            writable=not (form is not None and form.has("several"))
            and all(s.writable for s in shares),
            detached=any(s.detached for s in shares),
        )
        self.environment[name] = array
        self.torch.append(f"{name} = {ours}")
        self.numpy.append(f"{name} = {theirs}")
        for source in sources:
            source.read = True
        if not made.writable:  # PyTorch refuses to write what has been split
            for other in self.variables:
                other.writable = other.writable and other.root != made.root
        self.variables.append(made)
        if form is not None:
            self.used.append(form)
            self.smooth = self.smooth and not form.has("rounds")
        if floats and not self.special and array.size and float(np.abs(array).max()) > MAGNITUDE:
            line = f"{name} / ({name} * {name} + 1.0).sqrt()"
            numpy_line = f"ref.fresh({name} / np.sqrt({name} * {name} + 1.0))"
            return self.assign(f"v{self._number()}", line, numpy_line, {"a": made}, None)
        return made

    def check(self, array: Array, operands: dict[str, Variable]) -> None:
        if array.size > SIZE_LIMIT or array.ndim > 5 or array.dtype.kind not in "fbiu":
            raise Unsuitable
        if array.dtype.kind == "f" and not self.special:
            if not np.all(np.isfinite(array)) or (array.size and float(np.abs(array).max()) > 1e4):
                raise Unsuitable
        if array.dtype in (np.int64, np.int32) and array.size and int(np.abs(array).max()) > 10**6:
            raise Unsuitable

    def write(self, form: Form) -> None:
        """An in-place write: most often to a fresh value or a view of it, which nothing has been saved of."""
        kind = self.integer(0, 7)
        if kind:
            source = self.pick(lambda v: v.category == "float" and v.array.size > 0)
            self.assign(
                f"v{self._number()}", f"{source.name}.clone()", f"ref.fresh({source.name})",
                {"a": source}, Form("", "", frozenset(("exact",)), ""),
            )  # fmt: skip
            base = self.variables[-1]
            if kind > 3:
                try:
                    self.apply_to_latest(self.one_of(WRITTEN_VIEWS))
                except Unsuitable:
                    pass
            a = self.variables[-1] if root(self.variables[-1].array) is root(base.array) else base
        else:
            a = self.pick(
                lambda v: v.category == "float" and v.array.flags.writeable and v.writable
            )
        if not (a.array.flags.writeable and a.writable and self.suits(form, a)):
            raise Unsuitable
        parameters = Parameters(self.draw, a.array.shape, True)
        operands = self.operands(form, a, inplace=True)
        others = [v for v in operands.values() if v is not a]
        if any(v.root == a.root for v in others):
            raise Unsuitable
        ours, theirs, guard = self._texts(form, parameters, operands)
        self.guard(form, guard, operands)
        behind = a.root in self.frozen
        if a.detached and not behind and any(v.tracked for v in others):
            raise Unsuitable
        with np.errstate(all="ignore"):
            value = np.asarray(eval(theirs, self.environment))
        self.check(value, operands)
        if value.shape != a.array.shape or (value.size and not self.special and float(np.abs(value).max()) > MAGNITUDE):  # fmt: skip
            raise Unsuitable
        if behind or a.detached or self.integer(0, 9) == 0:
            self.torch.append(f"with torch.no_grad(): {ours}")
            behind = True
            self.smooth = False
        else:
            self.torch.append(ours)
        line = f"{a.name}[...] = {theirs}"
        self.numpy.append(line)
        with np.errstate(all="ignore"):
            exec(line, self.environment)
        depth = 1 + max(v.depth for v in operands.values())
        exact = form.has("exact") and all(v.exact for v in operands.values()) and short(a.array)
        tolerance = max(v.tolerance for v in operands.values())
        tracked = any(v.tracked for v in operands.values()) and not behind
        for other in self.variables:
            if root(other.array) is root(a.array):
                other.depth = max(other.depth, depth)
                other.exact = other.exact and exact
                other.tolerance = max(other.tolerance, tolerance)
                other.tracked = other.tracked or (tracked and not other.detached)
                other.read = False
        for other in others:
            other.read = True
        self.used.append(form)

    def apply_to_latest(self, form: Form) -> None:
        latest = self.variables[-1]
        if not self.suits(form, latest):
            raise Unsuitable
        parameters = Parameters(self.draw, latest.array.shape, False)
        operands = {"a": latest}
        ours, theirs, _ = self._texts(form, parameters, operands)
        self.assign(f"v{self._number()}", ours, f"np.asarray({theirs})", operands, form)

    def read_number(self) -> None:
        """A value read in the middle of the program, and used as a number."""
        a = self.pick(lambda v: v.category == "float" and 0 < v.array.size)
        b = self.pick(lambda v: v.category == "float")
        name = f"v{self._number()}"
        made = Form("", "", frozenset(), "")
        ours = f"{b.name} * {a.name}.sum().item()"
        theirs = f"ref.fresh({b.name} * float(np.sum({a.name})))"
        loose = a.tolerance if b.tolerance < a.tolerance else b.tolerance
        result = self.assign(name, ours, theirs, {"a": b}, made)
        result.exact, result.tolerance = False, loose
        a.read = False
        if a.tracked:
            self.smooth = False

    def detach(self) -> None:
        a = self.pick(lambda v: v.category == "float")
        word = self.one_of(["detach()", "data"])
        form = Form("a.detach()", "a", frozenset(("exact", "views")), "")
        name = f"v{self._number()}"
        made = self.assign(name, f"{a.name}.{word}", f"np.asarray({a.name})", {"a": a}, form)
        made.detached = made.tracked
        if made.tracked:
            made.tracked = False
            self.smooth = False


WRITTEN_VIEWS = [form for form in operations.MOVES if "{slices}" in form.torch or "transpose" in form.torch or "select(" in form.torch or form.torch.startswith(("a.permute", "a.narrow", "a.view("))]  # fmt: skip


def rename(text: str, operands: dict[str, Variable]) -> str:
    """The text with the tensors' names for `a`, `b`, `c` and `m`."""
    return re.sub(
        r"(?<![\w.\"'])([abcm])(?![\w\"'])",
        lambda match: operands[match[1]].name if match[1] in operands else match[1],
        text,
    )


def short(array: Array) -> bool:
    """Whether every element is a short binary fraction, so that sums of such elements are exact."""
    if array.dtype.kind != "f":
        return True
    scaled = array.astype(np.float64) * 256
    return bool(np.all(np.abs(array) < 2**10) and np.all(scaled == np.round(scaled)))


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


STEPS: list[tuple[int, str, list[Form]]] = [
    (6, "apply", operations.UNARY),
    (6, "apply", operations.BINARY),
    (2, "apply", operations.TRUTHS),
    (1, "apply", operations.INTEGERS),
    (3, "apply", operations.REDUCTIONS),
    (2, "apply", operations.CONTRACTIONS),
    (6, "apply", operations.MOVES),
    (1, "apply", operations.CASTS),
    (4, "write", operations.IN_PLACE),
]
KINDS = [(kind, table) for weight, kind, table in STEPS for _ in range(weight)]
AMBIGUOUS = (
    "lerp",
    "mean",
    "max",
    "min",
    "relu",
    "clamp",
    "hard",
    "soft",
    "sum",
    "@",
    "nan_to_num",
)
"""Where the sign of a zero is not defined, or what becomes of infinities."""
SPECIAL = [
    form
    for form in (*operations.UNARY, *operations.BINARY, *operations.MOVES, *operations.TRUTHS)
    if (form.has("exact") or form in operations.MOVES or form in operations.TRUTHS)
    and not any(word in form.torch for word in AMBIGUOUS)
]


SPECIAL_WRITES = [
    form
    for form in operations.IN_PLACE
    if form.has("exact") and not any(word in form.torch for word in AMBIGUOUS)
]


def drawn(number: int, steps: int = 24) -> list[int]:
    """The seeds of one random program of up to `steps` steps: the same on every machine and for every version of anything."""
    draws = random.Random(number)
    return [draws.randrange(1, 2**32) for _ in range(steps + 1)]


def write(seeds: Sequence[int], forms: Sequence[Form] = (), special: bool | None = None) -> Program:
    """The program of some seeds: the first makes the leaves, each other one a step, but 0, which makes none.

    `forms`: what half of the steps are of; `special`: whether leaves have infinities, NaNs and negative zeros.
    """
    writer = Writer(random.Random(seeds[0]))
    make_leaves(writer, special)
    for seed in seeds[1:]:
        if seed:
            writer.draw = random.Random(seed)
            for _ in range(4):
                try:
                    if forms and writer.integer(0, 1):
                        form = writer.one_of(forms)
                        (writer.write if form in operations.IN_PLACE else writer.apply)(form)
                    else:
                        _step(writer)
                    break
                except Unsuitable:
                    continue
    return finish(writer)


def make_leaves(writer: Writer, special: bool | None = None) -> None:
    """Two to four leaves that broadcast with each other, most of them floats of one dtype."""
    writer.special = writer.integer(0, 11) == 0 if special is None else special
    rank = writer.one_of([1, 2, 2, 3, 3, 0, 4, 2])
    base = tuple(
        writer.one_of([1, 2, 3, 4, 2, 3, 5, 1, 3, 4, 2, 3, 2, 3, 0, 17]) for _ in range(rank)
    )
    while math.prod(base) > LEAF_LIMIT:
        base = base[1:]
    dtype = "float64" if writer.integer(0, 5) else "float32"
    for number in range(writer.integer(2, 4)):
        shape = base
        if number:
            shape = tuple(1 if n > 1 and writer.integer(0, 4) == 0 else n for n in base)
            shape = shape[1:] if shape and writer.integer(0, 5) == 0 else shape
        other = number > 1 and writer.integer(0, 2) == 0 and not writer.special
        kind = writer.one_of(["int64", "bool", "int32", "int8", "uint8"]) if other else dtype
        grad = not writer.special and (number == 0 or writer.integer(0, 2) > 0)
        writer.leaf(shape, kind, writer.integer(0, 2) == 0, grad)
    writer.variables.append(writer.variables.pop(0))  # the latest is a float


def finish(writer: Writer) -> Program:
    """Look at what nothing has read, and at some aliases of it."""
    leaves = {leaf.name for leaf in writer.leaves}
    unread = [v for v in writer.variables if not v.read and v.name not in leaves]
    outputs = unread[-6:] or [writer.variables[-1]]
    roots = {v.root for v in outputs}
    outputs += [v for v in writer.variables if v not in unread and v.root in roots][:3]
    return Program(
        writer.leaves,
        "\n".join(writer.torch),
        "\n".join(writer.numpy),
        [v.name for v in outputs],
        {v.name: v.tolerance for v in writer.variables},
        max(v.depth for v in outputs),
        writer.smooth and all(v.tolerance <= ROUNDED for v in writer.variables),
        writer.integer(0, 3) == 0,
        bool(writer.integer(0, 1)),
        bool(writer.integer(0, 1)),
        writer.special,
        [v.name for v in outputs if v.tracked],
    )


def _step(writer: Writer) -> None:
    if writer.special:
        if writer.integer(0, 4) == 0:
            writer.write(writer.one_of(SPECIAL_WRITES))
        else:
            writer.apply(writer.one_of(SPECIAL))
        return
    number = writer.integer(0, 39)
    if number == 0:
        writer.read_number()
    elif number == 1:
        writer.detach()
    else:
        kind, table = writer.one_of(KINDS)
        getattr(writer, kind)(writer.one_of(table))
