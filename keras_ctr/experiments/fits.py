"""Fits of AUC against compute, for the runs of the study `scaling`."""

import collections
import math

import numpy as np


def scaling_fits(rows):
    """Fits AUC against forward FLOPs per sample, for the rows of the study `scaling`.

    Per sweep, `"depth"` (layers at the width that most arms have) and `"width"`, and per model, two
    forms, since the one of DeRes's figure (γ = 0.118 against 0.071) is not public:

    - `power`: `AUC_inf - AUC = A·C^(-γ)`, with one `AUC_inf` for all models of a sweep;
    - `log`: `AUC = a + γ·log10 C`, γ in percentage points.

    And a form-free figure: `iso_auc`, how many times the compute of a DeRes arm OneTrans needs for
    the same mean AUC, interpolated in `log C`; None where OneTrans never has that AUC.

    Returns:
        dict of sweep -> `{"points": {model: [(FLOPs, mean AUC, standard error), …]}, "power":
        {model: γ}, "auc_inf": AUC_inf, "log": {model: γ}, "iso_auc": [(FLOPs, ratio), …]}`.
    """
    points = collections.defaultdict(list)
    if not rows:
        return {}
    for row in rows:
        model, size = row["arm"].split()
        depth, width = map(int, size.split("x"))
        points[model, depth, width].append((int(row["flops"]), float(row["auc"])))
    widths = collections.Counter(width for _, _, width in points)
    depths = collections.Counter(depth for _, depth, _ in points)
    width, depth = widths.most_common(1)[0][0], depths.most_common(1)[0][0]
    sweeps = {
        "depth": [key for key in points if key[2] == width],
        "width": [key for key in points if key[1] == depth],
    }
    return {
        name: _fit_sweep(keys, points)
        for name, keys in sweeps.items()
        if len({key[1:] for key in keys}) > 1
    }


def _fit_sweep(keys, points):
    curves = collections.defaultdict(list)
    for key in sorted(keys):
        flops_, aucs = zip(*points[key], strict=True)
        error = np.std(aucs, ddof=1) / math.sqrt(len(aucs)) if len(aucs) > 1 else None
        curves[key[0]].append((flops_[0], float(np.mean(aucs)), error and float(error)))
    compute = {model: np.log10([p[0] for p in curve]) for model, curve in curves.items()}
    auc = {model: np.array([p[1] for p in curve]) for model, curve in curves.items()}
    highest = max(values.max() for values in auc.values())
    best = None
    for limit in highest + np.geomspace(1e-4, 1 - highest, 200):
        lines = {m: np.polyfit(compute[m], np.log10(limit - auc[m]), 1) for m in curves}
        missed = sum(
            np.sum((limit - 10 ** np.polyval(lines[m], compute[m]) - auc[m]) ** 2) for m in curves
        )
        if best is None or missed < best[0]:
            best = missed, float(limit), {m: float(-line[0]) for m, line in lines.items()}
    iso = []
    if {"onetrans", "deres"} <= set(curves):
        for at, value in zip(compute["deres"], auc["deres"], strict=True):
            needed = _first_reaching(value, compute["onetrans"], auc["onetrans"])
            iso.append((float(10**at), None if needed is None else float(10 ** (needed - at))))
    return {
        "points": dict(curves),
        "power": best[2],
        "auc_inf": best[1],
        "log": {m: float(100 * np.polyfit(compute[m], auc[m], 1)[0]) for m in curves},
        "iso_auc": iso,
    }


def _first_reaching(value, x, y):
    """Where the line through the points `(x, y)` first has the value; None if it never does."""
    for i in range(len(x) - 1):
        low, high = sorted((y[i], y[i + 1]))
        if low <= value <= high and high > low:
            return x[i] + (x[i + 1] - x[i]) * (value - y[i]) / (y[i + 1] - y[i])
    return None
