"""The folder of a personal PostgreSQL: its files, its secrets, and its process.

data/         PostgreSQL's own
log/          what the server logs, one file per day of the week
server.json   where it listens, and the machine that it was started on
url           of the storage, without the password
pgpass        the password, in the form that every PostgreSQL client reads
server.crt, server.key    for TLS, beyond localhost
"""

import fcntl
import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from wconv_jobs.files.atomic import replace_file
from wconv_sweep.errors import StorageError

DATABASE = "wconv"
ROLE = "wconv"


@dataclass(frozen=True, kw_only=True)
class Record:
    """The content of server.json."""

    address: str
    """The server listens on it: a name or a number."""
    port: int
    tls: bool
    host: str | None
    """Name of the machine that it was started on; None once it was stopped."""
    pid: int | None
    """Its main process there."""
    started_at: float | None
    """Seconds since 1970, on that machine's clock."""


class ServerFolder:
    """The folder of one server."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.data = self.path / "data"
        self.logs = self.path / "log"
        self.pid_file = self.data / "postmaster.pid"
        self.url_file = self.path / "url"
        self.pgpass = self.path / "pgpass"
        self.certificate = self.path / "server.crt"
        self.key = self.path / "server.key"
        self._record = self.path / "server.json"

    def create(self) -> None:
        """Create the folder, or take one that is empty or holds a server.

        Raises:
            StorageError: it cannot be made, or is not the caller's.
        """
        if not str(self.path).isprintable():
            raise StorageError(
                f"{str(self.path)!r}: PostgreSQL cannot use a folder whose name has line breaks "
                "or the like. Choose another with --folder."
            )
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            inside = {path.name for path in self.path.iterdir()}
            if inside and not inside & {"data", "data.new", "lock", self._record.name}:
                raise StorageError(
                    f"{self.path}: holds other files, but no server. Choose a folder of its own "
                    "with --folder."
                )
            self.path.chmod(0o700)
        except OSError as error:
            raise StorageError(
                f"{self.path}: cannot be used by the user that the server runs as "
                f"({error.strerror}). Choose a folder with --folder that this user may enter and "
                "write to."
            ) from error

    def check_there(self) -> None:
        """Raise `StorageError` if there is no server."""
        try:
            there = self.data.is_dir()
        except PermissionError as error:
            raise _foreign(self.path) from error
        if not there:
            raise StorageError(
                f"{self.path}: there is no server. Create one with `wconv-sweep db start`, or "
                "choose another folder with --folder."
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        lock = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def record(self) -> Record | None:
        """Return what server.json says, None where there is none."""
        try:
            text = self._record.read_text("utf-8")
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise _foreign(self.path) from error
        try:
            return Record(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise StorageError(
                f"{self._record}: is damaged. Run `wconv-sweep db stop`, remove this file, and "
                "start again."
            ) from error

    def write_record(self, record: Record) -> None:
        """Replace server.json."""
        self.write(self._record, json.dumps(asdict(record), indent=2) + "\n")

    def password(self) -> str | None:
        """Return the password in pgpass, None where there is none."""
        try:
            fields = self.pgpass.read_text("utf-8").rstrip("\n").rsplit(":", 1)
        except FileNotFoundError:
            return None
        return fields[-1] or None

    def write_access(self, record: Record, password: str) -> None:
        """Write pgpass and url for a server that listens where the record says."""
        fields = (record.address, str(record.port), DATABASE, ROLE, password)
        # Letters, digits, - and _ in the password: only an IPv6 address has colons.
        line = ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields)
        self.write(self.pgpass, line + "\n")
        self.write(self.url_file, self.url(record) + "\n")

    def url(self, record: Record) -> str:
        """Return the URL of the storage, for this program, psql and other clients; no password."""
        host = f"[{record.address}]" if ":" in record.address else record.address
        options = {"passfile": self.pgpass}
        if record.tls:
            # The certificate is the server's own: a client that has this file knows the server.
            options |= {"sslrootcert": self.certificate}
        query = "&".join(f"{name}={quote(str(path))}" for name, path in options.items())
        mode = "&sslmode=verify-ca" if record.tls else ""
        return f"postgresql://{ROLE}@{host}:{record.port}/{DATABASE}?{query}{mode}"

    def write(self, path: Path, text: str) -> None:
        """Replace a file atomically by one that only its owner may read."""
        replace_file(path, text, mode=0o600, durable=True)

    def postmaster(self) -> int | None:
        """Return the process of the server on this machine, None when it does not run here.

        The number in postmaster.pid alone says nothing: after a crash it may be another program's.
        """
        try:
            pid = int(self.pid_file.read_text("utf-8").split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if pid in self.processes() else None

    def processes(self) -> list[int]:
        """Return the processes of PostgreSQL on this machine that work in the data."""
        try:
            data = self.data.stat()
        except FileNotFoundError:
            return []
        return [int(entry) for entry in os.listdir("/proc") if _works_in(entry, data)]


def address_beside(passfile: Path) -> tuple[str, int] | None:
    """Return where the server of this password file listens; None if it is not such a file.

    A server that runs as a job is on another node after each start.
    """
    if passfile.name != "pgpass":
        return None
    try:
        record = ServerFolder(passfile.parent).record()
    except StorageError:
        return None
    return None if record is None else (record.address, record.port)


def export_line(url: str) -> str:
    """Return the line for a shell that makes a URL the storage."""
    return f"export WCONV_SWEEP_STORAGE={shlex.quote(url)}"


def _foreign(path: Path) -> StorageError:
    return StorageError(f"{path}: belongs to another user. Run this as that user.")


def _works_in(entry: str, data: os.stat_result) -> bool:
    if not entry.isdigit():
        return False
    try:
        # The name stands before " (deleted)" where PostgreSQL was replaced meanwhile.
        program = Path(os.readlink(f"/proc/{entry}/exe").removesuffix(" (deleted)")).name
        return program == "postgres" and os.path.samestat(os.stat(f"/proc/{entry}/cwd"), data)
    except OSError:
        return False  # another user's, or ended just now
