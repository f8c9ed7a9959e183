"""Amazon Beauty: leave one out, histories before the target, negatives that nobody has."""

import collections
import gzip
import json
import lzma
import pathlib
import shutil

import numpy as np
import polars as pl
import pytest

from keras_ctr import datasets, metrics
from keras_ctr.datasets._raw.reader import Reader
from keras_ctr.datasets.amazon_beauty import AmazonBeauty

pytestmark = pytest.mark.once

CARD = pathlib.Path(__file__).parents[1] / "datasets" / "amazon_beauty"
SAMPLES = {"Beauty.txt": "sample.txt", "Beauty_item2attributes.json": "sample.json"}


@pytest.fixture
def folder(tmp_path):
    """The generated sample under the names of the raw files."""
    for name, sample in SAMPLES.items():
        shutil.copy(CARD / sample, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="session")
def real(real_data):
    if not (real_data / "amazon_beauty").is_dir():
        pytest.skip("Amazon Beauty is absent: no folder amazon_beauty in the real data")
    return real_data / "amazon_beauty"


def frames(root, **options):
    return dict(AmazonBeauty(**options).frames(root, Reader()))


def write(folder, users, about=None):
    """Writes raw files of `{user: items}`, with attributes 1 and 2 for items without others."""
    lines = [" ".join(map(str, [user, *items])) for user, items in users.items()]
    (folder / "Beauty.txt").write_text("\n".join(lines) + "\n")
    items = {item for items in users.values() for item in items}
    about = {str(item): [1, 2] for item in sorted(items)} | (about or {})
    (folder / "Beauty_item2attributes.json").write_text(json.dumps(about))
    return folder


def users_of(text):
    lines = [list(map(int, line.split())) for line in text.splitlines()]
    return {user: items for user, *items in lines}


def expected(users, length, train_positions=None):
    """The positives of every split, put together user by user: `(user, item, history)`."""
    rows = {"train": [], "valid": [], "test": []}
    for user, items in users.items():
        at = [(user, item, items[max(0, k - length) : k]) for k, item in enumerate(items)][1:]
        if len(items) >= 4:
            *at, valid, test = at
            rows["valid"].append(valid)
            rows["test"].append(test)
        rows["train"] += at[-train_positions:] if train_positions else at
    return rows


def check_protocol(made, users, catalogue, negatives=1, length=50, train_positions=None):
    """Every positive, in order, each followed by its negatives."""
    positives = expected(users, length, train_positions)
    assert set(made) == set(positives)
    for split, frame in made.items():
        rows = frame["user", "item", "history"].rows()
        assert rows[:: 1 + negatives] == positives[split]
        labels = frame["label"].to_numpy().reshape(-1, 1 + negatives)
        assert (labels == [1] + [0] * negatives).all()
        for k in range(1, 1 + negatives):
            for (user, item, history), positive in zip(
                rows[k :: 1 + negatives], positives[split], strict=True
            ):
                assert (user, history) == (positive[0], positive[2])
                assert item in catalogue and item not in users[user]


# --- real files ----------------------------------------------------------------------------------


def test_real_files(real):
    made = frames(real)
    sizes = {split: len(frame) for split, frame in made.items()}
    assert sizes == {"train": 262_826, "valid": 44_726, "test": 44_726}
    users = users_of(lzma.open(real / "Beauty.txt.xz", "rt").read())
    assert len(users) == 22_363 and sum(map(len, users.values())) == 198_502
    some = dict(list(users.items())[::20])
    few = {split: frame.filter(pl.col("user").is_in(list(some))) for split, frame in made.items()}
    check_protocol(few, some, catalogue=range(1, 12_102))
    whole = pl.concat(made.values())
    names = ["item", "first_attribute", "last_attribute", "attributes"]
    assert [whole[name].n_unique() for name in names] == [12_101, 443, 195, 3_120]
    assert whole.null_count().sum_horizontal()[0] == 0
    assert (whole["history"].list.len() == 50).sum() > 1000
    assert (made["train"]["user"].value_counts()["count"] >= 50).sum() == 607
    # Uniform: as many draws of each item as of a Poisson variable, but for the items of the user.
    drawn = whole.filter(label=0)["item"].value_counts()["count"].to_numpy()
    mean = len(whole) / 2 / 12_101
    assert abs(drawn.mean() - mean) < 0.01 and abs(drawn.std() - mean**0.5) < 0.1


def test_popularity_of_the_real_files(real):
    """The card: what the number of an item's training positives tells of the test."""
    made = frames(real)
    count = made["train"].filter(label=1).group_by("item").agg(n=pl.len())
    test = made["test"].join(count, on="item", how="left", maintain_order="left")
    assert round(metrics.auc(test["label"], test["n"].fill_null(0)), 2) == 0.64


def test_real_files_load(real, tmp_path):
    options = {"root": real, "cache": tmp_path, "train_positions": 1}
    train, valid, test = datasets.load("amazon_beauty", **options)
    assert [split.num_rows for split in (train, valid, test)] == [44_726] * 3
    batch, label = test[0]
    shapes = {key: value.shape for key, value in batch.items()}
    assert shapes == {"ids": (4096, 5), "history": (4096, 50)} and label.shape == (4096, 1)
    frame = frames(real)["test"][:4096]
    np.testing.assert_array_equal((batch["history"] > 0).sum(axis=1), frame["history"].list.len())
    assert train.schema["user"].size == 2 and len(set(test.groups)) == 22_363


# --- generated files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"negatives": 3, "length": 2}, {"train_positions": 1}], ids=str
)
def test_the_protocol_on_the_sample(folder, options):
    users = users_of((CARD / "sample.txt").read_text())
    assert {len(items) for items in users.values()} >= {2, 3, 4, 5}
    given = {"history" if name == "length" else name: value for name, value in options.items()}
    catalogue = {item for items in users.values() for item in items}
    check_protocol(frames(folder, **given), users, catalogue, **options)


def test_rows_of_a_user(tmp_path):
    write(tmp_path, {7: [5, 3, 9, 4, 8], 2: [9, 6, 3], 1: [9]}, {"9": [4, 6, 2], "4": []})
    made = frames(tmp_path, history=3)
    columns = ["user", "item", "history"]
    rows = {split: frame.filter(label=1)[columns].rows() for split, frame in made.items()}
    assert rows == {
        "train": [(7, 3, [5]), (7, 9, [5, 3]), (2, 6, [9]), (2, 3, [9, 6])],
        "valid": [(7, 4, [5, 3, 9])],
        "test": [(7, 8, [3, 9, 4])],
    }
    # Item 6 is the only one that user 7 has not.
    assert made["test"].filter(label=0)[columns].rows() == [(7, 6, [3, 9, 4])]
    about = pl.concat(made.values())["item", "first_attribute", "last_attribute", "attributes"]
    assert set(about.rows()) >= {(9, "4", "2", "4|6|2"), (3, "1", "2", "1|2"), (4, *[None] * 3)}


def test_negatives_are_uniform(tmp_path):
    """Over the items that the user has not, among them those at both ends of the catalogue."""
    others = {2001: list(range(1, 7)), 2002: list(range(7, 13))}
    users = dict.fromkeys(range(1, 1001), [3, 10, 4, 7, 4]) | others
    made = pl.concat(frames(write(tmp_path, users)).values())
    made = made.filter((pl.col("label") == 0) & (pl.col("user") <= 1000))
    drawn = collections.Counter(made["item"])
    assert set(drawn) == {1, 2, 5, 6, 8, 9, 11, 12}
    np.testing.assert_allclose(list(drawn.values()), 4000 / 8, atol=4 * 500**0.5)


def test_negatives_depend_on_their_seed_only(folder):
    first, again, other = frames(folder), frames(folder), frames(folder, negatives_seed=1)
    assert all(first[split].equals(again[split]) for split in first)
    assert not any(first[split]["item"].equals(other[split]["item"]) for split in first)
    assert all(first[split].filter(label=1).equals(other[split].filter(label=1)) for split in first)
    fewer, more = frames(folder, train_positions=1), frames(folder, negatives=2)
    assert fewer["test"].equals(first["test"]) and len(fewer["train"]) < len(first["train"])
    one, two = (more["test"]["item"].gather_every(3, k) for k in (1, 2))
    assert one.equals(first["test"]["item"].gather_every(2, 1)) and not one.equals(two)


def test_the_seed_of_load_leaves_the_rows(folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    one, other = (
        datasets.load("amazon_beauty", root=folder, cache=cache, seed=seed) for seed in (0, 1)
    )
    np.testing.assert_array_equal(one[2][0][0]["ids"], other[2][0][0]["ids"])
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_compressed_files_and_the_front_door(folder, tmp_path_factory, pack):
    ending = {gzip.compress: ".gz", lzma.compress: ".xz"}[pack]
    plain = frames(folder)
    for name in SAMPLES:
        raw = (folder / name).read_bytes().replace(b"\n", b"\r\n")
        (folder / name).unlink()
        (folder / (name + ending)).write_bytes(pack(raw))
    assert all(plain[split].equals(frame) for split, frame in frames(folder).items())
    cache = tmp_path_factory.mktemp("cache")
    train, valid, test = datasets.load("amazon_beauty", root=folder, cache=cache, history=3)
    assert (train.num_rows, valid.num_rows, test.num_rows) == (78, 20, 20)
    batch, label = valid[0]
    assert batch["history"].shape == (len(label), 3)
    row = {"user": ["1"], "item": ["2"], "history": ["34^20"]}
    about = {"first_attribute": ["1"], "last_attribute": ["5"], "attributes": ["1|5"]}
    pl.DataFrame(row | about).write_csv(folder / "new.csv")
    (frame,) = datasets.read_frames(folder / "new.csv", train.encoder)
    encoded = train.encoder.encode(frame, label=False)
    assert encoded["ids"].shape == (1, 5) and (encoded["history"] == 0).sum() == 1


def edit(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_bytes(text.replace(old, new, 1).encode("latin-1"))

    return change


USERS, ITEMS = SAMPLES
BAD = {
    "text for an item": (edit(USERS, " 11 23 ", " 11 x23 "), r"Beauty.txt, line 2: .* 'x23'"),
    "text for a user": (edit(USERS, "\n3 ", "\nA3 "), r"Beauty.txt, line 3: .* 'A3'"),
    "a fraction": (edit(USERS, " 11 23 ", " 11 2.5 "), r"Beauty.txt, line 2: .* '2.5'"),
    "a huge id": (edit(USERS, " 11 23 ", f" {10**18} "), r"Beauty.txt, line 2: .* '10+'"),
    "bytes": (edit(USERS, " 11 23 ", " 11 \xff "), "Beauty.txt, line 2: .* '\ufffd'"),
    "a user alone": (edit(USERS, "\n", "\n99\n"), r"line 2: a user must have items, not '99'"),
    "a user twice": (edit(USERS, "\n3 ", "\n1 "), r"line 3: .* one line, but 1 has another"),
    "an unknown item": (edit(USERS, " 11 23 ", " 99 "), "Every item of .*json. Received: item 99$"),
    "no JSON": (edit(ITEMS, "]", "\n}"), r"attributes.json, line 2: this must be JSON. Expecting"),
    "a list of items": (edit(ITEMS, "{", "[{"), r"attributes.json, line 1: this must be JSON"),
    "a number": (lambda folder: (folder / ITEMS).write_text("[]"), "JSON object. Received: list"),
    "text for an attribute": (edit(ITEMS, "[14,", '["14",'), "to lists .*: '21': .'14', 1, 4"),
    "one attribute": (edit(ITEMS, "[14, 1, 4]", "14"), "to lists of whole .* '21': 14$"),
    "text for a described item": (edit(ITEMS, '"21"', '"B21"'), "whole numbers.* 'B21': .14, 1"),
    "an item twice": (edit(ITEMS, '"10"', '"21"'), "describe each item once. Received: item 21"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_files(folder, bad):
    change, message = BAD[bad]
    change(folder)
    with pytest.raises(ValueError, match=message):
        frames(folder)


def test_bad_rows_can_be_skipped(folder, tmp_path_factory):
    for old, new in (("\n3 ", "\n1 "), (" 11 23 ", " 11 x "), ("\n5 ", "\n\n5 ")):
        edit(USERS, old, new)(folder)
    cache = tmp_path_factory.mktemp("cache")
    splits = datasets.load("amazon_beauty", root=folder, cache=cache, on_bad_rows="skip")
    assert [split.num_rows for split in splits] == [78 - 10, 20 - 4, 20 - 4]
    assert sum(split.skipped_rows for split in splits) == 2
    for text, message in (("1 2 3 4\n", "1 users, at most 3 items"), ("x\n", "0 users, at most 0")):
        (folder / USERS).write_text(text)
        with pytest.raises(ValueError, match=f"at least 4 items. Received: {message}"):
            list(AmazonBeauty().frames(folder, Reader("skip")))


def test_a_user_with_all_items(tmp_path):
    with pytest.raises(ValueError, match="Received: user 8 with all 5 items"):
        frames(write(tmp_path, {3: [1, 2], 8: [5, 4, 3, 2, 1], 9: [1]}))


def test_missing_files(folder, tmp_path):
    (folder / ITEMS).unlink()
    with pytest.raises(FileNotFoundError, match="needs the file Beauty_item2.*Download .*http"):
        datasets.load("amazon_beauty", root=folder, cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["negatives", "history", "train_positions"])
@pytest.mark.parametrize("value", [0, 1.5])
def test_options_are_checked(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}="):
        AmazonBeauty(**{name: value})


def test_the_card_agrees_with_the_code():
    assert (CARD / "schema.json").read_text() == AmazonBeauty().schema().to_json() + "\n"
    card = (CARD / "README.md").read_text()
    for feature in AmazonBeauty().schema():
        assert f"`{feature.name}`" in card
