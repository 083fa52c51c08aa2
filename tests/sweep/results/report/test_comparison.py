"""The report sets what studies found beside the paper's tables, in numbers chosen here."""

import csv
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from sqlalchemy import update

from tests.jobs.catalog_copy import catalog_copy
from tests.sweep.tiny import TINY
from wconv_sweep.cli import app as cli
from wconv_sweep.errors import StudyError
from wconv_sweep.results.export.entries import CLAIM, export
from wconv_sweep.results.export.entries import render as render_export
from wconv_sweep.results.report.comparison import report
from wconv_sweep.results.report.formats import render
from wconv_sweep.results.report.notes import notes
from wconv_sweep.results.report.tables import tables
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.studies import create_or_extend
from wconv_sweep.slots.table import Lease, SlotTable
from wconv_sweep.storage.open_storage import Storage, choose_url, create_storage, open_storage
from wconv_sweep.storage.tables import SLOTS
from wconv_sweep.storage.url import FILE_NAME
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point
from wconv_sweep.study.problems import problems_of

Metrics = Mapping[str, float]

ON_GPU = {"device": "NVIDIA H100", "torch": "2.13.0"}


class Studies:
    """Writes studies with completed trials into a storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def add(
        self,
        name: str,
        *trials: tuple[tuple[float, ...], Metrics],
        model: str = "dncnn",
        data: str = "div2k",
        options: Mapping[str, Any] | None = None,
        recipe: Mapping[str, Any] | None = None,
        metric: str = "psnr_db",
        spare: int = 0,
        is_smoke: bool = False,
        provenance: Mapping[str, str] | list[Mapping[str, str]] = ON_GPU,
    ) -> None:
        """Add a study of the trials given, plain first, and of some that nobody has begun."""
        size = 2 * len(trials[0][0]) + 1 if trials else 3
        config = StudyConfig.model_validate(
            TINY
            | {
                "study": name,
                "kernel_size": size,
                "model": {"name": model},
                "data": {"name": data, "options": dict(options or {})},
                "recipe": TINY["recipe"] | dict(recipe or {}),
                "objective": {"metric": metric},
                "search": {
                    "bounds": [[0.0, 1.5]] * (size // 2),
                    "sampler": {"name": "random"},
                },
                "budget": {"trials": len(trials) + spare},
                "is_smoke": is_smoke,
            }
        )
        create_or_extend(self.storage, config, RunFolder.of(self.storage.folder, name), "local")
        slots = SlotTable(self.storage, config, lease_s=60)
        for position, (density, metrics) in enumerate(trials):
            lease = slots.lease("node/pilot-0/1")
            assert isinstance(lease, Lease)
            if lease.point is None:
                slots.set_point(lease, Point(density))
            validation = metrics.get(metric, metrics[f"test_{metric}"])
            slots.report(lease, 1, validation, {metric: validation})
            of_trial = provenance[position] if isinstance(provenance, list) else provenance
            slots.complete(lease, metrics, of_trial)


@pytest.fixture(scope="module")
def empty_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create all tables once; that takes longer than a test."""
    folder = tmp_path_factory.mktemp("empty")
    create_storage(choose_url(None, folder, environment={})).close()
    return folder / FILE_NAME


@pytest.fixture
def storage(tmp_path: Path, empty_storage: Path) -> Iterator[Storage]:
    shutil.copy(empty_storage, tmp_path)
    opened = open_storage(choose_url(None, tmp_path, environment={}))
    yield opened
    opened.close()


@pytest.fixture
def studies(storage: Storage) -> Studies:
    return Studies(storage)


PLAIN_3X3 = ((1.0,), {"test_psnr_db": 30.0})
BETTER_3X3 = ((0.75,), {"test_psnr_db": 31.0})


def add_vgg(studies: Studies, name: str = "vgg16_3x3", **changes: Any) -> None:
    studies.add(
        name,
        (
            (1.0,),
            {"accuracy": 0.72, "test_accuracy": 0.73014, "test_macro_f1": 0.72952, "epoch_s": 4.0},
        ),
        ((0.75,), {"accuracy": 0.74, "test_accuracy": 0.7412, "epoch_s": 4.1}),
        **{"model": "vgg16", "data": "cifar100", "metric": "accuracy"} | changes,
    )


def blocks(text: str) -> dict[str, str]:
    """Return the sections of a Markdown report by heading."""
    parts = re.split(r"^## (.*)\n\n", text, flags=re.MULTILINE)
    assert parts[0] == ""
    return {
        heading: body.strip("\n") for heading, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def block(storage: Storage, heading: str) -> str:
    return blocks(render(report(storage, None), "md"))[heading]


def headings(storage: Storage) -> list[str]:
    return [table.title for table in tables(report(storage, None))]


def note_on(storage: Storage, study: str) -> str:
    (note,) = [note for note in notes(report(storage, None)) if note.startswith(f"{study}: ")]
    return note


def csv_rows(storage: Storage) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(report(storage, None), "csv"))))


def test_classification_stands_beside_tables_3_and_4(studies: Studies, storage: Storage) -> None:
    add_vgg(studies, recipe={"preset": "tuned"})

    found = blocks(render(report(storage, None), "md"))

    assert list(found) == [
        "Table 3. Classification, CIFAR-100",
        "Table 4. Classification, CIFAR-100: time per epoch",
        "Notes",
    ]
    assert found["Table 3. Classification, CIFAR-100"] == dedent(
        """\
        | architecture | variant  | accuracy, % | paper |    F1 | paper | density | paper | study     | recipe |
        | ------------ | -------- | ----------: | ----: | ----: | ----: | ------: | ----: | --------- | ------ |
        | VGG          | standard |       73.01 | 56.89 | 0.730 | 0.566 |       1 |       | vgg16_3x3 | tuned  |
        | VGG          | weighted |       74.12 | 66.94 |       |       |    0.75 |  0.75 | vgg16_3x3 | tuned  |"""  # noqa: E501  # the table as it is printed
    )
    assert found["Table 4. Classification, CIFAR-100: time per epoch"] == dedent(
        """\
        | architecture | standard, s |  sd | runs | weighted, s |  sd | runs | overhead, % | 95 % interval | paper: standard | paper: weighted | paper: overhead, % | study     | recipe |
        | ------------ | ----------: | --: | ---: | ----------: | --: | ---: | ----------: | ------------: | --------------: | --------------: | -----------------: | --------- | ------ |
        | VGG          |        4.00 |     |    1 |        4.10 |     |    1 |   not known |               |             378 |             414 |                9.5 | vgg16_3x3 | tuned  |"""  # noqa: E501  # the table as it is printed
    )


def test_denoising_stands_beside_tables_5_and_6(studies: Studies, storage: Storage) -> None:
    scores = {
        "test_nrmse": 0.0312,
        "test_ssim": 0.8765,
        "test_fsim": 0.9512,
        "test_uiq": 0.6,
        "test_uiq_global": 0.9876,
    }
    studies.add(
        "dncnn_5x5",
        ((1.0, 1.0), {"test_psnr_db": 30.0, "epoch_s": 123.4}),
        ((0.25, 0.8751), {"test_psnr_db": 31.006, "epoch_s": 125.9} | scores),
    )

    assert block(storage, "Table 5. Denoising, DIV2K") == dedent(
        """\
        | architecture | kernel | variant  | NRMSE | paper | PSNR, dB | paper |  SSIM | paper |  FSIM | paper |   UIQ | paper |       density |      paper | study     | recipe |
        | ------------ | ------ | -------- | ----: | ----: | -------: | ----: | ----: | ----: | ----: | ----: | ----: | ----: | ------------: | ---------: | --------- | ------ |
        | DnCNN        | 5x5    | standard |       | 0.266 |    30.00 | 12.15 |       | 0.402 |       | 0.768 |       | 0.813 |        (1, 1) |            | dncnn_5x5 | own    |
        | DnCNN        | 5x5    | weighted | 0.031 |       |    31.01 |       | 0.876 |       | 0.951 |       | 0.988 |       | (0.25, 0.875) | (0.1, 0.9) | dncnn_5x5 | own    |"""  # noqa: E501  # the table as it is printed
    )
    assert block(storage, "Table 6. Denoising, DIV2K: time per epoch") == dedent(
        """\
        | architecture | kernel | standard, s |  sd | runs | weighted, s |  sd | runs | overhead, % | 95 % interval | paper: standard | paper: weighted | paper: overhead, % | study     | recipe |
        | ------------ | ------ | ----------: | --: | ---: | ----------: | --: | ---: | ----------: | ------------: | --------------: | --------------: | -----------------: | --------- | ------ |
        | DnCNN        | 5x5    |         123 |     |    1 |         126 |     |    1 |   not known |               |            9.48 |            9.76 |                3.0 | dncnn_5x5 | own    |"""  # noqa: E501  # the table as it is printed
    )


def test_studies_without_a_row_in_the_paper_get_tables_without_its_values(
    studies: Studies, storage: Storage
) -> None:
    studies.add("dncnn_7x7", ((1.0,) * 3, {"test_psnr_db": 30.0, "epoch_s": 1.5}))
    studies.add("bundled", PLAIN_3X3, BETTER_3X3, data="photographs")
    add_vgg(studies, "textured", model="tiny", data="textures")

    assert headings(storage) == [
        "Other studies: classification",
        "Other studies: classification, time per epoch",
        "Other studies: denoising",
        "Other studies: denoising, time per epoch",
    ]
    assert block(storage, "Other studies: denoising") == dedent(
        """\
        | architecture | data        | kernel | variant  | NRMSE | PSNR, dB | SSIM | FSIM | UIQ |   density | study     | recipe |
        | ------------ | ----------- | ------ | -------- | ----: | -------: | ---: | ---: | --: | --------: | --------- | ------ |
        | dncnn        | photographs | 3x3    | standard |       |    30.00 |      |      |     |         1 | bundled   | own    |
        | dncnn        | photographs | 3x3    | weighted |       |    31.00 |      |      |     |      0.75 | bundled   | own    |
        | dncnn        | div2k       | 7x7    | standard |       |    30.00 |      |      |     | (1, 1, 1) | dncnn_7x7 | own    |
        | dncnn        | div2k       | 7x7    | weighted |       |    30.00 |      |      |     | (1, 1, 1) | dncnn_7x7 | own    |"""  # noqa: E501  # the table as it is printed
    )
    assert "paper" not in render(report(storage, None), "md").split("## Notes")[0]


def test_two_recipes_of_one_row_have_a_pair_of_rows_each_in_the_papers_order(
    studies: Studies, storage: Storage
) -> None:
    for name, model, preset in (
        ("nafnet_3x3", "nafnet", "tuned"),
        ("dncnn_3x3_paper", "dncnn", "paper"),
        ("dncnn_3x3", "dncnn", "tuned"),
    ):
        studies.add(name, PLAIN_3X3, BETTER_3X3, model=model, recipe={"preset": preset})

    scores, times = tables(report(storage, None))

    assert [row[-2:] for row in scores.rows] == [
        ("dncnn_3x3", "tuned"),
        ("dncnn_3x3", "tuned"),
        ("dncnn_3x3_paper", "paper"),
        ("dncnn_3x3_paper", "paper"),
        ("nafnet_3x3", "tuned"),
        ("nafnet_3x3", "tuned"),
    ]
    assert [row[-2] for row in times.rows] == ["dncnn_3x3", "dncnn_3x3_paper", "nafnet_3x3"]


def test_a_smoke_run_never_stands_beside_published_values(
    studies: Studies, storage: Storage
) -> None:
    studies.add("dncnn_3x3_smoke", PLAIN_3X3, BETTER_3X3, is_smoke=True)
    studies.add("generated", PLAIN_3X3, BETTER_3X3, options={"verify": False})
    studies.add("verified", PLAIN_3X3, BETTER_3X3, options={"verify": True})

    scores, _, others = tables(report(storage, None))

    assert (scores.title, {row[-2] for row in scores.rows}) == (
        "Table 5. Denoising, DIV2K",
        {"verified"},
    )
    assert (others.title, {row[-2] for row in others.rows}) == (
        "Other studies: denoising",
        {"dncnn_3x3_smoke", "generated"},
    )
    found = {name: note_on(storage, name) for name in ("dncnn_3x3_smoke", "generated", "verified")}
    assert {name for name, note in found.items() if "Smoke run" in note} == {"dncnn_3x3_smoke"}
    assert {name for name, note in found.items() if "not verified" in note} == {"generated"}
    assert {row["published"] for row in csv_rows(storage) if row["study"] != "verified"} == {""}


@pytest.mark.slow
def test_the_notes_say_that_a_best_density_is_one_run_of_one_seed(
    studies: Studies, storage: Storage
) -> None:
    add_vgg(studies)

    first = notes(report(storage, None))[0]

    assert first.startswith(f"weighted: {CLAIM}. It is one run of one seed")


def test_uiq_is_explained_where_it_is_shown(studies: Studies, storage: Storage) -> None:
    add_vgg(studies)
    before = notes(report(storage, None))
    studies.add("dncnn_3x3", PLAIN_3X3)
    after = notes(report(storage, None))

    assert [note for note in before if note.startswith("UIQ")] == []
    assert [note for note in after if note.startswith("UIQ: the index of the whole image")]


@pytest.mark.parametrize(
    ("psnr_db", "sentence"),
    [
        (20.3, "The standard network returns its input: its PSNR is 20.30 dB, that of the noisy "),
        (20.0, "The standard network returns its input: its PSNR is 20.00 dB, that of the noisy "),
        (19.0, "The standard network is worse than its input: its PSNR is 19.00 dB, that of the "),
        (20.5, ""),
    ],
)
def test_a_baseline_that_does_not_denoise_is_called_so(
    studies: Studies, storage: Storage, psnr_db: float, sentence: str
) -> None:
    studies.add(
        "dncnn_3x3",
        ((1.0,), {"test_psnr_db": psnr_db, "input_psnr_db": 20.17}),
        ((0.75,), {"test_psnr_db": 28.0, "input_psnr_db": 20.17}),
    )

    note = note_on(storage, "dncnn_3x3")

    assert sentence in note
    assert ("its input" in note) is bool(sentence)


def test_a_study_whose_best_is_plain_says_so_and_has_no_overhead(
    studies: Studies, storage: Storage
) -> None:
    studies.add(
        "dncnn_3x3",
        ((1.0,), {"test_psnr_db": 31.0, "epoch_s": 2.0}),
        ((0.75,), {"test_psnr_db": 30.0, "epoch_s": 2.1}),
    )

    scores, times = tables(report(storage, None))

    assert "both rows show the standard network" in note_on(storage, "dncnn_3x3")
    assert [row[5] for row in scores.rows] == ["31.00", "31.00"]
    assert times.rows[0][2:10] == ("2.00", "", "1", "", "", "", "not known", "")


def test_a_study_without_its_baseline_has_a_blank_standard_row(
    studies: Studies, storage: Storage
) -> None:
    studies.add("dncnn_3x3", PLAIN_3X3, BETTER_3X3)
    with storage.write() as connection:
        connection.execute(update(SLOTS).where(SLOTS.c.label == "plain").values(state="failed"))

    scores, times = tables(report(storage, None))

    standard, weighted = scores.rows
    assert standard[3:] == (
        *("", "0.112", "", "20.17", "", "0.735", "", "0.921", "", "0.925", "", ""),
        *("dncnn_3x3", "own"),
    )
    assert weighted[5] == "31.00"
    assert times.rows[0][2:10] == ("",) * 6 + ("not known", "")
    assert note_on(storage, "dncnn_3x3").startswith(
        "dncnn_3x3: 1 of 2 trials complete, 1 failed. The standard network has not completed."
    )


def test_times_of_different_devices_are_not_compared(studies: Studies, storage: Storage) -> None:
    on_cpu = {"device": "cpu", "torch": "2.13.0", "host": "node1", "steady_epochs": "4"}
    studies.add(
        "dncnn_3x3",
        ((1.0,), {"test_psnr_db": 30.0, "epoch_s": 2.0}),
        ((0.75,), {"test_psnr_db": 31.0, "epoch_s": 3.0}),
        provenance=[on_cpu, on_cpu | {"device": "H100"}],
    )

    (comparison,) = report(storage, None)
    note = note_on(storage, "dncnn_3x3")

    assert comparison.times.overhead_percent is None
    assert (
        "Standard: measured on cpu, torch 2.13.0. Weighted: measured on H100, torch 2.13.0. "
        "Overhead of the weighted network: not known (0 pairs of runs under equal conditions, and "
        "it takes 3). The runs differ in device." in note
    )


def test_times_that_an_earlier_version_measured_give_no_overhead(
    studies: Studies, storage: Storage
) -> None:
    """It trained plain convolution with a density of ones, and timed the start-up, too."""
    add_vgg(studies)

    note = note_on(storage, "vgg16_3x3")

    assert "Overhead of the weighted network: not known (0 pairs of runs" in note
    assert (
        "In no pair: 2 of the runs, which changed hosts, or have no time of whole epochs" in note
    )


def test_a_note_on_each_study_has_what_its_numbers_depend_on(
    studies: Studies, storage: Storage
) -> None:
    ending = {"stopped_epoch": 100.0, "best_epoch": 87.0, "lr": 0.0}
    studies.add(
        "dncnn_3x3",
        ((1.0,), {"test_psnr_db": 30.0} | ending),
        ((0.75,), {"test_psnr_db": 31.0} | ending | {"stopped_epoch": 60.0, "lr": 3.45e-4}),
        ((0.8,), {"test_psnr_db": 30.5} | ending),
        spare=2,
        options={"noise_sigma": 25, "folder": "/home/me/data", "cache_folder": "/home/me"},
        recipe={"preset": "paper"},
    )

    note = note_on(storage, "dncnn_3x3")

    assert note.startswith("dncnn_3x3: 3 of 5 trials complete. ")
    assert "At the density of the paper, 0.8: PSNR 30.50 dB. " in note
    assert (
        "Standard: trained 100 epochs, tested the weights of epoch 87, learning rate at the end "
        "0. Weighted: trained 60 epochs, tested the weights of epoch 87, learning rate at the end "
        "0.000345. Measured on NVIDIA H100, torch 2.13.0. Data: noise_sigma=25. "
        "Recipe: preset=paper, optimizer.name=adam, optimizer.lr=0.003, "
    ) in note
    assert note.endswith("Seed: 0.")
    assert "/home/me" not in note


def test_what_is_equal_of_both_trials_is_said_once(studies: Studies, storage: Storage) -> None:
    ending = {"stopped_epoch": 100.0, "lr": 0.0}
    studies.add(
        "dncnn_3x3", *[(point, scores | ending) for point, scores in (PLAIN_3X3, BETTER_3X3)]
    )

    note = note_on(storage, "dncnn_3x3")

    assert " Trained 100 epochs, learning rate at the end 0. Measured on" in note


def test_latex_is_balanced_and_escaped_with_equally_many_cells_in_each_row(
    studies: Studies, storage: Storage
) -> None:
    add_vgg(studies)
    studies.add(
        "dncnn_3x3_paper",
        PLAIN_3X3,
        BETTER_3X3,
        options={"pattern": r"50% of_{a}&b #1 $2 ~ ^ \alpha <|>"},
    )

    text = render(report(storage, None), "tex")

    opened: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{([a-z]+\*?)\}", text):
        if what == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    for alignment, body in re.findall(
        r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.S
    ):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) >= 2
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(alignment)}
    assert r"dncnn\_3x3\_paper" in text
    assert (
        r"pattern=50\% of\_\{a\}\&b \#1 \$2 \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{}alpha \textless{}\textbar{}\textgreater{}"
    ) in text
    plain = re.sub(r"\\begin\{tabular\}.*?\\end\{tabular\}", "", text, flags=re.S)
    assert re.findall(r"(?<!\\)[&#_%$~^]", plain) == []


def test_latex_has_the_cells_of_markdown(studies: Studies, storage: Storage) -> None:
    add_vgg(studies)

    text = render(report(storage, None), "tex")

    assert r"  \caption{Table 3. Classification, CIFAR-100}" in text
    assert r"architecture & variant & accuracy, \% & paper & F1 & paper & density & paper" in text
    assert (
        r"    VGG & standard & 73.01 & 56.89 & 0.730 & 0.566 & 1 &  & vgg16\_3x3 & own \\" in text
    )


def test_csv_has_every_metric_in_full_precision_with_the_published_value(
    studies: Studies, storage: Storage
) -> None:
    studies.add(
        "dncnn_5x5",
        ((1.0, 1.0), {"test_psnr_db": 30.123456789, "test_uiq": 0.3, "epoch_s": 2.0}),
        ((0.2, 0.9), {"test_psnr_db": 31.0, "test_uiq_global": 0.9, "epoch_s": 2.5}),
        recipe={"preset": "paper"},
    )

    rows = csv_rows(storage)

    assert rows[0] == {
        "table": "5",
        "study": "dncnn_5x5",
        "recipe": "paper",
        "architecture": "dncnn",
        "kernel_size": "5",
        "variant": "standard",
        "density": "1.0 1.0",
        "metric": "psnr_db",
        "unit": "dB",
        "value": "30.123456789",
        "published": "",
        "verdict": "",
    }
    found = {
        (row["variant"], row["metric"]): tuple(
            row[name] for name in ("table", "unit", "value", "published")
        )
        for row in rows
    }
    assert len(found) == len(rows)
    assert found == {
        ("standard", "epoch_s"): ("6", "s", "2.0", ""),
        ("standard", "psnr_db"): ("5", "dB", "30.123456789", ""),
        ("standard", "test_fsim"): ("5", "", "", "0.768"),
        ("standard", "test_nrmse"): ("5", "", "", "0.266"),
        ("standard", "test_psnr_db"): ("5", "dB", "30.123456789", "12.15"),
        ("standard", "test_ssim"): ("5", "", "", "0.402"),
        ("standard", "test_uiq"): ("5", "", "0.3", ""),
        ("standard", "test_uiq_global"): ("5", "", "", "0.813"),
        ("standard", "density_1"): ("5", "", "1.0", ""),
        ("standard", "density_2"): ("5", "", "1.0", ""),
        ("weighted", "epoch_s"): ("6", "s", "2.5", ""),
        ("weighted", "psnr_db"): ("5", "dB", "31.0", ""),
        ("weighted", "test_psnr_db"): ("5", "dB", "31.0", ""),
        ("weighted", "test_uiq_global"): ("5", "", "0.9", ""),
        ("weighted", "density_1"): ("5", "", "0.2", "0.1"),
        ("weighted", "density_2"): ("5", "", "0.9", "0.9"),
        ("standard", "epoch_time"): ("6", "unknown", "", "9.48"),
        ("weighted", "epoch_time"): ("6", "unknown", "", "9.76"),
        ("standard", "epoch_s_sd"): ("6", "s", "", ""),
        ("standard", "epoch_s_runs"): ("6", "", "1", ""),
        ("weighted", "epoch_s_sd"): ("6", "s", "", ""),
        ("weighted", "epoch_s_runs"): ("6", "", "1", ""),
        ("weighted", "overhead"): ("6", "%", "", repr(100 * (9.76 / 9.48 - 1))),
        ("weighted", "overhead_low"): ("6", "%", "", ""),
        ("weighted", "overhead_high"): ("6", "%", "", ""),
        ("weighted", "overhead_pairs"): ("6", "", "0", ""),
    }
    assert {row["metric"]: row["verdict"] for row in rows if row["verdict"]} == {
        "overhead": "not known"
    }


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    with catalog_copy(tmp_path) as copied:
        yield copied


def test_a_new_metric_is_one_file(package: Path, studies: Studies, storage: Storage) -> None:
    # What would fail when it ran shows that nothing of the module runs.
    (package / "metrics" / "hue_deg.py").write_text(
        'TITLE = "hue error"\nUNIT = "degrees"\nKIND = "denoising"\nGOAL = "minimize"\n'
        "EVERY_EPOCH = True\nraise SystemExit\n"
    )
    plain, better = {"test_hue_deg": 12.5}, {"test_hue_deg": 7.25}
    studies.add("colors", ((1.0,), plain), ((0.75,), better), metric="hue_deg", data="photographs")

    assert problems_of(report(storage, "colors")[0].config) == []
    assert {
        (row["metric"], row["value"], row["unit"])
        for row in csv_rows(storage)
        if row["variant"] == "weighted" and "hue" in row["metric"]
    } == {("hue_deg", "7.25", "degrees"), ("test_hue_deg", "7.25", "degrees")}
    (exported,) = export(storage, "colors")
    assert exported["density"] == [0.75]  # the lower error
    assert "| hue error on the test set | 12.50 degrees | 7.25 degrees | -5.25 degrees |" in (
        render_export([exported], "md")
    )


def test_the_report_is_the_same_each_time_and_one_study_can_be_asked_for(
    studies: Studies, storage: Storage
) -> None:
    add_vgg(studies)
    studies.add("dncnn_3x3", PLAIN_3X3, BETTER_3X3)

    assert render(report(storage, None), "md") == render(report(storage, None), "md")
    assert [each.config.study for each in report(storage, "dncnn_3x3")] == ["dncnn_3x3"]


def test_studies_that_have_not_completed_a_trial_are_left_out(
    studies: Studies, storage: Storage
) -> None:
    studies.add("waiting", spare=2)
    studies.add("dncnn_3x3", PLAIN_3X3)

    assert [each.config.study for each in report(storage, None)] == ["dncnn_3x3"]


def test_a_report_without_a_result_says_so(studies: Studies, storage: Storage) -> None:
    studies.add("waiting", spare=2)

    with pytest.raises(
        StudyError, match=r"study waiting: no trial has completed yet, so there is"
    ):
        report(storage, "waiting")
    with pytest.raises(StudyError, match=r"sweep\.db: no trial has completed yet, so there is no"):
        report(storage, None)
    with pytest.raises(StudyError, match=r"--study other: .* holds no such study"):
        report(storage, "other")


@pytest.mark.slow
def test_the_report_loads_neither_torch_nor_optuna() -> None:
    code = (
        "import sys, wconv_sweep.results.report.formats\n"
        "print(sorted({'torch', 'optuna', 'submitit'} & sys.modules.keys()))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert ended.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "first_line"),
    [
        ([], "## Table 5. Denoising, DIV2K"),
        (["--study", "dncnn_3x3", "--format", "tex"], r"\begin{table*}"),
        (["--format", "csv"], "table,study,recipe,architecture,kernel_size,variant,density,"),
    ],
)
@pytest.mark.slow
def test_the_command_prints_the_report(
    studies: Studies,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    first_line: str,
) -> None:
    studies.add("dncnn_3x3", PLAIN_3X3, BETTER_3X3)
    named = ["--storage", storage.optuna_url(), *arguments]

    monkeypatch.setattr(sys, "argv", ["wconv-sweep", "report", *named])
    with pytest.raises(SystemExit) as exit_:
        cli.main()

    output, errors = capsys.readouterr()
    assert (exit_.value.code, errors) == (0, "")
    assert output.startswith(first_line)
    assert output.endswith("\n")
    assert not output.endswith("\n\n")


def test_the_command_without_a_result_prints_one_line_and_ends_with_status_2(
    studies: Studies,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    studies.add("waiting", spare=2)

    monkeypatch.setattr(sys, "argv", ["wconv-sweep", "report", "--storage", storage.optuna_url()])
    with pytest.raises(SystemExit) as exit_:
        cli.main()

    output, errors = capsys.readouterr()
    assert (exit_.value.code, output) == (2, "")
    assert errors.startswith("wconv-sweep: sqlite:///")
    assert "nothing to report" in errors
    assert errors.count("\n") == 1
