"""Finds a study by the name that a user gives."""

from typing import Any

from sqlalchemy import Connection, Row, select

from wconv_sweep.errors import StudyError
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import STUDIES


def find_study(connection: Connection, storage: Storage, study: str) -> Row[Any]:
    """Return a study's row of the table of studies.

    Raises:
        StudyError: the storage holds no such study.
    """
    row = connection.execute(select(STUDIES).where(STUDIES.c.study == study)).one_or_none()
    if row is not None:
        return row
    known = ", ".join(connection.scalars(select(STUDIES.c.study))) or "none"
    if study.endswith((".yaml", ".yml")):
        raise StudyError(
            f"--study {study}: takes the name of a study that was launched, not its file. "
            f"{storage.name} holds: {known}."
        )
    raise StudyError(
        f"--study {study}: {storage.name} holds no such study. It holds: {known}. "
        f"Run `wconv-sweep launch --study {study}` first, or choose another storage with "
        "--storage or --runs."
    )


def study_names(storage: Storage) -> list[str]:
    """Return the studies of the storage, oldest first."""
    with storage.read() as connection:
        return list(connection.scalars(select(STUDIES.c.study).order_by(STUDIES.c.created_at)))
