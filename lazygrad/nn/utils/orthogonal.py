"""orthogonal: weights whose rows or columns stay orthonormal. It is a name of torch.nn.utils.parametrizations."""

from __future__ import annotations

from ...autograd.grad_mode import no_grad
from ...functional.comparison import allclose
from ...functional.creation import eye
from ...functional.joining import cat
from ...functional.linalg.factorizations import geqrf, householder_product, matrix_exp
from ...functional.linalg.solving import solve
from ...functional.numeric_limits import finfo
from ...random import randn
from ...size import Size
from ...tensor import Tensor
from ..module import Module
from .parametrize import register_parametrization

MAPS = ("matrix_exp", "cayley", "householder")


class _Orthogonal(Module):
    """What a map makes of a tall matrix (of the transposed one, if it is wide), times `base`, which makes the first value what it was."""

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool) -> None:
        super().__init__()
        self.shape = Size(weight.shape)
        self.orthogonal_map = orthogonal_map
        self.based = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, parameter: Tensor) -> Tensor:
        wide = parameter.shape[-2] < parameter.shape[-1]
        tall = parameter.mT if wide else parameter
        columns = tall.shape[-1]
        if self.orthogonal_map == "householder":
            made = _reflections(tall)
        else:
            made = _rotation(tall, self.orthogonal_map)[..., :columns]
        if self.based:
            made = self.base @ made
        return made.mT if wide else made

    def right_inverse(self, value: Tensor) -> Tensor:
        if tuple(value.shape) != tuple(self.shape):
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {value.shape}."
            )
        with no_grad():
            wide = value.shape[-2] < value.shape[-1]
            tall = value.mT if wide else value
            if not self.based:
                found = self._reflected(tall)
                return found.mT if wide else found
            rows, columns = tall.shape[-2:]
            if rows != columns:
                more = (*tall.shape[:-2], rows, rows - columns)
                rest = randn(*more, dtype=tall.dtype, device=tall.device)
                self.base = _orthonormal(cat([tall, rest], -1))
            else:
                self.base = tall.clone() if _is_orthonormal(tall) else _orthonormal(tall)
            # the diagonal has the signs of the reflections: with -1 zeros are mapped to the identity
            negative = value.new_zeros(tuple(value.shape))
            negative.diagonal(0, -2, -1).fill_(-1.0)
            return negative

    def _reflected(self, value: Tensor) -> Tensor:
        """The reflections of a value, with the signs of its R on the diagonal."""
        if self.orthogonal_map != "householder":
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                "use_trivialization=False."
            )
        found, tau = geqrf(value)
        sign = found.diagonal(0, -2, -1).sign()
        sign = sign * (1 - 2 * (tau == 0).to(sign.dtype))  # LAPACK's 0 for a reflection left out
        found.diagonal(0, -2, -1).copy_(sign)
        return found


def _rotation(tall: Tensor, orthogonal_map: str) -> Tensor:
    """The orthogonal matrix (n, n) of the part of a matrix (n, k) below its diagonal."""
    rows, columns = tall.shape[-2:]
    lower = tall.tril()
    if rows != columns:
        lower = cat([lower, lower.new_zeros((*lower.shape[:-2], rows, rows - columns))], -1)
    skew = lower - lower.mT
    if orthogonal_map == "matrix_exp":
        return matrix_exp(skew)
    unit = eye(rows, dtype=skew.dtype, device=skew.device)
    return solve(unit - 0.5 * skew, unit + 0.5 * skew)


def _reflections(tall: Tensor) -> Tensor:
    """The product of the reflections by the columns below the diagonal, which has the signs."""
    below = tall.tril(-1)
    tau = 2.0 / (1.0 + (below * below).sum(-2))
    signs = tall.detach().diagonal(0, -2, -1).sign()
    made: Tensor = householder_product(below, tau) * signs.unsqueeze(-2)
    return made


def _is_orthonormal(matrix: Tensor) -> bool:
    rows, columns = matrix.shape[-2:]
    unit = eye(columns, dtype=matrix.dtype, device=matrix.device)
    return allclose(matrix.mT @ matrix, unit, atol=10 * rows * finfo(matrix.dtype).eps)


def _orthonormal(matrix: Tensor) -> Tensor:
    """The Q of Q @ R whose R has a positive diagonal."""
    found, tau = geqrf(matrix)
    signs = found.diagonal(0, -2, -1).sign()
    made: Tensor = householder_product(found, tau) * signs.unsqueeze(-2)
    return made


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep a weight (..., n, k) orthogonal: its columns orthonormal, or its rows if it is wide.

    Args:
        orthogonal_map: "matrix_exp" and "cayley" (of a skew-symmetric matrix) or "householder" (a product of reflections); None for the first for
            square weights and the last for others.
        use_trivialization: multiply by a constant matrix, by which the weight begins as the orthogonal matrix next to what it was.

    Raises:
        ValueError: there is no such parameter, or of one axis; an unknown map.

    Same as torch.nn.utils.parametrizations.orthogonal.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in MAPS:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
