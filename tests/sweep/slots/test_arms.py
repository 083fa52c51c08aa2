"""A search of more than the density: plain and weighted convolution, each at its own best."""

import io
import json
import math
import random
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import select

from tests.sweep.searching import Searcher, launched, study_of
from tests.sweep.slots.test_table import optuna_trials
from wconv_sweep.cli.views.confirmation import confirmation_line, confirmation_table
from wconv_sweep.cli.views.status import status_json, status_view
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.candidates import EXPECTED, OBSERVED, OF_PLAIN
from wconv_sweep.evidence.confirmation import NOT_TUNED
from wconv_sweep.evidence.overview import read_overviews
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.results.export.entries import export, render
from wconv_sweep.results.export.figures import figures_of
from wconv_sweep.results.html import pictures
from wconv_sweep.results.html.study import study_section
from wconv_sweep.results.report.comparison import report
from wconv_sweep.results.report.formats import render as report_text
from wconv_sweep.slots.stages import add_ablation
from wconv_sweep.slots.warm_start import warm_densities
from wconv_sweep.storage.open_storage import Storage, create_storage
from wconv_sweep.storage.tables import SLOTS, Stage
from wconv_sweep.storage.url import choose_url
from wconv_sweep.study.config import PLAIN, StudyConfig, config_of
from wconv_sweep.study.point import Point, SearchArm

LR, NORM = "recipe.optimizer.lr", "model.options.norm"
ALSO: dict[str, Any] = {
    LR: {"low": 1e-4, "high": 0.1, "log": True},
    NORM: {"choices": ["none", "batch"]},
}


def tuned(sampler: dict[str, Any] | None = None, **changes: Any) -> StudyConfig:
    """Return a study of the density, a learning rate and a choice."""
    arguments: dict[str, Any] = {
        "trials": 2 + 24 + 12,
        "bounds": [[0.5, 1.5]],
        "reference_densities": {"paper": [0.9]},
        "confirm": {"candidates": 2, "seeds": 3},
        "also": ALSO,
    }
    return study_of(sampler or {"name": "qmc"}, **(arguments | changes))


def score(point: Point, seed: int) -> float:
    """Return a score whose learning rate matters most; plain convolution is best at 0.01."""
    settings = dict(point.settings)
    (density,) = point.density
    rate = math.log10(float(settings[LR])) + 2 + (1 - density)
    noise = random.Random(f"{seed} {point}").gauss(0, 0.02)
    return 30 - rate**2 - 0.5 * (density - 0.8) ** 2 + 1.0 * (settings[NORM] == "batch") + noise


def work(storage: Storage, searcher: Searcher) -> StudyStatus:
    """Train all that is left."""
    for lease in searcher.leases():
        searcher.density_of(lease)
        (row,) = [row for row in read_status(storage, "tiny").trials if row.trial == lease.trial]
        assert row.point is not None
        value = score(row.point, lease.replicate)
        for epoch in (1, 2):
            searcher.report(lease, epoch, value)
        searcher.slots.complete(lease, {"test_psnr_db": value}, {})
    return read_status(storage, "tiny")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    folder = tmp_path_factory.mktemp("arms")
    with closing(create_storage(choose_url(None, folder, environment={}))) as made:
        yield made


@pytest.fixture(scope="module")
def ended(storage: Storage) -> StudyStatus:
    return work(storage, launched(storage, tuned()))


def test_both_arms_get_equal_numbers_and_plain_is_plain(ended: StudyStatus) -> None:
    proposed = [row for row in ended.trials if row.stage == Stage.SEARCH]

    assert Counter(row.arm for row in proposed) == {SearchArm.PLAIN: 12, SearchArm.WEIGHTED: 12}
    assert {row.density for row in proposed if row.arm is SearchArm.PLAIN} == {(1.0,)}
    assert len({row.density for row in proposed if row.arm is SearchArm.WEIGHTED}) == 12
    assert len({row.settings for row in proposed if row.arm is SearchArm.PLAIN}) == 12
    own = ((LR, 0.003), (NORM, "none"))
    assert [row.settings for row in ended.trials[:2]] == [own, own]


def test_the_confirmation_compares_the_best_of_each_arm(ended: StudyStatus) -> None:
    confirmation = ended.confirmation
    assert confirmation is not None
    plain, (expected, observed) = confirmation.plains[0], confirmation.candidates

    assert (expected.label, observed.label) == (EXPECTED, OBSERVED)
    assert plain.density == (1.0,)
    for arm in (plain, expected):
        settings = dict(arm.settings)
        # Each at the learning rate that suits it.
        best = 10 ** (-2 - (1 - arm.density[0]))
        assert math.log10(float(settings[LR]) / best) == pytest.approx(0, abs=0.6)
        assert settings[NORM] == "batch"
    assert {frozenset(arm.runs) for arm in (plain, expected, observed)} == {frozenset({1, 2, 3})}
    result = ended.result
    assert result is not None
    assert result.plain is not None
    arms = [row for row in ended.trials if row.arm is SearchArm.PLAIN]
    assert result.plain.value == max(row.value or 0.0 for row in arms)


def test_each_side_has_its_candidates_and_the_claim_compares_the_selected_ones(
    ended: StudyStatus, storage: Storage
) -> None:
    confirmation = ended.confirmation
    assert confirmation is not None
    assert confirmation.selected is not None
    expected, observed = confirmation.plains
    validation = [statistics.fmean(arm.values("psnr_db").values()) for arm in (expected, observed)]
    difference = confirmation.difference(confirmation.selected, confirmation.metric)

    assert [arm.label for arm in (expected, observed)] == [PLAIN, f"{OF_PLAIN}{OBSERVED}"]
    assert (expected.density, observed.density) == ((1.0,), (1.0,))
    assert expected.settings != observed.settings
    best = expected if validation[0] > validation[1] else observed
    assert confirmation.plain is best
    assert difference is not None
    # Any of both candidates of either side may be selected: 4 pairs, whose intervals all hold.
    assert difference.level == 1 - 0.05 / 4
    ours, theirs = (each.values("test_psnr_db") for each in (confirmation.selected, best))
    assert difference.by_seed == tuple(ours[seed] - theirs[seed] for seed in (1, 2, 3))
    console = Console(file=io.StringIO(), width=200, record=True)
    console.print(confirmation_table(confirmation))
    (entry,) = export(storage, "tiny")
    (further,) = entry["confirmation"]["plain_candidates"]
    assert {further["label"], entry["confirmation"]["plain"]["label"]} == {
        PLAIN,
        f"{OF_PLAIN}{OBSERVED}",
    }
    for text in (console.export_text(), render([entry], "md")):
        assert "plain convolution, best observed" in text
    assert ",confirm,plain, best observed," not in render([entry], "csv")  # one cell
    assert ',confirm,"plain, best observed",' in render([entry], "csv")


def test_a_study_of_an_earlier_version_confirms_one_candidate_of_plain_convolution(
    sqlite_storage: Storage,
) -> None:
    config = tuned(trials=2 + 8 + 12)
    searcher = launched(sqlite_storage, config)
    confirm = SLOTS.c.stage == Stage.CONFIRM
    with sqlite_storage.write() as connection:
        positions = select(SLOTS.c.position).where(confirm).order_by(SLOTS.c.position.desc())
        surplus = list(connection.scalars(positions.limit(3)))
        connection.execute(SLOTS.delete().where(SLOTS.c.position.in_(surplus)))

    confirmation = work(sqlite_storage, searcher).confirmation

    assert confirmation is not None
    assert [arm.label for arm in confirmation.plains] == [PLAIN]
    assert {arm.label for arm in confirmation.candidates} <= {EXPECTED, OBSERVED}
    assert all({1, 2, 3} <= arm.runs.keys() for arm in confirmation.candidates)
    difference = confirmation.difference(confirmation.candidates[0], confirmation.metric)
    assert difference is not None
    assert difference.level == 1 - 0.05 / len(confirmation.candidates)


def test_the_dashboard_and_status_tell_the_arms_apart(
    ended: StudyStatus, storage: Storage
) -> None:
    trials = optuna_trials(storage)
    rows = {row.trial: row for row in ended.trials}

    assert [trial.user_attrs.get("arm") for trial in trials] == [
        None if rows[trial.number].arm is None else str(rows[trial.number].arm) for trial in trials
    ]
    for trial in trials:
        point = rows[trial.number].point
        assert point is not None
        assert trial.params == {"density_1": point.density[0], **dict(point.settings)}
    shown = status_json(ended)
    assert json.dumps(shown)


def test_the_terminal_and_the_table_of_trials_name_the_arm(
    ended: StudyStatus, storage: Storage, sqlite_storage: Storage
) -> None:
    searcher = launched(sqlite_storage, tuned())
    searcher.train(searcher.lease(), lambda density, epoch: 30.0)  # plain, before all others
    for lane in range(3):
        searcher = Searcher(sqlite_storage, tuned(), f"node/pilot-0/{lane}")
        searcher.density_of(searcher.lease())
    (running,) = read_overviews(sqlite_storage, "tiny")
    console = Console(file=io.StringIO(), width=120, record=True)

    console.print(status_view(running))
    lines = console.export_text().splitlines()
    heading = next(number for number, line in enumerate(lines) if line.startswith("trial"))

    assert [line.split()[:2] for line in lines[heading : heading + 4]] == [
        ["trial", "arm"],
        ["1", "paper,"],
        ["2", "plain"],
        ["3", "weighted"],
    ]
    assert "paper, weighted" in lines[heading + 1]
    cells = [row[2] for row in study_section(storage, ended).trials.rows]
    assert cells[:2] == ["plain", "paper, weighted"]
    assert set(cells[2:26]) == {"plain", "weighted"}


def test_the_export_and_the_page_show_both_arms_in_pictures(
    ended: StudyStatus, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Drawn once: in the file of these figures.
    monkeypatch.setattr(pictures, "render", lambda figure, form: b"")

    shown = [picture.name for picture in pictures.pictures_of(storage, ended)]

    # There are too few trials for the importance.
    assert shown == ["density", "response", "parallel", "learning_curves", "cost"]


def test_the_export_has_the_settings_of_both(ended: StudyStatus, storage: Storage) -> None:
    (entry,) = export(storage, "tiny")

    confirmation = ended.confirmation
    assert confirmation is not None
    assert confirmation.selected is not None
    assert Point(tuple(entry["density"]), tuple(entry["settings"].items())) == (
        confirmation.selected.point
    )
    plain = entry["confirmation"]["plain"]
    assert plain["settings"] == dict(confirmation.plain.settings)
    assert set(entry["surrogate"]["settings"]) == set(ALSO)
    lines = render([entry], "csv").splitlines()
    assert f"{LR}={plain['settings'][LR]} {NORM}=batch" in next(
        line for line in lines if ",confirm,plain," in line
    )
    assert ", norm batch" in render([entry], "md")


@pytest.mark.parametrize(
    "sampler",
    [
        {"name": "tpe", "startup_trials": 3},
        {"name": "qmc"},
        {"name": "cmaes"},
        {"name": "direct-l"},
    ],
    ids=lambda sampler: sampler["name"],
)
def test_a_new_agent_proposes_what_the_one_before_would_have(
    sqlite_storage: Storage, sampler: dict[str, Any]
) -> None:
    numbers = {LR: ALSO[LR], "model.options.width": {"low": 2, "high": 16, "integer": True}}
    also = numbers if sampler["name"] in ("cmaes", "direct-l") else ALSO
    config = tuned(sampler, trials=2 + 10, confirm=None, also=also)
    proposed = []
    for name in ("one", "two"):
        searcher = launched(sqlite_storage, config.model_copy(update={"study": name}))
        points = []
        for lease in searcher.leases():
            asked = searcher if name == "one" else Searcher(sqlite_storage, searcher.config)
            asked.density_of(lease)
            rows = read_status(sqlite_storage, name).trials
            point = next(row.point for row in rows if row.trial == lease.trial)
            assert point is not None
            points.append(point)
            value = point.density[0] - math.log10(float(dict(point.settings)[LR]))
            asked.report(lease, 1, value)
            asked.slots.complete(lease, {"test_psnr_db": value}, {})
        proposed.append(points)

    assert proposed[0] == proposed[1]
    for arm in (slice(0, None, 2), slice(1, None, 2)):
        assert len(set(proposed[0][arm])) == 6


def test_what_knows_the_density_alone_refuses_such_a_study(
    ended: StudyStatus, storage: Storage
) -> None:
    warm = study_of({"name": "random"}, name="warm", bounds=[[0.5, 1.5]], warm_start=["tiny"])

    with pytest.raises(StudyError, match="which searched more than the density"):
        warm_densities(storage.url, warm)


def test_a_reference_that_is_plain_convolution_helps_its_side_and_is_no_candidate(
    sqlite_storage: Storage,
) -> None:
    good = {"density": [1.0], LR: 0.01, NORM: "batch"}
    found = {"density": [0.8], LR: 1e-3, NORM: "batch"}
    config = tuned(
        trials=3 + 8 + 12,
        reference_densities={"good": good, "found": found},
        confirm={"candidates": 3, "seeds": 2},
    )
    confirmation = work(sqlite_storage, launched(sqlite_storage, config)).confirmation

    assert confirmation is not None
    assert dict(confirmation.plain.settings)[NORM] == "batch"
    assert {arm.label for arm in confirmation.candidates} <= {EXPECTED, OBSERVED, "found"}
    points = config.reference_points()
    rows = [row for row in read_status(sqlite_storage, "tiny").trials if row.label == "good"]
    assert [(row.point, row.arm) for row in rows] == [(points["good"], SearchArm.PLAIN)]


def test_where_plain_convolution_is_not_tuned_no_gain_is_claimed(sqlite_storage: Storage) -> None:
    config = tuned(trials=2 + 7 + 9, arms="weighted")
    searcher = launched(sqlite_storage, config)
    begun = read_status(sqlite_storage, "tiny")
    status = work(sqlite_storage, searcher)
    confirmation, result = status.confirmation, status.result

    assert config_of(config.plain()) == config
    assert config.digest() != tuned(trials=2 + 7 + 9).digest()
    proposed = [row for row in status.trials if row.stage == Stage.SEARCH]
    assert len({row.point for row in proposed}) == 7
    assert {row.arm for row in begun.trials} | {row.arm for row in status.trials} == {None}
    assert confirmation is not None
    assert result is not None
    assert confirmation.plain.point == config.reference_points()["plain"]
    assert confirmation.claim == NOT_TUNED
    assert confirmation.difference(confirmation.candidates[0], confirmation.metric) is None
    assert (result.difference, result.test_difference("psnr_db")) == (None, None)
    (entry,) = export(sqlite_storage, "tiny")
    assert (entry["claim"], *entry["difference"].values()) == (NOT_TUNED, None, None)
    texts = [
        json.dumps(status_json(status)),
        confirmation_line(confirmation),
        "\n".join(map(str, status_view(status).renderables)),
        report_text(report(sqlite_storage, "tiny"), "md"),
        *(render([entry], form) for form in ("yaml", "csv", "md")),
    ]
    assert not any(word in text for text in texts for word in ("better", "worse", "no difference"))
    assert sum(NOT_TUNED in text or NOT_TUNED.capitalize() in text for text in texts) >= 5
    # There is no other side to show beside it.
    assert set(figures_of(sqlite_storage, status)) == {"density", "learning_curves", "cost"}
    with pytest.raises(StudyError, match="none is claimed where plain convolution was not tuned"):
        add_ablation(sqlite_storage, config)


def test_an_ablation_takes_the_settings_of_the_confirmed_point(
    ended: StudyStatus, storage: Storage
) -> None:
    add_ablation(storage, ended.config)
    status = work(storage, Searcher(storage, ended.config))

    assert status.confirmation is not None
    assert status.confirmation.selected is not None
    selected = status.confirmation.selected.point
    assert {arm.point for arm in status.confirmation.ablations} == {selected}
