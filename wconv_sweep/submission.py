"""Starts pilots through submitit."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from submitit import Job, LocalExecutor

from wconv_sweep.agent import is_running, run_pilot
from wconv_sweep.cluster_profile import LocalProfile
from wconv_sweep.pilot_order import PilotOrder
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.storage import Storage


@dataclass(frozen=True)
class Pilots:
    """The pilots of a study, those that this command has started among them."""

    folder: RunFolder
    count: int
    started: dict[int, "Job[None]"]
    """By number of the pilot; the others were at work."""

    def all_ended(self) -> bool:
        """Tell whether none of them is at work any more."""
        return all(job.done() for job in self.started.values()) and not any(
            is_running(self.folder, number) for number in range(self.count)
        )

    def logs(self) -> list[str]:
        """Return the files that the started ones log to."""
        return [str(job.paths.stderr) for job in self.started.values()]


def pilot_command(folder: RunFolder) -> str:
    """Return the command that submitit runs for each pilot."""
    return shlex.join([sys.executable, "-u", "-m", "submitit.core._submit", str(folder.pilots)])


def start_pilots(study: str, storage: Storage, folder: RunFolder, profile: LocalProfile) -> Pilots:
    """Start the pilots of a study that are not at work, so that `profile.pilots` are."""
    missing = [number for number in range(profile.pilots) if not is_running(folder, number)]
    executor = LocalExecutor(folder.pilots)
    executor.update_parameters(
        timeout_min=profile.walltime_min,
        gpus_per_node=profile.gpus_per_pilot,
        signal_delay_s=int(profile.grace_s),
    )
    jobs: dict[int, Job[None]] = {}
    with _detached(folder.pilots / "submitit.log"):
        for number in missing:
            order = PilotOrder(
                study=study,
                storage=storage.name,
                run_folder=folder.path,
                pilot=number,
                gpus=profile.gpus_per_pilot,
                lease_s=profile.lease_s,
                grace_s=profile.grace_s,
                walltime_s=60.0 * profile.walltime_min,
            )
            path = folder.pilots / f"pilot_{number}.json"
            # Of two launches at once, a pilot may read what the other one is writing.
            unfinished = path.with_name(f".{path.name}.{os.getpid()}")
            unfinished.write_text(order.model_dump_json(indent=2) + "\n", "utf-8")
            unfinished.replace(path)
            gpus = profile.gpus_per_pilot
            executor.update_parameters(visible_gpus=range(number * gpus, (number + 1) * gpus))
            jobs[number] = executor.submit(run_pilot, str(path))
    return Pilots(folder, profile.pilots, jobs)


@contextmanager
def _detached(log: Path) -> Iterator[None]:
    """Let the processes started inside outlive this command, its terminal and its pipes.

    Args:
        log: gets what they print outside of their own logs.
    """
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
        with _output_to(log):
            yield
    finally:
        for signal_number, handler in handlers.items():
            signal.signal(signal_number, handler)
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Give the processes started inside an output of their own.

    Whoever reads this command's output through a pipe would wait until the pilots end, too.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(number) for number in (0, 1, 2)]
    try:
        with open(os.devnull, "rb") as nothing, log.open("ab") as file:
            for number, replacement in enumerate((nothing, file, file)):
                os.dup2(replacement.fileno(), number)
        yield
    finally:
        for number, original in enumerate(saved):
            os.dup2(original, number)
            os.close(original)
