"""`db`: a storage is copied into a file and brought back, whatever database it is in."""

import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text
from typer.testing import CliRunner

from tests.sweep.server.personal_server import WHEEL_ONLY, PersonalServer, personal_server, rows
from tests.sweep.tiny import run
from wconv_sweep.cli.app import app
from wconv_sweep.errors import StorageError
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.server.programs import find_programs
from wconv_sweep.slots.studies import create_or_extend
from wconv_sweep.storage.backup import restore
from wconv_sweep.storage.open_storage import create_storage, open_storage
from wconv_sweep.storage.tables import SCHEMA, SCHEMA_VERSION
from wconv_sweep.storage.url import choose_url
from wconv_sweep.study.config import StudyConfig

Monkey = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]
PROGRAMS = "wconv_sweep.storage.dumps.find_programs"


@pytest.fixture(scope="module")
def server() -> Iterator[PersonalServer]:
    """A server that runs; what it holds is of no importance to the tests."""
    with personal_server("a server") as new:
        new.start()
        yield new


@pytest.fixture
def emptied(server: PersonalServer) -> str:
    """The URL of a storage on the server that holds nothing."""
    url = server.place.url_file.read_text().strip()
    rows(url, "DROP SCHEMA IF EXISTS wconv_sweep_aside CASCADE")
    rows(url, "DROP SCHEMA public CASCADE")
    rows(url, "CREATE SCHEMA public")
    return url


def test_an_sqlite_storage_comes_back_from_its_backup(
    monkeypatch: Monkey, capsys: Capture, tiny_config: StudyConfig, empty_folder: Path
) -> None:
    url = "sqlite:///" + str(empty_folder / "wconv_runs/sweep.db")
    before = _filled(url, tiny_config, empty_folder)

    saved = run(monkeypatch, capsys, "db", "backup", "a backup")
    restored = run(monkeypatch, capsys, "db", "restore", "a backup", "--storage", "sqlite:///b.db")

    assert saved == restored == (0, "a backup: 1 study\n", "")
    assert _content("sqlite:///b.db", empty_folder) == before
    assert stat.S_IMODE(Path("a backup").stat().st_mode) == 0o600
    assert sorted(path.name for path in Path().iterdir()) == ["a backup", "b.db", "wconv_runs"]


def test_a_backup_holds_what_is_still_in_the_write_ahead_log(
    monkeypatch: Monkey, capsys: Capture, tiny_config: StudyConfig, empty_folder: Path
) -> None:
    storage = create_storage(choose_url(None, Path("wconv_runs"), {}))
    create_or_extend(storage, tiny_config, RunFolder.of(Path("wconv_runs"), "tiny"), "local")

    run(monkeypatch, capsys, "db", "backup", "b.db")

    storage.close()
    assert _content("sqlite:///b.db", empty_folder)["wconv_studies"][0][0] == "tiny"


def test_nothing_is_overwritten_unless_it_is_forced(
    monkeypatch: Monkey, capsys: Capture, tiny_config: StudyConfig, empty_folder: Path
) -> None:
    before = _filled("sqlite:///a.db", tiny_config, empty_folder)
    create_storage(choose_url("sqlite:///b.db", empty_folder)).close()
    a, b = ("--storage", "sqlite:///a.db"), ("--storage", "sqlite:///b.db")
    run(monkeypatch, capsys, "db", "backup", "file", *b)

    saved = run(monkeypatch, capsys, "db", "backup", "file", *a)
    forced = run(monkeypatch, capsys, "db", "backup", "file", *a, "--force")
    restored = run(monkeypatch, capsys, "db", "restore", "file", *b)
    between = _content("sqlite:///b.db", empty_folder)["wconv_studies"]
    replaced = run(monkeypatch, capsys, "db", "restore", "file", *b, "--force")

    assert saved[0] == restored[0] == 2
    assert "file: already exists. Choose another file, or replace it with --force." in saved[2]
    assert "b.db: already exists. Choose another storage with --storage, or replace" in restored[2]
    assert between == []
    assert forced[1] == replaced[1] == "file: 1 study\n"
    assert _content("sqlite:///b.db", empty_folder) == before


@pytest.mark.slow
def test_a_restored_storage_takes_nothing_from_the_log_of_a_deleted_one(
    monkeypatch: Monkey, capsys: Capture, tiny_config: StudyConfig, empty_folder: Path
) -> None:
    before = _filled("sqlite:///a.db", tiny_config, empty_folder)
    run(monkeypatch, capsys, "db", "backup", "file", "--storage", "sqlite:///a.db")
    with sqlite3.connect("a.db") as connection:
        connection.execute("DELETE FROM wconv_slots")
        connection.commit()
        log = Path("a.db-wal").read_bytes()
    connection.close()
    Path("a.db").unlink()
    Path("a.db-wal").write_bytes(log)

    run(monkeypatch, capsys, "db", "restore", "file", "--storage", "sqlite:///a.db")

    assert _content("sqlite:///a.db", empty_folder) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "file: cannot be read: No such file or directory"),
        (b"", "file: was not written by `wconv-sweep db backup`. Choose another file."),
        (b"PGDMP", "file: is a backup of PostgreSQL, but the storage is of SQLite. Choose a"),
        (b"SQLite format 3\0" + b"x" * 4096, "file: cannot be used: file is not a database"),
    ],
)
def test_what_is_no_backup_is_refused_and_nothing_is_written(
    monkeypatch: Monkey,
    capsys: Capture,
    empty_folder: Path,
    content: bytes | None,
    message: str,
) -> None:
    if content is not None:
        Path("file").write_bytes(content)

    status, _, errors = run(monkeypatch, capsys, "db", "restore", "file")

    assert status == 2
    assert message in errors
    assert not list(empty_folder.rglob("*.db"))


def test_a_damaged_backup_is_refused(
    monkeypatch: Monkey, capsys: Capture, tiny_config: StudyConfig, empty_folder: Path
) -> None:
    _filled("sqlite:///a.db", tiny_config, empty_folder)
    run(monkeypatch, capsys, "db", "backup", "file", "--storage", "sqlite:///a.db")
    with Path("file").open("r+b") as stream:
        stream.truncate(stream.seek(0, os.SEEK_END) // 2)

    status, _, errors = run(monkeypatch, capsys, "db", "restore", "file")

    assert status == 2
    assert errors.startswith("wconv-sweep: ")
    assert "malformed" in errors or "is damaged" in errors
    assert not Path("wconv_runs/sweep.db").exists()


def test_what_holds_no_studies_is_not_backed_up(
    monkeypatch: Monkey, capsys: Capture, empty_folder: Path
) -> None:
    sqlite3.connect("empty.db").close()
    storage = ("--storage", "sqlite:///empty.db")

    missing = run(monkeypatch, capsys, "db", "backup", "file")
    empty = run(monkeypatch, capsys, "db", "backup", "file", *storage)
    nowhere = run(monkeypatch, capsys, "db", "backup", "no/file", *storage)

    assert "wconv_runs/sweep.db: there is no storage. Choose one with" in missing[2]
    assert "empty.db: cannot be used: holds no studies of wconv-sweep" in empty[2]
    assert "no/file: cannot be written: No such file or directory" in nowhere[2]
    assert sorted(path.name for path in empty_folder.iterdir()) == ["empty.db"]


def test_one_database_is_named_at_a_time(
    monkeypatch: Monkey, capsys: Capture, empty_folder: Path
) -> None:
    both = ("--folder", "a", "--storage", "sqlite:///b.db")

    named = run(monkeypatch, capsys, "db", "backup", "file", *both)
    missing = run(monkeypatch, capsys, "db", "backup", "file", "--folder", "a")

    assert "--folder and --storage both name a database. Give only one of them." in named[2]
    assert "a: there is no server. Create one with `wconv-sweep db start`" in missing[2]
    assert list(empty_folder.iterdir()) == []


def test_the_tables_of_an_older_version_are_upgraded_on_request(
    monkeypatch: Monkey, capsys: Capture, empty_folder: Path
) -> None:
    create_storage(choose_url(None, Path("wconv_runs"), {})).close()

    status, output, _ = run(monkeypatch, capsys, "db", "upgrade")

    assert (status, output) == (0, f"the tables already have version {SCHEMA_VERSION}\n")


def test_there_is_no_server_before_the_first_start(
    monkeypatch: Monkey, capsys: Capture, empty_folder: Path
) -> None:
    place = empty_folder / "wconv_runs" / "postgres"

    status = run(monkeypatch, capsys, "db", "status")
    as_json = run(monkeypatch, capsys, "db", "status", "--json")
    stop = run(monkeypatch, capsys, "db", "stop")

    assert status == (1, f"{place}: not running: there is no server in this folder\n", "")
    assert as_json[0] == 1
    assert json.loads(as_json[1])["running"] is False
    assert stop[0] == 2
    assert f"{place}: there is no server. Create one with `wconv-sweep db start`" in stop[2]
    assert list(empty_folder.iterdir()) == []


@pytest.mark.slow
def test_a_postgresql_storage_comes_back_from_its_backup(
    server: PersonalServer, emptied: str, tiny_config: StudyConfig, tmp_path: Path
) -> None:
    before = _filled(emptied, tiny_config, tmp_path)
    file = server.folder.parent / "a backup"
    file.unlink(missing_ok=True)

    saved = server.run("backup", str(file))
    refused = server.run("restore", str(file), status=2)
    rows(emptied, "DELETE FROM wconv_slots")
    restored = server.run("restore", str(file), "--force")

    assert saved == restored == f"{file}: 1 study\n"
    assert "the database wconv on localhost is not empty." in refused
    assert _content(emptied, tmp_path) == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert rows(emptied, "SELECT nspname FROM pg_namespace WHERE nspname ~ 'aside'") == []
    file.unlink()


@pytest.mark.slow
def test_a_backup_goes_into_a_newer_postgresql(
    server: PersonalServer, emptied: str, tiny_config: StudyConfig, tmp_path: Path
) -> None:
    before = _filled(emptied, tiny_config, tmp_path)
    file = tmp_path / "backup"
    server_version = server.facts()["version"]
    with personal_server() as other:
        other.patches |= WHEEL_ONLY
        url = other.start()
        newer = other.facts()["version"]
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("WCONV_SWEEP_STORAGE", emptied)
            _command("backup", str(file))
            patched.setenv("WCONV_SWEEP_STORAGE", url)
            _command("restore", str(file))

        assert int(newer.split(".")[0]) >= int(server_version.split(".")[0])
        assert _content(url, tmp_path) == before


@pytest.mark.slow
def test_programs_that_are_newer_than_the_server_bring_back_what_they_saved(
    server: PersonalServer,
    emptied: str,
    tiny_config: StudyConfig,
    tmp_path: Path,
    monkeypatch: Monkey,
) -> None:
    if int(server.facts()["version"].split(".")[0]) >= 17:
        pytest.skip("needs a server of PostgreSQL 16 or older")
    before = _filled(emptied, tiny_config, tmp_path)
    file = tmp_path / "backup"
    monkeypatch.setenv("WCONV_SWEEP_STORAGE", emptied)

    with monkeypatch.context() as patched:
        patched.setattr(
            PROGRAMS, lambda names: [new for new in find_programs(names) if new.major >= 17]
        )
        _command("backup", str(file))
        rows(emptied, "DELETE FROM wconv_slots")
        _command("restore", str(file), "--force")
    restored = _content(emptied, tmp_path)
    # Programs as old as the server are there, too, but cannot read the file.
    rows(emptied, "DELETE FROM wconv_slots")
    _command("restore", str(file), "--force")
    monkeypatch.setattr(
        PROGRAMS, lambda names: [old for old in find_programs(names) if old.major < 17]
    )
    with pytest.raises(StorageError, match="the file is of PostgreSQL 17 or newer, and no pg_res"):
        restore(choose_url(emptied, tmp_path), file, force=True)

    assert restored == before
    assert _content(emptied, tmp_path) == before


@pytest.mark.slow
def test_a_restore_that_fails_or_was_killed_leaves_the_storage_as_it_was(
    server: PersonalServer, emptied: str, tiny_config: StudyConfig, tmp_path: Path
) -> None:
    before = _filled(emptied, tiny_config, tmp_path)
    file = server.folder.parent / "half"
    server.run("backup", str(file), "--force")
    with file.open("r+b") as stream:
        stream.truncate(stream.seek(0, os.SEEK_END) // 2)

    failed = server.run("restore", str(file), "--force", status=2)
    after_failure = _content(emptied, tmp_path)
    # As a restore leaves it that is killed while it works.
    rows(emptied, "ALTER SCHEMA public RENAME TO wconv_sweep_aside")
    rows(emptied, "CREATE SCHEMA public")
    refused = server.run("restore", str(file), status=2)

    assert "pg_restore" in failed
    assert after_failure == before
    assert "is not empty" in refused
    assert _content(emptied, tmp_path) == before


@pytest.mark.slow
def test_a_password_in_the_environment_stays_there(
    server: PersonalServer, emptied: str, tiny_config: StudyConfig, tmp_path: Path
) -> None:
    _filled(emptied, tiny_config, tmp_path)
    password = server.place.password()
    bare = emptied.partition("?")[0]
    version = server.facts()["version"]
    # A pg_dump that tells what it sees, in place of every other.
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (programs / name).write_text(
            f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n"
            f'env > {tmp_path}/seen; echo "$@" >> {tmp_path}/seen\n'
            f'[ -z "$PGPASSFILE" ] || cat "$PGPASSFILE" > {tmp_path}/passfile\n'
        )
        (programs / name).chmod(0o755)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        patched.setenv("WCONV_SWEEP_STORAGE", bare.replace("wconv@", f"wconv:{password}@"))
        patched.chdir(tmp_path)
        _command("backup", "file")

    seen = (tmp_path / "seen").read_text()
    assert password is not None
    assert password not in seen
    assert "--format=custom" in seen
    assert (tmp_path / "passfile").read_text() == f"*:*:*:*:{password}\n"


def _command(verb: str, *arguments: str) -> None:
    """Run `db VERB` in this process."""
    outcome = CliRunner().invoke(app, ["db", verb, *arguments], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output


def _filled(url: str, config: StudyConfig, folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Make a storage with one study, and return its content."""
    storage = create_storage(choose_url(url, folder))
    create_or_extend(storage, config, RunFolder.of(folder, "tiny"), "local")
    storage.close()
    return _content(url, folder)


def _content(url: str, folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables of a storage."""
    storage = open_storage(choose_url(url, folder))
    with storage.read() as connection:
        found = {
            name: sorted(map(tuple, connection.execute(text(f"SELECT * FROM {name}"))), key=repr)
            for name in inspect(connection).get_table_names()
        }
    storage.close()
    assert SCHEMA.name in found
    return found
