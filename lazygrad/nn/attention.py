"""MultiheadAttention: each query takes from the values what its keys say, in several subspaces at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from ..ir.dtype import DType
from ..tensor import Tensor
from . import functional, init
from .linear import NonDynamicallyQuantizableLinear
from .module import Module
from .parameter import Parameter, empty_parameter


class MultiheadAttention(Module):
    """Attention of `num_heads` heads with learnt projections. Same as torch.nn.MultiheadAttention.

    Args:
        embed_dim: the size of queries and results, a multiple of `num_heads`.
        dropout: the probability of each weight of the attention to become 0, in training.
        bias: whether the projections have biases.
        add_bias_kv: append a learnt key and value; `add_zero_attn`: append zeros.
        kdim, vdim: the sizes of keys and values, `embed_dim` if not given.
        batch_first: sequences are (N, L, E) instead of (L, N, E).

    Raises:
        ValueError: a size that is not positive. AssertionError: `embed_dim` is no multiple of `num_heads`.
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None
    out_proj: NonDynamicallyQuantizableLinear

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        if embed_dim % num_heads:
            raise AssertionError("embed_dim must be divisible by num_heads")
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        self.add_zero_attn = add_zero_attn
        shapes: dict[str, tuple[int, ...] | None]
        if self._qkv_same_embed_dim:
            shapes = {
                "in_proj_weight": (3 * embed_dim, embed_dim),
                "q_proj_weight": None, "k_proj_weight": None, "v_proj_weight": None,
            }  # fmt: skip
        else:
            shapes = {
                "q_proj_weight": (embed_dim, embed_dim), "k_proj_weight": (embed_dim, self.kdim),
                "v_proj_weight": (embed_dim, self.vdim), "in_proj_weight": None,
            }  # fmt: skip
        shapes["in_proj_bias"] = (3 * embed_dim,) if bias else None
        shapes["bias_k"] = shapes["bias_v"] = (1, 1, embed_dim) if add_bias_kv else None
        for name, shape in shapes.items():
            made = None if shape is None else empty_parameter(shape, device, dtype)
            self.register_parameter(name, made)
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw the weights of the inputs and the appended key and value by Xavier's rule; biases are 0."""
        for weight in (
            self.in_proj_weight,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
        ):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for row in (self.bias_k, self.bias_v):
            if row is not None:
                init.xavier_normal_(row)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The result and, where `need_weights`, the weights of the attention; see functional.multi_head_attention_forward."""
        turned = self.batch_first and query.dim() == 3
        if turned:
            shared = query is key is value
            query = query.transpose(0, 1)
            key, value = (query, query) if shared else (key.transpose(0, 1), value.transpose(0, 1))
        output, weights = functional.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k, self.bias_v,
            self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, training=self.training,
            key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim, q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight, v_proj_weight=self.v_proj_weight, average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )  # fmt: skip
        return (output.transpose(0, 1) if turned else output), weights


class SDPBackend(IntEnum):
    """The ways in which PyTorch computes attention. Same as torch.nn.attention.SDPBackend."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextmanager
def sdpa_kernel(
    backends: list[SDPBackend] | SDPBackend, set_priority: bool = False
) -> Iterator[None]:
    """Say how attention is computed. Taken for PyTorch's sake: here the compiler places scores where they fit. Same as torch.nn.attention.sdpa_kernel.

    Raises:
        AssertionError: not a backend, or a list of them.
    """
    chosen = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(chosen, list) or not all(isinstance(each, SDPBackend) for each in chosen):
        raise AssertionError("Backend must be an instance of SDPBackend or a list of SDPBackend")
    yield
