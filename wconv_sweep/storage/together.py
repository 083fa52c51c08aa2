"""Several changes in one round trip to the server."""

from sqlalchemy import Connection, Insert, Update, literal, select


def execute_together(connection: Connection, *changes: Insert | Update) -> None:
    """Execute changes that touch different tables, none of which reads what another writes.

    On PostgreSQL they are one statement: with many processes each round trip is
    one more wait for a processor. The change of a common table expression takes place whether
    or not the statement reads it
    (https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING). SQLite has
    no server to go to, and no such expressions.
    """
    if connection.dialect.name == "postgresql":
        parts = [change.cte(f"change_{number}") for number, change in enumerate(changes)]
        connection.execute(select(literal(1)).add_cte(*parts))
        return
    for change in changes:
        connection.execute(change)
