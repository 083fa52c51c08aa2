"""Stops a study: its pilots end at the next checkpoints, or are cancelled."""

from dataclasses import dataclass

from wconv_sweep.errors import SlurmError
from wconv_sweep.evidence.overview import read_overview
from wconv_sweep.slots import definitions, studies
from wconv_sweep.slurm.job import ALIVE, JobState
from wconv_sweep.slurm.jobs import SlurmView, cancel, jobs_of
from wconv_sweep.slurm.orders import clusters_of
from wconv_sweep.storage.open_storage import Storage


@dataclass(frozen=True)
class Stopped:
    """The outcome of a stop."""

    study: str
    view: SlurmView | None
    """Of its jobs; None if it never had any."""
    cancelled: bool
    ended: bool
    """Whether all of its trials have ended: there is nothing to resume."""

    def lines(self) -> list[str]:
        """Return it in words."""
        first = "running trials end at their next checkpoint"
        if self.ended:
            first = "all of its trials have ended, there is nothing to stop"
        lines = [f"{self.study}: {first}."]
        if self.view is None:
            return lines
        lines += [f"{self.study}: warning: {warning}" for warning in self.view.warnings]
        jobs = self.view.count(*ALIVE)
        if self.cancelled and self.view.known:
            return [f"{self.study}: {jobs} job(s) cancelled.", *lines[1:]]
        waiting = jobs - self.view.count(JobState.RUNNING, JobState.COMPLETING)
        if waiting:
            again = "" if self.ended else "`resume` uses them again; "
            lines.append(
                f"{self.study}: {waiting} job(s) wait in the queue, and end when they start. "
                f"{again}`stop --now` cancels them."
            )
        return lines


def stop(storage: Storage, study: str, *, now: bool = False) -> Stopped:
    """Stop leasing slots, and let running trials end at their next checkpoint.

    Args:
        storage: holds the study.
        study: its name.
        now: cancel its jobs in SLURM as well, and no others.

    Raises:
        StudyError: the storage holds no such study.
        SlurmError: SLURM does not cancel them, or does not answer; the study is stopped all the
            same.
    """
    place = definitions.study_place(storage, study)
    studies.stop(storage, study)
    ended = read_overview(storage, study).complete
    clusters = clusters_of(place.folder)
    if not clusters:
        return Stopped(study, None, cancelled=False, ended=ended)
    view = jobs_of(study, place.uid, clusters, history=False)
    if now:
        cancel(view.alive)
        if not view.known:
            which = "not all of its jobs are" if view.alive else "its jobs are not"
            raise SlurmError(
                f"study {study} is stopped, but {which} cancelled: "
                f"{'; '.join(view.warnings)}. Cancel them with scancel."
            )
    return Stopped(study, view, cancelled=now, ended=ended)
