"""grad, vjp, jvp and linearize: derivatives of functions of tensors.

The function runs once, on variables of a level of its own. Reverse mode then asks autograd for gradients by them; forward mode
pushes the tangents through the nodes between them and the results, by the rule table of gradient/forward.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from ..autograd.engine import grad as gradients_of
from ..gradient.forward import push_forward
from ..gradient.region import Region
from ..history import Edge, mode
from ..ir.node import Node
from ..tensor import Tensor
from .levels import Level, anchor, operand, with_history, zeros
from .trees import LEAF, Structure, flatten

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]


def grad(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that gives the gradient of `func`, which returns one number, by its arguments `argnums`.

    Args:
        argnums: the positions of the arguments, which may be nested containers of tensors; a tuple gives a tuple of gradients.
        has_aux: `func` returns (output, aux), and the new function (gradient, aux).

    Raises (when called):
        RuntimeError: the output is no tensor of one element without dimensions; an argument is not of a floating dtype.

    Same as torch.func.grad.
    """

    @wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        found, value = grad_and_value(func, argnums, has_aux)(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def grad_and_value(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """As `grad`; the new function gives (gradient, output), with `has_aux` (gradient, (output, aux)).

    Same as torch.func.grad_and_value.
    """

    @wraps(func)
    def gradient_and_value(*args: Any, **kwargs: Any) -> Any:
        with Level() as level:
            args, variables, structure = _variables(level, args, argnums)
            output = func(*args, **kwargs)
            aux: Any = None
            if has_aux:
                output, aux = _with_aux("grad_and_value(f)(*args)", output)
            if not isinstance(output, Tensor):
                raise RuntimeError(
                    f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}"
                )
            if output.ndim:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                    f"{output.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            record = level.recorded and bool(level.outside([output]))
            found = _pull([output], [None], variables, record, retain=has_aux)
            result = structure.build([level.leave(each) for each in found])
            value = level.leave(output)
            return result, ((value, _leave(level, aux)) if has_aux else value)

    return gradient_and_value


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), vjp_fn): vjp_fn takes cotangents, in the structure of the output, to the tuple of gradients of the primals.

    With `has_aux`, `func` returns (output, aux), and the result is (output, vjp_fn, aux).

    Raises:
        RuntimeError: the output holds something else than tensors; (vjp_fn) the cotangents do not fit it.

    Same as torch.func.vjp.
    """
    with Level() as level:
        leaves, structure = flatten(primals)
        variables = [level.variable(_floating(each)) for each in leaves]
        anchors = [anchor(each) for each in variables]
        result = func(*structure.build(variables))
        aux: Any = None
        if has_aux:
            result, aux = _with_aux("vjp(f, *primals)", result)
        outputs, shape = _tensors("vjp(f, *primals): expected f(*primals)", result)
        aux = _leave(level, aux)
        seen = [level.leave(each) for each in outputs]
        outside = level.recorded and bool(level.outside(outputs))

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        given, their = flatten(cotangents)
        if their != shape:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function. "
                f"cotangents: {their}, primal output: {shape}"
            )
        record = mode.enabled and (outside or any(each.requires_grad for each in given))
        if create_graph is not None:
            record = create_graph
        found = _pull(outputs, given, anchors, record, retain_graph)
        if not record:
            found = [each.detach() for each in found]
        return structure.build(found)

    value = shape.build(seen)
    return (value, vjp_fn, aux) if has_aux else (value, vjp_fn)


def jvp(
    func: Function, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> Any:
    """(func(*primals), its directional derivative along `tangents`), by forward mode: at about the cost of `func` itself.

    Args:
        primals: the tuple of arguments.
        tangents: as `primals`, with tensors of the same shapes.
        strict: an output that does not depend on the primals is an error.
        has_aux: `func` returns (output, aux), and the result is (output, tangent, aux).

    Raises:
        RuntimeError: the structures or sizes differ; the output holds something else than tensors.

    Same as torch.func.jvp, except that no_grad() inside of `func` stops tangents as it stops gradients.
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to call f(*primals)."
        )
    given, given_structure = flatten(tangents)
    with Level() as level:
        variables, structure = _directions(level, primals, given, given_structure)
        result = func(*structure.build(variables))
        aux: Any = None
        if has_aux:
            result, aux = _with_aux("jvp(f, primals, tangents)", result)
        outputs, shape = _tensors("jvp(f, primals, tangents): expected f(*primals)", result)
        pushed = Pushing(level, variables, outputs)
        moved = pushed.everywhere(given, strict)
        value = shape.build([level.leave(each) for each in outputs])
        if has_aux:
            return value, shape.build(moved), _leave(level, aux)
        return value, shape.build(moved)


def linearize(func: Function, *primals: Any) -> tuple[Any, Function]:
    """(func(*primals), jvp_fn): jvp_fn takes tangents, as many as primals, to the tangent of the output.

    `func` runs once; jvp_fn only pushes tangents through what it has done. Same as torch.func.linearize.
    """
    with Level() as level:
        leaves, structure = flatten(primals)
        variables = [level.variable(_floating(each)) for each in leaves]
        result = func(*structure.build(variables))
        outputs, shape = _tensors("linearize(f, *primals): expected f(*primals)", result)
        pushed = Pushing(level, variables, outputs)
        value = shape.build([level.leave(each) for each in outputs])

    def jvp_fn(*tangents: Any) -> Any:
        given, their = flatten(tangents)
        if their != structure:
            raise RuntimeError(
                f"linearize: expected tangents of the structure of the primals, {structure}, got {their}"
            )
        check_tangents(leaves, given)
        return shape.build(pushed.everywhere(given))

    return value, jvp_fn


class Pushing:
    """What a function has computed of the variables of a level, ready for tangents."""

    def __init__(
        self, level: Level, variables: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        special = level.special(outputs)
        if special is not None:
            raise RuntimeError(
                f"Trying to use forward AD with {special.name()} that does not support it because it has not been "
                "implemented yet: the rules of forward mode look at operations, not at an autograd.Function or at hooks."
            )
        self._still = [zeros(each) for each in outputs]
        self._level = level
        self._moving = [index for index, each in enumerate(outputs) if each.requires_grad]
        self._starts = [_node_of(each) for each in variables]
        self._region = Region([outputs[i].node for i in self._moving], self._starts)
        self._edges: list[list[tuple[Edge, Node]]] = [
            level.outside([each], self._region.copied) for each in outputs
        ]

    def along(self, tangents: Sequence[Tensor]) -> list[Tensor | None]:
        """The tangent of each output, for a tangent of each variable; None where it does not depend on the variables."""
        region = self._region
        nodes = [operand(each) for each in tangents]
        leaves: dict[Node, Node | None] = {
            region.leaf(start): region.leaf(node) for start, node in zip(self._starts, nodes)
        }
        pushed = dict(zip(self._moving, push_forward(region.roots, leaves)))
        found = {index: node for index, node in pushed.items() if node is not None}
        ready = dict(zip(found, region.restore(list(found.values()))))
        recorded = mode.enabled and self._level.recorded
        incoming = [(each._edge(), each.node) for each in tangents if each.requires_grad]
        results: list[Tensor | None] = []
        for index, its in enumerate(self._edges):
            node = ready.get(index)
            edges = [*its, *incoming] if recorded else []
            results.append(None if node is None else with_history("Jvp", node, edges))
        return results

    def everywhere(self, tangents: Sequence[Tensor], strict: bool = False) -> list[Tensor]:
        """As `along`, zeros where an output does not depend on the variables; with `strict` that is an error."""
        found = self.along(tangents)
        if strict and any(each is None for each in found):
            raise RuntimeError(
                "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not allowed with "
                "strict=True."
            )
        return [still if each is None else each for each, still in zip(found, self._still)]


def _node_of(variable: Tensor) -> Node:
    record, index = variable._edge()
    assert record is not None
    return record.nodes[index]


def _variables(
    level: Level, args: tuple[Any, ...], argnums: Argnums
) -> tuple[tuple[Any, ...], list[Tensor], Structure]:
    """The arguments with variables in the places `argnums`; anchors of these, and the structure of the chosen."""
    if not isinstance(argnums, int) and not (
        isinstance(argnums, tuple) and all(isinstance(each, int) for each in argnums)
    ):
        raise RuntimeError(f"argnum must be int or Tuple[int], got: {argnums}")
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    if not numbers:
        raise RuntimeError(f"argnums must be non-empty, got argnums={argnums}")
    places = [_place(each, len(args)) for each in numbers]
    if len(set(places)) != len(places):
        raise RuntimeError(f"argnums elements must be unique, got argnums={argnums}")
    chosen = args[places[0]] if isinstance(argnums, int) else tuple([args[p] for p in places])
    leaves, structure = flatten(chosen)
    variables = [level.variable(_floating(each)) for each in leaves]
    anchors = [anchor(each) for each in variables]
    built = structure.build(variables)
    replaced = list(args)
    for place, each in zip(places, (built,) if isinstance(argnums, int) else built):
        replaced[place] = each
    return tuple(replaced), anchors, structure


def _place(argnum: int, count: int) -> int:
    if not -count <= argnum < count:
        raise RuntimeError(f"Got argnum={argnum}, but only {count} positional inputs")
    return argnum % count


def _floating(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise ValueError(f"Thing passed to transform API must be Tensor, got {type(value)}")
    if value.dtype.kind != "float":
        raise RuntimeError("only Tensors of floating point dtype can require gradients")
    return value


def _pull(
    outputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
    variables: Sequence[Tensor],
    record: bool,
    retain: bool = False,
) -> list[Tensor]:
    """The gradient of each variable, zeros where nothing depends on it."""
    starts = [(o, c) for o, c in zip(outputs, cotangents) if o.requires_grad]
    if not starts or not variables:
        for output, cotangent in zip(outputs, cotangents):
            _check_cotangent(output, cotangent)
        return [zeros(each) for each in variables]
    found = gradients_of(
        [output for output, _ in starts],
        variables,
        [cotangent for _, cotangent in starts],
        retain_graph=retain or record,
        create_graph=record,
        allow_unused=True,
    )
    return [zeros(v) if g is None else g for v, g in zip(variables, found)]


def _check_cotangent(output: Tensor, cotangent: Tensor | None) -> None:
    if cotangent is not None and cotangent.shape != output.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[0] has a shape of {cotangent.shape} and output[0] has a shape of {output.shape}."
        )


def _directions(
    level: Level, primals: tuple[Any, ...], tangents: Sequence[Any], their: Structure
) -> tuple[list[Tensor], Structure]:
    leaves, structure = flatten(primals)
    if structure != their:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure. For example, if "
            f"primals is a tuple of 3 tensors, tangents also must be. Got primals with structure {structure} and tangents "
            f"with structure {their}"
        )
    if not leaves:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals to contain at least one Tensor"
        )
    variables = [level.variable(_floating(each)) for each in leaves]
    check_tangents(leaves, tangents)
    return variables, structure


def check_tangents(primals: Sequence[Tensor], tangents: Sequence[Any]) -> None:
    """Raises RuntimeError where a tangent does not fit its primal."""
    for primal, tangent in zip(primals, tangents):
        if not isinstance(tangent, Tensor):
            raise RuntimeError(
                f"jvp(f, primals, tangents): Expected tangents to be Tensors, got {type(tangent)}"
            )
        if tangent.shape != primal.shape:
            raise RuntimeError(
                "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
                f"supported. Tensor is of size {list(primal.shape)} while the given forward gradient is of size "
                f"{list(tangent.shape)}."
            )
        if tangent.dtype is not primal.dtype:
            raise RuntimeError(
                "Expected the primal and the tangent to have the same dtype, got "
                f"{primal.dtype} and {tangent.dtype}"
            )


def _tensors(who: str, result: Any) -> tuple[list[Tensor], Structure]:
    """The tensors of a function's result."""
    leaves, structure = flatten(result)
    for each in leaves:
        if not isinstance(each, Tensor):
            raise RuntimeError(f"{who} to return only tensors, got unsupported type {type(each)}")
    if not leaves:
        raise RuntimeError(f"{who} to return at least one tensor, got {structure}")
    return leaves, structure if structure.kind is not None else LEAF


def _with_aux(who: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuntimeError(
            f"{who}: output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return result


def _leave(level: Level, value: Any) -> Any:
    """Whatever a function returns beside its result, as it is seen outside."""
    leaves, structure = flatten(value)
    return structure.build([level.leave(e) if isinstance(e, Tensor) else e for e in leaves])
