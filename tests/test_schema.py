import numpy as np
import pandas as pd
import pytest

from keras_ctr import Bag, Categorical, Numeric, Schema, Sequence

pytestmark = pytest.mark.once


@pytest.fixture
def schema():
    return Schema(
        [
            Categorical("user", 100),
            Categorical("item", 50, min_count=3, fill="none"),
            Numeric("price", transform="log"),
            Sequence("history", of="item", length=20, keep="first"),
        ],
        label="click",
        group="user",
    )


def test_json_round_trip(schema):
    assert Schema.from_json(schema.to_json()) == schema
    assert hash(Schema.from_json(schema.to_json())) == hash(schema)


def test_shapes_and_bounds_are_packed_in_order(schema):
    assert schema.shapes() == {
        "ids": ((2,), "int32"),
        "values": ((1,), "float32"),
        "history": ((20,), "int32"),
    }
    assert schema.bounds() == {"ids": [("user", 100), ("item", 50)], "history": [("history", 50)]}
    assert schema.columns == ["user", "item", "price", "history", "click"]


def test_resized_and_sized():
    schema = Schema([Categorical("a"), Numeric("b")])
    assert not schema.sized
    assert schema.resized({"a": np.int64(7)})["a"].size == 7
    assert schema.resized({"a": 7}).sized


def test_infer():
    df = pd.DataFrame(
        {
            "click": [0, 1, 0],
            "name": ["a", "b", None],
            "code": [1, 2, 3],
            "code_with_gaps": [1.0, np.nan, 3.0],
            "price": [0.5, 1.25, np.nan],
            "flag": [True, False, True],
            "seen": [[1, 2], [], [3]],
            "row": [7, 8, 9],
        }
    )
    schema = Schema.infer(df, label="click", group="name", sequences={"seen": "code"}, drop=["row"])
    kinds = {feature.name: type(feature) for feature in schema}
    assert kinds == {
        "name": Categorical,
        "code": Categorical,
        "code_with_gaps": Categorical,
        "price": Numeric,
        "flag": Categorical,
        "seen": Sequence,
    }
    assert schema["seen"].length == 2
    assert isinstance(
        Schema.infer(df.drop(columns="seen"), label="click", numeric=["code"])["code"], Numeric
    )
    with pytest.raises(ValueError, match="'click'"):
        Schema.infer(df, label="clik")
    assert isinstance(Schema.infer(df, label="click")["seen"], Bag)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical("a", 1), "size"),
        (lambda: Categorical("", 3), "name"),
        (lambda: Categorical("a", min_count=0), "min_count"),
        (lambda: Categorical("a", buckets="log3"), "buckets"),
        (lambda: Categorical("a", hash_size=5, min_count=2), "hash_size"),
        (lambda: Numeric("a", transform="sqrt"), "transform"),
        (lambda: Sequence("a", of="b", length=0), "length"),
        (lambda: Sequence("a", of="b", length=3, keep="middle"), "keep"),
        (lambda: Schema([]), "empty"),
        (lambda: Schema([Numeric("a"), Categorical("a")]), "unique"),
        (lambda: Schema([Numeric("a")], label="a"), "label"),
        (lambda: Schema([Numeric("b"), Sequence("a", of="b", length=3)]), "of"),
        (lambda: Schema(["a"]), "features"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_feature_names_the_nearest(schema):
    with pytest.raises(ValueError, match="Did you mean 'price'"):
        schema["prise"]
