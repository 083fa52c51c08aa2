"""A PostgreSQL as a job: found by itself, kept over the end of its job and its move elsewhere."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.slurm.box import Queued, SlurmBox
from tests.slurm.processes import ranks_among, stopped, wait_until
from tests.slurm.sweeping import SlurmSweep, slow_data
from tests.sweep.postgres import Server
from tests.sweep.tiny import TINY
from wconv_sweep.server.slurm import ServerRequest
from wconv_sweep.server.successor import Successor

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


def jobs(box: SlurmBox) -> list[Queued]:
    """Return the jobs of the server, the one that runs first."""
    found = [job for job in box.queue() if job.name.startswith("wconv-postgres-")]
    return sorted(found, key=lambda job: job.state != "RUNNING")


def test_the_next_job_waits_for_the_one_that_runs_and_its_lack_is_said(
    box: SlurmBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = box.submit("--time=10", script="exec sleep 1000")
    said = list[str]()

    def successor(*, once: bool = False, **options: str) -> Successor:
        at = {"account": box.site.account, "partition": "gpu"} | options
        request = ServerRequest(options=at, walltime_min=10, once=once)
        return Successor(tmp_path / "postgres", request, runs, said.append)

    taken = successor()
    taken.keep()
    taken.keep()
    # The answer to the first one may have got lost: it is found in the queue.
    successor().keep()
    (waiting,) = jobs(box)
    taken.withdraw()
    wait_until(lambda: not jobs(box), "it is cancelled")
    submitted, found, withdrawn = said
    # The server of a job that SLURM lets submit none runs on; it is said once.
    for refused in (successor(partition="nowhere"), successor(once=True)):
        refused.keep()
        refused.keep()
    monkeypatch.setenv("PATH", "")
    successor().keep()
    unknown, once, missing = said[3:]

    assert (waiting.state, waiting.reason) == ("PENDING", "Dependency")
    assert submitted == f"job {waiting.raw_id} goes on with the server when this one has ended"
    assert found == submitted
    assert withdrawn == f"job {waiting.raw_id} was cancelled"
    nothing = "no job goes on with the server when this one has ended: "
    assert "invalid partition specified: nowhere" in unknown.removeprefix(nothing)
    assert once == f"{nothing}--once"
    assert missing.startswith(nothing)
    assert jobs(box) == []


def test_a_study_goes_on_when_the_job_of_its_database_has_ended_and_moved(
    sweep: SlurmSweep, box: SlurmBox
) -> None:
    first = start(sweep)
    again = start(sweep)
    recipe = TINY["recipe"] | {"epochs": 20}
    sweep.study(recipe=recipe, budget={"trials": 4}, **slow_data(batch_s=0.05))
    sweep.launch("--pilots", "1")
    wait_until(lambda: sweep.read().running, "a trial runs", within_s=120)

    # Its job is asked to end in the middle of the study, as before its time limit, and the next
    # one gets the other node.
    server, waiting = jobs(box)
    for each in (server, waiting):
        assert "Comment=of the studies" in box.run("scontrol", "show", "job", each.raw_id)
    box.run("scontrol", "update", f"node={server.node}", "state=drain", "reason=test")
    # However fast the trials are, one of them is in its middle.
    with stopped(ranks_among(box.job_processes())):
        box.run("scancel", "--signal=USR2", server.raw_id)
        wait_until(lambda: server.raw_id not in {job.raw_id for job in jobs(box)}, "its end")
        moved = start(sweep)
    box.run("scontrol", "update", f"node={server.node}", "state=resume")
    wait_until(lambda: sweep.read().complete, "the study is complete", within_s=240)
    successor, next_one = jobs(box)
    shown = sweep.run("db", "status")
    complete = sweep.status()["slots"]["complete"]
    sweep.run("db", "stop")
    after_stop = jobs(box)
    # The same data on another node, started by hand.
    box.run("scontrol", "update", f"node={successor.node}", "state=drain", "reason=test")
    by_hand = start(sweep)
    kept = sweep.status()["slots"]["complete"]
    box.run("scontrol", "update", f"node={successor.node}", "state=resume")

    assert f"It runs on {server.node}" in first
    assert f"PostgreSQL is job {server.raw_id}." in again
    assert (server.state, waiting.state) == ("RUNNING", "PENDING")
    assert successor.raw_id == waiting.raw_id
    assert f"PostgreSQL is job {successor.raw_id}." in moved
    assert f"It runs on {successor.node}" in moved
    assert successor.node != server.node
    assert f"job {next_one.raw_id} goes on after it" in shown
    assert after_stop == []
    assert (complete, kept) == (4, 4)
    assert f"It runs on {server.node}" in by_hand
    # The pilot itself has seen the database go and come back.
    log = "".join(path.read_text() for path in sweep.pilots.glob("*.err"))
    assert log.count("pilot started") == 1
    # The password stands in the file with mode 0600 and nowhere else.
    password = next((sweep.folder / "wconv_runs" / "postgres").glob("pgpass")).read_text()
    secret = password.strip().rpartition(":")[2]
    for path in (sweep.folder / "wconv_runs").rglob("*"):
        if path.is_file() and path.name != "pgpass" and "postgres/data" not in str(path):
            assert secret.encode() not in path.read_bytes(), path
