"""Random numbers: counter-based (Philox 4x32, ten rounds), so that a draw is an expression like any other.

Element i of the draw that begins at `offset` is a function of (seed, offset + i) alone: lazy, the same on every device, and
written in the IR's integer operations. Seed and offset are numbers of the plan, so the next draw compiles nothing.
"""

from __future__ import annotations

import math
import os
import random as python_random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .functional import creation
from .functional.arguments import (
    Number,
    as_number,
    broadcast_shapes,
    compute_dtype,
    integer,
    type_name,
)
from .functional.arguments import sizes as sizes_of
from .functional.creation import buffer_node, leaf
from .functional.devices import creation_place, place_like
from .functional.registry import METHODS, function
from .functional.settings import default_dtype
from .history import mode
from .ir import composite
from .ir.args import Constant, Drawn
from .ir.build import sort
from .ir.dtype import BY_NAME, DType, float32, float64, int64, uint8, uint32, uint64
from .ir.node import Node, constant, iota, unary
from .ir.op import Op
from .results import result_inplace, tensor_nodes
from .runtime.steady import STEADY
from .tensor import Tensor

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
DEFAULT_SEED = 67280421310721
"""PyTorch's seed of a fresh process."""
SHUFFLED = 1 << 15
"""From so many elements on a random order is that of random keys: compiling that takes as long as a shuffle of so many by Python."""
FIRST_OFFSET = 2
"""Numbers 0, 1 and -1 are part of a plan's key, since they simplify; offsets begin, and seeds are shifted, beyond them."""


def philox(counter: Node, seed: Node) -> tuple[Node, Node]:
    """The first two of the four 32-bit words of a counter, as int64 below 2**32. int64 products wrap, which keeps all bits."""
    words = [counter & MASK, (counter >> 32) & MASK, counter ^ counter, counter ^ counter]
    keys = [seed & MASK, (seed >> 32) & MASK]
    for number in range(ROUNDS):
        if number:
            keys = [(key + bump) & MASK for key, bump in zip(keys, INCREMENTS, strict=True)]
        first, second = words[0] * MULTIPLIERS[0], words[2] * MULTIPLIERS[1]
        words = [
            ((second >> 32) & MASK) ^ words[1] ^ keys[0],
            second & MASK,
            ((first >> 32) & MASK) ^ words[3] ^ keys[1],
            first & MASK,
        ]
    return words[0], words[1]


def _fraction(low: Node, high: Node, dtype: DType) -> Node:
    """A number in [0, 1) with as many random bits as `dtype` holds."""
    if dtype is float64:
        bits = ((low >> 5) << 26) | (high >> 6)
        return bits.cast(float64) * 2.0**-53
    kept = {"float32": 24, "float16": 11, "bfloat16": 8}[dtype.name]
    return (low >> (32 - kept)).cast(dtype) * 2.0**-kept


@composite.composite("random_uniform")
def _uniform_body(counter: Node, seed: Node, target: str) -> Node:
    low, high = philox(counter, seed - FIRST_OFFSET)
    return _fraction(low, high, BY_NAME[target])


@composite.composite("random_normal")
def _normal_body(counter: Node, seed: Node, target: str) -> Node:
    """Box and Muller: a radius from one uniform number, an angle from another."""
    dtype = BY_NAME[target]
    wide = float64 if dtype is float64 else float32
    low, high = philox(counter, seed - FIRST_OFFSET)
    if wide is float64:
        other_low, other_high = philox(counter ^ (1 << 62), seed - FIRST_OFFSET)
        radius, turn = _fraction(low, high, wide), _fraction(other_low, other_high, wide)
    else:
        radius, turn = _fraction(low, low, wide), _fraction(high, high, wide)
    length = unary(Op.SQRT, unary(Op.LOG, 1.0 - radius) * -2.0)
    return (length * unary(Op.COS, turn * (2.0 * math.pi))).cast(dtype)


@composite.composite("random_integer")
def _integer_body(counter: Node, seed: Node, span: int) -> Node:
    """An integer in [0, span): the word scaled down, or for wide spans the remainder of 63 bits, or of 64 (a negative one is 2 ** 64 less)."""
    low, high = philox(counter, seed - FIRST_OFFSET)
    if span <= 1 << 31:
        return (low * span) >> 32
    if span <= 1 << 32:  # the product has 64 bits
        return ((low.bitcast(uint64) * span) >> 32).bitcast(int64)
    if span < 1 << 63:
        return (((high << 31) ^ low) & (2**63 - 1)) % span
    return (((high << 32) ^ low).bitcast(uint64) % span).bitcast(int64)


# --- the state


class Generator:
    """A stream of random numbers: a seed, and how far it has been drawn. Same as torch.Generator."""

    def __init__(self, device: Any = None) -> None:
        self.device = device
        self._lock = threading.Lock()
        self._seed = DEFAULT_SEED
        self._offset = FIRST_OFFSET

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream of `seed`."""
        with self._lock:
            self._seed, self._offset = int(seed) % (1 << 64), FIRST_OFFSET
        return self

    def initial_seed(self) -> int:
        """The seed."""
        return self._seed

    def seed(self) -> int:
        """Begin the stream of a seed from the operating system, and return it."""
        seed = int.from_bytes(os.urandom(8), "little") >> 1
        self.manual_seed(seed)
        return seed

    def __reduce__(self) -> Any:
        return _generator, (self.device, self._seed, self._offset)

    def take(self, count: int) -> tuple[int, int]:
        """The seed, and the offset of a draw of `count` elements; while a function is mapped, for each of its examples."""
        if STEADY.tracing is not None:
            count *= STEADY.tracing.draw()
        with self._lock:
            offset = self._offset
            self._offset += max(count, 1)
        mode.draws += 1
        if STEADY.observer is not None:
            STEADY.observer.took(self, self._seed, offset)
        return self._seed, offset

    def get_state(self) -> Tensor:
        """The state, 16 bytes."""
        packed = self._seed.to_bytes(8, "little") + self._offset.to_bytes(8, "little")
        return creation.tensor(list(packed), dtype=uint8)

    def set_state(self, new_state: Tensor) -> Generator:
        """Go back to a state that `get_state` gave.

        Raises:
            TypeError: it is no uint8 tensor. RuntimeError: it has another size.
        """
        if not isinstance(new_state, Tensor) or new_state.dtype is not uint8:
            raise TypeError("expected a torch.ByteTensor, but got " + type(new_state).__name__)
        packed = bytes(new_state.tolist())
        if len(packed) != 16:
            raise RuntimeError(f"RNG state is wrong size: {len(packed)} bytes instead of 16")
        with self._lock:
            self._seed = int.from_bytes(packed[:8], "little")
            self._offset = int.from_bytes(packed[8:], "little")
        return self


def _generator(device: Any, seed: int, offset: int) -> Generator:
    """The generator that pickle or copy took apart."""
    made = Generator(device)
    made._seed, made._offset = seed, offset
    return made


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Begin the random stream of `seed`. Same as torch.manual_seed."""
    return default_generator.manual_seed(seed)


def initial_seed() -> int:
    """The seed of the random stream. Same as torch.initial_seed."""
    return default_generator.initial_seed()


def seed() -> int:
    """Begin a random stream from an unpredictable seed, and return it. Same as torch.seed."""
    return default_generator.seed()


def get_rng_state() -> Tensor:
    """The state of the random stream. Same as torch.get_rng_state."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Go back to a state of the random stream. Same as torch.set_rng_state."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(
    devices: Any = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str | None = None,
) -> Iterator[None]:
    """Go back to the state of the random stream when the block ends; all devices share the stream. Same as torch.random.fork_rng."""
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


# --- draws


def draw(
    name: str, shape: tuple[int, ...], place: str, generator: Generator | None, dtype: DType, **attributes: int | str
) -> Node:  # fmt: skip
    """A draw of the composite `name`: one element for each of `shape`, of `dtype`."""
    count = math.prod(shape)
    generator = generator or default_generator
    seed_value, offset = generator.take(count)
    begin = constant(offset, int64, (count,), place)
    seed_node = constant(seed_value + FIRST_OFFSET, int64, (count,), place)
    for node in (begin, seed_node):
        node.arg = Constant(Drawn(node.arg.value))  # type: ignore[union-attr]
    if STEADY.observer is not None:
        STEADY.observer.drew(generator, seed_node, begin, offset)
    counter = iota(count, int64, place) + begin
    if STEADY.tracing is not None:
        counter = counter + STEADY.tracing.example().expand((count,)) * count
    key = constant(0, int64, (count,), place) + seed_node
    like = Node(Op.CONST, (), dtype, (count,), None, place)
    return composite.call(name, [counter, key], like=like, **attributes).reshape(shape)


def uniform(
    shape: tuple[int, ...], dtype: DType, place: str, generator: Generator | None = None
) -> Node:
    """Numbers in [0, 1)."""
    return draw("random_uniform", shape, place, generator, dtype, target=dtype.name)


def normal_node(
    shape: tuple[int, ...], dtype: DType, place: str, generator: Generator | None = None
) -> Node:
    """Numbers of mean 0 and variance 1."""
    return draw("random_normal", shape, place, generator, dtype, target=dtype.name)


def _float_dtype(name: str, dtype: DType | None) -> DType:
    dtype = dtype or default_dtype()
    if dtype.kind != "float":
        raise NotImplementedError(f"\"{name}\" not implemented for '{type_name(dtype)}'")
    return dtype


@function("rand", method=False)
def rand(
    *size: Any, generator: Generator | None = None, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Random numbers, uniform in [0, 1).

    Args:
        size: sizes one by one, or one sequence.

    Same as torch.rand; the numbers differ from PyTorch's.
    """
    dtype = _float_dtype("rand", dtype)
    node = uniform(_checked(size), dtype, creation_place(device), generator)
    return leaf(node, requires_grad)


def _checked(size: Any) -> tuple[int, ...]:
    shape = sizes_of("size", size)
    for each in shape:
        if each < 0:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {each}: {list(shape)}"
            )
    return shape


@function("randn", method=False)
def randn(
    *size: Any, generator: Generator | None = None, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Random numbers from the normal distribution of mean 0 and variance 1; see `rand`. Same as torch.randn."""
    dtype = _float_dtype("normal_kernel_cpu", dtype)
    node = normal_node(_checked(size), dtype, creation_place(device), generator)
    return leaf(node, requires_grad)


@function("rand_like", method=False)
def rand_like(
    input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """As `rand`, with the shape, dtype and device of a tensor. Same as torch.rand_like."""
    dtype = _float_dtype("rand", dtype or input.dtype)
    node = uniform(tuple(input.shape), dtype, place_like(input.place, device))
    return leaf(node, requires_grad)


@function("randn_like", method=False)
def randn_like(
    input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """As `randn`, with the shape, dtype and device of a tensor. Same as torch.randn_like."""
    dtype = _float_dtype("normal_kernel_cpu", dtype or input.dtype)
    node = normal_node(tuple(input.shape), dtype, place_like(input.place, device))
    return leaf(node, requires_grad)


def _integers(
    low: int,
    high: int,
    shape: tuple[int, ...],
    dtype: DType,
    place: str,
    generator: Generator | None,
) -> Node:
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    if low < -(2**63) or high >= 2**63:
        raise ValueError("Overflow when unpacking long long")
    node = draw("random_integer", shape, place, generator, int64, span=high - low)
    return (node + low if low else node).cast(dtype)


@function("randint", method=False)
def randint(
    low: int, high: Any = None, size: Any = None, *, generator: Generator | None = None, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False, layout: Any = None,
) -> Tensor:  # fmt: skip
    """Random integers in [low, high): randint(high, size) or randint(low, high, size).

    Raises:
        RuntimeError: low >= high.

    Same as torch.randint.
    """
    if size is None and isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    node = _integers(
        integer("randint", "low", low), integer("randint", "high", high), _checked((size,)), dtype or int64,
        creation_place(device), generator,
    )  # fmt: skip
    return leaf(node, requires_grad)


@function("randint_like", method=False)
def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """As `randint`, with the shape, dtype and device of a tensor. Same as torch.randint_like."""
    low, high = (0, low) if high is None else (low, high)
    least, most = integer("randint_like", "low", low), integer("randint_like", "high", high)
    place = place_like(input.place, device)
    node = _integers(least, most, tuple(input.shape), dtype or input.dtype, place, None)
    return leaf(node, requires_grad)


@function("randperm", method=False)
def randperm(
    n: int, *, generator: Generator | None = None, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """The integers below n in random order. Same as torch.randperm.

    Few are shuffled on the host: they are data that the program is given, as in `tensor(list)`, and no program is compiled for each n. Many
    (`SHUFFLED` and more), and those of examples of a batch, which have orders of their own under vmap(randomness="different"), are
    the order of random keys.

    Raises:
        RuntimeError: n is negative.
    """
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    place = creation_place(device)
    if n >= SHUFFLED or STEADY.tracing is not None:
        return leaf(_order_of_keys(n, place, generator).cast(dtype or int64), requires_grad)
    seed_value, offset = (generator or default_generator).take(n)
    order = list(range(n))
    python_random.Random(seed_value << 64 | offset).shuffle(order)
    node = buffer_node(np.array(order, dtype="int64"), int64, place)
    return leaf(node.cast(dtype or int64), requires_grad)


def _order_of_keys(n: int, place: str, generator: Generator | None) -> Node:
    """The places of n random keys of 32 bits in their order. Equal ones, one pair in 2 ** 32, stay as they stood.

    That prefers an order less than a remainder of 32 random bits does, which a shuffle would choose each place by.
    """
    keys = draw("random_integer", (n,), place, generator, int64, span=1 << 32)
    return sort(keys.cast(uint32), 0, 32)


@function("normal", method=False)
def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
    dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Random numbers from normal distributions.

    Args:
        mean, std: numbers, or tensors that broadcast; `size`: the shape, for numbers only.

    Raises:
        RuntimeError: a negative `std`.

    Same as torch.normal.
    """
    if not isinstance(std, Tensor) and std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    tensors = [each for each in (mean, std) if isinstance(each, Tensor)]
    if not tensors:
        dtype = _float_dtype("normal", dtype)
        node = normal_node(_checked((size,)), dtype, creation_place(device), generator)
        return leaf(node * float(std) + float(mean), requires_grad)
    shape = broadcast_shapes("normal", *(tuple(each.shape) for each in tensors))
    dtype = compute_dtype(tensors[0].dtype)
    node = normal_node(shape, dtype, tensors[0].node.place, generator)
    for each, combine in ((std, Op.MUL), (mean, Op.ADD)):
        if isinstance(each, Tensor):
            (other,) = tensor_nodes(each.detach())
            node = Node(combine, (node, other.cast(dtype).expand(shape)), dtype, shape)
        else:
            node = node * float(each) if combine is Op.MUL else node + float(each)
    return leaf(node, requires_grad)


@function("bernoulli")
def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """1 with the probability that each element says (or `p`), else 0. Same as torch.bernoulli."""
    if input.dtype.kind != "float":
        raise RuntimeError(
            "bernoulli: result type Float can't be cast to " + type_name(input.dtype)
        )
    return leaf(_coins(input, input if p is None else p, generator))


def _coins(input: Tensor, p: Any, generator: Generator | None) -> Node:
    shape = tuple(input.shape)
    dtype = input.dtype if input.dtype.kind == "float" else float32
    draws = uniform(shape, dtype, input.node.place, generator)
    if isinstance(p, Tensor):
        (chance,) = tensor_nodes(p.detach())
        return draws.lt(chance.cast(dtype).expand(shape)).cast(input.dtype)
    p = as_number(p)
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return draws.lt(float(p)).cast(input.dtype)


# --- in place


def _method(name: str, grad_name: str) -> Callable[[Callable[..., Node]], Callable[..., Tensor]]:
    def register(draw_node: Callable[..., Node]) -> Callable[..., Tensor]:
        def run(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            return result_inplace(grad_name, self, draw_node(self, *args, **kwargs), (self,), ())

        run.__name__ = run.__qualname__ = name
        run.__doc__ = draw_node.__doc__
        METHODS[name] = run
        return run

    return register


@_method("uniform_", "UniformBackward0")
def _uniform_(
    self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None, **named: float
) -> Node:
    """Fill with numbers uniform in [from, to). Same as torch.Tensor.uniform_."""
    from_ = float(named.get("from", named.get("a", from_)))
    to = float(named.get("b", to))
    if from_ > to:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}"
        )
    dtype = _float_dtype("uniform", self.dtype)
    node = uniform(tuple(self.shape), dtype, self.node.place, generator)
    return node * (to - from_) + from_


@_method("normal_", "NormalBackward0")
def _normal_(self: Tensor, mean: Number = 0.0, std: Number = 1.0, *, generator: Any = None) -> Node:
    """Fill with normal numbers. Same as torch.Tensor.normal_."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    dtype = _float_dtype("normal", self.dtype)
    return normal_node(tuple(self.shape), dtype, self.node.place, generator) * float(std) + float(
        mean
    )


@_method("random_", "RandomBackward0")
def _random_(self: Tensor, from_: int = 0, to: int | None = None, *, generator: Any = None) -> Node:
    """Fill with integers: random_() below the dtype's limit, random_(to), random_(from, to). Same as torch.Tensor.random_."""
    if to is None and from_:
        from_, to = 0, from_
    if to is None:
        limits = {
            "float64": 1 << 53,
            "float32": 1 << 24,
            "float16": 1 << 11,
            "bfloat16": 1 << 8,
            "bool": 2,
        }
        to = limits.get(self.dtype.name, (1 << self.dtype.bits - (self.dtype.kind == "int")) - 1)
    return _integers(from_, to, tuple(self.shape), self.dtype, self.node.place, generator)


@_method("bernoulli_", "BernoulliBackward0")
def _bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Node:
    """Fill with 1 with probability `p`, else 0. Same as torch.Tensor.bernoulli_."""
    return _coins(self, p, generator)


@_method("exponential_", "ExponentialBackward0")
def _exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Node:
    """Fill with numbers of the exponential distribution. Same as torch.Tensor.exponential_."""
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    dtype = _float_dtype("exponential", self.dtype)
    draws = uniform(tuple(self.shape), dtype, self.node.place, generator)
    return unary(Op.LOG, 1.0 - draws) / -float(lambd)
