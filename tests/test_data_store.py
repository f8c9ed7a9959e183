"""The shard store: whole or not there, checked when it is opened."""

import errno
import json

import numpy as np
import pandas as pd
import pytest

from keras_ctr import Categorical, Encoder, Numeric, Schema, Sequence
from keras_ctr.datasets._shards import split as _split
from keras_ctr.datasets._shards import writer as _writer
from keras_ctr.datasets._shards.split import Split
from keras_ctr.datasets._shards.store import MANIFEST, Store
from keras_ctr.datasets._shards.writer import Writer


@pytest.fixture
def encoder():
    features = [Categorical("u"), Categorical("i"), Numeric("p"), Sequence("h", of="i", length=2)]
    return Encoder(Schema(features, label="y", group="u")).fit(frame(50))


def frame(rows, start=0):
    at = np.arange(start, start + rows)
    columns = {"u": at % 7, "i": at % 3, "p": at * 1.0, "h": [[a % 3] for a in at], "y": at % 2}
    return pd.DataFrame(columns)


def write(folder, encoder, rows=50):
    with Writer(folder, encoder, {"source": None, "key": "k"}) as writer:
        for start in range(0, rows, 20):
            part = frame(min(20, rows - start), start)
            arrays = encoder.encode(part)
            arrays["extra:weight"] = part["p"].to_numpy().astype("float32")
            writer.add("train", arrays, skipped_rows=1)
        writer.add("test", encoder.encode(frame(5)))
    return folder


def test_what_is_written_is_read(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(_writer, "SHARD_ROWS", 20)
    store = Store(write(tmp_path / "store", encoder))
    split = store.splits["train"]
    assert list(store.splits) == ["train", "test"]
    assert (split.rows, len(split.shards), split.skipped_rows) == (50, 3, 3)
    whole = encoder.encode(frame(50))
    rows = np.array([0, 1, 19, 20, 45, 49])
    for key, array in whole.items():
        np.testing.assert_array_equal(split.column(key), array)
        np.testing.assert_array_equal(split.take(key, rows), array[rows])
        np.testing.assert_array_equal(split.slice(key, 15, 43), array[15:43])
    np.testing.assert_array_equal(split.column("extra:weight"), np.arange(50, dtype="float32"))
    assert store.schema == store.encoder.schema == encoder.schema
    manifest = store.manifest["splits"]["train"]
    assert (manifest["rows"], manifest["positives"], manifest["skipped_rows"]) == (50, 25, 3)
    store.verify()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_full_disk_leaves_nothing_behind(tmp_path, encoder, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="could not be written to .*No space left") as error:
        write(tmp_path / "store", encoder)
    assert error.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writer_leaves_nothing_behind(tmp_path, encoder):
    with pytest.raises(KeyboardInterrupt), Writer(tmp_path / "store", encoder, {}) as writer:
        writer.add("train", encoder.encode(frame(5)))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_second_of_two_writers_gives_way(tmp_path, encoder):
    with Writer(tmp_path / "store", encoder, {}) as slow:
        slow.add("train", encoder.encode(frame(5)))
        write(tmp_path / "store", encoder)
    assert Store(tmp_path / "store").splits["train"].rows == 50
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def overwrite(path, change):
    array = np.load(path)
    change(array)
    np.save(path, array)


def test_ids_outside_their_table_are_named(tmp_path, encoder):
    folder = write(tmp_path / "store", encoder)

    def change(ids):
        ids[33, 1] = 99

    overwrite(folder / "train-00000-ids.npy", change)
    with pytest.raises(
        ValueError, match=r"id 99 in column 'i' at row 33 of train, where size is 5"
    ):
        Store(folder)


def test_ids_in_histories_and_negative_ids_are_found(encoder):
    arrays = encoder.encode(frame(50))
    arrays["h"][7, 1] = -1
    with pytest.raises(ValueError, match=r"id -1 in column 'h' at row 57 of valid"):
        _split.check_ids("valid", Split([encoder.encode(frame(50)), arrays]), encoder.schema)


def test_bounds_of_the_manifest_are_checked_without_a_scan(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr("keras_ctr.datasets._shards.store.SCAN_IDS", 0)
    folder = write(tmp_path / "store", encoder)
    Store(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    sizes = manifest["schema"]["features"]
    sizes[1]["size"] = 4  # as if the table had been made smaller
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="id 4 in column 'i' at row 2 of train"):
        Store(folder)


def test_damage_is_found_when_it_is_opened(tmp_path, encoder):
    folder = write(tmp_path / "store", encoder)
    shard = folder / "train-00000-ids.npy"
    content = shard.read_bytes()
    shard.write_bytes(content[:-4])
    with pytest.raises(ValueError, match="train-00000-ids.npy must have .* bytes. Received"):
        Store(folder)
    shard.write_bytes(b"\x00" * len(content))
    with pytest.raises(ValueError, match="train-00000-ids.npy is damaged"):
        Store(folder)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match="train-00000-ids.npy is missing. Delete"):
        Store(folder)
    shard.write_bytes(content)
    (folder / MANIFEST).write_text('{"format": 7}')
    with pytest.raises(ValueError, match="Received: format 7"):
        Store(folder)
    (folder / MANIFEST).write_text('{"form')
    with pytest.raises(ValueError, match="manifest.json is damaged"):
        Store(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(FileNotFoundError, match="no prepared data set"):
        Store(folder)


def test_verify_compares_checksums(tmp_path, encoder):
    folder = write(tmp_path / "store", encoder)

    def change(values):
        values[3, 0] += 1

    overwrite(folder / "train-00000-values.npy", change)
    store = Store(folder)
    with pytest.raises(ValueError, match="train-00000-values.npy has changed"):
        store.verify()
