"""What happens while the database is away: named, waited for, and nothing lost or done twice."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NoReturn

import optuna
import pytest
from sqlalchemy import make_url, select, text

from tests.sweep.postgres import OwnServer, Server
from wconv_sweep.errors import StorageAway, StorageError
from wconv_sweep.storage import postgres_backend
from wconv_sweep.storage.open_storage import Storage, create_storage, has_storage, open_storage
from wconv_sweep.storage.optuna_client import close_client, optuna_client

WORKERS, ROWS = 4, 40


@pytest.fixture
def server_storage(postgres: Server) -> Iterator[Storage]:
    storage = create_storage(postgres.database())
    yield storage
    storage.close()


@pytest.fixture
def own_storage(own_postgres: OwnServer) -> Iterator[Storage]:
    storage = create_storage(own_postgres.database())
    yield storage
    storage.close()


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("idle_in_transaction_session_timeout", "300ms"),
        ("lock_timeout", "100ms"),
        ("statement_timeout", "200ms"),
    ):
        monkeypatch.setitem(postgres_backend.SESSION, name, value)


def failing(times: int, error: Callable[[], Exception]) -> Callable[[], str]:
    calls = iter(range(times))

    def function() -> str:
        if next(calls, None) is not None:
            raise error()
        return "done"

    return function


def away() -> Exception:
    return StorageAway("away")


def test_a_function_is_repeated_with_growing_pauses_until_the_storage_is_back(
    sqlite_storage: Storage,
) -> None:
    waited: list[float] = []

    done = sqlite_storage.retrying(failing(9, away), patience_s=100, wait=waited.append)

    assert done == "done"
    assert len(waited) == 9
    for number, pause in enumerate(waited):
        longest = min(10.0, 0.1 * 2**number)
        assert longest / 2 <= pause <= longest


def test_patience_ends(sqlite_storage: Storage) -> None:
    begun = time.monotonic()

    with pytest.raises(StorageAway):
        sqlite_storage.retrying(failing(1000, away), patience_s=0.3)

    assert 0.3 <= time.monotonic() - begun < 3


def test_without_patience_there_is_one_try(sqlite_storage: Storage) -> None:
    with pytest.raises(StorageAway):
        sqlite_storage.retrying(failing(1, away), patience_s=0)


def test_a_signal_ends_the_waiting(sqlite_storage: Storage) -> None:
    stopped = threading.Event()
    stopped.set()

    with pytest.raises(StorageAway):
        sqlite_storage.retrying(failing(1, away), patience_s=1000, wait=stopped.wait)


def test_what_will_never_work_is_not_repeated(storage: Storage) -> None:
    def wrong() -> None:
        with storage.read() as connection:
            connection.execute(text("SELECT * FROM nothing"))

    with pytest.raises(Exception, match="nothing") as caught:
        storage.retrying(wrong, patience_s=1000)

    assert not isinstance(caught.value, StorageError)


@pytest.mark.slow
def test_a_server_that_is_away_is_one_plain_line(postgres: Server) -> None:
    url = postgres.url("db").set(port=1)

    for use in (open_storage, create_storage, has_storage):
        with pytest.raises(StorageAway, match=r"cannot be used at the moment: .* refused\. Try"):
            use(url)
    with pytest.raises(StorageAway) as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_what_a_server_refuses_for_good_is_not_waited_for(
    postgres: Server, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("*:*:*:*:wrong\n")
    wrong.chmod(0o600)

    for url, reason in (
        (postgres.url("nowhere"), "does not exist"),
        (postgres.url("postgres").update_query_dict({"passfile": str(wrong)}), "authentication"),
    ):
        with pytest.raises(StorageError, match=rf"cannot be used: .*{reason}") as caught:
            open_storage(url, patience_s=1000)
        assert not isinstance(caught.value, StorageAway)


@pytest.mark.slow
def test_sessions_have_time_limits_in_the_order_that_frees_the_others(
    server_storage: Storage,
) -> None:
    with server_storage.read() as connection:
        limits = [
            connection.scalar(text(f"SELECT current_setting('{name}')::interval")).total_seconds()
            for name in ("idle_in_transaction_session_timeout", "lock_timeout")
        ] + [connection.scalar(text("SELECT current_setting('statement_timeout')"))]
        name = connection.scalar(text("SELECT current_setting('application_name')"))

    assert limits == [5, 15, "1min"]
    assert name == "wconv-sweep"


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.slow
def test_a_lock_that_another_holds_is_given_up(postgres: Server) -> None:
    one, other = (Storage(postgres.database()) for _ in range(2))
    take = text("SELECT pg_advisory_xact_lock(1)")

    with one.write() as holding:
        holding.execute(take)
        with pytest.raises(StorageAway, match=r"lock timeout"), other.write() as waiting:
            waiting.execute(take)

    with other.write() as connection:
        connection.execute(take)
    one.close()
    other.close()


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.slow
def test_a_statement_that_hangs_is_cut_off(postgres: Server) -> None:
    storage = Storage(postgres.database())

    with (
        pytest.raises(StorageAway, match=r"statement timeout"),
        storage.read() as connection,
    ):
        connection.execute(text("SELECT pg_sleep(10)"))
    storage.close()


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.slow
def test_a_frozen_process_holds_its_locks_for_a_moment_only(postgres: Server) -> None:
    frozen, other = (Storage(postgres.database()) for _ in range(2))
    take = text("SELECT pg_advisory_xact_lock(1)")

    def work() -> None:
        with other.write() as connection:
            connection.execute(take)

    def freeze() -> None:
        with frozen.write() as connection:
            connection.execute(take)
            other.retrying(work, patience_s=20)
            connection.execute(take)

    with pytest.raises(StorageAway):
        freeze()
    frozen.close()
    other.close()


@pytest.mark.slow
def test_optunas_client_shares_the_one_connection_of_the_process(
    server_storage: Storage, postgres: Server
) -> None:
    client = optuna_client(server_storage)
    study = optuna.create_study(study_name="one", storage=client)

    for _ in range(3):
        study.tell(study.ask(), 1.0)
        with server_storage.write() as connection:
            connection.execute(text("SELECT 1"))

    with postgres.connect() as connection_:
        row = connection_.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s",
            (server_storage.url.database,),
        ).fetchone()
    close_client(client, server_storage)
    assert row == (1,)


@pytest.mark.slow
def test_the_error_that_optuna_wraps_is_recognized(
    own_storage: Storage, own_postgres: OwnServer
) -> None:
    client = optuna_client(own_storage)
    study = optuna.create_study(study_name="wrapped", storage=client)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        own_postgres.start()

    own_postgres.stop()
    number = own_storage.retrying(lambda: study.ask().number, patience_s=60, wait=wait)

    close_client(client, own_storage)
    assert (number, len(waited)) == (0, 1)


@pytest.mark.slow
def test_every_row_is_written_once_by_processes_whose_server_crashes_again_and_again(
    own_postgres: OwnServer,
) -> None:
    url = own_postgres.database()
    with own_postgres.connect(url.database) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS outage (worker int, number int)")
        connection.execute("TRUNCATE outage")
    context = multiprocessing.get_context("spawn")
    retries: Synchronized[int] = context.Value("i", 0)
    processes = [
        context.Process(target=_write_rows, args=(str(url), worker, retries))
        for worker in range(WORKERS)
    ]

    for process in processes:
        process.start()
    for done in (20, 60, 100):
        _wait_for_rows(own_postgres, url.database, done)
        own_postgres.stop("immediate")
        own_postgres.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * WORKERS
    with own_postgres.connect(url.database) as connection:
        rows = connection.execute("SELECT worker, number FROM outage").fetchall()
        connection.execute("DROP TABLE outage")
    assert sorted(rows) == [(w, n) for w in range(WORKERS) for n in range(ROWS)]
    assert retries.value >= 3


def _wait_for_rows(server: Server, database: str | None, number: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with server.connect(database) as connection:
            row = connection.execute("SELECT count(*) FROM outage").fetchone()
        assert row is not None
        if int(str(row[0])) >= number:
            return
    raise AssertionError("no progress")


def _write_rows(url: str, worker: int, retries: "Synchronized[int]") -> None:
    """Write rows one by one, each in a transaction that may be repeated."""
    storage = open_storage(make_url(url), patience_s=60)

    def wait(seconds: float) -> None:
        with retries.get_lock():
            retries.value += 1
        time.sleep(seconds)

    for number in range(ROWS):
        storage.retrying(partial(_write_row, storage, worker, number), patience_s=60, wait=wait)
    storage.close()


def _write_row(storage: Storage, worker: int, number: int) -> None:
    values = {"worker": worker, "number": number}
    known = text("SELECT 1 FROM outage WHERE worker = :worker AND number = :number")
    with storage.write() as connection:
        if connection.execute(known, values).first() is None:
            connection.execute(text("SELECT pg_sleep(0.03)"))
            connection.execute(text("INSERT INTO outage VALUES (:worker, :number)"), values)
            connection.execute(text("SELECT pg_sleep(0.03)"))


@pytest.mark.slow
def test_a_connection_that_was_idle_over_a_restart_is_replaced(
    own_storage: Storage, own_postgres: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_storage.read() as connection:
        connection.execute(text("SELECT 1"))
    own_postgres.stop()
    own_postgres.start()
    monkeypatch.setattr(postgres_backend, "IDLE_S", 0.0)

    with own_storage.write() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


@pytest.mark.slow
def test_a_connection_that_was_in_use_before_a_restart_is_away_once(
    own_storage: Storage, own_postgres: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_backend, "IDLE_S", 1e9)
    waited: list[float] = []

    def ask() -> object:
        with own_storage.write() as connection:
            return connection.scalar(text("SELECT 1"))

    ask()
    own_postgres.stop()
    own_postgres.start()

    assert own_storage.retrying(ask, patience_s=60, wait=waited.append) == 1
    assert len(waited) == 1


@pytest.mark.slow
def test_a_server_is_up_anew_after_the_crash_of_one_of_its_processes(
    own_storage: Storage, own_postgres: OwnServer
) -> None:
    def up_since() -> float:
        with own_storage.read() as connection:
            moment = own_storage.up_since()
            assert moment is not None
            return connection.execute(select(moment)).scalar_one()

    before = up_since()
    again = up_since()
    with own_postgres.connect() as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
    # The kernel does this to one process when memory runs out; the others start anew.
    recovered = own_storage.retrying(
        lambda: up_since() if up_since() != before else _not_yet(), patience_s=60
    )

    assert again == before
    assert recovered > before


def _not_yet() -> NoReturn:
    raise StorageAway("the server has not noticed it yet")
