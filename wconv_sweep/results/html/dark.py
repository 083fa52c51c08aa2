"""The same figure for a dark page: ink becomes light, colors stay."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from wconv_sweep.results.plots import BLUE, FAINT, GRAY, ORANGE, raise_from_ground

INK, PAPER = "#e6e8eb", "#1b1f25"
_LIGHTER = {BLUE: "#5cb8f0", ORANGE: "#ff9a4d", GRAY: "#aab0b8", FAINT: "#5c636d"}


def in_the_dark(figure: Figure) -> Figure:
    """Turn a figure of `plots` into one for a dark page, and return it."""
    # Numbers inside a heat map stand on its colors, which do not change.
    kept = {text for axes in figure.axes for text in axes.texts}
    for text in figure.findobj(Text):
        if text not in kept:
            text.set_color(INK)
        if text.get_path_effects():
            raise_from_ground([text], PAPER)
    for axes in figure.axes:
        _draw_with_ink(axes)
    for legend in [*figure.legends, *(axes.get_legend() for axes in figure.axes)]:
        if legend is not None:
            legend.get_frame().set(facecolor=PAPER, edgecolor=INK)
            _lighten(legend.get_lines())
    return figure


def transparent(figure: Figure) -> Figure:
    """Let the page show through a figure, and return it."""
    figure.patch.set_alpha(0.0)
    for axes in figure.axes:
        axes.patch.set_alpha(0.0)
    return figure


def _draw_with_ink(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_edgecolor(INK)
    axes.tick_params(colors=INK, which="both")
    _lighten(axes.lines)
    for lines in axes.collections:
        if isinstance(lines, LineCollection):
            colors = [to_hex(tuple(rgba)) for rgba in np.asarray(lines.get_colors())]
            lines.set_color([_LIGHTER.get(color, color) for color in colors])


def _lighten(lines: Iterable[Line2D]) -> None:
    for line in lines:
        line.set_color(_LIGHTER.get(to_hex(line.get_color()), line.get_color()))
