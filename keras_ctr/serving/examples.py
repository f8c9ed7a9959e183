"""Raw rows that are made of what an encoder has learnt: no row of the training data."""

import numpy as np

from keras_ctr.features.columns import UNITS, Bag, Cross, Numeric, Sequence, Time, Vector
from keras_ctr.features.learners import Ids, Quantiles
from keras_ctr.features.vocabulary import Vocabulary

ROWS = 8


def made_rows(encoder, rows=ROWS):
    """Returns a list of raw rows, dicts of JSON values.

    The first row is of missing values; the others go through the most frequent values, numbers
    around the mean, lists of growing lengths and unseen values.
    """
    columns = {}
    for feature in encoder.schema:
        if not isinstance(feature, Cross):
            columns[feature.name] = _values(encoder, feature, rows)
        if getattr(feature, "weights", None) is not None:
            lists = columns[feature.name]
            columns[feature.weights] = [[0.5 + at for at in range(len(each))] for each in lists]
    return [{name: values[at] for name, values in columns.items()} for at in range(rows)]


def _values(encoder, feature, rows):
    if isinstance(feature, Bag | Sequence):
        name = feature.name if isinstance(feature, Bag) else feature.vocabulary
        names = _names(encoder.learner(name), rows)[1:]
        names = [each for each in names if feature.separator not in str(each)]
        kept = feature.length + 1  # one more than is kept
        return [(names * kept)[: at * kept // max(rows - 1, 1)] for at in range(rows)]
    learner = encoder.learner(feature.name)
    if isinstance(feature, Vector):
        steps = np.linspace(-1, 1, feature.width)
        return [None, *((at * steps).tolist() for at in range(1, rows))]
    if isinstance(feature, Time):
        moments = np.linspace(learner.first, learner.last, rows - 1) / UNITS[feature.unit]
        return [None, *(float(np.round(moment)) for moment in moments)]
    if isinstance(feature, Numeric):
        around = np.linspace(-2, 2, rows - 1)
        if feature.transform == "quantile" and len(learner.ranks[0]):
            at = np.linspace(0, len(learner.ranks[0]) - 1, rows - 1).astype(int)
            return [None, *map(_short, np.asarray(learner.ranks[0])[at])]
        return [None, *map(_short, learner.mean + learner.scale * around)]
    return _names(learner, rows)


def _short(number):
    """A number of four digits, which people can read."""
    return float(f"{number:.4g}")


def _names(learner, rows):
    """Raw values of a categorical: a missing one, frequent ones, and an unseen one."""
    if isinstance(learner, Quantiles):
        cuts = learner.boundaries or [0.0]
        return [None, *(cuts[at % len(cuts)] + at % 2 for at in range(rows - 1))]
    if isinstance(learner, Ids):
        return [at % learner.size for at in range(rows)]
    tokens = learner.tokens[: rows - 2] if isinstance(learner, Vocabulary) else ["a", "b", "c"]
    if learner.feature.buckets == "log2":
        return [None, *range(1, rows)]
    tokens = tokens or ["a"]
    return [None, *(tokens[at % len(tokens)] for at in range(rows - 2)), "\u2026unseen\u2026"]
