"""`CTRClassifier`: the one call as an estimator of scikit-learn (1.6 or newer)."""

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import (
        _check_sample_weight,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise ImportError(
        "keras_ctr.CTRClassifier needs scikit-learn 1.6 or newer: `pip install keras-ctr[sklearn]`."
    ) from error

from keras_ctr.features.columns import Numeric
from keras_ctr.features.frames import as_polars
from keras_ctr.features.schema import Schema
from keras_ctr.tabular.fit import fit

LABEL, WEIGHT = "__label__", "__weight__"  # columns that are added to a frame


class CTRClassifier(ClassifierMixin, BaseEstimator):
    """A click model as an estimator of scikit-learn: `keras_ctr.fit` behind its interface.

    Takes data frames as they are: text, categories, moments, lists and missing values included;
    and arrays of numbers, whose columns are all quantities. Labels are any two values, such as
    `"no"` and `"yes"`; the second in sorted order is the click.

    Args:
        model, recipe, schema, group, valid, split, budget, epochs, verbose: of `keras_ctr.fit`.
        random_state: integer, `None` or a `numpy.random.RandomState`, from which the seed is drawn.

    Attributes:
        classes_: the two labels, sorted.
        fitted_: the `Fitted` of `keras_ctr.fit`, with recipe, history and validation scores.
        model_: the trained `CTRModel`.
        n_features_in_, feature_names_in_: number and names of the columns.

    Example:

    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["Rome", "Oslo", "Oslo"] * 20})
    >>> classifier = keras_ctr.CTRClassifier(epochs=1).fit(df, ["no", "yes", "yes", "no"] * 15)
    >>> classifier.predict_proba(df.head(3)).shape
    (3, 2)
    """

    def __init__(
        self,
        model=None,
        recipe=None,
        schema=None,
        group=None,
        valid=None,
        split="random",
        budget=None,
        epochs=None,
        verbose=0,
        random_state=0,
    ):
        self.model = model
        self.recipe = recipe
        self.schema = schema
        self.group = group
        self.valid = valid
        self.split = split
        self.budget = budget
        self.epochs = epochs
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    def fit(self, X, y, sample_weight=None):
        """Trains a new model.

        Args:
            X: data frame (pandas, polars) or array `(n, columns)`.
            y: `(n,)`, labels of two classes.
            sample_weight: `(n,)`, at least 0.

        Raises:
            ValueError: no rows, another number of classes than two, or what `keras_ctr.fit` raises.
        """
        frame = self._frame(X, reset=True)
        y = column_or_1d(self._labels(y), warn=True)
        if len(y) != len(frame):
            raise ValueError(
                f"`X` and `y` must have the same number of rows. Received: {len(frame)}, {len(y)}"
            )
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) == 1:
            raise ValueError(
                "CTRClassifier needs both classes to learn from. Received: one class, "
                f"{self.classes_[0]!r}"
            )
        extra = {LABEL: codes.astype("int64")}
        if sample_weight is not None:
            extra[WEIGHT] = _check_sample_weight(sample_weight, codes, ensure_non_negative=True)
        import polars as pl

        frame = frame.with_columns(pl.Series(name, values) for name, values in extra.items())
        weight = WEIGHT if WEIGHT in extra else None
        schema = self._schema(frame, X, weight)
        self.fitted_ = fit(
            frame,
            LABEL,
            schema=schema,
            group=self.group if schema is None else None,
            weight=weight,
            valid=self.valid,
            split=self.split,
            model=self.model,
            recipe=self.recipe,
            budget=self.budget,
            epochs=self.epochs,
            seed=self._seed(),
            verbose=self.verbose,
        )
        return self

    @property
    def model_(self):
        """The trained `CTRModel`."""
        return self.fitted_.model

    def predict_proba(self, X):
        """Returns the probabilities of both classes, `(n, 2)` float64, as `classes_` has them."""
        check_is_fitted(self, "fitted_")
        frame = self._frame(X, reset=False)
        click = self.fitted_.predict(frame)[:, 0].astype("float64")
        return np.stack([1 - click, click], axis=1)

    def predict(self, X):
        """Returns the likelier label of each row, `(n,)`."""
        click = self.predict_proba(X)[:, 1] >= 0.5
        return self.classes_[click.astype(int)]

    def _frame(self, X, reset):
        """The rows as a polars frame, checked as scikit-learn does."""
        if hasattr(X, "columns"):
            validate_data(self, X, skip_check_array=True, reset=reset)
            frame = as_polars(X)
            if not len(frame):
                raise ValueError(
                    f"Found array with 0 sample(s) (shape={tuple(X.shape)}) while a minimum of 1 "
                    "is required."
                )
            return frame
        x = validate_data(self, X, reset=reset, dtype="numeric", ensure_all_finite="allow-nan")
        return as_polars({f"x{at}": x[:, at] for at in range(x.shape[1])})

    def _schema(self, frame, X, weight):
        """The schema as given, with label and weight of `fit`; of an array, all quantities."""
        if self.schema is not None:
            return Schema(self.schema.features, LABEL, self.schema.group, weight)
        if hasattr(X, "columns"):
            return None
        names = [name for name in frame.columns if name not in (LABEL, WEIGHT)]
        features = [
            Numeric(name, transform="quantile", embedding="piecewise", flag=True) for name in names
        ]
        return Schema(features, LABEL, weight=weight)

    def _labels(self, y):
        if y is None:
            raise ValueError(
                "This CTRClassifier estimator requires y to be passed, but the target y is None."
            )
        y = np.asarray(y)
        if y.dtype.kind in "fc" and not np.isfinite(y).all():
            raise ValueError("Input y contains NaN or infinity.")
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind != "binary":
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {kind}."
            )
        return y

    def _seed(self):
        if self.random_state is None or hasattr(self.random_state, "randint"):
            return int(check_random_state(self.random_state).randint(2**31 - 1))
        return int(self.random_state)
