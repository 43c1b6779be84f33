"""Layers whose sizes are those of their first input: Lazy modules, and the parameters and buffers that have no shape yet.

In: the arguments of a layer without the size of its input. Out: at the first call (or when a state dict is loaded) the parameters get
shapes and values, and the module becomes one of the ordinary class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn, Self

from ..autograd.grad_mode import no_grad
from ..functional.creation import empty
from ..history import RemovableHandle
from ..ir.dtype import DType
from ..size import Size
from ..tensor import Tensor
from .batch_norm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    _ChannelNorm,
)
from .convolution import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Sizes,
    _Convolution,
)
from .linear import Linear
from .module import Module
from .parameter import Parameter


class UninitializedTensor:
    """A dtype and a device without a shape; anything else that is asked of it is an error."""

    __slots__ = ()
    kind: ClassVar[type[Tensor]]
    uninitialized = True
    _held: Tensor
    _requires: bool

    def materialize(
        self, shape: Sequence[int], device: Any = None, dtype: DType | None = None
    ) -> None:
        """Become an ordinary tensor of this shape, whose values are still to be set."""
        held = self._held
        made = empty(
            tuple(shape),
            device=held.device if device is None else device,
            dtype=held.dtype if dtype is None else dtype,
        )
        del self.__dict__["_held"]
        self.__class__ = self.kind  # type: ignore[assignment]
        self.data = made

    @property
    def data(self) -> Tensor:
        """An empty tensor of its dtype and device, which `to` and the like change."""
        return self._held

    @data.setter
    def data(self, value: Tensor) -> None:
        self.__dict__["_held"] = value
        Tensor.dtype.__set__(self, value.dtype)  # type: ignore[attr-defined]

    @property
    def device(self) -> Any:
        return self._held.device

    @property
    def shape(self) -> Size:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in `load_state_dict` "
            "when trying to load an uninitialized parameter into an initialized one. Call `forward` to initialize the "
            "parameters before accessing their attributes."
        )

    @property
    def storage(self) -> Any:
        """What every operation asks for first."""
        raise ValueError(
            f"Attempted to use an uninitialized {'parameter' if isinstance(self, Parameter) else 'buffer'}. This error happens "
            "when you are using a `LazyModule` or explicitly manipulating `torch.nn.parameter.UninitializedParameter` objects. "
            "When using LazyModules Call `forward` with a dummy batch to initialize the parameters before calling torch "
            "functions"
        )

    @storage.setter
    def storage(self, value: Any) -> None:
        Tensor.storage.__set__(self, value)  # type: ignore[attr-defined]

    @property
    def requires_grad(self) -> bool:
        """Whether it will require grad."""
        needs: bool = self._requires
        return needs

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._requires = value  # type: ignore[misc]

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Say whether it will require grad."""
        self._requires = requires_grad  # type: ignore[misc]
        return self

    def share_memory_(self) -> NoReturn:
        """There is no memory yet.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the parameters before "
            "calling `module.share_memory()`."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            build, arguments = self.__reduce_ex__(2)
            memo[id(self)] = build(*arguments)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self.requires_grad, self._held.device, self._held.dtype)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __str__ = __repr__


class UninitializedParameter(UninitializedTensor, Parameter):
    """A parameter without a shape. Same as torch.nn.parameter.UninitializedParameter."""

    __slots__ = ()
    kind = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: DType | None = None
    ) -> UninitializedParameter:
        held = empty(0, device=device, dtype=dtype)
        made: UninitializedParameter = cls._make_subclass(held.detach())
        made.__dict__["_held"] = held
        made._requires = requires_grad
        return made


class UninitializedBuffer(UninitializedTensor, Tensor):
    """A buffer without a shape. Same as torch.nn.parameter.UninitializedBuffer."""

    __slots__ = ()
    kind = Tensor

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: DType | None = None, persistent: bool = True
    ) -> UninitializedBuffer:  # fmt: skip
        held = empty(0, device=device, dtype=dtype)
        made: UninitializedBuffer = cls._make_subclass(held.detach())
        made.__dict__.update(_held=held, persistent=persistent)
        made._requires = requires_grad
        return made


def is_lazy(param: Any) -> bool:
    """Whether it is a parameter or buffer without a shape."""
    return isinstance(param, UninitializedTensor)


class LazyModuleMixin(Module):
    """A module with uninitialized parameters, beside the class that it becomes. Same as torch.nn.modules.lazy.LazyModuleMixin.

    A subclass says in `initialize_parameters(input)` how they get their shapes; `cls_to_become` is the class afterwards.
    """

    cls_to_become: ClassVar[type[Module] | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook: RemovableHandle = self._register_load_state_dict_pre_hook(
            self._lazy_load_hook
        )
        self._initialize_hook: RemovableHandle = self.register_forward_pre_hook(
            self._infer_parameters, with_kwargs=True
        )

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters their shapes and values, from what `forward` is called with."""
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {type(self).__name__}"
        )

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer has no shape yet."""
        return any(map(is_lazy, (*self._parameters.values(), *self._buffers.values())))

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        for name, value in self._local_state().items():
            destination[prefix + name] = value if keep_vars or is_lazy(value) else value.detach()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As Module's; uninitialized buffers stay the objects that they are, as parameters do."""
        waiting = {name: each for name, each in self._buffers.items() if is_lazy(each)}
        for name, buffer in waiting.items():
            assert buffer is not None
            buffer.data = fn(buffer.data)
            self._buffers[name] = None
        super()._apply(fn, recurse)
        self._buffers.update(waiting)
        return self

    def share_memory(self) -> Self:
        """As Module's.

        Raises:
            RuntimeError: a parameter or buffer has no memory yet.
        """
        for value in (*self._parameters.values(), *self._buffers.values()):
            if isinstance(value, UninitializedTensor):
                value.share_memory_()
        return super().share_memory()

    def _lazy_load_hook(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        """Take the shapes of what is about to be loaded."""
        for name, value in self._local_state().items():
            given = state_dict.get(prefix + name)
            if isinstance(value, UninitializedTensor) and given is not None and not is_lazy(given):
                with no_grad():
                    value.materialize(given.shape)

    def _infer_parameters(self, module: Module, args: Any, kwargs: Any) -> None:
        """Before the first call: shapes, and the other class."""
        self.initialize_parameters(*args, **(kwargs or {}))
        if self.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")
        self._initialize_hook.remove()
        self._load_hook.remove()
        del self._initialize_hook, self._load_hook
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become  # type: ignore[assignment]


class LazyLinear(LazyModuleMixin, Linear):
    """Linear, whose in_features is the size of the last axis of its first input. Same as torch.nn.LazyLinear."""

    cls_to_become = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: DType | None = None
    ) -> None:
        super().__init__(0, 0, False)
        self.out_features = out_features
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """As Linear, once there are values."""
        if not self.has_uninitialized_params() and self.in_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take in_features from the input."""
        self.in_features = int(input.shape[-1])
        shape = (self.out_features, self.in_features)
        _materialize(self, {"weight": shape, "bias": shape[:1]})


class _LazyConvolution(LazyModuleMixin, _Convolution):
    """What the lazy convolutions share; their arguments are those of the others without in_channels."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Sizes,
        *args: Any,
        bias: bool = True,
        device: Any = None,
        dtype: DType | None = None,
        **kwargs: Any,
    ) -> None:
        before = 4 if self.transposed else 3  # stride, padding, what else stands there, groups
        if len(args) > before + 1:
            bias = args[before + 1]
            args = args[: before + 1] + (False,) + args[before + 2 :]
        else:
            kwargs["bias"] = False
        super().__init__(0, 0, kernel_size, *args, **kwargs)
        if out_channels % self.groups:
            raise ValueError("out_channels must be divisible by groups")
        self.out_channels = out_channels
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """As the convolution, once there are values."""
        if not self.has_uninitialized_params() and self.in_channels:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *_: Any, **__: Any) -> None:
        """Take in_channels from the input.

        Raises:
            RuntimeError: its rank does not fit. ValueError: the groups do not divide its channels.
        """
        if input.dim() not in (self.rank + 1, self.rank + 2):
            raise RuntimeError(
                f"Expected {self.rank + 1}D (unbatched) or {self.rank + 2}D (batched) input to {type(self).__name__}, but got "
                f"input of size: {input.shape}"
            )
        self.in_channels = int(input.shape[-self.rank - 1])
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        channels = [self.out_channels, self.in_channels]
        first, second = reversed(channels) if self.transposed else channels
        shape = (first, second // self.groups, *self.kernel_size)
        _materialize(self, {"weight": shape, "bias": (self.out_channels,)})


class LazyConv1d(_LazyConvolution, Conv1d):
    """Conv1d, whose in_channels is that of its first input. Same as torch.nn.LazyConv1d."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConvolution, Conv2d):
    """Conv2d, whose in_channels is that of its first input. Same as torch.nn.LazyConv2d."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConvolution, Conv3d):
    """Conv3d, whose in_channels is that of its first input. Same as torch.nn.LazyConv3d."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvolution, ConvTranspose1d):
    """ConvTranspose1d, whose in_channels is that of its first input. Same as torch.nn.LazyConvTranspose1d."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvolution, ConvTranspose2d):
    """ConvTranspose2d, whose in_channels is that of its first input. Same as torch.nn.LazyConvTranspose2d."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvolution, ConvTranspose3d):
    """ConvTranspose3d, whose in_channels is that of its first input. Same as torch.nn.LazyConvTranspose3d."""

    cls_to_become = ConvTranspose3d


class _LazyNorm(LazyModuleMixin, _ChannelNorm):
    """What the lazy norms share; their arguments are those of the others without num_features."""

    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
        device: Any = None, dtype: DType | None = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(0, eps, momentum, False, False)
        from ..functional.creation import tensor
        from ..ir.dtype import int64

        self.affine = affine
        self.track_running_stats = track_running_stats
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        if affine:
            self.weight = UninitializedParameter(**place)
            if bias:
                self.bias = UninitializedParameter(**place)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(**place)
            self.running_var = UninitializedBuffer(**place)
            self.num_batches_tracked = tensor(0, dtype=int64, device=device)

    def reset_parameters(self) -> None:
        """As the norm, once there are values."""
        if not self.has_uninitialized_params() and self.num_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take num_features from the input."""
        unbatched = issubclass(type(self), _UNBATCHED) and input.dim() == self.ranks[0]
        self.num_features = int(input.shape[0 if unbatched else 1])
        names = ("weight", "bias", "running_mean", "running_var")
        _materialize(self, dict.fromkeys(names, (self.num_features,)))


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """BatchNorm1d, whose num_features is that of its first input. Same as torch.nn.LazyBatchNorm1d."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """BatchNorm2d, whose num_features is that of its first input. Same as torch.nn.LazyBatchNorm2d."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """BatchNorm3d, whose num_features is that of its first input. Same as torch.nn.LazyBatchNorm3d."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """InstanceNorm1d, whose num_features is that of its first input. Same as torch.nn.LazyInstanceNorm1d."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """InstanceNorm2d, whose num_features is that of its first input. Same as torch.nn.LazyInstanceNorm2d."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """InstanceNorm3d, whose num_features is that of its first input. Same as torch.nn.LazyInstanceNorm3d."""

    cls_to_become = InstanceNorm3d


_UNBATCHED = (InstanceNorm1d, InstanceNorm2d, InstanceNorm3d)


def _materialize(module: LazyModuleMixin, shapes: dict[str, tuple[int, ...]]) -> None:
    """Give values to what has none yet; what a state dict brought stays."""
    waiting = module.has_uninitialized_params()
    for name, shape in shapes.items():
        value = getattr(module, name)
        if isinstance(value, UninitializedTensor):
            value.materialize(shape)
    if waiting:
        module.reset_parameters()
