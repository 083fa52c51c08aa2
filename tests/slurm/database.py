"""The MariaDB that slurmdbd keeps its accounts in."""

import subprocess
from pathlib import Path

from tests.slurm.machine import find
from tests.slurm.site import CONTROLLER, Site

_SCRIPTS = ("/usr/share/mysql", "/usr/share/mariadb")
_FAST_AND_SMALL = (
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=0",
    "--debug-no-sync",
    "--skip-log-bin",
    "--performance-schema=OFF",
    "--key-buffer-size=1M",
    "--aria-pagecache-buffer-size=1M",
    # slurmdbd cannot do with it; older servers do not have it, and newer ones have it on.
    "--loose-innodb-snapshot-isolation=OFF",
)


def make(site: Site) -> None:
    """Make the folder of the database, in half a second; mariadb-install-db takes two."""
    _data(site).mkdir()
    # MariaDB 11 has renamed it from mysql_system_tables.sql.
    (script,) = _scripts().glob("m*_system_tables.sql")
    tables = script.read_text("utf-8")
    made = subprocess.run(
        [*_server(site), "--bootstrap", "--max-allowed-packet=8M"],
        input=f"create database mysql;\nuse mysql;\n{tables}\ncreate database slurm_acct_db;\n",
        text=True,
        check=False,
        capture_output=True,
    )
    assert made.returncode == 0, made.stderr[-3000:]


def command(site: Site) -> list[str]:
    """Return the command line of the server; who may reach the loopback interface may enter."""
    return [
        *_server(site),
        "--socket=mariadb.sock",
        f"--pid-file={site.folder}/run/mariadbd.pid",
        f"--bind-address={CONTROLLER}",
        f"--port={site.port('mariadbd')}",
        "--skip-grant-tables",
        "--skip-name-resolve",
        "--innodb-lock-wait-timeout=900",  # slurmdbd complains about less
        "--max-connections=32",
        "--table-open-cache=400",
        "--open-files-limit=4096",
    ]


def _server(site: Site) -> list[str]:
    return [
        find("mariadbd") or "mariadbd",
        "--no-defaults",
        "--user=root",
        f"--datadir={_data(site)}",
        # In a folder that servers share, one that starts removes the temporary tables of others.
        f"--tmpdir={_data(site)}",
        f"--lc-messages-dir={_scripts()}",
        *_FAST_AND_SMALL,
    ]


def _data(site: Site) -> Path:
    return site.folder / "mariadb"


def _scripts() -> Path:
    (found, *_) = (path for path in map(Path, _SCRIPTS) if (path / "english").is_dir())
    return found
