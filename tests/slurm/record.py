"""Records what SLURM prints of jobs and of a site, for tests/sweep/slurm/test_versions.py.

`python -m tests.slurm.record` does it on a cluster of this machine's SLURM, in two minutes;
`make slurm-recordings` in the roots of tests/slurm/versions.py.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.slurm.box import SlurmBox, slurm_box
from tests.slurm.processes import wait_until
from tests.sweep.slurm.replay import RECORDED, write_programs
from wconv_sweep.errors import SlurmAway
from wconv_sweep.pilots.slurm_pilot import job_facts
from wconv_sweep.slurm.job import JobState
from wconv_sweep.slurm.jobs import SlurmView, job_name, jobs_of
from wconv_sweep.slurm.site import ask_site

UID = "0123456789abcdef"
ENDS = {
    "1": JobState.COMPLETED,
    "2": JobState.FAILED,
    "3": JobState.FAILED,
    "4": JobState.CANCELLED,
    "5": JobState.HELD,
    "6": JobState.HELD,
    "7": JobState.TIMEOUT,
    "8": JobState.NODE_FAIL,
    "9": JobState.REQUEUED,
    "10": JobState.PENDING,
    "11": JobState.CANCELLED,
    "12": JobState.RUNNING,
}
"""The state of each job of the scene `ends`, by its index, in which `_ends` brings it."""
_LONG = "sleep 1000"
_KERNEL = re.compile(r"\bOS=.*?(?= RealMemory=)")


def main() -> None:
    """Record all scenes of the installed version of SLURM."""
    with slurm_box() as box:
        os.environ["SLURM_CONF"] = box.environment["SLURM_CONF"]
        folder = RECORDED / box.run("scontrol", "--version").split()[-1]
        shutil.rmtree(folder, ignore_errors=True)
        with _scene(folder / "site"):
            ask_site()
        _begun(box, folder)
        _ends(box, folder)
        _away(box, folder)


def states(view: SlurmView) -> dict[str, JobState]:
    """Return the state of each job by its index."""
    return {job.index: job.state for job in (*view.alive, *view.ended)}


@contextmanager
def _scene(folder: Path) -> Iterator[None]:
    """Record what SLURM's programs print meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    path = os.environ["PATH"]
    with tempfile.TemporaryDirectory() as programs:
        write_programs(
            Path(programs),
            f'PATH={path}\n"${{0##*/}}" "$@" > "{folder}/$name" 2> "{folder}/$name.err"\n'
            f'status=$?\ncat "{folder}/$name"\ncat "{folder}/$name.err" >&2\n'
            f'if [ $status = 0 ]; then rm "{folder}/$name.err"; else rm "{folder}/$name"; fi\n'
            "exit $status\n",
        )
        os.environ["PATH"] = f"{programs}:{path}"
        try:
            yield
        finally:
            os.environ["PATH"] = path
    for file in folder.iterdir():
        file.write_text(_KERNEL.sub("OS=Linux", file.read_text("utf-8")), "utf-8")


def _begun(box: SlurmBox, folder: Path) -> None:
    """Record jobs that have begun a moment ago, one of which has ended."""
    run = _submitter(box, "begun")
    ended = run("2", script="exit 7")
    # SLURM 26.05 shows the command line after what it knows of the job.
    running = run("1", script=f"echo begun; JobState=CANCELLED exec {_LONG}")
    wait_until(
        lambda: box.output(running) and ended not in {job.raw_id for job in box.queue()},
        "one job runs and the other has ended",
    )
    with _scene(folder / "begun"):
        jobs_of("begun", UID)
        job_facts(running)


def _ends(box: SlurmBox, folder: Path) -> None:
    """Record jobs that have ended in all ways, and some that wait."""
    run = _submitter(box, "ends")
    lost, drained = box.nodes
    on_lost = ("--partition=gpu", f"--nodelist={lost}")
    run("7", "--time=1", "--no-requeue")
    run("1", script="true")
    run("2", script="exit 3")
    run("3", script="kill -9 $$")
    box.run("scancel", run("4", "--begin=now+1hour"))
    run("5", "--hold")
    put_back = [run(index, "--requeue") for index in ("6", "11")]
    run("8", *on_lost, "--no-requeue")
    run("9", *on_lost, "--requeue")
    run("12")
    box.run("scontrol", "update", f"node={drained}", "state=drain", "reason=repair")
    run("10", "--partition=gpu", f"--nodelist={drained}")

    def in_state(*wanted: str) -> Callable[[], bool]:
        return lambda: all(
            states(jobs_of("ends", UID)).get(index) is ENDS["12"] for index in wanted
        )

    wait_until(in_state("6", "8", "9", "11", "12"), "the jobs run")
    box.run("scontrol", "requeuehold", put_back[0])
    box.run("scontrol", "requeue", put_back[1])
    box.power_off(lost, noticed=True)
    # Accounting of SLURM 22.05 learns of a job so late that it is not known to have run.
    again = (JobState.PENDING, JobState.REQUEUED)
    wait_until(lambda: states(jobs_of("ends", UID))["11"] in again, "the requeue")
    box.run("scancel", put_back[1])

    def as_wanted() -> bool:
        view = jobs_of("ends", UID)
        # The scheduler says why they wait when it looks at them.
        waits = [job.reason for job in view.alive if job.index in ("9", "10")]
        return states(view) == ENDS and all("Node" in reason for reason in waits)

    wait_until(as_wanted, "every job is as wanted")
    with _scene(folder / "ends"):
        jobs_of("ends", UID)


def _away(box: SlurmBox, folder: Path) -> None:
    """Record the programs without a controller, and without accounting."""
    box.kill("slurmdbd")
    with _scene(folder / "no_accounting"):
        jobs_of("ends", UID)
    box.kill("slurmctld")
    with _scene(folder / "no_controller"):
        jobs_of("ends", UID)
        with suppress(SlurmAway):
            ask_site()


def _submitter(box: SlurmBox, study: str) -> Callable[..., str]:
    def run(index: str, *options: str, script: str = _LONG) -> str:
        given = (f"--job-name={job_name(study, UID)}", f"--array={index}", "--mem=100M")
        return box.submit("--partition=serial", *given, *options, script=script)

    return run


if __name__ == "__main__":
    main()
