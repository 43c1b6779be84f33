"""`lg.compile`: functions traced once and replayed; which files do what is said in docs/architecture.md."""

from .function import Compiled as Compiled
from .function import compile as compile
