"""Names of PyTorch that are left out on purpose, and why: whoever asks for one is told, where another name would only be unknown.

In: a name. Out: the text of an AttributeError, so that hasattr() is False, or None for a name that PyTorch has not or that nobody decided on.
"""

from __future__ import annotations

from typing import Any, NoReturn

from ..tensor import Tensor

COMPLEX = "complex tensors are not supported"
SPARSE = "sparse tensors are not supported: tensors are dense, and so are their gradients"
QUANTIZED = "quantized tensors are not supported"
FLOATS = "of floats there are float64, float32, float16 and bfloat16"
INTEGERS = "of integers there are int8 to int64, uint8, uint32 and uint64"
NAMED = "named tensors are not supported"
NESTED = "nested tensors are not supported; nn.utils.rnn packs sequences of several lengths"
SCRIPT = "there is no TorchScript: compile() takes Python functions as they are"
DISTRIBUTED = "training is on one machine, in one process"
OLD = "it is LuaTorch's, which PyTorch keeps for old files; nn.LocalResponseNorm does the same"
PIPES = "DataPipes are not supported: a Dataset or an IterableDataset does what they do"
BACKEND = "it belongs to a library that lazygrad is not built on"

REASONS = {
    COMPLEX: "complex32 complex64 complex128 cfloat cdouble chalf complex polar view_as_complex view_as_real view_as_complex_copy view_as_real_copy "
    "fft stft istft eig eigvals resolve_complex ComplexFloatStorage ComplexDoubleStorage",
    SPARSE: "sparse sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc sparse_coo_tensor sparse_csr_tensor sparse_csc_tensor sparse_bsr_tensor "
    "sparse_bsc_tensor sparse_compressed_tensor to_sparse to_sparse_coo to_sparse_csr to_sparse_csc to_sparse_bsr to_sparse_bsc sparse_dim dense_dim sparse_mask "
    "sparse_resize_ sparse_resize_and_clear_ resize_as_sparse_ coalesce is_coalesced indices values crow_indices col_indices ccol_indices row_indices "
    "SparseAdam smm spmm dsmm hsmm hspmm sspaddmm saddmm",
    QUANTIZED: "quantize_per_tensor quantize_per_channel quantize_per_tensor_dynamic dequantize int_repr q_scale q_zero_point q_per_channel_scales "
    "q_per_channel_zero_points q_per_channel_axis qscheme qint8 qint32 quint8 quint4x2 quint2x4 quantization ao quantized qat quantizable intrinsic fake_quantize_per_tensor_affine "
    "fake_quantize_per_channel_affine empty_quantized",
    FLOATS: "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2",
    INTEGERS: "uint16 int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7 bits8 bits16",
    NAMED: "names rename rename_ refine_names align_to align_as align_tensors has_names",
    NESTED: "nested jagged to_padded_tensor",
    SCRIPT: "jit ScriptModule ScriptFunction CompilationUnit fx export library ops package",
    DISTRIBUTED: "distributed futures monitor DataParallel DistributedDataParallel parallel",
    OLD: "CrossMapLRN2d",
    PIPES: "IterDataPipe MapDataPipe DFIterDataPipe DataChunk functional_datapipe datapipes graph_settings",
    BACKEND: "to_mkldnn mps xpu mtia ipu xla vulkan hub",
}  # fmt: skip
"""The names, by reason. Those of Tensor's methods and those of modules share a table."""

ABSENT = {name: reason for reason, names in REASONS.items() for name in names.split()}

METHODS = (
    "cfloat", "cdouble", "chalf", "stft", "istft", "to_sparse", "to_sparse_coo", "to_sparse_csr", "to_sparse_csc", "to_sparse_bsr", "to_sparse_bsc",
    "sparse_dim", "dense_dim", "sparse_mask", "sparse_resize_", "sparse_resize_and_clear_", "resize_as_sparse_", "coalesce", "is_coalesced", "indices",
    "values", "crow_indices", "col_indices", "ccol_indices", "row_indices", "smm", "sspaddmm", "dequantize", "int_repr", "q_scale", "q_zero_point",
    "q_per_channel_scales", "q_per_channel_zero_points", "q_per_channel_axis", "qscheme", "names", "rename", "rename_", "refine_names", "align_to",
    "align_as", "has_names", "to_padded_tensor", "to_mkldnn", "xpu", "ipu", "mtia",
)  # fmt: skip
"""Those of the names that PyTorch's Tensor has."""


def refuse(owner: str, name: str) -> NoReturn:
    """Say that a module has no such name, and why if that is known.

    Raises:
        AttributeError: always.
    """
    reason = ABSENT.get(name)
    told = f": {reason} (docs/differences.md)" if reason else ""
    raise AttributeError(f"module {owner!r} has no attribute {name!r}{told}")


class Missing:
    """What stands in the class Tensor for a method that is left out: looking it up fails, with the reason."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any = None) -> NoReturn:
        raise AttributeError(
            f"'Tensor' object has no attribute {self.name!r}: {ABSENT[self.name]} (docs/differences.md)"
        )


def install() -> None:
    """Put the methods that are left out into Tensor."""
    for name in METHODS:
        setattr(Tensor, name, Missing(name))


install()
