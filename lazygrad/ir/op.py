"""The operations of the IR, by stratum and family.

Graph stratum: a node is a whole tensor. Loop stratum: a node is a statement, or a value that is one scalar (shape ()) or
one vector (shape (lanes,)). The elementwise family belongs to both. What each operation takes and gives is written in
`verify.py` (the grammar) and computed in `interpret.py`.
"""

from __future__ import annotations

from enum import IntEnum, auto


class Op(IntEnum):
    # --- leaves of the graph stratum
    CONST = auto()  # a number, in every element
    ARGUMENT = auto()  # a number given when the plan runs, in every element
    BUFFER = auto()  # a realised value
    IOTA = auto()  # the index along an axis
    # --- elementwise, one source
    NEG = auto()
    ABS = auto()
    SIGN = auto()
    FLOOR = auto()
    CEIL = auto()
    TRUNC = auto()
    ROUND = auto()  # half to even
    SQRT = auto()
    RSQRT = auto()
    EXP = auto()
    EXP2 = auto()
    EXPM1 = auto()
    LOG = auto()
    LOG2 = auto()
    LOG10 = auto()
    LOG1P = auto()
    SIN = auto()
    COS = auto()
    TAN = auto()
    ASIN = auto()
    ACOS = auto()
    ATAN = auto()
    SINH = auto()
    COSH = auto()
    TANH = auto()
    ASINH = auto()
    ACOSH = auto()
    ATANH = auto()
    ERF = auto()
    ERFC = auto()
    ERFINV = auto()
    LGAMMA = auto()
    DIGAMMA = auto()
    NOT = auto()  # logical for bool, bitwise for integers
    CAST = auto()  # to node.dtype, rounding to nearest even; float to integer truncates
    BITCAST = auto()  # the same bits as node.dtype, of the same width
    # --- elementwise, two sources of one dtype and shape
    ADD = auto()
    SUB = auto()
    MUL = auto()
    DIV = auto()  # floats only
    IDIV = auto()  # integers, rounding to minus infinity
    MOD = auto()  # integers, with the sign of the divisor
    GCD = auto()  # integers: the greatest common divisor, by its magnitude
    FMOD = auto()  # floats, with the sign of the dividend, exact
    POW = auto()
    ATAN2 = auto()
    MAX = auto()  # NaN if either is NaN
    MIN = auto()
    LT = auto()
    LE = auto()
    EQ = auto()
    NE = auto()
    AND = auto()
    OR = auto()
    XOR = auto()
    SHL = auto()
    SHR = auto()  # arithmetic for signed, logical for unsigned
    # --- elementwise, three sources
    WHERE = auto()  # condition (bool), value, value
    FMA = auto()  # a * b + c with one rounding, floats
    # --- reduce, scan and sort
    REDUCE = auto()  # over arg.axes, which stay with size 1
    SCAN = auto()  # along arg.axis, inclusive
    SORT = auto()  # unsigned keys: where the elements of each row along arg.axis stand in order, equal ones as they stood
    # --- movement: each element of the result is one element of the source, or a fill value
    RESHAPE = auto()
    PERMUTE = auto()
    EXPAND = auto()  # to node.shape, by the broadcasting rule (leading axes may be new)
    PAD = auto()  # before, after and between elements
    SHRINK = auto()  # start and step on each axis, to node.shape
    FLIP = auto()
    WINDOW = auto()  # sliding windows: the axes count windows, new last axes run inside one
    FOLD = auto()  # the transpose of WINDOW: overlapping elements add
    # --- indexed
    GATHER = auto()  # source, index: out[.., i, ..] = source[.., index[.., i, ..], ..]
    SCATTER = auto()  # base, index, value: the transpose of GATHER, onto base
    UPDATE = auto()  # base, value: base with the region at arg.starts replaced by value
    # --- structure of the graph stratum
    STOP = auto()  # the same value; no gradient passes
    COPY = auto()  # the same value on device node.place
    GRAD = auto()  # roots, cotangents, targets: one gradient per target, read by ELEMENT
    ELEMENT = auto()  # the arg.index-th result of a GRAD or EXTERN
    CALL = auto()  # a named composite, see composite.py
    EXTERN = auto()  # a function of a host library, see extern.py
    APPLY = auto()  # an operator whose nodes are not built yet, see template.py
    # --- loop stratum
    KERNEL = auto()  # *params, *body
    PARAM = auto()  # a buffer, or a number, given by the caller
    LOCAL = auto()  # a buffer that lives in the kernel; of shape () a register
    INDEX = auto()  # a loop's variable, int64
    LOOP = auto()  # index, extent, *body: for index in range(0, extent, arg.step)
    LOAD = auto()  # buffer, element offset[, mask]: where the mask is false, 0 and no access
    STORE = auto()  # buffer, element offset, value[, mask]
    ACCUMULATE = auto()  # buffer, element offset, value[, mask]: a step of a reduction whose order is free; lowered before code
    DOTS = auto()  # buffer, offset of a tile, of its left and of its right operand: a tile of dot products, see dots.py
    MMA = (
        auto()
    )  # sums, left and right operand, an offset in each: a warp's sums and products, see tiles.py
    FETCH = (
        auto()
    )  # local, offset, buffer, offset[, mask]: elements copied while the kernel goes on
    COMMIT = auto()  # the copies that came before it are a group
    AWAIT = auto()  # locals: waits for copies into them
    PREFETCH = auto()  # buffer, offset: the element is touched soon, if there is one
    CHECK = auto()  # condition: where false the kernel reports arg.message; execution goes on
    SPLAT = auto()  # a scalar in every lane
    LANES = auto()  # 0, 1, 2, ... across the lanes, int64
    SHUFFLE = auto()  # two vectors: lanes arg.lanes of one followed by the other


UNARY = frozenset(range(Op.NEG, Op.BITCAST + 1))
BINARY = frozenset(range(Op.ADD, Op.SHR + 1))
TERNARY = frozenset((Op.WHERE, Op.FMA))
ELEMENTWISE = UNARY | BINARY | TERNARY
COMPARISON = frozenset((Op.LT, Op.LE, Op.EQ, Op.NE))
COMMUTATIVE = frozenset((Op.ADD, Op.MUL, Op.MAX, Op.MIN, Op.EQ, Op.NE, Op.AND, Op.OR, Op.XOR))
MOVEMENT = frozenset(range(Op.RESHAPE, Op.WINDOW + 1))
TILED = frozenset((Op.MMA, Op.FETCH, Op.COMMIT, Op.AWAIT, Op.PREFETCH))
STATEMENT = frozenset((Op.LOOP, Op.STORE, Op.ACCUMULATE, Op.DOTS, *TILED, Op.CHECK, Op.LOCAL))
NO_RESULT = frozenset(
    (Op.LOOP, Op.STORE, Op.ACCUMULATE, Op.DOTS, *TILED, Op.CHECK, Op.KERNEL)
)  # their dtype and shape say nothing

_BY_NAME = {op.name.lower(): op for op in Op}


def named(name: str) -> Op | None:
    """The operation whose lower-case name this is."""
    return _BY_NAME.get(name)
