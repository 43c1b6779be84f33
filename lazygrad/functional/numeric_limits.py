"""finfo and iinfo: the limits of the dtypes, as torch.finfo and torch.iinfo."""

from __future__ import annotations

from ..ir.dtype import DType
from .settings import default_dtype

_SIGNIFICAND = {
    "float64": (52, 1022),
    "float32": (23, 126),
    "float16": (10, 14),
    "bfloat16": (7, 126),
}
_RESOLUTION = {"float64": 1e-15, "float32": 1e-06, "float16": 0.001, "bfloat16": 0.01}


class finfo:
    """The limits of a float dtype.

    Raises:
        TypeError: the dtype is not a float.
    """

    def __init__(self, type: DType | None = None) -> None:
        dtype = type or default_dtype()
        if dtype.kind != "float":
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.iinfo'"
            )
        fraction, exponent = _SIGNIFICAND[dtype.name]
        self.dtype: str = dtype.name
        self.bits: int = dtype.bits
        self.eps: float = 2.0**-fraction
        self.max: float = (2.0 - 2.0**-fraction) * 2.0 ** (exponent + 1)
        self.min: float = -self.max
        self.tiny: float = 2.0**-exponent
        self.smallest_normal: float = self.tiny
        self.resolution: float = _RESOLUTION[dtype.name]

    def __repr__(self) -> str:
        fields = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        text = ", ".join(f"{name}={getattr(self, name):g}" for name in fields)
        return f"finfo({text}, dtype={self.dtype})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, finfo) and other.dtype == self.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)


class iinfo:
    """The limits of an integer dtype.

    Raises:
        TypeError: the dtype is not an integer.
    """

    def __init__(self, type: DType) -> None:
        if not type.is_integer:
            raise TypeError(
                "torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.finfo'"
            )
        signed = type.kind == "int"
        self.dtype: str = type.name
        self.bits: int = type.bits
        self.min: int = -(1 << type.bits - 1) if signed else 0
        self.max: int = (1 << type.bits - signed) - 1

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, iinfo) and other.dtype == self.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)
