"""How rows are cut into parts: at random, by group, by time; and batches by the number of rows."""

import numpy as np
import pandas as pd
import pytest

from keras_ctr import Categorical, Numeric, Schema, Time, datasets
from keras_ctr.datasets.sizes import batch_size_for

pytestmark = pytest.mark.once

ROWS = 1000


def frame(rows=ROWS):
    rng = np.random.default_rng(8)
    days = pd.to_timedelta(rng.integers(0, 60, rows), unit="D")
    return pd.DataFrame(
        {
            "row": np.arange(rows) + 0.5,
            "user": rng.integers(0, 50, rows).astype(str),
            "price": rng.normal(size=rows),
            "when": pd.Timestamp("2026-01-01") + days,
            "click": rng.integers(0, 2, rows),
        }
    )


SCHEMA = Schema([Categorical("user"), Numeric("price")], label="click", group="user")


def rows_of(df, split, seed=0, schema=None, **options):
    """The rows of `df` in each part, told by a column that is passed on as the weight."""
    schema = schema or Schema([*SCHEMA], label="click", group="user", weight="row")
    kept = df[[name for name in df.columns if name in schema.columns or name == "when"]]
    if not isinstance(split, Time):
        kept = kept.drop(columns="when")
    parts = datasets.from_pandas(kept, schema, split=split, seed=seed, **options)
    return [(part.weights - 0.5).astype(int) for part in parts]


def timed():
    features = [*SCHEMA, Time("when", parts=("weekday",))]
    return Schema(features, label="click", group="user", weight="row")


def test_by_group_no_group_is_in_two_parts():
    df = frame()
    parts = rows_of(df, "group", valid=0.2)
    assert sorted(np.concatenate(parts)) == list(range(ROWS))
    groups = [set(df["user"].iloc[rows]) for rows in parts]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    largest = df["user"].value_counts().max()
    assert 200 <= len(parts[1]) < 200 + largest and 100 <= len(parts[2]) < 100 + largest
    again, other = rows_of(df, "group", valid=0.2), rows_of(df, "group", valid=0.2, seed=1)
    assert list(again[2]) == list(parts[2]) and list(other[2]) != list(parts[2])


def test_rows_without_a_group_are_one():
    df = frame()
    df.loc[::10, "user"] = None
    parts = rows_of(df, "group")
    assert sum(df["user"].iloc[rows].isna().any() for rows in parts) == 1


def test_by_time_the_newest_are_held_out():
    df = frame()
    train, valid, test = rows_of(df, Time("when"), schema=timed())
    assert sorted(np.concatenate([train, valid, test])) == list(range(ROWS))
    when = df["when"]
    assert when.iloc[train].max() < when.iloc[valid].min()
    assert when.iloc[valid].max() < when.iloc[test].min()
    assert 100 <= len(test) < 140 and 100 <= len(valid) < 140


def test_the_column_of_time_need_not_be_a_feature_of_an_inferred_schema():
    df = frame().assign(same=1)  # left out by the inference
    train, _, test = datasets.from_pandas(df, label="click", split=Time("when"))
    assert "same" not in train.schema.columns and test.num_rows >= 100
    with pytest.raises(ValueError, match="not in the schema same"):
        kept = df[["user", "price", "click", "same"]]
        datasets.from_pandas(kept, SCHEMA)


def test_random_parts_are_as_they_were():
    order = np.random.default_rng(4).permutation(ROWS)
    train, valid, test = rows_of(frame(), "random", seed=4)
    assert list(test) == sorted(order[:100]) and list(valid) == sorted(order[100:200])
    assert list(train) == sorted(order[200:])


@pytest.mark.parametrize("split, message", [
    ("group", "needs the name of the `group` column"),
    ("user", "must be 'random', 'group', or .*Received: split='user'"),
    (Time("whn"), "column in `split`.*when"),
])  # fmt: skip
def test_splits_that_cannot_be(split, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_pandas(frame(), label="click", split=split)


def test_a_missing_moment_is_an_error():
    df = frame()
    df.loc[[3, 7], "when"] = pd.NaT
    with pytest.raises(ValueError, match="'when' must hold a moment.*none at row 3 .in 2 rows"):
        datasets.from_pandas(df, label="click", split=Time("when"))


def test_files_are_cut_by_group(tmp_path):
    df, path = frame(), tmp_path / "clicks.csv"
    df[["user", "price", "click"]].to_csv(path, index=False)
    options = {"schema": SCHEMA, "cache": tmp_path / "cache"}
    parts = datasets.load(path, split="group", **options)
    groups = [set(part.groups) for part in parts]
    assert sum(map(len, groups)) == df["user"].nunique() and min(map(len, groups)) > 0
    assert sum(part.num_rows for part in parts) == ROWS
    other = datasets.load(path, split="group", seed=1, **options)
    assert [set(part.groups) for part in other] != groups
    with pytest.raises(ValueError, match="Unknown column in `split`: 'when'"):
        datasets.load(path, split=Time("when"), **options)
    with pytest.raises(ValueError, match="needs the name of the `group` column"):
        datasets.load(path, label="click", split="group", cache=tmp_path / "cache")


@pytest.mark.parametrize(
    "rows, size",
    [(1, 32), (5000, 32), (10_000, 64), (128 * 256, 256), (10**6, 8192 // 2), (10**8, 4096)],
)
def test_the_batch_size_grows_with_the_rows(rows, size):
    assert batch_size_for(rows) == size


def test_where_the_batch_size_is_chosen(tmp_path):
    df = frame(20_000)[["user", "price", "click"]]
    path = tmp_path / "clicks.csv"
    df.to_csv(path, index=False)
    cache = tmp_path / "cache"
    assert datasets.from_pandas(df, SCHEMA)[0].batch_size == 128
    assert datasets.from_pandas(df, SCHEMA, batch_size=50)[0].batch_size == 50
    assert {part.batch_size for part in datasets.load(path, schema=SCHEMA, cache=cache)} == {128}
    assert datasets.load("synthetic", rows=1000, cache=cache)[0].batch_size == 4096
