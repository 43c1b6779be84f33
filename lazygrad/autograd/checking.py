"""gradcheck: derivatives compared with differences of values.

In: a function and its inputs, in float64 if the comparison is to mean anything. Each element of each input is moved a little to both
sides, in place, and what the function makes of that is compared with the Jacobian that backward gives, row by row.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..functional import creation
from ..ir.dtype import float64
from ..tensor import Tensor
from .engine import grad

Function = Callable[..., Any]
Array = np.ndarray[Any, np.dtype[Any]]


class GradcheckError(RuntimeError):
    """A derivative is not what differences of values say."""


def gradcheck(
    func: Function,
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the derivatives of `func` by those inputs that require grad are what differences of its values are.

    Args:
        func: takes the inputs, and gives a tensor or several.
        eps: how far an element is moved to each side; `atol`, `rtol`: how far derivatives may be off.
        raise_exception: raise where they are; otherwise return False.
        nondet_tol: how far two backward passes may differ.
        check_forward_ad: compare forward mode too; check_backward_ad: compare reverse mode.
        check_batched_grad: compare gradients with is_grads_batched too; check_batched_forward_grad: vmap of forward mode.
        check_grad_dtypes: gradients have the dtypes of their inputs.
        check_undefined_grad, fast_mode, masked: accepted; all elements are always compared.

    Raises:
        GradcheckError: they differ. ValueError: no input requires grad.

    Same as torch.autograd.gradcheck.
    """
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    chosen = [
        (index, each)
        for index, each in enumerate(given)
        if isinstance(each, Tensor) and each.requires_grad
    ]
    if not chosen:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )
    for index, each in chosen:
        if each.dtype is not float64:
            warnings.warn(
                f"Input #{index} requires gradient and is not a double precision floating point. This check will likely fail "
                "if all the inputs are not of double precision floating point.",
                stacklevel=2,
            )
    try:
        check = _Check(func, given, chosen, atol, rtol)
        check.numerical(eps)
        if check_backward_ad:
            check.backward(nondet_tol, check_grad_dtypes)
        if check_batched_grad:
            check.batched()
        if check_forward_ad:
            check.forward()
        if check_forward_ad and check_batched_forward_grad:
            check.batched_forward()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Function,
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """`gradcheck` of the gradients of `func`: its second derivatives by the inputs, and by the gradients of its outputs.

    Args:
        grad_outputs: what the gradients are weighted with; random numbers where it is left out.
        gen_non_contig_grad_outputs: these lie in memory with gaps.
        check_fwd_over_rev, check_rev_over_rev: how the second derivative is found.

    Same as torch.autograd.gradgradcheck.
    """
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    outputs = [each for each in _outputs(func(*given)) if each.requires_grad]
    if grad_outputs is None:
        random = np.random.default_rng(0)
        weights = []
        for each in outputs:
            values = creation.tensor(random.standard_normal(tuple(each.shape)), dtype=each.dtype)
            if gen_non_contig_grad_outputs:
                values = values.unsqueeze(-1).repeat_interleave(2, -1).select(-1, 0)
            weights.append(values.requires_grad_())
    else:
        listed = (grad_outputs,) if isinstance(grad_outputs, Tensor) else tuple(grad_outputs)
        weights = [each.detach().requires_grad_() for each in listed]

    def gradients(*each: Any) -> tuple[Tensor, ...]:
        values, seeds = each[: len(given)], each[len(given) :]
        found = [o for o in _outputs(func(*values)) if o.requires_grad]
        sought = [v for v in values if isinstance(v, Tensor) and v.requires_grad]
        made = grad(found, sought, seeds, create_graph=True, allow_unused=True)
        return tuple([m for m in made if m is not None])

    return gradcheck(
        gradients,
        (*given, *weights),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
    )


class _Check:
    """One check: the function, what it is called with, and the Jacobians that differences gave."""

    def __init__(
        self,
        func: Function,
        given: tuple[Any, ...],
        chosen: Sequence[tuple[int, Tensor]],
        atol: float,
        rtol: float,
    ) -> None:
        self.func, self.given, self.chosen = func, given, chosen
        self.atol, self.rtol = atol, rtol
        self.tables: dict[tuple[int, int], Array] = {}
        """By output and place among the chosen inputs: a row for each element of the input, a column for each of the output."""

    def call(self) -> list[Tensor]:
        """The differentiable outputs."""
        outputs = _outputs(self.func(*self.given))
        return [each for each in outputs if each.dtype.is_floating_point]

    def numerical(self, eps: float) -> None:
        """Fill the tables by central differences; every input is afterwards as it was."""
        for place, (_, tensor) in enumerate(self.chosen):
            alias = tensor.data
            start = _array(tensor).copy()
            columns: list[list[Array]] = []
            try:
                for position in range(start.size):
                    sides = []
                    for step in (eps, -eps):
                        moved = start.copy()
                        moved.reshape(-1)[position] += step
                        alias.copy_(creation.tensor(moved, dtype=tensor.dtype))
                        sides.append([_array(each).astype(np.float64) for each in self.call()])
                    columns.append([(up - down) / (2 * eps) for up, down in zip(*sides)])
            finally:
                alias.copy_(creation.tensor(start, dtype=tensor.dtype))
            for number, output in enumerate(self.call()):
                size = (start.size, output.numel())
                table = [column[number].reshape(-1) for column in columns]
                self.tables[number, place] = np.array(table, np.float64).reshape(size)

    def backward(self, nondet_tol: float, check_dtypes: bool) -> None:
        """Compare with reverse mode, a row at a time, and that with itself."""
        outputs = self.call()
        sought = [tensor for _, tensor in self.chosen]
        for number, output in enumerate(outputs):
            if not output.requires_grad:
                for place in range(len(sought)):
                    if not np.allclose(self.tables[number, place], 0, self.rtol, self.atol):
                        raise GradcheckError("Numerical gradient for function expected to be zero")
                continue
            found = self._rows(output, sought, check_dtypes)
            again = self._rows(output, sought, False)
            for place, (each, other) in enumerate(zip(found, again)):
                self._compare(number, place, each, "")
                if not np.allclose(each, other, 0, nondet_tol, equal_nan=True):
                    raise GradcheckError(
                        "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
                        f"different values, although analytical gradient matches numerical gradient. The tolerance for "
                        f"nondeterminism was {nondet_tol}."
                    )

    def _rows(self, output: Tensor, sought: Sequence[Tensor], check_dtypes: bool) -> list[Array]:
        tables = [np.zeros((each.numel(), output.numel())) for each in sought]
        for position in range(output.numel()):
            seed = np.zeros(tuple(output.shape))
            seed.reshape(-1)[position] = 1
            weight = creation.tensor(seed, dtype=output.dtype)
            found = grad(output, sought, weight, retain_graph=True, allow_unused=True)
            for table, each, tensor in zip(tables, found, sought):
                if each is None:
                    continue
                if check_dtypes and each.dtype is not tensor.dtype:
                    raise GradcheckError("Gradient has dtype mismatch")
                table[:, position] = _array(each).reshape(-1)
        return tables

    def batched(self) -> None:
        """Compare is_grads_batched with a gradient for each."""
        sought = [tensor for _, tensor in self.chosen]
        for output in self.call():
            if not output.requires_grad or not output.numel():
                continue
            seeds = np.random.default_rng(0).standard_normal((2, *output.shape))
            weights = creation.tensor(seeds, dtype=output.dtype)
            whole = grad(
                output, sought, weights, retain_graph=True, allow_unused=True, is_grads_batched=True
            )
            for position in range(2):
                single = grad(
                    output, sought, weights[position], retain_graph=True, allow_unused=True
                )
                for one, every in zip(single, whole):
                    if (one is None) != (every is None) or (
                        one is not None
                        and every is not None
                        and not np.allclose(
                            _array(one), _array(every[position]), self.rtol, self.atol
                        )
                    ):
                        raise GradcheckError(
                            "While computing batched gradients, got values other than those of one gradient at a time: the "
                            "operation's gradient does not compose with vmap"
                        )

    def forward(self) -> None:
        """Compare with forward mode, a column at a time."""
        from ..func.derivatives import jvp

        for place, (_, tensor) in enumerate(self.chosen):
            for position in range(tensor.numel()):
                seed = np.zeros(tuple(tensor.shape))
                seed.reshape(-1)[position] = 1
                tangent = creation.tensor(seed, dtype=tensor.dtype)
                moved = jvp(self._of_one(place), (tensor,), (tangent,))[1]
                for number, each in enumerate(moved):
                    expected = self.tables[number, place][position]
                    self._close(
                        number,
                        place,
                        _array(each).reshape(-1),
                        expected,
                        " (computed with forward mode)",
                    )

    def batched_forward(self) -> None:
        """Compare all columns at once with the tables."""
        from ..func.jacobians import jacfwd

        for place, (_, tensor) in enumerate(self.chosen):
            for number, each in enumerate(jacfwd(self._of_one(place))(tensor)):
                rows = _array(each).reshape(-1, tensor.numel()).T
                self._compare(number, place, rows, " (computed with batched forward mode)")

    def _of_one(self, place: int) -> Function:
        """The outputs as a function of one input."""
        index = self.chosen[place][0]

        def call(value: Tensor) -> tuple[Tensor, ...]:
            outputs = _outputs(self.func(*self.given[:index], value, *self.given[index + 1 :]))
            return tuple([each for each in outputs if each.dtype.is_floating_point])

        return call

    def _compare(self, number: int, place: int, found: Array, how: str) -> None:
        self._close(number, place, found, self.tables[number, place], how)

    def _close(self, number: int, place: int, found: Array, expected: Array, how: str) -> None:
        if not np.allclose(found, expected, self.rtol, self.atol, equal_nan=True):
            raise GradcheckError(
                f"Jacobian{how} mismatch for output {number} with respect to input {self.chosen[place][0]},\n"
                f"numerical:{expected}\nanalytical:{found}\n"
            )


def _outputs(result: Any) -> list[Tensor]:
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    return [each for each in outputs if isinstance(each, Tensor)]


def _array(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().to(float64).clone().numpy())
