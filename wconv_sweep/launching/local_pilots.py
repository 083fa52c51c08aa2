"""Starts pilots as processes of this machine, through submitit's local executor."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from submitit import Job, LocalExecutor
from submitit.local.local import LocalJob

from wconv_sweep.clusters.profile import LocalProfile
from wconv_sweep.launching.code_snapshot import freeze, path_with
from wconv_sweep.pilots.command import pilot_command, write_order
from wconv_sweep.pilots.lock import is_running
from wconv_sweep.pilots.machine import cores_of_pilot, lanes_of_pilot
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.config import StudyConfig


@dataclass(frozen=True)
class LocalPilots:
    """The pilots of a study on this machine, those that this command has started among them."""

    folder: RunFolder
    count: int
    jobs: dict[int, "Job[None]"]
    """Started by this command, by number of the pilot; the others were at work."""
    goes_on: bool = False
    """Whether started pilots run on without this command."""

    @property
    def started(self) -> int:
        """Number of pilots that this command has started."""
        return len(self.jobs)

    def all_ended(self) -> bool:
        """Return whether all of them have ended."""
        return all(job.done() for job in self.jobs.values()) and not any(
            is_running(self.folder, number) for number in range(self.count)
        )

    def notes(self) -> list[str]:
        """Return notes for the user about the started pilots."""
        return [f"{self.started} pilot(s) started"]

    def logs(self) -> list[str]:
        """Return the files that the started ones log to."""
        return [str(job.paths.stderr) for job in self.jobs.values()]


def start_local(
    config: StudyConfig, storage: Storage, folder: RunFolder, profile: LocalProfile
) -> LocalPilots:
    """Start missing pilots of a study, so that `profile.pilots` are running."""
    missing = [number for number in range(profile.pilots) if not is_running(folder, number)]
    frozen = freeze(folder)
    executor = _CommandExecutor(folder.pilots)
    executor.update_parameters(
        timeout_min=profile.walltime_min,
        gpus_per_node=profile.gpus_per_pilot,
        signal_delay_s=int(profile.grace_s),
    )
    jobs: dict[int, Job[None]] = {}
    with _detached(folder.pilots / "submitit.log", frozen):
        for number in missing:
            order = local_order(config, storage.name, folder, profile, number)
            path = order_path(folder, number)
            write_order(order, path)
            gpus = profile.gpus_per_pilot
            executor.update_parameters(visible_gpus=range(number * gpus, (number + 1) * gpus))
            jobs[number] = executor.start(pilot_command(path))
    return LocalPilots(folder, profile.pilots, jobs)


def local_order(
    config: StudyConfig, storage: str, folder: RunFolder, profile: LocalProfile, number: int
) -> PilotOrder:
    """Return the order for a pilot of a study.

    Args:
        config: of the study.
        storage: its URL, without a password.
        folder: of the study.
        profile: of this machine.
        number: of the pilot.
    """
    return PilotOrder(
        study=config.study,
        storage=storage,
        run_folder=folder.path,
        pilot=number,
        gpus_used_per_node=profile.gpus_per_pilot,
        gpus_held_per_node=profile.gpus_per_pilot,
        lanes=lanes_of_pilot(profile, config.trial),
        cpus=cores_of_pilot(profile),
        lease_s=profile.lease_s,
        grace_s=profile.grace_s,
        walltime_s=60.0 * profile.walltime_min,
    )


def order_path(folder: RunFolder, number: int) -> Path:
    """Return the path of a pilot's order."""
    return folder.pilots / f"pilot_{number}.json"


class _CommandJob(LocalJob[None]):
    """A command that outlives this program."""

    def __del__(self) -> None:
        """Skip the pickled result: a command writes none, and submitit's check fails at exit."""


class _CommandExecutor(LocalExecutor):
    """Starts a command rather than a pickled function."""

    def start(self, command: str) -> "Job[None]":
        """Start it, with its output in files of its own, and end it when its time is over."""
        job: LocalJob[None] = self._submit_command(command)
        return _CommandJob(self.folder, job.job_id, process=job._process)


@contextmanager
def _detached(log: Path, frozen: Path) -> Iterator[None]:
    """Let processes started in this block outlive this command, its terminal and its pipes.

    Args:
        log: gets what they print outside of their own logs.
        frozen: the program that they run.
    """
    # submitit starts jobs with `python -m`, which puts the current folder first on sys.path: a job
    # started in a checkout would mix its packages with the installed ones.
    changed = {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": path_with(frozen, os.environ.get("PYTHONPATH")),
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
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
        for name, text in before.items():
            if text is None:
                del os.environ[name]
            else:
                os.environ[name] = text


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Give processes started in this block an output of their own.

    A reader of this command's output through a pipe would also wait until the pilots end.
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
