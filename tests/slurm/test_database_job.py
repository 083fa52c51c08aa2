"""A PostgreSQL as a job: found by itself, kept over the end of its job and its move elsewhere."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.slurm.box import SlurmBox
from tests.slurm.processes import ranks_among, stopped, wait_until
from tests.slurm.sweeping import SlurmSweep, slow_data
from tests.sweep.postgres import Server
from tests.sweep.tiny import TINY

pytestmark = pytest.mark.slow


@pytest.fixture
def sweep(box: SlurmBox, postgres: Server) -> Iterator[SlurmSweep]:
    """A sweep without a database of its own."""
    # Not in pytest's folders: the server's user may enter none of them.
    with TemporaryDirectory(prefix="wconv-db-") as folder:
        Path(folder).chmod(0o711)
        with closing(SlurmSweep(Path(folder), box, postgres)) as sweep:
            sweep.variables(WCONV_SWEEP_STORAGE="")
            yield sweep
            sweep.run("db", "stop")


def start(sweep: SlurmSweep, *more: str) -> str:
    user = ("--user", "nobody") if os.geteuid() == 0 else ()
    where = ("--account", sweep.box.site.account, "--partition", "gpu", "--time", "60")
    note = ("--sbatch", "comment=of the studies")
    return sweep.run("db", "start", "--job", *where, *note, *user, *more)


def test_a_study_goes_on_when_the_job_of_its_database_has_ended_and_moved(
    sweep: SlurmSweep, box: SlurmBox
) -> None:
    first = start(sweep)
    again = start(sweep)
    recipe = TINY["recipe"] | {"epochs": 20}
    sweep.study(recipe=recipe, budget={"trials": 4}, **slow_data(batch_s=0.05))
    sweep.launch("--pilots", "1")
    wait_until(lambda: sweep.read().running, "a trial runs", within_s=120)

    # The job ends in the middle of the study, and the next one gets the other node.
    (server,) = [job for job in box.queue() if job.name.startswith("wconv-postgres-")]
    assert "Comment=of the studies" in box.run("scontrol", "show", "job", server.raw_id)
    box.run("scontrol", "update", f"node={server.node}", "state=drain", "reason=test")
    # However fast the trials are, one of them is in its middle.
    with stopped(ranks_among(box.job_processes())):
        sweep.run("db", "stop")
    moved = start(sweep)
    box.run("scontrol", "update", f"node={server.node}", "state=resume")
    wait_until(lambda: sweep.read().complete, "the study is complete", within_s=240)

    assert f"It runs on {server.node}" in first
    assert f"PostgreSQL is job {server.raw_id}." in again
    assert f"It runs on {server.node}" not in moved
    assert sweep.status()["slots"]["complete"] == 4
    # The pilot itself has seen the database go and come back.
    log = "".join(path.read_text() for path in sweep.pilots.glob("*.err"))
    assert log.count("pilot started") == 1
    # The password stands in the file with mode 0600 and nowhere else.
    password = next((sweep.folder / "wconv_runs" / "postgres").glob("pgpass")).read_text()
    secret = password.strip().rpartition(":")[2]
    for path in (sweep.folder / "wconv_runs").rglob("*"):
        if path.is_file() and path.name != "pgpass" and "postgres/data" not in str(path):
            assert secret.encode() not in path.read_bytes(), path
