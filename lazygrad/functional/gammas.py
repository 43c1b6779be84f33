"""Draws of the gamma and of Dirichlet's distribution, whose gradients go to the parameters: what distributions draw with.

In: tensors of positive parameters. Out: draws of the counter's generator (random.py), the same on every device.
"""

from __future__ import annotations

from ..ir import composite
from ..ir.build import shrink
from ..ir.dtype import float64
from ..ir.node import Node, unary, where
from ..ir.op import Op
from ..random import Generator, normal_node, uniform
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .arguments import no_kernel
from .numeric_limits import finfo
from .registry import function

TRIES = 8
"""How many candidates are made of a draw. Each is taken with a probability above 0.95; after as many the mode stands, once in 10^10 draws."""


def _gamma_node(shape: Node, generator: Generator | None) -> Node:
    """Draws by Marsaglia and Tsang, "A simple method for generating gamma variables", 2000; the logarithms of them, float64.

    Of a shape below 1 the draw is that of the shape above it times u ** (1 / shape). All candidates are made at once, and the first that fits stands.
    """
    sizes: tuple[int, ...] = shape.shape  # type: ignore[assignment]
    place = shape.place
    small = shape.lt(1.0)
    whole = where(small, shape + 1.0, shape)
    d = whole - 1.0 / 3.0
    c = unary(Op.RSQRT, d * 9.0)
    normals = normal_node((TRIES, *sizes), float64, place, generator)
    coins = uniform((TRIES, *sizes), float64, place, generator)
    found = unary(Op.LOG, d)
    for index in range(TRIES - 1, -1, -1):
        z, u = (
            shrink(each, (index, *[0] * len(sizes)), (1, *sizes)).reshape(sizes)
            for each in (normals, coins)
        )
        v = 1.0 + c * z
        inside = v.gt(0.0)
        logarithm = unary(Op.LOG, where(inside, v, 1.0)) * 3.0
        cube = v * v * v
        bound = z * z * 0.5 + d - d * cube + d * logarithm
        taken = inside & unary(Op.LOG, 1.0 - u).lt(bound)
        found = where(taken, unary(Op.LOG, d) + logarithm, found)
    lift = unary(Op.LOG, 1.0 - uniform(sizes, float64, place, generator))
    return where(small, found + lift / where(small, shape, 1.0), found)


@function("_standard_gamma")
def _standard_gamma(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Draws of the gamma distribution with rate 1 whose shape each element is; at least the least normal number.

    Raises:
        NotImplementedError: the dtype is not floating.

    Same as torch._standard_gamma; the draws are others. The gradient is the implicit one (composites/gamma.py).
    """
    if input.dtype.kind != "float":
        raise no_kernel("gamma", input.dtype)
    (node,) = tensor_nodes(input)
    (shape,) = tensor_nodes(input.detach())
    drawn = unary(Op.EXP, _gamma_node(shape.cast(float64), generator))
    drawn = drawn.maximum(finfo(input.dtype).tiny).cast(input.dtype)
    made = composite.call("gamma_draw", [node, drawn], like=node) if input.requires_grad else drawn
    return result("StandardGammaBackward0", made, (input,), ("result",))


@function("_sample_dirichlet")
def _sample_dirichlet(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Draws of Dirichlet's distribution with concentrations along the last axis: gamma draws over their sum.

    Same as torch._sample_dirichlet; the draws are others. A gradient goes through the gamma draws: its mean is that of PyTorch's, which
    moves along another path.
    """
    drawn = _standard_gamma(input.double(), generator)
    shares: Tensor = drawn / drawn.sum(-1, True)
    least = finfo(input.dtype)
    return shares.clamp(min=least.tiny, max=1 - least.eps / 2).to(input.dtype)
