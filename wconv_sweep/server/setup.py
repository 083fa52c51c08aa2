"""Creates the data of a personal PostgreSQL, and writes its settings, access rules and TLS."""

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator

from wconv_sweep.errors import StorageError
from wconv_sweep.server.folder import DATABASE, ROLE, Record, ServerFolder
from wconv_sweep.server.programs import (
    INSTALL,
    SERVER_PROGRAMS,
    Programs,
    find_programs,
    run_program,
)

_ADMINISTRATOR = "postgres"
_SETTINGS = "wconv_sweep.conf"
_MAX_CONNECTIONS = 200
_CERTIFICATE_DAYS = 3650


def programs_for(folder: ServerFolder) -> Programs:
    """Return the programs that serve the data, or any if there are no data yet.

    Raises:
        StorageError: there are none, or of another version only.
    """
    found = find_programs(SERVER_PROGRAMS)
    if not found:
        raise StorageError(f"no programs of PostgreSQL are found. {INSTALL}.")
    try:
        version = (folder.data / "PG_VERSION").read_text("utf-8").strip()
    except FileNotFoundError:
        return found[0]
    fitting = [programs for programs in found if str(programs.major) == version]
    if not fitting:
        others = ", ".join(str(number) for number in sorted({item.major for item in found}))
        raise StorageError(
            f"{folder.path}: its data were written by PostgreSQL {version}, but the programs "
            f"found are of version {others}. Start it with those of version {version} (load that "
            "module), run `wconv-sweep db backup`, and `wconv-sweep db restore` into a new server."
        )
    return fitting[0]


def create_data(folder: ServerFolder, programs: Programs, password: str) -> None:
    """Create the data, with the role and its database; all or nothing.

    The administrator's password is thrown away: no one logs in as administrator over a network,
    and the owner of the files can set another one.
    """
    new = folder.path / "data.new"
    shutil.rmtree(new, ignore_errors=True)
    with _password_file(folder, secrets.token_urlsafe(32)) as password_file:
        run_program(
            programs.command(
                "initdb",
                f"--pgdata={new.name}",
                f"--username={_ADMINISTRATOR}",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                "--locale=C",
                "--data-checksums",
            ),
            folder.path,
        )
    with open(new / "postgresql.conf", "a", encoding="utf-8") as stream:
        stream.write(
            f"\n# Written by wconv-sweep at every start. Settings of yours go below this line.\n"
            f"include '{_SETTINGS}'\n"
        )
    (new / _SETTINGS).touch(mode=0o600)
    # Without a server, so that no one can connect before the password is set.
    _run_alone(
        programs,
        folder,
        new.name,
        f"CREATE ROLE {ROLE} LOGIN PASSWORD '{_verifier(password)}';",
        f"CREATE DATABASE {DATABASE} OWNER {ROLE};",
    )
    # Before PostgreSQL 15 it would be the administrator's; `db restore` replaces it.
    _run_alone(
        programs, folder, new.name, f"ALTER SCHEMA public OWNER TO {ROLE};", database=DATABASE
    )
    new.rename(folder.data)


def set_password(folder: ServerFolder, programs: Programs, password: str) -> None:
    """Give the role another password, while no server runs."""
    _run_alone(
        programs, folder, folder.data.name, f"ALTER ROLE {ROLE} PASSWORD '{_verifier(password)}';"
    )


def has_tls(folder: ServerFolder, programs: Programs) -> bool:
    """Return whether the server can encrypt connections: programs of wheels often cannot."""
    try:
        run_program(
            programs.command("postgres", "-D", folder.data.name, "-C", "ssl", "-c", "ssl=on"),
            folder.path,
        )
    except StorageError:
        return False
    return True


def make_certificate(folder: ServerFolder, address: str) -> bool:
    """Create a key and a self-signed certificate; False without the program openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return False
    kind = "IP" if address.replace(".", "").isdigit() or ":" in address else "DNS"
    for path in (folder.key, folder.certificate):
        path.unlink(missing_ok=True)
    umask = os.umask(0o077)
    try:
        run_program(
            [
                *(openssl, "req", "-x509", "-nodes", "-days", str(_CERTIFICATE_DAYS)),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-keyout", folder.key.name, "-out", folder.certificate.name),
                # A common name has 64 characters at most; the other one counts.
                *("-subj", "/CN=wconv-sweep", "-addext", f"subjectAltName={kind}:{address}"),
            ],
            folder.path,
        )
    finally:
        os.umask(umask)
    return True


def write_settings(folder: ServerFolder, record: Record, *, local: bool) -> None:
    """Write the settings and the access rules.

    Args:
        folder: of the server, whose data exist.
        record: where it is to listen, and whether with TLS.
        local: only this machine reaches the address.
    """
    settings: dict[str, str | int | bool] = {
        "listen_addresses": record.address,
        "port": record.port,
        # A socket's path has 107 bytes at most, and folders in /tmp are cleaned up.
        "unix_socket_directories": "",
        "max_connections": _MAX_CONNECTIONS,
        "password_encryption": "scram-sha-256",
        "synchronous_commit": True,
        "cluster_name": "wconv-sweep",
        "tcp_keepalives_idle": 60,  # seconds; connections of nodes that died must not pile up
        "tcp_keepalives_interval": 10,
        "tcp_keepalives_count": 6,
        "logging_collector": True,
        "log_directory": f"../{folder.logs.name}",
        "log_filename": "postgresql-%a.log",
        "log_file_mode": "0600",
        "log_truncate_on_rotation": True,
        "log_rotation_age": "1d",
        "log_rotation_size": 0,
        "log_line_prefix": "%m [%p] %h ",
        "ssl": record.tls,
    }
    if record.tls:
        settings["ssl_cert_file"] = f"../{folder.certificate.name}"
        settings["ssl_key_file"] = f"../{folder.key.name}"
    lines = ["# Written at every start; settings of yours go into postgresql.conf."]
    lines += [f"{name} = {_value(value)}" for name, value in settings.items()]
    folder.write(folder.data / _SETTINGS, "\n".join(lines) + "\n")

    rules = ["# Written at every start.", "# type database user address method"]
    rules += [f"local {DATABASE} {ROLE} scram-sha-256"]
    rules += [f"host {DATABASE} {ROLE} {net} scram-sha-256" for net in ("127.0.0.0/8", "::1/128")]
    if not local:
        kind = "hostssl" if record.tls else "host"
        rules += [f"{kind} {DATABASE} {ROLE} all scram-sha-256"]
    folder.write(folder.data / "pg_hba.conf", "\n".join(rules) + "\n")


def _run_alone(
    programs: Programs,
    folder: ServerFolder,
    data: str,
    *statements: str,
    database: str = "postgres",
) -> None:
    """Run SQL, one statement per line, on data that no server uses."""
    run_program(
        programs.command("postgres", "--single", "-c", "exit_on_error=on", "-D", data, database),
        folder.path,
        stdin="\n".join(statements) + "\n",
    )


@contextlib.contextmanager
def _password_file(folder: ServerFolder, password: str) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", dir=folder.path, prefix=".pw", encoding="utf-8") as file:
        file.write(password + "\n")
        file.flush()
        yield os.path.basename(file.name)


def _verifier(password: str) -> str:
    """Return PostgreSQL's verifier of a password (RFC 5802): no log can have more."""
    salt, rounds = secrets.token_bytes(16), 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, rounds)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored = hashlib.sha256(client).digest()
    coded = [base64.b64encode(part).decode("ascii") for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${rounds}:{coded[0]}${coded[1]}:{coded[2]}"


def _value(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
