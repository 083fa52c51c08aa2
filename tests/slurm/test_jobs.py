"""What SLURM says of a study's jobs is told apart, and its silence is no verdict."""

import signal
import uuid
from pathlib import Path

import pytest

from tests.slurm.box import SlurmBox
from tests.slurm.processes import wait_until
from tests.slurm.test_batch import wrap
from wconv_sweep.cli.views.jobs import jobs_json, jobs_lines
from wconv_sweep.slurm.clusters import HERE
from wconv_sweep.slurm.job import JobState
from wconv_sweep.slurm.jobs import (
    SlurmView,
    alive_jobs,
    cancel,
    job_name,
    jobs_of,
    runs_in,
    views_of,
)


class Jobs:
    """The jobs of a study that no other test has."""

    def __init__(self, box: SlurmBox) -> None:
        self.uid = uuid.uuid4().hex
        self._box = box

    def view(self) -> SlurmView:
        return jobs_of("tiny", self.uid)

    def submit(self, *options: str, script: str = "sleep 1000", count: int = 1) -> str:
        """Submit an array and return its number."""
        given = (f"--job-name={job_name('tiny', self.uid)}", f"--array=0-{count - 1}", *options)
        return self._box.submit("--mem=100M", *given, script=script)

    def await_states(self, *states: JobState) -> SlurmView:
        """Wait until the study's jobs are in these states and no others."""
        seen: list[SlurmView] = []

        def as_wanted() -> bool:
            seen.append(self.view())
            jobs = (*seen[-1].alive, *seen[-1].ended)
            return sorted(job.state for job in jobs) == sorted(states)

        try:
            wait_until(as_wanted, f"jobs are {', '.join(states)}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen[-1]}") from None
        return seen[-1]


@pytest.mark.slow
def test_notices_of_a_site_before_and_between_the_rows_are_no_jobs(
    box: SlurmBox, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.submit(script="true")
    jobs.await_states(JobState.COMPLETED)
    jobs.submit("--hold")
    before = jobs.await_states(JobState.COMPLETED, JobState.HELD)

    notice = 'echo; echo "CLUSTER: box | maintenance on Monday"; $REAL "$@"; echo "Bye"'
    for program in ("squeue", "sacct"):
        wrap(monkeypatch, tmp_path / "bin", program, notice)

    assert jobs.view() == before


@pytest.fixture
def jobs(box: SlurmBox) -> Jobs:
    return Jobs(box)


def reasons(view: SlurmView) -> list[str]:
    """Return why jobs wait, in SLURM's words."""
    return sorted(job.reason for job in view.alive)


def test_the_name_of_a_job_is_that_of_its_study_and_no_others() -> None:
    assert job_name("tiny", "0123456789abcdef") == "wconv-tiny-01234567"


@pytest.mark.slow
def test_jobs_of_other_names_are_not_the_studys(box: SlurmBox, jobs: Jobs) -> None:
    box.submit("--job-name=wconv-tiny-99999999", script="sleep 1000")
    box.submit("--job-name=wconv-tiny", script="sleep 1000")

    assert jobs.view() == SlurmView()


@pytest.mark.slow
def test_one_question_tells_the_jobs_of_several_studies_apart(box: SlurmBox) -> None:
    first, second = Jobs(box), Jobs(box)
    first.submit("--hold", count=2)
    second.submit(script="true")
    second.await_states(JobState.COMPLETED)

    names = [job_name("tiny", each.uid) for each in (first, second, Jobs(box))]
    views = views_of(dict.fromkeys(names, HERE))

    assert [(len(views[name].alive), len(views[name].ended)) for name in names] == [
        (2, 0),
        (0, 1),
        (0, 0),
    ]
    # The same with the name of the cluster, and of both ways together.
    named = views_of(dict.fromkeys(names, (box.site.cluster, None)))
    assert [len(named[name].alive) + len(named[name].ended) for name in names] == [2, 1, 0]
    assert {job.cluster for job in named[names[0]].alive} == {box.site.cluster}
    cancel(named[names[0]].alive)
    assert alive_jobs(names[0]) == ()


@pytest.mark.slow
def test_jobs_that_wait_are_told_apart_by_what_they_wait_for(box: SlurmBox, jobs: Jobs) -> None:
    jobs.submit("--hold")
    jobs.submit("--begin=now+1hour")

    # The scheduler says why when it looks at a job.
    wait_until(lambda: "BeginTime" in reasons(jobs.view()), "SLURM has given the reason")
    known = jobs.await_states(JobState.HELD, JobState.PENDING)

    assert reasons(known) == ["BeginTime", "JobHeldUser"]
    queued, *meanings = jobs_lines(known)
    assert sorted(queued.removeprefix("pilots: ").split(", ")) == [
        "1 held (JobHeldUser)",
        "1 pending (BeginTime)",
    ]
    begin, held = sorted(meanings)
    (expected,) = (job.start for job in known.alive if job.state is JobState.PENDING)
    assert begin.startswith("  BeginTime: ")
    assert begin.endswith(f"; SLURM expects the first to start at {expected}")
    assert held == "  JobHeldUser: you hold it: release it with `scontrol release`"


@pytest.mark.slow
def test_each_element_of_an_array_is_a_job_whether_it_runs_or_waits(
    box: SlurmBox, jobs: Jobs
) -> None:
    number = jobs.submit("--gres=gpu:4", "--exclusive", count=3)

    known = jobs.await_states(JobState.RUNNING, JobState.RUNNING, JobState.PENDING)

    assert sorted(job.name for job in known.alive) == [f"{number}_{index}" for index in range(3)]
    running = [job for job in known.alive if job.state is JobState.RUNNING]
    assert sorted(job.nodes for job in running) == list(box.nodes)
    assert all(job.start for job in running)


@pytest.mark.slow
def test_a_suspended_job_has_not_ended(box: SlurmBox, jobs: Jobs) -> None:
    number = jobs.submit()
    jobs.await_states(JobState.RUNNING)
    box.run("scontrol", "suspend", number)

    (job,) = jobs.await_states(JobState.SUSPENDED).alive
    box.run("scontrol", "resume", number)

    assert job.alive
    jobs.await_states(JobState.RUNNING)


@pytest.mark.slow
def test_ends_are_told_apart(box: SlurmBox, jobs: Jobs) -> None:
    jobs.submit(script="true")
    jobs.submit(script="exit 3")
    cancelled = jobs.submit()
    jobs.await_states(JobState.COMPLETED, JobState.FAILED, JobState.RUNNING)
    box.run("scancel", cancelled)

    known = jobs.await_states(JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)

    assert jobs_json(known)["counts"] == {"completed": 1, "cancelled": 1, "failed": 1}

    def accounted() -> bool:
        """Say whether accounting, which is late, has added what squeue does not know."""
        words = " ".join(sorted(job.reason for job in jobs.view().ended))
        return words.startswith("CANCELLED by ") and "FAILED, exit status 3:0" in words

    wait_until(accounted, "the exit status is known")


@pytest.mark.slow
def test_a_node_failure_is_the_end_only_of_a_job_that_is_not_put_back(
    box: SlurmBox, jobs: Jobs
) -> None:
    node = box.nodes[0]
    jobs.submit(f"--nodelist={node}", "--requeue")
    jobs.submit(f"--nodelist={node}", "--no-requeue")
    jobs.await_states(JobState.RUNNING, JobState.RUNNING)
    box.power_off(node, noticed=True)

    known = jobs.await_states(JobState.REQUEUED, JobState.NODE_FAIL)

    assert known.alive[0].reason.endswith(" after NODE_FAIL")
    assert "its last run: the site lost one of its nodes" in str(known.alive[0].meaning)


@pytest.mark.slow
def test_a_job_that_is_put_back_has_not_ended(box: SlurmBox, jobs: Jobs) -> None:
    number = jobs.submit("--requeue")
    jobs.await_states(JobState.RUNNING)
    box.run("scontrol", "requeuehold", number)

    (job,) = jobs.await_states(JobState.HELD).alive

    assert job.array == number


@pytest.mark.slow
def test_a_job_that_is_cancelled_while_it_waits_again_is_cancelled_whoever_tells(
    box: SlurmBox, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not eligible yet, for `cred_expire` seconds after it was put back."""
    number = jobs.submit("--requeue", "--begin=now", count=2)
    jobs.await_states(JobState.RUNNING, JobState.RUNNING)
    box.run("scontrol", "requeue", f"{number}_0")
    cancel(jobs.await_states(JobState.RUNNING, JobState.REQUEUED).alive)
    never = jobs.submit("--begin=now+1hour")
    box.run("scancel", never)

    jobs.await_states(*[JobState.CANCELLED] * 3)
    for forgetful in ("squeue", "sacct"):
        with monkeypatch.context() as patch:
            wrap(patch, tmp_path / forgetful, forgetful, "true")
            jobs.await_states(*[JobState.CANCELLED] * 3)


@pytest.mark.slow
def test_of_a_large_array_no_element_is_cut_off(
    box: SlurmBox, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounting lists those that were cancelled together, which are 48 here, in no order."""
    kept = {element for element in range(80) if element % 3 and element % 11}
    number = jobs.submit("--hold", count=80)
    box.run("scancel", *[f"{number}_{element}" for element in range(80) if element not in kept])
    box.run("scancel", number)
    wrap(monkeypatch, tmp_path / "bin", "squeue", "true")

    def known() -> set[int]:
        return {int(job.index) for job in jobs.view().ended}

    wait_until(lambda: known() >= kept, "accounting has all of them")


@pytest.mark.slow
def test_elements_that_are_cancelled_before_they_begin_have_ended_each(
    box: SlurmBox, jobs: Jobs
) -> None:
    jobs.submit("--nodes=2", "--exclusive", count=3)
    waiting = jobs.await_states(JobState.RUNNING, JobState.PENDING, JobState.PENDING)
    cancel(waiting.alive)

    jobs.await_states(*[JobState.CANCELLED] * 3)


@pytest.mark.slow
def test_a_controller_that_is_away_is_a_warning_and_no_job_is_taken_for_gone(
    box: SlurmBox, jobs: Jobs
) -> None:
    jobs.submit()
    jobs.await_states(JobState.RUNNING)
    box.kill("slurmctld", signal.SIGTERM)

    known = jobs.view()
    box.start("slurmctld")

    assert (known.known, known.alive, known.ended) == (False, (), ())
    assert "it is unknown which jobs are running" in known.warnings[0]
    jobs.await_states(JobState.RUNNING)


@pytest.mark.slow
def test_accounting_that_is_away_is_a_warning_and_jobs_are_known_all_the_same(
    box: SlurmBox, jobs: Jobs
) -> None:
    jobs.submit()
    jobs.await_states(JobState.RUNNING)
    box.kill("slurmdbd", signal.SIGTERM)

    known = jobs.view()
    box.start("slurmdbd")

    assert [job.state for job in known.alive] == [JobState.RUNNING]
    assert known.known
    assert "it is unknown how past jobs ended" in known.warnings[0]


def test_ends_that_the_test_cluster_cannot_bring_about_are_read_from_accountings_lines() -> None:
    """It has no cgroups, which kill for memory, and a time limit takes it more than a minute."""
    lines = [
        "7|5_1|OUT_OF_MEMORY|0:125|n1|2026-01-01T10:00:00|2026-01-01T11:00:00",
        "8|5_2|TIMEOUT|0:0|n1|2026-01-01T10:00:00|2026-01-01T11:00:00",
        "9|5_3|PREEMPTED|0:0|n1|2026-01-01T10:00:00|2026-01-01T11:00:00",
        "10|5_4|RUNNING|0:0|n1|2026-01-01T10:00:00|Unknown",
        "11|5_[5-6,9%4]|PENDING|0:0|None assigned|Unknown|Unknown",
        "11|5_[20-24:2]|CANCELLED by 0|0:0|None assigned|None|2026-01-01T11:00:00",
        "12|5_6|COMPLETED|0:0|n1|2026-01-01T10:00:00|2026-01-01T11:00:00",
        "15|5_8|REQUEUED|0:0|n1|2026-01-01T10:00:00|2026-01-01T11:00:00",
        "13|5_7|NODE_FAIL|1:0|n1|2026-01-01T10:00:00|2026-01-01T11:00:00",
        "13|5_7|CANCELLED by 0|0:0|None assigned|None|2026-01-01T11:00:05",
    ]

    runs = runs_in("\n".join(f"tiny|{line}" for line in lines))["tiny"]

    # The last one of an element counts: its own row more than that of the array.
    ends = {run.index: run for run in runs}
    assert {index: end.state for index, end in ends.items()} == {
        "1": JobState.OUT_OF_MEMORY,
        "2": JobState.TIMEOUT,
        "3": JobState.PREEMPTED,
        "4": JobState.UNKNOWN,
        "5": JobState.UNKNOWN,
        "6": JobState.COMPLETED,
        "7": JobState.CANCELLED,
        "8": JobState.CANCELLED,
        "9": JobState.UNKNOWN,
        "20": JobState.CANCELLED,
        "22": JobState.CANCELLED,
        "24": JobState.CANCELLED,
    }
    assert ends["4"].end == ""
