"""How long a proposal takes, for 100, 1,000 and 10,000 completed trials, beside plain Optuna.

    python tests/benchmarks/sampling.py
    python tests/benchmarks/sampling.py --trials 100 1000 --epochs 1

The trials of a study with two coefficients are written to an SQLite file, each with its epochs.
Then each sampler is asked, by `propose` as an agent does and by Optuna's own client, which an
agent could use instead: the first question of a process, which reads the study, and the median of
further ones. Each proposal is recorded, so that the next question finds a trial more.
"""

import argparse
import gc
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, get_storage
from sqlalchemy import insert, make_url, update

from wconv_sweep.run_folder import RunFolder
from wconv_sweep.search.sampling import GP_TRIALS, propose
from wconv_sweep.search.trial_mirror import TrialMirror
from wconv_sweep.slots import studies
from wconv_sweep.slots.table import Lease, SlotTable
from wconv_sweep.storage import study_rows, trial_rows
from wconv_sweep.storage.open_storage import Storage, create_storage
from wconv_sweep.storage.optuna_client import optuna_client
from wconv_sweep.storage.tables import SLOTS, SlotState
from wconv_sweep.storage.together import execute_together
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point
from wconv_sweep.study.search_space import distributions_of

SAMPLERS = ("random", "qmc", "tpe", "gp")


def study_of(sampler: str, trials: int, questions: int) -> StudyConfig:
    """Return a study of the sampler with room for some trials and then some."""
    return StudyConfig.model_validate(
        {
            "schema": 1,
            "study": sampler,
            "kernel_size": 5,
            "model": {"name": "dncnn", "options": {"kernel_size": 5}},
            "data": {"name": "photographs"},
            "recipe": {"optimizer": {"name": "adam", "lr": 0.003}, "epochs": 100, "batch_size": 8},
            "objective": {"metric": "psnr_db"},
            "search": {"bounds": [[0.05, 1.0], [0.5, 1.5]], "sampler": {"name": sampler}},
            "budget": {"trials": trials + questions},
        }
    )


def fill(storage: Storage, config: StudyConfig, trials: int, epochs: int) -> None:
    """Complete the first slots of a study, at random densities with a noisy response."""
    studies.create_or_extend(storage, config, RunFolder.of(storage.folder, config.study), "local")
    random_ = random.Random(0)
    distributions = distributions_of(config)
    with storage.write() as connection:
        study_id, _ = study_rows.study_id_and_trials(connection, config.study)
        for position in range(trials):
            density = (random_.uniform(0.05, 1.0), random_.uniform(0.5, 1.5))
            value = -((density[0] - 0.3) ** 2) - (density[1] - 0.9) ** 2 + random_.gauss(0, 0.1)
            trial_id, number = _create(connection, study_id, position)
            params = dict(zip(distributions, density, strict=True))
            trial_rows.set_params(connection, trial_id, params, distributions)
            for epoch in range(1, epochs + 1):
                trial_rows.add_intermediate_value(connection, trial_id, epoch, value)
            state = optuna.trial.TrialState.COMPLETE
            execute_together(connection, *trial_rows.finishing(trial_id, state, value))
            connection.execute(
                update(SLOTS)
                .where(SLOTS.c.study == config.study, SLOTS.c.position == position)
                .values(
                    state=SlotState.COMPLETE,
                    trial_id=trial_id,
                    trial=number,
                    point=Point(density),
                    epoch=epochs,
                    value=value,
                )
            )


def _create(connection: Any, study_id: int, number: int) -> tuple[int, int]:
    """Create a trial as `trial_rows` does, without counting the trials before each time."""
    created = connection.execute(
        insert(trial_rows._TRIALS).values(
            study_id=study_id,
            number=number,
            state=optuna.trial.TrialState.RUNNING,
            datetime_start=trial_rows._now(),
        )
    )
    trial_id = int(created.inserted_primary_key[0])
    trial_rows.set_user_attributes(connection, trial_id, {"stage": "search", "seed_index": 0})
    return trial_id, number


def leases(storage: Storage, config: StudyConfig) -> Iterator[Lease]:
    """Lease slots one after the other; the trials of all of them go on running."""
    slots = SlotTable(storage, config, lease_s=3600)
    while isinstance(lease := slots.lease("benchmark"), Lease):
        yield lease


def ours(storage: Storage, config: StudyConfig) -> Callable[[Lease], tuple[float, ...]]:
    """Return a new agent's way to ask."""
    mirror = TrialMirror(storage, config)
    return lambda lease: propose(config, mirror, lease.trial, lease.position).point.density


def plain(client: RDBStorage, config: StudyConfig) -> Callable[[Lease], tuple[float, ...]]:
    """Return how one would ask Optuna's own client, which reads all of every trial."""
    cached = get_storage(client)
    kinds: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "random": lambda: optuna.samplers.RandomSampler(seed=0),
        "qmc": lambda: optuna.samplers.QMCSampler(seed=0, scramble=True),
        "tpe": lambda: optuna.samplers.TPESampler(seed=0),
        "gp": lambda: optuna.samplers.GPSampler(seed=0),
    }

    def ask(lease: Lease) -> tuple[float, ...]:
        sampler = kinds[config.search.sampler.name]()
        study = optuna.load_study(study_name=config.study, storage=cached, sampler=sampler)
        trial = cached.get_trial(lease.trial_id)
        space = sampler.infer_relative_search_space(study, trial)
        params = sampler.sample_relative(study, trial, space)
        return tuple(
            float(
                params[name]
                if name in params
                else sampler.sample_independent(study, trial, name, distribution)
            )
            for name, distribution in distributions_of(config).items()
        )

    return ask


def timed(
    storage: Storage,
    config: StudyConfig,
    leased: Iterator[Lease],
    ask: Callable[[Lease], tuple[float, ...]],
    questions: int,
) -> tuple[float, float]:
    """Return the seconds of the first question and the median of the others."""
    slots = SlotTable(storage, config, lease_s=3600)
    took_s = []
    for _ in range(questions):
        lease = next(leased)
        gc.collect()
        started = time.perf_counter()
        density = ask(lease)
        took_s.append(time.perf_counter() - started)
        slots.set_point(lease, Point(density))
    return took_s[0], statistics.median(took_s[1:])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--epochs", type=int, default=20, help="reports of each trial")
    parser.add_argument("--questions", type=int, default=9, help="proposals of each kind")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # QMCSampler
    # What is imported at the first question is not part of the comparison.
    warm_up()
    print("| trials | sampler | first, ms | further, ms | Optuna's client: first | further |")
    print("|---|---|---|---|---|---|")
    for trials in options.trials:
        for sampler in SAMPLERS:
            with tempfile.TemporaryDirectory() as folder:
                row = measure(Path(folder), sampler, trials, options.epochs, options.questions)
            print(f"| {trials} | {sampler} | {' | '.join(row)} |", flush=True)


def measure(folder: Path, sampler: str, trials: int, epochs: int, questions: int) -> list[str]:
    """Return the cells of one row."""
    storage = create_storage(make_url(f"sqlite:///{folder}/sweep.db"))
    config = study_of(sampler, trials, 2 * questions)
    fill(storage, config, trials, epochs)
    leased = leases(storage, config)
    cells = timed(storage, config, leased, ours(storage, config), questions)
    row = [f"{1000 * cell:.0f}" for cell in cells]
    if sampler == "gp" and trials > 2 * GP_TRIALS:
        # Optuna's own takes 3 s at 1,000 trials and grows with the cube.
        questions = 2 if trials <= 1000 else 0
    if not questions:
        storage.close()
        return [*row, "-", "-"]
    client = optuna_client(storage)
    cells = timed(storage, config, leased, plain(client, config), questions)
    client.remove_session()
    client.engine.dispose()
    storage.close()
    return row + [f"{1000 * cell:.0f}" for cell in cells]


def warm_up() -> None:
    """Ask each sampler in a small study."""
    for sampler in SAMPLERS:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), sampler, trials=12, epochs=1, questions=2)


if __name__ == "__main__":
    main()
