"""Jacobians, Hessians and their products with vectors, of functions of tensors: PyTorch's torch.autograd.functional.

A function takes one tensor or several, and `inputs` is a tensor or a tuple of them; results have the same form. All rows of a
Jacobian are computed together (`vectorize` changes nothing), products J v by forward mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir.dtype import int64
from ..ir.node import constant, iota
from ..results import from_node
from ..tensor import Tensor
from .engine import grad
from .grad_mode import enable_grad

Function = Callable[..., Any]
Tensors = Tensor | tuple[Tensor, ...]


def jacobian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of `func`: for each output and each input a tensor of the output's shape, then the input's.

    Args:
        create_graph: the result has a history itself.
        strict: an output that does not depend on an input is an error, not zeros.
        strategy: "reverse-mode", or "forward-mode" (with `vectorize`).

    Returns: a tensor; with several inputs a tuple, with several outputs a tuple of these.

    Raises:
        TypeError: inputs or outputs are something else than tensors. RuntimeError: with `strict`, as said.

    Same as torch.autograd.functional.jacobian.
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')
    if strategy == "forward-mode":
        return _forward_jacobian(func, inputs, create_graph, strict, vectorize)
    several, given = _inputs("jacobian", inputs, create_graph)
    with enable_grad():
        many, outputs = _outputs("jacobian", func(*given), strict)
        rows = []
        for number, output in enumerate(outputs):
            found: Sequence[Tensor | None] = [None] * len(given)
            if output.requires_grad:
                found = grad(
                    output,
                    given,
                    _identity(output),
                    retain_graph=True,
                    create_graph=create_graph,
                    allow_unused=True,
                    is_grads_batched=True,
                )
            row = []
            for index, (each, input_) in enumerate(zip(found, given)):
                if each is None and strict:
                    raise RuntimeError(
                        f"Output {number} of the user-provided function is independent of input {index}. This is not "
                        "allowed in strict mode."
                    )
                shape = (*output.shape, *input_.shape)
                made = _zeros(input_, shape) if each is None else each.reshape(shape)
                row.append(made if create_graph else made.detach())
            rows.append(tuple(row) if several else row[0])
    return tuple(rows) if many else rows[0]


def _forward_jacobian(
    func: Function, inputs: Tensors, create_graph: bool, strict: bool, vectorize: bool
) -> Any:
    if strict:
        raise RuntimeError(
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not supported together (yet). '
            'Please either set `strict=False` or `strategy="reverse-mode"`.'
        )
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for `vectorize=True`."
        )
    from ..func import jacfwd

    several, given = _inputs("jacobian", inputs, create_graph)
    made = jacfwd(func, tuple(range(len(given))))(*given)
    rows = [made] if isinstance(made[0], Tensor) else list(made)
    results = []
    for row in rows:
        each = row if create_graph else [block.detach() for block in row]
        results.append(tuple(each) if several else each[0])
    return results[0] if isinstance(made[0], Tensor) else tuple(results)


def hessian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of `func`, which returns one number: for each pair of inputs a tensor of both their shapes.

    Raises:
        RuntimeError: `func` returns more than one element; with `strict`, it does not depend on an input.

    Same as torch.autograd.functional.hessian.
    """
    several, given = _inputs("hessian", inputs, create_graph)

    def first(*each: Tensor) -> Any:
        value = _one_element("hessian", func(*each))
        found = (
            grad(value.sum(), each, create_graph=True, allow_unused=True)
            if value.requires_grad
            else [None] * len(each)
        )
        if strict and any(part is None for part in found):
            raise RuntimeError(
                "The output of the user-provided function is independent of an input. This is not allowed in strict mode."
            )
        return tuple([_zeros(e, tuple(e.shape)) if f is None else f for e, f in zip(each, found)])

    made = jacobian(
        first,
        given,
        create_graph,
        False,
        vectorize or outer_jacobian_strategy == "forward-mode",
        outer_jacobian_strategy,
    )
    return made if several else made[0][0]


def vjp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(*inputs), v times its Jacobian); `v` is like the output, and may be left out where that is one number.

    Raises:
        RuntimeError: `v` is missing or of another size.

    Same as torch.autograd.functional.vjp.
    """
    several, given = _inputs("vjp", inputs, create_graph)
    with enable_grad():
        many, outputs = _outputs("vjp", func(*given), strict)
        if v is None and (len(outputs) != 1 or outputs[0].numel() != 1):
            raise RuntimeError(
                "The vector v can only be None if the user-provided function returns a single Tensor with a single element."
            )
        vectors = _vectors(v, outputs)
        found = _pulled(outputs, given, vectors, create_graph, strict)
    value = tuple([each if create_graph else each.detach() for each in outputs])
    return (value if many else value[0]), (found if several else found[0])


def jvp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(*inputs), its Jacobian times v); `v` is like the inputs, and may be left out where that is one number.

    Same as torch.autograd.functional.jvp, by forward mode.
    """
    from ..func import derivatives

    _, given = _inputs("jvp", inputs, create_graph)
    if v is None and (len(given) != 1 or given[0].numel() != 1):
        raise RuntimeError(
            "The vector v can only be None if the input to the user-provided function is a single Tensor with a single element."
        )
    vectors = _vectors(v, given)

    def checked(*each: Tensor) -> Any:
        result = func(*each)
        _outputs("jvp", result, strict)
        return result

    value, moved = derivatives.jvp(checked, given, vectors, strict=strict)
    return _kept(value, create_graph), _kept(moved, create_graph)


def vhp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(*inputs), v times its Hessian); `func` returns one number, `v` is like the inputs.

    Same as torch.autograd.functional.vhp.
    """
    several, given = _inputs("vhp", inputs, create_graph)
    with enable_grad():
        value = _one_element("vhp", func(*given))
        if v is None and (len(given) != 1 or given[0].numel() != 1):
            raise RuntimeError(
                "The vector v can only be None if the input to the user-provided function is a single Tensor with a single element."
            )
        vectors = _vectors(v, given)
        first = _pulled([value], given, [_ones(value)], True, strict)
        found = _pulled(first, given, vectors, create_graph, strict)
    return _kept(value, create_graph), (found if several else found[0])


def hvp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(*inputs), its Hessian times v), which is the same as `vhp`. Same as torch.autograd.functional.hvp."""
    return vhp(func, inputs, v, create_graph, strict)


# --- arguments


def _inputs(who: str, inputs: Any, create_graph: bool) -> tuple[bool, tuple[Tensor, ...]]:
    """Whether there are several inputs, and variables with their values."""
    several = isinstance(inputs, tuple)
    given = inputs if several else (inputs,)
    for index, each in enumerate(given):
        if not isinstance(each, Tensor):
            if several:
                raise TypeError(
                    f"The inputs given to {who} must be either a Tensor or a tuple of Tensors but the value at index "
                    f"{index} has type {type(each)}."
                )
            raise TypeError(
                f"The inputs given to {who} must be either a Tensor or a tuple of Tensors but the given inputs has type "
                f"{type(each)}."
            )
    if create_graph:
        with enable_grad():
            return several, tuple(
                [e.view_as(e) if e.requires_grad else e.detach().requires_grad_() for e in given]
            )
    return several, tuple([each.detach().requires_grad_() for each in given])


def _outputs(who: str, result: Any, strict: bool = False) -> tuple[bool, tuple[Tensor, ...]]:
    many = isinstance(result, tuple)
    outputs = result if many else (result,)
    for number, each in enumerate(outputs):
        if not isinstance(each, Tensor):
            if many:
                raise TypeError(
                    f"The outputs of the user-provided function given to {who} must be either a Tensor or a tuple of Tensors "
                    f"but the value at index {number} has type {type(each)}."
                )
            raise TypeError(
                f"The outputs of the user-provided function given to {who} must be either a Tensor or a tuple of Tensors but "
                f"the given outputs of the user-provided function has type {type(each)}."
            )
        if strict and not each.requires_grad:
            raise RuntimeError(
                f"Output {number} of the user-provided function does not require gradients. The outputs must be computed in a "
                "differentiable manner from the input when running in strict mode."
            )
    return many, outputs


def _one_element(who: str, value: Any) -> Tensor:
    many, outputs = _outputs(who, value)
    if many or outputs[0].numel() != 1 or outputs[0].ndim > 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {who} should contain a single element"
        )
    return outputs[0]


def _vectors(v: Tensors | None, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The vector as a tuple, ones where it is left out.

    Raises:
        RuntimeError: it is of another size.
    """
    if v is None:
        return tuple([_ones(each) for each in like])
    given = v if isinstance(v, tuple) else (v,)
    if len(given) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(given)}."
        )
    for index, (each, expected) in enumerate(zip(given, like)):
        if each.shape != expected.shape:
            prefix = f"Entry {index} in v" if len(like) > 1 else "v"
            raise RuntimeError(
                f"{prefix} has invalid size: should be {expected.shape} but got {each.shape}."
            )
    return given


def _pulled(
    outputs: Sequence[Tensor],
    inputs: tuple[Tensor, ...],
    vectors: Sequence[Tensor],
    create_graph: bool,
    strict: bool,
) -> tuple[Tensor, ...]:
    """The gradients of the outputs, weighted with the vectors, by the inputs; zeros where they do not depend on one."""
    starts = [(o, v) for o, v in zip(outputs, vectors) if o.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(inputs)
    if starts:
        found = grad(
            [o for o, _ in starts],
            inputs,
            [v for _, v in starts],
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
        )
    if strict and any(each is None for each in found):
        raise RuntimeError(
            "The output of the user-provided function is independent of an input. This is not allowed in strict mode."
        )
    return tuple([_zeros(i, tuple(i.shape)) if f is None else f for f, i in zip(found, inputs)])


def _kept(value: Any, create_graph: bool) -> Any:
    if create_graph:
        return value
    return tuple([e.detach() for e in value]) if isinstance(value, tuple) else value.detach()


def _zeros(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    return from_node(constant(0, like.dtype, shape, like.place))


def _ones(like: Tensor) -> Tensor:
    return from_node(constant(1, like.dtype, tuple(like.shape), like.place))


def _identity(output: Tensor) -> Tensor:
    """For each element of `output` a tensor that is 1 there and 0 elsewhere."""
    count = output.numel()
    rows = iota(count, int64, output.place)
    equal = (
        rows.reshape((count, 1))
        .expand((count, count))
        .eq(rows.reshape((1, count)).expand((count, count)))
    )
    return from_node(equal.cast(output.dtype).reshape((count, *output.shape)))
