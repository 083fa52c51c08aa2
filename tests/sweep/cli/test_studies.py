"""`studies` and `data`: what is known before a study is launched."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.tiny import TINY, StudyFile, run
from wconv_jobs import catalog
from wconv_jobs.catalog import generate_data
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.resources import shipped

Monkey = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]


def test_all_shipped_studies_are_listed(monkeypatch: Monkey, capsys: Capture) -> None:
    status, output, errors = run(monkeypatch, capsys, "studies", "list")

    lines = {line.split()[0]: line.split()[1:] for line in output.splitlines()[1:]}
    assert (status, errors) == (0, "")
    assert lines.keys() == set(shipped("wconv_studies"))
    assert lines["dncnn_5x5"] == ["dncnn", "5x5", "div2k", "tuned", "77"]
    assert lines["quickstart"] == ["dncnn", "3x3", "photographs", "own", "15"]


def test_the_list_can_be_read_by_a_script(monkeypatch: Monkey, capsys: Capture) -> None:
    _, output, _ = run(monkeypatch, capsys, "studies", "list", "--json")

    assert {config["study"] for config in json.loads(output)} == set(shipped("wconv_studies"))


def test_a_study_is_shown_with_its_costs(
    monkeypatch: Monkey, capsys: Capture, sqlite_storage: Storage
) -> None:
    where = ("--storage", sqlite_storage.name)
    status, output, _ = run(monkeypatch, capsys, "studies", "show", "dncnn_5x5", *where)

    shown = dict(line.split(":", 1) for line in output.splitlines())
    assert status == 0
    assert shown["sites"].strip() == "17 of 5x5; all convolutions: 17 5x5"
    assert "1,548,547, of which the density multiplies 99.8 %" in shown["parameters"]
    assert "25.32 G for a sample of 3 x 128 x 128, 100.0 % of them in sites" in shown["MACs"]
    assert "folder=$WCONV_SWEEP_DATA" in shown["data"]
    assert "tuned: adam, lr 0.001, cosine, batch size 16, 100 epochs" in shown["recipe"]
    assert "plain (1, 1), paper (0.1, 0.9)" in shown["reference densities"]
    assert "77 trials on 4 rank(s) each" in shown["budget"]
    assert "per GPU" in shown["memory"]
    # The storage holds no trials; `tests/sweep/evidence/test_expected_cost.py` has some.
    measure = "wconv-sweep launch --cluster CLUSTER --study dncnn_5x5 --max-gpu-hours 1"
    assert shown["cost"].strip().startswith("not known")
    assert f"`{measure}` measures it" in shown["cost"]


def test_a_study_whose_trials_share_a_gpu_is_shown_with_the_memory_of_all_of_them(
    monkeypatch: Monkey, capsys: Capture
) -> None:
    def shown(*settings: str) -> dict[str, Any]:
        options = [f"--set={setting}" for setting in settings]
        _, output, _ = run(
            monkeypatch, capsys, "studies", "show", "quickstart", *options, "--json"
        )
        return dict(json.loads(output))

    alone, shared = shown(), shown("per_gpu=4")
    _, text, _ = run(monkeypatch, capsys, "studies", "show", "quickstart", "--set=per_gpu=4")

    assert shared["memory_bytes"] == 4 * alone["memory_bytes"]
    assert "15 trials on 1 rank(s) each, 4 of them on each GPU" in text


def test_a_space_is_shown_with_its_size_and_costed_at_its_ends(
    monkeypatch: Monkey, capsys: Capture, study_file: StudyFile, empty_folder: Path
) -> None:
    also = {
        "recipe.optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True},
        "model.options.width": {"low": 2, "high": 8, "integer": True},
        "recipe.batch_size": {"choices": [4, 8, 16]},
    }
    path = str(study_file(search=TINY["search"] | {"also": also}, budget={"trials": 9}))

    _, output, _ = run(monkeypatch, capsys, "studies", "show", path)
    _, as_json, _ = run(monkeypatch, capsys, "studies", "show", path, "--json")
    _, checked, _ = run(monkeypatch, capsys, "studies", "check", path)
    dry_run = ("launch", "--cluster", "local", "--study", path, "--dry-run")
    _, planned, _ = run(monkeypatch, capsys, *dry_run)
    _, planned_json, _ = run(monkeypatch, capsys, *dry_run, "--json")

    shown, plan = (
        dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        for text in (output, planned)
    )
    for each in (shown, plan):
        assert "(1 range x 21 combinations); 4 proposals for each side" in each["searched with it"]
        assert each["cheapest trials"].strip().startswith("width 2, batch_size 4: 151 parameters,")
        assert each["dearest trials"].strip().startswith("width 8, batch_size 16: 1,027 param")
    assert "per GPU" in shown["dearest trials"]
    found = json.loads(as_json)["cost_range"]
    assert found == json.loads(planned_json)["cost_range"]
    assert found["dearest"]["settings"] == {"model.options.width": 8, "recipe.batch_size": 16}
    assert found["cheapest"]["operations"] < 1 < found["dearest"]["operations"]
    # A check of the memory is one of what the dearest trials need.
    most = found["dearest"]["memory_bytes"]
    assert most > json.loads(as_json)["memory_bytes"]
    assert checked.splitlines()[-1].endswith(f"{most / 2**20:.0f} MiB")


def test_a_study_is_shown_with_settings_and_for_scripts(
    monkeypatch: Monkey, capsys: Capture
) -> None:
    _, output, _ = run(
        monkeypatch, capsys, "studies", "show", "resnet56_3x3", "--set", "batch_size=64", "--json"
    )

    facts = json.loads(output)
    assert facts["config"]["recipe"]["batch_size"] == 64
    assert facts["network"]["parameters"] == 858_868
    assert facts["network"]["sites"] == 55
    assert facts["sample_shape"] == [3, 32, 32]


@pytest.mark.slow
def test_all_shipped_studies_are_right(monkeypatch: Monkey, capsys: Capture) -> None:
    status, output, errors = run(monkeypatch, capsys, "studies", "check")

    assert (status, errors) == (0, "")
    assert {line.split()[0] for line in output.splitlines()[1:]} == set(shipped("wconv_studies"))


def test_a_network_without_sites_or_for_other_samples_is_found_before_the_launch(
    monkeypatch: Monkey, capsys: Capture, study_file: StudyFile, empty_folder: Path
) -> None:
    without_sites = study_file(
        model={"name": "gmlp", "options": {"stem": "2x2"}},
        data={"name": "cifar100", "options": {"folder": "/data"}},
        objective={"metric": "accuracy"},
    )

    status, output, errors = run(
        monkeypatch, capsys, "studies", "check", str(without_sites), "quickstart"
    )

    assert status == 2
    assert "quickstart" in output
    assert "wconv-sweep: study tiny: model: the density for kernel size 3 finds no" in errors


def test_every_problem_of_every_study_is_named(
    monkeypatch: Monkey, capsys: Capture, study_file: StudyFile
) -> None:
    status, _, errors = run(
        monkeypatch, capsys, "studies", "check", str(study_file(seed=-1)), "nosuch"
    )

    assert status == 2
    assert len(errors.splitlines()) == 2


def test_data_that_need_no_files_are_always_ready(monkeypatch: Monkey, capsys: Capture) -> None:
    for verb, word in (("check", "OK"), ("prepare", "ready")):
        status, output, _ = run(monkeypatch, capsys, "data", verb, "--study", "quickstart")

        assert (status, output) == (0, f"photographs: {word}\n")


def test_data_are_checked_prepared_and_ready(
    monkeypatch: Monkey, capsys: Capture, empty_folder: Path
) -> None:
    generate_data("div2k", empty_folder)
    monkeypatch.setenv("WCONV_SWEEP_DATA", str(empty_folder))
    part = ["--set=data.options.verify=false", "--set=data.options.validation_images=2"]
    part.append("--set=data.options.crop_px=64")
    command = ["--study", "dncnn_3x3", *part]

    before = run(monkeypatch, capsys, "data", "check", *command)
    prepared = run(monkeypatch, capsys, "data", "prepare", *command)
    again = run(monkeypatch, capsys, "data", "prepare", *command)
    after = run(monkeypatch, capsys, "data", "check", *command)

    assert before[0] == 2
    assert "the data have not been prepared. Run `wconv-sweep data prepare" in before[2]
    assert prepared == again == (0, "div2k: ready\n", "")
    assert after == (0, "div2k: OK\n", "")
    assert (empty_folder / "prepared").is_dir()


@pytest.mark.parametrize("verb", ["check", "prepare"])
def test_images_that_need_no_preparation_are_looked_at_all_the_same(
    monkeypatch: Monkey, capsys: Capture, study_file: StudyFile, empty_folder: Path, verb: str
) -> None:
    options = {"folder": str(empty_folder / "nothing here")}
    path = study_file(data={"name": "image_folder", "options": options})

    status, output, errors = run(monkeypatch, capsys, "data", verb, "--study", str(path))

    assert (status, output) == (2, "")
    assert "cannot list this folder of images" in errors


def test_every_file_that_cannot_be_prepared_gets_a_line_with_the_study(
    monkeypatch: Monkey, capsys: Capture, empty_folder: Path
) -> None:
    generate_data("div2k", empty_folder)
    monkeypatch.setenv("WCONV_SWEEP_DATA", str(empty_folder))
    for name in ("0001.png", "0002.png"):
        (empty_folder / "DIV2K_train_HR" / name).write_bytes(b"no picture")

    status, _, errors = run(
        monkeypatch,
        capsys,
        *("data", "prepare", "--study", "dncnn_3x3", "--set", "data.options.verify=false"),
    )

    lines = errors.splitlines()
    assert (status, len(lines)) == (2, 2)
    assert all(line.startswith("wconv-sweep: study dncnn_3x3: data: ") for line in lines)


def test_synthetic_data_that_the_disk_has_no_room_for_are_named(
    monkeypatch: Monkey, capsys: Capture, empty_folder: Path
) -> None:
    def full(name: str, folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(catalog, "generate_data", full)

    status, _, errors = run(
        monkeypatch, capsys, "launch", "--cluster", "local", "--study", "dncnn_3x3", "--smoke"
    )

    folder = empty_folder / "wconv_runs" / "smoke_data" / "div2k"
    assert status == 2
    assert f"{folder}: cannot be written (No space left on device)" in errors


@pytest.mark.parametrize("verb", ["check", "prepare"])
def test_data_that_are_not_there_are_named_with_the_remedy(
    monkeypatch: Monkey, capsys: Capture, empty_folder: Path, verb: str
) -> None:
    monkeypatch.setenv("WCONV_SWEEP_DATA", str(empty_folder))

    status, _, errors = run(monkeypatch, capsys, "data", verb, "--study", "resnet56_3x3")

    assert status == 2
    assert errors.startswith("wconv-sweep: study resnet56_3x3: data: ")
    assert "cifar-100-python" in errors
    assert list(empty_folder.iterdir()) == []


def test_launching_without_the_data_gets_one_line_and_writes_nothing(
    monkeypatch: Monkey, capsys: Capture, empty_folder: Path
) -> None:
    monkeypatch.delenv("WCONV_SWEEP_DATA", raising=False)
    launch = ["launch", "--cluster", "local", "--study", "dncnn_3x3"]

    unset = run(monkeypatch, capsys, *launch)
    monkeypatch.setenv("WCONV_SWEEP_DATA", str(empty_folder))
    empty = run(monkeypatch, capsys, *launch)

    assert (unset[0], empty[0]) == (2, 2)
    assert "but WCONV_SWEEP_DATA is not set" in unset[2]
    assert "DIV2K_train_HR" in empty[2]
    assert list(empty_folder.iterdir()) == []


def test_a_smoke_run_shows_its_plan_and_writes_nothing(
    monkeypatch: Monkey, capsys: Capture, empty_folder: Path
) -> None:
    launch = ["launch", "--cluster", "local", "--study", "dncnn_3x3", "--smoke", "--dry-run"]

    status, output, _ = run(monkeypatch, capsys, *launch)

    assert status == 0
    assert "dncnn_3x3_smoke" in output
    assert "8 trials of 2 epochs" in output
    assert list(empty_folder.iterdir()) == []


def test_a_wrong_setting_of_a_launch_gets_status_2(
    monkeypatch: Monkey, capsys: Capture, empty_folder: Path
) -> None:
    launch = ["launch", "--cluster", "local", "--study", "quickstart", "--set", "epoch=1"]

    status, _, errors = run(monkeypatch, capsys, *launch)

    assert (status, errors) == (
        2,
        "wconv-sweep: --set epoch=1: there is no key 'epoch'. Did you mean 'epochs'?\n",
    )
    assert list(empty_folder.iterdir()) == []


@pytest.mark.slow
def test_listing_studies_does_not_load_torch() -> None:
    code = (
        "import sys\n"
        "from wconv_sweep.cli import app as cli\n"
        "sys.argv = ['wconv-sweep', 'studies', 'list']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
