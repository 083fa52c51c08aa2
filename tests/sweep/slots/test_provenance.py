"""A study knows what its trials come from, and mixes in nothing else."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.sweep.scenarios.test_local_sweep import assert_all_gone
from tests.sweep.slots.test_table import LEASE_S, leased, train
from tests.sweep.tiny import TINY, StudyFile, Sweep, run
from wconv_jobs import catalog
from wconv_jobs.errors import JobError
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.evidence.trial_cost import costs_the_same
from wconv_sweep.launching import plan as planning
from wconv_sweep.launching import start as launching
from wconv_sweep.launching import submission
from wconv_sweep.launching.local_pilots import LocalPilots
from wconv_sweep.results.export.entries import export
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import provenance, studies
from wconv_sweep.slots.provenance import (
    code_sha256,
    differences,
    git_state,
    host_and_job,
    provenance_of,
)
from wconv_sweep.slots.table import Lease, NoSlot, SlotTable
from wconv_sweep.storage.open_storage import Storage, choose_url, open_storage
from wconv_sweep.storage.tables import ATTEMPTS, STUDIES, StudyState
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.files import load_study

ORIGIN = {
    "wconv_sweep": "0.1.0",
    "code_sha256": "c" * 64,
    "git_commit": "a" * 40,
    "git_changed": False,
    "config_sha256": "d" * 64,
    "data": {"train_images.npy": "e" * 64},
}
CHANGES: list[tuple[dict[str, Any], str]] = [
    (
        {"code_sha256": "f" * 64, "git_changed": True},
        "the program was 0.1.0 (cccccccccccc, commit aaaaaaaaaaaa), is now 0.1.0 (ffffffffffff, "
        "commit aaaaaaaaaaaa with changes)",
    ),
    (
        {"config_sha256": "0" * 64},
        "the definition as this program reads it was dddddddddddd, is now 000000000000",
    ),
    (
        {"data": {"train_images.npy": "1" * 64}},
        "the data have changed (train_images.npy)",
    ),
]


@pytest.fixture
def sweep(started_sweep: Sweep) -> Sweep:
    """Return the command as users start it."""
    return started_sweep


def create(
    storage: Storage, config: StudyConfig, origin: dict[str, Any], accept_changes: bool = False
) -> None:
    folder = RunFolder.of(storage.folder, "tiny")
    studies.create_or_extend(
        storage, config, folder, "local", provenance=origin, accept_changes=accept_changes
    )


def slots_of(storage: Storage, config: StudyConfig, origin: dict[str, Any]) -> SlotTable:
    return SlotTable(storage, config, lease_s=LEASE_S, provenance=origin | {"host": "node7"})


def test_provenance_says_what_a_result_comes_from(tiny_config: StudyConfig) -> None:
    found = provenance_of(tiny_config)

    assert found["wconv_sweep"]
    assert len(found["code_sha256"]) == 64
    assert found["config_sha256"] == tiny_config.digest()
    assert found["data"] == {}


def test_the_hash_of_the_program_takes_no_time() -> None:
    code_sha256()
    code_sha256.cache_clear()
    started = time.process_time()

    first = code_sha256()

    # 3 ms on an AMD EPYC with the files in its cache; a limit for a busy machine.
    assert time.process_time() - started < 0.5
    code_sha256.cache_clear()
    assert code_sha256() == first


def test_the_hash_of_the_program_changes_with_any_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "package_folder", lambda package: tmp_path)
    path = tmp_path / "models" / "net.py"
    path.parent.mkdir()
    hashes = set()
    for content in ("one = 1\n", "one = 2\n"):
        path.write_text(content, "utf-8")
        code_sha256.cache_clear()
        hashes.add(code_sha256())
    path.rename(path.with_name("other.py"))
    code_sha256.cache_clear()
    hashes.add(code_sha256())
    code_sha256.cache_clear()

    assert len(hashes) == 3


def test_growing_a_budget_keeps_the_hash_of_the_definition(tiny_config: StudyConfig) -> None:
    grown = StudyConfig.model_validate(
        TINY | {"budget": {"trials": 9, "gpu_hours": 5.0}, "description": "more"}
    )
    other = StudyConfig.model_validate(TINY | {"seed": 1})

    assert grown.digest() == tiny_config.digest() != other.digest()


def test_a_checkout_tells_its_commit_and_whether_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A person's settings must not count.
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    author = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    (tmp_path / "__init__.py").write_text("", "utf-8")
    before = git_state(tmp_path)
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    clean = git_state(tmp_path)
    (tmp_path / "__init__.py").write_text("changed = True\n", "utf-8")
    changed = git_state(tmp_path)
    own = provenance_of(load_study("quickstart").model_copy(update={"code": str(tmp_path)}))
    environment = tmp_path / "venv"
    environment.mkdir()
    (environment / "__init__.py").write_text("", "utf-8")

    assert before == {}
    assert len(str(clean["git_commit"])) == 40
    assert (clean["git_changed"], changed["git_changed"]) == (False, True)
    assert own["modules_git_commit"] == clean["git_commit"]
    assert own["modules_git_changed"] is True
    # Installed into an environment that lies in a checkout of something else.
    assert git_state(environment) == {}


def test_without_git_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert git_state() == {}


def test_the_job_of_the_scheduler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    with_job = host_and_job()
    monkeypatch.delenv("SLURM_JOB_ID")

    assert with_job["job"] == "4711"
    assert "job" not in host_and_job()


@pytest.mark.parametrize(("change", "text"), CHANGES)
def test_a_worker_of_another_program_definition_or_data_trains_nothing_and_says_why(
    storage: Storage, tiny_config: StudyConfig, change: dict[str, Any], text: str
) -> None:
    create(storage, tiny_config, ORIGIN)

    refused = slots_of(storage, tiny_config, ORIGIN | change).lease("node7/pilot-0/1")

    assert refused is NoSlot.REFUSED
    assert read_status(storage, "tiny").reason == f"node7 refused to train: {text}"
    assert isinstance(slots_of(storage, tiny_config, ORIGIN).lease("node/pilot-0/1"), Lease)


@pytest.mark.parametrize(("change", "text"), CHANGES)
def test_a_study_goes_on_with_a_change_only_when_it_is_accepted(
    storage: Storage, tiny_config: StudyConfig, change: dict[str, Any], text: str
) -> None:
    create(storage, tiny_config, ORIGIN)
    new = ORIGIN | change

    with pytest.raises(StudyError) as launched:
        create(storage, tiny_config, new)
    with pytest.raises(StudyError) as resumed:
        studies.check_provenance(storage, "tiny", new, accept_changes=False)
    create(storage, tiny_config, new, accept_changes=True)

    for caught in (launched, resumed):
        assert f"study tiny was started with something else: {text}." in str(caught.value)
        assert "--accept-changes" in str(caught.value)
    studies.check_provenance(storage, "tiny", new, accept_changes=False)
    assert read_status(storage, "tiny").provenance == new | {"earlier": [ORIGIN]}
    old = slots_of(storage, tiny_config, ORIGIN)
    assert old.lease("node/pilot-0/1") is NoSlot.REFUSED
    assert isinstance(slots_of(storage, tiny_config, new).lease("node/pilot-0/1"), Lease)


def test_a_launch_takes_back_that_somebody_refused(
    storage: Storage, tiny_config: StudyConfig
) -> None:
    create(storage, tiny_config, ORIGIN)
    slots_of(storage, tiny_config, ORIGIN | {"code_sha256": "0"}).lease("node7/pilot-0/1")

    studies.reopen(storage, "tiny")

    assert read_status(storage, "tiny").reason is None


def test_what_only_one_of_them_knows_is_no_difference() -> None:
    assert differences({}, ORIGIN) == []
    assert differences(ORIGIN, {"host": "node"}) == []
    assert differences(ORIGIN, ORIGIN | {"git_commit": "b" * 40, "wconv_sweep": "9"}) == []


def test_attempt_and_export_say_where_a_result_comes_from(
    storage: Storage, tiny_config: StudyConfig
) -> None:
    create(storage, tiny_config, ORIGIN)
    slots = slots_of(storage, tiny_config, ORIGIN)
    lease = leased(slots)

    train(slots, tiny_config, lease, 28.0)

    with storage.read() as connection:
        attempt = connection.scalar(select(ATTEMPTS.c.provenance))
    (entry,) = export(storage, "tiny")
    assert attempt == ORIGIN | {"host": "node"}
    assert entry["provenance"] == ORIGIN | {"host": "node"}


@pytest.mark.parametrize("name", ["cifar100", "div2k", "class_folder", "image_folder"])
def test_data_that_are_read_from_files_have_checksums_that_change_with_them(
    tmp_path: Path, name: str
) -> None:
    options = catalog.smoke_options("data", name) | {"folder": str(tmp_path)}
    if name == "div2k":
        options |= {"verify": False, "validation_images": 2}
    catalog.generate_data(name, tmp_path)
    if name != "image_folder":
        with pytest.raises(JobError, match="have not been prepared"):
            catalog.data_checksums(name, options)
        catalog.prepare_data(name, options, lambda done, total: None)

    sums = catalog.data_checksums(name, options)

    assert sums
    assert all(len(value) == 64 for value in sums.values())
    assert catalog.data_checksums(name, options) == sums
    if name == "image_folder":
        assert list(sums) == ["names_and_sizes"]
        (tmp_path / "test" / "test_0.png").rename(tmp_path / "test" / "test_9.png")
        assert catalog.data_checksums(name, options) != sums


def test_synthetic_data_have_no_checksums() -> None:
    assert catalog.data_checksums("photographs", {}) == {}


@pytest.mark.slow
def test_the_command_line_refuses_a_changed_program_in_one_line(
    study_file: StudyFile,
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def start_none(
        study: str, storage: Storage, folder: RunFolder, profile: object
    ) -> LocalPilots:
        return LocalPilots(folder, 0, {})

    monkeypatch.setattr(submission, "start_local", start_none)
    launch = ["launch", "--cluster", "local", "--study", str(study_file()), "--detach"]
    first = run(monkeypatch, capsys, *launch)
    for module in (launching, planning):
        monkeypatch.setattr(module, "provenance_of", lambda config, run_folder: ORIGIN)

    dry = run(monkeypatch, capsys, *launch, "--dry-run")
    dry_json = run(monkeypatch, capsys, *launch, "--dry-run", "--json")
    refused = run(monkeypatch, capsys, *launch)
    resumed = run(monkeypatch, capsys, "resume", "--study", "tiny", "--detach")
    accepted = run(monkeypatch, capsys, *launch, "--accept-changes")
    again = run(monkeypatch, capsys, "resume", "--study", "tiny", "--detach")

    assert [each[0] for each in (first, refused, resumed, accepted, again)] == [0, 2, 2, 0, 0]
    assert (refused[2].count("\n"), resumed[2].count("\n")) == (1, 1)
    assert "the program was" in refused[2]
    changes = "; ".join(json.loads(dry_json[1])["changes"])
    assert changes in refused[2]
    assert f"{changes}. Launch with --accept-changes." in dry[1]


@pytest.mark.slow
def test_a_real_pilot_of_another_program_trains_nothing_and_the_study_says_why(
    sweep: Sweep, study_file: StudyFile
) -> None:
    long = TINY["recipe"] | {"epochs": 5000}
    path = study_file(recipe=long)
    sweep.run("launch", "--cluster", "local", "--study", str(path), "--detach")
    sweep.run("stop", "--study", "tiny")
    assert_all_gone(sweep)
    storage = open_storage(choose_url(None, sweep.folder / "wconv_runs", {}))
    with storage.write() as connection:
        recorded = connection.scalars(select(STUDIES.c.provenance)).one()
        other = recorded | {"code_sha256": "f" * 64}
        connection.execute(update(STUDIES).values(provenance=other, state=StudyState.ACTIVE))
    storage.close()
    order = sweep.folder / "wconv_runs/tiny/pilots/pilot_0.json"
    code = f"from wconv_sweep.pilots.running import run_pilot; run_pilot({str(order)!r})"

    pilot = subprocess.run(
        [sys.executable, "-c", code],
        cwd=sweep.folder,
        capture_output=True,
        text=True,
        check=True,
    )

    why = "the program, the definition or the data are not those of the study"
    assert f"pilot ended why='{why}'" in pilot.stderr
    assert "refused to train: the program was" in sweep.run("status", "--study", "tiny")
    refused = sweep.run("resume", "--study", "tiny", status=2)
    assert "study tiny was started with something else: the program was" in refused


def test_a_study_that_is_older_than_the_order_of_tensors_is_launched_again_without_a_change(
    sqlite_storage: Storage, study_file: StudyFile
) -> None:
    storage, path = sqlite_storage, str(study_file())
    config = load_study(path)
    recipe = config.recipe.model_copy(update={"memory_format": "contiguous"})
    begun = config.model_copy(update={"recipe": recipe})
    folder = RunFolder.of(storage.folder, "tiny")
    studies.create_or_extend(storage, begun, folder, "local", provenance=provenance_of(begun))

    plan = planning.plan_launch(path, "local", storage.url, storage.folder)

    assert plan.config == begun
    assert planning.changes_since(plan) == []
    with storage.read() as connection:
        stored = connection.scalar(select(STUDIES.c.config))
    assert stored is not None
    assert costs_the_same(stored, config) == costs_the_same(stored, begun) is True
