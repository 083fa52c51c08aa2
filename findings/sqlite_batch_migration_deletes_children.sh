#!/usr/bin/env bash
# An alembic batch migration of a parent table on SQLite deletes the rows of its children.
#
# One expects: `batch_alter_table("parent")` that adds a column leaves other tables alone.
# Happens: SQLite cannot alter most of a table, so alembic makes a new one, copies the rows,
# drops the old one and renames. With `PRAGMA foreign_keys=ON` the drop deletes the parent's rows
# first: children with ON DELETE CASCADE are gone afterwards, without an exception. `PRAGMA
# foreign_keys=OFF` inside of the transaction changes nothing, since SQLite ignores it there.
# Matters: Optuna's tables of trials hang on studies in this way; a migration of a table that
# stands beside them loses what hangs on it. Without CASCADE it fails with an IntegrityError
# instead.
# Seen with alembic 1.17.1, SQLAlchemy 2.0.44, SQLite 3.40.1:
#     children before: 3, after: 0 (foreign_keys left on)
#     children before: 3, after: 0 (switched off within the transaction)
#     children before: 3, after: 3 (switched off before the transaction)
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'alembic==1.17.1' \
  'sqlalchemy==2.0.44' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import sys

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

TABLES = """
CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE child (
  id INTEGER PRIMARY KEY,
  parent_id INTEGER NOT NULL REFERENCES parent (id) ON DELETE CASCADE
);
INSERT INTO parent VALUES (1, 'study');
INSERT INTO child VALUES (1, 1), (2, 1), (3, 1);
"""


def children_after(where_off: str) -> int:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)

    @sa.event.listens_for(engine, "connect")
    def connected(connection, _):
        connection.isolation_level = None
        connection.executescript(TABLES)
        connection.execute("PRAGMA foreign_keys=" + ("OFF" if where_off == "before" else "ON"))

    @sa.event.listens_for(engine, "begin")
    def begun(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.begin() as connection:
        if where_off == "within":
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("parent", recreate="always") as batch:
            batch.add_column(sa.Column("extra", sa.Text))
    with engine.connect() as connection:
        return connection.scalar(sa.text("SELECT count(*) FROM child"))


left = {where: children_after(where) for where in ("nowhere", "within", "before")}
print("children before: 3, after:", left["nowhere"], "(foreign_keys left on)")
print("children before: 3, after:", left["within"], "(switched off within the transaction)")
print("children before: 3, after:", left["before"], "(switched off before the transaction)")
if list(left.values()) != [0, 0, 3]:
    sys.exit("CHANGED: other children are left")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
