"""A password leaves the URL at once, and lies where nobody else can read it."""

import stat
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

from tests.sweep.postgres import USER, Server
from wconv_sweep.errors import StorageError
from wconv_sweep.storage.credentials import FILE_NAME, check_passfile, without_password
from wconv_sweep.storage.url import choose_url


def chosen(runs: Path, text: str) -> URL:
    return choose_url(None, runs, {"WCONV_SWEEP_STORAGE": text})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("postgresql://me:s3cret@host:5433/db", "host:5433:db:me:s3cret"),
        ("postgresql://me:a%3Ab%5Cc%40@host/db", r"host:*:db:me:a\:b\\c@"),
        ("postgresql:///db?password=s3cret&user=me", "*:*:db:*:s3cret"),
        ("postgres://me:s3cret@[::1]:5433/db", r"\:\:1:5433:db:me:s3cret"),
        ("postgresql+psycopg2://me:s3cret@/db?host=/tmp/socket", "*:*:db:me:s3cret"),
    ],
)
def test_the_password_moves_to_a_file_that_libpq_reads(
    tmp_path: Path, text: str, line: str
) -> None:
    url = chosen(tmp_path / "runs", text)

    path = tmp_path / "runs" / FILE_NAME
    assert url.password is None
    assert "password" not in url.query
    assert url.drivername == "postgresql+psycopg"
    assert url.query["passfile"] == str(path)
    assert path.read_text() == f"{line}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.slow
def test_a_server_really_takes_the_password_from_the_file(
    postgres: Server, tmp_path: Path
) -> None:
    # The password of the tests holds a colon, a backslash, a blank, @, / and braces.
    given = (
        postgres.url("postgres")
        .set(password=postgres.password)
        .difference_update_query(["passfile"])
    )

    url = chosen(tmp_path, given.render_as_string(hide_password=False))

    with psycopg.connect(
        host=url.host,
        port=url.port,
        user=USER,
        dbname=url.database,
        passfile=str(url.query["passfile"]),
    ) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (USER,)


def test_a_new_password_replaces_the_old_one_and_leaves_other_servers_alone(
    tmp_path: Path,
) -> None:
    chosen(tmp_path, "postgresql://me:first@host:1/db")
    chosen(tmp_path, "postgresql://me:other@elsewhere/db")
    chosen(tmp_path, "postgresql://me:second@host:1/db")

    lines = (tmp_path / FILE_NAME).read_text().splitlines()
    assert sorted(lines) == ["elsewhere:*:db:me:other", "host:1:db:me:second"]
    # The more general line comes last: libpq takes the first that fits.
    assert lines[-1].startswith("elsewhere:*")


def test_the_same_password_again_writes_nothing(tmp_path: Path) -> None:
    chosen(tmp_path, "postgresql://me:first@host:1/db")
    before = (tmp_path / FILE_NAME).stat()

    chosen(tmp_path, "postgresql://me:first@host:1/db")

    assert (tmp_path / FILE_NAME).stat().st_ino == before.st_ino


def test_a_link_in_place_of_the_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "somebody's file"
    other.write_text("untouched")
    (tmp_path / FILE_NAME).symlink_to(other)

    chosen(tmp_path, "postgresql://me:s3cret@host/db")

    assert other.read_text() == "untouched"
    assert not (tmp_path / FILE_NAME).is_symlink()


def test_no_password_is_written_where_everybody_may_replace_the_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(StorageError, match=r"anyone may replace files in it") as caught:
        chosen(tmp_path, "postgresql://me:s3cret@host/db")

    assert "s3cret" not in str(caught.value)
    assert not (tmp_path / FILE_NAME).exists()


def test_a_password_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"WCONV_SWEEP_STORAGE: the password holds a line"):
        chosen(tmp_path, "postgresql://me:a%0Ab@host/db")


def test_a_url_without_a_password_stays_as_it_is_and_writes_nothing(tmp_path: Path) -> None:
    url = URL.create("postgresql+psycopg", host="host", database="db")

    assert without_password(url, tmp_path, "--storage") == url
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_others_can_read_is_refused_where_libpq_would_pass_over_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pgpass"
    path.write_text("*:*:*:*:s3cret\n")
    path.chmod(0o640)
    named = URL.create("postgresql+psycopg", database="db", query={"passfile": str(path)})
    unnamed = URL.create("postgresql+psycopg", database="db")

    with pytest.raises(StorageError, match=rf"Run: chmod 600 {path}"):
        check_passfile(named)
    with pytest.raises(StorageError, match=rf"Run: chmod 600 {path}"):
        check_passfile(unnamed, {"PGPASSFILE": str(path)})
    check_passfile(unnamed, {"PGPASSFILE": str(path), "PGPASSWORD": "s3cret"})
    path.chmod(0o600)
    check_passfile(named)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    url = URL.create("postgresql+psycopg", database="db", query={"passfile": "/nowhere/pgpass"})

    with pytest.raises(StorageError, match=r"/nowhere/pgpass: the file with the password .* gone"):
        check_passfile(url)
