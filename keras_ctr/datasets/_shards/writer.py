"""`Writer`: writes a shard store (see `_store`), whole or not at all. No Keras, no pickle."""

import contextlib
import json
import os
import re
import shutil
import socket
import time
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_ctr._version import __version__
from keras_ctr.datasets._shards.checking import file_crc32, signed, taken_up
from keras_ctr.datasets._shards.split import bounds
from keras_ctr.datasets._shards.store import FORMAT, MANIFEST
from keras_ctr.datasets.sources import SPLITS

SHARD_ROWS = 2**19  # 80 MB of Criteo ids
SHARDS = "shards.jsonl"  # in an unfinished store: the shards that are whole
KEPT_SECONDS = 7 * 24 * 3600


class Writer:
    """Writes a store: `with Writer(folder, ...) as writer`, then `add` encoded frames.

    The folder appears when the block ends, whole; it does not appear if the block fails. Where
    another process was faster, its folder stays.

    Args:
        folder: where the store will be.
        encoder: the fitted `Encoder`.
        facts: further entries of the manifest (source, options, key).
        work: where it is written until it is whole; shards that a killed run has left there are
            kept, see `written`. By default, a new folder.

    Raises:
        OSError: the folder cannot be written, a full disk for example.
    """

    def __init__(self, folder, encoder, facts, work=None):
        self.folder = Path(folder)
        self.encoder = encoder
        self._work = work
        self._facts = facts
        self._splits = {}
        self._waiting = {}
        self._writing = None  # the shard that is being written, while the next one is made

    def __enter__(self):
        self._temporary = self._work or unfinished(self.folder)
        with self._cleaning(), writing(self.folder):
            self._temporary.mkdir(parents=True, exist_ok=True)
            self.encoder.save(self._temporary / "encoder")
            self._take_up()
            self._journal = open(self._temporary / SHARDS, "a", encoding="utf-8")  # noqa: SIM115
        self._pool = ThreadPoolExecutor(1)
        return self

    def __exit__(self, kind, error, trace):
        with self._cleaning(error), self._journal, self._pool:
            if error is None:
                for split, waiting in list(self._waiting.items()):
                    if waiting or not self._has_shards(split):
                        self._write_shard(split)
                self._wait()
                with writing(self.folder):
                    self._finish()

    @contextlib.contextmanager
    def _cleaning(self, error=None):
        """Where something fails, removes what has been written, unless it may be gone on with."""
        try:
            yield
        except BaseException as failure:
            error = failure
            raise
        finally:
            if error is not None and self._work is None:
                shutil.rmtree(self._temporary, ignore_errors=True)

    def written(self, split):
        """How many rows of a split a killed run has left, whole: they need not be added again."""
        entry = self._splits.get(split)
        return sum(shard["rows"] for shard in entry["shards"]) if entry else 0

    def shards(self):
        """Yields `(split, arrays)` of the shards that a killed run has left, memory-mapped."""
        for split, entry in self._splits.items():
            for shard in entry["shards"]:
                paths = {key: self._temporary / e["file"] for key, e in shard["arrays"].items()}
                yield split, {key: np.load(path, mmap_mode="r") for key, path in paths.items()}

    def add(self, split, arrays, skipped_rows=0):
        """Appends encoded rows to a split.

        Args:
            split: "train", "valid" or "test".
            arrays: what `Encoder.encode` returns, with `"extra:<name>"` arrays if there are any.
            skipped_rows: malformed rows left out since the last call.
        """
        entry = self._entry(split)
        entry["skipped_rows"] += skipped_rows
        waiting = self._waiting.setdefault(split, [])
        if len(arrays["label"]):
            waiting.append(arrays)
        if sum(len(arrays["label"]) for arrays in waiting) >= SHARD_ROWS:
            self._write_shard(split)

    def skip(self, split, skipped_rows):
        """Counts malformed rows among those that are `written`."""
        self._entry(split)["skipped_rows"] += skipped_rows

    def _entry(self, split):
        empty = {"rows": 0, "positives": 0, "skipped_rows": 0, "shards": []}
        return self._splits.setdefault(split, empty)

    def _has_shards(self, split):
        self._wait()
        return bool(self._splits[split]["shards"])

    def _write_shard(self, split):
        """Begins to write what waits, when the shard before is written."""
        self._wait()
        number = len(self._entry(split)["shards"])
        job = self._pool.submit(self._shard, split, number, self._waiting.pop(split))
        self._writing = split, job

    def _wait(self):
        """Waits for the shard that is being written, and lists it."""
        if self._writing is None:
            return
        (split, job), self._writing = self._writing, None
        with writing(self.folder):
            clicks, shard = job.result()
            self._journal.write(json.dumps([split, clicks, shard]) + "\n")
            self._journal.flush()
        self._count(split, clicks, shard)

    def _shard(self, split, number, waiting):
        """Writes a shard; returns its clicks and its entry in the manifest."""
        keys = self.encoder.schema.bounds()
        shard = {"rows": sum(len(arrays["label"]) for arrays in waiting), "arrays": {}}
        for at, key in enumerate(waiting[0]):
            stem = key if key in ("ids", "values", "label", "group") else f"column{at}"
            path = self._temporary / f"{split}-{number:05d}-{stem}.npy"
            entry = _write_array(path, [arrays[key] for arrays in waiting])
            if key in keys:
                entry["bounds"] = _joined([bounds(arrays[key]) for arrays in waiting])
            shard["arrays"][key] = entry
        return sum(int(arrays["label"].sum()) for arrays in waiting), shard

    def _count(self, split, clicks, shard):
        entry = self._entry(split)
        entry["shards"].append(shard)
        entry["rows"] += shard["rows"]
        entry["positives"] += clicks

    def _take_up(self):
        """Counts the shards that a killed run has listed, as far as they are whole."""
        for split, clicks, shard in taken_up(self._temporary / SHARDS, self._shard_is_whole):
            self._count(split, clicks, shard)

    def _shard_is_whole(self, at, listed):
        _, _, shard = listed
        return all(map(self._is_whole, shard["arrays"].values()))

    def _is_whole(self, entry):
        path = self._temporary / entry["file"]
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            return False
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return zlib.crc32(np.ascontiguousarray(array)) == entry["crc32"]

    def _finish(self):
        encoder = sorted((self._temporary / "encoder").iterdir())
        manifest = {
            "format": FORMAT,
            "keras_ctr": __version__,
            **self._facts,
            "schema": self.encoder.schema.to_dict(),
            "encoder": {path.name: file_crc32(path) for path in encoder},
            "splits": {name: self._splits[name] for name in SPLITS if name in self._splits},
        }
        with open(self._temporary / MANIFEST, "w", encoding="utf-8") as file:
            json.dump(signed(manifest), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.unlink(self._temporary / SHARDS)
        try:
            os.replace(self._temporary, self.folder)
        except OSError:
            if not (self.folder / MANIFEST).is_file():
                raise
            shutil.rmtree(self._temporary)  # another process wrote the same data first


@contextlib.contextmanager
def writing(folder):
    """Makes an `OSError` one that says what could not be written."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"The data set could not be written to {folder} ({error.strerror or error}). "
            "What was written of it has been removed",
        ) from error


def _write_array(path, parts):
    """Writes arrays one below the other as one `.npy` file; returns its entry in the manifest."""
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    head = {"descr": np.lib.format.dtype_to_descr(parts[0].dtype), "fortran_order": False}
    crc32 = 0
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, head | {"shape": shape})
        for part in parts:
            part = np.ascontiguousarray(part)
            file.write(part.data)
            crc32 = zlib.crc32(part, crc32)
        file.flush()
        os.fsync(file.fileno())
    entry = {"file": path.name, "dtype": str(parts[0].dtype), "shape": list(shape)}
    return entry | {"bytes": path.stat().st_size, "crc32": crc32}


def _joined(parts):
    """The bounds of columns, of those of their parts."""
    found = np.array(parts)
    return np.stack([found[:, :, 0].min(axis=0), found[:, :, 1].max(axis=0)], axis=1).tolist()


def unfinished(folder):
    """Where this process may write what becomes a folder; others know it by its name."""
    mine = f"{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    return folder.parent / f".{folder.name}.{mine}.unfinished"


def resumable(folder, key):
    """Where the holder of the lock of a folder writes what becomes it, from run to run."""
    return folder.parent / f".{folder.name}.{key}.unfinished"


def sweep(folder, key=None):
    """Removes what killed runs of this machine have left beside a folder.

    Unfinished work of processes that live stays, that of other machines, and what can be gone on
    with: its own under this key, and that of other folders for a week.

    Args:
        folder: where a store is to be written.
        key: that of its data, where its lock is held.
    """
    name = re.compile(rf"\..+\.{re.escape(_host())}-(?P<pid>\d+)-[0-9a-f]{{8}}\.unfinished")
    own = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{16}}\.unfinished")
    other = re.compile(r"\..+\.[0-9a-f]{16}\.unfinished")
    for path in folder.parent.glob(".*.unfinished") if folder.parent.is_dir() else ():
        found = name.fullmatch(path.name)
        if found:
            old = not _lives(int(found["pid"]))
        elif own.fullmatch(path.name):
            old = key is not None and path != resumable(folder, key)
        else:
            old = other.fullmatch(path.name) and _age(path) > KEPT_SECONDS
        if old:
            shutil.rmtree(path, ignore_errors=True)


def _age(path):
    """Seconds since the newest file of a folder was changed."""
    times = [found.stat().st_mtime for found in path.rglob("*") if found.is_file()]
    return time.time() - max(times, default=path.stat().st_mtime)


def _host():
    """The name of this machine, without dots, so that it is a part of a file's name by itself."""
    return socket.gethostname().replace(".", "_")


def _lives(pid):
    if os.name == "nt":  # where signal 0 is not a question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True
