"""Turns of a loop whose calls are known before they are made.

In: the calls of operators, which dispatch.py announces to `STEADY.ahead` while there is one, and the runs of plans that end turns.
Out: what a turn did (`Turn`), noted once by a `Recorder` from one run of a known plan up to a later one; and afterwards its passages
(`Passage`), in which no node, record or key is made: each call is compared with the one that came at its place, its result is a tensor
whose storage is `Foreseen`, and where plans ran they are run, on the buffers and numbers of this passage.

What makes this safe is that nothing is guessed. A call that fits has the same function, grad mode and constants, and as operands
the very tensors at their places, or others of the same kind, so the graph is the one whose plan is known. And whoever looks behind
a foreseen tensor (another operator, a view, a read, another thread) has the calls of the passage made in full first, in order, by
the functions themselves; as does whatever changes a tensor that the passage has used (`Passage.leave`). Terms of tracing compilers:
guards and side exits.
"""

from .foreseen import Foreseen
from .passage import Passage
from .recorder import Recorder, ran
from .turn import Turn

__all__ = ["Foreseen", "Passage", "Recorder", "Turn", "ran"]
