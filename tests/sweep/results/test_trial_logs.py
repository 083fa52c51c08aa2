"""`logs` leads from the number of a trial to what its ranks printed."""

import threading
from pathlib import Path

import pytest

from tests.sweep.tiny import StudyFile, Sweep, run
from wconv_jobs.messages import Broken
from wconv_sweep.results import trial_logs
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.studies import create_or_extend
from wconv_sweep.slots.table import Lease, SlotTable
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import AttemptOutcome
from wconv_sweep.study.config import StudyConfig

FAILURE = Broken(
    rank=0, error="ValueError", reason="no", where="a.py:1", traceback="Traceback: no\n"
)


@pytest.fixture
def slots(sqlite_storage: Storage, tiny_config: StudyConfig) -> SlotTable:
    create_or_extend(
        sqlite_storage, tiny_config, RunFolder.of(sqlite_storage.folder, "tiny"), "local"
    )
    return SlotTable(sqlite_storage, tiny_config, lease_s=60)


def leased(slots: SlotTable) -> Lease:
    lease = slots.lease("node7/pilot-0/1")
    assert isinstance(lease, Lease)
    return lease


def printed(storage: Storage, attempt: int, rank: int, **files: str) -> Path:
    folder = RunFolder.of(storage.folder, "tiny").attempt_logs(0, attempt)
    inner = folder / f"attempt_{attempt}_abc" / "attempt_0" / str(rank)
    inner.mkdir(parents=True)
    for name, text in files.items():
        (inner / f"{name}.log").write_text(text, "utf-8")
    return inner


def test_the_last_attempt_is_shown_with_its_traceback(
    sqlite_storage: Storage,
    slots: SlotTable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slots.break_(leased(slots), FAILURE)
    printed(sqlite_storage, 1, 0, stdout="first out\n", stderr="first err\n")
    slots.interrupt(leased(slots), "stopped")
    printed(sqlite_storage, 2, 0, stdout="second\n", stderr="")
    where = ("logs", "0", "--study", "tiny", "--runs", str(sqlite_storage.folder))

    last = run(monkeypatch, capsys, *where)
    first = run(monkeypatch, capsys, *where, "--attempt", "1")

    assert last[:2] == (0, "second\n")
    assert first[:2] == (0, "first out\nfirst err\nTraceback: no\n")
    lines = last[2].splitlines()
    assert lines[0].startswith("  trial 0, attempt 1: broken, by node7/pilot-0/1/")
    assert lines[1].startswith("> trial 0, attempt 2: interrupted, by node7/pilot-0/1/")


def test_a_rank_that_has_printed_nothing_is_told_from_a_command_that_fails(
    sqlite_storage: Storage,
    slots: SlotTable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slots.interrupt(leased(slots), "stopped")
    printed(sqlite_storage, 1, 0, stdout="", stderr="")
    where = ("logs", "0", "--study", "tiny", "--runs", str(sqlite_storage.folder))

    status, output, errors = run(monkeypatch, capsys, *where)

    assert (status, output) == (0, "")
    assert errors.splitlines()[1:] == ["rank 0 has printed nothing"]


def test_what_is_not_there_is_said(
    sqlite_storage: Storage,
    slots: SlotTable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = ("--runs", str(sqlite_storage.folder))
    before = run(monkeypatch, capsys, "logs", "0", "--study", "tiny", *runs)
    leased(slots)
    printed(sqlite_storage, 1, 1, stdout="one\n")

    def problem(*words: str) -> str:
        status, output, errors = run(monkeypatch, capsys, "logs", *words, *runs)
        assert (status, output) == (2, "")
        return errors.splitlines()[-1]

    assert before[0] == 2
    assert "no such trial; none has started yet" in before[2]
    assert "the started trials are 0 to 0" in problem("5", "--study", "tiny")
    assert "has no such attempt. Choose one of 1." in problem(
        "0", "--study", "tiny", "--attempt", "3"
    )
    assert "no output of this rank. Choose one of 1." in problem("0", "--study", "tiny")
    assert "holds no such study" in problem("0", "--study", "other")


def test_ranks_are_counted_over_all_nodes_of_a_trial(
    sqlite_storage: Storage, slots: SlotTable
) -> None:
    leased(slots)
    folder = RunFolder.of(sqlite_storage.folder, "tiny").attempt_logs(0, 1)
    for node, inner in enumerate(("attempt_1_abc", "node_1/node_1_abc")):
        for local in (0, 1):
            place = folder / inner / "attempt_0" / str(local)
            place.mkdir(parents=True)
            (place / "stdout.log").write_text(f"node {node}, its rank {local}", "utf-8")
    (log,) = trial_logs.attempts_of(sqlite_storage, "tiny", 0)

    texts = ["".join(trial_logs.text_of(log, rank)) for rank in range(4)]

    assert texts == [f"node {node}, its rank {local}" for node in (0, 1) for local in (0, 1)]


def test_following_ends_with_the_attempt_and_misses_nothing(
    sqlite_storage: Storage, slots: SlotTable
) -> None:
    lease = leased(slots)
    folder = printed(sqlite_storage, 1, 0, stdout="a")
    file = (folder / "stdout.log").open("ab", buffering=0)
    steps = iter((b"b\xc3", b"\xa4c", None))

    def attempt() -> trial_logs.AttemptLog:
        return trial_logs.attempts_of(sqlite_storage, "tiny", 0)[-1]

    def wait(_: float) -> None:
        new = next(steps)
        if new is None:
            file.write(b"d")
            slots.break_(lease, FAILURE)
        else:
            file.write(new)

    text = list(trial_logs.follow(attempt(), 0, attempt, wait))
    file.close()

    assert "".join(text) == "ab\u00e4cdTraceback: no\n"
    assert attempt().outcome is AttemptOutcome.BROKEN


@pytest.mark.slow
def test_a_real_trial_is_followed_to_its_end(sweep: Sweep, study_file: StudyFile) -> None:
    path = study_file(budget={"trials": 1})
    launch = sweep.start("launch", "--cluster", "local", "--study", str(path))
    seen: list[str] = []

    def follow() -> None:
        while launch.poll() is None:
            with sweep.start("logs", "0", "--study", "tiny", "-f") as process:
                output, errors = process.communicate(timeout=120)
            if process.returncode == 0:
                seen.append(output + errors)
                return

    follower = threading.Thread(target=follow)
    follower.start()
    assert launch.wait(timeout=300) == 0
    launch.communicate()
    follower.join(timeout=120)

    assert "> trial 0, attempt 1: " in seen[0]
