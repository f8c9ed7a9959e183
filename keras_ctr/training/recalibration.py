"""`Recalibrated`: a trained model whose probabilities are mapped to calibrated ones."""

import warnings

import numpy as np

from keras_ctr._checks import require_choice
from keras_ctr.layers.recalibration import METHODS, Isotonic, Platt, recalibration
from keras_ctr.losses import SMALLEST_COMPLEMENT, SMALLEST_P
from keras_ctr.training.predictions import collect


class Recalibrated:
    """A model whose `click`, its `Click` layer, can be recalibrated. To be mixed into `Trainer`."""

    def recalibrate(self, data, method="platt"):
        """Fits a map from the model's probabilities to calibrated ones, on held-out data.

        From then on it is part of the model: of `predict`, `evaluate`, the call outside of
        training and the `.keras` file (not of `save_weights`, which holds weights alone). `fit`
        removes it, since the probabilities it was fitted to are then others.

        Args:
            data: what `evaluate` takes, with labels: a data set, raw values, or `(x, y)` or
                `(x, y, sample_weight)` of arrays; of rows that the model was not trained on. `None`
                removes the map.
            method: `"platt"`: `sigmoid(slope · logit + bias)`, which keeps the order of the
                predictions (a slope below 0, which turns it round, is warned of); its two numbers
                are those of a logistic regression without penalty.
                `"isotonic"`: any map that does not decrease, in pieces that are linear; it needs
                many clicks, and makes ties.

        Returns:
            The model itself.

        Raises:
            ValueError: another method, or labels that are all the same.
            ImportError: scikit-learn is missing.

        Example:

        >>> model = keras_ctr.zoo.get("lr").adapt(schema)
        >>> model.recalibrate((batch, np.array([[0], [1], [0], [1]]))).get_config()["recalibration"]
        {'method': 'platt', 'slope': ..., 'bias': ...}
        >>> "recalibration" in model.recalibrate(None).get_config()
        False
        """
        if data is None:
            return self._recalibrate(None)
        require_choice(tuple(METHODS), method=method)
        self._way_out()
        _sklearn()  # before the data are read
        before = self._recalibrated()
        self._recalibrate(None)
        try:
            x, y, *weight = data if isinstance(data, tuple) else (data, None)
            x, y, own, _ = self.with_labels(x, y)
            self.settle()
            labels, p, weights, _ = collect(
                super().predict, x, y, weight[0] if weight else own, verbose=0
            )
            labels, p = (a.reshape(-1).astype("float64") for a in (labels, p))
            if len(np.unique(labels)) < 2:
                raise ValueError(
                    "Recalibration needs clicks and others. "
                    f"Received: {len(labels)} rows with one and the same label"
                )
            fit = platt if method == "platt" else isotonic
            found = fit(labels, p, weights)
        except BaseException:
            self._recalibrate(before)
            raise
        return self._recalibrate(found)

    def drop_recalibration(self):
        """Removes the map, with a warning if there is one: before the model is trained."""
        if self._recalibrated() is not None:
            warnings.warn(
                "`fit` removes what `recalibrate` fitted, since it changes the predictions that "
                "was fitted to: call `recalibrate` again afterwards.",
                stacklevel=4,
            )
            self._recalibrate(None)

    def _recalibrated(self):
        return getattr(getattr(self, "click", None), "recalibration", None)

    def _way_out(self):
        if not hasattr(getattr(self, "click", None), "recalibration"):
            raise ValueError(
                f"`recalibrate` needs a model whose last layer is `self.click`, a `layers.Click`. "
                f"Received: {type(self).__name__}"
            )
        return self.click

    def _recalibrate(self, found):
        if found is not self._recalibrated():
            self._way_out().recalibration = found
            # Compiled with, or without, the numbers of the map.
            self.predict_function = self.test_function = None
        return self

    def get_config(self):
        """Keras's `get_config`, with the map if there is one."""
        config = super().get_config()
        if self._recalibrated() is not None:
            config["recalibration"] = self._recalibrated().to_dict()
        return config

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`; a config without a map makes a model without one."""
        config = dict(config)
        found = config.pop("recalibration", None)
        model = super().from_config(config)
        return model if found is None else model._recalibrate(recalibration(found))


def platt(labels, p, weights=None):
    """Returns the `Platt` of a logistic regression of labels `(N,)` on the logits of `p` `(N,)`."""
    logits = np.log(np.maximum(p, SMALLEST_P)) - np.log(np.maximum(1 - p, SMALLEST_COMPLEMENT))
    centre, width = logits.mean(), logits.std() or 1.0  # so that the fit converges in a few steps
    regression = _sklearn().linear_model.LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    regression.fit((logits[:, None] - centre) / width, labels, sample_weight=weights)
    slope = regression.coef_[0, 0] / width
    if slope <= 0:
        warnings.warn(
            f"On these data higher predictions mean fewer clicks (slope {slope:.3g}): the order of "
            "the predictions is turned round. Are the labels right, and the rows of the kind that "
            "the model was trained on?",
            stacklevel=4,
        )
    return Platt(slope, regression.intercept_[0] - slope * centre)


def isotonic(labels, p, weights=None):
    """Returns the `Isotonic` of labels `(N,)` on `p` `(N,)`.

    Its values are at least half a click in all `N` rows away from 0 and 1, so that no log loss is
    infinite. Our choice.
    """
    least = 0.5 / len(labels)
    regression = _sklearn().isotonic.IsotonicRegression(
        y_min=least, y_max=1 - least, out_of_bounds="clip"
    )
    regression.fit(p, labels, sample_weight=weights)
    return Isotonic(regression.X_thresholds_, regression.y_thresholds_)


def _sklearn():
    try:
        import sklearn.isotonic
        import sklearn.linear_model
    except ImportError as error:
        raise ImportError(
            "`recalibrate` needs scikit-learn: `pip install scikit-learn`."
        ) from error
    return sklearn
