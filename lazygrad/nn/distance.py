"""Distances between rows as modules."""

from __future__ import annotations

from ..tensor import Tensor
from . import functional
from .module import Module


class CosineSimilarity(Module):
    """The cosine of the angle between two tensors along `dim`. Same as torch.nn.CosineSimilarity."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        output: Tensor = functional.cosine_similarity(x1, x2, self.dim, self.eps)
        return output


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps over the last axis. Same as torch.nn.PairwiseDistance."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        output: Tensor = functional.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
        return output
