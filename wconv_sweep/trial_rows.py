"""Writes Optuna's own rows of a trial inside a transaction of ours.

A slot and its trial must change together, or a worker killed between the two leaves a trial that
belongs to no slot (docs/decisions/0002). Optuna's client opens transactions of its own, so these
functions write what it would write, to the tables that it declares; a test compares the outcome
with Optuna's own, and the version of its schema is checked when a storage is opened.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime

from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, Table, func, select

_STUDIES: Table = models.StudyModel.__table__
_TRIALS: Table = models.TrialModel.__table__
_PARAMS: Table = models.TrialParamModel.__table__
_VALUES: Table = models.TrialValueModel.__table__
_INTERMEDIATE: Table = models.TrialIntermediateValueModel.__table__
_USER_ATTRIBUTES: Table = models.TrialUserAttributeModel.__table__


def study_id_and_trials(connection: Connection, study: str) -> tuple[int, int]:
    """Return the key of an Optuna study that exists, and the number of its trials."""
    study_id = connection.scalar(select(_STUDIES.c.study_id).where(_STUDIES.c.study_name == study))
    assert study_id is not None
    return int(study_id), _count_trials(connection, int(study_id))


def create_trial(
    connection: Connection, study_id: int, user_attributes: Mapping[str, object]
) -> tuple[int, int]:
    """Create a running trial and return its id and its number within the study."""
    # The number is the count of trials before: the lock keeps two workers from the same count.
    connection.execute(
        select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == study_id).with_for_update()
    )
    number = _count_trials(connection, study_id)
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
    params: Mapping[str, float],
    distributions: Mapping[str, FloatDistribution],
) -> None:
    """Record the parameters of a trial that has none."""
    connection.execute(
        _PARAMS.insert(),
        [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": value,
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
    if attributes:
        connection.execute(
            _USER_ATTRIBUTES.insert(),
            [
                {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
                for key, value in attributes.items()
            ],
        )


def finish_trial(
    connection: Connection, trial_id: int, state: TrialState, value: float | None
) -> None:
    """End a running trial, with its objective where it has one."""
    if value is not None:
        assert math.isfinite(value)
        connection.execute(
            _VALUES.insert().values(
                trial_id=trial_id,
                objective=0,
                value=value,
                value_type=models.TrialValueModel.TrialValueType.FINITE,
            )
        )
    connection.execute(
        _TRIALS.update()
        .where(_TRIALS.c.trial_id == trial_id)
        .values(state=state, datetime_complete=_now())
    )


def _count_trials(connection: Connection, study_id: int) -> int:
    trials = select(func.count()).select_from(_TRIALS).where(_TRIALS.c.study_id == study_id)
    return connection.scalar(trials) or 0


def _now() -> datetime:
    """Return the time as Optuna stores it: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
