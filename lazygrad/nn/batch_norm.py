"""Normalisation by the statistics of channels: BatchNorm and InstanceNorm, with running statistics where they keep them."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import functional as operators
from ..functional.batch_norm import batch_norm, instance_norm
from ..ir.dtype import DType, int64
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter, empty_parameter


class _ChannelNorm(Module):
    """What batch and instance norm share: parameters, running statistics and the repr."""

    ranks: ClassVar[tuple[int, ...]]
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool, device: Any,
        dtype: DType | None, bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            parameter = empty_parameter((num_features,), device, dtype) if wanted else None
            self.register_parameter(name, parameter)
        creation, tracks = operators.creation, track_running_stats
        place: dict[str, Any] = {"device": device}
        values = {
            "running_mean": creation.zeros(num_features, dtype=dtype, **place) if tracks else None,
            "running_var": creation.ones(num_features, dtype=dtype, **place) if tracks else None,
            "num_batches_tracked": creation.tensor(0, dtype=int64, **place) if tracks else None,
        }
        for name, value in values.items():
            self.register_buffer(name, value)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1, and count the batches from 0."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set the running statistics as at first, the weight to 1 and the bias to 0."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_rank(self, input: Tensor) -> None:
        if input.ndim not in self.ranks:
            wanted = " or ".join(f"{rank}D" for rank in self.ranks)
            raise ValueError(f"expected {wanted} input (got {input.ndim}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_ChannelNorm):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: DType | None = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: Tensor) -> Tensor:
        self._check_rank(input)
        share = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the mean of all batches
                share = 1.0 / float(self.num_batches_tracked)
        without = self.running_mean is None and self.running_var is None
        keeps = not self.training or self.track_running_stats
        return batch_norm(
            input, self.running_mean if keeps else None, self.running_var if keeps else None, self.weight, self.bias,
            self.training or without, share, self.eps,
        )  # fmt: skip


class BatchNorm1d(_BatchNorm):
    """Batch norm of (N, C) or (N, C, L); see `BatchNorm2d`. Same as torch.nn.BatchNorm1d."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Each channel with mean 0 and variance 1 over the batch and its elements, then scaled and shifted. Same as torch.nn.BatchNorm2d.

    Args:
        num_features: the channels C of an input (N, C, H, W).
        eps: added to the variance.
        momentum: how far the running statistics move towards a batch's; None makes them the mean over all batches.
        affine: whether there are a learnt weight and (with `bias`) a learnt bias.
        track_running_stats: whether running statistics are kept, which evaluation mode uses instead of the batch's.
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch norm of (N, C, D, H, W); see `BatchNorm2d`. Same as torch.nn.BatchNorm3d."""

    ranks = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch norm of (N, C, ...). One process has the whole batch, so it is what `BatchNorm2d` is. Same as torch.nn.SyncBatchNorm.

    `process_group` is taken for PyTorch's sake.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, process_group: Any = None, device: Any = None, dtype: DType | None = None, *,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self.process_group = process_group

    def _check_rank(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected at least 2D input (got {input.ndim}D input)")
        if not input.shape[1]:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Put one of these in the place of each batch norm of a module, with its parameters and statistics; a batch norm itself is replaced."""
        made = module
        if isinstance(module, _BatchNorm):
            new = cls(
                module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats, process_group
            )  # fmt: skip
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                setattr(new, name, getattr(module, name))
            new.training = module.training
            made = new
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made


class _InstanceNorm(_ChannelNorm):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: DType | None = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: Tensor) -> Tensor:
        self._check_rank(input)
        axis = input.ndim - self.ranks[0]
        if input.shape[axis] != self.num_features and self.affine:
            raise ValueError(
                f"expected input's size at dim={axis} to match num_features ({self.num_features}), but got: "
                f"{input.shape[axis]}."
            )
        batch = input if axis else input.unsqueeze(0)
        made = instance_norm(
            batch, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, self.momentum or 0.0, self.eps,
        )  # fmt: skip
        return made if axis else made.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Instance norm of (N, C, L) or (C, L); see `InstanceNorm2d`. Same as torch.nn.InstanceNorm1d."""

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each picture with mean 0 and variance 1 over its elements, of (N, C, H, W) or (C, H, W).

    Its arguments are those of `BatchNorm2d`, with other defaults. Same as torch.nn.InstanceNorm2d.
    """

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance norm of (N, C, D, H, W) or (C, D, H, W); see `InstanceNorm2d`. Same as torch.nn.InstanceNorm3d."""

    ranks = (4, 5)
