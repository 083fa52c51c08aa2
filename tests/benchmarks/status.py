"""How long `status` takes, in a process of its own, for few and for many completed trials.

    python -m tests.benchmarks.status
    python -m tests.benchmarks.status --databases sqlite --trials 10000 --repeats 5

Studies are written to an SQLite file and to a PostgreSQL server that the benchmark starts, with an
attempt, metrics and provenance for each trial. Then the command is run several times, from the
start of the interpreter to its end; `python` is the interpreter alone. Each cell is the shortest
and the median time, seconds.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import insert, make_url, select, update

from tests.benchmarks.storage import EPOCHS, fill
from tests.sweep.postgres import OwnServer
from tests.sweep.searching import study_of
from wconv_sweep.storage.open_storage import Storage, create_storage
from wconv_sweep.storage.tables import ATTEMPTS, PILOTS, SLOTS, AttemptOutcome, SlotState

PILOT_COUNT = 40
TRIAL_S = 1000.0
METRICS = {
    f"{part}{metric}": 0.123456789
    for part in ("", "test_", "input_")
    for metric in ("psnr_db", "ssim", "fsim", "uiq", "nrmse")
}
PROVENANCE = {"host": "lrdn0001", "job": "1234_5", "torch": "2.13.0", "device": "NVIDIA A100"}


def complete(storage: Storage, trials: int) -> None:
    """Write a study of so many completed trials, and 100 that are open."""
    config = study_of({"name": "random"}, trials=trials + 100, epochs=EPOCHS)
    fill(storage, config, trials)
    now = time.time()
    with storage.write() as connection:
        ended = SLOTS.c.state == SlotState.COMPLETE
        slots = connection.scalars(select(SLOTS.c.slot).where(ended)).all()
        written = {"metrics": METRICS, "provenance": PROVENANCE}
        connection.execute(update(SLOTS).where(ended).values(written))
        connection.execute(
            insert(ATTEMPTS),
            [
                {
                    "slot": slot,
                    "attempt": 1,
                    "owner": f"lrdn0001/pilot-{number % PILOT_COUNT}/1",
                    "outcome": AttemptOutcome.COMPLETE,
                    "gpus_per_trial": 1,
                    "provenance": PROVENANCE,
                    "started_at": now - number - TRIAL_S,
                    "ended_at": now - number,
                }
                for number, slot in enumerate(slots)
            ],
        )
        connection.execute(
            insert(PILOTS),
            [
                {
                    "study": config.study,
                    "pilot": number,
                    "host": f"lrdn{number:04}",
                    "job": f"1234_{number}.0",
                    "gpus_total": 4,
                    "started_at": now - 86_400,
                    "seen_at": now,
                    "ended_at": now,
                }
                for number in range(PILOT_COUNT)
            ],
        )


@contextmanager
def study(server: OwnServer | None, trials: int) -> Iterator[str]:
    """Write a study, and give the URL of its storage."""
    with tempfile.TemporaryDirectory() as folder:
        url = server.empty_database() if server else make_url(f"sqlite:///{folder}/sweep.db")
        storage = create_storage(url)
        complete(storage, trials)
        storage.close()
        yield storage.name


def times(repeats: int, *arguments: str) -> str:
    """Return the shortest and the median time of a process, seconds."""
    took_s = []
    for _ in range(repeats):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        took_s.append(time.perf_counter() - begun)
    return f"{min(took_s):.2f} / {statistics.median(took_s):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    kinds = ["sqlite", "postgresql"]
    parser.add_argument("--databases", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--repeats", type=int, default=9, help="runs of each command")
    options = parser.parse_args(arguments)
    command = ("-m", "wconv_sweep")
    print("| command | database | trials | shortest / median, s |")
    print("|---|---|---|---|")
    print(f"| python | | | {times(options.repeats, '-c', 'pass')} |", flush=True)
    print(f"| --help | | | {times(options.repeats, *command, '--help')} |", flush=True)
    for name in options.databases:
        server = OwnServer() if name == "postgresql" else None
        for trials in options.trials:
            with study(server, trials) as url:
                for more in ((), ("--json",)):
                    took = times(options.repeats, *command, "status", *more, "--storage", url)
                    words = " ".join(["status", *more])
                    print(f"| {words} | {name} | {trials} | {took} |", flush=True)
        if server:
            server.remove()


if __name__ == "__main__":
    main()
