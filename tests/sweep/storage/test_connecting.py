"""A server that refuses is told from one that is away, whatever language it speaks."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL

from tests.sweep.postgres import OwnServer, Server
from wconv_sweep.errors import StorageAway, StorageError
from wconv_sweep.storage.connecting import connect_to_any
from wconv_sweep.storage.open_storage import open_storage

LOOPBACK: list[tuple[int, str]] = [
    (socket.AF_INET6, "::1"),
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET, "127.0.0.2"),
]


@pytest.fixture(scope="module")
def german() -> Iterator[OwnServer]:
    server = OwnServer(language="de_DE")
    if "Passwort" not in _refusal_of(server):
        server.remove()
        pytest.skip("this PostgreSQL speaks English only")
    with server.connect() as connection:
        for role in ("locked_out", "rejected", "peered"):
            connection.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(role)))
        connection.execute("ALTER ROLE locked_out NOLOGIN PASSWORD 'geheim'")
    server.let_in_by(
        "host all rejected 127.0.0.0/8 reject",
        "local all peered peer",
        "host all trusted 127.0.0.0/8 trust",
    )
    yield server
    server.remove()


def _refusal_of(server: OwnServer) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(host="127.0.0.1", port=server.port, user="nobody", password="wrong")
    return str(caught.value)


@pytest.fixture
def passwords(tmp_path: Path, german: OwnServer) -> Path:
    path = tmp_path / "passwords"
    others = "".join(f"*:*:*:{name}:geheim\n" for name in ("locked_out", "stranger"))
    path.write_text(german.passfile.read_text("utf-8") + others, "utf-8")
    path.chmod(0o600)
    return path


def _refused(url: URL) -> str:
    """Return the message of a storage that would not have been waited for."""
    with pytest.raises(StorageError) as caught:
        open_storage(url, patience_s=1000)
    assert not isinstance(caught.value, StorageAway)
    return str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"username": "stranger"}, "Passwort-Authentifizierung für Benutzer »stranger« fehlge"),
        ({"username": "trusted"}, "Rolle »trusted« existiert nicht"),
        ({"username": "locked_out"}, "Rolle »locked_out« hat keine Berechtigung zum Einloggen"),
        ({"username": "rejected"}, "für Host »127.0.0.1«, Benutzer »rejected«"),
        ({"username": "peered", "socket": True}, "Peer-Authentifizierung für Benutzer »peered« "),
        ({"database": "nowhere"}, "Datenbank »nowhere« existiert nicht"),
        ({"username": "forgotten"}, "no password supplied"),
        ({"query": {"sslmode": "require"}}, "SSL was required"),
        ({"query": {"sslmode": "nonsense"}}, "invalid sslmode value"),
    ],
)
def test_what_somebody_has_to_change_is_not_waited_for(
    german: OwnServer, passwords: Path, changes: dict[str, object], text: str
) -> None:
    url = german.url("postgres").update_query_dict({"passfile": str(passwords)})
    if changes.pop("socket", False):
        url = url.set(host=None).update_query_dict({"host": str(german.folder)})
    url = url.update_query_dict(changes.pop("query", {}))  # type: ignore[arg-type]

    message = _refused(url.set(**changes))  # type: ignore[arg-type]

    assert text in message
    assert "Check it, or choose another storage." in message


@pytest.mark.slow
def test_a_server_that_is_full_or_shuts_down_is_waited_for(german: OwnServer) -> None:
    url = german.url("postgres")

    with ExitStack() as users:
        for _ in range(8):
            users.enter_context(german.connect())
        with pytest.raises(StorageAway, match="schon zu viele Verbindungen"):
            open_storage(url)
    user = german.connect()
    german.stop("smart", wait="-W")
    with pytest.raises(StorageAway, match="fährt herunter"):
        open_storage(url)
    german.stop()
    german.start()
    user.close()


@pytest.mark.slow
def test_an_answer_counts_more_than_no_answer_at_another_address(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("*:*:*:*:wrong\n")
    wrong.chmod(0o600)
    url = postgres.url("postgres", host="database")

    # The server of the tests answers at one of these addresses, the second.
    monkeypatch.setattr("socket.getaddrinfo", _resolves_to(LOOPBACK))
    open_storage(postgres.database().set(host="database")).close()

    assert "authentication failed" in _refused(url.update_query_dict({"passfile": str(wrong)}))


def test_all_addresses_of_a_server_share_the_time_to_connect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times_s: list[object] = []

    def hang(**parameters: object) -> NoReturn:
        times_s.append((parameters["hostaddr"], parameters["connect_timeout"]))
        raise psycopg.errors.ConnectionTimeout

    monkeypatch.setattr("socket.getaddrinfo", _resolves_to(LOOPBACK))
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        connect_to_any(hang, {"host": "database", "connect_timeout": 10})

    assert times_s == [("::1", 3), ("127.0.0.1", 3), ("127.0.0.2", 3)]


@pytest.mark.parametrize(
    ("number", "kind"), [(socket.EAI_AGAIN, StorageAway), (socket.EAI_NONAME, StorageError)]
)
def test_a_name_server_that_is_away_is_told_from_a_name_that_is_unknown(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StorageError]
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise socket.gaierror(number, "is what the resolver says")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    url = URL.create("postgresql+psycopg", username="me", host="database", database="db")

    with pytest.raises(StorageError, match="resolve host 'database': is what the res") as caught:
        open_storage(url)
    assert type(caught.value) is kind


def test_a_socket_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    url = URL.create("postgresql+psycopg", database="db", query={"host": str(tmp_path)})

    with pytest.raises(StorageAway, match="No such file or directory"):
        open_storage(url)


def _resolves_to(addresses: list[tuple[int, str]]) -> object:
    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(family, 1, 6, "", (address, 0)) for family, address in addresses]

    return resolve
