"""Pictures show the numbers of the study, are the same each time, and replace nothing unasked."""

import dataclasses
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.sweep.tiny import StudyFile, Sweep
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.evidence.surrogate import Surrogate, fit
from wconv_sweep.results import plots
from wconv_sweep.results.html.dark import in_the_dark
from wconv_sweep.results.output_files import write_files

NAMES = {"density", "response", "learning_curves", "cost"}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.findobj(Text)]


def trials(coefficients: int, *, value: float = 0.0) -> plots.Trials:
    """Return trials whose objective is 30 - 8 (d - 0.8)^2, summed over coefficients."""
    draw = np.random.default_rng(0)
    density_NC = draw.uniform(0.5, 1.5, (24, coefficients))
    value_N = 30 - 8 * ((density_NC - 0.8) ** 2).sum(axis=1) + draw.normal(0, 0.02, 24)
    value_N[0] += value
    return plots.Trials(density_NC, value_N, "psnr_db", "maximize", 29.68, (0.8,) * coefficients)


def surrogate_of(shown: plots.Trials, coefficients: int) -> Surrogate:
    return fit(shown.density_NC, shown.value_N, [(0.5, 1.5)] * coefficients, "maximize")


def test_the_kernel_shows_the_products_of_its_profile() -> None:
    shown = texts(plots.kernel_figure((0.5, 0.9), "mine"))

    # alpha = (0.5, 0.9, 1, 0.9, 0.5)
    assert [shown.count(text) for text in ("0.25", "0.45", "0.81", "0.9", "1")] == [4, 8, 4, 4, 1]
    assert any("Phi of the density (0.5, 0.9)" in text for text in shown)


def test_the_response_lies_near_the_truth_and_the_baseline_beside_it() -> None:
    shown = trials(1)
    figure = plots.response_figure(shown, surrogate_of(shown, 1), "mine")

    (axes,) = figure.axes
    curve = next(line for line in axes.lines if "Gaussian" in str(line.get_label()))
    x_P, y_P = (np.asarray(data, dtype=float) for data in curve.get_data())
    assert np.abs(y_P - (30 - 8 * (x_P - 0.8) ** 2)).max() < 0.2
    plain = next(line for line in axes.lines if line.get_label() == "plain convolution")
    assert plain.get_ydata()[0] == 29.68  # type: ignore[index]


def test_a_run_that_diverged_does_not_press_the_others_into_a_line() -> None:
    shown = trials(1, value=-1000.0)
    figure = plots.response_figure(shown, surrogate_of(shown, 1), "mine")

    assert figure.axes[0].get_ylim()[0] > 0


@pytest.mark.parametrize(("coefficients", "panels"), [(2, 2), (3, 3)])
def test_more_coefficients_give_a_map_or_a_curve_for_each(coefficients: int, panels: int) -> None:
    shown = trials(coefficients)
    surrogate = surrogate_of(shown, coefficients)
    figure = plots.response_figure(shown, surrogate, "mine")

    assert len(figure.axes) == panels  # of a map: itself and its scale
    labels = {axes.get_xlabel() for axes in figure.axes}
    assert labels & {"density_1 (outer)", "density_1"}


def test_the_cost_adds_up_and_the_best_never_gets_worse() -> None:
    figure = plots.cost_figure([1.0, 2.0, 0.5], [3.0, 5.0, 4.0], trials(1), "GPU-hours", "mine")

    (axes,) = figure.axes
    dots, best = axes.lines[0], axes.lines[1]
    assert list(dots.get_xdata()) == [1.0, 3.0, 3.5]  # type: ignore[arg-type]
    assert list(best.get_ydata()) == [3.0, 5.0, 5.0]  # type: ignore[arg-type]
    assert axes.get_xlabel() == "GPU-hours"


def many_trials(number: int) -> plots.Trials:
    draw = np.random.default_rng(0)
    density_NC, value_N = draw.uniform(0.5, 1.5, (number, 2)), draw.normal(30, 1, number)
    return plots.Trials(density_NC, value_N, "psnr_db", "maximize", 29.68, (0.8, 0.8))


def of_many(name: str, number: int) -> Figure:
    """Return a picture of so many points; the curves have ten each."""
    shown = many_trials(number)
    if name == "learning_curves":
        values_TE = shown.value_N.reshape(-1, 10)
        curves = {
            str(trial): dict(enumerate(values_E)) for trial, values_E in enumerate(values_TE)
        }
        return plots.learning_figure(curves, "psnr_db", {"0": "best single run"}, "mine")
    if name == "cost":
        return plots.cost_figure([1.0] * number, list(shown.value_N), shown, "GPU-hours", "mine")
    few = many_trials(50)
    coefficients = 2 if name == "response_map" else 3
    few_NC = np.random.default_rng(1).uniform(0.5, 1.5, (50, coefficients))
    surrogate = fit(few_NC, few.value_N, [(0.5, 1.5)] * coefficients, "maximize")
    if coefficients == 3:
        density_NC = np.column_stack([shown.density_NC, shown.density_NC[:, 0]])
        shown = dataclasses.replace(shown, density_NC=density_NC, best=(0.8,) * 3)
    return plots.response_figure(shown, surrogate, "mine")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["learning_curves", "cost", "response_map", "response_curves"])
def test_the_size_of_a_picture_does_not_grow_with_the_trials(name: str) -> None:
    limit = plots.MANY_POINTS

    few, many, more = (
        plots.render(of_many(name, number), "svg") for number in (20, 10_000, 20_000)
    )

    assert b"<image" not in few
    assert b"<image" in many
    # In one element a point, twice as many would take 400 kB and more in addition.
    assert abs(len(more) - len(many)) < 150_000
    assert b"<image" not in plots.render(of_many(name, limit), "svg")


def test_a_curve_of_each_trial_is_drawn_and_two_of_them_stand_out() -> None:
    curves = {str(trial): {1: 20.0 + trial, 2: 21.0 + trial} for trial in range(5)}
    curves["4"] = {1: 24.0}  # pruned
    highlighted = {"3": "best single run", "0": "plain convolution"}

    (axes,) = plots.learning_figure(curves, "psnr_db", highlighted, "mine").axes

    (faint,) = axes.collections
    assert isinstance(faint, LineCollection)
    drawn = [np.asarray(segment).tolist() for segment in faint.get_segments()]
    assert drawn == [[[1, 21], [2, 22]], [[1, 22], [2, 23]], [[1, 24]]]
    assert [(line.get_label(), list(line.get_ydata())) for line in axes.lines] == [  # type: ignore[arg-type]
        ("best single run", [23, 24]),
        ("plain convolution", [20, 21]),
    ]
    low, high = axes.get_ylim()
    assert low < 20
    assert high > 24


def test_on_a_dark_page_the_curves_of_all_trials_can_be_told_from_those_that_stand_out() -> None:
    curves = {str(trial): {1: 20.0, 2: 21.0 + trial} for trial in range(3)}
    figure = plots.learning_figure(curves, "psnr_db", {"2": "best single run"}, "mine")

    (axes,) = in_the_dark(figure).axes

    (faint,) = axes.collections
    assert isinstance(faint, LineCollection)
    assert {to_hex(tuple(rgba)) for rgba in np.asarray(faint.get_colors())} == {"#5c636d"}
    assert to_hex(axes.lines[0].get_color()) == "#5cb8f0"


@pytest.mark.parametrize("sign", [1, -1])
def test_the_legend_of_the_learning_curves_lies_where_they_do_not_end(sign: int) -> None:
    """Scores rise, errors fall; all begin at the lower, or the upper, left."""
    later = dict.fromkeys(range(2, 9), sign * 30.0)
    curves = {str(trial): {1: sign * 3.0 * trial} | later for trial in range(9)}
    figure = plots.learning_figure(curves, "psnr_db", {"8": "plain convolution"}, "mine")
    plots.render(figure, "png")

    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    box = legend.get_window_extent()
    points = axes.transData.transform([(x, y) for c in curves.values() for x, y in c.items()])
    assert not any(box.contains(x, y) for x, y in points)


@pytest.mark.parametrize("curves", [{}, {"0": {}, "1": {}}, {"0": {1: 20.0}, "1": {}}], ids=str)
def test_trials_without_an_epoch_have_no_curve_and_need_none(
    curves: dict[str, dict[int, float]],
) -> None:
    figure = plots.learning_figure(curves, "psnr_db", {"1": "best single run"}, "mine")
    plots.render(figure, "svg")

    (axes,) = figure.axes
    (faint,) = axes.collections
    assert isinstance(faint, LineCollection)
    assert len(faint.get_segments()) == sum(map(bool, curves.values()))
    assert np.size(axes.lines[0].get_ydata()) == 0


def test_a_third_curve_that_is_to_stand_out_is_not_dropped_in_silence() -> None:
    with pytest.raises(ValueError, match="zip"):
        plots.learning_figure({}, "psnr_db", {"0": "a", "1": "b", "2": "c"}, "mine")


def test_every_axis_of_scores_names_the_metric_and_its_unit() -> None:
    curves = {"0": {1: 20.0}, "1": {1: 21.0}, "2": {1: 22.0}}
    learning = plots.learning_figure(curves, "psnr_db", {"1": "best", "0": "plain"}, "mine")
    classifying = plots.learning_figure(curves, "accuracy", {}, "mine")
    cost = plots.cost_figure([1.0], [3.0], trials(1), "GPU-hours", "mine")
    responses = [
        plots.response_figure(trials(number), surrogate_of(trials(number), number), "mine")
        for number in (1, 2)
    ]

    assert [figure.axes[0].get_ylabel() for figure in (learning, cost, responses[0])] == [
        "PSNR, dB, validation set"
    ] * 3
    assert responses[1].axes[1].get_ylabel() == "PSNR, dB, expected on the validation set"
    assert classifying.axes[0].get_ylabel() == "accuracy, validation set"
    assert {"best", "plain", "other trials"} <= set(texts(learning))


def test_the_confusion_shows_counts() -> None:
    shown = texts(plots.confusion_figure(np.array([[8, 2], [1, 9]]), "mine"))

    assert {"8", "2", "1", "9"} <= set(shown)


@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes(form: str) -> None:
    one, again = (
        plots.render(plots.kernel_figure((0.7,), "mine"), form)  # type: ignore[arg-type]
        for _ in range(2)
    )

    assert one == again
    assert b"matplotlib.org" not in one or form == "svg"
    if form == "svg":
        assert ET.fromstring(one).tag.endswith("svg")


def test_files_are_written_whole_and_replaced_only_by_force(tmp_path: Path) -> None:
    old, new = tmp_path / "a" / "old", tmp_path / "a" / "new"
    write_files({old: b"1"}, force=False)

    with pytest.raises(ConfigurationError, match=r"a/old: already exists\. Replace it"):
        write_files({new: b"2", old: b"2"}, force=False)
    assert not new.exists()
    assert old.read_bytes() == b"1"
    write_files({new: b"2", old: b"2"}, force=True)
    assert (new.read_bytes(), old.read_bytes()) == (b"2", b"2")
    assert {path.name for path in old.parent.iterdir()} == {"old", "new"}
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_files({old / "below": b"3"}, force=False)


@pytest.mark.slow
def test_a_real_study_is_exported_with_pictures_and_shown_on_a_page(
    sweep: Sweep, study_file: StudyFile
) -> None:
    path = study_file(budget={"trials": 4}, confirm=None)
    sweep.run("launch", "--cluster", "local", "--study", str(path))
    text = sweep.run("export", "--plots", "pictures")
    first = {path.name: path.read_bytes() for path in (sweep.folder / "pictures/tiny").iterdir()}
    refused = sweep.run("export", "--plots", "pictures", status=2)
    sweep.run("export", "--plots", "pictures", "--force")
    again = {path.name: path.read_bytes() for path in (sweep.folder / "pictures/tiny").iterdir()}

    sweep.run("report", "--html", "report.html")
    page = (sweep.folder / "report.html").read_text("utf-8")

    assert text.startswith("- study: tiny")
    assert first.keys() == {f"{name}.{form}" for name in NAMES for form in ("png", "svg")}
    assert "density.png: already exists" in refused
    assert again == first
    assert page.count('src="data:image/svg+xml;base64,') == len(NAMES)
    assert page.count('src="data:image/png;base64,') in (3, 4)  # 3 where plain is the best
    assert "<dt>test set, noisy input</dt>" in page
    assert "Best observed single run; not confirmed on fresh seeds." in page
    assert "<dd>4 of 4 ended</dd>" in page
