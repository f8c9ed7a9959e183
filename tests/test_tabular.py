"""`keras_ctr.fit` and `CTRClassifier`: a data frame in, a model out."""

import pickle
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import keras_ctr
from keras_ctr import Categorical, Numeric, Schema, Time
from keras_ctr.features.frames import as_polars


def log_of_clicks(rows=2000, seed=0):
    """A threshold, a city and an hour decide; three columns say nothing."""
    rng = np.random.default_rng(seed)
    city = rng.choice(["Rome", "Oslo", "Lima"], rows)
    price = rng.lognormal(3, 1, rows).round(2)
    time = pd.Timestamp("2025-03-01") + pd.to_timedelta(rng.integers(0, 30 * 86400, rows), "s")
    logit = 2.0 * (price > 25) + 1.5 * (city == "Rome") + 1.5 * (time.hour > 18) - 2.5
    frame = pd.DataFrame({"row": np.arange(rows), "city": city, "price": price, "time": time})
    frame["same"], frame["none"] = 1, None
    frame["click"] = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(int)
    return frame


def test_one_call(tmp_path):
    df, new = log_of_clicks(), log_of_clicks(seed=1)
    result = keras_ctr.fit(df, label="click", epochs=8)
    kinds = {feature.name: type(feature) for feature in result.schema}
    assert kinds == {"city": Categorical, "price": Numeric, "time": Time}
    assert roc_auc_score(new["click"], result.predict(new)[:, 0]) > 0.78
    assert set(result.validation) == {"loss", "auc", "logloss"}
    assert result.evaluate(new)["auc"] > 0.78
    lines = []
    result.describe(lines.append)
    assert any("rise from row to row" in line for line in lines)  # why `row` was left out
    assert any("validation: loss" in line for line in lines)
    result.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(new, verbose=0), result.predict(new))


@pytest.mark.once
def test_many_names_alone_are_multiplied(monkeypatch):
    module = sys.modules["keras_ctr.tabular.fit"]
    df = log_of_clicks(600)[["city", "row", "click"]].assign(row=lambda df: df["row"] % 7 + 0.0)
    df["row"] = "r" + df["row"].astype(str)
    assert keras_ctr.fit(df, label="click", epochs=1).name == "dnn"
    monkeypatch.setattr(module, "LARGE", 500)
    assert keras_ctr.fit(df, label="click", epochs=1).name == "dcnv2"
    assert keras_ctr.fit(log_of_clicks(600), label="click", epochs=1).name == "dnn"


@pytest.mark.once
def test_what_was_chosen_can_be_written_and_done_again():
    import json

    result = keras_ctr.fit(log_of_clicks(600), label="click", epochs=2)
    recipe = keras_ctr.recipes.Recipe(**json.loads(result.recipe.to_json()))
    again = keras_ctr.fit(log_of_clicks(600), label="click", recipe=recipe)
    new = log_of_clicks(100, 1)
    np.testing.assert_allclose(again.predict(new), result.predict(new), atol=1e-6)


@pytest.mark.once
def test_models_and_searches():
    df = log_of_clicks(500)
    assert keras_ctr.fit(df, label="click", model="lr", epochs=1).name == "lr"
    assert keras_ctr.fit(df, label="click", model="deepfm", epochs=1).model.deep.members == 8
    mine = keras_ctr.zoo.get("fm")
    assert keras_ctr.fit(df, label="click", model=mine, epochs=1).model is mine
    tried = keras_ctr.fit(df, label="click", budget=6, epochs=1).tried
    assert len(tried) > 1 and all(entry["logloss"] > 0 for entry in tried)
    assert len(keras_ctr.fit(df, label="click", budget=0.0).history.history["loss"]) == 1


@pytest.mark.once
def test_parts_of_ones_own():
    df = log_of_clicks(600)
    result = keras_ctr.fit(df[:400], label="click", valid=df[400:], epochs=1)
    assert result.validation["auc"] > 0
    assert keras_ctr.fit(df, label="click", split=Time("time"), epochs=1).validation["auc"] > 0
    assert keras_ctr.fit(df, label="click", valid=0, epochs=1).validation == {}


BAD = {
    "no rows": (lambda df: df[:0], "must have rows"),
    "one row": (lambda df: df[:1], "1 in others"),
    "one class": (lambda df: df[df.click == 1], "0 in some rows .* and 1 in others"),
    "constant columns": (lambda df: df[["same", "click"]], "it is 1 in every row"),
    "missing columns": (lambda df: df[["none", "click"]], "has no values"),
    "only a row number": (lambda df: df[["row", "click"]], "a row number"),
    "only the label": (lambda df: df[["click"]], "can tell clicks from others"),
    "no label": (lambda df: df.drop(columns="click"), "Unknown column 'click'"),
    "names twice": (lambda df: pd.concat([df, df[["city"]]], axis=1), "unique"),
    "levels of names": (
        lambda df: pd.concat({"a": df}, axis=1).assign(click=df.click),
        "one level",
    ),
}


@pytest.mark.once
@pytest.mark.parametrize("case", BAD)
def test_bad_frames(case):
    change, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        keras_ctr.fit(change(log_of_clicks(300)), label="click", epochs=1)


@pytest.mark.once
def test_frames_that_are_odd_but_good():
    df = log_of_clicks(400)
    many = df.assign(token=[f"t{i}" for i in range(len(df))])
    assert "token" not in keras_ctr.fit(many, label="click", epochs=1).schema.fields
    half = df.assign(token=[f"t{i // 2}" for i in range(len(df))])  # each token twice
    assert "token" in [f.name for f in keras_ctr.fit(half, label="click", epochs=1).schema]
    numbered = df.rename(columns={"city": 7})
    assert "7" in keras_ctr.fit(numbered, label="click", epochs=1).schema.fields
    indexed = df.set_index(["city", "row"])  # not looked at
    assert "city" not in keras_ctr.fit(indexed, label="click", epochs=1).schema.fields
    few = keras_ctr.fit(df[:30], label="click", epochs=1)
    assert few.predict(df[:3]).shape == (3, 1)
    leak = df.assign(clicked=np.where(df.click == 1, "y", "n"))
    with pytest.warns(UserWarning, match="'clicked' tells the label"):
        keras_ctr.fit(leak, label="click", epochs=1)
    schema = Schema([Categorical("city"), Numeric("price")], label="click")
    with pytest.raises(ValueError, match="label 'click' must not be a feature"):
        Schema([Categorical("city"), Categorical("click")], label="click")
    assert keras_ctr.fit(df[["city", "price", "click"]], schema=schema, epochs=1).name == "dnn"


# Checks of scikit-learn that do not apply, and why.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": (
        "trained by random batches: repeated rows and weighted ones meet in other batches, and "
        "values seen once have no id of their own"
    ),
}


@pytest.mark.once
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks():
    failed = [
        (result["check_name"], repr(result["exception"]))
        for result in check_estimator(
            keras_ctr.CTRClassifier(epochs=20),
            expected_failed_checks=EXPECTED,
            on_fail=None,
            on_skip=None,
        )
        if result["status"] == "failed"
    ]
    assert not failed


def test_classifier_of_text_labels():
    df = log_of_clicks()
    X, y = df.drop(columns="click"), np.where(df["click"] == 1, "yes", "no")
    classifier = keras_ctr.CTRClassifier(epochs=6).fit(X, y)
    assert classifier.classes_.tolist() == ["no", "yes"]
    p = classifier.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert set(classifier.predict(X)) == {"no", "yes"}
    assert classifier.score(X, y) > 0.7 and roc_auc_score(y, p[:, 1]) > 0.75
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(X), p)


@pytest.mark.once
def test_classifier_within_scikit_learn():
    df = log_of_clicks(600)
    X, y = df.drop(columns="click"), df["click"]
    small = keras_ctr.CTRClassifier(epochs=1)
    assert clone(small).get_params() == small.get_params()
    make_pipeline(FunctionTransformer(), small).fit(X, y).predict(X)
    search = GridSearchCV(small, {"model": ["lr", "dnn"]}, scoring="roc_auc", cv=2).fit(X, y)
    assert search.best_params_["model"] in ("lr", "dnn")
    calibrated = CalibratedClassifierCV(small, cv=2, method="sigmoid").fit(X, y)
    assert calibrated.predict_proba(X).shape == (600, 2)
    of_polars = keras_ctr.CTRClassifier(epochs=1).fit(as_polars(X), y)
    assert len(of_polars.predict(X)) == 600


@pytest.mark.once
def test_sample_weights_of_the_classifier_count():
    df = log_of_clicks(800)
    X, y = df[["city"]], df["click"]
    weight = np.where(y == 1, 20.0, 1.0)
    plain = keras_ctr.CTRClassifier(epochs=5).fit(X, y).predict_proba(X)[:, 1].mean()
    heavy = keras_ctr.CTRClassifier(epochs=5).fit(X, y, weight).predict_proba(X)[:, 1].mean()
    assert heavy > plain + 0.2
