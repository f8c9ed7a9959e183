"""One user and 500 candidates: `score` beside `predict` of the rows written out.

    KERAS_BACKEND=torch python tests/bench/candidates.py --out tests/bench/candidates

Models at their defaults, on a history of 50 events, four columns of the user and context, and three
of the candidate (DIN, OneTrans, DeRes, LONGER), or one (HSTU, whose events see all other columns).
Both get raw values, `predict` a data frame of 500 rows, `score` a dict and a data frame of the
candidates. Times are medians of calls in turn. OUT.csv keeps the rows of other backends; OUT.md is
the table of all.
"""

import argparse
import pathlib
import time

import keras
import numpy as np
import pandas as pd
from serving import keep_others

from keras_ctr import Categorical, Numeric, Schema, Sequence, datasets, zoo
from keras_ctr.experiments.hardware import hardware
from keras_ctr.experiments.runs import append, read

COLUMNS = ["backend", "model", "predict_ms", "score_ms", "times_faster", "difference", "hardware"]
MODELS = ("din", "onetrans", "hstu", "deres", "longer", "deepfm", "bst")
ROWS, CANDIDATES, EVENTS, CALLS = 5_000, 500, 50, 15
OF_CANDIDATE = ["item", "shop", "price"]


def frame(rows=ROWS, seed=0):
    """Rows of generated users, contexts, histories and items."""
    rng = np.random.default_rng(seed)
    items = np.array([f"item {i}" for i in range(2_000)])
    return pd.DataFrame(
        {
            "user": [f"user {i}" for i in rng.integers(0, 500, rows)],
            "country": rng.choice(["no", "it", "jp", "br"], rows),
            "hour": rng.integers(0, 24, rows),
            "age": rng.normal(40, 10, rows),
            "item": rng.choice(items, rows),
            "shop": [f"shop {i}" for i in rng.integers(0, 90, rows)],
            "price": rng.lognormal(size=rows),
            "clicks": [list(rng.choice(items, EVENTS)) for _ in range(rows)],
            "label": rng.integers(0, 2, rows),
        }
    )


def trained(name):
    """A model with its encoder; how well it predicts does not matter here."""
    schema = Schema(
        [
            *(Categorical(column) for column in ("user", "country", "hour", "item", "shop")),
            *(Numeric(column) for column in ("age", "price")),
            Sequence("clicks", of="item", length=EVENTS),
        ]
    )
    return zoo.get(name).adapt(datasets.from_pandas(frame(), schema, valid=0, test=0)[0])


def milliseconds(calls):
    """The median time of each call, taken in turn."""
    found = [[] for _ in calls]
    for _ in range(CALLS):
        for call, times in zip(calls, found, strict=True):
            started = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - started))
    return [float(np.median(times)) for times in found]


def measure(name):
    """Returns the row of the CSV of a model."""
    model, rows = trained(name), frame(CANDIDATES, seed=1).drop(columns="label")
    own = ["item"] if name == "hstu" else OF_CANDIDATE
    context, candidates = rows.drop(columns=own).iloc[0].to_dict(), rows[own]
    whole = pd.concat([candidates, pd.DataFrame([context] * len(candidates))], axis=1)
    scored, predicted = model.score(context, candidates), model.predict(whole, verbose=0)
    slow, fast = milliseconds(
        [lambda: model.predict(whole, verbose=0), lambda: model.score(context, candidates)]
    )
    difference = np.abs(scored - predicted).max()
    times = (round(slow, 1), round(fast, 1), round(slow / fast, 1), f"{difference:.1e}")
    values = (keras.backend.backend(), name, *times, hardware())
    return dict(zip(COLUMNS, values, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="name of the CSV and Markdown files")
    path = pathlib.Path(parser.parse_args().out).with_suffix(".csv")
    keep_others(path)
    for name in MODELS:
        row = measure(name)
        append(path, row)
        print(*list(row.values())[:-1], flush=True)
    rows, shown = read(path), COLUMNS[:-1]
    lines = ["| " + " | ".join(shown) + " |", "| --- |" + " --- |" * (len(shown) - 1)]
    lines += ["| " + " | ".join(str(row[name]) for name in shown) + " |" for row in rows]
    machines = ", ".join(dict.fromkeys(row["hardware"] for row in rows))
    head = f"{CANDIDATES} candidates beside a history of {EVENTS} events, {machines}."
    path.with_suffix(".md").write_text(f"{head}\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
