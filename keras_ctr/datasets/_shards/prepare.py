"""From a `Source` to a shard store, in two passes: fit the encoder on train, encode everything."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from keras_ctr.datasets._progress import Progress
from keras_ctr.datasets._raw.reader import Reader
from keras_ctr.datasets._shards.store import FORMAT, MANIFEST, read_manifest
from keras_ctr.datasets._shards.writer import Writer
from keras_ctr.features.encoder import Encoder

PASSES = 2


def cache_folder(cache=None):
    """`cache`, else `$KERAS_CTR_CACHE`, else `~/.cache/keras_ctr`."""
    return Path(cache or os.environ.get("KERAS_CTR_CACHE") or Path.home() / ".cache" / "keras_ctr")


def key(source, root, on_bad_rows):
    """What the prepared data depend on, as a hash: source, options, schema, the state of files."""
    files = [
        (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
        for path in map(Path, source.files(root))
    ]
    facts = [FORMAT, source.name, source.revision, source.options, source.schema().to_dict()]
    facts += [files, on_bad_rows]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def prepare(source, root=None, out=None, on_bad_rows="error", cache=None):
    """Writes the store of a source unless it is there already, and returns its folder.

    Args:
        source: a `Source`.
        root: folder (or file) of its raw data; by default the usual places.
        out: folder of the store; by default one below the cache.
        on_bad_rows: `"error"` or `"skip"`.
        cache: folder of prepared data; by default `cache_folder()`.

    Raises:
        ValueError: bad rows, or `out` holds something else.
        FileNotFoundError: raw files that are missing.
        OSError: the store cannot be written.
    """
    reader = Reader(on_bad_rows)
    root = source.locate(root, cache_folder(cache))
    data_key = key(source, root, on_bad_rows)
    folder = Path(out) if out else cache_folder(cache) / f"{source.title}-{data_key}"
    if (folder / MANIFEST).is_file():
        if read_manifest(folder).get("key") != data_key:
            raise ValueError(
                f"`out` must be a new folder, or hold this very data set. Received: {folder}, "
                "prepared from other files, options or a schema of its own"
            )
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"`out` must be a new or empty folder. Received: {folder}")
    _write(source, root, folder, reader, data_key)
    return folder


def _write(source, root, folder, reader, data_key):
    sizes = sum(Path(path).stat().st_size for path in source.files(root))
    with Progress(f"Preparing {source.title}", sizes * PASSES) as progress:
        reader.progress = progress.advance
        schema = source.schema()
        encoder = Encoder(schema, source=source.name)
        encoder.fit(
            frame.select(schema.columns)
            for split, frame in progress.over(source.frames(root, reader))
            if split == "train"
        )
        facts = {"source": source.name, "options": source.options, "key": data_key}
        rows, reader.skipped = {}, 0
        with Writer(folder, encoder, facts) as writer:
            for split, frame in progress.over(source.frames(root, reader)):
                first = rows.get(split, 0)
                arrays = encode(encoder, split, frame, source.extras, first)
                writer.add(split, arrays, reader.skipped)
                rows[split], reader.skipped = first + len(frame), 0


def encode(encoder, split, frame, extras=(), first_row=0):
    """Encodes training data: like `Encoder.encode`, but labels must be there, and extras come too.

    Raises:
        ValueError: as `Encoder.encode`; the message names the split.
    """
    schema = encoder.schema
    absent = [n for n in (schema.label, schema.group) if n is not None and n not in frame.columns]
    if absent:
        raise ValueError(f"The {split} rows must have the columns {', '.join(absent)}.")
    try:
        arrays = encoder.encode(frame, first_row=first_row)
    except ValueError as error:
        raise ValueError(f"In {split}: {error}") from error
    for name in extras:
        arrays[f"extra:{name}"] = frame[name].to_numpy().astype(np.float32)
    return arrays


def chosen_schema(schema, label, group, infer):
    """Returns `schema`, or what `infer` returns where there is none.

    Raises:
        ValueError: neither a schema nor a label, or a label or group other than the schema's.
    """
    if schema is None:
        if label is None:
            raise ValueError("`label` must name the label column. Received: label=None, no schema")
        return infer()
    if label not in (None, schema.label) or group not in (None, schema.group):
        raise ValueError(
            f"`label` and `group` must be those of the schema, {schema.label!r} and "
            f"{schema.group!r}. Received: label={label!r}, group={group!r}"
        )
    return schema
