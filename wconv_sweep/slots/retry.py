"""Reopens failed slots, to retry their trials."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update

from wconv_sweep.errors import StudyError
from wconv_sweep.slots.leases import study_row
from wconv_sweep.storage import trial_rows
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.study_lookup import find_study
from wconv_sweep.storage.tables import ATTEMPTS, SLOTS, STUDIES, SlotState
from wconv_sweep.study.point import Point


@dataclass(frozen=True)
class Retried:
    """A reopened trial."""

    trial: int
    label: str | None
    point: Point | None
    epoch: int
    """The epoch that its checkpoint continues from."""
    reason: str | None
    """Reason of its failure."""


def retry(storage: Storage, study: str, trials: Sequence[int] | None) -> list[Retried]:
    """Reopen failed slots: the same trials, whose broken attempts no longer count.

    The attempts stay on record, but neither `budget.max_attempts` nor the circuit breaker counts
    them any more. The checkpoints stay, too.

    Args:
        storage: holds the study.
        study: its name.
        trials: numbers of the trials; None takes all that failed.

    Raises:
        StudyError: there is no such study or trial, or a trial did not fail.
    """
    with storage.write() as connection:
        find_study(connection, storage, study)
        study_row(connection, study, lock=True)
        slots = connection.execute(
            select(SLOTS)
            .where(SLOTS.c.study == study, SLOTS.c.trial.is_not(None))
            .order_by(SLOTS.c.trial)
            .with_for_update()
        ).all()
        known = {slot.trial: slot for slot in slots}
        if trials is None:
            chosen = [slot for slot in slots if slot.state == SlotState.FAILED]
        else:
            problems = [
                f"trial {number} {_problem(known[number].state) if number in known else _UNKNOWN}"
                for number in dict.fromkeys(trials)
                if number not in known or known[number].state != SlotState.FAILED
            ]
            if problems:
                failed = [str(slot.trial) for slot in slots if slot.state == SlotState.FAILED]
                raise StudyError(
                    f"study {study}: {'; '.join(problems)}. "
                    f"Trials that failed: {', '.join(failed) or 'none'}."
                )
            chosen = [known[number] for number in sorted(set(trials))]
        for slot in chosen:
            connection.execute(
                update(SLOTS)
                .where(SLOTS.c.slot == slot.slot)
                .values(state=SlotState.OPEN, broken=0, reason=None)
            )
            trial_rows.restart_trial(connection, slot.trial_id)
        if chosen:
            newest = connection.scalar(select(func.max(ATTEMPTS.c.id)))
            connection.execute(
                update(STUDIES).where(STUDIES.c.study == study).values(breaker_from=newest or 0)
            )
    return [
        Retried(
            trial=slot.trial,
            label=slot.label,
            point=slot.point,
            epoch=slot.epoch,
            reason=slot.reason,
        )
        for slot in chosen
    ]


_UNKNOWN = "does not exist"


def _problem(state: str) -> str:
    words = {SlotState.LEASED: "running", SlotState.OPEN: "open already"}
    return f"did not fail (it is {words.get(SlotState(state), state)})"
