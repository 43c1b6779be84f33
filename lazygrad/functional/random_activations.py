"""Activations that draw random numbers (rrelu, gumbel_softmax), the in-place names of activations, and the bilinear form.

The draws are an expression of the counter (random.py): backward computes them again, and nothing of them is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.dtype import float32
from ..ir.node import where as where_node
from ..random import uniform
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .activations import leaky_relu, softmax
from .arguments import describe_operands, no_kernel, sizes_text
from .contraction import einsum
from .gathering import scatter
from .reductions import argmax
from .registry import FUNCTIONS, NN_FUNCTIONS, Outcome, change, function


@function("rrelu", method=False, nn=True)
def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """input where positive, else input times a draw from U(lower, upper) in training, their mean otherwise.

    Raises:
        RuntimeError: lower > upper. NotImplementedError: input is not floating.

    Same as torch.nn.functional.rrelu; the draws are those of random.py.
    """
    if lower > upper:
        raise RuntimeError(
            f"rrelu: Lower bound should be less than or equal to the upper bound, but got {lower} and {upper}"
        )
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    if input.dtype.kind != "float":
        raise no_kernel("rrelu_with_noise", input.dtype)
    (node,) = tensor_nodes(input)
    drawn = node.dtype if node.dtype.itemsize > 2 else float32
    slope = uniform(tuple(input.shape), drawn, node.place) * (upper - lower) + lower
    made = where_node(node.gt(0.0), node, node * slope.cast(node.dtype))
    outcome = Outcome("RreluWithNoiseBackward0", made, (input, None), (input, "noise"))
    return change(input, "rrelu_", outcome) if inplace else result(*outcome)


@function("gumbel_softmax", module=False, method=False, nn=True)
def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A draw from the Gumbel-softmax distribution: softmax((logits + noise) / tau) along `dim`.

    Args:
        hard: 1 at the largest and 0 elsewhere instead; the gradient is still that of the softmax.

    Same as torch.nn.functional.gumbel_softmax; the draws are those of random.py.
    """
    noise = -logits.detach().clone().exponential_().log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    one: Tensor = scatter(soft.detach() * 0, dim, argmax(soft, dim, keepdim=True), 1.0)
    return one - soft.detach() + soft


@function("bilinear", method=False, nn=True)
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 @ weight[k] @ input2 for each k, plus bias.

    Args:
        input1: (..., n); input2: (..., m); weight: (k, n, m); bias: (k,).

    Raises:
        RuntimeError: the shapes do not go together.

    Same as torch.nn.functional.bilinear.
    """
    operands = describe_operands(input1=input1, input2=input2, weight=weight)
    if input1.ndim != input2.ndim:
        raise RuntimeError(
            f"bilinear(): input dimensions do not match: got {input1.ndim} and {input2.ndim}{operands}"
        )
    for axis in range(input1.ndim - 1):
        if input1.shape[axis] != input2.shape[axis]:
            raise RuntimeError(
                f"bilinear(): input batch dimensions do not match at dim {axis}: got {input1.shape[axis]} and "
                f"{input2.shape[axis]}{operands}"
            )
    for number, input in ((1, input1), (2, input2)):
        if weight.ndim != 3 or input.shape[-1] != weight.shape[number]:
            raise RuntimeError(
                f"bilinear(): input{number} size does not match weight size: got {input.shape[-1]} but expected "
                f"{sizes_text(weight.shape)}{operands}"
            )
    if bias is not None and bias.shape[0] != weight.shape[0]:
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {bias.shape[0]} but expected {weight.shape[0]}"
        )
    found = einsum("...i,kij,...j->...k", input1, weight, input2)
    return found if bias is None else found + bias


def _changing(name: str) -> Callable[..., Tensor]:
    apply = NN_FUNCTIONS[name]

    def run(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        changed: Tensor = apply(input, *args, inplace=True, **kwargs)
        return changed

    run.__name__ = run.__qualname__ = f"{name}_"
    run.__doc__ = f"{name} in place. Same as torch.nn.functional.{name}_."
    return run


for _name in ("celu", "elu", "hardtanh", "leaky_relu", "rrelu", "selu", "threshold"):
    NN_FUNCTIONS[f"{_name}_"] = _changing(_name)
for _name in ("celu", "rrelu", "selu", "threshold"):
    FUNCTIONS[_name] = NN_FUNCTIONS[_name]
    FUNCTIONS[f"{_name}_"] = NN_FUNCTIONS[f"{_name}_"]
