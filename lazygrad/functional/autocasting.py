"""Which operators compute in which dtype while autocast is on, and the casts of their arguments.

In: an operator as the registry has it. Out: the same, which casts its arguments first where autocast is on for their device: products of
matrices and convolutions to the lower dtype, what needs the range or the digits to float32, what joins tensors to the widest of
them. Everything else computes in what it is given. The lists are PyTorch's.

Operators of the host's lists always ask whether autocast is on. Those that only a GPU casts are many and cheap, so they begin to ask
when autocast is first entered for a GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from ..ir.dtype import DType, bfloat16, float16, float32, float64
from ..tensor import Tensor
from .devices import creation_place

Function = Callable[..., Any]


class _State(threading.local):
    """What autocast does in this thread."""

    def __init__(self) -> None:
        self.active: dict[str, DType] = {}
        """The lower dtype of each device type that it is on for."""
        self.chosen: dict[str, DType] = {"cpu": bfloat16}
        """The lower dtype that each device type was last given."""
        self.cache = True


state = _State()

LOWER, FULL, WIDEST, GIVEN = "lower", "float32", "widest", "given"
"""What an operator computes in; GIVEN is what every operator does that is on no list, for those that are made of some that are."""

_PRODUCTS = (
    "mm", "bmm", "matmul", "addmm", "addbmm", "baddbmm", "linear", "linalg.vecdot", "einsum", "tensordot", "inner",
    "linalg.multi_dot", "chain_matmul", "linalg.matrix_power", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "prelu", "scaled_dot_product_attention",
)  # fmt: skip
_LOSSES = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "nll_loss", "kl_div",
    "poisson_nll_loss", "cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss", "soft_margin_loss", "multi_margin_loss",
    "multilabel_margin_loss", "triplet_margin_loss",
)  # fmt: skip

CPU: dict[str, str] = {
    **dict.fromkeys(_PRODUCTS, LOWER),
    **dict.fromkeys(_LOSSES, FULL),
    **dict.fromkeys(
        (
            "cross_entropy", "ctc_loss", "avg_pool3d", "adaptive_avg_pool3d", "adaptive_max_pool3d", "adaptive_max_pool3d_with_indices", "max_pool3d",
            "max_pool3d_with_indices", "max_unpool2d", "max_unpool3d", "nn.grid_sample", "prod", "quantile", "nanquantile", "cdist", "trace",
            "cholesky", "cholesky_inverse", "cholesky_solve", "triangular_solve", "qr", "svd", "pinverse", "linalg.cholesky", "linalg.cholesky_ex",
            "linalg.cond", "linalg.matrix_rank", "linalg.solve", "linalg.inv", "linalg.inv_ex", "linalg.qr", "linalg.svd", "linalg.svdvals",
            "linalg.eigh", "linalg.eigvalsh", "linalg.lstsq", "linalg.tensorinv", "linalg.tensorsolve",
        ),
        FULL,
    ),
    **dict.fromkeys(("cat", "stack", "index_copy"), WIDEST),
    "bilinear": GIVEN,
    "nn.pad": FULL,
}  # fmt: skip
"""What autocast does with each operator on the host, by its name in the registry."""

GPU: dict[str, str] = {
    **dict.fromkeys(_PRODUCTS, LOWER),
    **dict.fromkeys(("mv", "addmv", "addr", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), LOWER),
    **dict.fromkeys(_LOSSES, FULL),
    **dict.fromkeys(
        (
            "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sinh", "tan", "pow", "scalar_power",
            "softplus", "softmax", "log_softmax", "logsumexp", "layer_norm", "rms_norm", "group_norm", "norm", "linalg.vector_norm",
            "linalg.matrix_norm", "cosine_similarity", "cdist", "pdist", "renorm", "prod", "sum", "cumsum", "cumprod", "nn.interpolate",
        ),
        FULL,
    ),
    **dict.fromkeys(("addcdiv", "addcmul", "atan2", "bilinear", "cross", "linalg.cross", "dot", "nn.grid_sample", "scatter_add", "Tensor.index_put"), WIDEST),
}  # fmt: skip
"""The same on a GPU."""


def on_gpu(device_type: str) -> bool:
    return device_type != "cpu"


def lies_on(tensor: Tensor, device_type: str) -> bool:
    """Whether a kind of device, as autocast names it, holds a tensor.

    The interpreter is the host, and a script that says "cpu" means the device that DEVICE names.
    """
    name = tensor.place.partition(":")[0]
    if name == device_type:
        return True
    return device_type == "cpu" and (name == "interpret" or tensor.place == creation_place("cpu"))


def autocasting(name: str, run: Function) -> Function:
    """An operator as its callers get it: with casts, if the host's lists have it."""
    return _casting(name, run) if name in CPU else run


def _casting(name: str, run: Function) -> Function:
    policies = CPU.get(name), GPU.get(name)

    @wraps(run)
    def called(*args: Any, **kwargs: Any) -> Any:
        if not state.active:
            return run(*args, **kwargs)
        return _cast_and_run(run, policies, args, kwargs)

    return called


def _cast_and_run(
    run: Function, policies: tuple[str | None, str | None], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:  # fmt: skip
    found = [each for value in (*args, *kwargs.values()) for each in _tensors(value)]
    active = state.active
    kind = next((name for each in found for name in active if lies_on(each, name)), None)
    policy = None if kind is None else policies[on_gpu(kind)]
    if kind is None or policy is None or kwargs.get("out") is not None:
        return run(*args, **kwargs)
    if run.__name__ == "pad" and not _repeats(args, kwargs):
        policy = GIVEN
    eligible = [each for each in found if _eligible(each, kind)]
    dtype: DType | None = None
    if policy == LOWER:
        dtype = active[kind]
    elif policy == GIVEN:
        dtype = None
    elif policy == FULL or any(each.dtype is float32 for each in eligible):
        dtype = float32
    else:
        dtypes = {each.dtype for each in eligible}
        dtype = dtypes.pop() if len(dtypes) == 1 else float32
    state.active = {}  # what an operator is made of computes in what it gets
    try:
        return run(
            *[_cast(value, kind, dtype) for value in args],
            **{key: _cast(value, kind, dtype) for key, value in kwargs.items()},
        )
    finally:
        state.active = active


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return (
        [each for each in value if isinstance(each, Tensor)]
        if isinstance(value, (list, tuple))
        else []
    )


def _repeats(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether these arguments of `pad` ask for what autocast casts: padding with the tensor's own elements."""
    mode = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
    return mode in ("reflect", "replicate")


def _eligible(tensor: Tensor, kind: str) -> bool:
    return tensor.dtype.kind == "float" and tensor.dtype is not float64 and lies_on(tensor, kind)


def _cast(value: Any, kind: str, dtype: DType | None) -> Any:
    """An argument with its tensors cast."""
    if dtype is None:
        return value
    if isinstance(value, Tensor):
        return value.to(dtype) if value.dtype is not dtype and _eligible(value, kind) else value
    if type(value) in (list, tuple):
        return type(value)([_cast(each, kind, dtype) for each in value])
    return value


# --- the operators of a GPU's lists alone


_installed = threading.Lock()
_done: set[str] = set()
"""Names of the operators that ask since autocast was entered for a GPU."""


def ask_on_gpu() -> None:
    """Make the operators that only a GPU casts ask whether autocast is on."""
    from .registry import FUNCTIONS, METHODS, NN_FUNCTIONS, OPERATORS

    with _installed:
        changed: dict[int, Function] = {}
        for name in GPU.keys() - CPU.keys() - _done:
            if name in OPERATORS:
                found = OPERATORS[name]
                casting = changed[id(found.function)] = _casting(name, found.function)
                OPERATORS[name] = replace(found, function=casting)
            _done.add(name)
        for table, places in (
            (FUNCTIONS, [_module("lazygrad")]),
            (NN_FUNCTIONS, [_module("lazygrad.nn.functional")]),
            (METHODS, [Tensor]),
        ):
            for each, run in list(table.items()):
                if id(run) in changed:
                    table[each] = changed[id(run)]
                    for place in places:
                        if getattr(place, each, None) is run:
                            setattr(place, each, table[each])


def _module(name: str) -> Any:
    from importlib import import_module

    return import_module(name)


def default_dtype_of(device_type: str) -> DType:
    """The lower dtype of a device type unless another is given."""
    return state.chosen.get(device_type, float16)
