"""`doctor` names everything that stands in a study's way, and what to do about it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.postgres import OwnServer, Server
from tests.sweep.tiny import StudyFile, Sweep, run
from wconv_sweep.clusters.profile import load_profile
from wconv_sweep.doctor.checks import Area, Check, Mark, examine, right, wrong
from wconv_sweep.doctor.database import clock_check, database_checks
from wconv_sweep.doctor.folders import Room, run_folder_checks, space_checks
from wconv_sweep.storage.open_storage import Storage


@pytest.fixture
def sweep(started_sweep: Sweep) -> Sweep:
    """Return the command as users start it."""
    return started_sweep


def doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, dict[str, str]]]:
    """Return the exit status and the checks by what they say."""
    status, output, errors = run(monkeypatch, capsys, "doctor", *arguments, "--json")
    assert errors == ""
    return status, {check["what"]: check for check in json.loads(output)}


def of(checks: dict[str, dict[str, str]], beginning: str) -> dict[str, str]:
    """Return the one check that begins so."""
    (found,) = (check for what, check in checks.items() if what.startswith(beginning))
    return found


def test_where_all_is_right_every_check_has_a_tick_and_nothing_is_written(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, output, _ = run(monkeypatch, capsys, "doctor", "--study", "quickstart")

    *lines, skipped, why, last = output.splitlines()
    assert status == 0
    assert all(line.startswith("✓ ") for line in lines), output
    assert len(lines) >= 6
    assert (skipped[:2], why) == ("- ", "    --job tries them in a short job")
    assert last == "No problem found."
    assert list(empty_folder.iterdir()) == []


def test_bad_input_has_another_exit_status_than_something_wrong(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ("--cluster", "leonrado"),
        ("--study", "nothing"),
        ("--storage", "oracle://x/y"),
        ("--nodes", "2"),
    ):
        status, _, errors = run(monkeypatch, capsys, "doctor", *arguments)

        assert status == 2, arguments
        assert errors.count("\n") == 1


def test_a_run_folder_that_cannot_be_is_wrong_and_the_other_checks_are_made(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_folder / "file").write_text("in the way")

    status, checks = doctor(monkeypatch, capsys, "--study", "quickstart", "--runs", "file/runs")

    found = of(checks, f"run folder {empty_folder}")
    assert (status, found["mark"]) == (1, "wrong")
    assert "--runs" in found["remedy"]
    assert of(checks, "data photographs")["mark"] == "right"


def test_data_that_are_not_there_are_wrong(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WCONV_SWEEP_DATA", str(empty_folder / "nowhere"))

    status, checks = doctor(monkeypatch, capsys, "--study", "dncnn_5x5")

    found = of(checks, "data div2k of study dncnn_5x5: not ready")
    assert (status, found["mark"]) == (1, "wrong")
    assert "nowhere" in found["remedy"]


def test_more_ranks_than_gpus_are_wrong(
    empty_folder: Path,
    study_file: StudyFile,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (empty_folder / "one.yaml").write_text(
        "schema: 1\ncluster: one\nlauncher: local\npilots: 1\ngpus_per_pilot: 1\n"
        "walltime_min: 60\n"
    )
    study = str(study_file(trial={"ranks": 2}))

    status, checks = doctor(monkeypatch, capsys, "--cluster", "one.yaml", "--study", study)

    assert status == 1
    assert "Lower trial.ranks" in of(checks, "profile: pilots cannot")["remedy"]


def test_a_cluster_without_slurm_is_wrong_and_says_what_was_not_looked_at(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(empty_folder))

    status, checks = doctor(monkeypatch, capsys, "--cluster", "leonardo")

    assert status == 1
    for command in ("sbatch", "squeue", "scontrol"):
        assert "login node" in of(checks, f"{command}: does not answer")["remedy"]
    assert of(checks, "profile: pilots cannot")["remedy"].count("--account") == 1
    assert of(checks, "account, partition, QOS and limits")["mark"] == "skipped"


def test_a_folder_that_the_site_empties_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CINECA_SCRATCH", str(tmp_path))

    checks = list(run_folder_checks(tmp_path / "runs", load_profile("leonardo"), job=False))

    assert [check.mark for check in checks] == [Mark.RIGHT, Mark.WARNING, Mark.WARNING]
    assert "after 40 days" in checks[-1].remedy


@pytest.mark.parametrize(
    ("least_bytes", "wanted_bytes", "mark"),
    [(0.0, 0.0, Mark.RIGHT), (0.0, 1e30, Mark.WARNING), (1e30, 1e30, Mark.WRONG)],
)
def test_space_is_held_against_what_a_study_needs(
    tmp_path: Path, least_bytes: float, wanted_bytes: float, mark: Mark
) -> None:
    room = Room("the run folder", tmp_path / "not made yet", least_bytes, wanted_bytes)

    (check,) = space_checks([room])

    assert check.mark is mark
    assert "GiB free" in check.what


def test_checks_that_raise_or_hang_do_not_keep_the_others_from_being_made() -> None:
    hangs = threading.Event()

    def raises() -> Iterator[Check]:
        yield right("first")
        raise ZeroDivisionError("of nobody's\nthinking")

    def waits() -> Iterator[Check]:
        yield right("second")
        hangs.wait()

    areas = [
        Area("broken", raises),
        Area("slow", waits, limit_s=0.2),
        Area("last", lambda: [right("third")]),
    ]
    checks = list(examine(areas))
    hangs.set()

    assert checks == [
        ("broken", right("first")),
        (
            "broken",
            wrong("broken: could not be checked", "ZeroDivisionError: of nobody's thinking"),
        ),
        ("slow", right("second")),
        (
            "slow",
            wrong(
                "slow: no answer within 0.2 s",
                "A file system, a server or a command hangs. Try again, or ask the site.",
            ),
        ),
        ("last", right("third")),
    ]


def test_clocks_that_differ_are_a_warning() -> None:
    assert clock_check("clocks", -4.9) == right("clocks: 4.9 s apart")
    assert clock_check("clocks", -60.0).mark is Mark.WARNING


def marks(checks: Iterator[Check]) -> dict[str, Mark]:
    return {check.what: check.mark for check in checks}


def test_a_storage_that_is_there_is_tried_and_left_as_it_is(storage: Storage) -> None:
    found = marks(database_checks(lambda: storage.url, 1))

    assert found["storage: answers, with tables of this version"] is Mark.RIGHT
    assert found["storage: rows can be written"] is Mark.RIGHT
    assert set(found.values()) == {Mark.RIGHT}


def test_sqlite_is_wrong_for_several_nodes(sqlite_storage: Storage) -> None:
    found = marks(database_checks(lambda: sqlite_storage.url, 2))

    assert found["storage: not for 2 nodes"] is Mark.WRONG
    assert found["storage: rows can be written"] is Mark.RIGHT


def test_tables_of_another_version_are_wrong(sqlite_storage: Storage) -> None:
    with sqlite_storage.write() as connection:
        connection.exec_driver_sql("UPDATE wconv_schema SET version = 1")

    (*_, check) = database_checks(lambda: sqlite_storage.url, 1)

    assert (check.mark, check.what) == (Mark.WRONG, "storage: cannot be used")
    assert "wconv-sweep db upgrade" in check.remedy


@pytest.mark.slow
def test_an_empty_database_needs_the_right_to_create_tables(own_postgres: OwnServer) -> None:
    url = own_postgres.empty_database()
    may = marks(database_checks(lambda: url, 1))
    with own_postgres.connect(url.database) as connection:
        left = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert left.fetchone() == (0,)
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    guest = _as_guest(own_postgres, url.database)

    (*_, check, _clock) = database_checks(lambda: guest, 1)

    assert may["storage: answers, and tables can be created"] is Mark.RIGHT
    assert (check.mark, check.what) == (Mark.WRONG, "storage: not allowed to create tables")
    assert "permission denied for schema public" in check.remedy
    assert "guest:guest" not in check.remedy


@pytest.mark.slow
def test_a_user_that_may_only_read_is_told_so(own_postgres: OwnServer) -> None:
    url = own_postgres.database()
    with own_postgres.connect(url.database) as connection:
        connection.execute(
            "DO $$ BEGIN CREATE ROLE guest LOGIN PASSWORD 'guest'; "
            "EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
    guest = _as_guest(own_postgres, url.database)

    (*_, check, _clock) = database_checks(lambda: guest, 1)

    assert (check.mark, check.what) == (Mark.WRONG, "storage: not allowed to write to its tables")


def _as_guest(own_postgres: OwnServer, database: str | None) -> Any:
    passfile = own_postgres.folder / "guest"
    passfile.write_text(f"*:{own_postgres.port}:*:guest:guest\n")
    passfile.chmod(0o600)
    assert database is not None
    return own_postgres.url(database).set(username="guest", query={"passfile": str(passfile)})


@pytest.mark.slow
def test_a_password_file_that_others_can_read_is_wrong(
    postgres: Server,
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    passfile = empty_folder / "pgpass"
    passfile.write_text(postgres.passfile.read_text())
    passfile.chmod(0o644)
    url = postgres.url("postgres").update_query_dict({"passfile": str(passfile)})

    status, checks = doctor(monkeypatch, capsys, "--storage", url.render_as_string())

    assert status == 1
    assert f"chmod 600 {passfile}" in of(checks, "storage: cannot be reached")["remedy"]
    assert postgres.secret not in str(checks)


@pytest.mark.slow
def test_a_database_that_is_away_is_wrong(
    own_postgres: OwnServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = own_postgres.url("postgres").render_as_string()
    own_postgres.stop()
    try:
        status, checks = doctor(monkeypatch, capsys, "--storage", url)
    finally:
        own_postgres.start()

    assert status == 1
    assert "cannot be used at the moment" in of(checks, "storage: cannot be used")["remedy"]


@pytest.mark.slow
def test_a_job_on_this_machine_adds_up_on_its_ranks_and_leaves_nothing(sweep: Sweep) -> None:
    output = sweep.run("doctor", "--cluster", "local", "--job")

    assert "✓ test process: ran as a pilot of this machine does" in output
    assert "program imported from the frozen copy" in output
    assert "no GPU, and none is requested" in output
    assert "gloo: 2 processes summed their numbers" in output
    assert "read each other's files" in output
    assert list(sweep.folder.iterdir()) == []


@pytest.mark.slow
def test_gpus_that_torch_does_not_find_are_wrong_and_the_log_stays(sweep: Sweep) -> None:
    (sweep.folder / "one.yaml").write_text(
        "schema: 1\ncluster: one\nlauncher: local\npilots: 1\ngpus_per_pilot: 1\n"
        "walltime_min: 60\n"
    )
    sweep.variables(CUDA_VISIBLE_DEVICES="")

    with sweep.start("doctor", "--cluster", "one.yaml", "--job") as process:
        output, _ = process.communicate(timeout=200)

    assert process.returncode == 1
    assert "no GPU\n    The job has requested 1 GPU(s)." in output
    assert list(sweep.folder.glob("wconv_runs/_doctor/*/pilots/job_log.err"))


@pytest.mark.slow
def test_the_login_node_loads_no_torch(empty_folder: Path) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['wconv-sweep', 'doctor', '--study', 'quickstart']\n"
        "from wconv_sweep.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print('torch' in sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert ended.stdout.splitlines()[-1] == "False"


def test_a_terminal_that_knows_no_ticks_gets_letters(empty_folder: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "wconv_sweep", "doctor", "--study", "quickstart"],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )

    assert ended.stdout.startswith(b"+ ")
