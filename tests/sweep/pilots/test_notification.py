"""The user's command is told of the end, the breaker and the cap: once, and never to harm."""

import json
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, update

from tests.jobs.trials import wait_until
from tests.sweep.postgres import Server
from tests.sweep.scenarios.test_at_once import PROCESSES, together
from tests.sweep.scenarios.test_local_sweep import assert_all_gone, launch
from tests.sweep.scenarios.test_password import url_with_password
from tests.sweep.slots.test_table import failure
from tests.sweep.tiny import TINY, StudyFile, Sweep
from tests.together import failures_together
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.pilots import notification
from wconv_sweep.pilots.notification import checked_command, notify, save_command
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import definitions, studies
from wconv_sweep.slots.table import Lease, SlotTable
from wconv_sweep.storage.open_storage import Storage, open_storage
from wconv_sweep.storage.tables import SLOTS, SlotState
from wconv_sweep.study.config import StudyConfig

ONE = StudyConfig.model_validate(TINY | {"budget": {"trials": 2, "breaker_failures": 1}})

# Appends what it was told, a line each time: the variables, and its standard input.
TELL = """
import json, os, sys
told = {"variables": dict(os.environ), "stdin": json.load(sys.stdin)}
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(told) + "\\n")
print("said so")
"""


@pytest.fixture
def folder(storage: Storage, tmp_path: Path) -> RunFolder:
    """Create a study with a command that records what it is told."""
    folder = RunFolder.of(tmp_path, "tiny")
    studies.create_or_extend(storage, ONE, folder, "local")
    folder.create(definitions.study_place(storage, "tiny").uid)
    save_command(folder, [sys.executable, "-c", TELL, str(folder.path / "told")])
    return folder


def told(folder: Path) -> list[dict[str, Any]]:
    path = folder / "told"
    return (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if path.exists()
        else []
    )


def events(folder: Path) -> list[str]:
    return [each["stdin"]["event"] for each in told(folder)]


def end_all(storage: Storage) -> None:
    with storage.write() as connection:
        connection.execute(update(SLOTS).values(state=SlotState.SKIPPED))


def break_(storage: Storage, message: str = "no") -> None:
    slots = SlotTable(storage, ONE, lease_s=60)
    lease = slots.lease("node/1")
    assert isinstance(lease, Lease)
    broken = failure()
    slots.break_(lease, broken.model_copy(update={"reason": message}))


def _notify(number: int, url: URL, path: Path) -> None:
    storage = open_storage(url)
    try:
        notify(storage, "tiny", RunFolder(path))
    finally:
        storage.close()


@pytest.mark.slow
def test_agents_that_end_at_the_same_moment_tell_it_once(
    storage: Storage, folder: RunFolder
) -> None:
    assert PROCESSES > 1
    end_all(storage)

    together(_notify, storage.url, folder.path)

    assert events(folder.path) == ["end"]


@pytest.mark.slow
def test_each_occasion_is_told_once(storage: Storage, folder: RunFolder) -> None:
    notify(storage, "tiny", folder)
    assert events(folder.path) == []

    for _ in range(2):
        break_(storage)
        notify(storage, "tiny", folder)
        notify(storage, "tiny", folder)
        studies.reopen(storage, "tiny")
    assert events(folder.path) == ["breaker", "breaker"]

    end_all(storage)
    notify(storage, "tiny", folder)
    notify(storage, "tiny", folder)
    assert events(folder.path) == ["breaker", "breaker", "end"]


def test_the_facts_reach_the_command_and_no_shell_reads_them(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = RunFolder.of(sqlite_storage.folder, "tiny")
    studies.create_or_extend(sqlite_storage, ONE, folder, "local")
    folder.create("uid")
    save_command(folder, [sys.executable, "-c", TELL, str(folder.path / "told")])
    for name in ("PGPASSWORD", "PGPASSFILE", "WCONV_SWEEP_STORAGE", "OPTUNA_STORAGE"):
        monkeypatch.setenv(name, "secret")
    break_(sqlite_storage, "$(touch hacked) `touch hacked`; touch hacked\nnew \0 line")

    with caplog.at_level(logging.INFO):
        notify(sqlite_storage, "tiny", folder)

    (only,) = told(folder.path)
    variables, facts = only["variables"], only["stdin"]
    assert variables["WCONV_SWEEP_EVENT"] == "breaker"
    assert variables["WCONV_SWEEP_STUDY"] == "tiny"
    message = variables["WCONV_SWEEP_MESSAGE"]
    assert "$(touch hacked) `touch hacked`; touch hacked new" in message
    assert message.startswith("study tiny was stopped by its circuit breaker: a failure: ")
    assert facts["message"] == message
    assert (facts["state"], facts["slots"]["open"]) == ("broken", 2)
    assert "secret" not in variables.values()
    assert not (folder.path / "hacked").exists()
    assert "said='said so'" in caplog.text


@pytest.mark.slow
def test_a_command_that_hangs_is_killed_with_what_it_started(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = _ended(sqlite_storage)
    script = "sleep 1000 & echo $! > child; echo begun; wait"
    save_command(folder, ["/bin/sh", "-c", script])
    monkeypatch.setattr(notification, "LIMIT_S", 5.0)

    notify(sqlite_storage, "tiny", folder)

    assert "how='killed after 5 s' said=begun" in caplog.text
    child = int((folder.path / "child").read_text("utf-8"))
    # A kill is a signal: what is hit ends as soon as it gets a processor.
    wait_until(lambda: not _is_alive(child))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["/bin/sh", "-c", "echo why; exit 3"], "how='exit status 3' said=why"),
        (["/nowhere/program"], "command to notify cannot be run command=/nowhere/program"),
    ],
)
def test_a_command_that_fails_is_a_line_in_the_log_and_no_more(
    sqlite_storage: Storage, caplog: pytest.LogCaptureFixture, words: list[str], line: str
) -> None:
    folder = _ended(sqlite_storage)
    save_command(folder, words)

    notify(sqlite_storage, "tiny", folder)

    assert line in caplog.text


def test_a_command_that_cannot_be_run_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "tell"
    script.write_text("#!/bin/sh\n", "utf-8")

    with pytest.raises(ConfigurationError, match=r"there is no program nothing-like-it that may"):
        checked_command("nothing-like-it --now")
    with pytest.raises(ConfigurationError, match=r"no program \./tell .* chmod \+x"):
        checked_command("./tell")
    with pytest.raises(ConfigurationError, match="is not a command \\(No closing quotation\\)"):
        checked_command("mail -s 'half")
    script.chmod(0o755)
    # By absolute path: pilots are started in other folders.
    assert checked_command("./tell 'two words'") == [str(script), "two words"]
    assert checked_command("") == []


def test_nobody_else_can_read_the_command(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create("uid")

    save_command(folder, ["/bin/true", "https://chat/secret"])

    assert (folder.pilots / "notify.json").stat().st_mode & 0o777 == 0o600


def test_of_several_launches_at_once_each_command_is_kept_until_the_next(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.pilots.mkdir(parents=True)
    commands = [["/bin/true", str(number) * 1000] for number in range(4)]

    failed = failures_together([partial(save_command, folder, words) for words in commands])

    assert failed == []
    assert json.loads((folder.pilots / "notify.json").read_text("utf-8")) in commands
    assert os.listdir(folder.pilots) == ["notify.json"]
    assert (folder.pilots / "notify.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_study_of_two_pilots_tells_its_end_once_and_without_the_password(
    sweep: Sweep, study_file: StudyFile, request: pytest.FixtureRequest, database: str
) -> None:
    if database == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        text = url_with_password(server, server.database().database)
        sweep.variables(WCONV_SWEEP_STORAGE=text)
    command = launch(study_file(budget={"trials": 4}), "--pilots", "2")

    sweep.run(*command, "--notify", notify_command(sweep))
    sweep.run(*command)
    first = told(sweep.folder)
    sweep.run(*launch(study_file(budget={"trials": 5})))
    assert_all_gone(sweep)

    (only,) = first
    assert only["stdin"]["event"] == "end"
    assert only["stdin"]["slots"]["complete"] == 4
    assert "4 complete; best density (" in only["variables"]["WCONV_SWEEP_MESSAGE"]
    assert "WCONV_SWEEP_STORAGE" not in only["variables"]
    if database == "postgresql":
        assert server.secret not in json.dumps(only)
    # The command of the first launch holds; what was added to the study has ended, too.
    assert [each["stdin"]["slots"]["complete"] for each in told(sweep.folder)] == [4, 5]


@pytest.mark.slow
def test_a_study_that_breaks_tells_it(sweep: Sweep, study_file: StudyFile) -> None:
    path = study_file(model={"name": "tiny", "options": {"num_classes": 4}})

    sweep.run(*launch(path, "--notify", notify_command(sweep)), status=1)
    sweep.run("resume", "--study", "tiny", "--notify", "", status=1)

    (only,) = told(sweep.folder)
    assert only["stdin"]["event"] == "breaker"
    assert "JobError at " in only["stdin"]["message"]


@pytest.mark.slow
def test_a_study_that_reaches_its_cap_tells_it_once(sweep: Sweep, study_file: StudyFile) -> None:
    # Pilots that are billed for four GPUs; there need not be any to train.
    profile = sweep.folder / "four.yaml"
    facts = "schema: 1\ncluster: four\nlauncher: local\npilots: 1\ngpus_per_pilot: 4\n"
    profile.write_text(f"{facts}walltime_min: 60\n", "utf-8")
    recipe = TINY["recipe"] | {"epochs": 300}
    path = study_file(recipe=recipe, budget={"trials": 12, "gpu_hours": 4 * 8 / 3600})
    command = ["launch", "--cluster", str(profile), "--study", str(path)]

    sweep.run(*command, "--notify", notify_command(sweep), status=1)
    sweep.run(*command, status=1)

    (only,) = told(sweep.folder)
    assert only["stdin"]["event"] == "cap"
    assert "GPU-hours, and the next trial would pass the limit: " in only["stdin"]["message"]


def test_a_launch_with_a_command_that_is_missing_writes_nothing(
    started_sweep: Sweep, study_file: StudyFile
) -> None:
    errors = started_sweep.run(*launch(study_file(), "--notify", "no-such-mail me"), status=2)

    assert errors.startswith("wconv-sweep: --notify no-such-mail me: there is no program")
    assert errors.count("\n") == 1
    assert not (started_sweep.folder / "wconv_runs").exists()


def _ended(storage: Storage) -> RunFolder:
    folder = RunFolder.of(storage.folder, "tiny")
    studies.create_or_extend(storage, ONE, folder, "local")
    folder.create("uid")
    end_all(storage)
    return folder


def notify_command(sweep: Sweep) -> str:
    """Return a command for `--notify` whose calls `told` returns."""
    script = sweep.folder / "tell.py"
    script.write_text(f"#!{sys.executable}\n{TELL}", "utf-8")
    script.chmod(0o755)
    return f"./tell.py '{sweep.folder}/told'"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # One that its new parent has not taken note of yet has ended as well.
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
