"""The unit that a study gives its own metric stands wherever units of known metrics do."""

import re

import pytest
from rich.console import Console

from tests.sweep.evidence.test_confirmation import UP_TO_5, one_confirmed, work
from tests.sweep.searching import launched
from wconv_sweep.amounts import amount, axis_title
from wconv_sweep.cli.console import print_result
from wconv_sweep.cli.views.status import status_view
from wconv_sweep.evidence.overview import read_overview
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.results.export.entries import export, render
from wconv_sweep.results.export.figures import figures_of
from wconv_sweep.results.html.scores import headline_table
from wconv_sweep.results.report import formats
from wconv_sweep.results.report.comparison import report
from wconv_sweep.slots.occasions import occasion_of
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.config import ObjectiveSpec, StudyConfig
from wconv_sweep.study.trainer import TrainerSpec


def test_values_of_an_own_metric_have_its_unit_and_four_decimals() -> None:
    assert amount("error", 1.5, "mm") == "1.5000 mm"
    assert amount("test_error", -0.25, "mm", signed=True) == "-0.2500 mm"
    assert amount("error", 1.5) == "1.5000"
    assert amount("psnr_db", 30.0, "mm") == "30.00 dB"
    assert axis_title("error", "mm") == "error, mm"


@pytest.mark.parametrize("confirmed", [True, False])
def test_every_view_of_a_study_shows_the_unit_of_its_own_metric(
    sqlite_storage: Storage, confirmed: bool
) -> None:
    config = _own(one_confirmed(), confirmed)
    work(launched(sqlite_storage, config), UP_TO_5, "error")
    status = read_status(sqlite_storage, "tiny")
    entries = export(sqlite_storage, "tiny")
    comparisons = report(sqlite_storage, "tiny")

    views = {
        "status": _printed(status_view(read_overview(sqlite_storage, "tiny"))),
        "end": _ending(status),
        "table": render(entries, "md"),
        "tex": render(entries, "tex"),
        **(
            {"notification": str(occasion_of(status))}
            if status.confirmation is None  # its claim has no values
            else {"page": str(headline_table(status.confirmation))}
        ),
    }
    for name, text in views.items():
        assert re.search(r"\d\.\d{4} mm\b", text), (name, text)
    assert entries[0]["objective"] == {"metric": "error", "direction": "minimize", "unit": "mm"}
    assert "error (test), mm" in formats.render(comparisons, "md")


def test_every_axis_of_an_own_metric_has_its_unit(sqlite_storage: Storage) -> None:
    work(launched(sqlite_storage, _own(one_confirmed(), False)), UP_TO_5, "error")

    figures = figures_of(sqlite_storage, read_status(sqlite_storage, "tiny"))

    for name in ("learning_curves", "cost", "response"):
        assert figures[name].axes[0].get_ylabel() == "error, mm, validation set"


def _own(config: StudyConfig, confirmed: bool) -> StudyConfig:
    objective = ObjectiveSpec(metric="error", goal="minimize", unit="mm")
    changed = {
        "trainer": TrainerSpec(program="train.py", reports=1),
        "objective": objective,
        **({} if confirmed else {"confirm": None}),
    }
    return config.model_copy(update=changed)


def _printed(what: object) -> str:
    out = Console(width=200)
    with out.capture() as captured:
        out.print(what)
    return captured.get()


def _ending(status: StudyStatus) -> str:
    out = Console(width=200)
    with out.capture() as captured:
        print_result(out, status, [])
    return captured.get()
