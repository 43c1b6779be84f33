"""`lazygrad.backends.cpu`: what the processor can do. In: nothing. Out: its instruction set, in PyTorch's words."""

from __future__ import annotations


def get_cpu_capability() -> str:
    """AVX512, AVX2 or DEFAULT: what kernels are compiled for. Same as torch.backends.cpu.get_cpu_capability."""
    from ..codegen.target import host

    target = host()
    if target.vector_bytes >= 64:
        return "AVX512"
    return "AVX2" if "avx2" in target.features else "DEFAULT"
