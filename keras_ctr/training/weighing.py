"""What a row weighs in the loss by its class."""

import math

import numpy as np
from keras import ops

BALANCED = "balanced"


def class_weights(given, x, y=None, validation_split=0.0):
    """Returns the weights of rows with label 0 and with label 1, or None for equal ones.

    Args:
        given: `None`; a dict `{0: weight, 1: weight}`, in which an absent class weighs 1; or
            `"balanced"`, with which both classes weigh the same in total: `n / (2·n_c)`, by their
            numbers of rows in the data to train on, as in scikit-learn.
        x: what `fit` trains on.
        y: its labels, if `x` is arrays.
        validation_split: the part of arrays, at their end, that is not trained on.

    Returns:
        `(weight of 0, weight of 1)` or None.

    Raises:
        ValueError: other classes or weights, or `"balanced"` where labels cannot be counted or are
            all the same.
    """
    if given is None:
        return None
    if isinstance(given, str) and given == BALANCED:
        rows, clicks = _counts(x, y, validation_split)
        if not 0 < clicks < rows:
            raise ValueError(
                "`class_weight='balanced'` needs rows of both classes. "
                f"Received: {rows} rows, {clicks} of them with label 1"
            )
        return rows / (2 * (rows - clicks)), rows / (2 * clicks)
    fits = isinstance(given, dict) and set(given) <= {0, 1}
    if not fits or not all(_is_weight(weight) for weight in given.values()):
        raise ValueError(
            "`class_weight` must be a dict of the weights of 0 and 1, none of them negative, or "
            f"'balanced'. Received: class_weight={given!r}"
        )
    return float(given.get(0, 1.0)), float(given.get(1, 1.0))


def row_weights(weights, labels, sample_weight=None):
    """Returns the weight of every row, `(B,)` float32: that of its class times its own.

    Args:
        weights: of rows with label 0 and with label 1.
        labels: `(B, 1)` or `(B,)`, 0 or 1.
        sample_weight: `(B,)`, `(B, 1)` or None.
    """
    others, clicks = weights
    labels = ops.reshape(ops.cast(labels, "float32"), (-1,))
    found = others + (clicks - others) * labels
    if sample_weight is None:
        return found
    return found * ops.reshape(ops.cast(sample_weight, "float32"), (-1,))


def _is_weight(weight):
    return isinstance(weight, int | float | np.number) and 0 <= weight < math.inf


def _counts(x, y, validation_split):
    """The number of rows of an epoch, and how many of them have label 1."""
    if y is not None:
        labels = np.asarray(ops.convert_to_numpy(y)).reshape(-1)
        labels = labels[: math.floor(len(labels) * (1 - validation_split))]  # as Keras splits them
        return len(labels), int(labels.sum())
    if hasattr(x, "with_options"):
        return x.num_rows, x.positives
    if hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        labels = [np.asarray(ops.convert_to_numpy(x[at][1])) for at in range(len(x))]
        return sum(map(len, labels)), int(sum(label.sum() for label in labels))
    raise ValueError(
        "`class_weight='balanced'` counts labels before training, so it needs a data set or arrays "
        f"that can be read twice. Received: {type(x).__name__}"
    )
