"""vmap: a function of one example becomes one of a batch.

The function runs once, on placeholders that have the shape of one example and no value. What it has computed is then rewritten for the
whole batch by the rule tables of gradient/batching.py and composites/batched.py. Nothing is copied for each example, and nothing of it
is left when the result is computed: it is a graph like any other, which differentiates, compiles, and is mapped again.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple

from ..composites import batched as batched
from ..functional.joining import cat
from ..gradient.batching import batch, spread
from ..gradient.region import Region
from ..history import Edge
from ..ir.dtype import DType, int64
from ..ir.node import Node, Shape, iota, postorder
from ..ir.op import Op
from ..runtime.realize import before_write
from ..runtime.steady import STEADY, Written
from ..tensor import Tensor
from .levels import Level, operand, with_history
from .trees import Structure, flatten, spread_over

Function = Callable[..., Any]
Dims = Any
"""An int, None, or containers of such that fit the arguments or results."""


def vmap(
    func: Function,
    in_dims: Dims = 0,
    out_dims: Dims = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Function:
    """A function that does for every example of a batch what `func` does for one.

    Args:
        in_dims: the axis of the batch of each argument, None for what is the same for all examples; one for all, or a tuple that fits
            the arguments, with containers that fit theirs.
        out_dims: where the axis of the batch is to be in each result.
        randomness: what random operations do: "error", or the "same" or "different" numbers for every example.
        chunk_size: compute so many examples at a time.

    Raises (when called):
        ValueError: in_dims or out_dims do not fit; the sizes of the batch differ; a result is no tensor.
        RuntimeError: `func` reads the value of an example, draws random numbers and randomness is "error", or writes an example into
            a tensor of the outside, which then is as it was.

    Same as torch.vmap. In-place operations on tensors that are made in `func` work, batched or not.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        name = getattr(func, "__name__", repr(func))
        leaves, dims, structure, size = _arguments(name, in_dims, args, kwargs)
        step = size if chunk_size is None else min(chunk_size, size)
        if step == size:
            return _run(func, name, leaves, dims, structure, size, out_dims, randomness, kwargs)
        parts = []
        for begin in range(0, size, step):
            count = min(step, size - begin)
            chunk = [
                leaf if dim is None else leaf.narrow(dim, begin, count)
                for leaf, dim in zip(leaves, dims)
            ]
            parts.append(
                _run(func, name, chunk, dims, structure, count, out_dims, randomness, kwargs)
            )
        return _joined(parts, out_dims)

    return mapped


def _joined(parts: Sequence[Any], out_dims: Dims) -> Any:
    """The results of several chunks as those of all examples."""
    flat = [flatten(part) for part in parts]
    structure = flat[0][1]
    dims = spread_over(out_dims, structure)
    assert dims is not None
    return structure.build(
        [
            each[0] if dim is None else cat(list(each), dim)
            for dim, each in zip(dims, zip(*[leaves for leaves, _ in flat]))
        ]
    )


# --- one run


class Unknown:
    """The value of a placeholder: whoever wants to know more of it gets an error."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            "vmap: It looks like you're calling .item() on a Tensor, or attempting to use a Tensor in some data-dependent control "
            "flow, or an operation whose result has a shape that depends on data. There is one value for each example, and "
            "none to read. Please try to rewrite what you're doing with other operations, such as where() and masks."
        )


UNKNOWN = Unknown()


class Mapping:
    """One run of a mapped function, for those who are told of writes and draws while it lasts (STEADY.tracing)."""

    def __init__(self, size: int, randomness: str, place: str) -> None:
        self.size = size
        self.randomness = randomness
        self.index = placeholder(int64, (), place)
        """Which example it is."""
        self.eager = False
        """Whether it reads memory that the outside may change at any time: results are computed at once."""
        self.writes: list[tuple[weakref.ref[Written], Node]] = []
        """What is written in place, with its value before."""
        self.outer: Mapping | None = None

    def wrote(self, storage: Written) -> None:
        """A storage is about to be written."""
        self.writes.append((weakref.ref(storage), storage.node))

    def draw(self) -> int:
        """Random numbers are about to be drawn: for how many examples.

        Raises:
            RuntimeError: they may not be.
        """
        if self.randomness == "error":
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
                "randomness flags on vmap or perform the randomness operation out of vmap"
            )
        count = self.size if self.randomness == "different" else 1
        return count if self.outer is None else count * self.outer.draw()

    def example(self) -> Node:
        """The number of the example among those that numbers are drawn for."""
        number = self.index if self.randomness == "different" else self.index * 0
        if self.outer is None:
            return number
        inner = self.size if self.randomness == "different" else 1
        return self.outer.example() * inner + number

    def __enter__(self) -> Mapping:
        STEADY.leave()
        self.outer = STEADY.tracing
        STEADY.tracing = self
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        STEADY.tracing = self.outer


def placeholder(dtype: DType, shape: Shape, place: str) -> Node:
    """A leaf that has no value to read."""
    node = Node(Op.BUFFER, (), dtype, shape, None, place)
    node.value = UNKNOWN
    return node


def _run(
    func: Function,
    name: str,
    leaves: Sequence[Any],
    dims: Sequence[int | None],
    structure: Structure,
    size: int,
    out_dims: Dims,
    randomness: str,
    kwargs: dict[str, Any],
) -> Any:
    """One run of `func` for a whole batch."""
    place = next(leaf.place for leaf, dim in zip(leaves, dims) if dim is not None)
    batches: dict[Node, Node] = {}
    mapping = Mapping(size, randomness, place)
    outer = STEADY.tracing
    try:
        with Level() as level, mapping:
            made, shape, changed = _trace(
                func, name, leaves, dims, structure, out_dims, kwargs, level, mapping, batches
            )
    except BaseException:
        _undo(mapping, batches)
        raise
    _settle(mapping, batches, outer)
    found = [with_history("Vmap", *each) if isinstance(each, Whole) else each for each in made]
    for leaf, value in changed:
        leaf.copy_(with_history("Vmap", *value))
    if mapping.eager:
        for each in found:
            if isinstance(each, Tensor):
                each.realize()
    return shape.build(found)


class Whole(NamedTuple):
    """A result for the whole batch, and where its gradients go."""

    node: Node
    edges: list[tuple[Edge, Node]]


def _trace(
    func: Function,
    name: str,
    leaves: Sequence[Any],
    dims: Sequence[int | None],
    structure: Structure,
    out_dims: Dims,
    kwargs: dict[str, Any],
    level: Level,
    mapping: Mapping,
    batches: dict[Node, Node],
) -> tuple[list[Any], Structure, list[tuple[Tensor, Whole]]]:
    """What `func` returns, as a `Whole` for each tensor; its structure; the arguments that it has changed in place.

    No tensor of the run is left in it: those that are still alive afterwards are of the outside.
    """
    given: list[Any] = []
    examples: list[tuple[Tensor, Tensor, int]] = []
    for leaf, dim in zip(leaves, dims):
        if dim is None:
            given.append(leaf)
            continue
        node = operand(leaf)
        whole = node.permute([dim, *[axis for axis in range(len(node.shape)) if axis != dim]])
        one = placeholder(node.dtype, whole.shape[1:], node.place)
        batches[one] = whole
        example = level.begin(one, leaf, False)
        mapping.eager |= leaf.storage.pinned() is not None
        examples.append((leaf, example, dim))
        given.append(example)
    batches[mapping.index] = iota(mapping.size, int64, mapping.index.place)
    outputs, shape = _results(name, func(*structure.build(given), **kwargs), out_dims)
    written = [each for each in examples if each[1].storage.node not in batches]
    tensors = [(each, dim) for each, dim in outputs if dim is not None]
    tensors += [(example, dim) for _, example, dim in written]
    made = iter(_batched(level, tensors, batches, mapping.size))
    results = [each if dim is None else next(made) for each, dim in outputs]
    return results, shape, [(leaf, next(made)) for leaf, _, _ in written]


def _batched(
    level: Level,
    results: Sequence[tuple[Tensor, int]],
    batches: dict[Node, Node],
    size: int,
) -> list[Whole]:
    """Each tensor for the whole batch, with the axis of the batch where it is wanted."""
    tensors = [each for each, _ in results]
    region = Region([e.node if e.requires_grad else e._raw() for e in tensors], batches)
    edges: list[list[tuple[Edge, Node]]] = [
        level.outside([each], region.copied) if level.recorded else [] for each in tensors
    ]
    special = level.special([each for each, its in zip(tensors, edges) if its])
    if special is not None:
        raise RuntimeError(
            f"You tried to vmap over {special.name()}, but it does not have vmap support: gradients from outside of vmap cannot "
            "go through an autograd.Function or hooks inside. Take the gradient inside of the mapped function, as in vmap(grad(f))."
        )
    leaves = {region.leaf(one): region.leaf(whole) for one, whole in batches.items()}
    whole = [
        spread(root, size) if made is None else made
        for root, made in zip(region.roots, batch(region.roots, leaves, size))
    ]
    return [
        Whole(_moved(node, dim), its)
        for node, (_, dim), its in zip(region.restore(whole), results, edges)
    ]


def _moved(node: Node, dim: int) -> Node:
    """The axis of the batch, the first, where it is wanted."""
    rank = len(node.shape)
    if not -rank <= dim < rank:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})"
        )
    dim %= rank
    return node.permute([*range(1, dim + 1), 0, *range(dim + 1, rank)])


# --- what is left behind


def _depends(node: Node, batches: dict[Node, Node]) -> bool:
    return any(each in batches for each in postorder([node]))


def _undo(mapping: Mapping, batches: dict[Node, Node]) -> None:
    """Take back what was written of examples, after an error."""
    for reference, before in reversed(mapping.writes):
        storage = reference()
        if storage is not None and _depends(storage.node, batches):
            storage.node = before
            storage.writes += 1  # type: ignore[attr-defined]


def _settle(mapping: Mapping, batches: dict[Node, Node], outer: Mapping | None) -> None:
    """Pass on the writes to what outlives the run.

    Raises:
        RuntimeError: an example was written to a tensor of the outside.
    """
    wrong = False
    for attempt in range(2):
        alive = [(reference(), before) for reference, before in mapping.writes]
        wrong = any(s is not None and _depends(s.node, batches) for s, _ in alive)
        del alive
        if not wrong:
            break
        if not attempt:
            gc.collect()  # what only refers to itself is not outside
    if wrong:
        _undo(mapping, batches)
        raise RuntimeError(
            "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args "
            "that has more elements than `self`: a tensor of the outside, which is the same for all examples, was written to with "
            "values of one example. It is as it was before. Please use out-of-place operators and return the result."
        )
    for reference, _ in mapping.writes:
        storage = reference()
        if storage is None:
            continue
        if outer is not None:
            outer.wrote(storage)
        else:
            before_write(storage)


# --- arguments and results


def _arguments(
    name: str, in_dims: Dims, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], list[int | None], Structure, int]:
    """The leaves of the arguments, the axis of the batch in each, their structure, and the size of the batch."""
    who = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>)"
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{who}: expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, got: "
            f"{type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a function with "
            "no inputs. The latter is unsupported."
        )
    leaves, structure = flatten(args)
    spread_dims = spread_over(in_dims, structure)
    if spread_dims is None:
        raise ValueError(
            f"{who}: in_dims is not compatible with the structure of `inputs`. in_dims has structure "
            f"{flatten(in_dims)[1]} but inputs has structure {structure}."
        )
    dims: list[int | None] = []
    for leaf, dim in zip(leaves, spread_dims):
        if dim is None:
            dims.append(None)
            continue
        if not isinstance(dim, int):
            raise ValueError(
                f"{who}: Got in_dim={dim} for an input but in_dim must be either an integer dimension or None."
            )
        if not isinstance(leaf, Tensor):
            raise ValueError(
                f"{who}: Got in_dim={dim} for an input but the input is of type {type(leaf)}. We cannot vmap over non-Tensor "
                "arguments, please use None as the respective in_dim"
            )
        if not -leaf.ndim <= dim < leaf.ndim:
            raise ValueError(
                f"{who}: Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {leaf.ndim} so expected "
                f"in_dim to satisfy -{leaf.ndim} <= in_dim < {leaf.ndim}."
            )
        dims.append(dim % leaf.ndim)
    sizes = [leaf.shape[dim] for leaf, dim in zip(leaves, dims) if dim is not None]
    if not sizes:
        raise ValueError(f"{who}: Expected at least one Tensor to vmap over: every in_dim is None")
    if len(set(sizes)) > 1:
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return leaves, dims, structure, sizes[0]


def _results(
    name: str, result: Any, out_dims: Dims
) -> tuple[list[tuple[Any, int | None]], Structure]:
    """The results of the function, with the axis where each is to have the batch."""
    leaves, structure = flatten(result)
    dims = spread_over(out_dims, structure)
    if dims is None:
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of `outputs`. "
            f"out_dims has structure {flatten(out_dims)[1]} but outputs has structure {structure}."
        )
    for leaf, dim in zip(leaves, dims):
        if dim is not None and not isinstance(leaf, Tensor):
            raise ValueError(
                f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(leaf)}. Did you mean to set out_dims= to "
                "None for output?"
            )
        if dim is not None and not isinstance(dim, int):
            raise ValueError(
                f"vmap({name}, ..., out_dims={out_dims}): `out_dims` must be an int or a python collection of ints, got {dim}"
            )
    return list(zip(leaves, dims)), structure
