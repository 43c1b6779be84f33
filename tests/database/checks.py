"""What a sample is checked for: values, the method, in-place and out= forms, errors, gradients and second gradients.

In: an entry of the database and one sample. Out: nothing; a `Difference` (or whatever lazygrad raised) where lazygrad is not as PyTorch.
Each check runs both libraries on fresh copies of the arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import lazygrad as lg

from .operators import Unserved, copy, function_of, plain, rebound, tensors_of, variant_of

UNDEFINED = {
    "empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided", "resize_", "resize_as_",
}  # fmt: skip
"""Operators whose values are what memory held."""

OF_MEMORY = {"as_strided"}
"""Operators that see how an argument lies in memory, which a batch of it does not."""

TOLERANCES = {
    torch.float64: (1e-7, 1e-7),
    torch.float32: (1e-5, 1e-5),
    torch.float16: (5e-3, 1e-3),
    torch.bfloat16: (3e-2, 1e-2),
}


ROUGH = {f"special.bessel_{name}": (1e-4, 1e-4) for name in ("j0", "j1", "y0", "y1")} | {
    "special.airy_ai": (1e-4, 2e-3)
}
"""Operators whose values in PyTorch are not exact to the tolerance of their dtype; tests/functional/test_bessel.py compares ours with others."""


class Difference(Exception):
    """lazygrad's result is not PyTorch's."""


class NotApplicable(Exception):
    """The sample has nothing that this check could compare."""


class Call:
    """One call of one library: its arguments, and its result or error."""

    def __init__(self, function: Callable[..., Any], sample: Any, module: Any, **more: Any) -> None:
        self.tensors: list[Any] = []
        if sample.kwargs.get("dropout_p") or sample.kwargs.get("training"):
            raise Unserved("other random numbers")
        if sample.kwargs.get("sparse"):
            raise Unserved("sparse gradients")
        arguments = (sample.input, *sample.args)
        self.arguments = copy(tuple(arguments), module, self.tensors)
        self.named = {**copy(sample.kwargs, module, self.tensors), **more}
        self.function = function

    def run(self) -> Any:
        """Call the function."""
        return self.function(*self.arguments, **self.named)


def both(
    theirs: Callable[..., Any], ours: Callable[..., Any], sample: Any, **more: Any
) -> tuple[Call, Any, Call, Any]:
    """Run both; what PyTorch raises, lazygrad must raise too.

    Raises:
        NotApplicable: both raised.
        Difference: one of them did, or their errors are of unlike types.
    """
    first = Call(theirs, sample, torch, **more)
    try:
        expected = first.run()
    except Exception as error:
        must_raise(Call(ours, sample, lg, **more), error)
        raise NotApplicable("both raise") from None
    second = Call(ours, sample, lg, **more)
    return first, expected, second, second.run()


def must_raise(call: Call, expected: Exception) -> None:
    """Check that a call of lazygrad raises what PyTorch's did.

    Raises:
        Difference: it gives a result, or an error of another type.
    """
    words = f"{type(expected).__name__}: {str(expected).splitlines()[0] if str(expected) else ''}"
    try:
        plain(call.run())
        plain(call.tensors[0] if call.tensors else None)
    except Exception as error:
        if isinstance(error, type(expected)):
            return
        raise Difference(f"{type(error).__name__}: {error} (PyTorch: {words})") from error
    raise Difference(f"no error (PyTorch: {words})")


# --- the checks


def value(entry: Any, sample: Any) -> None:
    """The function: values, shapes, dtypes; what is a view is one of ours too, with the same strides."""
    if entry.name.startswith("__r") and not isinstance(sample.input, torch.Tensor):
        raise NotApplicable("a method without a tensor")
    format_ = sample.kwargs.get("memory_format")
    if entry.name == "contiguous" and format_ not in (None, torch.contiguous_format):
        raise Unserved("memory formats")  # `copy` gives others than this one as preserve_format
    theirs = function_of(entry, torch)
    first, expected, second, found = both(theirs, function_of(entry, lg), sample)
    compare_near(found, expected, entry, sample)
    compare_views(second, found, first, expected)


def method(entry: Any, sample: Any) -> None:
    """The method of Tensor."""
    theirs, ours = variant_of(entry.method_variant, torch), variant_of(entry.method_variant, lg)
    if theirs is None or ours is None or not isinstance(sample.input, torch.Tensor):
        raise NotApplicable("no method")
    _, expected, _, found = both(theirs, ours, sample)
    compare_near(found, expected, entry, sample)


def inplace(entry: Any, sample: Any) -> None:
    """The in-place form: what it returns is its first argument, changed; it fails where PyTorch's fails."""
    theirs, ours = variant_of(entry.inplace_variant, torch), variant_of(entry.inplace_variant, lg)
    if theirs is None or ours is None or not isinstance(sample.input, torch.Tensor):
        raise NotApplicable("no in-place form")
    first, expected, second, found = both(theirs, ours, sample)
    compare_near(found, expected, entry, sample)
    compare_near(second.tensors[0], first.tensors[0], entry, sample)
    if expected is first.tensors[0] and found is not second.tensors[0]:
        raise Difference("the in-place form does not return its tensor")


def out(entry: Any, sample: Any) -> None:
    """out=: results are written into what is given, of the right shape and dtype or of another dtype."""
    if not entry.supports_out or "out" in sample.kwargs:
        raise NotApplicable("no out=")
    theirs, ours = function_of(entry, torch), function_of(entry, lg)
    call = Call(theirs, sample, torch)
    try:
        results = list(tensors_of(call.run()))
    except Exception:
        raise NotApplicable("it raises without out=") from None
    places: list[Any] = []
    given = []
    for module in (torch, lg):
        for each in results:
            blank = torch.zeros(each.shape, dtype=each.dtype)
            copy(blank, module, places)
    given = [places[: len(results)], places[len(results) :]]
    returned = []
    for module, function, blanks in zip((torch, lg), (theirs, ours), given, strict=True):
        target = blanks[0] if len(blanks) == 1 else tuple(blanks)
        attempt = Call(function, sample, module, out=target)
        try:
            returned.append(attempt.run())
        except Exception as error:
            if module is torch:
                raise NotApplicable(f"PyTorch: {error}") from None
            raise
    blanks = given[0][0] if len(given[0]) == 1 else given[0]
    compare_near(given[1][0] if len(given[1]) == 1 else given[1], blanks, entry, sample)
    if any(a is not b for a, b in zip(tensors_of(returned[1]), given[1], strict=True)):
        raise Difference("out= is not what is returned")


def error(entry: Any, wrong: Any) -> None:
    """An error input raises an exception of PyTorch's type."""
    sample = getattr(wrong, "sample_input", wrong)
    call = Call(function_of(entry, torch), sample, torch)
    try:
        call.run()
    except Exception as expected:
        if entry.name.startswith("__r") and not isinstance(sample.input, torch.Tensor):
            raise NotApplicable("a method without a tensor") from None
        must_raise(Call(function_of(entry, lg), sample, lg), expected)
        return
    raise NotApplicable("PyTorch does not raise")


def gradient(entry: Any, sample: Any, second: bool = False) -> None:
    """The gradients of all inputs for one cotangent of each result; with `second` also those of the gradients."""
    first, expected, mine, found = both(function_of(entry, torch), function_of(entry, lg), sample)
    expected = sample.output_process_fn_grad(expected)
    found = rebound(sample.output_process_fn_grad)(found)
    theirs = list(tensors_of(expected))
    ours = list(tensors_of(found))
    needs = [each.requires_grad for each in theirs]
    if needs != [each.requires_grad for each in ours]:
        raise Difference(f"requires_grad: {[each.requires_grad for each in ours]}, not {needs}")
    theirs = [each for each in theirs if each.requires_grad]
    ours = [each for each in ours if each.requires_grad]
    if not theirs:
        raise NotApplicable("nothing requires grad")
    generator = torch.Generator().manual_seed(1)

    def draw(like: Any) -> Any:
        return torch.randn(like.shape, dtype=like.dtype, generator=generator)

    cotangents = [draw(each).requires_grad_(second) for each in theirs]
    own: list[Any] = []
    copy(cotangents, lg, own)
    inputs = [[each for each in call.tensors if each.requires_grad] for call in (first, mine)]
    results = []
    for module, outputs, given, leaves in (
        (torch, theirs, cotangents, inputs[0]),
        (lg, ours, own, inputs[1]),
    ):
        made = module.autograd.grad(outputs, leaves, given, allow_unused=True, create_graph=second)
        results.append(list(made))
    for position, (their, our) in enumerate(zip(*results, strict=True)):
        if their is None and our is not None and not plain(our).any():
            continue  # PyTorch leaves out some gradients that are 0, of a count
        if (their is None) != (our is None):
            raise Difference(f"gradient {position}: {our}, not {their}")
        if their is not None:
            compare(our, their, True, f"gradient {position}: ")
    if not second:
        return
    kept = [
        i
        for i, (their, our) in enumerate(zip(*results, strict=True))
        if their is not None and their.requires_grad and our is not None
    ]
    if not kept:
        raise NotApplicable("gradients do not depend on anything")
    weights = [draw(results[0][i]) for i in kept]
    own_weights: list[Any] = []
    copy(weights, lg, own_weights)
    again = []
    for module, grads, leaves, given, factors in (
        (torch, results[0], inputs[0], cotangents, weights),
        (lg, results[1], inputs[1], own, own_weights),
    ):
        targets = [*leaves, *given]
        try:
            made = module.autograd.grad(
                [grads[i] for i in kept], targets, factors, allow_unused=True
            )
        except RuntimeError as error:
            if module is torch and "not implemented" in str(error):
                raise NotApplicable("PyTorch has no second gradient") from None
            raise
        again.append(list(made))
    for position, (their, our) in enumerate(zip(*again, strict=True)):
        if their is None and our is None:
            continue
        their, our = (
            torch.zeros((), dtype=torch.float64)
            if each is None
            else each
            if each is their
            else plain(each)
            for each in (their, our)
        )
        our, their = torch.broadcast_tensors(our, their)
        close(our, their, f"second gradient {position}: ")


def second_gradient(entry: Any, sample: Any) -> None:
    """The gradients of gradients. PyTorch's fused attention has none, the formula it stands for does."""
    with sdpa_kernel(SDPBackend.MATH):
        gradient(entry, sample, second=True)


def _taken(entry: Any, sample: Any, module: Any) -> tuple[Callable[..., Any], list[Any]]:
    """The function of the sample's floating inputs that require grad alone, and those."""
    call = Call(function_of(entry, module), sample, module)
    leaves = [each for each in call.tensors if each.requires_grad]
    positions = {id(each): number for number, each in enumerate(leaves)}

    def run(*given: Any) -> Any:
        def replaced(value: Any) -> Any:
            if isinstance(value, (torch.Tensor, lg.Tensor)):
                return given[positions[id(value)]] if id(value) in positions else value
            if type(value) in (list, tuple):
                return type(value)(replaced(each) for each in value)
            if isinstance(value, dict):
                return {key: replaced(each) for key, each in value.items()}
            return value

        wrapped = entry.gradcheck_wrapper  # such as: of a symmetric input
        wrapped = wrapped if module is torch else rebound(wrapped)
        made = wrapped(call.function, *replaced(call.arguments), **replaced(call.named))
        output = sample.output_process_fn_grad
        made = (output if module is torch else rebound(output))(made)
        tensors = [each for each in tensors_of(made) if each.dtype.is_floating_point]
        return tuple(tensors)

    return run, [each.detach() for each in leaves]


def forward(entry: Any, sample: Any) -> None:
    """Tangents of the results for one tangent of each floating input, against PyTorch's forward mode or its differences."""
    if not entry.supports_forward_ad:
        raise NotApplicable("PyTorch has no forward mode")
    generator = torch.Generator().manual_seed(2)
    results = []
    tangents: list[Any] = []
    for module in (torch, lg):
        function, leaves = _taken(entry, sample, module)
        if not leaves:
            raise NotApplicable("nothing requires grad")
        if module is torch:
            tangents = [
                torch.randn(each.shape, dtype=each.dtype, generator=generator) for each in leaves
            ]
            given = tangents
        else:
            given = []
            copy(tangents, lg, given)
        try:
            with sdpa_kernel(SDPBackend.MATH):
                results.append(module.func.jvp(function, tuple(leaves), tuple(given)))
        except Exception as error:
            if module is torch:
                raise NotApplicable(f"PyTorch: {error}") from None
            raise
    found = list(results[1][1])
    try:
        compare(found, list(results[0][1]), True, "tangent ")
    except Difference:
        function, leaves = _taken(entry, sample, torch)
        ends = []
        for step in (1e-6, -1e-6):
            moved = [each + step * by for each, by in zip(leaves, tangents, strict=True)]
            ends.append(function(*moved))
        for our, high, low in zip(found, *ends, strict=True):
            close(plain(our), (high - low) / 2e-6, "tangent: ", 1e-5, 1e-5)


def vmap(entry: Any, sample: Any) -> None:
    """The function over a batch of two, against the function of each: what it does without vmap is checked elsewhere."""
    function, leaves = _taken(entry, sample, lg)
    if not leaves or entry.name in OF_MEMORY:
        raise NotApplicable("nothing requires grad, or a batch lies otherwise in memory")
    others = [each * 0.75 for each in leaves]
    expected = [function(*leaves), function(*others)]
    shapes = [[tuple(each.shape) for each in one] for one in expected]
    if not expected[0] or shapes[0] != shapes[1]:
        raise NotApplicable("results of unlike shapes")
    batches = [lg.stack(pair) for pair in zip(leaves, others, strict=True)]
    try:
        found = lg.func.vmap(function)(*batches)
    except Exception as error:
        theirs, given = _taken(entry, sample, torch)
        must_raise_vmap(theirs, given, error)
        raise
    for our, *their in zip(found, *expected, strict=True):
        compare(our, plain(lg.stack(their)), True, "batch ")


def must_raise_vmap(theirs: Callable[..., Any], leaves: list[Any], error: Exception) -> None:
    """What cannot be done in a batch, such as to update running statistics in place, PyTorch refuses too.

    Raises:
        NotApplicable: it does.
    """
    try:
        torch.func.vmap(theirs)(*[torch.stack([each, each * 0.75]) for each in leaves])
    except type(error):
        raise NotApplicable("both raise") from None


CHECKS: dict[str, Callable[[Any, Any], None]] = {
    "value": value,
    "method": method,
    "inplace": inplace,
    "out": out,
    "error": error,
    "gradient": gradient,
    "second": second_gradient,
    "forward": forward,
    "vmap": vmap,
}
"""The checks by name, in the order of the report."""


# --- comparing


def compare(found: Any, expected: Any, values: bool, where: str = "") -> None:
    """Compare a result of lazygrad with one of PyTorch.

    Raises:
        Difference: structure, shape, dtype or (with `values`) an element differs.
    """
    if isinstance(expected, torch.Tensor):
        if not isinstance(found, lg.Tensor):
            raise Difference(f"{where}{type(found).__name__} instead of a tensor")
        if tuple(found.shape) != tuple(expected.shape):
            raise Difference(f"{where}shape {tuple(found.shape)}, not {tuple(expected.shape)}")
        if str(found.dtype) != str(expected.dtype):
            raise Difference(f"{where}dtype {found.dtype}, not {expected.dtype}")
        numbers = plain(found)
        if values:
            close(numbers, expected.detach(), where)
    elif isinstance(expected, (list, tuple)) and not isinstance(expected, torch.Size):
        if not isinstance(found, (list, tuple)) or len(found) != len(expected):
            raise Difference(f"{where}{found!r:.80}, not {len(expected)} results")
        for position, (our, their) in enumerate(zip(found, expected, strict=True)):
            compare(our, their, values, f"{where}result {position}: ")
    elif isinstance(expected, float) and isinstance(found, float):
        close(torch.tensor(found), torch.tensor(expected), where)
    elif isinstance(expected, (torch.dtype, torch.device)):
        if str(found) != str(expected):
            raise Difference(f"{where}{found}, not {expected}")
    elif found != expected or (
        isinstance(expected, (bool, int)) and type(found) is not type(expected)
    ):
        raise Difference(f"{where}{found!r:.80}, not {expected!r:.80}")


def compare_near(found: Any, expected: Any, entry: Any, sample: Any) -> None:
    """Compare results; numbers that differ may be as near to those of a computation in float64 as PyTorch's are.

    Raises:
        Difference: they are neither PyTorch's nor as exact.
    """
    told = None if sample.kwargs.get("stable") else INVARIANTS.get(entry.name)
    try:
        compare(found, expected, entry.name not in UNDEFINED and told is None)
        if told is not None:
            our, their = (
                (each,) if isinstance(each, torch.Tensor) else each
                for each in (plain(found), expected)
            )
            compare_invariants(told(sample, *our), told(sample, *their))
    except Difference as difference:
        if entry.name in ROUGH and "values:" in str(difference):
            for our, their in zip(tensors_of(found), tensors_of(expected), strict=True):
                close(plain(our), their, "", *ROUGH[entry.name])
            return
        narrow = (torch.float16, torch.bfloat16, torch.float32)
        tensors = list(tensors_of(expected))
        if "values:" not in str(difference) or all(each.dtype not in narrow for each in tensors):
            raise
        exact = list(tensors_of(Call(function_of(entry, torch), widened(sample), torch).run()))
        for our, their, best in zip(tensors_of(found), tensors, exact, strict=True):
            errors = ((each.double() - best).abs() for each in (plain(our), their))
            ours, theirs = (each.nan_to_num(float("inf")).max() for each in errors)
            if not ours <= min(1.5 * theirs, 1e300):
                raise


def compare_invariants(found: list[Any], expected: list[Any]) -> None:
    """Compare what does not depend on the choice of vectors, by a tolerance for sums of products.

    Raises:
        Difference: a number differs.
    """
    for our, their in zip(found, expected, strict=True):
        relative, absolute = TOLERANCES.get(their.dtype, (0.0, 0.0))
        size = float(their.double().abs().max()) if their.numel() else 0.0
        close(our, their, "", relative * 10, absolute + relative * 10 * size)


def _eigenvectors(sample: Any, values: Any, vectors: Any) -> list[Any]:
    """The values, the matrix itself, and that the vectors are orthonormal."""
    values, vectors = values.detach(), vectors.detach()
    return [values, (vectors * values[..., None, :]) @ vectors.mT, vectors.mT @ vectors]


def _singular_vectors(sample: Any, left: Any, values: Any, right: Any) -> list[Any]:
    left, values, right = left.detach(), values.detach(), right.detach()
    count = values.shape[-1]
    whole = (left[..., :count] * values[..., None, :]) @ right[..., :count, :]
    return [values, whole, left.mT @ left, right @ right.mT]


def _chosen(*order: str) -> Callable[..., list[Any]]:
    """What stands at the indices; `order` names the arguments behind the tensor."""

    def told(sample: Any, values: Any, indices: Any) -> list[Any]:
        named = dict(zip(order, sample.args, strict=False)) | sample.kwargs
        source, dim = sample.input.detach(), named.get("dim", -1)
        if not source.ndim:
            return [values.detach(), source]
        places = indices if indices.ndim == source.ndim else indices.unsqueeze(dim)
        return [values.detach(), indices * 0, source.gather(dim, places)]

    return told


def _ordered(sample: Any, values: Any, indices: Any) -> list[Any]:
    """What stands at the indices, and that they are all there are."""
    return [*_in_order(sample, indices), values.detach()]


def _in_order(sample: Any, indices: Any) -> list[Any]:
    named = dict(zip(("dim",), sample.args, strict=False)) | sample.kwargs
    source, dim = sample.input.detach(), named.get("dim", -1)
    if not source.ndim:
        return [source, indices]
    return [source.gather(dim, indices), indices.sort(dim=dim, stable=True)[0]]


INVARIANTS: dict[str, Callable[..., list[Any]]] = {
    "linalg.eigh": _eigenvectors,
    "linalg.svd": _singular_vectors,
    "svd": lambda sample, left, values, right: _singular_vectors(sample, left, values, right.mT),
    "topk": _chosen("k", "dim"),
    "kthvalue": _chosen("k", "dim"),
    "mode": _chosen("dim"),
    "sort": _ordered,
    "argsort": _in_order,
}
"""Vectors are determined up to signs, or rotations where values are equal; which of equal elements is taken, or comes first, is not
determined without stable=True: what such results say whatever was chosen is compared."""


def widened(sample: Any) -> Any:
    """The sample with float64 in place of every narrower float."""

    def wide(tensor: Any) -> Any:
        return tensor.double() if tensor.dtype.is_floating_point else tensor

    return sample.transform(lambda each: wide(each) if isinstance(each, torch.Tensor) else each)


def close(
    found: Any,
    expected: Any,
    where: str,
    relative: float | None = None,
    absolute: float | None = None,
) -> None:
    """Compare numbers, by the tolerance of their dtype unless another is given."""
    if relative is None or absolute is None:
        relative, absolute = TOLERANCES.get(expected.dtype, (0.0, 0.0))
    try:
        torch.testing.assert_close(
            found, expected.contiguous(), rtol=relative, atol=absolute, equal_nan=True
        )
    except AssertionError as difference:
        text = " ".join(str(difference).split())
        raise Difference(f"{where}values: {text[:240]}") from None


def compare_views(mine: Call, found: Any, first: Call, expected: Any) -> None:
    """What shares memory with an argument does so in both, and lies there in the same way.

    Raises:
        Difference: it does not.
    """
    for our, their in zip(tensors_of(found), tensors_of(expected), strict=True):
        their_memory = their.untyped_storage().data_ptr()
        for own, given in zip(mine.tensors, first.tensors, strict=True):
            if not given.numel():
                continue
            shared = given.untyped_storage().data_ptr() == their_memory
            if shared != (own.storage is our.storage):
                raise Difference("no view" if shared else "a view, which PyTorch's is not")
            if shared:
                layouts = [(tuple(each.stride()), each.storage_offset()) for each in (our, their)]
                if their.numel() and layouts[0] != layouts[1]:
                    raise Difference("strides and offset {}, not {}".format(*layouts))


__all__ = ["CHECKS", "Difference", "NotApplicable", "Unserved"]
