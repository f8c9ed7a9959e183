"""`load`, `prepare`, `from_pandas`: from names, files, folders and frames to batches."""

import errno
import gzip
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.model_selection import KFold

from keras_ctr import Categorical, Encoder, Numeric, Schema, Sequence, datasets
from keras_ctr.datasets import Source, load
from keras_ctr.datasets._shards import staging
from keras_ctr.datasets._shards.split import Split
from keras_ctr.datasets._shards.stratified import stratified_folds
from keras_ctr.datasets.reader import Dataset

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("KERAS_CTR_DATA") or ROOT.parent / "shared" / "data")
FIXED = ["frappe_x1", "criteo_x1", "avazu_x1", "movielenslatest_x1", "kkbox_x1"]
HELD_OUT = ["taobao_ad_x1", "amazon_electronics_x1", "microvideo_x1", "kuaivideo_x1"]
OURS = ["criteo_x4", "avazu_x4", *FIXED, *HELD_OUT]
CARDS = [*OURS, "movielens_1m", "amazon_sports", "amazon_toys", "criteo_1tb"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for every test, and no real data but where a test asks for them."""
    monkeypatch.setenv("KERAS_CTR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KERAS_CTR_DATA", raising=False)
    return tmp_path / "cache"


def real(path):
    if not (DATA / path).exists():
        pytest.skip(f"the real data {path} are not in {DATA} (KERAS_CTR_DATA names their folder)")
    return DATA / path


def clicks(rows=1000, seed=0):
    """A frame with every kind of column."""
    rng = np.random.default_rng(seed)
    items = rng.choice(list("abcdefgh"), (rows, 5))
    return pd.DataFrame(
        {
            "user": rng.integers(0, 40, rows),
            "item": items[:, 0],
            "price": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(0.5, 1, rows)),
            "seen": [
                "^".join(row[1 : 1 + count])
                for row, count in zip(items, rng.integers(0, 5, rows), strict=True)
            ],
            "click": rng.integers(0, 2, rows),
        }
    )


SCHEMA = Schema(
    [Categorical("user"), Categorical("item"), Numeric("price"), Sequence("seen", "item", 3)],
    label="click",
    group="user",
)


def rows_of(dataset):
    """All rows of a dataset as a sorted list, to compare sets of rows."""
    whole = [np.concatenate([*batch.values(), label], axis=1) for batch, label in dataset]
    return sorted(map(tuple, np.concatenate(whole).tolist()))


# --- names, options, missing files ---------------------------------------------------------------


def test_names_and_their_nearest_match():
    assert set(OURS) < set(datasets.names())
    with pytest.raises(ValueError, match="Did you mean 'frappe_x1'.*Known: "):
        datasets.load("frape_x1")
    with pytest.raises(
        ValueError, match="option of criteo_x4 'min_cuont'. Did you mean 'min_count'"
    ):
        datasets.load("criteo_x4", min_cuont=2)
    with pytest.raises(FileNotFoundError, match="no such file or folder: data/none.csv"):
        datasets.load("data/none.csv", label="click")


@pytest.mark.parametrize("name", OURS)
def test_missing_files_say_what_to_get_and_where_to_put_it(name, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=f"Download .*http.* Put them in .*{name}"):
        datasets.load(name)
    (tmp_path / name).mkdir()
    for root in (None, tmp_path / name):
        monkeypatch.setenv("KERAS_CTR_DATA", str(tmp_path))
        with pytest.raises(FileNotFoundError, match=f"{name} needs the file train.*Download"):
            datasets.load(name, root=root)
    with pytest.raises(FileNotFoundError, match="`root` must exist"):
        datasets.load(name, root=tmp_path / "nowhere")


def test_importing_the_package_imports_no_data_frames():
    code = (  # Keras itself imports pandas where it is installed
        "import sys, keras; before = set(sys.modules); import keras_ctr; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(new & {'pandas', 'polars'}, [n for n in sys.modules if 'keras_ctr.datasets.' in n])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert out.stdout.strip() == "set() []", out.stderr


# --- the known data sets -------------------------------------------------------------------------


@pytest.mark.parametrize("name", CARDS)
def test_cards_agree_with_the_code(name):
    schema = datasets.source(name)().schema()
    assert (ROOT / "datasets" / name / "schema.json").read_text() == schema.to_json() + "\n"
    card = (ROOT / "datasets" / name / "README.md").read_text()
    assert name in card and "licence" in card and "Where to get it" in card


def sample_root(name, tmp_path):
    sample = ROOT / "datasets" / name / "sample.csv"
    if name not in (*FIXED, *HELD_OUT):
        return sample
    for split in datasets.source(name).parts:
        (tmp_path / f"{split}.csv").write_bytes(sample.read_bytes())
    return tmp_path


@pytest.mark.parametrize("name", OURS)
def test_samples_load_and_can_be_predicted(name, tmp_path):
    root = sample_root(name, tmp_path)
    splits = datasets.load(name, root=root)
    rows = 60 if name in FIXED else 40 if name in HELD_OUT else 20
    assert sum(split.num_rows for split in splits) == rows
    for split in splits:
        batch, label = split[0]
        assert {
            key: (a.shape[1:], str(a.dtype)) for key, a in batch.items()
        } == split.schema.shapes()
        assert label.shape == (len(label), 1) and set(label.ravel()) <= {0, 1}
    encoder = splits[0].encoder
    assert encoder.source == name
    sample = ROOT / "datasets" / name / "sample.csv"
    frames = list(datasets.read_frames(sample, encoder))
    assert sum(len(encoder.encode(frame, label=False)["ids"]) for frame in frames) == 20


def test_validation_rows_of_train_and_test_files(tmp_path):
    root = sample_root("kuaivideo_x1", tmp_path)

    def sizes(**options):
        splits = datasets.load("kuaivideo_x1", root=root, **options)
        return [None if split is None else split.num_rows for split in splits]

    train, valid, test = sizes(valid=0.5)
    assert 0 < valid < 20 and (train + valid, test) == (20, 20)
    assert sizes(valid=0) == [20, None, 20]
    assert sizes(valid="test") == [20, 20, 20]
    _, valid, test = datasets.load("kuaivideo_x1", root=root, valid="test")
    assert rows_of(valid) == rows_of(test)
    first, again, other = (
        datasets.load("kuaivideo_x1", root=root, valid=0.5, seed=seed, valid_seed=drawn)[1]
        for seed, drawn in ((0, 0), (1, 0), (0, 1))
    )
    assert rows_of(first) == rows_of(again) != rows_of(other)
    with pytest.raises(ValueError, match="`valid` must be at least one row .* of 20 rows"):
        sizes(valid=1e-9)
    for wrong in (1, -0.1, True, "train"):
        with pytest.raises(ValueError, match=r"`valid` must lie in \[0, 1\), or be 'test'"):
            sizes(valid=wrong)


def test_kkbox_countries_and_ages():
    ages = ["0", "1", "10", "11", "60", "61", "95", "96", "x", None]
    codes = ["GBAYE0601498", "", None, *["USX"] * 7]
    frame = pl.DataFrame({"isrc": codes, "bd": ages})
    made = datasets.source("kkbox_x1")().raw(frame)
    assert made["isrc"].to_list() == ["GB", "", None, *["US"] * 7]
    assert made["bd"].to_list() == [None, "1", "1", "2", "6", "7", "7", None, None, None]


def test_the_last_day_of_criteo_is_halved(tmp_path):
    def row(label, count, hashed):
        return "\t".join([str(label), *[count] * 13, *[hashed] * 26]) + "\n"

    days = [["3", ""] * 10, ["7", "-1"] * 10, ["0"] * 7]
    for day, counts in enumerate(days):
        rows = [row(at % 2, count, f"{day:08x}") for at, count in enumerate(counts)]
        (tmp_path / f"day_{day}").write_text("".join(rows))
    splits = datasets.load("criteo_1tb", root=tmp_path, days=3, min_count=1)
    assert [split.num_rows for split in splits] == [40, 3, 4]  # the first half is the test
    train, valid, test = splits
    assert train.encoder.vocabulary("C1") == ["00000000", "00000001"]
    values = np.concatenate([batch["values"][:, 0] for batch, _ in train])
    expected = np.repeat([np.log(4), 0, np.log(8), -np.log(2)], 10)
    np.testing.assert_allclose(np.sort(values), np.sort(expected), rtol=1e-6)
    assert [test.labels.sum(), valid.labels.sum()] == [2, 1]
    with pytest.raises(FileNotFoundError, match="needs the file day_3 .*huggingface.co"):
        datasets.load("criteo_1tb", root=tmp_path)
    with pytest.raises(ValueError, match="`days` must be from 2 to 24"):
        datasets.load("criteo_1tb", root=tmp_path, days=1)


def test_the_sample_of_criteo_1tb(tmp_path):
    for day in range(2):
        sample = ROOT / "datasets" / "criteo_1tb" / "sample.csv"
        (tmp_path / f"day_{day}.gz").write_bytes(gzip.compress(sample.read_bytes()))
    splits = datasets.load("criteo_1tb", root=tmp_path, days=2)
    assert [split.num_rows for split in splits] == [20, 10, 10]
    assert splits[0].schema.shapes() == {"ids": ((26,), "int32"), "values": ((13,), "float32")}


@pytest.mark.parametrize("name", ["amazon_sports", "amazon_toys", "movielens_1m"])
def test_samples_of_relatives(name, tmp_path):
    source, page = datasets.source(name), ROOT / "datasets" / name
    if name == "movielens_1m":
        samples = dict(zip(source.names, ("sample.csv", "sample.user", "sample.item"), strict=True))
    else:
        samples = {f"{source.stem}.txt": "sample.txt"}
        samples[f"{source.stem}_item2attributes.json"] = "sample.json"
    for raw, sample in samples.items():
        (tmp_path / raw).write_bytes((page / sample).read_bytes())
    splits = datasets.load(name, root=tmp_path)
    assert all(split.num_rows > 4 for split in splits)
    assert splits[0].encoder.source == name


def movielens_1m(folder, **changed):
    files = {
        "ratings": [
            f"{at % 3 + 1}::{at % 5 + 1}::{at % 5 + 1}::{978300000 + at}" for at in range(30)
        ],
        "users": ["1::F::1::10::48067", "2::M::56::16::70072", "3::M::25::15::55117-1234"],
        "movies": [f"{at}::Film {at}: One (199{at})::Comedy|War" for at in range(1, 5)]
        + ["5::Père, Le (1998)::Drama"],
    }
    for name, lines in (files | changed).items():
        (folder / f"{name}.dat").write_bytes(("\n".join(lines) + "\n").encode("latin-1"))
    return folder


def test_movielens_1m_reads_its_format(tmp_path):
    from keras_ctr.datasets._raw.reader import Reader

    source = datasets.source("movielens_1m")()
    frames = dict(source.frames(movielens_1m(tmp_path), Reader()))
    assert [len(frame) for frame in frames.values()] == [24, 3, 3]
    last = frames["test"].row(2, named=True)
    assert (last["user"], last["item"], last["label"]) == (3, 5, 1)
    assert (last["year"], last["genre"], last["genres"]) == (1998, "Drama", "Drama")
    assert (last["age"], last["zip_code"], last["occupation"]) == (25, "55", "15")
    train = frames["train"].filter(pl.col("item") == 1)
    assert set(train["genre"]) == {"Comedy"} and set(train["genres"]) == {"Comedy|War"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"users": ["1::F::1::10"]}, r"users.dat, line 1: .* 5 fields, not 4"),
        ({"ratings": ["1::x::5::9"]}, r"ratings.dat, line 1: .*must be numbers"),
        (
            {"users": ["1::F::1::10::48067"]},
            r"user of .*ratings.dat must be .* users.dat. .*user 2",
        ),
    ],
)
def test_movielens_1m_names_what_is_wrong(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("movielens_1m", root=movielens_1m(tmp_path, **changed))


def test_criteo_tokens(tmp_path):
    row = ["0", "", "-2", "14.0", "2"] + ["5"] * 9 + ["68fd1e64", ""] + ["x"] * 24
    rows = [["1", *row[1:]], row] * 20
    (tmp_path / "train.txt").write_text("".join("\t".join(row) + "\r\n" for row in rows))
    train, valid, test = datasets.load("criteo_x4", root=tmp_path)
    assert (train.num_rows, valid.num_rows, test.num_rows) == (32, 4, 4)
    tokens = [train.encoder.vocabulary(name) for name in ("I1", "I2", "I3", "I4", "C1", "C2")]
    assert tokens == [["0"], ["-2"], ["6"], ["2"], ["68fd1e64"], [""]]
    (tmp_path / "test.txt").write_text("\t".join(row[1:]) + "\n")  # no label
    (frame,) = datasets.read_frames(tmp_path / "test.txt", train.encoder)
    assert (train.encoder.encode(frame)["ids"] == 2).all()


def test_avazu_time(tmp_path):
    source = datasets.source("avazu_x4")()
    frame = source.raw(pl.DataFrame({"hour": [14102100, 14102523, 14102605]}))
    # 2014-10-21 was a Tuesday, 25 and 26 Saturday and Sunday
    assert frame.rows() == [("00", 2, 0), ("23", 6, 1), ("05", 0, 1)]
    with pytest.raises(ValueError, match="YYMMDDHH. Received: '14139900'"):
        source.raw(pl.DataFrame({"hour": ["14139900"]}))


@pytest.mark.parametrize("rows", [25, 1003, 4_000])
def test_folds_are_those_of_scikit_learn_0_19(rows):
    y = (np.random.default_rng(rows).random(rows) < 0.2).astype(int)
    folds = stratified_folds(y)
    for label in (0, 1):
        of_class = folds[y == label]
        if len(of_class) < 10:
            continue
        # 0.19.1 splits every class by KFold, which has not changed since.
        splits = KFold(10, shuffle=True, random_state=2018).split(of_class)
        for fold, (_, chosen) in enumerate(splits):
            assert set(np.flatnonzero(of_class == fold)) == set(chosen)


def test_folds_have_the_published_sizes():
    """45,840,617 rows, of them 11,745,438 positive: 4,584,062 in each of the folds 0 and 1."""

    def size(count, fold):
        return count // 10 + (fold < count % 10)

    positives = 11_745_438
    sizes = [size(positives, f) + size(45_840_617 - positives, f) for f in range(10)]
    assert (sizes[0], sizes[1], sum(sizes[2:])) == (4_584_062, 4_584_062, 36_672_493)
    y = np.repeat([0, 1], [1007, 308])  # the same rule, on the code
    found = np.bincount(stratified_folds(y)).tolist()
    assert found == [size(1007, fold) + size(308, fold) for fold in range(10)]


def test_frappe_for_real():
    train, valid, test = datasets.load("frappe_x1", root=real("frappe_x1"))
    assert [d.num_rows for d in (train, valid, test)] == [202_027, 57_722, 28_860]
    assert repr(train) == "<Dataset: 202,027 rows, 10 columns, 50 batches of 4,096>"
    assert train.positives == 67_604 and len(train) == 50
    assert sum(c.size - 2 for c in train.schema.categoricals) == 5_379
    assert len(set(train.groups)) == train.schema["user"].size - 2


@pytest.mark.parametrize("file", ["train_head10k.txt.xz", "train_other10k.txt.xz"])
def test_criteo_for_real(file):
    train, valid, test = datasets.load("criteo_x4", root=real(f"criteo/{file}"))
    assert train.num_rows + valid.num_rows + test.num_rows == 10_000
    assert abs(valid.num_rows - 1000) < 3 and train[0][0]["ids"].shape == (4096, 39)
    assert all("." not in t for t in train.encoder.vocabulary("I5"))


def test_avazu_for_real():
    train, valid, test = datasets.load("avazu_x4", root=real("avazu/train_25k.csv.xz"))
    assert train.num_rows + valid.num_rows + test.num_rows == 24_999
    assert train.encoder.vocabulary("weekday") == ["2"]  # one hour of a Tuesday
    assert train.encoder.vocabulary("hour") == ["00"]


# --- the cache -----------------------------------------------------------------------------------


def test_the_second_load_opens_what_the_first_prepared(tmp_path, cache, monkeypatch):
    root = tmp_path / "raw"
    root.mkdir()
    for split in ("train", "valid", "test"):
        (root / f"{split}.csv").write_bytes((ROOT / "datasets/frappe_x1/sample.csv").read_bytes())
    first = datasets.prepare("frappe_x1", root=root)
    assert first.parent == cache
    assert datasets.prepare("frappe_x1", root=root, cache=cache) == first
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "fit", None)
        train, _, _ = datasets.load("frappe_x1", root=root)
    assert rows_of(train) == rows_of(datasets.load(first)[0])
    assert datasets.prepare("frappe_x1", root=root, on_bad_rows="skip") != first
    with open(root / "train.csv", "ab") as file:
        file.write(b"1,2,3,4,5,6,7,8,9,10,11\n")
    assert datasets.prepare("frappe_x1", root=root) != first


def test_prepare_to_a_folder(tmp_path):
    sample = ROOT / "datasets" / "criteo_x4" / "sample.csv"
    out = tmp_path / "deep" / "out"
    assert datasets.prepare("criteo_x4", root=sample, out=out) == out
    assert datasets.prepare("criteo_x4", root=sample, out=out) == out
    with pytest.raises(ValueError, match="`out` must be a new folder"):
        datasets.prepare("criteo_x4", root=sample, out=out, min_count=2)
    with pytest.raises(ValueError, match="`out` must be a new or empty folder"):
        datasets.prepare("criteo_x4", root=sample, out=tmp_path)
    with pytest.raises(ValueError, match="option of .*'label'"):
        datasets.load(out, label="click")
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["source"], manifest["options"]) == ("criteo_x4", {"min_count": 10})


def test_a_prepared_folder_opens_without_data_frame_libraries(tmp_path):
    sample = ROOT / "datasets" / "criteo_x4" / "sample.csv"
    datasets.prepare("criteo_x4", root=sample, out=tmp_path / "out")
    code = (
        "import sys; sys.modules['polars'] = sys.modules['pandas'] = None; "
        "import keras_ctr.datasets as d; print(d.load(sys.argv[1])[0][0][0]['ids'].shape)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert out.stdout.strip().endswith(", 39)"), out.stderr


def test_a_full_disk_is_reported_with_the_folder(tmp_path, cache, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    for module, name in ((np.lib.format, "write_array_header_1_0"), (staging, "open")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, full, raising=False)
            with pytest.raises(OSError, match=f"could not be written to {cache}.*No space left"):
                datasets.load("criteo_x4", root=ROOT / "datasets" / "criteo_x4" / "sample.csv")
        assert list(cache.iterdir()) == []


# --- files and folders ---------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".tsv", ".parquet"])
def test_a_file_gives_the_same_rows_in_every_format(tmp_path, ending):
    df = clicks()
    path = tmp_path / f"clicks{ending}"
    if ending == ".parquet":
        pl.DataFrame({name: df[name].tolist() for name in df}).write_parquet(path)
    else:
        df.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    train, valid, test = datasets.load(path, schema=SCHEMA, valid=0.2, test=0.1, seed=3)
    assert sum(d.num_rows for d in (train, valid, test)) == 1000
    assert 150 < valid.num_rows < 250 and 60 < test.num_rows < 140
    encoded = train.encoder.encode(df)
    whole = np.concatenate([encoded[key] for key in ("ids", "values", "seen", "label")], axis=1)
    assert sorted(map(tuple, whole.tolist())) == sorted(
        itertools.chain(*(rows_of(d) for d in (train, valid, test)))
    )


def test_the_cut_does_not_depend_on_blocks(tmp_path, monkeypatch):
    clicks().to_csv(tmp_path / "clicks.csv", index=False)
    whole = datasets.load(tmp_path / "clicks.csv", schema=SCHEMA, cache=tmp_path / "whole")
    monkeypatch.setattr("keras_ctr.datasets._raw.compression.BLOCK", 1000)
    blocks = datasets.load(tmp_path / "clicks.csv", schema=SCHEMA, cache=tmp_path / "blocks")
    for one, other in zip(whole, blocks, strict=True):
        (batch, label), (other_batch, other_label) = one[0], other[0]
        np.testing.assert_array_equal(batch["ids"], other_batch["ids"])
        np.testing.assert_allclose(batch["values"], other_batch["values"], atol=1e-6)
        np.testing.assert_array_equal(label, other_label)


def test_a_schema_is_inferred_from_text(tmp_path):
    clicks().drop(columns="seen").to_csv(tmp_path / "clicks.csv", index=False)
    train, _, test = datasets.load(tmp_path / "clicks.csv", label="click", group="user", test=0)
    assert [f.name for f in train.schema.categoricals] == ["user", "item"]
    assert [f.name for f in train.schema.numerics] == ["price", "price.missing"]
    assert train.schema.group == "user" and test is None
    with pytest.raises(ValueError, match="`label` must name the label column"):
        datasets.load(tmp_path / "clicks.csv")
    with pytest.raises(ValueError, match="Unknown column 'clik'. Did you mean 'click'"):
        datasets.load(tmp_path / "clicks.csv", label="clik")


def test_a_folder_of_splits(tmp_path):
    clicks().to_csv(tmp_path / "train.csv.gz", index=False)
    clicks(100, seed=1).to_csv(tmp_path / "test.csv", index=False)
    train, valid, test = datasets.load(tmp_path, schema=SCHEMA)
    assert test.num_rows == 100 and train.num_rows + valid.num_rows == 1000
    (tmp_path / "test.tsv").write_text("")
    with pytest.raises(ValueError, match="one test file. Received: test.csv, test.tsv"):
        datasets.load(tmp_path, schema=SCHEMA)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="must hold data files"):
        datasets.load(tmp_path / "empty", schema=SCHEMA)


def test_bad_rows_are_named_or_skipped(tmp_path):
    path = tmp_path / "clicks.csv"
    clicks().to_csv(path, index=False)
    lines = path.read_text().splitlines()
    lines[500] = "only,two"
    lines[600] = lines[600].rsplit(",", 1)[0] + ",yes"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"clicks\.csv, line 501: a row must have 5 fields, not 2"):
        datasets.load(path, schema=SCHEMA)
    splits = datasets.load(path, schema=SCHEMA, on_bad_rows="skip")
    assert sum(d.num_rows for d in splits) == 998
    assert sum(d.skipped_rows for d in splits) == 2


def test_labels_and_columns_of_a_file(tmp_path):
    path = tmp_path / "clicks.csv"
    clicks().assign(click=lambda df: df.click * 2).to_csv(path, index=False)
    with pytest.raises(
        ValueError, match=r"In .*clicks\.csv: The label 'click' must be 0 or 1. .* of 1000 rows"
    ):
        datasets.load(path, schema=SCHEMA)
    clicks().rename(columns={"price": "prize"}).to_csv(path, index=False)
    with pytest.raises(ValueError, match="missing price; not expected prize"):
        datasets.load(path, schema=SCHEMA)
    path.write_text("user,item,price,seen,click\n")
    with pytest.raises(ValueError, match="no rows"):
        datasets.load(path, schema=SCHEMA)


def test_read_frames_of_other_files(tmp_path):
    train, _, _ = datasets.from_pandas(clicks(), SCHEMA)
    df = clicks(seed=5)
    df.drop(columns="click").assign(more=1).to_csv(tmp_path / "new.csv", index=False)
    (frame,) = datasets.read_frames(tmp_path / "new.csv", train.encoder)
    expected = train.encoder.encode(df, label=False)
    for key, array in train.encoder.encode(frame).items():
        np.testing.assert_array_equal(array, expected[key])


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pd.DataFrame, lambda df: pl.DataFrame(df.to_dict("list"))])
def test_from_pandas_cuts_every_row_once(kind):
    frame = kind(clicks())
    splits = datasets.from_pandas(frame, SCHEMA, valid=0.2, seed=1)
    assert [d.num_rows for d in splits] == [700, 200, 100]
    again = datasets.from_pandas(frame, SCHEMA, valid=0.2, seed=1)
    other = datasets.from_pandas(frame, SCHEMA, valid=0.2, seed=2)
    assert rows_of(splits[0]) == rows_of(again[0]) != rows_of(other[0])
    everything, none, nothing = datasets.from_pandas(frame, SCHEMA, valid=0, test=0)
    assert everything.num_rows == 1000 and none is nothing is None


def test_from_pandas_with_frames_and_an_encoder():
    encoder = datasets.from_pandas(clicks(), SCHEMA)[0].encoder
    train, valid, test = datasets.from_pandas(
        clicks(),
        valid=clicks(50, 1),
        test=clicks(60, 2),
        encoder=encoder,
        label="click",
        batch_size=100,
    )
    assert (train.num_rows, valid.num_rows, test.num_rows) == (1000, 50, 60)
    assert train.encoder is encoder
    np.testing.assert_array_equal(valid[0][0]["ids"], encoder.encode(clicks(50, 1))["ids"])


def test_from_pandas_says_what_is_wrong():
    df = clicks(20)
    infinite = df.assign(price=[0.0] * 13 + [np.inf] + [0.0] * 6)
    for wrong, message in (
        (lambda: datasets.from_pandas(df), "`label` must name"),
        (lambda: datasets.from_pandas(df, SCHEMA, label="item"), "must be those of the schema"),
        (lambda: datasets.from_pandas(df, SCHEMA, valid=0.6, test=0.4), "leave rows to train on"),
        (lambda: datasets.from_pandas(df, SCHEMA, valid=1.5), r"`valid` must lie in \[0, 1\)"),
        (lambda: datasets.from_pandas(df.head(1), SCHEMA), "must have rows. Received: none"),
        (lambda: datasets.from_pandas(df.assign(more=1), SCHEMA), "not in the schema more"),
        (lambda: datasets.from_pandas(df.drop(columns="item"), SCHEMA), "missing item"),
        (lambda: datasets.from_pandas(df.assign(click=3), SCHEMA), "20 of 20 .* first 3 at row 0"),
        (lambda: datasets.from_pandas(infinite, SCHEMA), "'price' must be finite.*inf at row 13"),
        (lambda: datasets.from_pandas([1, 2], SCHEMA), "must be a pandas or polars data frame"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


# --- batches -------------------------------------------------------------------------------------


def numbered(rows, shards=1, **options):
    """A dataset whose only id is the row's number."""
    features = [Categorical("row", size=rows)]
    encoder = Encoder(Schema(features, label="y")).fit(pd.DataFrame({"row": [0], "y": [0]}))
    ids = np.arange(rows, dtype="int32")[:, None]
    label = (ids % 2).astype("float32")
    cuts = np.array_split(np.arange(rows), shards)
    return Dataset(Split([{"ids": ids[c], "label": label[c]} for c in cuts]), encoder, **options)


def order(dataset):
    return np.concatenate([batch["ids"][:, 0] for batch, _ in dataset])


@pytest.mark.parametrize("rows, size, shards", [(10, 3, 1), (1000, 64, 7), (1_200_000, 50_000, 3)])
def test_every_row_comes_once_per_epoch_in_a_new_order(rows, size, shards):
    dataset = numbered(rows, shards, batch_size=size, shuffle=True, seed=4)
    epochs = []
    for _ in range(2):
        epochs.append(order(dataset))
        np.testing.assert_array_equal(np.sort(epochs[-1]), np.arange(rows))
        dataset.on_epoch_end()
    assert (epochs[0] != epochs[1]).any()
    np.testing.assert_array_equal(order(dataset.with_options()), epochs[0])
    assert (order(dataset.with_options(seed=5)) != epochs[0]).any()
    np.testing.assert_array_equal(order(dataset.with_options(shuffle=False)), np.arange(rows))
    first = dataset.with_options()[0][0]["ids"]
    assert np.ptp(first) > rows / 2  # rows from far apart


def test_batches_do_not_depend_on_the_order_of_reading(monkeypatch):
    monkeypatch.setattr("keras_ctr.datasets.reader.BLOCK", 16)
    monkeypatch.setattr("keras_ctr.datasets.reader.KEPT", 2)
    dataset = numbered(5000, 3, batch_size=100, shuffle=True)
    forward = [dataset[at][0]["ids"] for at in range(50)]
    order = np.random.default_rng(0).permutation(50)
    with ThreadPoolExecutor(8) as pool:
        for at, (batch, _) in zip(order, pool.map(dataset.__getitem__, order), strict=True):
            np.testing.assert_array_equal(batch["ids"], forward[at])
    np.testing.assert_array_equal(np.sort(np.concatenate(forward)[:, 0]), np.arange(5000))


def test_batch_sizes_remainders_and_views():
    dataset = numbered(10, batch_size=4)
    assert [len(label) for _, label in dataset] == [4, 4, 2] and len(dataset) == 3
    assert [len(label) for _, label in dataset.with_options(drop_remainder=True)] == [4, 4]
    assert len(dataset.with_options(batch_size=100)) == 1
    batch, label = dataset[2]
    assert batch["ids"].dtype == "int32" and label.dtype == "float32" and label.shape == (2, 1)
    assert batch["ids"].flags.c_contiguous and batch["ids"].flags.writeable
    np.testing.assert_array_equal(label, batch["ids"] % 2)
    with pytest.raises(IndexError):
        dataset[3]
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        dataset.with_options(batch_size=0)


def test_what_a_dataset_knows():
    df = clicks(100)
    train, valid, _ = datasets.from_pandas(df, SCHEMA)
    assert train.shuffle and not valid.shuffle
    assert train.schema == train.encoder.schema and train.skipped_rows == 0
    assert train.labels.shape == (80, 1) and train.positives == int(train.labels.sum())
    assert train.groups.shape == (80,) and len(set(train.groups)) == train.schema["user"].size - 2
    table = train.to_pandas(3)
    assert list(table) == ["user", "item", "price", "seen", "click"] and len(table) == 3
    with pytest.raises(ValueError, match="extra column 'probability'"):
        train.extra("probability")


def test_extra_columns_and_weights():
    arrays = datasets.from_pandas(clicks(50), SCHEMA, valid=0, test=0)[0]
    shard = {key: arrays._split.column(key) for key in arrays._split.keys}
    weight = np.arange(50, dtype="float32")
    split = Split([shard | {"extra:weight": weight, "extra:probability": weight / 50}])
    dataset = Dataset(split, arrays.encoder, batch_size=20)
    batch, _, batch_weight = dataset[1]
    assert set(batch) == {"ids", "values", "seen"}
    np.testing.assert_array_equal(batch_weight, weight[20:40])
    np.testing.assert_array_equal(dataset.extra("probability"), weight / 50)


def test_keras_fits_on_it():
    import keras

    train, valid, _ = datasets.from_pandas(clicks(), SCHEMA, batch_size=128)
    inputs = {
        "ids": keras.Input((2,), dtype="int32", name="ids"),
        "values": keras.Input((1,), name="values"),
        "seen": keras.Input((3,), dtype="int32", name="seen"),
    }
    x = keras.layers.Flatten()(keras.layers.Embedding(60, 2)(inputs["ids"]))
    x = keras.layers.Concatenate()([x, inputs["values"]])
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
    model.compile("adam", "binary_crossentropy")
    history = model.fit(train, validation_data=valid, epochs=2, verbose=0)
    assert len(history.history["val_loss"]) == 2 and train.epoch >= 2


# One way for frames, files and sources of one's own


class Coins(Source):
    def __init__(self, throws=100):
        self.throws = throws

    def schema(self):
        return Schema([Categorical("hand")], label="heads")

    def frames(self, root, reader):
        for split in ("train", "valid", "test"):
            hands = ["left", "right"] * self.throws
            yield split, pl.DataFrame({"hand": hands, "heads": [0, 1] * self.throws})


def test_a_source_of_ones_own(tmp_path):
    few, many = (load(Coins(throws), cache=tmp_path) for throws in (5, 50))
    assert (few[0].num_rows, many[0].num_rows) == (10, 100)
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert len(folders) == 2 and all(name.startswith("coins-") for name in folders)
    load(Coins(5), cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "new.csv").write_text("hand\nleft\n")
    [frame] = datasets.read_frames(tmp_path / "new.csv", few[0].encoder)
    assert frame["hand"].to_list() == ["left"]


def test_a_source_is_an_object_without_options(tmp_path):
    with pytest.raises(ValueError, match="forget the brackets"):
        load(Coins, cache=tmp_path)
    with pytest.raises(ValueError, match="Unknown option of coins 'throws'"):
        load(Coins(), cache=tmp_path, throws=3)
    with pytest.raises(ValueError, match="an object of `datasets.Source`"):
        load(3, cache=tmp_path)


def test_frames_and_files_are_encoded_alike(tmp_path):
    """The same parts as files and as frames."""
    rng = np.random.default_rng(0)
    parts = {
        split: pl.DataFrame(
            {"c": rng.choice(["a", "b", "ç"], n), "x": rng.random(n), "y": rng.integers(0, 2, n)}
        )
        for split, n in (("train", 50), ("valid", 20), ("test", 10))
    }
    folder = tmp_path / "data"
    folder.mkdir()
    for split, frame in parts.items():
        frame.write_csv(folder / f"{split}.csv")
    schema = Schema([Categorical("c"), Numeric("x")], label="y")
    files = load(folder, schema=schema, cache=tmp_path / "cache")
    frames = datasets.from_pandas(parts["train"], schema, valid=parts["valid"], test=parts["test"])
    assert files[0].encoder.vocabulary("c") == frames[0].encoder.vocabulary("c")
    for one, other in zip(files, frames, strict=True):
        one, other = (part.with_options(shuffle=False, batch_size=100) for part in (one, other))
        for key in ("ids", "values"):
            np.testing.assert_array_equal(one[0][0][key], other[0][0][key])
