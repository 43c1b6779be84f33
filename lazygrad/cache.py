"""The cache directory by hand: `python -m lazygrad.cache info` says what is in it, `python -m lazygrad.cache clear` empties it.

In: the switches LAZYGRAD_CACHE_DIR and LAZYGRAD_CACHE_LIMIT. What is kept there, and when, is runtime/cache.py's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import config
from .runtime.cache import UNFINISHED, Store, store

USAGE = "usage: python -m lazygrad.cache {info,clear}"
NAMES = {
    "plan": "programs",
    "kernel": "kernels",
    "object": "support code",
    "sources": "digests of the compiler's sources",
    "schedule": "schedules of kernels that were searched for",
    "searched": "signs of searches",
}
"""What the entries of each ending are."""


def info(found: Store | None) -> str:
    """Where the directory is, what is in it, and how large it may become."""
    folder = config.cache_directory()
    if found is None:
        return f"no cache directory{f': {folder} cannot be used' if folder else ''}"
    counts: dict[str, int] = {}
    total = 0
    for name, status in found.files():
        kind = "unfinished" if name.endswith(UNFINISHED) else name.rpartition(".")[2]
        counts[kind] = counts.get(kind, 0) + 1
        total += status.st_size
    lines = [found.folder, f"{total / (1 << 20):.1f} of {found.limit >> 20} megabytes"]
    lines += [f"{count:6} {NAMES.get(kind, kind)}" for kind, count in sorted(counts.items())]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit status."""
    if list(arguments) == ["info"]:
        print(info(store()))
    elif list(arguments) == ["clear"]:
        found = store()
        print(f"{found.clear() if found is not None else 0} files removed")
    else:
        print(USAGE, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
