"""Pictures, for which matplotlib must be installed: `pip install "keras-ctr[plots]"`."""

import numpy as np


def residual_map(found, path=None):
    """Draws what `model.residual_map(batch)` returns: depth-attention weights, and the gate.

    Left: the weight that each site gives to each block, averaged over rows and tokens; blue is
    negative, that is, forgetting. Right: the gate of each site, dimensions sorted; 1 is the
    identity path.

    Args:
        found: result of `model.residual_map`.
        path: file to write; by default nothing is written.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is neither a weight nor a gate to draw.
    """
    panels = [name for name in ("weights", "gate") if found[name]]
    if not panels:
        raise ValueError("This residual has neither depth-attention weights nor a gate to draw.")
    figure, panes = _figure(len(panels))
    for axes, name in zip(panes, panels, strict=True):
        if name == "weights":
            grid, least, label = weights_by_site(found["weights"]), None, "block (0 is the input)"
            limit = np.nanmax(np.abs(grid))
            least = -limit if np.nanmin(grid) < 0 else 0
            colours = "RdBu_r" if least else "viridis"
        else:
            gates = [gate.reshape(-1, gate.shape[-1]).mean(axis=0) for gate in found["gate"]]
            grid, label = np.sort(np.stack(gates), axis=1), "dimension, sorted"
            least, limit, colours = 0, 1, "RdBu_r"
        image = axes.imshow(grid, aspect="auto", cmap=colours, vmin=least, vmax=limit)
        axes.set(title=name, xlabel=label, ylabel="site (depth)")
        figure.colorbar(image, ax=axes)
    if path is not None:
        figure.savefig(path)
    return figure


def scaling(fits, path=None):
    """Draws what `studies.scaling_fits` returns: AUC over forward FLOPs, a panel per sweep.

    Args:
        fits: result of `studies.scaling_fits`.
        path: file to write; by default nothing is written.

    Returns:
        The matplotlib figure. Bars are standard errors over seeds.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure, panes = _figure(len(fits))
    for axes, (sweep, fit) in zip(panes, fits.items(), strict=True):
        for model, points in fit["points"].items():
            compute, auc, error = zip(*points, strict=True)
            bars = None if None in error else error
            label = f"{model}, γ = {fit['power'][model]:.3f}"
            axes.errorbar(compute, auc, bars, marker="o", capsize=3, label=label)
        axes.set(xscale="log", title=sweep, xlabel="forward FLOPs per sample", ylabel="test AUC")
        axes.legend()
    if path is not None:
        figure.savefig(path)
    return figure


def _figure(panels):
    """Returns a figure and its panels, side by side."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Plots need matplotlib: `pip install "keras-ctr[plots]"`.') from error
    figure = Figure(figsize=(5 * panels, 4), layout="constrained")
    return figure, np.ravel(figure.subplots(1, panels))


def weights_by_site(weights):
    """Averages over rows and tokens: `(sites, blocks)`, NaN where there is no such block."""
    grid = np.full((len(weights), max(array.shape[-1] for array in weights)), np.nan)
    for site, array in enumerate(weights):
        grid[site, : array.shape[-1]] = array.mean(axis=(0, 1))
    return grid
