"""The storage is chosen, opened and created without surprises."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import make_url, select

from wconv_sweep.errors import StorageError
from wconv_sweep.storage import choose_url, create_storage, open_storage
from wconv_sweep.tables import SCHEMA, SCHEMA_VERSION


def test_the_option_wins_over_the_environment_and_that_over_the_run_folder(
    tmp_path: Path,
) -> None:
    ours, optunas = (
        {"WCONV_SWEEP_STORAGE": "sqlite:////b.db"},
        {"OPTUNA_STORAGE": "sqlite:////c.db"},
    )

    assert choose_url("sqlite:////a.db", tmp_path, ours | optunas).database == "/a.db"
    assert choose_url(None, tmp_path, ours | optunas).database == "/b.db"
    assert choose_url(None, tmp_path, optunas).database == "/c.db"
    assert choose_url(None, tmp_path, {}).database == str(tmp_path / "sweep.db")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sweep.db", "--storage: is not a database URL. Write sqlite:///PATH"),
        ("sqlite://", "--storage: sqlite://: this version stores studies in an SQLite file."),
        ("sqlite:///:memory:", "this version stores studies in an SQLite file."),
    ],
)
def test_what_is_no_usable_url_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StorageError) as caught:
        choose_url(text, tmp_path, {})
    assert message in str(caught.value)


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


def test_tables_of_another_version_are_refused(tmp_path: Path) -> None:
    url = choose_url(None, tmp_path, {})
    storage = create_storage(url)
    with storage.write() as connection:
        connection.execute(SCHEMA.update().values(version=SCHEMA_VERSION + 1))
    storage.close()

    with pytest.raises(StorageError, match=r"has tables of version 2, this program needs 1"):
        open_storage(url)


@pytest.mark.slow
def test_eight_processes_may_create_the_storage_at_once(tmp_path: Path) -> None:
    url = choose_url(None, tmp_path, {})
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_create, args=(str(url),)) for _ in range(8)]

    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * 8
    storage = open_storage(url)
    with storage.read() as connection:
        assert connection.scalars(select(SCHEMA.c.version)).all() == [SCHEMA_VERSION]
    storage.close()


def test_sqlite_keeps_a_write_ahead_log(tmp_path: Path) -> None:
    storage = create_storage(choose_url(None, tmp_path, {}))

    with storage.read() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()

    storage.close()
    assert mode == "wal"
    assert synchronous == 1  # NORMAL


def _create(url: str) -> None:
    create_storage(make_url(url)).close()
