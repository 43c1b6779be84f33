"""Random numbers of more distributions: poisson and binomial, and the in-place geometric_, cauchy_, log_normal_.

In: tensors of parameters, or a tensor to fill. Out: draws of the counter's generator (random.py): the same on every device.
"""

from __future__ import annotations

import math
from typing import Any

from ..ir.build import scan
from ..ir.dtype import float64
from ..ir.node import Node, iota, unary, where
from ..ir.op import Op
from ..random import Generator, normal_node, uniform
from ..results import from_node, result, result_inplace, tensor_nodes
from ..tensor import Tensor
from .arguments import no_kernel, result_type, type_name
from .reductions import extremes
from .registry import function, method

WIDTH = 12.0
"""How many standard deviations on either side of the mean a draw may lie: what is left out has a probability below 1e-30."""
REST = 40
"""How many values more, for small means, whose distributions are skewed."""


@function("poisson")
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Draws of Poisson's distribution whose mean each element is.

    Raises:
        RuntimeError: a negative element; the dtype is not floating.

    Same as torch.poisson; the draws are others. Looked up among the running sums of the probabilities around the mean, in float64. How many there are
    depends on the largest mean, which is read now. The gradient is 0.
    """
    if input.dtype.kind != "float":
        raise no_kernel("poisson", input.dtype)
    (node,) = tensor_nodes(input.detach())
    mean = node.cast(float64).reshape((input.numel(),))
    if input.numel():
        least, most = extremes(mean)
        if least < 0:
            raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    else:
        most = 0.0
    spread = math.sqrt(most) if math.isfinite(most) else 0.0

    def chances(value: Node, mean: Node) -> Node:
        positive = where(mean.gt(0.0), mean, 1.0)
        made = unary(Op.EXP, value * unary(Op.LOG, positive) - mean - _log_factorial(value))
        return where(mean.gt(0.0), made, value.eq(0.0).cast(float64))

    made = _looked_up(mean, unary(Op.SQRT, mean), spread, chances, (mean,), generator)
    made = made.reshape(tuple(input.shape)).cast(input.dtype)
    return result("PoissonBackward0", made + node * 0.0 if input.requires_grad else made, (input,))


@function("binomial", method=False)
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of `count` trials succeed, each with probability `prob`; elementwise, for shapes that broadcast.

    Raises:
        RuntimeError: a dtype is not floating.

    Same as torch.binomial; see `poisson`. The largest count is read now.
    """
    dtype = result_type(count, prob)
    if dtype.kind != "float" or count.dtype is not prob.dtype:
        raise RuntimeError(
            f"Expected to have the same floating dtype for count and prob, got {type_name(count.dtype)} and {type_name(prob.dtype)}"
        )
    from .shaping import broadcast_tensors

    wide = broadcast_tensors(count.detach(), prob.detach())
    shape = tuple(wide[0].shape)
    trials, chance = (
        node.cast(float64).reshape((wide[0].numel(),)) for node in tensor_nodes(*wide)
    )
    most = (
        float(from_node(trials.reduce("max", (0,)).reshape(())).item()) if wide[0].numel() else 0.0
    )
    if not math.isfinite(most):
        most = 0.0

    def chances(value: Node, trials: Node, chance: Node) -> Node:
        inside = value.le(trials) & chance.gt(0.0) & chance.lt(1.0)
        at = where(inside, value, 0.0)
        sure = where(inside, chance, 0.5)
        ways = _log_factorial(trials) - _log_factorial(at) - _log_factorial(trials - at)
        log = ways + at * unary(Op.LOG, sure) + (trials - at) * unary(Op.LOG1P, -sure)
        certain = where(chance.ge(1.0), trials, 0.0)
        ends = value.eq(certain) & (chance.le(0.0) | chance.ge(1.0))
        return where(inside, unary(Op.EXP, log), ends.cast(float64))

    mean = trials * chance
    deviation = unary(Op.SQRT, mean * (1.0 - chance))
    made = _looked_up(mean, deviation, math.sqrt(most) / 2, chances, (trials, chance), generator)
    made = where(made.le(trials), made, trials)
    return from_node(made.reshape(shape).cast(dtype))


def _log_factorial(value: Node) -> Node:
    return unary(Op.LGAMMA, value + 1.0)


def _looked_up(
    mean: Node, deviation: Node, most: float, chances: Any, parameters: tuple[Node, ...], generator: Generator | None
) -> Node:  # fmt: skip
    """For each element the value whose stretch of the sum of probabilities a uniform draw falls into."""
    (count,) = mean.shape
    assert isinstance(count, int)
    width = math.ceil(2 * WIDTH * most) + REST
    begin = unary(Op.FLOOR, mean - deviation * WIDTH).maximum(0.0)
    wide = (count, width)

    def spread(node: Node) -> Node:
        return node.reshape((count, 1)).expand(wide)

    values = spread(begin) + iota(width, place=mean.place).cast(float64).reshape((1, width)).expand(
        wide
    )
    sums = scan(chances(values, *map(spread, parameters)), "add", 1)
    drawn = uniform((count,), float64, mean.place, generator)
    passed = spread(drawn).ge(sums).cast(float64).sum((1,)).reshape((count,))
    known = mean.eq(mean) & mean.lt(math.inf)
    return where(known, begin + passed, mean)


# --- in place


def _filled(name: str, self: Tensor, node: Node) -> Tensor:
    return result_inplace(f"{name}Backward0", self, node.cast(self.dtype), (self,), ())


@method("geometric_")
def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with how many trials it takes to the first success, each with probability p.

    Raises:
        RuntimeError: p is not between 0 and 1.

    Same as torch.Tensor.geometric_.
    """
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    drawn = uniform(tuple(self.shape), float64, self.place, generator)
    trials = unary(Op.CEIL, unary(Op.LOG, 1.0 - drawn) / math.log1p(-p)).maximum(1.0)
    return _filled("Geometric", self, trials)


@method("cauchy_")
def cauchy_(
    self: Tensor, median: float = 0, sigma: float = 1, *, generator: Generator | None = None
) -> Tensor:
    """Fill with draws of Cauchy's distribution.

    Raises:
        RuntimeError: sigma is not positive; the dtype is not floating.

    Same as torch.Tensor.cauchy_.
    """
    if self.dtype.kind != "float":
        raise RuntimeError(
            f"Cauchy distribution is a continuous probability distribution. dtype must be a floating point but you specified {self.dtype}"
        )
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    drawn = uniform(tuple(self.shape), float64, self.place, generator)
    return _filled("Cauchy", self, unary(Op.TAN, (drawn - 0.5) * math.pi) * float(sigma) + float(median))  # fmt: skip


@method("log_normal_")
def log_normal_(
    self: Tensor, mean: float = 1, std: float = 2, *, generator: Generator | None = None
) -> Tensor:
    """Fill with numbers whose logarithms are normal, with this mean and standard deviation.

    Raises:
        RuntimeError: `std` is not positive. NotImplementedError: the dtype is not floating.

    Same as torch.Tensor.log_normal_.
    """
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    if self.dtype.kind != "float":
        raise no_kernel("log_normal", self.dtype)
    drawn = normal_node(tuple(self.shape), float64, self.place, generator)
    return _filled("LogNormal", self, unary(Op.EXP, drawn * float(std) + float(mean)))
