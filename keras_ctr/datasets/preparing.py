"""From a `Source` to a shard store, unless it is there already."""

import hashlib
import json
import shutil
from pathlib import Path

from keras_ctr._cache import cache_folder
from keras_ctr.datasets._heap import kept_heap
from keras_ctr.datasets._raw.reader import Reader
from keras_ctr.datasets._shards.encode import encode_staged
from keras_ctr.datasets._shards.lock import only_one
from keras_ctr.datasets._shards.store import FORMAT, MANIFEST, read_manifest
from keras_ctr.datasets._shards.writer import resumable, sweep, unfinished
from keras_ctr.datasets.downloading import fetch
from keras_ctr.datasets.progress import Progress

REST = 0.5  # of the time of reading is what comes after it, for the progress


def key(source, root, on_bad_rows):
    """What the prepared data depend on, as a hash: source, options, schema, the state of files."""
    files = [
        (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
        for path in map(Path, source.files(root))
    ]
    facts = [FORMAT, source.name, source.revision, source.options, source.schema().to_dict()]
    facts += [files, on_bad_rows]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def prepare(source, root=None, out=None, on_bad_rows="error", cache=None, download=False):
    """Writes the store of a source unless it is there already, and returns its folder.

    Args:
        source: a `Source`.
        root: folder (or file) of its raw data; by default the usual places.
        out: folder of the store; by default one below the cache.
        on_bad_rows: `"error"` or `"skip"`.
        cache: folder of prepared data; by default `cache_folder()`.
        download: whether missing raw files are downloaded, see `downloading.fetch`.

    Raises:
        ValueError: bad rows, or `out` holds something else.
        FileNotFoundError: raw files that are missing.
        OSError: the store cannot be written.
    """
    reader = Reader(on_bad_rows)
    if download:
        root = fetch(source, root, cache_folder(cache))
    else:
        root = source.locate(root, cache_folder(cache))
    data_key = key(source, root, on_bad_rows)
    folder = Path(out) if out else cache_folder(cache) / f"{source.title}-{data_key}"
    if not folder.name:  # of "."
        folder = folder.resolve()
    if (folder / MANIFEST).is_file() and _is_there(folder, data_key):
        return folder
    with only_one(folder) as alone:
        if not _is_there(folder, data_key):  # or another process has written it meanwhile
            _write(source, root, folder, reader, data_key, alone)
    return folder


def _is_there(folder, data_key):
    """Whether a folder holds the data set; raises `ValueError` if it holds anything else."""
    if (folder / MANIFEST).is_file():
        if read_manifest(folder).get("key") != data_key:
            raise ValueError(
                f"`out` must be a new folder, or hold this very data set. Received: {folder}, "
                "prepared from other files, options or a schema of its own"
            )
        return True
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"`out` must be a new or empty folder. Received: {folder}")
    return False


def _write(source, root, folder, reader, data_key, alone):
    sweep(folder, data_key if alone else None)
    work = resumable(folder, data_key) if alone else unfinished(folder)
    sizes = sum(Path(path).stat().st_size for path in source.files(root))
    facts = {"source": source.name, "options": source.options, "key": data_key}

    def same():
        return key(source, root, reader.on_bad_rows) == data_key

    try:
        title = f"Preparing {source.title}"
        with kept_heap(), Progress(title, sizes * (1 + REST)) as progress:
            reader.progress = progress.advance
            done = lambda share: progress.advance(share * sizes * REST)  # noqa: E731
            encode_staged(source, root, reader, folder, facts, work, done, same)
    except Exception:  # but not where it is stopped: then it goes on from there the next time
        shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)
