"""DLPack under the name that PyTorch has it: torch.utils.dlpack."""

from __future__ import annotations

from ..functional.exchange import from_dlpack as from_dlpack
from ..functional.exchange import to_dlpack as to_dlpack
