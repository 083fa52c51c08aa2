"""What SLURM prints is understood in every version of it, as it was recorded from each."""

from pathlib import Path

import pytest

from tests.slurm.record import ENDS, UID, states
from tests.sweep.slurm.replay import VERSIONS, replay
from wconv_sweep.errors import SlurmAway
from wconv_sweep.pilots.slurm_pilot import job_facts
from wconv_sweep.slurm.job import JobState
from wconv_sweep.slurm.jobs import jobs_of
from wconv_sweep.slurm.site import NodeKind, ask_site

pytestmark = pytest.mark.parametrize("version", VERSIONS)


class Recording:
    """Plays scenes of a recording, one at a time."""

    def __init__(self, version: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._version = version
        self._folder = folder
        self._monkeypatch = monkeypatch

    def play(self, scene: str) -> Path:
        """Let SLURM's programs print what they did, and return their folder."""
        programs = self._folder / scene
        replay(self._monkeypatch, programs, self._version, scene)
        return programs


@pytest.fixture
def recording(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    monkeypatch.setattr("wconv_sweep.slurm.site.user_name", lambda: "root")
    return Recording(version, tmp_path, monkeypatch)


def test_ends_and_waits_are_told_apart(recording: Recording) -> None:
    recording.play("ends")
    view = jobs_of("ends", UID)

    assert states(view) == ENDS
    assert view.warnings == ()
    reasons = {job.index: job.reason for job in view.alive}
    assert reasons["5"] == "JobHeldUser"
    assert reasons["6"] == "job requeued in held state"
    assert reasons["9"].endswith(" after NODE_FAIL")
    assert reasons["10"].startswith("ReqNodeNotAvail, ")
    ends = {job.index: job.reason for job in view.ended}
    assert ends["2"] == "FAILED, exit status 3:0"
    assert ends["3"] == "FAILED, exit status 0:9"
    assert all(job.nodes and job.start for job in view.ended if job.index in "12378")


def test_accounting_alone_knows_how_jobs_ended(recording: Recording) -> None:
    """The controller forgets them after MinJobAge."""
    programs = recording.play("ends")
    (programs / "squeue").write_text("#!/bin/sh\n", "utf-8")

    found = states(jobs_of("ends", UID))

    known = {index: state for index, state in found.items() if state is not JobState.UNKNOWN}
    alive = {"5", "6", "9", "10", "12"}
    assert known == {index: state for index, state in ENDS.items() if index not in alive}


def test_a_job_of_a_moment_ago_is_known_although_accounting_may_be_late(
    recording: Recording,
) -> None:
    recording.play("begun")

    assert states(jobs_of("begun", UID)) == {"1": JobState.RUNNING, "2": JobState.FAILED}


def test_what_is_written_on_a_command_line_is_no_fact_about_the_job(recording: Recording) -> None:
    recording.play("begun")
    facts = job_facts("7")

    assert facts["JobState"] == "RUNNING"
    assert facts["Restarts"] == "0"
    assert facts["EndTime"].isdigit()


def test_the_site_is_read(version: str, recording: Recording) -> None:
    recording.play("site")
    site = ask_site()

    assert (site.version, site.cluster, site.max_array_size) == (version, "testbox", 1001)
    assert site.warnings == ()
    gpus = {found.name: found.kinds for found in site.partitions}["gpu"]
    assert gpus == (NodeKind(nodes=2, cpus=32, mem_mb=128_000, gpus=4, gpu_kind=""),)
    assert {found.name: found.max_time_min for found in site.partitions} == {
        "serial": 240,
        "gpu": 1440,
        "gpu_short": 60,
    }
    # In no order that all versions have.
    assert {(found.account, found.default) for found in site.associations} == {
        ("wconv", True),
        ("root", False),
    }
    qos = {found.name: found for found in site.qos}
    assert (qos["debug"].max_wall_min, qos["debug"].max_gpus_per_user) == (30, 4)
    assert (qos["few"].max_submit_per_user, qos["patient"].grace_s) == (2, 20)


def test_daemons_that_do_not_answer_are_away(recording: Recording) -> None:
    recording.play("no_accounting")
    without_accounting = jobs_of("ends", UID)
    recording.play("no_controller")
    without_controller = jobs_of("ends", UID)

    assert without_accounting.known
    assert "it is unknown how past jobs ended" in without_accounting.warnings[0]
    assert "try again once it does" in without_accounting.warnings[0]
    assert not without_controller.known
    assert "try again once it does" in without_controller.warnings[0]
    with pytest.raises(SlurmAway, match="Unable to contact slurm controller"):
        ask_site()
