"""The errors of checks on data, which are found when a kernel or the interpreter runs, by the names that CHECK nodes have for them."""

from __future__ import annotations


class OutOfRange(IndexError, RuntimeError):
    """An index outside its axis. PyTorch raises an IndexError for some operators and a RuntimeError for others: it is both."""


ERRORS: dict[str, type[Exception]] = {
    "IndexError": OutOfRange,
    "RuntimeError": RuntimeError,
    "ZeroDivisionError": ZeroDivisionError,
}
"""The exceptions that a failed CHECK can be."""
