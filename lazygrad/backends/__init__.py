"""The namespace of PyTorch's libraries, `lazygrad.backends`: what programs set or ask there.

In: settings such as `backends.cudnn.benchmark = True`. Out: they read back, and change nothing: kernels are compiled here, they are the same from run
to run, and products of float32 are float32 throughout. What asks whether a library is there is told that it is not.
"""

from __future__ import annotations

from . import cpu as cpu
from . import cuda as cuda
from . import cudnn as cudnn
from . import mkl as mkl
from . import mkldnn as mkldnn
from . import mps as mps
from . import openmp as openmp
