"""The shard store: a prepared data set as a folder of `.npy` files and a manifest.

    manifest.json              format, source, options, schema; rows, bounds, files of every split
    encoder/                   what `Encoder.save` writes
    train-00000-ids.npy ...    one array per split, shard and key

A folder is written under a temporary name and renamed when it is whole. No Keras, no pickle.
"""

import json
from pathlib import Path

import numpy as np

from keras_ctr.datasets._shards.checking import Checks, Shard, signed
from keras_ctr.datasets._shards.split import SCAN_IDS, Split, check_ids
from keras_ctr.features.encoder import Encoder
from keras_ctr.features.schema import Schema

FORMAT = 1
MANIFEST = "manifest.json"


def read_manifest(folder):
    """Returns the manifest of a store as plain dicts and lists.

    Raises:
        FileNotFoundError: `folder` is no prepared data set.
        ValueError: the manifest is damaged, or of a format this version does not know.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no prepared data set: it has no {MANIFEST}.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. {remedy(folder)}") from error
    if not isinstance(manifest, dict):
        raise ValueError(f"{path} is damaged: it holds no object. {remedy(folder)}")
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"A prepared data set must be of format {FORMAT}. Received: format "
            f"{manifest.get('format')!r} in {folder}. {remedy(folder)}"
        )
    older = not {"crc32", "encoder"} & set(manifest)  # and has no checksum of its own
    if not older and manifest != signed(manifest):
        raise ValueError(f"{path} is damaged: its checksum is another. {remedy(folder)}")
    return manifest


def remedy(folder):
    """What to do about a damaged store."""
    return f"Delete {folder} and prepare the data again."


class Store:
    """A prepared data set, opened: `splits`, `schema`, `encoder`, `manifest`.

    What is small (manifest, encoder, labels) is compared with its checksum at once, each other file
    before it is first used: what is damaged raises `ValueError` there.

    Args:
        folder: what a `Writer` wrote.
        check: `"once"`, `"always"` or `"never"`, see `Checks`.

    Raises:
        FileNotFoundError: no manifest, or a file it names is missing.
        ValueError: a format of another version, a file of the wrong size or content, an id outside
            its table.
    """

    def __init__(self, folder, check="once"):
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        self._checks = Checks(folder, check, remedy(folder))
        self._check_encoder(self._checks)
        self.schema = Schema.from_dict(self.manifest["schema"])
        self.encoder = Encoder.load(self.folder / "encoder")
        self.splits = {}
        for name, entry in self.manifest["splits"].items():
            shards = [self._shard(shard) for shard in entry["shards"]]
            split = Split(shards, entry["skipped_rows"])
            ids = sum(s.get(key).size for s in split.shards for key in self.schema.bounds())
            if (check == "never" and ids < SCAN_IDS) or not self._within_bounds(entry):
                check_ids(name, split, self.schema)
            self.splits[name] = split

    def verify(self):
        """Reads every file and compares its checksum with the manifest's.

        Raises:
            ValueError: names the first file whose content has changed.
        """
        checks = Checks(self.folder, "always", remedy(self.folder))
        self._check_encoder(checks)
        for name, entry in self.manifest["splits"].items():
            for at, shard in enumerate(entry["shards"]):
                for key, array in shard["arrays"].items():
                    stored = self.splits[name].shards[at].get(key)
                    checks.array(array["file"], stored, array["crc32"])

    def _check_encoder(self, checks):
        for name, crc32 in self.manifest.get("encoder", {}).items():
            checks.file(f"encoder/{name}", crc32)

    def _shard(self, entry):
        arrays = {key: self._array(array) for key, array in entry["arrays"].items()}

        def check(key, array):
            self._checks.array(entry["arrays"][key]["file"], array, entry["arrays"][key]["crc32"])

        return Shard(arrays, check)

    def _array(self, entry):
        path = self.folder / entry["file"]
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing. {remedy(self.folder)}")
        if path.stat().st_size != entry["bytes"]:
            raise ValueError(
                f"{path} must have {entry['bytes']} bytes. Received: {path.stat().st_size} bytes. "
                f"{remedy(self.folder)}"
            )
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # of any kind, since NumPy reads the head of a file as Python
            raise ValueError(f"{path} is damaged: {error}. {remedy(self.folder)}") from error
        if list(array.shape) != entry["shape"] or str(array.dtype) != entry["dtype"]:
            raise ValueError(
                f"{path} must hold {entry['dtype']} {tuple(entry['shape'])}. "
                f"Received: {array.dtype} {array.shape}. {remedy(self.folder)}"
            )
        return np.asarray(array)  # a plain view of the map: indexing np.memmap is slower

    def _within_bounds(self, entry):
        """Whether the smallest and largest ids of the manifest lie in the tables."""
        for key, columns in self.schema.bounds().items():
            sizes = np.array([size for _, size in columns])
            for shard in entry["shards"]:
                low, high = np.array(shard["arrays"][key]["bounds"]).T
                if (low < 0).any() or (high >= sizes).any():
                    return False
        return True
