"""CTR metrics: exact, in float64, computed once over a whole evaluation instead of once per batch.

Differences between CTR models are 1e-3 to 1e-4 of AUC; the 200-threshold AUC of Keras is off by up
to 8e-3 at a click rate of 1%. Each metric is a plain function of NumPy arrays (`auc`, `gauc`,
`log_loss`, `normalized_entropy`, `calibration`) and a Keras metric around it (`AUC`, ...) that
collects predictions on the host. A `CTRModel` updates them once per `evaluate`; they cannot be
updated inside a compiled training step.
"""

import keras
import numpy as np

from keras_ctr._checks import require_positive, unknown
from keras_ctr.losses import SMALLEST_COMPLEMENT, SMALLEST_P


def auc(labels, scores, weights=None):
    """Returns the area under the ROC curve: how often a click scores above a non-click.

    Exact: a tie counts one half. Equal to `sklearn.metrics.roc_auc_score`.

    Args:
        labels: `(N,)`, 0 or 1.
        scores: `(N,)`, any monotone score.
        weights: optional `(N,)`, non-negative.

    Returns:
        A float in [0, 1]; NaN if all labels are the same.
    """
    labels, scores, weights = _flat(labels, scores, weights)
    return float(_auc_by_group(labels, scores, weights, np.zeros(len(labels), "int8"))[0][0])


def gauc(labels, scores, groups, weights=None):
    """Returns the AUC within each group, averaged with the groups' total weight.

    Groups whose labels are all the same have no AUC and are left out.

    Args:
        labels: `(N,)`, 0 or 1.
        scores: `(N,)`.
        groups: `(N,)` group ids (often the user).
        weights: optional `(N,)`; without it a group weighs as much as it has rows.

    Returns:
        A float in [0, 1]; NaN if no group holds both labels.

    Reference:
        Zhou et al., "Deep Interest Network", arXiv 1706.06978, section 6.2 (there weighted by
        impressions, as here).
    """
    labels, scores, weights = _flat(labels, scores, weights)
    areas, totals = _auc_by_group(labels, scores, weights, np.asarray(groups).reshape(-1))
    mixed = ~np.isnan(areas)
    if not mixed.any():
        return float("nan")
    return float(np.average(areas[mixed], weights=totals[mixed]))


def log_loss(labels, probabilities, weights=None):
    """Returns the weighted mean of `-y·ln(p) - (1 - y)·ln(1 - p)`, in nats; never infinite."""
    labels, p, weights = _flat(labels, probabilities, weights)
    log_p = np.log(np.maximum(p, SMALLEST_P))
    log_complement = np.log(np.maximum(1 - p, SMALLEST_COMPLEMENT))
    return float(np.average(-labels * log_p - (1 - labels) * log_complement, weights=weights))


def normalized_entropy(labels, probabilities, weights=None):
    """Returns the log loss over that of always predicting the mean click rate; below 1 is better.

    NaN if all labels are the same.

    Reference:
        He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014, eq. 1.
    """
    labels, p, weights = _flat(labels, probabilities, weights)
    rate = np.average(labels, weights=weights)
    if rate in (0.0, 1.0):
        return float("nan")
    base = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    return log_loss(labels, p, weights) / float(base)


def calibration(labels, probabilities, weights=None):
    """Returns predicted over observed clicks, `Σ p / Σ y`; 1 is calibrated, NaN without clicks."""
    labels, p, weights = _flat(labels, probabilities, weights)
    clicks = np.sum(weights * labels)
    return float(np.sum(weights * p) / clicks) if clicks else float("nan")


def reliability(labels, probabilities, bins=10, weights=None):
    """Returns what a reliability diagram shows: predictions and click rates, by prediction.

    The rows, in the order of their predictions, are cut into bins of equal weight: deciles, where
    there are ten. Rows of one and the same prediction stay together, so bins may be unequal, or
    fewer. `pandas.DataFrame(reliability(...))` is a table of them.

    Args:
        labels: `(N,)`, 0 or 1.
        probabilities: `(N,)`.
        bins: number of bins, at least 1.
        weights: optional `(N,)`, non-negative, of which the means are weighted.

    Returns:
        A list of dicts, by rising prediction: `"rows"`, their number; `"prediction"`, the mean
        probability; `"click_rate"`, the mean label; and `"ratio"`, the first over the second as in
        `calibration`: 1 is calibrated, NaN without clicks.
    """
    require_positive(bins=bins)
    labels, p, weights = _flat(labels, probabilities, weights)
    _, group = np.unique(p, return_inverse=True)  # numbered by rising prediction
    of_group = np.bincount(group, weights)
    middle = (np.cumsum(of_group) - of_group / 2) / of_group.sum()
    bin_of = np.minimum((middle * bins).astype(int), bins - 1)[group]
    found = []
    for at in range(bins):
        inside = bin_of == at
        weight = weights[inside].sum()
        if weight:
            prediction, rate = (weights[inside] @ a[inside] / weight for a in (p, labels))
            ratio = float(prediction / rate) if rate else float("nan")
            row = {"prediction": float(prediction), "click_rate": float(rate), "ratio": ratio}
            found.append({"rows": int(inside.sum())} | row)
    return found


def _flat(labels, scores, weights):
    labels = np.asarray(labels, "float64").reshape(-1)
    scores = np.asarray(scores).reshape(-1)
    if scores.dtype.kind != "f":
        scores = scores.astype("float64")
    if len(labels) != len(scores) or not len(labels):
        raise ValueError(
            "Labels and scores must have one and the same, non-zero length. "
            f"Received: {len(labels)} labels and {len(scores)} scores"
        )
    if np.isnan(scores).any():
        raise ValueError(f"Scores must not be NaN. Received: {np.isnan(scores).sum()} NaN scores")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("Labels must be 0 or 1.")
    weights = np.ones_like(labels) if weights is None else np.asarray(weights, "float64")
    return labels, scores.astype("float64"), weights.reshape(-1)


def _auc_by_group(labels, scores, weights, groups):
    """Returns the AUC of every group (NaN where labels are all the same) and its total weight."""
    order = np.lexsort((scores, groups))
    labels, scores, groups, weights = (a[order] for a in (labels, scores, groups, weights))
    clicks, others = weights * labels, weights * (1 - labels)
    new_group = np.r_[True, groups[1:] != groups[:-1]]
    ties = np.flatnonzero(new_group | np.r_[True, scores[1:] != scores[:-1]])
    starts = np.flatnonzero(new_group)  # first row of each group
    tie_starts = np.searchsorted(ties, starts)  # first tie of each group
    tie_clicks, tie_others = np.add.reduceat(clicks, ties), np.add.reduceat(others, ties)
    below = np.cumsum(tie_others) - tie_others
    group_of_tie = np.cumsum(new_group[ties]) - 1
    below -= below[tie_starts][group_of_tie]  # non-clicks below, within the group
    won = np.add.reduceat(tie_clicks * (below + tie_others / 2), tie_starts)
    pairs = np.add.reduceat(clicks, starts) * np.add.reduceat(others, starts)
    areas = np.divide(won, pairs, out=np.full(len(starts), np.nan), where=pairs > 0)
    return areas, np.add.reduceat(weights, starts)


class HostMetric(keras.metrics.Metric):
    """A metric over the whole evaluation set, collected on the host. Abstract.

    Subclasses set `function`, one of the functions above.
    """

    function = None
    needs_groups = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(package=cls.__module__)(cls)

    def __init__(self, name=None, dtype=None):
        super().__init__(name=name or _key(type(self)), dtype=dtype)
        self.reset_state()

    def update_state(self, y_true, y_pred, sample_weight=None, groups=None):
        """Adds predictions. All arguments have one value per row; `groups` only for `GAUC`."""
        if self.needs_groups and groups is None:
            raise ValueError(
                f"`{type(self).__name__}` needs groups: give the schema a `group` column, and "
                "evaluate on a data set."
            )
        try:
            y_true, y_pred = (keras.ops.convert_to_numpy(a).reshape(-1) for a in (y_true, y_pred))
        except Exception as error:
            raise RuntimeError(
                f"`{type(self).__name__}` is exact and lives on the host: it cannot be updated "
                "inside a compiled step. Use `model.evaluate` of a CTRModel."
            ) from error
        ones = np.ones(len(y_true))
        weights = ones if sample_weight is None else keras.ops.convert_to_numpy(sample_weight)
        self._chunks.append(
            (y_true, y_pred, weights.reshape(-1), ones if groups is None else np.asarray(groups))
        )

    def result(self):
        """Returns the metric of everything added since the last `reset_state`, NaN if nothing."""
        if not self._chunks:
            return float("nan")
        columns = zip(*self._chunks, strict=True)
        labels, scores, weights, groups = (np.concatenate(column) for column in columns)
        if self.needs_groups:
            return type(self).function(labels, scores, groups, weights)
        return type(self).function(labels, scores, weights)

    def reset_state(self):
        self._chunks = []


class AUC(HostMetric):
    """Exact area under the ROC curve; see `auc`."""

    function = staticmethod(auc)


class GAUC(HostMetric):
    """AUC within each group, averaged by rows; see `gauc`."""

    function = staticmethod(gauc)
    needs_groups = True


class LogLoss(HostMetric):
    """Mean negative log-likelihood in nats; see `log_loss`."""

    function = staticmethod(log_loss)


class NormalizedEntropy(HostMetric):
    """Log loss relative to predicting the mean click rate; see `normalized_entropy`."""

    function = staticmethod(normalized_entropy)


class Calibration(HostMetric):
    """Predicted over observed clicks; see `calibration`."""

    function = staticmethod(calibration)


_BY_KEY = {
    "auc": AUC,
    "gauc": GAUC,
    "logloss": LogLoss,
    "normalized_entropy": NormalizedEntropy,
    "calibration": Calibration,
}


def _key(cls):
    return next((key for key, known in _BY_KEY.items() if known is cls), None) or cls.__name__


def get(metric):
    """Returns a metric for one of the names `auc`, `gauc`, `logloss`, ...; others as they are."""
    if isinstance(metric, str):
        if metric in _BY_KEY:
            return _BY_KEY[metric]()
        try:
            return keras.metrics.get(metric)
        except ValueError:
            raise unknown("metric", metric, _BY_KEY) from None
    return metric
