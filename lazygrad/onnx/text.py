"""Text: joining, splitting, normalizing, matching, and counting of n-grams. Computed on the host, each time.

In: arrays of text (numpy's objects). Out: the same, or numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .elements import Array
from .table import operator


def _each(function: Callable[..., Any], dtype: Any, *arrays: Array) -> Array:
    """A function of each element, or of each pair."""
    wide = np.broadcast_arrays(*arrays)
    results = [function(*items) for items in zip(*(array.reshape(-1) for array in wide))]
    found = np.empty(len(results), dtype)
    found[:] = results
    return found.reshape(wide[0].shape)


@operator("StringConcat", 20)
def concat(left: Array, right: Array) -> Any:
    return _each(lambda first, second: first + second, object, left, right)


@operator("RegexFullMatch", 20)
def matches(input: Array, *, pattern: str) -> Any:
    """By Python's regular expressions, of which those of the standard (RE2) are a part."""
    whole = re.compile(pattern)
    return _each(lambda text: whole.fullmatch(text) is not None, np.bool_, input)


@operator("StringSplit", 20)
def split(input: Array, *, delimiter: str | None = None, maxsplit: int | None = None) -> Any:
    """The parts, with empty text up to the largest number of them, and how many each has. Without a delimiter at white space."""
    most = -1 if maxsplit is None else maxsplit
    parts = [text.split(delimiter or None, most) for text in input.reshape(-1)]
    width = max(map(len, parts), default=0)
    filled = np.full((len(parts), width), "", object)
    for row, found in zip(filled, parts):
        row[: len(found)] = found
    counts = np.array([len(found) for found in parts], np.int64)
    return filled.reshape(*input.shape, width), counts.reshape(input.shape)


@operator("StringNormalizer", 10)
def normalize(
    input: Array, *, case_change_action: str = "NONE", is_case_sensitive: int = 0, locale: str = "",
    stopwords: Sequence[str] = (),
) -> Any:  # fmt: skip
    """(C,) or (1, C) without the stop words; of nothing an empty text is left. Case is changed as Unicode says, whatever the locale."""
    changes: dict[str, Callable[[str], str]] = {"LOWER": str.lower, "UPPER": str.upper, "NONE": str}
    change = changes[case_change_action]
    key: Callable[[str], str] = str if is_case_sensitive else str.lower
    stopped = set(map(key, stopwords))
    kept = [change(text) for text in input.reshape(-1) if key(text) not in stopped] or [""]
    return np.array(kept, object).reshape((1, -1) if input.ndim == 2 else -1)


@operator("TfIdfVectorizer", 9)
def count_grams(
    input: Array, *, max_gram_length: int, max_skip_count: int, min_gram_length: int, mode: str,
    ngram_counts: Sequence[int], ngram_indexes: Sequence[int], pool_int64s: Sequence[int] = (),
    pool_strings: Sequence[str] = (), weights: Sequence[float] = (),
) -> Any:  # fmt: skip
    """How often each n-gram of a pool is in each row, also with elements left out between; or its weight; or the product of both."""
    pool: list[Any] = list(pool_strings or pool_int64s)
    places: dict[tuple[Any, ...], int] = {}
    ends = [*ngram_counts[1:], len(pool)]
    for size, (begin, end) in enumerate(zip(ngram_counts, ends), 1):
        for first in range(begin, end, size):
            places[tuple(pool[first : first + size])] = len(places)
    rows = input.reshape(-1, input.shape[-1])
    found = np.zeros((len(rows), max(ngram_indexes) + 1), np.float32)
    for row, target in zip(rows.tolist(), found):
        counts: Counter[int] = Counter()
        for size in range(min_gram_length, max_gram_length + 1):
            for apart in range(1, 2 if size == 1 else max_skip_count + 2):
                for first in range(len(row) - (size - 1) * apart):
                    place = places.get(tuple(row[first : first + (size - 1) * apart + 1 : apart]))
                    if place is not None:
                        counts[place] += 1
        for place, count in counts.items():
            weight = weights[place] if weights and mode != "TF" else 1.0
            target[ngram_indexes[place]] = weight if mode == "IDF" else count * weight
    return found.reshape(*input.shape[:-1], -1)
