"""What backward reads: a value changed in place after an operator read it is refused exactly where PyTorch refuses it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import product
from typing import Any

import pytest

torch: Any = import_module("lazygrad")
Compare = Callable[[Callable[[Any, Any], Any]], None]
Call = Callable[[Any, Any, Any], Any]

PAIRS = """add sub mul div floor_divide fmod remainder atan2 pow maximum minimum hypot logaddexp xlogy dot outer""".split()
SINGLES = """abs exp log sqrt rsqrt sin cos tan tanh sigmoid relu asin acos atan sinh cosh asinh acosh atanh erf erfc erfinv
    expm1 log1p log2 log10 exp2 reciprocal square neg floor ceil round trunc frac sign lgamma digamma sum mean prod var std
    max min amax amin norm clone t flatten diag logit sinc nan_to_num deg2rad rad2deg""".split()
ALONG = "logsumexp cumsum cumprod softmax log_softmax".split()
LOSSES = (
    """mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy_with_logits kl_div""".split()
)
ACTIVATIONS = """elu selu celu gelu silu mish softplus softsign tanhshrink hardtanh hardswish hardsigmoid relu6 leaky_relu
    logsigmoid softshrink hardshrink glu""".split()


def call(name: str, *path: str, more: tuple[Any, ...] = (), operands: int = 1) -> Call:
    """The function `name`, found below the module along `path`, of the first operands and of `more`."""

    def function(t: Any, *given: Any) -> Any:
        for each in (*path, name):
            t = getattr(t, each)
        return t(*given[:operands], *more)

    return function


CALLS: dict[str, Call] = {
    **{name: call(name, operands=2) for name in PAIRS},
    **{name: call(name) for name in SINGLES},
    **{name: call(name, more=(0,)) for name in ALONG},
    **{name: call(name, "nn", "functional", operands=2) for name in LOSSES},
    **{name: call(name, "nn", "functional") for name in ACTIVATIONS},
    "div trunc": lambda t, x, y: x.div(y, rounding_mode="trunc"),
    "div floor": lambda t, x, y: x.div(y, rounding_mode="floor"),
    "div by a number": lambda t, x, y: x.div(2.0, rounding_mode="trunc"),
    "lerp": lambda t, x, y: t.lerp(x, y, 0.3),
    "lerp by a tensor": lambda t, x, y: t.lerp(x, x * 2, y),
    "where": lambda t, x, y: t.where(x > 0, x, y),
    "mm": lambda t, x, y: x.reshape(1, -1) @ y.reshape(-1, 1),
    "addcmul": lambda t, x, y: t.addcmul(x, x, y),
    "addcdiv": lambda t, x, y: t.addcdiv(x, x, y),
    "clamp": lambda t, x, y: t.clamp(x, min=y),
    "prelu": lambda t, x, y: t.nn.functional.prelu(x, y[:1]),
    "binary_cross_entropy": lambda t, x, y: t.nn.functional.binary_cross_entropy(x.sigmoid(), y),
    "cosine_similarity": lambda t, x, y: t.nn.functional.cosine_similarity(x, y, dim=0),
    "cat": lambda t, x, y: t.cat([x, y]),
    "gather": lambda t, x, y: t.gather(x, 0, t.tensor([0, 1])) + y,
    "threshold": lambda t, x, y: t.nn.functional.threshold(x, 0.5, 0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_what_may_be_changed_after(same_as_torch: Compare, name: str) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        first = [1.5, 1.6] if name == "acosh" else [0.5, 0.6]
        seen = []
        for tracked in ((True, True), (True, False), (False, True)):
            for changed, known in product(("first", "second", "result"), (False, True)):
                x, y = (
                    t.tensor(values, requires_grad=each) * 1
                    for values, each in zip((first, [0.2, 0.4]), tracked, strict=True)
                )
                z = CALLS[name](t, x, y)
                if not z.requires_grad:
                    continue
                loss = (z * 2).sum()
                {"first": x, "second": y, "result": z}[changed].mul_(3)
                outcome = attempt(loss.backward)
                seen.append([tracked, changed, known, outcome and outcome[0]])
        return seen

    same_as_torch(scenario)


def test_results_that_backward_reads(same_as_torch: Compare) -> None:
    def scenario(t: Any, attempt: Any) -> Any:
        seen = []
        for name in ("aminmax", "std_mean", "var_mean"):
            for used, changed in product((0, 1), (0, 1)):
                x = t.tensor([0.5, 0.6], requires_grad=True)
                pair = getattr(t, name)(x)
                loss = pair[used] * 2
                pair[changed].mul_(3)
                outcome = attempt(loss.backward)
                seen.append([name, used, changed, outcome and outcome[0]])
        return seen

    same_as_torch(scenario)
