"""torch.nn.modules: PyTorch's addresses of the modules, for programs that import from there, base classes with an underscore among them.

In: nothing. Out: every module under this name, and under that of PyTorch's file, which is the file here that has most of what stood in it.
"""

from __future__ import annotations

import sys
from types import ModuleType

from .. import *  # noqa: F403
from .. import __all__ as __all__
from .. import (
    activation,
    adaptive,
    attention,
    batch_norm,
    container,
    convolution,
    distance,
    dropout,
    embedding,
    linear,
    loss,
    margin_loss,
    module,
    normalization,
    padding,
    parameter_container,
    pooling,
    recurrent,
    recurrent_cells,
    shaping,
    transformer,
    vision,
)
from . import sizes

_FILES: dict[str, tuple[ModuleType, ...]] = {
    "activation": (activation, attention), "adaptive": (adaptive,), "batchnorm": (batch_norm,), "channelshuffle": (vision,),
    "container": (container, parameter_container), "conv": (convolution,), "distance": (distance,), "dropout": (dropout,), "flatten": (shaping,),
    "fold": (vision,), "instancenorm": (batch_norm,), "linear": (linear,), "loss": (loss, margin_loss), "module": (module,),
    "normalization": (normalization,), "padding": (padding,), "pixelshuffle": (vision,), "pooling": (pooling,), "rnn": (recurrent, recurrent_cells),
    "sparse": (embedding,), "transformer": (transformer,), "upsampling": (vision,), "utils": (sizes,),
}  # fmt: skip
"""By the name of PyTorch's file: where its classes are."""
_BASES = {
    ("conv", "_ConvNd"): convolution._Convolution,
    ("conv", "_ConvTransposeNd"): convolution._Transposed,
    ("batchnorm", "_NormBase"): batch_norm._ChannelNorm,
}
"""Base classes that have other names here."""


def _add(name: str, sources: tuple[ModuleType, ...]) -> ModuleType:
    made = ModuleType(f"{__name__}.{name}", sources[0].__doc__)
    for source in sources:
        vars(made).update({k: v for k, v in vars(source).items() if not k.startswith("__")})
    vars(made).update({k: v for (file, k), v in _BASES.items() if file == name})
    sys.modules[made.__name__] = made
    return made


globals().update({name: _add(name, sources) for name, sources in _FILES.items()})
