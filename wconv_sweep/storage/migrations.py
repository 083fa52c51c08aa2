"""The version of a storage's tables: checked at every opening, raised only on request.

Each step stands for itself: it writes out the tables as they were after it, because those of
`wconv_sweep.storage.tables` keep changing.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    ForeignKey,
    Integer,
    String,
    Text,
    column,
    func,
    inspect,
    literal,
    select,
    table,
    update,
)

from wconv_sweep.errors import StorageError
from wconv_sweep.storage.stored_definitions import bring_definitions_to_3
from wconv_sweep.storage.tables import METADATA, SCHEMA, SCHEMA_VERSION

if TYPE_CHECKING:
    from alembic.operations import Operations

# What trial_rows writes; both numbers have been the same since Optuna 3.2.
OPTUNA_SCHEMA = 12
OPTUNA_REVISION = "v3.2.0.a"

_OPTUNA = table("version_info", column("schema_version"))
_ALEMBIC = table("alembic_version", column("version_num"))


def holds_our_tables(connection: Connection) -> bool:
    """Return whether a database is a storage."""
    return inspect(connection).has_table(SCHEMA.name)


def create_tables(connection: Connection) -> None:
    """Create our tables in a database without them."""
    METADATA.create_all(connection)
    connection.execute(SCHEMA.insert().values(version=SCHEMA_VERSION))


def check_version(connection: Connection, name: str) -> None:
    """Raise `StorageError` unless this program can use the tables.

    Args:
        connection: to the database.
        name: of the storage in messages.
    """
    version = _version(connection, name)
    if version < SCHEMA_VERSION:
        raise StorageError(
            f"{name}: has tables of version {version}, this program needs {SCHEMA_VERSION}. Wait "
            "until no pilot is running, then run `wconv-sweep db upgrade` with the same --storage "
            "and --runs."
        )
    check_optuna_version(connection, name)


def check_optuna_version(connection: Connection, name: str) -> None:
    """Raise `StorageError` unless Optuna's tables are of the version that we write."""
    known = inspect(connection)
    if not (known.has_table(_OPTUNA.name) and known.has_table(_ALEMBIC.name)):
        raise StorageError(f"{name}: Optuna's tables are missing. Restore a backup.")
    schema = connection.scalar(select(_OPTUNA.c.schema_version))
    revision = connection.scalar(select(_ALEMBIC.c.version_num))
    if (schema, revision) != (OPTUNA_SCHEMA, OPTUNA_REVISION):
        raise StorageError(
            f"{name}: Optuna's tables are of version {schema} ({revision}), this program needs "
            f"{OPTUNA_SCHEMA} ({OPTUNA_REVISION}). Make a backup and run `optuna storage upgrade` "
            "if they are older; use the wconv-sweep that made them if they are newer."
        )


def upgrade_tables(
    connection: Connection, name: str, now: ColumnElement[float]
) -> tuple[int, int]:
    """Upgrade our tables to the version of this program; return the version before and after.

    All steps are one transaction of the caller's.

    Raises:
        StorageError: pilots are running, or a newer program made the tables.
    """
    before = _version(connection, name)
    if before == SCHEMA_VERSION:
        return before, before
    held = _count_leases(connection, now)
    if held:
        raise StorageError(
            f"{name}: pilots hold {held} trial(s), and cannot run on with other tables. Stop "
            "their studies with the wconv-sweep that started them, and try again once they "
            "have ended."
        )
    # Imported here: a command that only opens a storage should not wait for it.
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    operations = Operations(MigrationContext.configure(connection))
    for version in range(before, SCHEMA_VERSION):
        _STEPS[version](operations)
    connection.execute(update(SCHEMA).values(version=SCHEMA_VERSION))
    return before, SCHEMA_VERSION


def _version(connection: Connection, name: str) -> int:
    if not holds_our_tables(connection):
        raise StorageError(
            f"{name}: holds no studies of wconv-sweep. Run `wconv-sweep launch` with this "
            "storage first, or choose another with --storage or --runs."
        )
    version = int(connection.scalar(select(SCHEMA.c.version)) or 0)
    if version > SCHEMA_VERSION:
        raise StorageError(
            f"{name}: has tables of version {version}, which a newer wconv-sweep made; this "
            f"program knows {SCHEMA_VERSION}. Update the program."
        )
    return version


def _count_leases(connection: Connection, now: ColumnElement[float]) -> int:
    """Return the number of slots that pilots hold, in the tables of any version."""
    slots = table("wconv_slots", column("state"), column("lease_until"))
    held = select(func.count()).select_from(slots)
    held = held.where(slots.c.state == "leased", slots.c.lease_until >= now)
    return connection.scalar(held) or 0


def _to_2(operations: "Operations") -> None:
    """Add pilots, costs of attempts, and provenance."""
    operations.create_table(
        "wconv_pilots",
        Column("id", Integer, primary_key=True),
        Column(
            "study", String(100), ForeignKey("wconv_studies.study"), nullable=False, index=True
        ),
        Column("pilot", Integer, nullable=False),
        Column("host", Text, nullable=False),
        Column("job", Text),
        Column("gpus", Integer, nullable=False),
        Column("started_at", Float, nullable=False),
        Column("seen_at", Float, nullable=False),
        Column("ended_at", Float),
    )
    operations.add_column("wconv_studies", Column("provenance", Text))
    # It is unknown what earlier attempts held: they are not charged.
    operations.add_column(
        "wconv_attempts", Column("gpus", Integer, nullable=False, server_default="0")
    )
    operations.add_column("wconv_attempts", Column("provenance", Text))
    _drop_startup_of_random(operations.get_bind())


def _drop_startup_of_random(connection: Connection) -> None:
    """Remove from definitions the options that `random` never used and no longer takes."""
    studies = table("wconv_studies", column("study"), column("config"))
    for study, content in connection.execute(select(studies.c.study, studies.c.config)).all():
        config = json.loads(content)
        sampler = config["search"]["sampler"]
        if sampler["name"] == "random" and sampler.pop("startup_trials", None) is not None:
            connection.execute(
                update(studies).where(studies.c.study == study).values(config=json.dumps(config))
            )


def _to_3(operations: "Operations") -> None:
    """Give columns, stages and keys of definitions the names that the program uses."""
    _rename_columns(operations)
    connection = operations.get_bind()
    _rename_stages(connection)
    bring_definitions_to_3(connection)


def _rename_columns(operations: "Operations") -> None:
    for table_name, before, after in (
        ("wconv_pilots", "gpus", "gpus_total"),
        ("wconv_attempts", "gpus", "gpus_per_trial"),
        ("wconv_attempts", "place", "where"),
    ):
        operations.alter_column(table_name, before, new_column_name=after)


def _rename_stages(connection: Connection) -> None:
    """Rename the stage of reference densities, in our slots and in the attributes of trials."""
    slots = table("wconv_slots", column("stage"), column("trial_id"))
    attributes = table(
        "trial_user_attributes", column("trial_id"), column("key"), column("value_json")
    )
    ours = attributes.c.trial_id.in_(select(slots.c.trial_id).where(slots.c.stage == "fixed"))
    connection.execute(
        update(attributes)
        .where(ours, attributes.c.key == "stage")
        .values(value_json='"reference"')
    )
    connection.execute(update(slots).where(slots.c.stage == "fixed").values(stage="reference"))


def _to_4(operations: "Operations") -> None:
    """Make of each density a point, which has room for other settings, and give searches arms."""
    operations.add_column("wconv_slots", Column("arm", String(10)))
    operations.alter_column("wconv_slots", "density", new_column_name="point")
    slots = table("wconv_slots", column("point", Text))
    as_point = literal('{"density": ', Text) + slots.c.point + literal("}", Text)
    operations.get_bind().execute(
        update(slots).where(slots.c.point.is_not(None)).values(point=as_point)
    )


_STEPS: dict[int, Callable[["Operations"], None]] = {1: _to_2, 2: _to_3, 3: _to_4}
