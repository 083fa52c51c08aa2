"""Figures of the parameters of a search of both arms: the way of each trial through all of them,
and how important each is."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter
from optuna.distributions import CategoricalDistribution, FloatDistribution

from wconv_sweep.amounts import axis_title
from wconv_sweep.amounts import title as title_of
from wconv_sweep.results.arm_plots import COLORS, ArmTrials, scale_axis, value_range
from wconv_sweep.results.plots import BLUE, MANY_POINTS, ORANGE, raise_from_ground
from wconv_sweep.study.point import SearchArm, Setting
from wconv_sweep.study.search_space import Distribution, share_of

_COLOR_OF = {SearchArm.PLAIN: ORANGE, SearchArm.WEIGHTED: BLUE}


def parallel_figure(
    arms: Mapping[SearchArm, ArmTrials],
    metric: str,
    direction: Literal["maximize", "minimize"],
    title: str,
    own_unit: str | None = None,
) -> Figure:
    """Return all trials as lines through their parameters to their objective, which colors them.

    Each arm has a panel of its own. Runs that have collapsed have the color and the place of the
    worst that has not.

    Args:
        arms: both.
        metric, own_unit: name of the objective, and its unit if we do not know it.
        direction: of the objective.
        title: of the figure.
    """
    most = max(len(each.space) for each in arms.values())
    figure = Figure(figsize=(3.0 + 1.6 * most, 3.6 * len(arms)), layout="constrained")
    panels = figure.subplots(len(arms), 1, squeeze=False)[:, 0]
    low, high = value_range(arms.values(), direction)
    colors = ScalarMappable(Normalize(low, high, clip=True), COLORS)
    for axes, each in zip(panels, arms.values(), strict=True):
        # The best are drawn last, above the others.
        order = np.argsort(each.value_N if direction == "maximize" else -each.value_N)
        share_NA = np.array(
            [
                [*(_share(one, each.params[n][name]) for name, one in each.space.items()), share]
                for n, share in zip(order, (each.value_N[order] - low) / (high - low), strict=True)
            ]
        ).reshape(-1, len(each.space) + 1)
        share_NA[:, -1] = share_NA[:, -1].clip(0.0, 1.0)
        axes.add_collection(
            LineCollection(
                [list(enumerate(share_A)) for share_A in share_NA.tolist()],
                colors=colors.to_rgba(each.value_N[order]),
                linewidths=1.0,
                rasterized=share_NA.size > MANY_POINTS,
            )
        )
        _parallel_axes(axes, {**each.space, title_of(metric): FloatDistribution(low, high)})
        number = len(each.value_N)
        axes.set_title(f"{each.arm} convolution, {number} {'trial' if number == 1 else 'trials'}")
    label = f"{axis_title(metric, own_unit)}, validation set"
    figure.colorbar(colors, ax=list(panels), label=label, format=ScalarFormatter(useOffset=False))
    figure.suptitle(title)
    return figure


def importance_figure(importances: Mapping[SearchArm, Mapping[str, float]], title: str) -> Figure:
    """Return how important each parameter is, as bars.

    Args:
        importances: by arm, the share of each parameter.
        title: of the figure.
    """
    names = list(dict.fromkeys(name for each in importances.values() for name in each))
    figure = Figure(figsize=(6.4, 1.6 + 0.5 * len(names)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(importances)
    for number, (arm, each) in enumerate(importances.items()):
        places = [names.index(name) + (number + 0.5) * height - 0.4 for name in each]
        color, label = _COLOR_OF[arm], f"{arm} convolution"
        axes.barh(places, list(each.values()), height, color=color, label=label)
    axes.set_yticks(range(len(names)), labels=names)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("importance for being among the best tenth, of 1 in all")
    axes.legend(frameon=False, fontsize="small")
    axes.set_title(title)
    return figure


def _parallel_axes(axes: Axes, spaces: Mapping[str, Distribution]) -> None:
    """Draw an axis for each parameter, at 0, 1, 2 and so on."""
    last = len(spaces) - 1
    axes.set(xlim=(0, last), ylim=(0, 1), yticks=[])
    # A part of a key on each line: side by side, whole keys lie on each other.
    axes.set_xticks(range(len(spaces)), labels=[name.replace(".", ".\n") for name in spaces])
    axes.tick_params(axis="x", length=0, pad=8)
    for number, one in enumerate(spaces.values()):
        own = axes.twinx()
        scale_axis(own, "y", one)
        if not isinstance(one, CategoricalDistribution):
            own.set_ylim(one.low, one.high)
        own.spines[["top", "bottom", "left"]].set_visible(False)
        own.spines["right"].set_position(("axes", number / last))
        if number < last:  # they stand on the lines
            raise_from_ground(own.get_yticklabels(), "w")


def _share(one: Distribution, value: Setting) -> float:
    """Return where a value lies on its axis: 0 at the lower end, 1 at the upper."""
    if isinstance(one, CategoricalDistribution):
        return (share_of(one, value) + 0.5) / len(one.choices)
    return share_of(one, value)
