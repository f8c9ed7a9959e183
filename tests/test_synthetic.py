"""The generated data: reproducible, shaped like real logs, with the truth it promises."""

import itertools
import pathlib
import re

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder

from keras_ctr import datasets
from keras_ctr.datasets import _synthetic, synthetic
from keras_ctr.datasets.synthetic import Synthetic

pytestmark = pytest.mark.once

CARD = pathlib.Path(__file__).parents[1] / "datasets" / "synthetic"


def rows(split="train", **options):
    """All rows of a split as one frame."""
    return pl.concat(frame for name, frame in Synthetic(**options).frames() if name == split)


@pytest.fixture(scope="module")
def test_rows():
    return rows("test", rows=1, valid_rows=1, test_rows=50_000)


# --- reproducible --------------------------------------------------------------------------------


def test_same_rows_whatever_the_chunk_and_the_number_of_rows(monkeypatch):
    whole = rows(rows=2000)
    assert_frame_equal(whole, rows(rows=2000))
    assert_frame_equal(whole, rows(rows=2500)[:2000])
    monkeypatch.setattr(synthetic, "CHUNK", 700)
    sizes = [(name, len(frame)) for name, frame in Synthetic(rows=2000).frames()]
    assert sizes == [("train", 700), ("train", 700), ("train", 600), ("valid", 500), ("test", 500)]
    assert_frame_equal(whole, rows(rows=2000))


def test_seeds_and_splits_differ():
    whole = rows(rows=2000)
    for other in (rows(rows=2000, seed=1), rows("test", rows=8000)):
        agree = np.corrcoef(whole["probability"], other["probability"])[0, 1]
        assert abs(agree) < 0.1
        assert not whole.equals(other)


def test_chunks_of_ten_million_rows_come_one_by_one():
    frames = Synthetic(rows=10_000_000).frames()
    for split, frame in itertools.islice(frames, 2):
        assert (split, len(frame)) == ("train", synthetic.CHUNK)
        assert frame.estimated_size() < 40e6


def test_the_sample_is_the_first_rows():
    """So a change of the generator, or a machine that generates other rows, is seen."""
    sample = pl.read_csv(CARD / "sample.csv").with_columns(pl.col("history").fill_null(""))
    made = rows(rows=20).with_columns(pl.col("history").cast(pl.List(pl.String)).list.join("^"))
    assert_frame_equal(made, sample, check_dtypes=False, rel_tol=1e-4)


# --- shaped like logs ----------------------------------------------------------------------------


def test_columns(test_rows):
    assert test_rows.columns == [*Synthetic().schema().columns, "probability"]
    counts = {name: test_rows[name].value_counts()["count"] for name in _synthetic.COLUMNS}
    assert min(map(len, counts.values())) == 2 and 5_000 < len(counts["user"]) <= 10_000
    for name in ("user", "item", "city", "brand", "site"):  # few values have most rows
        top = counts[name].sort(descending=True)[: len(counts[name]) // 5]
        assert top.sum() > 0.6 * len(test_rows), name
    assert 0.02 < test_rows["city"].null_count() / len(test_rows) < 0.04
    price = test_rows["price"]
    assert ((price - price.mean()) ** 3).mean() / price.std() ** 3 > 1.5
    # A user has one gender, age and city; an item one category and brand.
    for key, of in (("user", ["gender", "age"]), ("item", ["category", "brand"])):
        assert (test_rows.group_by(key).agg(pl.col(of).n_unique())[:, 1:] == 1).to_numpy().all()


def test_histories(test_rows):
    length = test_rows["history"].list.len()
    assert length.max() == _synthetic.LENGTH and set(length) == set(range(21)) - {1}
    empty = length == 0
    assert 0.07 < empty.mean() < 0.09
    assert (test_rows["idle_days"].is_null() == empty).all()
    events = test_rows["history"].explode().drop_nulls()
    assert set(events) <= set(range(_synthetic.COLUMNS["item"][0]))


# --- the planted truth ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_click_rate_and_bayes_auc(seed, test_rows):
    frame = test_rows if seed == 0 else rows("test", rows=1, test_rows=50_000, seed=seed)
    click, probability = frame["click"].to_numpy(), frame["probability"].to_numpy()
    assert 0.19 < click.mean() < 0.21
    assert 0.80 < roc_auc_score(click, probability) < 0.83
    # Clicks happen as often as they should: within 4 standard errors in each tenth of the rows.
    for tenth in np.array_split(np.argsort(probability), 10):
        error = np.sqrt((probability[tenth] * (1 - probability[tenth])).sum())
        assert abs(click[tenth].sum() - probability[tenth].sum()) < 4 * error


def test_every_term_counts():
    world = _synthetic.World(0)
    columns = world.columns("test", 0, 50_000)
    terms = world.terms(columns)
    click = world.draws.uniform("test/click", np.arange(50_000)) < world.truth(columns)
    best = roc_auc_score(click, world.logit(columns))
    assert set(terms) == set(_synthetic.TERMS)
    for name, term in terms.items():
        scaled = world.scale[name] * term
        assert scaled.std() > 0.2, name
        assert roc_auc_score(click, world.logit(columns) - scaled) < best - 0.008, name


def test_newer_events_weigh_more():
    world = _synthetic.World(0)
    kind = world.items["kind"]
    same, other = np.flatnonzero(kind == kind[0])[1], np.flatnonzero(kind != kind[0])[0]
    history = np.full((3, _synthetic.LENGTH), other)
    history[0, -1] = history[1, -3] = same
    history[2, 0] = same  # before the first event of a history of three
    columns = {"item": np.zeros(3, int), "history": history, "length": np.full(3, 3)}
    newest, oldest, none = world.match(columns)
    assert none == 0 and oldest == pytest.approx(_synthetic.FORGET**2 * newest) and newest < 1


def test_a_logistic_regression_falls_short(test_rows):
    """It misses the Bayes AUC by more than 0.1, though it has every column but the history."""
    train = rows(rows=50_000)
    names = [name for name in _synthetic.COLUMNS if name != "user"]
    text = [f.select(pl.col(names).cast(pl.String).fill_null("")) for f in (train, test_rows)]
    onehot = OneHotEncoder(handle_unknown="ignore").fit(text[0])
    model = LogisticRegression(C=0.1, max_iter=100).fit(onehot.transform(text[0]), train["click"])
    auc = roc_auc_score(test_rows["click"], model.predict_proba(onehot.transform(text[1]))[:, 1])
    bayes = roc_auc_score(test_rows["click"], test_rows["probability"])
    assert 0.62 < auc < bayes - 0.1


# --- through the front door ----------------------------------------------------------------------


def test_load_keeps_the_probabilities(tmp_path):
    train, valid, test = datasets.load("synthetic", rows=2000, cache=tmp_path, batch_size=512)
    assert [split.num_rows for split in (train, valid, test)] == [2000, 500, 500]
    frame = rows("test", rows=2000)
    np.testing.assert_allclose(test.extra("probability").ravel(), frame["probability"], rtol=1e-6)
    np.testing.assert_array_equal(test.labels.ravel(), frame["click"])
    batch, label = test[0]
    assert {k: v.shape for k, v in batch.items()} == {
        "ids": (500, 12),
        "values": (500, 4),
        "history": (500, 20),
    }
    full = batch["history"] > 0
    assert (np.diff(full.astype(int), axis=1) >= 0).all()  # padding on the left
    length = frame["history"].list.len().to_numpy()
    np.testing.assert_array_equal(full.sum(axis=1), length)
    item = list(test.encoder.vocabulary("item"))
    newest = batch["history"][length > 0, -1] - 2
    known = newest >= 0
    expected = frame["history"].list.last().drop_nulls().to_numpy()[known]
    np.testing.assert_array_equal([int(item[at]) for at in newest[known]], expected)
    assert known.mean() > 0.95


def test_rows_in_a_file_can_be_predicted(tmp_path):
    train, _, _ = datasets.load("synthetic", rows=500, cache=tmp_path)
    (frame,) = datasets.read_frames(CARD / "sample.csv", train.encoder)
    encoded = train.encoder.encode(frame, label=False)
    direct = train.encoder.encode(rows(rows=20), label=False)
    for key in ("ids", "history"):
        np.testing.assert_array_equal(encoded[key], direct[key])
    np.testing.assert_allclose(encoded["values"], direct["values"], rtol=1e-6)


@pytest.mark.parametrize("options", [{"rows": 0}, {"rows": None}, {"test_rows": 1.5}])
def test_numbers_of_rows_are_checked(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received: {name}="):
        Synthetic(**options)


# --- the card ------------------------------------------------------------------------------------


def test_the_card_agrees_with_the_code(test_rows):
    assert (CARD / "schema.json").read_text() == Synthetic().schema().to_json() + "\n"
    card = (CARD / "README.md").read_text()
    bayes = roc_auc_score(test_rows["click"], test_rows["probability"])
    assert float(re.search(r"Bayes AUC \| (0\.\d+)", card)[1]) == pytest.approx(bayes, abs=6e-5)
    for name, (size, _) in _synthetic.COLUMNS.items():
        assert f"`{name}` ({size:,})" in card
    for name, size in _synthetic.TERMS.items():
        assert f"| {name} | {size:.2f} |" in card
    assert f"standard deviation of {_synthetic.SPREAD}." in card
