"""Linear algebra: factorisations and solvers by LAPACK (ir/lapack.py), norms and products by kernels; a family a file."""

from __future__ import annotations

from . import factorizations as factorizations
from . import solving as solving
