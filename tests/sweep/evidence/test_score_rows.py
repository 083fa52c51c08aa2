"""The rows of a confirmation read the same in every table, also after they were plain data."""

import csv
import io
import json
import re

import pytest

from tests.sweep.evidence.test_confirmation import confirmed
from wconv_sweep.evidence.confirmation import Confirmation
from wconv_sweep.evidence.findings import confirmation_json, score_row
from wconv_sweep.evidence.score_rows import cell, score_rows
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.results.export.entries import export, render
from wconv_sweep.results.html.scores import headline_table
from wconv_sweep.results.text_tables import markdown_table
from wconv_sweep.storage.open_storage import Storage


@pytest.fixture
def confirmation(sqlite_storage: Storage) -> Confirmation:
    confirmed(sqlite_storage, ablate=True)
    found = read_status(sqlite_storage, "tiny").confirmation
    assert found is not None
    return found


@pytest.mark.parametrize("bootstrap", [True, False])
def test_rows_are_the_same_after_they_were_written_as_plain_data(
    confirmation: Confirmation, bootstrap: bool
) -> None:
    written = json.loads(json.dumps(confirmation_json(confirmation, bootstrap=bootstrap)))
    arms = (confirmation.plain, *confirmation.candidates, *confirmation.ablations)
    networks = (written["plain"], *written["candidates"], *written["ablation"])
    metrics = confirmation.metrics()

    rows = score_rows(confirmation, metrics, arms, bootstrap=bootstrap)
    read = [score_row(network, metric) for metric in metrics for network in networks]

    assert read == rows
    assert [row.is_selected for row in rows[:4]] == [False, True, False, False]
    of_selected = rows[1].difference
    assert of_selected is not None
    assert (of_selected.bootstrap is not None) == bootstrap


def test_a_score_that_no_run_has_yet_is_a_row_without_numbers(confirmation: Confirmation) -> None:
    (row,) = score_rows(confirmation, ["test_nrmse"], [confirmation.candidates[0]])

    assert (row.seeds, row.mean, row.sd, row.difference) == (0, None, None, None)
    assert [cell(row, "seeds"), cell(row, "mean"), cell(row, "level")] == ["0", "-", "-"]
    assert cell(row, "level", without_difference="") == ""


def test_all_tables_call_networks_and_scores_the_same(
    sqlite_storage: Storage, confirmation: Confirmation
) -> None:
    entries = export(sqlite_storage, "tiny")
    page, text = (
        re.sub(" +", " ", table)
        for table in (markdown_table(headline_table(confirmation)), render(entries, "md"))
    )
    lines = list(csv.DictReader(io.StringIO(render(entries, "csv"))))

    assert "| best expected * | (" in page
    assert "| PSNR | best expected (selected) |" in text
    assert {line["label"] for line in lines if line["selected"] == "yes"} == {"best expected"}
    for table in (page, text):
        assert "| plain convolution | " in table
        assert "| +3.00 dB | 95 % | +1.04 dB to +4.96 dB | " in table
    for name in ("initial weights alone", "gradient alone"):
        assert f"| PSNR | {name} | " in text
