"""Figures of a search of more than the density: plain and weighted convolution, each in its space.

Other than `wconv_sweep.results.plots`, which knows densities alone, these know parameters of any
kind. A figure shows both arms, on the same scales.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, IntDistribution

from wconv_sweep.amounts import axis_title
from wconv_sweep.evidence.surrogate import collapsed
from wconv_sweep.results.plots import (
    BLUE,
    GRAY,
    MANY_POINTS,
    ORANGE,
    leave_out_collapsed,
)
from wconv_sweep.study.point import SearchArm, Setting
from wconv_sweep.study.search_space import Distribution, at_share, choices_of

# Shape letters: N trials, P points of a curve, X and Y points of a map.

Params = Mapping[str, Setting]
"""Values of parameters by name."""

COLORS = "cividis"
_STEPS = 41  # of a map along an axis, and of a curve


@dataclass(frozen=True)
class Response:
    """What is expected of the points of an arm."""

    mean_sd: Callable[[Sequence[Params]], tuple[NDArray[np.float64], NDArray[np.float64]]]
    """Expected objective at points, and its standard deviation, each of shape (P,)."""
    best: Params
    """The best expected point."""


@dataclass(frozen=True)
class ArmTrials:
    """The completed trials of one arm, whose objective is a number."""

    arm: SearchArm
    space: Mapping[str, Distribution]
    """The parameters that are proposed; it holds all trials, also those outside of the bounds."""
    params: Sequence[Params]
    value_N: NDArray[np.float64]
    response: Response | None
    """None: there are too few trials for one."""


def pair_figure(
    arms: Mapping[SearchArm, ArmTrials],
    pairs: Sequence[tuple[str, str]],
    metric: str,
    direction: Literal["maximize", "minimize"],
    title: str,
    own_unit: str | None = None,
) -> Figure:
    """Return how the objective depends on a coefficient of the density and on a further key.

    Each pair is a row: expected objective and its standard deviation of weighted convolution, as
    maps, and the curve of plain convolution, with 95 % bounds. All other parameters are those of
    the best expected point of the arm. Marks are trials, with their own objective.

    Args:
        arms: both.
        pairs: name of a coefficient, name of a further key.
        metric, own_unit: name of the objective, and its unit if we do not know it.
        direction: of the objective.
        title: of the figure.
    """
    figure = Figure(figsize=(14.0, 4.0 * len(pairs)), layout="constrained")
    panels = figure.subplots(len(pairs), 3, squeeze=False)
    scale = Normalize(*value_range(arms.values(), direction), clip=True)
    for (coefficient, key), (expected, unsure, curve) in zip(pairs, panels, strict=True):
        _maps(figure, (expected, unsure), arms[SearchArm.WEIGHTED], (key, coefficient), scale)
        expected.set_title(
            f"weighted: {axis_title(metric, own_unit)}, expected on the validation set"
        )
        unsure.set_title("weighted: standard deviation of the expected")
        _curve(curve, arms[SearchArm.PLAIN], key)
        curve.set_title(f"plain: {axis_title(metric, own_unit)}, validation set")
    # One for all panels: in each it would lie on trials.
    shown = [axes.get_legend_handles_labels() for axes in panels[0, ::-1]]
    marks = {label: mark for found in shown for mark, label in zip(*found, strict=True)}
    figure.legend(marks.values(), marks, loc="outside lower center", ncols=len(marks))
    figure.suptitle(title)
    return figure


def value_range(
    arms: Iterable[ArmTrials], direction: Literal["maximize", "minimize"]
) -> tuple[float, float]:
    """Return the least and the greatest objective of runs that have not collapsed."""
    value_N = np.concatenate([each.value_N for each in arms])
    kept_N = value_N[~collapsed(value_N if direction == "maximize" else -value_N)]
    low, high = float(kept_N.min()), float(kept_N.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def scale_axis(axes: Axes, which: Literal["x", "y"], one: Distribution) -> None:
    """Give an axis the scale and the ticks of a parameter."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if isinstance(one, CategoricalDistribution):
        axis.set_ticks(range(len(one.choices)), labels=[str(each) for each in one.choices])
        axes.set(**{f"{which}lim": (-0.5, len(one.choices) - 0.5)})
    elif one.log:
        axes.set(**{f"{which}scale": "log"})
        if isinstance(one, IntDistribution):  # 20 rather than 2 x 10^1
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(ScalarFormatter())
            axis.set_minor_formatter(NullFormatter())
    elif isinstance(one, IntDistribution):
        axis.set_major_locator(MaxNLocator(integer=True))


def _maps(
    figure: Figure,
    panels: tuple[Axes, Axes],
    trials: ArmTrials,
    names: tuple[str, str],
    scale: Normalize,
) -> None:
    x_one, y_one = (trials.space[name] for name in names)
    many = len(trials.params) > MANY_POINTS
    x_N, y_N = (_places(trials.space[n], [each[n] for each in trials.params]) for n in names)
    if trials.response is not None:
        xs, ys = _steps(x_one), _steps(y_one)
        best = trials.response.best
        points = [{**best, names[0]: x, names[1]: y} for y, x in product(ys, xs)]
        for axes, content_P, norm in zip(
            panels, trials.response.mean_sd(points), (scale, None), strict=True
        ):
            image = axes.pcolormesh(
                _places(x_one, xs),
                _places(y_one, ys),
                content_P.reshape(len(ys), len(xs)),
                norm=norm,
                cmap=COLORS if norm else "Purples",
                rasterized=True,  # a path for each step would take a megabyte
            )
            figure.colorbar(image, ax=axes, format=ScalarFormatter(useOffset=False))
            (x,), (y,) = _places(x_one, [best[names[0]]]), _places(y_one, [best[names[1]]])
            axes.plot(x, y, "*", color=ORANGE, markersize=15, label="best expected")
    panels[0].scatter(
        x_N,
        y_N,
        c=trials.value_N,
        norm=scale,
        cmap=COLORS,
        edgecolors="w",
        linewidths=0.0 if many else 0.8,
        rasterized=many,
        label="a trial",
    )
    # Black with a white edge: the map is light on a dark page, too.
    (dots,) = panels[1].plot(x_N, y_N, "ok", markersize=4.0, rasterized=many, label="a trial")
    dots.set_markeredgecolor("w")
    for axes in panels:
        axes.set_xlabel(names[0])
        axes.set_ylabel(names[1])
        scale_axis(axes, "x", x_one)
        scale_axis(axes, "y", y_one)


def _curve(axes: Axes, trials: ArmTrials, key: str) -> None:
    one = trials.space[key]
    if trials.response is not None:
        steps = _steps(one)
        best = trials.response.best
        mean_P, sd_P = trials.response.mean_sd([{**best, key: step} for step in steps])
        x_P, reach_P = _places(one, steps), 1.96 * sd_P
        label = "Gaussian process, 95 %"
        if isinstance(one, CategoricalDistribution):
            axes.errorbar(x_P, mean_P, reach_P, fmt="_", color=BLUE, capsize=6, label=label)
        else:
            axes.fill_between(
                x_P, mean_P - reach_P, mean_P + reach_P, color=BLUE, alpha=0.2, linewidth=0
            )
            axes.plot(x_P, mean_P, color=BLUE, label=label)
        leave_out_collapsed(axes, trials.value_N, mean_P)
    x_N = _places(one, [each[key] for each in trials.params])
    many = len(x_N) > MANY_POINTS
    axes.plot(x_N, trials.value_N, ".", color=GRAY, label="a trial", rasterized=many)
    axes.set_xlabel(key)
    scale_axis(axes, "x", one)


def _steps(one: Distribution) -> list[Setting]:
    """Return values of a parameter, from its lower end to its upper; of choices all."""
    if isinstance(one, CategoricalDistribution):
        return list(choices_of(one))
    # Whole numbers may be fewer than the steps.
    shares = np.linspace(0, 1, _STEPS).tolist()
    return list(dict.fromkeys(at_share(one, share) for share in shares))


def _places(one: Distribution, values: Sequence[Setting]) -> list[float]:
    """Return where values lie on an axis; choices are a whole apart from each other."""
    if isinstance(one, CategoricalDistribution):
        return [float(one.choices.index(value)) for value in values]
    return [float(value) for value in values]
