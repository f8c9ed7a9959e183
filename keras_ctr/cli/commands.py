"""The commands on data, models and studies."""

import dataclasses
import json
import os
import pathlib
import sys
import time
import tomllib
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import keras_ctr
from keras_ctr import _contents, datasets
from keras_ctr._checks import unknown

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Click-through-rate models for Keras 3. The backend is chosen by KERAS_BACKEND.",
)
console = Console(markup=False)  # what is printed may hold brackets

# Keras loads its backend on import, which takes seconds: commands that need none stay quick by
# importing `keras` and the zoo inside.

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
Data = Annotated[str, typer.Option(help="Name of a data set, a prepared folder, or a file.")]
Root = Annotated[str | None, typer.Option(help="Folder of the raw files of a known data set.")]
Label = Annotated[str | None, typer.Option(help="Label column, where DATA is your own file.")]
Group = Annotated[str | None, typer.Option(help="Group column of your own file, for GAUC.")]
Weight = Annotated[str | None, typer.Option(help="Column of sample weights of your own file.")]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="Option of the data set, as name=value.")
]
Arguments = Annotated[
    list[str] | None, typer.Option("--set", help="Argument of the model, as name=value.")
]


@app.command("list")
def list_models(
    group: Annotated[str | None, typer.Option(help="Only the models of this group.")] = None,
    as_json: Json = False,
):
    """Lists the models of the zoo, the data sets and the studies."""
    names = {"datasets": datasets.names(), "studies": _contents.studies()}
    if as_json:
        models = [keras_ctr.zoo.info(name) for name in keras_ctr.zoo.names(group)]
        return _print_json({"models": models, **names})
    table = Table("model", "idea", title="Models")
    for name, summary in _contents.models(group).items():
        table.add_row(name, summary)
    console.print(table)
    console.print("Data sets: " + ", ".join(datasets.names()))
    console.print("Studies: " + ", ".join(names["studies"]))


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="Name of a model: see `keras-ctr list`.")],
    data: Annotated[
        str | None,
        typer.Option(help="Name of a data set, or a prepared folder; default: a small example."),
    ] = None,
    root: Root = None,
    arguments: Arguments = None,
    as_json: Json = False,
):
    """Shows what a model is and costs: idea, arguments, source, parameters and FLOPs."""
    from keras_ctr import testing

    found = keras_ctr.zoo.info(model)
    net = keras_ctr.zoo.get(model, **_assignments(arguments))
    net.adapt(testing.example_schema() if data is None else datasets.load(data, root)[0])
    flops = keras_ctr.flops(net)
    found["data"] = "the example schema" if data is None else pathlib.Path(data).name
    found["parameters"] = net.count_params()
    found["flops"] = {"total": flops.total, **dataclasses.asdict(flops)}
    if as_json:
        return _print_json(found)
    console.print(found["name"], style="bold", end="  ")
    console.print(found["class"])
    console.print(found["summary"] + "\n")
    table = Table("argument", "default")
    for name, default in found["arguments"].items():
        table.add_row(name, repr(default))
    console.print(table)
    console.print(found["reference"] + "\n")
    given = f", with {', '.join(arguments)}" if arguments else ""
    console.print(f"On {found['data']}{given}: {found['parameters']:,} parameters. FLOPs:")
    console.print(str(flops), highlight=False)


@app.command()
def prepare(
    data: Annotated[str, typer.Argument(help="Name of a data set, or a file.")],
    root: Root = None,
    label: Label = None,
    group: Group = None,
    weight: Weight = None,
    out: Annotated[str | None, typer.Option(help="Folder to write; default: the cache.")] = None,
    on_bad_rows: Annotated[str, typer.Option(help="At a malformed row: error or skip.")] = "error",
    option: Options = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download missing raw files of a known data set.")
    ] = False,
    as_json: Json = False,
):
    """Encodes raw files to a folder of shards, once. Needs no backend."""
    options = _assignments(option) | _roles(label=label, group=group, weight=weight)
    how = {"on_bad_rows": on_bad_rows, "download": download}
    folder = datasets.prepare(data, root, out, **how, **options)
    show({"folder": str(folder)}, as_json)


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="Name of a model: see `keras-ctr list`.")],
    data: Data,
    root: Root = None,
    label: Label = None,
    group: Group = None,
    weight: Weight = None,
    recipe: Annotated[
        str, typer.Option(help="How to train: a name of keras_ctr.recipes.")
    ] = "quick",
    config: Annotated[
        str | None, typer.Option(help=r"TOML file: recipe, epochs, \[model], \[changes].")
    ] = None,
    arguments: Arguments = None,
    option: Options = None,
    epochs: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    seed: Annotated[int, typer.Option(help="Fixes initial weights and the order of rows.")] = 0,
    save: Annotated[str | None, typer.Option(help="Write the trained model to this file.")] = None,
    results: Annotated[str | None, typer.Option(help="Append a row to this CSV file.")] = None,
    as_json: Json = False,
):
    """Trains a model, then evaluates it on the test split."""
    from keras_ctr.experiments import studies
    from keras_ctr.experiments.hardware import versions

    keras_ctr.zoo.info(model)  # a wrong name is reported before data are read
    settings = read_config(config)
    recipe = settings.get("recipe", recipe)
    recipe_ = _changed(
        keras_ctr.recipes.get(recipe, data=data, model=model),
        settings.get("changes", {}),
    )
    loading = _assignments(option) | _roles(label=label, group=group, weight=weight)
    splits = datasets.load(data, root, **loading)
    if None in splits:
        raise ValueError("Training needs a validation and a test split: leave neither at 0.")
    if batch_size:
        recipe_ = dataclasses.replace(recipe_, batch_size=batch_size)
    net, found = studies.train_once(
        model,
        splits,
        recipe_,
        seed,
        settings.get("model", {}) | _assignments(arguments),
        epochs=epochs or settings.get("epochs") or recipe_.epochs,
        verbose=0 if as_json else "auto" if sys.stdout.isatty() else 2,
    )
    row = {"model": model, "data": pathlib.Path(data).name, "recipe": recipe_.name, "seed": seed}
    row |= found | versions()
    if save:
        pathlib.Path(save).parent.mkdir(parents=True, exist_ok=True)
        net.save(save)
    if results:
        studies.append(results, row)
    show(row, as_json)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A .keras file.")],
    data: Data,
    root: Root = None,
    split: Annotated[str, typer.Option(help="Of a data set: train, valid or test.")] = "test",
    option: Options = None,
    as_json: Json = False,
):
    """Evaluates a saved model on a split of a data set, or on all rows of a file with labels."""
    net = keras_ctr.zoo.load(model)
    if data in datasets.names() or pathlib.Path(data).is_dir():
        if split not in ("train", "valid", "test"):
            raise unknown("split", split, ("train", "valid", "test"))
        parts = datasets.load(data, root, **_assignments(option))
        rows = parts[("train", "valid", "test").index(split)]
        count, part = rows.num_rows, f"the {split} split"
        result = net.evaluate(rows, return_dict=True, verbose=0)
    else:
        arrays = _encoded(net, data)
        if "label" not in arrays:
            raise ValueError(f"Evaluation needs the label column {net.schema.label!r} in {data}.")
        batch = {key: arrays[key] for key in net.schema.shapes()}
        count, part = len(arrays["label"]), f"all of {pathlib.Path(data).name}"
        weights = arrays.get("weight")
        result = net.evaluate(
            batch, arrays["label"], sample_weight=weights, return_dict=True, verbose=0
        )
    show({**_rounded(result, result), "rows": count, "part": part}, as_json)


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="A .keras file.")],
    rows: Annotated[str, typer.Argument(help="File of raw rows: CSV or parquet.")],
    output: Annotated[
        str | None, typer.Option(help="CSV or parquet file to write; default: standard output.")
    ] = None,
):
    """Predicts the click probability of every row of a file, in its order."""
    import polars as pl

    net = keras_ctr.zoo.load(model)
    arrays = _encoded(net, rows)
    batch = {key: arrays[key] for key in net.schema.shapes()}
    probabilities = net.predict(batch, verbose=0)[:, 0]
    frame = pl.DataFrame({"probability": probabilities})
    if output is None:
        sys.stdout.write(frame.write_csv())
    elif output.endswith(".parquet"):
        frame.write_parquet(output)
    else:
        frame.write_csv(output)


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="Name of a study: see `keras-ctr list`.")],
    results: Annotated[str, typer.Option(help="CSV file; runs that are in it are not repeated.")],
    data: Annotated[str | None, typer.Option(help="Data set, instead of the study's own.")] = None,
    root: Root = None,
    seeds: Annotated[str, typer.Option(help="How many, or which: 5, or 1,2.")] = "5",
    arm: Annotated[list[str] | None, typer.Option("--arm", help="Only this arm.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    plot: Annotated[str | None, typer.Option(help="Write the plot of `scaling` here.")] = None,
    as_json: Json = False,
):
    """Trains all arms of a study with the same seeds; goes on where it was stopped."""
    from keras_ctr.experiments import plots, studies

    chosen = studies.get(name)
    wanted = [int(seed) for seed in seeds.split(",") if seed] if "," in seeds else int(seeds)
    given = {"epochs": epochs} if epochs else {}
    rows = studies.run(
        chosen,
        results,
        wanted,
        data,
        root,
        arm,
        report=lambda line: print(line, file=sys.stderr, flush=True),
        **given,
        verbose=0,
    )
    found = studies.summary(chosen, rows)
    if plot:
        plots.scaling(studies.scaling_fits(rows), plot)
    if as_json:
        return _print_json(found)
    table = Table("arm", "AUC", "log loss", "runs", "parameters", "FLOPs", title=chosen.title)
    table.add_column("difference")
    for row in found:
        table.add_row(
            row["arm"],
            studies.with_spread(row["auc"], row["std"]),
            f"{row['logloss']:.5f}",
            str(row["runs"]),
            f"{row['parameters']:,}",
            f"{row['flops']:,}",
            studies.with_spread(row["difference"], row["error"], "+.5f"),
        )
    console.print(table)


# Small sizes: the demo trains three models within three minutes on two cores.
DEMO = {
    "lr": {},
    "dcnv2": {"embedding_dim": 8, "hidden_units": [64, 64]},
    "deres": {
        "embedding_dim": 8,
        "token_dim": 32,
        "num_tokens": 4,
        "num_layers": 1,
        "granularity": "sublayer",
    },
}


@app.command()
def demo(
    rows: Annotated[int, typer.Option(help="Training rows to generate.")] = 100_000,
    epochs: Annotated[int, typer.Option(help="Passes over them, per model.")] = 3,
    as_json: Json = False,
):
    """Trains lr, dcnv2 and deres on generated clicks whose best possible AUC is known."""
    import keras
    from rich.progress import track

    train_data, valid, test = datasets.load("synthetic", rows=rows, batch_size=256)
    truth = test.extra("probability")
    bayes = {
        "auc": keras_ctr.metrics.auc(test.labels, truth),
        "logloss": keras_ctr.metrics.log_loss(test.labels, truth),
    }
    found = []
    steps = track(DEMO, "Training", console=Console(stderr=True), disable=as_json)
    for name in steps:
        keras.utils.set_random_seed(0)
        net = keras_ctr.zoo.get(name, **DEMO[name])
        net.compile(keras.optimizers.Adam(0.003))
        timer = _Seconds()
        net.fit(train_data, epochs=epochs, verbose=0, callbacks=[timer.callback()])
        result = net.evaluate(test, return_dict=True, verbose=0)
        row = {"model": name, **_rounded(result, ("auc", "logloss"))}
        found.append(row | {"rows_per_s": round(train_data.num_rows / min(timer.epochs))})
    summary = {"backend": keras.backend.backend(), "models": found, "bayes": bayes}
    if as_json:
        return _print_json(summary)
    table = Table("model", "AUC", "log loss", "rows/s", title=f"Test split, {summary['backend']}")
    for row in found:
        auc, logloss = f"{row['auc']:.4f}", f"{row['logloss']:.4f}"
        table.add_row(row["model"], auc, logloss, f"{row['rows_per_s']:,}")
    table.add_row("the truth (Bayes)", f"{bayes['auc']:.4f}", f"{bayes['logloss']:.4f}", "")
    console.print(table)


class _Seconds:
    """Seconds of every epoch; the fastest one is free of compilation."""

    def __init__(self):
        self.epochs = []

    def callback(self):
        import keras

        return keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self.epochs.append(-time.perf_counter()),
            on_epoch_end=lambda epoch, logs: self._stop(),
        )

    def _stop(self):
        self.epochs[-1] += time.perf_counter()


def main():
    """Entry point: a user's mistake is one line on standard error, not a traceback."""
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        stderr = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
        stderr.print("error:", style="red", end=" ")
        stderr.print(error)
        sys.exit(2)


def _roles(**columns):
    """The options that name columns, of those that are given."""
    return {role: name for role, name in columns.items() if name}


def _encoded(net, path):
    """Encodes a file of raw rows with the model's own encoder; returns packed arrays."""
    import numpy as np

    from keras_ctr.datasets.progress import Progress

    if net.encoder is None:
        raise ValueError("This model was trained on packed arrays: it has no encoder for raw rows.")
    parts = []
    with Progress(f"Reading {pathlib.Path(path).name}", os.path.getsize(path)) as progress:
        done = 0
        for frame in datasets.read_frames(path, net.encoder, progress=progress.advance):
            parts.append(net.encoder.encode(frame, first_row=done))
            done += len(frame)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def read_config(path):
    """Returns what a TOML file of `train --config` holds, `{}` for none."""
    if path is None:
        return {}
    with open(path, "rb") as file:
        settings = tomllib.load(file)
    known = ("recipe", "epochs", "model", "changes")
    for key in settings:
        if key not in known:
            raise unknown(f"key of {path}:", key, known)
    return settings


def _changed(recipe, changes):
    """A recipe with some attributes changed, and named so; `false` means None."""
    known = [field.name for field in dataclasses.fields(recipe) if field.name != "name"]
    for key in changes:
        if key not in known:
            raise unknown("attribute of a recipe", key, known)
    if not changes:
        return recipe
    changes = {key: None if value is False else value for key, value in changes.items()}
    named = ", ".join(f"{key}={value}" for key, value in changes.items())
    return dataclasses.replace(recipe, name=f"{recipe.name}, {named}", **changes)


def _assignments(pairs):
    """`["a=1", "b=x"]` -> `{"a": 1, "b": "x"}`; values are read as JSON where they are JSON."""
    values = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"Options are written name=value. Received: {pair}")
        try:
            values[name] = json.loads(value)
        except json.JSONDecodeError:
            values[name] = value
    return values


def _rounded(values, keys):
    return {key: round(values[key], 6) for key in keys}


def show(row, as_json):
    """Prints a dict as a table, or as JSON."""
    if as_json:
        return _print_json(row)
    table = Table("", "", show_header=False)
    for key, value in row.items():
        table.add_row(key, str(value))
    console.print(table)


def _print_json(value):
    print(json.dumps(value, indent=2, default=str))
