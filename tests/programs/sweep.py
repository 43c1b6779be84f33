"""Every form of every table once or twice, on tensors that suit it: what random drawing may miss.

In: the tables. Out: small programs, one step each (and its gradients), for the tests of coverage and of planted bugs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from . import operations
from .generator import Program, Unsuitable, Writer, finish
from .operations import Form

SHAPES = [(2, 3), (3, 3), (4,), (2, 2, 3), (1, 3, 1), (17,)]
TABLES = (
    operations.UNARY,
    operations.BINARY,
    operations.TRUTHS,
    operations.INTEGERS,
    operations.REDUCTIONS,
    operations.CONTRACTIONS,
    operations.MOVES,
    operations.CASTS,
    operations.IN_PLACE,
)
FORMS = [form for table in TABLES for form in table]


def programs_of(form: Form, wanted: int = 1) -> Iterator[Program]:
    """Programs of one step each. None where no tensor suits."""
    found = 0
    for seed in range(120):
        writer = Writer(random.Random(seed))
        shape = SHAPES[seed % len(SHAPES)]
        for dtype in ("bool", "uint8", "int64", "float64", "float64", "float64"):
            writer.leaf(shape, dtype, seed % 4 == 3, dtype == "float64")
        kinds = {
            "int": "int64",
            "bool": "bool",
            "anyint": "int64",
            "signed": "int64",
            "wide": "int64",
        }
        category = next((kinds[word] for word in kinds if form.has(word)), "float64")
        suiting = [v for v in writer.variables if v.array.dtype.name == category]
        writer.variables = [v for v in writer.variables if v not in suiting] + suiting
        try:
            if form in operations.IN_PLACE:
                writer.write(form)
            else:
                writer.apply(form)
        except Unsuitable:
            continue
        program = finish(writer)
        program.second = seed % 2 == 0
        yield program
        found += 1
        if found == wanted:
            return
