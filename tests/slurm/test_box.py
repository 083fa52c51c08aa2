"""The cluster of the tests is one: jobs run on it as on a real one, and nothing of it stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm.box import SlurmBox, slurm_box
from tests.slurm.processes import wait_until

pytestmark = pytest.mark.slow


def finish(box: SlurmBox, job: str) -> None:
    # sacct knows of a job some seconds after squeue, but of its end at once.
    wait_until(lambda: box.states(job)[-1:] == ["COMPLETED"], f"the end of job {job}")


def names(box: SlurmBox, node: str) -> set[str]:
    return {process.name for process in box.job_processes(node)}


def begun(box: SlurmBox, *jobs: str) -> None:
    # SLURM calls a job running some time before its script runs.
    wait_until(lambda: all(box.output(job) for job in jobs), f"the scripts of {jobs} run")


def test_a_job_runs_on_both_nodes_with_all_their_gpus(box: SlurmBox) -> None:
    job = box.submit(
        *("--nodes=2", "--ntasks-per-node=1", "--gres=gpu:4"),
        script="srun sh -c 'echo $SLURMD_NODENAME $(uname -n) $CUDA_VISIBLE_DEVICES'",
    )
    finish(box, job)

    lines = [line.split() for line in box.output(job).splitlines()]
    assert sorted(node for node, _, _ in lines) == list(box.nodes)
    assert {gpus for _, _, gpus in lines} == {"0,1,2,3"}
    if box.site.named_hosts:
        assert all(host == node for node, host, _ in lines)


def test_jobs_that_share_a_node_get_gpus_of_their_own(box: SlurmBox) -> None:
    options = (f"--nodelist={box.nodes[0]}", "--gres=gpu:2", "--mem=100M")
    script = "echo $CUDA_VISIBLE_DEVICES; sleep 1000"
    jobs = [box.submit(*options, script=script) for _ in range(2)]
    begun(box, *jobs)

    assert {box.output(job).strip() for job in jobs} == {"0,1", "2,3"}


def test_a_killed_slurmd_leaves_its_job_alive_and_a_power_cut_does_not(box: SlurmBox) -> None:
    """The two look alike to the controller, which has only heard nothing."""
    node = box.nodes[0]
    job = box.submit(f"--nodelist={node}", script="echo begun; sleep 1234")
    begun(box, job)
    wait_until(lambda: "sleep" in names(box, node), "the job sleeps")

    box.kill(node)
    assert "sleep" in names(box, node)

    box.start(node)
    box.power_off(node, noticed=True)
    assert box.job_processes(node) == []
    wait_until(lambda: "NODE_FAIL" in box.states(job), "accounting knows of the node's end")


def test_an_urgent_job_takes_the_nodes_of_a_patient_one_after_a_signal(box: SlurmBox) -> None:
    script = 'trap "echo asked; exit 0" USR2; echo begun; while :; do sleep 0.1; done'
    options = ("--nodes=2", "--exclusive", "--gres=gpu:4")
    job = box.submit("--qos=patient", "--signal=B:USR2@60", *options, script=script)
    begun(box, job)
    urgent = box.submit("--qos=urgent", *options, script="true")
    finish(box, urgent)

    assert "asked" in box.output(job)


def test_a_daemon_comes_back_with_what_it_knew(box: SlurmBox) -> None:
    job = box.submit("--hold", script="true")
    for daemon in ("slurmctld", "slurmdbd", "mariadbd"):
        box.kill(daemon, signal.SIGTERM)
        assert not box.runs(daemon)
    box.start_all()

    assert [found.raw_id for found in box.queue()] == [job]


def test_a_second_cluster_runs_beside_the_first_and_leaves_nothing(box: SlurmBox) -> None:
    with slurm_box() as other:
        job = other.submit("--nodes=2", "--ntasks-per-node=1", script="srun sleep 1000")
        wait_until(
            lambda: len([p for p in other.job_processes() if p.name == "sleep"]) == 2,
            "both tasks run",
        )
        assert box.queue() == []
        assert not set(box.site.all_nodes) & set(other.site.all_nodes)
        assert [found.raw_id for found in other.queue()] == [job]

    assert not other.site.folder.exists()
    assert str(other.site.folder) not in "\n".join(environments())
    hosts = Path("/etc/hosts").read_text("utf-8")
    assert other.nodes[0] not in hosts
    assert box.nodes[0] in hosts


def test_a_cluster_whose_tests_are_killed_leaves_nothing(box: SlurmBox) -> None:
    script = (
        "import sys\n"
        "from tests.slurm.box import slurm_box\n"
        "with slurm_box() as box:\n"
        "    box.submit(script='sleep 1000')\n"
        "    print(box.site.folder, box.nodes[0], flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        folder, node = tests.stdout.readline().split()
        tests.kill()

    wait_until(lambda: not Path(folder).exists(), "the folder is gone")
    wait_until(lambda: folder not in "\n".join(environments()), "its processes are gone")
    wait_until(lambda: node not in Path("/etc/hosts").read_text("utf-8"), "its nodes are gone")
    assert box.nodes[0] in Path("/etc/hosts").read_text("utf-8")


def environments() -> list[str]:
    """Return the variables of every process of this machine."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                found.append((folder / "environ").read_text("utf-8", "replace"))
            except OSError:
                continue  # ended meanwhile
    return found
