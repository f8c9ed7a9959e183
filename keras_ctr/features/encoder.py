"""Raw columns -> int32 ids and float32 values: `Encoder`.

Fitted once, on training rows; saved with the prepared data and with the model; never changed by
what it encodes later. Knows no Keras.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from keras_ctr._checks import unknown
from keras_ctr.features.frames import as_polars, is_frame
from keras_ctr.features.histories import events, right_aligned
from keras_ctr.features.learners import Scale, learner
from keras_ctr.features.schema import Schema
from keras_ctr.features.tokens import hashed, labels, tokens
from keras_ctr.features.vocabulary import Vocabulary

FORMAT = 1
_TAKEN = ("label", "group")  # keys of an encoded frame beside those of a batch


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
        for sequence in schema.sequences:
            if sequence.name in _TAKEN:
                raise ValueError(
                    f"A sequence must not be called {' or '.join(map(repr, _TAKEN))}: encoded "
                    "frames keep labels and groups under these names."
                )
        for feature in schema.categoricals:
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
        self._fitted = None
        self._names = {f.name: learner(f) for f in schema.categoricals}
        self._scales = {f.name: Scale(f) for f in schema.numerics}
        self._columns = {**self._names, **self._scales}

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
            first_row: number of the first row for error messages, or (for one frame) an array
                with that of every row.

        Returns:
            The encoder itself.

        Raises:
            ValueError: columns missing or not in the schema, values of the wrong kind (with column
                and row), no rows at all, or an encoder that is fitted already.
        """
        if self._fitted is not None:
            raise ValueError("The encoder is fitted already, and never changes. Make a new one.")
        start, seen = first_row, 0
        whole = is_frame(frames)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for frame in [frames] if whole else frames:
                frame = as_polars(frame)
                self._check_columns(frame)
                list(pool.map(partial(self._count, frame, start), self._columns))
                seen += len(frame)
                start = first_row if whole else first_row + seen
        if not seen:
            raise ValueError("The encoder must be fitted on at least one row. Received: no rows")
        for column in self._columns.values():
            column.finish()
        self._size()
        return self

    def encode(self, frame, label=True, first_row=0):
        """Encodes one data frame.

        Args:
            frame: pandas or polars data frame; columns that the schema does not know are ignored.
            label: whether to encode the label. It is left out too where the frame has no such
                column, as at predict time; so is the group if it is no feature.
            first_row: number of the first row for error messages, or an array with that of every
                row.

        Returns:
            A dict of C-contiguous arrays, keys without columns left out: `"ids"` (n, F) int32,
            `"values"` (n, N) float32, `(n, S)` int32 under each sequence's name (right-aligned,
            padded with 0), `"label"` (n, 1) float32, `"group"` (n,) int64. A group is the 64-bit
            hash of its token, so groups stay distinct whether seen before or not; 0 if missing.

        Raises:
            ValueError: missing columns, values of the wrong kind, a label other than 0 or 1.
        """
        if self._fitted is None:
            raise ValueError("The encoder must be fitted before it can encode: call `fit`.")
        frame = as_polars(frame)
        missing = [f.name for f in self.schema if f.name not in frame.columns]
        if missing:
            raise ValueError(
                f"The frame must have every column of the schema. Received none called: "
                f"{', '.join(missing)} (columns: {', '.join(frame.columns)})"
            )
        names, scales, sequences = self._names, self._scales, self.schema.sequences
        row = partial(_row, first_row)

        def encode_sequence(sequence):
            column, at = events(frame[sequence.name], sequence)
            ids = names[sequence.of].ids(column, sequence.name, partial(_row, first_row, at), False)
            return right_aligned(ids, at, len(frame), sequence.length)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ids = pool.map(lambda name: names[name].ids(frame[name], name, row), names)
            values = pool.map(lambda name: scales[name].values(frame[name], name, row), scales)
            histories = pool.map(encode_sequence, sequences)
            encoded = {"ids": _packed(ids, frame, "int32")} if names else {}
            if scales:
                encoded["values"] = _packed(values, frame, "float32")
            encoded.update(zip((sequence.name for sequence in sequences), histories, strict=True))
        if label and self.schema.label in frame.columns:
            encoded["label"] = labels(frame[self.schema.label], self.schema.label, row)
        group = self.schema.group
        if group is not None and group in frame.columns:
            encoded["group"] = hashed(tokens(frame[group], group)).view("int64")
        return encoded

    def vocabulary(self, name):
        """Returns the tokens of ids 2, 3, ... of a categorical, `None` if it has no vocabulary."""
        if name not in self._names:
            raise unknown("categorical", name, self._names)
        column = self._names[name]
        return column.tokens if isinstance(column, Vocabulary) else None

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
        encoder._size()
        return encoder

    def __repr__(self):
        state = "fitted" if self._fitted is not None else "not fitted"
        return f"<Encoder: {state}, {self.schema!r}>"

    def _count(self, frame, rows, name):
        """Learns from one column, and from the histories that share its vocabulary."""
        self._columns[name].count(frame[name], name, partial(_row, rows))
        for sequence in self._given.sequences:
            if sequence.of == name:
                column, at = events(frame[sequence.name], sequence, whole=True)
                self._columns[name].count(column, sequence.name, partial(_row, rows, at), False)

    def _size(self):
        """Closes the schema: every categorical knows its size."""
        self._fitted = self._given.resized({name: c.size for name, c in self._names.items()})

    def _check_columns(self, frame):
        known = self._given.columns
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


def _packed(columns, frame, dtype):
    """Stacks one array per column to a C-contiguous `(n, columns)`."""
    columns = list(columns)
    packed = np.empty((len(frame), len(columns)), dtype)
    for at, column in enumerate(columns):
        packed[:, at] = column
    return packed
