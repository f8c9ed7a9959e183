"""`Writer`: writes a shard store (see `_store`), whole or not at all. No Keras, no pickle."""

import json
import os
import re
import shutil
import socket
import uuid
import zlib
from pathlib import Path

import numpy as np

from keras_ctr._version import __version__
from keras_ctr.datasets._shards.checking import file_crc32, signed
from keras_ctr.datasets._shards.split import bounds
from keras_ctr.datasets._shards.store import FORMAT, MANIFEST
from keras_ctr.datasets.sources import SPLITS

SHARD_ROWS = 2**19  # 80 MB of Criteo ids


class Writer:
    """Writes a store: `with Writer(folder, ...) as writer`, then `add` encoded frames.

    The folder appears when the block ends, whole; it does not appear if the block fails. Where
    another process was faster, its folder stays.

    Args:
        folder: where the store will be.
        encoder: the fitted `Encoder`.
        facts: further entries of the manifest (source, options, key).

    Raises:
        OSError: the folder cannot be written, a full disk for example.
    """

    def __init__(self, folder, encoder, facts):
        self.folder = Path(folder)
        self.encoder = encoder
        self._facts = facts
        self._splits = {}
        self._waiting = {}

    def __enter__(self):
        sweep(self.folder.parent)
        mine = f"{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._temporary = self.folder.parent / f".{self.folder.name}.{mine}.unfinished"
        try:
            self._temporary.mkdir(parents=True)
            self.encoder.save(self._temporary / "encoder")
        except OSError as error:
            self._abandon(error)
        return self

    def __exit__(self, kind, error, trace):
        if error is None:
            try:
                self._finish()
            except OSError as failure:
                self._abandon(failure)
        else:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def add(self, split, arrays, skipped_rows=0):
        """Appends encoded rows to a split.

        Args:
            split: "train", "valid" or "test".
            arrays: what `Encoder.encode` returns, with `"extra:<name>"` arrays if there are any.
            skipped_rows: malformed rows left out since the last call.
        """
        entry = self._splits.setdefault(
            split, {"rows": 0, "positives": 0, "skipped_rows": 0, "shards": []}
        )
        entry["rows"] += len(arrays["label"])
        entry["positives"] += int(arrays["label"].sum())
        entry["skipped_rows"] += skipped_rows
        waiting = self._waiting.setdefault(split, [])
        waiting.append(arrays)
        if sum(len(arrays["label"]) for arrays in waiting) >= SHARD_ROWS:
            self._write_shard(split)

    def _write_shard(self, split):
        waiting = self._waiting.pop(split)
        keys = self.encoder.schema.bounds()
        shards = self._splits[split]["shards"]
        shard = {"rows": sum(len(arrays["label"]) for arrays in waiting), "arrays": {}}
        for at, key in enumerate(waiting[0]):
            array = np.concatenate([arrays[key] for arrays in waiting])
            stem = key if key in ("ids", "values", "label", "group") else f"column{at}"
            path = self._temporary / f"{split}-{len(shards):05d}-{stem}.npy"
            try:
                with open(path, "wb") as file:
                    np.save(file, array, allow_pickle=False)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                self._abandon(error)
            entry = {"file": path.name, "dtype": str(array.dtype), "shape": list(array.shape)}
            entry |= {"bytes": path.stat().st_size, "crc32": zlib.crc32(array)}
            if key in keys:
                entry["bounds"] = bounds(array)
            shard["arrays"][key] = entry
        shards.append(shard)

    def _finish(self):
        for split in list(self._waiting):
            self._write_shard(split)
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
        try:
            os.replace(self._temporary, self.folder)
        except OSError:
            if not (self.folder / MANIFEST).is_file():
                raise
            shutil.rmtree(self._temporary)  # another process wrote the same data first

    def _abandon(self, error):
        shutil.rmtree(self._temporary, ignore_errors=True)
        raise OSError(
            error.errno,
            f"The data set could not be written to {self.folder} ({error.strerror or error}). "
            "What was written of it has been removed",
        ) from error


def sweep(folder):
    """Removes what killed runs of this machine have left in a folder.

    Args:
        folder: where stores are written. Unfinished ones of processes that live stay, and those of
            other machines.
    """
    name = re.compile(rf"\..+\.{re.escape(_host())}-(?P<pid>\d+)-[0-9a-f]{{8}}\.unfinished")
    for path in folder.glob(".*.unfinished") if folder.is_dir() else ():
        found = name.fullmatch(path.name)
        if found and not _lives(int(found["pid"])):
            shutil.rmtree(path, ignore_errors=True)


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
