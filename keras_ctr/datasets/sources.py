"""`Source`: what one data set is, as raw files that become frames. One subclass per data set."""

import inspect
import os
from pathlib import Path

from keras_ctr.datasets._raw.compression import COMPRESSIONS
from keras_ctr.features.columns import Bag, Categorical, Sequence, Time, Vector

SPLITS = ("train", "valid", "test")


class Source:
    """Base of the data sets: describes raw files and yields their rows.

    `datasets.load` and `datasets.prepare` take an object of a class of your own in the place of a
    name; what they write is kept in the cache under the class's name and its options.

    >>> import polars as pl
    >>> from keras_ctr import Categorical, Schema, Source, datasets
    >>> class Coins(Source):
    ...     def __init__(self, throws=100):
    ...         self.throws = throws
    ...     def schema(self):
    ...         return Schema([Categorical("hand")], label="heads")
    ...     def frames(self, root, reader):
    ...         for split in ("train", "valid", "test"):
    ...             hands = ["left", "right"] * self.throws
    ...             yield split, pl.DataFrame({"hand": hands, "heads": [0, 1] * self.throws})
    >>> train, valid, test = datasets.load(Coins(throws=5))
    >>> train.num_rows, train.schema["hand"].size
    (10, 4)

    A subclass stores the arguments of its constructor under their own names: they are the
    options of `datasets.load`, and part of the key under which the prepared data are kept.

    Attributes:
        name: name of the data set.
        revision: raised when the same options come to mean other rows, so that data prepared by
            an older version are not taken for them.
        folders: names of the folders looked for below `$KERAS_CTR_DATA` and the cache's `raw`.
        extras: names of float columns that `frames` yields beside those of the schema.
        get: what to download, from where: the sentence shown when the files are missing.
        downloads: `downloading.Download` objects, of which `download=True` fetches the files.
        forbids: why they are not fetched, where the terms of the data set do not allow it.
        decided_by: names of columns that tell the split of rows that `frames` yields without one.
        resumable: whether `frames` yields one frame for each frame of the reader, whatever came
            before, so that a killed `prepare` need not read again what it has read.
    """

    name = None
    revision = 1
    folders = ()
    extras = ()
    get = ""
    downloads = ()
    forbids = ""
    decided_by = ()
    resumable = False

    def schema(self):
        """Returns the `Schema`, not sized, with all options of encoding."""
        raise NotImplementedError

    def files(self, root):
        """Returns the paths that `frames` reads; none for generated data.

        Raises:
            FileNotFoundError: a file is missing.
        """
        return []

    def frames(self, root, reader):
        """Yields `(split, frame)`, split one of train, valid, test: one pass over all rows.

        Every pass yields the same rows in the same order. A frame is a `polars.DataFrame` with the
        columns of the schema (and `extras`), small enough to hold many times over in memory. Where
        a split is `None`, the method `split` tells it when all rows have been read.

        Args:
            root: folder (or file) of the raw data; `None` if there is none.
            reader: `Reader` with which to read them.
        """
        raise NotImplementedError

    def split(self, frames):
        """Returns the splits of the rows that `frames` yields without one.

        Args:
            frames: list of such frames, in order, with the columns `decided_by` alone.

        Returns:
            Per frame, an int8 array `(rows,)` of 0 (train), 1 (valid) and 2 (test).
        """
        raise NotImplementedError

    def row_numbers(self, split):
        """Returns the numbers of the rows of a split, an array for messages, if it is one frame.

        `None`: they are counted, frame by frame.
        """
        return None

    def known(self, frame):
        """Returns what of a frame the encoder is fitted on: the columns of the schema."""
        return frame.select(self.schema().columns)

    def raw(self, frame):
        """Adds derived columns to a frame in the raw format. The identity by default."""
        return frame

    def read(self, path, reader):
        """Yields the frames of one file in the raw format, as for prediction: a label is optional.

        By default the file has named columns (.csv, .tsv, .parquet); others are left out.
        """
        for frame in read_table(self.schema(), path, reader):
            yield self.raw(frame)

    def numbers(self):
        """Names of the columns that text files must spell as numbers."""
        return numeric_columns(self.schema())

    @property
    def title(self):
        """What the prepared data are called in the cache."""
        return self.name or type(self).__name__.lower()

    @property
    def options(self):
        """`{option: value}`, as JSON can hold them."""
        return {name: getattr(self, name) for name in option_names(type(self))}

    def find(self, root, *stems, alone=False):
        """Returns the file `root / stem`, plain or compressed.

        Args:
            root: folder of the raw data.
            stems: names of the file without the ending of a compression, in order of preference.
            alone: whether it is the only file of the data set, so that `root` may be the file.

        Raises:
            FileNotFoundError: there is none; says what to get and where to put it.
        """
        root = Path(root)
        if alone and root.is_file():
            return root
        for stem in stems:
            for ending in ("", *COMPRESSIONS):
                path = root / (stem + ending)
                if path.is_file():
                    return path
        raise FileNotFoundError(
            f"{self.name} needs the file {' or '.join(stems)} (plain or "
            f"{', '.join(COMPRESSIONS)}) in {root}. {self.get}".strip()
        )

    def locate(self, root, cache):
        """Returns the folder (or file) of the raw data: `root`, or the first of the usual places.

        Raises:
            FileNotFoundError: no such folder; says what to get and where to put it.
        """
        if root is not None:
            if not Path(root).exists():
                raise FileNotFoundError(f"`root` must exist. Received: root={str(root)!r}")
            return Path(root)
        if not self.folders:
            return None
        homes = [Path(cache) / "raw"]
        if os.environ.get("KERAS_CTR_DATA"):
            homes.insert(0, Path(os.environ["KERAS_CTR_DATA"]))
        for home in homes:
            for folder in self.folders:
                if (home / folder).is_dir():
                    return home / folder
        raise FileNotFoundError(
            f"The raw files of {self.name} are not here. {self.get} Put them in "
            f"{homes[0] / self.folders[0]}, or give their folder as `root`."
        )


def option_names(source):
    """Names of the constructor's arguments of a `Source` class."""
    return [name for name in inspect.signature(source).parameters]


def numeric_columns(schema):
    """Names of the columns whose raw values are numbers: quantities, cut ones, ids, the label."""
    names = [name for name in (schema.label, schema.weight) if name is not None]
    for feature in schema:
        if isinstance(feature, Sequence | Bag | Vector | Time):
            continue
        is_name = isinstance(feature, Categorical) and feature.buckets is None
        if not (is_name and (feature.size is None or feature.hash_size is not None)):
            names.append(feature.name)
    return names


def read_table(schema, path, reader):
    """Yields the frames of a file with named columns, of which only the features must be there."""
    names = [feature.name for feature in schema]
    optional = [name for name in schema.columns if name not in names]
    return reader.table(path, schema.columns, numeric_columns(schema), optional, extra=True)


def chosen_schema(schema, label, group, infer, weight=None):
    """Returns `schema`, or what `infer` returns where there is none.

    Raises:
        ValueError: neither a schema nor a label, or a label or group other than the schema's.
    """
    if schema is None:
        if label is None:
            raise ValueError("`label` must name the label column. Received: label=None, no schema")
        return infer()
    given = {"label": label, "group": group, "weight": weight}
    for role, name in given.items():
        if name not in (None, getattr(schema, role)):
            raise ValueError(
                f"`label`, `group` and `weight` must be those of the schema, {schema.label!r}, "
                f"{schema.group!r} and {schema.weight!r}. Received: {role}={name!r}"
            )
    return schema
