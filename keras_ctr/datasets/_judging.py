"""What the counts of a column's values tell: click rates, coverage, drift, leaks."""

from datetime import UTC, datetime

import numpy as np
import polars as pl

from keras_ctr.datasets._tally import CLICKS, NUM_ROWS
from keras_ctr.datasets.sources import SPLITS
from keras_ctr.features.tokens import spelled

BINS = 10  # of a quantity, at quantiles of train
SHOWN = 10  # values of a column, the most frequent ones
SMOOTHING = 10  # rows of the overall click rate that a value's own is mixed with
LEAK, SURE = 0.95, 4  # AUC of a leak, and standard errors from 0.5 that it must be away
LOW, HIGH = 0.1, 0.25  # readings of the population stability index
CELL = 20  # rows that a token must lead one to expect in both parts, to be a cell of the index
DISTINCT, ENOUGH = 0.95, 50  # share of values that are another one, and rows to say so
NUMBERS = 0.9  # share of texts that spell numbers, from which the others look like mistakes
UNKNOWN = 0.5  # share of held-out values without an id that is worth a sentence
GAPS = 0.95  # share of missing values that is worth a sentence
LONG = 40 * 86400.0  # seconds: in a longer time the hour of a bin says nothing
MISSING, OTHERS, UNSEEN_VALUE = "(missing)", "(others)", "(unseen)"


def auc(scores, clicks, others):
    """Returns how often a click scores above another row, a tie one half; `None` without both.

    Args:
        scores: `(n,)`, one per value.
        clicks: `(n,)`, how many rows of the value are clicked.
        others: `(n,)`, how many are not.
    """
    if not np.sum(clicks) > 0 or not np.sum(others) > 0:
        return None
    _, at = np.unique(scores, return_inverse=True)
    clicks, others = np.bincount(at, clicks), np.bincount(at, others)
    below = np.cumsum(others) - others
    return float((clicks * (below + others / 2)).sum() / (clicks.sum() * others.sum()))


def stability(train, test):
    """Returns the population stability index of cells, and what rows drawn alike would show.

    The sum over cells of `(q - p) ln(q / p)`, where `p` and `q` are the shares of a cell in train
    and test; a cell without rows counts half a row. By chance it is `(k - 1)(1/n + 1/m)` for `k`
    cells, `n` and `m` rows.

    Args:
        train: `(k,)` rows per cell.
        test: the same of test.

    Returns:
        Two floats, `None` where a part has no rows.
    """
    train, test = np.asarray(train, float), np.asarray(test, float)
    n, m = train.sum(), test.sum()
    if not n or not m:
        return None, None
    there = train + test > 0
    p, q = np.maximum(train[there], 0.5) / n, np.maximum(test[there], 0.5) / m
    chance = (there.sum() - 1) * (1 / n + 1 / m)
    return float(((q - p) * np.log(q / p)).sum()), float(chance)


def quantile_edges(values, rows, bins=BINS):
    """Returns the ascending upper edges, but the last, of bins of about as many rows each.

    Args:
        values: float64 `(n,)`, ascending.
        rows: `(n,)`, how many rows have each.
        bins: number of bins; fewer come out where a value has more than its share of the rows.
    """
    if not np.sum(rows) > 0:
        return np.empty(0)
    levels = np.arange(1, bins) / bins * np.sum(rows)
    reached = np.searchsorted(np.cumsum(rows), levels * (1 - 1e-12))
    edges = np.unique(values[np.minimum(reached, len(values) - 1)])
    return edges[edges < values[-1]]


def facts(column, rows, has_label, held):
    """Returns what the counts tell, as entries of `Description.columns`.

    Args:
        column: with `scaled`, a data frame of `value`, `frequent`, `null`, `known` (whether it has
            an id of its own), and rows and clicks per split; `raw`, the same with the counts that
            were really seen; `quantity`: whether values are numbers whose order means something;
            `moments`: whether these are seconds since 1970; `opaque`.
        rows: `(3,)` rows of the splits.
        has_label: whether clicks are known.
        held: number of the split on which a column alone is judged, or `None`.
    """
    table, quantity = column.scaled, column.quantity
    n, c = table.select(NUM_ROWS).to_numpy(), table.select(CLICKS).to_numpy()
    null, known = (table[name].to_numpy() for name in ("null", "known"))
    train, test = (n[null, at].sum() for at in (0, 2))
    if quantity:
        order = np.argsort(table["value"].to_numpy()[~null], kind="stable")
        x, n_x, c_x = (part[~null][order] for part in (table["value"].to_numpy(), n, c))
        weight = n_x[:, 0] if n_x[:, 0].any() else n_x.sum(axis=1)
        edges = quantile_edges(x, weight)
        at = np.searchsorted(edges, x, side="left")
        cells = [(at == k) for k in range(len(edges) + 1)] if len(x) else []
        names = _bin_names(edges, x, column.moments)
        groups = [(n_x[cell].sum(axis=0), c_x[cell].sum(axis=0)) for cell in cells]
        shown = list(zip(names, groups, strict=True))
        p, q = ([group[0][split] for group in groups] for split in (0, 2))
    else:
        total = n.sum(axis=1)
        frequent = np.flatnonzero(table["frequent"].to_numpy() & ~null & (total > 0))
        texts = table["value"]
        top = sorted(frequent, key=lambda at: (-total[at], texts[int(at)]))[:SHOWN]
        shown = [(texts[int(at)], (n[at], c[at])) for at in top]
        rest = ~null
        rest[top] = False
        if n[rest].any():
            shown.append((OTHERS, (n[rest].sum(axis=0), c[rest].sum(axis=0))))
        expected = n[:, 0] * min(1.0, rows[2] / max(rows[0], 1))
        cell = known & ~null & table["frequent"].to_numpy() & (expected >= CELL)
        pooled = ~cell & ~null
        p, q = ([*n[cell, split], n[pooled, split].sum()] for split in (0, 2))
    if n[null].any():
        shown.append((MISSING, (n[null].sum(axis=0), c[null].sum(axis=0))))
    index, chance = stability([*p, train], [*q, test])
    found = {
        "values": [_entry(name, *counts, n.sum(axis=0), has_label) for name, counts in shown],
        "psi": rounded(index),
        "psi_chance": rounded(chance),
        "drift": None,
        "auc": None,
    }
    if index is not None:
        over = index - chance
        found["drift"] = "low" if over < LOW else "moderate" if over <= HIGH else "high"
    if held is not None:
        rate = c[:, 0].sum() / max(n[:, 0].sum(), 1)
        if quantity:
            both = zip(*(counts for _, counts in shown), strict=True)
            n, c = (np.reshape(part, (-1, 3)) for part in both) if shown else (n, c)
            seen, clicked = n[:, 0], c[:, 0]
        else:  # a sampled value stands for others, but only its own rows tell its rate
            seen, clicked = (column.raw[name].to_numpy() for name in ("n0", "c0"))
        rates = (clicked + SMOOTHING * rate) / (seen + SMOOTHING)
        scores = [auc(rates, c[:, held], n[:, held] - c[:, held])]
        # Where few rows have a number, their order says little of the others.
        if quantity and n_x[:, held].sum() > 0.5 * n[:, held].sum():
            alone = auc(x, c_x[:, held], n_x[:, held] - c_x[:, held])
            scores += [] if alone is None else [max(alone, 1 - alone)]
        found["auc"] = rounded(max((s for s in scores if s is not None), default=None))
    return found


def is_leak(score, clicks, others):
    """Whether an AUC is that of a leak: above 0.95, and further from 0.5 than chance would be.

    Args:
        score: the AUC, or `None`.
        clicks: rows with a click on which it was judged.
        others: rows without one.
    """
    if score is None or score <= LEAK:
        return False
    error = np.sqrt((clicks + others + 1) / (12 * clicks * others))  # of Mann & Whitney's U
    return score - 0.5 > SURE * error


def sentences(entry, there, column):
    """Yields what is to be said about a column.

    Args:
        entry: of `Description.columns`.
        there: number of values that are not missing.
        column: as for `facts`, with `feature` (what the schema takes it for, or `None`), `odd` (how
            many values are no numbers where they should be, and the first of them), `kept_as` and
            `is_raw`.
    """
    name, distinct, missing = entry["name"], entry["cardinality"], entry["missing"]
    is_plain = type(column.feature).__name__ == "Categorical"
    if column.odd[0]:
        yield (
            f"Column {name!r} holds {column.odd[0]:,} values that are no finite number, the first "
            f"{column.odd[1]!r}; they count as missing here."
        )
    if not there and not column.opaque:
        yield f"Column {name!r} has no values."
    elif distinct == 1 and not missing:
        yield f"Column {name!r} is {entry['values'][0]['value']!r} in every row."
    elif column.feature is None:
        yield f"Column {name!r} is left out of the schema: {entry['why']}."
    elif is_plain and there >= ENOUGH and distinct > DISTINCT * there:
        yield f"Column {name!r} has {distinct:,} values in {there:,} rows: it names rows."
    elif missing and missing > GAPS:
        yield f"Column {name!r} is missing in {missing:.1%} of the rows."
    if column.kept_as and there:
        yield f"Column {name!r} holds {column.kept_as} kept as text."
    if is_plain and there and column.is_raw and not column.quantity:
        odd = _odd_text(column.raw)
        if odd is not None:
            yield f"Column {name!r} holds numbers, but also text such as {odd!r}: is it a name?"
    if entry["drift"] == "high" and entry["kind"] != "Time":
        yield (
            f"Column {name!r} is distributed otherwise in test than in train: PSI "
            f"{entry['psi']:.2f}, by chance {entry['psi_chance']:.2f}."
        )


def unknown_values(entries):
    """Yields a sentence on the columns of which most held-out values have no id of their own."""
    found = []
    for entry in entries:
        largest = max((share for share in entry["unseen"].values() if share), default=0)
        if largest > UNKNOWN:
            found.append(f"{entry['name']!r} ({largest:.0%})")
    if found:
        yield f"Most held-out values have no id of their own in {', '.join(found)}."


def _odd_text(table):
    """A text that is no number in a column where nearly all are; `None` where there is none."""
    texts = table.filter(~pl.col("null"))
    rows = texts.select(pl.sum_horizontal(NUM_ROWS)).to_series()
    is_number = spelled(texts["value"]).is_not_null()
    share = (rows * is_number).sum() / max(rows.sum(), 1)
    return texts["value"].filter(~is_number).sort()[0] if NUMBERS <= share < 1 else None


def _entry(name, n, c, all_rows, has_label):
    """What is shown of a value or a bin: counts `(3,)` of rows and clicks."""
    shares = {
        split: rounded(n[at] / all_rows[at]) if all_rows[at] else None
        for at, split in enumerate(SPLITS)
        if split != "valid"
    }
    rate = None if not has_label or not n.sum() else rounded(c.sum() / n.sum())
    share = rounded(n.sum() / all_rows.sum())
    return {"value": name, "rows": round(n.sum()), "share": share, "click_rate": rate, **shares}


def _bin_names(edges, x, moments):
    """The bins as text."""
    if not len(x):
        return []
    if moments:
        return _time_names(edges, x)
    if not len(edges):
        return [f"{x[0]:.6g} to {x[-1]:.6g}" if x[0] < x[-1] else f"{x[0]:.6g}"]
    ends = [f"{low:.6g} to {high:.6g}" for low, high in zip(edges, edges[1:], strict=False)]
    return [f"to {edges[0]:.6g}", *ends, f"above {edges[-1]:.6g}"]


def _time_names(edges, x):
    """The bins of seconds since 1970 as text: the end of each."""
    how = "%Y-%m-%d" if x[-1] - x[0] > LONG else "%m-%d %H:%M"
    ends = [datetime.fromtimestamp(edge, UTC).strftime(how) for edge in (*edges, x[-1])]
    return [f"to {end}" for end in ends]


def rounded(value):
    return None if value is None else round(float(value), 6)
