"""Studies: several models trained alike, a row per run, and what comes of the comparison.

>>> sorted(keras_ctr.experiments.studies.names())
['ablation', 'baselines', 'history', 'rows', 'scaling', 'sml', 'sml_parts']

A study is a list of arms, each a model of the zoo with its arguments, trained by one recipe with
the same seeds. Runs are appended to a CSV file one by one; a run that is in the file already is not
repeated, so that a study that was stopped goes on where it was. Differences are taken seed by seed.
"""

import collections
import csv
import dataclasses
import math
import pathlib
import time
from collections.abc import Callable

import keras
import numpy as np

from keras_ctr import datasets, layers, zoo
from keras_ctr._checks import unknown
from keras_ctr.experiments import recipes
from keras_ctr.experiments.hardware import versions
from keras_ctr.layers import residuals
from keras_ctr.measure.flops import flops


@dataclasses.dataclass(frozen=True)
class Arm:
    """One model of a study.

    Attributes:
        name: what the table calls it; for an ablation, the expression itself.
        model: name of a model of the zoo.
        config: function without arguments that returns fresh constructor arguments.
        history: whether the model gets the behaviour histories of the data, or data without them.
        recipe: attributes of the study's recipe that are others in this arm.
    """

    name: str
    model: str
    config: Callable = dict
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
        study: a `Study`, or one of `names()`.
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
    study = get(study) if isinstance(study, str) else study
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
            _, found = train_once(arm.model, used, recipe, seed, arm.config(), **fit)
            row = {**key, "model": arm.model, "recipe": study.recipe, **found, **versions()}
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
    study = get(study) if isinstance(study, str) else study
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


# The studies

GENERATED = {"synthetic": {"rows": 50_000}}
MORE_GENERATED = {"synthetic": {"rows": 100_000}}  # of 50,000, eight layers make no more than two
RECENT = {"movielens_100k": {"history": 20}, "amazon_beauty": {"history": 20}}


def baselines():
    """DeRes beside the twelve baselines, one short recipe on Frappe."""
    arms = [Arm(name, name) for name in zoo.names("deres-baselines")] + [Arm("deres", "deres")]
    return Study("DeRes and the twelve baselines", arms, "onetrans", "frappe_x1")


# The paper's ablation table as expressions: each is evaluated to a fresh residual.
ABLATIONS = [
    "Identity()",
    'Gated(Identity(), DepthAttention(activation="silu"))',
    'DepthAttention(activation="softmax")',
    'DepthAttention(activation="silu")',
    'Gated(Identity(), DepthAttention(activation="silu"), gate=None)',
    'Gated(Identity(), DepthAttention(activation="silu"), gate="scalar")',
    'Gated(Identity(), DepthAttention(activation="silu"), gate="dynamic")',
    'Gated(Identity(), DepthAttention(activation="softmax"))',
    'Gated(LearnableResidual(), DepthAttention(activation="silu"))',
    'Gated(LearnableResidual(diagonal=True), DepthAttention(activation="silu"))',
    'Gated(Identity(), DepthAttention(2, activation="silu"))',
    'Gated(Identity(), DepthAttention(4, activation="silu"))',
    "ManifoldHyperConnection()",
    "HyperConnection()",
    "DepthWeighted()",
]


def ablation():
    """The ablations of DeRes on one backbone, OneTrans, at the granularity of layers."""

    def config(expression):
        return lambda: {"residual": eval(expression, {}, vars(residuals))}

    arms = [Arm(expression, "onetrans", config(expression)) for expression in ABLATIONS]
    return Study("Ablation of DeRes", arms, ABLATIONS[0], "synthetic", GENERATED, "short_synthetic")


DEPTHS = (2, 4, 8, 16)
WIDTHS = (16, 64)


def scaling():
    """DeRes and OneTrans over depth at one width, and over width at one depth."""
    sizes = [(depth, 32) for depth in DEPTHS] + [(4, width) for width in WIDTHS]

    def config(depth, width):
        return lambda: {"num_layers": depth, "token_dim": width}

    arms = [
        Arm(f"{model} {depth}x{width}", model, config(depth, width))
        for depth, width in sizes
        for model in ("onetrans", "deres")
    ]

    def reference(name):
        return "onetrans " + name.split()[1]

    return Study("Scaling", arms, reference, "synthetic", MORE_GENERATED, "short_synthetic")


def history():
    """Sequence models with the behaviour histories of the data, and without them."""
    arms = [
        Arm(f"{model}{'' if with_it else ' without history'}", model, history=with_it)
        for model in ("onetrans", "hstu", "deres")
        for with_it in (True, False)
    ]

    def reference(name):
        return f"{name} without history" if "without" not in name else name

    return Study(
        "What histories are worth", arms, reference, "movielens_100k", RECENT, "short_history"
    )


SML_MODELS = ("dnn", "wide_deep", "deepfm", "dcnv2", "xdeepfm", "autoint_plus")


def sml():
    """Models with the tower of Skip Meta Logit, and with a plain one of the same size."""
    arms = [
        Arm(f"{model}{suffix}", model, config)
        for model in SML_MODELS
        for suffix, config in (("", dict), (" + SML", lambda: {"tower": "sml"}))
    ]
    return Study("What SML adds", arms, lambda name: name.split()[0], "frappe_x1")


# Towers of the study `sml_parts`: each is evaluated to a fresh layer. The first is that of BARS.
SML_PARTS = [
    "MLP([400] * 3, dropout=0.2, batch_norm=True)",
    "MLP([400] * 3, dropout=0.2)",
    "SkipMetaLogit([400] * 3, dropout=0.2, linear=True)",
    'SkipMetaLogit([400] * 3, dropout=0.2, linear=True, mtn_position="hidden")',
    'SkipMetaLogit([400] * 3, dropout=0.2, linear=True, mtn_position="logit")',
    'SkipMetaLogit([400] * 3, dropout=0.2, linear=True, norm=Activation("tanh"))',
    "SkipMetaLogit([400] * 3, dropout=0.2, linear=True, norm=Identity())",
]


def sml_parts():
    """The parts of SML and the places of its norm, in a DNN trained to the end."""
    known = vars(layers) | {name: vars(keras.layers)[name] for name in ("Activation", "Identity")}

    def config(expression):
        return lambda: {"tower": eval(expression, {}, known)}

    arms = [Arm(expression, "dnn", config(expression)) for expression in SML_PARTS]
    return Study("The parts of SML", arms, SML_PARTS[1], "frappe_x1", recipe="bars")


def rows():
    """Tables trained by rows, each seen in some batches only, and whole tables in every step.

    Without L2, which only whole tables have exactly, and with it.
    """
    arms = [
        Arm(
            f"{model}{suffix} {choice}",
            model,
            recipe={"table_optimizer": choice, "table_l2": l2, "epochs": 5},
        )
        for model, suffix, l2 in (("dnn", "", 0.0), ("deepfm", "", 0.0), ("deepfm", " L2", 0.01))
        for choice in ("dense", "rows")
    ]

    def reference(name):
        return name.rsplit(" ", 1)[0] + " dense"

    return Study("Rows or whole tables", arms, reference, "frappe_x1")


def scaling_fits(rows):
    """Fits AUC against forward FLOPs per sample, for the rows of the study `scaling`.

    Per sweep, `"depth"` (layers at the width that most arms have) and `"width"`, and per model, two
    forms, since the one of DeRes's figure (γ = 0.118 against 0.071) is not public:

    - `power`: `AUC_inf - AUC = A·C^(-γ)`, with one `AUC_inf` for all models of a sweep;
    - `log`: `AUC = a + γ·log10 C`, γ in percentage points.

    And a form-free figure: `iso_auc`, how many times the compute of a DeRes arm OneTrans needs for
    the same mean AUC, interpolated in `log C`; None where OneTrans never has that AUC.

    Returns:
        dict of sweep -> `{"points": {model: [(FLOPs, mean AUC, standard error), …]}, "power":
        {model: γ}, "auc_inf": AUC_inf, "log": {model: γ}, "iso_auc": [(FLOPs, ratio), …]}`.
    """
    points = collections.defaultdict(list)
    if not rows:
        return {}
    for row in rows:
        model, size = row["arm"].split()
        depth, width = map(int, size.split("x"))
        points[model, depth, width].append((int(row["flops"]), float(row["auc"])))
    widths = collections.Counter(width for _, _, width in points)
    depths = collections.Counter(depth for _, depth, _ in points)
    width, depth = widths.most_common(1)[0][0], depths.most_common(1)[0][0]
    sweeps = {
        "depth": [key for key in points if key[2] == width],
        "width": [key for key in points if key[1] == depth],
    }
    return {
        name: _fit_sweep(keys, points)
        for name, keys in sweeps.items()
        if len({key[1:] for key in keys}) > 1
    }


def _fit_sweep(keys, points):
    curves = collections.defaultdict(list)
    for key in sorted(keys):
        flops_, aucs = zip(*points[key], strict=True)
        error = np.std(aucs, ddof=1) / math.sqrt(len(aucs)) if len(aucs) > 1 else None
        curves[key[0]].append((flops_[0], float(np.mean(aucs)), error and float(error)))
    compute = {model: np.log10([p[0] for p in curve]) for model, curve in curves.items()}
    auc = {model: np.array([p[1] for p in curve]) for model, curve in curves.items()}
    highest = max(values.max() for values in auc.values())
    best = None
    for limit in highest + np.geomspace(1e-4, 1 - highest, 200):
        lines = {m: np.polyfit(compute[m], np.log10(limit - auc[m]), 1) for m in curves}
        missed = sum(
            np.sum((limit - 10 ** np.polyval(lines[m], compute[m]) - auc[m]) ** 2) for m in curves
        )
        if best is None or missed < best[0]:
            best = missed, float(limit), {m: float(-line[0]) for m, line in lines.items()}
    iso = []
    if {"onetrans", "deres"} <= set(curves):
        for at, value in zip(compute["deres"], auc["deres"], strict=True):
            needed = _first_reaching(value, compute["onetrans"], auc["onetrans"])
            iso.append((float(10**at), None if needed is None else float(10 ** (needed - at))))
    return {
        "points": dict(curves),
        "power": best[2],
        "auc_inf": best[1],
        "log": {m: float(100 * np.polyfit(compute[m], auc[m], 1)[0]) for m in curves},
        "iso_auc": iso,
    }


def _first_reaching(value, x, y):
    """Where the line through the points `(x, y)` first has the value; None if it never does."""
    for i in range(len(x) - 1):
        low, high = sorted((y[i], y[i + 1]))
        if low <= value <= high and high > low:
            return x[i] + (x[i + 1] - x[i]) * (value - y[i]) / (y[i + 1] - y[i])
    return None


STUDIES = {
    "baselines": baselines,
    "ablation": ablation,
    "scaling": scaling,
    "history": history,
    "sml": sml,
    "sml_parts": sml_parts,
    "rows": rows,
}


def names():
    """Returns the names of all studies."""
    return list(STUDIES)


def get(name):
    """Returns the `Study` of this name."""
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    return STUDIES[name]()
