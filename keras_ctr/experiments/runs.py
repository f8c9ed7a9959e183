"""Runs: one training after the other, a row of a CSV file each, and a table made of the rows."""

import collections
import csv
import dataclasses
import math
import pathlib
import time
from collections.abc import Callable

import keras
import numpy as np

from keras_ctr import datasets, zoo
from keras_ctr._checks import unknown
from keras_ctr.experiments import recipes
from keras_ctr.experiments.hardware import versions
from keras_ctr.measure import flops


@dataclasses.dataclass(frozen=True)
class Arm:
    """One model of a study.

    Attributes:
        name: what the table calls it; for an ablation, the expression itself.
        model: name of a model of the zoo, or a `CTRModel` class.
        config: constructor arguments, a dict; objects in it are patterns, for any number of runs.
        history: whether the model gets the behaviour histories of the data, or data without them.
        recipe: attributes of the study's recipe that are others in this arm.
    """

    name: str
    model: str
    config: dict = dataclasses.field(default_factory=dict)
    history: bool = True
    recipe: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Study:
    """Arms, the one the others are compared with, and the data and recipe all of them share.

    Attributes:
        title: what is asked.
        arms: list of `Arm`.
        reference: name of the arm that differences are taken from; or a function from an arm's name
            to its own reference.
        data: default data set.
        options: options of `datasets.load`, a dict for each data set that needs some.
        recipe: name of the recipe.
    """

    title: str
    arms: list
    reference: str | Callable
    data: str
    options: dict = dataclasses.field(default_factory=dict)
    recipe: str = "short"

    def reference_of(self, name):
        """Returns the name of the arm that the arm `name` is compared with."""
        return self.reference(name) if callable(self.reference) else self.reference


def train_once(model, splits, recipe, seed, config=None, **fit):
    """Trains a model and evaluates it on the test split, which nothing else looks at.

    Args:
        model: name of a model of the zoo.
        splits: `(train, valid, test)`, data sets of `keras_ctr.datasets`.
        recipe: a `Recipe`.
        seed: fixes initial weights, dropout and the order of rows.
        config: arguments of the model on top of the recipe's.
        **fit: of `Recipe.fit`, such as `epochs`.

    Returns:
        The trained model, and a dict of results: `auc` and `logloss` on test, `val_auc`, `epochs`,
        `parameters`, `flops` (forward, per sample), `rows_per_s` of training, `seconds`.
    """
    train, valid, test = splits
    train = train.with_options(batch_size=recipe.batch_size, seed=seed)
    valid, test = (part.with_options(batch_size=recipe.batch_size) for part in (valid, test))
    keras.utils.set_random_seed(seed)
    net = recipe.get(model, **(config or {}))
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: laps.append(-time.perf_counter()),
        on_epoch_end=lambda epoch, logs: laps.append(laps.pop() + time.perf_counter()),
        on_test_begin=lambda logs: laps.append(laps.pop() + time.perf_counter()),
        on_test_end=lambda logs: laps.append(laps.pop() - time.perf_counter()),
    )
    laps, started = [], time.perf_counter()  # of every epoch, without its validation
    history = recipe.fit(net, train, valid, callbacks=[watch], **fit).history
    found = {key: round(value, 6) for key, value in _on_test(net, test).items()}
    return net, {
        **found,
        "val_auc": round(max(history["val_auc"]), 6),
        "epochs": len(laps),
        "parameters": net.count_params(),
        "flops": flops(net).total,
        "rows_per_s": round(train.num_rows / min(laps)),  # the first one compiles
        "seconds": round(time.perf_counter() - started, 1),
    }


def _on_test(net, test):
    found = net.evaluate(test, return_dict=True, verbose=0)
    return {key: found[key] for key in ("auc", "logloss")}


def run(study, results, seeds=5, data=None, root=None, arms=None, report=print, **fit):
    """Runs what is missing of a study, seed by seed.

    Args:
        study: a `Study`.
        results: CSV file; runs are appended to it. Several processes may share it.
        seeds: number of seeds `1 … seeds`, or a list of them.
        data: name of a data set, instead of the study's.
        root: folder of its raw files.
        arms: names of the arms to run; default all.
        report: function that is given a line per finished run.
        **fit: of `Recipe.fit`, such as `epochs`, for a shorter try.

    Returns:
        All rows of the file, a list of dicts.
    """
    known = [arm.name for arm in study.arms]
    for name in arms or []:
        if name not in known:
            raise unknown("arm", name, known)
    data = data or study.data
    splits = datasets.load(data, root, **study.options.get(data, {}))
    plain = None
    for seed in range(1, seeds + 1) if isinstance(seeds, int) else seeds:
        for arm in study.arms:
            key = {"arm": arm.name, "data": pathlib.Path(data).name, "seed": seed}
            if (arms and arm.name not in arms) or _is_done(results, key):
                continue
            if not arm.history and plain is None:
                plain = [part.without_sequences() for part in splits]
            recipe = recipes.get(study.recipe, data=data, model=arm.model)
            recipe = dataclasses.replace(recipe, **arm.recipe)
            used = splits if arm.history else plain
            _, found = train_once(arm.model, used, recipe, seed, arm.config, **fit)
            row = {
                **key,
                "model": zoo.name_of(arm.model),
                "recipe": study.recipe,
                **found,
                **versions(),
            }
            append(results, row)
            report(f"{arm.name}, seed {seed}: AUC {found['auc']:.5f}, {found['seconds']:.0f} s")
            keras.utils.clear_session()
    return read(results)


def _is_done(results, key):
    done = read(results) if pathlib.Path(results).exists() else []
    return any(all(row[name] == str(value) for name, value in key.items()) for row in done)


def append(path, row):
    """Appends a dict to a CSV file, whose header the first one writes."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists() or not path.stat().st_size
    if not new:
        with open(path, newline="") as file:
            header = next(csv.reader(file))
        if header != list(row):
            raise ValueError(f"{path} has other columns: {header}. Received: {list(row)}")
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def read(path):
    """Returns the rows of a CSV file as dicts of strings."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if None in row or None in row.values():
            raise ValueError(f"{path} has an incomplete row. Received: {row}")
    return rows


def summary(study, rows):
    """Returns a dict per arm that was run, in the study's order.

    Keys: `arm`, `runs`, mean and sample standard deviation `auc`, `std`, mean `logloss`,
    `parameters`, `flops`, median `rows_per_s`, and the paired difference of AUC from the reference
    arm, `difference`, with its standard error `error` over the `pairs` of equal seeds (None where
    there are fewer than two).
    """
    by_arm = collections.defaultdict(dict)
    for row in rows:
        by_arm[row["arm"]][row["seed"]] = row
    table = []
    for name in (arm.name for arm in study.arms if arm.name in by_arm):
        runs = by_arm[name]
        auc = {seed: float(row["auc"]) for seed, row in runs.items()}
        reference = study.reference_of(name)
        base = {seed: float(row["auc"]) for seed, row in by_arm.get(reference, {}).items()}
        pairs = [auc[seed] - base[seed] for seed in auc if seed in base and name != reference]
        first = next(iter(runs.values()))
        table.append(
            {
                "arm": name,
                "runs": len(runs),
                "auc": float(np.mean(list(auc.values()))),
                "std": float(np.std(list(auc.values()), ddof=1)) if len(auc) > 1 else None,
                "logloss": float(np.mean([float(row["logloss"]) for row in runs.values()])),
                "parameters": int(first["parameters"]),
                "flops": int(first["flops"]),
                "rows_per_s": float(np.median([float(r["rows_per_s"]) for r in runs.values()])),
                "pairs": len(pairs),
                "difference": float(np.mean(pairs)) if pairs else None,
                "error": float(np.std(pairs, ddof=1) / math.sqrt(len(pairs)))
                if len(pairs) > 1
                else None,
            }
        )
    return table


def with_spread(value, spread, form=".5f"):
    """Writes `value ± spread`, without the latter where it is None; nothing without a value.

    >>> with_spread(0.96051, 0.00347), with_spread(-0.5, None, "+.5f"), with_spread(None, None)
    ('0.96051 ± 0.00347', '-0.50000', '')
    """
    if value is None:
        return ""
    return f"{value:{form}}" + ("" if spread is None else f" ± {spread:.5f}")
