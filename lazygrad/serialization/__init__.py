"""Saving and loading trees of tensors: safetensors files out, and in; PyTorch's files in."""

from __future__ import annotations

from .loading import load as load
from .saving import save as save
