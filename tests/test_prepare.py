"""`prepare`: what is read once, coded, counted and encoded block by block is as if done at once."""

import csv
import gzip
import json
import os
import pathlib
import random
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from keras_ctr import Categorical, Cross, Encoder, Numeric, Schema, Sequence, Time, datasets
from keras_ctr.datasets import _ahead, preparing
from keras_ctr.datasets._raw import compression, fields, reader
from keras_ctr.datasets._raw.parser import Parser
from keras_ctr.datasets._raw.reader import Reader
from keras_ctr.datasets._shards import writer
from keras_ctr.datasets._shards.staging import Staging
from keras_ctr.datasets._shards.store import Store
from keras_ctr.datasets.cutting import generator
from keras_ctr.features import vocabulary
from keras_ctr.features.coding import coded
from keras_ctr.features.packing import numbers_of, pack, plain_keys, unpack
from keras_ctr.features.tokens import plain, spelled

pytestmark = pytest.mark.once
ROWS = 600
TEXTS = ["", "a", "b", "True", "false", "14", "14.0", "0.50", "ünï", "12345678", "123456789", "x y"]


def table(rows=ROWS, seed=0):
    """Every kind of field: short and long, numbers as integers and with a point, gaps."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "short": rng.choice(TEXTS[:9], rows),
            "any": rng.choice(TEXTS, rows),
            "filled": rng.choice(["", "u", "v"], rows),
            "long": [f"value number {at}" for at in rng.integers(0, 40, rows)],
            "count": rng.choice(["", "0", "1", "7", "14.0", "1234", "-2", "99999999"], rows),
            "cut": rng.choice(["", "1.5", "2", "30"], rows),
            "amount": rng.normal(size=rows).round(4).astype(str),
            "page": rng.choice(["p1", "p2", "p3"], rows),
            "pages": [
                "|".join(rng.choice(["p1", "p2", "p3"], k)) for k in rng.integers(0, 4, rows)
            ],
            "when": rng.permutation(rows) * 60,
            "label": rng.integers(0, 2, rows),
        }
    )


SCHEMA = Schema(
    [
        Categorical("short"),
        Categorical("any", min_count=2),
        Categorical("filled", fill="none"),
        Categorical("long", max_size=12),
        Categorical("count", buckets="log2", fill=0),
        Categorical("cut", buckets=3),
        Numeric("amount"),
        Categorical("page"),
        Sequence("pages", of="page", length=3, separator="|"),
        Cross("short x filled", of=["short", "filled"]),
        Time("when"),
    ],
    label="label",
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Many small blocks, shards and shares of tokens."""
    monkeypatch.setattr(compression, "BLOCK", 3000)
    monkeypatch.setattr(fields, "PIECE", 700)
    monkeypatch.setattr(writer, "SHARD_ROWS", 64)
    monkeypatch.setattr(vocabulary, "MERGE_TOKENS", 40)
    monkeypatch.setattr(reader, "PARQUET_ROWS", 50)


@pytest.fixture
def larger(small, monkeypatch):
    """Blocks of some hundred rows of Criteo."""
    monkeypatch.setattr(compression, "BLOCK", 60_000)
    monkeypatch.setattr(fields, "PIECE", 7000)
    monkeypatch.setattr(vocabulary, "MERGE_TOKENS", 2000)
    monkeypatch.setattr(writer, "SHARD_ROWS", 512)


def content(folder):
    """`{file: bytes}` of a store; of the manifest, without its key."""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            found[str(path.relative_to(folder))] = path.read_bytes()
    manifest = json.loads(found.pop("manifest.json"))
    found["manifest"] = {k: v for k, v in manifest.items() if k not in ("key", "crc32")}
    return found


# --- the same as in memory ---


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".tsv", ".parquet", "quoted.csv"])
@pytest.mark.parametrize("split", ["random", Time("when")], ids=["random", "time"])
def test_a_file_is_encoded_as_a_frame(tmp_path, ending, split):
    df, path = table(), tmp_path / f"rows{ending}"
    if ending == ".parquet":
        df.write_parquet(path)
    elif ending == ".csv.gz":
        path.write_bytes(gzip.compress(df.write_csv().encode()))
    else:
        style = "always" if "quoted" in ending else "necessary"
        df.write_csv(path, separator="\t" if "tsv" in ending else ",", quote_style=style)
    folder = datasets.prepare(path, out=tmp_path / "out", schema=SCHEMA, split=split)
    store = Store(folder)
    assert len(store.splits["train"].shards) > 2
    encoder = Encoder(SCHEMA)
    train = rows_of(df, split, "train")
    encoder.fit(train)
    assert encoder.schema == store.schema
    for name, part in store.splits.items():
        expected = encoder.encode(rows_of(df, split, name))
        assert set(expected) == set(part.keys)
        for key, array in expected.items():
            np.testing.assert_array_equal(part.column(key), array, key)


def rows_of(df, split, name):
    """The rows of a part, by the documented rule."""
    if split == "random":
        drawn = generator(0).random(len(df))
        part = np.array(["test", "valid", "train"])[np.searchsorted([0.1, 0.2], drawn, "right")]
    else:
        age = np.argsort(np.argsort(-df["when"].to_numpy()))
        part = np.where(age < 60, "test", np.where(age < 120, "valid", "train"))
    return df.filter(pl.Series(part == name))


def test_blocks_and_threads_change_nothing(tmp_path, monkeypatch):
    table().write_csv(tmp_path / "rows.csv")
    found = []
    for at, (block, threads, tokens) in enumerate([(900, 1, 10), (3000, 3, 40), (10**6, 2, 10**6)]):
        monkeypatch.setattr(compression, "BLOCK", block)
        monkeypatch.setattr(_ahead, "CORES", threads)
        monkeypatch.setattr(vocabulary, "MERGE_TOKENS", tokens)
        folder = datasets.prepare(tmp_path / "rows.csv", out=tmp_path / str(at), schema=SCHEMA)
        store = Store(folder)
        parts = {n: {k: part.column(k) for k in part.keys} for n, part in store.splits.items()}
        found.append((parts, store.encoder))
    for parts, encoder in found[1:]:
        for name, arrays in parts.items():
            for key, array in arrays.items():
                np.testing.assert_array_equal(array, found[0][0][name][key])
        for name in ("short", "any", "long", "count", "filled"):
            assert encoder.vocabulary(name) == found[0][1].vocabulary(name)


def test_criteo_and_avazu_decode_to_their_raw_values(tmp_path, larger):
    for name, file in (("criteo", "criteo_x4"), ("avazu", "avazu_x4")):
        made = datasets.synthesize(name, 3000, path=tmp_path / name)
        store = Store(datasets.prepare(file, made.path, tmp_path / f"{name}_out", min_count=2))
        source = datasets.source(file)(min_count=2)
        frame = pl.concat([f for _, f in source.frames(made.path, Reader())])
        splits = source.split([frame.select("label" if name == "criteo" else "click")])[0]
        for part, number in (("train", 0), ("valid", 1), ("test", 2)):
            rows = frame.filter(pl.Series(splits == number))
            ids = store.splits[part].column("ids")
            for at, feature in enumerate(store.schema.categoricals):
                tokens = ["", "?", *store.encoder.vocabulary(feature.name)]
                kept = ids[:, at] > 1
                decoded = np.array(tokens, object)[ids[kept, at]]
                raw = rows[feature.name].cast(pl.String).fill_null("").filter(pl.Series(kept))
                if feature.buckets is None:
                    assert decoded.tolist() == raw.to_list(), feature.name
                assert kept.any()


# --- parts ---


def test_packed_texts_are_the_texts():
    rng = random.Random(0)
    texts = ["".join(rng.choices("01a.Teru-é ", k=rng.randint(0, 8))) for _ in range(3000)]
    texts += ["True", "False", "14.0", "1.00", ".0", "0.0", "-3.0", "12345678", "1e5", " 7 ", "-"]
    texts = [text for text in texts if len(text.encode()) <= 8]
    keys = np.array([pack(text) for text in texts], np.uint64)
    assert unpack(keys, "").to_list() == texts
    assert unpack(plain_keys(keys), "").to_list() == plain(pl.Series(texts)).to_list()
    stripped = pl.Series([text.strip() or None for text in texts])
    assert numbers_of(keys).to_list() == spelled(stripped).to_list()
    assert pack("123456789") is None and pack("a\0") is None


@pytest.mark.parametrize("column", [TEXTS, [None, 1, 2, None, 1], [0.5, float("nan"), None, 0.5]])
def test_equal_hashes_are_no_equal_values(column):
    series = pl.Series(column * 3)
    for hashes in (None, pl.zeros(len(series), pl.UInt64, eager=True)):
        found = coded(series, hashes)
        assert found.values[found.codes].equals(series, null_equal=True)
        assert len(found.values) == series.n_unique()
        assert found.counts().sum() == len(series)
        assert [found.codes[at] for at in found.first] == list(range(len(found.values)))


def test_lines_are_cut_at_separators():
    rng = random.Random(1)
    for _ in range(200):
        width, lines = rng.randint(1, 5), rng.randint(1, 60)
        rows = [
            ["".join(rng.choices("ab1", k=rng.randint(0, 10))) for _ in range(width)]
            for _ in range(lines)
        ]
        if rng.random() < 0.3:
            rows[rng.randrange(lines)].append("x")
        if rng.random() < 0.3:
            rows[rng.randrange(lines)].pop()
        block = "".join("\t".join(row) + "\n" for row in rows).encode()
        located = fields.locate(block, lines, width, "\t")
        if any(len(row or [""]) != width for row in rows):
            assert located is None
        elif located is not None:  # too short a block is left to others
            keys, longest = located
            for at in range(width):
                assert longest[at] == min(max(len((row or [""])[at]) for row in rows), 9)
                assert unpack(keys[at], "").to_list() == [(row or [""])[at][:8] for row in rows]
        else:
            assert len(block) < 8


def test_a_piece_may_end_with_the_block():
    """Fewer than eight bytes may be left for the last piece."""
    block = b"abcdefgh,1\n" * 3 + b"a,1\n"
    for piece in range(12, 40):
        fields.PIECE = piece
        keys, longest = fields.locate(block, 4, 2, ",")
        assert unpack(keys[0]).to_list() == ["abcdefgh"] * 3 + ["a"]
        assert unpack(keys[1]).to_list() == ["1"] * 4 and longest.tolist() == [8, 1]


def test_the_fast_way_is_taken(tmp_path, larger, monkeypatch):
    """And irregular blocks go the other one, with the same result."""
    taken = []
    noted(monkeypatch, Staging, "_packed", lambda args: taken.append(args[2]))
    made = datasets.synthesize("criteo", 2000, path=tmp_path)
    one = datasets.prepare("criteo_x4", made.path, tmp_path / "one")
    assert taken
    monkeypatch.setattr(Parser, "_fields", lambda *args: None)
    other = datasets.prepare("criteo_x4", made.path, tmp_path / "other")
    assert content(one) == content(other)


def test_bad_rows_in_the_middle_are_skipped_or_named(tmp_path, larger):
    made = datasets.synthesize("criteo", 1000, path=tmp_path)
    lines = made.path.read_bytes().split(b"\n")
    lines[400] = lines[400].replace(b"\t", b"", 1)
    lines[700] = b"\t".join([b"1", b"seven", *lines[700].split(b"\t")[2:]])
    lines[950] = lines[950].replace(b"\t", b"\r\t", 1)
    lines[970] += b"\0"
    lines[990] = b"0\t\xff" + lines[990][3:]
    made.path.write_bytes(b"\n".join(lines))
    with pytest.raises(ValueError, match=r"train.txt, line 401: a row must have 40 fields"):
        datasets.prepare("criteo_x4", made.path, tmp_path / "out")
    assert not list(tmp_path.glob(".*"))
    parts = datasets.load("criteo_x4", made.path, cache=tmp_path / "cache", on_bad_rows="skip")
    assert sum(part.skipped_rows for part in parts) == 5
    assert sum(part.num_rows for part in parts) == 995


# --- killed and gone on with ---


def test_a_killed_run_goes_on_where_it_was(tmp_path, monkeypatch):
    """Stopped at every block and at every shard in turn: the bytes are those of a run in one go."""
    df = table()
    df.write_csv(tmp_path / "rows.csv")
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(df.write_csv().encode()))
    df.write_parquet(tmp_path / "rows.parquet")
    for name in ("rows.csv", "rows.csv.gz", "rows.parquet"):
        whole = datasets.prepare(tmp_path / name, out=tmp_path / f"{name}.whole", schema=SCHEMA)
        for way, stops in (("keep", (1, 6)), ("_count", (1, 4))):
            for stop in stops:
                out = tmp_path / f"{name}.{way}.{stop}"
                with monkeypatch.context() as patched:
                    stop_after(patched, Staging if way == "keep" else writer.Writer, way, stop)
                    with pytest.raises(KeyboardInterrupt):
                        datasets.prepare(tmp_path / name, out=out, schema=SCHEMA)
                staged = []
                with monkeypatch.context() as patched:
                    noted(
                        patched, Staging, "stage", lambda args, found=staged: found.append(args[2])
                    )
                    datasets.prepare(tmp_path / name, out=out, schema=SCHEMA)
                assert min(staged, default=stop) >= (stop if way == "keep" else 1)
                assert content(out) == content(whole)
                assert [p.name for p in tmp_path.glob(f".{out.name}*")] == []


def noted(patched, kind, name, note):
    method = getattr(kind, name)
    patched.setattr(kind, name, lambda *args: note(args) or method(*args))


def stop_after(patched, kind, name, calls):
    method, count = getattr(kind, name), []

    def stopping(*args, **kwargs):
        found = method(*args, **kwargs)
        count.append(1)
        if len(count) == calls:
            raise KeyboardInterrupt
        return found

    patched.setattr(kind, name, stopping)


def test_weights_of_what_was_written_before_count(tmp_path, monkeypatch):
    monkeypatch.setattr(compression, "BLOCK", 600)
    text = "c,label,w\n" + "a,1,1\nb,0,2\n" * 150 + "a,1,0\nb,0,0\n" * 250
    (tmp_path / "rows.csv").write_text(text)
    schema = Schema([Categorical("c")], label="label", weight="w")
    options = {"out": tmp_path / "out", "schema": schema, "valid": 0, "test": 0}
    with monkeypatch.context() as patched:
        stop_after(patched, writer.Writer, "_count", 6)
        with pytest.raises(KeyboardInterrupt):
            datasets.prepare(tmp_path / "rows.csv", **options)
    split = Store(datasets.prepare(tmp_path / "rows.csv", **options)).splits["train"]
    assert split.column("extra:weight").sum() == 450


KILLED = """
import sys
from keras_ctr import datasets
from keras_ctr.datasets._raw import compression
from keras_ctr.datasets._shards import writer
compression.BLOCK, writer.SHARD_ROWS = 20_000, 300
datasets.prepare("criteo_x4", sys.argv[1], sys.argv[2], min_count=2)
"""


def test_ten_kills_at_random_moments(tmp_path):
    made = datasets.synthesize("criteo", 6000, path=tmp_path)
    command = [sys.executable, "-c", KILLED, str(made.path)]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, timeout=120)
    rng = random.Random(0)
    for kill in range(10):
        process = subprocess.Popen([*command, str(tmp_path / "out")])
        work = tmp_path / "waiting"
        for _ in range(600):  # until it has begun to write
            work = next(iter(tmp_path.glob(".out.*.unfinished")), None) or work
            if work.is_dir() or process.poll() is not None:
                break
            time.sleep(0.02)
        time.sleep(rng.random() * 0.5)
        process.kill()
        process.wait()
        if (tmp_path / "out").is_dir():
            break
        assert kill < 9 or work.is_dir()
    subprocess.run([*command, str(tmp_path / "out")], check=True, timeout=120)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_half_written_blocks_are_not_taken_for_whole(tmp_path, monkeypatch):
    table().write_csv(tmp_path / "rows.csv")
    whole = datasets.prepare(tmp_path / "rows.csv", out=tmp_path / "whole", schema=SCHEMA)
    for damage in ("codes", "rest.ipc", "tokens.ipc", "blocks.jsonl", "gone"):
        out = tmp_path / f"out_{damage}"
        with monkeypatch.context() as patched:
            stop_after(patched, Staging, "keep", 6)
            with pytest.raises(KeyboardInterrupt):
                datasets.prepare(tmp_path / "rows.csv", out=out, schema=SCHEMA)
        [rows] = tmp_path.glob(f".{out.name}.*/rows")
        path = rows / (damage if damage == "blocks.jsonl" else "000003." + damage)
        if damage == "gone":
            (rows / "000003.codes").unlink()
        elif damage == "blocks.jsonl":
            path.write_bytes(path.read_bytes()[:-30])
        else:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        datasets.prepare(tmp_path / "rows.csv", out=out, schema=SCHEMA)
        assert content(out) == content(whole)


def test_what_belongs_to_other_data_is_not_gone_on_with(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    table().write_csv(path)
    with monkeypatch.context() as patched:
        stop_after(patched, Staging, "keep", 3)
        with pytest.raises(KeyboardInterrupt):
            datasets.prepare(path, out=tmp_path / "out", schema=SCHEMA)
    table(seed=1).write_csv(path)
    datasets.prepare(path, out=tmp_path / "out", schema=SCHEMA)
    whole = datasets.prepare(path, out=tmp_path / "whole", schema=SCHEMA)
    assert content(tmp_path / "out") == content(whole)
    assert not list(tmp_path.glob(".*"))


def test_work_of_others_is_swept_after_a_week(tmp_path):
    left = tmp_path / ".other.0123456789abcdef.unfinished"
    (left / "rows").mkdir(parents=True)
    (left / "rows" / "blocks.jsonl").write_text("")
    writer.sweep(tmp_path / "mine", "f" * 16)
    assert left.is_dir()
    os.utime(left / "rows" / "blocks.jsonl", (0, 0))
    writer.sweep(tmp_path / "mine", "f" * 16)
    assert not left.is_dir()


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    table().write_csv(path)
    keep = Staging.keep

    def change(*args, **kwargs):
        os.utime(path, (1, 1))
        return keep(*args, **kwargs)

    monkeypatch.setattr(Staging, "keep", change)
    with pytest.raises(ValueError, match="have changed while they were read"):
        datasets.prepare(path, out=tmp_path / "out", schema=SCHEMA)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


# --- many files ---


def test_many_files_are_one_source(tmp_path):
    df = table()
    whole = tmp_path / "whole.csv"
    df.write_csv(whole)
    folder = tmp_path / "days" / "more"
    folder.mkdir(parents=True)
    for at, start in enumerate(range(0, ROWS, 200)):
        df[start : start + 200].write_csv(folder / f"day-{at}.csv")
    (folder / "_SUCCESS").write_text("")
    (folder / ".hidden.csv").write_text("no,rows")
    one = Store(datasets.prepare(whole, out=tmp_path / "one", schema=SCHEMA))
    for name in (tmp_path / "days", str(folder / "day-*.csv"), str(tmp_path / "**" / "day-?.csv")):
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        many = Store(datasets.prepare(name, out=out, schema=SCHEMA))
        for part, split in one.splits.items():
            for key in split.keys:
                np.testing.assert_array_equal(split.column(key), many.splits[part].column(key))
    with pytest.raises(FileNotFoundError, match="no file that fits"):
        datasets.prepare(str(tmp_path / "nothing-*.csv"), schema=SCHEMA)


def test_times_may_have_another_type_in_another_file(tmp_path):
    folder, n = tmp_path / "rows", 50
    folder.mkdir()
    days = np.datetime64("2024-01-01", "us") + np.arange(3 * n) * np.timedelta64(1, "D")
    for at, unit in enumerate(("us", "ms", "text")):
        part = pl.Series("t", days[at * n : at * n + n])
        part = part.dt.to_string("iso") if unit == "text" else part.dt.cast_time_unit(unit)
        df = pl.DataFrame([part, pl.Series("c", ["a", "b"] * 25), pl.Series("label", [0, 1] * 25)])
        df.write_parquet(folder / f"{at}.parquet")
    schema = Schema([Categorical("c"), Time("t")], label="label")
    options = {"schema": schema, "split": Time("t"), "test": 0.1, "valid": 0.2}
    store = Store(datasets.prepare(folder, out=tmp_path / "out", **options))
    assert [store.splits[name].rows for name in ("train", "valid", "test")] == [105, 30, 15]


def test_skipped_rows_are_those_of_their_part(tmp_path, monkeypatch):
    monkeypatch.setattr(compression, "BLOCK", 100)
    good, bad = "abc,1\n", "bad\n"
    parts = {
        "train": good * 100 + bad * 40,
        "valid": good * 100,
        "test": bad * 3 + good * 9 + bad * 50,
    }
    (tmp_path / "rows").mkdir()
    for name, text in parts.items():
        (tmp_path / "rows" / f"{name}.csv").write_text("c,label\n" + text)
    schema = Schema([Categorical("c")], label="label")
    found = datasets.load(tmp_path / "rows", schema=schema, cache=tmp_path, on_bad_rows="skip")
    assert [part.skipped_rows for part in found] == [40, 0, 53]


@pytest.mark.parametrize("row", [3, 500, 599])
def test_wrong_values_are_named_by_the_row_of_the_file(tmp_path, row):
    ids = np.arange(ROWS) % 5
    ids[row] = 9
    df = pl.DataFrame({"c": ids, "label": np.arange(ROWS) % 2})
    df.write_csv(tmp_path / "rows.csv")
    schema = Schema([Categorical("c", size=5)], label="label")
    with pytest.raises(ValueError, match=f"9 at row {row} "):
        datasets.prepare(tmp_path / "rows.csv", out=tmp_path / "out", schema=schema)


@pytest.mark.parametrize("write", ["write_csv", "write_parquet"])
def test_folders_of_a_partition_are_columns(tmp_path, write):
    df = pl.DataFrame({"item": ["a", "b", "c"] * 40, "click": [0, 1, 0, 1] * 30})
    for day in ("day=2024-01-01", "day=2024-01-02", "day=__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / "logs" / day / "site=x%2Fy").mkdir(parents=True)
        getattr(df, write)(tmp_path / "logs" / day / "site=x%2Fy" / f"0.{write[6:]}")
    schema = Schema([Categorical("item"), Categorical("day"), Categorical("site")], label="click")
    parts = datasets.load(tmp_path / "logs", schema=schema, cache=tmp_path / "cache")
    assert sum(part.num_rows for part in parts) == 360
    vocabulary = parts[0].encoder.vocabulary
    assert set(vocabulary("day")) == {"2024-01-01", "2024-01-02"} and vocabulary("site") == ["x/y"]
    inferred, _, _ = datasets.load(tmp_path / "logs", label="click", cache=tmp_path / "cache")
    assert "day" in inferred.schema.columns


def test_folders_of_parts(tmp_path):
    df = table(200)
    for name in ("train", "valid"):
        (tmp_path / name).mkdir()
        for at in range(2):
            df[at * 100 : at * 100 + 100].write_parquet(tmp_path / name / f"{at}.parquet")
    df[:50].write_parquet(tmp_path / "test.parquet")
    train, valid, test = datasets.load(tmp_path, schema=SCHEMA, cache=tmp_path / "cache")
    assert (train.num_rows, valid.num_rows, test.num_rows) == (200, 200, 50)


def test_a_file_is_cut_by_time_as_a_frame(tmp_path):
    df = table()
    df.write_csv(tmp_path / "rows.csv")
    options = {"schema": SCHEMA, "split": Time("when"), "valid": 0.2, "test": 0.1}
    files = datasets.load(tmp_path / "rows.csv", cache=tmp_path / "cache", **options)
    frames = datasets.from_pandas(df, **options)
    for one, other in zip(files, frames, strict=True):
        one, other = (part.with_options(shuffle=False, batch_size=ROWS) for part in (one, other))
        for key in ("ids", "values", "pages"):
            np.testing.assert_array_equal(one[0][0][key], other[0][0][key])


# --- made-up files ---


@pytest.mark.parametrize("name, width", [("criteo", 40), ("avazu", 24)])
def test_made_up_files_have_the_raw_format(tmp_path, name, width):
    made = datasets.synthesize(name, 5000, seed=3, path=tmp_path)
    rows = list(csv.reader(made.path.open(), delimiter="\t" if name == "criteo" else ","))
    header = rows.pop(0) if name == "avazu" else None
    assert header is None or header[:4] == ["id", "click", "hour", "C1"]
    assert len(rows) == made.rows == 5000 and {len(row) for row in rows} == {width}
    clicks = [row[0 if name == "criteo" else 1] for row in rows]
    assert set(clicks) == {"0", "1"} and clicks.count("1") == made.clicks
    if name == "criteo":
        columns = list(zip(*rows, strict=True))
        assert 0.70 < columns[12].count("") / 5000 < 0.84  # I12
        assert all(len(text) in (0, 8) for column in columns[14:] for text in column)
        assert min(int(text) for text in columns[2] if text) == -3
        counts = np.sort(np.unique(columns[16], return_counts=True)[1])[::-1]
        assert counts[0] > 100 and len(counts) > 1500  # a head and a long tail
    else:
        hours = [row[2] for row in rows]
        assert hours[0] == "14102100" and hours[-1] == "14103023" and hours == sorted(hours)
    again = datasets.synthesize(name, 5000, seed=3, path=tmp_path / "again.txt.gz")
    assert gzip.decompress(again.path.read_bytes()) == made.path.read_bytes()
    assert (again.bayes_auc, again.clicks) == (made.bayes_auc, made.clicks)
    other = datasets.synthesize(name, 5000, seed=4, path=tmp_path / "other.txt")
    assert other.path.read_bytes() != made.path.read_bytes()


def test_the_best_auc_is_that_of_the_truth():
    from sklearn.metrics import log_loss, roc_auc_score

    from keras_ctr.datasets.synthesis import CRITEO, ROWS, Truth

    truth = Truth(CRITEO, 2 * ROWS, seed=1)
    p, y = [], []
    for start in (0, ROWS):
        lines, logits, chance, clicks = truth.lines(start)
        truth.add(logits, chance, clicks)
        text = lines.tobytes().decode().splitlines()
        y += [int(line[0]) for line in text]
        p += chance.tolist()
    assert sum(y) == truth.clicks
    assert abs(np.mean(y) - CRITEO.click_rate) < 0.01
    assert abs(roc_auc_score(y, p) - truth.auc()) < 0.004
    assert abs(log_loss(y, p) - truth.logloss()) < 0.004


def test_what_cannot_be_made_up():
    with pytest.raises(ValueError, match="criteo.*avazu"):
        datasets.synthesize("kkbox", 10)
    with pytest.raises(ValueError, match="rows"):
        datasets.synthesize("criteo", 0)


def test_prepare_loads_no_backend(tmp_path):
    made = datasets.synthesize("criteo", 500, path=tmp_path)
    code = (
        "import sys\nfrom keras_ctr.cli import main\n"
        f"sys.argv = ['keras-ctr', 'prepare', 'criteo_x4', '--root', {str(made.path)!r}, "
        f"'--out', {str(tmp_path / 'out')!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert out.stdout.strip().endswith("[]"), out.stdout + out.stderr
    assert preparing.read_manifest(tmp_path / "out")["source"] == "criteo_x4"
