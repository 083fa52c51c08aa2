"""Checks the storage: whether it answers, the rights to write, and its clock."""

import contextlib
import time
from collections.abc import Callable, Iterator

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    delete,
    false,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from wconv_sweep.doctor.checks import Check, right, warning, wrong
from wconv_sweep.errors import StorageError
from wconv_sweep.storage.credentials import check_passfile
from wconv_sweep.storage.open_storage import Storage, has_storage, open_storage
from wconv_sweep.storage.shared_storage import check_shared, local_disk_advice
from wconv_sweep.storage.tables import METADATA
from wconv_sweep.storage.url import is_sqlite

CLOCK_S = 5.0
"""Two clocks that differ by more make times in logs hard to compare."""

_TRIAL_TABLE = "wconv_doctor"
# Of Optuna's tables, those that every trial is written to.
_OPTUNAS = ("studies", "trials", "trial_params", "trial_values", "trial_user_attributes")


def database_checks(find: Callable[[], URL], nodes: int) -> Iterator[Check]:
    """Check the storage; nothing in it changes.

    Args:
        find: returns its URL, or raises `StorageError`.
        nodes: number of nodes of all pilots together.
    """
    try:
        url = find()
        if not is_sqlite(url):
            check_passfile(url)
            yield right("password of the storage: no other user can read it")
    except StorageError as error:
        yield wrong("storage: cannot be reached", str(error))
        return
    yield from _sharing(url, nodes)
    try:
        made = has_storage(url)
        if is_sqlite(url) and not made:
            yield right("storage: an SQLite file, which the first launch creates")
            return
        if made:
            open_storage(url).close()
            yield right("storage: answers, with tables of this version")
        yield from _inside(url, made=made)
    except StorageError as error:
        yield wrong("storage: cannot be used", str(error))


def clock_ahead_s(url: URL) -> float:
    """Return how far the database's clock is ahead of this machine's, seconds.

    Raises:
        StorageError: it does not answer.
    """
    with contextlib.closing(Storage(url)) as storage, storage.read() as connection:
        before = time.time()
        there = connection.scalar(select(storage.now()))
        after = time.time()
    assert there is not None
    return float(there) - (before + after) / 2


def clock_check(what: str, ahead_s: float) -> Check:
    """Return the check of a clock difference."""
    said = f"{what}: {abs(ahead_s):.1f} s apart"
    if abs(ahead_s) <= CLOCK_S:
        return right(said)
    return warning(
        said,
        "Leases follow the database's clock and do no harm, but times in logs cannot be compared, "
        "and SLURM refuses machines that are 5 minutes off. Tell the site, or set the clock.",
    )


def _sharing(url: URL, nodes: int) -> Iterator[Check]:
    try:
        check_shared(url, nodes)
    except StorageError as error:
        yield wrong(f"storage: not for {nodes} nodes", str(error))
        return
    advice = local_disk_advice(url)
    if advice is not None:
        yield warning("storage: not on a local disk", advice)
    else:
        yield right(f"storage: {'one node' if nodes == 1 else f'{nodes} nodes'} can use it")


def _inside(url: URL, *, made: bool) -> Iterator[Check]:
    with contextlib.closing(Storage(url)) as storage:
        try:
            with storage.write() as connection:
                if made:
                    _try_rows(connection)
                else:
                    _try_tables(connection)
                connection.rollback()
        except DBAPIError as error:
            said = str(error.orig).splitlines()[0]
            what = "write to its tables" if made else "create tables"
            yield wrong(
                f"storage: not allowed to {what}",
                f"{storage.name}: {said}. Ask the database's owner for the right, or choose "
                "another storage with --storage.",
            )
        else:
            what = "rows can be written" if made else "answers, and tables can be created"
            yield right(f"storage: {what}")
    yield clock_check("clocks of this machine and of the database", clock_ahead_s(url))


def _try_tables(connection: Connection) -> None:
    table = Table(_TRIAL_TABLE, MetaData(), Column("number", Integer))
    table.create(connection)
    connection.execute(insert(table).values(number=1))


def _try_rows(connection: Connection) -> None:
    """Write to every table without changing a row: the database still checks the right."""
    known = MetaData()
    there = set(inspect(connection).get_table_names())
    known.reflect(connection, only=sorted(there & {*METADATA.tables, *_OPTUNAS}))
    for table in known.sorted_tables:
        nothing = select(table).where(false())
        connection.execute(insert(table).from_select(list(table.columns), nothing))
        column = next(iter(table.columns))
        connection.execute(update(table).where(false()).values({column: column}))
        connection.execute(delete(table).where(false()))
