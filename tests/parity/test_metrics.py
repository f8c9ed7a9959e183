"""Our metrics against scikit-learn's and torchmetrics's: ties, weights, one class, a million rows.

torchmetrics is one of the peers that `make parity` installs.
"""

import os

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from keras_ctr import metrics

if "PARITY_CASES" not in os.environ:
    pytest.skip("needs the peers that `make parity` installs", allow_module_level=True)

pytestmark = pytest.mark.once

import torch  # noqa: E402
from torchmetrics.functional import classification  # noqa: E402

CASES = {  # rows, and what the scores are rounded to
    "few": (50, None),
    "ties": (1000, 1),
    "nearly all tied": (10_000, 0),
    "a million": (1_000_000, 4),
    "a million, no ties": (1_000_000, None),
}


@pytest.fixture(params=CASES)
def example(request):
    rows, digits = CASES[request.param]
    rng = np.random.default_rng(0)
    scores = rng.beta(1, 4, rows)
    labels = (rng.random(rows) < scores).astype("float32")
    if digits is not None:
        scores = scores.round(digits)
    return labels, scores.astype("float32"), rng.random(rows) * 3


def test_auc(example):
    labels, scores, weights = example
    ours = metrics.auc(labels, scores)
    assert ours == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores), abs=1e-9)
    given = torch.as_tensor(scores), torch.as_tensor(labels).long()
    theirs = classification.binary_auroc(*given, thresholds=None)
    assert ours == pytest.approx(float(theirs), abs=1e-5)  # which is float32
    expected = sklearn_metrics.roc_auc_score(labels, scores, sample_weight=weights)
    assert metrics.auc(labels, scores, weights) == pytest.approx(expected, abs=1e-9)


def test_log_loss(example):
    labels, scores, weights = example
    p = np.clip(scores.astype("float64"), 1e-6, 1 - 1e-6)
    for given in (None, weights):
        expected = sklearn_metrics.log_loss(labels, p, sample_weight=given)
        assert metrics.log_loss(labels, p, given) == pytest.approx(expected, abs=1e-9)
        mean = np.average(labels.astype("float64"), weights=given)
        entropy = sklearn_metrics.log_loss(labels, np.full(len(p), mean), sample_weight=given)
        found = metrics.normalized_entropy(labels, p, given)
        assert found == pytest.approx(expected / entropy, abs=1e-9)


def test_groups(example):
    """The mean over groups that hold both classes, by their rows."""
    labels, scores, _ = example
    groups = np.random.default_rng(1).integers(0, max(2, len(labels) // 5000), len(labels))
    found, sizes = [], []
    for group in np.unique(groups):
        rows = groups == group
        if 0 < labels[rows].mean() < 1:
            found.append(sklearn_metrics.roc_auc_score(labels[rows], scores[rows]))
            sizes.append(rows.sum())
    expected = np.average(found, weights=sizes)
    assert metrics.gauc(labels, scores, groups) == pytest.approx(expected, abs=1e-9)


def test_one_class():
    """No pair to compare: scikit-learn gives nan with a warning, torchmetrics 0 with one."""
    labels, scores = np.ones(10), np.random.default_rng(0).random(10)
    assert np.isnan(metrics.auc(labels, scores))
    with pytest.warns(sklearn_metrics._ranking.UndefinedMetricWarning):
        assert np.isnan(sklearn_metrics.roc_auc_score(labels, scores))
    assert np.isnan(metrics.gauc(labels, scores, np.arange(10) % 2))
    expected = sklearn_metrics.log_loss(labels, scores, labels=[0, 1])
    assert metrics.log_loss(labels, scores) == pytest.approx(expected, abs=1e-9)
