"""What the allocator of glibc costs on the CPU: seconds per training step under three settings.

    python tests/bench/allocator.py [--models deepfm afm afn] [--backends jax torch] [--out NAME]

A large array that a step makes and frees is, as glibc comes, taken from the system and given back
each time, and every page of it is then touched for the first time. `large pages` makes that rarer;
`kept` leaves the memory with the process. Ten fields of 500 ids, the models as `zoo/<model>/` has
them for Frappe, batches of 4,096: in AFN a single array has 164 MB. Each measurement is a process
of its own, the median of its steps; rounds are interleaved; what counts is the ratio of medians.
"""

import argparse
import json
import pathlib
import statistics
import time
import tomllib

import tables

FIELDS, SIZE, BATCH, STEPS, ROUNDS = 10, 500, 4096, 8, 2
LARGE = "glibc.malloc.hugetlb=1"
KEPT = f"{LARGE}:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184"
SETTINGS = {"as it comes": "", "large pages": LARGE, "kept": KEPT}
ZOO = pathlib.Path(__file__).resolve().parents[2] / "zoo"


def measure(name):
    """Prints the median of the seconds per step."""
    import keras
    import numpy as np

    import keras_ctr
    from keras_ctr.experiments.hardware import versions

    rng = np.random.default_rng(0)
    ids = rng.integers(2, SIZE, (BATCH * (STEPS + 2), FIELDS), dtype="int32")
    label = rng.integers(0, 2, (len(ids), 1)).astype("float32")
    schema = keras_ctr.Schema([keras_ctr.Categorical(f"f{i}", SIZE) for i in range(FIELDS)])
    recipe = keras_ctr.recipes.get("bars", data="frappe_x1", model=name)
    config = tomllib.loads((ZOO / name / "frappe_x1.toml").read_text()).get("model", {})
    model = recipe.compile(recipe.get(name, **config).adapt(schema))
    times = []

    def note(_, logs):
        float(logs["loss"])  # waits for the step
        times.append(time.perf_counter())

    watch = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    model.fit({"ids": ids}, label, batch_size=BATCH, verbose=0, callbacks=[watch])
    steps = [after - before for before, after in zip(times[1:], times[2:], strict=False)]
    print(json.dumps({"s_per_step": round(statistics.median(steps), 4), **versions()}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["deepfm", "afm", "afn"])
    parser.add_argument("--backends", nargs="+", default=tables.BACKENDS)
    parser.add_argument("--out", help="name of the CSV and Markdown files to write")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return measure(given.measure)
    rows = []
    for turn in range(ROUNDS):
        for name in given.models:
            for backend in given.backends:
                for setting, tunables in SETTINGS.items():
                    found = tables.child(
                        __file__, backend, "--measure", name, GLIBC_TUNABLES=tunables
                    )
                    case = {"model": name, "backend": backend, "setting": setting, "round": turn}
                    rows.append(case | found)
                    print(*case.values(), found["s_per_step"], flush=True)
    from keras_ctr.experiments.hardware import hardware

    lines = [
        "| model | backend | " + " | ".join(SETTINGS) + " | as it comes / kept |",
        "| --- | --- |" + " --- |" * (len(SETTINGS) + 1),
    ]
    for name in given.models:
        for backend in given.backends:
            medians = [
                statistics.median(
                    row["s_per_step"]
                    for row in rows
                    if (row["model"], row["backend"], row["setting"]) == (name, backend, setting)
                )
                for setting in SETTINGS
            ]
            cells = [
                name,
                backend,
                *(f"{m:.3f}" for m in medians),
                f"{medians[0] / medians[-1]:.2f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    settings = f"Large pages: `GLIBC_TUNABLES={LARGE}`. Kept: `GLIBC_TUNABLES={KEPT}`."
    text = "\n\n".join([f"Seconds per training step, {hardware()}. {settings}", "\n".join(lines)])
    print(text)
    if given.out:
        tables.record(given.out, text, rows)


if __name__ == "__main__":
    main()
