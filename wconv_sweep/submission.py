"""Starts pilots through submitit."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from submitit import Job, LocalExecutor

from wconv_sweep.agent import PilotOrder, is_running, run_pilot
from wconv_sweep.cluster_profile import ClusterProfile
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.storage import Storage


@dataclass(frozen=True)
class Pilots:
    """The pilots that one command has started."""

    jobs: dict[int, "Job[None]"]
    """By number of the pilot."""

    def all_ended(self) -> bool:
        """Tell whether none of them is at work any more."""
        return all(job.done() for job in self.jobs.values())

    def logs(self) -> list[str]:
        """Return the files that they log to."""
        return [str(job.paths.stderr) for job in self.jobs.values()]


def pilot_command(folder: RunFolder) -> str:
    """Return the command that submitit runs for each pilot."""
    return shlex.join([sys.executable, "-u", "-m", "submitit.core._submit", str(folder.pilots)])


def start_pilots(
    study: str, storage: Storage, folder: RunFolder, profile: ClusterProfile
) -> Pilots:
    """Start the pilots of a study that are not at work, so that `profile.pilots` are."""
    folder.pilots.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(profile.pilots) if not is_running(folder, number)]
    executor = LocalExecutor(folder.pilots)
    executor.update_parameters(
        timeout_min=profile.walltime_min,
        gpus_per_node=profile.gpus_per_node,
        signal_delay_s=int(profile.grace_s),
    )
    jobs: dict[int, Job[None]] = {}
    with _for_pilots():
        for number in missing:
            order = PilotOrder(
                study=study,
                storage=storage.name,
                run_folder=folder.path,
                pilot=number,
                lease_s=profile.lease_s,
                grace_s=profile.grace_s,
                walltime_s=60.0 * profile.walltime_min,
            )
            path = folder.pilots / f"pilot_{number}.json"
            path.write_text(order.model_dump_json(indent=2) + "\n", "utf-8")
            jobs[number] = executor.submit(run_pilot, str(path))
    return Pilots(jobs)


@contextmanager
def _for_pilots() -> Iterator[None]:
    """Give the processes started inside what they need beyond this command's own environment."""
    # submitit starts jobs with `python -m`, which puts the current folder first on sys.path: a job
    # started in a checkout would mix its packages with the installed ones.
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    # Ctrl-C and a closed terminal reach the whole group of processes. A pilot outlives both: it is
    # asked to stop through the storage, and submitit would kill it a second after Ctrl-C. What is
    # ignored here stays ignored in the programs started.
    handlers = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
