"""Starts and stops a personal PostgreSQL, for users who have none.

It may lie on a file system that several machines see, and only one of them may use it at a time.
PostgreSQL itself guards data within a machine; across machines `server.json` names the one that
started it.
"""

import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from wconv_sweep.errors import ConfigurationError, StorageError
from wconv_sweep.server.address import check_address, check_port, free_port, is_local, knock
from wconv_sweep.server.folder import Record, ServerFolder
from wconv_sweep.server.programs import Programs, run_program
from wconv_sweep.server.setup import (
    create_data,
    has_tls,
    make_certificate,
    programs_for,
    set_password,
    write_settings,
)

FENCE_S = 130.0
"""A server looks once a minute, at the latest after two, whether `postmaster.pid` still has its
number, and ends at once if not; seconds to wait until one on another machine has done so."""

_START_S = 600
"""Time for a start, seconds; recovery after a crash is part of it."""
_STOP_S = 120.0
_ORPHANS_S = 30.0


@dataclass(frozen=True)
class Started:
    """A running server."""

    url: str
    version: str
    address: str
    port: int
    already: bool
    """Whether it ran before."""
    warnings: tuple[str, ...] = ()


def start(
    path: Path,
    address: str | None = None,
    port: int | None = None,
    *,
    force: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Started:
    """Start the server of a folder, creating it if necessary; do nothing if it already runs.

    Args:
        path: the folder.
        address: to listen on; None takes the previous one, else localhost.
        port: None takes the previous one; 0, or no previous one, takes a free one.
        force: take the data over from a machine that cannot be asked whether it still uses them.
        say: called with a line before each slow step.

    Raises:
        ConfigurationError: it cannot listen there.
        StorageError: the folder or the programs cannot be used, or another machine uses them.
    """
    folder = ServerFolder(path)
    folder.create()
    with folder.lock():
        record = folder.record()
        _check_unused_elsewhere(folder, record, force, say)
        if folder.postmaster() is not None:
            return _running(folder, record, address, port)
        programs = programs_for(folder)
        _clear_stale(folder)
        wanted = _listen(record, address, port)
        password = folder.password()
        if password is None or not folder.data.exists():
            password = password or secrets.token_urlsafe(32)
            if folder.data.exists():
                set_password(folder, programs, password)
            folder.write_access(wanted, password)
        if not folder.data.exists():
            create_data(folder, programs, password)
        wanted, warnings = _with_tls(folder, record, wanted, programs)
        write_settings(folder, wanted, local=is_local(wanted.address))
        folder.write_record(wanted)
        folder.write_access(wanted, password)
        folder.logs.mkdir(mode=0o700, exist_ok=True)
        log = folder.logs / "start.log"
        folder.write(log, "")
        try:
            run_program(
                programs.command(
                    *("pg_ctl", "start", "--wait", f"--timeout={_START_S}", "--silent"),
                    # Relative, as pg_ctl hands both to a shell.
                    *("-D", folder.data.name, "-l", f"{folder.logs.name}/{log.name}"),
                ),
                folder.path,
            )
        except StorageError as error:
            if not folder.processes():
                folder.write_record(replace(wanted, host=None))
            raise StorageError(_why_not(folder, log)) from error
        folder.write_record(replace(wanted, pid=folder.postmaster(), started_at=time.time()))
    return Started(
        folder.url(wanted),
        str(programs.major),
        wanted.address,
        wanted.port,
        already=False,
        warnings=warnings,
    )


def stop(path: Path) -> bool:
    """End the server of a folder and its connections; wait for it.

    Returns:
        Whether it ran.

    Raises:
        StorageError: there is none, it runs on another machine, or it does not end.
    """
    folder = ServerFolder(path)
    folder.check_there()
    with folder.lock():
        record = None
        with contextlib.suppress(StorageError):  # a damaged file must not keep it running
            record = folder.record()
        pid = folder.postmaster()
        elsewhere = record is not None and record.host not in (None, socket.gethostname())
        if pid is None and elsewhere and folder.pid_file.exists():
            assert record is not None
            raise StorageError(
                f"{folder.path}: its server was started on {record.host}. Run `wconv-sweep db "
                "stop` there."
            )
        if pid is not None:
            os.kill(pid, signal.SIGINT)  # "fast": ends connections, writes everything, ends
            _wait_for_end(folder, _STOP_S)
        if record is not None:
            folder.write_record(replace(record, host=None, pid=None, started_at=None))
    return pid is not None


def _check_unused_elsewhere(
    folder: ServerFolder, record: Record | None, force: bool, say: Callable[[str], None]
) -> None:
    """Return only if no other machine can be using the data."""
    here = socket.gethostname()
    # A server that shuts down properly removes its file.
    if record is None or record.host in (None, here) or not folder.pid_file.exists():
        return
    if folder.postmaster() is not None:
        return  # the machine has a new name
    answer = "silent" if is_local(record.address) else knock(record.address, record.port)
    if answer == "answers":
        raise StorageError(
            f"{folder.path}: its server runs on {record.host} and listens on {record.address}, "
            f"port {record.port}. Use it from here with the URL in {folder.url_file}, or run "
            "`wconv-sweep db stop` there first."
        )
    if answer == "silent" and not force:
        raise StorageError(
            f"{folder.path}: its server was started on {record.host}, and this "
            "machine cannot tell whether it still runs. Run `wconv-sweep db stop` there; if that "
            "machine or job has ended, start with --force."
        )
    say(
        f"the server was started on {record.host}; waiting up to {FENCE_S:.0f} s for "
        "it to end itself if it still runs"
    )
    # Not removed: a start after an interrupted one must wait again.
    folder.write(folder.pid_file, "0\n")
    deadline = time.monotonic() + FENCE_S
    while time.monotonic() < deadline and folder.pid_file.exists():
        time.sleep(1)
    folder.pid_file.unlink(missing_ok=True)


def _running(
    folder: ServerFolder, record: Record | None, address: str | None, port: int | None
) -> Started:
    if record is None or record.host is None:
        raise StorageError(
            f"{folder.path}: a server runs that `wconv-sweep db start` did not start. Run "
            "`wconv-sweep db stop`, then start again."
        )
    for option, wanted, given in (("host", address, record.address), ("port", port, record.port)):
        if wanted not in (None, 0, given):
            raise ConfigurationError(
                f"--{option} {wanted}: the server already runs, with {given}. Run `wconv-sweep db "
                "stop`, then start again."
            )
    version = (folder.data / "PG_VERSION").read_text("utf-8").strip()
    return Started(folder.url(record), version, record.address, record.port, already=True)


def _clear_stale(folder: ServerFolder) -> None:
    """Remove what a killed server left, once none of its processes is left."""
    if not folder.pid_file.exists():
        return
    # They notice that the first one is gone, and end.
    _wait_for_end(folder, _ORPHANS_S)
    # PostgreSQL would refuse to start while any program has the number in the file.
    folder.pid_file.unlink(missing_ok=True)


def _wait_for_end(folder: ServerFolder, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while processes := folder.processes():
        if time.monotonic() > deadline:
            raise StorageError(
                f"{folder.path}: processes of its server do not end: "
                f"{', '.join(map(str, processes))}. See the log in {folder.logs}."
            )
        time.sleep(0.05)


def _listen(record: Record | None, address: str | None, port: int | None) -> Record:
    """Return a free address and port to listen on."""
    address = address or (record.address if record else "localhost")
    check_address(address)
    if port is None and record is not None:
        port = record.port
    if port:
        check_port(address, port)
    return Record(
        address=address,
        port=port or free_port(address),
        tls=False,
        host=socket.gethostname(),
        pid=None,
        started_at=None,
    )


def _with_tls(
    folder: ServerFolder, before: Record | None, wanted: Record, programs: Programs
) -> tuple[Record, tuple[str, ...]]:
    """Return the record with TLS where it is needed and possible, or a warning."""
    if is_local(wanted.address):
        return wanted, ()
    if has_tls(folder, programs):
        same = before is not None and before.address == wanted.address
        if (same and folder.certificate.exists() and folder.key.exists()) or make_certificate(
            folder, wanted.address
        ):
            return replace(wanted, tls=True), ()
        reason = "there is no program openssl to make a certificate with"
    else:
        reason = "these programs of PostgreSQL are built without TLS"
    return wanted, (
        f"{reason}: anyone who can listen on the network reads all traffic of this server, "
        "but not the password.",
    )


def _why_not(folder: ServerFolder, log: Path) -> str:
    """Return why the server did not start, from the log of the start."""
    lines = log.read_text("utf-8", errors="replace").splitlines()
    telling = [line for line in lines if any(w in line for w in ("FATAL", "ERROR", "HINT"))]
    reason = "\n".join((telling or lines)[-5:])
    return (
        f"{folder.path}: the server does not start. See its log in {folder.logs}. {reason}".strip()
    )
