"""The record of a pilot: which GPUs it held, where and for how long."""

from sqlalchemy import func, select, update

from wconv_sweep.provenance import place
from wconv_sweep.storage import Storage
from wconv_sweep.tables import PILOTS


class PilotRecord:
    """The row of this process in the table of pilots."""

    def __init__(self, storage: Storage, study: str, pilot: int, *, gpus: int) -> None:
        """Begin the record, and end those that dead pilots of this number left on this host.

        Args:
            storage: holds the study.
            study: its name.
            pilot: number of the pilot within the study.
            gpus: that it holds, working or not.

        Raises:
            StorageAway: repeat it; a record that was begun twice counts once.
        """
        self._storage = storage
        here = place()
        same = PILOTS.c.study == study, PILOTS.c.pilot == pilot, PILOTS.c.host == here["host"]
        with storage.write() as connection:
            connection.execute(
                update(PILOTS)
                .where(*same, PILOTS.c.ended_at.is_(None))
                .values(ended_at=PILOTS.c.seen_at)
            )
            now = connection.scalar(select(storage.now()))
            created = connection.execute(
                PILOTS.insert().values(
                    study=study,
                    pilot=pilot,
                    host=here["host"],
                    job=here.get("job"),
                    gpus=gpus,
                    started_at=now,
                    seen_at=now,
                )
            )
            self._id = created.inserted_primary_key[0]  # type: ignore[index]  # one row: not None

    def seen(self) -> None:
        """Record a sign of life."""
        with self._storage.write() as connection:
            connection.execute(
                update(PILOTS).where(PILOTS.c.id == self._id).values(seen_at=self._storage.now())
            )

    def end(self) -> None:
        """Record the end."""
        with self._storage.write() as connection:
            now = self._storage.now()
            connection.execute(
                update(PILOTS)
                .where(PILOTS.c.id == self._id)
                .values(seen_at=now, ended_at=func.coalesce(PILOTS.c.ended_at, now))
            )
