"""State dicts: the parameters and persistent buffers of a tree of modules by dotted name, given out and taken in.

In: a module, or a mapping of names to tensors. Out: an ordered dict whose values share memory with the module's; or values copied into
the module, and the names found on one side only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..autograd.grad_mode import no_grad
from ..history import RemovableHandle
from ..tensor import Tensor
from .hooks import Called, Hooks, register
from .parameter import Parameter

EXTRA_STATE = "_extra_state"
"""The name under which get_extra_state's result stands in a state dict."""


class IncompatibleKeys(NamedTuple):
    """What load_state_dict found on one side only."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class StateDict(OrderedDict[str, Any]):
    """A state dict with the version of each module beside it, as PyTorch's have."""

    _metadata: dict[str, dict[str, Any]]


class Stateful(Called):
    """A module with a state dict."""

    _version: int = 1
    _state_dict_hooks: Hooks
    _state_dict_pre_hooks: Hooks
    _load_state_dict_pre_hooks: Hooks
    _load_state_dict_post_hooks: Hooks

    def __init__(self) -> None:
        super().__init__()
        tables = self.__dict__
        for name in (
            "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
        ):  # fmt: skip
            tables[name] = {}

    def __getstate__(self) -> dict[str, Any]:
        """The attributes of a module that is pickled or copied: not what has been compiled."""
        return {
            name: value for name, value in self.__dict__.items() if name != "_compiled_call_impl"
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the attributes of an unpickled module; tables that it does not have yet are made."""
        Stateful.__init__(self)
        self.__dict__.update(state)

    # --- out

    def get_extra_state(self) -> Any:
        """What a subclass adds to its state dict beside tensors; it must then have set_extra_state too."""
        raise RuntimeError(
            "Reached a code path in Module.get_extra_state() that should never be called."
        )

    def set_extra_state(self, state: Any) -> None:
        """Take back what get_extra_state gave."""
        raise RuntimeError(
            "Reached a code path in Module.set_extra_state() that should never be called."
        )

    def state_dict(
        self,
        *args: Any,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """The parameters and persistent buffers by dotted name; the values share memory with the module's.

        Args:
            destination: a dict to fill and give back.
            prefix: put before each name.
            keep_vars: give the parameters themselves, not detached.

        The arguments may also come in this order by position, as PyTorch still allows.
        """
        if args:
            destination = args[0] if destination is None else destination
            prefix = args[1] if len(args) > 1 and not prefix else prefix
            keep_vars = args[2] if len(args) > 2 and not keep_vars else keep_vars
        found: Any = destination
        if found is None:
            found = StateDict()
            found._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(found, "_metadata"):
            found._metadata[prefix[:-1]] = metadata
        for hook in tuple(self._state_dict_pre_hooks.values()):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(found, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=found, prefix=prefix + name + ".", keep_vars=keep_vars
                )
        for hook in tuple(self._state_dict_hooks.values()):
            changed = hook(self, found, prefix, metadata)
            found = found if changed is None else changed
        state: dict[str, Any] = found
        return state

    def _local_state(self) -> dict[str, Tensor]:
        """This module's own parameters and persistent buffers."""
        own: dict[str, Tensor | None] = dict(self._parameters)
        for name, buffer in self._buffers.items():
            if name not in self._non_persistent_buffers_set:
                own[name] = buffer
        return {name: value for name, value in own.items() if value is not None}

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        """Write this module's own state, not that of the modules below."""
        for name, value in self._local_state().items():
            destination[prefix + name] = value if keep_vars else value.detach()
        if type(self).get_extra_state is not Stateful.get_extra_state:
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    # --- in

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the values of a state_dict into the parameters and buffers.

        Args:
            strict: the keys must be exactly those of this module's state_dict.
            assign: take the tensors themselves instead of copying their values.

        Returns: the keys found on one side only.

        Raises:
            RuntimeError: keys (if `strict`) or shapes do not agree; every disagreement is listed. What agrees was copied, as in PyTorch.
            TypeError: `state_dict` is no mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        given = StateDict(state_dict)
        versions = getattr(state_dict, "_metadata", None)
        if versions is not None:
            given._metadata = versions
        missing: list[str] = []
        unexpected: list[str] = []
        problems: list[str] = []

        def load(module: Stateful, state: dict[str, Any], prefix: str) -> None:
            metadata = {} if versions is None else dict(versions.get(prefix[:-1], {}))
            if assign:
                metadata["assign_to_params_buffers"] = True
            module._load_from_state_dict(
                state, prefix, metadata, True, missing, unexpected, problems
            )
            for name, child in module._modules.items():
                if child is not None:
                    start = prefix + name + "."
                    below = {key: value for key, value in state.items() if key.startswith(start)}
                    load(child, below, start)
            for hook in tuple(module._load_state_dict_post_hooks.values()):
                if hook(module, IncompatibleKeys(missing, unexpected)) is not None:
                    raise AssertionError(
                        "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new values, "
                        "if incompatible_keys need to be modified, it should be done inplace."
                    )

        load(self, given, "")
        if strict and unexpected:
            problems.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
        if strict and missing:
            problems.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        if problems:
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(problems)
            )
        return IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take this module's own state from a state dict; what is wrong is added to the three lists."""
        for hook in tuple(self._load_state_dict_pre_hooks.values()):
            hook(
                state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
            )  # fmt: skip
        assign = local_metadata.get("assign_to_params_buffers", False)
        own = self._local_state()
        for name, value in own.items():
            key = prefix + name
            if key in state_dict:
                problem = self._load(key, name, value, state_dict[key], assign)
                if problem:
                    error_msgs.append(problem)
            elif strict:
                missing_keys.append(key)
        extra = prefix + EXTRA_STATE
        if type(self).set_extra_state is not Stateful.set_extra_state:
            if extra in state_dict:
                self.set_extra_state(state_dict[extra])
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    name, *below = key[len(prefix) :].split(".", 1)
                    if name not in (self._modules if below else own):
                        unexpected_keys.append(key)

    def _load(self, key: str, name: str, value: Tensor, given: Any, assign: bool) -> str:
        """Take one value; what is wrong with it, or nothing."""
        if not isinstance(given, Tensor):
            return (
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from checkpoint but '
                f"received {type(given)}"
            )
        if not value.shape and tuple(given.shape) == (1,):
            given = given[0]
        if tuple(given.shape) != tuple(value.shape):
            return (
                f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, "
                f"the shape in current model is {value.shape}."
            )
        try:
            with no_grad():
                if not assign:
                    value.copy_(given)
                elif isinstance(value, Parameter):
                    if isinstance(given, Parameter):
                        given.requires_grad_(value.requires_grad)
                    else:
                        given = Parameter(given, value.requires_grad)
                    setattr(self, name, given)
                else:
                    setattr(self, name, given)
        except Exception as error:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are {value.size()} and whose '
                f"dimensions in the checkpoint are {given.size()}, an exception occurred : {error.args}."
            )
        return ""

    # --- hooks

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(module, prefix, keep_vars) before the state dict of this module is made."""
        return register(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(module, state_dict, prefix, local_metadata) afterwards, which changes the dict in place.

        Raises (when it is called):
            RuntimeError: the hook returns something.
        """

        return register(self._state_dict_hooks, _InPlaceOnly(hook))

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """As register_state_dict_post_hook, but what the hook returns replaces the dict."""
        return register(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs) before loading."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        """As register_load_state_dict_pre_hook; the hook gets the module only `with_module`."""
        return register(
            self._load_state_dict_pre_hooks, _OfModule(hook, self) if with_module else hook
        )

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(module, incompatible_keys) after loading, before the keys are judged; it may change their lists in place."""
        return register(self._load_state_dict_post_hooks, hook)


class _OfModule:
    """A hook that gets its module first; an object, not a function inside another, so that it pickles and copies with the module."""

    def __init__(self, hook: Callable[..., Any], module: Stateful) -> None:
        self.hook = hook
        self.module = module

    def __call__(self, *args: Any) -> Any:
        return self.hook(self.module, *args)


class _InPlaceOnly:
    """A hook that must return nothing."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        self.hook = hook

    def __call__(self, *args: Any) -> None:
        if self.hook(*args) is not None:
            raise RuntimeError("state_dict post-hook must return None")


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
