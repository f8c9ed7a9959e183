"""Data sets: `load` a known one, a file or a folder; `from_pandas` takes a data frame.

    train, valid, test = keras_ctr.datasets.load("frappe_x1", root="folder of its raw files")

Each is a `Dataset`, a `keras.utils.PyDataset` that knows its schema. Raw files are encoded once, to
a folder of memory-mapped shards in the cache. `SOURCES` is the table of contents.
"""

import importlib
from pathlib import Path

from keras_ctr._checks import require_choice, unknown

SOURCES = {
    "synthetic": "keras_ctr.datasets.synthetic:Synthetic",
    "frappe_x1": "keras_ctr.datasets.frappe_x1:Frappe",
    "criteo_x4": "keras_ctr.datasets.criteo_x4:Criteo",
    "avazu_x4": "keras_ctr.datasets.avazu_x4:Avazu",
    "movielens_100k": "keras_ctr.datasets.movielens_100k:MovieLens100K",
    "amazon_beauty": "keras_ctr.datasets.amazon_beauty:AmazonBeauty",
    "criteo_x1": "keras_ctr.datasets.criteo_x1:CriteoX1",
    "avazu_x1": "keras_ctr.datasets.avazu_x1:AvazuX1",
    "kkbox_x1": "keras_ctr.datasets.kkbox_x1:KKBox",
    "movielenslatest_x1": "keras_ctr.datasets.movielenslatest_x1:MovieLensLatest",
    "movielens_1m": "keras_ctr.datasets.movielens_1m:MovieLens1M",
    "taobao_ad_x1": "keras_ctr.datasets.taobao_ad_x1:TaobaoAd",
    "amazon_electronics_x1": "keras_ctr.datasets.amazon_electronics_x1:AmazonElectronics",
    "amazon_sports": "keras_ctr.datasets.amazon_sports:AmazonSports",
    "amazon_toys": "keras_ctr.datasets.amazon_toys:AmazonToys",
    "microvideo_x1": "keras_ctr.datasets.microvideo_x1:MicroVideo",
    "kuaivideo_x1": "keras_ctr.datasets.kuaivideo_x1:KuaiVideo",
    "criteo_1tb": "keras_ctr.datasets.criteo_1tb:Criteo1TB",
}

_LAZY = {
    "Dataset": "keras_ctr.datasets.reader",
    "Source": "keras_ctr.datasets.sources",
    "describe": "keras_ctr.datasets.describing",
    "synthesize": "keras_ctr.datasets.synthesis",
}


def names():
    """Returns the names that `load` knows."""
    return list(SOURCES)


def source(name):
    """Returns the `Source` class of a data set by its name."""
    if name not in SOURCES:
        raise unknown("data set", name, SOURCES)
    module, _, class_name = SOURCES[name].partition(":")
    return getattr(importlib.import_module(module), class_name)


def load(
    name_or_path,
    root=None,
    *,
    batch_size=None,
    seed=0,
    cache=None,
    on_bad_rows="error",
    check="once",
    download=False,
    **options,
):
    """Loads a data set and returns `(train, valid, test)`.

    The first time, raw files are encoded to a folder in the cache, whose key is made of the
    source, the options and the state of the files; afterwards that folder is opened.

    Args:
        name_or_path: one of `names()`; or an object of a `Source` class of your own; or a folder
            that `prepare` wrote; or a .csv, .tsv, .txt or .parquet file (text may be compressed:
            .gz, .xz, .bz2, .zip), of which parts are cut for validation and test; or many: a
            pattern such as `"logs/*.csv"`, or a folder of files, whose folders called
            `column=value` are columns; or a folder with train, valid and test files or folders (a
            missing valid or test is cut from train).
        root: folder of the raw files of a known data set (or its only file). By default
            `$KERAS_CTR_DATA/<name>`, then `raw/<name>` in the cache.
        batch_size: rows per batch; by default 4096, and for files of your own a power of two near
            1/128 of the training rows, from 32 to 4096.
        seed: fixes the order of training rows, the parts cut from a file, and generated data.
        cache: folder of prepared data; by default `$KERAS_CTR_CACHE`, else `~/.cache/keras_ctr`.
        on_bad_rows: `"error"`, or `"skip"` to leave malformed rows out (`dataset.skipped_rows`).
        check: when a prepared file is compared with its checksum (a second for 2 GB): `"once"`,
            before it is first used, and not again until its inode, size or time of change is
            another; `"always"`, in every process; or `"never"`.
        download: whether the raw files of a known data set are downloaded where they are missing,
            to `root` or `raw/<name>` in the cache. Needs the extra `hub` or `data`; where the terms
            of a data set forbid it, the error says how to get the files by hand.
        **options: those of the data set; for files `label` (required), `group`, `weight`,
            `schema`, `valid` and `test` (fractions of the rows), and `split`, see `from_pandas`.

    Returns:
        Three `Dataset` objects; only training batches are shuffled. `None` stands for a part of
        a file whose fraction is 0.

    Raises:
        ValueError: an unknown name or option, bad rows, ids out of range; a prepared file that has
            changed, also later, when it is first read; a download that is forbidden, or whose
            checksum is wrong.
        FileNotFoundError: raw files that are missing; says what to get and where to put it.
        OSError: the cache cannot be written, a server not be reached.

    Example:

    >>> train, valid, test = load("synthetic", rows=1000)
    >>> batch, label = train[0]
    """
    from keras_ctr.datasets._shards.checking import WHEN
    from keras_ctr.datasets._shards.store import Store

    require_choice(WHEN, check=check)
    how = {"cache": cache, "on_bad_rows": on_bad_rows, "download": download}
    folder = prepare(name_or_path, root, seed=seed, **how, **options)
    store = Store(folder, check)
    if store.encoder.source is not None:
        batch_size = batch_size or 4096
    return _datasets(store.splits, store.encoder, batch_size, seed)


def prepare(
    name_or_path,
    root=None,
    out=None,
    *,
    seed=0,
    cache=None,
    on_bad_rows="error",
    download=False,
    **options,
):
    """Encodes a data set to a folder of shards, unless that is done already, and returns its path.

    Needs no backend. Args and errors as for `load`, and `out`: the folder to write; by default one
    in the cache.
    """
    from keras_ctr._checks import require_instance
    from keras_ctr.datasets._shards.store import MANIFEST
    from keras_ctr.datasets.sources import Source, option_names

    own = not isinstance(name_or_path, str | Path)
    if own:
        what = "a name, a path, or an object of `datasets.Source`"
        require_instance(Source, what, name_or_path=name_or_path)
    path = Path(name_or_path.title if own else name_or_path)
    if own:
        kind, known = type(name_or_path), []
    elif name_or_path in SOURCES:
        kind = source(name_or_path)
        known = option_names(kind)
    elif (path / MANIFEST).is_file():
        kind, known = None, []
    elif path.exists() or _is_pattern(name_or_path):
        kind, known = _user_files, ["label", "group", "weight", "schema", "valid", "test", "split"]
    elif path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"There is no such file or folder: {name_or_path}")
    else:
        raise unknown("data set", name_or_path, SOURCES)
    for option in options:
        if option not in known:
            raise unknown(f"option of {path if own else name_or_path}", option, known or ["(none)"])
    if download and kind in (None, _user_files):
        raise ValueError(
            "`download` must be False, but for a known data set or an object of `datasets.Source`. "
            f"Received: {name_or_path}"
        )
    if kind is None:
        return path
    if own:
        made = name_or_path
    elif kind is _user_files:
        made, root = _user_files(path, seed, on_bad_rows, **options), path
    else:
        made = kind(**options, **({"seed": seed} if "seed" in known else {}))
    from keras_ctr.datasets import preparing  # here: a prepared folder opens without polars

    return preparing.prepare(made, root, out, on_bad_rows, cache, download)


def from_pandas(
    df,
    schema=None,
    label=None,
    valid=0.1,
    test=0.1,
    *,
    group=None,
    weight=None,
    split="random",
    encoder=None,
    batch_size=None,
    seed=0,
):
    """Makes `(train, valid, test)` of a data frame, in memory.

    Args:
        df: pandas or polars data frame.
        schema: `Schema`, which must name every column; by default `Schema.infer` of the rows to
            train on, see `dataset.schema.describe()`.
        label: name of the label column; by default that of the schema.
        valid: fraction of the rows for validation, or a data frame of its own.
        test: the same for the test.
        group: name of the group column for `GAUC`, where there is no schema.
        weight: name of the column of sample weights, where there is no schema.
        split: which rows are held out: `"random"` ones; `"group"`: no group is in two parts;
            `Time("column")`: the newest for the test, those before them for validation.
        encoder: a fitted `Encoder` to use as it is; by default one is fitted on the training rows.
        batch_size: rows per batch; by default a power of two near 1/128 of the training rows, from
            32 to 4096.
        seed: fixes which rows are drawn, and the order of training rows.

    Returns:
        Three `Dataset` objects, `None` for a fraction of 0.

    Raises:
        ValueError: columns missing or not in the schema, values of the wrong kind, no rows.

    Example:

    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["Rome", "Oslo"] * 50, "click": [0, 1] * 50})
    >>> train, valid, test = from_pandas(df, label="click")
    >>> train.num_rows, valid.num_rows, test.num_rows
    (80, 10, 10)
    """
    from keras_ctr.datasets._raw.reader import Reader
    from keras_ctr.datasets._shards.encode import encode
    from keras_ctr.datasets._shards.memory import Memory
    from keras_ctr.datasets.frames import Frames

    given = schema if encoder is None else encoder.schema
    frames = Frames(df, given, label, group, valid, test, seed, weight, split)
    encoder, memory = encode(frames, None, Reader(), Memory, encoder=encoder)
    return _datasets(memory.splits, encoder, batch_size, seed)


def read_frames(path, encoder, on_bad_rows="error", progress=None):
    """Yields the rows of a raw file as data frames that `encoder.encode` takes: for prediction.

    Args:
        path: file in the raw format of the encoder's data set, or (for an encoder of a user's own
            data) with named columns: .csv, .tsv, .txt, .parquet. The label may be absent, and
            columns that the schema does not know are left out.
        encoder: fitted `Encoder`.
        on_bad_rows: `"error"` or `"skip"`.
        progress: called with the number of bytes read since the last call.

    Yields:
        `polars.DataFrame` of bounded size, in the order of the file.
    """
    from keras_ctr.datasets._raw.reader import Reader
    from keras_ctr.datasets.sources import read_table

    reader = Reader(on_bad_rows)
    if progress is not None:
        reader.progress = progress
    if encoder.source in SOURCES:
        return source(encoder.source)().read(path, reader)
    return read_table(encoder.given, path, reader)


def _is_pattern(path):
    from keras_ctr.datasets.files import is_pattern  # here: a prepared folder opens without polars

    return is_pattern(path)


def _user_files(path, seed, on_bad_rows, label=None, group=None, schema=None, weight=None, **cut):
    """The source of a user's file or folder."""
    from keras_ctr.datasets.files import Files, infer_schema
    from keras_ctr.datasets.sources import chosen_schema

    schema = chosen_schema(
        schema, label, group, lambda: infer_schema(path, label, group, on_bad_rows, weight), weight
    )
    return Files(path, schema, seed=seed, **cut)


def _datasets(splits, encoder, batch_size, seed):
    """The three splits as `Dataset` objects, `None` for an absent one."""
    from keras_ctr.datasets.reader import Dataset
    from keras_ctr.datasets.sizes import batch_size_for
    from keras_ctr.datasets.sources import SPLITS

    batch_size = batch_size or batch_size_for(splits["train"].rows)
    return tuple(
        Dataset(splits[name], encoder, batch_size, shuffle=name == "train", seed=seed)
        if name in splits
        else None
        for name in SPLITS
    )


def __getattr__(name):
    """`Dataset` and `Source`, which need polars or Keras: imported when they are first named."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'keras_ctr.datasets' has no attribute {name!r}")
