"""`fit`: from a data frame to a trained model in one call."""

import dataclasses
import logging
import time

import keras
import numpy as np

from keras_ctr import datasets, zoo
from keras_ctr._checks import require_not_negative, require_positive
from keras_ctr._config import arguments
from keras_ctr.experiments.recipes import LARGE, Recipe, one_call
from keras_ctr.features.frames import as_polars
from keras_ctr.features.schema import Schema
from keras_ctr.features.tokens import labels
from keras_ctr.tabular.deadline import Deadline

log = logging.getLogger("keras_ctr")

SMALL = 200  # rows, of which none are spared for validation
STEPS_UNWATCHED = 1500  # where no validation says when to stop
ROOM = 1.2  # a further setting may take so many times as long as the slowest before
# What a search tries after the defaults, in this order: changes of the recipe, and the model.
SETTINGS = (
    ({"table_l2": 0.1}, None),
    ({"hidden_units": (256, 256, 256)}, None),
    ({}, "dcnv2"),
    ({"dropout": 0.3}, None),
    ({"table_l2": 10.0}, None),
    ({"learning_rate": 0.5}, None),
)


@dataclasses.dataclass
class Fitted:
    """What `fit` found.

    Attributes:
        model: the trained `CTRModel`, with its encoder: `model.predict(frame)`, `model.save(path)`.
        name: name of its architecture.
        recipe: the `Recipe` it was trained with, see `Recipe.to_json`.
        history: Keras's `History`.
        schema: what the columns were taken for, see `Schema.describe`.
        validation: metrics on the held-out rows, by their names; empty without such rows.
        tried: all settings that were tried, as dicts, with their validation log loss and seconds.
        seconds: wall-clock time of the call.
    """

    model: keras.Model
    name: str
    recipe: Recipe
    history: keras.callbacks.History
    schema: Schema
    validation: dict
    tried: list
    seconds: float

    def predict(self, x, **kwargs):
        """`model.predict`: click probabilities `(N, 1)` of raw rows."""
        return self.model.predict(x, **{"verbose": 0, **kwargs})

    def evaluate(self, x, **kwargs):
        """`model.evaluate` of raw rows with their label, as a dict."""
        return self.model.evaluate(x, **{"verbose": 0, "return_dict": True, **kwargs})

    def describe(self, print_fn=print):
        """Prints what the columns were taken for, what was chosen, and how well it does."""
        self.schema.describe(print_fn)
        print_fn(f"model {self.name}, {self.model.count_params():,} parameters")
        for field in dataclasses.fields(self.recipe):
            value = getattr(self.recipe, field.name)
            if value != field.default and value not in ({}, None):
                print_fn(f"{field.name} {value}")
        found = ", ".join(f"{name} {value:.4f}" for name, value in self.validation.items())
        print_fn(f"validation: {found or 'none'}; {self.seconds:.0f} s")


def fit(
    df,
    label=None,
    *,
    schema=None,
    group=None,
    weight=None,
    valid=None,
    split="random",
    model=None,
    recipe=None,
    budget=None,
    epochs=None,
    seed=0,
    verbose=0,
    callbacks=None,
):
    """Trains a model on a data frame: columns, encoding, batches, model and recipe are chosen.

    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["Rome", "Oslo", "Oslo"] * 20, "click": [0, 1, 1, 0, 0, 1] * 10})
    >>> result = keras_ctr.fit(df, label="click", epochs=1)
    >>> result.predict(df.head(2)).shape
    (2, 1)

    The columns are looked at by `Schema.infer`; 10% of the rows are held out, and training stops
    when their log loss no longer falls, with the best weights. The model is a tower on the
    embeddings of all columns that is an ensemble (`"dnn"` with `layers.TabM`); beside a network of
    crosses (`"dcnv2"`) where there are names alone and more than 100,000 rows; or where the schema
    has histories, one that reads them (`"din"`). `recipes.one_call` says how it is trained.

    Args:
        df: pandas or polars data frame, Arrow table, or dict of columns. Its label is 0 or 1.
        label: name of the label column; by default that of the schema.
        schema: `Schema`; by default `Schema.infer`.
        group: name of the column of groups (the user, say), for `split="group"`.
        weight: name of the column of sample weights.
        valid: fraction of the rows to hold out, or a data frame of its own. By default 0.1, and 0
            of fewer than 200 rows; without any, training lasts `epochs`, by default some 1,500
            steps.
        split: how they are held out: `"random"`, `"group"` or `Time("column")`, see
            `datasets.from_pandas`.
        model: name of an architecture, or a `CTRModel` that is not yet trained, in the place of
            the default.
        recipe: a `Recipe` in the place of `recipes.one_call`.
        budget: seconds that the call may take. With time left after the default settings, it tries
            others, and keeps those with the least log loss on the rows held out (that loss is then
            a little too good to be expected of new rows). Without time for the default, it stops
            early. By default, there is one run, and no limit.
        epochs: largest number of epochs, in the place of the recipe's.
        seed: fixes initial weights, the rows held out, and the order of rows.
        verbose: Keras's, of `model.fit`.
        callbacks: further Keras callbacks.

    Returns:
        A `Fitted`.

    Raises:
        ValueError: no rows, or only one class; a label that is not 0 and 1; no column that tells
            anything; columns of types that have no place.
    """
    started = time.monotonic()
    if budget is not None:
        require_not_negative(budget=budget)
    if epochs is not None:
        require_positive(epochs=epochs)
    ready = isinstance(model, keras.Model)
    keras.utils.set_random_seed(seed)
    train, held_out = _data(df, schema, label, group, weight, valid, split, seed)
    base = recipe or one_call(rows=train.num_rows)
    if held_out is None:
        base = _unwatched(base, train.num_rows, epochs)
    elif epochs is not None:
        base = dataclasses.replace(base, epochs=epochs)
    train = train.with_options(batch_size=base.batch_size)
    name = None if ready else model or _fitting(train)
    deadline = None if budget is None else started + budget
    best, tried = None, []
    searched = budget is not None and held_out is not None and recipe is None and not ready
    for changes, other in [({}, None), *(SETTINGS if searched else ())]:
        if tried and time.monotonic() + ROOM * max(t["seconds"] for t in tried) > deadline:
            break
        if other is not None and (model is not None or other == name):
            continue
        settings, at = _changed(base, changes), time.monotonic()
        keras.utils.set_random_seed(seed)
        net = model if ready else _made(settings, other or name)
        rules = list(callbacks or []) + ([] if deadline is None else [Deadline(deadline)])
        history = settings.fit(net, train, held_out, verbose=verbose, callbacks=rules)
        scores = _scores(net, held_out)
        tried.append(
            {
                "model": net.name if ready else other or name,
                **changes,
                "logloss": scores.get("logloss"),
                "seconds": round(time.monotonic() - at, 2),
            }
        )
        if best is None or scores.get("logloss", np.inf) < best[3].get("logloss", np.inf):
            best = net, settings, history, scores, tried[-1]["model"]
    net, settings, history, scores, name = best
    return Fitted(
        net, name, settings, history, train.schema, scores, tried, time.monotonic() - started
    )


def _fitting(train):
    """The name of the architecture for some data."""
    if train.schema.sequences:
        return "din"
    many_names = train.num_rows > LARGE and not train.schema.numerics
    return "dcnv2" if many_names else "dnn"  # of names, products tell; there must be rows to learn


def _data(df, schema, label, group, weight, valid, split, seed):
    """The rows to train on and those held out, which may be `None`."""
    frame = as_polars(df)
    if not len(frame):
        raise ValueError("`df` must have rows. Received: none")
    name = label if schema is None else schema.label
    if name in frame.columns:  # before anything else is looked at
        clicks = labels(frame[name], name, lambda at: at).sum()
        _require_both(name, int(clicks), len(frame))
    if valid is None:
        valid = 0.1 if len(frame) >= SMALL else 0.0
    train, held_out, _ = datasets.from_pandas(
        frame,
        schema,
        label,
        valid=valid,
        test=0.0,
        group=group,
        weight=weight,
        split=split,
        seed=seed,
    )
    _require_both(train.schema.label, train.positives, train.num_rows)
    return train, held_out


def _require_both(label, clicks, rows):
    if clicks in (0, rows):
        raise ValueError(
            f"The label {label!r} must be 0 in some rows to train on and 1 in others. "
            f"Received: {clicks} of {rows} rows with 1"
        )


def _unwatched(recipe, rows, epochs):
    """A recipe for training without validation: some 1,500 steps, and no average of few."""
    steps = max(1, rows // recipe.batch_size)
    epochs = epochs or min(100, max(10, STEPS_UNWATCHED // steps))
    ema = recipe.ema if epochs * steps >= 1000 else None
    return dataclasses.replace(recipe, patience=None, epochs=epochs, ema=ema)


def _made(recipe, name):
    """A model with the sizes of the recipe; models without a tower keep the sizes they have."""
    has_tower = {"tower", "activation"} <= set(arguments(type(zoo.get(name))))
    return recipe.get(name, **({"activation": "relu"} if has_tower else {}))


def _changed(recipe, changes):
    """A recipe with changes: numbers multiply what it has, but for sizes of the tower."""
    changes, tower = dict(changes), dict(recipe.tower)
    for argument in ("hidden_units", "dropout"):
        if argument in changes:
            tower[argument] = changes.pop(argument)
    scaled = {key: getattr(recipe, key) * factor for key, factor in changes.items()}
    return dataclasses.replace(recipe, tower=tower, **scaled)


def _scores(model, held_out):
    if held_out is None:
        return {}
    scores = model.evaluate(held_out, verbose=0, return_dict=True)
    return {key: value for key, value in scores.items() if np.isfinite(value)}
