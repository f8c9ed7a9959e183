"""Which rows are for training, validation and test: at random, by group, or by time."""

import numpy as np

from keras_ctr.features.columns import Time
from keras_ctr.features.times import stamps
from keras_ctr.features.tokens import hashed, tokens

WAYS = ("random", "group")


def check_split(split, group):
    """Raises `ValueError` unless `split` is `"random"`, a `Time`, or `"group"` with its column."""
    if split not in WAYS and not isinstance(split, Time):
        raise ValueError(
            "`split` must be 'random', 'group', or keras_ctr.Time(name of a column). "
            f"Received: split={split!r}"
        )
    if split == "group" and group is None:
        raise ValueError("`split='group'` needs the name of the `group` column.")


def generator(seed):
    """The generator of what is drawn. Whoever makes up rows begins with `default_rng(seed)`, too:
    with another one, no column of theirs tells which rows are drawn.
    """
    return np.random.default_rng([seed, 0x5917])


def cut(frame, fractions, split="random", group=None, seed=0):
    """Cuts the rows of a frame into parts.

    Args:
        frame: polars data frame of `n` rows.
        fractions: `{part: fraction of the rows}`, in the order in which parts are taken away from
            the rows to train on; by time, from the newest to older ones.
        split: `"random"`: each row by itself. `"group"`: the rows of a group stay together; groups
            are drawn until a part has its fraction of the rows. Rows without a group are one. A
            `Time`: the newest rows go to the first part, and so on; rows of one moment stay
            together, in the newer part.
        group: name of the column of groups.
        seed: fixes what is drawn.

    Returns:
        `{part: row numbers, ascending}`, with the rest under `"train"`.

    Raises:
        ValueError: another `split`, no group column, missing moments.
    """
    check_split(split, group)
    rows = len(frame)
    order = np.random.default_rng(seed).permutation(rows)
    key = np.arange(rows)  # rows of one key stay together
    if isinstance(split, Time):
        seconds = stamps(_column(frame, split.name, "split"), split.name, unit=split.unit)
        missing = np.flatnonzero(np.isnan(seconds))
        if len(missing):
            raise ValueError(
                f"Column {split.name!r} must hold a moment in every row to split by time. "
                f"Received: none at row {missing[0]} (in {len(missing)} rows)"
            )
        order, key = np.argsort(-seconds, kind="stable"), seconds
    elif split == "group":
        key = hashed(tokens(_column(frame, group, "group"), group))
        _, key = np.unique(key, return_inverse=True)
        rank = np.random.default_rng(seed).permutation(key.max(initial=0) + 1)
        order = np.argsort(rank[key], kind="stable")
    parts = {}
    for name, fraction in fractions.items():
        count = _whole_keys(key[order], max(1, round(fraction * rows)))
        parts[name], order = np.sort(order[:count]), order[count:]
    return {**parts, "train": np.sort(order)}


def _whole_keys(keys, count):
    """The smallest number of first rows, at least `count`, that leaves no key on both sides."""
    ends = np.append(np.flatnonzero(keys[1:] != keys[:-1]) + 1, len(keys))
    return int(ends[np.searchsorted(ends, min(count, len(keys)))]) if len(keys) else 0


def _column(frame, name, argument):
    from keras_ctr._checks import unknown

    if name not in frame.columns:
        raise unknown(f"column in `{argument}`:", name, frame.columns)
    return frame[name]
