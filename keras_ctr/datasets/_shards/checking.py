"""`Checks`: whether the files of a store are as they were written, asked before their first use."""

import json
import os
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_ctr.datasets._ahead import CORES

WHEN = ("once", "always", "never")
CHECKED = ".checked.json"  # in the folder of a store: what has been checked, and its state then
PIECE = 2**24  # bytes of a file read at a time
# A file that has just been written may be written again within one tick of the clock of its file
# system, and then looks unchanged: it is not remembered before so many nanoseconds have passed.
FRESH = 2 * 10**9


class Checks:
    """Compares files with their checksums, at the speed of memory.

    Args:
        folder: of the store.
        when: `"once"`: a file whose inode, size and times of change are those at an earlier check,
            also of another process, is not read again; `"always"`: every file before its first use
            here; `"never"`.
        advice: what to do about a file that has changed, a sentence.
    """

    def __init__(self, folder, when="once", advice=""):
        self.folder = Path(folder)
        self.when = when
        self.advice = advice
        self._known = self._read() if when == "once" else {}

    def array(self, name, array, crc32):
        """Checks the array of a file.

        Raises:
            ValueError: it has changed.
        """
        if not self._is_known(name):
            self._compare(name, zlib.crc32(np.ascontiguousarray(array)), crc32)

    def file(self, name, crc32):
        """Checks a whole file. Raises `ValueError` if it has changed, or is not there."""
        if not self._is_known(name):
            self._compare(name, file_crc32(self.folder / name), crc32)

    def _compare(self, name, found, crc32):
        if found != crc32:
            raise ValueError(
                f"{self.folder / name} has changed since it was written: its checksum is not "
                f"{crc32}. {self.advice}"
            )
        state = self._state(name)
        if self.when == "once" and max(state[2:]) < time.time_ns() - FRESH:
            self._known[name] = state
            self._write()

    def _is_known(self, name):
        if self.when == "never":
            return True
        return self.when == "once" and self._known.get(name) == self._state(name)

    def _state(self, name):
        try:
            found = os.stat(self.folder / name)
        except FileNotFoundError:
            return []
        return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]

    def _read(self):
        try:
            found = json.loads((self.folder / CHECKED).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self):
        """Keeps what is known; where the folder cannot be written, for this process alone."""
        unfinished = self.folder / f"{CHECKED}.{os.getpid()}"
        try:
            unfinished.write_text(json.dumps(self._known))
            os.replace(unfinished, self.folder / CHECKED)
        except OSError:
            unfinished.unlink(missing_ok=True)


class Shard(dict):
    """The arrays of a shard, of which each is checked when it is first asked for.

    Args:
        arrays: `{key: array}`.
        check: function of a key and its array, which raises if that is damaged.
    """

    def __init__(self, arrays, check):
        super().__init__(arrays)
        self._check = check
        self._unchecked = set(arrays)

    def __getitem__(self, key):
        array = super().__getitem__(key)
        if key in self._unchecked:
            self._check(key, array)
            self._unchecked.discard(key)
        return array


def taken_up(path, is_whole):
    """Reads the list that a killed run has left, and cuts off what is not whole.

    Args:
        path: file of a line of JSON per thing written, in order; it may be absent.
        is_whole: function of the number of a thing and what its line says: whether it is there as
            it was written. Called on several threads.

    Returns:
        The list of things up to the first one that is not whole.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line) if line.endswith(b"\n") else None)
        except ValueError:
            found.append(None)

    def asked(at, one):
        return one is not None and is_whole(at, one)

    with ThreadPoolExecutor(CORES) as pool:
        whole = list(pool.map(asked, range(len(found)), found))
    count = whole.index(False) if False in whole else len(whole)
    if lines:
        os.truncate(path, sum(map(len, lines[:count])))
    return found[:count]


def file_crc32(path):
    """The CRC-32 of a file; -1 of one that is not there."""
    found = 0
    try:
        with open(path, "rb") as file:
            while piece := file.read(PIECE):
                found = zlib.crc32(piece, found)
    except FileNotFoundError:
        return -1
    return found


def signed(manifest):
    """Returns a manifest with the checksum of its own content."""
    manifest = {key: value for key, value in manifest.items() if key != "crc32"}
    return manifest | {"crc32": zlib.crc32(json.dumps(manifest, sort_keys=True).encode())}
