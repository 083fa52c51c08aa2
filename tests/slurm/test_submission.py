"""Pilots are submitted once, topped up to the wanted number, stopped, or refused in words."""

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.slurm.box import SlurmBox
from tests.slurm.processes import wait_until
from tests.slurm.sweeping import LONG, SlurmSweep
from tests.sweep.launching.test_code_snapshot import copy_program, ruin
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import PILOTS

pytestmark = pytest.mark.slow


@pytest.fixture
def crowded(slurm_sweep: SlurmSweep) -> SlurmSweep:
    """A study that goes on and on, each of whose pilots takes a node: two run, the rest waits.

    Only few processes start, then: every pilot of a running job loads torch.
    """
    slurm_sweep.study(**LONG)
    slurm_sweep.profile(gpus_used_per_node=4)
    return slurm_sweep


def test_a_launch_returns_and_the_study_goes_on_to_its_end_without_it(
    slurm_sweep: SlurmSweep,
) -> None:
    slurm_sweep.study()

    output = slurm_sweep.launch("--pilots", "2")
    wait_until(lambda: slurm_sweep.read().complete, "the study is complete", within_s=120)
    wait_until(lambda: not slurm_sweep.jobs(), "the pilots end by themselves")

    assert "tiny: 2 pilot(s) submitted" in output
    assert "wconv-sweep status --study tiny" in output
    assert slurm_sweep.status()["slots"]["complete"] == 3
    ends = slurm_sweep.status()["pilots"]
    assert (ends["alive"], ends["counts"]) == ([], {"completed": 2})
    # The program of the pilots is the frozen one, and their provenance the checkout's.
    assert slurm_sweep.run("export", "--format", "json").count('"git_commit"') == 1


def test_a_second_launch_tops_up_and_never_doubles(crowded: SlurmSweep) -> None:
    crowded.launch("--pilots", "3")

    same = crowded.launch("--pilots", "3")
    more = crowded.launch("--pilots", "5")
    fewer = crowded.launch("--pilots", "2")

    assert "0 pilot(s) submitted, 3 already queued or running" in same
    assert "2 pilot(s) submitted, 3 already queued or running" in more
    assert "0 pilot(s) submitted, 5 already queued or running" in fewer
    assert len(crowded.jobs()) == 5
    # No two pilots have had the same number.
    assert {path.name for path in crowded.pilots.glob("slurm_*")} == {
        "slurm_0_3.json",
        "slurm_3_2.json",
    }


def test_a_launch_tells_of_pilots_that_wait_to_be_released(slurm_sweep: SlurmSweep) -> None:
    slurm_sweep.study(**LONG)
    slurm_sweep.launch()
    wait_until(lambda: [job.state for job in slurm_sweep.jobs()] == ["RUNNING"], "a pilot runs")
    (job,) = slurm_sweep.jobs()
    slurm_sweep.box.run("scontrol", "requeuehold", job.id)
    wait_until(lambda: "held" in slurm_sweep.jobs()[0].reason.lower(), "the pilot is held")

    output = slurm_sweep.launch()

    assert "0 pilot(s) submitted, 1 already queued or running" in output
    assert f"1 of the queued ones are held, e.g. {job.id}" in output
    assert f"`scontrol release {job.id}`" in output


def test_launches_at_once_submit_what_one_would(crowded: SlurmSweep) -> None:
    with ThreadPoolExecutor(4) as threads:
        outputs = list(threads.map(lambda _: crowded.launch("--pilots", "6"), range(4)))

    assert sum("6 pilot(s) submitted" in output for output in outputs) == 1
    assert sum("0 pilot(s) submitted" in output for output in outputs) == 3
    assert len(crowded.jobs()) == 6


def test_a_launch_that_is_killed_right_after_sbatch_has_submitted_all_the_same(
    crowded: SlurmSweep, tmp_path: Path
) -> None:
    # sbatch, and then the end of whoever called it, before he could note anything down.
    kills = tmp_path / "bin" / "sbatch"
    kills.parent.mkdir()
    kills.write_text(
        '#!/bin/sh\ncase "$*" in *--test-only*) exec /usr/bin/sbatch "$@";; esac\n'
        '/usr/bin/sbatch "$@"; kill -9 $PPID\n'
    )
    kills.chmod(0o755)
    real_path = crowded.variable("PATH")
    crowded.variables(PATH=f"{kills.parent}:{real_path}")
    crowded.launch("--pilots", "2", status=-signal.SIGKILL)

    crowded.variables(PATH=real_path)
    output = crowded.launch("--pilots", "3")

    assert "1 pilot(s) submitted, 2 already queued or running" in output
    assert len(crowded.jobs()) == 3
    wait_until(
        lambda: "pilot started" in "".join(p.read_text() for p in crowded.pilots.glob("*.err")),
        "the pilots of the killed launch find their order",
    )


@pytest.mark.parametrize(
    ("options", "keys", "words", "remedy"),
    [
        (["--account", "nosuch"], {}, "Invalid account", "--account"),
        (["--partition", "nosuch"], {}, "Invalid partition", "--partition"),
        (["--qos", "nosuch"], {}, "Invalid qos", "--qos"),
        (["--time", "2-00:00:00"], {}, "time limit is invalid", "--time"),
        (["--qos", "few", "--time", "61"], {}, "time limits)", "Lower --time"),
        (["--nodes", "3"], {}, "processors", "--nodes"),
        ([], {"gpus_per_node": 5, "gpus_used_per_node": 5}, "node configuration", "gpus"),
        ([], {"constraint": "h100"}, "Invalid feature", "constraint"),
        (["--sbatch", "reservation=nosuch"], {}, "reservation is invalid", "--sbatch"),
        ([], {"sbatch": {"nosuch": True}}, "unrecognized option '--nosuch'", "sbatch"),
    ],
)
def test_what_the_site_refuses_is_said_in_its_words_and_leaves_nothing(
    slurm_sweep: SlurmSweep,
    options: list[str],
    keys: dict[str, object],
    words: str,
    remedy: str,
) -> None:
    slurm_sweep.study()
    slurm_sweep.profile(**keys)

    errors = slurm_sweep.launch(*options, status=2)

    assert words in errors
    assert remedy in errors.partition(words)[2]
    assert errors.count("\n") == 1
    assert json.loads(slurm_sweep.run("status", "--json")) == []
    assert not slurm_sweep.pilots.parent.exists()
    assert slurm_sweep.jobs() == []


def test_a_submit_limit_is_filled_up_to_and_the_next_launch_goes_on(
    crowded: SlurmSweep,
) -> None:
    first = crowded.launch("--qos", "few", "--pilots", "3")
    second = crowded.launch("--qos", "few", "--pilots", "3")

    assert "2 pilot(s) submitted" in first
    assert "1 more were requested" in first
    assert "0 pilot(s) submitted, 2 already queued or running" in second
    assert len(crowded.jobs()) == 2
    # Neither orders nor scripts of what was refused are left.
    assert sorted(path.name for path in crowded.pilots.glob("slurm_*")) == ["slurm_0_2.json"]
    assert list(crowded.pilots.glob(".submission_file*")) == []


def test_pilots_that_can_never_start_are_told_by_launch_and_by_status(
    slurm_sweep: SlurmSweep,
) -> None:
    """sbatch takes them, and `sbatch --test-only` promises them a start."""
    request = ("--qos", "debug", "--time", "60")
    word = "QOSMaxWallDurationPerJobLimit"
    slurm_sweep.study()

    first = slurm_sweep.launch(*request)
    wait_until(lambda: slurm_sweep.jobs()[0].reason == word, "SLURM has given the reason")
    second = slurm_sweep.launch(*request)
    status = slurm_sweep.run("status")

    assert "1 pilot(s) submitted" in first
    assert "they will never start unless the site makes an exception: --time: 60 min" in first
    assert f"1 of the queued ones will never start, e.g. {slurm_sweep.jobs()[0].id}: {word}" in (
        second
    )
    assert f"1 pending ({word}, never starts)" in status
    assert "its time limit is longer than the QOS allows" in status


def test_arrays_are_split_where_the_site_takes_no_larger_ones(slurm_sweep: SlurmSweep) -> None:
    slurm_sweep.study(**LONG)
    slurm_sweep.profile(gpus_used_per_node=4, max_array_size=2)

    slurm_sweep.launch("--pilots", "5")

    assert len(slurm_sweep.jobs()) == 5
    assert len({job.id.partition("_")[0] for job in slurm_sweep.jobs()}) == 3


def test_pilots_are_queued_while_their_nodes_are_being_repaired(slurm_sweep: SlurmSweep) -> None:
    """`sbatch --test-only` refuses them then, sbatch itself does not."""
    box = slurm_sweep.box
    slurm_sweep.study(**LONG)
    for node, state in zip(box.nodes, ("drain", "down"), strict=True):
        box.run("scontrol", "update", f"node={node}", f"state={state}", "reason=repair")

    with slurm_sweep.start("doctor", "--cluster", "box.yaml") as process:
        doctor, _ = process.communicate(timeout=60)
    refused = slurm_sweep.launch("--nodes", "3", status=2)
    launched = slurm_sweep.launch()
    resumed = slurm_sweep.run("resume", "--study", "tiny", "--pilots", "2")
    waiting = [job.state for job in slurm_sweep.jobs()]
    box.run("scontrol", "update", f"node={','.join(box.nodes)}", "state=resume")
    wait_until(lambda: "RUNNING" in [job.state for job in slurm_sweep.jobs()], "a pilot runs")

    sentence = "2 of the 2 nodes of partition gpu that fit are down or drained"
    assert (process.returncode, sentence in doctor) == (0, True)
    assert sentence in launched
    assert sentence in resumed
    assert waiting == ["PENDING"] * 2
    assert "--nodes" in refused


@pytest.fixture
def no_arrays(box: SlurmBox) -> Iterator[None]:
    """Let the site take no job arrays for a while."""
    path = box.site.slurm_conf
    before = path.read_text("utf-8")

    def configure(text: str) -> None:
        path.write_text(text, "utf-8")
        box.kill("slurmctld", signal.SIGTERM)
        box.start("slurmctld")

    configure(before.replace("MaxArraySize=1001", "MaxArraySize=0"))
    yield
    configure(before)


@pytest.mark.usefixtures("no_arrays")
def test_each_pilot_is_a_job_of_its_own_where_the_site_takes_no_arrays(
    crowded: SlurmSweep,
) -> None:
    """The profile does not know it."""
    with crowded.start("doctor", "--cluster", "box.yaml") as process:
        doctor, _ = process.communicate(timeout=60)
    first = crowded.launch("--pilots", "2")
    second = crowded.launch("--pilots", "3")
    jobs = [job.id for job in crowded.jobs()]
    wait_until(lambda: crowded.read().running, "a trial runs")
    shown = [job["job"] for job in crowded.status()["pilots"]["alive"]]
    stopped = crowded.run("stop", "--study", "tiny", "--now")

    assert process.returncode == 0
    assert "pilots: the site would take them" in doctor
    assert "2 pilot(s) submitted" in first
    assert "1 pilot(s) submitted, 2 already queued or running" in second
    assert [name for name in jobs if "_" in name] == []
    assert sorted(shown) == sorted(jobs)
    assert "tiny: 3 job(s) cancelled." in stopped


def test_stop_now_cancels_the_jobs_of_the_study_and_no_others(crowded: SlurmSweep) -> None:
    other = crowded.box.submit(script="sleep 1000")
    crowded.launch("--pilots", "4")
    wait_until(lambda: any(job.state == "RUNNING" for job in crowded.jobs()), "a pilot runs")

    output = crowded.run("stop", "--study", "tiny", "--now")

    assert "tiny: 4 job(s) cancelled." in output
    wait_until(lambda: not crowded.jobs(), "the pilots are gone")
    assert [job.raw_id for job in crowded.box.queue()] == [other]
    # Accounting hears of it a moment later than the queue.
    wait_until(
        lambda: crowded.status()["pilots"]["counts"] == {"cancelled": 4}, "all are accounted"
    )


def test_a_resume_hands_back_at_once_what_killed_pilots_held(slurm_sweep: SlurmSweep) -> None:
    slurm_sweep.study(**LONG)
    slurm_sweep.profile(gpus_used_per_node=1, lease_s=600)
    slurm_sweep.launch()
    wait_until(lambda: slurm_sweep.read().running, "a trial runs")
    # Cancelled, the pilot would have the time to hand it back itself.
    for process in slurm_sweep.box.job_processes():
        if not process.name.startswith("python"):
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not slurm_sweep.jobs(), "the pilot is gone")
    assert slurm_sweep.status()["running"]

    output = slurm_sweep.run("resume", "--study", "tiny")

    assert "1 pilot(s) submitted" in output
    wait_until(
        lambda: any(row.attempt == 2 for row in slurm_sweep.read().running),
        "the trial goes on",
    )


def test_pilots_get_what_profile_and_command_line_name_and_nothing_of_the_users_variables(
    slurm_sweep: SlurmSweep,
) -> None:
    """Among it a reservation and an excluded node; whole nodes count with all that they have."""
    box = slurm_sweep.box
    slurm_sweep.study(**LONG)
    excluded, reserved = box.nodes
    odd = 'it\'s "$HOME" `touch trap` ;# #SBATCH --array=0-9 JobState=FAILED'
    slurm_sweep.profile(
        gpus_used_per_node=1,
        whole_nodes=True,
        sbatch={"reservation": "nosuch", "exclude": excluded, "contiguous": True},
    )
    slurm_sweep.variables(
        SBATCH_PARTITION="serial",
        SBATCH_QOS="nosuch",
        SBATCH_RESERVATION="nosuch",
        SBATCH_EXPORT="NONE",
        SLURM_CLUSTERS="nosuch",
        SQUEUE_FORMAT="%j",
        SQUEUE_STATES="CD",
        SLURM_JOB_ID="1",
        SLURM_NTASKS="7",
    )
    added = ("--sbatch", "reservation=course", "--sbatch", f"comment={odd}")
    course = ("reservationname=course", "users=root", "starttime=now", "duration=60")
    box.run("scontrol", "create", "reservation", *course, f"nodes={reserved}")
    try:
        slurm_sweep.launch("--pilots", "2", *added)
        more = ("--pilots", "3", "--sbatch", "comment=again")
        again = slurm_sweep.run("resume", "--study", "tiny", *more)
        wait_until(lambda: slurm_sweep.read().running, "a trial runs")
        (runs,) = [job for job in slurm_sweep.jobs() if job.state == "RUNNING"]
        shown = box.run("scontrol", "show", "job", runs.raw_id)
        held = slurm_sweep.ask(_gpus_of_pilots)
        newest = max(slurm_sweep.jobs(), key=lambda job: int(job.raw_id))
        last = box.run("scontrol", "show", "job", newest.raw_id)
    finally:
        box.run("scancel", "--user=root", "--signal=KILL", "--full")
        box.run("scancel", "--user=root")
        wait_until(lambda: not box.queue(), "nothing needs the reservation")
        box.run("scontrol", "delete", "reservationname=course")

    assert "1 pilot(s) submitted, 2 already queued or running" in again
    for fact in ("Reservation=course", f"ExcNodeList={excluded}", "Contiguous=1"):
        assert fact in shown
        assert fact in last
    assert _comment(shown) == odd
    assert _comment(last) == "again"
    assert runs.node == reserved
    assert "MinMemoryNode=0 " in shown
    assert re.search(r"(?<!Req)TRES=\S*gres/gpu=4\b", shown)
    assert held == [4]
    assert list(slurm_sweep.folder.rglob("trap")) == []


def _comment(shown: str) -> str:
    # Before 26.05 a space follows it.
    (comment,) = re.findall(r"^ +Comment=(.*?) ?$", shown, re.MULTILINE)
    return str(comment)


def _gpus_of_pilots(storage: Storage) -> list[int]:
    with storage.read() as connection:
        return list(connection.scalars(select(PILOTS.c.gpus_total)))


def test_no_name_is_taken_for_a_command_by_shell_or_sbatch(slurm_sweep: SlurmSweep) -> None:
    odd = slurm_sweep.folder / 'it\'s a "$HOME" `touch trap` ;#'
    odd.mkdir()
    slurm_sweep.study()
    slurm_sweep.launch("--runs", str(odd))
    wait_until(lambda: slurm_sweep.read().complete, "the study is complete", within_s=120)

    assert list(slurm_sweep.folder.rglob("trap")) == []
    refused = slurm_sweep.launch("--account", "a;touch trap", status=2)
    assert "is not a valid SLURM name" in refused
    assert list(slurm_sweep.folder.rglob("trap")) == []


def test_a_folder_that_slurm_would_take_for_a_pattern_is_refused(slurm_sweep: SlurmSweep) -> None:
    slurm_sweep.study()

    errors = slurm_sweep.launch("--runs", str(slurm_sweep.folder / "100%j"), status=2)

    assert "Choose another one with --runs" in errors
    assert not (slurm_sweep.folder / "100%j").exists()


def test_an_edit_between_submission_and_start_changes_nothing(
    slurm_sweep: SlurmSweep, tmp_path: Path
) -> None:
    program = copy_program(tmp_path / "program")
    slurm_sweep.study()
    slurm_sweep.variables(PYTHONPATH=str(program))
    slurm_sweep.box.run("scontrol", "update", "partition=gpu", "state=down")
    try:
        slurm_sweep.launch()
        waits = slurm_sweep.status()["pilots"]["alive"]
        ruin(program)
    finally:
        slurm_sweep.box.run("scontrol", "update", "partition=gpu", "state=up")
    slurm_sweep.variables(PYTHONPATH="")
    wait_until(lambda: slurm_sweep.read().complete, "the study is complete", within_s=120)

    assert [(job["state"], job["reason"]) for job in waits] == [("pending", "PartitionDown")]
