"""The shard store: whole or not there, checked when it is opened."""

import errno
import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from keras_ctr import Categorical, Encoder, Numeric, Schema, Sequence
from keras_ctr.datasets._shards import checking
from keras_ctr.datasets._shards import split as _split
from keras_ctr.datasets._shards import writer as _writer
from keras_ctr.datasets._shards.checking import CHECKED, Checks, signed
from keras_ctr.datasets._shards.split import Split
from keras_ctr.datasets._shards.store import MANIFEST, Store
from keras_ctr.datasets._shards.writer import Writer, sweep


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

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
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
        Store(folder, check="never")


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
    with pytest.raises(ValueError, match="manifest.json is damaged: its checksum"):
        Store(folder)
    (folder / MANIFEST).write_text(json.dumps(signed(manifest)))
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


def content(store):
    """Everything that a store gives."""
    found = [split.column(key) for split in store.splits.values() for key in split.keys] + list(
        store.encoder.encode(frame(50)).values()
    )
    return [array.copy() for array in found]


def test_a_file_is_checked_before_it_is_first_used(tmp_path, encoder):
    folder = write(tmp_path / "store", encoder)
    values = folder / "train-00000-values.npy"

    def change(array):
        array[3, 0] += 1

    overwrite(values, change)
    split = Store(folder).splits["train"]
    np.testing.assert_array_equal(
        split.take("ids", np.array([3])), encoder.encode(frame(50))["ids"][[3]]
    )
    for read in (
        lambda: split.take("values", np.array([0])),
        lambda: split.slice("values", 0, 5),
        lambda: split.column("values"),
    ):
        with pytest.raises(ValueError, match="train-00000-values.npy has changed since it was"):
            read()
    found = Store(folder, "never").splits["train"].column("values")[3, 0]
    np.testing.assert_allclose(found, encoder.encode(frame(50))["values"][3, 0] + 1)


def test_what_was_checked_is_not_read_again(tmp_path, encoder, monkeypatch):
    folder = write(tmp_path / "store", encoder)
    monkeypatch.setattr(checking, "FRESH", -(10**12))  # as if all were written long ago
    expected = content(Store(folder))
    compared = []
    compare = Checks._compare

    def counted(self, name, *rest):
        compared.append(name)
        compare(self, name, *rest)

    monkeypatch.setattr(Checks, "_compare", counted)
    content(Store(folder))
    assert compared == []  # by another process, say
    content(Store(folder, "always"))
    assert len(compared) == len(set(compared)) > 10
    compared.clear()
    content(Store(folder, "never"))
    assert compared == []
    (folder / "train-00000-ids.npy").touch()
    content(Store(folder))
    assert compared == ["train-00000-ids.npy"]
    monkeypatch.undo()
    monkeypatch.setattr(Checks, "_compare", counted)
    (folder / "train-00000-ids.npy").touch()
    for _ in range(2):  # so fresh that it may have been written once more
        content(Store(folder))
    assert compared == ["train-00000-ids.npy"] * 3
    (folder / CHECKED).write_text("no JSON")
    for one, other in zip(content(Store(folder)), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    (folder / MANIFEST).write_text("[]")
    with pytest.raises(ValueError, match="manifest.json is damaged"):
        Store(folder)


def test_a_store_that_cannot_be_written_is_checked_all_the_same(tmp_path, encoder, monkeypatch):
    folder = write(tmp_path / "store", encoder)

    def refuse(*args):
        raise PermissionError("read-only")

    monkeypatch.setattr("os.replace", refuse)
    content(Store(folder))
    assert not list(folder.glob(f"{CHECKED}*"))


def test_a_store_of_before_has_no_sums_of_its_encoder(tmp_path, encoder):
    folder = write(tmp_path / "store", encoder)
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["crc32"], manifest["encoder"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    Store(folder).verify()


@pytest.mark.once
def test_no_corruption_is_silent(tmp_path, encoder):
    """300 of them: each is an error that names what is wrong, or changes nothing."""
    folder, rng = write(tmp_path / "store", encoder), np.random.default_rng(0)
    expected = content(Store(folder, "always"))
    outcomes = {"error": 0, "nothing": 0}
    for at in range(300):
        kind = ("flip", "zero", "cut", "delete", "swap")[at % 5]
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        path, other = rng.choice(files, 2, replace=False)
        before, before_other = path.read_bytes(), other.read_bytes()
        place = int(rng.integers(max(1, len(before))))
        if kind == "flip":
            changed = bytearray(before)
            changed[place : place + 1] = bytes([changed[place] ^ (1 << int(rng.integers(8)))])
            path.write_bytes(changed)
        elif kind == "zero":
            path.write_bytes(
                before[:place] + bytes(len(before[place : place + 9])) + before[place + 9 :]
            )
        elif kind == "cut":
            path.write_bytes(before[:place])
        elif kind == "delete":
            path.unlink()
        else:
            path.write_bytes(before_other)
            other.write_bytes(before)
        try:
            found = content(Store(folder))
        except (ValueError, FileNotFoundError) as error:
            assert str(folder) in str(error)
            outcomes["error"] += 1
        else:
            for one, another in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, another)
            outcomes["nothing"] += 1
        path.write_bytes(before)
        other.write_bytes(before_other)
    assert outcomes["error"] > 200


def test_what_killed_runs_left_is_swept(tmp_path, encoder):
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_data_store import *\n"
        "encoder = Encoder(Schema([Categorical('u')], label='y')).fit(frame(5)[['u', 'y']])\n"
        "writer = Writer(sys.argv[1], encoder, {}).__enter__()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    where = pathlib.Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "other", where], timeout=120)
    assert done.returncode == -9
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1 and left[0].endswith(".unfinished")
    here = socket.gethostname().replace(".", "_")
    assert f".{here}-" in left[0]
    elsewhere = tmp_path / left[0].replace(f".{here}-", f".another_{here}-")
    elsewhere.mkdir()
    with Writer(tmp_path / "alive", encoder, {}) as writer:
        writer.add("train", encoder.encode(frame(5)))
        write(tmp_path / "store", encoder)
        sweep(tmp_path / "store")
        assert writer._temporary.is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {"store", "alive", elsewhere.name}


PREPARES = """
import json, sys, time
from keras_ctr import datasets
from keras_ctr.datasets import preparing
write = preparing._write

def slow(*args):
    print("writes", flush=True)
    time.sleep(1.5)
    write(*args)

preparing._write = slow
datasets.prepare("synthetic", rows=500, out=sys.argv[1])
print("done", flush=True)
"""


@pytest.mark.once
@pytest.mark.skipif(os.name == "nt", reason="no locks")
def test_of_two_processes_one_prepares_and_the_other_waits(tmp_path):
    command = [sys.executable, "-c", PREPARES, tmp_path / "store"]
    ways = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **ways) for _ in range(2)]
    found = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(out.split() for out, _ in found) == [["done"], ["writes", "done"]]
    assert sum("waiting for it" in err for _, err in found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.once
@pytest.mark.skipif(os.name == "nt", reason="no locks")
def test_who_waited_for_other_data_is_told(tmp_path):
    ways = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    codes = (PREPARES, PREPARES.replace("rows=500", "rows=400"))
    both = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "store"], **ways) for code in codes
    ]
    found = [process.communicate(timeout=120) for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert sum("hold this very data set" in err for _, err in found) == 1


@pytest.mark.once
@pytest.mark.skipif(os.name == "nt", reason="no locks")
def test_a_killed_process_does_not_keep_the_others_waiting(tmp_path):
    command = [sys.executable, "-c", PREPARES, tmp_path / "store"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "writes\n"
    first.kill()
    first.wait()
    second = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert second.stdout.split() == ["writes", "done"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
