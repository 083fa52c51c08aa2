"""A personal PostgreSQL starts, keeps its data and its secrets, and is not started twice."""

import json
import os
import pwd
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.sweep.server.personal_server import (
    AS_ROOT,
    USER,
    WHEEL_ONLY,
    PersonalServer,
    personal_server,
    rows,
)
from wconv_sweep.errors import ConfigurationError, StorageError
from wconv_sweep.server.address import check_address, check_port, free_port, is_local, knock
from wconv_sweep.server.folder import Record, ServerFolder
from wconv_sweep.server.programs import SERVER_PROGRAMS, find_programs, run_program

HERE = socket.gethostname()
LOCAL = Record(address="localhost", port=5, tls=False, host=None, pid=None, started_at=None)


@pytest.fixture
def server() -> Iterator[PersonalServer]:
    with personal_server() as new:
        yield new


@pytest.fixture(scope="module")
def running() -> Iterator[PersonalServer]:
    """A server that tests look at and leave as it is."""
    with personal_server() as new:
        new.start()
        yield new


@pytest.mark.slow
def test_the_printed_url_leads_to_a_database_of_ones_own(running: PersonalServer) -> None:
    url = running.place.url_file.read_text().strip()

    found = rows(
        url,
        "SELECT current_user, current_database(), pg_encoding_to_char(encoding), datcollate,"
        " current_setting('data_checksums'), current_setting('synchronous_commit'),"
        " current_setting('max_connections'), rolsuper"
        " FROM pg_database, pg_roles WHERE datname = current_database()"
        " AND rolname = current_user",
    )

    assert found == [("wconv", "wconv", "UTF8", "C", "on", "on", "200", False)]


@pytest.mark.slow
def test_a_second_start_says_that_it_runs_and_prints_the_same(running: PersonalServer) -> None:
    before = running.place.postmaster()

    output = running.run("start")

    url = running.place.url_file.read_text().strip()
    assert "already runs on localhost" in output
    assert f"Storage:   {url}\n" in output
    assert f"  export WCONV_SWEEP_STORAGE='{url}'\n" in output
    assert running.place.postmaster() == before


@pytest.mark.slow
def test_the_state_of_a_running_server_is_shown(running: PersonalServer) -> None:
    facts = running.facts()
    text = running.run("status")

    assert facts["running"]
    assert facts["host"] == HERE
    assert facts["max_connections"] == 200
    assert facts["connections"] == 0
    assert facts["size_bytes"] > 1_000_000
    assert abs(facts["since"] - time.time()) < 600
    assert f"running on localhost, port {facts['port']}, of {HERE}" in text
    assert f"version:     PostgreSQL {facts['version']}, no TLS" in text


@pytest.mark.slow
def test_the_password_is_seen_by_nobody_else(running: PersonalServer) -> None:
    password = running.place.password()
    assert password is not None
    seen = [running.run("start"), running.run("status", "--json"), running.run("status")]
    for pid in running.place.processes():
        seen.append(Path(f"/proc/{pid}/cmdline").read_text())
        seen.append(Path(f"/proc/{pid}/environ").read_text())
    seen += [path.read_text() for path in running.place.logs.iterdir()]

    holders = {
        path.name
        for path in running.folder.rglob("*")
        if path.is_file() and password.encode() in path.read_bytes()
    }
    assert len(password) > 30
    assert not any(password in text for text in seen)
    assert holders == {"pgpass"}


@pytest.mark.slow
def test_a_login_needs_the_password(running: PersonalServer, tmp_path: Path) -> None:
    url = running.place.url_file.read_text().strip().partition("?")[0]

    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(url, passfile=str(tmp_path / "none"))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url, password="guessed")


@pytest.mark.slow
def test_all_files_are_the_users_alone(running: PersonalServer) -> None:
    for path in (running.folder, *running.folder.rglob("*")):
        found = path.lstat()
        assert stat.S_IMODE(found.st_mode) & 0o077 == 0, path
        assert found.st_uid == pwd.getpwnam(USER).pw_uid, path


@pytest.mark.slow
def test_the_server_of_another_address_or_port_is_not_taken_for_the_one_wanted(
    running: PersonalServer,
) -> None:
    port = running.facts()["port"]

    errors = running.run("start", "--port", str(port + 1), status=2)

    assert f"--port {port + 1}: the server already runs, with {port}." in errors


@pytest.mark.slow
@pytest.mark.skipif(not AS_ROOT, reason="looks at what root is told")
def test_root_must_name_a_user(server: PersonalServer) -> None:
    unnamed = server.run("start", status=2)
    root = server.run("start", "--user", "root", status=2)
    nobody = server.run("start", "--user", "no such user", status=2)

    assert unnamed.startswith("wconv-sweep: PostgreSQL does not run as root. Name the user")
    assert "--user root: PostgreSQL does not run as root." in root
    assert "--user no such user: there is no such user." in nobody
    assert not server.folder.exists()


@pytest.mark.slow
@pytest.mark.skipif(not AS_ROOT, reason="needs a folder of root")
def test_root_gives_no_folder_away_that_holds_something(server: PersonalServer) -> None:
    server.folder.mkdir()
    (server.folder / "thesis.tex").touch()

    errors = server.run("start", "--user", USER, status=2)

    assert "belongs to root and is not empty." in errors
    assert server.folder.stat().st_uid == 0


@pytest.mark.slow
def test_after_kill_9_the_data_are_still_there(server: PersonalServer) -> None:
    url = server.start()
    rows(url, "CREATE TABLE kept AS SELECT 17 AS number")

    server.kill()
    dead = server.facts(running=False)
    again = server.start()

    assert dead["reason"] == "it was killed, or the machine was switched off; a start recovers it"
    assert again == url
    assert rows(url, "SELECT number FROM kept") == [(17,)]


@pytest.mark.slow
def test_a_number_that_another_program_got_is_not_taken_for_the_server(
    server: PersonalServer,
) -> None:
    url = server.start()
    server.kill()
    with server.as_user("sleep", "60") as other:
        text = server.place.pid_file.read_text().split("\n", 1)[1]
        server.place.pid_file.write_text(f"{other.pid}\n{text}")

        stopped = server.run("stop")
        again = server.start()
        other_lives = other.poll() is None
        other.kill()

    assert stopped.endswith(": was not running\n")
    assert other_lives
    assert again == url
    assert rows(url, "SELECT 1") == [(1,)]


@pytest.mark.slow
def test_a_start_waits_for_what_a_killed_server_left(server: PersonalServer) -> None:
    url = server.start()
    rows(url, "CREATE TABLE kept AS SELECT 17 AS number")
    postmaster = server.place.postmaster()
    assert postmaster is not None
    os.kill(postmaster, 9)

    assert server.start() == url

    assert rows(url, "SELECT number FROM kept") == [(17,)]


@pytest.mark.slow
def test_a_stopped_server_says_so_and_comes_back_at_the_same_address(
    server: PersonalServer,
) -> None:
    url = server.start()
    with psycopg.connect(url):  # an open connection does not keep it
        stopped = server.run("stop")
    again = server.run("stop")
    facts = server.facts(running=False)

    assert stopped == f"{server.folder}: stopped\n"
    assert again == f"{server.folder}: was not running\n"
    assert (facts["reason"], facts["host"]) == ("it was stopped", None)
    assert server.place.processes() == []
    assert server.start() == url


@pytest.mark.slow
def test_two_starts_at_once_make_one_server(server: PersonalServer) -> None:
    user = ["--user", USER] if AS_ROOT else []
    processes = [server.begin("start", *user) for _ in range(3)]

    outputs = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert sum("already runs" in output for output, _ in outputs) == 2
    assert len({output.split("Storage: ")[1] for output, _ in outputs}) == 1


@pytest.mark.slow
def test_a_port_that_is_taken_is_named(server: PersonalServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        user = ["--user", USER] if AS_ROOT else []
        errors = server.run("start", *user, "--port", str(port), status=2)

    assert f"--port {port}: cannot be used on localhost: Address already in use." in errors
    assert server.start("--port", str(port)).split("?")[0].endswith(f"localhost:{port}/wconv")


@pytest.mark.slow
def test_data_of_another_version_are_left_alone(server: PersonalServer) -> None:
    server.start()
    server.run("stop")
    version = server.place.data / "PG_VERSION"
    version.write_text("9\n")

    errors = server.run("start", status=2)

    assert "its data were written by PostgreSQL 9, but the programs found are of version" in errors
    assert "run `wconv-sweep db backup`" in errors


@pytest.mark.slow
def test_the_server_of_another_machine_is_left_alone_until_it_is_forced(
    server: PersonalServer,
) -> None:
    url = server.start()
    rows(url, "CREATE TABLE kept AS SELECT 17 AS number")
    server.kill()
    record = json.loads((server.folder / "server.json").read_text())
    (server.folder / "server.json").write_text(json.dumps(record | {"host": "node17"}))
    server.patches["wconv_sweep.server.run.FENCE_S"] = 1

    refused = server.run("start", status=2)
    stop = server.run("stop", status=2)
    facts = server.facts(running=False)
    mark = server.place.pid_file.read_text()
    forced = server.run("start", "--force")

    assert "its server was started on node17, and this machine cannot tell" in refused
    assert "start with --force" in refused
    assert "its server was started on node17. Run `wconv-sweep db stop` there." in stop
    assert facts["reason"].startswith("it was started on node17")
    assert mark.splitlines()[0] == str(record["pid"])
    assert "waiting up to 1 s" in forced
    assert rows(url, "SELECT number FROM kept") == [(17,)]


@pytest.mark.slow
def test_a_server_that_answers_from_another_machine_is_not_even_forced(
    server: PersonalServer,
) -> None:
    server.start()
    server.kill()
    with socket.create_server(("127.0.0.1", 0)) as other:
        record = json.loads((server.folder / "server.json").read_text())
        record |= {"host": "node17", "port": other.getsockname()[1]}
        (server.folder / "server.json").write_text(json.dumps(record))
        # The other machine's address, though there is only this machine here.
        server.patches["wconv_sweep.server.run.is_local"] = "lambda address: False"

        errors = server.run("start", "--force", status=2)

    assert "its server runs on node17 and listens on localhost" in errors


@pytest.mark.slow
def test_a_server_that_ended_in_good_order_elsewhere_may_be_started_here(
    server: PersonalServer,
) -> None:
    url = server.start()
    server.run("stop")
    record = json.loads((server.folder / "server.json").read_text())
    (server.folder / "server.json").write_text(json.dumps(record | {"host": "node17"}))

    assert server.start() == url


@pytest.mark.slow
def test_the_wheel_serves_where_the_machine_has_no_postgresql(server: PersonalServer) -> None:
    server.patches |= WHEEL_ONLY
    if not _readable_by_user(Path(psycopg.__file__)):
        pytest.skip("the packages cannot be read by the user of the server")

    url = server.start()

    assert rows(url, "SELECT current_setting('server_version_num')::int >= 160000") == [(True,)]
    assert server.facts()["version"].startswith("18.")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["a 'quoted' \"$(touch pwned)\" `id` \\ %20 & + folder", "\u00e4\u4e2d", "x" * 150]
)
def test_any_name_of_a_folder_will_do(name: str) -> None:
    with personal_server(name) as server:
        url = server.start()

        assert rows(url, "SELECT 1") == [(1,)]
        assert server.start() == url
        assert server.facts()["running"]
        assert server.run("stop") == f"{server.folder}: stopped\n"
        assert not list(server.folder.parent.rglob("pwned"))


@pytest.mark.slow
def test_a_lost_password_is_replaced(server: PersonalServer) -> None:
    url = server.start()
    before = server.place.password()
    server.run("stop")
    server.place.pgpass.unlink()

    server.start()

    assert server.place.password() != before
    assert rows(url, "SELECT 1") == [(1,)]


@pytest.mark.slow
def test_a_first_start_that_was_cut_off_is_done_again(server: PersonalServer) -> None:
    server.folder.mkdir()
    (server.folder / "lock").touch()
    (server.folder / "data.new").mkdir()
    (server.folder / "data.new" / "half").touch()
    for path in (server.folder, *server.folder.rglob("*")):
        os.chown(path, pwd.getpwnam(USER).pw_uid, -1)

    assert rows(server.start(), "SELECT 1") == [(1,)]


@pytest.mark.slow
def test_connections_from_other_machines_are_encrypted(server: PersonalServer) -> None:
    # Loopback stands for the network here.
    server.patches["wconv_sweep.server.run.is_local"] = "lambda address: False"

    url = server.start("--host", "127.0.0.1")

    with psycopg.connect(url) as connection:
        assert connection.pgconn.ssl_in_use
    rules = (server.place.data / "pg_hba.conf").read_text()
    assert "hostssl wconv wconv all scram-sha-256" in rules
    assert "host wconv wconv all" not in rules
    assert "sslmode=verify-ca" in url
    assert server.facts()["tls"]


@pytest.mark.slow
def test_programs_without_tls_are_warned_about(server: PersonalServer) -> None:
    if not _readable_by_user(Path(psycopg.__file__)):
        pytest.skip("the packages cannot be read by the user of the server")
    server.patches |= WHEEL_ONLY
    server.patches["wconv_sweep.server.run.is_local"] = "lambda address: False"
    user = ["--user", USER] if AS_ROOT else []

    output = server.run("start", *user, "--host", "127.0.0.1")

    assert "warning: these programs of PostgreSQL are built without TLS: anyone who can" in output
    assert rows(server.place.url_file.read_text().strip(), "SELECT 1") == [(1,)]


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    mode = tmp_path.stat().st_mode

    with pytest.raises(StorageError, match=r"holds other files, but no server\. Choose a folder"):
        ServerFolder(tmp_path).create()

    assert tmp_path.stat().st_mode == mode


def test_a_folder_with_a_line_break_in_its_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="PostgreSQL cannot use a folder whose name has line"):
        ServerFolder(tmp_path / "a\nb").create()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text("{")

    with pytest.raises(StorageError, match=r"server\.json: is damaged\. Run `wconv-sweep db stop"):
        ServerFolder(tmp_path).record()


def test_an_address_with_colons_is_escaped_in_the_password_file(tmp_path: Path) -> None:
    folder = ServerFolder(tmp_path)

    folder.write_access(Record(**(vars(LOCAL) | {"address": "fd00::2"})), "secret")

    assert folder.pgpass.read_text() == "fd00\\:\\:2:5:wconv:wconv:secret\n"
    assert folder.password() == "secret"
    assert folder.url_file.read_text().startswith("postgresql://wconv@[fd00::2]:5/wconv?")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "*", "", "a b", "no.such.name.invalid"])
def test_only_one_address_of_this_machine_is_listened_on(address: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"--host {address.replace('*', '.')}"):
        check_address(address)


def test_a_free_port_is_free_and_a_taken_one_answers() -> None:
    port = free_port("127.0.0.1")
    check_port("127.0.0.1", port)

    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(ConfigurationError, match=rf"--port {port}: cannot be used"):
            check_port("127.0.0.1", port)
        assert knock("127.0.0.1", port) == "answers"

    assert knock("127.0.0.1", port) == "refused"
    assert is_local("localhost")
    assert not is_local("no.such.name.invalid")


def test_programs_on_path_come_first_and_links_are_followed(tmp_path: Path) -> None:
    real, links = _programs(tmp_path / "real", "17.2"), tmp_path / "links"
    links.mkdir()
    (links / "postgres").symlink_to(real / "postgres")
    usual = [_programs(tmp_path / f"usr/lib/postgresql/{n}/bin", str(n)) for n in (9, 13, 16)]

    found = find_programs(SERVER_PROGRAMS, {"PATH": f"/nowhere:{links}"}, tmp_path)

    here = [(item.folder, item.major) for item in found if tmp_path in item.folder.parents]
    assert here == [(real, 17), (usual[2], 16), (usual[1], 13)]
    assert found[0].folder == real


def test_programs_that_are_not_whole_or_do_not_run_are_passed_over(tmp_path: Path) -> None:
    part, broken = _programs(tmp_path / "part", "17"), _programs(tmp_path / "broken", "17")
    (part / "initdb").unlink()
    (broken / "postgres").write_text("#!/bin/sh\nexit 1\n")

    found = find_programs(SERVER_PROGRAMS, {"PATH": f"{part}:{broken}"}, tmp_path)

    assert not [item for item in found if tmp_path in item.folder.parents]


def test_programs_see_no_password_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WCONV_SWEEP_STORAGE", "postgresql://me:s3cret@host/db")
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    monkeypatch.setenv("PGDATA", "/elsewhere")

    output = run_program(["env"])

    assert "s3cret" not in output
    assert "PGDATA" not in output
    assert "PATH=" in output


@pytest.mark.slow
def test_a_program_that_fails_is_shown_with_its_last_lines() -> None:
    with pytest.raises(StorageError, match=r"sh -c 'echo why >&2; exit 3' failed with .* 3: why"):
        run_program(["sh", "-c", "echo why >&2; exit 3"])


def _programs(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    for name in SERVER_PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


def _readable_by_user(path: Path) -> bool:
    return not AS_ROOT or all(parent.stat().st_mode & 0o001 for parent in path.parents)
