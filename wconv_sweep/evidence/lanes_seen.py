"""How many trials agents have had at work at a time.

The storage knows the GPUs that a pilot holds, and not those that it uses: on a whole node with few
of them in use, one trial may stand for all.
"""

from sqlalchemy import Connection, case, func, literal, select, union_all

from wconv_sweep.storage.tables import ATTEMPTS, SLOTS

_OF_LEASE = len("/01234567")
"""Characters by which the owner of a slot ends, after the name of its agent."""


def lanes_seen(connection: Connection, study: str) -> int | None:
    """Return the largest number of trials that one agent had at a time; None: not known yet.

    An agent that has begun a single trial does not count: it may be the canary, which is alone.

    Args:
        connection: to the storage.
        study: its name.
    """
    agent = func.substr(ATTEMPTS.c.owner, 1, func.length(ATTEMPTS.c.owner) - _OF_LEASE)
    mine = select(agent.label("agent")).join(SLOTS).where(SLOTS.c.study == study)
    moments = union_all(
        mine.add_columns(ATTEMPTS.c.started_at.label("at"), literal(1).label("change")),
        mine.add_columns(ATTEMPTS.c.ended_at, literal(-1)).where(ATTEMPTS.c.ended_at.is_not(None)),
    ).subquery()
    change = moments.c.change
    # What ends at the moment when another begins has ended before.
    at_work = func.sum(change).over(partition_by=moments.c.agent, order_by=(moments.c.at, change))
    counted = select(moments.c.agent, change, at_work.label("at_work")).subquery()
    begun = func.sum(case((counted.c.change > 0, 1), else_=0))
    most = func.max(counted.c.at_work)
    found = connection.execute(
        select(most).group_by(counted.c.agent).having(begun > 1).order_by(most.desc()).limit(1)
    ).scalar()
    return None if found is None else int(found)
