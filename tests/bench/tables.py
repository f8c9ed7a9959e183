"""What the size of the embedding table costs: rows per second of `fit`, here and elsewhere.

    python tests/bench/tables.py [--rows 1e3 1e6 5e6] [--repeats 3] [--out NAME]

A DeepFM with 39 fields, embeddings of width 16 and 1, a tower 400-400-400 without dropout, batches
of 4,096, Adam. The fields' sizes spread geometrically from 10 and sum to the rows of the table; ids
follow a power law with exponent 1.1 (`--ids uniform`: every id alike, the worst case). Each
measurement is a process of its own: the fastest of up to three epochs of 36 batches, as many as 20
seconds allow, after one of two (TensorFlow has epochs in which it keeps one of two cores busy, with
stock Keras as well); what `fit` does once at its end, `settle`, has a column of its own. The runs
are interleaved and repeated, so that what else happens on the machine hits all alike; what counts
are the ratios of medians. NAME.csv has every run, NAME.md the medians.

`ours`: this project, `model.fit`; `rows` and `dense`: the same with that `table_optimizer`, to find
where they cross; `keras`: the same network in Keras alone; `deepctr`: DeepCTR-Torch, if
`make parity` has installed it. FuxiCTR is measured where its repository is (`--fuxictr FOLDER`):
its models are not in its wheel.
"""

import argparse
import csv
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
import types

FIELDS, WIDTH, BATCH, STEPS, UNITS = 39, 16, 4096, 36, (400, 400, 400)
WARM = 2 * BATCH
BACKENDS = ("jax", "tensorflow", "torch")
PEERS = pathlib.Path(__file__).resolve().parents[2] / ".venv" / "peers"


def sizes_of(total):
    """Returns the sizes of the fields, from 10 upwards by a constant factor."""
    import numpy as np

    if total <= 10 * FIELDS * 3:
        return [max(3, total // FIELDS)] * FIELDS
    low, high = 1.0, 1e9
    while high / low > 1 + 1e-9:
        middle = (low * high) ** 0.5
        low, high = (
            (middle, high) if np.geomspace(10, 10 * middle, FIELDS).sum() < total else (low, middle)
        )
    return [int(size) for size in np.geomspace(10, 10 * low, FIELDS)]


def data(total, kind):
    """Returns ids `(N, FIELDS)`, from 2 (0 and 1 have a meaning of their own), labels and sizes."""
    import numpy as np

    rng, sizes = np.random.default_rng(0), sizes_of(total)
    share = rng.random((BATCH * STEPS, FIELDS))
    free = np.array(sizes) - 2
    if kind == "uniform":
        ids = share * free
    else:  # density k^-1.1 on [1, size], by the inverse of its distribution function
        power = 1 - 1.1
        ids = (share * (free.astype(float) ** power - 1) + 1) ** (1 / power) - 1
    ids = np.minimum(ids.astype("int32"), free - 1).clip(0) + 2
    label = (rng.random((len(ids), 1)) < 0.2).astype("float32")
    return np.minimum(ids, np.array(sizes) - 1).astype("int32"), label, sizes


def keras_alone(ids, label, sizes):
    """The same network of stock Keras layers, one packed table per width."""
    import keras
    import numpy as np
    from keras import ops

    ids = ids + np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype("int32")
    given = keras.Input((FIELDS,), dtype="int32")
    normal = keras.initializers.RandomNormal(stddev=1e-4)
    first = keras.layers.Embedding(sum(sizes), 1, embeddings_initializer=normal)(given)
    x = keras.layers.Embedding(sum(sizes), WIDTH, embeddings_initializer=normal.clone())(given)
    pairs = ops.sum(ops.square(ops.sum(x, 1)) - ops.sum(ops.square(x), 1), -1, keepdims=True) / 2
    deep = keras.layers.Flatten()(x)
    for units in UNITS:
        deep = keras.layers.Dense(units, "relu")(deep)
    logit = ops.sum(first, 1) + pairs + keras.layers.Dense(1)(deep)
    model = keras.Model(given, ops.sigmoid(logit))
    model.compile("adam", "binary_crossentropy")
    return lambda rows: model.fit(ids[:rows], label[:rows], batch_size=BATCH, verbose=0)


def ours(ids, label, sizes, **compiled):
    import keras_ctr

    schema = keras_ctr.Schema([keras_ctr.Categorical(f"f{i}", n) for i, n in enumerate(sizes)])
    model = keras_ctr.zoo.get("deepfm", embedding_dim=WIDTH, hidden_units=list(UNITS), dropout=0.0)
    model.adapt(schema).compile("adam", **compiled)
    model.settle = timed(model.settle, lambda: model.embeddings[0].table)
    return lambda rows: model.fit({"ids": ids[:rows]}, label[:rows], batch_size=BATCH, verbose=0)


def deepctr(ids, label, sizes):
    sys.path.append(str(PEERS))
    package = types.ModuleType("deepctr_torch")  # its own asks the package index for news
    package.__path__ = [str(PEERS / "deepctr_torch")]
    sys.modules["deepctr_torch"] = package
    import torch
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models.deepfm import DeepFM

    columns = [SparseFeat(f"f{i}", n, embedding_dim=WIDTH) for i, n in enumerate(sizes)]
    model = DeepFM(columns, columns, dnn_hidden_units=UNITS, l2_reg_linear=0, l2_reg_embedding=0)
    model.compile(torch.optim.Adam(model.parameters()), "binary_crossentropy")

    def epoch(rows):
        x = {f"f{i}": ids[:rows, i] for i in range(FIELDS)}
        model.fit(x, label[:rows], batch_size=BATCH, epochs=1, verbose=0)

    return epoch


def fuxictr(ids, label, sizes, folder):
    """FuxiCTR's DeepFM from a clone of its repository, in a loop like that of its own trainer."""
    sys.path[:0] = [folder, str(pathlib.Path(folder) / "model_zoo" / "DeepFM" / "DeepFM_torch")]
    import torch
    from fuxictr.features import FeatureMap
    from src import DeepFM

    features = FeatureMap("bench", str(pathlib.Path(folder)))
    features.labels, features.num_fields, features.default_emb_dim = ["label"], FIELDS, WIDTH
    features.total_features = sum(sizes)
    for i, size in enumerate(sizes):
        features.features[f"f{i}"] = {
            "source": "", "type": "categorical", "vocab_size": size, "padding_idx": 0
        }  # fmt: skip
    settings = {"optimizer": "adam", "loss": "binary_crossentropy", "metrics": ["AUC"]}
    elsewhere = {"gpu": -1, "verbose": 0, "model_root": folder}  # where nothing is written
    model = DeepFM(features, embedding_dim=WIDTH, hidden_units=list(UNITS), **settings, **elsewhere)
    model._max_gradient_norm = 10.0  # as its `fit` sets it
    columns = torch.tensor(ids)
    labels = torch.tensor(label)

    def epoch(rows):
        model.train()
        for start in range(0, rows, BATCH):
            batch = {f"f{i}": columns[start : start + BATCH, i] for i in range(FIELDS)}
            batch["label"] = labels[start : start + BATCH, 0]
            model.train_step(batch)

    return epoch


SETTLING = []  # seconds


def timed(settle, table):
    """`settle`, with its seconds taken, from when the steps are done until it is."""

    def wait():
        value = table().value
        if hasattr(value, "block_until_ready"):
            value.block_until_ready()

    def run():
        wait()
        started = time.perf_counter()
        settle()
        wait()
        SETTLING.append(time.perf_counter() - started)

    return run


def measure(who, total, kind, folder):
    """Prints rows per second and the peak memory of this process."""
    ids, label, sizes = data(total, kind)
    if who == "fuxictr":
        epoch = fuxictr(ids, label, sizes, folder)
    else:
        makers = {"ours": ours, "keras": keras_alone, "deepctr": deepctr}
        if who in ("rows", "dense"):
            epoch = ours(ids, label, sizes, table_optimizer=who)
        else:
            epoch = makers[who](ids, label, sizes)
    epoch(WARM)
    begun, taken, settling = time.perf_counter(), [], 0.0
    while len(taken) < 3 and time.perf_counter() - begun < 20:
        started = time.perf_counter()
        epoch(len(ids))
        settling = SETTLING[-1] if SETTLING else 0.0
        taken.append(time.perf_counter() - started - settling)
    speed = len(ids) / min(taken)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    from keras_ctr.experiments.hardware import versions

    found = {"rows_per_s": round(speed), "settle_s": round(settling, 3), "peak_gib": round(peak, 2)}
    print(json.dumps(found | versions()))


def run_once(who, backend, total, given):
    arguments = ["--measure", who, "--rows", total, "--ids", given.ids]
    return child(
        __file__, backend, *arguments, *(["--fuxictr", given.fuxictr] if given.fuxictr else [])
    )


def child(script, backend, *arguments, **environment):
    """Runs a script in a process of its own; returns what its last line says, as JSON."""
    command = [sys.executable, "-W", "ignore", script, *map(str, arguments)]
    environment = {**os.environ, "KERAS_BACKEND": backend, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} on {backend} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(rows):
    """Returns the medians as Markdown: a line per library, a column per size of the table."""
    totals = sorted({row["table_rows"] for row in rows})
    lines = ["| | " + " | ".join(f"{total:,}" for total in totals) + " |"]
    lines.append("| --- |" + " --- |" * len(totals))
    for key in dict.fromkeys((row["who"], row["backend"]) for row in rows):
        cells = []
        for total in totals:
            speeds = [
                row["rows_per_s"]
                for row in rows
                if (row["who"], row["backend"], row["table_rows"]) == (*key, total)
            ]
            cells.append(f"{statistics.median(speeds):,.0f}" if speeds else "")
        lines.append(f"| {key[0]} ({key[1]}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def record(out, text, rows):
    """Writes OUT.md and, of the rows, OUT.csv."""
    out = pathlib.Path(out)
    out.with_suffix(".md").write_text(text + "\n")
    with open(out.with_suffix(".csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, nargs="+", default=[1e3, 1e6, 5e6])
    parser.add_argument("--who", nargs="+", default=["ours", "keras", "deepctr"])
    parser.add_argument("--backends", nargs="+", default=BACKENDS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ids", choices=("power", "uniform"), default="power")
    parser.add_argument("--fuxictr", help="folder of a clone of FuxiCTR's repository")
    parser.add_argument("--out", help="name of the CSV and Markdown files to write")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    totals = [int(total) for total in given.rows]
    if given.measure:
        return measure(given.measure, totals[0], given.ids, given.fuxictr)
    from keras_ctr.experiments.hardware import hardware

    cases = [(who, backend) for who in given.who if who != "deepctr" for backend in given.backends]
    notes = []
    if "deepctr" in given.who and (PEERS / "deepctr_torch").is_dir():
        cases.append(("deepctr", "torch"))
    elif "deepctr" in given.who:
        notes.append("DeepCTR-Torch: not measured, `make parity` installs it.")
    if given.fuxictr:
        cases.append(("fuxictr", "torch"))
    else:
        notes.append("FuxiCTR: not measured, its models are only in its repository (`--fuxictr`).")
    rows = []
    for repeat in range(given.repeats):
        for total in totals:
            for who, backend in cases:
                found = run_once(who, backend, total, given)
                rows.append(
                    {"who": who, "backend": backend, "table_rows": total, "ids": given.ids}
                    | {"repeat": repeat}
                    | found
                )
                speed, peak = found["rows_per_s"], found["peak_gib"]
                print(f"{who:8} {backend:10} {total:12,} {speed:8,} {peak:6.2f} GiB", flush=True)
    allocator = "".join(f", {value}" for value in [os.environ.get("GLIBC_TUNABLES")] if value)
    head = f"Rows per second, {hardware()}, ids: {given.ids}{allocator}."
    text = "\n\n".join([head, table(rows), *notes])
    print(text)
    if given.out:
        record(given.out, text, rows)


if __name__ == "__main__":
    main()
