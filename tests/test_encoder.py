"""The encoder: ids with a fixed meaning, numbers scaled, clear errors, an exact round trip."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

from keras_ctr import Categorical, Encoder, Numeric, Schema, Sequence
from keras_ctr.features.hashing import murmur3


def fitted(features, df, label="click", group=None):
    return Encoder(Schema(features, label=label, group=group)).fit(df)


def ids(encoder, **columns):
    return encoder.encode(pd.DataFrame(columns))["ids"][:, 0].tolist()


def as_list(column):
    return [None if gone else value for value, gone in zip(column, column.isna(), strict=True)]


def city_frame(cities):
    return pd.DataFrame({"city": cities, "click": [0] * len(cities)})


def test_ids_are_missing_unseen_then_by_count_and_text():
    encoder = fitted([Categorical("city")], city_frame(["b", "a", "c", "c", None]))
    assert encoder.schema["city"].size == 5
    assert encoder.vocabulary("city") == ["c", "a", "b"]
    assert ids(encoder, city=[None, "unseen", "c", "a", "b"]) == [0, 1, 2, 3, 4]


def test_min_count_and_max_size():
    cities = city_frame(list("aaabbc"))
    assert fitted([Categorical("city", min_count=2)], cities).vocabulary("city") == ["a", "b"]
    largest = fitted([Categorical("city", max_size=3)], cities)
    assert (largest.schema["city"].size, largest.vocabulary("city")) == (3, ["a"])


@pytest.mark.parametrize(
    "train", [[14, 15, 14], [14.0, 15.0, np.nan], ["14", "15", None], ["14.0", "15.0", ""]]
)
@pytest.mark.parametrize(
    "later", [[14, 15], [14.0, 15.0], ["14", "15"], ["14.0", "15.0"], np.array([14, 15], "uint8")]
)
def test_a_whole_number_is_one_token_however_it_is_stored(train, later):
    encoder = fitted([Categorical("city")], city_frame(train))
    assert sorted(encoder.vocabulary("city")) == ["14", "15"]
    assert ids(encoder, city=later) == [2, 3]


def test_booleans_fractions_dates_and_categories_have_a_text():
    encoder = fitted([Categorical("city")], city_frame([True, False, True]))
    assert encoder.vocabulary("city") == ["true", "false"]
    assert ids(encoder, city=["True", "false"]) == [2, 3]
    assert fitted([Categorical("city")], city_frame([0.5, 2.0])).vocabulary("city") == ["0.5", "2"]
    days = fitted([Categorical("city")], city_frame(pd.to_datetime(["2024-05-01"])))
    assert days.vocabulary("city")[0].startswith("2024-05-01")
    levels = fitted([Categorical("city")], city_frame(pd.Categorical(["x", None, "x"])))
    assert levels.vocabulary("city") == ["x"]


def test_pandas_polars_and_blocks_agree():
    rng = np.random.default_rng(0)
    df = pd.DataFrame(
        {
            "user": rng.integers(0, 50, 1000),
            "city": rng.choice(["x", "y", None], 1000),
            "price": rng.normal(1e6, 1.0, 1000),
            "click": rng.integers(0, 2, 1000),
        }
    )
    features = [
        Categorical("user", min_count=15),
        Categorical("city"),
        Numeric("price"),
    ]
    whole = fitted(features, df)
    blocks = fitted(features, (df.iloc[at : at + 130] for at in range(0, 1000, 130)))
    frame = pl.DataFrame({name: as_list(df[name]) for name in df})
    assert whole.schema == blocks.schema
    expected = whole.encode(df)
    for other in (blocks.encode(df), whole.encode(frame)):
        np.testing.assert_array_equal(expected["ids"], other["ids"])
        np.testing.assert_allclose(expected["values"], other["values"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(expected["values"].std(), 1, rtol=1e-4)  # though the mean is 1e6


def test_hashes_are_stable_and_never_unseen():
    encoder = fitted([Categorical("city", hash_size=1000)], city_frame(["a"]))
    assert encoder.schema["city"].size == 1002
    expected = (murmur3(["a", "new"]) % 1000 + 2).tolist()
    assert ids(encoder, city=["a", "new", None]) == [*expected, 0]
    assert ids(encoder, city=[1.0, 1]) == ids(encoder, city=["1", "1.0"])


def test_murmur3_is_that_of_everyone():
    # The first three are those of the reference code, as its ports publish them.
    assert [hex(h) for h in murmur3(["", "hello", "hello, world", "abcde" * 9])][:3] == [
        "0x0",
        "0x248bfa47",
        "0x149bbb7f",
    ]
    assert murmur3([]).shape == (0,)
    many = [str(at) for at in range(4096)]
    assert len(np.unique(murmur3(many))) > 4090
    np.testing.assert_array_equal(murmur3(many)[7:9], murmur3(["7", "8"]))


def test_encoders_of_older_versions_keep_their_hash(tmp_path):
    encoder = fitted([Categorical("city", hash_size=1000)], city_frame(["a"]))
    encoder.save(tmp_path)
    path = tmp_path / "encoder.json"
    config = json.loads(path.read_text())
    assert config["columns"][0] == {"hash": "murmur3"}
    config["columns"][0] = {}  # as they were written
    path.write_text(json.dumps(config))
    # pandas.util.hash_array of "a" and "new", modulo 1000, plus 2: fixed across machines.
    expected = (pd.util.hash_array(np.array(["a", "new"], object)) % 1000 + 2).tolist()
    assert ids(Encoder.load(tmp_path), city=["a", "new"]) == expected


def test_log2_buckets_follow_the_benchmark():
    encoder = fitted([Categorical("n", buckets="log2", fill=0)], n_frame([0, 1, 2, 3, 100, -2]))
    # floor(ln(3)²) = 1, floor(ln(100)²) = 21
    assert sorted(encoder.vocabulary("n")) == ["-2", "0", "1", "2", "21"]
    assert ids(encoder, n=[None, 0, 1, 3]) == ids(encoder, n=[0, "0", "1.0", 1.9])
    assert ids(encoder, n=[1e9]) == [1]


def n_frame(values):
    return pd.DataFrame({"n": values, "click": [0] * len(values)})


def test_quantile_buckets():
    encoder = fitted([Categorical("n", buckets=4)], n_frame(np.arange(1000.0)))
    assert encoder.schema["n"].size == 6
    counts = np.bincount(encoder.encode(n_frame(np.arange(1000.0)))["ids"][:, 0])
    assert counts.tolist() == [0, 0, 250, 250, 250, 250]
    assert ids(encoder, n=[-1e9, 1e9, None]) == [2, 5, 0]
    assert fitted([Categorical("n", buckets=4)], n_frame([7.0] * 10)).schema["n"].size == 4


def test_given_sizes_pass_ids_through():
    encoder = fitted([Categorical("n", size=5)], n_frame([0, 4, 2]))
    assert encoder.schema["n"].size == 5
    assert ids(encoder, n=[4, None, 1.0]) == [4, 0, 1]
    with pytest.raises(ValueError, match=r"'n' has `size` 5.*Received: 5 at row 1"):
        ids(encoder, n=[4, 5])
    with pytest.raises(ValueError, match="'n' must hold numbers.*leave `size` out"):
        ids(encoder, n=["a", "b"])


def test_numeric_transforms_fill_and_missing():
    df = pd.DataFrame({"a": [1.0, 3.0, None], "b": [-np.e + 1, 0.0, None], "c": [5, 5, 5]})
    df = df.assign(d=[0.1, 0.1, 0.1], e=[None, 2.0, 4.0], click=0)
    features = [Numeric("a"), Numeric("b", "log"), Numeric("c", None), Numeric("d")]
    values = fitted([*features, Numeric("e", None, fill=3)], df).encode(df)["values"]
    expected = [[-1, -1, 5, 0, 3], [1, 0, 5, 0, 2], [0, 0, 5, 0, 4]]
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert values.dtype == "float32" and values.flags.c_contiguous


def history_frame(histories):
    count = len(histories)
    return pd.DataFrame({"item": ["a"] * count, "seen": histories, "click": [0] * count})


@pytest.mark.parametrize(
    "histories",
    [
        [["b", "a", "a", "c"], ["b"], [], None, ["c", None]],
        ["b^a^a^c", "b", "", None, "c^"],
    ],
)
@pytest.mark.parametrize("keep, first", [("last", [2, 2, 4]), ("first", [3, 2, 2])])
def test_histories_share_the_vocabulary_and_end_on_the_right(histories, keep, first):
    features = [Categorical("item"), Sequence("seen", of="item", length=3, keep=keep)]
    frame = history_frame(histories)
    encoder = fitted(features, frame)
    assert encoder.vocabulary("item") == ["a", "b", "c"]  # 7, 2, 2 times in both columns together
    expected = [first, [0, 0, 3], [0, 0, 0], [0, 0, 0], [0, 4, 0]]
    encoded = encoder.encode(frame)
    assert encoded["seen"].tolist() == expected and encoded["seen"].dtype == "int32"
    assert encoder.encode(history_frame([["z"], ["b"]]))["seen"].tolist() == [[0, 0, 1], [0, 0, 3]]


def test_all_histories_empty():
    features = [Categorical("item"), Sequence("seen", of="item", length=2)]
    encoder = fitted(features, history_frame([None, []]))
    assert encoder.encode(history_frame([None, None]))["seen"].tolist() == [[0, 0], [0, 0]]


def test_groups_stay_distinct_though_unseen():
    features = [Categorical("city", min_count=5)]
    frame = city_frame(["a", "b", "a"])
    encoder = fitted(features, frame, group="city")
    group = encoder.encode(frame)["group"]
    assert group.dtype == "int64" and group[0] == group[2] != group[1]
    assert encoder.encode(city_frame(["new", "newer"]))["group"].tolist()[0] != group[0]


def test_at_predict_time_label_and_group_may_be_absent():
    frame = city_frame(["a", "b"]).assign(who=["x", "y"])
    encoder = fitted([Categorical("city")], frame, group="who")
    assert set(encoder.encode(frame)) == {"ids", "label", "group"}
    assert set(encoder.encode(frame, label=False)) == {"ids", "group"}
    assert set(encoder.encode(frame[["city"]].assign(more=1))) == {"ids"}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"click": [0, 2, None, 1]}, r"'click' must be 0 or 1.*2 of 4 rows.*first 2 at row 11"),
        ({"price": [1, 2, np.inf, 4]}, r"'price' must be finite.*inf at row 12"),
        ({"price": ["1", "2", "3", "x"]}, r"'price' must hold numbers.*'x' at row 13"),
        ({"price": [1e300] * 4}, r"'price' must fit float32.*row 10"),
        ({"price": pd.to_datetime(["2020-01-01"] * 4)}, r"'price' must hold numbers.*[Dd]atetime"),
        ({"city": [[1]] * 4}, r"'city' must hold single values.*List"),
        ({"seen": [1, 2, 3, 4]}, r"'seen' must hold lists"),
    ],
)
def test_bad_values_are_named_with_their_row(change, message):
    frame = pd.DataFrame(
        {"city": list("abcd"), "price": [1.0, 2, 3, 4], "seen": [["a"]] * 4, "click": [0, 1, 0, 1]}
    )
    features = [
        Categorical("city"),
        Numeric("price", transform=None),
        Sequence("seen", of="city", length=2),
    ]
    encoder = fitted(features, frame)
    with pytest.raises(ValueError, match=message):
        encoder.encode(frame.assign(**change), first_row=10)


def test_columns_missing_or_too_many():
    with pytest.raises(ValueError, match="missing city; not in the schema town"):
        fitted([Categorical("city")], city_frame(["a"]).rename(columns={"city": "town"}))
    encoder = fitted([Categorical("city")], city_frame(["a"]))
    with pytest.raises(ValueError, match="none called: city"):
        encoder.encode(pd.DataFrame({"town": ["a"]}))


def test_it_must_be_fitted_once():
    encoder = Encoder(Schema([Categorical("city")], label="click"))
    for use in (lambda: encoder.encode(city_frame(["a"])), lambda: encoder.save("nowhere")):
        with pytest.raises(ValueError, match="must be fitted"):
            use()
    with pytest.raises(ValueError, match="no rows"):
        Encoder(encoder.schema).fit(city_frame([]))
    encoder.fit(city_frame(["a"]))
    with pytest.raises(ValueError, match="fitted already"):
        encoder.fit(city_frame(["b"]))


def test_options_that_contradict_each_other():
    for features in (
        [Categorical("n", buckets=4, max_size=10)],
        [Categorical("n", buckets="log2", fill="none")],
        [Categorical("n"), Sequence("label", of="n", length=2)],
    ):
        with pytest.raises(ValueError):
            Encoder(Schema(features, label="click"))


@pytest.mark.parametrize("source", [None, "avazu_x4"])
def test_saved_and_loaded_it_encodes_alike(tmp_path, source):
    odd = ["line\nbreak", "back\\slash\\n", "\r", "", "é", "日本", "plain", "plain"]
    df = pd.DataFrame({"a/b": odd, "n": np.arange(8.0), "h": "plain^é", "click": [0, 1] * 4})
    features = [
        Categorical("a/b", fill=""),
        Numeric("n"),
        Categorical("m", buckets=3),
        Categorical("hash", hash_size=9),
        Sequence("h", of="a/b", length=2),
    ]
    df = df.assign(m=df.n, hash=odd)
    encoder = Encoder(Schema(features, label="click", group="a/b"), source=source).fit(df)
    encoder.save(tmp_path)
    again = Encoder.load(tmp_path)
    assert (again.schema, again.given, again.source) == (encoder.schema, encoder.given, source)
    assert again.vocabulary("a/b") == encoder.vocabulary("a/b")
    assert set(again.vocabulary("a/b")) == set(odd)
    for key, array in encoder.encode(df).items():
        np.testing.assert_array_equal(array, again.encode(df)[key])
    lines = (tmp_path / "vocabulary_000.txt").read_text(encoding="utf-8").split("\n")
    assert lines[0] == "plain" and len(lines) == len(set(odd)) + 1


def test_what_is_loaded_is_checked(tmp_path):
    encoder = fitted([Categorical("city")], city_frame(["a", "b"]))
    with pytest.raises(FileNotFoundError, match="holds no encoder"):
        Encoder.load(tmp_path)
    encoder.save(tmp_path)
    (tmp_path / "vocabulary_000.txt").write_text("a\n")
    with pytest.raises(ValueError, match="must hold 2 tokens"):
        Encoder.load(tmp_path)
    config = json.loads((tmp_path / "encoder.json").read_text())
    (tmp_path / "encoder.json").write_text(json.dumps(config | {"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        Encoder.load(tmp_path)
