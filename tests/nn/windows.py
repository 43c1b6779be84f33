"""Expressions that both libraries evaluate, and their gradients: what the tests of convolutions, pools and pictures share."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import lazygrad as lg


def values(module: Any, arrays: dict[str, np.ndarray], dtype: str) -> dict[str, Any]:
    """The tensors of one library; those of floats require grad."""
    names: dict[str, Any] = {"torch": module, "F": module.nn.functional}
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            names[name] = module.tensor(array).to(getattr(module, dtype)).requires_grad_()
        else:
            names[name] = module.tensor(array)
    return names


def as_array(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    array: np.ndarray = (tensor if tensor.dtype.itemsize > 2 else tensor.float()).numpy()
    return array


def compare(
    torch: Any, text: str, arrays: dict[str, np.ndarray], dtype: str = "float64", twice: bool = True
) -> None:
    """`text` gives the same in both: results, the name of the grad_fn, gradients, and (`twice`) the gradients of these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = _evaluate(torch, torch, text, arrays, dtype, twice)
    given = _evaluate(lg, torch, text, arrays, dtype, twice)
    assert len(reference) == len(given), text
    exact = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}[dtype]
    for expected, found in zip(reference, given, strict=True):
        if isinstance(expected, str):
            assert found == expected, text
            continue
        scale = float(np.abs(expected).max(initial=1.0, where=np.isfinite(expected)))
        np.testing.assert_allclose(found, expected, rtol=exact, atol=exact * scale, err_msg=text)


def _evaluate(
    module: Any, torch: Any, text: str, arrays: dict[str, np.ndarray], dtype: str, twice: bool
) -> list[Any]:
    names = values(module, arrays, dtype)
    made = eval(text, names)
    results = list(made) if isinstance(made, tuple) else [made]
    found: list[Any] = [str(results[0].grad_fn.name()).split(":")[-1]]
    found += [as_array(each) for each in results]
    found += [str(each.dtype).split(".")[-1] for each in results]
    leaves = [each for each in names.values() if getattr(each, "requires_grad", False)]
    draws = np.random.default_rng(1)
    weight = module.tensor(draws.standard_normal(tuple(results[0].shape))).to(results[0].dtype)
    total = (results[0] * weight).sum()
    gradients = module.autograd.grad(total, leaves, create_graph=twice, allow_unused=True)
    kept = [each for each in gradients if each is not None]
    found += [as_array(each) for each in kept]
    live = [each for each in kept if each.requires_grad and each.grad_fn is not None]
    if twice and live:
        again = sum((each * each).sum() for each in live)
        second = module.autograd.grad(again, leaves, allow_unused=True)
        found += [
            np.zeros(tuple(leaf.shape)) if each is None else as_array(each)
            for leaf, each in zip(leaves, second, strict=True)
        ]
    return found
