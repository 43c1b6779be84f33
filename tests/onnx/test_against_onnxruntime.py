"""Operators in versions and forms that onnx's own suite does not have, and those of com.microsoft: equal to onnxruntime's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

import lazygrad.onnx  # noqa: E402

DRAWS = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return DRAWS.standard_normal(shape).astype(np.float32)


def integers(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def bytes_(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    limits = np.iinfo(dtype)
    return DRAWS.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)


def of(dtype: Any, values: Any) -> np.ndarray:
    return np.array(values, dtype)


def scale(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def zero(value: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.array(value, dtype)


def check(
    name: str, version: int, inputs: list[Any], domain: str = "", outputs: int = 1, tolerance: float = 1e-4, **attributes: Any
) -> None:  # fmt: skip
    """Both libraries on a model of one node, with the same inputs."""
    named = [f"x{place}" if value is not None else "" for place, value in enumerate(inputs)]
    results = [f"y{place}" for place in range(outputs)]
    node = onnx.helper.make_node(name, named, results, domain=domain, **attributes)
    given = {key: value for key, value in zip(named, inputs) if key}
    infos = [
        onnx.helper.make_tensor_value_info(
            key, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for key, value in given.items()
    ]
    graph = onnx.helper.make_graph(
        [node], "one", infos, [onnx.ValueInfoProto(name=key) for key in results]
    )
    opsets = [onnx.helper.make_opsetid("", version)]
    opsets += [onnx.helper.make_opsetid(domain, 1)] if domain else []
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    expected = session.run(None, given)
    # onnxruntime has no types of outputs to be told: the model does not say them
    found = lazygrad.onnx.load(proto)(given)
    for key, wanted in zip(results, expected):
        result = found[key]
        assert result.dtype == wanted.dtype and result.shape == wanted.shape, f"{name} {key}"
        slack = tolerance if result.dtype.kind == "f" else 1 if "int8" in result.dtype.name else 0
        np.testing.assert_allclose(
            result.astype(np.float64), wanted.astype(np.float64), tolerance, slack, err_msg=name
        )


PICTURE = normal(2, 4, 9, 8)
VERSIONS: list[tuple[str, int, list[Any], dict[str, Any]]] = [
    ("Softmax", 11, [normal(2, 3, 4)], {}),
    ("Softmax", 13, [normal(2, 3, 4)], {}),
    ("LogSoftmax", 11, [normal(2, 3, 4)], {"axis": 1}),
    ("Hardmax", 11, [normal(2, 3, 4)], {"axis": 1}),
    ("Clip", 9, [normal(5)], {"min": -0.5}),
    ("Clip", 12, [normal(5), None, scale(0.3)], {}),
    ("Squeeze", 11, [normal(1, 3, 1)], {"axes": [2]}),
    ("Unsqueeze", 11, [normal(3)], {"axes": [0, 2]}),
    ("ReduceSum", 11, [normal(2, 3, 4)], {"axes": [1]}),
    ("ReduceMean", 13, [normal(2, 3, 4)], {"axes": [-1], "keepdims": 0}),
    ("ReduceL2", 13, [normal(2, 3, 4)], {"axes": [0, 2]}),
    ("Slice", 9, [normal(5, 6)], {"starts": [1, -4], "ends": [4, 1000]}),
    ("Slice", 13, [normal(5, 6), integers(4, -1), integers(0, -9), integers(0, 1), integers(-2, -1)], {}),
    ("Pad", 9, [normal(3, 4)], {"pads": [0, 1, 2, 0], "value": 1.5}),
    ("Pad", 13, [normal(3, 4), integers(0, 2, 1, 3)], {"mode": "reflect"}),
    ("Pad", 18, [normal(3, 4), integers(-1, 2), scale(2.0), integers(1)], {}),
    ("Split", 11, [normal(6, 2)], {"split": [2, 4]}),
    ("TopK", 9, [normal(3, 6)], {"k": 2}),
    ("Upsample", 9, [normal(1, 2, 3, 3), of(np.float32, [1, 1, 2, 2])], {"mode": "linear"}),
    ("Resize", 10, [normal(1, 2, 3, 4), of(np.float32, [1, 1, 2, 1.5])], {"mode": "nearest"}),
    ("Resize", 11, [normal(1, 2, 4, 4), of(np.float32, []), of(np.float32, [1, 1, 2, 1.5])],
     {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}),
    ("Resize", 13, [normal(1, 2, 4, 4), None, None, integers(1, 2, 7, 3)],
     {"mode": "cubic", "coordinate_transformation_mode": "align_corners"}),
    ("Resize", 19, [normal(1, 2, 4, 5), None, of(np.float32, [1, 1, 2, 1.6])],
     {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "round_prefer_ceil"}),
    ("MaxRoiPool", 7, [PICTURE, of(np.float32, [[1, 1, 1, 4, 5]])], {"pooled_shape": [2, 2], "spatial_scale": 0.9}),
    ("QuantizeLinear", 21, [normal(2, 3) * 900, scale(0.1), zero(5, np.uint16)], {}),
    ("MaxPool", 12, [PICTURE], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [0, 1, 1, 0]}),
    ("MaxPool", 12, [PICTURE], {"kernel_shape": [3, 3], "ceil_mode": 1, "strides": [2, 2], "dilations": [2, 1]}),
    ("AveragePool", 11, [PICTURE], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    ("AveragePool", 11, [PICTURE], {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1}),
    ("AveragePool", 19, [PICTURE], {"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [1, 1, 1, 1]}),
    ("LpPool", 18, [PICTURE], {"kernel_shape": [3, 2], "p": 3, "strides": [2, 1]}),
    ("Conv", 11, [PICTURE, normal(6, 2, 3, 3), normal(6)], {"group": 2, "pads": [0, 1, 2, 1], "strides": [2, 1]}),
    ("Conv", 11, [PICTURE, normal(3, 4, 3, 2)], {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    ("ConvTranspose", 11, [PICTURE, normal(4, 3, 3, 3), normal(3)],
     {"strides": [2, 2], "pads": [0, 1, 1, 2], "output_padding": [1, 0]}),
    ("ConvTranspose", 11, [PICTURE, normal(4, 3, 2, 2)], {"strides": [2, 2], "group": 2}),
    ("BatchNormalization", 7, [PICTURE, normal(4), normal(4), normal(4), normal(4) ** 2], {"epsilon": 0.01}),
    ("LRN", 13, [PICTURE], {"size": 3, "alpha": 0.1}),
    ("Gemm", 7, [normal(3, 4), normal(5, 4), normal(5)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("LSTM", 14, [normal(5, 2, 3), normal(2, 16, 3), normal(2, 16, 4), normal(2, 32), of(np.int32, [5, 3])],
     {"hidden_size": 4, "direction": "bidirectional"}),
    ("GRU", 14, [normal(4, 2, 3), normal(1, 12, 3), normal(1, 12, 4), normal(1, 24)],
     {"hidden_size": 4, "linear_before_reset": 1, "direction": "reverse"}),
    ("Range", 11, [integers(10).reshape(()), integers(-3).reshape(()), integers(-4).reshape(())], {}),
    ("NonMaxSuppression", 11, [np.abs(normal(2, 9, 4)), normal(2, 3, 9), integers(3), scale(0.2)], {}),
    ("RoiAlign", 16, [PICTURE, of(np.float32, [[0, 0, 6, 7], [1, 2, 5, 8]]), integers(0, 1)],
     {"output_height": 2, "output_width": 3, "sampling_ratio": 2}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "version", "inputs", "attributes"),
    VERSIONS,
    ids=[f"{case[0]}-{case[1]}-{place}" for place, case in enumerate(VERSIONS)],
)
def test_versions(name: str, version: int, inputs: list[Any], attributes: dict[str, Any]) -> None:
    outputs = 2 if name in ("Split", "TopK", "LSTM", "GRU") else 1
    check(name, version, inputs, outputs=outputs, **attributes)


TABLE = normal(6, 2)
FUSED: list[tuple[str, int, list[Any], dict[str, Any]]] = [
    ("FusedMatMul", 1, [normal(2, 4, 3), normal(2, 5, 4)], {"transA": 1, "transB": 1, "alpha": 0.5}),
    ("TransposeMatMul", 1, [normal(4, 3), normal(4, 5)], {"transA": 1}),
    ("Gelu", 1, [normal(3, 8)], {}),
    ("BiasGelu", 1, [normal(3, 8), normal(8)], {}),
    ("FastGelu", 1, [normal(3, 8), normal(8)], {}),
    ("QuickGelu", 1, [normal(3, 8)], {"alpha": 1.5}),
    ("FusedConv", 1, [PICTURE, normal(3, 4, 3, 3), normal(3)], {"activation": "LeakyRelu", "activation_params": [0.1]}),
    ("FusedGemm", 1, [normal(3, 4), normal(4, 5), normal(5)], {"activation": "Relu", "alpha": 2.0}),
    ("SkipLayerNormalization", 1, [normal(2, 3, 8), normal(2, 3, 8), normal(8), normal(8), normal(8)], {}),
    ("SkipSimplifiedLayerNormalization", 1, [normal(2, 3, 8), normal(2, 3, 8), normal(8)], {}),
    ("EmbedLayerNormalization", 3,
     [of(np.int32, [[1, 2, 0], [3, 3, 1]]), of(np.int32, [[0, 0, 1], [1, 0, 1]]), normal(5, 8), normal(4, 8), normal(2, 8),
      normal(8), normal(8), of(np.int32, [[1, 1, 0], [1, 1, 1]])], {}),
    ("Attention", 1, [normal(2, 3, 8), normal(8, 24), normal(24), of(np.int32, [[1, 1, 0], [1, 1, 1]])], {"num_heads": 2}),
    ("Attention", 1, [normal(2, 3, 8), normal(8, 24), normal(24)], {"num_heads": 4, "unidirectional": 1}),
    ("MultiHeadAttention", 1, [normal(2, 3, 8), normal(2, 5, 8), normal(2, 5, 8), normal(24)], {"num_heads": 2}),
    ("RotaryEmbedding", 1, [normal(1, 2, 3, 4), of(np.int64, [[2, 3, 4]]), TABLE, normal(6, 2)], {}),
    ("RotaryEmbedding", 1, [normal(2, 3, 8), integers(1), TABLE, normal(6, 2)], {"interleaved": 1}),
    ("QLinearAdd", 1, [bytes_(3, 4), scale(0.1), zero(100), bytes_(4), scale(0.2), zero(3), scale(0.3), zero(50)], {}),
    ("QLinearMul", 1, [bytes_(3, 4), scale(0.1), zero(100), bytes_(4), scale(0.2), zero(3), scale(5.0), zero(90)], {}),
    ("QLinearSigmoid", 1, [bytes_(9), scale(0.05), zero(128), scale(1 / 256), zero(0)], {}),
    ("QLinearLeakyRelu", 1, [bytes_(9), scale(0.05), zero(128), scale(0.06), zero(30)], {"alpha": 0.1}),
    ("QLinearGlobalAveragePool", 1, [bytes_(1, 2, 3, 3), scale(0.1), zero(9), scale(0.1), zero(7)], {}),
    ("QLinearConcat", 1, [scale(0.2), zero(9), bytes_(2, 3), scale(0.1), zero(1), bytes_(2, 3), scale(0.2), zero(9)],
     {"axis": 1}),
    ("QLinearAveragePool", 1, [bytes_(1, 2, 5, 6), scale(0.1), zero(3), scale(0.09), zero(4)],
     {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [0, 1, 0, 1]}),
    ("QLinearSoftmax", 1, [bytes_(3, 4), scale(0.02), zero(3), scale(1 / 256), zero(0)], {"axis": -1, "opset": 13}),
    ("QGemm", 1, [bytes_(3, 4), scale(0.1), zero(3), bytes_(5, 4, dtype=np.int8), scale(0.02), zero(0, np.int8),
     of(np.int32, [100, 2, -3, 4, 5]), scale(2.0), zero(90)], {"transB": 1}),
    ("MatMulIntegerToFloat", 1, [bytes_(3, 4), bytes_(4, 5, dtype=np.int8), scale(0.1), of(np.float32, [1, 2, 3, 4, 5]), zero(7)], {}),
    ("DynamicQuantizeMatMul", 1, [normal(3, 4), bytes_(4, 5, dtype=np.int8), scale(0.1), zero(3, np.int8)], {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "outputs", "inputs", "attributes"),
    FUSED,
    ids=[f"{case[0]}-{place}" for place, case in enumerate(FUSED)],
)
def test_fused(name: str, outputs: int, inputs: list[Any], attributes: dict[str, Any]) -> None:
    check(
        name,
        17,
        inputs,
        domain="com.microsoft",
        outputs=min(outputs, 2),
        tolerance=1e-3,
        **attributes,
    )


def test_quantized_convolution_of_channels() -> None:
    check(
        "QLinearConv", 10,
        [bytes_(1, 3, 7, 7), scale(0.05), zero(120), bytes_(4, 3, 3, 3, dtype=np.int8), of(np.float32, [0.01, 0.02, 0.03, 0.01]),
         of(np.int8, [0, 0, 0, 0]), scale(0.2), zero(128), np.arange(4, dtype=np.int32) * 100],
        pads=[1, 1, 1, 1], strides=[2, 2],
    )  # fmt: skip
