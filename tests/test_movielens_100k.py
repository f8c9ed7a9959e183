"""MovieLens-100k: the split by time, and histories that know nothing of the present."""

import collections
import datetime
import gzip
import lzma
import pathlib
import shutil

import numpy as np
import polars as pl
import pytest

from keras_ctr import datasets
from keras_ctr.datasets._raw.reader import Reader
from keras_ctr.datasets.movielens_100k import GENRES, MovieLens100K

pytestmark = pytest.mark.once

CARD = pathlib.Path(__file__).parents[1] / "datasets" / "movielens_100k"
SAMPLES = {"u.data": "sample.csv", "u.user": "sample.user", "u.item": "sample.item"}


@pytest.fixture
def folder(tmp_path):
    """The generated sample under the names of the raw files."""
    for name, sample in SAMPLES.items():
        shutil.copy(CARD / sample, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="session")
def real(real_data):
    if not (real_data / "ml_100k").is_dir():
        pytest.skip("MovieLens-100k is absent: no folder ml_100k in the real data")
    return real_data / "ml_100k"


def frames(root, **options):
    return dict(MovieLens100K(**options).frames(root, Reader()))


def write(folder, ratings, users=3, items=5):
    """Writes raw files with these `(user, item, rating, time)`, and plain users and items."""
    lines = ["\t".join(map(str, rating)) for rating in ratings]
    (folder / "u.data").write_text("\n".join(lines) + "\n")
    user = [f"{k}|{20 + k}|F|writer|1234{k}" for k in range(1, users + 1)]
    (folder / "u.user").write_text("\n".join(user) + "\n")
    flags = "|".join("1" if genre in ("Comedy", "War") else "0" for genre in GENRES)
    item = [f"{k}|Film {k}|01-Jan-199{k}||url|{flags}" for k in range(1, items + 1)]
    (folder / "u.item").write_text("\n".join(item) + "\n")
    return folder


def check_histories(ratings, made, threshold, length):
    """Compares `made` with histories put together rating by rating, for 300 rows at most.

    The same set of earlier films in the same order, except that films rated in one second come in
    the order of their ids.
    """
    by_user = collections.defaultdict(list)
    for user, item, rating, time in ratings:
        by_user[user].append((time, item, rating))
    when = {(user, item): time for user, item, _, time in ratings}
    rows = made.sample(min(300, len(made)), seed=0)
    full = 0
    for user, item, liked, disliked in rows["user", "item", "liked", "disliked"].iter_rows():
        now = when[user, item]
        earlier = sorted(event for event in by_user[user] if event[0] < now)
        wanted = [film for _, film, rating in earlier if rating >= threshold][-length:]
        others = [film for _, film, rating in earlier if rating < threshold][-length:]
        assert (liked, disliked) == (wanted, others)
        assert all(when[user, film] < now for film in liked + disliked)
        full += len(liked) == length
    return full


# --- real files ----------------------------------------------------------------------------------


def test_real_files(real):
    made = frames(real)
    sizes = {split: len(frame) for split, frame in made.items()}
    assert sizes == {"train": 79_999, "valid": 10_001, "test": 10_000}
    text = lzma.open(real / "u.data.xz", "rt").read().splitlines()
    ratings = [tuple(map(int, line.split("\t"))) for line in text]
    when = {(user, item): time for user, item, _, time in ratings}
    times = [[when[pair] for pair in frame["user", "item"].iter_rows()] for frame in made.values()]
    assert max(times[0]) < min(times[1]) and max(times[1]) < min(times[2])
    whole = pl.concat(made.values())
    assert whole["label"].sum() == sum(rating >= 4 for _, _, rating, _ in ratings) == 55_375
    assert whole["user"].n_unique() == 943 and whole["item"].n_unique() == 1682
    assert whole["genre"].n_unique() == 19
    assert whole["year"].min() == 1922 and whole["year"].max() == 1998
    assert whole["year"].null_count() == 9  # the ratings of the film "unknown"
    assert whole.drop("year").null_count().sum_horizontal()[0] == 0
    assert check_histories(ratings, whole, 4, 50) > 20


def test_real_files_load(real, tmp_path):
    train, valid, test = datasets.load("movielens_100k", root=real, cache=tmp_path)
    assert [split.num_rows for split in (train, valid, test)] == [79_999, 10_001, 10_000]
    batch, label = test[0]
    shapes = {key: value.shape for key, value in batch.items()}
    assert shapes == {
        "ids": (4096, 10),
        "values": (4096, 1),
        "liked": (4096, 50),
        "disliked": (4096, 50),
    }
    assert label.shape == (4096, 1)
    frame = frames(real)["test"][:4096]
    for name in ("liked", "disliked"):
        np.testing.assert_array_equal((batch[name] > 0).sum(axis=1), frame[name].list.len())
    assert train.schema.sized and 10 <= train.schema["age"].size <= 12


# --- generated files -----------------------------------------------------------------------------


@pytest.mark.parametrize(("threshold", "history"), [(4, 50), (3, 2)])
def test_histories_of_the_sample(folder, threshold, history):
    lines = (CARD / "sample.csv").read_text().splitlines()
    ratings = [tuple(map(int, line.split("\t"))) for line in lines]
    whole = pl.concat(frames(folder, threshold=threshold, history=history).values())
    assert len(whole) == len(ratings) == 60
    assert len({(user, time) for user, _, _, time in ratings}) < 60  # some in the same second
    check_histories(ratings, whole, threshold, history)


def test_ratings_of_one_second(tmp_path):
    """They stay in one split, and in none of each other's histories."""
    second = [(1, 1, 5, 10), (1, 2, 5, 20), (1, 3, 1, 20), (1, 4, 5, 20), (2, 1, 5, 20)]
    later = [(1, 5, 4, 30), (2, 2, 5, 40), (2, 3, 3, 40), (3, 1, 2, 40), (3, 2, 4, 50)]
    made = frames(write(tmp_path, [*later, *second]))
    columns = ["user", "item", "liked", "disliked", "label"]
    rows = {split: frame.select(columns).rows() for split, frame in made.items()}
    assert rows["train"] == [
        (1, 1, [], [], 1),
        (1, 2, [1], [], 1),
        (1, 3, [1], [], 0),
        (1, 4, [1], [], 1),
        (2, 1, [], [], 1),
        (1, 5, [1, 2, 4], [3], 1),
    ]
    # The cut after 8 of 10 rows falls among three ratings at 40: all are for validation.
    assert rows["valid"] == [(2, 2, [1], [], 1), (2, 3, [1], [], 0), (3, 1, [], [], 0)]
    assert rows["test"] == [(3, 2, [], [1], 1)]


def test_columns_of_a_row(tmp_path):
    wednesday = datetime.datetime(1997, 11, 26, 23, 2, 3, tzinfo=datetime.UTC)
    time = int(wednesday.timestamp())
    ratings = [(k % 3 + 1, k % 5 + 1, 3 + k % 2, time + 60 * k) for k in range(15)]
    (row, *_) = frames(write(tmp_path, ratings))["train"].to_dicts()
    assert row == {
        "user": 1,
        "item": 1,
        "gender": "F",
        "occupation": "writer",
        "zip_code": "12",
        "genre": "Comedy",
        "genres": "Comedy|War",
        "hour": 23,
        "weekday": 3,
        "age": 21,
        "year": 1991.0,
        "liked": [],
        "disliked": [],
        "label": 0,
    }


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_compressed_files_and_the_front_door(folder, tmp_path_factory, pack):
    ending = {gzip.compress: ".gz", lzma.compress: ".xz"}[pack]
    plain = frames(folder)
    for name in SAMPLES:
        raw = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / (name + ending)).write_bytes(pack(raw))
    assert all(plain[split].equals(frame) for split, frame in frames(folder).items())
    cache = tmp_path_factory.mktemp("cache")
    train, valid, test = datasets.load("movielens_100k", root=folder, cache=cache, history=3)
    assert train.num_rows + valid.num_rows + test.num_rows == 60
    batch, label = valid[0]
    assert batch["liked"].shape == (len(label), 3)
    row = {"user": ["1"], "item": ["2"], "liked": ["4^9"], "disliked": [""], "year": [1980.0]}
    frame = pl.DataFrame(row).with_columns(
        **{name: pl.lit("x") for name in "gender occupation zip_code genre genres".split()},
        **{name: pl.lit(20) for name in "age hour weekday".split()},
    )
    frame.write_csv(folder / "new.csv")
    (frame,) = datasets.read_frames(folder / "new.csv", train.encoder)
    encoded = train.encoder.encode(frame, label=False)
    assert encoded["ids"].shape == (1, 10) and (encoded["liked"] == 0).sum() == 1


def edit(name, old, new):
    def change(folder):
        text = (folder / name).read_text(encoding="latin-1")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="latin-1")

    return change


BAD = {
    "a field too many": (edit("u.data", "\t", "\t7\t"), r"u.data, line 1: .* 4 fields, not 5"),
    "text for a number": (edit("u.data", "\t", "\tx"), "u.data, line 1: column 'item' .* 'x"),
    "half a star": (edit("u.data", "\t5\t", "\t4.5\t"), "'rating' of .*u.data .* whole.* 4.5"),
    "no rating": (edit("u.data", "\t5\t", "\t\t"), "'rating' of .*u.data must have no gaps.* 1"),
    "an unknown user": (edit("u.user", "1|", "99|"), r"user of .*u.data .* in u.user. Rec.* 1$"),
    "an unknown item": (edit("u.item", "1|", "99|"), r"item of .*u.data .* in u.item. Rec.* 1$"),
    "a user twice": (edit("u.user", "2|", "1|"), "u.user must describe each user once.*user 1"),
    "a short item": (edit("u.item", "|0\n", "\n"), r"u.item, line \d+: .* 24 fields, not 23"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_files(folder, bad):
    change, message = BAD[bad]
    change(folder)
    with pytest.raises(ValueError, match=message):
        frames(folder)


def test_bad_rows_can_be_skipped(folder, tmp_path_factory):
    edit("u.data", "\t", "\tx")(folder)
    cache = tmp_path_factory.mktemp("cache")
    splits = datasets.load("movielens_100k", root=folder, cache=cache, on_bad_rows="skip")
    assert sum(split.num_rows for split in splits) == 59
    for line in ("1\tx\t3\t4\n", "x\n"):
        (folder / "u.data").write_text(line)
        with pytest.raises(ValueError, match="u.data must hold well-formed rows. Received: none"):
            list(MovieLens100K().frames(folder, Reader("skip")))


def test_missing_files(folder, tmp_path):
    (folder / "u.item").unlink()
    with pytest.raises(FileNotFoundError, match="needs the file u.item .*grouplens"):
        datasets.load("movielens_100k", root=folder, cache=tmp_path / "cache")


def test_too_few_times(tmp_path):
    with pytest.raises(ValueError, match="cut into three.*Received: 9 ratings at 1 times"):
        frames(write(tmp_path, [(u, i, 4, 7) for u in (1, 2, 3) for i in (1, 2, 3)]))


@pytest.mark.parametrize(
    "options", [{"threshold": 1}, {"threshold": 6}, {"history": 0}, {"history": 2.5}]
)
def test_options_are_checked(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}="):
        MovieLens100K(**options)


def test_the_card_agrees_with_the_code():
    assert (CARD / "schema.json").read_text() == MovieLens100K().schema().to_json() + "\n"
    card = (CARD / "README.md").read_text()
    for feature in MovieLens100K().schema():
        assert f"`{feature.name}`" in card
