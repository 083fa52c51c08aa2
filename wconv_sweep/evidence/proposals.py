"""Counts what is remarkable in the trials of a study.

Densities that a sampler proposed, those that were moved because they were taken, and trials whose
program started again, or finished at another step than the study says.

Optuna's tables are named here rather than imported: `status` loads no Optuna.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, column, func, select, table

from wconv_sweep.storage.tables import MOVED, SLOTS, STARTED_AGAIN, SlotState, Stage
from wconv_sweep.study.config import StudyConfig

_ATTRIBUTES = table("trial_system_attributes", column("trial_id"), column("key"))


@dataclass(frozen=True)
class Proposals:
    """The proposals of a study's sampler so far."""

    made: int
    """Densities, however many seeds each is trained with; the points of a grid are none."""
    moved: int
    """Those that another trial had already, up to the precision that the sampler needs."""


def proposals_of(connection: Connection, config: StudyConfig) -> Proposals:
    """Count the proposals of a study's sampler."""
    if config.grid_points():
        return Proposals(made=0, moved=0)
    proposed = (
        SLOTS.c.study == config.study,
        SLOTS.c.stage == Stage.SEARCH,
        SLOTS.c.label.is_(None),  # a warm start gives densities with a label
        SLOTS.c.replicate == 0,  # further seeds repeat its density
        SLOTS.c.point.is_not(None),
    )
    made = select(func.count()).select_from(SLOTS).where(*proposed)
    moved = made.join(_ATTRIBUTES, _ATTRIBUTES.c.trial_id == SLOTS.c.trial_id).where(
        _ATTRIBUTES.c.key == MOVED
    )
    return Proposals(
        made=connection.scalar(made) or 0,
        moved=connection.scalar(moved) or 0,
    )


def started_again(connection: Connection, study: str) -> int:
    """Count the trials whose program went back to its first step after an interruption."""
    found = (
        select(func.count())
        .select_from(SLOTS)
        .join(_ATTRIBUTES, _ATTRIBUTES.c.trial_id == SLOTS.c.trial_id)
        .where(SLOTS.c.study == study, _ATTRIBUTES.c.key == STARTED_AGAIN)
    )
    return connection.scalar(found) or 0


def finished_elsewhere(connection: Connection, config: StudyConfig) -> int:
    """Count the complete trials whose last step is another than `trainer.reports`."""
    found = (
        select(func.count())
        .select_from(SLOTS)
        .where(
            SLOTS.c.study == config.study,
            SLOTS.c.state == SlotState.COMPLETE,
            SLOTS.c.epoch != config.recipe.epochs,
        )
    )
    return connection.scalar(found) or 0
