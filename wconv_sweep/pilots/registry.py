"""The record of a pilot: its GPUs, nodes and times."""

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from wconv_sweep.pilots.place import PilotPlace
from wconv_sweep.slots.leases import study_row
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import PILOTS


class PilotRecord:
    """The row of this agent in the table of pilots."""

    def __init__(
        self,
        storage: Storage,
        study: str,
        place: PilotPlace,
        *,
        gpus_total: int,
        held_s: float = 0.0,
    ) -> None:
        """Start the record, and end those of dead agents whose place this one takes.

        This also tells a copy of this job, on a node without contact, to end.

        Args:
            storage: holds the study.
            study: its name.
            place: of the agent.
            gpus_total: that it holds, working or not.
            held_s: time for which it has held them already, seconds: a job is billed from its
                start, also while it loads the program or waits for the storage.

        Raises:
            StorageAway: repeat it; a record that was started twice counts once.
        """
        self._storage, self._study, self._place = storage, study, place
        with storage.write() as connection:
            connection.execute(
                update(PILOTS)
                .where(PILOTS.c.study == study, PILOTS.c.ended_at.is_(None), _replaced_by(place))
                .values(ended_at=PILOTS.c.seen_at)
            )
            now = float(connection.scalars(select(storage.now())).one())
            # What a record of this place has counted counts once, also if that was this very one,
            # written by a transaction whose answer was lost.
            counted_until = connection.scalar(
                select(func.max(PILOTS.c.ended_at)).where(
                    PILOTS.c.study == study,
                    PILOTS.c.pilot == place.pilot,
                    PILOTS.c.host == place.host,
                )
            )
            started_at = min(now, max(now - max(0.0, held_s), counted_until or 0.0))
            created = connection.execute(
                PILOTS.insert().values(
                    study=study,
                    pilot=place.pilot,
                    host=place.host,
                    job=place.incarnation,
                    gpus_total=gpus_total,
                    started_at=started_at,
                    seen_at=now,
                )
            )
            self._id = created.inserted_primary_key[0]  # type: ignore[index]  # one row: not None

    def seen(self) -> bool:
        """Record a heartbeat; False if another agent has taken this one's place."""
        with self._storage.write() as connection:
            changed = connection.execute(
                update(PILOTS)
                .where(PILOTS.c.id == self._id, PILOTS.c.ended_at.is_(None))
                .values(seen_at=self._storage.now())
            )
            return changed.rowcount == 1

    def end(self) -> bool:
        """Record the end; return whether the pilot's other agents have all ended, too."""
        with self._storage.write() as connection:
            # One at a time: of two agents that end at once the later one must see the other.
            study_row(connection, self._study, lock=True)
            now = self._storage.now()
            connection.execute(
                update(PILOTS)
                .where(PILOTS.c.id == self._id, PILOTS.c.ended_at.is_(None))
                .values(seen_at=now, ended_at=now)
            )
            if self._place.incarnation is None:
                return True
            others = connection.scalar(
                select(func.count()).where(
                    PILOTS.c.study == self._study,
                    PILOTS.c.job == self._place.incarnation,
                    PILOTS.c.ended_at.is_(None),
                )
            )
            return not others


def _replaced_by(place: PilotPlace) -> ColumnElement[bool]:
    here = and_(PILOTS.c.pilot == place.pilot, PILOTS.c.host == place.host)
    if place.job is None:
        return here
    earlier = and_(
        PILOTS.c.job.startswith(place.any_incarnation(place.job), autoescape=True),
        PILOTS.c.job != place.incarnation,
    )
    return or_(earlier, and_(here, PILOTS.c.job == place.incarnation))
