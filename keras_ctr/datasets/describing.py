"""`describe`: what the columns of a data set hold, before and after preparing. Needs no backend.

Rows are read block by block; what is kept of a column is a `Tally` of its values.
"""

import dataclasses
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from keras_ctr import datasets
from keras_ctr._cache import cache_folder
from keras_ctr._checks import unknown
from keras_ctr.datasets._counted import Column, finite, judged, of_store, share_vocabularies
from keras_ctr.datasets._raw.compression import suffix
from keras_ctr.datasets._raw.reader import PARQUET, Reader
from keras_ctr.datasets._shards.store import MANIFEST, Store
from keras_ctr.datasets.cutting import check_split, cut, generator
from keras_ctr.datasets.files import (
    LOOKED_AT,
    check_fractions,
    is_pattern,
    partition,
    read_file,
    split_files,
)
from keras_ctr.datasets.progress import Progress
from keras_ctr.datasets.sources import SPLITS
from keras_ctr.features import infer
from keras_ctr.features.columns import Categorical, Cross, Time
from keras_ctr.features.frames import as_polars
from keras_ctr.features.tokens import labels, spelled

LIMIT = 100_000  # distinct values of a column that are counted exactly
BLOCK = 2**18  # rows


@dataclasses.dataclass
class Description:
    """What `describe` found; every part is plain, as JSON has it.

    Attributes:
        name: what was described.
        rows: `{split: number of rows}`, of those that have some.
        clicks: `{split: number of clicks}`; empty where there is no label.
        columns: list of dicts, one per column:
            `name`; `kind`, `options`, `why`: what the schema takes it for;
            `missing`: share of rows without a value, in [0, 1], and `missing_by_split`;
            `cardinality`: number of distinct values, and `exact`: whether they were all counted;
            `vocabulary`: tokens with an id of their own; `coverage`: share of the training values
            that have one; `unseen`: `{split: share of values that have none}`;
            `values`: dicts of the most frequent values, or of bins: `value`, `rows`, `share` (of
            all rows), `click_rate`, `train`, `test` (shares of the rows of these parts);
            `psi`, `psi_chance` (what rows drawn alike would show), `drift` ("low", "moderate",
            "high"); `auc`: how well the column alone tells the label; `note`.
            What does not apply is `None`.
        warnings: sentences, what to look at first.
    """

    name: str
    rows: dict
    clicks: dict
    columns: list
    warnings: list

    @property
    def click_rate(self):
        """Share of clicks among all rows; `None` where there is no label."""
        return sum(self.clicks.values()) / sum(self.rows.values()) if self.clicks else None

    def to_json(self, indent=2):
        """Returns the description as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text):
        """The inverse of `to_json`."""
        return cls(**json.loads(text))

    def to_html(self, path):
        """Writes one HTML page that needs no other file, and returns its path."""
        from keras_ctr.datasets._page import page

        path = Path(path)
        path.write_text(page(self), encoding="utf-8")
        return path

    def show(self, console=None):
        """Prints the warnings and a table of the columns.

        Args:
            console: `rich.console.Console`; by default one on standard output.
        """
        from rich.console import Console

        from keras_ctr.datasets._page import table

        console = console or Console(markup=False)
        console.print(table(self))
        for warning in self.warnings:
            console.print("- " + warning, highlight=False)


def describe(
    data,
    label=None,
    *,
    root=None,
    group=None,
    schema=None,
    valid=0.1,
    test=0.1,
    split="random",
    seed=0,
    limit=LIMIT,
    on_bad_rows="error",
    check="once",
):
    """Describes the columns of a data set: values, clicks, drift, and what looks wrong.

    Files are read in one pass (two where a column decides the split). Of a column, up to `limit`
    distinct values are counted exactly. Of more, the most frequent ones found until then still are,
    and of the others a uniform sample, chosen by hash; numbers are then estimates, and the
    column's `note` says so.

    - Coverage and unseen follow the schema's vocabulary: values seen `min_count` times in train.
    - Drift is the population stability index between train and test, the sum over cells of
      `(q - p) ln(q / p)`, where p and q are the shares of a cell in train and test, and a share
      of nothing counts half a row. Cells are ten quantile bins of train for quantities; for names,
      each token of the vocabulary from which 20 rows are to be expected in both parts, and one
      for all others; and one for missing values. Usual reading: below 0.1 little, to 0.25
      moderate, above 0.25 a shift; read after `psi_chance`, what rows drawn alike would show, is
      taken off.
    - The AUC of a column alone is judged on valid (on test, where there is no valid): of its values
      as a score, or of the click rate of each value (or bin) in train, mixed with 10 rows of the
      overall one; the larger. A column is a likely leak above 0.95, unless so few rows may
      do so by chance.

    Args:
        data: pandas or polars data frame; or a name, file, pattern or folder as `datasets.load`
            takes it; or a folder that `datasets.prepare` wrote, of which the encoded rows are
            described: quantities after their transform.
        label: name of the label column (0 or 1); without one there are no click rates.
        root: folder of the raw files of a known data set.
        group: name of the column of groups.
        schema: `Schema` of your own data; by default each column's place is guessed as by
            `Schema.infer`, from the first rows.
        valid: fraction of the rows of your own data for validation; of a frame also a data frame.
        test: the same for the test.
        split: `"random"`, `"group"` or `Time("column")`, see `datasets.from_pandas`.
        seed: fixes which rows are drawn: those that `datasets.load` draws of a file.
        limit: number of distinct values of a column to count exactly, at least 10.
        on_bad_rows: `"error"`, or `"skip"` to leave malformed rows out.
        check: of a prepared folder, see `datasets.load`.

    Returns:
        A `Description`.

    Raises:
        ValueError: an unknown name or column, no rows, labels other than 0 and 1, bad rows.
        FileNotFoundError: files that are missing.

    Example:

    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["Rome", None, "Oslo", "Rome"] * 50, "click": [0, 1] * 100})
    >>> found = describe(df, label="click")
    >>> found.columns[0]["missing"], found.columns[0]["cardinality"]
    (0.25, 2)
    """
    if limit < 10:
        raise ValueError(f"`limit` must be at least 10. Received: limit={limit}")
    is_frame = not isinstance(data, str | Path)
    known = not is_frame and str(data) in datasets.SOURCES
    if not is_frame:
        path = Path(data)
        if not known and (path / MANIFEST).is_file():
            return Description(
                path.resolve().name, *judged(*of_store(Store(path, check), limit), True)
            )
        if not known and not path.exists() and not is_pattern(data):
            if path.suffix or len(path.parts) > 1:
                raise FileNotFoundError(f"There is no such file or folder: {data}")
            raise unknown("data set", data, datasets.SOURCES)
    reader = Reader(on_bad_rows)
    if is_frame:
        rows = _Frames(as_polars(data), valid, test)
    elif known:
        rows = _Known(datasets.source(str(data))(), root, reader)
        schema = rows.source.schema()
    else:
        rows = _Files(data, valid, test, schema, reader)
    found = _Columns(rows.first(), label, group, schema, limit, rows.texts)
    if not known:
        rows.cut_by(split, seed, found)
    with Progress("Describing", rows.bytes) as progress:
        reader.progress = progress.advance
        for splits, frame in rows.blocks():
            found.add(frame, splits)
            progress.advance(0)
    return found.described("data frame" if is_frame else path.name or str(data))


class _Cut:
    """Rows of one's own, of which parts are cut: `blocks` yields `(split of every row, frame)`."""

    texts, bytes = False, 0

    def __init__(self, fractions):
        check_fractions(**{name: fractions.get(name, 0.0) for name in ("valid", "test")})
        self._fractions, self._whole = fractions, None

    def cut_by(self, split, seed, columns):
        """Says how rows are cut; another way than at random reads the column that decides it."""
        check_split(split, columns.group)
        self._rng = generator(seed)
        if split != "random" and any(self._fractions.values()):
            name = split.name if isinstance(split, Time) else columns.group
            column = pl.concat([f.select(name) for part, f in self.frames() if part is None])
            self._whole, fractions = np.zeros(len(column), np.int8), self._fractions
            wanted = {part: fractions[part] for part in ("test", "valid") if fractions.get(part)}
            for part, rows in cut(column, wanted, split, columns.group, seed).items():
                self._whole[rows] = SPLITS.index(part)

    def blocks(self):
        done = 0
        ends = np.cumsum([self._fractions.get("test", 0), self._fractions.get("valid", 0)])
        for part, frame in self.frames():
            if part is not None:
                splits = np.full(len(frame), SPLITS.index(part), np.int8)
            elif self._whole is not None:
                splits, done = self._whole[done : done + len(frame)], done + len(frame)
            else:  # as `Files` draws them
                drawn = np.searchsorted(ends, self._rng.random(len(frame)), "right")
                splits = np.array([2, 1, 0], np.int8)[drawn]
            yield splits, frame


class _Frames(_Cut):
    def __init__(self, frame, valid, test):
        given = {"valid": valid, "test": test}
        super().__init__({n: part for n, part in given.items() if isinstance(part, int | float)})
        self._parts = [(None, frame)]
        self._parts += [(n, as_polars(p)) for n, p in given.items() if n not in self._fractions]

    def first(self):
        return self._parts[0][1].head(BLOCK)

    def frames(self):
        for part, frame in self._parts:
            for start in range(0, len(frame), BLOCK):
                yield part, frame[start : start + BLOCK]


class _Files(_Cut):
    def __init__(self, path, valid, test, schema, reader):
        self._paths = split_files(path)
        given = {"valid": valid, "test": test}
        super().__init__({name: part for name, part in given.items() if name not in self._paths})
        self._schema, self._reader = schema, reader
        every = [path for paths in self._paths.values() for path in paths]
        self.bytes = sum(path.stat().st_size for path in every)
        self.texts = any(suffix(path) not in PARQUET for path in every)

    def first(self):
        train = self._paths["train"]
        chosen = np.unique(np.linspace(0, len(train) - 1, LOOKED_AT).round().astype(int))
        found = [next(self._read(train[at]), None) for at in chosen]
        found = [frame.head(BLOCK // len(chosen)) for frame in found if frame is not None]
        if not found:
            raise ValueError(f"{train[0]} must hold rows. Received: a header only")
        return pl.concat(found, how="vertical_relaxed")

    def frames(self):
        cut = any(self._fractions.values())
        for part, paths in self._paths.items():
            for path in paths:
                for frame in self._read(path):
                    yield None if part == "train" and cut else part, frame

    def _read(self, path):
        names = list(dict.fromkeys([*self._reader.names(path), *partition(path)]))
        if self._schema is not None:
            names = [name for name in self._schema.columns if name in names]
        return read_file(path, self._reader, names, (), True)


class _Known:
    """The rows of a `Source`, read twice where a split is known when all have been seen."""

    texts = True

    def __init__(self, source, root, reader):
        self.source, self._reader = source, reader
        self._root = source.locate(root, cache_folder(None))
        self.bytes = sum(Path(path).stat().st_size for path in source.files(self._root))

    def first(self):
        return next(self.source.frames(self._root, self._reader))[1]

    def blocks(self):
        names, late = list(self.source.decided_by), []
        if names:
            frames = self.source.frames(self._root, Reader(self._reader.on_bad_rows))
            late = [frame.select(names) for split, frame in frames if split is None]
        splits = iter(self.source.split(late) if late else ())
        for split, frame in self.source.frames(self._root, self._reader):
            if split is None:
                yield next(splits), frame
            else:
                yield np.full(len(frame), SPLITS.index(split), np.int8), frame


class _Columns:
    """The columns of raw rows: what each is taken for, and the tally of its values."""

    def __init__(self, first, label, group, schema, limit, texts):
        if not len(first):
            raise ValueError("`data` must have rows. Received: none")
        if schema is not None:
            if label not in (None, schema.label) or group not in (None, schema.group):
                raise ValueError(
                    f"`label` and `group` must be those of the schema, {schema.label!r} and "
                    f"{schema.group!r}. Received: label={label!r}, group={group!r}"
                )
            label = schema.label if schema.label in first.columns else None
            group = schema.group
        for name in (label, group):
            if name is not None and name not in first.columns:
                raise unknown("column", name, first.columns)
        self.label, self.group = label, group
        self.rows, self.clicks, self._seen = np.zeros(3, int), np.zeros(3, int), 0
        if schema is None:
            y = None if label is None else infer.clicks_of(first[label])
            guesses = {n: _guess(first[n], y) for n in first.columns if n != label}
        else:
            guesses = {f.name: infer.Guess(f, "") for f in schema if not isinstance(f, Cross)}
            if group is not None:
                guesses.setdefault(group, infer.Guess(Categorical(group), "the group"))
        vocabularies = {} if schema is None else schema.vocabularies
        self.columns = {}
        for name, guess in guesses.items():
            if name not in first.columns:
                raise unknown("column", name, first.columns)
            kept_as = "" if texts else _kept_as(first[name], guess.feature)
            self.columns[name] = Column(name, guess, vocabularies, limit, kept_as)
            if texts:
                self.columns[name].why = guess.why.replace(" as text", "").replace("text of ", "")

    def add(self, frame, splits):
        """Counts a block: data frame, and int8 `(n,)` of the splits of its rows."""
        names = [*self.columns] + ([] if self.label is None else [self.label])
        missing = [name for name in names if name not in frame.columns]
        if missing:
            raise ValueError(f"All rows must have the columns {', '.join(missing)}.")
        y = np.zeros(len(frame), np.int64)
        if self.label is not None:
            start = self._seen
            y = labels(frame[self.label], self.label, lambda at: start + at)[:, 0].astype(int)
        self._seen += len(frame)
        self.rows += np.bincount(splits, minlength=3)
        self.clicks += np.bincount(splits[y == 1], minlength=3)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda c: c.add(frame[c.name], splits, y), self.columns.values()))

    def described(self, name):
        """Returns the `Description`."""
        columns = list(self.columns.values())
        share_vocabularies(columns)
        return Description(name, *judged(columns, self.rows, self.clicks, self.label is not None))


def _kept_as(column, feature):
    """What a column of text spells: "numbers", "dates", or nothing of the kind."""
    if column.dtype != pl.String:
        return ""
    if isinstance(feature, Time):
        return "dates"
    text = column.str.strip_chars()
    text = text.filter(text != "")
    is_code = text.str.contains(r"^[+-]?0[0-9]").any()  # which a number would lose
    return "numbers" if len(text) and not is_code and not spelled(text).null_count() else ""


def _guess(column, y):
    """What a column is taken for, as `Schema.infer` does; of one that it refuses, why."""
    try:
        return infer.guess(finite(column)[0], y)
    except ValueError as error:
        what = str(error).partition("Received: ")[2].split(". ")[0]
        return infer.Guess(None, f"it holds {what}" if what else str(error))
