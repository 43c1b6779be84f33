"""The cache directory: named entries on disk, shared by many processes, that survive the one that made them.

In: a name and bytes. Out: the same bytes later, here or in another process, or nothing. An entry is one file, written under
a temporary name and renamed, so nobody sees half of one; a checksum over name and content tells one that was cut short,
changed or renamed, and that is as if it were not there. The directory belongs to its user alone: one that others can write to
is not used, since what is in it is run. Nothing here raises for want of a disk: without one there is no cache.

Names end in what an entry is: `.plan` (a whole program), `.kernel`, `.object` or `.cubin` (machine code).
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
import warnings
from collections.abc import Iterator

from lazygrad import config

try:
    from _blake2 import (
        blake2b,
    )  # hashlib is the same with OpenSSL beside it, whose import costs 5 ms
except ImportError:
    from hashlib import blake2b

MAGIC = b"lazygrad cache 1\n"
"""How every entry begins; then come the checksum and the content."""
CHECKSUM_BYTES = 16
ENDINGS = (".plan", ".kernel", ".object", ".cubin", ".sources", ".schedule", ".searched")
"""What the names of entries end in."""
UNFINISHED = ".unfinished"
"""What a file is called, after its name and a random word, while it is written."""
ABANDONED = 3600
"""Seconds after which an unfinished file has lost its writer. Also how exactly the time of the last use is known."""


def digest(*parts: bytes) -> str:
    """A name that stands for these bytes and no others."""
    state = blake2b(digest_size=20)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


def _checksum(name: str, content: bytes) -> bytes:
    state = blake2b(digest_size=CHECKSUM_BYTES, key=name.encode()[:64])
    state.update(content)
    return state.digest()


class Store:
    """The entries of one directory, which exists and is safe. `limit` bounds their bytes; the least recently used go."""

    def __init__(self, folder: str, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._since_trim = 0

    def read(self, name: str) -> bytes | None:
        """The content of an entry, or None where there is none, or none that can be trusted."""
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # nothing but a file makes one wait
            file = os.open(os.path.join(self.folder, name), flags)
        except OSError:
            return None
        try:
            status = os.fstat(file)
            data = os.read(file, status.st_size)
            if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
                return None
            if status.st_mtime + ABANDONED < time.time():
                with contextlib.suppress(OSError):
                    os.utime(file)
        except OSError:
            return None
        finally:
            os.close(file)
        start = len(MAGIC) + CHECKSUM_BYTES
        content = data[start:]
        if data[: len(MAGIC)] != MAGIC or data[len(MAGIC) : start] != _checksum(name, content):
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Make an entry, or replace it. Where that fails, nothing has changed."""
        if len(content) > self.limit // 4:
            return
        path = os.path.join(self.folder, name)
        unfinished = f"{path}.{os.urandom(6).hex()}{UNFINISHED}"
        data = b"".join((MAGIC, _checksum(name, content), content))
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            file = os.open(unfinished, flags, 0o600)
        except OSError:
            return
        try:
            try:
                written = 0
                while written < len(data):
                    written += os.write(file, data[written:])
            finally:
                os.close(file)
            os.replace(unfinished, path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            if not isinstance(error, OSError):
                raise
            return
        self._since_trim += len(data)
        # One write in 64 looks at the whole directory; a small limit is looked after more closely.
        if name.startswith(("00", "40", "80", "c0")) or self._since_trim > self.limit // 16:
            self.trim()

    def remove(self, name: str) -> None:
        """Drop an entry that turned out to be of no use."""
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.folder, name))

    def files(self) -> Iterator[tuple[str, os.stat_result]]:
        """Our files in the directory, by name, with those that are unfinished."""
        try:
            with os.scandir(self.folder) as found:
                for item in found:
                    if item.name.endswith((*ENDINGS, UNFINISHED)):
                        with contextlib.suppress(OSError):  # another process has just removed it
                            yield item.name, item.stat(follow_symlinks=False)
        except OSError:
            return

    def trim(self) -> None:
        """Remove what is over the limit, the least recently used first, down to three quarters of it; and abandoned files."""
        self._since_trim = 0
        entries: list[tuple[float, str, int]] = []
        now = time.time()
        for name, status in self.files():
            if not name.endswith(UNFINISHED):
                entries.append((status.st_mtime, name, status.st_size))
            elif status.st_mtime + ABANDONED < now:
                self.remove(name)
        total = sum(size for _, _, size in entries)
        if total <= self.limit:
            return
        for _, name, size in sorted(entries):
            self.remove(name)
            total -= size
            if total <= self.limit * 3 // 4:
                break

    def clear(self) -> int:
        """Remove every entry; how many there were."""
        names = [name for name, _ in self.files()]
        for name in names:
            self.remove(name)
        return len(names)


# --- which directory


_STORES: dict[tuple[str | None, int], Store | None] = {}
"""The directories that were looked at, by path and limit; None for one that cannot be used."""


def store() -> Store | None:
    """The cache directory of these settings, or None where there is none or it must not be used."""
    settings = config.active()
    key = (settings.cache_dir, settings.cache_limit)
    try:
        return _STORES[key]
    except KeyError:
        found = _STORES[key] = open_store(config.cache_directory(), settings.cache_limit << 20)
        return found


def open_store(folder: str, limit: int) -> Store | None:
    """The store in a directory, which is made if need be; "" and a limit of 0 are none."""
    if not folder or not limit:
        return None
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        reason = unsafe(os.stat(folder))
    except OSError:
        return None
    if reason:
        warnings.warn(
            f"lazygrad: the cache directory {folder} is not used: {reason}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return Store(folder, limit)


def unsafe(status: os.stat_result) -> str:
    """Why a directory with this status must not be used, or ""."""
    if not stat.S_ISDIR(status.st_mode):
        return "it is no directory"
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        return f"it belongs to another user ({status.st_uid})"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others than its owner may write to it"
    return ""
