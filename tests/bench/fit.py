"""What `model.fit` adds to a training step: against a loop written by hand around the same step.

    python tests/bench/fit.py [--rows 5e6] [--batch 4096 512] [--backends jax torch] [--out NAME]

The DeepFM of `tables.py`, its table trained by rows. In one process per backend, epochs take turns:
`loop`, a bare loop of the backend around `model.train_step`, on slices of the same arrays; `fit`,
this project's; `keras`, `fit` with Keras's own list of callbacks, which fetches the metrics after
every step. What counts is the median of the ratios of neighbours.
"""

import argparse
import json
import statistics
import time

import tables

ROUNDS = 3


def loop_of(model, x, y, batch):
    """Returns a function that trains an epoch by hand."""
    import keras

    ends = [(at, at + batch) for at in range(0, len(y), batch)]
    slices = [({key: array[a:b] for key, array in x.items()}, y[a:b]) for a, b in ends]
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        def epoch():
            for given, label in slices:
                given = {key: torch.from_numpy(array) for key, array in given.items()}
                model.train_step((given, torch.from_numpy(label)))

    elif backend == "tensorflow":
        import tensorflow as tf

        step = tf.function(model.train_step, jit_compile=model.jit_compile)
        slices = [
            ({k: tf.constant(v) for k, v in given.items()}, tf.constant(y)) for given, y in slices
        ]

        def epoch():
            for data in slices:
                logs = step(data)
            float(logs["loss"])

    else:
        import jax

        step = jax.jit(model.train_step, donate_argnums=0)

        def epoch():
            groups = (
                model.trainable_variables,
                model.non_trainable_variables,
                model.optimizer.variables,
                model.metrics_variables,
            )
            state = tuple([variable.value for variable in group] for group in groups)
            for data in slices:
                _, state = step(state, data)
            for group, values in zip(groups, state, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value)
            jax.block_until_ready(state)

    return epoch


def measure(total, batch):
    """Prints milliseconds per step of each arm, a list per arm with one figure per round."""
    import keras

    import keras_ctr

    steps = 24 if batch >= 4096 else 96
    tables.BATCH, tables.STEPS = batch, steps
    ids, label, sizes = tables.data(total, "power")
    schema = keras_ctr.Schema([keras_ctr.Categorical(f"f{i}", n) for i, n in enumerate(sizes)])
    model = keras_ctr.zoo.get(
        "deepfm", embedding_dim=tables.WIDTH, hidden_units=list(tables.UNITS), dropout=0.0
    )
    model.adapt(schema).compile("adam", table_optimizer="rows")
    model.settle = lambda: None  # not part of a step
    x = {"ids": ids}

    def fit(**kwargs):
        model.fit(x, label, batch_size=batch, shuffle=False, verbose=0, **kwargs)

    def stock():
        plain = keras.callbacks.CallbackList(
            add_history=True, verbose=0, epochs=1, steps=steps, model=model
        )
        fit(callbacks=plain)

    fit()  # makes what is made once
    arms = {"loop": loop_of(model, x, label, batch), "fit": fit, "keras": stock}
    found = {name: [] for name in arms}
    for turn in range(ROUNDS + 1):
        for name, epoch in arms.items():
            started = time.perf_counter()
            epoch()
            if turn:
                found[name].append((time.perf_counter() - started) / steps * 1e3)
    from keras_ctr.experiments.hardware import versions

    print(json.dumps({"ms": found, **versions()}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=5e6)
    parser.add_argument("--batch", type=int, nargs="+", default=[4096, 512])
    parser.add_argument("--backends", nargs="+", default=tables.BACKENDS)
    parser.add_argument("--out", help="name of the CSV and Markdown files to write")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return measure(int(given.rows), given.batch[0])
    rows = []
    for backend in given.backends:
        for batch in given.batch:
            arguments = ["--measure", "--rows", given.rows, "--batch", batch]
            found = tables.child(__file__, backend, *arguments)
            times = found.pop("ms")
            ratios = {
                arm: statistics.median(
                    a / b for a, b in zip(times[arm], times["loop"], strict=True)
                )
                for arm in ("fit", "keras")
            }
            medians = {f"{arm}_ms": round(statistics.median(t), 2) for arm, t in times.items()}
            rows.append(
                {"batch": batch, "table_rows": int(given.rows)}
                | medians
                | {f"{arm}_over_loop": round(ratio, 3) for arm, ratio in ratios.items()}
                | found
            )
            print(backend, batch, medians, ratios, flush=True)
    from keras_ctr.experiments.hardware import hardware

    lines = [
        "| backend | batch | loop, ms per step | fit | with Keras's callbacks | fit / loop |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [row["backend"], row["batch"], row["loop_ms"], row["fit_ms"], row["keras_ms"]]
        lines.append("| " + " | ".join(map(str, [*cells, f"{row['fit_over_loop']:.2f}"])) + " |")
    text = f"{hardware()}, {int(given.rows):,} rows.\n\n" + "\n".join(lines)
    print(text)
    if given.out:
        tables.record(given.out, text, rows)


if __name__ == "__main__":
    main()
