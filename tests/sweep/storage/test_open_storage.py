"""The storage is chosen, opened and created without surprises."""

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import cast, func, make_url, select

from tests.sweep.nursery import called
from tests.sweep.postgres import Server
from wconv_sweep.errors import StorageAway, StorageError
from wconv_sweep.storage.open_storage import (
    Storage,
    choose_url,
    create_storage,
    has_storage,
    open_storage,
)
from wconv_sweep.storage.optuna_client import close_client, optuna_client
from wconv_sweep.storage.tables import SCHEMA, SCHEMA_VERSION, FreeText


def test_the_option_wins_over_the_environment_and_that_over_the_run_folder(
    tmp_path: Path,
) -> None:
    ours, optunas = (
        {"WCONV_SWEEP_STORAGE": "sqlite:////b.db"},
        {"OPTUNA_STORAGE": "sqlite:////c.db"},
    )

    assert choose_url("sqlite:////a.db", tmp_path, ours | optunas).database == "/a.db"
    assert choose_url(None, tmp_path, ours | optunas).database == "/b.db"
    assert choose_url(None, tmp_path, optunas, profile="sqlite:////d.db").database == "/c.db"
    assert choose_url(None, tmp_path, {}, profile="sqlite:////d.db").database == "/d.db"
    assert choose_url(None, tmp_path, {}).database == str(tmp_path / "sweep.db")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder of all runs with a storage that others may read."""
    create_storage(choose_url(None, tmp_path, {})).close()
    yield tmp_path
    tmp_path.chmod(0o755)


def as_a_reader(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program as one who may not write where the modes of files do not let one."""
    opens = "from wconv_sweep.cli import app; app.main()"
    # root may write everywhere, but not without this capability.
    bound = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
    command = [*(bound if os.geteuid() == 0 else ()), sys.executable, "-c", opens, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_file_that_cannot_be_written_to_is_told_with_what_helps(read_only: Path) -> None:
    for path in (*read_only.iterdir(), read_only):
        path.chmod(0o555)

    refused = as_a_reader("status", "--runs", str(read_only))

    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "sweep.db: " in line
    assert "SQLite has to write to the file and into its folder" in line
    assert "ask for what `wconv-sweep db backup FILE` writes" in line


def test_while_its_owner_is_at_work_others_may_read_what_they_may_not_write(
    read_only: Path,
) -> None:
    owners = open_storage(choose_url(None, read_only, {}))
    with owners.write() as connection:  # makes the files beside it
        connection.exec_driver_sql("UPDATE wconv_studies SET study = study")
    for path in (*read_only.iterdir(), read_only):
        path.chmod(0o555)

    shown = as_a_reader("status", "--runs", str(read_only))
    owners.close()

    assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.slow
def test_a_file_that_may_not_be_written_is_not_taken_for_none(read_only: Path) -> None:
    (read_only / "sweep.db").chmod(0o444)
    arguments = ("--study", "quickstart", "--cluster", "local", "--runs", str(read_only))

    examined = as_a_reader("doctor", *arguments)
    launched = as_a_reader("launch", *arguments)

    assert examined.returncode == 1
    assert "which the first launch creates" not in examined.stdout
    assert "SQLite has to write to the file" in " ".join(examined.stdout.split())
    assert launched.returncode == 2
    (line,) = launched.stderr.splitlines()
    assert "SQLite has to write to the file and into its folder" in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sweep.db", "--storage: is not a database URL. Write sqlite:///PATH"),
        ("sqlite://", "--storage: names no file. Write sqlite:///PATH."),
        ("sqlite:///:memory:", "--storage: names no file."),
        ("postgresql://me@host", "--storage: names no database. Write postgresql://USER@HOST"),
        ("postgresql://me:a@b@host/db", "Write an @ in the user name or the password as %40."),
        ("postgresql://me@host:s3cret/db", "--storage: is not a database URL."),
        ("postgresql://me:s3cret@host/db", "--storage: holds a password, which others can read"),
        ("postgresql://me@host/db?password=s3cret", "in the list of processes. Leave it out and"),
        ("postgresql://me@host/db?sslpassword=s3cret", "sslpassword would be visible to others."),
    ],
)
def test_what_is_no_usable_url_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StorageError) as caught:
        choose_url(text, tmp_path, {})
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_profile_may_hold_no_password_either(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"storage of the cluster profile: holds a password"):
        choose_url(None, tmp_path, {}, profile="postgresql://me:s3cret@host/db")


def test_files_named_in_the_url_are_found_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    url = choose_url("postgresql://me@host/db?passfile=secret&sslrootcert=system", tmp_path, {})

    assert url.query == {"passfile": str(tmp_path / "secret"), "sslrootcert": "system"}


def test_a_password_stands_in_no_message(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        choose_url("mysql://me:s3cret@host/db", tmp_path, {})

    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(caught.value)


def test_a_storage_that_is_not_there_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"there is no storage yet\. Run `wconv-sweep launch`"):
        open_storage(choose_url(None, tmp_path, {}))

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    path.write_text("not a database" * 100)

    with pytest.raises(StorageError, match=r"cannot be used: file is not a database"):
        create_storage(choose_url(None, tmp_path, {}))

    assert path.read_text() == "not a database" * 100


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match=r"cannot be created: File exists"):
        create_storage(make_url(f"sqlite:///{tmp_path}/file/sweep.db"))


def test_an_optuna_database_without_our_tables_is_named_as_such(tmp_path: Path) -> None:
    url = choose_url(None, tmp_path, {})
    with sqlite3.connect(tmp_path / "sweep.db") as connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER)")
    connection.close()

    with pytest.raises(StorageError, match=r"holds no studies of wconv-sweep"):
        open_storage(url)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_eight_processes_may_create_the_storage_at_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = choose_url(None, tmp_path, {})
    if kind == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        url = server.empty_database()

    statuses = called(_create_together, url.render_as_string(hide_password=False))

    assert statuses == [0] * 8
    storage = open_storage(url)
    with storage.read() as connection:
        assert connection.scalars(select(SCHEMA.c.version)).all() == [SCHEMA_VERSION]
    storage.close()


def test_whether_a_database_is_a_storage_can_be_asked_before(tmp_path: Path) -> None:
    url = choose_url(None, tmp_path, {})

    before = has_storage(url)
    left = list(tmp_path.iterdir())
    create_storage(url).close()

    assert (before, left, has_storage(url)) == (False, [], True)


@pytest.mark.slow
def test_a_server_without_tables_is_told_from_one_with_them(postgres: Server) -> None:
    url = postgres.empty_database()

    before = has_storage(url)
    with pytest.raises(StorageError, match=r"holds no studies of wconv-sweep"):
        open_storage(url)
    create_storage(url).close()

    assert (before, has_storage(url)) == (False, True)


def test_both_databases_have_a_clock_that_counts_seconds(storage: Storage) -> None:
    with storage.read() as connection:
        now = connection.scalar(select(storage.now()))

    assert isinstance(now, float)
    assert abs(now - time.time()) < 5


def test_a_reader_sees_one_state_of_the_database(storage: Storage) -> None:
    count = select(func.count()).select_from(SCHEMA)
    with storage.read() as connection:
        before = connection.scalar(count)
        with storage.write() as other:
            other.execute(SCHEMA.insert().values(version=SCHEMA_VERSION))
        meanwhile = connection.scalar(count)
    with storage.write() as connection:
        connection.execute(SCHEMA.delete())
        connection.execute(SCHEMA.insert().values(version=SCHEMA_VERSION))

    assert (before, meanwhile) == (1, 1)


def test_text_of_any_origin_can_be_stored(storage: Storage) -> None:
    statement = select(cast("a\0b \udcff \u00e4", FreeText))

    with storage.read() as connection:
        stored = connection.scalar(statement)

    assert stored == "a\\x00b \\udcff \u00e4"


@pytest.mark.slow
def test_paths_are_relative_beside_a_file_and_absolute_on_a_server(
    sqlite_storage: Storage, postgres: Server, tmp_path: Path
) -> None:
    server = Storage(postgres.url("postgres"))

    assert sqlite_storage.stored_path(tmp_path / "tiny") == "tiny"
    assert sqlite_storage.stored_path(tmp_path.parent / "tiny") == "../tiny"
    assert server.stored_path(tmp_path / "tiny") == str(tmp_path / "tiny")
    assert server.folder / server.stored_path(tmp_path / "tiny") == tmp_path / "tiny"


def test_a_name_with_braces_reaches_optuna_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "{runs}"

    storage = create_storage(choose_url(None, folder, {}))

    client = optuna_client(storage)
    assert Path(str(client.engine.url.database)) == folder / "sweep.db"
    close_client(client, storage)
    storage.close()
    assert [path.name for path in tmp_path.iterdir()] == ["{runs}"]


def test_the_write_lock_is_waited_for_and_then_given_up(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wconv_sweep.storage.sqlite_backend.BUSY_TIMEOUT_S", 0.2)
    other = Storage(sqlite_storage.url)

    with (
        sqlite_storage.write(),
        pytest.raises(StorageAway, match=r"cannot be used at the moment: database is locked"),
        other.write(),
    ):
        pass

    # The connection can be used again.
    with other.write() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 200
    other.close()


def test_sqlite_keeps_a_write_ahead_log(tmp_path: Path) -> None:
    storage = create_storage(choose_url(None, tmp_path, {}))

    with storage.read() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()

    storage.close()
    assert mode == "wal"
    assert synchronous == 1  # NORMAL


def _create_together(url: str) -> list[int | None]:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_create, args=(url,)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def _create(url: str) -> None:
    create_storage(make_url(url)).close()
