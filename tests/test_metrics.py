import keras
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from keras_ctr import metrics

pytestmark = pytest.mark.once


@pytest.fixture
def example(rng):
    scores = rng.normal(size=3000).round(1)  # many ties
    labels = (rng.random(3000) < 1 / (1 + np.exp(-scores))).astype("float64")
    return labels, scores, rng.integers(0, 200, 3000), rng.random(3000)


def test_auc_equals_sklearn_with_ties(example):
    labels, scores, _, weights = example
    expected = sklearn_metrics.roc_auc_score(labels, scores)
    assert metrics.auc(labels, scores) == pytest.approx(expected, abs=1e-12)
    expected = sklearn_metrics.roc_auc_score(labels, scores, sample_weight=weights)
    assert metrics.auc(labels, scores, weights) == pytest.approx(expected, abs=1e-12)


def test_auc_by_counting_pairs():
    assert metrics.auc([1, 0, 1, 0], [0.9, 0.9, 0.4, 0.1]) == (0.5 + 1 + 0 + 1) / 4


def test_auc_needs_both_labels():
    assert np.isnan(metrics.auc([1, 1], [0.1, 0.2]))


def test_auc_at_a_low_click_rate_where_binning_fails(rng):
    labels = (rng.random(200_000) < 0.01).astype("float32")
    p = 1 / (1 + np.exp(-(rng.normal(size=200_000) + 1.0 * labels - 5)))
    expected = sklearn_metrics.roc_auc_score(labels, p)
    binned = keras.metrics.AUC()
    binned.update_state(labels, p)
    assert metrics.auc(labels, p) == pytest.approx(expected, abs=1e-12)
    assert abs(float(binned.result()) - expected) > 1e-3


def test_gauc_is_the_weighted_mean_of_sklearns(example):
    labels, scores, groups, _ = example
    areas, sizes = [], []
    for group in np.unique(groups):
        rows = groups == group
        if 0 < labels[rows].mean() < 1:
            areas.append(sklearn_metrics.roc_auc_score(labels[rows], scores[rows]))
            sizes.append(rows.sum())
    expected = np.average(areas, weights=sizes)
    assert metrics.gauc(labels, scores, groups) == pytest.approx(expected, abs=1e-12)


def test_gauc_leaves_out_groups_with_one_label():
    labels, scores = [1, 0, 1, 1], [0.9, 0.1, 0.2, 0.3]
    assert metrics.gauc(labels, scores, [7, 7, 8, 8]) == 1.0
    assert np.isnan(metrics.gauc([1, 1], [0.1, 0.2], [0, 1]))


def test_log_loss_equals_sklearn(example):
    labels, scores, _, weights = example
    p = 1 / (1 + np.exp(-scores))
    expected = sklearn_metrics.log_loss(labels, p, sample_weight=weights)
    assert metrics.log_loss(labels, p, weights) == pytest.approx(expected, abs=1e-12)
    assert np.isfinite(metrics.log_loss([0.0, 1.0], [1.0, 0.0]))


def test_normalized_entropy_is_one_for_the_mean_rate(example):
    labels = example[0]
    assert metrics.normalized_entropy(labels, np.full(3000, labels.mean())) == pytest.approx(1)


def test_calibration(example):
    labels = example[0]
    assert metrics.calibration(labels, np.full(3000, 2 * labels.mean())) == pytest.approx(2)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([0, 1], [0.1], "length"),
        ([], [], "length"),
        ([0, 1], [0.1, np.nan], "NaN"),
    ],
)
def test_bad_input(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        metrics.auc(labels, scores)


@pytest.mark.parametrize("name", ["auc", "gauc", "logloss", "normalized_entropy", "calibration"])
def test_metric_objects_collect_batches(name, example):
    labels, scores, groups, weights = example
    p = 1 / (1 + np.exp(-scores))
    metric = metrics.get(name)
    assert metric.name == name
    for rows in np.array_split(np.arange(3000), 7):
        metric.update_state(labels[rows], p[rows], weights[rows], groups=groups[rows])
    arguments = (labels, p, groups, weights) if name == "gauc" else (labels, p, weights)
    assert metric.result() == pytest.approx(type(metric).function(*arguments), abs=1e-12)
    metric.reset_state()
    assert np.isnan(metric.result())
    same = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(same) is type(metric)


def test_unknown_metric_and_missing_groups():
    with pytest.raises(ValueError, match="'auc'"):
        metrics.get("aucc")
    with pytest.raises(ValueError, match="group"):
        metrics.GAUC().update_state([0.0, 1.0], [0.1, 0.2])
