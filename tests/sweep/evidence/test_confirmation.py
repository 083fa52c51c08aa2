"""What a confirmation lets a study say, in numbers chosen here."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.sweep.searching import Searcher, launched, study_of
from wconv_jobs.messages import Broken
from wconv_sweep.cli import console
from wconv_sweep.cli.views.confirmation import confirmation_line, confirmation_table
from wconv_sweep.cli.views.status import status_json
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.results.export.entries import CLAIM, export
from wconv_sweep.results.report.comparison import report
from wconv_sweep.results.report.notes import notes
from wconv_sweep.results.report.tables import tables
from wconv_sweep.slots.leases import Lease
from wconv_sweep.slots.stages import add_ablation
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import Stage
from wconv_sweep.study.config import StudyConfig

UP_TO_5 = (1.0, 2.0, 3.0, 4.0, 5.0)
"""Differences over five seeds: 3 +- 2.776 * sqrt(2.5) / sqrt(5), which is 3 +- 1.963."""
DIVERGED = Broken(
    rank=0,
    error="TrainingDiverged",
    reason="loss is nan",
    where="a:1",
    traceback="",
    final=True,
)


def work(searcher: Searcher, differences: Sequence[float], metric: str = "psnr_db") -> None:
    """Train all slots; replicate r of plain has 30 + r, of others as much more as given."""

    def score(lease: Lease, density: tuple[float, ...]) -> float:
        if lease.stage in (Stage.REFERENCE, Stage.SEARCH):
            return 30 - (density[0] - 0.8) ** 2
        plain = 30.0 + lease.replicate
        if lease.label == "plain":
            return plain
        more = differences[lease.replicate - 1]
        return plain + (more / 2 if lease.stage is Stage.ABLATION else more)

    for lease in searcher.leases():
        density = searcher.density_of(lease)
        value = score(lease, density)
        searcher.slots.report(lease, 1, value, {metric: value})
        searcher.slots.complete(lease, {f"test_{metric}": value, "test_ssim": value / 100}, {})


def one_confirmed(*, trials: int = 20, seeds: int = 5, **more: Any) -> StudyConfig:
    """A study whose best density is confirmed."""
    confirm = {"candidates": 1, "seeds": seeds}
    return study_of(
        {"name": "qmc"}, trials=trials, epochs=1, bounds=[[0.5, 1.5]], confirm=confirm, **more
    )


def confirmed(
    storage: Storage, differences: Sequence[float] = UP_TO_5, *, ablate: bool = False, **more: Any
) -> Searcher:
    config = one_confirmed(**more)
    searcher = launched(storage, config)
    if ablate:
        add_ablation(storage, config)
    work(searcher, differences)
    return searcher


def test_better_than_plain_is_claimed_where_the_interval_leaves_out_zero(
    sqlite_storage: Storage,
) -> None:
    confirmed(sqlite_storage)

    (entry,) = export(sqlite_storage, "tiny")

    assert entry["claim"] == (
        "better than plain convolution on 5 fresh seeds, 95 % interval excludes zero"
    )
    assert entry["density"] == entry["confirmation"]["candidates"][0]["density"]
    assert entry["density"] == pytest.approx([0.8], abs=0.02)
    assert entry["seeds"] == 5
    scores = entry["confirmation"]["candidates"][0]["metrics"]["test_psnr_db"]
    assert (scores["mean"], scores["seeds"]) == (36.0, 5)
    difference = scores["difference"]
    assert (difference["mean"], difference["seeds"], difference["verdict"]) == (3.0, 5, "better")
    assert difference["interval"] == pytest.approx([3 - 1.963, 3 + 1.963], abs=1e-3)
    assert entry["confirmation"]["seeds"] == {"study_seed": 0, "indices": [1, 2, 3, 4, 5]}
    assert entry["confirmation"]["plain"]["metrics"]["test_psnr_db"]["mean"] == 33.0


def test_nothing_is_claimed_where_it_does_not(sqlite_storage: Storage) -> None:
    """Differences -1, 2, 3, 4, 2: 2 +- 2.776 * 1.871 / sqrt(5), from -0.32 to 4.32."""
    confirmed(sqlite_storage, (-1.0, 2.0, 3.0, 4.0, 2.0))

    (entry,) = export(sqlite_storage, "tiny")

    assert entry["claim"] == (
        "no difference to plain convolution shown on 5 fresh seeds, 95 % interval includes zero"
    )
    difference = entry["confirmation"]["candidates"][0]["metrics"]["test_psnr_db"]["difference"]
    assert difference["interval"] == pytest.approx([2 - 2.323, 2 + 2.323], abs=1e-2)


def test_worse_is_said_as_plainly(sqlite_storage: Storage) -> None:
    confirmed(sqlite_storage, [-value for value in UP_TO_5])

    (entry,) = export(sqlite_storage, "tiny")

    assert entry["claim"].startswith("worse than plain convolution on 5 fresh seeds")


def test_a_density_that_diverges_does_not_hide_it(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, one_confirmed())
    while isinstance(lease := searcher.slots.lease("node/pilot-0/1"), Lease):
        if lease.stage is Stage.CONFIRM and lease.label != "plain" and lease.replicate == 5:
            searcher.slots.break_(lease, DIVERGED)
            continue
        score = 31.0 + lease.replicate / 8 if lease.label != "plain" else 30.0
        searcher.density_of(lease)
        searcher.slots.report(lease, 1, score, {"psnr_db": score})
        searcher.slots.complete(lease, {"test_psnr_db": score}, {})

    (entry,) = export(sqlite_storage, "tiny")

    assert entry["claim"].startswith("better than plain convolution on 4 fresh seeds")
    assert entry["claim"].endswith("; 1 of its runs failed")


def test_differences_that_are_all_equal_show_nothing(sqlite_storage: Storage) -> None:
    confirmed(sqlite_storage, (1.0,) * 5)

    (entry,) = export(sqlite_storage, "tiny")

    assert entry["claim"] == (
        "no difference to plain convolution shown on 5 fresh seeds, which all differ by the same: "
        "more seeds, or a larger test set, may tell"
    )


def test_a_score_that_counts_samples_is_known_to_one_sample_at_best(
    sqlite_storage: Storage,
) -> None:
    """Of 2 test samples, one more of them right makes 0.5: differences 0.5, 1.0 and 1.5 have an
    sd of 0.5 and are known to sqrt(0.5^2 + 0.5^2 / 6); t(0.975; 2) is 4.3027."""
    searcher = launched(sqlite_storage, one_confirmed(trials=12, seeds=3))
    for lease in searcher.leases():
        density = searcher.density_of(lease)
        value = 30.0 + (0 if lease.label == "plain" else lease.replicate / 2)
        if lease.stage is not Stage.CONFIRM:
            value = 30 - (density[0] - 0.8) ** 2
        searcher.slots.report(lease, 1, value, {"psnr_db": value})
        metrics = {"test_psnr_db": value, "test_accuracy": value, "test_samples": 2}
        searcher.slots.complete(lease, metrics, {})
    found = read_status(sqlite_storage, "tiny").confirmation
    assert found is not None

    of_counts = found.difference(found.candidates[0], "test_accuracy")
    of_others = found.difference(found.candidates[0], "test_psnr_db")

    assert of_counts is not None
    assert of_others is not None
    half = 4.3027 * 0.5 / 3**0.5
    assert of_others.interval == pytest.approx((1 - half, 1 + half), abs=1e-3)
    half *= (1 + 1 / 6) ** 0.5
    assert of_counts.interval == pytest.approx((1 - half, 1 + half), abs=1e-3)


@pytest.mark.parametrize("arm", ["plain", "best expected"])
def test_where_too_few_fresh_seeds_completed_it_is_not_said_to_be_under_way(
    sqlite_storage: Storage, arm: str
) -> None:
    searcher = launched(sqlite_storage, one_confirmed(trials=12, seeds=3))
    lines = []
    while isinstance(lease := searcher.slots.lease("node/pilot-0/1"), Lease):
        if lease.stage is Stage.CONFIRM:
            lines.append(text_of(read_status(sqlite_storage, "tiny")))
        if lease.stage is Stage.CONFIRM and lease.label == arm and lease.replicate > 1:
            searcher.slots.break_(lease, DIVERGED)
            continue
        score = 30.0 - (searcher.density_of(lease)[0] - 0.8) ** 2
        searcher.slots.report(lease, 1, score, {"psnr_db": score})
        searcher.slots.complete(lease, {"test_psnr_db": score}, {})
    lines.append(text_of(read_status(sqlite_storage, "tiny")))

    assert set(lines[:-1]) == {"confirmation on fresh seeds under way; nothing is shown yet"}
    assert lines[-1] == (
        "nothing is shown: plain convolution and the density share fewer than 3 completed fresh "
        "seeds"
    )


def text_of(status: StudyStatus) -> str:
    assert status.confirmation is not None
    return confirmation_line(status.confirmation)


def test_every_metric_is_compared_on_the_same_networks(sqlite_storage: Storage) -> None:
    confirmed(sqlite_storage)

    (entry,) = export(sqlite_storage, "tiny")
    metrics = entry["confirmation"]["candidates"][0]["metrics"]

    assert metrics.keys() == {"psnr_db", "test_psnr_db", "test_ssim"}
    assert metrics["test_ssim"]["difference"]["mean"] == pytest.approx(0.03)
    assert metrics["test_ssim"]["difference"]["verdict"] == "better"


def test_the_surrogates_noise_stands_beside_that_of_the_baseline(sqlite_storage: Storage) -> None:
    """Plain convolution has 29.96 in the search and 31 to 35 on the fresh seeds."""
    confirmed(sqlite_storage)

    (entry,) = export(sqlite_storage, "tiny")

    assert entry["surrogate"]["trials"] == 10
    assert entry["surrogate"]["noise_sd"] < 0.01
    assert entry["surrogate"]["baseline_seeds"] == 6
    assert entry["surrogate"]["baseline_sd"] == pytest.approx(1.8816, abs=1e-4)


def test_before_the_confirmation_the_best_is_one_run(sqlite_storage: Storage) -> None:
    config = study_of({"name": "qmc"}, trials=6, epochs=1, bounds=[[0.5, 1.5]])
    work(launched(sqlite_storage, config), UP_TO_5)

    (entry,) = export(sqlite_storage, "tiny")

    assert (entry["claim"], entry["confirmation"], entry["seeds"]) == (CLAIM, None, 1)


def test_the_terminal_shows_each_density_with_its_interval(
    sqlite_storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    confirmed(sqlite_storage, ablate=True)
    confirmation = read_status(sqlite_storage, "tiny").confirmation
    assert confirmation is not None

    console.console().print(confirmation_table(confirmation))

    table = capsys.readouterr().out
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in table.splitlines()
        if line.startswith("│")
    ]
    assert rows[0] == ["plain convolution", "(1)", "5", "33.00 dB", "1.58 dB", "-", "-"]
    assert rows[1][0] == "best expected *"
    assert rows[1][2:] == ["5", "36.00 dB", "3.16 dB", "+3.00 dB", "+1.04 dB to +4.96 dB (95 %)"]
    assert [row[0] for row in rows[2:]] == ["initial weights alone", "gradient alone"]
    # Two ablations beside one candidate: 1.5 +- 3.495 * sqrt(2.5) / 2 / sqrt(5) at 97.5 %.
    assert [row[5:] for row in rows[2:]] == [["+1.50 dB", "+0.26 dB to +2.74 dB (97.5 %)"]] * 2
    assert "% interval" not in table
    assert "+3.00 dB (+1.04 dB to +4.96 dB): better than" in confirmation_line(confirmation)


def test_one_level_of_all_intervals_stands_above_them(
    sqlite_storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    confirmed(sqlite_storage)
    confirmation = read_status(sqlite_storage, "tiny").confirmation
    assert confirmation is not None

    console.console().print(confirmation_table(confirmation))

    table = capsys.readouterr().out
    assert "95 % interval" in table
    assert "+1.04 dB to +4.96 dB │" in table


def test_status_has_the_confirmation_for_scripts(sqlite_storage: Storage) -> None:
    confirmed(sqlite_storage)

    plain = status_json(read_status(sqlite_storage, "tiny"))

    assert plain["confirmation"]["complete"]
    assert plain["confirmation"]["metric"] == "test_psnr_db"


def test_a_report_shows_means_over_the_fresh_seeds(sqlite_storage: Storage) -> None:
    confirmed(sqlite_storage)

    compared = report(sqlite_storage, None)
    table = tables(compared)[0]
    texts = notes(compared)

    psnr = [column.heading for column in table.columns].index("PSNR, dB")
    assert [row[psnr] for row in table.rows] == ["33.00", "36.00"]
    assert texts[0].startswith("Confirmed studies show means over fresh seeds")
    assert "Confirmed at seed indices 1, 2, 3, 4, 5 of seed 0: better than plain" in texts[-1]
    assert "+3.00 dB against plain, 95 % interval +1.04 dB to +4.96 dB" in texts[-1]


def test_what_pruning_saved_is_told(sqlite_storage: Storage) -> None:
    """Median of the completed trials; of the pruned one two of four epochs were spared."""
    pruner = {"name": "median", "startup_trials": 1, "warmup_epochs": 1}
    config = study_of({"name": "qmc"}, trials=3, epochs=4, bounds=[[0.5, 1.5]], pruner=pruner)
    searcher = launched(sqlite_storage, config)
    values = iter([30.0] * 5 + [31.0] * 5 + [1.0] * 2)  # five calls of a trial of four epochs
    for _ in range(3):
        searcher.train(searcher.lease(), lambda *_: next(values))

    (entry,) = export(sqlite_storage, "tiny")

    assert entry["pruning"] == {"epochs": 10, "epochs_without": 12, "saved": 2}
