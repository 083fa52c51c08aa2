"""A pilot asks SLURM little about its own job, and does without answers."""

import subprocess
import time

import pytest

from tests.slurm.box import SlurmBox
from tests.slurm.processes import wait_until
from wconv_sweep.pilots import slurm_pilot

pytestmark = pytest.mark.slow


def running(box: SlurmBox, *options: str) -> str:
    job = box.submit("--time=10", *options, script="echo begun; exec sleep 1000")
    wait_until(lambda: [each.state for each in box.queue()] == ["RUNNING"], "the job runs")
    return job


def test_start_and_end_of_a_job_are_those_that_slurm_tells(box: SlurmBox) -> None:
    # What looks like facts in a text of the user's is none.
    job = running(box, "--comment=JobState=FAILED StartTime=1795511400 EndTime=1795515000")
    shown = box.run("squeue", "--noheader", f"--jobs={job}", "--format=%S %e").split()
    set_by_newer = {"SLURM_JOB_START_TIME": "1795511400", "SLURM_JOB_END_TIME": "1795515000"}

    asked = slurm_pilot.job_times(job, 60.0, environment={})
    told = slurm_pilot.job_times(job, 60.0, environment=set_by_newer)

    assert slurm_pilot.job_facts(job)["JobState"] == "RUNNING"
    assert [
        time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(each))
        for each in (asked.start_s, asked.end_s)
    ] == shown
    assert told == slurm_pilot.JobTimes(1795511400.0, 1795515000.0)


def test_of_a_job_that_slurm_does_not_know_the_time_limit_counts_from_now(box: SlurmBox) -> None:
    times = slurm_pilot.job_times("4000000", 600.0, environment={})

    assert times.start_s == pytest.approx(time.time(), abs=60)
    assert times.end_s == times.start_s + 600.0


def test_the_nodes_of_a_list_are_named_one_by_one(box: SlurmBox) -> None:
    first, second = box.nodes

    names = slurm_pilot.hosts_in(f"{first[:-1]}[{first[-1]}-{second[-1]}]")

    assert names == (first, second)


def test_a_job_that_runs_goes_back_into_the_queue_and_a_cancelled_one_does_not(
    box: SlurmBox,
) -> None:
    job = running(box, "--requeue")
    requeued = slurm_pilot.requeue(job)
    wait_until(lambda: slurm_pilot.job_facts(job).get("Restarts") == "1", "the restart")

    box.run("scancel", job)
    wait_until(lambda: not box.queue(), "the end of the job")

    assert requeued
    assert not slurm_pilot.requeue(job)
    assert box.queue() == []


def test_a_job_that_may_not_be_put_back_is_no_error(box: SlurmBox) -> None:
    job = running(box, "--no-requeue")

    assert not slurm_pilot.requeue(job)
    assert [each.state for each in box.queue()] == ["RUNNING"]


def test_without_slurm_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(FileNotFoundError):
        subprocess.run(["scontrol"], check=False)
    assert slurm_pilot.job_facts("7") == {}
    assert slurm_pilot.hosts_in("n[1-2]") == ("n[1-2]",)
