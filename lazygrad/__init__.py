"""lazygrad: PyTorch's names on a lazy compiler. `import lazygrad as torch` runs PyTorch-shaped programs.

The functions come from the table of operators (functional/registry.py). Modules that not every program needs (nn, optim,
autograd, ...) are imported when they are first named.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import functional as functional
from . import random as random
from . import turns as turns
from .autograd.grad_mode import (
    enable_grad as enable_grad,
)
from .autograd.grad_mode import (
    inference_mode as inference_mode,
)
from .autograd.grad_mode import (
    is_grad_enabled as is_grad_enabled,
)
from .autograd.grad_mode import (
    is_inference_mode_enabled as is_inference_mode_enabled,
)
from .autograd.grad_mode import (
    no_grad as no_grad,
)
from .autograd.grad_mode import (
    set_grad_enabled as set_grad_enabled,
)
from .functional.attributes import (
    layout as layout,
)
from .functional.attributes import (
    strided as strided,
)
from .functional.devices import (
    device as device,
)
from .functional.devices import (
    get_default_device as get_default_device,
)
from .functional.devices import (
    set_default_device as set_default_device,
)
from .functional.legacy import (
    CLASSES as CLASSES,
)
from .functional.numeric_limits import (
    finfo as finfo,
)
from .functional.numeric_limits import (
    iinfo as iinfo,
)
from .functional.registry import (
    FUNCTIONS as FUNCTIONS,
)
from .functional.registry import (
    install as install,
)
from .functional.settings import (
    get_default_dtype as get_default_dtype,
)
from .functional.settings import (
    set_default_dtype as set_default_dtype,
)
from .ir.dtype import (
    DType as dtype,  # noqa: F401
)
from .ir.dtype import (
    bfloat16 as bfloat16,
)
from .ir.dtype import (
    bool_ as bool_,
)
from .ir.dtype import (
    float16 as float16,
)
from .ir.dtype import (
    float32 as float32,
)
from .ir.dtype import (
    float64 as float64,
)
from .ir.dtype import (
    int8 as int8,
)
from .ir.dtype import (
    int16 as int16,
)
from .ir.dtype import (
    int32 as int32,
)
from .ir.dtype import (
    int64 as int64,
)
from .ir.dtype import (
    uint8 as uint8,
)
from .ir.dtype import (
    uint32 as uint32,
)
from .ir.dtype import (
    uint64 as uint64,
)
from .printing import (
    get_printoptions as get_printoptions,
)
from .printing import (
    set_printoptions as set_printoptions,
)
from .random import (
    Generator as Generator,
)
from .random import (
    default_generator as default_generator,
)
from .random import (
    get_rng_state as get_rng_state,
)
from .random import (
    initial_seed as initial_seed,
)
from .random import (
    manual_seed as manual_seed,
)
from .random import (
    seed as seed,
)
from .random import (
    set_rng_state as set_rng_state,
)
from .reading import (
    realize as realize,
)
from .runtime.threads import (
    get_num_threads as get_num_threads,
)
from .runtime.threads import (
    set_num_threads as set_num_threads,
)
from .size import (
    Size as Size,
)
from .tensor import Tensor as Tensor

install()
globals().update(FUNCTIONS)
globals().update(CLASSES)

bool = bool_
float = float32
double = float64
half = float16
long = int64
int = int32
short = int16

e = math.e
pi = math.pi
inf = math.inf
nan = math.nan
newaxis = None
contiguous_format = preserve_format = channels_last = None

__version__ = "0.1.0"


def set_default_tensor_type(t: Any) -> None:
    """Set the default dtype and device by one of the old classes, such as DoubleTensor or cuda.FloatTensor, or its name."""
    from .functional.legacy import dtype_named, is_cuda_class

    set_default_dtype(dtype_named(t))
    set_default_device("cuda" if is_cuda_class(t) else None)


_MODULES = (
    "amp",
    "array_api",
    "autograd",
    "backends",
    "compiler",
    "config",
    "cuda",
    "distributions",
    "func",
    "linalg",
    "nn",
    "onnx",
    "opencl",
    "optim",
    "testing",
    "utils",
    "ir",
    "serialization",
    "signal",
    "special",
    "runtime",
    "codegen",
    "schedule",
)
_ELSEWHERE = {
    "vmap": "func",
    "summary": "nn.summary",
    "lower": "inspection",
    "compile": "compiled",
    "profile": "runtime.profile",
    "schedule_override": "runtime.schedules",
    "OutOfMemoryError": "runtime.errors",
    **dict.fromkeys(
        (
            "autocast",
            "is_autocast_enabled",
            "set_autocast_enabled",
            "get_autocast_dtype",
            "set_autocast_dtype",
            "is_autocast_cache_enabled",
            "set_autocast_cache_enabled",
            "clear_autocast_cache",
        ),
        "amp.autocast_mode",
    ),
    **dict.fromkeys(
        (
            "use_deterministic_algorithms",
            "are_deterministic_algorithms_enabled",
            "is_deterministic_algorithms_warn_only_enabled",
            "set_deterministic_debug_mode",
            "get_deterministic_debug_mode",
            "set_float32_matmul_precision",
            "get_float32_matmul_precision",
            "set_warn_always",
            "is_warn_always_enabled",
            "set_flush_denormal",
        ),
        "functional.settings",
    ),
    "save": "serialization",
    "load": "serialization",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _ELSEWHERE:
        return getattr(import_module(f"{__name__}.{_ELSEWHERE[name]}"), name)
    functional.absent.refuse(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


if TYPE_CHECKING:
    from . import amp as amp
    from . import array_api as array_api
    from . import autograd as autograd
    from . import backends as backends
    from . import compiler as compiler
    from . import config as config
    from . import cuda as cuda
    from . import distributions as distributions
    from . import func as func
    from . import linalg as linalg
    from . import nn as nn
    from . import onnx as onnx
    from . import opencl as opencl
    from . import optim as optim
    from . import serialization as serialization
    from . import signal as signal
    from . import special as special
    from . import testing as testing
    from . import utils as utils
    from .amp.autocast_mode import autocast as autocast
    from .amp.autocast_mode import clear_autocast_cache as clear_autocast_cache
    from .amp.autocast_mode import get_autocast_dtype as get_autocast_dtype
    from .amp.autocast_mode import is_autocast_cache_enabled as is_autocast_cache_enabled
    from .amp.autocast_mode import is_autocast_enabled as is_autocast_enabled
    from .amp.autocast_mode import set_autocast_cache_enabled as set_autocast_cache_enabled
    from .amp.autocast_mode import set_autocast_dtype as set_autocast_dtype
    from .amp.autocast_mode import set_autocast_enabled as set_autocast_enabled
    from .compiled import compile as compile
    from .func import vmap as vmap
    from .inspection import lower as lower
    from .nn.summary import summary as summary
    from .runtime.errors import OutOfMemoryError as OutOfMemoryError
    from .runtime.profile import profile as profile
    from .runtime.schedules import schedule_override as schedule_override
    from .serialization import load as load
    from .serialization import save as save
    from .signatures.functions import *  # noqa: F403
