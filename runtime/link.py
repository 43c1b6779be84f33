"""Object files to running code without LLVM: what a process does that compiles nothing, and so needs no compiler in memory.

In: ELF objects for x86-64, as our code generator writes them, and a symbol of each. Out: the symbols' addresses, and what
keeps the code there. All objects of one call share a mapping: first what runs or is only read, made unwritable before anyone
runs it, then what is written. An object with anything else in it (thread-local data, constructors, another machine) is
refused, and the linker of LLVM takes it.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import sys
from collections.abc import Sequence
from typing import Any

SUPPORTED = sys.platform == "linux" and platform.machine() == "x86_64"

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QIIq")
_RELOCATABLE, _X86_64 = 1, 62
_PROGBITS, _SYMTAB, _RELA, _NOBITS, _UNWIND = 1, 2, 4, 8, 0x70000001
_WRITE, _ALLOC, _EXECUTE, _THREAD_LOCAL = 1, 2, 4, 0x400
_UNDEFINED, _ABSOLUTE = 0, 0xFFF1
_ADDRESS, _RELATIVE, _CALL = 1, 2, 4
_THROUGH_TABLE = frozenset((9, 41, 42))
"""Relocations that ask for an 8-byte word with the symbol's address."""
_JUMP = b"\xff\x25\x00\x00\x00\x00"
"""jmp [rip]: goes to the address behind it."""
_READ_EXECUTE = mmap.PROT_READ | mmap.PROT_EXEC


class Unlinkable(Exception):
    """There is something in an object that only a complete linker knows."""


class Linked:
    """Code in memory, which stays as long as this object."""

    __slots__ = ("_exported", "_mapping")

    def __init__(self, mapping: mmap.mmap, exported: Any) -> None:
        self._mapping = mapping
        self._exported = exported


class _Object:
    """One object file, taken apart: where each of its sections goes, its symbols, and what to patch."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        header = _HEADER.unpack_from(data)
        if header[0][:6] != b"\x7fELF\x02\x01" or header[1:3] != (_RELOCATABLE, _X86_64):
            raise Unlinkable("no ELF object for x86-64")
        start, size, count = header[6], header[11], header[12]
        self.sections = [_SECTION.unpack_from(data, start + size * i) for i in range(count)]
        self.places: dict[int, int] = {}
        self.symbols: list[tuple[int, ...]] = []
        self.names = 0
        self.patches: list[tuple[int, int, int]] = []
        for section in self.sections:
            _, kind, flags, _, offset, length, link, info = section[:8]
            if kind == _SYMTAB:
                self.symbols = list(_SYMBOL.iter_unpack(data[offset : offset + length]))
                self.names = self.sections[link][4]
            elif kind == _RELA:
                if self.sections[info][2] & _ALLOC:
                    self.patches.append((info, offset, length))
            elif kind == _UNWIND:
                continue  # nothing of ours throws
            elif flags & _ALLOC and (kind not in (_PROGBITS, _NOBITS) or flags & _THREAD_LOCAL):
                raise Unlinkable(f"a section of kind {kind}, flags {flags:#x}")

    def name(self, symbol: tuple[int, ...]) -> str:
        start = self.names + symbol[0]
        return self.data[start : self.data.index(b"\0", start)].decode()

    def place(self, image: bytearray, written: bool) -> None:
        """Lay the sections that are written to, or those that are not, behind what is in the image."""
        for index, section in enumerate(self.sections):
            _, kind, flags, _, offset, length, _, _, alignment, _ = section
            wanted = flags & _ALLOC and bool(flags & _WRITE) == written and kind != _UNWIND
            if not wanted or not length:
                continue
            image.extend(bytes(-len(image) % max(alignment, 1)))
            self.places[index] = len(image)
            image += self.data[offset : offset + length] if kind == _PROGBITS else bytes(length)

    def find(self, name: str) -> int:
        """Where in the image a symbol of this object is."""
        for symbol in self.symbols:
            if symbol[3] in self.places and self.name(symbol) == name:
                return self.places[symbol[3]] + symbol[4]
        raise Unlinkable(f"there is no symbol {name}")


def link(objects: Sequence[tuple[bytes, str]]) -> tuple[list[int], Linked]:
    """The address of one symbol in each object.

    Raises:
        Unlinkable: this is not the machine, or an object is not of the kind. Nothing is in memory then.
    """
    if not SUPPORTED:
        raise Unlinkable("not this platform")
    try:
        return _link([(_Object(data), symbol) for data, symbol in objects])
    except (struct.error, IndexError, ValueError, OSError) as error:
        raise Unlinkable(str(error)) from error


def _link(objects: Sequence[tuple[_Object, str]]) -> tuple[list[int], Linked]:
    image = bytearray()
    for each, _ in objects:
        each.place(image, written=False)
    jumps: dict[str, int] = {}
    for each, _ in objects:
        for name in _called(each):
            if name not in jumps:
                image.extend(bytes(-len(image) % 8))
                jumps[name] = len(image)
                image += _JUMP + _address(name).to_bytes(8, "little")
    image.extend(bytes(-len(image) % mmap.PAGESIZE))
    code_bytes = len(image)
    for each, _ in objects:
        each.place(image, written=True)
    image.extend(bytes(-len(image) % 8))
    # Words for addresses that are read: as many as there are relocations of the kind is enough.
    words = len(image)
    image.extend(bytes(8 * sum(_read(each) for each, _ in objects)))

    mapping = mmap.mmap(-1, len(image), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    exported = (ctypes.c_char * len(image)).from_buffer(mapping)
    base = ctypes.addressof(exported)
    for each, _ in objects:
        words = _patch(each, image, base, jumps, words)
    mapping[:] = bytes(image)
    protect = ctypes.pythonapi.mprotect
    if code_bytes and protect(ctypes.c_void_p(base), ctypes.c_size_t(code_bytes), _READ_EXECUTE):
        raise Unlinkable("the system does not let code be made")
    addresses = [base + each.find(name) for each, name in objects]
    return addresses, Linked(mapping, exported)


def _called(each: _Object) -> list[str]:
    """The functions outside of an object that it calls."""
    names: dict[str, None] = {}
    for _, offset, length in each.patches:
        for _, kind, number, _ in _RELOCATION.iter_unpack(each.data[offset : offset + length]):
            if kind == _CALL and each.symbols[number][3] == _UNDEFINED:
                names[each.name(each.symbols[number])] = None
    return list(names)


def _read(each: _Object) -> int:
    """How many words with addresses an object may need."""
    return sum(
        kind in _THROUGH_TABLE
        for _, offset, length in each.patches
        for _, kind, _, _ in _RELOCATION.iter_unpack(each.data[offset : offset + length])
    )


def _patch(each: _Object, image: bytearray, base: int, jumps: dict[str, int], words: int) -> int:
    """Write into the image what an object's relocations ask for; where the next free word is."""
    for section, start, length in each.patches:
        place = each.places.get(section)
        if place is None:
            continue
        for offset, kind, number, addend in _RELOCATION.iter_unpack(
            each.data[start : start + length]
        ):
            at = place + offset
            symbol = each.symbols[number]
            home = symbol[3]
            if home in each.places:
                value = base + each.places[home] + symbol[4]
            elif home == _ABSOLUTE:
                value = symbol[4]
            elif home != _UNDEFINED:
                raise Unlinkable(f"a symbol in section {home:#x}")
            elif kind == _CALL:
                value = base + jumps[each.name(symbol)]
            else:
                value = _address(each.name(symbol))
            if kind in _THROUGH_TABLE:
                struct.pack_into("<Q", image, words, value)
                value = base + words
                words += 8
            if kind == _ADDRESS:
                struct.pack_into("<Q", image, at, (value + addend) % (1 << 64))
            elif kind in (_RELATIVE, _CALL) or kind in _THROUGH_TABLE:
                struct.pack_into("<i", image, at, value + addend - base - at)
            else:
                raise Unlinkable(f"a relocation of kind {kind}")
    return words


def _address(name: str) -> int:
    """The address of a function or variable of this process."""
    try:
        found = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    except AttributeError:
        found = None
    if not found:
        raise Unlinkable(f"there is no {name} in this process")
    return found
