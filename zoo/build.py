"""Writes every table in README.md, zoo/README.md and the model cards: `make cards`.

Measured numbers come from zoo/<model>/results.csv, one row per run, as `keras-ctr train --results`
appends them, and from the files of `keras-ctr study` beside the cards that show them; numbers of
others from zoo/<model>/published.toml; the rest from `zoo.info`. Tables stand between
`<!-- name -->` and `<!-- /name -->`; the text around them is written by hand.

    python zoo/build.py            # write
    python zoo/build.py --check    # exit with 1 if a file is stale
"""

import collections
import pathlib
import re
import statistics
import sys
import tomllib

from keras_ctr import studies, zoo

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Whose card shows a study, if not that of DeRes.
CARDS = {"sml": "dnn", "sml_parts": "dnn", "rows": "deepfm"}
CLOSE = 0.001  # of AUC: so close counts as reproduced, as for the maintainers of BARS

# What must be known about the files on which the rows of a data set were measured.
NOTES = {
    "frappe_x1": "Frappe_x1, train negatives re-drawn: validation and test rows and the positives "
    "of train are the published ones; the app of each train negative was drawn anew by the "
    "published rule.",
}


def measured(model):
    """Returns one dict per data set and recipe of the model's runs: mean, spread, runs."""
    path = ROOT / "zoo" / model / "results.csv"
    rows = studies.read(path) if path.exists() else []
    for row in rows:
        if row["model"] != model:
            raise ValueError(f"{path} has a row of another model. Received: {row}")
    groups = collections.defaultdict(list)
    for row in [*rows, *(row for row in study_rows("baselines") if row["model"] == model)]:
        groups[row["data"], row["recipe"]].append(row)
    return [_summary(model, *key, rows) for key, rows in groups.items()]


def study_rows(name):
    """Returns the rows of zoo/<card>/<study>.csv, none if it was not run."""
    path = ROOT / "zoo" / CARDS.get(name, "deres") / f"{name}.csv"
    return studies.read(path) if path.exists() else []


def _summary(model, data, recipe, rows):
    aucs = [float(row["auc"]) for row in rows]
    return {
        "model": model,
        "data": data,
        "recipe": recipe,
        "auc": statistics.mean(aucs),
        "std": statistics.stdev(aucs) if len(aucs) > 1 else None,
        "logloss": statistics.mean(float(row["logloss"]) for row in rows),
        "runs": len(rows),
        "backends": ", ".join(dict.fromkeys(row["backend"] for row in rows)),
        "parameters": ", ".join(dict.fromkeys(f"{int(row['parameters']):,}" for row in rows)),
    }


def published(model):
    """Returns the entries of the model's published.toml; none if there is no such file."""
    path = ROOT / "zoo" / model / "published.toml"
    return tomllib.loads(path.read_text())["published"] if path.exists() else []


def nearest(result):
    """Returns the published entry nearest to a measured one, on the same data, or None."""
    others = [entry for entry in published(result["model"]) if entry["data"] == result["data"]]
    return min(others, key=lambda entry: abs(entry["auc"] - result["auc"]), default=None)


def is_reproduced(result):
    """Whether the mean AUC lies within `CLOSE` of what others report on the same data.

    A recipe with changes, as in "bars, plateau=5", is no longer the one that others used.
    """
    if "," in result["recipe"]:
        return False
    other = nearest(result)
    return other is not None and abs(other["auc"] - result["auc"]) <= CLOSE


def status(model):
    """Returns `reproduced`, `runs` or `untested`."""
    results = measured(model)
    if any(is_reproduced(result) for result in results):
        return "reproduced"
    return "runs" if results else "untested"


def _status_line(model):
    results = [result for result in measured(model) if is_reproduced(result)]
    if results:
        parts = [
            f"on {result['data']} the mean of {_runs(result)} is {result['auc']:.5f} AUC, within "
            f"{CLOSE} of {nearest(result)['auc']:.5f} by {nearest(result)['by']}"
            for result in results
        ]
        return f"**Status: reproduced** ({'; '.join(parts)})."
    if measured(model):
        return (
            "**Status: runs** (measured on real or generated data; no number of others is there "
            f"to compare with, or none within {CLOSE} AUC)."
        )
    return (
        "**Status: untested** (passes the contract checks of `keras_ctr.testing` on every backend; "
        "no training run is recorded)."
    )


def _runs(entry):
    return f"{entry['runs']} run{'s' if entry['runs'] > 1 else ''}"


def _auc(entry):
    return studies.with_spread(entry["auc"], entry.get("std") or None)


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _link(entry):
    return f"[{entry['by']}]({entry['source']})"


def _models():
    """The models of the zoo, for README.md."""
    rows = []
    for name in zoo.names():
        info = zoo.info(name)
        summary = info["summary"].replace("|", r"\|")
        rows.append([f"[`{name}`](zoo/{name}/README.md)", summary, status(name)])
    return _table(["model", "idea", "status"], rows)


def _reproduced():
    """What is reproduced, for README.md."""
    results = [r for name in zoo.names() for r in measured(name) if is_reproduced(r)]
    if not results:
        return "No result is reproduced yet."
    rows = [
        [
            f"`{r['model']}`",
            r["data"],
            f"{_auc(r)} ({_runs(r)}: {r['backends']})",
            f"{_auc(nearest(r))} ({_link(nearest(r))}, {_runs(nearest(r))})",
        ]
        for r in results
    ]
    header = ["model", "data", "test AUC here", "test AUC of others"]
    return "\n\n".join([_table(header, rows), *_notes(results)])


def _leaderboard():
    """Everything measured, best first within a data set, for zoo/README.md."""
    results = [result for name in zoo.names() for result in measured(name)]
    if not results:
        return "Nothing is measured yet."
    parts = []
    for data in sorted({result["data"] for result in results}):
        here = [result for result in results if result["data"] == data]
        rows = [
            [
                f"[`{r['model']}`]({r['model']}/README.md)",
                r["recipe"],
                _auc(r),
                f"{r['logloss']:.5f}",
                r["runs"],
                r["backends"],
                r["parameters"],
                f"{_auc(nearest(r))} ({_link(nearest(r))})" if nearest(r) else "",
            ]
            for r in sorted(here, key=lambda r: -r["auc"])
        ]
        header = ["model", "recipe", "AUC", "log loss", "runs", "backends", "parameters", "others"]
        parts += [f"### {data}", *_notes(here), _table(header, rows)]
    return "\n\n".join(parts)


def _arguments(model):
    """Constructor arguments with their defaults, for a card."""
    arguments = zoo.info(model)["arguments"]
    if not arguments:
        return "None."
    return _table(["argument", "default"], [[f"`{k}`", f"`{v!r}`"] for k, v in arguments.items()])


def _results(model):
    """Measured rows of a model with those of others under them, for its card."""
    results, others = measured(model), published(model)
    rows = []
    for data in dict.fromkeys(entry["data"] for entry in [*results, *others]):
        for r in (result for result in results if result["data"] == data):
            who = f"here, recipe `{r['recipe']}` ({r['backends']}; {r['parameters']} parameters)"
            rows.append([data, who, _auc(r), f"{r['logloss']:.5f}", r["runs"]])
        for entry in (other for other in others if other["data"] == data):
            who = _link(entry) + (f", {entry['note']}" if "note" in entry else "")
            rows.append([data, who, _auc(entry), f"{entry['logloss']:.5f}", entry["runs"]])
    if not rows:
        return "Nothing is measured yet, and no number on public data is published."
    table = _table(["data", "who", "test AUC", "log loss", "runs"], rows)
    return "\n\n".join([table, *_notes(results)])


def _study(name):
    """The table of a study, per data set, for its card."""
    study, rows = studies.get(name), study_rows(name)
    parts = []
    for data in dict.fromkeys(row["data"] for row in rows):
        here = [row for row in rows if row["data"] == data]
        table = [
            [
                f"`{row['arm']}`",
                _auc(row),
                f"{row['logloss']:.5f}",
                row["runs"],
                f"{row['parameters']:,}",
                f"{row['flops']:,}",
                f"{row['rows_per_s']:,.0f}",
                studies.with_spread(row["difference"], row["error"], "+.5f"),
            ]
            for row in studies.summary(study, here)
        ]
        header = ["arm", "test AUC", "log loss", "runs", "parameters", "FLOPs", "rows/s"]
        base = "reference" if callable(study.reference) else f"`{study.reference}`"
        parts.append(f"{data}, recipe `{study.recipe}`, {_machine(here)}:")
        parts.append(_table([*header, f"minus {base}"], table))
    return "\n\n".join(parts) or "Not run yet."


def _machine(rows):
    seen = {f"{row['backend']} {row['backend_version']}, {row['hardware']}" for row in rows}
    return "; ".join(sorted(seen))


def _fits():
    """The fits of the scaling study, for the card of DeRes."""
    rows = []
    for sweep, fit in studies.scaling_fits(study_rows("scaling")).items():
        for model in fit["power"]:
            points, power, log = len(fit["points"][model]), fit["power"][model], fit["log"][model]
            rows.append([sweep, f"`{model}`", points, f"{power:.3f}", f"{log:.3f}"])
        ratios = [f"{ratio:.2f}" if ratio else "out of range" for _, ratio in fit["iso_auc"]]
        rows.append(
            [sweep, "OneTrans's compute for DeRes's AUC", len(ratios), ", ".join(ratios), ""]
        )
    if not rows:
        return "Not run yet."
    return _table(["sweep", "model", "points", "γ of the power law", "γ of the line, % AUC"], rows)


def _notes(results):
    return [NOTES[data] for data in dict.fromkeys(r["data"] for r in results) if data in NOTES]


def _filled(path, blocks):
    """Returns the text of a file with `{name: text}` put between its markers."""
    text = path.read_text()
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"{path} must hold the markers of `{name}` exactly once.")
        text = pattern.sub(lambda match, block=block: f"{match[1]}{block}\n{match[2]}", text)
    return text


def render():
    """Returns `{path: text}` of all files, as they should be."""
    blocks = {
        ROOT / "README.md": {"models": _models(), "reproduced": _reproduced()},
        ROOT / "zoo" / "README.md": {"leaderboard": _leaderboard()},
    }
    for name in zoo.names():
        blocks[ROOT / "zoo" / name / "README.md"] = {
            "status": _status_line(name),
            "results": _results(name),
            "arguments": _arguments(name),
        }
    for name in studies.names():
        card = ROOT / "zoo" / CARDS.get(name, "deres") / "README.md"
        blocks[card][f"study {name}"] = _study(name)
    blocks[ROOT / "zoo" / "deres" / "README.md"]["fits"] = _fits()
    return {path: _filled(path, parts) for path, parts in blocks.items()}


def main(arguments):
    """Writes the stale files, or with `--check` only names them. Returns the exit code."""
    stale = {path: text for path, text in render().items() if path.read_text() != text}
    for path, text in stale.items():
        if "--check" not in arguments:
            path.write_text(text)
        print(("stale: " if "--check" in arguments else "written: ") + str(path.relative_to(ROOT)))
    return int("--check" in arguments and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
