"""The pictures of a search of two arms show both, on one scale, with what is expected of each."""

import math
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tests.sweep.searching import study_of
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.results import plots
from wconv_sweep.results.export.arm_figures import MIN_RATED, arm_figures
from wconv_sweep.results.html.dark import PAPER, in_the_dark
from wconv_sweep.storage.tables import SlotState, Stage
from wconv_sweep.study.config import ObjectiveSpec, StudyConfig
from wconv_sweep.study.point import Point, SearchArm
from wconv_sweep.study.search_space import at_share, point_at, space_of

LR, NORM, WIDTH = "recipe.optimizer.lr", "model.options.norm", "model.options.width"
ALSO: dict[str, Any] = {
    LR: {"low": 1e-4, "high": 0.1, "log": True},
    NORM: {"choices": ["none", "batch"]},
    WIDTH: {"low": 2, "high": 6, "integer": True},
}


def searching(*keys: str, bounds: list[list[float]] | None = None) -> StudyConfig:
    """Return a study of one coefficient and these keys."""
    also = {key: ALSO[key] for key in keys}
    return study_of({"name": "random"}, bounds=bounds or [[0.5, 1.5]], also=also)


def score(point: Point) -> float:
    """Return a score that depends on the learning rate most; 0.01 is best for plain."""
    rate = math.log10(float(dict(point.settings).get(LR, 0.01))) + 2 + (1 - point.density[0])
    return 30 - rate**2 - 0.5 * (point.density[0] - 0.8) ** 2


def row(position: int, arm: SearchArm, point: Point, value: float) -> TrialRow:
    """Return a completed trial."""
    return TrialRow(
        position=position,
        stage=Stage.SEARCH,
        label=None,
        state=SlotState.COMPLETE,
        point=point,
        trial=position,
        attempt=1,
        epoch=2,
        value=value,
        metrics={},
        provenance={},
        reason=None,
        lease_until=None,
        arm=arm,
    )


def trained(
    config: StudyConfig, each: int, value: Callable[[Point], float] = score
) -> list[TrialRow]:
    """Return so many completed trials of each arm."""
    draw, rows = random.Random(0), []
    for position in range(2 * each):
        arm = list(SearchArm)[position % 2]
        space = space_of(config, arm)
        params = {name: at_share(one, draw.random()) for name, one in space.items()}
        point = point_at(config, params)
        rows.append(row(position, arm, point, value(point)))
    return rows


def figures(config: StudyConfig, trials: list[TrialRow]) -> dict[str, Figure]:
    return dict(arm_figures(config, trials))


def maps(figure: Figure) -> list[QuadMesh]:
    return [
        each
        for axes in figure.axes
        if axes.get_xlabel()  # not a scale
        for each in axes.collections
        if isinstance(each, QuadMesh)
    ]


def lines(figure: Figure, panel: int) -> LineCollection:
    (found,) = figure.axes[panel].collections
    assert isinstance(found, LineCollection)
    return found


def test_the_response_of_both_arms_lies_near_the_truth_with_its_uncertainty() -> None:
    config = searching(LR)
    trials = trained(config, 16)
    figure = figures(config, trials)["response"]

    expected, unsure, plain = figure.axes[:3]
    mean, sd = (np.asarray(each.get_array()) for each in maps(figure))
    assert (expected.get_xlabel(), expected.get_ylabel()) == (LR, "density_1")
    assert expected.get_xscale() == unsure.get_xscale() == plain.get_xscale() == "log"
    middle = tuple(size // 2 for size in mean.shape)
    truth = score(Point((1.0,), ((LR, 10**-2.5),)))
    assert mean[middle] == pytest.approx(truth, abs=0.2)
    assert sd.shape == mean.shape
    assert (sd > 0).all()
    curve = next(line for line in plain.lines if "95 %" in str(line.get_label()))
    x_P, y_P = (np.asarray(data, dtype=float) for data in curve.get_data())
    inside = x_P > 5e-4  # the least learning rate that was drawn is not much lower
    # Far below the best trials the model has a floor: there it says no more than bad.
    values = [each.value for each in trials if each.arm is SearchArm.PLAIN and each.value]
    upper = np.quantile(values, 0.75)
    floor = upper - 3 * (max(values) - upper)
    truth_P = np.maximum(30 - (np.log10(x_P) + 2) ** 2, floor)
    assert np.abs(y_P - truth_P)[inside].max() < 0.15
    dots = next(line for line in plain.lines if line.get_label() == "a trial")
    assert list(dots.get_ydata()) == [  # type: ignore[arg-type]
        each.value for each in trials if each.arm is SearchArm.PLAIN
    ]


def test_each_pair_of_a_coefficient_and_a_key_has_a_row_whatever_its_kind() -> None:
    config = searching(NORM, WIDTH, bounds=[[0.05, 1.0], [0.5, 1.5]])
    figure = figures(config, trained(config, 4))["response"]

    shown = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes[0:12:3]]
    assert shown == [
        ("model.options.norm", "density_1"),
        ("model.options.width", "density_1"),
        ("model.options.norm", "density_2"),
        ("model.options.width", "density_2"),
    ]
    assert [np.asarray(each.get_array()).shape[1] for each in maps(figure)[::2]] == [2, 5, 2, 5]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["none", "batch"]


def test_trials_too_few_for_a_fit_are_shown_alone_and_none_give_no_picture() -> None:
    config = searching(LR)
    trials = trained(config, 2)

    assert maps(figures(config, trials)["response"]) == []
    assert figures(config, [each for each in trials if each.arm is SearchArm.PLAIN]) == {}
    assert figures(config, trained(config, 2, lambda point: math.nan)) == {}


def test_a_line_leads_through_the_parameters_of_each_trial_to_its_objective() -> None:
    config = searching(LR, NORM, WIDTH)
    points = {
        SearchArm.PLAIN: Point((1.0,), ((LR, 0.1), (NORM, "none"), (WIDTH, 4))),
        SearchArm.WEIGHTED: Point((0.75,), ((LR, 1e-4), (NORM, "batch"), (WIDTH, 2))),
    }
    best = row(2, SearchArm.WEIGHTED, Point((1.75,), points[SearchArm.PLAIN].settings), 30.0)
    trials = [row(n, arm, point, 20.0 + n) for n, (arm, point) in enumerate(points.items())]
    figure = figures(config, [*trials, best])["parallel"]

    drawn = [
        [np.asarray(each)[:, 1].tolist() for each in lines(figure, panel).get_segments()]
        for panel in (0, 1)
    ]
    assert drawn[0] == [[pytest.approx(1.0), 0.25, 0.5, 0.0]]
    # The density of the last, a reference, lies outside of its bounds, which are [0.5, 1.5].
    assert drawn[1] == [
        [pytest.approx(0.2), pytest.approx(0.0), 0.75, 0.0, pytest.approx(0.1)],
        [pytest.approx(1.0), pytest.approx(1.0), 0.25, 0.5, 1.0],
    ]
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["plain convolution, 1 trial", "weighted convolution, 2 trials"]


def test_six_parameters_can_be_read_also_on_a_dark_page() -> None:
    also: dict[str, Any] = ALSO | {
        "recipe.optimizer.weight_decay": {"low": 0.0, "high": 0.1},
        "recipe.batch_size": {"choices": [2, 4]},
        "model.options.depth": {"low": 2, "high": 64, "integer": True, "log": True},
    }
    config = study_of({"name": "random"}, bounds=[[0.5, 1.5]], also=also)
    found = figures(config, trained(config, 4))
    parallel, response = found["parallel"], found["response"]
    parallel.draw_without_rendering()

    names = [label.get_text() for label in parallel.axes[1].get_xticklabels()]
    assert names[1:5] == [
        "recipe.\noptimizer.\nlr",
        "model.\noptions.\nnorm",
        "model.\noptions.\nwidth",
        "recipe.\noptimizer.\nweight_decay",
    ]
    boxes = [label.get_window_extent() for label in parallel.axes[1].get_xticklabels()]
    assert [left.x1 < right.x0 for left, right in pairwise(boxes)] == [True] * (len(names) - 1)
    # The numbers of an axis stand on the lines, which lead through the axes to the right of it.
    plain_axes = parallel.axes[2:8]
    numbers = [label for axes in plain_axes for label in axes.get_yticklabels()]
    assert [bool(label.get_path_effects()) for label in numbers] == [True] * len(numbers)
    assert "50" in [label.get_text() for label in numbers]
    in_the_dark(parallel)
    effects = [effect for each in numbers for effect in each.get_path_effects()]
    grounds = {vars(effect)["_gc"]["foreground"] for effect in effects}
    assert grounds == {PAPER}
    # A legend in a panel would lie on trials.
    assert [axes.get_legend() for axes in response.axes if axes.get_legend()] == []
    (legend,) = response.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "Gaussian process, 95 %",
        "a trial",
        "best expected",
    ]


def test_a_run_that_collapsed_leaves_the_others_their_colors_also_on_a_dark_page() -> None:
    config = searching(LR)
    trials = trained(config, 8)
    figure = figures(config, trials)["parallel"]
    point = trials[1].point
    assert point is not None
    worse = [*trials, row(99, SearchArm.WEIGHTED, point, -1e6)]

    def colors(figure: Figure) -> list[str]:
        rgba = np.asarray(lines(figure, 1).get_colors())
        return [to_hex(tuple(each)) for each in rgba]

    expected = colors(figure)
    assert len(set(expected)) == len(expected)
    assert colors(figures(config, worse)["parallel"])[1:] == expected
    assert colors(in_the_dark(figure)) == expected


def test_the_importance_of_the_learning_rate_is_that_of_the_arm() -> None:
    config = searching(LR, NORM)
    trials = trained(
        config, MIN_RATED, lambda point: -abs(math.log10(float(dict(point.settings)[LR])))
    )
    axes = figures(config, trials)["importance"].axes[0]

    plain, weighted = axes.containers
    widths = [[bar.get_width() for bar in each] for each in (plain, weighted)]
    assert [text.get_text() for text in axes.get_yticklabels()] == [LR, NORM, "density_1"]
    assert [sum(each) for each in widths] == [pytest.approx(1.0), pytest.approx(1.0)]
    assert [each.index(max(each)) for each in widths] == [0, 1]
    assert [len(each) for each in widths] == [2, 3]


@pytest.mark.parametrize(
    ("keys", "trials", "value", "arms"),
    [
        ((LR, NORM), MIN_RATED - 1, score, None),
        ((LR, NORM), MIN_RATED, lambda point: 30.0, None),
        ((LR,), MIN_RATED, score, ["weighted convolution"]),
    ],
    ids=["few trials", "equal values", "plain has one parameter"],
)
def test_an_importance_that_would_mean_nothing_is_not_shown(
    keys: tuple[str, ...],
    trials: int,
    value: Callable[[Point], float],
    arms: list[str] | None,
) -> None:
    config = searching(*keys)
    shown = figures(config, trained(config, trials, value))

    figure = shown.get("importance")
    found = figure and [str(each.get_label()) for each in figure.axes[0].containers]
    assert found == arms


def test_the_same_trials_give_the_same_bytes() -> None:
    config = searching(NORM)
    trials = trained(config, 3)

    one, again = (
        {name: plots.render(figure, "svg") for name, figure in figures(config, trials).items()}
        for _ in range(2)
    )

    assert one.keys() == {"response", "parallel"}
    assert one == again


def test_the_unit_of_an_own_metric_stands_on_each_picture_of_scores() -> None:
    config = searching(LR)
    objective = ObjectiveSpec(metric="error", goal="minimize", unit="mm")
    found = figures(config.model_copy(update={"objective": objective}), trained(config, 6))

    titles = [axes.get_title() for axes in found["response"].axes]
    assert "weighted: error, mm, expected on the validation set" in titles
    assert "plain: error, mm, validation set" in titles
    assert "error, mm, validation set" in [axes.get_ylabel() for axes in found["parallel"].axes]
