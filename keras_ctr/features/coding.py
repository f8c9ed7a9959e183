"""`coded`: a column as small whole numbers that stand for its distinct values."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Coded:
    """A column of `n` rows: row `i` holds `values[codes[i]]`.

    Attributes:
        codes: `(n,)` intp, `0` to `len(values) - 1`, in the order in which values first appear.
        values: polars series of the distinct values, of which one may be null.
        first: `(len(values),)` intp: the row in which each first appears, ascending.
    """

    codes: np.ndarray
    values: Any
    first: np.ndarray

    def counts(self):
        """How often each value is there."""
        return np.bincount(self.codes, minlength=len(self.values))


def coded(column, hashes=None):
    """Returns a polars series of single values as `Coded`.

    Values are told apart by a hash of 64 bits, which is fast; then every row is compared with what
    it is said to hold, so that two values of one hash are never taken for one.

    Args:
        column: polars series.
        hashes: `column.hash()`, where it is known.
    """
    import pandas as pd  # here: it takes long to import
    import polars as pl

    column = column.rechunk()
    hashes = column.hash() if hashes is None else hashes
    codes, _ = pd.factorize(hashes.to_numpy())
    newest = np.maximum.accumulate(codes)
    is_new = np.ones(len(codes), bool)
    np.greater(newest[1:], newest[:-1], out=is_new[1:])
    first = np.flatnonzero(is_new)
    values = column[first]
    held = values[pl.Series(codes.astype(np.uint32))] if len(first) else values
    if not _equal(held, column):
        return _by_value(column)
    return Coded(codes, values, first)


def _equal(one, other):
    """Whether series are equal in every row; missing values are, and no others are like them."""
    same = one == other
    return same.all() and one.null_count() == other.null_count() == same.null_count()


def _by_value(column):
    """The same one by one, where hashes collide."""
    known, first = {}, []
    codes = np.empty(len(column), np.intp)
    for at, value in enumerate(column.to_list()):
        key = "NaN" if value != value else (value,)  # apart from any text
        codes[at] = known.setdefault(key, len(known))
        if codes[at] == len(first):
            first.append(at)
    first = np.array(first, np.intp)
    return Coded(codes, column.gather(first), first)


def code_type(size):
    """The smallest unsigned type that holds codes below `size`."""
    return np.min_scalar_type(max(size - 1, 0))
