"""AdaptiveLogSoftmaxWithLoss: a softmax over many classes, of which frequent ones are in a head and the rest in clusters of a tail.

In: hidden states, and classes numbered from the most frequent one on. Out: the log probability of each target, their negative mean,
or the log probabilities of all classes. Which states belong to a cluster is data, so `forward` reads the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..functional.gathering import where
from ..functional.joining import cat
from ..ir.dtype import DType
from ..tensor import Tensor
from .container import ModuleList, Sequential
from .functional import log_softmax
from .linear import Linear
from .module import Module


class ASMoutput(NamedTuple):
    """The log probability of each target, and the loss."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """A softmax whose cost grows with the logarithm of the classes. Same as torch.nn.AdaptiveLogSoftmaxWithLoss.

    Args:
        in_features: the size of a hidden state.
        n_classes: how many classes there are, the most frequent first.
        cutoffs: the first class of each cluster of the tail; those before the first one are in the head.
        div_value: cluster i (from 0) sees the state projected to in_features / div_value ** (i + 1) features.
        head_bias: whether the head has a bias.

    Raises:
        ValueError: the cutoffs are none, not increasing, or not between 1 and n_classes - 1.

    Source: Grave, Joulin, Cisse, Grangier and Jegou, "Efficient softmax approximation for GPUs", 2017.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        starts = list(cutoffs)
        if not starts:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            starts != sorted(set(starts))
            or starts[0] <= 0
            or starts[-1] > n_classes - 1
            or any(int(each) != each for each in starts)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value is "
                f"between 1 and n_classes-1, but got {starts} of {n_classes} classes"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*starts, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = starts[0]
        self.n_clusters = len(starts)
        self.head_size = self.shortlist_size + self.n_clusters
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for number, (start, end) in enumerate(zip(starts, self.cutoffs[1:], strict=True)):
            width = int(in_features // div_value ** (number + 1))
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, **made),
                    Linear(width, end - start, bias=False, **made),
                )
            )

    def reset_parameters(self) -> None:
        """Draw all parameters again."""
        self.head.reset_parameters()
        for cluster in self.tail:
            for layer in cluster.children():
                layer.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> ASMoutput:
        """The log probability of each target, (N,) or (), and the negative mean of them.

        Args:
            input: (N, in_features) or (in_features,); target: integer, (N,) or (), each in [0, n_classes).

        Raises:
            RuntimeError: ranks or batch sizes that do not fit; a target out of range.
        """
        _check(input, target)
        states, classes = (
            (input, target) if target.dim() else (input.unsqueeze(0), target.unsqueeze(0))
        )
        found = classes.cpu().numpy()
        if found.size and (found.min() < 0 or found.max() >= self.n_classes):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{found.min()}, {found.max()}] were found. "
            )
        head = log_softmax(self.head(states), 1)
        in_head = (
            classes.clone()
        )  # of each state its class in the head: that of its cluster, where it is in none
        tail: list[tuple[Tensor, Tensor]] = []
        for number, (start, end) in enumerate(zip(self.cutoffs, self.cutoffs[1:])):
            inside = (classes >= start) & (classes < end)
            in_head = where(inside, self.shortlist_size + number, in_head)
            if not ((found >= start) & (found < end)).any():
                continue
            rows = inside.nonzero().squeeze(1)
            scores = log_softmax(self.tail[number](states.index_select(0, rows)), 1)
            chosen = (classes.index_select(0, rows) - start).unsqueeze(1)
            tail.append((rows, scores.gather(1, chosen).squeeze(1)))
        output = head.gather(1, in_head.unsqueeze(1)).squeeze(1)
        for rows, scores in tail:
            output = output.index_add(0, rows, scores)
        loss = (-output).mean()
        return ASMoutput(output if target.dim() else output.squeeze(0), loss)

    def _all(self, states: Tensor, head: Tensor) -> Tensor:
        """The log probabilities of all classes, from the head's scores."""
        scores = log_softmax(head, 1)
        parts = [scores[:, : self.shortlist_size]]
        for number, cluster in enumerate(self.tail):
            share = scores[:, self.shortlist_size + number].unsqueeze(1)
            parts.append(log_softmax(cluster(states), 1) + share)
        return cat(parts, 1)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log probabilities of all classes, (N, n_classes), of states (N, in_features)."""
        return self._all(input, self.head(input))

    def predict(self, input: Tensor) -> Tensor:
        """The class that is most probable, int64 (N,): the head's where that is no cluster, the most probable of all elsewhere."""
        head = self.head(input)
        first = head.argmax(1)
        found: Tensor = where(first < self.shortlist_size, first, self._all(input, head).argmax(1))
        return found


def _check(input: Tensor, target: Tensor) -> None:
    if target.dim() == 1:
        if input.shape[0] != target.shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if input.dim() != 2:
            raise RuntimeError(
                f"1D target tensor expects 2D input tensors, but found inputs with size {input.size()}"
            )
    elif target.dim() == 0:
        if input.dim() != 1:
            raise RuntimeError(
                f"0D target tensor expects 1D input tensors, but found inputs with size {input.size()}"
            )
    else:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
