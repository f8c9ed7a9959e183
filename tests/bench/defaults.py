"""What `keras_ctr.fit(frame, label=...)` reaches untuned, against LightGBM and logistic regression.

    python tests/bench/defaults.py --out tests/bench/defaults [--data adult bank]
        [--seeds 0 1 2 3 4] [--who ours lightgbm logistic]

All three get the same rows of the data sets of `defaults_data.py`; nothing is tuned by data set.
`lightgbm`: at most 1,000 trees at learning rate 0.05, stopped by the AUC of 10% of the training
rows (or the published validation part), categories as such. `logistic`: scikit-learn, categories
seen 5 times or more one-hot, amounts filled with the median and standardized, C = 1. Both get the
hour, the weekday and the days of a time, which `ours` finds for itself. OUT.csv gets a row per run
as it ends; what it holds is not run again. OUT.md is the table of means.
"""

import argparse
import pathlib
import statistics
import time

import defaults_data
import numpy as np
from defaults_data import LABEL

COLUMNS = ["data", "who", "seed", "auc", "logloss", "seconds", "rows", "model", "hardware"]
RIVALS = ("lightgbm", "logistic")
SHARE = 0.1  # of the training rows, for early stopping
PATIENCE = 50  # trees


def ours(parts, seed):
    """Returns probabilities for the test rows, and the name of the model."""
    import keras_ctr

    given = {} if parts.valid is None else {"valid": parts.valid}
    result = keras_ctr.fit(parts.train, label=LABEL, seed=seed, **given)
    rows = parts.test.drop(columns=LABEL)
    return np.asarray(result.model.predict(rows, verbose=0)).ravel(), type(result.model).__name__


def lightgbm(parts, seed):
    """As `ours`, by gradient boosting."""
    import lightgbm as lgb

    train, valid, test = (None if part is None else times(part) for part in parts)
    if valid is None:
        order = np.random.default_rng(seed).permutation(len(train))
        held = int(SHARE * len(train))
        train, valid = train.iloc[order[held:]], train.iloc[order[:held]]
    kinds = {name: train[name].astype("category").dtype for name in texts(train)}
    frames = [part.drop(columns=LABEL).astype(kinds) for part in (train, valid, test)]
    model = lgb.LGBMClassifier(
        n_estimators=1000, learning_rate=0.05, random_state=seed, n_jobs=1, verbose=-1
    )
    model.fit(
        frames[0],
        train[LABEL],
        eval_X=(frames[1],),
        eval_y=(valid[LABEL],),
        eval_metric="auc",
        callbacks=[lgb.early_stopping(PATIENCE, first_metric_only=True, verbose=False)],
    )
    return model.predict_proba(frames[2])[:, 1], f"{model.best_iteration_} trees"


def logistic(parts, seed):
    """As `ours`, by logistic regression (which no seed changes)."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    train, test = times(parts.train), times(parts.test)
    words = texts(train)
    amounts = [name for name in train if name not in words and name != LABEL]
    encoder = ColumnTransformer(
        [
            ("texts", OneHotEncoder(min_frequency=5, handle_unknown="ignore"), words),
            ("amounts", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), amounts),
        ]
    )
    model = make_pipeline(encoder, LogisticRegression(C=1.0, max_iter=1000))
    for part in (train, test):
        part[words] = part[words].astype(object).fillna("missing")
    model.fit(train, train[LABEL])
    return model.predict_proba(test)[:, 1], "logistic regression"


def times(frame):
    """Returns a copy with the hour, weekday and days of each time, booleans as 0 and 1."""
    frame = frame.copy()
    for name in frame.select_dtypes("datetime"):
        when = frame.pop(name)
        frame[f"{name}_hour"], frame[f"{name}_weekday"] = when.dt.hour, when.dt.weekday
        frame[f"{name}_days"] = (when - when.min().normalize()).dt.total_seconds() / 86400
    for name in frame.select_dtypes("bool"):
        frame[name] = frame[name].astype("int8")
    return frame


def texts(frame):
    """Returns the names of the columns that are neither numbers nor the label."""
    return [n for n in frame if n != LABEL and n not in frame.select_dtypes("number")]


LEARNERS = {"ours": ours, "lightgbm": lightgbm, "logistic": logistic}


def measure(data, who, seed):
    """Runs one learner once; returns its row of the CSV."""
    from sklearn.metrics import log_loss, roc_auc_score

    from keras_ctr.experiments.hardware import hardware

    parts = defaults_data.load(data, seed)
    started = time.perf_counter()
    given, model = LEARNERS[who](parts, seed)
    seconds = time.perf_counter() - started
    given = given.astype("float64")
    truth = parts.test[LABEL].to_numpy()
    values = (
        data,
        who,
        seed,
        round(roc_auc_score(truth, given), 5),
        round(log_loss(truth, given), 5),
        round(seconds, 1),
        len(parts.train),
        model,
        hardware(),
    )
    return dict(zip(COLUMNS, values, strict=True))


def table(rows):
    """Returns Markdown: a line per data set, a column per learner, ours less the better rival."""
    names = [who for who in LEARNERS if any(row["who"] == who for row in rows)]
    lines = [
        "| data | rows | " + " | ".join(names) + " | best rival | difference | seconds |",
        "| --- |" + " --- |" * (len(names) + 4),
    ]
    differences = []
    for data in defaults_data.SETS:
        found = {
            who: [row for row in rows if (row["data"], row["who"]) == (data, who)] for who in names
        }
        found = {who: runs for who, runs in found.items() if runs}
        if not found:
            continue
        means = {w: statistics.mean(float(r["auc"]) for r in runs) for w, runs in found.items()}
        count = next(iter(found.values()))[0]["rows"]
        cells = [data, f"{int(count):,}", *(spread(found.get(who)) for who in names)]
        best = max((who for who in RIVALS if who in means), key=means.get, default="")
        difference = ""
        if best and "ours" in means:
            differences.append(means["ours"] - means[best])
            difference = f"{differences[-1]:+.4f}"
        seconds = ", ".join(
            f"{statistics.mean(float(row['seconds']) for row in runs):.0f}"
            for runs in found.values()
        )
        lines.append("| " + " | ".join([*cells, best, difference, seconds]) + " |")
    if differences:
        lines += ["", f"Mean difference: {statistics.mean(differences):+.4f}."]
    return "\n".join(lines)


def spread(runs):
    """Returns the mean AUC, with the standard deviation over seeds."""
    if not runs:
        return ""
    values = [float(run["auc"]) for run in runs]
    more = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{more}"


def main():
    from keras_ctr.experiments.runs import append, read

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=defaults_data.SETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--who", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    parser.add_argument("--out", required=True, help="name of the CSV and Markdown files")
    given = parser.parse_args()
    path = pathlib.Path(given.out).with_suffix(".csv")
    rows = read(path) if path.exists() else []
    done = {(row["data"], row["who"], int(row["seed"])) for row in rows}
    for seed in given.seeds:
        for data in given.data or defaults_data.SETS:
            for who in given.who:
                if (data, who, seed) in done:
                    continue
                try:
                    row = measure(data, who, seed)
                except FileNotFoundError as error:
                    print(f"{data} is left out: {error}", flush=True)
                    break
                append(path, row)
                print(*list(row.values())[:-1], flush=True)
    rows = read(path)
    machines = ", ".join(dict.fromkeys(row["hardware"] for row in rows))
    head = f"Test AUC, mean and standard deviation over seeds, {machines}."
    text = f"{head}\n\n{table(rows)}\n"
    print(text)
    path.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
