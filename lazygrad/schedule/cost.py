"""The written cost model of placement: work in units of one addition of a float32, bytes, and the sizes that things must fit.

The numbers are coarse on purpose: they only have to rank "compute it again" against "store it and read it back".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..ir.dim import Dim, Size, example
from ..ir.node import Node
from ..ir.op import ELEMENTWISE, MOVEMENT, Op

WORK: dict[Op, int] = {
    Op.DIV: 4, Op.SQRT: 5, Op.RSQRT: 6, Op.IDIV: 12, Op.MOD: 12, Op.FMOD: 25, Op.GCD: 100,
    Op.EXP: 12, Op.EXP2: 12, Op.EXPM1: 18, Op.LOG: 16, Op.LOG2: 16, Op.LOG10: 16, Op.LOG1P: 18,
    Op.SIN: 20, Op.COS: 20, Op.TAN: 26, Op.ASIN: 18, Op.ACOS: 18, Op.ATAN: 18, Op.SINH: 24, Op.COSH: 24,
    Op.TANH: 18, Op.ASINH: 26, Op.ACOSH: 26, Op.ATANH: 26, Op.ERF: 26, Op.ERFC: 30, Op.ERFINV: 30,
    Op.LGAMMA: 60, Op.DIGAMMA: 50, Op.POW: 40, Op.ATAN2: 26,
}  # fmt: skip
"""The work of an operation on one element; 1 for those not named."""

ROW_BYTES = 1024 * 1024
"""What one iteration may read twice: half of a common L2."""
STORE_WORK = 40
"""Writing an element to memory and reading it back costs about as much as this."""
CHEAP_WORK = 4
"""What costs at most this on one loaded value is computed again in each kernel that reads it."""
FEW_SHARE = 16
"""Values that are so many times fewer than those computed of them are not counted among what is loaded."""
LOCAL_WORK = 6
"""The same for a local buffer, which stays in cache."""
KERNEL_WORK = 600
"""A kernel computes at most this much per element: beyond, compile time grows and registers spill."""
KERNEL_NODES = 128
"""A kernel evaluates at most this many nodes: ten rounds of Philox, a draw of random numbers, are 108."""
SHARED_ELEMENTS = 64 * 1024
"""Reductions of tensors up to this size share a launch where they read the same buffers."""
SHARED_PART = 4
"""What results that share a launch have in common is at least so large a part of one of them: a row that all add is no reason."""
NEAR_NODES = 64
"""How far below a result shared buffers are looked for."""
ORDERED_READS = 16
"""What a contraction reads out of order so many times is put in order first."""
SCATTERED_ROW = 64
"""A scatter copies and changes row by row where a row, and what is scattered to it, has so many elements."""
DIVIDED_ELEMENTS = 64 * 1024
"""Threads share work on this many elements and more; a launch costs next to nothing, so it is kept apart from what they cannot share."""
HELD_BYTES = 1 << 18
"""A kernel whose results nothing reads runs early where what it reads, and so keeps alive, is at least as large."""
TILE_RESULTS = 2
"""So many results are written behind a tile of a contraction: a tile is some rows of each, and of what they are computed of, apart in memory."""
KERNEL_INPUTS = 64
KERNEL_OUTPUTS = 64
KERNEL_STAGES = 24


@dataclass(frozen=True, slots=True)
class Parts:
    """What divide.py makes of large reductions for a machine: by shapes alone. The numbers are those of a processor."""

    elements: int = 1 << 15
    """A part reduces at least this many elements: some microseconds of work."""
    most: int = 256
    results: int = 128
    """More results than this keep threads busy by themselves."""
    groups: int = 0
    """How many parts of all results together keep a machine busy where a group of threads has each; 0 where that does not limit them."""
    threads: int = 0
    """The same where a thread has each, since results lie beside each other in memory; 0 where threads are no such."""
    few_threads: int = 0
    """Fewer threads than this are not what a thread each is for."""
    thread_elements: int = 1
    """What a thread reduces at least, then."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What placement knows of the machine that kernels are for. The numbers are those of a processor of some cores with caches."""

    blocks: bool = True
    """Whether large matrices are computed a block of rows at a time (blocks.py); a trip has little to do in parallel then."""
    local_bytes: int = 512 * 1024
    """A local buffer is at most this large: a quarter of a common L2."""
    few_trips: int = 4
    """A loop of fewer trips is not divided: what it has to do is not made a stage of it, if it is much."""
    trip_elements: int = 0
    """It is much where each trip would have so many elements, beside DIVIDED_ELEMENTS in all."""
    many_trips: int = 0
    """Of fewer trips each has no sums that are more than they: those are a kernel, where they are of much."""
    order_elements: int = 0
    """With fewer trips, so much work keeps the order of loops in which neighbours run along memory."""
    grid: bool = False
    """Whether all loops of a kernel that stand around each other are divided, and neighbours run along memory: they stay in order unless a stage is made."""
    parts: Parts = Parts()


PROCESSOR = Machine()
DRIVER = replace(PROCESSOR, blocks=False)
"""A processor whose kernels another compiler makes."""
GPU = Machine(
    blocks=False,
    local_bytes=32 * 1024,  # of the 48 KB that a group shares
    few_trips=128,  # multiprocessors
    trip_elements=16 * 1024,
    many_trips=16 * 1024,  # a thread each
    order_elements=512 * 1024,
    grid=True,
    parts=Parts(
        elements=4 * 1024,  # sixteen of each thread of a group
        most=1024,
        results=256,
        groups=1024,
        threads=1 << 17,
        few_threads=1 << 15,
        thread_elements=64,
    ),
)


def work(node: Node) -> int:
    """The work of one element of `node` itself."""
    if node.op in WORK:
        scale = 2 if node.dtype.itemsize == 8 else 1
        return WORK[node.op] * scale
    return 1 if node.op in ELEMENTWISE else 0 if node.op in MOVEMENT else 1


def count(sizes: tuple[Size, ...] | list[Size]) -> int:
    """A typical number of elements."""
    total = 1
    for size in sizes:
        total *= example(size)
    return total


def symbolic(sizes: tuple[Size, ...]) -> bool:
    """Whether a size is only known when the plan runs."""
    return any(isinstance(size, Dim) for size in sizes)
