"""Raw columns -> int32 ids and float32 values: `Encoder`.

Fitted once, on training rows; saved with the prepared data and with the model; never changed by
what it encodes later. Knows no Keras.
"""

import copy
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from keras_ctr._checks import unknown
from keras_ctr.features.columns import JOINED_BY, PADDING, Bag, Numeric, Time
from keras_ctr.features.few import FewRows
from keras_ctr.features.frames import as_polars, is_frame
from keras_ctr.features.histories import events, left_aligned, right_aligned
from keras_ctr.features.learners import Ids, learner
from keras_ctr.features.quantities import Clock, Scale, Widths
from keras_ctr.features.schema import Schema
from keras_ctr.features.tokens import (
    hashed,
    labels,
    numbers,
    plain,
    sample_weights,
    texts_of,
    tokens,
)
from keras_ctr.features.vocabulary import Vocabulary

FORMAT = 1
LONGEST_BAG = 64
_TAKEN = ("label", "group", "weight")  # keys of an encoded frame beside those of a batch


class Encoder:
    """Encodes data frames the way a `Schema` says.

    Every categorical column gets the ids 0 (missing), 1 (unseen) and 2, 3, ... for its vocabulary:
    the most frequent token first, equal counts in the order of their text. A sequence shares the
    vocabulary of its categorical, which then counts the values of both columns. A categorical whose
    `size` the schema gives holds ids already; they are passed through after a range check.

    A value and a category are compared by text, so 14, 14.0 and "14.0" are one token, `True` and
    "true" are one, and an empty text is a missing value. Missing text stays 0, a missing
    number becomes 0.0 after its transform; infinite numbers are refused.

    Args:
        schema: `Schema`; sizes are found by `fit`.
        source: name of the data set whose raw files it reads (`"avazu_x4"`, say), or `None`.

    Example:

    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["Rome", "Oslo", "Rome"], "click": [1, 0, 1]})
    >>> encoder = Encoder(Schema.infer(df, label="click")).fit(df)
    >>> encoder.encode(pd.DataFrame({"city": ["Oslo", "Rome", "Lima", None]}))["ids"].tolist()
    [[3], [2], [1], [0]]
    """

    def __init__(self, schema, source=None):
        for key in schema.shapes():
            if key in _TAKEN:
                raise ValueError(
                    f"A column with an array of its own must not be called {key!r}: encoded frames "
                    "keep labels and groups under such names."
                )
        for feature in schema.vocabularies.values():
            if isinstance(feature.buckets, int) and (
                feature.hash_size or feature.max_size or feature.min_count > 1
            ):
                raise ValueError(
                    f"`buckets={feature.buckets}` of {feature.name!r} replaces the vocabulary: it "
                    "cannot be combined with `hash_size`, `min_count` or `max_size`."
                )
            if feature.buckets is not None and isinstance(feature.fill, str):
                raise ValueError(
                    f"`fill` of {feature.name!r} must be a number, since `buckets` are cut from "
                    f"numbers. Received: fill={feature.fill!r}"
                )
        self.source = source
        self._given = schema
        self._fitted = self._few = None
        self._parts, self._learnt = {}, []
        self._names = {name: learner(f) for name, f in schema.vocabularies.items()}
        self._scales = {f.name: Scale(f) for f in schema.numerics}
        self._vectors = {f.name: Widths(f) for f in schema.vectors}
        self._clocks = {f.name: Clock(f) for f in schema.times}
        self._columns = {**self._names, **self._scales, **self._vectors, **self._clocks}
        self._longest = {bag.name: 0 for bag in schema.bags if bag.length is None}

    @property
    def schema(self):
        """The `Schema` with the sizes that `fit` found; as given before."""
        return self._fitted or self._given

    @property
    def given(self):
        """The `Schema` as given, before `fit`: a size in it means a column that holds ids."""
        return self._given

    def fit(self, frames, first_row=0):
        """Learns vocabularies, bucket boundaries and scales from training rows.

        Args:
            frames: one data frame (pandas or polars) or an iterable of them, read once. Memory is
                that of one frame and of the counts of distinct values.
            first_row: number of the first row for error messages; or an array with that of every
                row; or, for several frames, an iterable of such arrays.

        Returns:
            The encoder itself.

        Raises:
            ValueError: columns missing or not in the schema, values of the wrong kind (with column
                and row), no rows at all, or an encoder that is fitted already.
        """
        if self._fitted is not None:
            raise ValueError("The encoder is fitted already, and never changes. Make a new one.")
        seen, starts = 0, None
        if is_frame(frames):
            frames, starts = [frames], iter([first_row])
        elif not isinstance(first_row, int):
            starts = iter(first_row)
        names = [name for name in self._columns if name not in self._learnt]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for frame in frames:
                frame = as_polars(frame)
                start = first_row + seen if starts is None else next(starts)
                self._check_columns(frame)
                frame = self._with_derived(frame, partial(_row, start), held=False)
                list(pool.map(partial(self._count, frame, start), names))
                seen += len(frame)
        if not seen:
            raise ValueError("The encoder must be fitted on at least one row. Received: no rows")
        for column in self._columns.values():
            column.finish()
        self._size()
        return self

    @property
    def codable(self):
        """Names of columns of which a vocabulary is learnt, and nothing else is made."""
        schema = self._given
        used = {name for cross in schema.crosses for name in cross.of}
        used |= {sequence.vocabulary for sequence in schema.sequences}
        used |= {bag.name for bag in schema.bags} | {schema.label, schema.group, schema.weight}
        return [
            name
            for name, column in self._names.items()
            if isinstance(column, Vocabulary) and name in schema.columns and name not in used
        ]

    def learn(self, name, sizes, block, packed):
        """Learns one of the `codable` columns from coded blocks, before `fit` does the others.

        Args and result: those of `Vocabulary.fit_blocks`.
        """
        self._learnt.append(name)
        return self._names[name].fit_blocks(sizes, block, packed)

    def encode(self, frame, label=True, first_row=0, ids=None):
        """Encodes one data frame.

        Args:
            frame: pandas or polars data frame; columns that the schema does not know are ignored.
            label: whether to encode the label and the weight. They are left out too where the frame
                has no such column, as at predict time; so is the group if it is no feature.
            first_row: number of the first row for error messages, or an array with that of every
                row.
            ids: `{name: int32 ids (n,)}` of columns that are encoded already, which the frame need
                not have.

        Returns:
            A dict of C-contiguous arrays, keys without columns left out: `"ids"` (n, F) int32,
            `"values"` (n, N) float32, under their names what bags, vectors and sequences have in
            `Schema.shapes`, `"label"` (n, 1) float32, `"weight"` (n,) float32, `"group"` (n,)
            int64. A group is the 64-bit hash of its token, so groups stay distinct whether seen
            before or not; 0 if missing.

        Raises:
            ValueError: missing columns, values of the wrong kind, a label other than 0 or 1, a
                weight that is missing, negative or infinite.
        """
        if self._fitted is None:
            raise ValueError("The encoder must be fitted before it can encode: call `fit`.")
        frame, ids = as_polars(frame), ids or {}
        needed = [n for n in self.schema.columns if n not in self.schema.optional and n not in ids]
        missing = [name for name in needed if name not in frame.columns]
        if missing:
            raise ValueError(
                f"The frame must have every column of the schema. Received none called: "
                f"{', '.join(missing)} (columns: {', '.join(frame.columns)})"
            )
        row, schema = partial(_row, first_row), self.schema
        frame = self._with_derived(frame, row)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            arrays = {}
            for key, columns, dtype in (
                ("ids", [f.name for f in schema.categoricals], "int32"),
                ("values", [f.name for f in schema.numerics], "float32"),
            ):
                if columns:
                    found = pool.map(
                        lambda name: ids[name] if name in ids else self._column(frame, row, name),
                        columns,
                    )
                    arrays[key] = _packed(found, frame, dtype, len(columns))
            further = [*schema.bags, *schema.vectors, *schema.sequences]
            for found in pool.map(partial(self._arrays, frame, first_row), further):
                arrays |= found
        encoded = {key: arrays[key] for key in schema.shapes()}
        if label and self.schema.label in frame.columns:
            encoded["label"] = labels(frame[self.schema.label], self.schema.label, row)
        weight = self.schema.weight
        if label and weight is not None and weight in frame.columns:
            encoded["weight"] = sample_weights(frame[weight], weight, row)
        group = self.schema.group
        if group is not None and group in frame.columns:
            encoded["group"] = hashed(tokens(frame[group], group)).view("int64")
        return encoded

    def encode_few(self, rows):
        """Encodes a few rows of plain values without building a data frame: one in a millisecond.

        Few are 256, or as many as hold 10,000 values.

        Args:
            rows: list of dicts, dict of columns, pandas or polars data frame.

        Returns:
            The arrays of a batch as `encode` gives them, bit for bit, without label and group; or
            `None` where the rows are too many, or hold what is left to `encode`.
        """
        return self._few_rows and self._few_rows.encode(rows)

    @property
    def _few_rows(self):
        if self._few is None and self._fitted is not None:
            self._few = FewRows(self)
        return self._few

    def part(self, names):
        """Returns an encoder of some of the features, which shares what this one has learnt.

        Args:
            names: of features of the schema, with all that they are `of`.
        """
        names = frozenset(names)
        if names not in self._parts:
            part = copy.copy(self)
            part._parts = {}
            part._given, part._fitted = (
                schema.like([feature for feature in schema if feature.name in names])
                for schema in (self._given, self._fitted)
            )
            part._clocks = {n: clock for n, clock in self._clocks.items() if n in names}
            part._few = FewRows(part, self._few_rows)
            self._parts[names] = part
        return self._parts[names]

    def vocabulary(self, name):
        """Returns the tokens of ids 2, 3, ... of a categorical, `None` if it has no vocabulary."""
        if name not in self._names:
            raise unknown("categorical", name, self._names)
        column = self._names[name]
        return column.tokens if isinstance(column, Vocabulary) else None

    def learner(self, name):
        """Returns what was learnt of a vocabulary, a numeric, vector or time column."""
        if name not in self._columns:
            raise unknown("column", name, self._columns)
        return self._columns[name]

    def save(self, folder):
        """Writes `encoder.json` and a text file per vocabulary: line k is the token of id k + 2."""
        if self._fitted is None:
            raise ValueError("The encoder must be fitted before it can be saved: call `fit`.")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "format": FORMAT,
            "source": self.source,
            "schema": self._given.to_dict(),
            "columns": [c.save(folder, at) for at, c in enumerate(self._columns.values())],
            **({"longest": self._longest} if self._longest else {}),
        }
        (folder / "encoder.json").write_text(json.dumps(config, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder):
        """Reads what `save` wrote: JSON and plain text, never a pickle.

        Raises:
            FileNotFoundError: no encoder in `folder`, or one of its files is missing.
            ValueError: a format this version does not know, or a vocabulary of the wrong length.
        """
        folder = Path(folder)
        if not (folder / "encoder.json").is_file():
            raise FileNotFoundError(f"{folder} holds no encoder: it has no encoder.json.")
        config = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
        if config.get("format") != FORMAT:
            raise ValueError(
                f"An encoder must be of format {FORMAT}. "
                f"Received: format {config.get('format')!r} in {folder}"
            )
        encoder = cls(Schema.from_dict(config["schema"]), source=config["source"])
        for column, state in zip(encoder._columns.values(), config["columns"], strict=True):
            column.load(folder, state)
        encoder._longest = config.get("longest", {})
        encoder._size()
        return encoder

    def __repr__(self):
        state = "fitted" if self._fitted is not None else "not fitted"
        return f"<Encoder: {state}, {self.schema!r}>"

    def _count(self, frame, rows, name):
        """Learns from one column, and from the histories that share its vocabulary."""
        sequences = [s for s in self._given.sequences if s.vocabulary == name]
        bags = [bag for bag in self._given.bags if bag.name == name]
        if name in frame.columns and not bags:
            self._columns[name].count(frame[name], name, partial(_row, rows))
        for feature in sequences + bags:
            column, at = events(frame[feature.name], feature, whole=True)
            self._columns[name].count(column, feature.name, partial(_row, rows, at), False)
            if name in self._longest:
                longest = int(np.bincount(at).max(initial=0))
                self._longest[name] = min(max(self._longest[name], longest, 1), LONGEST_BAG)

    def _column(self, frame, row, name):
        """One column of the packed ids or values."""
        if name in self._names:
            return self._names[name].ids(frame[name], name, row)
        return self._scales[name].values(frame[name], name, row)

    def _arrays(self, frame, first_row, feature):
        """The arrays of a feature that has arrays of its own: `{key: array}`."""
        column, name = frame[feature.name], feature.name
        if name in self._vectors:
            return {name: self._vectors[name].values(column, name, partial(_row, first_row))}
        column, at = events(column, feature)
        row = partial(_row, first_row, at)
        if not isinstance(feature, Bag):
            ids = self._names[feature.vocabulary].ids(column, name, row, False)
            return {name: right_aligned(ids, at, len(frame), feature.length)}
        ids = self._names[name].ids(column, name, row, False)
        found = {name: left_aligned(ids, at, len(frame), feature.length)}
        if feature.weights is not None:
            weights, theirs = events(frame[feature.weights], feature)
            if len(theirs) != len(at) or (theirs != at).any():
                counts = [np.bincount(rows, minlength=len(frame)) for rows in (at, theirs)]
                wrong = np.flatnonzero(counts[0] != counts[1])[0]
                raise ValueError(
                    f"Column {feature.weights!r} must hold one weight per value of {name!r}. "
                    f"Received: {counts[1][wrong]} for {counts[0][wrong]} at row "
                    f"{_row(first_row, wrong)}"
                )
            x = np.nan_to_num(numbers(weights, feature.weights, row), nan=0.0).astype("float32")
            found[feature.weights] = left_aligned(x, at, len(frame), feature.length)
        return found

    def _with_derived(self, frame, row, held=True):
        """A frame with the columns that are made of others: parts of moments, flags of gaps."""
        import polars as pl

        made = {}
        for name, clock in self._clocks.items():
            made |= clock.parts(frame[name], name, row, held)
        for feature in self._given.numerics:
            for other in feature.derived:
                made[other.name] = frame[feature.name]
                if isinstance(other, Numeric):  # the flag
                    x = numbers(frame[feature.name], feature.name, row)
                    made[other.name] = np.isnan(x).astype("float64")
        frame = frame.with_columns(pl.Series(name, values) for name, values in made.items())
        if not self._given.crosses:
            return frame
        crossed = [self._crossed(frame, row, cross) for cross in self._given.crosses]
        return frame.with_columns(crossed)

    def _crossed(self, frame, row, cross):
        """The texts of combinations; null where a value of one column is missing."""
        import polars as pl

        named = []
        for at, name in enumerate(cross.of):
            text = plain(texts_of(self._given[name], frame[name], name, row, fill=True))
            if isinstance(self._names[name], Ids):
                text = text.set(text == str(PADDING), None)
            named.append(text.alias(str(at)))
        joined = pl.concat_str(pl.all(), separator=JOINED_BY, ignore_nulls=False)
        return pl.DataFrame(named).select(joined.alias(cross.name)).to_series()

    def _size(self):
        """Closes the schema: every size is known."""
        facts = {name: {"size": column.size} for name, column in self._names.items()}
        facts |= {name: c.facts for name, c in {**self._scales, **self._vectors}.items()}
        for feature in (*self._given.numerics, *self._given.times):
            taken = ("edges",) if isinstance(feature, Time) else ("size",)
            for other in feature.derived:  # what is learnt of it is an option of the feature
                learnt = {k: v for k, v in facts.pop(other.name).items() if k in taken}
                facts[feature.name] = facts.get(feature.name, {}) | learnt
        for name, longest in self._longest.items():
            facts[name]["length"] = longest or 1
        self._fitted = self._given.learnt(facts)

    def _check_columns(self, frame):
        known = [name for name in self._given.columns if name not in self._learnt]
        missing = [name for name in known if name not in frame.columns]
        extra = [name for name in frame.columns if name not in known]
        if missing or extra:
            raise ValueError(
                "The frame must have exactly the columns of the schema. Received: "
                f"missing {', '.join(missing) or 'none'}; not in the schema "
                f"{', '.join(extra) or 'none'}"
            )


def _row(rows, *at):
    """The number of the row at a position; of an event's row, `_row(rows, row of events, k)`."""
    at = at[0] if len(at) == 1 else at[0][at[1]]
    return rows + at if np.ndim(rows) == 0 else rows[at]


def _packed(columns, frame, dtype, width):
    """Stacks one array per column to a C-contiguous `(n, width)`."""
    packed = np.empty((width, len(frame)), dtype)
    for at, column in enumerate(columns):
        packed[at] = column
    return np.ascontiguousarray(packed.T)
