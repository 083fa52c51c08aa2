"""`doctor` holds a profile against a running site, and tries a job there."""

import json
import signal

import pytest

from tests.slurm.processes import wait_until
from tests.slurm.sweeping import SlurmSweep

pytestmark = pytest.mark.slow


def doctor(sweep: SlurmSweep, *more: str, status: int) -> dict[str, dict[str, str]]:
    """Return the checks by what they say."""
    with sweep.start("doctor", "--cluster", "box.yaml", "--json", *more) as process:
        output, errors = process.communicate(timeout=300)
    assert process.returncode == status, (output, errors)
    return {check["what"]: check for check in json.loads(output)}


def begin_with(checks: dict[str, dict[str, str]], beginning: str) -> list[dict[str, str]]:
    return [check for what, check in checks.items() if what.startswith(beginning)]


def wrong(checks: dict[str, dict[str, str]]) -> list[str]:
    return [what for what, check in checks.items() if check["mark"] == "wrong"]


def test_a_profile_that_fits_the_site_is_right(slurm_sweep: SlurmSweep) -> None:
    checks = doctor(slurm_sweep, "--partition", "gpu,gpu_short", status=0)

    for what in (
        *("sbatch: answers", "squeue: answers", "sacct: answers", "scontrol: answers"),
        "partition gpu: up, 2 nodes with 1 GPUs and 8 CPUs",
        "partition gpu_short: up, 1 nodes with 1 GPUs and 8 CPUs",
        "account wconv: one of root's",
        "QOS normal: account wconv may use it",
        "profile: pilots are within its limits",
        "site: pilots are within its limits",
        "pilots: the site would take them (sbatch --test-only)",
        "storage: rows can be written",
    ):
        assert checks[what]["mark"] == "right", what


def test_every_wish_that_the_site_refuses_is_named(slurm_sweep: SlurmSweep) -> None:
    slurm_sweep.profile(
        account="nobody", partition={"default": "gpus"}, max_array_size=5000, walltime_min=30
    )
    found = doctor(slurm_sweep, status=1)
    assert "Yours: root, wconv." in found["account nobody: not one of root's"]["remedy"]
    assert "gpu_short" in found["partition gpus: the site has none of this name"]["remedy"]
    assert found["max_array_size: 5000, but the site has 1001"]["mark"] == "warning"
    assert found["pilots: the site refuses them"]["mark"] == "wrong"

    slurm_sweep.profile(gpus_used_per_node=8, gpus_per_node=8, cpus_per_gpu=1)
    assert wrong(doctor(slurm_sweep, status=1)) == [
        "partition gpu: 0 nodes with 8 GPUs and 8 CPUs, 1 wanted",
        "pilots: the site refuses them",
    ]

    slurm_sweep.profile(gpus_used_per_node=1, partition={"default": "gpu_short"}, walltime_min=120)
    (limit,) = begin_with(doctor(slurm_sweep, status=1), "site: pilots cannot")
    assert "--time 60" in limit["remedy"]

    slurm_sweep.profile(gpus_used_per_node=1)
    unknown = doctor(slurm_sweep, "--qos", "fast", status=1)
    assert "debug" in unknown["QOS fast: account wconv may not use it here"]["remedy"]


def test_facts_that_have_grown_old_are_a_warning(slurm_sweep: SlurmSweep) -> None:
    slurm_sweep.profile(
        gpus_used_per_node=1,
        partition={"default": "gpu", "known": {"gpu": {"max_walltime_min": 600}}},
    )

    checks = doctor(slurm_sweep, status=0)

    old = checks["profile: limits of gpu differ from the site's"]
    assert "max_walltime_min: 600 in the profile, 1440 at the site" in old["remedy"]


def test_accounting_that_is_away_is_a_warning_and_the_rest_is_looked_at(
    slurm_sweep: SlurmSweep,
) -> None:
    slurm_sweep.box.kill("slurmdbd")

    checks = doctor(slurm_sweep, status=0)

    assert checks["sacct: does not answer"]["mark"] == "warning"
    assert checks["account and QOS"]["mark"] == "skipped"
    assert checks["partition gpu: up, 2 nodes with 1 GPUs and 8 CPUs"]["mark"] == "right"


def test_a_job_looks_from_a_node_and_leaves_nothing(slurm_sweep: SlurmSweep) -> None:
    slurm_sweep.profile(gpus_used_per_node=0)

    checks = doctor(slurm_sweep, "--job", status=0)

    (ran,) = begin_with(checks, "test job ")
    assert ran["what"].endswith(": ran as pilots do")
    said = [what.partition(": ")[2] for what in begin_with_on(checks)]
    assert "program imported from the frozen copy, Python 3" in " ".join(said)
    assert "gloo: 2 processes summed their numbers" in said
    assert "storage: rows can be written" in said
    assert begin_with(checks, "run folder: ")[-1]["what"].endswith("read each other's files")
    assert len(begin_with(checks, "clocks of ")) == 3
    assert not (slurm_sweep.folder / "wconv_runs").exists()
    wait_until(lambda: not slurm_sweep.box.queue(), "no job is left")


def begin_with_on(checks: dict[str, dict[str, str]]) -> list[str]:
    return [check["what"] for check in begin_with(checks, "on ")]


def test_a_job_that_gets_no_gpu_says_so_plainly(slurm_sweep: SlurmSweep) -> None:
    checks = doctor(slurm_sweep, "--job", status=1)

    (bad,) = wrong(checks)
    assert bad.endswith("no GPU")
    assert "has requested 1 GPU(s)" in checks[bad]["remedy"]


def test_a_job_that_does_not_begin_is_cancelled(slurm_sweep: SlurmSweep) -> None:
    box = slurm_sweep.box
    filling = box.submit("--nodes=2", "--exclusive", script="sleep 600")
    wait_until(lambda: [job.state for job in box.queue()] == ["RUNNING"], "both nodes are taken")

    checks = doctor(slurm_sweep, "--job", "--wait", "0.02", status=0)

    (waited,) = begin_with(checks, "test job ")
    assert waited["mark"] == "warning"
    assert "--wait" in waited["remedy"]
    wait_until(lambda: [job.id for job in box.queue()] == [filling], "the job is cancelled")


def test_a_job_whose_program_cannot_start_shows_its_last_words(slurm_sweep: SlurmSweep) -> None:
    slurm_sweep.profile(gpus_used_per_node=0, modules=["nothing/1.0"])

    checks = doctor(slurm_sweep, "--job", status=1)

    (ended,) = begin_with(checks, "test job ")
    assert ended["what"].endswith("ended without a report")
    assert "Its log: " in ended["remedy"]
    assert "module" in ended["remedy"]


def test_ctrl_c_cancels_the_job(slurm_sweep: SlurmSweep) -> None:
    box = slurm_sweep.box
    filling = box.submit("--nodes=2", "--exclusive", script="sleep 600")
    wait_until(lambda: [job.state for job in box.queue()] == ["RUNNING"], "both nodes are taken")

    with slurm_sweep.start("doctor", "--cluster", "box.yaml", "--job") as process:
        wait_until(lambda: len(box.queue()) == 2, "the test job waits")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert process.returncode == 130
    wait_until(lambda: [job.id for job in box.queue()] == [filling], "the job is cancelled")
