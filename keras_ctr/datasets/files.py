"""`Files`: the source for a user's own files: one, many, or a folder with train, valid and test."""

import glob
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import polars as pl

from keras_ctr._checks import unknown
from keras_ctr.datasets._raw.compression import COMPRESSIONS, suffix
from keras_ctr.datasets._raw.reader import PARQUET, PARQUET_ROWS, SEPARATORS, Reader
from keras_ctr.datasets.cutting import check_split, cut, generator
from keras_ctr.datasets.sources import SPLITS, Source
from keras_ctr.features.columns import Time
from keras_ctr.features.schema import Schema
from keras_ctr.features.times import stamps
from keras_ctr.features.tokens import hashed, labels, tokens

WILD = "*?["  # characters of a pattern of file names
LOOKED_AT = 8  # files, to tell what their columns are
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # what writers of partitions call a missing value


class Files(Source):
    """Rows with named columns in .csv, .tsv, .txt (tab separated, with a header) or .parquet files.

    A path is a file, a pattern such as `"logs/*.csv"`, or a folder. A folder that has files or
    folders called `train`, and maybe `valid` and `test`, is these parts; of any other, all data
    files in it and below are read in the order of their names. Folders called `column=value`, as
    Hive and Spark partition data, give the files below them a column. What is missing is cut from
    train.

    Args:
        path: the file, pattern or folder.
        schema: `Schema` of the columns.
        valid: fraction of the rows cut for validation, where there are no such files.
        test: fraction of the rows cut for the test, where there are no such files.
        seed: fixes the rows that are cut.
        split: `"random"`: each row goes to test with probability `test`, to valid with probability
            `valid`. `"group"`: each group of the schema does, so that no group is in two parts.
            `Time("column")`: the newest rows are for the test, those before them for validation.
    """

    name = None  # an encoder fitted here reads any table with the columns of its schema
    title = "files"
    revision = 2
    resumable = True

    def __init__(self, path, schema, valid=0.1, test=0.1, seed=0, split="random"):
        check_fractions(valid, test)
        check_split(split, schema.group)
        if isinstance(split, Time) and split.name not in schema.columns:
            raise unknown("column in `split`:", split.name, schema.columns)
        self.path, self.valid, self.test, self.seed = str(path), valid, test, seed
        self._split = split
        self._schema = schema
        self.inferred = bool(schema.guesses)
        self._paths = split_files(path)

    def schema(self):
        return self._schema

    @property
    def options(self):
        options = {"schema": self._schema.to_dict()}
        options |= {name: getattr(self, name) for name in ("valid", "test", "seed")}
        if isinstance(self._split, Time):
            return options | {"split": {"time": self._split.name, "unit": self._split.unit}}
        return options if self._split == "random" else options | {"split": self._split}

    def locate(self, root, cache):
        return self.path

    def files(self, root):
        return [path for paths in self._paths.values() for path in paths]

    def frames(self, root, reader):
        numbers = self.numbers()
        if reader.on_bad_rows == "error":  # all wrong labels are looked at before one is named
            numbers.remove(self._schema.label)
        for split, paths in self._paths.items():
            is_cut = split == "train" and any(self._cut.values())
            for path in paths:
                rows = reader.rows_before(path)
                for frame in read_file(path, reader, self._schema.columns, numbers, self.inferred):
                    self._check_labels(path, frame, rows)
                    rows += len(frame)
                    yield (None if is_cut else split), frame

    @property
    def decided_by(self):
        if isinstance(self._split, Time):
            return (self._split.name,)
        return (self._schema.label if self._split == "random" else self._schema.group,)

    def split(self, frames):
        if isinstance(self._split, Time):
            splits = self._by_time(frames)
        else:
            rng = generator(self.seed)
            drawn = (
                rng.random(len(frame)) if self._split == "random" else self._drawn(frame)
                for frame in frames
            )
            ends = np.cumsum([self._cut.get("test", 0), self._cut.get("valid", 0)])
            places = np.concatenate([np.searchsorted(ends, at, "right") for at in drawn])
            splits = np.array([2, 1, 0], np.int8)[places]
        for name, fraction in self._cut.items():
            if fraction and not (splits == SPLITS.index(name)).any():
                raise ValueError(
                    f"`{name}={fraction}` of {self.path} is no row. Received: {len(splits)} rows"
                )
        return np.split(splits, np.cumsum([len(frame) for frame in frames])[:-1])

    def _by_time(self, frames):
        name, unit = self._split.name, self._split.unit
        seconds = np.concatenate([stamps(frame[name], name, unit=unit) for frame in frames])
        fractions = {name: self._cut[name] for name in ("test", "valid") if self._cut.get(name)}
        splits = np.zeros(len(seconds), np.int8)
        frame = pl.DataFrame({name: seconds})
        for part, rows in cut(frame, fractions, Time(name, unit="s")).items():
            splits[rows] = SPLITS.index(part)
        return splits

    @property
    def _cut(self):
        """`{part: fraction}` of what is cut from train."""
        return {name: getattr(self, name) for name in ("valid", "test") if name not in self._paths}

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


def is_pattern(path):
    """Whether a path names files by a pattern."""
    return any(character in str(path) for character in WILD) and not Path(path).exists()


def split_files(path):
    """Returns `{split: [paths]}` of a file, a pattern or a folder, see `Files`.

    Raises:
        ValueError: a format that cannot be read, two of a name, nothing to read.
        FileNotFoundError: a pattern that fits no file.
    """
    if is_pattern(path):
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        files = [file for at in found for file in ([at] if at.is_file() else _below(at))]
        if not files:
            raise FileNotFoundError(f"There is no file that fits {path}")
        for file in files:
            _check_suffix(file)
        return {"train": list(dict.fromkeys(files))}
    path = Path(path)
    if path.is_file():
        _check_suffix(path)
        return {"train": [path]}
    parts = {}
    for at in sorted(path.iterdir()):
        split = at.name.split(".")[0]
        if split in SPLITS and (at.is_dir() or _is_data(at)):
            if split in parts:
                raise ValueError(
                    f"{path} must hold one {split} file. Received: {parts[split].name}, {at.name}"
                )
            parts[split] = at
    if "train" not in parts and parts:
        raise FileNotFoundError(f"{path} must hold train beside {', '.join(parts)}.")
    found = {name: parts[name] for name in SPLITS if name in parts} or {"train": path}
    found = {name: _below(at) if at.is_dir() else [at] for name, at in found.items()}
    for name, files in found.items():
        if not files:
            kinds = ", ".join([*SEPARATORS, *PARQUET])
            raise FileNotFoundError(
                f"{parts.get(name, path)} must hold data files, or files or folders called train, "
                f"valid, test ({kinds}; text plain or {', '.join(COMPRESSIONS)})."
            )
    return found


def _below(folder):
    """The data files in and below a folder, but for hidden ones and marks such as _SUCCESS."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and _is_data(path)
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    ]


def _is_data(path):
    return suffix(path) in SEPARATORS or suffix(path) in PARQUET


def partition(path):
    """The columns that the folders of a file tell, `{name: text or None}`: `day=2014-10-21`."""
    found = {}
    for part in Path(path).parts[:-1]:
        name, is_one, value = part.partition("=")
        if is_one and name:
            found[unquote(name)] = None if value == NO_VALUE else unquote(value)
    return found


def read_file(path, reader, columns, numbers, extra):
    """Yields the frames of a file with named columns, with those that its folders tell."""
    told = {name: value for name, value in partition(path).items() if name in columns}
    told = {name: value for name, value in told.items() if name not in reader.names(path)}
    inside = [name for name in columns if name not in told]
    for frame in reader.table(path, inside, [n for n in numbers if n in inside], extra=extra):
        texts = {
            name: pl.Series(name, [value], pl.String).new_from_index(0, len(frame))
            for name, value in told.items()
        }
        yield frame.with_columns(**texts).select(columns)


def infer_schema(path, label, group=None, on_bad_rows="error", weight=None):
    """Infers the `Schema` of such files from the first rows of train (`Schema.infer`).

    Of many files, from the first rows of eight of them, the first and the last among them.
    """
    paths = split_files(path)["train"]
    chosen = np.unique(np.linspace(0, len(paths) - 1, LOOKED_AT).round().astype(int))
    reader, frames = Reader(on_bad_rows), []
    for path in [paths[at] for at in chosen]:
        names = list(dict.fromkeys([*reader.names(path), *partition(path)]))
        for name in (label, group, weight):
            if name is not None and name not in names:
                raise unknown("column", name, names)
        first = next(read_file(path, reader, names, (), False), None)
        if first is not None:
            frames.append(first.head(PARQUET_ROWS // len(chosen)) if len(paths) > 1 else first)
    if not frames:
        raise ValueError(f"{paths[0]} must hold rows. Received: a header only")
    if len({tuple(sorted(frame.columns)) for frame in frames}) > 1:
        raise ValueError(
            f"All files must have the same columns. Received: {', '.join(frames[0].columns)} in "
            f"{paths[0]}, others in another"
        )
    rows = pl.concat([frame.select(frames[0].columns) for frame in frames], how="vertical_relaxed")
    return Schema.infer(rows, label=label, group=group, weight=weight)


def _check_suffix(path):
    if suffix(path) not in SEPARATORS and suffix(path) not in PARQUET:
        known = ", ".join([*SEPARATORS, *PARQUET])
        raise ValueError(f"A data file must end in one of {known}. Received: {path}")
