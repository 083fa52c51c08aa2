"""Figures of a study: density kernel, response, learning curves, cost of the gain.

Each function returns a matplotlib figure; `save` writes it as PNG and SVG, the same bytes for the
same figure. No global state of matplotlib changes.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from wconv_jobs.spec import Density
from wconv_sweep.amounts import axis_title
from wconv_sweep.evidence.surrogate import Surrogate

# Shape letters: K kernel size, C coefficients, N trials, P points.

BLUE, ORANGE, GRAY = "#0072b2", "#d55e00", "#666666"  # distinguishable by all eyes, and in gray
FAINT = "#bbbbbb"
DPI = 150
MANY_POINTS = 3000
"""Points of all trials together above which they are drawn as pixels also in an SVG, whose size
would grow with them. All are shown in any case."""
_SIZE_IN = (6.4, 4.2)
_POINTS = 201
_FEW_PT, _MANY_PT = 4.0, 1.5  # diameter of a trial's mark
_SVG: Any = {"svg.hashsalt": "wconv-sweep", "svg.fonttype": "path"}


@dataclass(frozen=True)
class Trials:
    """The completed trials of one study."""

    density_NC: NDArray[np.float64]
    value_N: NDArray[np.float64]
    metric: str
    """Name of the objective."""
    direction: Literal["maximize", "minimize"]
    plain: float | None
    """Objective of plain convolution."""
    best: Density
    """The selected density."""
    own_unit: str | None = None
    """Of an objective that we do not know, from the study."""


def kernel_figure(density: Sequence[float], title: str) -> Figure:
    """Return the density kernel Phi as a heat map with its numbers; white is plain convolution."""
    alpha_K = np.array([*density, 1.0, *reversed(density)])
    phi_KK = np.outer(alpha_K, alpha_K)
    figure = Figure(figsize=(4.4, 3.8), layout="constrained")
    axes = figure.subplots()
    reach = max(0.1, float(np.abs(phi_KK - 1).max()))
    norm = TwoSlopeNorm(1.0, 1.0 - reach, 1.0 + reach)
    image = axes.imshow(phi_KK, cmap="PuOr_r", norm=norm)
    for (row, column), value in np.ndenumerate(phi_KK):
        dark = abs(value - 1) > 0.7 * reach
        axes.text(
            column, row, f"{value:.3g}", ha="center", va="center", color="w" if dark else "k"
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"{title}\nPhi of the density ({', '.join(f'{d:.4g}' for d in density)})")
    figure.colorbar(image, ax=axes, label="factor of the weight (1: plain)")
    return figure


def response_figure(trials: Trials, surrogate: Surrogate, title: str) -> Figure:
    """Return how the objective depends on the density: a curve, a map, or a curve for each of
    several coefficients through the selected density."""
    coefficients = len(surrogate.bounds)
    if coefficients == 2:
        return _response_map(trials, surrogate, title)
    figure = Figure(figsize=(_SIZE_IN[0] * max(1, 0.7 * coefficients), 4.2), layout="constrained")
    panels = figure.subplots(1, coefficients, sharey=True, squeeze=False)[0]
    for number, axes in enumerate(panels):
        _response_curve(axes, trials, surrogate, number)
        axes.set_xlabel("density" if coefficients == 1 else f"density_{number + 1}")
    panels[0].set_ylabel(f"{axis_title(trials.metric, trials.own_unit)}, validation set")
    # Framed: the line of the selected density may run through it.
    _add_legend(panels[0], len(trials.value_N), frameon=True)
    figure.suptitle(title)
    return figure


def learning_figure(
    curves: dict[str, dict[int, float]],
    metric: str,
    highlighted: dict[str, str],
    title: str,
    own_unit: str | None = None,
) -> Figure:
    """Return the objective after each epoch of each trial.

    Args:
        curves: by the trial's name, value after each epoch.
        metric: name of the objective.
        highlighted: legend texts of one or two of the trials.
        title: of the figure.
        own_unit: of an objective that we do not know, from the study.

    Raises:
        ValueError: more than two are highlighted.
    """
    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    axes = figure.subplots()
    begun = {name: sorted(curve.items()) for name, curve in curves.items() if curve}
    others = [curve for name, curve in begun.items() if name not in highlighted]
    points = sum(map(len, others))
    # One artist for all of them: one for each would take a millisecond.
    faint = LineCollection(
        others,
        colors=FAINT,
        linewidths=0.8,
        zorder=2,
        rasterized=points > MANY_POINTS,
        label="other trials" if others else "",
    )
    axes.add_collection(faint)
    colors = (BLUE, ORANGE)[: len(highlighted)]
    for (name, label), color in zip(highlighted.items(), colors, strict=True):
        curve = begun.get(name, [])
        epochs, values = [epoch for epoch, _ in curve], [value for _, value in curve]
        axes.plot(epochs, values, color=color, linewidth=2.0, zorder=3, label=label)
    axes.autoscale_view()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{axis_title(metric, own_unit)}, validation set")
    if highlighted:
        # Where the curves do not end: "best" does not see those that are drawn as one artist.
        ends = [curve[-1][1] for curve in begun.values()]
        low = not ends or np.median(ends) > np.mean(axes.get_ylim())
        place: Literal["lower right", "upper right"] = "lower right" if low else "upper right"
        axes.legend(loc=place, frameon=points > MANY_POINTS, fontsize="small")
    axes.set_title(title)
    return figure


def cost_figure(
    hours_N: Sequence[float], value_N: Sequence[float], trials: Trials, unit: str, title: str
) -> Figure:
    """Return the best objective so far against the cost by then.

    Args:
        hours_N: cost of each trial, in the order of completion.
        value_N: its objective.
        trials: of the study.
        unit: of what was spent, e.g. GPU-hours.
        title: of the figure.
    """
    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    axes = figure.subplots()
    spent = np.cumsum(hours_N)
    accumulate = np.maximum if trials.direction == "maximize" else np.minimum
    many = len(value_N) > MANY_POINTS
    size_pt = _MANY_PT if many else _FEW_PT
    axes.plot(
        spent, value_N, "o", color=FAINT, markersize=size_pt, label="a trial", rasterized=many
    )
    axes.step(
        spent,
        accumulate.accumulate(value_N),
        where="post",
        color=BLUE,
        label="best single run so far",
    )
    if trials.plain is not None:
        axes.axhline(trials.plain, color=ORANGE, linestyle="--", label="plain convolution")
    if unit == "trials":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(unit)
    axes.set_ylabel(f"{axis_title(trials.metric, trials.own_unit)}, validation set")
    _add_legend(axes, len(value_N), frameon=False)
    axes.set_title(title)
    return figure


def confusion_figure(counts_KK: NDArray[np.int64], title: str) -> Figure:
    """Return a confusion matrix: for each true class, the share of each predicted class."""
    figure = Figure(figsize=(5.4, 4.6), layout="constrained")
    axes = figure.subplots()
    share_KK = counts_KK / np.maximum(1, counts_KK.sum(axis=1, keepdims=True))
    image = axes.imshow(share_KK, cmap="Blues", vmin=0.0, vmax=1.0)
    if len(counts_KK) <= 12:
        for (row, column), count in np.ndenumerate(counts_KK):
            color = "w" if share_KK[row, column] > 0.6 else "k"
            axes.text(column, row, str(count), ha="center", va="center", color=color)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="share of the true class")
    return figure


def render(figure: Figure, form: Literal["png", "svg"]) -> bytes:
    """Return a figure as the content of a file, the same for the same figure."""
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if form == "svg" else {"Software": None}
    with mpl.rc_context(_SVG):
        figure.savefig(buffer, format=form, dpi=DPI, metadata=metadata)
    return buffer.getvalue()


def file_names(folder: Path, name: str) -> dict[Path, Literal["png", "svg"]]:
    """Return the files of a figure."""
    return {folder / f"{name}.png": "png", folder / f"{name}.svg": "svg"}


def raise_from_ground(texts: Iterable[Text], paper: str) -> None:
    """Give texts an edge in the color of the ground, so that they can be read on lines."""
    for text in texts:
        text.set_path_effects([withStroke(linewidth=3, foreground=paper)])


def leave_out_collapsed(
    axes: Axes, value_N: NDArray[np.float64], mean_P: NDArray[np.float64]
) -> None:
    """Limit the axis of the objective, so that a few diverged runs do not flatten all others.

    Args:
        axes: to change.
        value_N: objective of each trial.
        mean_P: what is expected.
    """
    low, high = np.quantile(value_N, [0.1, 0.9])
    margin = 3 * max(high - low, float(np.ptp(mean_P)), 1e-12)
    inside = (value_N > low - margin) & (value_N < high + margin)
    if not inside.all():
        axes.set_ylim(value_N[inside].min() - margin / 9, None)


def _response_curve(axes: Axes, trials: Trials, surrogate: Surrogate, number: int) -> None:
    low, high = surrogate.bounds[number]
    shown = trials.density_NC[:, number]
    x_P = np.linspace(min(low, shown.min()), max(high, shown.max()), _POINTS)
    points_PC = np.tile(np.array(trials.best), (_POINTS, 1))
    points_PC[:, number] = x_P
    mean_P, sd_P = surrogate.mean_sd(points_PC)
    axes.fill_between(
        x_P, mean_P - 1.96 * sd_P, mean_P + 1.96 * sd_P, color=BLUE, alpha=0.2, linewidth=0
    )
    axes.plot(x_P, mean_P, color=BLUE, label="Gaussian process, 95 %")
    many = len(shown) > MANY_POINTS
    axes.plot(shown, trials.value_N, ".", color=GRAY, label="a trial", rasterized=many)
    if trials.plain is not None:
        axes.axhline(trials.plain, color=ORANGE, linestyle="--", label="plain convolution")
    axes.axvline(trials.best[number], color=BLUE, linestyle=":", label="selected density")
    leave_out_collapsed(axes, trials.value_N, mean_P)


def _response_map(trials: Trials, surrogate: Surrogate, title: str) -> Figure:
    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    axes = figure.subplots()
    low_C, high_C = np.array(surrogate.bounds).T
    low_C = np.minimum(low_C, trials.density_NC.min(axis=0))
    high_C = np.maximum(high_C, trials.density_NC.max(axis=0))
    x_P, y_P = (np.linspace(low_C[n], high_C[n], 61) for n in (0, 1))
    grid_X, grid_Y = np.meshgrid(x_P, y_P)
    mean_P, _ = surrogate.mean_sd(np.stack([grid_X.ravel(), grid_Y.ravel()], axis=1))
    filled = axes.contourf(grid_X, grid_Y, mean_P.reshape(grid_X.shape), 15, cmap="cividis")
    (marks,) = axes.plot(
        *trials.density_NC.T, "o", color="w", markersize=_FEW_PT, markeredgecolor="k"
    )
    if len(trials.value_N) > MANY_POINTS:  # the map must stay visible between them
        marks.set(rasterized=True, markersize=_MANY_PT, markeredgewidth=0)
    axes.plot(1.0, 1.0, "s", color=ORANGE, markersize=9, label="plain convolution")
    axes.plot(*trials.best, "*", color=ORANGE, markersize=15, label="selected density")
    axes.set_xlabel("density_1 (outer)")
    axes.set_ylabel("density_2 (inner)")
    _add_legend(axes, len(trials.value_N), frameon=True)
    label = f"{axis_title(trials.metric, trials.own_unit)}, expected on the validation set"
    figure.colorbar(filled, ax=axes, label=label, format=ScalarFormatter(useOffset=False))
    figure.suptitle(title)
    return figure


def _add_legend(axes: Axes, points: int, *, frameon: bool) -> None:
    # Among many points there is no free place, only one that a frame makes; a search takes long.
    place: Literal["best", "lower right"] = "best" if points <= MANY_POINTS else "lower right"
    axes.legend(loc=place, frameon=frameon or points > MANY_POINTS, fontsize="small")
