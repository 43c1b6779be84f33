"""Linear algebra: factorisations and solvers by LAPACK (ir/lapack.py), norms and products by kernels; a family a file."""

from __future__ import annotations

from . import assembling as assembling
from . import distances as distances
from . import factorizations as factorizations
from . import least_squares as least_squares
from . import low_rank as low_rank
from . import norms as norms
from . import products as products
from . import solving as solving
from . import triangles as triangles
