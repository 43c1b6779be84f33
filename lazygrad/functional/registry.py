"""The table of operators: each is written once, as a plain typed function, and exposed under every name PyTorch has for it.

In: functions of the files beside this one. Out: `OPERATORS`, which `lazygrad/__init__.py`, `nn.functional`, the Tensor class,
the tests and the documentation read.

An operator is written in one of two forms. `@operator` takes a function that checks its arguments and returns an `Outcome`:
the node, and what autograd records. The functional form, the in-place form and `out=` all follow from it. `@function` takes a
function that returns whatever it likes: views, several results, results that are not differentiable, compositions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

from ..dispatch import announced, binary, general
from ..dispatch import inplace as inplace_method
from ..ir.dtype import DType
from ..ir.node import Node, constant
from ..ir.record import record
from ..recipes import Recipes
from ..results import from_node, grad_enabled, remembered, result, result_inplace
from ..tensor import Tensor
from .arguments import (
    describe_operands,
    number_dtype,
    require_castable,
    result_type,
    sizes_text,
    type_name,
)
from .autocasting import autocasting
from .devices import creation_place

P = ParamSpec("P")
Return = TypeVar("Return")
Function = TypeVar("Function", bound=Callable[..., Any])


class Outcome(NamedTuple):
    """What an operator computed: the grad_fn's name, the node, the differentiable inputs, and what backward reads."""

    name: str
    node: Node
    inputs: tuple[Tensor | None, ...]
    saved: tuple[Tensor | str, ...] = ()


@record
class Operator:
    """One operator and its names: `functions` in the module, `methods` of Tensor, `nn` in nn.functional."""

    name: str
    function: Callable[..., Any]
    functions: tuple[str, ...]
    methods: tuple[str, ...]
    nn: tuple[str, ...]
    inplace: str | None
    builder: Callable[..., Outcome] | None


OPERATORS: dict[str, Operator] = {}
"""Every operator by its first name."""

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The functions of the module, by name."""

METHODS: dict[str, Callable[..., Any]] = {}
"""The methods of Tensor, by name."""

NN_FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The functions of nn.functional, by name."""

LINALG_FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The functions of linalg, by name: those registered as `linalg.name`."""

SPECIAL_FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The functions of special, by name: those registered as `special.name`."""

NAMESPACES = {"linalg": LINALG_FUNCTIONS, "special": SPECIAL_FUNCTIONS}

NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}
"""What numpy calls two arguments, which PyTorch takes under that name too."""

REFLECTED: dict[str, Callable[..., Any]] = {}
"""What computes f(number, tensor) as g(tensor, number), by the name of f."""

OF_NUMBERS = ("add", "sub", "mul", "div", "floor_divide")
"""What two numbers can be given to: the result is a tensor of no axes."""


def operator(
    name: str,
    *aliases: str,
    module: bool = True,
    method: bool = True,
    nn: bool = False,
    inplace: bool = False,
    dunder: str | None = None,
    numeric: bool = False,
    exact: bool = False,
    number_first: bool = False,
) -> Callable[
    [Callable[Concatenate[Tensor, P], Outcome]], Callable[Concatenate[Tensor, P], Tensor]
]:
    """Register a function that returns an `Outcome`, under `name` and `aliases`.

    Args:
        module: expose it as a function of the package; `method`: of Tensor; `nn`: of nn.functional.
        inplace: also derive `name_` and `alias_`, which write the result into the first argument.
        dunder: the stem of the Python operator's method, "add" for `__add__`; with `inplace` also `__iadd__`.
        numeric: floats among the arguments only ever become constants that scale, shift or are compared with, all but 0, 1 and -1
            in the same way: the nodes for one number serve any other (recipes.py).
        exact: the dtype of out= must be the result's.
        number_first: `build` takes a number and a tensor, too.
    """

    def register(
        build: Callable[Concatenate[Tensor, P], Outcome],
    ) -> Callable[Concatenate[Tensor, P], Tensor]:
        build = _by_numpy_names(build)

        def slow(input: Any, *args: Any, out: Tensor | None = None, **kwargs: Any) -> Tensor:
            if not isinstance(input, Tensor) and not (number_first and _leads(input, args)):
                return _number_first(name, input, args, kwargs, out)
            outcome = build(input, *args, **kwargs)
            if out is not None:
                if exact:
                    _require_dtype(name, outcome.node.dtype, out)
                return write_out(name, outcome, out)
            return result(*outcome)

        recipes = Recipes(numeric)
        run = general(recipes, build, slow)
        _describe(run, name, build)
        run = autocasting(name, run)
        names = (name, *aliases)
        _add(name, run, names, module, method, nn, f"{name}_" if inplace else None, build)
        if dunder is not None:
            METHODS[f"__{dunder}__"] = _named(
                binary(recipes, build, _operand_guard(slow)), f"__{dunder}__"
            )
        if inplace:
            changing = _inplace(name, build, recipes)
            for each in [each for each in names if "." not in each]:
                METHODS[f"{each}_"] = changing
                if module and not dunder:
                    FUNCTIONS[f"{each}_"] = changing
                if nn:
                    NN_FUNCTIONS[f"{each}_"] = changing
            if dunder is not None:
                METHODS[f"__i{dunder}__"] = _named(
                    _known_inplace(name, build, recipes, _operand_guard(changing)),
                    f"__i{dunder}__",
                )
        return cast("Callable[Concatenate[Tensor, P], Tensor]", run)

    return register


def function(
    name: str,
    *aliases: str,
    module: bool = True,
    method: bool = True,
    nn: bool = False,
    dunder: str | None = None,
    out: bool = False,
    exact: bool = False,
    view: bool = False,
) -> Callable[[Callable[P, Return]], Callable[P, Return]]:
    """Register a function as it is, under `name` and `aliases`.

    Args:
        view: it shows its first argument by one movement, which its numbers and how that lies decide.
        out: also take out=, a tensor or one for each result, which the results are written into; with `exact` its dtype must be
            the result's, otherwise the result is cast.
    """

    def register(run: Callable[P, Return]) -> Callable[P, Return]:
        run = _by_numpy_names(run)
        if view:
            run = remembered(run)
        public = autocasting(name, announced(_with_out(name, run, exact) if out else run))
        _add(name, public, (name, *aliases), module, method, nn, None, None)
        if dunder is not None:
            METHODS[f"__{dunder}__"] = _operand_guard(autocasting(name, announced(run)))
        return cast("Callable[P, Return]", public)

    return register


def _by_numpy_names(run: Callable[P, Return]) -> Callable[P, Return]:
    """The function with numpy's names for those of its arguments that have one; itself if none has."""
    code = getattr(run, "__code__", None)
    own = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ()
    known = {old: new for old, new in NUMPY_NAMES.items() if new in own and old not in own}
    if not known:
        return run

    @wraps(run)
    def called(*args: P.args, **kwargs: P.kwargs) -> Return:
        if kwargs:
            for old, new in known.items():
                if old in kwargs and new not in kwargs:
                    kwargs[new] = kwargs.pop(old)
        return run(*args, **kwargs)

    return called


def method(*names: str, view: bool = False) -> Callable[[Function], Function]:
    """Register a function as a method of Tensor only; `view`: as for `function`."""

    def register(run: Function) -> Function:
        if view:
            run = cast("Function", remembered(run))
        for name in names:
            METHODS[name] = run
        key = f"Tensor.{names[0]}"
        OPERATORS[key] = Operator(key, run, (), names, (), None, None)
        return run

    return register


def write_out(name: str, outcome: Outcome, out: Tensor) -> Tensor:
    """Store an outcome in `out`, as the out= argument of PyTorch's functions does.

    Raises:
        RuntimeError: an operand requires grad; the result cannot be cast to out's dtype, or does not have its shape.
    """
    tracked = any(t is not None and t.requires_grad for t in (*outcome.inputs, out))
    if tracked and grad_enabled():
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, "
            f"but one of the arguments requires grad."
        )
    require_castable(name, outcome.node.dtype, out.dtype)
    node = outcome.node.cast(out.dtype)
    if outcome.node.shape != tuple(out.shape):
        if not out.numel() and out._view is None and not out.requires_grad:
            result_inplace(outcome.name, out, node, (), ())  # an empty out= takes the shape
            out._size = None
            return out
        raise RuntimeError(
            f"{name}: out= has shape {sizes_text(out.shape)} but the result has shape "
            f"{sizes_text(outcome.node.shape)}; give an out= of the result's shape"
        )
    return result_inplace(outcome.name, out, node, (), ())


def _require_dtype(name: str, dtype: DType, out: Tensor) -> None:
    if out.dtype is not dtype:
        raise RuntimeError(
            f"{name}: Expected out tensor to have dtype {type_name(dtype).lower()}, but got "
            f"{type_name(out.dtype).lower()} instead"
        )


def _with_out(name: str, run: Callable[..., Any], exact: bool) -> Callable[..., Any]:
    """The function with an out= argument."""

    @wraps(run)
    def called(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        made = run(*args, **kwargs)
        if out is None:
            return made
        several = not isinstance(made, Tensor)
        places = out if several else (out,)
        for each, place in zip(made if several else (made,), places, strict=True):
            if exact:
                _require_dtype(name, each.dtype, place)
            write_out(name, Outcome(name, each.node, (each,)), place)
        return type(made)(*out) if hasattr(made, "_fields") else out

    return called


def change(tensor: Tensor, name: str, outcome: Outcome) -> Tensor:
    """Write an outcome into `tensor`, whose shape and dtype stay.

    Raises:
        RuntimeError: the result cannot be cast to the tensor's dtype; its shape is not the tensor's.
    """
    require_castable(name, outcome.node.dtype, tensor.dtype)
    if outcome.node.shape != tuple(tensor.shape):
        operands = [t for t in outcome.inputs if t is not None and t is not tensor]
        raise RuntimeError(
            f"{name}: output with shape {sizes_text(tensor.shape)} doesn't match the broadcast shape "
            f"{sizes_text(outcome.node.shape)}" + describe_operands(self=tensor, other=operands)
        )
    # PyTorch's in-place operators save a clone of what they overwrite, so it never counts as changed; but gradients depend on it.
    overwritten = "overwritten" if tensor.requires_grad else "constant"
    saved = tuple(overwritten if s is tensor else s for s in outcome.saved)
    node = outcome.node.cast(tensor.dtype)
    return result_inplace(outcome.name, tensor, node, outcome.inputs, saved)


def _inplace(name: str, build: Callable[..., Outcome], recipes: Recipes) -> Callable[..., Tensor]:
    def slow(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return change(self, f"{name}_", build(self, *args, **kwargs))

    quick = _known_inplace(name, build, recipes, slow)

    def run(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if len(args) == 1 and not kwargs:
            made: Tensor = quick(self, args[0])
            return made
        return slow(self, *args, **kwargs)

    run.__name__ = run.__qualname__ = f"{name}_"
    run.__doc__ = f"The in-place form of `{name}`: the result replaces the tensor's values."
    return run


def _known_inplace(
    name: str, build: Callable[..., Outcome], recipes: Recipes, slow: Callable[..., Any]
) -> Callable[..., Any]:
    """The in-place form with one operand, by recipes; `slow` takes what they do not serve."""

    def write(tensor: Tensor, outcome: Outcome) -> Tensor:
        return change(tensor, f"{name}_", outcome)

    return inplace_method(recipes, build, slow, write)


def _operand_guard(run: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a Python operator: NotImplemented for an operand that no tensor works with."""

    def dunder(self: Tensor, other: Any) -> Any:
        if isinstance(other, (Tensor, int, float)) or _is_number(other):
            return run(self, other)
        return NotImplemented

    dunder.__name__ = dunder.__qualname__ = run.__name__
    return dunder


def _named(run: Callable[..., Any], name: str) -> Callable[..., Any]:
    run.__name__ = run.__qualname__ = name
    return run


def _is_number(value: object) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 1) == 0


def _leads(input: object, args: tuple[Any, ...]) -> bool:
    """Whether arguments are a number and a tensor."""
    return isinstance(input, (bool, int, float)) and len(args) == 1 and isinstance(args[0], Tensor)


def _number_first(
    name: str, input: object, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor | None
) -> Tensor:
    """f(2, tensor), for the operators that have a reflected form; f(2, 3) and f(2, tensor, alpha=3) for those of arithmetic."""
    other = args[0] if len(args) == 1 and out is None else None
    if isinstance(other, Tensor) and not kwargs and name in REFLECTED:
        made: Tensor = REFLECTED[name](other, input)
        return made
    if (
        name in OF_NUMBERS
        and isinstance(input, (bool, int, float))
        and isinstance(other, (Tensor, bool, int, float))
    ):
        place = other.place if isinstance(other, Tensor) else creation_place(None)
        dtype = result_type(input, other) if isinstance(other, Tensor) else number_dtype(input)
        return cast(Tensor, FUNCTIONS[name](from_node(constant(input, dtype, (), place)), other, **kwargs))  # fmt: skip
    raise TypeError(
        f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
    )


def _describe(run: Callable[..., Any], name: str, build: Callable[..., Any]) -> None:
    run.__name__ = run.__qualname__ = name
    run.__doc__ = build.__doc__
    run.__module__ = build.__module__
    run.__dict__["__wrapped__"] = build


def _add(
    name: str,
    run: Callable[..., Any],
    names: tuple[str, ...],
    module: bool,
    is_method: bool,
    nn: bool,
    inplace: str | None,
    build: Callable[..., Outcome] | None,
) -> None:
    if name in OPERATORS:
        raise ValueError(f"an operator named {name!r} exists")
    plain = tuple([each for each in names if each.partition(".")[0] not in NAMESPACES])
    functions = plain if module else ()
    methods = plain if is_method else ()
    in_nn = plain if nn else ()
    for each in names:
        room, _, short = each.partition(".")
        if room in NAMESPACES:
            NAMESPACES[room][short] = run
    OPERATORS[name] = Operator(name, run, functions, methods, in_nn, inplace, build)
    for each in functions:
        FUNCTIONS[each] = run
    for each in methods:
        METHODS[each] = run
    for each in in_nn:
        NN_FUNCTIONS[each] = run


def install() -> None:
    """Give Tensor its methods. Called once, when every family has been imported."""
    for name, run in METHODS.items():
        setattr(Tensor, name, run)
