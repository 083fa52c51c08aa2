"""What trials of a definition have cost, in this study or in others of the same storage.

Two definitions cost the same for each trial if they train the same network on the same data with
the same steps: densities, seeds, budgets and learning rates cost nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from wconv_jobs.spec import default_memory_format
from wconv_sweep.evidence.accounting import slot_hours
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import SLOTS, STUDIES, SlotState, Stage
from wconv_sweep.study.config import StudyConfig, config_of
from wconv_sweep.study.costly_keys import CHEAP_RECIPE, changes_cost


@dataclass(frozen=True, kw_only=True)
class MeasuredTrial:
    """The cost of one trial, all of its attempts together."""

    study: str
    stage: Stage
    hours: float
    """GPU-hours, a GPU for each rank; of ranks without GPUs core-hours. Of a trial that has not
    ended: what all its epochs would cost."""
    on_gpus: bool
    device: str | None
    """As its ranks have named it; None before the trial is complete."""
    state: SlotState


def measured_trials(
    connection: Connection, storage: Storage, config: StudyConfig
) -> list[MeasuredTrial]:
    """Return the trials in a storage that cost what those of a study do.

    Complete ones, pruned ones if the pruner is the same, and those that have finished an epoch.
    """
    found: list[MeasuredTrial] = []
    for study in connection.execute(select(STUDIES.c.study, STUDIES.c.config)):
        if costs_the_same(study.config, config):
            same_pruner = study.config["search"]["pruner"] == config.plain()["search"]["pruner"]
            rows = slot_hours(connection, storage.now(), study.study)
            trials = (_measured(row, config) for row in rows if row.epoch > 0)
            found += [
                trial
                for trial in trials
                if trial.hours > 0
                and trial.state is not SlotState.FAILED
                and (same_pruner or trial.state is not SlotState.PRUNED)
            ]
    return found


def costs_the_same(stored: Mapping[str, Any], config: StudyConfig) -> bool:
    """Return whether a trial of a stored definition costs what one of another does.

    Args:
        stored: the definition, see `StudyConfig.plain`.
        config: the other one; where folders of its data name variables, folders are not compared.
    """
    ours = config.plain()
    options = ours["data"]["options"].values()
    known = not any("$" in value for value in options if isinstance(value, str))
    return _steps(stored, folders=known) == _steps(ours, folders=known)


def _steps(plain: Mapping[str, Any], *, folders: bool) -> dict[str, Any]:
    """Return the part of a definition that its trials' cost follows from."""
    keys = ("code", "kernel_size", "model", "sites", "trainer", "trial")
    recipe = {**plain["recipe"], "memory_format": _memory_format(plain)}
    if recipe.get("early_stopping") is None:
        recipe = {key: value for key, value in recipe.items() if key not in CHEAP_RECIPE}
        optimizer = plain["recipe"]["optimizer"]
        recipe["optimizer"] = optimizer["name"], optimizer.get("implementation")
    left_out = ("cache_folder",) if folders else ("folder", "cache_folder")
    options = {
        name: value for name, value in plain["data"]["options"].items() if name not in left_out
    }
    data = {"name": plain["data"]["name"], "options": options}
    # What is searched together with the density may cost, too: then trials differ in it.
    also = {
        key: values for key, values in plain["search"].get("also", {}).items() if changes_cost(key)
    }
    kept = {key: plain.get(key) for key in keys}
    return kept | {"recipe": recipe, "data": data, "also": also}


def _memory_format(plain: Mapping[str, Any]) -> str:
    config = config_of(plain)
    return config.recipe.memory_format or default_memory_format(config.model, config.recipe)


def _measured(row: Row[Any], config: StudyConfig) -> MeasuredTrial:
    state = SlotState(row.state)
    cores = config.trial.ranks * config.trial.threads_per_rank
    hours = row.gpu_hours or row.seconds / 3600 * cores
    if state not in (SlotState.COMPLETE, SlotState.PRUNED):
        hours *= config.recipe.epochs / row.epoch
    return MeasuredTrial(
        study=row.study,
        stage=Stage(row.stage),
        hours=float(hours),
        on_gpus=row.gpu_hours > 0,
        device=(row.provenance or {}).get("device"),
        state=state,
    )


def epochs_left(connection: Connection, study: str, epochs: int) -> dict[Stage, float]:
    """Return what is left of a study's slots by stage, in whole trials."""
    left: dict[Stage, float] = {}
    rows = connection.execute(
        select(SLOTS.c.stage, SLOTS.c.epoch).where(
            SLOTS.c.study == study,
            SLOTS.c.state.in_((SlotState.CLOSED, SlotState.OPEN, SlotState.LEASED)),
        )
    )
    for row in rows:
        stage = Stage(row.stage)
        left[stage] = left.get(stage, 0.0) + max(0, epochs - row.epoch) / epochs
    return left
