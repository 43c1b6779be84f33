"""detect_anomaly: the operation that made a NaN, and its line, as an error. torch.autograd's names for the switch `debug_nans`.

In: a block, or the rest of the program. Out: an error at the first value that has a NaN where no operand had one, forward or backward, when it is computed.
"""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType

from .. import config


class set_detect_anomaly:
    """Look for NaNs from now on, or no more; as a context manager, until its end. Same as torch.autograd.set_detect_anomaly.

    PyTorch looks at gradients alone; here values of the forward pass are looked at too. `check_nan=False` looks at nothing.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = config._ACTIVE.set(replace(config.active(), debug_nans=mode and check_nan))

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        config._ACTIVE.reset(self._before)


class detect_anomaly(set_detect_anomaly):
    """Look for NaNs in a block; see `set_detect_anomaly`. Same as torch.autograd.detect_anomaly."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan

    def __enter__(self) -> None:
        super().__init__(True, self._check_nan)
