"""Rows per second of the reader and of `model.fit`, on every installed backend, in one run.

    python tests/bench/speed.py [--rows 200000] [--out speed.csv]

39 categorical fields, 1,000 ids each, embedding 16, batches of 4,096, stock Adam. Machines differ
and are noisy: compare the ratios, not the figures. The median of five epochs after a warm-up.
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
    found = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


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
    print(json.dumps(found))


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
            rows.append({"backend": backend, "what": what, "rows_per_s": round(speed)})
            print(f"{backend:12} {what:8} {speed:12,.0f} rows/s", flush=True)
    if given.out:
        with open(given.out, "w", newline="") as file:
            writer = csv.DictWriter(file, ["backend", "what", "rows_per_s"])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
