"""The functions of the package itself that stand behind those of nn.functional: their reductions and modes are numbers, their order is another.

In: what programs pass that call torch.batch_norm, torch.kl_div and the like. Out: what the function of nn.functional returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from ..tensor import Tensor
from .dropout import alpha_dropout, dropout, feature_alpha_dropout
from .registry import FUNCTIONS, NN_FUNCTIONS
from .vision import affine_grid, grid_sample

REDUCTIONS = {1: "mean", 2: "sum"}
"""By PyTorch's numbers; any other, 0 as a rule, leaves a loss for each element. That is what these functions do unless told otherwise."""


def _loss(name: str, *arguments: tuple[str, Any]) -> None:
    """Register a loss of nn.functional whose last argument is the number of a reduction; `arguments` are those between, with their defaults."""
    apply = NN_FUNCTIONS[name]
    names = [each for each, _ in arguments]

    @wraps(apply)
    def loss(*args: Any, reduction: int = 0, **kwargs: Any) -> Any:
        count = len(args) - operands
        if count > len(names):
            args, reduction = args[:-1], args[-1]
        given = dict(zip(names, args[operands:]))
        for each, default in arguments:
            given.setdefault(each, default)
        return apply(
            *args[:operands], **{**given, **kwargs}, reduction=REDUCTIONS.get(reduction, "none")
        )

    operands = OPERANDS[name]
    del loss.__dict__["__wrapped__"]
    loss.__doc__ = f"nn.functional.{name}; `reduction` is 1 for the mean, 2 for the sum, 0 for neither. Same as torch.{name}."
    FUNCTIONS[name] = loss


OPERANDS = {
    "binary_cross_entropy_with_logits": 2, "cosine_embedding_loss": 3, "hinge_embedding_loss": 2, "kl_div": 2,
    "margin_ranking_loss": 3, "triplet_margin_loss": 3,
}  # fmt: skip
"""How many tensors each takes first."""

_loss("binary_cross_entropy_with_logits", ("weight", None), ("pos_weight", None))
_loss("cosine_embedding_loss", ("margin", 0.0))
_loss("hinge_embedding_loss", ("margin", 1.0))
_loss("kl_div")
_loss("margin_ranking_loss", ("margin", 0.0))
_loss("triplet_margin_loss", ("margin", 1.0), ("p", 2.0), ("eps", 1e-6), ("swap", False))


def _ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: int = 0,
    zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """nn.functional.ctc_loss; `reduction` is 1 for the mean, 2 for the sum, 0 for neither. Same as torch.ctc_loss."""
    made: Tensor = NN_FUNCTIONS["ctc_loss"](
        log_probs,
        targets,
        input_lengths,
        target_lengths,
        blank,
        REDUCTIONS.get(reduction, "none"),
        zero_infinity,
    )
    return made


def _poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int
) -> Tensor:
    """nn.functional.poisson_nll_loss; `reduction` is 1 for the mean, 2 for the sum, 0 for neither. Same as torch.poisson_nll_loss."""
    kind = REDUCTIONS.get(reduction, "none")
    made: Tensor = NN_FUNCTIONS["poisson_nll_loss"](
        input, target, log_input, full, eps=eps, reduction=kind
    )
    return made


def _batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """nn.functional.batch_norm, with the weight before the running statistics. Same as torch.batch_norm."""
    made: Tensor = NN_FUNCTIONS["batch_norm"](
        input, running_mean, running_var, weight, bias, training, momentum, eps
    )
    return made


def _instance_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    use_input_stats: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """nn.functional.instance_norm, with the weight before the running statistics. Same as torch.instance_norm."""
    made: Tensor = NN_FUNCTIONS["instance_norm"](
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )
    return made


SAMPLING = ("bilinear", "nearest", "bicubic")
BORDERS = ("zeros", "border", "reflection")


def _grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """nn.functional.grid_sample with numbers for its modes: 0 bilinear, 1 nearest, 2 bicubic; 0 zeros, 1 border, 2 reflection.

    Same as torch.grid_sampler.
    """
    return grid_sample(
        input, grid, SAMPLING[interpolation_mode], BORDERS[padding_mode], align_corners
    )


def _affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """nn.functional.affine_grid. Same as torch.affine_grid_generator."""
    return affine_grid(theta, size, align_corners)


def _changing(apply: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(input: Tensor, p: float, train: bool) -> Tensor:
        return apply(input, p, train, True)

    run.__name__ = run.__qualname__ = f"{apply.__name__}_"
    run.__doc__ = f"nn.functional.{apply.__name__} in place. Same as torch.{apply.__name__}_."
    return run


FUNCTIONS.update(
    {
        "affine_grid_generator": _affine_grid_generator,
        "alpha_dropout_": _changing(alpha_dropout),
        "batch_norm": _batch_norm,
        "ctc_loss": _ctc_loss,
        "dropout_": _changing(dropout),
        "feature_alpha_dropout_": _changing(feature_alpha_dropout),
        "grid_sampler": _grid_sampler,
        "instance_norm": _instance_norm,
        "poisson_nll_loss": _poisson_nll_loss,
    }
)
