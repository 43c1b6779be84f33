"""Pruning: entries of a parameter that are held at 0 by a mask. torch.nn.utils.prune.

In: a module, the name of a parameter, and how much is to go. Out: the same module: `name_orig` is its parameter, `name_mask` a buffer, and `name` their product,
computed before each call. Pruned again, a parameter has a container of methods, each of which chooses among what is left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any, ClassVar

from ...functional.creation import ones_like, zeros
from ...random import rand_like
from ...tensor import Tensor
from ..module import Module
from .clipping import parameters_to_vector


class BasePruningMethod(ABC):
    """How a mask is chosen: a subclass defines `compute_mask`, and the PRUNING_TYPE.

    PRUNING_TYPE says what a later method is shown: "unstructured" the entries that are left, "structured" the slices along `dim` of which
    something is left, "global" everything.
    """

    PRUNING_TYPE: ClassVar[str] = ""
    _tensor_name: str = ""

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """A mask of the shape of the importances `t`, 0 where an entry goes; what `default_mask` leaves out stays out."""

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    def apply_mask(self, module: Module) -> Tensor:
        """The parameter with the entries that are left.

        Raises:
            AssertionError: the method has not been applied.
        """
        if not self._tensor_name:
            raise AssertionError(f"Module {module} has to be pruned")
        original = getattr(module, f"{self._tensor_name}_orig")
        left: Tensor = getattr(module, f"{self._tensor_name}_mask").to(original.dtype) * original
        return left

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> BasePruningMethod:  # fmt: skip
        """Prune a parameter, by the importance of its entries (their values by default); the other arguments make the method.

        Raises:
            AssertionError: the scores are of another shape.
        """
        value = getattr(module, name)
        scores = value if importance_scores is None else importance_scores
        _require_shape(scores, value, f"parameter {name} of {module}")
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        before = _applied(module, name)
        if before is not None:
            key, earlier = before
            container = (
                earlier if isinstance(earlier, PruningContainer) else PruningContainer(earlier)
            )
            container.add_pruning_method(method)
            mask = container.compute_mask(scores, getattr(module, f"{name}_mask").detach().clone())
            del module._forward_pre_hooks[key]
            method = container
        else:
            mask = method.compute_mask(scores, ones_like(value))
            del module._parameters[name]
            module.register_parameter(f"{name}_orig", value)
        module.register_buffer(f"{name}_mask", mask.detach())
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Tensor:
        """A tensor with the entries that this method leaves."""
        scores = t if importance_scores is None else importance_scores
        _require_shape(scores, t, "tensor t")
        left: Tensor = t * self.compute_mask(
            scores, ones_like(t) if default_mask is None else default_mask
        )
        return left

    def remove(self, module: Module) -> None:
        """Make what is left the parameter; what is gone stays 0."""
        name = self._tensor_name
        left = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original: Any = module._parameters.pop(f"{name}_orig")
        original.data = left.detach()
        del module._buffers[f"{name}_mask"]
        setattr(module, name, original)


class PruningContainer(BasePruningMethod):
    """Methods that prune one parameter, one after the other; the last one chooses among what the others have left."""

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Add one behind the others.

        Raises:
            TypeError: it is none. ValueError: it is for another parameter.
        """
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method._tensor_name != self._tensor_name:
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to PruningContainer "
                f"{self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, index: int) -> BasePruningMethod:
        return self._pruning_methods[index]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        method = self._pruning_methods[-1]
        kind = method.PRUNING_TYPE
        made = default_mask.to(t.dtype).clone()
        shown: Any
        if kind == "unstructured":
            shown = default_mask == 1
        elif kind == "structured":
            dim = method.dim % t.ndim  # type: ignore[attr-defined]
            others = [each for each in range(t.ndim) if each != dim]
            shown = (*[slice(None)] * dim, default_mask.sum(others) != 0)
        elif kind == "global":
            shown = ...
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {kind}")
        made[shown] = method.compute_mask(t[shown], default_mask[shown]).to(made.dtype)
        return made


class Identity(BasePruningMethod):
    """Nothing goes: a mask of ones."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _Amount(BasePruningMethod):
    """A method that takes a number of entries or slices, or (a float) a part of them."""

    amount: float

    def __init__(self, amount: float) -> None:
        if not isinstance(amount, Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        if amount < 0 or (amount > 1 and not isinstance(amount, Integral)):
            raise ValueError(
                f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer"
            )
        self.amount = amount

    def count(self, size: int) -> int:
        """How many of `size` go.

        Raises:
            ValueError: more than there are.
        """
        count = int(self.amount) if isinstance(self.amount, Integral) else round(self.amount * size)
        if count > size:
            raise ValueError(
                f"amount={count} should be smaller than the number of parameters to prune={size}"
            )
        return count


class _Entries(_Amount):
    """The entries go that are last by `rank`."""

    PRUNING_TYPE = "unstructured"

    def rank(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        count = self.count(t.numel())
        mask = default_mask.clone().flatten()
        if count:
            mask[self.rank(t.detach()).flatten().topk(count, largest=False).indices] = 0
        return mask.view(t.shape)


class RandomUnstructured(_Entries):
    """Entries that are drawn go."""

    def rank(self, t: Tensor) -> Tensor:
        drawn: Tensor = rand_like(t)
        return drawn


class L1Unstructured(_Entries):
    """The entries of the least absolute value go."""

    def rank(self, t: Tensor) -> Tensor:
        size: Tensor = t.abs()
        return size


class _Slices(_Amount):
    """The slices along an axis go that are last by `rank`."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def rank(self, slices: Tensor) -> Tensor:
        """A number for each row."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.ndim <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
                f"{t.shape} with {t.ndim} dims"
            )
        if self.dim >= t.ndim:
            raise IndexError(f"Invalid index {self.dim} for tensor of size {t.shape}")
        size = int(t.shape[self.dim])
        left = size - self.count(size)
        if left == size:
            return default_mask
        kept = zeros(size, dtype=t.dtype, device=t.device)
        ranks = self.rank(t.detach().movedim(self.dim, 0).flatten(1))
        kept[ranks.topk(left).indices] = 1
        shape = [1] * t.ndim
        shape[self.dim] = size
        made: Tensor = kept.view(shape) * default_mask.to(t.dtype)
        return made


class RandomStructured(_Slices):
    """Slices that are drawn go."""

    def rank(self, slices: Tensor) -> Tensor:
        drawn: Tensor = rand_like(slices[:, 0])
        return drawn


class LnStructured(_Slices):
    """The slices of the least `n`-norm go."""

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def rank(self, slices: Tensor) -> Tensor:
        norms: Tensor = slices.norm(self.n, 1)
        return norms


class CustomFromMask(BasePruningMethod):
    """What a mask says goes."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        _require_shape(default_mask, self.mask, "the mask")
        made: Tensor = default_mask * self.mask.to(default_mask.dtype)
        return made


def _require_shape(scores: Tensor, value: Tensor, what: str) -> None:
    if tuple(scores.shape) != tuple(value.shape):
        raise AssertionError(
            f"importance_scores should have the same shape as {what}, got {scores.shape} vs {value.shape}"
        )


def _applied(module: Module, name: str) -> tuple[Any, BasePruningMethod] | None:
    """The method that prunes a parameter, and its place among the hooks."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            return key, hook
    return None


# --- functions, which give the module back


def identity(module: Module, name: str) -> Module:
    """Give a parameter a mask of ones."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Take `amount` entries away, drawn."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: float, importance_scores: Tensor | None = None
) -> Module:
    """Take the `amount` entries of the least absolute value away."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Take `amount` slices along `dim` away, drawn."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None
) -> Module:  # fmt: skip
    """Take the `amount` slices along `dim` of the least `n`-norm away."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Take away where `mask` is 0."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: dict[tuple[Module, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prune several parameters, (module, name) each, as if they were one.

    Raises:
        TypeError: `parameters` cannot be iterated, or `importance_scores` is no dict; the method takes no single entries.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    members = list(parameters)
    values = [getattr(module, name) for module, name in members]
    masks = [getattr(m, f"{name}_mask", None) if _applied(m, name) else None for m, name in members]
    together = parameters_to_vector([scores.get(key, v) for key, v in zip(members, values)])
    before = parameters_to_vector([ones_like(v) if k is None else k for k, v in zip(masks, values)])
    mask = PruningContainer(method).compute_mask(together, before)
    start = 0
    for (module, name), value in zip(members, values):
        custom_from_mask(module, name, mask[start : start + value.numel()].view(value.shape))
        start += value.numel()


def remove(module: Module, name: str) -> Module:
    """Make what is left of a parameter the parameter.

    Raises:
        ValueError: it is not pruned.
    """
    found = _applied(module, name)
    if found is None:
        raise ValueError(
            f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
        )
    found[1].remove(module)
    del module._forward_pre_hooks[found[0]]
    return module


def is_pruned(module: Module) -> bool:
    """Whether any parameter in a module is pruned."""
    return any(
        isinstance(hook, BasePruningMethod)
        for each in module.modules()
        for hook in each._forward_pre_hooks.values()
    )
