"""Columns as they are counted: `Column` of raw values, `of_store` of encoded ones."""

import dataclasses

import numpy as np
import polars as pl

from keras_ctr.datasets import _judging as judging
from keras_ctr.datasets._tally import COUNTS, NUM_ROWS, Tally
from keras_ctr.datasets.sources import SPLITS
from keras_ctr.features.columns import (
    FIRST_TOKEN,
    NAMES_OF_TIME,
    UNSEEN,
    Bag,
    Categorical,
    Numeric,
    Sequence,
    Time,
    Vector,
)
from keras_ctr.features.histories import as_lists, events
from keras_ctr.features.learners import Hashes, Quantiles
from keras_ctr.features.times import stamps
from keras_ctr.features.tokens import spelled, texts_of

BLOCK = 2**18  # rows


def finite(column):
    """Returns a polars series with null for NaN and infinite numbers, and how many the latter."""
    if not column.dtype.is_float():
        return column, 0
    column = column.fill_nan(None)
    infinite = column.is_infinite().fill_null(False)
    return (column.set(infinite, None), int(infinite.sum())) if infinite.any() else (column, 0)


class Column:
    """A column of raw values, counted block by block.

    Args:
        name: of the column.
        guess: `Guess`: what it is taken for, and why.
        vocabularies: `Schema.vocabularies` of the schema, for what sequences are of.
        limit: see `Tally`.
        kept_as: kind of values that text of this column spells though it need not be text,
            "numbers" or "dates"; else empty.
    """

    is_raw = True

    def __init__(self, name, guess, vocabularies, limit, kept_as=""):
        self.name, self.feature, self.why = name, guess.feature, guess.why
        self.kept_as, self.note, self.odd, self.pooled = kept_as, "", [0, None], None
        self.missing = np.zeros(3)
        self.tally = Tally(limit)
        self.vocabulary = self._vocabulary(vocabularies)
        self.cut = isinstance(getattr(self.vocabulary, "buckets", None), int)
        self.moments = isinstance(self.feature, Time)
        self.quantity = self.cut or isinstance(self.feature, Numeric | Time)
        self.opaque = isinstance(self.feature, Vector)

    def _vocabulary(self, vocabularies):
        """The `Categorical` that tells which values have ids, `None` for what has none."""
        feature = self.feature
        if isinstance(feature, Sequence):
            return vocabularies.get(feature.vocabulary)
        if isinstance(feature, Bag):
            return feature.vocabulary
        return feature if isinstance(feature, Categorical) else None

    @property
    def exact(self):
        """Whether all values were counted."""
        return self.tally.exact

    def add(self, column, splits, clicks):
        """Counts a block: polars series, int8 splits and labels, each `(n,)`."""
        rows = np.arange(len(column))
        if isinstance(self.feature, Bag | Sequence):
            values, at = events(column, self.feature, whole=True)
            values = self._values(values)
            rows = np.setdiff1d(rows, at)  # those without a value
            values = values.extend_constant(None, len(rows))
            at = np.concatenate([at, rows])
            self.tally.add(values, splits[at], clicks[at])
        else:
            values = self._values(column)
            self.tally.add(values, splits, clicks)
            rows = rows[values.is_null().to_numpy()]
        self.missing += np.bincount(splits[rows], minlength=3)

    def _values(self, column):
        """The values as text, or as float64 of quantities; null where one is missing."""
        if isinstance(self.feature, Vector):
            lists = as_lists(column, self.feature.separator)
            return _marked(lists.list.len().fill_null(0) > 0, "a vector")
        if self.moments:
            seconds = stamps(column, self.name, unit=self.feature.unit)
            return pl.Series(seconds, nan_to_null=True, dtype=pl.Float64)
        column, infinite = finite(column)
        if infinite:
            self._note_odd(infinite, "inf")
        if self.quantity or getattr(self.vocabulary, "buckets", None) is not None:
            column = self._numbers(column)
        if self.quantity:
            return column
        try:
            feature = self.vocabulary or Categorical(self.name)
            texts = texts_of(feature, column, self.name, lambda at: at, fill=False)
        except ValueError:  # what has no text, such as a struct
            self.opaque = True
            return _marked(column.is_not_null(), str(column.dtype))
        return texts.cast(pl.String)

    def _numbers(self, column):
        if column.dtype == pl.Duration:
            return column.dt.total_microseconds().cast(pl.Float64) * 1e-6
        if column.dtype != pl.String:
            return column.cast(pl.Float64) + 0.0  # of the two zeros, one
        text = column.str.strip_chars()
        text = text.set(text == "", None)
        values, _ = finite(spelled(text))
        odd = text.filter(values.is_null()).drop_nulls()
        odd = odd.filter(odd.str.to_lowercase() != "nan")
        if len(odd):
            self._note_odd(len(odd), odd[0])
        return values + 0.0

    def _note_odd(self, count, first):
        self.odd = [self.odd[0] + count, first if self.odd[1] is None else self.odd[1]]

    def close(self):
        """Ends the counting: `raw` counts, the same `scaled`, `distinct` values, `size`."""
        raw = self.tally.table()
        rows = raw["n0"] if self.pooled is None else self.pooled(raw)
        raw = raw.with_columns(null=raw["value"].is_null(), known=self._known(raw, rows))
        self.raw, self.scaled = raw, self.tally.scaled(raw)
        self.distinct, self.size = self.tally.distinct(raw), None
        if self.vocabulary is not None and not self.cut:
            self.size = self.vocabulary.hash_size or self.tally.distinct(raw.filter("known"))
        if not self.exact:
            self.note = (
                f"More than {self.tally.limit:,} distinct values: what is said of them is estimated"
                " from a sample of the rarer ones."
            )

    def _known(self, raw, rows):
        """Which values of the table get an id of their own."""
        feature, there = self.vocabulary, raw["value"].is_not_null()
        if feature is None or self.cut or feature.hash_size or feature.size is not None:
            return there
        known = there & (rows >= max(feature.min_count, 1))
        if feature.max_size is None:
            return known
        frame = pl.DataFrame({"value": raw["value"], "rows": rows, "known": known})
        frame = frame.with_row_index("at").filter("known")
        frame = frame.sort(["rows", "value"], descending=[True, False])
        kept = np.zeros(len(raw), bool)
        kept[frame["at"].head(feature.max_size - FIRST_TOKEN).to_numpy()] = True
        return pl.Series(kept)


def _marked(there, text):
    """A text in every row of a boolean series that is true, null in the others."""
    frame = pl.DataFrame({"there": there})
    return frame.select(pl.when("there").then(pl.lit(text)).alias("value"))["value"]


def share_vocabularies(columns):
    """Lets sequences count together with the categoricals that they are of, as an encoder does."""
    groups = {}
    for column in columns:
        if column.vocabulary is not None:
            groups.setdefault(column.vocabulary.name, []).append(column)
    for group in groups.values():
        if len(group) > 1:
            tables = [column.tally.table().select("value", all="n0") for column in group]
            total = pl.concat(tables).drop_nulls().group_by("value").agg(pl.col("all").sum())
            for column in group:
                column.pooled = lambda raw, total=total: raw.join(
                    total, on="value", how="left", maintain_order="left"
                )["all"].fill_null(0)


class Encoded:
    """A column of a prepared data set.

    Args:
        name: of the column.
        feature: of the schema.
        raw: counts, as of `Tally.table`, with `null` and `known`; `None` of what is not counted.
        missing: `(3,)` rows without a value, `None` where the encoding does not tell.
        note: a sentence.
        tally: what counted them, of quantities.
    """

    is_raw, why, kept_as, odd, moments = False, "", "", (0, None), False

    def __init__(self, name, feature, raw, missing, note="", tally=None):
        self.name, self.feature, self.raw = name, feature, raw
        self.missing, self.note, self.tally = missing, note, tally
        self.quantity = isinstance(feature, Numeric)
        self.exact = tally is None or tally.exact
        self.opaque = raw is None

    def close(self):
        """Ends the counting."""
        if self.raw is None:
            self.raw = pl.DataFrame(schema={"value": pl.String, **dict.fromkeys(COUNTS, pl.Int64)})
            self.raw = self.raw.with_columns(frequent=True, null=False, known=False)
        if self.tally is not None:
            self.scaled, self.size = self.tally.scaled(self.raw), None
            self.distinct = self.tally.distinct(self.raw)
        else:
            self.scaled = self.raw.with_columns(pl.col(COUNTS).cast(pl.Float64))
            self.distinct = self.size = int(self.raw["known"].sum())


def of_store(store, limit):
    """Returns the columns of a prepared data set, and its rows and clicks per split, `(3,)`."""
    schema, bounds = store.schema, store.schema.bounds()
    rows, clicks = np.zeros(3, int), np.zeros(3, int)
    counts = {  # per column: ids by split, then those of clicked rows
        key: [np.zeros((6, size), np.int64) for _, size in columns]
        for key, columns in bounds.items()
    }
    tallies = [Tally(limit) for _ in schema.numerics]
    for name, split in store.splits.items():
        part = SPLITS.index(name)
        for start in range(0, split.rows, BLOCK):
            end = min(start + BLOCK, split.rows)
            y = split.slice("label", start, end)[:, 0].astype(np.int64)
            rows[part] += len(y)
            clicks[part] += y.sum()
            for key, tables in counts.items():
                ids = split.slice(key, start, end)
                columns = list(ids.T) if key == "ids" else [_without_padding(ids)]
                for table, column in zip(tables, columns, strict=True):
                    labels = y if key == "ids" else np.repeat(y, _lengths(ids))
                    for at, found in ((part, column), (part + 3, column[labels == 1])):
                        table[at] += np.bincount(found, minlength=table.shape[1])
            if tallies:
                values = split.slice("values", start, end).astype(np.float64)
                for at, tally in enumerate(tallies):
                    splits = np.full(len(y), part, np.int8)
                    tally.add(pl.Series(values[:, at]) + 0.0, splits, y)
    found = []
    for key, columns in bounds.items():
        for (name, _), table in zip(columns, counts[key], strict=True):
            raw = _table(_names(schema, store.encoder, name, table.shape[1]), table)
            found.append(Encoded(name, schema[name], raw, table[:3, 0]))
    for feature, tally in zip(schema.numerics, tallies, strict=True):
        raw = tally.table().with_columns(null=False, known=True)
        after = f", after transform={feature.transform!r}" if feature.transform else ""
        note = f"Encoded numbers{after}; a missing one is 0."
        found.append(Encoded(feature.name, feature, raw, None, note, tally))
    for feature in schema.vectors:
        found.append(Encoded(feature.name, feature, None, None, "Vectors are not described."))
    return found, rows, clicks


def _lengths(ids):
    """How many entries each row of a bag or history has; one without any has one, a 0."""
    return np.maximum((ids != 0).sum(axis=1), 1)


def _without_padding(ids):
    """The entries of all rows, one after another; of an empty row, one 0."""
    kept = ids != 0
    kept[~kept.any(axis=1), 0] = True
    return ids[kept]


def _names(schema, encoder, name, size):
    """The text of every id of a column, from 0; `None` of a missing value."""
    feature = schema[name]
    own = feature.vocabulary if isinstance(feature, Sequence) else name
    found, learner = encoder.vocabulary(own), encoder.learner(own)
    if found is None:
        if isinstance(learner, Hashes | Quantiles):
            found = [f"bucket {at}" for at in range(size - FIRST_TOKEN)]
        elif name.rpartition(".")[2] in NAMES_OF_TIME and feature not in schema.features:
            found = map(str, range(size - FIRST_TOKEN))
        else:  # ids as they were given
            return [None, *map(str, range(1, size))]
    return [None, judging.UNSEEN_VALUE, *(text or "(empty)" for text in found)]


def _table(names, counts):
    """Counts `(6, size)` of ids as a data frame, of those that are there."""
    ids = np.arange(len(names))
    unseen = (ids == UNSEEN) & np.array([name == judging.UNSEEN_VALUE for name in names])
    frame = pl.DataFrame({"value": pl.Series(names, dtype=pl.String)}).with_columns(
        *(pl.Series(name, part) for name, part in zip(COUNTS, counts, strict=True)),
        frequent=pl.lit(True),
        null=pl.Series(ids == 0),
        known=pl.Series((ids > 0) & ~unseen),
    )
    return frame.filter(pl.sum_horizontal(NUM_ROWS) > 0)


def judged(columns, rows, clicks, has_label):
    """Returns the parts of a `Description`: rows, clicks, columns, warnings.

    Args:
        columns: of `Column` or `Encoded`.
        rows: `(3,)` of the splits.
        clicks: `(3,)`.
        has_label: whether clicks are known.
    """
    if not rows.sum():
        raise ValueError("`data` must have rows. Received: none")
    held = next((at for at in (1, 2) if rows[at]), None) if has_label else None
    found, warnings, leaks = [], [], []
    if has_label and clicks.sum() in (0, rows.sum()):
        leaks.append(f"Every label is {int(clicks.sum() > 0)}: there is nothing to tell apart.")
    for column in columns:
        column.close()
        entry, there = _entry(column, rows, has_label, held)
        found.append(entry)
        positive = 0 if held is None else clicks[held]
        if held is not None and judging.is_leak(entry["auc"], positive, rows[held] - positive):
            leaks.append(
                f"Column {column.name!r} alone tells the label with an AUC of {entry['auc']:.3f} "
                f"on {SPLITS[held]}: it may be made of it."
            )
        warnings += judging.sentences(entry, there, column)
    warnings += judging.unknown_values(found)
    splits = {name: at for at, name in enumerate(SPLITS) if rows[at]}
    by_split = [{n: int(part[at]) for n, at in splits.items()} for part in (rows, clicks)]
    return by_split[0], by_split[1] if has_label else {}, found, leaks + warnings


def _entry(column, rows, has_label, held):
    """The entry of `Description.columns`, and how many values there are."""
    table, missing, feature = column.scaled, column.missing, column.feature
    n = table.select(NUM_ROWS).to_numpy()
    null, known = (table[name].to_numpy() for name in ("null", "known"))
    values, named = n[~null].sum(axis=0), n[known & ~null].sum(axis=0)
    there = [at for at in range(3) if rows[at]]
    has_ids = column.size is not None and not column.opaque
    covered = {at: named[at] / values[at] if has_ids and values[at] else None for at in range(3)}
    gaps = {SPLITS[at]: None if missing is None else missing[at] / rows[at] for at in there}
    unseen = {SPLITS[at]: None if covered[at] is None else 1 - covered[at] for at in (1, 2)}
    entry = {
        "name": column.name,
        "kind": "left out" if feature is None else type(feature).__name__,
        "options": {} if feature is None else _options(feature),
        "why": column.why,
        "missing": None if missing is None else judging.rounded(missing.sum() / rows.sum()),
        "missing_by_split": {name: judging.rounded(share) for name, share in gaps.items()},
        "cardinality": None if column.opaque else column.distinct,
        "exact": column.exact,
        "vocabulary": column.size if has_ids else None,
        "coverage": judging.rounded(covered[0]),
        "unseen": {name: judging.rounded(s) for name, s in unseen.items() if name in gaps},
        "note": column.note,
    }
    return entry | judging.facts(column, rows, has_label, held), round(values.sum())


def _options(feature):
    """The options of a feature that are not at their default, as JSON has them."""
    options = {}
    for field in dataclasses.fields(feature):
        value = getattr(feature, field.name)
        if field.name not in ("name", "edges") and value != field.default:
            value = list(value) if isinstance(value, tuple) else value
            options[field.name] = value.name if isinstance(value, Categorical) else value
    return options
