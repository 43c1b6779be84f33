"""Dropout modules: in training each replaces elements or whole channels at random; after eval() each gives back its input."""

from __future__ import annotations

from ..tensor import Tensor
from . import functional
from .module import Module


class _Dropout(Module):
    """Calls `_function` of nn.functional with the module's probability and mode.

    Raises:
        ValueError: `p` is not in [0, 1].
    """

    _function: str

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = getattr(functional, self._function)(
            input, self.p, self.training, self.inplace
        )
        return output

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Each element 0 with probability `p`, else divided by 1 - p. Same as torch.nn.Dropout."""

    _function = "dropout"


class Dropout1d(_Dropout):
    """Dropout of whole channels of (N, C, L) or (C, L). Same as torch.nn.Dropout1d."""

    _function = "dropout1d"


class Dropout2d(_Dropout):
    """Dropout of whole channels of (N, C, H, W). Same as torch.nn.Dropout2d."""

    _function = "dropout2d"


class Dropout3d(_Dropout):
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W). Same as torch.nn.Dropout3d."""

    _function = "dropout3d"


class AlphaDropout(_Dropout):
    """Dropout for selu: mean 0 and variance 1 of the input stay. Same as torch.nn.AlphaDropout."""

    _function = "alpha_dropout"


class FeatureAlphaDropout(_Dropout):
    """Alpha dropout of whole channels (axes 0 and 1). Same as torch.nn.FeatureAlphaDropout."""

    _function = "feature_alpha_dropout"
