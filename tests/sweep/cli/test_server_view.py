"""`db status` says which job runs the server, and which one goes on after it."""

from pathlib import Path

import pytest

from wconv_sweep.cli.views.server import ServerJobs, print_server, server_json
from wconv_sweep.server.server_status import ServerStatus
from wconv_sweep.slurm.job import JobState, SlurmJob

RUNS = ServerStatus(
    running=True,
    folder="/home/me/postgres",
    url="postgresql://wconv@n1:21475/wconv",
    host="n1",
    address="n1",
    port=21475,
)
STOPPED = ServerStatus(running=False, folder="/home/me/postgres", reason="it was stopped")
LOGS = Path("/home/me/postgres_job")
FIRST = SlurmJob("71", "71", "", JobState.RUNNING, "None", "n1", "", "2026-11-30T18:00:00")
NEXT = SlurmJob("72", "72", "", JobState.PENDING, "Dependency", "", "", "")


@pytest.mark.parametrize(
    ("status", "jobs", "line"),
    [
        (RUNS, (FIRST, NEXT), "71, until 2026-11-30T18:00:00; job 72 goes on after it"),
        (
            RUNS,
            (FIRST,),
            "71, until 2026-11-30T18:00:00; no job goes on after it; see the log in "
            "/home/me/postgres_job",
        ),
        (
            STOPPED,
            (NEXT,),
            "72 is pending (Dependency: it waits for another job: it starts by itself once that "
            "has ended)",
        ),
        (STOPPED, (), "none; its log is in /home/me/postgres_job"),
    ],
)
def test_the_jobs_of_a_server_are_a_line(
    status: ServerStatus,
    jobs: tuple[SlurmJob, ...],
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_server(status, ServerJobs(jobs, LOGS))

    assert f"\njob:         {line}\n" in capsys.readouterr().out


def test_jobs_that_slurm_does_not_tell_are_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = ServerJobs((), LOGS, problem="squeue gave no answer within 30 s. Try again.")

    print_server(RUNS, jobs)

    assert "job:         unknown: squeue gave no answer" in capsys.readouterr().out
    assert server_json(RUNS, jobs)["jobs"] is None


def test_a_server_that_is_no_job_has_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_server(RUNS, None)

    assert "job:" not in capsys.readouterr().out
    assert server_json(RUNS, None)["jobs"] is None
    assert server_json(RUNS, ServerJobs((FIRST, NEXT), LOGS))["jobs"] == [
        {"job": "71", "state": "running", "reason": "None", "end": "2026-11-30T18:00:00"},
        {"job": "72", "state": "pending", "reason": "Dependency", "end": ""},
    ]
