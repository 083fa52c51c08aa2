"""A study with all of its trials, and its pilots in SLURM."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sqlalchemy import select

from wconv_sweep.evidence.accounting import trial_gpu_hours
from wconv_sweep.evidence.overview import StudyOverview, overview_of
from wconv_sweep.evidence.results import TrialRow, trial_row_of
from wconv_sweep.slurm.jobs import SlurmView, job_name, views_of
from wconv_sweep.slurm.orders import clusters_of
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import SLOTS


@dataclass(frozen=True)
class StudyStatus(StudyOverview):
    """The progress of a study, with all of its trials."""

    trials: list[TrialRow]
    """In the order of leasing."""


def read_status(storage: Storage, study: str) -> StudyStatus:
    """Return the status of one study.

    Raises:
        StudyError: the storage holds no such study.
    """
    with storage.read() as connection:
        overview = overview_of(connection, storage, study)
        slots = connection.execute(
            select(SLOTS).where(SLOTS.c.study == study).order_by(SLOTS.c.position)
        ).all()
        gpu_hours = trial_gpu_hours(connection, storage.now(), study)
    trials = [trial_row_of(slot, gpu_hours.get(slot.position, 0.0)) for slot in slots]
    known = {field.name: getattr(overview, field.name) for field in fields(overview)}
    return StudyStatus(**known, trials=trials)


def study_jobs(studies: Sequence[StudyOverview]) -> list[SlurmView | None]:
    """Return the pilots of each study in SLURM; None if it never had any there.

    One squeue and one sacct for all of them together, on each of their clusters.
    """
    names = [job_name(each.study, each.uid) for each in studies]
    clusters = {name: clusters_of(each.folder) for name, each in zip(names, studies, strict=True)}
    views = views_of({name: its for name, its in clusters.items() if its})
    return [views.get(name) for name in names]
