"""How long the operations of a trial take in the storage, beside plain Optuna's.

    python -m tests.benchmarks.storage
    python -m tests.benchmarks.storage --databases sqlite --processes 1 4 --trials 100 --seconds 3

A study with two coefficients is filled with completed trials of 10 epochs, in an SQLite file and
in a database of a PostgreSQL server that the benchmark starts. Then so many processes at once go
through the lives of trials without training: once as an agent does, with the slot table, and once
with plain Optuna's `ask`, `report` and `tell`, each on a copy of the database. In both cases the
parameters are random, 10 epochs are reported, and the same rows of Optuna are written. The first
trial of each process is not counted: it loads the study.

Each number of processes works on the smallest study, and 4 processes on each of the others.
`locked` counts operations that ended with 'database is locked' or another error of the database.
The server writes without fsync, which spares both sides the same disk.
"""

import argparse
import contextlib
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import optuna
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL, bindparam, insert, make_url, select, update
from sqlalchemy.exc import SQLAlchemyError

from tests.sweep.postgres import OwnServer
from tests.sweep.searching import launched, study_of
from wconv_sweep.errors import StorageAway
from wconv_sweep.search.sampling import propose
from wconv_sweep.search.trial_mirror import TrialMirror
from wconv_sweep.slots.table import Lease, SlotTable
from wconv_sweep.storage import study_rows, trial_rows
from wconv_sweep.storage.open_storage import Storage, create_storage, open_storage
from wconv_sweep.storage.tables import SLOTS, SlotState
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point
from wconv_sweep.study.search_space import distributions_of

EPOCHS = 10
OPEN_SLOTS = 1500
"""Slots that are there to be worked on: more than the processes can end in the time."""
FEW = 4
"""Processes that work on each of the larger studies."""

OPERATIONS = ("lease and ask", "report", "finish")
ERRORS = (StorageAway, SQLAlchemyError, optuna.exceptions.StorageInternalError)
Times = dict[str, list[float]]
Life = Callable[[Callable[[str, float], None]], None]
"""Goes through the life of one trial, and tells when each operation began and which it was."""


def ours(url: URL, config: StudyConfig, worker: int) -> Life:
    """Return what an agent does."""
    storage = open_storage(url)
    slots, mirror = SlotTable(storage, config, lease_s=600), TrialMirror(storage, config)

    def life(took: Callable[[str, float], None]) -> None:
        begun = time.perf_counter()
        lease = slots.lease(f"node/pilot-{worker}/1")
        assert isinstance(lease, Lease), lease
        proposal = propose(config, mirror, lease.trial, lease.position)
        slots.set_point(lease, proposal.point)
        took("lease and ask", begun)
        for epoch in range(1, EPOCHS + 1):
            begun = time.perf_counter()
            slots.report(lease, epoch, 1 / epoch, {})
            took("report", begun)
        begun = time.perf_counter()
        slots.complete(lease, {}, {})
        took("finish", begun)

    return life


def plain(url: URL, config: StudyConfig, worker: int) -> Life:
    """Return what one would do with Optuna alone."""
    study = optuna.load_study(
        study_name=config.study,
        storage=RDBStorage(url.render_as_string(hide_password=False)),
        sampler=optuna.samplers.RandomSampler(seed=worker),
    )

    def life(took: Callable[[str, float], None]) -> None:
        begun = time.perf_counter()
        trial = study.ask()
        for name, distribution in distributions_of(config).items():
            assert isinstance(distribution, optuna.distributions.FloatDistribution)
            trial.suggest_float(name, distribution.low, distribution.high)
        took("lease and ask", begun)
        for epoch in range(1, EPOCHS + 1):
            begun = time.perf_counter()
            trial.report(1 / epoch, epoch)
            took("report", begun)
        begun = time.perf_counter()
        study.tell(trial, 1 / EPOCHS)
        took("finish", begun)

    return life


SIDES = {"ours": ours, "Optuna": plain}


def measure(
    side: str, url: URL, config: StudyConfig, processes: int, seconds: float
) -> tuple[Times, float, int]:
    """Return the seconds of each operation, the trials per second, and the errors."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(processes)
    with tempfile.TemporaryDirectory() as folder:
        workers = [
            context.Process(
                target=work,
                args=(side, url, config, number, barrier, seconds, Path(folder, f"{number}")),
            )
            for number in range(processes)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        found = [json.loads(path.read_text("ascii")) for path in Path(folder).iterdir()]
    times: Times = {
        name: [second for each in found for second in each["times"][name]] for name in OPERATIONS
    }
    rate = sum(len(each["times"]["finish"]) / each["wall_s"] for each in found)
    return times, rate, sum(each["locked"] for each in found)


def work(
    side: str,
    url: URL,
    config: StudyConfig,
    number: int,
    barrier: Barrier,
    seconds: float,
    result: Path,
) -> None:
    """Go through the lives of trials for some seconds, at the same time as others."""
    life = SIDES[side](url, config, number)
    # Uncounted: it loads the study.
    with contextlib.suppress(*ERRORS):
        life(lambda name, since: None)
    times: Times = {name: [] for name in OPERATIONS}
    locked, wall_s = 0, 0.0
    barrier.wait()
    begun = time.perf_counter()
    while wall_s < seconds:
        try:
            life(lambda name, since: times[name].append(time.perf_counter() - since))
        except ERRORS:
            locked += 1
        wall_s = time.perf_counter() - begun
    result.write_text(json.dumps({"times": times, "wall_s": wall_s, "locked": locked}), "ascii")


def fill(storage: Storage, config: StudyConfig, trials: int) -> None:
    """Launch a study and complete its first slots."""
    launched(storage, config)
    rng = np.random.default_rng(0)
    distributions = distributions_of(config)
    now = trial_rows._now()
    with storage.write() as connection:
        study_id, _ = study_rows.study_id_and_trials(connection, config.study)
        rows = [
            {
                "study_id": study_id,
                "number": number,
                "state": optuna.trial.TrialState.COMPLETE,
                "datetime_start": now,
                "datetime_complete": now,
            }
            for number in range(trials)
        ]
        connection.execute(insert(models.TrialModel.__table__), rows)
        table = models.TrialModel.__table__
        ids = list(connection.scalars(select(table.c.trial_id).order_by(table.c.number)))
        densities = rng.uniform((0.05, 0.5), (1.0, 1.5), (trials, 2)).tolist()
        for trial_id, density in zip(ids, densities, strict=True):
            params = dict(zip(distributions, density, strict=True))
            trial_rows.set_params(connection, trial_id, params, distributions)
        finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
        connection.execute(
            insert(models.TrialIntermediateValueModel.__table__),
            [
                {
                    "trial_id": trial_id,
                    "step": epoch,
                    "intermediate_value": 1 / epoch,
                    "intermediate_value_type": finite,
                }
                for trial_id in ids
                for epoch in range(1, EPOCHS + 1)
            ],
        )
        connection.execute(
            insert(models.TrialValueModel.__table__),
            [
                {
                    "trial_id": trial_id,
                    "objective": 0,
                    "value": 1 / EPOCHS,
                    "value_type": models.TrialValueModel.TrialValueType.FINITE,
                }
                for trial_id in ids
            ],
        )
        connection.execute(
            update(SLOTS)
            .where(SLOTS.c.study == config.study, SLOTS.c.position == bindparam("place"))
            .values(
                state=SlotState.COMPLETE,
                attempt=1,
                epoch=EPOCHS,
                value=1 / EPOCHS,
                trial=bindparam("place"),
                trial_id=bindparam("key"),
                point=bindparam("trained"),
            ),
            [
                {"place": number, "key": trial_id, "trained": json.dumps(Point(density).plain())}
                for number, (trial_id, density) in enumerate(zip(ids, densities, strict=True))
            ],
        )


Copy = Callable[[], URL]


@contextmanager
def filled(server: OwnServer | None, config: StudyConfig, trials: int) -> Iterator[Copy]:
    """Fill a database, and give a function that copies it."""
    with tempfile.TemporaryDirectory() as folder:
        url = (
            server.empty_database()
            if server
            else make_url(f"sqlite:///{Path(folder, 'filled.db')}")
        )
        storage = create_storage(url)
        fill(storage, config, trials)
        storage.close()

        def copy() -> URL:
            if server is None:
                target = Path(tempfile.mkdtemp(dir=folder), "sweep.db")
                # Closed, the file holds everything; plain Optuna finds no write-ahead log.
                shutil.copyfile(Path(folder, "filled.db"), target)
                return make_url(f"sqlite:///{target}")
            empty = server.empty_database()
            assert url.database
            assert empty.database
            with server.connect() as connection:
                names = Identifier(empty.database), Identifier(url.database)
                connection.execute(SQL("DROP DATABASE {}").format(names[0]))
                connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
            return empty

        yield copy


def plain_again(url: URL) -> None:
    """Take SQLite's write-ahead log away, which is ours and not what plain Optuna works with."""
    import sqlite3

    assert url.database
    connection = sqlite3.connect(url.database)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


def row(copy: Copy, name: str, config: StudyConfig, processes: int, seconds: float) -> None:
    """Measure both sides and print their lines, and the one that compares them."""
    trials = config.budget.trials - OPEN_SLOTS
    medians: dict[str, list[float]] = {}
    for side in SIDES:
        url = copy()
        if name == "sqlite" and side == "Optuna":
            plain_again(url)
        times, rate, locked = measure(side, url, config, processes, seconds)
        cells = []
        medians[side] = []
        for operation in OPERATIONS:
            ms = 1000 * np.array(times[operation] or [float("nan")])
            medians[side].append(float(np.median(ms)))
            cells.append(f"{np.median(ms):.1f} / {np.percentile(ms, 99):.0f}")
        line = [name, processes, trials, side, f"{rate:.1f}", *cells, locked]
        print(f"| {' | '.join(map(str, line))} |", flush=True)
    ratios = [a / b for a, b in zip(*medians.values(), strict=True)]
    line = [name, processes, trials, "ratio", "", *(f"{ratio:.2f}" for ratio in ratios), ""]
    print(f"| {' | '.join(map(str, line))} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    kinds = ["sqlite", "postgresql"]
    parser.add_argument("--databases", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--seconds", type=float, default=8.0, help="time of each measurement")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    columns = " | ".join(f"{name}, ms: p50 / p99" for name in OPERATIONS)
    print(f"| database | processes | trials before | side | trials/s | {columns} | locked |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in options.databases:
        server = OwnServer() if name == "postgresql" else None
        for trials in options.trials:
            config = study_of({"name": "random"}, trials=trials + OPEN_SLOTS, epochs=EPOCHS)
            many = options.processes if trials == min(options.trials) else [FEW]
            with filled(server, config, trials) as copy:
                for processes in many:
                    row(copy, name, config, processes, options.seconds)
        if server:
            server.remove()


if __name__ == "__main__":
    main()
