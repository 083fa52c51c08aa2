"""Writes and reads Optuna's own rows of a study inside a transaction of ours.

As in `trial_rows`, with a test that compares the outcome with that of Optuna and of its
dashboard. The columns are named here: to import Optuna's declarations and the dashboard takes
longer than all else that a launch does by itself.
"""

import json
from collections.abc import Mapping
from typing import Literal

from sqlalchemy import Connection, Enum, Integer, String, Text, column, func, select, table, text

_STUDIES = table("studies", column("study_id", Integer), column("study_name", String))
_DIRECTIONS = table(
    "study_directions",
    column("study_id", Integer),
    column("objective", Integer),
    column("direction", Enum("MINIMIZE", "MAXIMIZE", name="studydirection")),
)
_ATTRIBUTES = table(
    "study_system_attributes",
    column("study_id", Integer),
    column("key", String),
    column("value_json", Text),
)
_TRIALS = table("trials", column("study_id", Integer))
_CREATE = text(
    "INSERT INTO studies (study_name) VALUES (:study) ON CONFLICT DO NOTHING RETURNING study_id"
)
_METRIC_NAMES = "study:metric_names"
_NOTE_PART = 2045
"""Characters of a note in one attribute; the dashboard puts them together."""


def create_study(
    connection: Connection, study: str, direction: Literal["maximize", "minimize"]
) -> None:
    """Create an Optuna study, unless there is one of this name.

    Of two transactions at once, the second waits for the end of the first.
    """
    if _locked_id(connection, study) is not None:
        return  # an insertion in vain would use up a number of PostgreSQL's
    created = connection.execute(_CREATE, {"study": study}).scalar()
    if created is not None:
        row = {"study_id": created, "direction": direction.upper(), "objective": 0}
        connection.execute(_DIRECTIONS.insert().values(row))


def study_id_and_trials(connection: Connection, study: str) -> tuple[int, int]:
    """Return the key of an existing Optuna study, and the number of its trials.

    The study is locked to the end of the transaction: of several at once, the second sees what the
    first has written.
    """
    study_id = _locked_id(connection, study)
    assert study_id is not None
    trials = select(func.count()).select_from(_TRIALS).where(_TRIALS.c.study_id == study_id)
    return study_id, connection.scalar(trials) or 0


def describe_study(connection: Connection, study_id: int, metric: str, note: str) -> None:
    """Name the objective of a study and describe the study, unless its objective has a name.

    Args:
        connection: has locked the study.
        study_id: its key.
        metric: name of the objective; without it the dashboard calls the objective "Objective".
        note: Markdown.
    """
    parts = [note[start : start + _NOTE_PART] for start in range(0, len(note), _NOTE_PART)]
    attributes: Mapping[str, object] = {
        _METRIC_NAMES: [metric],
        "dashboard:note_ver": 1,
        **{f"dashboard:note_str:{number}": part for number, part in enumerate(parts)},
    }
    named = select(_ATTRIBUTES.c.key).where(
        _ATTRIBUTES.c.study_id == study_id, _ATTRIBUTES.c.key == _METRIC_NAMES
    )
    if connection.scalar(named) is not None:
        return
    for key, value in attributes.items():
        change_study_attribute(connection, study_id, key, value)


def change_study_attribute(connection: Connection, study_id: int, key: str, value: object) -> bool:
    """Set a system attribute of a study that the caller has locked; False if it had that value."""
    stored, new = _ATTRIBUTES, json.dumps(value)
    mine = (stored.c.study_id == study_id, stored.c.key == key)
    before = connection.scalar(select(stored.c.value_json).where(*mine))
    if before is None:
        row = {"study_id": study_id, "key": key, "value_json": new}
        connection.execute(stored.insert().values(row))
    elif before != new:
        connection.execute(stored.update().where(*mine).values(value_json=new))
    return before != new


def _locked_id(connection: Connection, study: str) -> int | None:
    wanted = select(_STUDIES.c.study_id).where(_STUDIES.c.study_name == study).with_for_update()
    return connection.scalar(wanted)
