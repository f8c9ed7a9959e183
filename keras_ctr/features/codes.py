"""Whole numbers: codes, whose order means nothing, or quantities?"""

import numpy as np

from keras_ctr.features.quantities import bin_edges

ROWS = 100_000  # looked at
BINS = 48
PRIOR = 5.0  # rows of the mean click rate that each group is given
CERTAIN = 2.0  # standard errors
ENOUGH = 5  # rows per number, to tell of each


def code_or_quantity(column, y):
    """Says what a column of whole numbers is: `(is a code, is a quantity, why)`; it may be both.

    Half of the rows say how often each number, and each of 48 ranges of numbers, is clicked; the
    other half says which predicts better (log loss, both ways round, a gain of two standard
    errors). Where single numbers win, they are a code, where ranges do, or tell something and do
    not lose, a quantity; where it is not clear, both. Where neither tells anything, numbers that
    follow each other without gaps are a code. Our choice.

    Args:
        column: polars series of numbers.
        y: labels, float64 `(n,)`, or `None`.
    """
    x = column.cast(float).fill_null(float("nan")).to_numpy()
    there = ~np.isnan(x)
    distinct = np.unique(x[there])
    dense = distinct[0] >= 0 and distinct[-1] - distinct[0] < 1.5 * len(distinct)
    known = better = 0.0
    if y is not None and np.ptp(y) > 0 and there.sum() >= 200:
        known, better = _gains(x[there], y[there])
    if better > CERTAIN and there.sum() >= ENOUGH * len(distinct):
        if known > CERTAIN and not dense:
            return True, True, "close ones are alike, some stand out: a quantity and a code"
        return True, False, "each tells of its own click rate: a code"
    if known > CERTAIN:
        if dense and len(distinct) > BINS and better > -CERTAIN:
            return True, True, "they follow each other without gaps: a quantity, or a code"
        return False, True, "close ones are clicked alike: a quantity"
    if dense:
        return True, False, "they follow each other without gaps: a code"
    return False, True, "a quantity"


def _gains(x, y):
    """How much better ranges predict than nothing, and codes than both, in standard errors."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(x))[:ROWS]
    x, y = x[rows], y[rows]
    _, codes = np.unique(x, return_inverse=True)
    ranges = np.searchsorted(bin_edges(x, BINS), x, side="right")
    half = np.arange(len(x)) % 2 == 0
    losses = [[], [], []]
    for fit, judge in ((half, ~half), (~half, half)):
        for found, groups in zip(losses, (np.zeros_like(codes), ranges, codes), strict=True):
            found.append(_loss(groups, y, fit, judge))
    nothing, by_range, by_code = (np.concatenate(found) for found in losses)
    known, better, any_better = (
        gain.mean() / max(gain.std(), 1e-12) * np.sqrt(len(gain))
        for gain in (nothing - by_range, by_range - by_code, nothing - by_code)
    )
    return known, min(better, any_better) if better > 0 else better


def _loss(groups, y, fit, judge):
    size, mean = groups.max() + 1, np.clip(y[fit].mean(), 1e-6, 1 - 1e-6)
    rows = np.bincount(groups[fit], minlength=size)
    clicks = np.bincount(groups[fit], weights=y[fit], minlength=size)
    p = ((clicks + PRIOR * mean) / (rows + PRIOR))[groups[judge]]
    return -np.where(y[judge] == 1, np.log(p), np.log(1 - p))
