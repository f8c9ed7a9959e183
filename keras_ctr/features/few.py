"""`FewRows`: encodes a few plain rows without a data frame, as `Encoder` would, bit for bit.

A request holds one row, or some hundred. Building a frame of one-row columns takes longer than all
else; here a column is a list, and a name is looked up in a dict. Only values of plain kinds are
taken, for which the outcome is certain: all else, and all errors, are left to `Encoder.encode`.
"""

import datetime
import re

import numpy as np

from keras_ctr.features.columns import (
    FIRST_TOKEN,
    JOINED_BY,
    PADDING,
    UNITS,
    UNSEEN,
    Cross,
    Numeric,
)
from keras_ctr.features.frames import is_frame
from keras_ctr.features.learners import Ids, Quantiles
from keras_ctr.features.times import parts
from keras_ctr.features.tokens import log2_bucket, plain_value
from keras_ctr.features.vocabulary import Vocabulary

MOST = 256  # rows; of more, a frame is faster
LARGEST = 2**63  # of whole numbers
WHOLE = re.compile(r"(-?[0-9]+)\.0+")
EPOCH = datetime.datetime(1970, 1, 1)


class Unusual(Exception):
    """A value that the frame path must look at."""


class FewRows:
    """Encodes rows with a fitted `Encoder`.

    Args:
        encoder: `Encoder`, fitted.
    """

    def __init__(self, encoder):
        self._encoder = encoder
        self._schema = encoder.schema
        self._ids = {}  # of a vocabulary: token -> id, with further spellings as they are met
        names = self._schema.columns
        self._columns = [name for name in names if name not in self._schema.optional]

    def encode(self, rows):
        """Returns `{batch key: array}` as `Encoder.encode`, or `None` where that has to do it.

        Args:
            rows: list of dicts, dict of columns, or data frame.
        """
        try:
            columns = self._lists(rows)
            if columns is None:
                return None
            return self._arrays(columns, len(next(iter(columns.values()))))
        except (Unusual, KeyError, TypeError, ValueError, OverflowError):
            return None

    # Rows as lists of Python values

    def _lists(self, rows):
        if isinstance(rows, list):
            if not 0 < len(rows) <= MOST:
                return None
            return {name: [row[name] for row in rows] for name in self._columns}
        if isinstance(rows, dict):
            if not all(isinstance(rows[name], list) for name in self._columns):
                return None
            columns = {name: rows[name] for name in self._columns}
            lengths = set(map(len, columns.values()))
            return columns if len(lengths) == 1 and 0 < lengths.pop() <= MOST else None
        module = type(rows).__module__.partition(".")[0]
        if module not in ("pandas", "polars") or not is_frame(rows) or not hasattr(rows, "shape"):
            return None
        if not 0 < len(rows) <= MOST or len(set(rows.columns)) < len(rows.columns):
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
                if isinstance(feature, Cross):
                    ids[:, at] = self._looked_up(
                        feature.name, self._crossed(columns, made, feature)
                    )
                else:
                    values = made.get(feature.name, columns.get(feature.name))
                    ids[:, at] = self._encoded(feature.name, values, feature.fill)
            found["ids"] = ids
        if schema.numerics:
            values = np.empty((count, len(schema.numerics)), "float32")
            for at, feature in enumerate(schema.numerics):
                x = made.get(feature.name)
                x = _numbers(columns[feature.name]) if x is None else x
                values[:, at] = self._encoder.learner(feature.name).encoded(x, _unusual)
            found["values"] = values
        for bag in schema.bags:
            found |= self._bag(columns, bag, count)
        for vector in schema.vectors:
            found[vector.name] = self._vector(columns[vector.name], vector)
        for sequence in schema.sequences:
            found[sequence.name] = self._history(columns[sequence.name], sequence, count)
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
            texts = _tokens(values)
            if fill is not None:
                given = plain_value(fill)
                texts = [given if text is None else text for text in texts]
            return self._looked_up(name, texts)
        if not isinstance(learner, Ids | Quantiles | Vocabulary):
            raise Unusual  # hashes
        x = values if isinstance(values, np.ndarray) else _numbers(values)
        if fill is not None:
            x = np.where(np.isnan(x), float(fill), x)
        if isinstance(learner, Quantiles):
            return learner.bucket(x)
        if isinstance(learner, Ids):
            x = np.nan_to_num(x, nan=PADDING)
            if ((x < 0) | (x >= learner.size) | (x != np.floor(x))).any():
                raise Unusual
            return x.astype("int32")
        texts = [None if x != x else str(int(x)) for x in log2_bucket(x).tolist()]
        return self._looked_up(name, texts)

    def _looked_up(self, name, texts):
        known = self._ids.get(name)
        if known is None:
            tokens = self._encoder.learner(name).tokens
            known = dict(zip(tokens, range(FIRST_TOKEN, FIRST_TOKEN + len(tokens)), strict=True))
            known[None] = PADDING
            self._ids[name] = known
        found = [known.get(text) for text in texts]
        for at, text in enumerate(texts):
            if found[at] is None:
                found[at] = known.get(_plain(text), UNSEEN)
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
            found = _tokens(values)
            if feature.fill is not None:
                found = [plain_value(feature.fill) if text is None else text for text in found]
            found = [text if text is None else _plain(text) for text in found]
            if isinstance(learner, Ids):
                found = [None if text == str(PADDING) else text for text in found]
            texts.append(found)
        joined = zip(*texts, strict=True)
        return [None if None in each else JOINED_BY.join(each) for each in joined]

    # Lists

    def _events(self, values, feature):
        """The events that are kept of each row."""
        found = []
        for value in values:
            if isinstance(value, str):
                value = value.split(feature.separator) if value else []
            elif value is None:
                value = []
            elif type(value) is not list:
                raise Unusual
            last = feature.keep == "last" and len(value) > feature.length
            found.append(value[-feature.length :] if last else value[: feature.length])
        return found

    def _packed(self, lists, values, length, right, dtype):
        packed = np.zeros((len(lists), length), dtype)
        start = 0
        for row, events in enumerate(lists):
            end, count = start + len(events), len(events)
            if right:
                packed[row, length - count :] = values[start:end]
            else:
                packed[row, :count] = values[start:end]
            start = end
        return packed

    def _history(self, values, sequence, count):
        lists = self._events(values, sequence)
        ids = self._encoded(sequence.vocabulary, [event for events in lists for event in events])
        return self._packed(lists, ids, sequence.length, True, "int32")

    def _bag(self, columns, bag, count):
        lists = self._events(columns[bag.name], bag)
        ids = self._encoded(bag.name, [event for events in lists for event in events])
        found = {bag.name: self._packed(lists, ids, bag.length, False, "int32")}
        if bag.weights is not None:
            theirs = self._events(columns[bag.weights], bag)
            if list(map(len, theirs)) != list(map(len, lists)):
                raise Unusual
            x = _numbers([weight for weights in theirs for weight in weights])
            x = np.nan_to_num(x, nan=0.0).astype("float32")
            found[bag.weights] = self._packed(theirs, x, bag.length, False, "float32")
        return found

    def _vector(self, values, vector):
        nothing = [None] * vector.width
        lists = [nothing if value is None else value for value in values]
        if any(type(value) is not list or len(value) != vector.width for value in lists):
            raise Unusual
        x = _numbers([number for value in lists for number in value])
        learner = self._encoder.learner(vector.name)
        return learner.encoded(x.reshape(len(lists), vector.width))


def _unusual(*_):
    raise Unusual


def _tokens(values):
    kinds = set(map(type, values))
    if bool in kinds and kinds - {bool, type(None)}:
        raise Unusual  # beside numbers, true is 1
    return [_token(value) for value in values]


def _token(value):
    """The text of a plain value, `None` where it is missing."""
    kind = type(value)
    if kind is str:
        return value or None
    if kind is int:
        if -LARGEST < value < LARGEST:
            return str(value)
    elif kind is bool:
        return "true" if value else "false"
    elif value is None or kind is float and value != value:
        return None
    elif kind is float and value.is_integer() and abs(value) < LARGEST:
        return str(int(value))
    elif kind is float and 1e-3 <= abs(value) < 1e15:  # where all write a number alike
        return repr(value)
    raise Unusual


def _plain(text):
    """As `tokens.plain`, of one text."""
    if text == "True" or text == "False":
        return text.lower()
    match = WHOLE.fullmatch(text)
    return match[1] if match else text


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
