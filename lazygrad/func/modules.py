"""Modules as functions of their parameters: functional_call, stack_module_state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..functional.joining import stack
from ..nn.module import Module
from ..tensor import Tensor

State = Mapping[str, Tensor]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: State | Sequence[State],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with other tensors in the place of parameters and buffers.

    Args:
        parameter_and_buffer_dicts: tensors by dotted name, or several such dictionaries. What is not named stays.
        args: the arguments, a tuple; one that is no tuple is the only argument.
        tie_weights: a tensor that the module has under several names is replaced under all of them.
        strict: every parameter and buffer has to be named.

    What the module writes to a buffer in place goes to the tensor given for it; what it assigns is seen in the dictionary's tensor
    no more than in PyTorch.

    Raises:
        RuntimeError: with `strict`, a name that the module does not have, or one that is missing. AttributeError: a name in a submodule
            that there is not. ValueError: a name in two dictionaries, or two tensors for one that is tied.

    Same as torch.func.functional_call.
    """
    given = _merged(parameter_and_buffer_dicts)
    places = _places(module)
    unknown = sorted(set(given) - set(places))
    missing = sorted(set(places) - set(given)) if strict else []
    if strict and (unknown or missing):
        parts = []
        if unknown:
            parts.append(f"Unexpected key(s): {', '.join(unknown)}.")
        if missing:
            parts.append(f"Missing key(s): {', '.join(missing)}.")
        raise RuntimeError("Error(s) in reparametrizing:\n\t" + "\n\t".join(parts))
    for name in unknown:  # the module does not read them, but they must have a place
        module.get_submodule(name.rpartition(".")[0])
        del given[name]
    replaced = _tied(places, given) if tie_weights else dict(given)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    before = {name: places[name][0][places[name][1]] for name in replaced}
    try:
        for name, tensor in replaced.items():
            table, key = places[name]
            table[key] = tensor
        return module(*args, **(kwargs or {}))
    finally:
        for name, tensor in before.items():
            table, key = places[name]
            table[key] = tensor


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of several modules of one class, each stacked along a new first axis.

    Parameters are leaves that require grad where theirs do. Same as torch.func.stack_module_state.
    """
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or all(not m.training for m in models)):
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if any(type(model) is not type(models[0]) for model in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = [dict(model.named_parameters()) for model in models]
    buffers = [dict(model.named_buffers()) for model in models]
    return (
        {name: _stacked([each[name] for each in parameters]) for name in parameters[0]},
        {name: _stacked([each[name] for each in buffers]) for name in buffers[0]},
    )


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    wanted = {each.requires_grad for each in tensors}
    if len(wanted) > 1:
        raise RuntimeError(
            "Expected parameters from different models to have the same .requires_grad"
        )
    made: Tensor = stack([each.detach() for each in tensors])
    return made.requires_grad_() if True in wanted else made


def _merged(states: State | Sequence[State]) -> dict[str, Tensor]:
    if isinstance(states, Mapping):
        return dict(states)
    if not isinstance(states, Sequence) or not all(isinstance(each, Mapping) for each in states):
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(states)}"
        )
    merged: dict[str, Tensor] = {}
    for each in states:
        repeated = set(each) & set(merged)
        if repeated:
            raise ValueError(
                f"{sorted(repeated)} appeared in multiple dictionaries; behavior of functional call is ambiguous"
            )
        merged.update(each)
    return merged


Place = tuple[dict[str, Any], str]


def _places(module: Module) -> dict[str, Place]:
    """Where each parameter and buffer stands, by its dotted name; what is there under two names, under both."""
    found: dict[str, Place] = {}
    for prefix, each in module.named_modules(remove_duplicate=False):
        for table in (each._parameters, each._buffers):
            for key, tensor in table.items():
                if tensor is not None:
                    found[f"{prefix}.{key}" if prefix else key] = (table, key)
    return found


def _tied(places: Mapping[str, Place], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every name to be replaced: those given, and the others of the same tensors."""
    names: dict[int, list[str]] = {}
    for name, (table, key) in places.items():
        names.setdefault(id(table[key]), []).append(name)
    found = dict(given)
    for together in names.values():
        new = {id(given[name]): given[name] for name in together if name in given}
        if len(new) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {together}, which are tied. Consider using tie_weights=False"
            )
        for value in new.values():
            found.update(dict.fromkeys(together, value))
    return found
