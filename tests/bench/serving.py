"""What one request costs: `predict` of raw rows, and the exported model in ONNX Runtime.

    KERAS_BACKEND=torch python tests/bench/serving.py --out tests/bench/serving

DCN-V2 at its defaults on 39 generated columns as Criteo has them: 13 counts, cut into buckets by
their logarithm, and 26 codes of up to 100,000 values. Each way gets the same raw rows, again and
again, and p50 and p99 are those of the single calls. OUT.csv keeps the rows of other backends;
OUT.md is the table of all.

- `frame, loop`: the encoder's data frame, then Keras's `predict`, as both were before.
- `predict`: of a pandas frame; `predict, dicts`: of a list of dicts.
- `onnx N`: `Artefact.run` of arrays, with N threads; `onnx N, dicts`: `Artefact.predict`.
- `deepfm, onnx N`: a DeepFM of the sizes of torch-rechub's, raw columns in, or ids;
- `torch-rechub deepfm, ids in, onnx N`: its own export, which takes ids, where it is installed
  (`make .venv/rechub`).
"""

import argparse
import functools
import itertools
import pathlib
import tempfile
import time

import keras
import numpy as np
import pandas as pd

from keras_ctr import Categorical, Schema, datasets, zoo
from keras_ctr.experiments.hardware import hardware
from keras_ctr.experiments.runs import append, read
from keras_ctr.serving import Artefact, feeds

COLUMNS = ["backend", "way", "rows", "p50_ms", "p99_ms", "hardware"]
ROWS = 50_000
SECONDS = 3.0  # per way


def frame(rows=ROWS, seed=0):
    """Generated rows with missing counts and Zipf-distributed codes."""
    rng = np.random.default_rng(seed)
    counts = {f"I{i}": np.floor(rng.lognormal(2, 2, rows)) for i in range(1, 14)}
    for values in counts.values():
        values[rng.random(rows) < 0.2] = np.nan
    codes = {f"C{i}": [f"{x:08x}" for x in rng.zipf(1.3, rows) % 100_000] for i in range(1, 27)}
    return pd.DataFrame(counts | codes | {"label": rng.integers(0, 2, rows)})


def trained():
    """A model with its encoder; how well it predicts does not matter here."""
    features = [Categorical(f"I{i}", buckets="log2", fill=0) for i in range(1, 14)]
    features += [Categorical(f"C{i}", min_count=2) for i in range(1, 27)]
    train = datasets.from_pandas(frame(), Schema(features), valid=0, test=0)[0]
    return zoo.get("dcnv2").adapt(train)


def timed(call):
    """Returns p50 and p99 of single calls, in milliseconds."""
    call()
    found, until = [], time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        started = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - started))
    return round(float(np.median(found)), 3), round(float(np.quantile(found, 0.99)), 3)


def ways(model, path, rows):
    """Yields `(name, call)` of each way, for a frame of raw rows."""
    loop = keras.Model.predict
    dicts = rows.to_dict("records")

    def as_before():
        return loop(model, model.encoder.encode(rows, label=False), batch_size=4096, verbose=0)

    yield "frame, loop", as_before
    yield "predict", lambda: model.predict(rows)
    yield "predict, dicts", lambda: model.predict(dicts)
    for threads in (1, 2):
        artefact = Artefact(path, threads)
        arrays = feeds(artefact.inputs, rows)
        np.testing.assert_allclose(artefact.run(arrays), model.predict(rows), atol=1e-5)
        yield f"onnx {threads}", functools.partial(artefact.run, arrays)
        yield f"onnx {threads}, dicts", functools.partial(artefact.predict, dicts)


def deepfms(folder, model, rows):
    """Yields `(name, call)` of DeepFM, ours and torch-rechub's, of one size."""
    units = [256, 128]
    packed = model.encoder.encode(rows, label=False)["ids"]
    for way, data in (("", _Encoded(model)), (", ids in", model.schema)):
        ours = zoo.get("deepfm", embedding_dim=16, hidden_units=units).adapt(data)
        artefact = ours.export(folder / "deepfm.onnx")
        for threads in (1, 2):
            opened = Artefact(artefact, threads)
            arrays = feeds(opened.inputs, rows) if not way else {"ids": packed}
            yield f"deepfm{way}, onnx {threads}", functools.partial(opened.run, arrays)
    try:
        from torch_rechub.basic.features import SparseFeature
        from torch_rechub.models.ranking import DeepFM
        from torch_rechub.utils.onnx_export import ONNXExporter
    except ImportError as error:
        print(f"torch-rechub is left out: {error}", flush=True)
        return
    import onnxruntime

    sizes = {feature.name: feature.size for feature in model.schema.categoricals}
    features = [SparseFeature(name, size, embed_dim=16) for name, size in sizes.items()]
    theirs = DeepFM(features, features, {"dims": units, "dropout": 0.0, "activation": "relu"})
    ONNXExporter(theirs).export(str(folder / "rechub.onnx"))
    given = dict(zip(sizes, packed.T.astype("int64", order="C"), strict=True))
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(str(folder / "rechub.onnx"), options)
        call = functools.partial(session.run, None, given)
        yield f"torch-rechub deepfm, ids in, onnx {threads}", call


class _Encoded:
    """What `adapt` looks at of data."""

    def __init__(self, model):
        self.schema, self.encoder = model.schema, model.encoder


def table(rows):
    """Returns Markdown: a line per way and backend, p50 and p99 of 1 and of 100 rows."""
    lines = [
        "| backend | way | 1 row, p50 ms | p99 ms | 100 rows, p50 ms | p99 ms |",
        "| --- |" + " --- |" * 5,
    ]
    cells = {(row["backend"], row["way"], int(row["rows"])): row for row in rows}
    for backend, way in dict.fromkeys((row["backend"], row["way"]) for row in rows):
        found = [cells.get((backend, way, count)) for count in (1, 100)]
        if None in found:  # a run that was stopped
            continue
        values = [float(row[key]) for row in found for key in ("p50_ms", "p99_ms")]
        lines.append(f"| {backend} | {way} | " + " | ".join(f"{v:.2f}" for v in values) + " |")
    return "\n".join(lines)


def keep_others(path):
    """Leaves the rows of other backends in a CSV file."""
    backend = keras.backend.backend()
    others = [row for row in read(path) if row["backend"] != backend] if path.exists() else []
    path.unlink(missing_ok=True)
    for row in others:
        append(path, row)


def figure(rows, path):
    """Draws p50 of one row as bars, with a line to p99."""
    from matplotlib.figure import Figure

    one = [row for row in rows if int(row["rows"]) == 1]
    names = [f"{row['way']} ({row['backend']})" for row in one]
    p50, p99 = (np.array([float(row[key]) for row in one]) for key in ("p50_ms", "p99_ms"))
    drawn = Figure(figsize=(8, 0.3 * len(one) + 1), layout="constrained")
    axes = drawn.subplots()
    axes.barh(names, p50, xerr=[np.zeros(len(one)), np.maximum(p99 - p50, 0)], color="#4c72b0")
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds for one raw row: p50, and a line to p99")
    axes.grid(axis="x", alpha=0.3)
    drawn.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="name of the CSV and Markdown files")
    path = pathlib.Path(parser.parse_args().out).with_suffix(".csv")
    backend, model = keras.backend.backend(), trained()
    keep_others(path)
    with tempfile.TemporaryDirectory() as folder:
        file = model.export(pathlib.Path(folder) / "model.onnx")
        for count in (1, 100):
            rows = frame(count, seed=1).drop(columns="label")
            made = [ways(model, file, rows)]
            if backend == "torch":
                made.append(deepfms(pathlib.Path(folder), model, rows))
            for way, call in itertools.chain(*made):
                values = (backend, way, count, *timed(call), hardware())
                append(path, dict(zip(COLUMNS, values, strict=True)))
                print(*values[:-1], flush=True)
    rows = read(path)
    machines = ", ".join(dict.fromkeys(row["hardware"] for row in rows))
    text = f"DCN-V2 on 39 raw columns, {machines}.\n\n{table(rows)}\n"
    path.with_suffix(".md").write_text(text)
    figure(rows, path.with_suffix(".png"))
    print(text)


if __name__ == "__main__":
    main()
