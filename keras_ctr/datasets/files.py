"""`Files`: the source for a user's own file, or folder with train, valid and test files."""

from pathlib import Path

import numpy as np
import polars as pl

from keras_ctr._checks import unknown
from keras_ctr.datasets._raw.compression import COMPRESSIONS, suffix
from keras_ctr.datasets._raw.reader import PARQUET, SEPARATORS, Reader
from keras_ctr.datasets.cutting import check_split
from keras_ctr.datasets.sources import SPLITS, Source
from keras_ctr.features.columns import Time
from keras_ctr.features.schema import Schema
from keras_ctr.features.tokens import hashed, labels, tokens


class Files(Source):
    """Rows with named columns in .csv, .tsv, .txt (tab separated, with a header) or .parquet files.

    A folder holds `train`, and may hold `valid` and `test`. What is missing is cut from train: each
    row goes to test with probability `test`, to valid with probability `valid`.

    Args:
        path: the file or folder.
        schema: `Schema` of the columns.
        valid: fraction of the rows cut for validation, where there is no such file.
        test: fraction of the rows cut for the test, where there is no such file.
        seed: fixes the rows that are cut.
        split: `"random"`: each row is drawn by itself; `"group"`: each group of the schema is, so
            that no group is in two parts.
    """

    name = None  # an encoder fitted here reads any table with the columns of its schema
    title = "files"

    def __init__(self, path, schema, valid=0.1, test=0.1, seed=0, split="random"):
        check_fractions(valid, test)
        check_split(split, schema.group)
        if isinstance(split, Time):
            raise ValueError(
                "A file is read once, in its order, so it is not cut by time: read it to a data "
                "frame and use `datasets.from_pandas(df, split=...)`, or give a folder with train, "
                f"valid and test files. Received: split={split!r}"
            )
        self.path, self.valid, self.test, self.seed = str(path), valid, test, seed
        self.split = split
        self._schema = schema
        self.inferred = bool(schema.guesses)
        self._paths = split_files(path)

    def schema(self):
        return self._schema

    @property
    def options(self):
        options = {"schema": self._schema.to_dict()}
        further = ("valid", "test", "seed", *(["split"] if self.split != "random" else []))
        return options | {name: getattr(self, name) for name in further}

    def locate(self, root, cache):
        return self.path

    def files(self, root):
        return list(self._paths.values())

    def frames(self, root, reader):
        rng = np.random.default_rng(self.seed)
        cut = {name: getattr(self, name) for name in ("valid", "test") if name not in self._paths}
        missing, rows = [name for name in cut if cut[name]], 0
        ends = np.cumsum([cut.get("test", 0), cut.get("valid", 0)])
        numbers = self.numbers()
        if reader.on_bad_rows == "error":  # all wrong labels are looked at before one is named
            numbers.remove(self._schema.label)
        for split, path in self._paths.items():
            for frame in reader.table(path, self._schema.columns, numbers, extra=self.inferred):
                if split != "train" or not any(cut.values()):
                    yield split, frame
                    continue
                self._check_labels(path, frame, rows)
                rows += len(frame)
                # One draw per row: the parts do not depend on how the file is cut into frames.
                place = rng.random(len(frame)) if self.split == "random" else self._drawn(frame)
                for at, name in enumerate(("test", "valid", "train")):
                    part = frame.filter(pl.Series(np.searchsorted(ends, place, "right") == at))
                    if len(part):
                        missing = [other for other in missing if other != name]
                        yield name, part
        for name in missing if rows else ():
            raise ValueError(
                f"`{name}={cut[name]}` of {self.path} is no row. Received: {rows} rows"
            )

    def _drawn(self, frame):
        """A number in [0, 1) per row, the same for all rows of a group."""
        from pandas.util import hash_array  # here: pandas takes long to import

        group = hashed(tokens(frame[self._schema.group], self._schema.group))
        mixed = hash_array(group ^ np.uint64(self.seed * 0x9E3779B97F4A7C15 % 2**64))
        return (mixed >> np.uint64(11)).astype("float64") / 2**53

    def _check_labels(self, path, frame, first_row):
        """Before the cut, so that all wrong labels are counted and rows are those of the file."""
        name = self._schema.label
        try:
            labels(frame[name], name, lambda at: first_row + at)
        except ValueError as error:
            raise ValueError(f"In {path}: {error}") from error


def check_fractions(valid, test):
    """Checks the fractions of rows cut for validation and test."""
    for name, fraction in (("valid", valid), ("test", test)):
        if not 0 <= fraction < 1:
            raise ValueError(f"`{name}` must lie in [0, 1). Received: {name}={fraction}")
    if valid + test >= 1:
        raise ValueError(
            f"`valid` and `test` must leave rows to train on. Received: {valid} + {test}"
        )


def split_files(path):
    """Returns `{split: path}` of a file (all train) or of a folder.

    Raises:
        ValueError: a format that cannot be read, or two files for one split.
        FileNotFoundError: a folder without a train file.
    """
    path = Path(path)
    if path.is_file():
        _check_suffix(path)
        return {"train": path}
    found = {}
    for file in sorted(path.iterdir()):
        split = file.name.split(".")[0]
        if split in SPLITS and (suffix(file) in SEPARATORS or suffix(file) in PARQUET):
            if split in found:
                raise ValueError(
                    f"{path} must hold one {split} file. Received: {found[split].name}, {file.name}"
                )
            found[split] = file
    if "train" not in found:
        raise FileNotFoundError(
            f"{path} must hold a file called train ({', '.join([*SEPARATORS, *PARQUET])}; "
            f"text plain or {', '.join(COMPRESSIONS)})."
        )
    return {name: found[name] for name in SPLITS if name in found}


def infer_schema(path, label, group=None, on_bad_rows="error", weight=None):
    """Infers the `Schema` of such files from the first block of train (`Schema.infer`)."""
    path = split_files(path)["train"]
    reader = Reader(on_bad_rows)
    names = reader.names(path)
    for name in (label, group, weight):
        if name is not None and name not in names:
            raise unknown("column", name, names)
    first = next(reader.table(path, names), None)
    if first is None:
        raise ValueError(f"{path} must hold rows. Received: a header only")
    return Schema.infer(first, label=label, group=group, weight=weight)


def _check_suffix(path):
    if suffix(path) not in SEPARATORS and suffix(path) not in PARQUET:
        known = ", ".join([*SEPARATORS, *PARQUET])
        raise ValueError(f"A data file must end in one of {known}. Received: {path}")
