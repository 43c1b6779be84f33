"""What a cubin says of its kernels: registers, memory of a thread's own, shared memory, length.

In: the bytes of an ELF file that NVIDIA's compiler has made. Out: `Resources` by kernel. The attributes stand in its sections .nv.info: a format, a
number, a size and two words, of which the first is the place of a function in the table of symbols.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

REGISTERS, FRAME, STACK = 0x2F, 0x11, 0x12
"""The numbers of attributes: registers of a thread, bytes of its stack frame, of its whole stack."""
SIZED_VALUE = 4
"""The format of an attribute with a size."""
INSTRUCTION_BYTES = 16


@dataclass(slots=True)
class Resources:
    """What one thread, or one block, of a kernel takes."""

    registers: int = 0
    stack_bytes: int = 0
    """Of a thread, in memory: arrays that are not in registers, and registers that are spilled."""
    shared_bytes: int = 0
    """Of a block, as the kernel declares it."""
    instructions: int = 0


def resources(image: bytes) -> dict[str, Resources]:
    """The kernels of a cubin.

    Raises:
        ValueError: the bytes are no ELF file of 64 bits.
    """
    if image[:5] != b"\x7fELF\x02":
        raise ValueError("not a cubin")
    (start,) = struct.unpack_from("<Q", image, 0x28)
    size, count, names_at = struct.unpack_from("<HHH", image, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", image, start + i * size) for i in range(count)]
    names_offset = headers[names_at][4]
    sections = {
        _string(image, names_offset + header[0]): (header[4], header[5]) for header in headers
    }
    symbols, strings = sections[".symtab"][0], sections[".strtab"][0]

    def function(symbol: int) -> str:
        (name,) = struct.unpack_from("<I", image, symbols + symbol * 24)
        return _string(image, strings + name)

    found: dict[str, Resources] = {}
    for name, (_, length) in sections.items():
        if name.startswith(".text."):
            found[name[6:]] = Resources(instructions=length // INSTRUCTION_BYTES)
    for kernel, each in found.items():
        each.shared_bytes = sections.get(f".nv.shared.{kernel}", (0, 0))[1]
    at, length = sections.get(".nv.info", (0, 0))
    end = at + length
    while at < end:
        form, attribute, word = struct.unpack_from("<BBH", image, at)
        at += 4
        if form != SIZED_VALUE:
            continue
        if attribute in (REGISTERS, FRAME, STACK):
            symbol, value = struct.unpack_from("<II", image, at)
            entry = found.get(function(symbol))
            if entry is not None and attribute == REGISTERS:
                entry.registers = value
            elif entry is not None:
                entry.stack_bytes = max(entry.stack_bytes, value)
        at += word
    return found


def _string(image: bytes, at: int) -> str:
    return image[at : image.index(b"\0", at)].decode()
