"""Activation functions, clamping, and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..ir import composite
from ..ir.args import Attribute
from ..ir.dtype import DType, bool_
from ..ir.node import Node, constant, unary, where
from ..ir.op import Op
from ..results import result, tensor_nodes
from ..tensor import Tensor
from . import arguments
from .arguments import (
    Number,
    Operand,
    compute_dtype,
    elementwise_nodes,
    no_kernel,
    result_type,
    type_name,
)
from .arithmetic import as_input, operand
from .registry import FUNCTIONS, METHODS, NN_FUNCTIONS, Outcome, change, function, operator


def _call(
    name: str, input: Tensor, composite_name: str, grad_name: str, saved: tuple[Tensor | str, ...], **attributes: Attribute
) -> Outcome:  # fmt: skip
    if input.dtype.kind != "float":
        raise no_kernel(name, input.dtype)
    (node,) = tensor_nodes(input)
    node = composite.call(composite_name, [node], like=node, **attributes)
    return Outcome(grad_name, node, (input,), saved)


def _finish(name: str, input: Tensor, outcome: Outcome, inplace: bool) -> Tensor:
    return change(input, f"{name}_", outcome) if inplace else result(*outcome)


# --- clamping


@operator("clamp", "clip", inplace=True)
def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Outcome:
    """Elements below `min` become it, elements above `max` become it; NaN stays.

    Args:
        input: any dtype but bool.
        min, max: numbers or tensors that broadcast; at least one. Where min > max the result is max.

    Returns: the promoted dtype. The gradient passes where min <= input <= max.

    Raises:
        RuntimeError: neither bound is given.

    Same as torch.clamp.
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    low = None if min is None else operand(min)
    high = None if max is None else operand(max)
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return _clamp_tensor(input, low, high)
    bounds = [bound for bound in (low, high) if bound is not None]
    dtype = result_type(input, *bounds)
    if dtype is bool_:
        raise NotImplementedError("clamp: \"clamp_scalar_cpu\" not implemented for 'Bool'")
    (node,) = tensor_nodes(input)
    node = node.cast(dtype)
    convert = float if dtype.kind == "float" else int
    node = composite.call(
        "clamp",
        [node],
        like=node,
        min=None if low is None else convert(low),
        max=None if high is None else convert(high),
    )
    return Outcome("ClampBackward1", node, (input,), (input,))


def _clamp_tensor(input: Tensor, low: Operand | None, high: Operand | None) -> Outcome:
    given = [bound for bound in (low, high) if bound is not None]
    nodes, dtype, shape = elementwise_nodes("clamp", input, *given)
    found = iter(nodes[1:])
    infinity: Number = math.inf
    if dtype.kind != "float":
        infinity = (1 << dtype.bits - (dtype.kind == "int")) - 1
    lowest = -infinity if dtype.kind == "float" else -infinity - 1 if dtype.kind == "int" else 0
    below = next(found) if low is not None else constant(lowest, dtype, shape, nodes[0].place)
    above = next(found) if high is not None else constant(infinity, dtype, shape, nodes[0].place)
    node = composite.call("clamp_tensor", [nodes[0], below, above], like=nodes[0])
    inputs = (
        input,
        None if low is None else as_input(low),
        None if high is None else as_input(high),
    )
    return Outcome("ClampBackward0", node, inputs, tuple(t for t in inputs if t is not None))


def _renamed(outcome: Outcome, name: str) -> Outcome:
    return outcome._replace(name=name)


@operator("clamp_min", inplace=True)
def clamp_min(input: Tensor, min: Operand) -> Outcome:
    """Elements below `min` become it. Same as torch.clamp_min."""
    outcome = _clamp(input, min=min)
    return _renamed(
        outcome, "ClampMinBackward0" if len(outcome.inputs) == 1 else "ClampMinBackward1"
    )


@operator("clamp_max", inplace=True)
def clamp_max(input: Tensor, max: Operand) -> Outcome:
    """Elements above `max` become it. Same as torch.clamp_max."""
    outcome = _clamp(input, max=max)
    return _renamed(
        outcome, "ClampMaxBackward0" if len(outcome.inputs) == 1 else "ClampMaxBackward1"
    )


_clamp: Callable[..., Outcome] = clamp.__wrapped__  # type: ignore[attr-defined]


# --- relu and its family


@operator("relu", inplace=True)
def _relu(input: Tensor) -> Outcome:
    """max(input, 0), elementwise; the gradient at 0 is 0. Same as torch.relu."""
    if input.dtype is bool_:
        raise RuntimeError("relu: Boolean inputs not supported for relu")
    (node,) = tensor_nodes(input)
    return Outcome(
        "ReluBackward0", composite.call("relu", [node], like=node), (input,), ("result",)
    )


@function("nn.relu", module=False, method=False)
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), elementwise, in place if `inplace`. Same as torch.nn.functional.relu."""
    if inplace:
        changed: Tensor = input.relu_()
        return changed
    return _relu(input)


NN_FUNCTIONS["relu"] = relu
NN_FUNCTIONS["relu_"] = lambda input: relu(input, True)


@operator("sigmoid", "special_expit", inplace=True, nn=True)
def sigmoid(input: Tensor) -> Outcome:
    """1 / (1 + e ** -input), elementwise. Same as torch.sigmoid."""
    (node,) = tensor_nodes(input)
    node = node.cast(compute_dtype(input.dtype))
    return Outcome(
        "SigmoidBackward0", composite.call("sigmoid", [node], like=node), (input,), ("result",)
    )


@function("leaky_relu", module=False, method=False, nn=True)
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where positive, else negative_slope * input. Same as torch.nn.functional.leaky_relu."""
    outcome = _call(
        "leaky_relu",
        input,
        "leaky_relu",
        "LeakyReluBackward0",
        (input,),
        slope=float(negative_slope),
    )
    return _finish("leaky_relu", input, outcome, inplace)


@function("elu", module=False, method=False, nn=True)
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, else alpha * (e ** input - 1). Same as torch.nn.functional.elu."""
    outcome = _call("elu", input, "elu", "EluBackward0", (input,), alpha=float(alpha))
    return _finish("elu", input, outcome, inplace)


@function("hardtanh", module=False, method=False, nn=True)
def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """input clamped to [min_val, max_val]; no gradient at the ends. Same as torch.nn.functional.hardtanh."""
    if min_val > max_val:
        raise ValueError("hardtanh: min_val cannot be greater than max_val")
    if input.dtype.is_integer:
        if input.dtype.kind == "uint" and min_val < 0:
            raise RuntimeError(
                "hardtanh: cannot do hardtanh on an unsigned type with negative limits"
            )
        outcome = _clamp(input, int(min_val), int(max_val))
    else:
        outcome = _call(
            "hardtanh",
            input,
            "hardtanh",
            "HardtanhBackward0",
            (input,),
            min=float(min_val),
            max=float(max_val),
        )
    return _finish("hardtanh", input, outcome, inplace)


@function("relu6", module=False, method=False, nn=True)
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(input, 0), 6). Same as torch.nn.functional.relu6."""
    return hardtanh(input, 0.0, 6.0, inplace)


@function("silu", module=False, method=False, nn=True)
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input). Same as torch.nn.functional.silu."""
    return _finish("silu", input, _call("silu", input, "silu", "SiluBackward0", (input,)), inplace)


@function("gelu", module=False, method=False, nn=True, out=True)
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input * Phi(input), with Phi the normal distribution function, or its tanh approximation.

    Args:
        approximate: "none" or "tanh".

    Raises:
        RuntimeError: unknown `approximate`.

    Same as torch.nn.functional.gelu.
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError("gelu: approximate argument must be either none or tanh.")
    return result(*_call("gelu", input, "gelu", "GeluBackward0", (input,), approximate=approximate))


@function("softplus", module=False, method=False, nn=True, out=True)
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e ** (beta * input)) / beta; input itself where beta * input > threshold. Same as torch.nn.functional.softplus."""
    outcome = _call(
        "softplus", input, "softplus", "SoftplusBackward0", (input,), beta=float(beta), threshold=float(threshold)
    )  # fmt: skip
    return result(*outcome)


def _pointwise(
    name: str,
    grad_name: str,
    formula: str,
    build: Callable[..., Node],
    integers: bool = False,
    out: bool = False,
) -> Callable[..., Tensor]:
    """Register an activation whose gradient is that of its body; `integers` says that it takes them too."""

    def run(input: Tensor, *args: Any, inplace: bool = False, **kwargs: Any) -> Tensor:
        if input.dtype is bool_ or (input.dtype.kind != "float" and not integers):
            raise no_kernel(name, input.dtype)
        (node,) = tensor_nodes(input)
        outcome = Outcome(grad_name, build(node, *args, **kwargs), (input,), (input,))
        return _finish(name, input, outcome, inplace)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"{formula}, elementwise. Same as torch.nn.functional.{name}."
    return function(name, module=False, method=False, nn=True, out=out)(run)


def _exp_minus_one(node: Node) -> Node:
    """e ** min(x, 0) - 1: bounded where the positive branch is chosen, so that the other one's gradient is finite."""
    return unary(Op.EXPM1, where(node.gt(0.0), 0.0, node))


def _selu(node: Node) -> Node:
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    return where(node.gt(0.0), node * scale, _exp_minus_one(node) * (scale * alpha))


def _celu(node: Node, alpha: float = 1.0) -> Node:
    return where(node.gt(0.0), node, _exp_minus_one(node / alpha) * alpha)


def _mish(node: Node) -> Node:
    soft = composite.call("softplus", [node], like=node, beta=1.0, threshold=20.0)
    return node * unary(Op.TANH, soft)


def _hardsigmoid(node: Node) -> Node:
    return composite.call("hardtanh", [node + 3.0], like=node, min=0.0, max=6.0) / 6.0


def _hardswish(node: Node) -> Node:
    return node * _hardsigmoid(node)


def _hardshrink(node: Node, lambd: float = 0.5) -> Node:
    return where(node.ge(-lambd) & node.le(lambd), 0.0, node)


def _softshrink(node: Node, lambd: float = 0.5) -> Node:
    if lambd < 0:
        raise RuntimeError(
            f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}."
        )
    small = where(node.ne(node), node, 0.0)
    return where(node.gt(lambd), node - lambd, where(node.lt(-lambd), node + lambd, small))


def _threshold(node: Node, threshold: float, value: float) -> Node:
    return where(node.le(threshold), value, node)


def _logsigmoid(node: Node) -> Node:
    return -composite.call("softplus", [-node], like=node, beta=1.0, threshold=math.inf)


selu = _pointwise(
    "selu",
    "EluBackward0",
    "scale * elu(input, alpha) with the constants of self-normalising networks",
    _selu,
)
celu = _pointwise(
    "celu", "CeluBackward0", "max(0, input) + min(0, alpha * (e ** (input / alpha) - 1))", _celu
)
mish = _pointwise("mish", "MishBackward0", "input * tanh(softplus(input))", _mish)
hardsigmoid = _pointwise(
    "hardsigmoid", "HardsigmoidBackward0", "min(max(input + 3, 0), 6) / 6", _hardsigmoid
)
hardswish = _pointwise("hardswish", "HardswishBackward0", "input * hardsigmoid(input)", _hardswish)
hardshrink = _pointwise(
    "hardshrink", "HardshrinkBackward0", "input, but 0 in [-lambd, lambd]", _hardshrink, out=True
)
FUNCTIONS["hardshrink"] = METHODS["hardshrink"] = hardshrink
softshrink = _pointwise(
    "softshrink", "SoftshrinkBackward0", "input moved by lambd towards 0", _softshrink, out=True
)
threshold = _pointwise(
    "threshold",
    "ThresholdBackward0",
    "input where above threshold, else value",
    _threshold,
    integers=True,
)
logsigmoid = _pointwise(
    "logsigmoid",
    "LogSigmoidBackward0",
    "log(sigmoid(input)), without overflow",
    _logsigmoid,
    out=True,
)


@function("nn.tanh", module=False, method=False)
def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent. Same as torch.nn.functional.tanh."""
    from . import unary as family

    return family.tanh(input)


NN_FUNCTIONS["tanh"] = tanh


@function("softsign", module=False, method=False, nn=True)
def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|). Same as torch.nn.functional.softsign."""
    from . import unary as family
    from .arithmetic import add, div

    return div(input, add(family.abs(input), 1))


@function("tanhshrink", module=False, method=False, nn=True)
def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input). Same as torch.nn.functional.tanhshrink."""
    from .arithmetic import sub

    return sub(input, tanh(input))


@function("prelu", nn=True)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where positive, else weight * input.

    Args:
        weight: one slope, or one for each channel (axis 1).

    Raises:
        RuntimeError: the number of slopes is neither 1 nor the number of channels.

    Same as torch.nn.functional.prelu.
    """
    from .shaping import view

    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    count = weight.numel()
    channels = 1 if input.ndim < 2 else int(input.shape[1])
    if count != 1 and count != channels:
        raise RuntimeError(
            f"prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers = {count} and "
            f"channel size = {channels}."
        )
    shape = [1] * input.ndim
    if input.ndim >= 2:
        shape[1] = count
    weight = view(weight, shape)
    (node, slope), _, _ = elementwise_nodes("prelu", input, weight)
    node = where(node.gt(0.0), node, node * slope)
    return result("PreluKernelBackward0", node, (input, weight), (input, weight))


@function("glu", module=False, method=False, nn=True)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim`, times the sigmoid of the second.

    Raises:
        RuntimeError: the size is odd.

    Same as torch.nn.functional.glu.
    """
    from ..ir.build import shrink

    axis = arguments.axis(dim, input.ndim, "glu")
    size = int(input.shape[axis])
    if size % 2:
        raise RuntimeError(
            f"glu: Halving dimension must be even, but dimension {axis} is size {size}"
        )
    (node,) = tensor_nodes(input)
    shape = tuple(size // 2 if a == axis else n for a, n in enumerate(node.shape))
    left = shrink(node, (0,) * len(shape), shape)
    right = shrink(node, tuple(size // 2 if a == axis else 0 for a in range(len(shape))), shape)
    node = left * composite.call("sigmoid", [right], like=right)
    return result("GluBackward0", node, (input,), (input,))


# --- softmax


def _softmax_axis(
    name: str, input: Tensor, dim: int | None, dtype: DType | None
) -> tuple[Node, int]:
    if dim is None:  # PyTorch's old rule for nn.functional
        dim = 0 if input.ndim in (0, 1, 3) else 1
    axis = arguments.axis(dim, input.ndim, name)
    (node,) = tensor_nodes(input)
    if dtype is not None:
        node = node.cast(dtype)
    if node.dtype.kind != "float":
        raise NotImplementedError(
            f"{name}: \"{name}_lastdim_kernel_impl\" not implemented for '{type_name(node.dtype)}'"
        )
    return node, axis


def _over_axis(node: Node, name: str, axis: int) -> Node:
    if not node.shape:
        flat = node.reshape((1,))
        return composite.call(name, [flat], like=flat, axis=0).reshape(())
    return composite.call(name, [node], like=node, axis=axis)


@function("softmax", nn=True, out=True)
def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """e ** input / its sum along `dim`, without overflow.

    Args:
        input: float; `dtype`: what it is cast to first.

    Raises:
        IndexError: `dim` is out of range.
        RuntimeError: the dtype is not floating.

    Same as torch.softmax.
    """
    dim, dtype = _legacy_dtype(dim, _stacklevel, dtype)
    node, axis = _softmax_axis("softmax", input, dim, dtype)
    return result("SoftmaxBackward0", _over_axis(node, "softmax", axis), (input,), ("result",))


@function("log_softmax", nn=True, out=True)
def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """log(softmax(input)) along `dim`; see `softmax`. Same as torch.log_softmax."""
    dim, dtype = _legacy_dtype(dim, _stacklevel, dtype)
    node, axis = _softmax_axis("log_softmax", input, dim, dtype)
    return result(
        "LogSoftmaxBackward0", _over_axis(node, "log_softmax", axis), (input,), ("result",)
    )


def _legacy_dtype(
    dim: int | None, third: object, dtype: DType | None
) -> tuple[int | None, DType | None]:
    """torch.softmax takes dtype third, nn.functional.softmax a stack level nobody uses."""
    return dim, third if isinstance(third, DType) else dtype


@function("softmin", module=False, method=False, nn=True)
def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """softmax(-input). Same as torch.nn.functional.softmin."""
    from .unary import neg

    return softmax(neg(input), dim, 3, dtype)
