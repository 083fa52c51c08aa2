"""Writes and reads Optuna's own rows of a trial inside a transaction of ours.

A slot and its trial must change together, or a worker killed between the two leaves a trial that
belongs to no slot (docs/decisions/0002). Optuna's client opens transactions of its own, so these
functions write what it would write, to the tables that it declares; a test compares the outcome
with Optuna's own, and the version of its schema is checked when a storage is opened.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, Insert, Select, Table, Update, func, select

_STUDIES: Table = models.StudyModel.__table__
_TRIALS: Table = models.TrialModel.__table__
_PARAMS: Table = models.TrialParamModel.__table__
_VALUES: Table = models.TrialValueModel.__table__
_INTERMEDIATE: Table = models.TrialIntermediateValueModel.__table__
_USER_ATTRIBUTES: Table = models.TrialUserAttributeModel.__table__
_SYSTEM_ATTRIBUTES: Table = models.TrialSystemAttributeModel.__table__

FAILED = "failed"
"""User attribute of a failed trial: the reason."""


def create_trial(
    connection: Connection, study_id: int, user_attributes: Mapping[str, object]
) -> tuple[int, int]:
    """Create a running trial and return its id and its number within the study."""
    # The number is the count of earlier trials: the lock keeps two workers from the same count.
    connection.execute(
        select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == study_id).with_for_update()
    )
    trials = select(func.count()).select_from(_TRIALS).where(_TRIALS.c.study_id == study_id)
    number = connection.scalar(trials) or 0
    created = connection.execute(
        _TRIALS.insert().values(
            study_id=study_id, number=number, state=TrialState.RUNNING, datetime_start=_now()
        )
    )
    trial_id = int(created.inserted_primary_key[0])  # type: ignore[index]  # one row: never None
    set_user_attributes(connection, trial_id, user_attributes)
    return trial_id, number


def set_params(
    connection: Connection,
    trial_id: int,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
) -> None:
    """Record the parameters of a trial that has none."""
    connection.execute(
        _PARAMS.insert(),
        [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": distributions[name].to_internal_repr(value),
                "distribution_json": distribution_to_json(distributions[name]),
            }
            for name, value in params.items()
        ],
    )


def add_intermediate_value(connection: Connection, trial_id: int, step: int, value: float) -> None:
    """Record the objective after a step; the value is finite."""
    assert math.isfinite(value)
    connection.execute(
        _INTERMEDIATE.insert().values(
            trial_id=trial_id,
            step=step,
            intermediate_value=value,
            intermediate_value_type=models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE,
        )
    )


def set_user_attributes(
    connection: Connection, trial_id: int, attributes: Mapping[str, object]
) -> None:
    """Record attributes that the trial does not have yet."""
    _set_attributes(connection, _USER_ATTRIBUTES, trial_id, attributes)


def set_system_attributes(
    connection: Connection, trial_id: int, attributes: Mapping[str, object]
) -> None:
    """Record the new attributes that a sampler or pruner set on a trial."""
    _set_attributes(connection, _SYSTEM_ATTRIBUTES, trial_id, attributes)


def set_system_attribute_once(
    connection: Connection, trial_id: int, key: str, value: object
) -> None:
    """Record an attribute unless the trial has it; the caller has locked the trial's slot."""
    table = _SYSTEM_ATTRIBUTES
    of_trial = (table.c.trial_id == trial_id, table.c.key == key)
    if connection.execute(select(table.c.key).where(*of_trial)).first() is None:
        _set_attributes(connection, table, trial_id, {key: value})


def system_attributes(
    connection: Connection, trial_ids: Select[tuple[int | None]]
) -> defaultdict[int, dict[str, Any]]:
    """Return the attributes set by samplers and pruners on the trials of a query, by trial id."""
    table = _SYSTEM_ATTRIBUTES
    found: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    wanted = select(table.c.trial_id, table.c.key, table.c.value_json)
    for trial_id, key, value in connection.execute(wanted.where(table.c.trial_id.in_(trial_ids))):
        found[trial_id][key] = json.loads(value)
    return found


def intermediate_values(
    connection: Connection, trial_ids: Select[tuple[int | None]]
) -> defaultdict[int, dict[int, float]]:
    """Return the objective after each step of the trials of a query, by trial id."""
    table = _INTERMEDIATE
    found: defaultdict[int, dict[int, float]] = defaultdict(dict)
    wanted = select(table.c.trial_id, table.c.step, table.c.intermediate_value)
    for trial_id, step, value in connection.execute(wanted.where(table.c.trial_id.in_(trial_ids))):
        found[trial_id][step] = value
    return found


def finishing(
    trial_id: int,
    state: TrialState,
    value: float | None,
    user_attributes: Mapping[str, object] | None = None,
) -> list[Insert | Update]:
    """Return the changes that end a running trial, for `execute_together`.

    Args:
        trial_id: of the trial.
        state: it ends in.
        value: of the objective; None if it has none.
        user_attributes: that it does not have yet.
    """
    changes: list[Insert | Update] = [
        _TRIALS.update()
        .where(_TRIALS.c.trial_id == trial_id)
        .values(state=state, datetime_complete=_now())
    ]
    if value is not None:
        assert math.isfinite(value)
        changes.append(
            _VALUES.insert()
            .inline()
            .values(
                trial_id=trial_id,
                objective=0,
                value=value,
                value_type=models.TrialValueModel.TrialValueType.FINITE,
            )
        )
    if user_attributes:
        rows = _attribute_rows(trial_id, user_attributes)
        changes.append(_USER_ATTRIBUTES.insert().inline().values(rows))
    return changes


def restart_trial(connection: Connection, trial_id: int) -> None:
    """Reopen a failed trial, which Optuna's client cannot do."""
    connection.execute(
        _USER_ATTRIBUTES.delete().where(
            _USER_ATTRIBUTES.c.trial_id == trial_id, _USER_ATTRIBUTES.c.key == FAILED
        )
    )
    connection.execute(
        _TRIALS.update()
        .where(_TRIALS.c.trial_id == trial_id)
        .values(state=TrialState.RUNNING, datetime_complete=None)
    )


def _set_attributes(
    connection: Connection, table: Table, trial_id: int, attributes: Mapping[str, object]
) -> None:
    if attributes:
        connection.execute(table.insert(), _attribute_rows(trial_id, attributes))


def _attribute_rows(trial_id: int, attributes: Mapping[str, object]) -> list[dict[str, object]]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attributes.items()
    ]


def _now() -> datetime:
    """Return the time as Optuna stores it: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
