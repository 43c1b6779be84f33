"""The reference interpreter: every stage of the IR, in numpy. The INTERPRET device and the oracle of the tests.

`evaluate` runs graphs (interpret_graph.py); `run_kernel` simulates kernels and reports what a processor would not
(interpret_loops.py); elementwise.py says what the operations compute, and how their values are stored.
"""

from __future__ import annotations

from .elementwise import from_storage, to_storage, value_dtype
from .interpret_graph import evaluate
from .interpret_loops import SimulationError, run_kernel

__all__ = ["SimulationError", "evaluate", "from_storage", "run_kernel", "to_storage", "value_dtype"]
