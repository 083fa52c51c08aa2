"""An export says the same in every format, and goes to a file whole or not at all."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.sweep.searching import launched, study_of
from tests.sweep.tiny import run
from wconv_jobs.messages import Broken
from wconv_jobs.spec import SitesSpec
from wconv_kernels import load_density
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.results.export.entries import (
    CLAIM,
    export,
    render,
    selected_density,
    selected_result,
    with_result,
)
from wconv_sweep.results.report.comparison import compare
from wconv_sweep.results.report.notes import notes
from wconv_sweep.slots.stages import add_ablation
from wconv_sweep.slots.table import Lease
from wconv_sweep.storage.open_storage import Storage, choose_url, create_storage
from wconv_sweep.storage.tables import Stage

METRICS = ("psnr_db", "nrmse", "ssim", "fsim", "uiq", "uiq_global")
STATISTICS = {"mean", "sd", "seeds"}
DIFFERENCE = {"mean", "sd", "seeds", "level", "interval", "bootstrap_interval", "verdict"}


def write_study(storage: Storage) -> None:
    """Write a study whose density has 1 to 5 more than plain at five seeds, in each metric."""
    confirm = {"candidates": 1, "seeds": 5}
    config = study_of({"name": "qmc"}, name="with_all", trials=18, epochs=1, confirm=confirm)
    searcher = launched(storage, config)
    add_ablation(storage, config)
    for lease in searcher.leases():
        value = _score(lease, searcher.density_of(lease))
        searcher.slots.report(lease, 1, value, {"psnr_db": value})
        searcher.slots.complete(lease, {f"test_{name}": value for name in METRICS}, {})


def _score(lease: Lease, density: tuple[float, ...]) -> float:
    if lease.stage in (Stage.REFERENCE, Stage.SEARCH):
        return 30 - (density[0] - 0.3) ** 2
    plain = 30.0 + lease.replicate
    return plain if lease.label == "plain" else plain + lease.replicate


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    created = create_storage(choose_url(None, tmp_path_factory.mktemp("exported"), {}))
    write_study(created)
    yield created
    created.close()


def table_of(text: str, title: str) -> list[list[str]]:
    """Return the rows of a Markdown table, its heading left out."""
    body = text.split(f"## {title}\n\n", 1)[1].split("\n\n", 1)[0]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in body.splitlines()[2:]
    ]


def test_every_test_metric_has_all_statistics_with_its_seeds(exported: Storage) -> None:
    (entry,) = export(exported, None)
    confirmation = entry["confirmation"]
    (candidate,) = confirmation["candidates"]
    names = {f"test_{name}" for name in METRICS}

    assert confirmation["seeds"] == {"study_seed": 0, "indices": [1, 2, 3, 4, 5]}
    assert candidate["seed_indices"] == [1, 2, 3, 4, 5]
    assert names <= candidate["metrics"].keys()
    for arm in (candidate, *confirmation["ablation"]):
        for name in names:
            scores = arm["metrics"][name]
            assert scores.keys() == STATISTICS | {"difference"}
            assert scores["difference"].keys() == DIFFERENCE
            assert scores["difference"]["mean"] == 3.0
    # 3 +- t(4) * sqrt(2.5) / sqrt(5), of which the bootstrap knows nothing.
    difference = candidate["metrics"]["test_fsim"]["difference"]
    assert difference["interval"] == pytest.approx([1.0368, 4.9632], abs=1e-4)
    assert 1 < difference["bootstrap_interval"][0] < 3 < difference["bootstrap_interval"][1] < 5
    # Of an error less is better.
    assert difference["verdict"] == "better"
    assert candidate["metrics"]["test_nrmse"]["difference"]["verdict"] == "worse"


def test_the_network_handed_over_has_the_density_that_is_named(exported: Storage) -> None:
    (status,) = with_result(exported, None)
    assert status.result is not None

    run_of = selected_result(status)

    assert run_of is not None
    assert run_of.best.density == selected_density(status, status.result)
    assert (run_of.best.stage, run_of.best.replicate, run_of.best.value) == ("confirm", 1, 32.0)
    assert run_of.plain is not None
    assert (run_of.plain.label, run_of.plain.replicate, run_of.plain.value) == ("plain", 1, 31.0)
    assert status.result.best.density != run_of.best.density


def test_before_a_confirmation_the_network_is_that_of_the_best_run(
    sqlite_storage: Storage,
) -> None:
    searcher = launched(sqlite_storage, study_of({"name": "random"}, name="single", trials=3))
    searcher.train(searcher.lease())
    (status,) = with_result(sqlite_storage, None)
    assert status.result is not None

    assert selected_result(status) == status.result


def test_an_export_says_which_layers_the_density_is_for(sqlite_storage: Storage) -> None:
    config = study_of({"name": "random"}, name="single", trials=3)
    sites = SitesSpec(include=["encoder.*"])
    searcher = launched(sqlite_storage, config.model_copy(update={"sites": sites}))
    searcher.train(searcher.lease())

    (entry,) = export(sqlite_storage, None)
    (again,) = yaml.safe_load(render([entry], "yaml"))

    assert again["sites"] == {"include": ["encoder.*"], "exclude": []}


def after(storage: Storage, completed: set[tuple[str, int]]) -> StudyStatus:
    """Return a study at the moment that these arms of its confirmation have completed."""
    config = study_of({"name": "qmc"}, trials=18, epochs=1, confirm={"candidates": 1, "seeds": 5})
    searcher = launched(storage, config)
    for lease in searcher.leases():
        arm = "plain" if lease.label == "plain" else "density"
        if lease.stage is Stage.CONFIRM and (arm, lease.replicate) not in completed:
            continue
        value = _score(lease, searcher.density_of(lease))
        searcher.slots.report(lease, 1, value, {"psnr_db": value})
        searcher.slots.complete(lease, {"test_psnr_db": value}, {})
    return read_status(storage, "tiny")


@pytest.mark.parametrize(
    ("completed", "best", "plain"),
    [
        ({("density", 2)}, 2, None),
        ({("density", 2), ("density", 3), ("plain", 1), ("plain", 3)}, 3, 3),
        ({("density", 2), ("plain", 1)}, 2, 1),
    ],
    ids=["density alone", "first pair is a later seed", "no pair"],
)
def test_also_before_its_first_pair_the_network_has_the_density_that_is_named(
    sqlite_storage: Storage, completed: set[tuple[str, int]], best: int, plain: int | None
) -> None:
    status = after(sqlite_storage, completed)
    assert status.result is not None

    run_of = selected_result(status)

    assert run_of is not None
    assert run_of.best.density == selected_density(status, status.result)
    assert (run_of.best.stage, run_of.best.replicate) == ("confirm", best)
    assert (run_of.plain and run_of.plain.replicate) == plain


@pytest.mark.parametrize(("optimum", "plain_is_best"), [(0.5, False), (1.0, True)])
def test_beside_the_best_run_of_a_search_stands_plain_convolution_of_its_seed(
    sqlite_storage: Storage, optimum: float, plain_is_best: bool
) -> None:
    config = study_of({"name": "random"}, trials=8, epochs=1, seeds=2)
    searcher = launched(sqlite_storage, config)
    for lease in searcher.leases():
        density = searcher.density_of(lease)
        value = lease.replicate - sum((each - optimum) ** 2 for each in density)
        searcher.slots.report(lease, 1, value, {"psnr_db": value})
        searcher.slots.complete(lease, {"test_psnr_db": value}, {})

    run_of = selected_result(read_status(sqlite_storage, "tiny"))

    assert run_of is not None
    assert run_of.plain is not None
    assert run_of.best.replicate == 1
    assert (run_of.plain.label, run_of.plain.replicate) == ("plain", 1)
    assert (run_of.best is run_of.plain) == plain_is_best


def test_a_report_compares_with_the_search_until_both_networks_have_a_fresh_seed(
    sqlite_storage: Storage,
) -> None:
    status = after(sqlite_storage, {("density", 2)})

    assert status.result is not None
    (compared,) = compare(sqlite_storage, [status])
    first, *_ = notes([compared])

    assert compared.confirmation is None
    assert (compared.result.best.stage, compared.result.best) == ("search", status.result.best)
    assert compared.value("standard", "test_psnr_db") is not None
    assert CLAIM in first


def test_yaml_and_json_say_the_same_and_hold_the_density_for_networks(
    exported: Storage, tmp_path: Path
) -> None:
    entries = export(exported, None)
    as_yaml, as_json = tmp_path / "a.yaml", tmp_path / "a.json"
    as_yaml.write_text(render(entries, "yaml"), "utf-8")
    as_json.write_text(render(entries, "json"), "utf-8")

    assert yaml.safe_load(as_yaml.read_text()) == json.loads(as_json.read_text()) == entries
    assert load_density(as_yaml) == load_density(as_json) == tuple(entries[0]["density"])


def test_csv_has_every_number_in_full_precision(exported: Storage) -> None:
    entries = export(exported, None)
    rows = list(csv.DictReader(io.StringIO(render(entries, "csv"))))
    (selected,) = [row for row in rows if row["selected"] and row["metric"] == "test_ssim"]
    (candidate,) = entries[0]["confirmation"]["candidates"]
    difference = candidate["metrics"]["test_ssim"]["difference"]

    assert selected["seed_indices"] == "1 2 3 4 5"
    assert [float(each) for each in selected["density"].split()] == entries[0]["density"]
    assert float(selected["mean"]) == candidate["metrics"]["test_ssim"]["mean"]
    assert [float(selected[f"interval_{end}"]) for end in ("low", "high")] == difference[
        "interval"
    ]
    assert [float(selected[f"bootstrap_{end}"]) for end in ("low", "high")] == difference[
        "bootstrap_interval"
    ]
    assert {row["stage"] for row in rows} == {"search", "confirm", "ablation"}


def test_markdown_has_the_best_density_and_the_scores_of_its_networks(exported: Storage) -> None:
    text = render(export(exported, None), "md")

    ((study, _, kernel, _, seeds, _, plain, weighted, difference, interval),) = table_of(
        text, "Best densities"
    )
    assert (study, kernel, seeds) == ("with_all", "5x5", "5")
    assert (plain, weighted, difference) == ("33.00 dB", "36.00 dB", "+3.00 dB")
    assert interval == "+1.04 dB to +4.96 dB"
    scores = table_of(text, "with_all: scores of the test set over fresh seeds")
    assert len(scores) == len(METRICS) * 4  # plain, the density, two of the ablation
    assert "* with_all: better than plain convolution on 5 fresh seeds, 95 % interval" in text
    assert "Seed indices of seed 0: 1, 2, 3, 4, 5." in text


def test_latex_has_the_same_cells_escaped(exported: Storage) -> None:
    text = render(export(exported, None), "tex")

    assert r"with\_all & dncnn & 5x5 & " in text
    assert r"97.5 \%" in text
    assert re.search(r"(?<!\\)[_%#$]", text.replace(r"\tabcolsep", "")) is None
    for alignment, body in re.findall(
        r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL
    ):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {row.count("&") + 1 for row in rows} == {len(alignment)}


def test_a_density_that_nobody_has_confirmed_is_told_from_one_that_is(
    sqlite_storage: Storage,
) -> None:
    searcher = launched(sqlite_storage, study_of({"name": "random"}, name="single", trials=3))
    searcher.train(searcher.lease())
    why = Broken(rank=0, error="E", reason="m", where="f:1", traceback="t")
    searcher.slots.break_(searcher.lease(), why)
    entries = export(sqlite_storage, None)

    (row,) = table_of(render(entries, "md"), "Best densities")
    assert row[4] == "1"
    assert row[-1] == "-"
    assert "single: best observed single run; not confirmed on fresh seeds." in render(
        entries, "tex"
    )
    assert {row["stage"] for row in csv.DictReader(io.StringIO(render(entries, "csv")))} == {
        "search"
    }


@pytest.mark.parametrize("form", ["yaml", "json", "csv", "md", "tex"])
def test_the_command_writes_a_file_and_replaces_it_only_by_force(
    exported: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
) -> None:
    path = tmp_path / f"densities.{form}"
    command = ("export", "--storage", exported.optuna_url(), "--format", form)
    _, printed, _ = run(monkeypatch, capsys, *command)

    assert run(monkeypatch, capsys, *command, "--output", str(path)) == (
        0,
        "",
        f"written: {path}\n",
    )
    assert path.read_text("utf-8") == printed
    path.write_text("mine", "utf-8")
    status, output, errors = run(monkeypatch, capsys, *command, "--output", str(path))
    assert (status, output, path.read_text("utf-8")) == (2, "", "mine")
    assert "already exists. Replace it with --force" in errors
    assert run(monkeypatch, capsys, *command, "--output", str(path), "--force")[0] == 0
    assert path.read_text("utf-8") == printed
