"""The data path at full size: `prepare`, what a kill costs, the reader, and whether `fit` waits.

    python tests/bench/data.py --out tests/bench/data [--rows 1e6 1e7 3e7] [--folder FOLDER]
        [--fuxictr PYTHON FOLDER]

Files in Criteo's format are made by `datasets.synthesize`. Every figure is that of a process of its
own, ratios are of one run:

- `synthesize`: rows made and written.
- `polars`: `polars.read_csv` of the same file, and nothing else, as far as memory reaches.
- `prepare`: from text to shards, with the peak of its resident memory.
- `killed`: the same, killed at a random moment and run again; the seconds are those of both, and
  the checksums of the result are compared with those of the undisturbed run.
- `reader`: shuffled batches of 4,096 rows, one epoch, each file checked before its first use.
- `fit`: the share of an epoch of a small model (FM) in which it waits for its next batch.
- `fuxictr`: FuxiCTR's own preprocessing of the first million rows, where its interpreter and a
  folder of its repository are given: its version of polars is not ours.

OUT.csv gets a row per figure as it ends; OUT.md is the table.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from keras_ctr.experiments.hardware import hardware
from keras_ctr.experiments.runs import append, read

COLUMNS = ["what", "rows", "seconds", "rows_per_second", "peak_gb", "note", "hardware"]
KILLS = 10
FITS = 15_000_000  # rows: what polars reads at once has to fit into memory

PARSE = """
import polars
columns = ["label", *(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27))]
kinds = {name: polars.String if name[0] == "C" else polars.Int64 for name in columns}
polars.read_csv(PATH, has_header=False, separator="\\t", schema=kinds, quote_char=None)
"""
SYNTHESIZE = """
from keras_ctr import datasets
made = datasets.synthesize("criteo", ROWS, path=PATH)
note = f"best AUC {made.bayes_auc:.4f}"
"""
PREPARE = """
from keras_ctr import datasets
datasets.prepare("criteo_x4", PATH, OUT)
"""
READER = """
from keras_ctr import datasets
train, _, _ = datasets.load(OUT, batch_size=4096)
count, started = 0, time.perf_counter()
for at in range(len(train)):
    count += len(train[at][1])
rows = count
"""
FIT = """
import keras
from keras_ctr import datasets, zoo

class Waiting(keras.utils.PyDataset):
    # what stands between a batch being asked for and being there
    def __init__(self, data):
        super().__init__()
        self.data, self.waited = data, 0.0
    def __len__(self):
        return len(self.data)
    def __getitem__(self, at):
        start = time.perf_counter()
        batch = self.data[at]
        self.waited += time.perf_counter() - start
        return batch
    def on_epoch_end(self):
        self.data.on_epoch_end()

train, _, _ = datasets.load(OUT, batch_size=4096)
model = zoo.get("fm").adapt(train)
model.compile("adam")
model.fit(train, steps_per_epoch=20, verbose=0)
data, steps = Waiting(train), min(len(train), 300)
started = time.perf_counter()
model.fit(data, steps_per_epoch=steps, verbose=0)
spent = time.perf_counter() - started
rows, share = steps * 4096, 100 * data.waited / spent
note = f"{keras.backend.backend()}: {share:.1f}% in the reader"
"""
MEASURED = """
import json, os, sys, time
PATH, OUT, ROWS = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows, note, started = ROWS, "", time.perf_counter()
{code}
seconds = time.perf_counter() - started
peak = 0.0  # of this program alone: what getrusage says may be of the one that started it
if os.path.exists("/proc/self/status"):
    peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024 / 1e9
print(json.dumps({{"seconds": seconds, "rows": rows, "peak_gb": peak or "", "note": note}}))
"""


def measured(code, path, out, rows):
    """Runs code in a process of its own; returns what it prints of itself."""
    command = [sys.executable, "-c", MEASURED.format(code=code), str(path), str(out), str(rows)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def sums(folder):
    """The checksums that a store's manifest lists."""
    manifest = json.loads((folder / "manifest.json").read_text())
    arrays = [
        array["crc32"]
        for split in manifest["splits"].values()
        for shard in split["shards"]
        for array in shard["arrays"].values()
    ]
    return arrays, manifest["encoder"]


def killed(path, folder, rows, undisturbed, whole):
    """Prepares `KILLS` times, each killed once at a random moment; yields a row each."""
    rng = random.Random(0)
    code = MEASURED.format(code=PREPARE)
    for _ in range(KILLS):
        out = folder / "killed"
        command = [sys.executable, "-c", code, str(path), str(out), str(rows)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        moment = rng.uniform(0.1, 0.95) * undisturbed
        started = time.perf_counter()
        time.sleep(moment)
        process.kill()
        process.wait()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        same = sums(out) == whole
        shutil.rmtree(out)
        ratio = seconds / undisturbed
        yield {
            "seconds": seconds,
            "rows": rows,
            "peak_gb": "",
            "note": f"after {moment:.0f} s; {ratio:.2f} of undisturbed; "
            + ("the same bytes" if same else "OTHER BYTES"),
        }


FUXICTR = """
import sys, time, pathlib, shutil
sys.path.insert(0, sys.argv[2])
from fuxictr.preprocess import FeatureProcessor, build_dataset
columns = [{"name": [f"I{i}" for i in range(1, 14)], "active": True, "dtype": "str",
            "type": "categorical", "na_value": ""},
           {"name": [f"C{i}" for i in range(1, 27)], "active": True, "dtype": "str",
            "type": "categorical", "na_value": ""}]
label = {"name": "label", "dtype": "float"}
out = pathlib.Path(sys.argv[3])
start = time.perf_counter()
processor = FeatureProcessor(feature_cols=columns, label_col=label, dataset_id="criteo",
                             data_root=str(out), min_categr_count=10)
build_dataset(processor, train_data=sys.argv[1], valid_data="", test_data="",
              data_block_size=0, rebuild_dataset=True)
print(time.perf_counter() - start)
"""


def fuxictr(python, repository, path, folder, rows):
    """FuxiCTR's own preparation of the first rows of a file, in its own environment."""
    head = folder / "head.csv"
    names = ["label", *(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27))]
    with open(path) as file, open(head, "w") as out:
        out.write(",".join(names) + "\n")
        for _, line in zip(range(rows), file, strict=False):
            out.write(line.replace("\t", ","))
    command = [python, "-c", FUXICTR, str(head), repository, str(folder / "fuxictr")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {"seconds": float(done.stdout.split()[-1]), "rows": rows, "peak_gb": "", "note": ""}


def figures(args, folder):
    """Yields `(what, figure)`."""
    for rows in (int(float(rows)) for rows in args.rows):
        path, out = folder / f"criteo_{rows}.txt", folder / f"prepared_{rows}"
        yield "synthesize", measured(SYNTHESIZE, path, out, rows)
        parse = measured(PARSE, path, out, rows) if rows <= FITS else None
        if parse is not None:
            yield "polars", parse
        prepared = measured(PREPARE, path, out, rows)
        if parse is not None:
            prepared["note"] = f"{prepared['seconds'] / parse['seconds']:.2f} times polars"
        yield "prepare", prepared
        yield "reader", measured(READER, path, out, rows)
        if rows == int(float(args.rows[0])):
            yield "fit", measured(FIT, path, out, rows)
            if args.fuxictr:
                yield "fuxictr", fuxictr(*args.fuxictr, path, folder, min(rows, 10**6))
        if rows == int(float(args.rows[min(1, len(args.rows) - 1)])):
            whole = sums(out)
            for figure in killed(path, folder, rows, prepared["seconds"], whole):
                yield "killed", figure
        shutil.rmtree(out)
        path.unlink()


def table(rows):
    """The figures as Markdown."""
    lines = [
        f"The data path, {rows[-1]['hardware']}. Files in Criteo's format, made by "
        "`datasets.synthesize`.",
        "",
        "| what | rows | seconds | rows/s | peak memory, GB | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        peak = f"{float(row['peak_gb']):.2f}" if row["peak_gb"] else ""
        lines.append(
            f"| {row['what']} | {int(row['rows']):,} | {float(row['seconds']):.1f} | "
            f"{float(row['rows_per_second']):,.0f} | {peak} | {row['note']} |"
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--rows", nargs="+", default=["1e6", "1e7", "3e7"])
    parser.add_argument("--folder", help="for what is made and removed again")
    parser.add_argument("--fuxictr", nargs=2, metavar=("PYTHON", "FOLDER"))
    args = parser.parse_args()
    out = pathlib.Path(args.out)
    out.with_suffix(".csv").unlink(missing_ok=True)
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for what, figure in figures(args, pathlib.Path(folder)):
            speed = figure["rows"] / figure["seconds"]
            row = figure | {"what": what, "rows_per_second": round(speed), "hardware": hardware()}
            append(out.with_suffix(".csv"), {name: row[name] for name in COLUMNS})
            out.with_suffix(".md").write_text(table(read(out.with_suffix(".csv"))))
            print(what, figure, flush=True)


if __name__ == "__main__":
    main()
