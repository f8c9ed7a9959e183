"""`FewRows`: encodes a few plain rows without a data frame, as `Encoder` would, bit for bit.

A request holds one row, or some hundred. Building a frame of one-row columns takes longer than all
else; here a column is a list, and a name is looked up in a dict. Only values of plain kinds are
taken, for which the outcome is certain: all else, and all errors, are left to `Encoder.encode`.
"""

import datetime

import numpy as np

from keras_ctr.features.columns import (
    JOINED_BY,
    PADDING,
    UNITS,
    UNSEEN,
    Cross,
    Numeric,
)
from keras_ctr.features.frames import is_frame
from keras_ctr.features.histories import left_aligned, right_aligned
from keras_ctr.features.learners import Ids, Quantiles
from keras_ctr.features.times import parts
from keras_ctr.features.tokens import log2_bucket, plain_text, plain_value, token
from keras_ctr.features.vocabulary import Vocabulary

MOST = 256  # rows; of more, a frame is faster,
MOST_VALUES = 10_000  # unless they hold no more values than this
EPOCH = datetime.datetime(1970, 1, 1)


class Unusual(Exception):
    """A value that the frame path must look at."""


class FewRows:
    """Encodes rows with a fitted `Encoder`.

    Args:
        encoder: `Encoder`, fitted.
        whole: `FewRows` of the encoder that this one is a part of; vocabularies are kept once.
    """

    def __init__(self, encoder, whole=None):
        self._encoder = encoder
        self._schema = encoder.schema
        # Of a vocabulary: token -> id, with further spellings as they are met.
        self._ids = {} if whole is None else whole._ids
        names = self._schema.columns
        self._columns = [name for name in names if name not in self._schema.optional]
        lists = (*self._schema.bags, *self._schema.sequences)
        values = len(self._columns) + sum(feature.length for feature in lists)
        self._most = max(MOST, MOST_VALUES // values)

    def encode(self, rows):
        """Returns `{batch key: array}` as `Encoder.encode`, or `None` where that has to do it.

        Args:
            rows: list of dicts, dict of columns, or data frame.
        """
        try:
            columns = self._lists(rows)
            if columns is None:
                return None
            count = len(next(iter(columns.values())))
            try:
                return self._arrays(columns, count)
            except (Unusual, TypeError):  # a row of a pandas frame, say
                plain = {name: list(map(_plain, values)) for name, values in columns.items()}
                return self._arrays(plain, count)
        except (Unusual, KeyError, TypeError, ValueError, OverflowError):
            return None

    # Rows as lists of Python values

    def _lists(self, rows):
        if isinstance(rows, list):
            if not 0 < len(rows) <= self._most:
                return None
            return {name: [row[name] for row in rows] for name in self._columns}
        if isinstance(rows, dict):
            if not all(isinstance(rows[name], list) for name in self._columns):
                return None
            columns = {name: rows[name] for name in self._columns}
            lengths = set(map(len, columns.values()))
            return columns if len(lengths) == 1 and 0 < lengths.pop() <= self._most else None
        module = type(rows).__module__.partition(".")[0]
        if module not in ("pandas", "polars") or not is_frame(rows) or not hasattr(rows, "shape"):
            return None
        if not 0 < len(rows) <= self._most or len(set(rows.columns)) < len(rows.columns):
            return None
        listed = "to_list" if module == "polars" else "tolist"
        return {name: getattr(rows[name], listed)() for name in self._columns}

    # Columns as arrays

    def _arrays(self, columns, count):
        schema, found = self._schema, {}
        made = self._derived(columns)
        if schema.categoricals:
            ids = np.empty((count, len(schema.categoricals)), "int32")
            for at, feature in enumerate(schema.categoricals):
                name = feature.name
                if isinstance(feature, Cross):
                    ids[:, at] = self._looked_up(name, self._crossed(columns, made, feature))
                else:
                    values = made.get(name, columns.get(name))
                    ids[:, at] = self._encoded(name, values, feature.fill)
            found["ids"] = ids
        if schema.numerics:
            values = np.empty((count, len(schema.numerics)), "float32")
            for at, feature in enumerate(schema.numerics):
                name = feature.name
                x = _numbers(made.get(name, columns.get(name)))
                values[:, at] = self._encoder.learner(name).encoded(x, name, int)
            found["values"] = values
        for bag in schema.bags:
            found |= self._bag(columns, bag)
        for vector in schema.vectors:
            found[vector.name] = self._vector(columns[vector.name], vector)
        for sequence in schema.sequences:
            found[sequence.name] = self._history(columns[sequence.name], sequence)
        return {key: found[key] for key in schema.shapes()}

    def _derived(self, columns):
        """What is made of other columns: parts of moments, flags, single values of quantities."""
        made = {}
        for feature in self._schema.times:
            clock = self._encoder.learner(feature.name)
            seconds = _moments(columns[feature.name], feature.unit)
            made |= parts(feature, seconds, clock.first, clock.last)
        for feature in self._schema.numerics:
            for other in feature.derived:
                values = columns[feature.name]
                if isinstance(other, Numeric):  # the flag
                    values = np.isnan(_numbers(values)).astype("float64")
                made[other.name] = values
        return made

    def _encoded(self, name, values, fill=None):
        """Ids of the values of a column, or of the events of lists."""
        learner = self._encoder.learner(name)
        feature = learner.feature
        if isinstance(learner, Vocabulary) and feature.buckets is None:
            return self._looked_up(name, _texts(values, fill))
        if not isinstance(learner, Ids | Quantiles | Vocabulary):
            raise Unusual  # hashes
        x = _numbers(values)
        if fill is not None:
            x = np.where(np.isnan(x), float(fill), x)
        if isinstance(learner, Quantiles):
            return learner.buckets(x)
        if isinstance(learner, Ids):
            return learner.checked(x, name, int)
        return self._looked_up(name, _texts(log2_bucket(x).tolist()))

    def _looked_up(self, name, texts):
        if name not in self._ids:
            self._ids[name] = self._encoder.learner(name).by_token | {None: PADDING}
        known = self._ids[name]
        found = [known.get(text) for text in texts]
        for at, text in enumerate(texts):
            if found[at] is None:
                found[at] = known.get(plain_text(text), UNSEEN)
        return found

    def _crossed(self, columns, made, cross):
        """The texts of combinations; `None` where a value of one column is missing."""
        texts = []
        for name in cross.of:
            feature, values = self._schema[name], made.get(name, columns.get(name))
            learner = self._encoder.learner(name)
            if feature.buckets is not None or not isinstance(learner, Ids | Vocabulary):
                raise Unusual
            values = values.tolist() if isinstance(values, np.ndarray) else values
            found = [text and plain_text(text) for text in _texts(values, feature.fill)]
            if isinstance(learner, Ids):
                found = [None if text == str(PADDING) else text for text in found]
            texts.append(found)
        joined = zip(*texts, strict=True)
        return [None if None in each else JOINED_BY.join(each) for each in joined]

    # Lists

    def _events(self, values, feature):
        """The events that are kept of all rows, in one list, and the row of each."""
        found, rows = [], []
        for row, value in enumerate(values):
            if isinstance(value, str):
                value = value.split(feature.separator) if value else []
            elif value is None:
                value = []
            elif type(value) is not list:
                raise Unusual
            last = feature.keep == "last" and len(value) > feature.length
            kept = value[-feature.length :] if last else value[: feature.length]
            found += kept
            rows += [row] * len(kept)
        return found, np.array(rows, int)

    def _history(self, values, sequence):
        events, rows = self._events(values, sequence)
        ids = self._encoded(sequence.vocabulary, events)
        return right_aligned(ids, rows, len(values), sequence.length)

    def _bag(self, columns, bag):
        values, height = columns[bag.name], len(columns[bag.name])
        events, rows = self._events(values, bag)
        ids = np.array(self._encoded(bag.name, events), "int32")
        found = {bag.name: left_aligned(ids, rows, height, bag.length)}
        if bag.weights is not None:
            weights, theirs = self._events(columns[bag.weights], bag)
            if not np.array_equal(rows, theirs):
                raise Unusual
            x = np.nan_to_num(_numbers(weights), nan=0.0).astype("float32")
            found[bag.weights] = left_aligned(x, rows, height, bag.length)
        return found

    def _vector(self, values, vector):
        nothing = [None] * vector.width
        lists = [nothing if value is None else value for value in values]
        if any(type(value) is not list or len(value) != vector.width for value in lists):
            raise Unusual
        x = _numbers([number for value in lists for number in value])
        learner = self._encoder.learner(vector.name)
        return learner.encoded(x.reshape(len(lists), vector.width))


def _plain(value):
    """A value of NumPy or pandas as Python has it, where the two are the same."""
    if isinstance(value, list | np.ndarray):
        return list(map(_plain, value))
    if isinstance(value, np.str_ | np.bool_ | np.int64 | np.float64):
        return value.item()
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, np.datetime64):
        exact = value.astype("datetime64[us]")
        return exact.item() if exact == value or np.isnat(value) else value
    if isinstance(value, datetime.datetime) and getattr(value, "nanosecond", 1) == 0:
        return value.to_pydatetime()
    return value


def _texts(values, fill=None):
    """The texts of a column, `None` where missing and without a `fill`."""
    kinds = set(map(type, values))
    if bool in kinds and kinds - {bool, type(None)}:
        raise Unusual  # beside numbers, true is 1
    given = None if fill is None else plain_value(fill)
    return [given if text is None else text for text in map(token, values)]


def _numbers(values):
    """Plain numbers as float64 `(n,)`, NaN where missing."""
    if isinstance(values, np.ndarray):
        return values
    for value in values:
        kind = type(value)
        if kind is not float and kind is not int and kind is not bool and value is not None:
            raise Unusual
        if kind is float and value in (np.inf, -np.inf):
            raise Unusual
    return np.array([np.nan if value is None else value for value in values], "float64")


def _moments(values, unit):
    """Moments as seconds, float64 `(n,)`, NaN where missing: datetimes without a zone, numbers."""
    if not any(isinstance(value, datetime.date | str) for value in values):
        return _numbers(values) * UNITS[unit]
    found = []
    for value in values:
        if value is None:
            found.append(np.nan)
        elif type(value) is datetime.datetime and value.tzinfo is None:
            apart = value - EPOCH
            micros = (apart.days * 86400 + apart.seconds) * 1_000_000 + apart.microseconds
            found.append(micros * 1e-6)
        else:
            raise Unusual
    return np.array(found, "float64")
