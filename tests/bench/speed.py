"""Rows per second of the reader and of `model.fit`, on every installed backend, in one run.

    python tests/bench/speed.py [--rows 200000] [--out speed.csv]

39 categorical fields, 1,000 ids each, embedding 16, batches of 4,096, stock Adam. Machines differ
and are noisy: compare the ratios, not the figures. The median of five epochs after a warm-up.

The last figure per backend is what DeRes costs: its time per training step over that of OneTrans at
width 128, the two in turn, the median of the ratios of neighbours.
"""

import argparse
import csv
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

FIELDS, SIZE, BATCH, EPOCHS = 39, 1000, 4096, 5
MODELS = ["lr", "deepfm", "dcnv2", "deres"]


def make_dataset(rows):
    import numpy as np
    import polars as pl

    import keras_ctr

    rng = np.random.default_rng(0)
    columns = {f"f{i}": rng.integers(2, SIZE, rows, dtype="int32") for i in range(FIELDS)}
    columns["label"] = rng.integers(0, 2, rows)
    schema = keras_ctr.Schema([keras_ctr.Categorical(f"f{i}", SIZE) for i in range(FIELDS)])
    train, *_ = keras_ctr.datasets.from_pandas(
        pl.DataFrame(columns), schema, valid=0, test=0, batch_size=BATCH
    )
    return train.with_options(drop_remainder=True)


def seconds_per_epoch(run):
    run()  # compiles, and warms caches
    return statistics.median([seconds(run) for _ in range(EPOCHS)])


def measure(rows):
    """Prints `{what: rows per second}` for the backend of this process."""
    import keras_ctr

    train = make_dataset(rows)
    count = len(train) * BATCH
    reading = seconds_per_epoch(lambda: [train[i] for i in range(len(train))])
    found = {"reader": count / reading}
    for name in MODELS:
        sizes = {"token_dim": 32, "num_layers": 2} if name == "deres" else {}
        model = keras_ctr.zoo.get(name, **sizes)
        model.compile("adam")
        fitting = seconds_per_epoch(lambda model=model: model.fit(train, verbose=0))
        found[name] = count / fitting
    found["deres/onetrans"] = overhead(train)
    print(json.dumps(found))


def overhead(train, steps=4, pairs=7):
    """Median ratio of the training time of DeRes to that of OneTrans."""
    import keras_ctr

    fits = []
    for name in ("onetrans", "deres"):
        model = keras_ctr.zoo.get(name, token_dim=128, num_layers=4)
        model.compile("adam")
        fits.append(lambda m=model: m.fit(train, steps_per_epoch=steps, verbose=0))
    ratios = []
    for pair in range(pairs + 1):  # the first one compiles
        plain, gated = map(seconds, fits)
        ratios += [gated / plain] if pair else []
    return statistics.median(ratios)


def seconds(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--out", help="CSV file to write")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return measure(given.rows)
    rows = []
    for backend in ("jax", "tensorflow", "torch"):
        if importlib.util.find_spec(backend) is None:
            continue
        output = subprocess.check_output(
            [sys.executable, __file__, "--measure", "--rows", str(given.rows)],
            env={**os.environ, "KERAS_BACKEND": backend},
            text=True,
        )
        for what, speed in json.loads(output.splitlines()[-1]).items():
            unit = "ratio" if "/" in what else "rows/s"
            rows.append({"backend": backend, "what": what, "value": round(speed, 3), "unit": unit})
            print(f"{backend:12} {what:15} {speed:12,.3f} {unit}", flush=True)
    if given.out:
        with open(given.out, "w", newline="") as file:
            writer = csv.DictWriter(file, ["backend", "what", "value", "unit"])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
